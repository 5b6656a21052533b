//! Signed envelopes (DSSE v1), as everything that is signed here is written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::bundle::{MEDIA_TYPE, PAYLOAD_TYPE};
use super::key::SigningKey;

/// What a signature is over: DSSE's pre-authentication encoding, version 1.
pub(super) fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// An envelope with one signature; `None` if the system has no randomness. `key_id` helps to find
/// the key and is not authenticated.
pub(super) fn sign_envelope(payload_type: &str, payload: &[u8], key: &SigningKey, key_id: &str) -> Option<Value> {
    let signature = key.sign(&pre_authentication_encoding(payload_type, payload))?;
    Some(json!({
        "payload": STANDARD.encode(payload),
        "payloadType": payload_type,
        "signatures": [{ "sig": STANDARD.encode(signature), "keyid": key_id }],
    }))
}

/// An in-toto statement as a sigstore bundle that names its key by a hint; `None` if the system
/// has no randomness.
pub(super) fn sign_bundle(payload: &[u8], key: &SigningKey) -> Option<Vec<u8>> {
    let envelope = sign_envelope(PAYLOAD_TYPE, payload, key, "")?;
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.hint() }, "tlogEntries": [] },
        "dsseEnvelope": envelope,
    });
    Some(bundle.to_string().into_bytes())
}
