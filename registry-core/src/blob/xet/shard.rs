//! Shards: the description of files as terms, as a client sends it.
//!
//! The lists of chunks that a shard also holds are checked for form and otherwise ignored: the
//! server knows its xorbs' chunks from their bytes.

use std::io::Cursor;

use xet_core_structures::CoreError;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::MDBShardFileHeader;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfoView;
use xet_core_structures::metadata_shard::streaming_shard::{
    process_shard_file_info_section, process_shard_xorb_info_section,
};

use super::{Malformed, XetHash};
use crate::identity::Sha256Digest;

/// Most bytes of a shard, by the format.
pub(super) const MAX_SHARD_BYTES: u64 = 64 << 20;
/// Most terms in a shard: of usual terms enough for 128 GiB.
const MAX_TERMS: usize = 1 << 18;
/// The version of the format that is read.
const VERSION: u64 = 2;

/// One file of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardFile {
    pub(super) hash: XetHash,
    pub(super) sha256: Sha256Digest,
    pub(super) terms: Vec<ShardTerm>,
}

/// A range of a xorb's chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardTerm {
    pub(super) xorb: XetHash,
    pub(super) first: u32,
    pub(super) end: u32,
    /// Bytes of content.
    pub(super) length: u32,
    /// A keyed hash over the hashes of the chunks, where the client sent one.
    pub(super) proof: Option<MerkleHash>,
}

/// The files that a shard describes, each once.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<ShardFile>, Malformed> {
    let invalid = |error: &dyn ToString| Malformed::Shard(error.to_string());
    let mut reader = Cursor::new(bytes);
    let header = MDBShardFileHeader::deserialize(&mut reader).map_err(|error| invalid(&error))?;
    if header.version != VERSION {
        return Err(invalid(&format!("its version is {}, not {VERSION}", header.version)));
    }
    let (mut views, mut terms) = (Vec::<MDBFileInfoView>::new(), 0);
    let take = |view: MDBFileInfoView| {
        terms += view.num_entries();
        views.push(view);
        if terms > MAX_TERMS { Err(CoreError::InvalidShard(format!("more than {MAX_TERMS} terms"))) } else { Ok(()) }
    };
    let left = process_shard_file_info_section(&mut reader, take, Some(bytes.len() as u64));
    let left = left.map_err(|error| invalid(&error))?;
    process_shard_xorb_info_section(&mut reader, |_| Ok(()), left).map_err(|error| invalid(&error))?;
    let mut files = views.iter().map(file).collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(|file| file.hash);
    files.dedup_by_key(|file| file.hash);
    Ok(files)
}

fn file(view: &MDBFileInfoView) -> Result<ShardFile, Malformed> {
    let hash = XetHash(view.file_hash());
    let digest = view.metadata_ext().ok_or(Malformed::NoDigest(hash))?.sha256;
    let sha256 = XetHash(digest).to_string().parse().map_err(|_| Malformed::NoDigest(hash))?;
    let proofs = view.contains_verification();
    let term = |number| {
        let entry = view.entry(number);
        ShardTerm {
            xorb: XetHash(entry.xorb_hash),
            first: entry.chunk_index_start,
            end: entry.chunk_index_end,
            length: entry.unpacked_segment_bytes,
            proof: proofs.then(|| view.verification(number).range_hash),
        }
    };
    Ok(ShardFile { hash, sha256, terms: (0..view.num_entries()).map(term).collect() })
}
