//! The questions a probe asks of a model, one module for each level.
//!
//! A level either passes, with warnings, and hands what it learned to the next, or stops
//! the probe with findings and a status that says whether the model is at fault (`failed`),
//! the engine lacks something (`unsupported`) or the probe could not tell (`inconclusive`).

pub(crate) mod adapter;
pub(crate) mod embedding;
pub(crate) mod header;
pub(crate) mod language;
pub(crate) mod run;
pub(crate) mod structure;
pub(crate) mod weights;

use std::io;

use verifier::ReadAt;
use verifier::evidence::{Finding, Severity, Status};

/// A file of the model that the probe may read.
pub(crate) struct ModelFile {
    pub(crate) name: String,
    pub(crate) reader: Box<dyn ReadAt>,
}

/// Told how much of a level is done, as a part of a whole.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// A level that was passed.
#[derive(Debug)]
pub(crate) struct Passed<T> {
    /// What later levels need.
    pub(crate) value: T,
    /// What was checked, in one sentence.
    pub(crate) detail: String,
    pub(crate) warnings: Vec<Finding>,
}

impl<T> Passed<T> {
    pub(crate) fn new(value: T, detail: String, warnings: Vec<Finding>) -> Self {
        Self { value, detail, warnings }
    }

    /// Findings for information alone leave the level passed.
    pub(crate) fn status(&self) -> Status {
        if self.warnings.iter().any(|finding| finding.severity > Severity::Info) {
            Status::Warned
        } else {
            Status::Passed
        }
    }
}

/// A level that ends the probe.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) status: Status,
    /// At least one; the first is the reason of the whole report.
    pub(crate) findings: Vec<Finding>,
}

impl Stop {
    pub(crate) fn failed(findings: Vec<Finding>) -> Self {
        Self { status: Status::Failed, findings }
    }

    pub(crate) fn unsupported(finding: Finding) -> Self {
        Self { status: Status::Unsupported, findings: vec![finding] }
    }

    pub(crate) fn inconclusive(finding: Finding) -> Self {
        Self { status: Status::Inconclusive, findings: vec![finding] }
    }

    pub(crate) fn unreadable(file: &str, error: &io::Error) -> Self {
        Self::inconclusive(
            Finding::new(
                "FILE_UNREADABLE",
                Severity::Medium,
                format!("the file could not be read: {error}"),
                "Check the storage, then probe again.",
            )
            .at(file),
        )
    }
}
