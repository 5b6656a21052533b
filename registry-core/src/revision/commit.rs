//! The commit: files, revision, ref, event and job in one transaction.

use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, Set};
use uuid::Uuid;

use super::Revision;
use super::refs::{self, RefKind};
use crate::access::Caller;
use crate::audit::{self, Event};
use crate::blob::{GrantSource, grant};
use crate::database::{begin, now_ms};
use crate::entity::{revision, revision_file};
use crate::error::{Error, Result};
use crate::identity::{self, CommitId, FileSpec, Sha256Digest};
use crate::model::{ModelInfo, lock_model};
use crate::pipeline;
use crate::registry::Registry;

/// Longest commit message, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Rows per INSERT; SQLite allows 32,766 values in one statement.
const INSERT_ROWS: usize = 1000;

/// Where the caller believes the branch to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Wherever it is.
    Any,
    /// The branch does not exist yet.
    Absent,
    At(CommitId),
}

/// A set of files to become a branch's head.
#[derive(Debug, Clone)]
pub struct Commit {
    pub branch: String,
    pub expected: Expected,
    pub message: String,
    /// The whole content, not a difference.
    pub files: Vec<FileSpec>,
}

/// What a commit led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub revision: Revision,
    /// False when the same content was committed there before.
    pub created: bool,
}

impl Registry {
    /// Makes `commit` the head of its branch. Repeating a commit returns the existing revision.
    pub async fn commit(&self, caller: &Caller, model: &ModelInfo, mut commit: Commit) -> Result<Committed> {
        caller.require_writer(&model.name.namespace)?;
        identity::check_ref_name(&commit.branch)?;
        identity::check_files(&mut commit.files)?;
        if commit.message.len() > MAX_MESSAGE_BYTES {
            return Err(Error::TooLarge { what: "the commit message".into(), limit: MAX_MESSAGE_BYTES as u64 });
        }
        self.check_blobs(caller, model, &commit.files).await?;
        // Computed while the bytes are warm: a listing must not have to read every small file.
        self.git_ids(&commit.files).await?;
        let content = identity::content_digest(&commit.files);
        let txn = begin(&self.db).await?;
        lock_model(&txn, &model.id).await?;
        let committed = commit_locked(&txn, caller, model, &commit, &content).await?;
        txn.commit().await?;
        Ok(committed)
    }

    /// Every file's bytes must be usable here and have the declared size.
    pub(super) async fn check_blobs(&self, caller: &Caller, model: &ModelInfo, files: &[FileSpec]) -> Result<()> {
        let usable = self.usable_blobs(caller, &model.name.namespace, files).await?;
        for file in files {
            match usable.get(&file.sha256) {
                None => return Err(Error::BlobMissing(file.sha256.clone())),
                Some(size) if *size == file.size => {}
                Some(size) => {
                    let reason = format!("its declared size is {}, but its bytes are {size} long", file.size);
                    return Err(Error::Path { path: file.path.clone(), reason });
                }
            }
        }
        Ok(())
    }
}

async fn commit_locked(
    txn: &DatabaseTransaction,
    caller: &Caller,
    model: &ModelInfo,
    commit: &Commit,
    content: &Sha256Digest,
) -> Result<Committed> {
    let head = refs::head(txn, &model.id, RefKind::Branch, &commit.branch).await?;
    if let Some(revision) = repeated(txn, model, commit, content, head.as_ref()).await? {
        return Ok(Committed { revision, created: false });
    }
    let current = head.as_ref().map(|head| head.commit.clone());
    refs::check_expected(&commit.branch, &commit.expected, current.as_ref())?;
    let parents: Vec<CommitId> = current.clone().into_iter().collect();
    let existing = same_commit(txn, model, content, &parents).await?;
    let created = existing.is_none();
    let revision = match existing {
        Some(revision) => revision,
        None => insert(txn, caller, model, commit, content, parents).await?,
    };
    refs::move_to(txn, caller, model, RefKind::Branch, &commit.branch, current, &revision).await?;
    Ok(Committed { revision, created })
}

/// The revision that an earlier delivery of the same request made, if there was one.
async fn repeated(
    txn: &DatabaseTransaction,
    model: &ModelInfo,
    commit: &Commit,
    content: &Sha256Digest,
    head: Option<&Revision>,
) -> Result<Option<Revision>> {
    let parents = match &commit.expected {
        Expected::Any => return Ok(head.filter(|head| head.content_digest == *content).cloned()),
        Expected::Absent => Vec::new(),
        Expected::At(commit) => vec![commit.clone()],
    };
    let unchanged = head.filter(|head| parents.first() == Some(&head.commit) && head.content_digest == *content);
    if let Some(head) = unchanged {
        return Ok(Some(head.clone()));
    }
    let existing = same_commit(txn, model, content, &parents).await?;
    let head_is_parent = head.map(|head| &head.commit) == parents.first();
    Ok(existing.filter(|_| !head_is_parent))
}

async fn same_commit(
    txn: &DatabaseTransaction,
    model: &ModelInfo,
    content: &Sha256Digest,
    parents: &[CommitId],
) -> Result<Option<Revision>> {
    let row = revision::Entity::find()
        .filter(revision::Column::ModelId.eq(&model.id))
        .filter(revision::Column::ContentDigest.eq(content.as_str()))
        .filter(revision::Column::Parents.eq(serde_json::to_string(parents)?))
        .one(txn)
        .await?;
    row.map(Revision::try_from).transpose()
}

async fn insert(
    txn: &DatabaseTransaction,
    caller: &Caller,
    model: &ModelInfo,
    commit: &Commit,
    content: &Sha256Digest,
    parents: Vec<CommitId>,
) -> Result<Revision> {
    let created_at = now_ms();
    let author = caller.subject().to_owned();
    let id = identity::commit_id(content, &parents, &author, created_at, &commit.message);
    let row = revision::ActiveModel {
        id: Set(Uuid::now_v7().to_string()),
        model_id: Set(model.id.clone()),
        commit_id: Set(id.to_string()),
        content_digest: Set(content.to_string()),
        parents: Set(serde_json::to_string(&parents)?),
        author: Set(author),
        message: Set(commit.message.clone()),
        created_at: Set(created_at),
    };
    let revision: Revision = row.insert(txn).await?.try_into()?;
    insert_files(txn, &revision, &commit.files).await?;
    let digests = commit.files.iter().map(|file| &file.sha256);
    grant(txn, &model.name.namespace, digests, GrantSource::Readable).await?;
    pipeline::start(txn, &revision).await?;
    let event = Event::new("revision.committed", caller.subject())
        .model(&model.id)
        .detail("commit", revision.commit.as_str())
        .detail("content_digest", content.as_str())
        .detail("files", commit.files.len());
    audit::record(txn, event).await?;
    Ok(revision)
}

async fn insert_files(txn: &DatabaseTransaction, revision: &Revision, files: &[FileSpec]) -> Result<()> {
    for rows in files.chunks(INSERT_ROWS) {
        let rows = rows.iter().map(|file| revision_file::ActiveModel {
            revision_id: Set(revision.id.clone()),
            path: Set(file.path.clone()),
            sha256: Set(file.sha256.to_string()),
            size: Set(i64::try_from(file.size).unwrap_or(i64::MAX)),
        });
        revision_file::Entity::insert_many(rows).exec_without_returning(txn).await?;
    }
    Ok(())
}
