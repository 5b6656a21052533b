//! What the statements of this registry have in common: their subjects, and how they fail.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ResourceDescriptor, Statement, StatementError};
use crate::provenance::oms::SignedFile;

/// Why there is nothing to state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error("the probe came to no result that could be attested: {0}")]
    NoResult(String),
    #[error("a record of the kind `{0}` is no license conclusion")]
    NotAConclusion(&'static str),
    #[error("`{0}` is no RFC 3339 time")]
    InvalidTime(String),
    #[error("`{0}` is a level that SLSA keeps to itself or has no form of a level")]
    InvalidLevel(String),
}

/// The revision that a statement is about.
#[derive(Debug, Clone, Copy)]
pub struct Revision<'a> {
    /// `namespace/name`.
    pub model: &'a str,
    /// 40 hex.
    pub commit: &'a str,
    /// Hex SHA-256.
    pub content_digest: &'a str,
    /// A subject each, so that stock verifiers take the statement for a single downloaded file.
    pub weight_files: &'a [SignedFile<'a>],
}

impl Revision<'_> {
    /// `namespace/name@commit`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.model, self.commit)
    }

    /// Where a statement says that the revision is.
    pub fn uri(&self) -> String {
        resource_uri(self.model, self.commit)
    }

    pub(super) fn statement(&self, predicate_type: &str, predicate: Value) -> Result<Statement, BuildError> {
        let content = ResourceDescriptor::sha256(self.name(), self.content_digest);
        let files = self.weight_files.iter().map(|file| ResourceDescriptor::sha256(file.path, file.sha256));
        let subject = std::iter::once(content).chain(files).collect();
        Ok(Statement::new(subject, predicate_type, predicate)?)
    }
}

/// Where statements say that a revision is, by its model's `namespace/name` and its commit.
pub fn resource_uri(model: &str, commit: &str) -> String {
    format!("weighhouse://{model}@{commit}")
}

/// RFC 3339 for milliseconds since 1970.
pub(super) fn rfc3339(milliseconds: i64) -> Result<String, BuildError> {
    let time = Timestamp::from_millisecond(milliseconds);
    time.map(|time| time.to_string()).map_err(|_| BuildError::InvalidTime(milliseconds.to_string()))
}

pub(super) fn digest(sha256: &str) -> Value {
    json!({ "sha256": sha256 })
}
