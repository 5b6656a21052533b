//! L0: which files are the model, and is its header well formed?

use verifier::evidence::{Finding, Severity};

use super::{ModelFile, Passed, Stop};
use crate::checkpoint::{Checkpoint, CheckpointError};

/// Finds the model among `files` and reads its header.
pub(crate) fn check(files: &[ModelFile]) -> Result<Passed<Checkpoint<'_>>, Stop> {
    let checkpoint = Checkpoint::open(files).map_err(|error| refused(&error))?;
    let header = &checkpoint.header;
    let detail = format!(
        "{} with {} tensors and {} parameters",
        checkpoint.container,
        header.tensors.len(),
        header.parameters()
    );
    let skipped = skipped(&checkpoint).into_iter().collect();
    Ok(Passed::new(checkpoint, detail, skipped))
}

/// Weights beside the model that nothing of this probe speaks about.
fn skipped(checkpoint: &Checkpoint<'_>) -> Option<Finding> {
    let first = checkpoint.skipped.first()?;
    let others = match checkpoint.skipped.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let detail = format!("`{first}`{others} beside the model was not probed");
    let remedy = "Keep one model in a revision, or probe the other files by themselves.";
    Some(Finding::new("WEIGHTS_NOT_PROBED", Severity::Medium, detail, remedy).at(first))
}

/// How a probe ends on files that cannot be read as a model.
pub(super) fn refused(error: &CheckpointError) -> Stop {
    let severity = if error.is_inconclusive() {
        Severity::Medium
    } else if error.is_unsupported() {
        Severity::Info
    } else {
        Severity::High
    };
    let mut finding = Finding::new(error.code(), severity, error.to_string(), error.remedy());
    if let Some(file) = error.file() {
        finding = finding.at(file);
    }
    if error.is_inconclusive() {
        Stop::inconclusive(finding)
    } else if error.is_unsupported() {
        Stop::unsupported(finding)
    } else {
        Stop::failed(vec![finding])
    }
}
