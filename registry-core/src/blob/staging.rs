//! Writing one upload's bytes: hashed while they stream, durable at every checkpoint.
//!
//! A checkpoint is what a later process needs to go on: the number of bytes that are safely
//! stored, the hasher's state after exactly those bytes and, on S3, the parts. Locally the
//! bytes go straight into the final file under an exclusive lock, so a second connection to
//! the same upload cannot mix its bytes in; on S3 a part is immutable once its tag is recorded.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::{MultipartId, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::store::{BlobStore, Kind};
use crate::entity::upload_session;
use crate::error::{Error, Result};

/// Bytes between two durable points of a local upload: a killed server loses at most these.
const LOCAL_CHECKPOINT_BYTES: u64 = 64 << 20;
/// Smallest part on S3; larger for files that would need more than 9,000 parts.
const MIN_PART_BYTES: u64 = 16 << 20;
/// Chunks that may wait for the disk: with the usual 64 KiB chunks this bounds memory at 4 MiB.
const QUEUE_CHUNKS: usize = 64;

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
    /// Opens the upload at `from`; bytes stored after it are discarded.
    pub(super) async fn open(store: &BlobStore, storage_key: &str, size: u64, from: Checkpoint) -> Result<Self> {
        match &store.kind {
            Kind::Local { folder } => Ok(Self::Local(LocalStaging::open(folder.join(storage_key), from).await?)),
            Kind::S3 { bucket } => {
                let staging = S3Staging::open(store, bucket.clone(), storage_key, size, from)?;
                Ok(Self::S3(Box::new(staging)))
            }
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

/// A local upload: a thread that hashes and writes, fed through a short queue.
pub(super) struct LocalStaging {
    queue: mpsc::Sender<Bytes>,
    checkpoints: mpsc::UnboundedReceiver<Checkpoint>,
    writer: JoinHandle<Result<Checkpoint>>,
}

impl LocalStaging {
    async fn open(path: PathBuf, from: Checkpoint) -> Result<Self> {
        let (queue, incoming) = mpsc::channel(QUEUE_CHUNKS);
        let (announce, checkpoints) = mpsc::unbounded_channel();
        let file = tokio::task::spawn_blocking(move || open_locked(&path, from.received).map(|file| (file, from)));
        let (file, from) = file.await??;
        let hasher = from.hasher()?;
        let writer =
            LocalWriter { file, hasher, received: from.received, durable: from.received, announce, sync: None };
        let writer = tokio::task::spawn_blocking(move || writer.run(incoming));
        Ok(Self { queue, checkpoints, writer })
    }

    async fn write(&mut self, bytes: Bytes) -> Result<Option<Checkpoint>> {
        if self.queue.send(bytes).await.is_err() {
            // The writer ended early: its error is what the caller needs.
            let ended = (&mut self.writer).await?;
            return Err(ended.err().unwrap_or(Error::Internal("the upload's writer ended early".into())));
        }
        Ok(self.checkpoints.try_recv().ok())
    }

    async fn pause(self) -> Result<Checkpoint> {
        drop(self.queue);
        self.writer.await?
    }
}

fn open_locked(path: &Path, received: u64) -> Result<File> {
    let parent = path.parent().ok_or_else(|| Error::Internal("storage key without a folder".into()))?;
    fs_err::create_dir_all(parent)?;
    let (mut file, _) = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts();
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(Error::UploadBusy),
        Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    if file.metadata()?.len() < received {
        return Err(Error::Corrupt("an upload's file is shorter than its checkpoint".into()));
    }
    file.set_len(received)?;
    file.seek(SeekFrom::Start(received))?;
    sync_folders(parent)?;
    Ok(file)
}

/// The name of a new file is durable only when its folder is.
fn sync_folders(folder: &Path) -> Result<()> {
    fs_err::File::open(folder)?.sync_all()?;
    if let Some(parent) = folder.parent() {
        fs_err::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

struct LocalWriter {
    file: File,
    hasher: Sha256,
    received: u64,
    durable: u64,
    announce: mpsc::UnboundedSender<Checkpoint>,
    sync: Option<std::thread::JoinHandle<std::io::Result<()>>>,
}

impl LocalWriter {
    fn run(mut self, mut incoming: mpsc::Receiver<Bytes>) -> Result<Checkpoint> {
        while let Some(bytes) = incoming.blocking_recv() {
            self.hasher.update(&bytes);
            self.file.write_all(&bytes)?;
            self.received += bytes.len() as u64;
            if self.received - self.durable >= LOCAL_CHECKPOINT_BYTES {
                self.sync_in_background()?;
            }
        }
        self.join_sync()?;
        self.file.sync_all()?;
        Ok(self.checkpoint())
    }

    /// Flushes beside the stream, so that the end of a large upload finds little left to flush.
    fn sync_in_background(&mut self) -> Result<()> {
        self.join_sync()?;
        self.durable = self.received;
        let (file, checkpoint, announce) = (self.file.try_clone()?, self.checkpoint(), self.announce.clone());
        self.sync = Some(std::thread::spawn(move || {
            file.sync_data()?;
            // Nobody listens any more when the connection has just ended.
            let _ = announce.send(checkpoint);
            Ok(())
        }));
        Ok(())
    }

    fn join_sync(&mut self) -> Result<()> {
        match self.sync.take().map(std::thread::JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => Ok(result?),
            Some(Err(_)) => Err(Error::Internal("the flushing thread panicked".into())),
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            received: self.received,
            hasher_state: serialize(&self.hasher),
            multipart_id: None,
            parts: Vec::new(),
        }
    }
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
        let hashed = tokio::task::spawn_blocking(move || {
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
