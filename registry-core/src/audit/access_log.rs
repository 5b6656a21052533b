//! Who read which bytes with which client.
//!
//! Reads are too many for an event each. They are collected for a fraction of a second,
//! stored as rows, and each batch of rows becomes one leaf of the audit log.

use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Event, new_salt, person_hash, record};
use crate::access::Caller;
use crate::database::now_ms;
use crate::entity::access_entry;
use crate::error::Result;
use crate::identity::Sha256Digest;
use crate::model::ModelInfo;
use crate::registry::Registry;
use crate::revision::Revision;

/// Entries that are stored at once instead of waiting for the next flush.
const FLUSH_AT: usize = 500;
/// Most entries behind one leaf.
const BATCH: u64 = 5_000;

/// Reads that wait to be stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessLog {
    waiting: Arc<Mutex<Vec<access_entry::ActiveModel>>>,
}

impl AccessLog {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn push(&self, entry: access_entry::ActiveModel) -> usize {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(entry);
        waiting.len()
    }

    fn take(&self) -> Vec<access_entry::ActiveModel> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, mut entries: Vec<access_entry::ActiveModel>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        entries.append(&mut waiting);
        *waiting = entries;
    }
}

/// One read, or an attempt that was refused.
#[derive(Debug, Clone)]
pub struct Access<'a> {
    /// `download`, `presign`, …
    pub action: &'static str,
    pub model: &'a ModelInfo,
    pub revision: &'a Revision,
    /// The bytes that were asked for; none for a whole revision.
    pub sha256: Option<&'a Sha256Digest>,
    /// `allowed` or `denied`.
    pub outcome: &'static str,
}

impl Registry {
    /// Notes a read. It is stored within a fraction of a second.
    pub async fn record_access(&self, caller: &Caller, access: Access<'_>) -> Result<()> {
        let entry = access_entry::ActiveModel {
            id: Set(Uuid::now_v7().to_string()),
            occurred_at: Set(now_ms()),
            action: Set(access.action.to_owned()),
            salt: Set(new_salt()?),
            subject: Set(caller.subject().to_owned()),
            token_id: Set(caller.token_id().map(str::to_owned)),
            model_id: Set(access.model.id.clone()),
            content_digest: Set(access.revision.content_digest.to_string()),
            sha256: Set(access.sha256.map(ToString::to_string)),
            client: Set(caller.client().to_owned()),
            outcome: Set(access.outcome.to_owned()),
            batch_event: Set(None),
        };
        if self.access_log.push(entry) >= FLUSH_AT {
            self.flush_access_log().await?;
        }
        Ok(())
    }

    /// Stores the reads that wait; on failure they go on waiting.
    pub async fn flush_access_log(&self) -> Result<u64> {
        let entries = self.access_log.take();
        if entries.is_empty() {
            return Ok(0);
        }
        let number = entries.len() as u64;
        let insert = access_entry::Entity::insert_many(entries.clone()).exec_without_returning(&self.db);
        if let Err(error) = insert.await {
            self.access_log.put_back(entries);
            return Err(error.into());
        }
        Ok(number)
    }
}

/// Binds stored reads into one event, which the sequencer then appends.
pub(super) async fn batch(txn: &DatabaseTransaction) -> Result<()> {
    let entries = access_entry::Entity::find()
        .filter(access_entry::Column::BatchEvent.is_null())
        .order_by_asc(access_entry::Column::Id)
        .limit(BATCH)
        .all(txn)
        .await?;
    if entries.is_empty() {
        return Ok(());
    }
    let event = Event::new("access.batch", "weighhouse")
        .detail("entries", entries.len())
        .detail("sha256", batch_digest(&entries));
    let event_id = record(txn, event).await?;
    access_entry::Entity::update_many()
        .col_expr(access_entry::Column::BatchEvent, sea_orm::sea_query::Expr::value(event_id))
        .filter(access_entry::Column::Id.is_in(entries.iter().map(|entry| entry.id.as_str())))
        .exec(txn)
        .await?;
    Ok(())
}

/// The entries of a batch in their order.
pub(super) async fn batch_entries(
    connection: &impl ConnectionTrait,
    event_id: &str,
) -> Result<Vec<access_entry::Model>> {
    Ok(access_entry::Entity::find()
        .filter(access_entry::Column::BatchEvent.eq(event_id))
        .order_by_asc(access_entry::Column::Id)
        .all(connection)
        .await?)
}

/// SHA-256 over one line per entry. The person stands in it as a salted hash, so that the
/// name can be erased without breaking the log; an erased entry keeps that hash.
pub(super) fn batch_digest(entries: &[access_entry::Model]) -> String {
    let mut hasher = Sha256::new();
    for entry in entries {
        let person =
            if entry.salt.is_empty() { entry.subject.clone() } else { person_hash(&entry.salt, &entry.subject) };
        let fields = [
            entry.id.as_str(),
            &entry.occurred_at.to_string(),
            &entry.action,
            &person,
            entry.token_id.as_deref().unwrap_or_default(),
            &entry.model_id,
            &entry.content_digest,
            entry.sha256.as_deref().unwrap_or_default(),
            &entry.client,
            &entry.outcome,
        ];
        for field in fields {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field);
        }
    }
    hex::encode(hasher.finalize())
}
