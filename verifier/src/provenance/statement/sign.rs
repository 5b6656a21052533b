//! Signing statements.

use super::{Statement, StatementError};
use crate::provenance::dsse;
use crate::provenance::key::SigningKey;

/// Why a statement cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignStatementError {
    #[error("the statement is not one that this verifier would take: {0}")]
    Statement(#[from] StatementError),
    #[error("the system has no randomness to sign with")]
    Randomness,
}

/// Signs a statement; gives the JSON of a sigstore bundle v0.3 that names its key by a hint.
pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Vec<u8>, SignStatementError> {
    let payload = statement.to_json();
    // What this verifier would refuse is not signed.
    Statement::parse(&payload)?;
    dsse::sign_bundle(&payload, key).ok_or(SignStatementError::Randomness)
}
