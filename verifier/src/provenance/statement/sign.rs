//! Signing statements, as DSSE in a sigstore bundle v0.3 that names its key by a hint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Statement, StatementError};
use crate::provenance::oms::SigningKey;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Why a statement cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignStatementError {
    #[error("the statement is not one that this verifier would take: {0}")]
    Statement(#[from] StatementError),
    #[error("the system has no randomness to sign with")]
    Randomness,
}

/// Signs a statement; gives the bundle's JSON.
pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Vec<u8>, SignStatementError> {
    let payload = statement.to_json();
    // What this verifier would refuse is not signed.
    Statement::parse(&payload)?;
    let envelope = sign_envelope(PAYLOAD_TYPE, &payload, key).ok_or(SignStatementError::Randomness)?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": key.hint() }, "tlogEntries": [] },
        "dsseEnvelope": envelope,
    });
    Ok(bundle.to_string().into_bytes())
}

/// A DSSE envelope with one signature; `None` if the system has no randomness.
pub(in crate::provenance) fn sign_envelope(payload_type: &str, payload: &[u8], key: &SigningKey) -> Option<Value> {
    let signature = key.sign(&pre_authentication_encoding(payload_type, payload))?;
    Some(json!({
        "payload": STANDARD.encode(payload),
        "payloadType": payload_type,
        "signatures": [{ "sig": STANDARD.encode(signature), "keyid": "" }],
    }))
}

/// What a DSSE signature is over (DSSE v1, PAE).
pub(in crate::provenance) fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
