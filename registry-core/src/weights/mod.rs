//! The tensors of stored weights: listed for people, and compared between models.
//!
//! A job of its own reads them after the inspection, once per blob: no stage and no decision waits
//! for a pass over the weights. What it finds about other models is asked at the gate.

mod list;
mod sharing;
mod store;

pub use list::{TensorQuery, TensorRow};

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use verifier::evidence::{Evidence, Inspection};

use crate::database::begin;
use crate::error::Result;
use crate::job::{self, Lease, Work};
use crate::pipeline::StageView;
use crate::registry::Registry;
use crate::revision::{Revision, files_of, revision_by_id};

/// Has the weights of an inspected revision read, where there are any.
pub(crate) async fn enqueue_reading(
    txn: &DatabaseTransaction,
    revision: &Revision,
    inspection: &Inspection,
) -> Result<()> {
    if inspection.files.iter().any(|file| file.tensor_count.is_some_and(|count| count > 0)) {
        job::enqueue(txn, &Work::Weights { revision: revision.id.clone() }).await?;
    }
    Ok(())
}

impl Registry {
    /// Lists the tensors of a revision's weights, digests those that no revision had before, and
    /// remembers which other models hold them.
    pub(crate) async fn run_weights(&self, lease: &Lease, revision_id: &str) -> Result<()> {
        let revision = revision_by_id(&self.db, revision_id).await?;
        let Some(inspection) = inspection_of(&self.stages(&revision).await?) else {
            let txn = begin(&self.db).await?;
            job::complete(&txn, lease).await?;
            return Ok(txn.commit().await?);
        };
        let files = files_of(&self.db, &revision.id).await?;
        for file in &files {
            let seen = inspection.files.iter().find(|seen| seen.path == file.path);
            if seen.is_some_and(|seen| seen.tensor_count.is_some()) {
                self.read_tensors(file).await?;
            }
        }
        let txn = begin(&self.db).await?;
        job::complete(&txn, lease).await?;
        let counted = |path: &str| inspection.files.iter().any(|seen| seen.path == path && seen.counted);
        let counted = files.iter().filter(|file| counted(&file.path));
        if sharing::project(&txn, &revision, counted).await? {
            job::enqueue(&txn, &Work::Decide { revision: revision.id.clone() }).await?;
        }
        txn.commit().await?;
        Ok(())
    }
}

fn inspection_of(stages: &[StageView]) -> Option<Inspection> {
    stages.iter().find_map(|view| view.evidence.as_ref().and_then(Evidence::as_inspection)).cloned()
}

/// Whether the tensors of a revision's weights are being listed or waited for.
pub(crate) async fn is_read(connection: &impl ConnectionTrait, revision: &Revision) -> Result<bool> {
    sharing::weights_of(connection, revision).await.map(|weights| weights.is_some())
}
