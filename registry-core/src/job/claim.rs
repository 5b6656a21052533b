//! Which job a worker gets: one claim for both databases and for every kind of worker.

use sea_orm::sea_query::{Cond, LockBehavior, LockType};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect, Select, Set,
};
use uuid::Uuid;

use super::{Lease, PROBE, bury};
use crate::database::{begin, now_ms, sql};
use crate::entity::job;
use crate::error::Result;
use crate::pipeline;
use crate::registry::Registry;

/// Names the one lock that claims of probes take on PostgreSQL: "weigh" in ASCII.
const PROBE_CLAIMS: i64 = 0x77_65_69_67_68;

/// Which jobs a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    pub kinds: JobKinds,
    /// Most probes of one namespace that run at once, over all processes; 0 for any number.
    pub namespace_probes: u32,
}

/// Probes need memory and an engine; everything else needs neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobKinds {
    #[default]
    All,
    Probes,
    AllButProbes,
}

impl Registry {
    /// Claims the job that has been due longest among those that `claim` asks for, if one is due.
    ///
    /// A job whose lease ran out is due again; one that used up its attempts is dead-lettered
    /// here, because its last worker cannot say so any more.
    pub async fn claim_job(&self, claim: Claim) -> Result<Option<Lease>> {
        let txn = begin(&self.db).await?;
        let Some(row) = next(&txn, claim).await? else { return Ok(None) };
        if row.attempts >= row.max_attempts {
            let reason = row.last_error.clone().unwrap_or_else(|| "its worker died each time".to_owned());
            bury(&txn, &row, &reason).await?;
            txn.commit().await?;
            return Ok(None);
        }
        let lease = take(&txn, row, self.settings.lease_ms).await?;
        pipeline::mark_running(&txn, &lease.work).await?;
        txn.commit().await?;
        Ok(Some(lease))
    }
}

/// The next due job whose namespace has not all the probes running that it may have.
async fn next(txn: &DatabaseTransaction, claim: Claim) -> Result<Option<job::Model>> {
    let mut full = full_namespaces(txn, claim).await?;
    loop {
        let Some(row) = due(txn, claim, &full).await? else { return Ok(None) };
        let Some(namespace) = row.namespace.as_ref().filter(|_| claim.namespace_probes > 0) else {
            return Ok(Some(row));
        };
        // Another process may have taken the namespace's last place before the lock was free.
        hold_claims(txn).await?;
        full = full_namespaces(txn, claim).await?;
        if !full.contains(namespace) {
            return Ok(Some(row));
        }
    }
}

/// Until the end of the transaction no other process claims a probe. SQLite has one writer anyway.
async fn hold_claims(txn: &DatabaseTransaction) -> Result<()> {
    if txn.get_database_backend() == DbBackend::Postgres {
        txn.execute_raw(sql(txn, "SELECT pg_advisory_xact_lock(?)", vec![PROBE_CLAIMS.into()])).await?;
    }
    Ok(())
}

/// Namespaces that have to wait before another of their probes starts.
async fn full_namespaces(txn: &DatabaseTransaction, claim: Claim) -> Result<Vec<String>> {
    if claim.namespace_probes == 0 || claim.kinds == JobKinds::AllButProbes {
        return Ok(Vec::new());
    }
    let query = "SELECT namespace FROM job WHERE state = 'running' AND lease_until >= ? AND kind = ? \
                 AND namespace IS NOT NULL GROUP BY namespace HAVING COUNT(*) >= ?";
    let values = vec![now_ms().into(), PROBE.into(), i64::from(claim.namespace_probes).into()];
    let rows = txn.query_all_raw(sql(txn, query, values)).await?;
    rows.iter().map(|row| Ok(row.try_get("", "namespace")?)).collect()
}

/// A job whose worker is gone, or else the first one that waits.
async fn due(txn: &DatabaseTransaction, claim: Claim, full: &[String]) -> Result<Option<job::Model>> {
    let now = now_ms();
    let expired = job::Entity::find()
        .filter(job::Column::State.eq("running"))
        .filter(job::Column::LeaseUntil.lt(now))
        .filter(wanted(claim, full))
        .order_by_asc(job::Column::LeaseUntil);
    if let Some(row) = first(txn, expired).await? {
        return Ok(Some(row));
    }
    let queued = job::Entity::find()
        .filter(job::Column::State.eq("queued"))
        .filter(job::Column::RunAt.lte(now))
        .filter(wanted(claim, full))
        .order_by_asc(job::Column::Priority)
        .order_by_asc(job::Column::RunAt)
        .order_by_asc(job::Column::Id);
    first(txn, queued).await
}

fn wanted(claim: Claim, full: &[String]) -> Condition {
    let kinds = match claim.kinds {
        JobKinds::All => Cond::all(),
        JobKinds::Probes => Cond::all().add(job::Column::Kind.eq(PROBE)),
        JobKinds::AllButProbes => Cond::all().add(job::Column::Kind.ne(PROBE)),
    };
    if full.is_empty() {
        return kinds;
    }
    let has_room = job::Column::Namespace.is_not_in(full.iter().cloned());
    kinds.add(Cond::any().add(job::Column::Namespace.is_null()).add(has_room))
}

async fn first(txn: &DatabaseTransaction, query: Select<job::Entity>) -> Result<Option<job::Model>> {
    Ok(query.limit(1).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).one(txn).await?)
}

async fn take(txn: &DatabaseTransaction, row: job::Model, lease_ms: i64) -> Result<Lease> {
    let token = Uuid::new_v4().to_string();
    let lease = Lease {
        job_id: row.id.clone(),
        work: serde_json::from_str(&row.payload)?,
        attempt: row.attempts + 1,
        token: token.clone(),
    };
    let mut change: job::ActiveModel = row.into();
    change.state = Set("running".to_owned());
    change.attempts = Set(lease.attempt);
    change.lease_token = Set(Some(token));
    change.lease_until = Set(Some(now_ms() + lease_ms));
    change.progress_level = Set(None);
    change.progress_percent = Set(None);
    change.update(txn).await?;
    Ok(lease)
}
