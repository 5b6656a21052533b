//! The sigstore bundle around an OMS signature, parsed as leniently as signers require.
//!
//! Released signers wrote `null` key ids, embedded keys and no hints; none of these fields
//! is authenticated, so nothing but the envelope is relied on.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::OmsError;

/// Largest bundle that is read, in bytes: some 50,000 files.
pub(super) const MAX_BUNDLE_BYTES: usize = 16 * 1024 * 1024;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const MEDIA_TYPES: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];

/// What came with the signature to find its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    Key {
        /// Tells which key was used; not authenticated.
        hint: Option<String>,
        /// A public key in PEM or DER, as signers before 1.1 embedded it; never trusted.
        embedded: Option<Vec<u8>>,
    },
    Certificate,
    Keyless,
}

/// The parts of a bundle that verification uses.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) material: Material,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl Bundle {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, OmsError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(OmsError::TooLarge);
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| OmsError::InvalidJson(error.to_string()))?;
        if !MEDIA_TYPES.contains(&document.media_type.as_str()) {
            return Err(OmsError::MediaType(document.media_type.chars().take(100).collect()));
        }
        let envelope = document.dsse_envelope.ok_or(OmsError::MissingEnvelope)?;
        let material = document.verification_material.ok_or(OmsError::MissingVerificationMaterial)?.classify()?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(OmsError::PayloadType(envelope.payload_type.chars().take(100).collect()));
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err(OmsError::SignatureCount(envelope.signatures.len()));
        };
        Ok(Self {
            material,
            payload: decode(&envelope.payload, "payload")?,
            signature: decode(&signature.sig, "signature")?,
        })
    }

    /// What the signature is over: DSSE's pre-authentication encoding, version 1.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload)
    }
}

pub(super) fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    media_type: String,
    verification_material: Option<MaterialDocument>,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MaterialDocument {
    public_key: Option<PublicKey>,
    x509_certificate_chain: Option<IgnoredAny>,
    certificate: Option<IgnoredAny>,
}

impl MaterialDocument {
    /// The kinds exclude each other: a bundle that mixes them would mean different things to different readers.
    fn classify(self) -> Result<Material, OmsError> {
        match (self.public_key, self.x509_certificate_chain, self.certificate) {
            (Some(key), None, None) => {
                let embedded = key.raw_bytes.as_deref().map(|text| decode(text, "embedded key")).transpose()?;
                Ok(Material::Key { hint: key.hint.filter(|hint| !hint.is_empty()), embedded })
            }
            (None, Some(_), None) => Ok(Material::Certificate),
            (None, None, Some(_)) => Ok(Material::Keyless),
            (None, None, None) => Err(OmsError::MissingVerificationMaterial),
            _ => Err(OmsError::InvalidJson("several kinds of verification material".to_owned())),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKey {
    hint: Option<String>,
    raw_bytes: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    payload: String,
    #[serde(default)]
    payload_type: String,
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    sig: String,
}

/// Protobuf's JSON and DSSE both allow the URL alphabet and missing padding.
fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, OmsError> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, CONFIG).decode(text).map_err(|_| OmsError::InvalidBase64(what))
}
