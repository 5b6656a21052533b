//! Revisions: immutable sets of files, and the refs that move over them.

mod change;
mod commit;
mod refs;

pub use change::{Change, ChangeSet};
pub use commit::{Commit, Committed, Expected};
pub(crate) use refs::main_head;
pub use refs::{MAIN_BRANCH, Movement, Ref, RefKind};

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::access::{Caller, Role};
use crate::entity::{reference, revision, revision_file};
use crate::error::{Error, Result};
use crate::identity::{CommitId, FileSpec, Sha256Digest};
use crate::model::ModelInfo;
use crate::page::{Page, PageRequest};
use crate::registry::Registry;

/// One revision of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub(crate) id: String,
    pub model_id: String,
    pub commit: CommitId,
    pub content_digest: Sha256Digest,
    pub parents: Vec<CommitId>,
    pub author: String,
    pub message: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl TryFrom<revision::Model> for Revision {
    type Error = Error;

    fn try_from(row: revision::Model) -> Result<Self> {
        Ok(Self {
            id: row.id,
            model_id: row.model_id,
            commit: row.commit_id.parse()?,
            content_digest: row.content_digest.parse()?,
            parents: serde_json::from_str(&row.parents)?,
            author: row.author,
            message: row.message,
            created_at: row.created_at,
        })
    }
}

impl Registry {
    /// The revision that a branch, a tag or a full commit names.
    pub async fn find_revision(&self, model: &ModelInfo, name: &str) -> Result<Revision> {
        let row = match name.parse::<CommitId>() {
            Ok(commit) => by_commit(&self.db, &model.id, &commit).await?,
            Err(_) => by_ref(&self.db, &model.id, name).await?,
        };
        row.ok_or_else(|| Error::NotFound(format!("revision {name} of model {}", model.name)))?.try_into()
    }

    /// The revision that a branch or tag points to, if there is one.
    pub async fn find_ref(&self, model: &ModelInfo, kind: RefKind, name: &str) -> Result<Option<Revision>> {
        refs::head(&self.db, &model.id, kind, name).await
    }

    /// All files of a revision, sorted by path.
    pub async fn revision_files(&self, revision: &Revision) -> Result<Vec<FileSpec>> {
        files_of(&self.db, &revision.id).await
    }

    /// One file of a revision.
    pub async fn revision_file(&self, revision: &Revision, path: &str) -> Result<FileSpec> {
        let key = (revision.id.clone(), path.to_owned());
        let row = revision_file::Entity::find_by_id(key).one(&self.db).await?;
        let missing = || Error::NotFound(format!("file {path:?} in revision {}", revision.commit));
        spec(row.ok_or_else(missing)?)
    }

    /// The newest revision of the model with these bytes that the gate lets the caller read, and
    /// the file in it.
    pub async fn file_by_digest(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        digest: &Sha256Digest,
    ) -> Result<(Revision, FileSpec)> {
        let mut refused = Error::NotFound(format!("file with the digest {digest} in model {}", model.name));
        for revision in revisions_holding(&self.db, digest, Some(&model.id)).await? {
            match self.authorize_read(caller, model, &revision).await {
                Ok(()) => {
                    let file = revision_file::Entity::find()
                        .filter(revision_file::Column::RevisionId.eq(&revision.id))
                        .filter(revision_file::Column::Sha256.eq(digest.as_str()))
                        .one(&self.db)
                        .await?;
                    let file = file.ok_or_else(|| Error::Corrupt("a file left its revision".into()))?;
                    return Ok((revision, spec(file)?));
                }
                Err(error @ Error::Denied { .. }) => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// A model's revisions, newest first.
    pub async fn list_revisions(&self, model: &ModelInfo, page: &PageRequest) -> Result<Page<Revision>> {
        let mut query = revision::Entity::find()
            .filter(revision::Column::ModelId.eq(&model.id))
            .order_by_desc(revision::Column::Id)
            .limit(page.limit + 1);
        if let Some(before) = &page.cursor {
            query = query.filter(revision::Column::Id.lt(before.as_str()));
        }
        let rows = query.all(&self.db).await?;
        let revisions = rows.into_iter().map(Revision::try_from).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(revisions, page.limit, |revision| revision.id.clone()))
    }

    /// The revision and its ancestors by first parent, newest first. A cursor is the commit
    /// that the page begins with.
    pub async fn history(
        &self,
        model: &ModelInfo,
        revision: &Revision,
        page: &PageRequest,
    ) -> Result<(Vec<Revision>, Option<CommitId>)> {
        let start = match &page.cursor {
            Some(cursor) => self.find_revision(model, cursor.parse::<CommitId>()?.as_str()).await?,
            None => revision.clone(),
        };
        // `parents` is a JSON list of commits: the first one begins after `["`.
        let query = "WITH RECURSIVE chain (id, parents, depth) AS ( \
                     SELECT id, parents, 0 FROM revision WHERE id = ? UNION ALL \
                     SELECT r.id, r.parents, c.depth + 1 FROM chain c JOIN revision r \
                     ON r.model_id = ? AND r.commit_id = SUBSTR(c.parents, 3, 40) WHERE c.depth < ?) \
                     SELECT r.* FROM chain c JOIN revision r ON r.id = c.id ORDER BY c.depth";
        let values =
            vec![start.id.into(), model.id.clone().into(), i64::try_from(page.limit).unwrap_or(i64::MAX).into()];
        let statement = crate::database::sql(&self.db, query, values);
        let rows = revision::Entity::find().from_raw_sql(statement).all(&self.db).await?;
        let mut revisions = rows.into_iter().map(Revision::try_from).collect::<Result<Vec<_>>>()?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let next = revisions.get(limit).map(|revision| revision.commit.clone());
        revisions.truncate(limit);
        Ok((revisions, next))
    }

    /// Whether the caller may read some revision that holds these bytes.
    pub(crate) async fn may_read_blob(&self, caller: &Caller, digest: &Sha256Digest) -> Result<bool> {
        for revision in revisions_holding(&self.db, digest, None).await? {
            let model = self.model_by_id(&revision.model_id).await?;
            let visible = caller.may_see(&model.name.namespace, model.visibility);
            if visible && self.may_read(caller, &model, &revision).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the gate, or the right to write, lets the caller read a visible revision.
    async fn may_read(&self, caller: &Caller, model: &ModelInfo, revision: &Revision) -> Result<bool> {
        if caller.role_in(&model.name.namespace).is_some_and(|role| role >= Role::Writer) {
            return Ok(true);
        }
        let decision = self.live_decision(model, revision, caller.environment()).await?;
        Ok(decision.is_some_and(|decision| decision.allowed))
    }
}

/// Revisions of models that still exist, or of one; bounded, because one is enough to answer.
async fn revisions_holding(
    connection: &impl ConnectionTrait,
    digest: &Sha256Digest,
    model_id: Option<&str>,
) -> Result<Vec<Revision>> {
    let of_model = if model_id.is_some() { "AND m.id = ?" } else { "" };
    let query = format!(
        "SELECT DISTINCT r.* FROM revision r \
         JOIN revision_file f ON f.revision_id = r.id JOIN model m ON m.id = r.model_id \
         WHERE f.sha256 = ? AND m.deleted_at IS NULL {of_model} ORDER BY r.id DESC LIMIT 100"
    );
    let values = [Some(digest.as_str()), model_id].into_iter().flatten().map(sea_orm::Value::from).collect();
    let rows = revision::Entity::find().from_raw_sql(crate::database::sql(connection, &query, values));
    rows.all(connection).await?.into_iter().map(Revision::try_from).collect()
}

async fn by_commit(
    connection: &impl ConnectionTrait,
    model_id: &str,
    commit: &CommitId,
) -> Result<Option<revision::Model>> {
    let query = revision::Entity::find()
        .filter(revision::Column::ModelId.eq(model_id))
        .filter(revision::Column::CommitId.eq(commit.as_str()));
    Ok(query.one(connection).await?)
}

/// Branches win over tags of the same name, as everywhere else.
async fn by_ref(connection: &impl ConnectionTrait, model_id: &str, name: &str) -> Result<Option<revision::Model>> {
    let row = reference::Entity::find()
        .filter(reference::Column::ModelId.eq(model_id))
        .filter(reference::Column::Name.eq(name))
        .order_by_asc(reference::Column::Kind)
        .one(connection)
        .await?;
    match row {
        Some(row) => Ok(revision::Entity::find_by_id(row.revision_id).one(connection).await?),
        None => Ok(None),
    }
}

pub(crate) async fn revision_by_id(connection: &impl ConnectionTrait, id: &str) -> Result<Revision> {
    let row = revision::Entity::find_by_id(id).one(connection).await?;
    row.ok_or_else(|| Error::NotFound(format!("revision {id}")))?.try_into()
}

pub(crate) async fn files_of(connection: &impl ConnectionTrait, revision_id: &str) -> Result<Vec<FileSpec>> {
    let rows = revision_file::Entity::find()
        .filter(revision_file::Column::RevisionId.eq(revision_id))
        .order_by_asc(revision_file::Column::Path)
        .all(connection)
        .await?;
    rows.into_iter().map(spec).collect()
}

fn spec(row: revision_file::Model) -> Result<FileSpec> {
    let size = u64::try_from(row.size).map_err(|_| Error::Corrupt("negative size".into()))?;
    Ok(FileSpec { path: row.path, sha256: row.sha256.parse()?, size })
}
