//! The sigstore bundle around a signed statement, parsed before anything in it is believed.
//!
//! Released signers wrote `null` key ids, embedded keys and no hints, so those are read. A field
//! that no version of the format has is refused: readers that skip what they do not know would
//! let a misspelled proof pass for an absent one.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::dsse::pre_authentication_encoding;
use super::envelope::EnvelopeError;

/// Largest bundle that is read, in bytes: some 50,000 files.
pub(super) const MAX_BUNDLE_BYTES: usize = 16 * 1024 * 1024;
/// Most log entries, timestamps or certificates; each costs a few signatures to verify.
const MAX_PARTS: usize = 16;

/// What a bundle's envelope holds: an in-toto statement.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MEDIA_TYPES: [(&str, MediaType); 4] = [
    (MEDIA_TYPE, MediaType::V03),
    ("application/vnd.dev.sigstore.bundle+json;version=0.3", MediaType::V03),
    ("application/vnd.dev.sigstore.bundle+json;version=0.2", MediaType::Older),
    ("application/vnd.dev.sigstore.bundle+json;version=0.1", MediaType::Older),
];

/// The bundle's own word on its version, which nothing signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MediaType {
    V03,
    /// Versions 0.1 and 0.2.
    Older,
}

/// What came with the signature to verify it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    Key {
        /// Tells which key was used; not authenticated.
        hint: Option<String>,
        /// A public key in PEM or DER, as signers before 1.1 embedded it; never trusted.
        embedded: Option<Vec<u8>>,
    },
    /// DER certificates of an ordinary certificate authority, the signer's first.
    Certificate(Vec<Vec<u8>>),
    /// The DER certificate of a sigstore instance.
    Keyless(Vec<u8>),
}

impl Material {
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Key { .. } => "key",
            Self::Certificate(_) => "certificate",
            Self::Keyless(_) => "keyless",
        }
    }
}

/// The parts of a bundle that verification uses.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) material: Material,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// Number of transparency log entries.
    pub(super) log_entries: usize,
    /// Number of RFC 3161 timestamps.
    pub(super) timestamps: usize,
}

impl Bundle {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let document = read(bytes)?;
        let media_type = media_type(&document.media_type)?;
        let envelope = document.dsse_envelope.ok_or(EnvelopeError::MissingEnvelope)?;
        let material = document.verification_material.ok_or(EnvelopeError::MissingVerificationMaterial)?;
        material.check_size()?;
        material.check_proofs(media_type)?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType(envelope.payload_type.chars().take(100).collect()));
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err(EnvelopeError::SignatureCount(envelope.signatures.len()));
        };
        Ok(Self {
            log_entries: material.log_entries().len(),
            timestamps: material.timestamps(),
            material: material.classify(media_type)?,
            payload: decode(&envelope.payload, "payload")?,
            signature: decode(&signature.sig, "signature")?,
        })
    }

    /// What the signature is over.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(PAYLOAD_TYPE, &self.payload)
    }
}

/// Refuses what no version of the format has, whatever the bundle holds.
pub(super) fn check_fields(bytes: &[u8]) -> Result<(), EnvelopeError> {
    read(bytes)?.verification_material.map_or(Ok(()), |material| material.check_size())
}

fn read(bytes: &[u8]) -> Result<Document, EnvelopeError> {
    if bytes.len() > MAX_BUNDLE_BYTES {
        return Err(EnvelopeError::TooLarge);
    }
    serde_json::from_slice(bytes).map_err(|error| EnvelopeError::InvalidJson(error.to_string()))
}

fn media_type(text: &str) -> Result<MediaType, EnvelopeError> {
    let known = MEDIA_TYPES.iter().find(|(name, _)| *name == text);
    known.map(|(_, kind)| *kind).ok_or_else(|| EnvelopeError::MediaType(text.chars().take(100).collect()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    media_type: String,
    verification_material: Option<MaterialDocument>,
    dsse_envelope: Option<Envelope>,
    #[serde(rename = "messageSignature")]
    _message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageSignature {
    #[serde(rename = "messageDigest")]
    _message_digest: Option<MessageDigest>,
    #[serde(rename = "signature")]
    _signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageDigest {
    #[serde(rename = "algorithm")]
    _algorithm: Option<IgnoredAny>,
    #[serde(rename = "digest")]
    _digest: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MaterialDocument {
    public_key: Option<PublicKey>,
    x509_certificate_chain: Option<Chain>,
    certificate: Option<Certificate>,
    tlog_entries: Option<Vec<LogEntry>>,
    timestamp_verification_data: Option<Timestamps>,
}

impl MaterialDocument {
    fn log_entries(&self) -> &[LogEntry] {
        self.tlog_entries.as_deref().unwrap_or_default()
    }

    fn timestamps(&self) -> usize {
        let data = self.timestamp_verification_data.as_ref();
        data.and_then(|data| data.rfc3161_timestamps.as_ref()).map_or(0, Vec::len)
    }

    fn check_size(&self) -> Result<(), EnvelopeError> {
        let certificates = self.x509_certificate_chain.as_ref().map_or(0, |chain| chain.certificates.len());
        let counts = [certificates, self.log_entries().len(), self.timestamps()];
        if counts.iter().any(|count| *count > MAX_PARTS) { Err(EnvelopeError::TooManyParts) } else { Ok(()) }
    }

    /// The version is unsigned, and the older ones ask for less: whoever claims one may not
    /// thereby leave out a proof that version 0.3 requires.
    fn check_proofs(&self, media_type: MediaType) -> Result<(), EnvelopeError> {
        let unproven = self.log_entries().iter().any(|entry| entry.inclusion_proof.is_none());
        let downgraded = media_type == MediaType::Older && self.log_entries().is_empty();
        if unproven || downgraded { Err(EnvelopeError::MissingInclusionProof) } else { Ok(()) }
    }

    /// The kinds exclude each other: a bundle that mixes them would mean different things to different readers.
    fn classify(self, media_type: MediaType) -> Result<Material, EnvelopeError> {
        match (self.public_key, self.x509_certificate_chain, self.certificate) {
            (Some(key), None, None) => {
                let embedded = key.raw_bytes.as_deref().map(|text| decode(text, "embedded key")).transpose()?;
                Ok(Material::Key { hint: key.hint.filter(|hint| !hint.is_empty()), embedded })
            }
            (None, Some(chain), None) => chain.classify(media_type),
            (None, None, Some(certificate)) => Ok(Material::Keyless(certificate.decode()?)),
            (None, None, None) => Err(EnvelopeError::MissingVerificationMaterial),
            _ => Err(EnvelopeError::AmbiguousMaterial),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PublicKey {
    hint: Option<String>,
    raw_bytes: Option<String>,
    #[serde(rename = "keyDetails")]
    _key_details: Option<IgnoredAny>,
    #[serde(rename = "validFor")]
    _valid_for: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    #[serde(default)]
    certificates: Vec<Certificate>,
}

impl Chain {
    /// Sigstore put its certificates into chains before version 0.3; OMS does it in 0.3, which
    /// sigstore forbids there, so the version tells them apart.
    fn classify(self, media_type: MediaType) -> Result<Material, EnvelopeError> {
        let mut certificates = Vec::with_capacity(self.certificates.len());
        for certificate in &self.certificates {
            certificates.push(certificate.decode()?);
        }
        if certificates.is_empty() {
            return Err(EnvelopeError::MissingVerificationMaterial);
        }
        Ok(match media_type {
            MediaType::V03 => Material::Certificate(certificates),
            MediaType::Older => Material::Keyless(certificates.swap_remove(0)),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Certificate {
    #[serde(default)]
    raw_bytes: String,
}

impl Certificate {
    fn decode(&self) -> Result<Vec<u8>, EnvelopeError> {
        decode(&self.raw_bytes, "certificate")
    }
}

/// Only the names are checked here; the sigstore verifier reads what they hold.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogEntry {
    #[serde(rename = "logIndex")]
    _log_index: Option<IgnoredAny>,
    #[serde(rename = "logId")]
    _log_id: Option<LogId>,
    #[serde(rename = "kindVersion")]
    _kind_version: Option<KindVersion>,
    #[serde(rename = "integratedTime")]
    _integrated_time: Option<IgnoredAny>,
    #[serde(rename = "inclusionPromise")]
    _inclusion_promise: Option<InclusionPromise>,
    inclusion_proof: Option<InclusionProof>,
    #[serde(rename = "canonicalizedBody")]
    _canonicalized_body: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogId {
    #[serde(rename = "keyId")]
    _key_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindVersion {
    #[serde(rename = "kind")]
    _kind: Option<IgnoredAny>,
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InclusionPromise {
    #[serde(rename = "signedEntryTimestamp")]
    _signed_entry_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InclusionProof {
    #[serde(rename = "logIndex")]
    _log_index: Option<IgnoredAny>,
    #[serde(rename = "rootHash")]
    _root_hash: Option<IgnoredAny>,
    #[serde(rename = "treeSize")]
    _tree_size: Option<IgnoredAny>,
    #[serde(rename = "hashes")]
    _hashes: Option<IgnoredAny>,
    #[serde(rename = "checkpoint")]
    _checkpoint: Option<Checkpoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    #[serde(rename = "envelope")]
    _envelope: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Timestamps {
    rfc3161_timestamps: Option<Vec<Timestamp>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timestamp {
    #[serde(rename = "signedTimestamp")]
    _signed_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    #[serde(default)]
    payload: String,
    #[serde(default)]
    payload_type: String,
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    #[serde(default)]
    sig: String,
    #[serde(rename = "keyid")]
    _keyid: Option<String>,
}

/// Protobuf's JSON and DSSE both allow the URL alphabet and missing padding.
fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, EnvelopeError> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, CONFIG).decode(text).map_err(|_| EnvelopeError::InvalidBase64(what))
}
