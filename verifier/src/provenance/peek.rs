//! What a bundle is about, before anybody asks whether it is true.

use serde::Deserialize;

use super::bundle::Bundle;
use super::envelope::EnvelopeError;
use super::oms;
use super::transparency::StatementEntry;

/// Longest URI of a predicate type, in bytes.
const MAX_TYPE_BYTES: usize = 1024;

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "predicateType", default)]
    predicate_type: String,
}

/// The type of what a bundle states; none for a signature over a model's files. Nothing is verified:
/// only what is no bundle around a statement is refused.
pub fn predicate_type(bundle: &[u8]) -> Result<Option<String>, EnvelopeError> {
    let bundle = Bundle::parse(bundle)?;
    let statement: Statement =
        serde_json::from_slice(&bundle.payload).map_err(|error| EnvelopeError::InvalidJson(error.to_string()))?;
    let named = statement.predicate_type;
    if named.is_empty() || named.len() > MAX_TYPE_BYTES {
        return Err(EnvelopeError::InvalidJson("the statement has no type of predicate".to_owned()));
    }
    Ok(Some(named).filter(|named| !oms::PREDICATE_TYPES.contains(&named.as_str())))
}

/// The entry of a bundle in a transparency log, with the DER public key that signed it.
pub fn log_entry_of(bundle: &[u8], public_key: &[u8]) -> Result<StatementEntry, EnvelopeError> {
    let bundle = Bundle::parse(bundle)?;
    Ok(StatementEntry::new(&bundle.signed_bytes(), &bundle.signature, public_key))
}
