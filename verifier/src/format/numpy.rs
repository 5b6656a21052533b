//! Reads NumPy's `.npy` headers, and the pickles that stand behind those of object arrays.
//!
//! Layout after NumPy's NEP 1, versions 1.0 to 3.0: magic, version, header length, a Python
//! dictionary literal, then the array's bytes.

mod literal;

use thiserror::Error;

use super::content::Content;
use super::found::{Found, Weights};
use super::kind::{self, FileKind};
use super::section::Section;
use super::tensor::Tensor;
use super::{archive, findings, pickle};
use crate::read_at::ReadAt;
use literal::Literal;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header read. NumPy itself refuses more than 10,000 characters by default.
const MAX_HEADER_BYTES: usize = 64 * 1024;

#[derive(Debug, Error)]
enum NumpyError {
    #[error("the array's header is cut off or does not begin as such headers do")]
    Header,
    #[error("the array's header is longer than is read")]
    HeaderTooLong,
    #[error("the array is of version {0}, which is not known")]
    Version(u8),
    #[error("the array's header is not a dictionary of descr, fortran_order and shape")]
    Keys,
    #[error("the array's element type is not known")]
    Type,
    #[error("the array's data is of {found} bytes, and its shape needs {expected}")]
    Size { expected: u64, found: u64 },
    #[error("the array's shape overflows")]
    Overflow,
    #[error("the file could not be read: {0}")]
    Read(#[from] std::io::Error),
}

impl NumpyError {
    const fn code(&self) -> &'static str {
        match self {
            Self::Header | Self::HeaderTooLong | Self::Version(_) | Self::Keys | Self::Type => "NUMPY_HEADER_MALFORMED",
            Self::Size { .. } | Self::Overflow => "NUMPY_SIZE_MISMATCH",
            Self::Read(_) => "FILE_UNREADABLE",
        }
    }
}

/// What a header says.
#[derive(Debug, PartialEq)]
struct Header {
    /// NumPy's name of the element type, such as `<f4`; `record` for structured types.
    element_type: String,
    element_bytes: u64,
    holds_objects: bool,
    shape: Vec<u64>,
    data_offset: u64,
}

/// Adds what the array, or the archive of arrays, holds.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    if kind::is_zip(content.source) {
        return archive::scan_zip(content, found);
    }
    match read(content, found) {
        Ok(()) => {}
        Err(NumpyError::Read(error)) => findings::unreadable(found, &error),
        Err(error) => findings::malformed(found, error.code(), &error),
    }
}

fn read(content: &Content<'_>, found: &mut Found) -> Result<(), NumpyError> {
    let header = Header::read(content.source)?;
    let data = content.source.size() - header.data_offset;
    if header.holds_objects {
        let source = Section::new(content.source, header.data_offset, data);
        pickle::scan(&Content { source: &source, kind: FileKind::Pickle, ..*content }, found);
        return Ok(());
    }
    let elements = header.shape.iter().try_fold(1_u64, |product, dimension| product.checked_mul(*dimension));
    let expected = elements.and_then(|elements| elements.checked_mul(header.element_bytes));
    let expected = expected.ok_or(NumpyError::Overflow)?;
    if expected != data {
        return Err(NumpyError::Size { expected, found: data });
    }
    let tensor = Tensor {
        name: String::new(),
        element_type: header.element_type.into(),
        shape: header.shape,
        byte_length: data,
        offset: Some(header.data_offset).filter(|_| content.depth == 0),
    };
    found.weights = Some(Weights { tensors: vec![tensor], ..Weights::default() });
    Ok(())
}

/// Whether a file that starts with `prefix` may hold Python objects behind its header.
pub(super) fn may_hold_objects(prefix: &[u8]) -> bool {
    match Header::parse(prefix) {
        Ok(header) => header.holds_objects,
        Err(_) => true,
    }
}

/// Bytes of one element of a type code without its byte order, such as `f4`; none where it is not known.
pub(super) fn item_bytes(code: &str) -> Option<u64> {
    let mut characters = code.chars();
    let kind = characters.next()?;
    let digits = characters.as_str();
    // Dates say their unit in brackets: `M8[ns]`.
    let digits = if "mM".contains(kind) { digits.split('[').next()? } else { digits };
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 12)?;
    match (kind, count) {
        ('b', 1)
        | ('i' | 'u', 1 | 2 | 4 | 8)
        | ('f', 2 | 4 | 8 | 12 | 16)
        | ('c', 8 | 16 | 24 | 32)
        | ('m' | 'M', 8)
        | ('S' | 'a' | 'V', _) => Some(count),
        ('U', _) => count.checked_mul(4),
        _ => None,
    }
}

impl Header {
    fn read(source: &dyn ReadAt) -> Result<Self, NumpyError> {
        let length = usize::try_from(source.size()).unwrap_or(usize::MAX).min(MAX_HEADER_BYTES);
        let mut bytes = vec![0; length.min(4096)];
        source.read_exact_at(0, &mut bytes)?;
        if header_length(&bytes)? > bytes.len() && bytes.len() < length {
            bytes.resize(length, 0);
            source.read_exact_at(0, &mut bytes)?;
        }
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, NumpyError> {
        let end = header_length(bytes)?;
        let start = if bytes.get(6) == Some(&1) { 10 } else { 12 };
        let text = String::from_utf8_lossy(bytes.get(start..end).ok_or(NumpyError::Header)?);
        let Some(Literal::Dictionary(pairs)) = literal::parse(&text) else { return Err(NumpyError::Keys) };
        let mut keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if keys != ["descr", "fortran_order", "shape"] {
            return Err(NumpyError::Keys);
        }
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let (Some(descr), Some(Literal::Bool(_)), Some(Literal::Sequence(shape))) =
            (value("descr"), value("fortran_order"), value("shape"))
        else {
            return Err(NumpyError::Keys);
        };
        let shape: Option<Vec<u64>> = shape.iter().map(Literal::whole_number).collect();
        let item = item(descr).ok_or(NumpyError::Type)?;
        Ok(Self {
            element_type: descr.text().unwrap_or("record").to_owned(),
            element_bytes: item.bytes,
            holds_objects: item.holds_objects,
            shape: shape.ok_or(NumpyError::Keys)?,
            data_offset: end as u64,
        })
    }
}

/// Where the header ends, counted from the start of the file.
fn header_length(bytes: &[u8]) -> Result<usize, NumpyError> {
    let version = *bytes.strip_prefix(MAGIC).and_then(|rest| rest.first()).ok_or(NumpyError::Header)?;
    let length = match (version, bytes.get(8..)) {
        (1, Some([low, high, ..])) => 10 + usize::from(u16::from_le_bytes([*low, *high])),
        (2 | 3, Some([a, b, c, d, ..])) => {
            let length =
                usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).map_err(|_| NumpyError::HeaderTooLong)?;
            length.checked_add(12).ok_or(NumpyError::HeaderTooLong)?
        }
        (1..=3, _) => return Err(NumpyError::Header),
        (version, _) => return Err(NumpyError::Version(version)),
    };
    if length > MAX_HEADER_BYTES { Err(NumpyError::HeaderTooLong) } else { Ok(length) }
}

struct Item {
    bytes: u64,
    holds_objects: bool,
}

/// The size of one element: of a type code, or of a list of named fields. The parser has bounded
/// how deep fields nest.
fn item(descr: &Literal) -> Option<Item> {
    match descr {
        Literal::Text(code) => {
            let code = code.trim_start_matches(['<', '>', '|', '=']);
            if code.starts_with('O') {
                return Some(Item { bytes: 8, holds_objects: true });
            }
            item_bytes(code).map(|bytes| Item { bytes, holds_objects: false })
        }
        Literal::Sequence(fields) => {
            let mut whole = Item { bytes: 0, holds_objects: false };
            for field in fields {
                let Literal::Sequence(parts) = field else { return None };
                let [_, code, shape @ ..] = parts.as_slice() else { return None };
                let part = item(code)?;
                let count = match shape {
                    [] => 1,
                    [Literal::Sequence(shape)] => shape
                        .iter()
                        .map(Literal::whole_number)
                        .try_fold(1_u64, |product, size| product.checked_mul(size?))?,
                    _ => return None,
                };
                whole.bytes = part.bytes.checked_mul(count)?.checked_add(whole.bytes)?;
                whole.holds_objects |= part.holds_objects;
            }
            Some(whole)
        }
        _ => None,
    }
}
