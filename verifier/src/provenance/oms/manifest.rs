//! The signed statement inside an OMS bundle: which files, with which digests.
//!
//! Whatever another reader could take for something else is refused: a name given twice, a
//! path that leaves the model, digests of several kinds.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::error::OmsError;
use crate::provenance::digests::{DigestScheme, HashAlgorithm};

pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What the statement of a model signature states.
pub(super) const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// The predicate of signatures before v1.0, whose payload encoding had a mistake as well.
const PREDICATE_TYPE_V02: &str = "https://model_signing/Digests/v0.1";
/// Statements whose predicate is a list of files.
pub(in crate::provenance) const PREDICATE_TYPES: [&str; 2] = [PREDICATE_TYPE, PREDICATE_TYPE_V02];

/// One signed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// Hex: one for the whole file, or one for each of its parts in order.
    pub(super) digests: Vec<String>,
    /// Bytes, where the manifest gives parts.
    pub(super) size: Option<u64>,
}

/// What was signed.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) scheme: DigestScheme,
    /// By path, normalized to NFC as paths in a revision are.
    pub(super) resources: BTreeMap<String, Resource>,
    /// Paths the signer left out, with everything below them.
    ignore_paths: Vec<String>,
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
        let scheme = DigestScheme { algorithm: serialization.algorithm()?, shard_size };
        let resources = Resources::collect(predicate.resources, subject, scheme)?;
        Ok(Self { scheme, resources, ignore_paths: predicate.serialization.ignore_paths })
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

/// The resources of a manifest by path, as they are collected.
struct Resources {
    scheme: DigestScheme,
    /// By path and by where the part starts; the whole file starts at 0.
    parts: BTreeMap<String, BTreeMap<u64, Part>>,
}

struct Part {
    end: Option<u64>,
    digest: String,
}

impl Resources {
    fn collect(
        documents: Vec<ResourceDocument>,
        subject: &Subject,
        scheme: DigestScheme,
    ) -> Result<BTreeMap<String, Resource>, OmsError> {
        let mut resources = Self { scheme, parts: BTreeMap::new() };
        for document in documents {
            resources.add(document, subject)?;
        }
        // A model of one file is named `.` by the reference implementation; its subject has the name.
        if resources.parts.len() > 1 && resources.parts.contains_key(".") {
            return Err(OmsError::InvalidPath(".".to_owned()));
        }
        resources.finish(subject)
    }

    fn add(&mut self, document: ResourceDocument, subject: &Subject) -> Result<(), OmsError> {
        let (name, start, end) = match self.scheme.shard_size {
            None => (document.name.as_str(), 0, None),
            Some(_) => split_shard(&document.name).ok_or_else(|| OmsError::InvalidShards(shorten(&document.name)))?,
        };
        let path: String = name.nfc().collect();
        let is_subject = path == "." && is_inside(&subject.name);
        if !is_subject && !is_inside(&path) {
            return Err(OmsError::InvalidPath(shorten(name)));
        }
        if document.digest.len() != self.scheme.algorithm.hex_length() {
            return Err(OmsError::InvalidDigest(shorten(name)));
        }
        let part = Part { end, digest: document.digest };
        if self.parts.entry(path).or_default().insert(start, part).is_some() {
            return Err(OmsError::DuplicatePath(shorten(&document.name)));
        }
        Ok(())
    }

    fn finish(self, subject: &Subject) -> Result<BTreeMap<String, Resource>, OmsError> {
        let mut resources = BTreeMap::new();
        for (path, parts) in self.parts {
            let resource = match self.scheme.shard_size {
                Some(shard_size) => join(&parts, shard_size).ok_or_else(|| OmsError::InvalidShards(shorten(&path)))?,
                None => Resource { digests: parts.into_values().map(|part| part.digest).collect(), size: None },
            };
            let path = if path == "." { subject.name.nfc().collect() } else { path };
            resources.insert(path, resource);
        }
        Ok(resources)
    }
}

/// The path and range of a part's name, `path:start:end`.
fn split_shard(name: &str) -> Option<(&str, u64, Option<u64>)> {
    let (rest, end) = name.rsplit_once(':')?;
    let (path, start) = rest.rsplit_once(':')?;
    Some((path, decimal(start)?, Some(decimal(end)?)))
}

/// A number as it is written in one way only, so that no part can be named twice.
fn decimal(text: &str) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Parts that leave no byte of a file out, each but the last of the shard size.
fn join(parts: &BTreeMap<u64, Part>, shard_size: u64) -> Option<Resource> {
    let mut size = 0;
    let mut digests = Vec::with_capacity(parts.len());
    for (index, (start, part)) in parts.iter().enumerate() {
        let end = part.end?;
        let is_last = index + 1 == parts.len();
        let length = end.checked_sub(*start)?;
        if *start != size || length == 0 || length > shard_size || (length < shard_size && !is_last) {
            return None;
        }
        size = end;
        digests.push(part.digest.clone());
    }
    Some(Resource { digests, size: Some(size) })
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

    fn algorithm(&self) -> Result<HashAlgorithm, OmsError> {
        let known = HashAlgorithm::from_name(&self.hash_type);
        known.ok_or_else(|| OmsError::UnsupportedHash(self.hash_type.chars().take(50).collect()))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn integral(size: f64) -> Option<u64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    (size.fract() == 0.0 && (1.0..=LIMIT).contains(&size)).then_some(size as u64)
}
