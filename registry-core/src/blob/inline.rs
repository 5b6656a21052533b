//! Small files that arrive inside of another request.
//!
//! They wait in an unnamed file until the whole request has been read and checked, so that a
//! request that is refused leaves nothing. Then they become blobs by the thousand: a commit of
//! many small files must not cost a transaction for each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{PutMode, PutOptions};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::task::spawn_blocking;

use crate::access::Caller;
use crate::database::begin;
use crate::entity::upload_session;
use crate::error::{Error, Result};
use crate::identity::{FileSpec, Sha256Digest};
use crate::registry::Registry;

/// Objects written at once.
const WRITES: usize = 8;
/// Files that become blobs in one transaction; SQLite takes 32,766 values in a statement.
const BATCH: usize = 1000;

/// Contents that wait to be stored; they vanish with it.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    end: u64,
}

/// A content in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledFile {
    pub spec: FileSpec,
    offset: u64,
}

impl Spool {
    /// An empty spool in the system's folder for temporary files.
    pub fn new() -> Result<Self> {
        Ok(Self { file: Arc::new(tempfile::tempfile()?), end: 0 })
    }

    /// Bytes in it.
    pub const fn size(&self) -> u64 {
        self.end
    }

    /// Keeps one file's content. Blocks on the disk; contents are small.
    pub fn add(&mut self, path: String, content: &[u8]) -> Result<SpooledFile> {
        let size = content.len() as u64;
        (&*self.file).write_all(content)?;
        let offset = self.end;
        self.end += size;
        Ok(SpooledFile { spec: FileSpec { path, sha256: Sha256Digest::of(content), size }, offset })
    }

    async fn read(&self, file: &SpooledFile) -> Result<Bytes> {
        let (spool, offset) = (self.file.clone(), file.offset);
        let mut content = vec![0; usize::try_from(file.spec.size).map_err(|_| Error::Corrupt("spool".into()))?];
        let read = spawn_blocking(move || spool.read_exact_at(&mut content, offset).map(|()| content));
        Ok(read.await??.into())
    }
}

impl Registry {
    /// Makes blobs of what the namespace has no right to yet.
    pub(crate) async fn store_spooled(
        &self,
        caller: &Caller,
        namespace: &str,
        spool: &Spool,
        files: &[SpooledFile],
    ) -> Result<()> {
        let specs: Vec<FileSpec> = files.iter().map(|file| file.spec.clone()).collect();
        specs.iter().try_for_each(|file| self.check_size(file))?;
        let usable = self.usable_blobs(caller, namespace, &specs).await?;
        let missing: BTreeMap<&Sha256Digest, &SpooledFile> =
            files.iter().filter(|file| !usable.contains_key(&file.spec.sha256)).map(|f| (&f.spec.sha256, f)).collect();
        let missing: Vec<&SpooledFile> = missing.into_values().collect();
        for batch in missing.chunks(BATCH) {
            self.store_batch(caller, namespace, spool, batch).await?;
        }
        Ok(())
    }

    async fn store_batch(&self, caller: &Caller, namespace: &str, spool: &Spool, files: &[&SpooledFile]) -> Result<()> {
        let rows =
            files.iter().map(|file| self.new_session(caller, namespace, &file.spec)).collect::<Result<Vec<_>>>()?;
        let sessions = upload_session::Entity::insert_many(rows).exec_with_returning(&self.db).await?;
        let by_digest: BTreeMap<&str, &SpooledFile> =
            files.iter().map(|file| (file.spec.sha256.as_str(), *file)).collect();
        let mut writes = Vec::with_capacity(sessions.len());
        for session in &sessions {
            let file = by_digest.get(session.sha256.as_str()).copied();
            let file = file.ok_or_else(|| Error::Internal("an upload session of no file".into()))?;
            writes.push((file.clone(), session.storage_key.clone()));
        }
        futures::stream::iter(writes)
            .map(|(file, key)| async move { self.write_spooled(spool, &file, &key).await })
            .buffer_unordered(WRITES)
            .try_collect::<Vec<()>>()
            .await?;
        self.record_spooled(&sessions).await
    }

    async fn write_spooled(&self, spool: &Spool, file: &SpooledFile, key: &str) -> Result<()> {
        let content = spool.read(file).await?;
        self.blobs.objects.put_opts(&self.blobs.path(key), content.into(), PutOptions::from(PutMode::Create)).await?;
        Ok(())
    }

    /// All blobs, grants and events, and the end of the sessions, in one transaction.
    async fn record_spooled(&self, sessions: &[upload_session::Model]) -> Result<()> {
        let txn = begin(&self.db).await?;
        let ids = sessions.iter().map(|session| session.id.as_str());
        let ended =
            upload_session::Entity::delete_many().filter(upload_session::Column::Id.is_in(ids)).exec(&txn).await?;
        if ended.rows_affected != sessions.len() as u64 {
            return Err(Error::UploadBusy);
        }
        let mut surplus = Vec::new();
        for session in sessions {
            if !super::upload::insert_blob(&txn, session, &session.sha256.parse()?).await? {
                surplus.push(&session.storage_key);
            }
        }
        txn.commit().await?;
        for key in surplus {
            self.blobs.delete(key).await?;
        }
        Ok(())
    }
}
