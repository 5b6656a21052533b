//! Why a file is not an acceptable GGUF file.

use std::io;

use super::reader::{MAX_KEY_BYTES, MAX_MEMORY_BYTES, MAX_NESTING, MAX_TENSOR_NAME_BYTES};

/// Each variant is one rule of the strict reader; [`GgufError::code`] names the finding it becomes.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error("the file could not be read: {0}")]
    Io(#[from] io::Error),
    #[error("the file does not start with the GGUF magic")]
    BadMagic,
    #[error("the file is big-endian GGUF, which this release does not read")]
    BigEndian,
    #[error("GGUF version {0} is not 2 or 3")]
    UnsupportedVersion(u32),
    #[error("the header ends at byte {offset} of a file of {size} bytes")]
    Truncated { offset: u64, size: u64 },
    #[error("{metadata} metadata entries and {tensors} tensors cannot fit into {size} bytes")]
    CountsExceedFile { metadata: u64, tensors: u64, size: u64 },
    #[error("{what} of {length} bytes does not fit into the file or exceeds its limit")]
    LengthOutOfBounds { what: String, length: u64 },
    #[error("the array `{key}` of {length} elements does not fit into the file")]
    ArrayOutOfBounds { key: String, length: u64 },
    #[error("the array `{0}` is nested deeper than {MAX_NESTING} levels")]
    NestedTooDeep(String),
    #[error("the header needs more than {MAX_MEMORY_BYTES} bytes of memory")]
    HeaderTooLarge,
    #[error("{what} is not valid UTF-8")]
    InvalidUtf8 { what: String },
    #[error("{what} is empty or contains control characters")]
    InvalidName { what: String },
    #[error("the key `{0}` occurs twice")]
    DuplicateKey(String),
    #[error("the license key `{0}` occurs twice, so readers disagree on the license")]
    DuplicateLicenseKey(String),
    #[error("the base model key `{0}` occurs twice, so readers disagree on the lineage")]
    DuplicateLineageKey(String),
    #[error("`{key}` has the unknown value type {id}")]
    UnknownValueType { key: String, id: u32 },
    #[error("`{key}` has type {found} instead of {expected}")]
    WrongValueType { key: String, found: &'static str, expected: &'static str },
    #[error("`{key}` holds a boolean of value {value}")]
    InvalidBool { key: String, value: u8 },
    #[error("the alignment {0} is not a power of two from 8 to 65536")]
    InvalidAlignment(u64),
    #[error("the tensor `{0}` occurs twice")]
    DuplicateTensor(String),
    #[error("the tensor `{name}` has {dimensions} dimensions instead of 1 to 4")]
    DimensionCount { name: String, dimensions: u32 },
    #[error("the tensor `{0}` has a dimension of zero")]
    ZeroDimension(String),
    #[error("the size of the tensor `{0}` overflows 64 bits")]
    SizeOverflow(String),
    #[error("the tensor `{name}` has the unknown type {id}")]
    UnknownTensorType { name: String, id: u32 },
    #[error("rows of the tensor `{name}` have {row} elements, not a multiple of the block size {block}")]
    RowNotBlockAligned { name: String, row: u64, block: u64 },
    #[error("the tensor `{name}` lies at offset {offset}, which is not aligned to {alignment}")]
    MisalignedTensor { name: String, offset: u64, alignment: u64 },
    #[error("the tensor `{name}` ends at byte {end} of a file of {size} bytes")]
    TensorOutOfBounds { name: String, end: u64, size: u64 },
    #[error("the tensors `{first}` and `{second}` overlap")]
    OverlappingTensors { first: String, second: String },
    #[error("{bytes} bytes before the tensor `{before}` belong to no tensor")]
    UnclaimedBytes { before: String, bytes: u64 },
    #[error("{0} bytes after the last tensor belong to no tensor")]
    TrailingBytes(u64),
}

impl GgufError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "FILE_UNREADABLE",
            Self::BadMagic => "GGUF_BAD_MAGIC",
            Self::BigEndian => "GGUF_BIG_ENDIAN",
            Self::UnsupportedVersion(_) => "GGUF_VERSION_UNSUPPORTED",
            Self::Truncated { .. } => "GGUF_TRUNCATED",
            Self::CountsExceedFile { .. } => "GGUF_COUNTS_EXCEED_FILE",
            Self::LengthOutOfBounds { .. } => "GGUF_LENGTH_OUT_OF_BOUNDS",
            Self::ArrayOutOfBounds { .. } => "GGUF_ARRAY_OUT_OF_BOUNDS",
            Self::NestedTooDeep(_) => "GGUF_NESTED_TOO_DEEP",
            Self::HeaderTooLarge => "GGUF_HEADER_TOO_LARGE",
            Self::InvalidUtf8 { .. } => "GGUF_INVALID_UTF8",
            Self::InvalidName { .. } => "GGUF_INVALID_NAME",
            Self::DuplicateKey(_) => "GGUF_DUPLICATE_KEY",
            Self::DuplicateLicenseKey(_) => "GGUF_DUPLICATE_LICENSE_KEY",
            Self::DuplicateLineageKey(_) => "GGUF_DUPLICATE_LINEAGE_KEY",
            Self::UnknownValueType { .. } => "GGUF_UNKNOWN_VALUE_TYPE",
            Self::WrongValueType { .. } => "GGUF_WRONG_VALUE_TYPE",
            Self::InvalidBool { .. } => "GGUF_INVALID_BOOL",
            Self::InvalidAlignment(_) => "GGUF_INVALID_ALIGNMENT",
            Self::DuplicateTensor(_) => "GGUF_DUPLICATE_TENSOR",
            Self::DimensionCount { .. } => "GGUF_DIMENSION_COUNT",
            Self::ZeroDimension(_) => "GGUF_ZERO_DIMENSION",
            Self::SizeOverflow(_) => "GGUF_SIZE_OVERFLOW",
            Self::UnknownTensorType { .. } => "GGUF_UNKNOWN_TENSOR_TYPE",
            Self::RowNotBlockAligned { .. } => "GGUF_ROW_NOT_BLOCK_ALIGNED",
            Self::MisalignedTensor { .. } => "GGUF_MISALIGNED_TENSOR",
            Self::TensorOutOfBounds { .. } => "GGUF_TENSOR_OUT_OF_BOUNDS",
            Self::OverlappingTensors { .. } => "GGUF_OVERLAPPING_TENSORS",
            Self::UnclaimedBytes { .. } => "GGUF_UNCLAIMED_BYTES",
            Self::TrailingBytes(_) => "GGUF_TRAILING_BYTES",
        }
    }

    /// Whether the file may be sound but is of a kind that this reader does not support.
    pub const fn is_unsupported(&self) -> bool {
        matches!(self, Self::BigEndian | Self::UnsupportedVersion(_))
    }

    pub(super) fn key_length(length: u64) -> Self {
        Self::LengthOutOfBounds { what: format!("a key (limit {MAX_KEY_BYTES} bytes)"), length }
    }

    pub(super) fn tensor_name_length(length: u64) -> Self {
        Self::LengthOutOfBounds { what: format!("a tensor name (limit {MAX_TENSOR_NAME_BYTES} bytes)"), length }
    }
}
