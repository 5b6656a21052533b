//! Reading chunked blobs: terms become segments, segments are fetched and unpacked a few ahead.
//!
//! A segment is some neighboring chunks of one xorb: one read of the store and one piece of
//! work for a thread. A range costs the chunks that it touches and no others.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use tokio::task::spawn_blocking;

use super::super::read::ByteRange;
use super::super::store::{BlobStore, Kind};
use super::XetHash;
use super::chunk::{ChunkIndex, unpack_all};
use crate::database::sql;
use crate::entity::xorb;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;

/// Content of a segment on local disk: large enough to keep it busy, small enough to begin at once.
const LOCAL_SEGMENT_BYTES: u64 = 256 << 10;
/// Content of a segment in a remote store, where each read waits for a round trip.
const REMOTE_SEGMENT_BYTES: u64 = 2 << 20;
/// Segments that are fetched or unpacked while the reader takes the one before. They bound a
/// reader's memory.
const SEGMENTS_AHEAD: usize = 3;
/// Terms read from the database at once.
const TERM_PAGE: u32 = 500;
/// Chunk indexes that are kept: about 40 KiB each for xorbs of 64 KiB chunks.
const CACHED_INDEXES: usize = 64;

/// A range of a xorb's chunks, and where it begins in its file.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) xorb: XetHash,
    pub(super) storage_key: Arc<str>,
    pub(super) chunks: Range<u32>,
}

impl Term {
    pub(super) fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// Chunk indexes that were used lately, by storage key: a key never names other bytes.
#[derive(Clone, Default)]
pub(in crate::blob) struct IndexCache(Arc<Mutex<VecDeque<CachedIndex>>>);

type CachedIndex = (Arc<str>, Arc<ChunkIndex>);

impl fmt::Debug for IndexCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexCache")
    }
}

impl IndexCache {
    fn get(&self, storage_key: &str) -> Option<Arc<ChunkIndex>> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = cached.iter().position(|(key, _)| &**key == storage_key)?;
        let found = cached.remove(position)?;
        let index = found.1.clone();
        cached.push_back(found);
        Some(index)
    }

    fn put(&self, storage_key: Arc<str>, index: Arc<ChunkIndex>) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() == CACHED_INDEXES {
            cached.pop_front();
        }
        cached.push_back((storage_key, index));
    }
}

impl Registry {
    /// The chunks of the xorb whose object has this key.
    pub(super) async fn chunk_index(&self, storage_key: &Arc<str>) -> Result<Arc<ChunkIndex>> {
        if let Some(index) = self.blobs.indexes.get(storage_key) {
            return Ok(index);
        }
        let stored = xorb::Entity::find()
            .select_only()
            .column(xorb::Column::Chunks)
            .filter(xorb::Column::StorageKey.eq(&**storage_key))
            .into_tuple::<Vec<u8>>()
            .one(&self.db)
            .await?;
        let stored = stored.ok_or_else(|| Error::Corrupt("a term refers to a xorb that is gone".into()))?;
        let index = Arc::new(ChunkIndex::from_bytes(&stored)?);
        self.blobs.indexes.put(storage_key.clone(), index.clone());
        Ok(index)
    }

    /// The content of `terms` within `range` of their file.
    pub(super) fn content_of(&self, terms: Terms, range: ByteRange) -> BoxStream<'static, io::Result<Bytes>> {
        let plan = Plan { registry: self.clone(), terms, range, ready: VecDeque::new() };
        let blobs = self.blobs.clone();
        futures::stream::try_unfold(plan, |mut plan| async move {
            let segment = plan.next().await.map_err(io::Error::other)?;
            Ok(segment.map(|segment| (segment, plan)))
        })
        .map_ok(move |segment| fetch(blobs.clone(), segment))
        .try_buffered(SEGMENTS_AHEAD)
        .boxed()
    }

    /// Streams a range of a chunked blob.
    pub(in crate::blob) fn stream_chunked(
        &self,
        digest: &Sha256Digest,
        range: ByteRange,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        self.content_of(Terms::stored(digest, range), range)
    }

    async fn term_page(&self, digest: &Sha256Digest, range: ByteRange) -> Result<VecDeque<Term>> {
        let query = "SELECT t.start_at, t.length, t.xorb, t.first_chunk, t.end_chunk, x.storage_key \
                     FROM blob_term t JOIN xorb x ON x.hash = t.xorb \
                     WHERE t.sha256 = ? AND t.start_at < ? AND t.start_at >= COALESCE(\
                     (SELECT MAX(start_at) FROM blob_term WHERE sha256 = ? AND start_at <= ?), 0) \
                     ORDER BY t.start_at LIMIT ?";
        let values = vec![
            digest.as_str().into(),
            stored(range.end)?.into(),
            digest.as_str().into(),
            stored(range.start)?.into(),
            i64::from(TERM_PAGE).into(),
        ];
        let rows = self.db.query_all_raw(sql(&self.db, query, values)).await?;
        rows.iter().map(term).collect()
    }
}

fn stored(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::Internal("an offset beyond every file".into()))
}

fn term(row: &sea_orm::QueryResult) -> Result<Term> {
    let corrupt = |_| Error::Corrupt("a term has a negative number".into());
    let number = |name| -> Result<u64> { u64::try_from(row.try_get::<i64>("", name)?).map_err(corrupt) };
    let chunk = |name| -> Result<u32> { u32::try_from(row.try_get::<i64>("", name)?).map_err(corrupt) };
    Ok(Term {
        start: number("start_at")?,
        length: number("length")?,
        xorb: row.try_get::<String>("", "xorb")?.parse()?,
        storage_key: row.try_get::<String>("", "storage_key")?.into(),
        chunks: chunk("first_chunk")?..chunk("end_chunk")?,
    })
}

/// Terms in the order of their file.
pub(super) enum Terms {
    /// Of a file that is not stored yet.
    Given(std::vec::IntoIter<Term>),
    /// Of a blob, from the database; `range` is what is still to be looked up.
    Stored { digest: Sha256Digest, range: ByteRange, page: VecDeque<Term> },
}

impl Terms {
    /// The terms of a stored blob that touch a range.
    pub(super) fn stored(digest: &Sha256Digest, range: ByteRange) -> Self {
        Self::Stored { digest: digest.clone(), range, page: VecDeque::new() }
    }

    pub(super) async fn next(&mut self, registry: &Registry) -> Result<Option<Term>> {
        match self {
            Self::Given(terms) => Ok(terms.next()),
            Self::Stored { digest, range, page } => {
                if page.is_empty() && range.start < range.end {
                    *page = registry.term_page(digest, *range).await?;
                    // Beyond the blob's end the last term is found again.
                    page.retain(|term| term.end() > range.start);
                    range.start = page.back().map_or(range.end, Term::end);
                }
                Ok(page.pop_front())
            }
        }
    }
}

/// What is still to be read.
struct Plan {
    registry: Registry,
    terms: Terms,
    range: ByteRange,
    ready: VecDeque<Segment>,
}

impl Plan {
    async fn next(&mut self) -> Result<Option<Segment>> {
        loop {
            if let Some(segment) = self.ready.pop_front() {
                return Ok(Some(segment));
            }
            let Some(term) = self.terms.next(&self.registry).await? else { return Ok(None) };
            let index = self.registry.chunk_index(&term.storage_key).await?;
            let most = match self.registry.blobs.kind {
                Kind::Local { .. } => LOCAL_SEGMENT_BYTES,
                Kind::S3 { .. } => REMOTE_SEGMENT_BYTES,
            };
            self.ready = segments(&term, &index, self.range, most)?;
        }
    }
}

/// Neighboring chunks of one xorb.
#[derive(Debug)]
struct Segment {
    storage_key: Arc<str>,
    object: Range<u64>,
    /// Bytes of content, and which of them are wanted.
    unpacked: usize,
    wanted: Range<usize>,
}

/// Cuts what `range` wants of a term into segments, each ended by the chunk that brings it to
/// `most` bytes.
fn segments(term: &Term, index: &ChunkIndex, range: ByteRange, most: u64) -> Result<VecDeque<Segment>> {
    let chunks = index.get(term.chunks.clone());
    let chunks = chunks.ok_or_else(|| Error::Corrupt("a term refers to chunks that its xorb does not have".into()))?;
    let (mut segments, mut start) = (VecDeque::new(), term.start);
    // First chunk of the open segment and where it begins in the file.
    let mut open: Option<(u32, u64)> = None;
    for (number, chunk) in term.chunks.clone().zip(chunks) {
        let end = start + u64::from(chunk.length);
        if end > range.start && start < range.end {
            let (first, from) = *open.get_or_insert((number, start));
            let is_last = number + 1 == term.chunks.end || end >= range.end;
            if is_last || end - from >= most {
                let object = index.start(first)..index.start(number + 1);
                segments.push_back(segment(term, object, from..end, range)?);
                open = None;
            }
        }
        start = end;
    }
    Ok(segments)
}

fn segment(term: &Term, object: Range<u64>, content: Range<u64>, range: ByteRange) -> Result<Segment> {
    let within = |offset: u64| {
        usize::try_from(offset.clamp(content.start, content.end) - content.start)
            .map_err(|_| Error::Internal("a segment larger than memory".into()))
    };
    Ok(Segment {
        storage_key: term.storage_key.clone(),
        object,
        unpacked: within(content.end)?,
        wanted: within(range.start)?..within(range.end)?,
    })
}

async fn fetch(blobs: BlobStore, segment: Segment) -> io::Result<Bytes> {
    let path = blobs.path(&segment.storage_key);
    let packed = blobs.objects.get_range(&path, segment.object).await.map_err(io::Error::other)?;
    let unpacked = spawn_blocking(move || unpack_all(&packed, segment.unpacked)).await?.map_err(io::Error::other)?;
    Ok(Bytes::from(unpacked).slice(segment.wanted))
}
