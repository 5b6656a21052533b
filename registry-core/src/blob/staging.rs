//! Writing one upload's bytes: hashed while they stream, durable at every checkpoint.
//!
//! A checkpoint is what a later process needs to go on: the number of bytes that are safely
//! stored, the hasher's state after exactly those bytes and, on S3, the parts. Locally the
//! bytes go straight into the final file under an exclusive lock, so a second connection to
//! the same upload cannot mix its bytes in; on S3 a part is immutable once its tag is recorded.

use std::fs::File;
use std::io::{IoSlice, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::{MultipartId, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::store::{BlobStore, Kind};
use crate::entity::upload_session;
use crate::error::{Error, Result};

/// Bytes between two durable points of a local upload: a killed server loses at most these.
const LOCAL_CHECKPOINT_BYTES: u64 = 64 << 20;
/// Smallest part on S3; larger for files that would need more than 9,000 parts.
const MIN_PART_BYTES: u64 = 16 << 20;
/// Bytes that are hashed and written at once; two batches bound an upload's memory.
const BATCH_BYTES: usize = 2 << 20;
/// Most chunks in a batch, so that a peer that sends single bytes costs no more.
const BATCH_CHUNKS: usize = 1024;

/// Where an upload can be continued.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    pub received: u64,
    pub hasher_state: Vec<u8>,
    pub multipart_id: Option<String>,
    pub parts: Vec<String>,
}

impl Checkpoint {
    pub(super) fn start() -> Self {
        Self { received: 0, hasher_state: serialize(&Sha256::new()), multipart_id: None, parts: Vec::new() }
    }

    pub(super) fn of(row: &upload_session::Model) -> Result<Self> {
        Ok(Self {
            received: u64::try_from(row.received).map_err(|_| Error::Corrupt("negative upload offset".into()))?,
            hasher_state: row.hasher_state.clone(),
            multipart_id: row.multipart_id.clone(),
            parts: serde_json::from_str(&row.parts)?,
        })
    }

    pub(super) fn hasher(&self) -> Result<Sha256> {
        let state = self.hasher_state.as_slice().try_into();
        let state = state.map_err(|_| Error::Corrupt("hasher state of an upload has the wrong length".into()))?;
        Sha256::deserialize(state).map_err(|_| Error::Corrupt("hasher state of an upload does not load".into()))
    }
}

fn serialize(hasher: &Sha256) -> Vec<u8> {
    SerializableState::serialize(hasher).to_vec()
}

/// An open upload on either kind of store.
pub(super) enum Staging {
    Local(LocalStaging),
    S3(Box<S3Staging>),
}

impl Staging {
    /// Opens the upload, to be continued at `from`. Nothing is changed yet.
    pub(super) async fn open(store: &BlobStore, storage_key: &str, size: u64, from: Checkpoint) -> Result<Self> {
        match &store.kind {
            Kind::Local { folder } => Ok(Self::Local(LocalStaging::open(folder.join(storage_key), from).await?)),
            Kind::S3 { bucket } => {
                let staging = S3Staging::open(store, bucket.clone(), storage_key, size, from)?;
                Ok(Self::S3(Box::new(staging)))
            }
        }
    }

    /// Discards the bytes that were stored after the checkpoint. The caller has made sure that
    /// the checkpoint is still the session's: an acknowledged one may have followed it before
    /// the upload was opened.
    pub(super) async fn begin(&mut self) -> Result<()> {
        match self {
            Self::Local(local) => local.begin().await,
            Self::S3(_) => Ok(()),
        }
    }

    /// Takes the next bytes; returns a checkpoint when one became durable meanwhile.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<Option<Checkpoint>> {
        match self {
            Self::Local(local) => local.write(bytes).await,
            Self::S3(s3) => s3.write(bytes).await,
        }
    }

    /// Makes what was written durable and says where to continue.
    pub(super) async fn pause(self) -> Result<Checkpoint> {
        match self {
            Self::Local(local) => local.pause().await,
            Self::S3(s3) => Ok(s3.checkpoint),
        }
    }

    /// Ends the transfer: every byte is durable at the storage key. Returns the hasher.
    pub(super) async fn finish(self) -> Result<Sha256> {
        match self {
            Self::Local(local) => local.pause().await?.hasher(),
            Self::S3(s3) => s3.finish().await,
        }
    }
}

/// A local upload. What arrives is gathered into batches; one batch is hashed and written, each
/// on a thread, while the next one is gathered. No thread waits for the peer, so any number of
/// slow ones leave the threads to the others.
pub(super) struct LocalStaging {
    file: Arc<File>,
    /// After all bytes before `received`; none while a batch is hashed.
    hasher: Option<Sha256>,
    /// Bytes that are hashed and written.
    received: u64,
    /// `received` when the last flush began.
    flushed: u64,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    hashing: Option<JoinHandle<Sha256>>,
    writing: Option<JoinHandle<Result<u64>>>,
    flushing: Option<JoinHandle<Result<Checkpoint>>>,
}

impl LocalStaging {
    async fn open(path: PathBuf, from: Checkpoint) -> Result<Self> {
        let (hasher, received) = (from.hasher()?, from.received);
        let file = spawn_blocking(move || open_locked(&path)).await??;
        Ok(Self {
            file: Arc::new(file),
            hasher: Some(hasher),
            received,
            flushed: received,
            batch: Vec::new(),
            batch_bytes: 0,
            hashing: None,
            writing: None,
            flushing: None,
        })
    }

    async fn begin(&mut self) -> Result<()> {
        let (file, received) = (self.file.clone(), self.received);
        spawn_blocking(move || cut(&file, received)).await?
    }

    async fn write(&mut self, bytes: Bytes) -> Result<Option<Checkpoint>> {
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
        if self.batch_bytes < BATCH_BYTES && self.batch.len() < BATCH_CHUNKS {
            return Ok(None);
        }
        self.settle().await?;
        let due = self.received - self.flushed >= LOCAL_CHECKPOINT_BYTES;
        let durable = if due { self.flush().await? } else { self.finished_flush().await? };
        self.start_batch()?;
        Ok(durable)
    }

    async fn pause(mut self) -> Result<Checkpoint> {
        self.settle().await?;
        self.start_batch()?;
        self.settle().await?;
        self.flush().await?;
        match self.flushing.take() {
            Some(flushing) => flushing.await?,
            None => Err(Error::Internal("the last flush of an upload did not start".into())),
        }
    }

    /// Hands the gathered batch to the threads; the one before must have settled.
    fn start_batch(&mut self) -> Result<()> {
        let batch: Arc<[Bytes]> = std::mem::take(&mut self.batch).into();
        self.batch_bytes = 0;
        let (mut hasher, hashed) = (self.taken_hasher()?, batch.clone());
        self.hashing = Some(spawn_blocking(move || {
            hashed.iter().for_each(|bytes| hasher.update(bytes));
            hasher
        }));
        let file = self.file.clone();
        self.writing = Some(spawn_blocking(move || {
            write_together(&file, &batch)?;
            Ok(batch.iter().map(|bytes| bytes.len() as u64).sum())
        }));
        Ok(())
    }

    /// Waits until the running batch is hashed and written.
    async fn settle(&mut self) -> Result<()> {
        if let Some(hashing) = self.hashing.take() {
            self.hasher = Some(hashing.await?);
        }
        if let Some(writing) = self.writing.take() {
            match writing.await? {
                Ok(written) => self.received += written,
                Err(error) => {
                    self.give_back().await?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Frees what no checkpoint will name: on a full disk, others need the space now.
    async fn give_back(&mut self) -> Result<()> {
        let (file, kept) = (self.file.clone(), self.flushed);
        Ok(spawn_blocking(move || file.set_len(kept)).await??)
    }

    /// Begins to flush beside the stream, so that the end of a large upload finds little left to
    /// flush. Returns where the flush before ended.
    async fn flush(&mut self) -> Result<Option<Checkpoint>> {
        let before = match self.flushing.take() {
            Some(flushing) => Some(flushing.await??),
            None => None,
        };
        let (file, checkpoint) = (self.file.clone(), self.checkpoint()?);
        self.flushed = self.received;
        self.flushing = Some(spawn_blocking(move || {
            file.sync_data()?;
            Ok(checkpoint)
        }));
        Ok(before)
    }

    async fn finished_flush(&mut self) -> Result<Option<Checkpoint>> {
        match self.flushing.take_if(|flushing| flushing.is_finished()) {
            Some(flushing) => Ok(Some(flushing.await??)),
            None => Ok(None),
        }
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let hasher = self.hasher.as_ref().ok_or_else(hasher_lost)?;
        Ok(Checkpoint {
            received: self.received,
            hasher_state: serialize(hasher),
            multipart_id: None,
            parts: Vec::new(),
        })
    }

    fn taken_hasher(&mut self) -> Result<Sha256> {
        self.hasher.take().ok_or_else(hasher_lost)
    }
}

fn hasher_lost() -> Error {
    Error::Internal("an upload goes on after its thread has failed".into())
}

fn open_locked(path: &Path) -> Result<File> {
    let parent = path.parent().ok_or_else(|| Error::Internal("storage key without a folder".into()))?;
    fs_err::create_dir_all(parent)?;
    let (file, _) = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts();
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(Error::UploadBusy),
        Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    sync_folders(parent)?;
    Ok(file)
}

/// Writes all of `batch` in one call where the kernel takes it: large writes cost it less.
fn write_together(mut file: &File, batch: &[Bytes]) -> std::io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Shortens the file to its checkpoint and stands at its end.
fn cut(mut file: &File, received: u64) -> Result<()> {
    if file.metadata()?.len() < received {
        return Err(Error::Corrupt("an upload's file is shorter than its checkpoint".into()));
    }
    file.set_len(received)?;
    file.seek(SeekFrom::Start(received))?;
    Ok(())
}

/// The name of a new file is durable only when its folder is.
fn sync_folders(folder: &Path) -> Result<()> {
    fs_err::File::open(folder)?.sync_all()?;
    if let Some(parent) = folder.parent() {
        fs_err::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// An S3 upload: whole parts only, so a checkpoint always lies on a part's border.
pub(super) struct S3Staging {
    bucket: Arc<AmazonS3>,
    path: object_store::path::Path,
    size: u64,
    part_bytes: usize,
    buffer: BytesMut,
    checkpoint: Checkpoint,
}

impl S3Staging {
    fn open(store: &BlobStore, bucket: Arc<AmazonS3>, key: &str, size: u64, from: Checkpoint) -> Result<Self> {
        let part_bytes = usize::try_from(MIN_PART_BYTES.max(size / 9_000 + 1))
            .map_err(|_| Error::TooLarge { what: "a part of this upload".into(), limit: MIN_PART_BYTES })?;
        Ok(Self { bucket, path: store.path(key), size, part_bytes, buffer: BytesMut::new(), checkpoint: from })
    }

    async fn write(&mut self, bytes: Bytes) -> Result<Option<Checkpoint>> {
        self.buffer.extend_from_slice(&bytes);
        let mut advanced = None;
        while self.buffer.len() >= self.part_bytes {
            let part = self.buffer.split_to(self.part_bytes).freeze();
            self.put_part(part).await?;
            advanced = Some(self.checkpoint.clone());
        }
        Ok(advanced)
    }

    async fn put_part(&mut self, part: Bytes) -> Result<()> {
        let id = self.multipart_id().await?;
        let number = self.checkpoint.parts.len();
        let stored = self.bucket.put_part(&self.path, &id, number, part.clone().into()).await?;
        self.hash(part).await?;
        self.checkpoint.parts.push(stored.content_id);
        Ok(())
    }

    async fn hash(&mut self, part: Bytes) -> Result<()> {
        let mut hasher = self.checkpoint.hasher()?;
        self.checkpoint.received += part.len() as u64;
        let hashed = spawn_blocking(move || {
            hasher.update(&part);
            serialize(&hasher)
        });
        self.checkpoint.hasher_state = hashed.await?;
        Ok(())
    }

    async fn multipart_id(&mut self) -> Result<MultipartId> {
        if let Some(id) = &self.checkpoint.multipart_id {
            return Ok(id.clone());
        }
        let id = self.bucket.create_multipart(&self.path).await?;
        self.checkpoint.multipart_id = Some(id.clone());
        Ok(id)
    }

    async fn finish(mut self) -> Result<Sha256> {
        let rest = self.buffer.split().freeze();
        if self.checkpoint.parts.is_empty() {
            self.put_whole(rest.clone()).await?;
            self.hash(rest).await?;
        } else {
            if !rest.is_empty() {
                self.put_part(rest).await?;
            }
            self.complete().await?;
        }
        self.checkpoint.hasher()
    }

    /// The key was never given to anything else: an object that is there is what an earlier
    /// attempt of this upload left before its server died, and it was not verified.
    async fn put_whole(&self, bytes: Bytes) -> Result<()> {
        let create = || PutOptions::from(PutMode::Create);
        match self.bucket.put_opts(&self.path, bytes.clone().into(), create()).await {
            Err(object_store::Error::AlreadyExists { .. }) => {
                self.bucket.delete(&self.path).await?;
                self.bucket.put_opts(&self.path, bytes.into(), create()).await?;
            }
            other => {
                other?;
            }
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<()> {
        let id = self.multipart_id().await?;
        let parts = self.checkpoint.parts.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
        match self.bucket.complete_multipart(&self.path, &id, parts).await {
            Ok(_) => Ok(()),
            // A server that died after this step finds the upload gone and the object there.
            Err(error) => match self.bucket.head(&self.path).await {
                Ok(meta) if meta.size == self.size => Ok(()),
                _ => Err(error.into()),
            },
        }
    }
}

/// Removes what an abandoned upload left in the store.
pub(super) async fn discard(store: &BlobStore, storage_key: &str, multipart_id: Option<&String>) -> Result<()> {
    if let (Kind::S3 { bucket }, Some(id)) = (&store.kind, multipart_id) {
        match bucket.abort_multipart(&store.path(storage_key), id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    store.delete(storage_key).await
}
