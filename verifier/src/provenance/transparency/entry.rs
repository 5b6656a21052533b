//! The leaf of a signed statement, in the form that stock sigstore verifiers look for.
//!
//! A leaf of our own making would prove to our own tools alone that a statement was logged. In
//! the form of Rekor version 2, a `hashedrekord` 0.0.2 entry for the statement's DSSE envelope,
//! the same leaf satisfies every verifier that asks for a place in a transparency log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::canonical_json;
use super::merkle::Hash;

/// The entry's kind and version, as a bundle's `kindVersion` names them.
pub const KIND: &str = "hashedrekord";
pub const VERSION: &str = "0.0.2";

const ALGORITHM: &str = "SHA2_256";
const KEY_DETAILS: &str = "PKIX_ECDSA_P256_SHA_256";
/// Largest entry that is read, in bytes; one is some 500.
const LARGEST: usize = 64 * 1024;

/// Why bytes are no entry, or values make none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("the entry is larger than 64 KiB")]
    TooLarge,
    #[error("the entry is not a {KIND} {VERSION} document: {0}")]
    Malformed(String),
    #[error("the entry's bytes are not the canonical form of what they say")]
    NotCanonical,
}

/// That a key signed something: all that the log learns of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementEntry {
    /// SHA-256 of what was signed, DSSE's pre-authentication encoding of the statement.
    pub digest: Hash,
    /// The ECDSA P-256 signature in DER.
    pub signature: Vec<u8>,
    /// The key that verifies it, as a DER `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
}

impl StatementEntry {
    /// The entry of `signature` by the key with this public half over `signed`, the
    /// pre-authentication encoding.
    pub fn new(signed: &[u8], signature: &[u8], public_key: &[u8]) -> Self {
        let digest = Sha256::digest(signed).into();
        Self { digest, signature: signature.to_vec(), public_key: public_key.to_vec() }
    }

    /// The leaf: canonical JSON, and so a bundle's `canonicalizedBody`.
    pub fn body(&self) -> Result<String, EntryError> {
        let verifier =
            json!({ "keyDetails": KEY_DETAILS, "publicKey": { "rawBytes": STANDARD.encode(&self.public_key) } });
        let document = json!({
            "apiVersion": VERSION,
            "kind": KIND,
            "spec": { "hashedRekordV002": {
                "data": { "algorithm": ALGORITHM, "digest": STANDARD.encode(self.digest) },
                "signature": { "content": STANDARD.encode(&self.signature), "verifier": verifier },
            } },
        });
        let bytes = canonical_json(&document).map_err(|error| EntryError::Malformed(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| EntryError::Malformed(error.to_string()))
    }

    /// Reads a leaf; refuses every document but the one that [`Self::body`] writes for its
    /// content, so that one statement has one leaf.
    pub fn parse(body: &str) -> Result<Self, EntryError> {
        if body.len() > LARGEST {
            return Err(EntryError::TooLarge);
        }
        let document: Document =
            serde_json::from_str(body).map_err(|error| EntryError::Malformed(error.to_string()))?;
        let Spec { data, signature } = document.spec.hashed_rekord_v002;
        let digest = decode(&data.digest, "digest")?;
        let digest = digest.try_into().map_err(|_| EntryError::Malformed("the digest is not 32 bytes".to_owned()))?;
        let public_key = decode(&signature.verifier.public_key.raw_bytes, "key")?;
        let entry = Self { digest, signature: decode(&signature.content, "signature")?, public_key };
        if entry.body()? == body { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }

    /// Hex SHA-256 of the key, by which keys are known elsewhere.
    pub fn key_digest(&self) -> String {
        hex::encode(Sha256::digest(&self.public_key))
    }
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, EntryError> {
    STANDARD.decode(text).map_err(|_| EntryError::Malformed(format!("the {what} is not base64")))
}

#[derive(Deserialize)]
struct Document {
    spec: Kinds,
}

#[derive(Deserialize)]
struct Kinds {
    #[serde(rename = "hashedRekordV002")]
    hashed_rekord_v002: Spec,
}

#[derive(Deserialize)]
struct Spec {
    data: Data,
    signature: Signature,
}

#[derive(Deserialize)]
struct Data {
    digest: String,
}

#[derive(Deserialize)]
struct Signature {
    content: String,
    verifier: Verifier,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verifier {
    public_key: PublicKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKey {
    raw_bytes: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> StatementEntry {
        StatementEntry::new(b"DSSEv1 1 a 1 b", b"signature", b"key")
    }

    #[test]
    fn body_is_the_canonical_document_that_rekor_writes() {
        assert_eq!(
            entry().body().unwrap(),
            "{\"apiVersion\":\"0.0.2\",\"kind\":\"hashedrekord\",\"spec\":{\"hashedRekordV002\":{\"data\":\
             {\"algorithm\":\"SHA2_256\",\"digest\":\"ELCxZcq4p6e6Hut8nt4qaKXgHYRnz4M4/uFOmHs8rBc=\"},\
             \"signature\":{\"content\":\"c2lnbmF0dXJl\",\"verifier\":{\"keyDetails\":\
             \"PKIX_ECDSA_P256_SHA_256\",\"publicKey\":{\"rawBytes\":\"a2V5\"}}}}}}"
        );
    }

    #[test]
    fn body_survives_reading() {
        assert_eq!(StatementEntry::parse(&entry().body().unwrap()), Ok(entry()));
    }

    #[test]
    fn every_change_of_the_body_is_another_entry_or_refused() {
        let body = entry().body().unwrap();
        for position in 0..body.len() {
            let mut changed = body.clone().into_bytes();
            changed[position] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert_ne!(StatementEntry::parse(&changed), Ok(entry()), "{changed}");
        }
        for other in [format!(" {body}"), body.replace("0.0.2", "0.0.1"), body.replace("\"a2V5\"", "\"a2V5\",\"x\":1")]
        {
            assert!(StatementEntry::parse(&other).is_err(), "{other}");
        }
    }

    #[test]
    fn oversized_documents_are_not_read() {
        assert_eq!(StatementEntry::parse(&" ".repeat(LARGEST + 1)), Err(EntryError::TooLarge));
    }
}
