//! Blobs in chunks: what clients of the Xet protocol send, and how it is read again.
//!
//! A client cuts files at places that their content chooses, packs the chunks that the server
//! does not have into xorbs, and describes each file in a shard as terms: ranges of chunks of
//! xorbs. Two checkpoints that differ a little share most of their chunks, and so their bytes.
//!
//! Nothing that a client says is believed. A xorb's chunks are unpacked and hashed while they
//! arrive; a shard's terms are resolved against those chunks, and the file's SHA-256 is
//! computed from them before a blob of that digest exists.

mod chunk;
mod file;
mod intake;
mod read;
mod reconstruct;
mod shard;
mod sink;
mod xorb;

use std::fmt;
use std::str::FromStr;

use xet_core_structures::merklehash::MerkleHash;

pub use file::{ShardOutcome, ShardProgress};
pub(super) use read::IndexCache;
pub use reconstruct::{Reconstruction, ReconstructionTerm};

use crate::error::{Error, Result};

/// A hash of the Xet protocol: of a chunk, a xorb or a file. Its text is 64 hex digits, four
/// little-endian words written as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct XetHash(MerkleHash);

impl fmt::Display for XetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl fmt::Debug for XetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for XetHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = MerkleHash::from_hex(text);
        let hash = parsed.map_err(|_| Error::invalid("xet hash", "expected 64 hexadecimal digits"))?;
        Ok(Self(hash))
    }
}

/// Why bytes are not a xorb or a shard.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the header of chunk {0} is not valid: {1}")]
    Header(usize, String),
    #[error("chunk {0} is empty")]
    EmptyChunk(usize),
    #[error("a chunk does not unpack: {0}")]
    Packing(std::io::Error),
    #[error("a chunk unpacks to another length than its header says")]
    Length,
    #[error("it ends in the middle of a chunk")]
    Truncated,
    #[error("it has no chunks")]
    NoChunks,
    #[error("it has more than {0} chunks")]
    TooManyChunks(usize),
    #[error("its chunks are more than {0} bytes long")]
    TooLong(u64),
    #[error("its chunks have the hash {0}")]
    Hash(XetHash),
    #[error("it is not in the format of shards: {0}")]
    Shard(String),
    #[error("the file {0} has no SHA-256")]
    NoDigest(XetHash),
    #[error("the file {file} asks for chunks {first} to {end} of the xorb {xorb}, which has {chunks}")]
    ChunkRange { file: XetHash, xorb: XetHash, first: u32, end: u32, chunks: usize },
    #[error("a term of the file {0} has another length than its chunks")]
    TermLength(XetHash),
    #[error("a term of the file {0} does not prove its chunks")]
    TermProof(XetHash),
    #[error("the chunks of the file {expected} have the file hash {actual}")]
    FileHash { expected: XetHash, actual: XetHash },
    #[error("the background work failed: {0}")]
    Background(String),
}

impl Malformed {
    /// The error for the caller; `what` names the xorb or the shard.
    fn of(self, what: impl fmt::Display) -> Error {
        match self {
            Self::Background(reason) => Error::Internal(reason),
            malformed => Error::invalid(what.to_string(), malformed.to_string()),
        }
    }
}
