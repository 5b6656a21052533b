//! Shapes of datasets and attributes.

use super::cursor::Cursor;
use super::error::Hdf5Error;
use super::reader::Reader;

/// Dimensions that the format allows.
const MAX_RANK: u8 = 32;

/// Reads a dataspace message: the dimensions, or none where the space holds no element.
pub(super) fn read(reader: &Reader<'_>, body: &[u8]) -> Result<Option<Vec<u64>>, Hdf5Error> {
    let mut cursor = Cursor::new(body, "a dataspace");
    let (version, rank, _flags) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
    if rank > MAX_RANK {
        return Err(Hdf5Error::Invalid("the rank of a dataspace"));
    }
    match version {
        1 => cursor.skip(5)?,
        2 => match cursor.u8()? {
            0 | 1 => {}
            2 => return Ok(None),
            _ => return Err(Hdf5Error::Invalid("a dataspace")),
        },
        version => return Err(Hdf5Error::Version { what: "a dataspace", version }),
    }
    (0..rank).map(|_| reader.length(&mut cursor)).collect::<Result<_, _>>().map(Some)
}
