//! The job queue: a table, a lease and a fencing token.
//!
//! A job is enqueued inside the transaction of the change that needs it. A worker claims it
//! under a lease that it renews; a worker that died loses the lease and another one claims
//! the job. The token of the lease fences late results: completing a job fails unless the
//! lease is still the worker's own. One claim serves PostgreSQL (`SKIP LOCKED`) and SQLite
//! (immediate transactions).

mod claim;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use verifier::evidence::Stage;

pub use claim::{Claim, JobKinds};

use crate::access::Caller;
use crate::audit::{self, Event};
use crate::database::{begin, now_ms, sql};
use crate::entity::job;
use crate::error::{Error, Result};
use crate::page::{Page, PageRequest};
use crate::pipeline;
use crate::registry::Registry;
use crate::trust::Recheck;

/// Attempts before a job is dead-lettered.
pub(crate) const MAX_ATTEMPTS: i64 = 5;
/// Back-off of the first retry; doubled for each further one.
const FIRST_BACKOFF_MS: i64 = 2_000;
const LONGEST_BACKOFF_MS: i64 = 10 * 60_000;
const MAX_ERROR_CHARACTERS: usize = 2_000;
/// The kind of jobs that need an engine.
const PROBE: &str = Stage::Probe.as_str();
/// In the key of a job that an engine's new version is the cause of.
pub(crate) const ENGINE: &str = "engine:";
/// Priority of what nobody waits for.
const LATER: i64 = 1;

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Judge one stage of a revision.
    Stage { revision: String, stage: Stage },
    /// Probe a revision once more. The report that it has counts until there is a new one.
    Reprobe { revision: String, cause: Renewal },
    /// Decide anew about a content digest in a model, in every environment.
    Decide { revision: String },
    /// List and compare the tensors of a revision's weights.
    Weights { revision: String },
    /// Have revisions judged or decided anew that trust has changed for, from one id on.
    Recheck { what: Recheck, after: Option<String> },
    /// Have further adapters of a base, a revision, probed on it, from one id on.
    Adapters { base: String, after: String },
}

/// Why a revision is probed once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Renewal {
    /// Somebody asked; the digest of the request.
    Requested(String),
    /// The engine has this version now, and the report was made by another.
    Engine(String),
    /// The model that an adapter changes came or went on.
    Base,
}

impl Work {
    fn kind(&self) -> &'static str {
        match self {
            Self::Stage { stage, .. } => stage.as_str(),
            Self::Reprobe { .. } => PROBE,
            Self::Decide { .. } => "decide",
            Self::Weights { .. } => "weights",
            Self::Recheck { .. } => "recheck",
            Self::Adapters { .. } => "adapters",
        }
    }

    fn dedup_key(&self) -> String {
        match self {
            Self::Stage { revision, stage } => format!("{}:{revision}", stage.as_str()),
            Self::Reprobe { revision, cause: Renewal::Requested(request) } => format!("reprobe:{revision}:{request}"),
            Self::Reprobe { revision, cause: Renewal::Engine(version) } => {
                format!("reprobe:{revision}:{ENGINE}{version}")
            }
            Self::Reprobe { revision, cause: Renewal::Base } => format!("reprobe:{revision}:base"),
            Self::Decide { revision } => format!("decide:{revision}"),
            Self::Weights { revision } => format!("weights:{revision}"),
            Self::Recheck { what, after } => format!("recheck:{}:{}", what.as_str(), after.as_deref().unwrap_or("")),
            Self::Adapters { base, after } => format!("adapters:{base}:{after}"),
        }
    }

    fn priority(&self) -> i64 {
        if matches!(self, Self::Reprobe { cause: Renewal::Engine(_), .. }) { LATER } else { 0 }
    }

    /// The revision whose probe this is.
    fn probed(&self) -> Option<&str> {
        match self {
            Self::Stage { revision, stage: Stage::Probe } | Self::Reprobe { revision, .. } => Some(revision),
            _ => None,
        }
    }
}

/// A claimed job: the right to complete it, for as long as the lease lives.
#[derive(Debug, Clone)]
pub struct Lease {
    pub job_id: String,
    pub work: Work,
    pub attempt: i64,
    token: String,
}

/// Whether a job waits, runs, is done or needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Done,
    Dead,
}

impl JobState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

/// A job as operators see it.
#[derive(Debug, Clone)]
pub struct JobInfo {
    pub id: String,
    pub kind: String,
    /// Empty for a job that is about more than one.
    pub revision: String,
    pub state: String,
    pub attempts: i64,
    pub run_at: i64,
    pub last_error: Option<String>,
    pub created_at: i64,
}

/// Adds a job to the caller's transaction; one that already waits is enough.
///
/// A running one is not: it may have read its inputs before this change.
pub(crate) async fn enqueue(txn: &impl ConnectionTrait, work: &Work) -> Result<()> {
    let insert = "INSERT INTO job (id, kind, payload, dedup_key, state, attempts, max_attempts, run_at, created_at, \
                  priority, namespace) VALUES (?, ?, ?, ?, 'queued', 0, ?, ?, ?, ?, \
                  (SELECT n.namespace FROM revision r JOIN model_name n ON n.model_id = r.model_id \
                  AND n.valid_to IS NULL WHERE r.id = ?)) ON CONFLICT DO NOTHING";
    let now = now_ms();
    let values = vec![
        Uuid::now_v7().to_string().into(),
        work.kind().into(),
        serde_json::to_string(work)?.into(),
        work.dedup_key().into(),
        MAX_ATTEMPTS.into(),
        now.into(),
        now.into(),
        work.priority().into(),
        work.probed().map(str::to_owned).into(),
    ];
    txn.execute_raw(sql(txn, insert, values)).await?;
    Ok(())
}

/// Whether such a job was ever enqueued, whatever became of it.
pub(crate) async fn was_enqueued(connection: &impl ConnectionTrait, work: &Work) -> Result<bool> {
    let query = job::Entity::find().filter(job::Column::DedupKey.eq(work.dedup_key())).limit(1);
    Ok(query.one(connection).await?.is_some())
}

/// A probe that waits or runs.
#[derive(Debug, Clone)]
pub(crate) struct ActiveProbe {
    pub(crate) is_running: bool,
    /// Whether the revision had a report before.
    pub(crate) is_renewal: bool,
    /// Whether somebody asked for it. Others may be settled by a report that there is, or be dropped
    /// because no ref points to the revision.
    pub(crate) is_requested: bool,
    /// Level and percent.
    pub(crate) progress: Option<(String, u8)>,
}

/// The probes of a revision that wait or run, running ones first.
pub(crate) async fn active_probes(connection: &impl ConnectionTrait, revision_id: &str) -> Result<Vec<ActiveProbe>> {
    let first = Work::Stage { revision: revision_id.to_owned(), stage: Stage::Probe }.dedup_key();
    // Keys of renewals have a colon and more behind the id; a semicolon follows a colon.
    let (from, to) = (format!("reprobe:{revision_id}:"), format!("reprobe:{revision_id};"));
    let query = "SELECT * FROM job WHERE (dedup_key = ? OR (dedup_key >= ? AND dedup_key < ?)) \
                 AND state IN ('queued', 'running') ORDER BY state DESC, id LIMIT 100";
    let values = vec![first.clone().into(), from.into(), to.into()];
    let rows = job::Entity::find().from_raw_sql(sql(connection, query, values)).all(connection).await?;
    let active = |row: job::Model| -> Result<ActiveProbe> {
        let work: Work = serde_json::from_str(&row.payload)?;
        Ok(ActiveProbe {
            is_running: row.state == JobState::Running.as_str(),
            is_renewal: row.dedup_key != first,
            is_requested: matches!(work, Work::Reprobe { cause: Renewal::Requested(_), .. }),
            progress: row.progress_level.zip(row.progress_percent.and_then(|percent| u8::try_from(percent).ok())),
        })
    };
    rows.into_iter().map(active).collect()
}

/// Ends a job in the transaction that stores its result; fails if the lease was lost.
pub(crate) async fn complete(txn: &DatabaseTransaction, lease: &Lease) -> Result<()> {
    let update = "UPDATE job SET state = 'done', finished_at = ?, lease_token = NULL, lease_until = NULL, \
                  progress_level = NULL, progress_percent = NULL \
                  WHERE id = ? AND lease_token = ? AND state = 'running'";
    let values = vec![now_ms().into(), lease.job_id.clone().into(), lease.token.clone().into()];
    match txn.execute_raw(sql(txn, update, values)).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::LeaseLost),
    }
}

impl Registry {
    /// Renews a lease, with the level and the percent that a probe has come to; fails when it was lost.
    pub async fn renew_lease(&self, lease: &Lease, progress: Option<(&str, u8)>) -> Result<()> {
        let update = "UPDATE job SET lease_until = ?, progress_level = ?, progress_percent = ? \
                      WHERE id = ? AND lease_token = ? AND state = 'running'";
        let (level, percent) = progress.map(|(level, percent)| (level.to_owned(), i64::from(percent))).unzip();
        let until = now_ms() + self.settings.lease_ms;
        let (id, token) = (lease.job_id.clone(), lease.token.clone());
        let values = vec![until.into(), level.into(), percent.into(), id.into(), token.into()];
        match self.db.execute_raw(sql(&self.db, update, values)).await?.rows_affected() {
            1 => Ok(()),
            _ => Err(Error::LeaseLost),
        }
    }

    /// Gives a job back unharmed and in its place, as a worker that shuts down does.
    pub async fn release_job(&self, lease: &Lease) -> Result<()> {
        self.give_back(lease, 0).await
    }

    /// Gives a job back for some time, for a worker that can do it.
    pub(crate) async fn give_back(&self, lease: &Lease, pause_ms: i64) -> Result<()> {
        let txn = begin(&self.db).await?;
        let row = job::Entity::find_by_id(&lease.job_id).lock_exclusive().one(&txn).await?;
        let Some(row) = row.filter(|row| row.lease_token.as_ref() == Some(&lease.token)) else {
            return Err(Error::LeaseLost);
        };
        let run_at = if pause_ms == 0 { row.run_at } else { now_ms() + pause_ms };
        let attempts = row.attempts - 1;
        requeue(&txn, row, attempts, run_at, None).await?;
        pipeline::mark_pending(&txn, &lease.work).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Records a failed attempt: retried with back-off, or dead-lettered after the last one.
    pub async fn fail_job(&self, lease: &Lease, reason: &str) -> Result<()> {
        let txn = begin(&self.db).await?;
        let row = job::Entity::find_by_id(&lease.job_id).lock_exclusive().one(&txn).await?;
        let Some(row) = row.filter(|row| row.lease_token.as_ref() == Some(&lease.token)) else {
            return Err(Error::LeaseLost);
        };
        if row.attempts >= row.max_attempts {
            bury(&txn, &row, reason).await?;
        } else {
            let backoff = FIRST_BACKOFF_MS.saturating_mul(1 << row.attempts.clamp(0, 30)).min(LONGEST_BACKOFF_MS);
            let attempts = row.attempts;
            requeue(&txn, row, attempts, now_ms() + backoff, Some(shortened(reason))).await?;
            pipeline::mark_pending(&txn, &lease.work).await?;
        }
        txn.commit().await?;
        Ok(())
    }

    /// Jobs in one state, oldest first.
    pub async fn list_jobs(&self, caller: &Caller, state: JobState, page: &PageRequest) -> Result<Page<JobInfo>> {
        caller.require_site_admin()?;
        let mut query = job::Entity::find()
            .filter(job::Column::State.eq(state.as_str()))
            .order_by_asc(job::Column::Id)
            .limit(page.limit + 1);
        if let Some(after) = &page.cursor {
            query = query.filter(job::Column::Id.gt(after.as_str()));
        }
        let rows = query.all(&self.db).await?.into_iter().map(job_info).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, page.limit, |job| job.id.clone()))
    }

    /// Gives a dead-lettered job a fresh set of attempts.
    pub async fn retry_job(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.require_site_admin()?;
        let txn = begin(&self.db).await?;
        let row = job::Entity::find_by_id(id).lock_exclusive().one(&txn).await?;
        let row = row.filter(|row| row.state == "dead").ok_or_else(|| Error::NotFound(format!("dead job {id}")))?;
        let work: Work = serde_json::from_str(&row.payload)?;
        enqueue(&txn, &work).await?;
        pipeline::mark_pending(&txn, &work).await?;
        let mut done: job::ActiveModel = row.into();
        done.state = Set("done".to_owned());
        done.update(&txn).await?;
        audit::record(&txn, Event::new("job.retried", caller.subject()).detail("job", id)).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Jobs per state, for metrics.
    pub async fn job_counts(&self) -> Result<Vec<(String, i64)>> {
        let query = "SELECT state, COUNT(*) AS number FROM job WHERE state <> 'done' GROUP BY state";
        let rows = self.db.query_all_raw(sql(&self.db, query, vec![])).await?;
        rows.iter().map(|row| Ok((row.try_get("", "state")?, row.try_get("", "number")?))).collect()
    }
}

/// Puts a job back into the queue; if the same work was enqueued meanwhile, that one suffices.
async fn requeue(
    txn: &DatabaseTransaction,
    row: job::Model,
    attempts: i64,
    run_at: i64,
    error: Option<String>,
) -> Result<()> {
    let twin = job::Entity::find()
        .filter(job::Column::DedupKey.eq(&row.dedup_key))
        .filter(job::Column::State.eq("queued"))
        .one(txn)
        .await?;
    let state = if twin.is_some() { "done" } else { "queued" };
    let mut change: job::ActiveModel = row.into();
    change.state = Set(state.to_owned());
    change.attempts = Set(attempts);
    change.run_at = Set(run_at);
    if error.is_some() {
        change.last_error = Set(error);
    }
    without_lease(&mut change);
    change.update(txn).await?;
    Ok(())
}

fn without_lease(job: &mut job::ActiveModel) {
    job.lease_token = Set(None);
    job.lease_until = Set(None);
    job.progress_level = Set(None);
    job.progress_percent = Set(None);
}

/// Dead-letters a job: it stays visible and can be retried by a person.
async fn bury(txn: &DatabaseTransaction, row: &job::Model, reason: &str) -> Result<()> {
    let mut change: job::ActiveModel = row.clone().into();
    change.state = Set("dead".to_owned());
    change.last_error = Set(Some(shortened(reason)));
    change.finished_at = Set(Some(now_ms()));
    without_lease(&mut change);
    change.update(txn).await?;
    pipeline::mark_dead(txn, &serde_json::from_str(&row.payload)?).await?;
    let event = Event::new("job.dead_lettered", "weighhouse").detail("job", row.id.as_str());
    audit::record(txn, event.detail("kind", row.kind.as_str())).await?;
    Ok(())
}

fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_ERROR_CHARACTERS).collect()
}

fn job_info(row: job::Model) -> Result<JobInfo> {
    let revision = match serde_json::from_str(&row.payload)? {
        Work::Stage { revision, .. }
        | Work::Reprobe { revision, .. }
        | Work::Decide { revision }
        | Work::Weights { revision }
        | Work::Adapters { base: revision, .. } => Some(revision),
        Work::Recheck { after, .. } => after,
    };
    Ok(JobInfo {
        id: row.id,
        kind: row.kind,
        revision: revision.unwrap_or_default(),
        state: row.state,
        attempts: row.attempts,
        run_at: row.run_at,
        last_error: row.last_error,
        created_at: row.created_at,
    })
}
