//! Digests of files other than the SHA-256 they are stored under.
//!
//! Some signers list BLAKE digests, or digests of a file's parts. Such a signature costs one pass
//! over the weights; its results are handed out, so that whoever keeps them never pays twice.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use blake2::Blake2b512;
use serde::{Deserialize, Serialize};

use crate::DigestedFile;
use crate::read_at::ReadAt;

/// Bytes of a file that are held at once.
const BUFFER_BYTES: u64 = 1 << 20;

/// The hash functions that model signatures use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashAlgorithm {
    Sha256,
    /// BLAKE2b with 512 bits.
    Blake2b,
    Blake3,
}

impl HashAlgorithm {
    /// The algorithm of this name in a manifest.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Blake2b, Self::Blake3].into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// Length of a digest in hex digits.
    pub const fn hex_length(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Blake2b => 128,
        }
    }
}

/// How a file is digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DigestScheme {
    pub algorithm: HashAlgorithm,
    /// Bytes in each part but the last; none for one digest over the whole file.
    pub shard_size: Option<u64>,
}

/// The digests of one file by one scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigests {
    /// Hex SHA-256 of the whole file, by which it is stored.
    pub sha256: String,
    pub scheme: DigestScheme,
    /// Hex, one for each part in order.
    pub digests: Vec<String>,
}

/// Digests by whole-file SHA-256 and scheme.
type Known = BTreeMap<(String, DigestScheme), Arc<[String]>>;

/// Digests that are known, and those that had to be computed.
#[derive(Debug, Default)]
pub struct DigestCache {
    known: Mutex<Known>,
    computed: Mutex<Vec<FileDigests>>,
}

impl DigestCache {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds digests that were computed before. They are believed.
    pub fn insert(&self, digests: FileDigests) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((digests.sha256, digests.scheme), digests.digests.into());
    }

    /// Takes out what was computed since the last call, to be inserted next time.
    pub fn take_computed(&self) -> Vec<FileDigests> {
        std::mem::take(&mut *self.computed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The digests of `file`, read in one pass where they are not known.
    pub(super) fn digests_of(&self, file: &DigestedFile<'_>, scheme: DigestScheme) -> io::Result<Arc<[String]>> {
        let key = (file.digest.to_owned(), scheme);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let digests = compute(file.source, scheme)?;
        let found = FileDigests { sha256: key.0, scheme, digests };
        self.insert(found.clone());
        let shared = found.digests.clone().into();
        self.computed.lock().unwrap_or_else(PoisonError::into_inner).push(found);
        Ok(shared)
    }
}

fn compute(source: &dyn ReadAt, scheme: DigestScheme) -> io::Result<Vec<String>> {
    let size = source.size();
    let shard_size = scheme.shard_size.unwrap_or(u64::MAX).max(1);
    let mut buffer = vec![0; usize::try_from(BUFFER_BYTES.min(size)).unwrap_or_default()];
    let mut digests = Vec::new();
    let mut start = 0;
    while start < size || (digests.is_empty() && scheme.shard_size.is_none()) {
        let end = size.min(start.saturating_add(shard_size));
        digests.push(digest_range(source, start, end, scheme.algorithm, &mut buffer)?);
        start = end;
    }
    Ok(digests)
}

fn digest_range(
    source: &dyn ReadAt,
    mut start: u64,
    end: u64,
    algorithm: HashAlgorithm,
    buffer: &mut [u8],
) -> io::Result<String> {
    let mut hasher = Hasher::new(algorithm);
    while start < end {
        let length = usize::try_from(end - start).unwrap_or(usize::MAX).min(buffer.len());
        source.read_exact_at(start, &mut buffer[..length])?;
        hasher.update(&buffer[..length]);
        start += length as u64;
    }
    Ok(hasher.finish())
}

enum Hasher {
    Sha256(Context),
    Blake2b(Box<Blake2b512>),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    fn new(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha256 => Self::Sha256(Context::new(&SHA256)),
            HashAlgorithm::Blake2b => Self::Blake2b(Box::default()),
            HashAlgorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(context) => context.update(bytes),
            Self::Blake2b(hasher) => blake2::Digest::update(hasher.as_mut(), bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(context) => hex::encode(context.finish()),
            Self::Blake2b(hasher) => hex::encode(blake2::Digest::finalize(*hasher)),
            Self::Blake3(hasher) => hasher.finalize().to_hex().to_string(),
        }
    }
}
