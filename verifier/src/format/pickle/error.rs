//! Why a pickle could not be followed to its end.

use std::io;

use thiserror::Error;

/// What stopped the machine; each has a stable code.
#[derive(Debug, Error)]
pub(in crate::format) enum PickleError {
    #[error("the pickle ends in the middle of an instruction at byte {0}")]
    Truncated(u64),
    #[error("byte {position} is {opcode:#04x}, which no protocol of pickle defines")]
    UnknownOpcode { opcode: u8, position: u64 },
    #[error("the pickle asks for protocol {0}, and 5 is the highest")]
    UnknownProtocol(u8),
    #[error("the instruction at byte {0} takes more values than there are")]
    StackUnderflow(u64),
    #[error("the instruction at byte {0} asks for a memo that was never set")]
    NoSuchMemo(u64),
    #[error("the argument of the instruction at byte {0} cannot be read")]
    BadArgument(u64),
    #[error("the pickle exceeds the limit on {0}")]
    TooComplex(&'static str),
    #[error("the bytes could not be read: {0}")]
    Read(#[from] io::Error),
}

impl PickleError {
    pub(in crate::format) const fn code(&self) -> &'static str {
        match self {
            Self::Truncated(_) => "PICKLE_TRUNCATED",
            Self::TooComplex(_) => "PICKLE_TOO_COMPLEX",
            Self::Read(_) => "FILE_UNREADABLE",
            Self::UnknownOpcode { .. }
            | Self::UnknownProtocol(_)
            | Self::StackUnderflow(_)
            | Self::NoSuchMemo(_)
            | Self::BadArgument(_) => "PICKLE_MALFORMED",
        }
    }

    /// Whether a bound of ours ended the work, and not a fault of the pickle.
    pub(in crate::format) const fn is_limit(&self) -> bool {
        matches!(self, Self::TooComplex(_) | Self::Read(_))
    }
}
