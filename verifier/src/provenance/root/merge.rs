//! Joining an older and a newer document of one trust root.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{CERTIFICATE_LABEL, LISTS, RootError, trusted_root};
use crate::provenance::der;

/// The newer document with every entry that only the older one has.
pub(super) fn sigstore(older: &[u8], newer: &[u8]) -> Result<Vec<u8>, RootError> {
    let (older, mut merged) = (trusted_root(older)?, trusted_root(newer)?);
    for list in LISTS {
        for entry in older[list].as_array().into_iter().flatten() {
            keep(&mut merged, list, entry)?;
        }
    }
    serde_json::to_vec_pretty(&merged).map_err(|error| RootError::InvalidJson(error.to_string()))
}

fn keep(merged: &mut Value, list: &str, older: &Value) -> Result<(), RootError> {
    if merged[list].is_null() {
        merged[list] = Value::Array(Vec::new());
    }
    let Some(entries) = merged[list].as_array_mut() else { return Ok(()) };
    let Some(same) = entries.iter_mut().find(|entry| identity(entry) == identity(older)) else {
        entries.push(older.clone());
        return Ok(());
    };
    if same["publicKey"]["rawBytes"] != older["publicKey"]["rawBytes"] {
        return Err(RootError::Conflict(older["logId"]["keyId"].to_string()));
    }
    let path = if older.get("publicKey").is_some() { "/publicKey" } else { "" };
    let window = older.pointer(&format!("{path}/validFor")).cloned();
    if let (Some(holder), Some(window)) = (same.pointer_mut(path), window) {
        join_windows(holder, &window);
    }
    Ok(())
}

/// What makes an entry the same in two documents: a log's id, or an authority's certificates.
fn identity(entry: &Value) -> &Value {
    if entry["logId"].is_null() { &entry["certChain"] } else { &entry["logId"] }
}

/// From the earlier start to the end, once there is one: a stale document must not reopen a window.
fn join_windows(holder: &mut Value, older: &Value) {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let newer = holder["validFor"].clone();
    if newer.is_null() || time(&older["start"]) < time(&newer["start"]) {
        holder["validFor"]["start"] = older["start"].clone();
    }
    if newer["end"].is_null() && !older["end"].is_null() {
        holder["validFor"]["end"] = older["end"].clone();
    }
}

/// The certificates of both documents, each once.
pub(super) fn pem(older: &[u8], newer: &[u8]) -> Vec<u8> {
    let mut seen = BTreeSet::new();
    let mut merged = String::new();
    for document in [newer, older] {
        let text = String::from_utf8_lossy(document);
        for (label, der) in der::parse_pem_blocks(&text) {
            let Some(der) = der.filter(|_| label == CERTIFICATE_LABEL) else { continue };
            if seen.insert(der.clone()) {
                merged.push_str(&der::write_pem(CERTIFICATE_LABEL, &der));
            }
        }
    }
    merged.into_bytes()
}
