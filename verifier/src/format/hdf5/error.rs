//! Why an HDF5 file is not read, or not to its end.

use super::super::findings;
use super::super::found::Found;
use super::super::pages::PageError;
use super::reader::{MAX_HEADER_MESSAGES, MAX_OBJECTS, MAX_STRUCTURE_BYTES};

/// Each variant is one rule of the reader; [`Hdf5Error::code`] names the finding it becomes.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Hdf5Error {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("{0} ends before its last field")]
    Truncated(&'static str),
    #[error("the file is shorter than the {0} bytes its superblock tells")]
    FileTruncated(u64),
    #[error("{what} at byte {at} does not begin as it must")]
    Signature { what: &'static str, at: u64 },
    #[error("{what} has version {version}, which the format does not define")]
    Version { what: &'static str, version: u8 },
    #[error("{0} has a value that the format does not allow")]
    Invalid(&'static str),
    #[error("the checksum of {what} at byte {at} is wrong")]
    Checksum { what: &'static str, at: u64 },
    #[error("an object header holds more than {MAX_HEADER_MESSAGES} messages or refers to itself")]
    HeaderTooLarge,
    #[error("groups are nested too deep or a tree refers to itself")]
    Cycle,
    #[error("the size of the dataset `{0}` overflows 64 bits")]
    SizeOverflow(String),
    #[error("the dataset `{name}` holds {stored} bytes instead of {expected}")]
    Size { name: String, stored: u64, expected: u64 },
    #[error("the data of `{name}` ends at byte {end} of a file of {size} bytes")]
    OutOfBounds { name: String, end: u64, size: u64 },
    #[error("the file has more than {MAX_OBJECTS} objects or {MAX_STRUCTURE_BYTES} bytes of structure")]
    TooLarge,
    #[error("the file uses {0}, which this release does not look into")]
    NotRead(&'static str),
}

impl Hdf5Error {
    /// The finding code; stable, because waivers name it.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Page(PageError::Io(_)) => "FILE_UNREADABLE",
            Self::Page(PageError::OutOfBounds { .. }) | Self::OutOfBounds { .. } => "HDF5_OUT_OF_BOUNDS",
            Self::Truncated(_) | Self::FileTruncated(_) => "HDF5_TRUNCATED",
            Self::Signature { .. } => "HDF5_BAD_SIGNATURE",
            Self::Version { .. } => "HDF5_VERSION",
            Self::Invalid(_) => "HDF5_INVALID_VALUE",
            Self::Checksum { .. } => "HDF5_CHECKSUM",
            Self::HeaderTooLarge => "HDF5_HEADER_TOO_LARGE",
            Self::Cycle => "HDF5_CYCLE",
            Self::SizeOverflow(_) => "HDF5_SIZE_OVERFLOW",
            Self::Size { .. } => "HDF5_DATASET_SIZE",
            Self::Page(PageError::TooMuch) | Self::TooLarge => "HDF5_TOO_LARGE",
            Self::NotRead(_) => "HDF5_NOT_READ",
        }
    }

    /// Adds what stopped the reader.
    pub(super) fn report(&self, found: &mut Found) {
        match self {
            Self::Page(PageError::Io(error)) => findings::unreadable(found, error),
            Self::Page(PageError::TooMuch) | Self::TooLarge | Self::NotRead(_) => {
                findings::unscannable(found, self.code(), self, "provide the weights as safetensors");
            }
            _ => findings::malformed(found, self.code(), self),
        }
    }
}
