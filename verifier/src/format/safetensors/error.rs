//! Why a file is not an acceptable safetensors file.

use std::io;

use super::MAX_HEADER_BYTES;

/// Each variant is one rule of the strict reader; [`SafetensorsError::code`] names the finding it becomes.
#[derive(Debug, thiserror::Error)]
pub enum SafetensorsError {
    #[error("the file could not be read: {0}")]
    Io(#[from] io::Error),
    #[error("a file of {size} bytes has no room for the header length")]
    Truncated { size: u64 },
    #[error("the header claims {length} bytes of a file of {size} bytes")]
    HeaderExceedsFile { length: u64, size: u64 },
    #[error("the header of {length} bytes exceeds {MAX_HEADER_BYTES} bytes")]
    HeaderTooLarge { length: u64 },
    #[error("the header needs more memory than a header may take")]
    HeaderTooComplex,
    #[error("the header is not valid UTF-8")]
    InvalidUtf8,
    #[error("the header is not a JSON object: {0}")]
    InvalidJson(String),
    #[error("the key `{0}` occurs twice")]
    DuplicateKey(String),
    #[error("the metadata key `{0}` occurs twice")]
    DuplicateMetadataKey(String),
    #[error("`__metadata__` is not a map of strings: {0}")]
    InvalidMetadata(String),
    #[error("a name is empty, longer than 4096 bytes or contains control characters: `{0}`")]
    InvalidName(String),
    #[error("the entry of the tensor `{name}` is invalid: {reason}")]
    InvalidEntry { name: String, reason: String },
    #[error("the tensor `{name}` has the unknown element type `{dtype}`")]
    UnknownDtype { name: String, dtype: String },
    #[error("the tensor `{0}` ends before it starts")]
    ReversedOffsets(String),
    #[error("the size of the tensor `{0}` overflows 64 bits")]
    SizeOverflow(String),
    #[error("the tensor `{0}` does not end on a whole byte")]
    PartialByte(String),
    #[error("the tensor `{name}` needs {expected} bytes and claims {found}")]
    SizeMismatch { name: String, expected: u64, found: u64 },
    #[error("the tensor `{name}` ends at byte {end} of {data_bytes} bytes of data")]
    TensorOutOfBounds { name: String, end: u64, data_bytes: u64 },
    #[error("the tensor `{0}` overlaps another one")]
    OverlappingTensors(String),
    #[error("{bytes} bytes before the tensor `{before}` belong to no tensor")]
    Hole { before: String, bytes: u64 },
    #[error("{0} bytes after the last tensor belong to no tensor")]
    TrailingBytes(u64),
}

impl SafetensorsError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "FILE_UNREADABLE",
            Self::Truncated { .. } => "SAFETENSORS_TRUNCATED",
            Self::HeaderExceedsFile { .. } => "SAFETENSORS_HEADER_EXCEEDS_FILE",
            Self::HeaderTooLarge { .. } => "SAFETENSORS_HEADER_TOO_LARGE",
            Self::HeaderTooComplex => "SAFETENSORS_HEADER_TOO_COMPLEX",
            Self::InvalidUtf8 => "SAFETENSORS_INVALID_UTF8",
            Self::InvalidJson(_) => "SAFETENSORS_INVALID_JSON",
            Self::DuplicateKey(_) => "SAFETENSORS_DUPLICATE_KEY",
            Self::DuplicateMetadataKey(_) => "SAFETENSORS_DUPLICATE_METADATA_KEY",
            Self::InvalidMetadata(_) => "SAFETENSORS_INVALID_METADATA",
            Self::InvalidName(_) => "SAFETENSORS_INVALID_NAME",
            Self::InvalidEntry { .. } => "SAFETENSORS_INVALID_ENTRY",
            Self::UnknownDtype { .. } => "SAFETENSORS_UNKNOWN_DTYPE",
            Self::ReversedOffsets(_) => "SAFETENSORS_REVERSED_OFFSETS",
            Self::SizeOverflow(_) => "SAFETENSORS_SIZE_OVERFLOW",
            Self::PartialByte(_) => "SAFETENSORS_PARTIAL_BYTE",
            Self::SizeMismatch { .. } => "SAFETENSORS_SIZE_MISMATCH",
            Self::TensorOutOfBounds { .. } => "SAFETENSORS_TENSOR_OUT_OF_BOUNDS",
            Self::OverlappingTensors(_) => "SAFETENSORS_OVERLAPPING_TENSORS",
            Self::Hole { .. } => "SAFETENSORS_HOLE",
            Self::TrailingBytes(_) => "SAFETENSORS_TRAILING_BYTES",
        }
    }
}
