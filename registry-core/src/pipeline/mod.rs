//! The stages of judgement and how evidence comes to be selected by a revision.
//!
//! A commit enqueues `inspect`; its completion enqueues `license`, `provenance` and `probe`,
//! which know nothing of each other; when none of them is left to run, the gate decides.
//! Evidence is keyed by exactly what was read, so a stage whose inputs did not change selects
//! the evidence that exists instead of running again.

mod history;
mod probe;
mod renewal;
mod stages;

pub use history::ProbeRecord;
pub(crate) use history::complete_stored;
pub use probe::{ProbeFile, ProbeTask};
pub use renewal::StageProgress;
pub use stages::JobOutcome;

use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::evidence::{Evidence, EvidenceKey, Stage, Status};
use verifier::provenance;

use crate::access::Caller;
use crate::audit::{self, Event};
use crate::catalog;
use crate::database::{begin, now_ms, sql};
use crate::entity::{evidence, revision_stage, signature};
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::job::{self, JobState, Lease, Work};
use crate::license;
use crate::model::{ModelInfo, lock_model};
use crate::registry::Registry;
use crate::revision::Revision;
use crate::trust;
use crate::weights;

/// Largest signature bundle, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 4 << 20;
/// Most signatures of one content digest.
const MAX_SIGNATURES: usize = 64;

/// Where a stage of one revision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// Waits for `inspect`.
    Waiting,
    Pending,
    Running,
    Done,
    /// Not run, because the revision was head of no ref any more.
    Superseded,
    /// Failed too often; an operator can retry it.
    Dead,
}

impl StageState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Dead => "dead",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Waiting, Self::Pending, Self::Running, Self::Done, Self::Superseded, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::Corrupt(format!("unknown state of a stage: {text}")))
    }

    /// Whether the stage will not change by itself any more.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Superseded | Self::Dead)
    }

    /// The status of a stage that has no evidence.
    const fn status(self) -> Status {
        match self {
            Self::Waiting | Self::Pending => Status::Pending,
            Self::Running => Status::Running,
            Self::Done | Self::Superseded | Self::Dead => Status::Missing,
        }
    }
}

/// One stage of a revision with the evidence it selected.
#[derive(Debug, Clone, PartialEq)]
pub struct StageView {
    pub stage: Stage,
    pub state: StageState,
    pub status: Status,
    pub evidence_key: Option<String>,
    pub evidence: Option<Evidence>,
    /// When the evidence was made, in milliseconds since 1970.
    pub recorded_at: Option<i64>,
    /// How far it has come, where it runs and says so.
    pub progress: Option<StageProgress>,
    /// Whether new evidence is being made; what is selected counts until then.
    pub renewal: Option<JobState>,
}

/// Whether no stage will change by itself any more. Behind a dead inspection the others wait
/// until a person retries it.
pub fn is_settled(states: impl Iterator<Item = StageState> + Clone) -> bool {
    let blocked = states.clone().any(|state| state == StageState::Dead);
    states.into_iter().all(|state| state.is_settled() || (blocked && state == StageState::Waiting))
}

impl Registry {
    /// All stages of a revision in their order.
    pub async fn stages(&self, revision: &Revision) -> Result<Vec<StageView>> {
        let mut views = self.stages_in(&self.db, revision).await?;
        if let Some(view) = views.iter_mut().find(|view| view.stage == Stage::Probe) {
            self.show_activity(revision, view).await?;
        }
        Ok(views)
    }

    /// How far the probe has come, and whether it will run again.
    async fn show_activity(&self, revision: &Revision, view: &mut StageView) -> Result<()> {
        for active in job::active_probes(&self.db, &revision.id).await? {
            if view.progress.is_none() {
                view.progress = active.progress.map(|(level, percent)| StageProgress { level, percent });
            }
            if active.is_renewal && view.renewal.is_none() {
                view.renewal = Some(if active.is_running { JobState::Running } else { JobState::Queued });
            }
        }
        Ok(())
    }

    pub(crate) async fn stages_in(
        &self,
        connection: &impl ConnectionTrait,
        revision: &Revision,
    ) -> Result<Vec<StageView>> {
        let rows = revision_stage::Entity::find()
            .filter(revision_stage::Column::RevisionId.eq(&revision.id))
            .all(connection)
            .await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(view(connection, revision, row).await?);
        }
        views.sort_by_key(|view| view.stage);
        Ok(views)
    }

    /// Attaches a signature bundle, over the files or around a statement, to a content digest and
    /// has its provenance judged anew.
    pub async fn attach_signature(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        revision: &Revision,
        bundle: &[u8],
    ) -> Result<Sha256Digest> {
        caller.require_writer(&model.name.namespace)?;
        if bundle.len() > MAX_SIGNATURE_BYTES {
            return Err(Error::TooLarge { what: "the signature".into(), limit: MAX_SIGNATURE_BYTES as u64 });
        }
        let digest = Sha256Digest::of(bundle);
        let predicate_type =
            provenance::predicate_type(bundle).map_err(|error| Error::invalid("bundle", error.to_string()))?;
        let txn = begin(&self.db).await?;
        lock_model(&txn, &model.id).await?;
        if store_signature(&txn, caller, revision, &digest, predicate_type.as_deref(), bundle).await? {
            restart(&txn, revision, Stage::Provenance).await?;
            let event = Event::new("signature.attached", caller.subject())
                .model(&model.id)
                .detail("content_digest", revision.content_digest.as_str())
                .detail("signature", digest.as_str());
            audit::record(&txn, event).await?;
        }
        txn.commit().await?;
        Ok(digest)
    }

    /// The signature bundles attached to a revision's content.
    pub(crate) async fn signatures(&self, revision: &Revision) -> Result<Vec<Vec<u8>>> {
        let rows = signature::Entity::find()
            .filter(signature::Column::ContentDigest.eq(revision.content_digest.as_str()))
            .all(&self.db)
            .await?;
        Ok(rows.into_iter().map(|row| row.bundle).collect())
    }

    /// Existing evidence for a key.
    async fn find_evidence(&self, key: &EvidenceKey) -> Result<Option<Evidence>> {
        let row = evidence::Entity::find_by_id(key.digest()).one(&self.db).await?;
        row.map(|row| Ok(serde_json::from_str(&row.document)?)).transpose()
    }

    /// Stores a stage's conclusion and everything that follows, in one transaction.
    async fn finish_stage(
        &self,
        lease: &Lease,
        revision: &Revision,
        key: &EvidenceKey,
        found: &Evidence,
    ) -> Result<()> {
        let model = self.model_by_id(&revision.model_id).await?;
        let txn = begin(&self.db).await?;
        job::complete(&txn, lease).await?;
        let (recorded, first) = record(&txn, key, found).await?;
        select(&txn, revision, key).await?;
        catalog::show_evidence(&txn, revision, &recorded).await?;
        match &recorded {
            Evidence::Inspect(inspection) => {
                start_dependents(&txn, revision).await?;
                renewal::renew_adapters(&txn, revision).await?;
                weights::enqueue_reading(&txn, revision, inspection).await?;
            }
            Evidence::License(facts) => {
                license::project_edges(&txn, revision, facts).await?;
                renewal::renew_adapter(&txn, revision).await?;
                license::redecide_descendants(&txn, &model, None).await?;
            }
            Evidence::Provenance(facts) => {
                if trust::project_attested(self, &txn, &model, revision, facts).await? {
                    renewal::renew_adapter(&txn, revision).await?;
                    license::redecide_descendants(&txn, &model, None).await?;
                }
            }
            Evidence::Probe(report) => self.attest_probe(&txn, &model, revision, &key.digest(), report).await?,
        }
        if first {
            let event = Event::new("evidence.recorded", "weighhouse")
                .model(&revision.model_id)
                .detail("commit", revision.commit.as_str())
                .detail("stage", key.stage.as_str())
                .detail("status", recorded.status().as_str())
                .detail("evidence", key.digest());
            audit::record(&txn, event).await?;
        }
        decide_when_settled(&txn, revision).await?;
        txn.commit().await?;
        Ok(())
    }
}

async fn view(connection: &impl ConnectionTrait, revision: &Revision, row: revision_stage::Model) -> Result<StageView> {
    let state = StageState::parse(&row.state)?;
    let stage = Stage::parse(&row.stage).ok_or_else(|| Error::Corrupt(format!("unknown stage {}", row.stage)))?;
    let stored = match &row.evidence_key {
        Some(key) => evidence::Entity::find_by_id(key).one(connection).await?,
        None => None,
    };
    let recorded_at = stored.as_ref().map(|stored| stored.created_at);
    let evidence = match stored {
        Some(stored) => Some(evidence_for(connection, revision, &stored).await?),
        None => None,
    };
    let status = evidence.as_ref().map_or_else(|| state.status(), Evidence::status);
    let evidence_key = row.evidence_key;
    Ok(StageView { stage, state, status, evidence_key, evidence, recorded_at, progress: None, renewal: None })
}

/// Evidence as it concerns a revision's model.
async fn evidence_for(
    connection: &impl ConnectionTrait,
    revision: &Revision,
    stored: &evidence::Model,
) -> Result<Evidence> {
    let mut evidence = serde_json::from_str(&stored.document)?;
    if let Evidence::Probe(report) = &mut evidence {
        report.findings.extend(history::drift_of(connection, &revision.model_id, stored).await?);
    }
    Ok(evidence)
}

/// Enters a new revision into the pipeline.
pub(crate) async fn start(txn: &DatabaseTransaction, revision: &Revision) -> Result<()> {
    let rows = Stage::ALL.map(|stage| revision_stage::ActiveModel {
        revision_id: Set(revision.id.clone()),
        stage: Set(stage.as_str().to_owned()),
        state: Set(if stage == Stage::Inspect { "pending" } else { "waiting" }.to_owned()),
        evidence_key: Set(None),
        updated_at: Set(now_ms()),
    });
    revision_stage::Entity::insert_many(rows).exec_without_returning(txn).await?;
    enqueue_stage(txn, revision, Stage::Inspect).await
}

/// A ref points to the revision again: a probe that was not worth running is now.
pub(crate) async fn resume_superseded(txn: &DatabaseTransaction, revision: &Revision) -> Result<()> {
    renewal::renew_adapters(txn, revision).await?;
    let row = revision_stage::Entity::find_by_id((revision.id.clone(), Stage::Probe.as_str().to_owned()));
    if row.one(txn).await?.is_some_and(|row| row.state == StageState::Superseded.as_str()) {
        restart(txn, revision, Stage::Probe).await?;
    } else {
        // The decision itself is no older for it, but the catalog has to show it again.
        decide_when_settled(txn, revision).await?;
    }
    Ok(())
}

/// Forgets a stage's selection and runs it again, unless it has not run yet.
pub(crate) async fn restart(txn: &DatabaseTransaction, revision: &Revision, stage: Stage) -> Result<()> {
    let row = revision_stage::Entity::find_by_id((revision.id.clone(), stage.as_str().to_owned())).one(txn).await?;
    if row.is_some_and(|row| row.state != StageState::Waiting.as_str()) {
        set_state(txn, &revision.id, stage, StageState::Pending).await?;
        enqueue_stage(txn, revision, stage).await?;
    }
    Ok(())
}

async fn start_dependents(txn: &DatabaseTransaction, revision: &Revision) -> Result<()> {
    for stage in [Stage::License, Stage::Provenance, Stage::Probe] {
        set_state(txn, &revision.id, stage, StageState::Pending).await?;
        enqueue_stage(txn, revision, stage).await?;
    }
    Ok(())
}

async fn enqueue_stage(txn: &DatabaseTransaction, revision: &Revision, stage: Stage) -> Result<()> {
    job::enqueue(txn, &Work::Stage { revision: revision.id.clone(), stage }).await
}

/// Follows the queue: the stage's job was claimed.
pub(crate) async fn mark_running(txn: &DatabaseTransaction, work: &Work) -> Result<()> {
    mark(txn, work, StageState::Running).await
}

/// Follows the queue: the stage's job waits again.
pub(crate) async fn mark_pending(txn: &DatabaseTransaction, work: &Work) -> Result<()> {
    mark(txn, work, StageState::Pending).await
}

/// Follows the queue: the stage's job was dead-lettered. The other stages are not affected.
pub(crate) async fn mark_dead(txn: &DatabaseTransaction, work: &Work) -> Result<()> {
    mark(txn, work, StageState::Dead).await?;
    let Work::Stage { revision, .. } = work else { return Ok(()) };
    let revision = crate::revision::revision_by_id(txn, revision).await?;
    decide_when_settled(txn, &revision).await
}

async fn mark(txn: &DatabaseTransaction, work: &Work, state: StageState) -> Result<()> {
    match work {
        Work::Stage { revision, stage } => set_state(txn, revision, *stage, state).await,
        // The report that a renewal is to replace counts meanwhile.
        Work::Reprobe { .. }
        | Work::Decide { .. }
        | Work::Weights { .. }
        | Work::Recheck { .. }
        | Work::Adapters { .. } => Ok(()),
    }
}

async fn set_state(txn: &DatabaseTransaction, revision_id: &str, stage: Stage, state: StageState) -> Result<()> {
    let update =
        "UPDATE revision_stage SET state = ?, evidence_key = NULL, updated_at = ? WHERE revision_id = ? AND stage = ?";
    let values = vec![state.as_str().into(), now_ms().into(), revision_id.into(), stage.as_str().into()];
    txn.execute_raw(sql(txn, update, values)).await?;
    Ok(())
}

async fn select(txn: &DatabaseTransaction, revision: &Revision, key: &EvidenceKey) -> Result<()> {
    let update = "UPDATE revision_stage SET state = 'done', evidence_key = ?, updated_at = ? \
                  WHERE revision_id = ? AND stage = ?";
    let stage = key.stage.as_str();
    let now = now_ms();
    let values = vec![key.digest().into(), now.into(), revision.id.clone().into(), stage.into()];
    txn.execute_raw(sql(txn, update, values)).await?;
    let history = "INSERT INTO stage_selection (revision_id, stage, evidence_key, selected_at) VALUES (?, ?, ?, ?) \
                   ON CONFLICT DO NOTHING";
    let values = vec![revision.id.clone().into(), stage.into(), key.digest().into(), now.into()];
    txn.execute_raw(sql(txn, history, values)).await?;
    Ok(())
}

/// Stores evidence under its key. The first result wins; returns what is stored now and
/// whether this call stored it.
async fn record(txn: &DatabaseTransaction, key: &EvidenceKey, found: &Evidence) -> Result<(Evidence, bool)> {
    let insert = "INSERT INTO evidence (evidence_key, stage, status, key_document, document, created_at, subject, \
                  tool_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let subject = (key.stage == Stage::Probe).then(|| key.subject());
    let values = vec![
        key.digest().into(),
        key.stage.as_str().into(),
        found.status().as_str().into(),
        serde_json::to_string(key)?.into(),
        serde_json::to_string(found)?.into(),
        now_ms().into(),
        subject.into(),
        key.tool_version.clone().into(),
    ];
    let first = txn.execute_raw(sql(txn, insert, values)).await?.rows_affected() == 1;
    if first {
        return Ok((found.clone(), true));
    }
    let row = evidence::Entity::find_by_id(key.digest()).one(txn).await?;
    let row = row.ok_or_else(|| Error::Corrupt("evidence vanished".into()))?;
    Ok((serde_json::from_str(&row.document)?, false))
}

async fn decide_when_settled(txn: &DatabaseTransaction, revision: &Revision) -> Result<()> {
    let rows = revision_stage::Entity::find().filter(revision_stage::Column::RevisionId.eq(&revision.id)).all(txn);
    let states = rows.await?.iter().map(|row| StageState::parse(&row.state)).collect::<Result<Vec<_>>>()?;
    if !states.is_empty() && is_settled(states.iter().copied()) {
        job::enqueue(txn, &Work::Decide { revision: revision.id.clone() }).await?;
    }
    Ok(())
}

/// Returns whether the signature is new.
async fn store_signature(
    txn: &DatabaseTransaction,
    caller: &Caller,
    revision: &Revision,
    digest: &Sha256Digest,
    predicate_type: Option<&str>,
    bundle: &[u8],
) -> Result<bool> {
    let content = revision.content_digest.as_str();
    let held = signature::Entity::find().filter(signature::Column::ContentDigest.eq(content)).all(txn).await?;
    if held.iter().any(|row| row.sha256 == digest.as_str()) {
        return Ok(false);
    }
    if held.len() >= MAX_SIGNATURES {
        return Err(Error::TooLarge { what: "the number of signatures".into(), limit: MAX_SIGNATURES as u64 });
    }
    let row = signature::ActiveModel {
        content_digest: Set(content.to_owned()),
        sha256: Set(digest.to_string()),
        bundle: Set(bundle.to_vec()),
        received_at: Set(now_ms()),
        received_by: Set(caller.subject().to_owned()),
        predicate_type: Set(predicate_type.map(ToOwned::to_owned)),
    };
    row.insert(txn).await?;
    Ok(true)
}
