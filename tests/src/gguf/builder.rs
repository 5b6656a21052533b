//! Writes GGUF byte for byte as told. Nothing is checked: a test that needs a reader to
//! refuse something must be able to write it first.

/// A metadata value. The variants are the format's value types; [`Value::Raw`] writes what
/// no writer would.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(Vec<u8>),
    /// All elements must be of one kind, or the file is malformed. An empty array is written
    /// as an array of strings.
    Array(Vec<Self>),
    U64(u64),
    I64(i64),
    F64(f64),
    /// Any type id followed by any bytes.
    Raw {
        type_id: u32,
        bytes: Vec<u8>,
    },
}

const STRING_TYPE: u32 = 8;
const ARRAY_TYPE: u32 = 9;

impl Value {
    pub fn string(text: impl Into<Vec<u8>>) -> Self {
        Self::String(text.into())
    }

    pub fn strings<T: Into<Vec<u8>>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Array(texts.into_iter().map(Self::string).collect())
    }

    /// An array that claims `count` elements of type `element_type` and is followed by `bytes`.
    pub fn raw_array(element_type: u32, count: u64, bytes: &[u8]) -> Self {
        let mut written = element_type.to_le_bytes().to_vec();
        written.extend(count.to_le_bytes());
        written.extend(bytes);
        Self::Raw { type_id: ARRAY_TYPE, bytes: written }
    }

    /// A string that claims `length` bytes and is followed by `bytes`.
    pub fn raw_string(length: u64, bytes: &[u8]) -> Self {
        let mut written = length.to_le_bytes().to_vec();
        written.extend(bytes);
        Self::Raw { type_id: STRING_TYPE, bytes: written }
    }

    /// An array of arrays of arrays …, `depth` levels deep, around one byte.
    pub fn nested_array(depth: usize) -> Self {
        let mut bytes = Vec::new();
        for _ in 1..depth {
            bytes.extend(ARRAY_TYPE.to_le_bytes());
            bytes.extend(1_u64.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.push(0);
        Self::Raw { type_id: ARRAY_TYPE, bytes }
    }

    const fn type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => STRING_TYPE,
            Self::Array(_) => ARRAY_TYPE,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
            Self::Raw { type_id, .. } => *type_id,
        }
    }

    fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::U8(value) => output.push(*value),
            Self::I8(value) => output.extend(value.to_le_bytes()),
            Self::U16(value) => output.extend(value.to_le_bytes()),
            Self::I16(value) => output.extend(value.to_le_bytes()),
            Self::U32(value) => output.extend(value.to_le_bytes()),
            Self::I32(value) => output.extend(value.to_le_bytes()),
            Self::F32(value) => output.extend(value.to_le_bytes()),
            Self::Bool(value) => output.push(u8::from(*value)),
            Self::String(text) => write_string(text, output),
            Self::Array(elements) => write_array(elements, output),
            Self::U64(value) => output.extend(value.to_le_bytes()),
            Self::I64(value) => output.extend(value.to_le_bytes()),
            Self::F64(value) => output.extend(value.to_le_bytes()),
            Self::Raw { bytes, .. } => output.extend(bytes),
        }
    }
}

fn write_string(text: &[u8], output: &mut Vec<u8>) {
    output.extend((text.len() as u64).to_le_bytes());
    output.extend(text);
}

fn write_array(elements: &[Value], output: &mut Vec<u8>) {
    let element_type = elements.first().map_or(STRING_TYPE, Value::type_id);
    output.extend(element_type.to_le_bytes());
    output.extend((elements.len() as u64).to_le_bytes());
    for element in elements {
        element.write(output);
    }
}

/// One tensor: its entry in the header and its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub name: Vec<u8>,
    /// Elements per axis, fastest axis first.
    pub dimensions: Vec<u64>,
    /// Written in place of the number of `dimensions`.
    pub dimension_count: Option<u32>,
    /// The ggml type id, such as 0 for F32.
    pub type_id: u32,
    /// Written in place of the offset where the builder puts the data, relative to the start
    /// of the data section.
    pub offset: Option<u64>,
    pub data: Vec<u8>,
}

impl Tensor {
    pub fn new(name: impl Into<Vec<u8>>, dimensions: &[u64], type_id: u32, data: Vec<u8>) -> Self {
        Self { name: name.into(), dimensions: dimensions.to_vec(), dimension_count: None, type_id, offset: None, data }
    }

    /// An F32 tensor with these values.
    pub fn f32(name: impl Into<Vec<u8>>, dimensions: &[u64], values: &[f32]) -> Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, dimensions, 0, data)
    }

    #[must_use]
    pub const fn at_offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }
}

/// A GGUF file in the making. All fields are public: set one to what a writer never would.
#[derive(Debug, Clone, PartialEq)]
pub struct Builder {
    pub magic: [u8; 4],
    pub version: u32,
    /// Written in place of the number of `tensors`.
    pub tensor_count: Option<u64>,
    /// Written in place of the number of `metadata` pairs.
    pub metadata_count: Option<u64>,
    /// Where tensor data is placed; the key `general.alignment` is written only by
    /// [`Builder::declared_alignment`] or by hand.
    pub alignment: usize,
    /// In file order; keys may repeat and need not be UTF-8.
    pub metadata: Vec<(Vec<u8>, Value)>,
    pub tensors: Vec<Tensor>,
    /// Written after the last tensor.
    pub trailer: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A valid file without metadata and tensors.
    pub const fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            metadata_count: None,
            alignment: 32,
            metadata: Vec::new(),
            tensors: Vec::new(),
            trailer: Vec::new(),
        }
    }

    /// The smallest file that a reader takes for a model: an architecture and one tensor of
    /// 32 F32 zeros called `token_embd.weight`.
    pub fn minimal() -> Self {
        Self::new().metadata("general.architecture", Value::string("llama")).tensor(Tensor::f32(
            "token_embd.weight",
            &[32],
            &[0.0; 32],
        ))
    }

    /// Appends a pair; an equal key that is already there stays.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<Vec<u8>>, value: Value) -> Self {
        self.metadata.push((key.into(), value));
        self
    }

    #[must_use]
    pub fn tensor(mut self, tensor: Tensor) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// Declares an alignment in `general.alignment`, and uses it where it is usable.
    #[must_use]
    pub fn declared_alignment(mut self, alignment: u32) -> Self {
        self.alignment = (alignment as usize).clamp(1, 1 << 16);
        self.metadata("general.alignment", Value::U32(alignment))
    }

    #[must_use]
    pub const fn claim_tensor_count(mut self, count: u64) -> Self {
        self.tensor_count = Some(count);
        self
    }

    #[must_use]
    pub const fn claim_metadata_count(mut self, count: u64) -> Self {
        self.metadata_count = Some(count);
        self
    }

    /// The bytes of the file.
    pub fn build(&self) -> Vec<u8> {
        let mut output = self.header();
        pad(&mut output, self.alignment);
        let start = output.len();
        for (tensor, offset) in self.tensors.iter().zip(self.offsets()) {
            output.resize(start + offset, 0);
            output.extend(&tensor.data);
        }
        // The format pads the last tensor too.
        pad(&mut output, self.alignment);
        output.extend(&self.trailer);
        output
    }

    /// Everything before the padding that precedes tensor data.
    pub fn header(&self) -> Vec<u8> {
        let mut output = self.magic.to_vec();
        output.extend(self.version.to_le_bytes());
        output.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        output.extend(self.metadata_count.unwrap_or(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            write_string(key, &mut output);
            output.extend(value.type_id().to_le_bytes());
            value.write(&mut output);
        }
        for (tensor, offset) in self.tensors.iter().zip(self.offsets()) {
            write_tensor_info(tensor, offset as u64, &mut output);
        }
        output
    }

    /// Where each tensor's data really stands, relative to the data section.
    fn offsets(&self) -> Vec<usize> {
        let mut next = 0;
        let place = |tensor: &Tensor| {
            let offset = next;
            next = (offset + tensor.data.len()).next_multiple_of(self.alignment);
            offset
        };
        self.tensors.iter().map(place).collect()
    }
}

fn write_tensor_info(tensor: &Tensor, offset: u64, output: &mut Vec<u8>) {
    write_string(&tensor.name, output);
    let count = tensor.dimension_count.unwrap_or_else(|| u32::try_from(tensor.dimensions.len()).unwrap_or(u32::MAX));
    output.extend(count.to_le_bytes());
    for dimension in &tensor.dimensions {
        output.extend(dimension.to_le_bytes());
    }
    output.extend(tensor.type_id.to_le_bytes());
    output.extend(tensor.offset.unwrap_or(offset).to_le_bytes());
}

fn pad(output: &mut Vec<u8>, alignment: usize) {
    output.resize(output.len().next_multiple_of(alignment), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_file_is_magic_version_and_two_counts() {
        let mut bytes = Builder::new().build();
        bytes.truncate(24);
        assert_eq!(bytes, b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn minimal_file_places_data_at_the_aligned_offset() {
        let builder = Builder::minimal();
        let header = builder.header().len();
        assert_eq!(builder.build().len(), header.next_multiple_of(32) + 128);
    }

    #[test]
    fn claims_replace_the_true_counts() {
        let bytes = Builder::minimal().claim_tensor_count(1 << 62).claim_metadata_count(7).build();
        assert_eq!(bytes[8..16], (1_u64 << 62).to_le_bytes());
        assert_eq!(bytes[16..24], 7_u64.to_le_bytes());
    }

    #[test]
    fn second_tensor_starts_at_the_next_multiple_of_the_alignment() {
        let builder = Builder::new().declared_alignment(64).tensor(Tensor::f32("a", &[1], &[1.0])).tensor(Tensor::f32(
            "b",
            &[1],
            &[2.0],
        ));
        assert_eq!(builder.offsets(), [0, 64]);
        let bytes = builder.build();
        let start = builder.header().len().next_multiple_of(64);
        assert_eq!(bytes[start + 64..start + 68], 2.0_f32.to_le_bytes());
    }

    #[test]
    fn nested_array_repeats_the_array_type_for_each_level() {
        let Value::Raw { bytes, .. } = Value::nested_array(3) else { unreachable!() };
        assert_eq!(bytes.len(), 3 * 12 + 1);
    }
}
