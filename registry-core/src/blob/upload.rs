//! Upload sessions: declare, send, resume, finish.
//!
//! "Present" is answered per caller: only under a grant. Without one the bytes are asked for,
//! hashed and dropped if the store has them already, so nobody learns or gains another
//! namespace's bytes by knowing their digest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::pin::pin;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, Set,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::staging::{Checkpoint, Staging, discard};
use super::store::BlobStore;
use super::{GrantSource, grant};
use crate::access::Caller;
use crate::audit::{self, Event};
use crate::database::{begin, now_ms, sql};
use crate::entity::{blob, blob_grant, upload_session};
use crate::error::{Error, Result};
use crate::identity::{FileSpec, Sha256Digest};
use crate::registry::Registry;

/// Digests looked up in one statement.
const LOOKUP_ROWS: usize = 1000;

/// Whether the caller has to send a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadStatus {
    /// The namespace has a right to these bytes already.
    Present,
    /// Send the bytes from `offset` on.
    Upload,
}

/// What to do for one declared digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUpload {
    pub sha256: Sha256Digest,
    pub size: u64,
    pub status: UploadStatus,
    /// The session to send to; none when present.
    pub session: Option<String>,
    pub offset: u64,
}

/// Where one session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadState {
    pub id: String,
    pub sha256: Sha256Digest,
    pub size: u64,
    pub offset: u64,
    /// The bytes are complete, verified and usable in a commit.
    pub complete: bool,
}

impl Registry {
    /// Declares files to be uploaded into `namespace`; distinct digests are answered once each.
    pub async fn declare_uploads(
        &self,
        caller: &Caller,
        namespace: &str,
        files: &[FileSpec],
    ) -> Result<Vec<FileUpload>> {
        caller.require_writer(namespace)?;
        files.iter().try_for_each(|file| self.check_size(file))?;
        // Sessions before blobs: one that ends between the two look-ups is found as a blob.
        let open = self.open_sessions(caller, namespace, files).await?;
        let usable = self.usable_blobs(caller, namespace, files).await?;
        let mut answered = BTreeMap::new();
        for file in files {
            if answered.contains_key(&file.sha256) {
                continue;
            }
            let upload = match (usable.get(&file.sha256), open.get(&(file.sha256.clone(), file.size))) {
                (Some(stored), _) => present(file, *stored)?,
                (None, Some(session)) => session.clone().try_into()?,
                (None, None) => self.create_session(caller, namespace, file).await?.try_into()?,
            };
            answered.insert(file.sha256.clone(), upload);
        }
        Ok(answered.into_values().collect())
    }

    /// Fails for a file larger than this registry takes.
    pub fn check_size(&self, file: &FileSpec) -> Result<()> {
        let limit = self.settings.max_file_bytes;
        if file.size > limit {
            return Err(Error::TooLarge { what: file.path.clone(), limit });
        }
        Ok(())
    }

    /// The caller's sessions for `files`: of several for one, that which has received most.
    async fn open_sessions(
        &self,
        caller: &Caller,
        namespace: &str,
        files: &[FileSpec],
    ) -> Result<HashMap<(Sha256Digest, u64), upload_session::Model>> {
        let mut open = HashMap::new();
        for files in files.chunks(LOOKUP_ROWS) {
            let rows = upload_session::Entity::find()
                .filter(upload_session::Column::Namespace.eq(namespace))
                .filter(upload_session::Column::Sha256.is_in(files.iter().map(|file| file.sha256.as_str())))
                .filter(upload_session::Column::CreatedBy.eq(caller.subject()))
                .filter(upload_session::Column::ExpiresAt.gt(now_ms()))
                .order_by_asc(upload_session::Column::Received)
                .all(&self.db)
                .await?;
            for row in rows {
                open.insert((row.sha256.parse()?, size_u64(row.size)?), row);
            }
        }
        Ok(open)
    }

    /// The row is written before the first byte, so the sweeper finds whatever follows.
    async fn create_session(&self, caller: &Caller, namespace: &str, file: &FileSpec) -> Result<upload_session::Model> {
        Ok(self.new_session(caller, namespace, file)?.insert(&self.db).await?)
    }

    pub(super) fn new_session(
        &self,
        caller: &Caller,
        namespace: &str,
        file: &FileSpec,
    ) -> Result<upload_session::ActiveModel> {
        let start = Checkpoint::start();
        Ok(upload_session::ActiveModel {
            id: Set(Uuid::now_v7().to_string()),
            namespace: Set(namespace.to_owned()),
            sha256: Set(file.sha256.to_string()),
            size: Set(size_i64(file.size)?),
            storage_key: Set(BlobStore::new_key()),
            multipart_id: Set(None),
            parts: Set("[]".to_owned()),
            received: Set(0),
            hasher_state: Set(start.hasher_state),
            writer: Set(None),
            created_by: Set(caller.subject().to_owned()),
            created_at: Set(now_ms()),
            expires_at: Set(now_ms() + self.settings.upload_session_ttl_ms),
        })
    }

    /// Where a session stands; only its creator may ask.
    pub async fn upload_state(&self, caller: &Caller, id: &str) -> Result<UploadState> {
        let session = self.own_session(caller, id).await?;
        state(&session, Checkpoint::of(&session)?.received, false)
    }

    /// Ends a session and discards its bytes.
    pub async fn abort_upload(&self, caller: &Caller, id: &str) -> Result<()> {
        let session = self.own_session(caller, id).await?;
        self.drop_session(&session).await
    }

    pub(super) async fn drop_session(&self, session: &upload_session::Model) -> Result<()> {
        discard(&self.blobs, &session.storage_key, session.multipart_id.as_ref()).await?;
        upload_session::Entity::delete_by_id(&session.id).exec(&self.db).await?;
        Ok(())
    }

    async fn own_session(&self, caller: &Caller, id: &str) -> Result<upload_session::Model> {
        let session = upload_session::Entity::find_by_id(id).one(&self.db).await?;
        session
            .filter(|session| session.created_by == caller.subject() && session.expires_at > now_ms())
            .ok_or_else(|| Error::NotFound(format!("upload {id}")))
    }

    /// Sends bytes from `offset` on. A broken connection keeps what arrived
    /// ([`Error::Interrupted`]); the last byte verifies the digest and finishes the upload.
    pub async fn write_upload<S>(&self, caller: &Caller, id: &str, offset: u64, body: S) -> Result<UploadState>
    where
        S: Stream<Item = std::io::Result<Bytes>>,
    {
        let session = self.own_session(caller, id).await?;
        caller.require_writer(&session.namespace)?;
        let from = Checkpoint::of(&session)?;
        if offset != from.received {
            return Err(Error::OffsetMismatch { current: from.received, requested: offset });
        }
        let size = size_u64(session.size)?;
        let mut staging = Staging::open(&self.blobs, &session.storage_key, size, from).await?;
        let writer = self.take_over(&session).await?;
        staging.begin().await?;
        let outcome = self.stream_into(&session, &writer, staging, offset, body).await;
        if matches!(outcome, Err(Error::Store(object_store::Error::NotFound { .. }))) {
            // The store has forgotten the parts: what is left of the session helps nobody.
            self.drop_session(&session).await?;
            return Err(Error::NotFound(format!("upload {id}")));
        }
        outcome
    }

    /// Takes all bytes of one file at once, for clients that cannot resume. Where the namespace
    /// has a right to them already, nothing is read.
    pub async fn receive_whole<S>(&self, caller: &Caller, namespace: &str, file: &FileSpec, body: S) -> Result<()>
    where
        S: Stream<Item = std::io::Result<Bytes>>,
    {
        caller.require_writer(namespace)?;
        self.check_size(file)?;
        if self.holds(caller, namespace, file).await? {
            return Ok(());
        }
        // A session of its own: another attempt that has not ended yet must not stand in the way.
        let session = self.create_session(caller, namespace, file).await?;
        let received = self.write_upload(caller, &session.id, 0, body).await;
        match received {
            Ok(state) if state.complete => Ok(()),
            Ok(state) => {
                self.drop_session(&session).await?;
                Err(Error::Interrupted(state.offset))
            }
            Err(error) => {
                self.drop_session(&session).await?;
                Err(error)
            }
        }
    }

    /// Takes one part of a file that is sent in parts, in their order. A part that came before
    /// is read and dropped; of one that came in half, the rest is kept.
    pub async fn receive_part<S>(
        &self,
        caller: &Caller,
        namespace: &str,
        file: &FileSpec,
        part: Range<u64>,
        body: S,
    ) -> Result<()>
    where
        S: Stream<Item = std::io::Result<Bytes>>,
    {
        let declared = self.declare_uploads(caller, namespace, std::slice::from_ref(file)).await?;
        let declared = declared.into_iter().next().ok_or_else(|| Error::Internal("nothing was declared".into()))?;
        let Some(session) = declared.session else { return Ok(()) };
        if declared.offset < part.start {
            return Err(Error::OffsetMismatch { current: declared.offset, requested: part.start });
        }
        if declared.offset >= part.end {
            return Ok(());
        }
        let rest = skip(body, declared.offset - part.start, part.end - part.start);
        let reached = self.write_upload(caller, &session, declared.offset, rest).await?;
        if reached.offset < part.end {
            return Err(Error::Interrupted(reached.offset));
        }
        Ok(())
    }

    /// Whether the namespace has a right to the file's bytes, at its size.
    pub async fn holds(&self, caller: &Caller, namespace: &str, file: &FileSpec) -> Result<bool> {
        let usable = self.usable_blobs(caller, namespace, std::slice::from_ref(file)).await?;
        match usable.get(&file.sha256) {
            None => Ok(false),
            Some(stored) if *stored == file.size => Ok(true),
            Some(stored) => Err(Error::invalid(&file.path, format!("the bytes of this digest are {stored} long"))),
        }
    }

    async fn stream_into<S>(
        &self,
        session: &upload_session::Model,
        writer: &str,
        mut staging: Staging,
        offset: u64,
        body: S,
    ) -> Result<UploadState>
    where
        S: Stream<Item = std::io::Result<Bytes>>,
    {
        let size = size_u64(session.size)?;
        let mut received = offset;
        let mut body = pin!(body);
        let mut broken = false;
        while let Some(chunk) = body.next().await {
            let Ok(bytes) = chunk else {
                broken = true;
                break;
            };
            received += bytes.len() as u64;
            if received > size {
                return Err(Error::TooLong(size));
            }
            if let Some(checkpoint) = staging.write(bytes).await? {
                self.save_checkpoint(session, writer, &checkpoint).await?;
            }
        }
        if received == size && !broken {
            return self.finish_upload(session, writer, staging.finish().await?).await;
        }
        let checkpoint = staging.pause().await?;
        self.save_checkpoint(session, writer, &checkpoint).await?;
        if broken {
            return Err(Error::Interrupted(checkpoint.received));
        }
        state(session, checkpoint.received, false)
    }

    /// Makes this connection the session's writer; an earlier one can save nothing any more.
    async fn take_over(&self, session: &upload_session::Model) -> Result<String> {
        let writer = Uuid::new_v4().to_string();
        let expires_at = now_ms() + self.settings.upload_session_ttl_ms;
        let update = "UPDATE upload_session SET writer = ?, expires_at = ? WHERE id = ? AND received = ?";
        let values = vec![writer.clone().into(), expires_at.into(), session.id.clone().into(), session.received.into()];
        match self.db.execute_raw(sql(&self.db, update, values)).await?.rows_affected() {
            1 => Ok(writer),
            _ => Err(Error::UploadBusy),
        }
    }

    async fn save_checkpoint(&self, session: &upload_session::Model, writer: &str, to: &Checkpoint) -> Result<()> {
        let update = "UPDATE upload_session SET received = ?, hasher_state = ?, multipart_id = ?, parts = ? \
                      WHERE id = ? AND writer = ?";
        let values = vec![
            size_i64(to.received)?.into(),
            to.hasher_state.clone().into(),
            to.multipart_id.clone().into(),
            serde_json::to_string(&to.parts)?.into(),
            session.id.clone().into(),
            writer.into(),
        ];
        match self.db.execute_raw(sql(&self.db, update, values)).await?.rows_affected() {
            1 => Ok(()),
            _ => Err(Error::UploadBusy),
        }
    }

    async fn finish_upload(
        &self,
        session: &upload_session::Model,
        writer: &str,
        hasher: sha2::Sha256,
    ) -> Result<UploadState> {
        let expected: Sha256Digest = session.sha256.parse()?;
        let actual = Sha256Digest::from_hasher(hasher);
        if actual != expected {
            self.drop_session(session).await?;
            return Err(Error::DigestMismatch { expected, actual });
        }
        let kept = self.record_blob(session, writer, &expected).await?;
        if !kept {
            // The store had these bytes: the proof of possession counts, the second copy goes.
            self.blobs.delete(&session.storage_key).await?;
        }
        state(session, size_u64(session.size)?, true)
    }

    /// The blob, the grant, the event and the end of the session, in one transaction.
    /// Returns whether the uploaded object is the blob's object.
    async fn record_blob(&self, session: &upload_session::Model, writer: &str, digest: &Sha256Digest) -> Result<bool> {
        let txn = begin(&self.db).await?;
        let ended = upload_session::Entity::delete_many()
            .filter(upload_session::Column::Id.eq(&session.id))
            .filter(upload_session::Column::Writer.eq(writer))
            .exec(&txn)
            .await?;
        if ended.rows_affected != 1 {
            return Err(Error::UploadBusy);
        }
        let kept = insert_blob(&txn, session, digest).await?;
        txn.commit().await?;
        Ok(kept)
    }

    /// Sizes of the blobs among `files` that the caller may use in `namespace`; blobs without a
    /// right to them are left out, as if they were not stored.
    pub(crate) async fn usable_blobs(
        &self,
        caller: &Caller,
        namespace: &str,
        files: &[FileSpec],
    ) -> Result<HashMap<Sha256Digest, u64>> {
        let mut usable = HashMap::new();
        for files in files.chunks(LOOKUP_ROWS) {
            let digests = || files.iter().map(|file| file.sha256.as_str());
            let granted: HashSet<String> = blob_grant::Entity::find()
                .filter(blob_grant::Column::Namespace.eq(namespace))
                .filter(blob_grant::Column::Sha256.is_in(digests()))
                .all(&self.db)
                .await?
                .into_iter()
                .map(|grant| grant.sha256)
                .collect();
            for row in blob::Entity::find().filter(blob::Column::Sha256.is_in(digests())).all(&self.db).await? {
                let digest: Sha256Digest = row.sha256.parse()?;
                if granted.contains(digest.as_str()) || self.may_read_blob(caller, &digest).await? {
                    usable.insert(digest, size_u64(row.size)?);
                }
            }
        }
        Ok(usable)
    }
}

fn present(file: &FileSpec, stored: u64) -> Result<FileUpload> {
    if stored != file.size {
        return Err(Error::invalid(&file.path, format!("the bytes of this digest are {stored} long")));
    }
    let (sha256, size) = (file.sha256.clone(), file.size);
    Ok(FileUpload { sha256, size, status: UploadStatus::Present, session: None, offset: size })
}

impl TryFrom<upload_session::Model> for FileUpload {
    type Error = Error;

    fn try_from(session: upload_session::Model) -> Result<Self> {
        Ok(Self {
            sha256: session.sha256.parse()?,
            size: size_u64(session.size)?,
            status: UploadStatus::Upload,
            offset: Checkpoint::of(&session)?.received,
            session: Some(session.id),
        })
    }
}

/// The blob, the grant and the event of an upload that has ended. Returns whether its object is
/// the blob's object; it is not where the bytes were stored already.
pub(super) async fn insert_blob(
    txn: &DatabaseTransaction,
    session: &upload_session::Model,
    digest: &Sha256Digest,
) -> Result<bool> {
    let insert = "INSERT INTO blob (sha256, size, layout, storage_key, created_at) \
                  VALUES (?, ?, 'whole', ?, ?) ON CONFLICT DO NOTHING";
    let values = vec![digest.as_str().into(), session.size.into(), session.storage_key.clone().into(), now_ms().into()];
    let kept = txn.execute_raw(sql(txn, insert, values)).await?.rows_affected() == 1;
    grant(txn, &session.namespace, [digest], GrantSource::Uploaded).await?;
    let event = Event::new("blob.uploaded", &session.created_by)
        .detail("namespace", session.namespace.as_str())
        .detail("sha256", digest.as_str())
        .detail("size", session.size)
        .detail("stored_already", !kept);
    audit::record(txn, event).await?;
    Ok(kept)
}

/// The bytes of a body after the first `skipped`; an error where it has more than `length`.
fn skip<S>(body: S, skipped: u64, length: u64) -> impl Stream<Item = std::io::Result<Bytes>>
where
    S: Stream<Item = std::io::Result<Bytes>>,
{
    let mut seen = 0_u64;
    body.map(move |chunk| {
        let mut chunk = chunk?;
        let before = seen;
        seen += chunk.len() as u64;
        if seen > length {
            return Err(std::io::Error::other("the part is longer than its size"));
        }
        let cut = usize::try_from(skipped.saturating_sub(before)).unwrap_or(usize::MAX).min(chunk.len());
        Ok(chunk.split_off(cut))
    })
}

fn state(session: &upload_session::Model, offset: u64, complete: bool) -> Result<UploadState> {
    Ok(UploadState {
        id: session.id.clone(),
        sha256: session.sha256.parse()?,
        size: size_u64(session.size)?,
        offset,
        complete,
    })
}

fn size_i64(size: u64) -> Result<i64> {
    i64::try_from(size).map_err(|_| Error::TooLarge { what: "the file".into(), limit: i64::MAX as u64 })
}

fn size_u64(size: i64) -> Result<u64> {
    u64::try_from(size).map_err(|_| Error::Corrupt("negative size".into()))
}
