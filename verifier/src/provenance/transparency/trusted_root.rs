//! What stock sigstore verifiers have to know of this log: its keys as a `trusted_root.json`, and
//! a statement's place in it as the `tlogEntries` of a bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::entry::{KIND, VERSION};
use super::merkle::Hash;
use super::note::{Checkpoint, NoteVerifier};

/// A key that signed the log's heads for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    pub verifier: NoteVerifier,
    /// RFC 3339.
    pub valid_from: String,
    /// RFC 3339; none for the key in force.
    pub valid_to: Option<String>,
}

/// The trusted root of a log: no certificate authorities, no time stamps, its own keys alone.
pub fn trusted_root(keys: &[LogKey]) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": keys.iter().map(log).collect::<Vec<_>>(),
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [],
    })
}

fn log(key: &LogKey) -> Value {
    let mut valid_for = json!({ "start": key.valid_from });
    if let Some(end) = &key.valid_to {
        valid_for["end"] = json!(end);
    }
    json!({
        // No address: verifiers compare it with the name that a checkpoint is signed with.
        "baseUrl": format!("https://{}", key.verifier.name()),
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": STANDARD.encode(key.verifier.public_key_der()),
            "keyDetails": "PKIX_ED25519",
            "validFor": valid_for,
        },
        "logId": { "keyId": STANDARD.encode(key.verifier.log_id()) },
    })
}

/// One element of a bundle's `tlogEntries`: the leaf `body` at `index`, proven by `hashes` to be
/// under `head`, which the signed `note` states and `verifier`'s key signed.
pub fn log_entry(
    body: &str,
    index: u64,
    hashes: &[Hash],
    (head, note): (&Checkpoint, &str),
    verifier: &NoteVerifier,
) -> Value {
    // Protobuf's JSON writes 64-bit numbers as text.
    json!({
        "logIndex": index.to_string(),
        "logId": { "keyId": STANDARD.encode(verifier.log_id()) },
        "kindVersion": { "kind": KIND, "version": VERSION },
        "integratedTime": "0",
        "inclusionProof": {
            "logIndex": index.to_string(),
            "rootHash": STANDARD.encode(head.root),
            "treeSize": head.size.to_string(),
            "hashes": hashes.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
            "checkpoint": { "envelope": note },
        },
        "canonicalizedBody": STANDARD.encode(body),
    })
}
