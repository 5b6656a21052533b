//! The overall word on who vouches for a revision.

use std::collections::BTreeSet;
use std::io;

use super::attestation;
use super::digests::DigestCache;
use super::material::TrustMaterial;
use super::oms::{self, SignatureCheck};
use super::peek::predicate_type;
use crate::DigestedFile;
use crate::evidence::{
    AttestationFacts, Coverage, Finding, ProvenanceFacts, ProvenanceVerdict, SCHEMA_VERSION, Severity, SignatureFacts,
    SignatureState,
};
use crate::format::FileKind;
use crate::format::kind;
use crate::read_at::ReadAt;
use crate::words::listed;

/// Largest signature file that is read, in bytes.
const MAX_SIGNATURE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that tell what a file is.
const PREFIX_BYTES: usize = 4096;
/// Longest list of paths in a finding.
const MAX_LISTED: usize = 10;

/// A revision whose provenance is asked for.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub files: &'a [DigestedFile<'a>],
    /// Hex SHA-256 that is the identity of all files together.
    pub content_digest: &'a str,
    /// Bundles that were attached later, signatures and attestations.
    pub attached: &'a [Vec<u8>],
}

/// Judges the bundles inside a revision and those that were attached to it later.
///
/// The answer is the same at any time. Digests that a signature needs beside the stored ones are
/// taken from `digests` or computed into it.
pub fn judge(subject: Subject<'_>, trust: &TrustMaterial, digests: &DigestCache) -> ProvenanceFacts {
    let revision = Revision::of(subject.files);
    let mut judged = Judged::default();
    let judge = Judge { subject, files: revision.files(), trust, digests };
    for file in &revision.signatures {
        match read_signature(file.source) {
            Ok(bundle) => judge.check(&bundle, Some(file.path), &mut judged),
            Err(error) => judged.add(unreadable(file, &error), Some(file.path)),
        }
    }
    for bundle in subject.attached {
        judge.check(bundle, None, &mut judged);
    }
    let Judged { signatures, attestations, mut findings } = judged;
    let verdict = revision.verdict(&signatures);
    findings.extend(revision.gaps(&signatures));
    ProvenanceFacts {
        schema_version: SCHEMA_VERSION,
        verdict,
        signatures,
        attestations,
        weight_files: revision.weights.iter().map(|path| (*path).to_owned()).collect(),
        documents: revision.documents.iter().map(|path| (*path).to_owned()).collect(),
        findings,
    }
}

/// What every bundle of a revision is judged with.
struct Judge<'a> {
    subject: Subject<'a>,
    files: oms::Files<'a>,
    trust: &'a TrustMaterial,
    digests: &'a DigestCache,
}

impl Judge<'_> {
    /// A bundle is what its statement says it is; one whose statement cannot be read is refused as a signature.
    fn check(&self, bundle: &[u8], path: Option<&str>, judged: &mut Judged) {
        if let Ok(Some(_)) = predicate_type(bundle) {
            let check = attestation::check(bundle, self.subject.content_digest, self.subject.files, self.trust);
            judged.attestations.push(check.facts);
            judged.note(check.findings, path);
        } else {
            judged.add(oms::verify(bundle, self.files, self.trust, self.digests), path);
        }
    }
}

/// What all bundles came to.
#[derive(Default)]
struct Judged {
    signatures: Vec<SignatureFacts>,
    attestations: Vec<AttestationFacts>,
    findings: Vec<Finding>,
}

impl Judged {
    fn add(&mut self, check: SignatureCheck, path: Option<&str>) {
        self.signatures.push(check.facts);
        self.note(check.findings, path);
    }

    fn note(&mut self, findings: Vec<Finding>, path: Option<&str>) {
        self.findings.extend(findings.into_iter().map(|finding| match path {
            Some(path) => finding.at(path),
            None => finding,
        }));
    }
}

/// The files of a revision, apart from the signatures over them.
struct Revision<'a> {
    content: Vec<DigestedFile<'a>>,
    weights: BTreeSet<&'a str>,
    documents: BTreeSet<&'a str>,
    signatures: Vec<DigestedFile<'a>>,
}

impl<'a> Revision<'a> {
    fn of(files: &[DigestedFile<'a>]) -> Self {
        let mut revision =
            Self { content: Vec::new(), weights: BTreeSet::new(), documents: BTreeSet::new(), signatures: Vec::new() };
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
        self.content.push(file);
        if kind.holds_weights() {
            self.weights.insert(file.path);
        }
        if is_documentation(kind, file.path) {
            self.documents.insert(file.path);
        }
    }

    fn files(&self) -> oms::Files<'_> {
        oms::Files { content: &self.content, signatures: &self.signatures }
    }

    /// One trusted signature over everything that matters is enough, whatever else is attached:
    /// anyone may attach a signature, so one that fails must not outweigh one that holds.
    fn verdict(&self, signatures: &[SignatureFacts]) -> ProvenanceVerdict {
        let any = |state| signatures.iter().any(|facts| facts.state == state);
        if signatures.is_empty() {
            ProvenanceVerdict::Unsigned
        } else if signatures.iter().any(|facts| self.is_vouched_for(facts)) {
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
    fn gaps(&self, signatures: &[SignatureFacts]) -> Vec<Finding> {
        if signatures.is_empty() {
            return vec![unsigned()];
        }
        let trusted = || signatures.iter().filter(|facts| facts.state == SignatureState::Trusted);
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
    let detail = format!("The trusted signature does not cover {}.", listed(paths, MAX_LISTED));
    Finding::new(code, severity, detail, "have the publisher sign all files")
}
