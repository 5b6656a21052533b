//! The audit log: what was changed, by whom, provably complete.
//!
//! An event is written in the transaction of the change it describes, so neither exists
//! without the other. It is not yet part of the log: one sequencer appends committed events
//! to a Merkle tree and signs the tree's head. Personal data never enters a leaf; it stands
//! there as a salted hash, and the salt and the name lie in a row that can be erased.

mod access_log;
mod proof;
mod sequencer;
mod tree;
mod verify;

use std::collections::BTreeMap;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use verifier::provenance::transparency::{StatementEntry, canonical_json};

pub use access_log::Access;
pub(crate) use access_log::AccessLog;
pub use sequencer::Checkpoint;
pub(crate) use tree::complete_stored;
pub use verify::{AuditReport, Problem};

use crate::access::Caller;
use crate::database::now_ms;
use crate::entity::{audit_event, audit_person};
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::keys::{InstanceKeys, KeyPurpose};
use crate::page::{Page, PageRequest};
use crate::registry::Registry;

/// The kind of events whose leaf is a [`StatementEntry`].
const STATEMENT_SIGNED: &str = "statement.signed";

/// Something that happened, before it is stored.
#[derive(Debug)]
pub(crate) struct Event {
    kind: &'static str,
    model: Option<String>,
    details: BTreeMap<&'static str, Value>,
    people: BTreeMap<&'static str, String>,
}

impl Event {
    pub(crate) fn new(kind: &'static str, actor: &str) -> Self {
        Self { kind, model: None, details: BTreeMap::new(), people: BTreeMap::from([("actor", actor.to_owned())]) }
    }

    pub(crate) fn model(mut self, id: &str) -> Self {
        self.model = Some(id.to_owned());
        self
    }

    /// A fact that may stand in the log forever: never a person's name, never free text.
    pub(crate) fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(name, value.into());
        self
    }

    /// A person; the log gets a salted hash.
    pub(crate) fn person(mut self, name: &'static str, subject: &str) -> Self {
        self.people.insert(name, subject.to_owned());
        self
    }
}

/// A leaf, stored and hashed as canonical JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Leaf {
    at: i64,
    details: BTreeMap<String, Value>,
    id: String,
    kind: String,
    model: Option<String>,
    people: BTreeMap<String, String>,
    v: u32,
}

impl Leaf {
    /// What an event's body says; a statement's entry says digest and key alone.
    fn of(row: &audit_event::Model) -> Result<Self> {
        if row.kind != STATEMENT_SIGNED {
            return Ok(serde_json::from_str(&row.body)?);
        }
        let entry = StatementEntry::parse(&row.body).map_err(|error| Error::Corrupt(error.to_string()))?;
        let details = [("statement", hex::encode(entry.digest)), ("key", entry.key_digest())];
        Ok(Self {
            at: row.occurred_at,
            details: details.into_iter().map(|(name, digest)| (name.to_owned(), digest.into())).collect(),
            id: row.id.clone(),
            kind: row.kind.clone(),
            model: row.model_id.clone(),
            people: BTreeMap::new(),
            v: 1,
        })
    }
}

/// Stores an event beside the change it describes.
pub(crate) async fn record(connection: &impl ConnectionTrait, event: Event) -> Result<String> {
    let id = Uuid::now_v7().to_string();
    let mut people = BTreeMap::new();
    for (field, subject) in &event.people {
        let salt = new_salt()?;
        people.insert((*field).to_owned(), person_hash(&salt, subject));
        audit_person::ActiveModel {
            event_id: Set(id.clone()),
            field: Set((*field).to_owned()),
            salt: Set(salt),
            subject: Set(subject.clone()),
        }
        .insert(connection)
        .await?;
    }
    let details = event.details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let kind = event.kind.to_owned();
    let leaf = Leaf { at: now_ms(), details, id: id.clone(), kind, model: event.model, people, v: 1 };
    audit_event::ActiveModel {
        id: Set(id.clone()),
        occurred_at: Set(leaf.at),
        kind: Set(leaf.kind.clone()),
        model_id: Set(leaf.model.clone()),
        body: Set(canonical(&leaf)?),
        sequenced: Set(false),
    }
    .insert(connection)
    .await?;
    Ok(id)
}

fn canonical(leaf: &Leaf) -> Result<String> {
    let bytes = canonical_json(&serde_json::to_value(leaf)?).map_err(|error| Error::Internal(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::Internal(error.to_string()))
}

/// Gives a statement that this registry signed a place in the log, in the transaction that stores it.
///
/// Its leaf is an entry that stock sigstore verifiers know, not a [`Leaf`]: time, model and id lie
/// beside it, and what the statement is about says the statement.
pub(crate) async fn record_statement(
    txn: &DatabaseTransaction,
    model_id: Option<&str>,
    keys: &InstanceKeys,
    entry: &StatementEntry,
) -> Result<String> {
    keys.require_current(txn, KeyPurpose::Statement).await?;
    if entry.public_key != keys.statement().public_key_der() {
        return Err(Error::Internal("a statement was signed with another key than the registry's".into()));
    }
    let id = Uuid::now_v7().to_string();
    audit_event::ActiveModel {
        id: Set(id.clone()),
        occurred_at: Set(now_ms()),
        kind: Set(STATEMENT_SIGNED.to_owned()),
        model_id: Set(model_id.map(str::to_owned)),
        body: Set(entry.body().map_err(|error| Error::Internal(error.to_string()))?),
        sequenced: Set(false),
    }
    .insert(txn)
    .await?;
    Ok(id)
}

/// The hash that stands for a person: SHA-256 over salt, a zero byte and the name.
pub(crate) fn person_hash(salt: &str, subject: &str) -> String {
    Sha256Digest::of(format!("{salt}\0{subject}").as_bytes()).to_string()
}

pub(crate) fn new_salt() -> Result<String> {
    let mut salt = [0_u8; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| Error::Internal("the system gives no random numbers".into()))?;
    Ok(hex::encode(salt))
}

/// An event as the audit page and API show it.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    pub id: String,
    pub occurred_at: i64,
    pub kind: String,
    pub details: BTreeMap<String, Value>,
    /// Names where they were not erased, else the salted hash.
    pub people: BTreeMap<String, String>,
    pub sequenced: bool,
}

impl Registry {
    /// Events of one model, newest first, for its maintainers; of everything for site administrators.
    pub async fn audit_events(
        &self,
        caller: &Caller,
        model_id: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>> {
        let mut query = audit_event::Entity::find().order_by_desc(audit_event::Column::Id).limit(page.limit + 1);
        match model_id {
            Some(id) => query = query.filter(audit_event::Column::ModelId.eq(id)),
            None => caller.require_site_admin()?,
        }
        if let Some(before) = &page.cursor {
            query = query.filter(audit_event::Column::Id.lt(before.as_str()));
        }
        let mut entries = Vec::new();
        for row in query.all(&self.db).await? {
            entries.push(self.entry(row).await?);
        }
        Ok(Page::cut(entries, page.limit, |entry| entry.id.clone()))
    }

    async fn entry(&self, row: audit_event::Model) -> Result<AuditEntry> {
        let mut leaf = Leaf::of(&row)?;
        let known = audit_person::Entity::find().filter(audit_person::Column::EventId.eq(&row.id));
        for person in known.all(&self.db).await? {
            leaf.people.insert(person.field, person.subject);
        }
        Ok(AuditEntry {
            id: row.id,
            occurred_at: row.occurred_at,
            kind: row.kind,
            details: leaf.details,
            people: leaf.people,
            sequenced: row.sequenced,
        })
    }
}
