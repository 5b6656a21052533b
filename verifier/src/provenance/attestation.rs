//! What a signed statement says about one revision.
//!
//! A valid signature around a statement proves who said something, not that it was said of these
//! bytes: so the statement's subjects are held against the revision's digests, and its predicate
//! against what its type requires. A statement that fails either is refused whole. One that nobody
//! reads here is kept and says nothing, so that leaving an attestation out never allows more.

use std::collections::BTreeMap;

use serde_json::Value;

use super::envelope::{EnvelopeCheck, verify_envelope};
use super::material::TrustMaterial;
use super::statement::{self, PredicateError, ResourceDescriptor, Statement, StatementError};
use crate::DigestedFile;
use crate::evidence::{AttestationFacts, Finding, Severity, SignatureFacts, SignatureState, Subject};
use crate::words::listed;

/// Largest predicate that is kept in evidence, in bytes of JSON.
const MAX_PREDICATE_BYTES: usize = 64 * 1024;
/// Longest list of names in a finding.
const MAX_LISTED: usize = 5;

/// What one attestation is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct AttestationCheck {
    pub facts: AttestationFacts,
    pub findings: Vec<Finding>,
}

/// Verifies the attestation in `bundle`, and holds it against a revision: its content digest, hex
/// SHA-256, and its files.
pub fn check(
    bundle: &[u8],
    content_digest: &str,
    files: &[DigestedFile<'_>],
    trust: &TrustMaterial,
) -> AttestationCheck {
    let EnvelopeCheck { facts: signature, payload, findings } = verify_envelope(bundle, trust);
    let mut check = AttestationCheck { facts: unread(signature), findings };
    let Some(payload) = payload else { return check };
    match Statement::parse(&payload) {
        Ok(statement) => check.read(&statement, content_digest, files),
        Err(error) => check.refuse(invalid_statement(&error)),
    }
    check
}

fn unread(signature: SignatureFacts) -> AttestationFacts {
    AttestationFacts {
        predicate_type: String::new(),
        subjects: Vec::new(),
        predicate: Value::Null,
        bases: Vec::new(),
        signature,
    }
}

impl AttestationCheck {
    fn read(&mut self, statement: &Statement, content_digest: &str, files: &[DigestedFile<'_>]) {
        statement.predicate_type().clone_into(&mut self.facts.predicate_type);
        self.facts.subjects = subjects_in(statement, content_digest, files);
        if self.facts.subjects.is_empty() {
            return self.refuse(subject_mismatch(statement.subjects()));
        }
        if self.facts.signature.state == SignatureState::Invalid {
            return;
        }
        if let Err(error) = statement.checked_predicate().and_then(|_| self.read_materials(statement)) {
            return self.refuse(invalid_predicate(&error));
        }
        if statement.predicate().to_string().len() <= MAX_PREDICATE_BYTES {
            self.facts.predicate = statement.predicate().clone();
        }
    }

    fn read_materials(&mut self, statement: &Statement) -> Result<(), PredicateError> {
        let Some(found) = statement::materials(statement)? else { return Ok(()) };
        self.facts.bases = found.bases;
        self.findings.extend((!found.without_digest.is_empty()).then(|| without_digest(&found.without_digest)));
        self.findings.extend((!found.without_relation.is_empty()).then(|| without_relation(&found.without_relation)));
        Ok(())
    }

    fn refuse(&mut self, finding: Finding) {
        self.facts.signature.state = SignatureState::Invalid;
        self.findings.push(finding);
    }
}

/// The subjects that are this revision, in the statement's order and each digest once, so that
/// their number is that of the revision's files at most.
fn subjects_in(statement: &Statement, content_digest: &str, files: &[DigestedFile<'_>]) -> Vec<Subject> {
    let mut places: BTreeMap<&str, Vec<Option<&str>>> = BTreeMap::from([(content_digest, vec![None])]);
    for file in files {
        places.entry(file.digest).or_default().push(Some(file.path));
    }
    let mut found = Vec::new();
    for subject in statement.subjects() {
        let Some(sha256) = subject.digest.get("sha256") else { continue };
        let paths = places.remove(sha256.as_str()).unwrap_or_default();
        found.extend(paths.into_iter().map(|path| Subject {
            name: subject.label(),
            sha256: sha256.clone(),
            path: path.map(str::to_owned),
        }));
    }
    found
}

fn invalid_statement(error: &StatementError) -> Finding {
    let detail = format!("The attestation is not accepted: {error}.");
    let remedy = "remove the attestation, or have its issuer make it anew";
    Finding::new(error.code(), Severity::Medium, detail, remedy)
}

fn invalid_predicate(error: &PredicateError) -> Finding {
    let detail = format!("The attestation is not accepted: {error}.");
    let remedy = "have its issuer state what the type of the predicate requires";
    Finding::new(error.code(), Severity::Medium, detail, remedy)
}

fn subject_mismatch(subjects: &[ResourceDescriptor]) -> Finding {
    let names: Vec<String> = subjects.iter().map(ResourceDescriptor::label).collect();
    let detail =
        format!("The attestation speaks of {}, and nothing of that is in this revision.", listed(&names, MAX_LISTED));
    let remedy = "attach it to the revision that it speaks of";
    Finding::new("ATTESTATION_SUBJECT_MISMATCH", Severity::Medium, detail, remedy)
}

fn without_digest(names: &[String]) -> Finding {
    let detail = format!("The attestation names a model without a SHA-256 digest: {}.", listed(names, MAX_LISTED));
    let remedy = "have its issuer name the model by the SHA-256 of its content or of a weight file";
    Finding::new("ATTESTATION_BASE_WITHOUT_DIGEST", Severity::Low, detail, remedy)
}

fn without_relation(names: &[String]) -> Finding {
    let detail = format!("The attestation names a base model, and not how it was used: {}.", listed(names, MAX_LISTED));
    let remedy = "have its issuer use a known build type, or annotate the model with `urn:weighhouse:relation`";
    Finding::new("ATTESTATION_BASE_WITHOUT_RELATION", Severity::Info, detail, remedy)
}
