//! Where an arriving xorb is written.
//!
//! A client sends many xorbs at once and each is small, so none is worth resuming. On local disk
//! a batch is written before the next one is gathered: what an upload holds in memory is two
//! batches, however many there are.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::super::staging::{Checkpoint, Staging};
use super::super::store::{BlobStore, Kind};
use super::chunk::MAX_XORB_BYTES;
use crate::error::{Error, Result};

pub(super) enum Sink {
    Local { path: PathBuf, file: Arc<File> },
    Remote(Box<Staging>),
}

impl Sink {
    /// Begins an object at a key that was never used.
    pub(super) async fn open(blobs: &BlobStore, storage_key: &str) -> Result<Self> {
        let Kind::Local { folder } = &blobs.kind else {
            let mut staging = Staging::open(blobs, storage_key, MAX_XORB_BYTES, Checkpoint::start()).await?;
            staging.begin().await?;
            return Ok(Self::Remote(Box::new(staging)));
        };
        let path = folder.join(storage_key);
        let created = path.clone();
        let file = spawn_blocking(move || create(&created)).await??;
        Ok(Self::Local { path, file: Arc::new(file) })
    }

    /// Takes the next bytes. Returns the id of the multipart upload when there is one to be
    /// remembered.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<Option<String>> {
        match self {
            Self::Local { file, .. } => {
                let file = file.clone();
                spawn_blocking(move || (&*file).write_all(&bytes)).await??;
                Ok(None)
            }
            Self::Remote(staging) => Ok(staging.write(bytes).await?.and_then(|checkpoint| checkpoint.multipart_id)),
        }
    }

    /// Makes every byte durable at the key.
    pub(super) async fn finish(self) -> Result<()> {
        match self {
            Self::Local { path, file } => spawn_blocking(move || make_durable(&path, &file)).await?,
            Self::Remote(staging) => staging.finish().await.map(|_| ()),
        }
    }
}

fn create(path: &Path) -> Result<File> {
    fs_err::create_dir_all(parent(path)?)?;
    Ok(fs_err::File::create_new(path)?.into_parts().0)
}

/// The name of a new file is durable only when its folder is.
fn make_durable(path: &Path, file: &File) -> Result<()> {
    file.sync_data()?;
    let folder = parent(path)?;
    for folder in [folder, parent(folder)?] {
        fs_err::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn parent(path: &Path) -> Result<&Path> {
    path.parent().ok_or_else(|| Error::Internal("a storage key without a folder".into()))
}
