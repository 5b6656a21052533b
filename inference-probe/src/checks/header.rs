//! L0: which files are the model, and is its header well formed?

use verifier::evidence::{Finding, Severity};
use verifier::format::gguf::GgufError;

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
    Ok(Passed::new(checkpoint, detail, Vec::new()))
}

/// How a probe ends on files that cannot be read as a model.
pub(super) fn refused(error: &CheckpointError) -> Stop {
    if let CheckpointError::Gguf { file, error: GgufError::Io(error) } = error {
        return Stop::unreadable(file, error);
    }
    let severity = if error.is_unsupported() { Severity::Info } else { Severity::High };
    let mut finding = Finding::new(error.code(), severity, error.to_string(), error.remedy());
    if let Some(file) = error.file() {
        finding = finding.at(file);
    }
    if error.is_unsupported() { Stop::unsupported(finding) } else { Stop::failed(vec![finding]) }
}
