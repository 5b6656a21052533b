//! Attributes: small named values of a group or dataset, among them Keras's configuration.

use super::cursor::Cursor;
use super::dataspace;
use super::datatype::{self, Datatype, Text};
use super::error::Hdf5Error;
use super::header::Message;
use super::reader::Reader;

const ATTRIBUTE: u16 = 0x0c;
/// Longest text that is read, in bytes.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// One attribute, its value still as it is stored.
pub(super) struct Attribute<'m> {
    pub(super) name: String,
    datatype: Datatype,
    elements: u64,
    data: &'m [u8],
}

/// All attributes of an object that can be read, and whether these are all of them.
pub(super) fn all<'m>(reader: &Reader<'_>, messages: &'m [Message]) -> (Vec<Attribute<'m>>, Result<()>) {
    let mut attributes = Vec::new();
    let mut outcome = Ok(());
    for message in messages.iter().filter(|message| message.kind == ATTRIBUTE) {
        match read(reader, message) {
            Ok(attribute) => attributes.push(attribute),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    (attributes, outcome)
}

fn read<'m>(reader: &Reader<'_>, message: &'m Message) -> Result<Attribute<'m>> {
    if message.is_shared {
        return Err(Hdf5Error::NotRead("shared attributes"));
    }
    let mut cursor = Cursor::new(&message.body, "an attribute");
    let (version, flags) = (cursor.u8()?, cursor.u8()?);
    if !(1..=3).contains(&version) {
        return Err(Hdf5Error::Version { what: "an attribute", version });
    }
    if version > 1 && flags & 3 != 0 {
        return Err(Hdf5Error::NotRead("shared types of attributes"));
    }
    let lengths = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    cursor.skip(usize::from(version == 3))?;
    let part = |cursor: &mut Cursor<'m>, length: u16| {
        let padded = if version == 1 { usize::from(length).next_multiple_of(8) } else { usize::from(length) };
        cursor.take(padded)
    };
    let name = part(&mut cursor, lengths.0)?.split(|byte| *byte == 0).next().unwrap_or_default();
    let datatype = datatype::read(part(&mut cursor, lengths.1)?)?;
    let shape = dataspace::read(reader, part(&mut cursor, lengths.2)?)?;
    let product = |product: u64, dimension: &u64| product.checked_mul(*dimension);
    let elements = shape.map_or(Some(0), |shape| shape.iter().try_fold(1, product));
    let elements = elements.ok_or(Hdf5Error::Invalid("the shape of an attribute"))?;
    let data = cursor.take(cursor.remaining())?;
    Ok(Attribute { name: String::from_utf8_lossy(name).into_owned(), datatype, elements, data })
}

impl Attribute<'_> {
    /// The first text of the attribute, or none where it holds no text.
    pub(super) fn text(&self, reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>> {
        let Some(kind) = self.datatype.text.filter(|_| self.elements > 0) else { return Ok(None) };
        let size = usize::try_from(self.datatype.size).unwrap_or(usize::MAX);
        let first = self.data.get(..size).ok_or(Hdf5Error::Truncated("an attribute"))?;
        let bytes = match kind {
            Text::Fixed => first.to_vec(),
            Text::Variable => variable(reader, first)?,
        };
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Ok(Some(bytes[..length].to_vec()))
    }
}

/// A text in the global heap: its length, the heap's address, its number there.
fn variable(reader: &mut Reader<'_>, element: &[u8]) -> Result<Vec<u8>> {
    let mut cursor = Cursor::new(element, "a variable-length text");
    let length = u64::from(cursor.u32()?);
    let heap = reader.address(&mut cursor)?;
    let index = cursor.u32()?;
    let Some(heap) = heap.filter(|_| length > 0) else { return Ok(Vec::new()) };
    let fixed = 8 + reader.length_width();
    let head = reader.signed(heap, fixed, *b"GCOL", "a global heap")?;
    let size = reader.length(&mut Cursor::new(&head[8..], "a global heap"))?;
    let end = heap.checked_add(size).filter(|end| *end <= reader.size()).ok_or(Hdf5Error::Invalid("a global heap"))?;
    let mut at = heap + fixed as u64;
    let entry_head = 8 + reader.length_width();
    while at.saturating_add(entry_head as u64) <= end {
        let bytes = reader.bytes(at, entry_head)?;
        let mut cursor = Cursor::new(&bytes, "a global heap");
        let number = cursor.u16()?;
        cursor.skip(6)?;
        let stored = reader.length(&mut cursor)?;
        let data = at + entry_head as u64;
        let behind = stored.checked_next_multiple_of(8).and_then(|padded| data.checked_add(padded));
        if number == 0 {
            break;
        }
        if u32::from(number) == index {
            let fits = length <= stored && length <= MAX_TEXT_BYTES && data.saturating_add(length) <= end;
            let length = Some(length).filter(|_| fits).and_then(|length| usize::try_from(length).ok());
            return reader.bytes(data, length.ok_or(Hdf5Error::Invalid("a variable-length text"))?);
        }
        at = behind.ok_or(Hdf5Error::Invalid("a global heap"))?;
    }
    Err(Hdf5Error::Invalid("a reference into a global heap"))
}
