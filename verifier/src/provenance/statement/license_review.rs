//! That a person concluded which license applies. No published predicate says it.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::build::rfc3339;
use super::{BuildError, PredicateType, ResourceDescriptor, Revision, Statement};
use crate::license::record::{Body, Record};

/// How a statement names the person: it is signed and spreads, so a name in it cannot be taken
/// back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewerId<'a> {
    /// SHA-256 over this salt, a zero byte and the name, as the audit log does it: whoever is
    /// given the salt can tell that it was this person.
    Salted(&'a str),
    /// An id that means something to the registry alone.
    Opaque(&'a str),
    /// The name itself.
    Named,
}

impl ReviewerId<'_> {
    fn of(self, name: &str) -> String {
        match self {
            Self::Salted(salt) => {
                format!("urn:weighhouse:person:sha256:{}", hex::encode(Sha256::digest(format!("{salt}\0{name}"))))
            }
            Self::Opaque(id) => format!("urn:weighhouse:person:{id}"),
            Self::Named => name.to_owned(),
        }
    }
}

/// A conclusion that counts, and what it was made from.
#[derive(Debug, Clone, Copy)]
pub struct LicenseReview<'a> {
    pub revision: Revision<'a>,
    /// A record whose body is a conclusion.
    pub record: &'a Record,
    pub reviewer: ReviewerId<'a>,
    /// How many people stand behind it, its author counted.
    pub people: usize,
    /// The expression that the files declare.
    pub declared: Option<&'a str>,
    /// What the license asks for, by the codes of its obligations.
    pub conditions: &'a [String],
    /// What was read, by digest: license texts, the card, parents.
    pub evidence: &'a [ResourceDescriptor],
}

/// A concluded review (`urn:weighhouse:predicate:license-review:v1`).
///
/// The reason that the person wrote down stays out: it is free text, and may name people.
pub fn license_review(review: &LicenseReview<'_>) -> Result<Statement, BuildError> {
    let Body::Conclusion { expression, .. } = &review.record.body else {
        return Err(BuildError::NotAConclusion(review.record.body.kind()));
    };
    let mut predicate = json!({
        "reviewer": { "id": review.reviewer.of(&review.record.recorded_by) },
        "people": review.people,
        "reviewedOn": rfc3339(review.record.recorded_at)?,
        "decision": "APPROVED",
        "concluded": expression,
        "conditions": review.conditions,
        "evidence": review.evidence,
        "facts": { "digest": { "sha256": review.record.facts_digest } },
    });
    if let Some(declared) = review.declared {
        predicate["declared"] = json!(declared);
    }
    if let Some(end) = end(review.record) {
        predicate["expires"] = Value::String(rfc3339(end)?);
    }
    review.revision.statement(PredicateType::LicenseReview.uri(), predicate)
}

/// When the record stops to count.
fn end(record: &Record) -> Option<i64> {
    [record.expires_at, record.ended_at].into_iter().flatten().min()
}
