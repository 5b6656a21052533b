//! Signing a revision's files.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::OmsError;
use super::manifest::{Manifest, PREDICATE_TYPE, STATEMENT_TYPE};
use crate::provenance::dsse;
use crate::provenance::key::SigningKey;

/// A file to be signed.
#[derive(Debug, Clone, Copy)]
pub struct SignedFile<'a> {
    pub path: &'a str,
    /// Hex SHA-256.
    pub sha256: &'a str,
}

/// Why files cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the files cannot be listed in a manifest: {0}")]
    Manifest(#[from] OmsError),
    #[error("the system has no randomness to sign with")]
    Randomness,
}

/// Signs `files` of the model called `name`; gives the bundle's JSON.
///
/// Resources stand in the specification's order, by code points of their names, and the
/// predicate has no field beyond the specification's, because verifiers may refuse others.
pub fn sign(name: &str, files: &[SignedFile<'_>], key: &SigningKey) -> Result<Vec<u8>, SignError> {
    sign_without(name, files, &[], key)
}

/// As [`sign`], and says of the paths in `ignored` that the signature does not speak for them.
pub fn sign_without(
    name: &str,
    files: &[SignedFile<'_>],
    ignored: &[&str],
    key: &SigningKey,
) -> Result<Vec<u8>, SignError> {
    let payload = statement(name, files, ignored);
    // What this verifier would refuse is not signed.
    Manifest::parse(&payload)?;
    dsse::sign_bundle(&payload, key).ok_or(SignError::Randomness)
}

fn statement(name: &str, files: &[SignedFile<'_>], ignored: &[&str]) -> Vec<u8> {
    let mut files = files.to_vec();
    files.sort_by_key(|file| file.path);
    let mut root = Sha256::new();
    for digest in files.iter().filter_map(|file| hex::decode(file.sha256).ok()) {
        root.update(digest);
    }
    let resources: Vec<_> =
        files.iter().map(|file| json!({ "name": file.path, "algorithm": "sha256", "digest": file.sha256 })).collect();
    let mut serialization = json!({ "method": "files", "hash_type": "sha256", "allow_symlinks": false });
    if !ignored.is_empty() {
        serialization["ignore_paths"] = json!(ignored);
    }
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": [{ "name": name, "digest": { "sha256": hex::encode(root.finalize()) } }],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": serialization,
            "resources": resources,
        },
    });
    statement.to_string().into_bytes()
}
