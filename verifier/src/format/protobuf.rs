//! A bounded walk over the protobuf wire format.
//!
//! ONNX and TensorFlow write models as protobuf messages, weights among them. Generated
//! decoders load everything; this walk looks at one field at a time, skips what nobody asks
//! for, and refuses what no writer of these formats produces. The format:
//! <https://protobuf.dev/programming-guides/encoding/>.

use super::findings;
use super::found::Found;
use super::pages::{PageError, Pages};

/// Messages in messages; the limit of the reference implementations.
const MAX_DEPTH: u8 = 100;
/// Fields looked at in one file.
const MAX_FIELDS: u64 = 20_000_000;
/// Longest name that is read, in bytes.
const MAX_NAME_BYTES: u64 = 16 * 1024;
/// Bytes of names that are read from one file.
const MAX_NAMES_BYTES: u64 = 32 * 1024 * 1024;
/// Largest field number.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// Each variant is one rule of the walk; [`ProtobufError::code`] names the finding it becomes.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtobufError {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("the number at byte {0} is longer than 64 bits or than its message")]
    Varint(u64),
    #[error("the field at byte {at} claims {length} bytes, more than its message holds")]
    LengthOutOfBounds { at: u64, length: u64 },
    #[error("the field at byte {0} is a group, which no writer of this format uses")]
    Group(u64),
    #[error("the field at byte {at} has the unknown wire type {wire_type}")]
    WireType { at: u64, wire_type: u8 },
    #[error("the field at byte {at} has the impossible number {number}")]
    FieldNumber { at: u64, number: u64 },
    #[error("field {number}, which ends before byte {at}, is encoded as another type than its own")]
    FieldType { at: u64, number: u32 },
    #[error("field {number}, which ends before byte {at}, is none that its message has")]
    UnknownField { at: u64, number: u32 },
    #[error("the message at byte {at} lacks its field {number}")]
    MissingField { at: u64, number: u32 },
    #[error("the name at byte {at} has {length} bytes; at most {MAX_NAME_BYTES} are expected")]
    NameTooLong { at: u64, length: u64 },
    #[error("messages are nested more than {MAX_DEPTH} deep")]
    NestedTooDeep,
    #[error("the file holds more fields or names than are looked at ({MAX_FIELDS} fields, {MAX_NAMES_BYTES} bytes)")]
    TooLarge,
}

impl ProtobufError {
    /// The finding code; stable, because waivers name it.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Page(PageError::Io(_)) => "FILE_UNREADABLE",
            Self::Page(PageError::OutOfBounds { .. }) => "PROTOBUF_TRUNCATED",
            Self::Varint(_) => "PROTOBUF_INVALID_NUMBER",
            Self::LengthOutOfBounds { .. } => "PROTOBUF_LENGTH_OUT_OF_BOUNDS",
            Self::Group(_) => "PROTOBUF_GROUP",
            Self::WireType { .. } => "PROTOBUF_WIRE_TYPE",
            Self::FieldNumber { .. } => "PROTOBUF_FIELD_NUMBER",
            Self::FieldType { .. } => "PROTOBUF_FIELD_TYPE",
            Self::UnknownField { .. } => "PROTOBUF_UNKNOWN_FIELD",
            Self::MissingField { .. } => "PROTOBUF_MISSING_FIELD",
            Self::NameTooLong { .. } => "PROTOBUF_NAME_TOO_LONG",
            Self::NestedTooDeep => "PROTOBUF_NESTED_TOO_DEEP",
            Self::Page(PageError::TooMuch) | Self::TooLarge => "PROTOBUF_TOO_LARGE",
        }
    }

    /// Adds what stopped the walk.
    pub(super) fn report(&self, found: &mut Found) {
        match self {
            Self::Page(PageError::Io(error)) => findings::unreadable(found, error),
            Self::Page(PageError::TooMuch) | Self::TooLarge => {
                findings::unscannable(found, self.code(), self, "split the model into smaller files");
            }
            _ => findings::malformed(found, self.code(), self),
        }
    }
}

type Result<T> = std::result::Result<T, ProtobufError>;

/// A source and what walking it may still cost.
pub(super) struct Walker<'a> {
    pages: Pages<'a>,
    fields_left: u64,
    name_bytes_left: u64,
}

/// A part of the source that is a message, a text, or a run of packed numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    at: u64,
    end: u64,
    depth: u8,
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) number: u32,
    value: Value,
    end: u64,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Varint(u64),
    Fixed64,
    Fixed32,
    Bytes(Span),
}

impl Field {
    /// The value of an integer, boolean or enumeration.
    pub(super) const fn varint(&self) -> Result<u64> {
        match self.value {
            Value::Varint(number) => Ok(number),
            _ => Err(self.wrong_type()),
        }
    }

    /// The value of a text, of bytes, or of a message.
    pub(super) const fn span(&self) -> Result<Span> {
        match self.value {
            Value::Bytes(span) => Ok(span),
            _ => Err(self.wrong_type()),
        }
    }

    /// Number of values of a repeated field whose values have `width` bytes, packed or not.
    pub(super) const fn fixed_count(&self, width: u64) -> Result<u64> {
        match (self.value, width) {
            (Value::Bytes(span), _) if span.length().is_multiple_of(width) => Ok(span.length() / width),
            (Value::Fixed32, 4) | (Value::Fixed64, 8) => Ok(1),
            _ => Err(self.wrong_type()),
        }
    }

    /// Least and largest number of values of a repeated integer, packed or not.
    pub(super) const fn varint_counts(&self) -> Result<(u64, u64)> {
        match self.value {
            Value::Bytes(span) => Ok((span.length().div_ceil(10), span.length())),
            Value::Varint(_) => Ok((1, 1)),
            _ => Err(self.wrong_type()),
        }
    }

    /// What is said of a field that the message does not have.
    pub(super) const fn unknown(&self) -> ProtobufError {
        ProtobufError::UnknownField { at: self.end, number: self.number }
    }

    pub(super) const fn is_varint(&self) -> bool {
        matches!(self.value, Value::Varint(_))
    }

    const fn wrong_type(&self) -> ProtobufError {
        ProtobufError::FieldType { at: self.end, number: self.number }
    }
}

impl Span {
    pub(super) const fn start(&self) -> u64 {
        self.at
    }

    /// What is said of a message without a field that it must have.
    pub(super) const fn missing(&self, number: u32) -> ProtobufError {
        ProtobufError::MissingField { at: self.at, number }
    }

    /// Length in bytes.
    pub(super) const fn length(&self) -> u64 {
        self.end - self.at
    }

    /// The next field of the message, or none at its end.
    pub(super) fn next(&mut self, walker: &mut Walker<'_>) -> Result<Option<Field>> {
        if self.at == self.end {
            return Ok(None);
        }
        if self.depth > MAX_DEPTH {
            return Err(ProtobufError::NestedTooDeep);
        }
        walker.fields_left = walker.fields_left.checked_sub(1).ok_or(ProtobufError::TooLarge)?;
        let at = self.at;
        let key = self.varint(walker)?;
        let number = key >> 3;
        let value = match key & 7 {
            0 => Value::Varint(self.varint(walker)?),
            1 => self.take(at, 8).map(|_| Value::Fixed64)?,
            2 => {
                let length = self.varint(walker)?;
                Value::Bytes(self.take(at, length)?)
            }
            5 => self.take(at, 4).map(|_| Value::Fixed32)?,
            3 | 4 => return Err(ProtobufError::Group(at)),
            other => return Err(ProtobufError::WireType { at, wire_type: other.to_le_bytes()[0] }),
        };
        let number = u32::try_from(number).ok().filter(|_| (1..=MAX_FIELD_NUMBER).contains(&number));
        let number = number.ok_or(ProtobufError::FieldNumber { at, number: key >> 3 })?;
        Ok(Some(Field { number, value, end: self.at }))
    }

    /// `length` bytes of this span from its byte `at` on; none where it holds no such part.
    pub(super) fn part(&self, at: u64, length: u64) -> Option<Self> {
        let start = self.at.checked_add(at)?;
        let end = start.checked_add(length).filter(|end| *end <= self.end)?;
        Some(Self { at: start, end, depth: self.depth })
    }

    /// Takes `length` bytes off the front; none where there are fewer.
    pub(super) fn split(&mut self, length: u64) -> Option<Self> {
        let part = self.part(0, length)?;
        self.at = part.end;
        Some(part)
    }

    /// Takes a number off the front.
    pub(super) fn varint(&mut self, walker: &mut Walker<'_>) -> Result<u64> {
        let start = self.at;
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            if self.at == self.end {
                break;
            }
            let byte = walker.pages.byte(self.at)?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ProtobufError::Varint(start))
    }

    fn take(&mut self, field: u64, length: u64) -> Result<Self> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end);
        let end = end.ok_or(ProtobufError::LengthOutOfBounds { at: field, length })?;
        let span = Self { at: self.at, end, depth: self.depth + 1 };
        self.at = end;
        Ok(span)
    }
}

impl<'a> Walker<'a> {
    /// A walker over `pages`, and the message that is the whole file.
    pub(super) fn new(pages: Pages<'a>) -> (Self, Span) {
        let whole = Span { at: 0, end: pages.size(), depth: 0 };
        (Self { pages, fields_left: MAX_FIELDS, name_bytes_left: MAX_NAMES_BYTES }, whole)
    }

    /// A short text, bytes that are no UTF-8 replaced.
    pub(super) fn name(&mut self, span: Span) -> Result<String> {
        if span.length() > MAX_NAME_BYTES {
            return Err(ProtobufError::NameTooLong { at: span.at, length: span.length() });
        }
        self.name_bytes_left = self.name_bytes_left.checked_sub(span.length()).ok_or(ProtobufError::TooLarge)?;
        Ok(String::from_utf8_lossy(&self.prefix(span, MAX_NAME_BYTES)?).into_owned())
    }

    /// The first bytes of a text, at most `limit`.
    pub(super) fn prefix(&mut self, span: Span, limit: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(span.length().min(limit)).unwrap_or_default();
        Ok(self.pages.bytes(span.at, length)?)
    }

    /// The numbers of one occurrence of a repeated integer field, packed or not; more than `limit` are too many.
    pub(super) fn varints(&mut self, field: &Field, limit: usize, into: &mut Vec<u64>) -> Result<()> {
        let Value::Bytes(mut span) = field.value else {
            into.push(field.varint()?);
            return Ok(());
        };
        while span.at < span.end {
            if into.len() >= limit {
                return Err(field.wrong_type());
            }
            into.push(span.varint(self)?);
        }
        Ok(())
    }
}

/// Calls `visit` with every field of a message.
pub(super) fn each_field(
    walker: &mut Walker<'_>,
    mut message: Span,
    mut visit: impl FnMut(&mut Walker<'_>, Field) -> Result<()>,
) -> Result<()> {
    while let Some(field) = message.next(walker)? {
        visit(walker, field)?;
    }
    Ok(())
}
