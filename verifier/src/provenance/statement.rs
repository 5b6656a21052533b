//! in-toto statements: what somebody signs about a revision.
//!
//! A statement binds a predicate to artifacts by their digests. The types are our own because
//! statements arrive from anyone: they are bounded before they are read, no key may stand twice,
//! and what a published crate fixes as one predicate's schema changes between its releases.
//! Fields that are not known here are ignored, as the framework demands.
//!
//! After the in-toto Attestation Framework, Statement v1 and ResourceDescriptor v1.

mod build;
mod gate;
mod json;
mod license_review;
mod predicate;
mod probe;
mod schema;
mod sign;
mod slsa;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use build::{BuildError, Revision, resource_uri};
pub use gate::{GateDecision, gate_decision};
pub(super) use json::{JsonError, parse as parse_json};
pub use license_review::{LicenseReview, ReviewerId, license_review};
pub use predicate::{PredicateError, PredicateType};
pub use probe::{ProbeRun, probe_result};
pub use sign::{SignStatementError, sign};
pub use slsa::{BuildType, Materials, materials};

/// Largest statement that is read, in bytes.
pub const MAX_STATEMENT_BYTES: usize = 4 * 1024 * 1024;
/// Most subjects of one statement.
pub const MAX_SUBJECTS: usize = 10_000;

/// The `_type` of statements that are made here.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// cosign writes this one; it differs in nothing that is read here.
const STATEMENT_TYPE_V0_1: &str = "https://in-toto.io/Statement/v0.1";
/// Longest URI of a predicate type, in bytes.
const MAX_TYPE_BYTES: usize = 1024;
/// Longest value of a digest whose algorithm is not known here, in bytes.
const MAX_DIGEST_BYTES: usize = 1024;

/// Why a text is not a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    #[error("the statement exceeds {MAX_STATEMENT_BYTES} bytes")]
    TooLarge,
    #[error("the statement is not JSON: {0}")]
    InvalidJson(String),
    #[error("the statement gives the key `{0}` twice in one object")]
    DuplicateKey(String),
    #[error("the JSON is not an in-toto statement: {0}")]
    NotAStatement(String),
    #[error("the statement has the type `{0}` instead of in-toto's Statement v1")]
    StatementType(String),
    #[error("the predicate type `{0}` is not a URI")]
    PredicateType(String),
    #[error("the statement has no subject")]
    NoSubject,
    #[error("the statement has {0} subjects, more than {MAX_SUBJECTS}")]
    TooManySubjects(usize),
    #[error("the subject `{0}` has no digest")]
    SubjectWithoutDigest(String),
    #[error("the {algorithm} digest of `{name}` is not lower-case hex of its length")]
    InvalidDigest { name: String, algorithm: String },
}

impl StatementError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "ATTESTATION_TOO_LARGE",
            Self::InvalidJson(_) => "ATTESTATION_INVALID_JSON",
            Self::DuplicateKey(_) => "ATTESTATION_DUPLICATE_KEY",
            Self::NotAStatement(_) => "ATTESTATION_INVALID_STATEMENT",
            Self::StatementType(_) => "ATTESTATION_STATEMENT_TYPE",
            Self::PredicateType(_) => "ATTESTATION_PREDICATE_TYPE",
            Self::NoSubject => "ATTESTATION_NO_SUBJECT",
            Self::TooManySubjects(_) => "ATTESTATION_TOO_MANY_SUBJECTS",
            Self::SubjectWithoutDigest(_) => "ATTESTATION_SUBJECT_WITHOUT_DIGEST",
            Self::InvalidDigest { .. } => "ATTESTATION_INVALID_DIGEST",
        }
    }
}

impl From<JsonError> for StatementError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax(reason) => Self::InvalidJson(reason),
            JsonError::DuplicateKey(key) => Self::DuplicateKey(key),
        }
    }
}

/// An in-toto statement.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    type_uri: &'static str,
    subject: Vec<ResourceDescriptor>,
    predicate_type: String,
    predicate: Value,
}

/// An artifact, as in-toto describes one. Fields that nothing here reads are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescriptor {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Digests by the name of their algorithm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub digest: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_empty")]
    pub annotations: Map<String, Value>,
}

impl ResourceDescriptor {
    /// An artifact by its name and SHA-256.
    pub fn sha256(name: impl Into<String>, sha256: &str) -> Self {
        let digest = BTreeMap::from([("sha256".to_owned(), sha256.to_owned())]);
        Self { name: Some(name.into()), digest, ..Self::default() }
    }

    #[must_use]
    pub fn at(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// What to call it in a sentence.
    pub fn label(&self) -> String {
        let text = self.name.as_deref().or(self.uri.as_deref()).unwrap_or("unnamed");
        shorten(text)
    }

    /// Holds the digests against the form of their algorithms.
    fn check_digests(&self) -> Result<(), StatementError> {
        match self.digest.iter().find(|(algorithm, value)| !is_digest(algorithm, value)) {
            Some((algorithm, _)) => {
                Err(StatementError::InvalidDigest { name: self.label(), algorithm: shorten(algorithm) })
            }
            None => Ok(()),
        }
    }
}

impl Statement {
    fn new(subject: Vec<ResourceDescriptor>, predicate_type: &str, predicate: Value) -> Result<Self, StatementError> {
        let predicate_type = predicate_type.to_owned();
        let statement = Self { type_uri: STATEMENT_TYPE, subject, predicate_type, predicate };
        statement.check()?;
        Ok(statement)
    }

    /// Reads a statement from the payload of a signed envelope.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        if payload.len() > MAX_STATEMENT_BYTES {
            return Err(StatementError::TooLarge);
        }
        let value = json::parse(payload)?;
        let document: Document = serde_json::from_value(value)
            .map_err(|error| StatementError::NotAStatement(shorten(&error.to_string())))?;
        if ![STATEMENT_TYPE, STATEMENT_TYPE_V0_1].contains(&document.statement_type.as_str()) {
            return Err(StatementError::StatementType(shorten(&document.statement_type)));
        }
        let predicate = Value::Object(document.predicate);
        Self::new(document.subject, &document.predicate_type, predicate)
    }

    /// What it speaks of, by digest.
    pub fn subjects(&self) -> &[ResourceDescriptor] {
        &self.subject
    }

    /// URI that says what the predicate means.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// What it says: an object.
    pub const fn predicate(&self) -> &Value {
        &self.predicate
    }

    /// The bytes to sign.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::json!(self).to_string().into_bytes()
    }

    fn check(&self) -> Result<(), StatementError> {
        if !is_uri(&self.predicate_type) || self.predicate_type.len() > MAX_TYPE_BYTES {
            return Err(StatementError::PredicateType(shorten(&self.predicate_type)));
        }
        match self.subject.len() {
            0 => return Err(StatementError::NoSubject),
            count if count > MAX_SUBJECTS => return Err(StatementError::TooManySubjects(count)),
            _ => {}
        }
        self.subject.iter().try_for_each(|subject| {
            if subject.digest.is_empty() {
                return Err(StatementError::SubjectWithoutDigest(subject.label()));
            }
            subject.check_digests()
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "_type")]
    statement_type: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    subject: Vec<ResourceDescriptor>,
    predicate_type: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    predicate: Map<String, Value>,
}

/// Protobuf's JSON may write a field that is not set as null.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a digest has the form that its algorithm gives it (in-toto, DigestSet).
fn is_digest(algorithm: &str, value: &str) -> bool {
    let lengths: &[usize] = match algorithm {
        "sha256" | "sha512_256" | "sha3_256" | "blake2s" => &[64],
        "sha512" | "sha3_512" | "blake2b" => &[128],
        "sha384" | "sha3_384" => &[96],
        "sha224" | "sha512_224" | "sha3_224" => &[56],
        "sha1" => &[40],
        "md5" => &[32],
        "gitCommit" | "gitTree" | "gitBlob" | "gitTag" => &[40, 64],
        _ => return is_foreign_digest(algorithm, value),
    };
    lengths.contains(&value.len()) && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_foreign_digest(algorithm: &str, value: &str) -> bool {
    let is_text = |text: &str, longest| !text.is_empty() && text.len() <= longest && !text.contains(char::is_control);
    is_text(algorithm, 64) && is_text(value, MAX_DIGEST_BYTES)
}

fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The start of a text that somebody else wrote, for a sentence.
fn shorten(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(100).collect()
}
