//! Writes FlatBuffers table by table, so that tests can write what no library would.

/// A table: its fields by number, absent ones in between.
#[derive(Debug, Clone, Default)]
pub struct Table(Vec<Option<Field>>);

/// The value of a field.
#[derive(Debug, Clone)]
enum Field {
    /// A number, in the bytes it takes.
    Inline(Vec<u8>),
    /// A vector or text: the number of its entries and their bytes.
    Vector(usize, Vec<u8>),
    Tables(Vec<Table>),
}

impl Table {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn number(self, field: usize, bytes: &[u8]) -> Self {
        self.set(field, Field::Inline(bytes.to_vec()))
    }

    #[must_use]
    pub fn text(self, field: usize, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    #[must_use]
    pub fn bytes(self, field: usize, bytes: &[u8]) -> Self {
        self.set(field, Field::Vector(bytes.len(), bytes.to_vec()))
    }

    /// A vector of numbers of 32 bits.
    #[must_use]
    pub fn numbers(self, field: usize, numbers: &[u32]) -> Self {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.set(field, Field::Vector(numbers.len(), bytes))
    }

    #[must_use]
    pub fn tables(self, field: usize, tables: Vec<Self>) -> Self {
        self.set(field, Field::Tables(tables))
    }

    /// The file with this table as its root.
    pub fn build(&self, identifier: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(identifier);
        let root = self.write(&mut bytes);
        put(&mut bytes, 0, root);
        bytes
    }

    fn set(mut self, field: usize, value: Field) -> Self {
        if self.0.len() <= field {
            self.0.resize(field + 1, None);
        }
        self.0[field] = Some(value);
        self
    }

    /// Appends the list of fields, the table, then what it refers to; gives where the table is.
    fn write(&self, bytes: &mut Vec<u8>) -> usize {
        let fields = bytes.len();
        let length = 4 + 2 * self.0.len();
        bytes.resize(fields + length.next_multiple_of(8), 0);
        let at = bytes.len();
        bytes.extend(little::<4>(at - fields));
        let mut references = Vec::new();
        for (number, field) in self.0.iter().enumerate() {
            let Some(field) = field else { continue };
            let entry = fields + 4 + 2 * number;
            let offset = little::<2>(bytes.len() - at);
            bytes[entry..entry + 2].copy_from_slice(&offset);
            match field {
                Field::Inline(value) => bytes.extend(value),
                reference => {
                    references.push((bytes.len(), reference));
                    bytes.extend([0; 4]);
                }
            }
        }
        let sizes = [length, bytes.len() - at].map(little::<2>);
        bytes[fields..fields + 4].copy_from_slice(&sizes.concat());
        for (place, reference) in references {
            let target = bytes.len();
            match reference {
                Field::Inline(_) => {}
                Field::Vector(count, content) => {
                    bytes.extend(little::<4>(*count));
                    bytes.extend(content);
                    bytes.push(0);
                }
                Field::Tables(tables) => {
                    bytes.extend(little::<4>(tables.len()));
                    bytes.resize(bytes.len() + 4 * tables.len(), 0);
                    for (index, table) in tables.iter().enumerate() {
                        let table = table.write(bytes);
                        put(bytes, target + 4 + 4 * index, table);
                    }
                }
            }
            put(bytes, place, target);
        }
        at
    }
}

/// Writes at `place` how far away `target` is.
fn put(bytes: &mut [u8], place: usize, target: usize) {
    bytes[place..place + 4].copy_from_slice(&little::<4>(target - place));
}

/// The first bytes of a number, the least significant in front.
fn little<const N: usize>(number: usize) -> [u8; N] {
    std::array::from_fn(|index| number.to_le_bytes()[index])
}
