//! Accepting a shard: its files become blobs once their bytes were seen to be what it says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use sea_orm::{ConnectionTrait, DatabaseTransaction, EntityTrait, Set};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use xet_core_structures::merklehash::{MerkleHash, file_hash};
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;

use super::super::read::ByteRange;
use super::super::{GrantSource, grant};
use super::chunk::Chunk;
use super::read::{Term, Terms};
use super::shard::{self, MAX_SHARD_BYTES, ShardFile, ShardTerm};
use super::xorb::{LOOKUP_ROWS, grant_xorbs, use_xorbs};
use super::{Malformed, XetHash};
use crate::access::Caller;
use crate::audit::{self, Event};
use crate::database::{begin, now_ms, sql};
use crate::entity::{blob_grant, blob_term};
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;

/// Most chunks of a file, for the memory that their hashes need: 512 GiB of usual chunks.
const MAX_FILE_CHUNKS: usize = 8 << 20;

/// How far the files of a shard are verified, in bytes of their content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardProgress {
    pub verified: u64,
    pub total: u64,
}

/// What became of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardOutcome {
    /// Its files are blobs of the namespace now.
    Recorded,
    /// They all were before.
    Present,
}

/// A file whose bytes are what the shard says.
struct VerifiedFile {
    hash: XetHash,
    sha256: Sha256Digest,
    size: u64,
    terms: Vec<Term>,
}

impl Registry {
    /// Verifies the files that a shard describes and makes them blobs of `namespace`. Every
    /// xorb must be one that the caller may use there; every file must have the SHA-256 that
    /// the shard gives it. `progress` is called as the bytes are read.
    pub async fn put_shard(
        &self,
        caller: &Caller,
        namespace: &str,
        shard: Bytes,
        progress: impl Fn(ShardProgress),
    ) -> Result<ShardOutcome> {
        caller.require_writer(namespace)?;
        if shard.len() as u64 > MAX_SHARD_BYTES {
            return Err(Error::TooLarge { what: "the shard".into(), limit: MAX_SHARD_BYTES });
        }
        let described = spawn_blocking(move || shard::parse(&shard)).await?.map_err(|error| error.of("the shard"))?;
        let mut files = Vec::new();
        for file in described {
            self.check_file_size(&file)?;
            if !self.has_file(namespace, &file).await? {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Ok(ShardOutcome::Present);
        }
        let xorbs: HashSet<XetHash> = files.iter().flat_map(|file| &file.terms).map(|term| term.xorb).collect();
        self.require_xorbs(caller, namespace, &xorbs).await?;
        let used: Vec<XetHash> = xorbs.iter().copied().collect();
        use_xorbs(&self.db, &used).await?;
        let verified = self.verify_files(files, &xorbs, progress).await?;
        self.record_files(caller, namespace, &verified, &used).await?;
        Ok(ShardOutcome::Recorded)
    }

    fn check_file_size(&self, file: &ShardFile) -> Result<()> {
        let limit = self.settings.max_file_bytes;
        if size(file) > limit {
            return Err(Error::TooLarge { what: format!("the file {}", file.hash), limit });
        }
        Ok(())
    }

    /// Whether the namespace has these bytes already, known by this hash.
    async fn has_file(&self, namespace: &str, file: &ShardFile) -> Result<bool> {
        if self.xet_file(file.hash).await?.as_ref() != Some(&file.sha256) {
            return Ok(false);
        }
        let key = (namespace.to_owned(), file.sha256.to_string());
        Ok(blob_grant::Entity::find_by_id(key).one(&self.db).await?.is_some())
    }

    async fn verify_files(
        &self,
        files: Vec<ShardFile>,
        xorbs: &HashSet<XetHash>,
        progress: impl Fn(ShardProgress),
    ) -> Result<Vec<VerifiedFile>> {
        let keys: HashMap<XetHash, Arc<str>> =
            self.xorb_keys(xorbs).await?.into_iter().map(|(hash, key)| (hash, key.into())).collect();
        let mut state = ShardProgress { verified: 0, total: files.iter().map(size).sum() };
        progress(state);
        let mut verified = Vec::with_capacity(files.len());
        for file in files {
            let terms = self.resolve(&file, &keys).await?;
            let before = state.verified;
            // The hash stands for the sequence of chunks, so bytes that were hashed once under
            // this hash need not be hashed again.
            if self.xet_file(file.hash).await?.as_ref() != Some(&file.sha256) {
                let note = |bytes: u64| progress(ShardProgress { verified: before + bytes, ..state });
                self.check_digest(&file.sha256, terms.clone(), note).await?;
            }
            state.verified += size(&file);
            progress(state);
            verified.push(VerifiedFile { hash: file.hash, sha256: file.sha256.clone(), size: size(&file), terms });
        }
        Ok(verified)
    }

    /// The file's terms, if their chunks exist and together have the file's hash.
    async fn resolve(&self, file: &ShardFile, keys: &HashMap<XetHash, Arc<str>>) -> Result<Vec<Term>> {
        let (mut terms, mut leaves, mut start) = (Vec::with_capacity(file.terms.len()), Vec::new(), 0);
        for term in &file.terms {
            let storage_key = keys.get(&term.xorb).ok_or_else(|| Error::XorbMissing(term.xorb.to_string()))?;
            let index = self.chunk_index(storage_key).await?;
            let missing = || Malformed::ChunkRange {
                file: file.hash,
                xorb: term.xorb,
                first: term.first,
                end: term.end,
                chunks: index.len(),
            };
            let chunks = index.get(term.first..term.end).ok_or_else(missing);
            let chunks = chunks.and_then(|chunks| check_term(file.hash, term, chunks));
            leaves.extend(chunks.map_err(|error| error.of("the shard"))?);
            if leaves.len() > MAX_FILE_CHUNKS {
                return Err(Error::TooLarge { what: "the number of the file's chunks".into(), limit: 8 << 20 });
            }
            let length = u64::from(term.length);
            let (storage_key, chunks) = (storage_key.clone(), term.first..term.end);
            terms.push(Term { start, length, xorb: term.xorb, storage_key, chunks });
            start += length;
        }
        check_file_hash(file.hash, leaves).await?;
        Ok(terms)
    }

    /// Reads the file once and compares its digest. A thread hashes while the next bytes are
    /// fetched and unpacked.
    async fn check_digest(&self, expected: &Sha256Digest, terms: Vec<Term>, note: impl Fn(u64)) -> Result<()> {
        let range = ByteRange { start: 0, end: terms.last().map_or(0, Term::end) };
        let mut content = self.content_of(Terms::Given(terms.into_iter()), range);
        let mut hashing = spawn_blocking(Sha256::new);
        let mut read = 0;
        while let Some(piece) = content.next().await {
            let piece = piece?;
            read += piece.len() as u64;
            let mut hasher = hashing.await?;
            hashing = spawn_blocking(move || {
                hasher.update(&piece);
                hasher
            });
            note(read);
        }
        let actual = Sha256Digest::from_hasher(hashing.await?);
        if actual == *expected { Ok(()) } else { Err(Error::DigestMismatch { expected: expected.clone(), actual }) }
    }

    /// Blobs, terms, rights and events, in one transaction. A digest that is stored keeps its
    /// layout.
    async fn record_files(
        &self,
        caller: &Caller,
        namespace: &str,
        files: &[VerifiedFile],
        xorbs: &[XetHash],
    ) -> Result<()> {
        let txn = begin(&self.db).await?;
        use_xorbs(&txn, xorbs).await?;
        grant_xorbs(&txn, namespace, xorbs).await?;
        for file in files {
            let kept = insert_blob(&txn, file).await?;
            if kept {
                insert_terms(&txn, file).await?;
            }
            let insert = "INSERT INTO xet_file (file_hash, sha256) VALUES (?, ?) ON CONFLICT DO NOTHING";
            let values = vec![file.hash.to_string().into(), file.sha256.as_str().into()];
            txn.execute_raw(sql(&txn, insert, values)).await?;
            grant(&txn, namespace, [&file.sha256], GrantSource::Uploaded).await?;
            let event = Event::new("blob.uploaded", caller.subject())
                .detail("namespace", namespace)
                .detail("sha256", file.sha256.as_str())
                .detail("size", file.size)
                .detail("stored_already", !kept);
            audit::record(&txn, event).await?;
        }
        txn.commit().await?;
        Ok(())
    }
}

fn size(file: &ShardFile) -> u64 {
    file.terms.iter().map(|term| u64::from(term.length)).sum()
}

/// The chunks' leaves, if they are what the term says.
fn check_term(file: XetHash, term: &ShardTerm, chunks: &[Chunk]) -> Result<Vec<(MerkleHash, u64)>, Malformed> {
    let leaves: Vec<_> = chunks.iter().map(|chunk| (chunk.hash, u64::from(chunk.length))).collect();
    if leaves.iter().map(|(_, length)| length).sum::<u64>() != u64::from(term.length) {
        return Err(Malformed::TermLength(file));
    }
    if let Some(proof) = term.proof {
        let hashes: Vec<MerkleHash> = chunks.iter().map(|chunk| chunk.hash).collect();
        if range_hash_from_chunks(&hashes) != proof {
            return Err(Malformed::TermProof(file));
        }
    }
    Ok(leaves)
}

async fn check_file_hash(expected: XetHash, leaves: Vec<(MerkleHash, u64)>) -> Result<()> {
    let actual = XetHash(spawn_blocking(move || file_hash(&leaves)).await?);
    if actual == expected { Ok(()) } else { Err(Malformed::FileHash { expected, actual }.of("the shard")) }
}

/// Returns whether the digest was not stored before.
async fn insert_blob(txn: &DatabaseTransaction, file: &VerifiedFile) -> Result<bool> {
    let insert = "INSERT INTO blob (sha256, size, layout, storage_key, created_at) \
                  VALUES (?, ?, 'chunked', NULL, ?) ON CONFLICT DO NOTHING";
    let values = vec![file.sha256.as_str().into(), stored(file.size)?.into(), now_ms().into()];
    Ok(txn.execute_raw(sql(txn, insert, values)).await?.rows_affected() == 1)
}

async fn insert_terms(txn: &DatabaseTransaction, file: &VerifiedFile) -> Result<()> {
    for terms in file.terms.chunks(LOOKUP_ROWS) {
        let rows = terms.iter().map(|term| {
            Ok(blob_term::ActiveModel {
                sha256: Set(file.sha256.to_string()),
                start_at: Set(stored(term.start)?),
                length: Set(stored(term.length)?),
                xorb: Set(term.xorb.to_string()),
                first_chunk: Set(i64::from(term.chunks.start)),
                end_chunk: Set(i64::from(term.chunks.end)),
            })
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        blob_term::Entity::insert_many(rows).exec_without_returning(txn).await?;
    }
    Ok(())
}

fn stored(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::TooLarge { what: "the file".into(), limit: i64::MAX as u64 })
}
