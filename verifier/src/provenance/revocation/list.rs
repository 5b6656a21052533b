//! The signed list: reading, writing and looking up.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::{Entry, EntryDocument, EntryError, Revoked};
use crate::provenance::dsse::{pre_authentication_encoding, sign_envelope};
use crate::provenance::key::{SigningKey, TrustedKey};
use crate::provenance::statement::{JsonError, parse_json};

/// What the envelope says that it holds.
pub const PAYLOAD_TYPE: &str = "application/vnd.weighhouse.revocation-list+json";
/// Largest envelope, in bytes: some 5,000 entries.
pub const MAX_LIST_BYTES: usize = 1024 * 1024;
/// Most signatures of an envelope; a list is signed by two keys while one follows the other.
const MAX_SIGNATURES: usize = 16;
/// Longest name of an issuer, in bytes.
const MAX_ISSUER_BYTES: usize = 1024;
const SCHEMA_VERSION: u32 = 1;

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    #[error("the revocation list exceeds {MAX_LIST_BYTES} bytes")]
    TooLarge,
    #[error("the revocation list is not JSON: {0}")]
    InvalidJson(String),
    #[error("the revocation list gives the key `{0}` twice in one object")]
    DuplicateKey(String),
    #[error("the JSON is not a signed envelope (DSSE): {0}")]
    InvalidEnvelope(String),
    #[error("the envelope holds `{0}` instead of a revocation list")]
    PayloadType(String),
    #[error("the envelope's {0} is not base64")]
    InvalidBase64(&'static str),
    #[error("the envelope has {0} signatures, not 1 to {MAX_SIGNATURES}")]
    SignatureCount(usize),
    #[error("no key is trusted for revocation lists, so none can be checked")]
    NoTrustedKey,
    #[error("none of the trusted keys signed the list")]
    UnknownSigner,
    #[error("the signature by the key {0} does not verify")]
    BadSignature(String),
    #[error("the envelope does not hold a revocation list: {0}")]
    InvalidDocument(String),
    #[error("the list has the schema version {0}, which this release does not know")]
    SchemaVersion(u64),
    #[error("the list's issuer has no name, or one of more than {MAX_ISSUER_BYTES} bytes")]
    InvalidIssuer,
    #[error("entry {index} is refused: {reason}")]
    InvalidEntry { index: usize, reason: EntryError },
    #[error("entry {0} revokes what an earlier one does")]
    DuplicateEntry(usize),
    #[error("the list has the number {offered}, and number {held} is held already")]
    Rollback { held: u64, offered: u64 },
    #[error("another list with the number {0} is held already")]
    NumberReused(u64),
    #[error("the list is issued by `{offered}`, the one that is held by `{held}`")]
    OtherIssuer { held: String, offered: String },
    #[error("the system has no randomness to sign with")]
    Randomness,
}

impl RevocationError {
    /// A stable name for the way to fail.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "REVOCATION_LIST_TOO_LARGE",
            Self::InvalidJson(_) => "REVOCATION_LIST_INVALID_JSON",
            Self::DuplicateKey(_) => "REVOCATION_LIST_DUPLICATE_KEY",
            Self::InvalidEnvelope(_) => "REVOCATION_LIST_INVALID_ENVELOPE",
            Self::PayloadType(_) => "REVOCATION_LIST_PAYLOAD_TYPE",
            Self::InvalidBase64(_) => "REVOCATION_LIST_INVALID_BASE64",
            Self::SignatureCount(_) => "REVOCATION_LIST_SIGNATURE_COUNT",
            Self::NoTrustedKey => "REVOCATION_LIST_NO_TRUSTED_KEY",
            Self::UnknownSigner => "REVOCATION_LIST_UNKNOWN_SIGNER",
            Self::BadSignature(_) => "REVOCATION_LIST_BAD_SIGNATURE",
            Self::InvalidDocument(_) => "REVOCATION_LIST_INVALID_DOCUMENT",
            Self::SchemaVersion(_) => "REVOCATION_LIST_SCHEMA_VERSION",
            Self::InvalidIssuer => "REVOCATION_LIST_INVALID_ISSUER",
            Self::InvalidEntry { .. } => "REVOCATION_LIST_INVALID_ENTRY",
            Self::DuplicateEntry(_) => "REVOCATION_LIST_DUPLICATE_ENTRY",
            Self::Rollback { .. } => "REVOCATION_LIST_ROLLBACK",
            Self::NumberReused(_) => "REVOCATION_LIST_NUMBER_REUSED",
            Self::OtherIssuer { .. } => "REVOCATION_LIST_OTHER_ISSUER",
            Self::Randomness => "REVOCATION_LIST_RANDOMNESS",
        }
    }
}

impl From<JsonError> for RevocationError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax(reason) => Self::InvalidJson(reason),
            JsonError::DuplicateKey(key) => Self::DuplicateKey(key),
        }
    }
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// Each list of an issuer has a higher number than the one before.
    pub number: u64,
    pub issued_at: Timestamp,
    /// Name of the issuer; numbers count per issuer.
    pub issuer: String,
    /// All that is revoked, not what is new.
    pub entries: Vec<Entry>,
}

/// A list whose signature was verified.
#[derive(Debug, Clone)]
pub struct SignedRevocationList {
    list: RevocationList,
    positions: BTreeMap<Revoked, usize>,
    digest: String,
    signer: String,
}

impl SignedRevocationList {
    pub const fn list(&self) -> &RevocationList {
        &self.list
    }

    /// Hex SHA-256 of the signed document.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Hex SHA-256 of the DER public key that signed it.
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// The entry for a key, by the hex SHA-256 of its DER.
    pub fn key(&self, sha256: &str) -> Option<&Entry> {
        self.find(&Revoked::Key(sha256.to_owned()))
    }

    /// The entry for a certificate, by the hex SHA-256 of its DER or by who issued it: the
    /// issuer's distinguished name (RFC 4514) and the serial number in hex without leading zeros.
    pub fn certificate(&self, sha256: &str, issuer: &str, serial: &str) -> Option<&Entry> {
        let by_serial = Revoked::CertificateSerial { issuer: issuer.to_owned(), serial: serial.to_owned() };
        self.find(&Revoked::Certificate(sha256.to_owned())).or_else(|| self.find(&by_serial))
    }

    /// The entry for a signature bundle, by its hex SHA-256.
    pub fn bundle(&self, sha256: &str) -> Option<&Entry> {
        self.find(&Revoked::Bundle(sha256.to_owned()))
    }

    /// The entry for a content digest.
    pub fn content(&self, digest: &str) -> Option<&Entry> {
        self.find(&Revoked::Content(digest.to_owned()))
    }

    pub(super) fn find(&self, revoked: &Revoked) -> Option<&Entry> {
        self.positions.get(revoked).and_then(|position| self.list.entries.get(*position))
    }
}

/// Signs a list; gives the JSON of its envelope.
pub fn sign(list: &RevocationList, key: &SigningKey) -> Result<Vec<u8>, RevocationError> {
    let document = Document {
        schema_version: SCHEMA_VERSION.into(),
        number: list.number,
        issued_at: list.issued_at,
        issuer: list.issuer.clone(),
        entries: list.entries.iter().map(EntryDocument::from).collect(),
    };
    sign_document(serde_json::json!(document).to_string().as_bytes(), key)
}

/// Signs a list that a person wrote as JSON, byte for byte; gives the JSON of its envelope.
pub fn sign_document(document: &[u8], key: &SigningKey) -> Result<Vec<u8>, RevocationError> {
    if document.len() > MAX_LIST_BYTES {
        return Err(RevocationError::TooLarge);
    }
    // What this verifier would refuse is not signed.
    Document::parse(document)?;
    let key_id = hex::encode(Sha256::digest(key.public_key_der()));
    let envelope = sign_envelope(PAYLOAD_TYPE, document, key, &key_id).ok_or(RevocationError::Randomness)?;
    let bytes = envelope.to_string().into_bytes();
    if bytes.len() > MAX_LIST_BYTES { Err(RevocationError::TooLarge) } else { Ok(bytes) }
}

/// Reads a list that one of `keys` signed. Nothing in it is read before its signature holds.
pub fn verify(bytes: &[u8], keys: &[TrustedKey]) -> Result<SignedRevocationList, RevocationError> {
    let envelope = Envelope::parse(bytes)?;
    let payload = decode(&envelope.payload, "payload")?;
    let signer = envelope.find_signer(&payload, keys)?.digest().to_owned();
    let list = Document::parse(&payload)?;
    let positions = list.entries.iter().enumerate().map(|(position, entry)| (entry.revoked.clone(), position));
    let positions = positions.collect();
    Ok(SignedRevocationList { list, positions, digest: hex::encode(Sha256::digest(&payload)), signer })
}

/// A field that is not known could narrow or widen what is revoked, so there may be none.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema_version: u64,
    number: u64,
    issued_at: Timestamp,
    issuer: String,
    entries: Vec<EntryDocument>,
}

/// What every version of the document has.
#[derive(Deserialize)]
struct AnyVersion {
    schema_version: u64,
}

impl Document {
    fn parse(payload: &[u8]) -> Result<RevocationList, RevocationError> {
        let value = parse_json(payload)?;
        let refuse = |error: serde_json::Error| RevocationError::InvalidDocument(shorten(&error.to_string()));
        let AnyVersion { schema_version } = AnyVersion::deserialize(&value).map_err(refuse)?;
        if schema_version != u64::from(SCHEMA_VERSION) {
            return Err(RevocationError::SchemaVersion(schema_version));
        }
        let document: Self = serde_json::from_value(value).map_err(refuse)?;
        if document.issuer.is_empty() || document.issuer.len() > MAX_ISSUER_BYTES {
            return Err(RevocationError::InvalidIssuer);
        }
        let Self { number, issued_at, issuer, entries, .. } = document;
        Ok(RevocationList { number, issued_at, issuer, entries: checked(entries)? })
    }
}

fn checked(documents: Vec<EntryDocument>) -> Result<Vec<Entry>, RevocationError> {
    let mut seen = BTreeSet::new();
    let mut entries = Vec::with_capacity(documents.len());
    for (index, document) in documents.into_iter().enumerate() {
        let entry = document.check().map_err(|reason| RevocationError::InvalidEntry { index, reason })?;
        if !seen.insert(entry.revoked.clone()) {
            return Err(RevocationError::DuplicateEntry(index));
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
    /// Tells which key was used; not authenticated.
    #[serde(default)]
    keyid: Option<String>,
}

impl Envelope {
    fn parse(bytes: &[u8]) -> Result<Self, RevocationError> {
        if bytes.len() > MAX_LIST_BYTES {
            return Err(RevocationError::TooLarge);
        }
        let envelope: Self = serde_json::from_value(parse_json(bytes)?)
            .map_err(|error| RevocationError::InvalidEnvelope(shorten(&error.to_string())))?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(RevocationError::PayloadType(shorten(&envelope.payload_type)));
        }
        match envelope.signatures.len() {
            1..=MAX_SIGNATURES => Ok(envelope),
            count => Err(RevocationError::SignatureCount(count)),
        }
    }

    fn find_signer<'k>(&self, payload: &[u8], keys: &'k [TrustedKey]) -> Result<&'k TrustedKey, RevocationError> {
        if keys.is_empty() {
            return Err(RevocationError::NoTrustedKey);
        }
        let message = pre_authentication_encoding(&self.payload_type, payload);
        for signature in &self.signatures {
            let bytes = decode(&signature.sig, "signature")?;
            if let Some(key) = keys.iter().find(|key| key.public_key().verifies(&message, &bytes)) {
                return Ok(key);
            }
        }
        let claimed = self.signatures.iter().filter_map(|signature| signature.keyid.as_deref());
        match claimed.into_iter().find(|id| keys.iter().any(|key| key.digest() == *id)) {
            Some(id) => Err(RevocationError::BadSignature(id.to_owned())),
            None => Err(RevocationError::UnknownSigner),
        }
    }
}

fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, RevocationError> {
    STANDARD.decode(text).map_err(|_| RevocationError::InvalidBase64(what))
}

fn shorten(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(100).collect()
}
