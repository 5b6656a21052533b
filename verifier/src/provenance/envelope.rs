//! Who signed a statement, whatever it states.
//!
//! Model signatures and attestations come in the same envelope and differ in their payload, so
//! one function answers for both who signed, with which proof, and when. The answer is the same at
//! any time, but that sigstore's verifier refuses what a log says to have happened in the future.

use sha2::{Digest, Sha256};

use super::bundle::{Bundle, MAX_BUNDLE_BYTES, Material};
use super::certificate::{Authorities, Certificate, CertificateError, Window};
use super::key::{KeyError, PublicKey, TrustedKey};
use super::material::TrustMaterial;
use super::root::{RootKind, TrustRoot};
use super::sigstore::{Parsed, SigstoreError, Verified};
use crate::evidence::{Finding, Severity, SignatureFacts, SignatureState};

/// Why an envelope is refused; [`EnvelopeError::code`] names the finding it becomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the bundle exceeds {MAX_BUNDLE_BYTES} bytes")]
    TooLarge,
    #[error("the bundle is not the JSON of a sigstore bundle: {0}")]
    InvalidJson(String),
    #[error("the bundle's media type `{0}` is not that of a sigstore bundle")]
    MediaType(String),
    #[error("the bundle has no signed envelope")]
    MissingEnvelope,
    #[error("the bundle has no verification material")]
    MissingVerificationMaterial,
    #[error("the bundle has several kinds of verification material")]
    AmbiguousMaterial,
    #[error("the bundle has more certificates, log entries or timestamps than any signer writes")]
    TooManyParts,
    #[error("the bundle has a log entry without an inclusion proof, or is of an old version and has no log entry")]
    MissingInclusionProof,
    #[error("the bundle has {0} signatures instead of one")]
    SignatureCount(usize),
    #[error("the envelope holds `{0}` instead of an in-toto statement")]
    PayloadType(String),
    #[error("the bundle's {0} is not base64")]
    InvalidBase64(&'static str),
    #[error("the signature does not verify")]
    BadSignature,
    #[error("the bundle's key hint does not belong to the key that verifies it")]
    KeyHintMismatch,
    #[error("the key inside the bundle cannot be used: {0}")]
    EmbeddedKey(KeyError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Sigstore(#[from] SigstoreError),
}

impl EnvelopeError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "BUNDLE_TOO_LARGE",
            Self::InvalidJson(_) => "BUNDLE_INVALID_JSON",
            Self::MediaType(_) => "BUNDLE_MEDIA_TYPE",
            Self::MissingEnvelope => "BUNDLE_MISSING_ENVELOPE",
            Self::MissingVerificationMaterial => "BUNDLE_MISSING_VERIFICATION_MATERIAL",
            Self::AmbiguousMaterial => "BUNDLE_AMBIGUOUS_MATERIAL",
            Self::TooManyParts => "BUNDLE_TOO_MANY_PARTS",
            Self::MissingInclusionProof => "BUNDLE_MISSING_INCLUSION_PROOF",
            Self::SignatureCount(_) => "BUNDLE_SIGNATURE_COUNT",
            Self::PayloadType(_) => "BUNDLE_PAYLOAD_TYPE",
            Self::InvalidBase64(_) => "BUNDLE_INVALID_BASE64",
            Self::BadSignature => "SIGNATURE_INVALID",
            Self::KeyHintMismatch => "SIGNATURE_KEY_HINT_MISMATCH",
            Self::EmbeddedKey(_) => "SIGNATURE_KEY_UNUSABLE",
            Self::Certificate(error) => error.code(),
            Self::Sigstore(error) => error.code(),
        }
    }

    /// Whether the signature may be good and is of a kind that this release cannot check.
    pub const fn is_unsupported(&self) -> bool {
        match self {
            Self::Certificate(CertificateError::UnsupportedKey) => true,
            Self::Sigstore(error) => error.is_unsupported(),
            _ => false,
        }
    }
}

/// What one envelope is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopeCheck {
    /// Who signed it; what it covers is not yet said.
    pub facts: SignatureFacts,
    /// The statement inside, wherever one could be read. Only [`EnvelopeCheck::facts`] say
    /// whether anybody stands behind it.
    pub payload: Option<Vec<u8>>,
    pub findings: Vec<Finding>,
}

/// Verifies the envelope of `bundle`, around an in-toto statement of any kind.
pub fn verify_envelope(bundle: &[u8], trust: &TrustMaterial) -> EnvelopeCheck {
    let mut facts = SignatureFacts::unproven(hex::encode(Sha256::digest(bundle)), []);
    let parsed = match Bundle::parse(bundle) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(facts, None, &error),
    };
    parsed.material.method().clone_into(&mut facts.method);
    let envelope = Envelope { source: bundle, bundle: &parsed, trust };
    let found = match &parsed.material {
        Material::Key { hint, embedded } => envelope.check_key(hint.as_deref(), embedded.as_deref(), &mut facts),
        Material::Certificate(chain) => envelope.check_certificate(chain, &mut facts),
        Material::Keyless(certificate) => envelope.check_keyless(certificate, &mut facts),
    };
    match found {
        Ok(findings) => EnvelopeCheck { facts, payload: Some(parsed.payload), findings },
        Err(error) => refuse(facts, Some(parsed.payload), &error),
    }
}

fn refuse(mut facts: SignatureFacts, payload: Option<Vec<u8>>, error: &EnvelopeError) -> EnvelopeCheck {
    let (state, severity, remedy) = if error.is_unsupported() {
        (SignatureState::Unsupported, Severity::Medium, "sign with an ECDSA P-256 key as well")
    } else {
        (SignatureState::Invalid, Severity::High, "remove the signature, or have the publisher sign anew")
    };
    facts.state = state;
    let detail = format!("The signature is not accepted: {error}.");
    EnvelopeCheck { facts, payload, findings: vec![Finding::new(error.code(), severity, detail, remedy)] }
}

/// A parsed envelope beside what it is verified with.
struct Envelope<'a> {
    source: &'a [u8],
    bundle: &'a Bundle,
    trust: &'a TrustMaterial,
}

impl Envelope<'_> {
    fn check_key(
        &self,
        hint: Option<&str>,
        embedded: Option<&[u8]>,
        facts: &mut SignatureFacts,
    ) -> Result<Vec<Finding>, EnvelopeError> {
        match self.find_key(hint, embedded)? {
            KeyHolder::Trusted(key) => {
                facts.state = SignatureState::Trusted;
                facts.key = Some(key.digest().to_owned());
                facts.signer = Some(key.name().to_owned());
                self.check_key_evidence(key, facts)
            }
            KeyHolder::Embedded(key) => {
                facts.state = SignatureState::Untrusted;
                facts.key = Some(key.digest().to_owned());
                Ok(vec![untrusted_key(key.digest())])
            }
            KeyHolder::Unknown => Ok(vec![unknown_key(hint)]),
        }
    }

    fn find_key(&self, hint: Option<&str>, embedded: Option<&[u8]>) -> Result<KeyHolder<'_>, EnvelopeError> {
        let message = self.bundle.signed_bytes();
        let verifies = |key: &PublicKey| key.verifies(&message, &self.bundle.signature);
        let keys = &self.trust.keys;
        if let Some(key) = keys.iter().find(|key| verifies(key.public_key())) {
            return check_hint(hint, key.public_key()).map(|()| KeyHolder::Trusted(key));
        }
        if hint.is_some_and(|hint| keys.iter().any(|key| key.public_key().matches_hint(hint))) {
            return Err(EnvelopeError::BadSignature);
        }
        let Some(embedded) = embedded else { return Ok(KeyHolder::Unknown) };
        let key = PublicKey::from_embedded(embedded).map_err(EnvelopeError::EmbeddedKey)?;
        if !verifies(&key) {
            return Err(EnvelopeError::BadSignature);
        }
        check_hint(hint, &key).map(|()| KeyHolder::Embedded(Box::new(key)))
    }

    /// Log entries and timestamps beside a key's signature are evidence where a root knows them.
    fn check_key_evidence(&self, key: &TrustedKey, facts: &mut SignatureFacts) -> Result<Vec<Finding>, EnvelopeError> {
        if self.bundle.log_entries + self.bundle.timestamps == 0 {
            return Ok(Vec::new());
        }
        let parsed = Parsed::parse(self.source)?;
        for root in self.trust.roots_of(RootKind::Sigstore) {
            let Some(instance) = root.instance().filter(|instance| instance.knows_logs_of(&parsed)) else { continue };
            match instance.verify_key(&parsed, key.public_key().der()) {
                Ok(evidence) => return Ok(self.take(facts, root, evidence)),
                Err(error) if error.is_unsupported() || self.bundle.log_entries == 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(vec![unchecked_evidence()])
    }

    fn check_certificate(&self, chain: &[Vec<u8>], facts: &mut SignatureFacts) -> Result<Vec<Finding>, EnvelopeError> {
        let chain = chain.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
        let Some((leaf, above)) = chain.split_first() else {
            return Err(EnvelopeError::MissingVerificationMaterial);
        };
        let key = PublicKey::from_der(&leaf.public_key()?).map_err(|_| CertificateError::UnsupportedKey)?;
        if !key.verifies(&self.bundle.signed_bytes(), &self.bundle.signature) {
            return Err(EnvelopeError::BadSignature);
        }
        leaf.check_usage()?;
        let mut refusal = None;
        for root in self.trust.roots_of(RootKind::Certificates) {
            let Some(authorities) = root.authorities() else { continue };
            match authorities.verify(leaf, above) {
                Ok(window) => {
                    facts.state = SignatureState::Trusted;
                    facts.key = Some(key.digest().to_owned());
                    facts.certificate = Some(leaf.facts(window, None));
                    facts.root = Some(root.name().to_owned());
                    facts.root_digest = Some(root.digest().to_owned());
                    let has_evidence = self.bundle.log_entries + self.bundle.timestamps > 0;
                    return Ok(has_evidence.then(unchecked_evidence).into_iter().collect());
                }
                Err(error) if authorities.may_have_issued(&chain) => refusal = refusal.or(Some(error)),
                Err(_) => {}
            }
        }
        refusal.map_or_else(|| Ok(vec![unknown_root()]), |error| Err(error.into()))
    }

    fn check_keyless(&self, der: &[u8], facts: &mut SignatureFacts) -> Result<Vec<Finding>, EnvelopeError> {
        let leaf = Certificate::parse(der)?;
        let key = leaf.public_key()?;
        // The sigstore verifier checks keys of other kinds, where a root leads to it.
        let is_bad = |key: &PublicKey| !key.verifies(&self.bundle.signed_bytes(), &self.bundle.signature);
        if PublicKey::from_der(&key).is_ok_and(|key| is_bad(&key)) {
            return Err(EnvelopeError::BadSignature);
        }
        let parsed = Parsed::parse(self.source)?;
        let mut refusal = None;
        for root in self.trust.roots_of(RootKind::Sigstore) {
            let Some(instance) = root.instance() else { continue };
            match instance.verify_keyless(&parsed, !root.is_without_log()) {
                Ok(evidence) => {
                    facts.state = SignatureState::Untrusted;
                    facts.key = Some(hex::encode(Sha256::digest(&key)));
                    let window = chain_window(instance.authorities(), &leaf);
                    facts.certificate = Some(leaf.facts(window, evidence.issuer.clone()));
                    return Ok(self.take(facts, root, evidence));
                }
                Err(error) if instance.authorities().may_have_issued(std::slice::from_ref(&leaf)) => {
                    refusal = refusal.or(Some(error));
                }
                Err(_) => {}
            }
        }
        refusal.map_or_else(|| Ok(vec![unknown_root()]), |error| Err(error.into()))
    }

    fn take(&self, facts: &mut SignatureFacts, root: &TrustRoot, evidence: Verified) -> Vec<Finding> {
        facts.root = Some(root.name().to_owned());
        facts.root_digest = Some(root.digest().to_owned());
        facts.times = evidence.times;
        facts.log_positions = evidence.log_positions;
        // A private instance's log is not asked, so its entries are not evidence.
        let is_complete = facts.log_positions.len() == self.bundle.log_entries;
        (!is_complete).then(unchecked_evidence).into_iter().collect()
    }
}

/// The leaf's window within that of its authorities, or its own where these leave their chain out.
fn chain_window(authorities: &Authorities, leaf: &Certificate) -> Window {
    authorities.verify(leaf, &[]).unwrap_or_else(|_| leaf.window())
}

/// Whose key verifies an envelope.
enum KeyHolder<'k> {
    Trusted(&'k TrustedKey),
    /// The key that came inside the bundle.
    Embedded(Box<PublicKey>),
    /// None that is known here.
    Unknown,
}

/// The hint proves nothing; the reference verifier refuses a wrong one, and so it never passes here either.
fn check_hint(hint: Option<&str>, key: &PublicKey) -> Result<(), EnvelopeError> {
    match hint {
        Some(hint) if !key.matches_hint(hint) => Err(EnvelopeError::KeyHintMismatch),
        _ => Ok(()),
    }
}

fn unknown_key(hint: Option<&str>) -> Finding {
    let hint: String = hint.unwrap_or("none").chars().take(100).collect();
    let detail = format!("No trusted key could check the signature (key hint: {hint}).");
    let remedy = "obtain the publisher's public key over a trusted way, and add it";
    Finding::new("SIGNATURE_KEY_UNKNOWN", Severity::Medium, detail, remedy)
}

fn untrusted_key(digest: &str) -> Finding {
    let detail = format!("The signature fits the key inside the bundle ({digest}), which nobody here trusts.");
    let remedy = "obtain the publisher's public key over a trusted way, and add it";
    Finding::new("SIGNATURE_KEY_UNTRUSTED", Severity::Medium, detail, remedy)
}

fn unknown_root() -> Finding {
    let detail = "No trust root leads to the signer's certificate, so nobody vouches for who that is.";
    let remedy = "obtain the root of the publisher's certificate authority over a trusted way, and add it";
    Finding::new("SIGNATURE_ROOT_UNKNOWN", Severity::Medium, detail, remedy)
}

fn unchecked_evidence() -> Finding {
    let detail = "The bundle has log entries or timestamps that no trust root could check; they count for nothing.";
    let remedy = "add the trust root of the log or timestamp authority, if its word is needed";
    Finding::new("SIGNATURE_EVIDENCE_UNCHECKED", Severity::Low, detail, remedy)
}
