//! Looking at a whole catalog again, some hundred revisions at a time: a registry of a hundred
//! thousand models must not stop for a revocation that names one key.

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::{Deserialize, Serialize};
use verifier::evidence::Stage;

use crate::database::{begin, sql};
use crate::error::Result;
use crate::job::{self, Lease, Work};
use crate::pipeline;
use crate::registry::Registry;
use crate::revision::revision_by_id;

/// Revisions of one job.
const BATCH: usize = 500;

/// What is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recheck {
    /// What signatures and attestations prove.
    Provenance,
    /// What follows from it.
    Decisions,
}

impl Recheck {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provenance => "provenance",
            Self::Decisions => "decisions",
        }
    }
}

impl Registry {
    /// Asks again about the next revisions that have a decision, and leaves a job for the rest.
    pub(crate) async fn run_recheck(&self, lease: &Lease, what: Recheck, after: Option<&str>) -> Result<()> {
        let txn = begin(&self.db).await?;
        job::complete(&txn, lease).await?;
        let revisions = decided(&txn, after.unwrap_or_default()).await?;
        for id in &revisions {
            match what {
                Recheck::Provenance => {
                    pipeline::restart(&txn, &revision_by_id(&txn, id).await?, Stage::Provenance).await?;
                }
                Recheck::Decisions => job::enqueue(&txn, &Work::Decide { revision: id.clone() }).await?,
            }
        }
        if let Some(last) = revisions.last().filter(|_| revisions.len() == BATCH) {
            job::enqueue(&txn, &Work::Recheck { what, after: Some(last.clone()) }).await?;
        }
        txn.commit().await?;
        Ok(())
    }
}

/// The next revisions with a decision in force, in the order of their ids.
async fn decided(txn: &DatabaseTransaction, after: &str) -> Result<Vec<String>> {
    let query = "SELECT DISTINCT r.id AS id FROM live_decision l \
                 JOIN revision r ON r.model_id = l.model_id AND r.content_digest = l.content_digest \
                 WHERE r.id > ? ORDER BY r.id LIMIT ?";
    let rows =
        txn.query_all_raw(sql(txn, query, vec![after.into(), i64::try_from(BATCH).unwrap_or(i64::MAX).into()])).await?;
    rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}
