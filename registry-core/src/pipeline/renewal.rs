//! Probing again what has a report: because somebody asks, because the engine is another one, or
//! because an adapter's base came or went on.
//!
//! The report that a revision has counts until there is a new one, so that nothing is denied while
//! the registry merely looks again.

use sea_orm::{ConnectionTrait, DatabaseTransaction, EntityTrait};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use verifier::evidence::{Relation, Stage};

use super::StageState;
use crate::access::{Caller, IdempotencyKey};
use crate::audit::{self, Event};
use crate::database::{begin, sql};
use crate::entity::revision_stage;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::job::{self, JobState, Lease, Renewal, Work, active_probes, was_enqueued};
use crate::model::{ModelInfo, lock_model};
use crate::registry::Registry;
use crate::revision::{Revision, main_head, revision_by_id};

/// Revisions of one look for outdated reports.
const BATCH: u64 = 100;
/// Adapters of one job.
const ADAPTERS: usize = 500;

/// How far a running probe has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageProgress {
    /// The level at work, `L0` to `L4`.
    pub level: String,
    /// How much of it is done.
    #[schema(minimum = 0, maximum = 100)]
    pub percent: u8,
}

impl Registry {
    /// Has a revision probed again, whatever report it has and whether or not a ref points to it.
    /// Answers whether the probe waits or runs, or is done where `key` names a request that was.
    ///
    /// One probe that was asked for and waits or runs is enough: asking again changes nothing. Another
    /// that waits or runs is not: it may end without having run.
    pub async fn request_probe(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        revision: &Revision,
        key: Option<&IdempotencyKey>,
    ) -> Result<JobState> {
        caller.require_writer(&model.name.namespace)?;
        let request = match key {
            Some(key) => key.digest_for(caller),
            None => Sha256Digest::of(Uuid::now_v7().as_bytes()),
        };
        let cause = Renewal::Requested(request.to_string());
        let txn = begin(&self.db).await?;
        lock_model(&txn, &model.id).await?;
        let active = active_probes(&txn, &revision.id).await?;
        if let Some(active) = active.iter().find(|active| active.is_requested) {
            return Ok(if active.is_running { JobState::Running } else { JobState::Queued });
        }
        let work = Work::Reprobe { revision: revision.id.clone(), cause };
        if was_enqueued(&txn, &work).await? {
            return Ok(JobState::Done);
        }
        if state_of(&txn, &revision.id, Stage::Probe).await? == Some(StageState::Waiting) {
            return Err(Error::invalid("the revision", "it has not been inspected yet, so it cannot be probed"));
        }
        job::enqueue(&txn, &work).await?;
        let event =
            Event::new("probe.requested", caller.subject()).model(&model.id).detail("commit", revision.commit.as_str());
        audit::record(&txn, event).await?;
        txn.commit().await?;
        Ok(JobState::Queued)
    }

    /// Has heads probed again whose report another version of the engine made, each once for every
    /// version and behind everything else; answers how many are found. There may be more.
    pub async fn renew_outdated_probes(&self) -> Result<u64> {
        let version = &self.settings.probe_version;
        let query = "SELECT DISTINCT f.revision_id AS id FROM ref f \
                     JOIN model m ON m.id = f.model_id AND m.deleted_at IS NULL \
                     JOIN revision_stage s ON s.revision_id = f.revision_id AND s.stage = ? AND s.state = ? \
                     JOIN evidence e ON e.evidence_key = s.evidence_key AND e.tool_version <> ? \
                     WHERE NOT EXISTS (SELECT 1 FROM job j WHERE j.dedup_key = 'reprobe:' || f.revision_id || ?) \
                     ORDER BY f.revision_id LIMIT ?";
        let stage = Stage::Probe.as_str();
        let values = vec![
            stage.into(),
            StageState::Done.as_str().into(),
            version.clone().into(),
            format!(":{}{version}", job::ENGINE).into(),
            i64::try_from(BATCH).unwrap_or(i64::MAX).into(),
        ];
        let txn = begin(&self.db).await?;
        let outdated = ids(&txn, query, values).await?;
        for revision in &outdated {
            let cause = Renewal::Engine(version.clone());
            job::enqueue(&txn, &Work::Reprobe { revision: revision.clone(), cause }).await?;
        }
        txn.commit().await?;
        Ok(outdated.len() as u64)
    }
}

async fn state_of(connection: &impl ConnectionTrait, revision: &str, stage: Stage) -> Result<Option<StageState>> {
    let key = (revision.to_owned(), stage.as_str().to_owned());
    let row = revision_stage::Entity::find_by_id(key).one(connection).await?;
    row.map(|row| StageState::parse(&row.state)).transpose()
}

impl Registry {
    /// Has the next adapters of a base probed on it, from one revision on.
    pub(super) async fn run_adapters(&self, lease: &Lease, base: &str, after: &str) -> Result<()> {
        let txn = begin(&self.db).await?;
        job::complete(&txn, lease).await?;
        let base = revision_by_id(&txn, base).await?;
        renew_adapters_after(&txn, &base, after).await?;
        txn.commit().await?;
        Ok(())
    }
}

/// The base of adapters has other files, or the first ones: the adapters are probed on them. What an
/// engine reads of a base is known once it is inspected.
pub(super) async fn renew_adapters(txn: &DatabaseTransaction, base: &Revision) -> Result<()> {
    renew_adapters_after(txn, base, "").await
}

/// Leaves a job for those that are too many for one transaction.
async fn renew_adapters_after(txn: &DatabaseTransaction, base: &Revision, after: &str) -> Result<()> {
    let is_head = main_head(txn, &base.model_id).await?.is_some_and(|head| head.id == base.id);
    if !is_head || state_of(txn, &base.id, Stage::Inspect).await? != Some(StageState::Done) {
        return Ok(());
    }
    let adapters = adapters_after(txn, base, after).await?;
    let last = adapters.last().filter(|_| adapters.len() == ADAPTERS).cloned();
    for revision in adapters {
        renew_on_base(txn, revision).await?;
    }
    if let Some(after) = last {
        job::enqueue(txn, &Work::Adapters { base: base.id.clone(), after }).await?;
    }
    Ok(())
}

/// The next heads that name the base's model as what they are adapters of, in the order of their ids.
async fn adapters_after(txn: &DatabaseTransaction, base: &Revision, after: &str) -> Result<Vec<String>> {
    let query = "SELECT DISTINCT e.revision_id AS id FROM model_name n \
                 JOIN lineage_edge e ON e.parent = n.namespace || '/' || n.name AND e.relation = ? \
                 JOIN ref f ON f.revision_id = e.revision_id \
                 WHERE n.model_id = ? AND f.model_id <> n.model_id AND e.revision_id > ? \
                 ORDER BY e.revision_id LIMIT ?";
    let limit = i64::try_from(ADAPTERS).unwrap_or(i64::MAX);
    let values = vec![Relation::Adapter.as_str().into(), base.model_id.clone().into(), after.into(), limit.into()];
    ids(txn, query, values).await
}

/// Edges of the revision are known now that were not when its probe may have begun.
pub(super) async fn renew_adapter(txn: &DatabaseTransaction, revision: &Revision) -> Result<()> {
    let query = "SELECT revision_id AS id FROM lineage_edge WHERE revision_id = ? AND relation = ? LIMIT 1";
    for revision in ids(txn, query, vec![revision.id.clone().into(), Relation::Adapter.as_str().into()]).await? {
        renew_on_base(txn, revision).await?;
    }
    Ok(())
}

/// A probe that has not begun finds the base by itself. Where the base is what it was, the report that
/// there is will be found again.
async fn renew_on_base(txn: &DatabaseTransaction, revision: String) -> Result<()> {
    let state = state_of(txn, &revision, Stage::Probe).await?;
    if matches!(state, Some(StageState::Done | StageState::Running)) {
        job::enqueue(txn, &Work::Reprobe { revision, cause: Renewal::Base }).await?;
    }
    Ok(())
}

async fn ids(txn: &DatabaseTransaction, query: &str, values: Vec<sea_orm::Value>) -> Result<Vec<String>> {
    let rows = txn.query_all_raw(sql(txn, query, values)).await?;
    rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}
