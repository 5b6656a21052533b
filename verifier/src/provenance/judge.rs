//! The overall word on who vouches for a revision.

use std::collections::BTreeSet;
use std::io;

use super::oms::{self, SignatureCheck, SignedFile, TrustedKey};
use crate::DigestedFile;
use crate::evidence::{
    Coverage, Finding, ProvenanceFacts, ProvenanceVerdict, SCHEMA_VERSION, Severity, SignatureFacts, SignatureState,
};
use crate::format::FileKind;
use crate::format::kind;
use crate::read_at::ReadAt;

/// Largest signature file that is read, in bytes.
const MAX_SIGNATURE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that tell what a file is.
const PREFIX_BYTES: usize = 4096;
/// Longest list of paths in a finding.
const MAX_LISTED: usize = 10;

/// Judges the signatures inside a revision and those that were attached to it later.
pub fn judge(files: &[DigestedFile<'_>], attached: &[Vec<u8>], keys: &[TrustedKey]) -> ProvenanceFacts {
    let revision = Revision::of(files);
    let mut checks: Vec<SignatureCheck> = Vec::new();
    for signature in &revision.signatures {
        checks.push(check_inside(signature, &revision.files, keys));
    }
    checks.extend(attached.iter().map(|bundle| oms::verify(bundle, &revision.files, keys)));
    let verdict = revision.verdict(&checks);
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check.findings.clone()).collect();
    findings.extend(revision.gaps(&checks));
    ProvenanceFacts {
        schema_version: SCHEMA_VERSION,
        verdict,
        signatures: checks.into_iter().map(|check| check.facts).collect(),
        attestations: Vec::new(),
        weight_files: revision.weights.iter().map(|path| (*path).to_owned()).collect(),
        documents: revision.documents.iter().map(|path| (*path).to_owned()).collect(),
        findings,
    }
}

/// The files of a revision, apart from the signatures over them.
struct Revision<'a> {
    files: Vec<SignedFile<'a>>,
    weights: BTreeSet<&'a str>,
    documents: BTreeSet<&'a str>,
    signatures: Vec<DigestedFile<'a>>,
}

impl<'a> Revision<'a> {
    fn of(files: &[DigestedFile<'a>]) -> Self {
        let mut revision =
            Self { files: Vec::new(), weights: BTreeSet::new(), documents: BTreeSet::new(), signatures: Vec::new() };
        for file in files {
            revision.add(*file);
        }
        revision
    }

    fn add(&mut self, file: DigestedFile<'a>) {
        let kind = kind_of(&file);
        if kind == FileKind::Signature {
            self.signatures.push(file);
            return;
        }
        self.files.push(SignedFile { path: file.path, sha256: file.digest });
        if kind.holds_weights() {
            self.weights.insert(file.path);
        }
        if is_documentation(kind, file.path) {
            self.documents.insert(file.path);
        }
    }

    /// One trusted signature over everything that matters is enough, whatever else is attached:
    /// anyone may attach a signature, so one that fails must not outweigh one that holds.
    fn verdict(&self, checks: &[SignatureCheck]) -> ProvenanceVerdict {
        let any = |state| checks.iter().any(|check| check.facts.state == state);
        if checks.is_empty() {
            ProvenanceVerdict::Unsigned
        } else if checks.iter().any(|check| self.is_vouched_for(&check.facts)) {
            ProvenanceVerdict::Trusted
        } else if any(SignatureState::Invalid) {
            ProvenanceVerdict::Invalid
        } else if any(SignatureState::Trusted) || any(SignatureState::Untrusted) || any(SignatureState::Unverified) {
            ProvenanceVerdict::Untrusted
        } else {
            ProvenanceVerdict::Unsupported
        }
    }

    fn is_vouched_for(&self, facts: &SignatureFacts) -> bool {
        facts.state == SignatureState::Trusted && uncovered(&facts.coverage).all(|path| self.documents.contains(path))
    }

    /// What no trusted signature speaks for.
    fn gaps(&self, checks: &[SignatureCheck]) -> Vec<Finding> {
        if checks.is_empty() {
            return vec![unsigned()];
        }
        let trusted = || checks.iter().map(|check| &check.facts).filter(|facts| facts.state == SignatureState::Trusted);
        if trusted().next().is_none() || trusted().any(|facts| self.is_vouched_for(facts)) {
            return Vec::new();
        }
        trusted().flat_map(|facts| self.gaps_of(&facts.coverage)).collect()
    }

    fn gaps_of(&self, coverage: &Coverage) -> Vec<Finding> {
        let (weights, others): (Vec<&str>, Vec<&str>) = uncovered(coverage)
            .filter(|path| !self.documents.contains(path))
            .partition(|path| self.weights.contains(path));
        let weights = (!weights.is_empty()).then(|| uncovered_files("UNSIGNED_WEIGHTS", Severity::High, &weights));
        let others = (!others.is_empty()).then(|| uncovered_files("UNSIGNED_FILES", Severity::Medium, &others));
        weights.into_iter().chain(others).collect()
    }
}

/// A valid signature says nothing about what its signer ignored, so that counts as unsigned.
fn uncovered(coverage: &Coverage) -> impl Iterator<Item = &str> {
    coverage.unsigned.iter().chain(&coverage.ignored).map(String::as_str)
}

/// Files that people read and no loader does, so that a README may change without a new signature.
fn is_documentation(kind: FileKind, path: &str) -> bool {
    let extension = kind::extension(path);
    match kind {
        FileKind::ModelCard | FileKind::Image => true,
        FileKind::License => ["", "md", "rst", "txt"].contains(&extension.as_str()),
        FileKind::Text => ["md", "gitattributes", "gitignore"].contains(&extension.as_str()),
        _ => false,
    }
}

fn kind_of(file: &DigestedFile<'_>) -> FileKind {
    let size = file.source.size();
    let mut prefix = vec![0; usize::try_from(size).unwrap_or(PREFIX_BYTES).min(PREFIX_BYTES)];
    match file.source.read_exact_at(0, &mut prefix) {
        Ok(()) => FileKind::recognize(file.path, &prefix, size),
        Err(_) => FileKind::Unknown,
    }
}

fn check_inside(signature: &DigestedFile<'_>, files: &[SignedFile<'_>], keys: &[TrustedKey]) -> SignatureCheck {
    let mut check = match read_signature(signature.source) {
        Ok(bundle) => oms::verify(&bundle, files, keys),
        Err(error) => unreadable(signature, &error),
    };
    for finding in &mut check.findings {
        finding.path = Some(signature.path.to_owned());
    }
    check
}

fn read_signature(source: &dyn ReadAt) -> io::Result<Vec<u8>> {
    let length = Some(source.size()).filter(|size| *size <= MAX_SIGNATURE_BYTES);
    let length = length.and_then(|size| usize::try_from(size).ok()).ok_or(io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    source.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}

fn unreadable(signature: &DigestedFile<'_>, error: &io::Error) -> SignatureCheck {
    let detail = format!("The signature could not be read: {error}.");
    SignatureCheck {
        facts: SignatureFacts::unproven(signature.digest.to_owned(), []),
        findings: vec![Finding::new("FILE_UNREADABLE", Severity::High, detail, "check the storage and verify again")],
    }
}

fn unsigned() -> Finding {
    Finding::new(
        "NO_SIGNATURE",
        Severity::Medium,
        "Nobody has signed this revision.",
        "sign it with OpenSSF Model Signing (`model_signing sign key`), and push the signature or attach it",
    )
}

fn uncovered_files(code: &str, severity: Severity, paths: &[&str]) -> Finding {
    let more = paths.len().saturating_sub(MAX_LISTED);
    let listed = paths[..paths.len() - more].join(", ");
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let detail = format!("The trusted signature does not cover {listed}{rest}.");
    Finding::new(code, severity, detail, "have the publisher sign all files")
}
