//! Models: an immutable id under a name that has a history.

use sea_orm::sea_query::LockType;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::access::{Caller, Role, Visibility};
use crate::audit::{self, Event};
use crate::catalog;
use crate::database::{begin, is_unique_violation, now_ms};
use crate::entity::{model, model_name};
use crate::error::{Error, Result};
use crate::identity::ModelName;
use crate::registry::Registry;

/// What a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Has weights here.
    Model,
    /// Stands for a model without weights here: one behind an API, or a parent not held.
    Reference,
}

impl ModelKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Reference => "reference",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "model" => Ok(Self::Model),
            "reference" => Ok(Self::Reference),
            other => Err(Error::Corrupt(format!("unknown kind of model {other}"))),
        }
    }
}

/// A model as its readers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    pub id: String,
    pub name: ModelName,
    pub kind: ModelKind,
    pub visibility: Visibility,
    pub created_at: i64,
}

/// One name a model had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePeriod {
    pub name: ModelName,
    pub valid_from: i64,
    pub valid_to: Option<i64>,
}

/// A change of a model; absent fields stay as they are.
#[derive(Debug, Clone, Default)]
pub struct ModelChange {
    pub name: Option<ModelName>,
    pub visibility: Option<Visibility>,
}

impl Registry {
    /// Creates a model without revisions.
    pub async fn create_model(
        &self,
        caller: &Caller,
        name: &ModelName,
        kind: ModelKind,
        visibility: Visibility,
    ) -> Result<ModelInfo> {
        caller.require_writer(&name.namespace)?;
        let txn = begin(&self.db).await?;
        check_name_free(&txn, name, None).await?;
        let info =
            ModelInfo { id: Uuid::now_v7().to_string(), name: name.clone(), kind, visibility, created_at: now_ms() };
        insert_model(&txn, caller, &info).await?;
        start_name(&txn, &info.id, name, info.created_at).await?;
        catalog::insert_entry(&txn, &info).await?;
        let event = Event::new("model.created", caller.subject())
            .model(&info.id)
            .detail("name", name.to_string())
            .detail("kind", kind.as_str())
            .detail("visibility", visibility.as_str());
        audit::record(&txn, event).await?;
        txn.commit().await?;
        Ok(info)
    }

    /// Finds a model by its current name, or by an earlier one that still leads to it.
    ///
    /// A model that the caller may not know of is [`Error::NotFound`]; one that was deleted is
    /// [`Error::Gone`] for those who could see it.
    pub async fn find_model(&self, caller: &Caller, name: &ModelName) -> Result<ModelInfo> {
        let missing = || Error::NotFound(format!("model {name}"));
        let row = model_of_name(&self.db, name).await?.ok_or_else(missing)?;
        let current = current_name(&self.db, &row.id).await?;
        let info = info(&row, current)?;
        if !caller.may_see(&info.name.namespace, info.visibility) {
            return Err(missing());
        }
        if row.deleted_at.is_some() {
            return Err(Error::Gone(format!("model {name}")));
        }
        Ok(info)
    }

    /// Renames a model or changes who sees it.
    pub async fn change_model(&self, caller: &Caller, name: &ModelName, change: ModelChange) -> Result<ModelInfo> {
        let before = self.find_model(caller, name).await?;
        caller.require(&before.name.namespace, Role::Maintainer)?;
        let mut after = before.clone();
        let txn = begin(&self.db).await?;
        if let Some(new_name) = change.name.filter(|new_name| *new_name != before.name) {
            caller.require(&new_name.namespace, Role::Maintainer)?;
            rename(&txn, caller, &before, &new_name).await?;
            after.name = new_name;
        }
        if let Some(visibility) = change.visibility.filter(|new| *new != before.visibility) {
            set_visibility(&txn, caller, &before, visibility).await?;
            after.visibility = visibility;
        }
        catalog::update_identity(&txn, &after).await?;
        txn.commit().await?;
        Ok(after)
    }

    /// Deletes a model. Its name stays reserved and its evidence, decisions and events stay.
    pub async fn delete_model(&self, caller: &Caller, name: &ModelName) -> Result<()> {
        let info = self.find_model(caller, name).await?;
        caller.require(&info.name.namespace, Role::Maintainer)?;
        let txn = begin(&self.db).await?;
        let change =
            model::ActiveModel { id: Set(info.id.clone()), deleted_at: Set(Some(now_ms())), ..Default::default() };
        change.update(&txn).await?;
        catalog::remove_entry(&txn, &info.id).await?;
        let event = Event::new("model.deleted", caller.subject()).model(&info.id);
        audit::record(&txn, event.detail("name", info.name.to_string())).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Every name the model had, newest first.
    pub async fn name_history(&self, model: &ModelInfo) -> Result<Vec<NamePeriod>> {
        let rows = model_name::Entity::find()
            .filter(model_name::Column::ModelId.eq(&model.id))
            .order_by_desc(model_name::Column::ValidFrom)
            .limit(1000)
            .all(&self.db)
            .await?;
        let period = |row: model_name::Model| NamePeriod {
            name: ModelName { namespace: row.namespace, name: row.name },
            valid_from: row.valid_from,
            valid_to: row.valid_to,
        };
        Ok(rows.into_iter().map(period).collect())
    }

    /// The model that has the name now, or had it last; none where it was deleted.
    pub(crate) async fn model_named(
        &self,
        connection: &impl ConnectionTrait,
        name: &ModelName,
    ) -> Result<Option<ModelInfo>> {
        match model_of_name(connection, name).await?.filter(|row| row.deleted_at.is_none()) {
            Some(row) => Ok(Some(info(&row, current_name(connection, &row.id).await?)?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn model_by_id(&self, id: &str) -> Result<ModelInfo> {
        let row = model::Entity::find_by_id(id).one(&self.db).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("model {id}")))?;
        let name = current_name(&self.db, id).await?;
        info(&row, name)
    }
}

/// A lock on the model for this transaction; fails when it was deleted meanwhile.
pub(crate) async fn lock_model(txn: &DatabaseTransaction, id: &str) -> Result<()> {
    let row = model::Entity::find_by_id(id).lock_exclusive().one(txn).await?;
    match row {
        Some(row) if row.deleted_at.is_none() => Ok(()),
        _ => Err(Error::Gone(format!("model {id}"))),
    }
}

/// Takes the lock that rows about the model will need, before the catalog's rows are locked: a
/// commit locks the model first, and two orders would make transactions wait in a circle.
pub(crate) async fn hold_model(txn: &DatabaseTransaction, id: &str) -> Result<()> {
    model::Entity::find_by_id(id).lock(LockType::KeyShare).one(txn).await?;
    Ok(())
}

async fn insert_model(txn: &DatabaseTransaction, caller: &Caller, info: &ModelInfo) -> Result<()> {
    let row = model::ActiveModel {
        id: Set(info.id.clone()),
        kind: Set(info.kind.as_str().to_owned()),
        visibility: Set(info.visibility.as_str().to_owned()),
        created_at: Set(info.created_at),
        created_by: Set(caller.subject().to_owned()),
        deleted_at: Set(None),
    };
    row.insert(txn).await?;
    Ok(())
}

async fn start_name(txn: &DatabaseTransaction, id: &str, name: &ModelName, from: i64) -> Result<()> {
    let row = model_name::ActiveModel {
        namespace: Set(name.namespace.clone()),
        name: Set(name.name.clone()),
        model_id: Set(id.to_owned()),
        valid_from: Set(from),
        valid_to: Set(None),
    };
    match row.insert(txn).await {
        Ok(_) => Ok(()),
        // Two requests for the same name at once: the second one finds it taken.
        Err(error) if is_unique_violation(&error) => Err(Error::Exists(format!("model {name}"))),
        Err(error) => Err(error.into()),
    }
}

/// A name belongs forever to the first model that had it.
async fn check_name_free(txn: &DatabaseTransaction, name: &ModelName, own_id: Option<&str>) -> Result<()> {
    let holders = model_name::Entity::find()
        .filter(model_name::Column::Namespace.eq(&name.namespace))
        .filter(model_name::Column::Name.eq(&name.name))
        .order_by_desc(model_name::Column::ValidFrom)
        .one(txn)
        .await?;
    let Some(holder) = holders.filter(|row| Some(row.model_id.as_str()) != own_id) else { return Ok(()) };
    let deleted =
        model::Entity::find_by_id(&holder.model_id).one(txn).await?.is_some_and(|row| row.deleted_at.is_some());
    if holder.valid_to.is_none() && !deleted {
        return Err(Error::Exists(format!("model {name}")));
    }
    Err(Error::NameRetired(name.to_string()))
}

async fn rename(txn: &DatabaseTransaction, caller: &Caller, before: &ModelInfo, to: &ModelName) -> Result<()> {
    check_name_free(txn, to, Some(&before.id)).await?;
    let now = now_ms();
    model_name::Entity::update_many()
        .col_expr(model_name::Column::ValidTo, sea_orm::sea_query::Expr::value(now))
        .filter(model_name::Column::ModelId.eq(&before.id))
        .filter(model_name::Column::ValidTo.is_null())
        .exec(txn)
        .await?;
    start_name(txn, &before.id, to, now).await?;
    let event = Event::new("model.renamed", caller.subject())
        .model(&before.id)
        .detail("from", before.name.to_string())
        .detail("to", to.to_string());
    audit::record(txn, event).await?;
    Ok(())
}

async fn set_visibility(
    txn: &DatabaseTransaction,
    caller: &Caller,
    before: &ModelInfo,
    visibility: Visibility,
) -> Result<()> {
    let change = model::ActiveModel {
        id: Set(before.id.clone()),
        visibility: Set(visibility.as_str().to_owned()),
        ..Default::default()
    };
    change.update(txn).await?;
    let event = Event::new("model.visibility_changed", caller.subject())
        .model(&before.id)
        .detail("from", before.visibility.as_str())
        .detail("to", visibility.as_str());
    audit::record(txn, event).await?;
    Ok(())
}

/// The model that has the name now, or had it last.
async fn model_of_name(connection: &impl ConnectionTrait, name: &ModelName) -> Result<Option<model::Model>> {
    let row = model_name::Entity::find()
        .filter(model_name::Column::Namespace.eq(&name.namespace))
        .filter(model_name::Column::Name.eq(&name.name))
        .order_by_desc(model_name::Column::ValidFrom)
        .one(connection)
        .await?;
    match row {
        Some(row) => Ok(model::Entity::find_by_id(row.model_id).one(connection).await?),
        None => Ok(None),
    }
}

async fn current_name(connection: &impl ConnectionTrait, id: &str) -> Result<ModelName> {
    let row = model_name::Entity::find()
        .filter(model_name::Column::ModelId.eq(id))
        .filter(model_name::Column::ValidTo.is_null())
        .one(connection)
        .await?;
    let row = row.ok_or_else(|| Error::Corrupt(format!("model {id} has no name")))?;
    Ok(ModelName { namespace: row.namespace, name: row.name })
}

fn info(row: &model::Model, name: ModelName) -> Result<ModelInfo> {
    Ok(ModelInfo {
        id: row.id.clone(),
        name,
        kind: ModelKind::parse(&row.kind)?,
        visibility: row.visibility.parse()?,
        created_at: row.created_at,
    })
}
