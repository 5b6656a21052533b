//! The sequencer: gives committed events their place in the tree and signs its head.
//!
//! Any process may try; the lease row is locked by the transaction that appends, so two
//! sequencers can never interleave. An event whose transaction commits late is appended
//! late: the tree's order is the order of sequencing, not of the clock.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use verifier::provenance::transparency::{self, Frontier, merkle};

use super::{access_log, tree};
use crate::database::{begin, now_ms, sql};
use crate::entity::{audit_checkpoint, audit_event, audit_leaf};
use crate::error::{Error, Result};
use crate::keys::KeyPurpose;
use crate::registry::Registry;

/// Events appended at a time.
const BATCH: u64 = 1000;
const LEASE_MS: i64 = 10_000;

/// A signed head of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub tree_size: u64,
    /// Hex.
    pub root_hash: String,
    /// The C2SP signed note.
    pub note: String,
    pub created_at: i64,
}

impl Registry {
    /// Appends what was committed since the last time; returns how many events that were.
    ///
    /// `holder` names the process. Returns 0 as well while another process holds the lease.
    pub async fn sequence_audit_log(&self, holder: &str) -> Result<u64> {
        let txn = begin(&self.db).await?;
        if !take_lease(&txn, holder).await? {
            return Ok(0);
        }
        access_log::batch(&txn).await?;
        let events = audit_event::Entity::find()
            .filter(audit_event::Column::Sequenced.eq(false))
            .order_by_asc(audit_event::Column::Id)
            .limit(BATCH)
            .all(&txn)
            .await?;
        if events.is_empty() {
            txn.commit().await?;
            return Ok(0);
        }
        let mut frontier = latest_frontier(&txn).await?;
        append(&txn, &mut frontier, &events).await?;
        tree::complete(&txn, frontier.size()).await?;
        self.sign_head(&txn, &frontier).await?;
        txn.commit().await?;
        Ok(events.len() as u64)
    }

    /// The newest checkpoint; `None` before the first event was sequenced.
    pub async fn latest_checkpoint(&self) -> Result<Option<Checkpoint>> {
        let newest = audit_checkpoint::Entity::find().order_by_desc(audit_checkpoint::Column::TreeSize);
        newest.one(&self.db).await?.map(checkpoint).transpose()
    }

    /// The public key of the log in the text form of C2SP signed notes.
    pub fn log_verifier(&self) -> String {
        self.keys.verifier().to_string()
    }

    /// The public key of the registry's statements, in PEM.
    pub fn statement_verifier(&self) -> String {
        self.keys.statement().public_key_pem()
    }

    async fn sign_head(&self, txn: &DatabaseTransaction, frontier: &Frontier) -> Result<()> {
        self.keys.require_current(txn, KeyPurpose::Checkpoint).await?;
        let head = transparency::Checkpoint {
            origin: self.keys.verifier().name().to_owned(),
            size: frontier.size(),
            root: frontier.root(),
        };
        let note = head.sign(self.keys.signer()).map_err(|error| Error::Internal(error.to_string()))?;
        let row = audit_checkpoint::ActiveModel {
            tree_size: Set(i64::try_from(head.size).map_err(|_| Error::Corrupt("the log is too long".into()))?),
            root_hash: Set(hex::encode(head.root)),
            note: Set(note.to_string()),
            frontier: Set(serde_json::to_string(frontier)?),
            created_at: Set(now_ms()),
        };
        row.insert(txn).await?;
        Ok(())
    }
}

fn checkpoint(row: audit_checkpoint::Model) -> Result<Checkpoint> {
    let tree_size = u64::try_from(row.tree_size).map_err(|_| Error::Corrupt("negative size of the log".into()))?;
    Ok(Checkpoint { tree_size, root_hash: row.root_hash, note: row.note, created_at: row.created_at })
}

async fn take_lease(txn: &DatabaseTransaction, holder: &str) -> Result<bool> {
    let upsert = "INSERT INTO lease (name, holder, until) VALUES ('audit-sequencer', ?, ?) \
                  ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
                  WHERE lease.holder = excluded.holder OR lease.until < ?";
    let now = now_ms();
    let values = vec![holder.into(), (now + LEASE_MS).into(), now.into()];
    Ok(txn.execute_raw(sql(txn, upsert, values)).await?.rows_affected() == 1)
}

async fn latest_frontier(txn: &DatabaseTransaction) -> Result<Frontier> {
    let newest = audit_checkpoint::Entity::find().order_by_desc(audit_checkpoint::Column::TreeSize).one(txn).await?;
    newest.map_or_else(|| Ok(Frontier::new()), |row| Ok(serde_json::from_str(&row.frontier)?))
}

async fn append(txn: &DatabaseTransaction, frontier: &mut Frontier, events: &[audit_event::Model]) -> Result<()> {
    let mut leaves = Vec::with_capacity(events.len());
    for event in events {
        let hash = merkle::leaf_hash(event.body.as_bytes());
        let index = i64::try_from(frontier.size()).map_err(|_| Error::Corrupt("the log is too long".into()))?;
        frontier.append(hash).map_err(|error| Error::Corrupt(error.to_string()))?;
        leaves.push(audit_leaf::ActiveModel {
            leaf_index: Set(index),
            event_id: Set(event.id.clone()),
            leaf_hash: Set(hex::encode(hash)),
        });
    }
    audit_leaf::Entity::insert_many(leaves).exec_without_returning(txn).await?;
    audit_event::Entity::update_many()
        .col_expr(audit_event::Column::Sequenced, sea_orm::sea_query::Expr::value(true))
        .filter(audit_event::Column::Id.is_in(events.iter().map(|event| event.id.as_str())))
        .exec(txn)
        .await?;
    Ok(())
}
