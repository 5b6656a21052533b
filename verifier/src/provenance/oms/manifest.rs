//! The signed statement inside an OMS bundle: which files, with which digests.
//!
//! Whatever another reader could take for something else is refused: a name given twice, a
//! path that leaves the model, digests of several kinds.

use std::collections::BTreeSet;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::error::OmsError;

pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
pub(super) const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// The predicate of signatures before v1.0, whose payload encoding had a mistake as well.
const PREDICATE_TYPE_V02: &str = "https://model_signing/Digests/v0.1";

/// One signed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// Normalized to NFC, as paths in a revision are.
    pub(super) path: String,
    /// Hex SHA-256.
    pub(super) sha256: String,
}

/// What was signed.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) resources: Vec<Resource>,
    /// Paths the signer left out, with everything below them.
    pub(super) ignore_paths: Vec<String>,
}

impl Manifest {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, OmsError> {
        let envelope: StatementType = parse_json(payload)?;
        check_types(&envelope)?;
        let statement: Statement = parse_json(payload)?;
        let [subject] = statement.subject.as_slice() else {
            return Err(OmsError::SubjectCount(statement.subject.len()));
        };
        let predicate = statement.predicate;
        let serialization = &predicate.serialization;
        if predicate.resources.is_empty() {
            return Err(OmsError::EmptyManifest);
        }
        let shard_size = serialization.shard_size()?;
        for resource in &predicate.resources {
            check_algorithm(resource, &serialization.hash_type, shard_size)?;
        }
        check_root_digest(&predicate.resources, subject)?;
        serialization.check_supported()?;
        Ok(Self {
            resources: normalize(predicate.resources, subject)?,
            ignore_paths: predicate.serialization.ignore_paths,
        })
    }

    /// Whether the signer left `path` out on purpose.
    pub(super) fn ignores(&self, path: &str) -> bool {
        self.ignore_paths.iter().any(|ignored| {
            path.strip_prefix(ignored.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

fn parse_json<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, OmsError> {
    serde_json::from_slice(payload).map_err(|error| OmsError::InvalidStatement(error.to_string()))
}

fn check_types(statement: &StatementType) -> Result<(), OmsError> {
    if statement.predicate_type == PREDICATE_TYPE_V02 {
        return Err(OmsError::Version02);
    }
    if statement.statement_type != STATEMENT_TYPE {
        return Err(OmsError::InvalidStatement(format!("it is not of type {STATEMENT_TYPE}")));
    }
    if statement.predicate_type != PREDICATE_TYPE {
        return Err(OmsError::WrongPredicate(statement.predicate_type.chars().take(100).collect()));
    }
    Ok(())
}

/// One algorithm for all resources; sharded ones may repeat the shard size in its name.
fn check_algorithm(resource: &ResourceDocument, hash_type: &str, shard_size: Option<u64>) -> Result<(), OmsError> {
    let sharded = shard_size.map(|size| format!("{hash_type}-sharded-{size}"));
    if resource.algorithm == hash_type || Some(&resource.algorithm) == sharded.as_ref() {
        Ok(())
    } else {
        Err(OmsError::MixedAlgorithms(shorten(&resource.name)))
    }
}

/// SHA-256 over the raw digests in the listed order, whatever that order is: the specification
/// and the reference implementation disagree on it.
fn check_root_digest(resources: &[ResourceDocument], subject: &Subject) -> Result<(), OmsError> {
    let mut hasher = Sha256::new();
    for resource in resources {
        let is_lower_hex = resource.digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let digest = hex::decode(&resource.digest).ok().filter(|digest| is_lower_hex && digest.len() >= 32);
        hasher.update(digest.ok_or_else(|| OmsError::InvalidDigest(shorten(&resource.name)))?);
    }
    if subject.digest.sha256 == hex::encode(hasher.finalize()) { Ok(()) } else { Err(OmsError::RootDigestMismatch) }
}

fn normalize(resources: Vec<ResourceDocument>, subject: &Subject) -> Result<Vec<Resource>, OmsError> {
    // A model of one file is named `.` by the reference implementation; its subject has the name.
    let is_single = resources.len() == 1 && resources[0].name == ".";
    let mut seen = BTreeSet::new();
    let mut normalized = Vec::with_capacity(resources.len());
    for resource in resources {
        let name = if is_single { &subject.name } else { &resource.name };
        let path: String = name.nfc().collect();
        if !is_inside(&path) {
            return Err(OmsError::InvalidPath(shorten(name)));
        }
        if resource.digest.len() != 64 {
            return Err(OmsError::InvalidDigest(shorten(name)));
        }
        if !seen.insert(path.clone()) {
            return Err(OmsError::DuplicatePath(shorten(name)));
        }
        normalized.push(Resource { path, sha256: resource.digest });
    }
    Ok(normalized)
}

/// A relative path without empty, `.` or `..` steps.
fn is_inside(path: &str) -> bool {
    !path.contains(['\0', '\\']) && path.split('/').all(|step| !matches!(step, "" | "." | ".."))
}

/// A name from a bundle, bounded and printable.
fn shorten(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}

#[derive(Deserialize)]
struct StatementType {
    #[serde(rename = "_type", default)]
    statement_type: String,
    #[serde(rename = "predicateType", default)]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Deserialize)]
struct Predicate {
    resources: Vec<ResourceDocument>,
    serialization: Serialization,
}

#[derive(Deserialize)]
struct ResourceDocument {
    name: String,
    algorithm: String,
    digest: String,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    /// Released signers wrote it as a floating-point number.
    #[serde(default)]
    shard_size: Option<f64>,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

impl Serialization {
    /// The shard size of the method `shards`; none for `files`.
    fn shard_size(&self) -> Result<Option<u64>, OmsError> {
        match (self.method.as_str(), self.shard_size) {
            ("files", _) => Ok(None),
            ("shards", Some(size)) => integral(size).map(Some).ok_or(OmsError::InvalidShardSize),
            ("shards", None) => Err(OmsError::InvalidShardSize),
            (method, _) => {
                let method: String = method.chars().take(50).collect();
                Err(OmsError::InvalidStatement(format!("the serialization method `{method}` is unknown")))
            }
        }
    }

    /// Stored digests are SHA-256 of whole files; nothing else can be compared with them.
    fn check_supported(&self) -> Result<(), OmsError> {
        if self.method == "shards" {
            return Err(OmsError::UnsupportedShards);
        }
        if self.hash_type != "sha256" {
            return Err(OmsError::UnsupportedHash(self.hash_type.chars().take(50).collect()));
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn integral(size: f64) -> Option<u64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    (size.fract() == 0.0 && (1.0..=LIMIT).contains(&size)).then_some(size as u64)
}
