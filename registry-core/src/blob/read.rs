//! Reading a range of a blob of any layout, as a stream or at random.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::PathBuf;
use std::sync::Mutex;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStoreExt};
use sea_orm::EntityTrait;
use tokio::task::spawn_blocking;
use verifier::ReadAt;

use super::Layout;
use super::store::Kind;
use crate::entity::blob;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;

/// Bytes read from disk at a time; large reads keep the disk and the socket both busy. Two of
/// them bound a download's memory.
const CHUNK_BYTES: u64 = 256 << 10;
/// Bytes fetched at a time for random reads of what costs a round trip.
const BLOCK_BYTES: u64 = 1 << 20;

/// Half-open range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl Registry {
    /// Streams `range` of a blob. The caller has checked that the range lies within it.
    pub async fn stream_blob(
        &self,
        digest: &Sha256Digest,
        range: ByteRange,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>> {
        match self.layout(digest).await? {
            Layout::Whole { storage_key } => self.stream_object(&storage_key, range).await,
            Layout::Chunked => Ok(self.stream_chunked(digest, range)),
        }
    }

    /// Streams a range of an object.
    pub(super) async fn stream_object(
        &self,
        storage_key: &str,
        range: ByteRange,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>> {
        let options = GetOptions { range: Some(GetRange::Bounded(range.start..range.end)), ..GetOptions::default() };
        if range.start == range.end {
            return Ok(futures::stream::empty().boxed());
        }
        let found = self.blobs.objects.get_opts(&self.blobs.path(storage_key), options).await?;
        Ok(match found.payload {
            GetResultPayload::File(file, _) => stream_file(file, range),
            GetResultPayload::Stream(stream) => stream.map(|chunk| chunk.map_err(io::Error::other)).boxed(),
        })
    }

    /// Random access to a blob from a blocking thread.
    pub async fn blob_reader(&self, digest: &Sha256Digest) -> Result<Box<dyn ReadAt>> {
        let row = self.blob_row(digest).await?;
        let size = u64::try_from(row.size).map_err(|_| Error::Corrupt("negative size".into()))?;
        let runtime = tokio::runtime::Handle::current();
        let Layout::Whole { storage_key } = Layout::of(&row)? else {
            let (registry, digest) = (self.clone(), digest.clone());
            return Ok(Box::new(BlockReader::new(size, move |range| {
                let pieces: Vec<Bytes> = runtime.block_on(registry.stream_chunked(&digest, range).try_collect())?;
                Ok(pieces.concat().into())
            })));
        };
        match &self.blobs.kind {
            Kind::Local { folder } => Ok(Box::new(LocalReader { path: folder.join(&storage_key), size })),
            Kind::S3 { .. } => {
                let (objects, path) = (self.blobs.objects.clone(), self.blobs.path(&storage_key));
                Ok(Box::new(BlockReader::new(size, move |range| {
                    runtime.block_on(objects.get_range(&path, range.start..range.end)).map_err(io::Error::other)
                })))
            }
        }
    }

    /// A URL that serves the blob without this server; none on a local store or for a blob in
    /// chunks.
    pub async fn presigned_blob(&self, digest: &Sha256Digest, seconds: u64) -> Result<Option<String>> {
        let Layout::Whole { storage_key } = self.layout(digest).await? else { return Ok(None) };
        self.blobs.presigned_get(&storage_key, std::time::Duration::from_secs(seconds)).await
    }

    /// The local file of a blob, to hand its descriptor to the probe; none on a remote store or
    /// for a blob in chunks.
    pub async fn local_file(&self, digest: &Sha256Digest) -> Result<Option<File>> {
        let Layout::Whole { storage_key } = self.layout(digest).await? else { return Ok(None) };
        let Kind::Local { folder } = &self.blobs.kind else { return Ok(None) };
        let (file, _) = fs_err::File::open(folder.join(storage_key))?.into_parts();
        Ok(Some(file))
    }

    async fn layout(&self, digest: &Sha256Digest) -> Result<Layout> {
        Layout::of(&self.blob_row(digest).await?)
    }

    async fn blob_row(&self, digest: &Sha256Digest) -> Result<blob::Model> {
        let row = blob::Entity::find_by_id(digest.as_str()).one(&self.db).await?;
        row.ok_or_else(|| Error::NotFound(format!("blob {digest}")))
    }
}

/// Reads one chunk ahead while the client takes the chunk before. A client that takes nothing
/// holds no thread.
fn stream_file(mut file: File, range: ByteRange) -> BoxStream<'static, io::Result<Bytes>> {
    let first = spawn_blocking(move || {
        file.seek(SeekFrom::Start(range.start))?;
        read_chunk(file.take(range.end - range.start))
    });
    futures::stream::try_unfold(first, |ahead| async move {
        let (chunk, rest) = ahead.await??;
        if chunk.is_empty() {
            return Ok(None);
        }
        Ok(Some((chunk, spawn_blocking(move || read_chunk(rest)))))
    })
    .boxed()
}

/// The next bytes of a range, and what is left of it; no bytes at its end.
fn read_chunk(mut rest: Take<File>) -> io::Result<(Bytes, Take<File>)> {
    let length = CHUNK_BYTES.min(rest.limit());
    let mut chunk = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    if rest.by_ref().take(length).read_to_end(&mut chunk)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((chunk.into(), rest))
}

/// A local object that is open only while it is read: a revision may have more files than a
/// process may have descriptors.
#[derive(Debug)]
struct LocalReader {
    path: PathBuf,
    size: u64,
}

impl ReadAt for LocalReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        verifier::FileReader::open(&self.path)?.read_at(offset, buffer)
    }
}

/// A blob whose bytes cost a round trip, read in blocks from a blocking thread.
struct BlockReader<F> {
    size: u64,
    fetch: F,
    block: Mutex<(u64, Bytes)>,
}

impl<F: Fn(ByteRange) -> io::Result<Bytes>> BlockReader<F> {
    fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch, block: Mutex::new((0, Bytes::new())) }
    }

    /// The block that holds `offset`, from memory or fetched.
    fn block_at(&self, offset: u64) -> io::Result<(u64, Bytes)> {
        let mut cached = self.block.lock().map_err(|_| io::Error::other("a reader panicked"))?;
        let start = offset - offset % BLOCK_BYTES;
        if cached.1.is_empty() || cached.0 != start {
            let end = (start + BLOCK_BYTES).min(self.size);
            *cached = (start, (self.fetch)(ByteRange { start, end })?);
        }
        Ok(cached.clone())
    }
}

impl<F: Fn(ByteRange) -> io::Result<Bytes> + Send + Sync> ReadAt for BlockReader<F> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let (start, block) = self.block_at(offset)?;
        let skip = usize::try_from(offset - start).map_err(io::Error::other)?;
        let available = block.get(skip..).unwrap_or_default();
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        Ok(length)
    }
}
