//! Removing what abandoned uploads left behind.
//!
//! Only sessions that expired are touched. A blob's object is never at risk: finishing an
//! upload deletes its session in the transaction that creates the blob, so an expired
//! session's key belongs to no blob.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::database::now_ms;
use crate::entity::upload_session;
use crate::error::Result;
use crate::registry::Registry;

/// Most sessions removed in one sweep.
const BATCH: u64 = 100;

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    pub sessions_removed: u64,
    /// Objects of xorbs that never were complete, or that nobody used for long.
    pub xorbs_removed: u64,
    pub failures: u64,
}

impl Registry {
    /// Removes expired upload sessions with their bytes, and xorbs whose time is up.
    pub async fn sweep_uploads(&self) -> Result<SweepReport> {
        let expired = upload_session::Entity::find()
            .filter(upload_session::Column::ExpiresAt.lte(now_ms()))
            .limit(BATCH)
            .all(&self.db)
            .await?;
        let mut report = SweepReport::default();
        for session in expired {
            match self.drop_session(&session).await {
                Ok(()) => report.sessions_removed += 1,
                Err(error) => {
                    tracing::warn!(session = session.id, %error, "an expired upload could not be removed");
                    report.failures += 1;
                }
            }
        }
        let (removed, failed) = self.sweep_xorbs().await?;
        report.xorbs_removed = removed;
        report.failures += failed;
        Ok(report)
    }
}
