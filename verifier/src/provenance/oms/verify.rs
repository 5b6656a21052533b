//! Verifying one model signature against the files of a revision.

use std::collections::{BTreeMap, BTreeSet};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use unicode_normalization::UnicodeNormalization;

use super::error::OmsError;
use super::manifest::{Manifest, Resource};
use crate::DigestedFile;
use crate::evidence::{Coverage, Finding, Severity, SignatureFacts, SignatureState};
use crate::provenance::digests::{DigestCache, DigestScheme, HashAlgorithm};
use crate::provenance::envelope::{EnvelopeCheck, verify_envelope};
use crate::provenance::material::TrustMaterial;

/// What one bundle is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct SignatureCheck {
    pub facts: SignatureFacts,
    pub findings: Vec<Finding>,
}

/// The files that a model signature may be about.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// Every file but signatures.
    pub content: &'a [DigestedFile<'a>],
    /// Signature files beside them. A signature need not cover these, but some do.
    pub signatures: &'a [DigestedFile<'a>],
}

/// Verifies `bundle` as a model signature over `files`.
///
/// A bundle that is refused, cannot be checked or was signed by nobody known covers nothing.
pub fn verify(bundle: &[u8], files: Files<'_>, trust: &TrustMaterial, digests: &DigestCache) -> SignatureCheck {
    judge(verify_envelope(bundle, trust), files, digests)
}

/// Says what the signature in a verified envelope covers.
fn judge(envelope: EnvelopeCheck, files: Files<'_>, digests: &DigestCache) -> SignatureCheck {
    let EnvelopeCheck { mut facts, payload, mut findings } = envelope;
    facts.coverage.unsigned = files.content.iter().map(|file| file.path.to_owned()).collect();
    // A broken manifest is named even where the signature around it cannot be checked.
    match payload.as_deref().map(Manifest::parse) {
        None => {}
        Some(Ok(manifest)) => {
            if matches!(facts.state, SignatureState::Trusted | SignatureState::Untrusted) {
                match cover(&manifest, files, digests) {
                    Ok(coverage) => facts.coverage = coverage,
                    Err(error) => refuse(&mut facts, &mut findings, &error),
                }
            }
        }
        Some(Err(error)) => refuse(&mut facts, &mut findings, &error),
    }
    SignatureCheck { facts, findings }
}

fn refuse(facts: &mut SignatureFacts, findings: &mut Vec<Finding>, error: &OmsError) {
    if facts.state != SignatureState::Invalid {
        facts.state = if error.is_unsupported() { SignatureState::Unsupported } else { SignatureState::Invalid };
    }
    findings.push(refusal(error));
}

/// Compares the manifest with the files and says which of them it speaks for.
fn cover(manifest: &Manifest, files: Files<'_>, digests: &DigestCache) -> Result<Coverage, OmsError> {
    let by_path: BTreeMap<String, &DigestedFile<'_>> =
        files.content.iter().chain(files.signatures).map(|file| (file.path.nfc().collect(), file)).collect();
    let mut pairs = Vec::with_capacity(manifest.resources.len());
    for (path, resource) in &manifest.resources {
        let file = by_path.get(path).ok_or_else(|| OmsError::FileMissing(path.clone()))?;
        pairs.push((*file, resource));
    }
    // The first difference in the manifest's order is named, whichever file was read first.
    let compared: Vec<_> =
        pairs.par_iter().map(|(file, resource)| compare(file, resource, manifest.scheme, digests)).collect();
    compared.into_iter().collect::<Result<(), _>>()?;
    Ok(coverage(manifest, files, &pairs))
}

fn compare(
    file: &DigestedFile<'_>,
    resource: &Resource,
    scheme: DigestScheme,
    digests: &DigestCache,
) -> Result<(), OmsError> {
    const STORED: DigestScheme = DigestScheme { algorithm: HashAlgorithm::Sha256, shard_size: None };
    let is_same = if scheme == STORED {
        resource.digests == [file.digest]
    } else if resource.size.is_some_and(|size| size != file.source.size()) {
        false
    } else {
        let found = digests.digests_of(file, scheme);
        let found = found.map_err(|error| OmsError::FileUnreadable(file.path.to_owned(), error.to_string()))?;
        resource.digests == *found
    };
    if is_same { Ok(()) } else { Err(OmsError::DigestMismatch(file.path.to_owned())) }
}

fn coverage(manifest: &Manifest, files: Files<'_>, signed: &[(&DigestedFile<'_>, &Resource)]) -> Coverage {
    let signed: BTreeSet<&str> = signed.iter().map(|(file, _)| file.path).collect();
    let mut coverage = Coverage::default();
    for file in files.content.iter().filter(|file| !signed.contains(file.path)) {
        let path: String = file.path.nfc().collect();
        let list = if manifest.ignores(&path) { &mut coverage.ignored } else { &mut coverage.unsigned };
        list.push(file.path.to_owned());
    }
    coverage.signed = signed.into_iter().map(str::to_owned).collect();
    coverage
}

fn refusal(error: &OmsError) -> Finding {
    let (severity, remedy) = match error {
        OmsError::FileUnreadable(..) => (Severity::High, "check the storage and verify again"),
        OmsError::UnsupportedHash(_) => (Severity::Medium, "sign the revision with SHA-256 as well"),
        OmsError::Version02 => (Severity::High, "sign the revision anew with model_signing 1.0 or later"),
        OmsError::FileMissing(_) | OmsError::DigestMismatch(_) => {
            (Severity::High, "restore the signed files, or have the publisher sign the revision anew")
        }
        _ => (Severity::High, "remove the signature, or have the publisher sign the revision anew"),
    };
    let detail = format!("The signature is not accepted: {error}.");
    Finding::new(error.code(), severity, detail, remedy)
}
