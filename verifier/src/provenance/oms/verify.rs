//! Verifying one bundle against the files of a revision.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::bundle::{Bundle, Material};
use super::error::OmsError;
use super::key::{PublicKey, TrustedKey};
use super::manifest::Manifest;
use crate::evidence::{Coverage, Finding, Severity, SignatureFacts, SignatureState};

/// A file of the revision. Signature files themselves are left out: no signature covers itself.
#[derive(Debug, Clone, Copy)]
pub struct SignedFile<'a> {
    pub path: &'a str,
    /// Hex SHA-256, as stored.
    pub sha256: &'a str,
}

/// What one bundle is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct SignatureCheck {
    pub facts: SignatureFacts,
    pub findings: Vec<Finding>,
}

/// Verifies `bundle` over `files` with `keys`.
///
/// A bundle that is refused, cannot be checked or was signed by an unknown key covers nothing.
pub fn verify(bundle: &[u8], files: &[SignedFile<'_>], keys: &[TrustedKey]) -> SignatureCheck {
    let files_unsigned = files.iter().map(|file| file.path.to_owned());
    let mut facts = SignatureFacts::unproven(hex::encode(Sha256::digest(bundle)), files_unsigned);
    facts.state = SignatureState::Invalid;
    "key".clone_into(&mut facts.method);
    match check(bundle, files, keys, &mut facts) {
        Ok(findings) => SignatureCheck { facts, findings },
        Err(error) => {
            facts.state = if error.is_unsupported() { SignatureState::Unsupported } else { SignatureState::Invalid };
            SignatureCheck { facts, findings: vec![refusal(&error)] }
        }
    }
}

fn check(
    bundle: &[u8],
    files: &[SignedFile<'_>],
    keys: &[TrustedKey],
    facts: &mut SignatureFacts,
) -> Result<Vec<Finding>, OmsError> {
    let bundle = Bundle::parse(bundle)?;
    let manifest = match &bundle.material {
        Material::Key { .. } => Manifest::parse(&bundle.payload)?,
        Material::Certificate => return unsupported(&bundle, facts, "certificate", OmsError::UnsupportedCertificate),
        Material::Keyless => return unsupported(&bundle, facts, "keyless", OmsError::UnsupportedKeyless),
    };
    let verified = find_signer(&bundle, keys)?;
    facts.state = verified.state();
    facts.key = verified.key_digest();
    facts.signer = verified.signer();
    if matches!(verified, Signer::Unknown { .. }) {
        return Ok(vec![unknown_key(&bundle.material)]);
    }
    facts.coverage = cover(&manifest, files)?;
    Ok(match verified {
        Signer::Embedded(key) => vec![untrusted_key(key.digest())],
        Signer::Trusted(_) | Signer::Unknown => Vec::new(),
    })
}

/// A broken manifest is refused even where the signature around it cannot be checked.
fn unsupported(
    bundle: &Bundle,
    facts: &mut SignatureFacts,
    method: &str,
    reason: OmsError,
) -> Result<Vec<Finding>, OmsError> {
    method.clone_into(&mut facts.method);
    match Manifest::parse(&bundle.payload) {
        Ok(_) => Err(reason),
        Err(error) => Err(error),
    }
}

/// Whose key verifies a bundle.
enum Signer<'k> {
    Trusted(&'k TrustedKey),
    /// The key that came inside the bundle.
    Embedded(Box<PublicKey>),
    /// None that is known here.
    Unknown,
}

impl Signer<'_> {
    const fn state(&self) -> SignatureState {
        match self {
            Self::Trusted(_) => SignatureState::Trusted,
            Self::Embedded(_) => SignatureState::Untrusted,
            Self::Unknown => SignatureState::Unverified,
        }
    }

    fn key_digest(&self) -> Option<String> {
        match self {
            Self::Trusted(key) => Some(key.digest().to_owned()),
            Self::Embedded(key) => Some(key.digest().to_owned()),
            Self::Unknown => None,
        }
    }

    fn signer(&self) -> Option<String> {
        if let Self::Trusted(key) = self { Some(key.name().to_owned()) } else { None }
    }
}

fn find_signer<'k>(bundle: &Bundle, keys: &'k [TrustedKey]) -> Result<Signer<'k>, OmsError> {
    let Material::Key { hint, embedded } = &bundle.material else { return Ok(Signer::Unknown) };
    let message = bundle.signed_bytes();
    if let Some(key) = keys.iter().find(|key| key.public_key().verifies(&message, &bundle.signature)) {
        return check_hint(hint.as_deref(), key.public_key()).map(|()| Signer::Trusted(key));
    }
    if hint.as_deref().is_some_and(|hint| keys.iter().any(|key| key.public_key().matches_hint(hint))) {
        return Err(OmsError::BadSignature);
    }
    let Some(embedded) = embedded else { return Ok(Signer::Unknown) };
    let key = PublicKey::from_embedded(embedded).map_err(|error| OmsError::InvalidJson(error.to_string()))?;
    if !key.verifies(&message, &bundle.signature) {
        return Err(OmsError::BadSignature);
    }
    check_hint(hint.as_deref(), &key).map(|()| Signer::Embedded(Box::new(key)))
}

/// The hint proves nothing; the reference verifier refuses a wrong one, and so it never passes here either.
fn check_hint(hint: Option<&str>, key: &PublicKey) -> Result<(), OmsError> {
    match hint {
        Some(hint) if !key.matches_hint(hint) => Err(OmsError::KeyHintMismatch),
        _ => Ok(()),
    }
}

/// Compares the manifest with the files and says which of them it speaks for.
fn cover(manifest: &Manifest, files: &[SignedFile<'_>]) -> Result<Coverage, OmsError> {
    let mut left: BTreeMap<String, &SignedFile<'_>> =
        files.iter().map(|file| (file.path.nfc().collect(), file)).collect();
    let mut coverage = Coverage::default();
    for resource in &manifest.resources {
        let file = left.remove(&resource.path).ok_or_else(|| OmsError::FileMissing(resource.path.clone()))?;
        if file.sha256 != resource.sha256 {
            return Err(OmsError::DigestMismatch(resource.path.clone()));
        }
        coverage.signed.push(file.path.to_owned());
    }
    for file in left.into_values() {
        let list = if manifest.ignores(file.path) { &mut coverage.ignored } else { &mut coverage.unsigned };
        list.push(file.path.to_owned());
    }
    coverage.signed.sort();
    Ok(coverage)
}

fn refusal(error: &OmsError) -> Finding {
    let (severity, remedy) = match error {
        error if error.is_unsupported() => (Severity::Medium, "sign the revision with a P-256 key as well"),
        OmsError::Version02 => (Severity::High, "sign the revision anew with model_signing 1.0 or later"),
        OmsError::FileMissing(_) | OmsError::DigestMismatch(_) => {
            (Severity::High, "restore the signed files, or have the publisher sign the revision anew")
        }
        _ => (Severity::High, "remove the signature, or have the publisher sign the revision anew"),
    };
    let detail = format!("The signature is not accepted: {error}.");
    Finding::new(error.code(), severity, detail, remedy)
}

fn unknown_key(material: &Material) -> Finding {
    let hint = match material {
        Material::Key { hint: Some(hint), .. } => hint.chars().take(100).collect(),
        _ => "none".to_owned(),
    };
    let detail = format!("No trusted key could check the signature (key hint: {hint}).");
    Finding::new(
        "SIGNATURE_KEY_UNKNOWN",
        Severity::Medium,
        detail,
        "obtain the publisher's public key over a trusted way, and add it",
    )
}

fn untrusted_key(digest: &str) -> Finding {
    let detail = format!("The signature fits the key inside the bundle ({digest}), which nobody here trusts.");
    Finding::new(
        "SIGNATURE_KEY_UNTRUSTED",
        Severity::Medium,
        detail,
        "obtain the publisher's public key over a trusted way, and add it",
    )
}
