//! Writes protobuf messages field by field, so that tests can write what no library would.

/// A message under construction.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn new() -> Self {
        Self::default()
    }

    /// An integer, boolean or enumeration.
    #[must_use]
    pub fn number(mut self, field: u32, value: u64) -> Self {
        self.key(field, 0);
        push_varint(&mut self.0, value);
        self
    }

    /// Bytes, as they are.
    #[must_use]
    pub fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.key(field, 2);
        push_varint(&mut self.0, bytes.as_ref().len() as u64);
        self.0.extend(bytes.as_ref());
        self
    }

    #[must_use]
    pub fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text)
    }

    #[must_use]
    pub fn message(self, field: u32, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// A repeated integer in the packed form.
    #[must_use]
    pub fn packed(self, field: u32, values: &[u64]) -> Self {
        let mut bytes = Vec::new();
        for value in values {
            push_varint(&mut bytes, *value);
        }
        self.bytes(field, bytes)
    }

    /// The start of a field whose content is said to have `length` bytes, and none of them.
    #[must_use]
    pub fn claimed(mut self, field: u32, length: u64) -> Self {
        self.key(field, 2);
        push_varint(&mut self.0, length);
        self
    }

    /// Bytes that need not be a field.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn build(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u32, wire_type: u64) {
        push_varint(&mut self.0, u64::from(field) << 3 | wire_type);
    }
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}
