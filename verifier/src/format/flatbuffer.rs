//! Bounded access to a FlatBuffer whose schema the caller knows.
//!
//! Every offset is a stranger's: each is checked before it is followed, and following is
//! counted, because many offsets may lead to one place. The layout:
//! <https://flatbuffers.dev/internals/>.

use super::pages::{PageError, Pages};

/// Values read from one file.
const MAX_STEPS: u64 = 1_500_000;
/// Longest text that is read, in bytes.
const MAX_TEXT_BYTES: u64 = 16 * 1024;
/// Bytes of text over all.
const MAX_TEXTS_BYTES: u64 = 16 * 1024 * 1024;

/// Why a FlatBuffer is not acceptable.
#[derive(Debug, thiserror::Error)]
pub(super) enum FlatBufferError {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("the offset at byte {0} leads out of the file")]
    Offset(u64),
    #[error("the table at byte {0} has an impossible list of fields")]
    Fields(u64),
    #[error("the list at byte {at} claims {length} entries, more than the file holds")]
    Length { at: u64, length: u64 },
    #[error("the data at byte {0} end behind the file")]
    Data(u64),
    #[error("a tensor refers to the buffer {0}, which does not exist")]
    Buffer(usize),
    #[error("a tensor has the unknown type {0}")]
    Type(u64),
    #[error("the size of a tensor overflows 64 bits")]
    Overflow,
    #[error("a tensor holds {stored} bytes instead of {expected}")]
    Size { stored: u64, expected: u64 },
    #[error("the file holds more values than are looked at")]
    TooLarge,
}

impl FlatBufferError {
    /// The finding code; stable, because waivers name it.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Page(PageError::Io(_)) => "FILE_UNREADABLE",
            Self::Page(PageError::OutOfBounds { .. }) | Self::Offset(_) => "TFLITE_OUT_OF_BOUNDS",
            Self::Fields(_) => "TFLITE_INVALID_TABLE",
            Self::Length { .. } => "TFLITE_LENGTH_OUT_OF_BOUNDS",
            Self::Data(_) => "TFLITE_BUFFER_OUT_OF_BOUNDS",
            Self::Buffer(_) => "TFLITE_UNKNOWN_BUFFER",
            Self::Type(_) => "TFLITE_UNKNOWN_TENSOR_TYPE",
            Self::Overflow => "TFLITE_SIZE_OVERFLOW",
            Self::Size { .. } => "TFLITE_TENSOR_SIZE",
            Self::Page(PageError::TooMuch) | Self::TooLarge => "TFLITE_TOO_LARGE",
        }
    }

    /// Whether the file may be sound and is beyond what is looked at.
    pub(super) const fn is_too_large(&self) -> bool {
        matches!(self, Self::Page(PageError::TooMuch) | Self::TooLarge)
    }
}

type Result<T> = std::result::Result<T, FlatBufferError>;

pub(super) struct FlatBuffer<'a> {
    pages: Pages<'a>,
    steps_left: u64,
    text_bytes_left: u64,
}

/// A table: where it is, and where its list of fields is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    at: u64,
    fields: u64,
    /// Bytes of the list of fields.
    fields_length: u64,
}

impl<'a> FlatBuffer<'a> {
    /// The buffer and its root table.
    pub(super) fn open(pages: Pages<'a>) -> Result<(Self, Table)> {
        let mut buffer = Self { pages, steps_left: MAX_STEPS, text_bytes_left: MAX_TEXTS_BYTES };
        let root = buffer.follow(0)?;
        let table = buffer.table(root)?;
        Ok((buffer, table))
    }

    pub(super) fn size(&self) -> u64 {
        self.pages.size()
    }

    /// Whether the table has the field.
    pub(super) fn has(&mut self, table: Table, field: u64) -> Result<bool> {
        Ok(self.field(table, field)?.is_some())
    }

    /// A number of `width` bytes, 0 where the field is not there.
    pub(super) fn number(&mut self, table: Table, field: u64, width: usize) -> Result<u64> {
        self.field(table, field)?.map_or(Ok(0), |at| self.raw(at, width))
    }

    /// A text, bytes that are no UTF-8 replaced.
    pub(super) fn text(&mut self, table: Table, field: u64) -> Result<Option<String>> {
        let Some((at, length)) = self.vector(table, field, 1)? else { return Ok(None) };
        let kept = length.min(MAX_TEXT_BYTES);
        self.text_bytes_left = self.text_bytes_left.checked_sub(kept).ok_or(FlatBufferError::TooLarge)?;
        let bytes = self.pages.bytes(at, usize::try_from(kept).unwrap_or_default())?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Place and length of a vector of bytes.
    pub(super) fn bytes(&mut self, table: Table, field: u64) -> Result<Option<(u64, u64)>> {
        self.vector(table, field, 1)
    }

    /// A vector of numbers of `width` bytes, at most `limit`.
    pub(super) fn numbers(&mut self, table: Table, field: u64, width: usize, limit: u64) -> Result<Vec<u64>> {
        let Some((at, length)) = self.vector(table, field, width as u64)? else { return Ok(Vec::new()) };
        if length > limit {
            return Err(FlatBufferError::Length { at, length });
        }
        (0..length).map(|index| self.raw(at + index * width as u64, width)).collect()
    }

    /// A vector of tables.
    pub(super) fn tables(&mut self, table: Table, field: u64) -> Result<Vec<Table>> {
        let Some((at, length)) = self.vector(table, field, 4)? else { return Ok(Vec::new()) };
        let mut tables = Vec::new();
        for index in 0..length {
            let target = self.follow(at + index * 4)?;
            tables.push(self.table(target)?);
        }
        Ok(tables)
    }

    /// Where the first entry of a vector is, and how many of `width` bytes there are.
    fn vector(&mut self, table: Table, field: u64, width: u64) -> Result<Option<(u64, u64)>> {
        let Some(at) = self.field(table, field)? else { return Ok(None) };
        let start = self.follow(at)?;
        let length = self.raw(start, 4)?;
        let end = length.checked_mul(width).and_then(|bytes| bytes.checked_add(start + 4));
        if end.is_none_or(|end| end > self.size()) {
            return Err(FlatBufferError::Length { at: start, length });
        }
        Ok(Some((start + 4, length)))
    }

    /// Where a field of the table is; none where it has the default.
    fn field(&mut self, table: Table, field: u64) -> Result<Option<u64>> {
        let entry = 4 + 2 * field;
        if entry + 2 > table.fields_length {
            return Ok(None);
        }
        let offset = self.raw(table.fields + entry, 2)?;
        Ok(Some(offset).filter(|offset| *offset != 0).map(|offset| table.at + offset))
    }

    fn table(&mut self, at: u64) -> Result<Table> {
        let back = i64::from(u32::try_from(self.raw(at, 4)?).unwrap_or_default().cast_signed());
        let fields = at.checked_add_signed(-back).filter(|fields| *fields < self.size());
        let fields = fields.ok_or(FlatBufferError::Offset(at))?;
        let fields_length = self.raw(fields, 2)?;
        if fields_length < 4 || fields_length % 2 != 0 {
            return Err(FlatBufferError::Fields(at));
        }
        Ok(Table { at, fields, fields_length })
    }

    /// Where the offset at `at` leads.
    fn follow(&mut self, at: u64) -> Result<u64> {
        let target = at + self.raw(at, 4)?;
        if target < self.size() { Ok(target) } else { Err(FlatBufferError::Offset(at)) }
    }

    fn raw(&mut self, at: u64, width: usize) -> Result<u64> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(FlatBufferError::TooLarge)?;
        let mut bytes = [0; 8];
        self.pages.fill(at, &mut bytes[..width])?;
        Ok(u64::from_le_bytes(bytes))
    }
}
