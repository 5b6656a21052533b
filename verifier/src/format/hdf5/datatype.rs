//! Element types of datasets and attributes.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::error::Hdf5Error;

/// What of an element type matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datatype {
    /// Such as `float32`, as NumPy spells it.
    pub(super) name: Cow<'static, str>,
    /// Bytes of one element.
    pub(super) size: u64,
    pub(super) text: Option<Text>,
}

/// How a string is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// In place, filled up to the element's size.
    Fixed,
    /// In a heap shared by the file.
    Variable,
}

/// Reads a datatype message.
pub(super) fn read(body: &[u8]) -> Result<Datatype, Hdf5Error> {
    let mut cursor = Cursor::new(body, "a datatype");
    let class_and_version = cursor.u8()?;
    let (class, version) = (class_and_version & 15, class_and_version >> 4);
    if !(1..=5).contains(&version) {
        return Err(Hdf5Error::Version { what: "a datatype", version });
    }
    let flags = cursor.take(3)?;
    let size = u64::from(cursor.u32()?);
    let (name, text): (Cow<'static, str>, _) = match class {
        0 => (number_name(if flags[0] & 8 == 0 { "uint" } else { "int" }, size), None),
        1 => (float_name(cursor, size), None),
        2 => ("time".into(), None),
        3 => ("string".into(), Some(Text::Fixed)),
        4 => ("bitfield".into(), None),
        5 => ("opaque".into(), None),
        6 => ("compound".into(), None),
        7 => ("reference".into(), None),
        8 => ("enumeration".into(), None),
        9 if flags[0] & 15 == 1 => ("string".into(), Some(Text::Variable)),
        9 => ("sequence".into(), None),
        10 => ("array".into(), None),
        11 => ("complex".into(), None),
        _ => return Err(Hdf5Error::Invalid("a datatype")),
    };
    Ok(Datatype { name, size, text })
}

fn number_name(kind: &'static str, size: u64) -> Cow<'static, str> {
    match (kind, size) {
        ("float", 2) => "float16".into(),
        ("float", 4) => "float32".into(),
        ("float", 8) => "float64".into(),
        ("int", 4) => "int32".into(),
        ("int", 8) => "int64".into(),
        _ => format!("{kind}{}", size.saturating_mul(8)).into(),
    }
}

/// Two bytes with an exponent of eight bits are the upper half of a float32.
fn float_name(mut properties: Cursor<'_>, size: u64) -> Cow<'static, str> {
    let exponent = properties.take(6).map(|bytes| bytes[5]);
    match (size, exponent) {
        (2, Ok(8)) => "bfloat16".into(),
        _ => number_name("float", size),
    }
}
