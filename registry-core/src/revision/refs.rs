//! Branches and tags. Movements are history: none is ever forgotten.

use std::collections::HashMap;
use std::str::FromStr;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, NotSet, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Expected, Revision, revision_by_id};
use crate::access::{Caller, Role};
use crate::audit::{self, Event};
use crate::catalog;
use crate::database::{begin, now_ms};
use crate::entity::{ref_movement, reference, revision};
use crate::error::{Error, Result};
use crate::identity::{self, CommitId, Sha256Digest};
use crate::model::{ModelInfo, lock_model};
use crate::page::{Page, PageRequest};
use crate::pipeline;
use crate::registry::Registry;

/// The branch that stands for the model in the catalog.
pub const MAIN_BRANCH: &str = "main";

/// Movable or fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefKind {
    Branch,
    Tag,
}

impl RefKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        }
    }
}

impl FromStr for RefKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "branch" => Ok(Self::Branch),
            "tag" => Ok(Self::Tag),
            _ => Err(Error::invalid("kind of ref", "expected branch or tag")),
        }
    }
}

/// Where a name points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    pub kind: RefKind,
    pub name: String,
    pub commit: CommitId,
    pub content_digest: Sha256Digest,
    pub updated_at: i64,
}

/// One movement of a ref; a missing side means that it did not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    pub id: i64,
    pub from: Option<CommitId>,
    pub to: Option<CommitId>,
    pub moved_by: String,
    pub moved_at: i64,
}

impl Registry {
    /// Branches, then tags, each by name.
    pub async fn list_refs(&self, model: &ModelInfo) -> Result<Vec<Ref>> {
        let rows = reference::Entity::find()
            .filter(reference::Column::ModelId.eq(&model.id))
            .order_by_asc(reference::Column::Kind)
            .order_by_asc(reference::Column::Name)
            .all(&self.db)
            .await?;
        let ids = rows.iter().map(|row| row.revision_id.clone());
        let revisions = revision::Entity::find().filter(revision::Column::Id.is_in(ids)).all(&self.db).await?;
        let by_id: HashMap<&str, &revision::Model> = revisions.iter().map(|row| (row.id.as_str(), row)).collect();
        rows.into_iter().map(|row| to_ref(row, &by_id)).collect()
    }

    /// Creates or moves a branch, or creates a tag, at `to`.
    pub async fn set_ref(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        kind: RefKind,
        name: &str,
        to: &Revision,
        expected: &Expected,
    ) -> Result<()> {
        caller.require_writer(&model.name.namespace)?;
        identity::check_ref_name(name)?;
        let txn = begin(&self.db).await?;
        lock_model(&txn, &model.id).await?;
        let current = head(&txn, &model.id, kind, name).await?.map(|head| head.commit);
        if current.as_ref() == Some(&to.commit) {
            return Ok(());
        }
        check_expected(name, expected, current.as_ref())?;
        if kind == RefKind::Tag {
            check_tag(&txn, &model.id, name, to).await?;
        }
        move_to(&txn, caller, model, kind, name, current, to).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Deletes a branch or tag; its movements stay, and a tag's name stays bound to its content.
    pub async fn delete_ref(&self, caller: &Caller, model: &ModelInfo, kind: RefKind, name: &str) -> Result<()> {
        caller.require(&model.name.namespace, Role::Maintainer)?;
        identity::check_ref_name(name)?;
        if kind == RefKind::Branch && name == MAIN_BRANCH {
            return Err(Error::invalid("ref", "the main branch cannot be deleted; delete the model instead"));
        }
        let txn = begin(&self.db).await?;
        lock_model(&txn, &model.id).await?;
        let current = head(&txn, &model.id, kind, name).await?;
        let current = current.ok_or_else(|| Error::NotFound(format!("{} {name}", kind.as_str())))?;
        let key = (model.id.clone(), kind.as_str().to_owned(), name.to_owned());
        reference::Entity::delete_by_id(key).exec(&txn).await?;
        record_movement(&txn, caller, model, kind, name, Some(current.commit), None).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Movements of one ref, newest first.
    pub async fn ref_history(
        &self,
        model: &ModelInfo,
        kind: RefKind,
        name: &str,
        page: &PageRequest,
    ) -> Result<Page<Movement>> {
        identity::check_ref_name(name)?;
        let mut query = ref_movement::Entity::find()
            .filter(ref_movement::Column::ModelId.eq(&model.id))
            .filter(ref_movement::Column::Kind.eq(kind.as_str()))
            .filter(ref_movement::Column::Name.eq(name))
            .order_by_desc(ref_movement::Column::Id)
            .limit(page.limit + 1);
        if let Some(cursor) = &page.cursor {
            let before: i64 = cursor.parse().map_err(|_| Error::invalid("cursor", "is not one of this list"))?;
            query = query.filter(ref_movement::Column::Id.lt(before));
        }
        let rows = query.all(&self.db).await?.into_iter().map(movement).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, page.limit, |movement| movement.id.to_string()))
    }
}

fn to_ref(row: reference::Model, revisions: &HashMap<&str, &revision::Model>) -> Result<Ref> {
    let revision = revisions.get(row.revision_id.as_str()).ok_or_else(|| Error::Corrupt("a ref dangles".into()))?;
    Ok(Ref {
        kind: row.kind.parse()?,
        name: row.name,
        commit: revision.commit_id.parse()?,
        content_digest: revision.content_digest.parse()?,
        updated_at: row.updated_at,
    })
}

fn movement(row: ref_movement::Model) -> Result<Movement> {
    Ok(Movement {
        id: row.id,
        from: row.from_commit.map(|commit| commit.parse()).transpose()?,
        to: row.to_commit.map(|commit| commit.parse()).transpose()?,
        moved_by: row.moved_by,
        moved_at: row.moved_at,
    })
}

/// The revision a ref points to.
pub(super) async fn head(
    connection: &impl ConnectionTrait,
    model_id: &str,
    kind: RefKind,
    name: &str,
) -> Result<Option<Revision>> {
    let key = (model_id.to_owned(), kind.as_str().to_owned(), name.to_owned());
    match reference::Entity::find_by_id(key).one(connection).await? {
        Some(row) => Ok(Some(revision_by_id(connection, &row.revision_id).await?)),
        None => Ok(None),
    }
}

/// The head of the main branch; none where nothing was committed.
pub(crate) async fn main_head(connection: &impl ConnectionTrait, model_id: &str) -> Result<Option<Revision>> {
    head(connection, model_id, RefKind::Branch, MAIN_BRANCH).await
}

/// Compare-and-swap: the caller's belief must be the truth.
pub(super) fn check_expected(name: &str, expected: &Expected, current: Option<&CommitId>) -> Result<()> {
    let belief = match expected {
        Expected::Any => return Ok(()),
        Expected::Absent => None,
        Expected::At(commit) => Some(commit),
    };
    if belief == current {
        return Ok(());
    }
    Err(Error::RefMoved { reference: name.to_owned(), expected: belief.cloned(), current: current.cloned() })
}

/// A tag never changes what it means, not even over a deletion.
async fn check_tag(txn: &DatabaseTransaction, model_id: &str, name: &str, to: &Revision) -> Result<()> {
    let before = ref_movement::Entity::find()
        .filter(ref_movement::Column::ModelId.eq(model_id))
        .filter(ref_movement::Column::Kind.eq(RefKind::Tag.as_str()))
        .filter(ref_movement::Column::Name.eq(name))
        .filter(ref_movement::Column::ToCommit.is_not_null())
        .one(txn)
        .await?;
    let Some(commit) = before.and_then(|movement| movement.to_commit) else { return Ok(()) };
    let same = super::by_commit(txn, model_id, &commit.parse()?).await?;
    if same.is_some_and(|revision| revision.content_digest == to.content_digest.as_str()) {
        return Ok(());
    }
    Err(Error::TagReused(name.to_owned()))
}

/// Points a ref at a revision and keeps the movement, the catalog and the pipeline in step.
pub(super) async fn move_to(
    txn: &DatabaseTransaction,
    caller: &Caller,
    model: &ModelInfo,
    kind: RefKind,
    name: &str,
    from: Option<CommitId>,
    to: &Revision,
) -> Result<()> {
    let row = reference::ActiveModel {
        model_id: Set(model.id.clone()),
        kind: Set(kind.as_str().to_owned()),
        name: Set(name.to_owned()),
        revision_id: Set(to.id.clone()),
        updated_at: Set(now_ms()),
    };
    let key = [reference::Column::ModelId, reference::Column::Kind, reference::Column::Name];
    let replace = OnConflict::columns(key)
        .update_columns([reference::Column::RevisionId, reference::Column::UpdatedAt])
        .to_owned();
    reference::Entity::insert(row).on_conflict(replace).exec_without_returning(txn).await?;
    record_movement(txn, caller, model, kind, name, from, Some(to.commit.clone())).await?;
    if kind == RefKind::Branch && name == MAIN_BRANCH {
        catalog::point_at(txn, model, to).await?;
    }
    pipeline::resume_superseded(txn, to).await
}

async fn record_movement(
    txn: &DatabaseTransaction,
    caller: &Caller,
    model: &ModelInfo,
    kind: RefKind,
    name: &str,
    from: Option<CommitId>,
    to: Option<CommitId>,
) -> Result<()> {
    let event = Event::new("ref.moved", caller.subject())
        .model(&model.id)
        .detail("kind", kind.as_str())
        .detail("name", name)
        .detail("from", from.as_ref().map(CommitId::to_string))
        .detail("to", to.as_ref().map(CommitId::to_string));
    audit::record(txn, event).await?;
    let row = ref_movement::ActiveModel {
        id: NotSet,
        model_id: Set(model.id.clone()),
        kind: Set(kind.as_str().to_owned()),
        name: Set(name.to_owned()),
        from_commit: Set(from.map(|commit| commit.to_string())),
        to_commit: Set(to.map(|commit| commit.to_string())),
        moved_by: Set(caller.subject().to_owned()),
        moved_at: Set(now_ms()),
    };
    row.insert(txn).await?;
    Ok(())
}
