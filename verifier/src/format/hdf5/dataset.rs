//! One dataset: a tensor, and where its bytes come from.

use super::super::found::shown;
use super::super::tensor::Tensor;
use super::cursor::Cursor;
use super::dataspace;
use super::datatype::{self, Datatype};
use super::error::Hdf5Error;
use super::header::Message;
use super::reader::Reader;

pub(super) const DATASPACE: u16 = 0x01;
pub(super) const DATATYPE: u16 = 0x03;
const EXTERNAL_FILES: u16 = 0x07;
const LAYOUT: u16 = 0x08;
const FILTERS: u16 = 0x0b;

/// Filters that the library itself has: deflate, shuffle, checksum, szip, n-bit and scale-offset.
const BUILT_IN_FILTERS: std::ops::RangeInclusive<u16> = 1..=6;
/// LZF, which comes with the Python binding that Keras uses.
const LZF: u16 = 32_000;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// A tensor and what reading it would need.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) tensor: Option<Tensor>,
    /// Whether the data are read from other files.
    pub(super) is_external: bool,
    /// A filter that only a plug-in library has.
    pub(super) plugin_filter: Option<u16>,
}

/// Whether an object with these messages is a dataset.
pub(super) fn is_dataset(messages: &[Message]) -> bool {
    messages.iter().any(|message| message.kind == LAYOUT)
}

/// Reads the dataset called `name`.
pub(super) fn read(reader: &Reader<'_>, name: &str, messages: &[Message]) -> Result<Dataset> {
    let mut dataset = Dataset { tensor: None, is_external: false, plugin_filter: None };
    let mut datatype = None;
    let mut shape = None;
    let mut place = Place::Unknown;
    for message in messages {
        match message.kind {
            EXTERNAL_FILES => dataset.is_external = true,
            DATATYPE | DATASPACE | LAYOUT if message.is_shared => {
                return Err(Hdf5Error::NotRead("shared types of datasets"));
            }
            DATATYPE => datatype = Some(datatype::read(&message.body)?),
            DATASPACE => shape = dataspace::read(reader, &message.body)?,
            LAYOUT => place = layout(reader, &message.body)?,
            FILTERS if !message.is_shared => dataset.plugin_filter = plugin_filter(&message.body)?,
            _ => {}
        }
    }
    dataset.is_external |= matches!(place, Place::Virtual);
    if let (Some(datatype), Some(shape)) = (datatype, shape) {
        dataset.tensor = Some(tensor(reader, name, datatype, shape, &place, dataset.is_external)?);
    }
    Ok(dataset)
}

/// Where the bytes of a dataset are.
enum Place {
    /// In the object header.
    Compact {
        length: u64,
    },
    /// In one run of the file; nowhere yet where the address is missing.
    Contiguous {
        at: Option<u64>,
        length: Option<u64>,
    },
    /// In pieces, which may be compressed.
    Chunked,
    /// In other datasets, of this or other files.
    Virtual,
    Unknown,
}

fn layout(reader: &Reader<'_>, body: &[u8]) -> Result<Place> {
    let mut cursor = Cursor::new(body, "a data layout");
    match cursor.u8()? {
        1 | 2 => {
            let (_rank, class) = (cursor.u8()?, cursor.u8()?);
            cursor.skip(5)?;
            match class {
                0 => Ok(Place::Unknown),
                1 => Ok(Place::Contiguous { at: reader.address(&mut cursor)?, length: None }),
                2 => Ok(Place::Chunked),
                _ => Err(Hdf5Error::Invalid("a data layout")),
            }
        }
        3..=5 => match cursor.u8()? {
            0 => Ok(Place::Compact { length: u64::from(cursor.u16()?) }),
            1 => Ok(Place::Contiguous { at: reader.address(&mut cursor)?, length: Some(reader.length(&mut cursor)?) }),
            2 => Ok(Place::Chunked),
            3 => Ok(Place::Virtual),
            _ => Err(Hdf5Error::Invalid("a data layout")),
        },
        version => Err(Hdf5Error::Version { what: "a data layout", version }),
    }
}

fn tensor(
    reader: &Reader<'_>,
    name: &str,
    datatype: Datatype,
    shape: Vec<u64>,
    place: &Place,
    is_external: bool,
) -> Result<Tensor> {
    let product = |product: u64, dimension: &u64| product.checked_mul(*dimension);
    let elements = shape.iter().try_fold(1, product);
    let expected = elements.and_then(|elements| elements.checked_mul(datatype.size));
    let expected = expected.ok_or_else(|| Hdf5Error::SizeOverflow(shown(name)))?;
    let mut offset = None;
    match *place {
        Place::Compact { length: stored } if stored != expected => {
            return Err(Hdf5Error::Size { name: shown(name), stored, expected });
        }
        Place::Contiguous { at: Some(at), length } if !is_external => {
            let stored = length.unwrap_or(expected);
            if stored != expected {
                return Err(Hdf5Error::Size { name: shown(name), stored, expected });
            }
            let end = at.saturating_add(expected);
            if end > reader.size() {
                return Err(Hdf5Error::OutOfBounds { name: shown(name), end, size: reader.size() });
            }
            offset = Some(at);
        }
        _ => {}
    }
    Ok(Tensor { name: name.to_owned(), element_type: datatype.name, shape, byte_length: expected, offset })
}

/// The first filter that the library would have to load from a plug-in.
fn plugin_filter(body: &[u8]) -> Result<Option<u16>> {
    let mut cursor = Cursor::new(body, "a filter pipeline");
    let (version, count) = (cursor.u8()?, cursor.u8()?);
    cursor.skip(if version == 1 { 6 } else { 0 })?;
    for _ in 0..count {
        let id = cursor.u16()?;
        let name_length = if version == 1 || id >= 256 { cursor.u16()? } else { 0 };
        let (_flags, values) = (cursor.u16()?, cursor.u16()?);
        if !BUILT_IN_FILTERS.contains(&id) && id != LZF {
            return Ok(Some(id));
        }
        let name_length = if version == 1 { name_length.next_multiple_of(8) } else { name_length };
        let padding = if version == 1 && values % 2 == 1 { 4 } else { 0 };
        cursor.skip(usize::from(name_length) + 4 * usize::from(values) + padding)?;
    }
    Ok(None)
}
