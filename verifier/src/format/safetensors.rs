//! Strict reader of safetensors headers.
//!
//! The reference crate keeps the last of two equal JSON keys and so does every JSON library,
//! which lets one file declare two licenses or two places for a tensor. This reader refuses
//! repeated keys, holes, overlaps and bytes that belong to no tensor, and reads the header
//! alone.
//!
//! Layout after the format's README (huggingface/safetensors): a little-endian 64-bit header
//! length, that many bytes of JSON, then tensor data that the offsets cover without a gap.

mod error;
mod json;
mod scan;

pub use error::SafetensorsError;
pub(super) use scan::scan;

use crate::read_at::ReadAt;

/// Longest header this reader takes. The reference implementation takes 100,000,000 bytes;
/// the lower bound keeps header, decoded strings and entries together under 64 MiB, and
/// still holds more than 150,000 tensors in one file.
pub const MAX_HEADER_BYTES: u64 = 20 * 1024 * 1024;

const LENGTH_BYTES: u64 = 8;

/// Defines the enum and its lookups from one table.
macro_rules! dtypes {
    ($($variant:ident = $bits:literal;)+) => {
        /// Element type, spelled as in the header.
        #[expect(non_camel_case_types, reason = "the format's own spelling, which reports and pages show")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Dtype { $($variant,)+ }

        impl Dtype {
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($variant) => Some(Self::$variant),)+ _ => None }
            }

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// Bits per element; some types share a byte between elements.
            pub const fn bits(self) -> u64 {
                match self { $(Self::$variant => $bits,)+ }
            }
        }
    };
}

dtypes! {
    BOOL = 8;
    F4 = 4;
    F6_E2M3 = 6;
    F6_E3M2 = 6;
    U8 = 8;
    I8 = 8;
    F8_E5M2 = 8;
    F8_E4M3 = 8;
    F8_E8M0 = 8;
    F8_E4M3FNUZ = 8;
    F8_E5M2FNUZ = 8;
    I16 = 16;
    U16 = 16;
    F16 = 16;
    BF16 = 16;
    I32 = 32;
    U32 = 32;
    F32 = 32;
    C64 = 64;
    F64 = 64;
    I64 = 64;
    U64 = 64;
}

/// Everything a safetensors file says before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where tensor data starts, in bytes from the start of the file.
    pub data_offset: u64,
    /// The pairs of `__metadata__` in file order; keys are unique.
    pub metadata: Vec<(String, String)>,
    /// Tensors in the order of the header; names are unique.
    pub tensors: Vec<TensorInfo>,
}

/// One tensor's place and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    pub dtype: Dtype,
    /// Number of elements per dimension, the slowest-varying first; empty for a scalar.
    pub shape: Vec<u64>,
    /// In bytes from the start of the file.
    pub offset: u64,
    pub byte_length: u64,
}

impl TensorInfo {
    /// Number of elements. The reader has checked that the product does not overflow.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, dimension| product.saturating_mul(*dimension))
    }
}

impl Header {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Number of elements over all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.elements()))
    }
}

/// Reads and checks the header of `source`.
///
/// Takes at most 64 MiB of memory whatever the file claims.
pub fn read_header(source: &dyn ReadAt) -> Result<Header, SafetensorsError> {
    let bytes = read_header_bytes(source)?;
    let data_offset = LENGTH_BYTES + bytes.len() as u64;
    let parsed = json::parse(&bytes)?;
    drop(bytes);
    let mut tensors = parsed.tensors;
    for tensor in &mut tensors {
        check_size(tensor)?;
    }
    check_tiling(&tensors, source.size() - data_offset)?;
    for tensor in &mut tensors {
        // Within the file, so the sum cannot overflow.
        tensor.offset += data_offset;
    }
    Ok(Header { data_offset, metadata: parsed.metadata, tensors })
}

/// Whether `prefix`, the first 16 bytes of a file of `size` bytes, can begin a safetensors file.
pub fn looks_like(prefix: &[u8], size: u64) -> bool {
    let Some((length, rest)) = prefix.split_first_chunk::<8>() else {
        return false;
    };
    rest.first() == Some(&b'{') && u64::from_le_bytes(*length) <= size
}

fn read_header_bytes(source: &dyn ReadAt) -> Result<Vec<u8>, SafetensorsError> {
    let size = source.size();
    if size < LENGTH_BYTES {
        return Err(SafetensorsError::Truncated { size });
    }
    let mut length = [0; 8];
    source.read_exact_at(0, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > size - LENGTH_BYTES {
        return Err(SafetensorsError::HeaderExceedsFile { length, size });
    }
    if length > MAX_HEADER_BYTES {
        return Err(SafetensorsError::HeaderTooLarge { length });
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| SafetensorsError::HeaderTooLarge { length })?];
    source.read_exact_at(LENGTH_BYTES, &mut bytes)?;
    Ok(bytes)
}

/// The data a tensor claims must be exactly what its shape needs.
fn check_size(tensor: &TensorInfo) -> Result<(), SafetensorsError> {
    let name = || tensor.name.clone();
    let bits = tensor
        .shape
        .iter()
        .try_fold(1_u64, |product, dimension| product.checked_mul(*dimension))
        .and_then(|elements| elements.checked_mul(tensor.dtype.bits()))
        .ok_or_else(|| SafetensorsError::SizeOverflow(name()))?;
    if !bits.is_multiple_of(8) {
        return Err(SafetensorsError::PartialByte(name()));
    }
    if bits / 8 != tensor.byte_length {
        return Err(SafetensorsError::SizeMismatch { name: name(), expected: bits / 8, found: tensor.byte_length });
    }
    Ok(())
}

/// Tensors must cover the data of `data_bytes` bytes exactly once.
fn check_tiling(tensors: &[TensorInfo], data_bytes: u64) -> Result<(), SafetensorsError> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.offset, tensor.byte_length));
    let mut end = 0;
    for tensor in order {
        let name = || tensor.name.clone();
        if tensor.offset < end {
            return Err(SafetensorsError::OverlappingTensors(name()));
        }
        if tensor.offset > end {
            return Err(SafetensorsError::Hole { before: name(), bytes: tensor.offset - end });
        }
        end = tensor.offset.saturating_add(tensor.byte_length);
        if end > data_bytes {
            return Err(SafetensorsError::TensorOutOfBounds { name: name(), end, data_bytes });
        }
    }
    if end < data_bytes {
        return Err(SafetensorsError::TrailingBytes(data_bytes - end));
    }
    Ok(())
}
