//! How a client puts a file together itself: which chunks of which xorbs, and where they lie.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::super::read::ByteRange;
use super::XetHash;
use super::chunk::ChunkIndex;
use super::read::{Term, Terms};
use crate::database::sql;
use crate::entity::{blob, revision, xet_file, xorb};
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::model::ModelInfo;
use crate::registry::Registry;
use crate::revision::Revision;

/// Most terms in one answer; a file with more is asked for in ranges.
const MAX_TERMS: usize = 100_000;

/// The terms of a range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconstruction {
    /// Bytes of the first term's content that lie before the range.
    pub offset_into_first_range: u64,
    pub terms: Vec<ReconstructionTerm>,
}

/// A range of a xorb's chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconstructionTerm {
    pub xorb: XetHash,
    pub first_chunk: u32,
    pub end_chunk: u32,
    /// Bytes of content.
    pub length: u64,
    /// Where the chunks lie in the xorb.
    pub object: ByteRange,
}

impl Registry {
    /// The blob that Xet clients name by this file hash. Says nothing of who may read it.
    pub async fn xet_file(&self, file: XetHash) -> Result<Option<Sha256Digest>> {
        let row = xet_file::Entity::find_by_id(file.to_string()).one(&self.db).await?;
        row.map(|row| row.sha256.parse()).transpose()
    }

    /// The hash by which Xet clients may ask for a blob; none if it is not stored in chunks.
    pub async fn xet_hash(&self, digest: &Sha256Digest) -> Result<Option<XetHash>> {
        let chunked = blob::Entity::find_by_id(digest.as_str()).filter(blob::Column::Layout.eq("chunked"));
        if chunked.one(&self.db).await?.is_none() {
            return Ok(None);
        }
        let row = xet_file::Entity::find().filter(xet_file::Column::Sha256.eq(digest.as_str())).one(&self.db).await?;
        row.map(|row| row.file_hash.parse()).transpose()
    }

    /// Revisions of the model that hold a blob, newest first; bounded, because one that the
    /// caller may read is enough.
    pub async fn revisions_with(&self, model: &ModelInfo, digest: &Sha256Digest) -> Result<Vec<Revision>> {
        let query = "SELECT * FROM revision WHERE model_id = ? AND id IN \
                     (SELECT revision_id FROM revision_file WHERE sha256 = ?) ORDER BY id DESC LIMIT 100";
        let statement = sql(&self.db, query, vec![model.id.as_str().into(), digest.as_str().into()]);
        let rows = revision::Entity::find().from_raw_sql(statement).all(&self.db).await?;
        rows.into_iter().map(Revision::try_from).collect()
    }

    /// Bytes of a stored blob.
    pub async fn blob_size(&self, digest: &Sha256Digest) -> Result<u64> {
        let row = blob::Entity::find_by_id(digest.as_str()).one(&self.db).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("blob {digest}")))?;
        u64::try_from(row.size).map_err(|_| Error::Corrupt("negative size".into()))
    }

    /// The terms that hold `range` of a chunked blob, cut to whole chunks. The range is not
    /// empty and lies within the blob.
    pub async fn reconstruct(&self, digest: &Sha256Digest, range: ByteRange) -> Result<Reconstruction> {
        let mut stored = Terms::stored(digest, range);
        let mut terms = Vec::new();
        let mut offset_into_first_range = 0;
        while let Some(term) = stored.next(self).await? {
            if terms.len() == MAX_TERMS {
                return Err(Error::TooLarge { what: "the reconstruction".into(), limit: MAX_TERMS as u64 });
            }
            let index = self.chunk_index(&term.storage_key).await?;
            let (start, cut) = cut(&term, &index, range)?;
            if terms.is_empty() {
                offset_into_first_range = range.start.saturating_sub(start);
            }
            terms.push(cut);
        }
        if terms.is_empty() {
            return Err(Error::NotFound(format!("blob {digest} in chunks")));
        }
        Ok(Reconstruction { offset_into_first_range, terms })
    }

    /// Streams a range of a xorb's object. The caller has been granted exactly this range.
    pub async fn stream_xorb(&self, hash: XetHash, range: ByteRange) -> Result<BoxStream<'static, io::Result<Bytes>>> {
        let key = xorb::Entity::find_by_id(hash.to_string())
            .select_only()
            .column(xorb::Column::StorageKey)
            .into_tuple::<String>()
            .one(&self.db)
            .await?;
        let key = key.ok_or_else(|| Error::NotFound(format!("xorb {hash}")))?;
        self.stream_object(&key, range).await
    }
}

/// The chunks of a term that `range` touches, and where the first of them begins in the file.
fn cut(term: &Term, index: &ChunkIndex, range: ByteRange) -> Result<(u64, ReconstructionTerm)> {
    let corrupt = || Error::Corrupt("a term refers to chunks that its xorb does not have".into());
    let chunks = index.get(term.chunks.clone()).ok_or_else(corrupt)?;
    let (mut first, mut end) = (term.chunks.start, term.chunks.start);
    let (mut start, mut stop) = (term.start, term.start);
    for chunk in chunks {
        if stop >= range.end {
            break;
        }
        stop += u64::from(chunk.length);
        end += 1;
        if stop <= range.start {
            (first, start) = (end, stop);
        }
    }
    let object = ByteRange { start: index.start(first), end: index.start(end) };
    let cut = ReconstructionTerm { xorb: term.xorb, first_chunk: first, end_chunk: end, length: stop - start, object };
    Ok((start, cut))
}
