//! The fields that each known predicate must have, in the words of its specification.

#![expect(dead_code, reason = "most fields only have to be there in their form")]

use std::collections::BTreeMap;

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{ResourceDescriptor, is_uri, shorten};

/// A text that is a URI.
struct Uri;

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_uri(&text) { Ok(Self) } else { Err(D::Error::custom(format_args!("`{}` is not a URI", shorten(&text)))) }
    }
}

/// A text that is an RFC 3339 time.
struct Time;

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<jiff::Timestamp>() {
            Ok(_) => Ok(Self),
            Err(_) => Err(D::Error::custom(format_args!("`{}` is not an RFC 3339 time", shorten(&text)))),
        }
    }
}

/// A resource whose digests have the form of their algorithms.
#[derive(Debug)]
pub(super) struct Resource(pub(super) ResourceDescriptor);

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let descriptor = ResourceDescriptor::deserialize(deserializer)?;
        descriptor.check_digests().map_err(D::Error::custom)?;
        Ok(Self(descriptor))
    }
}

/// SLSA Provenance v1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provenance {
    pub(super) build_definition: BuildDefinition,
    pub(super) run_details: RunDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildDefinition {
    pub(super) build_type: String,
    pub(super) external_parameters: Map<String, Value>,
    pub(super) resolved_dependencies: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
pub(super) struct RunDetails {
    pub(super) builder: Builder,
}

#[derive(Deserialize)]
pub(super) struct Builder {
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) enum TestOutcome {
    #[serde(rename = "PASSED")]
    Passed,
    #[serde(rename = "WARNED")]
    Warned,
    #[serde(rename = "FAILED")]
    Failed,
}

/// in-toto, Test Result v0.1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestResult {
    result: TestOutcome,
    configuration: Vec<Resource>,
    passed_tests: Option<Vec<String>>,
    warned_tests: Option<Vec<String>>,
    failed_tests: Option<Vec<String>>,
}

/// in-toto, Vulnerabilities v0.2.
#[derive(Deserialize)]
pub(super) struct Vulnerabilities {
    scanner: Scanner,
    metadata: ScanMetadata,
}

#[derive(Deserialize)]
struct Scanner {
    uri: Uri,
    db: Database,
    result: Vec<Vulnerability>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Database {
    last_update: Time,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    severity: Vec<Severity>,
}

#[derive(Deserialize)]
struct Severity {
    method: String,
    score: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScanMetadata {
    scan_started_on: Time,
    scan_finished_on: Time,
}

/// The two fields by which an SPDX 2 document names itself.
#[derive(Deserialize)]
pub(super) struct Spdx2 {
    #[serde(rename = "spdxVersion", deserialize_with = "version_2")]
    version: (),
    #[serde(rename = "SPDXID")]
    id: String,
}

fn version_2<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    let version = String::deserialize(deserializer)?;
    if version.starts_with("SPDX-2.") { Ok(()) } else { Err(D::Error::custom("spdxVersion is not that of SPDX 2")) }
}

/// The two members of an SPDX 3 document in JSON-LD.
#[derive(Deserialize)]
pub(super) struct Spdx3 {
    #[serde(rename = "@context")]
    context: IgnoredAny,
    #[serde(rename = "@graph")]
    graph: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) enum Verdict {
    #[serde(rename = "PASSED")]
    Passed,
    #[serde(rename = "FAILED")]
    Failed,
}

#[derive(Deserialize)]
struct Identified {
    id: Uri,
}

#[derive(Deserialize)]
struct AppliedPolicy {
    uri: Uri,
    digest: Option<BTreeMap<String, String>>,
}

/// SLSA, Verification Summary v1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerificationSummary {
    verifier: Identified,
    time_verified: Option<Time>,
    resource_uri: Uri,
    policy: AppliedPolicy,
    input_attestations: Option<Vec<Resource>>,
    verification_result: Verdict,
    verified_levels: Vec<String>,
}

#[derive(Deserialize)]
struct PolicyVerifier {
    id: Uri,
    policies: Vec<Resource>,
}

/// in-toto, Simple Verification Result v0.2.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SimpleVerificationResult {
    verifier: PolicyVerifier,
    time_created: Time,
    properties: Vec<String>,
}

/// in-toto, SCAI v0.3.
#[derive(Deserialize)]
pub(super) struct AttributeReport {
    #[serde(deserialize_with = "some")]
    attributes: Vec<Attribute>,
    producer: Option<Resource>,
}

#[derive(Deserialize)]
struct Attribute {
    #[serde(rename = "attribute")]
    name: String,
    target: Option<Resource>,
    conditions: Option<Map<String, Value>>,
    evidence: Option<Resource>,
}

fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Attribute>, D::Error> {
    let attributes = Vec::deserialize(deserializer)?;
    if attributes.is_empty() { Err(D::Error::custom("the list of attributes is empty")) } else { Ok(attributes) }
}

/// in-toto, Reference v0.1.
#[derive(Deserialize)]
pub(super) struct Reference {
    attester: Identified,
    references: Vec<Resource>,
}

#[derive(Deserialize)]
pub(super) enum ReviewDecision {
    #[serde(rename = "APPROVED")]
    Approved,
}

#[derive(Deserialize)]
pub(super) struct Reviewer {
    id: String,
}

/// A license review (`urn:weighhouse:predicate:license-review:v1`). There is no decision but
/// approval: a denial that somebody could leave out would be no denial.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseReview {
    reviewer: Reviewer,
    reviewed_on: Time,
    decision: ReviewDecision,
    concluded: String,
    conditions: Option<Vec<String>>,
    expires: Option<Time>,
    evidence: Option<Vec<Resource>>,
}
