//! What the gate decided, as a verification summary that other tools understand.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::build::digest;
use super::{BuildError, PredicateType, ResourceDescriptor, Revision, Statement};
use crate::policy::Use;

/// Name of the field that holds what the predicate has no field for.
const EXTENSION: &str = "urn:weighhouse:extension:gate:v1";
/// The one value of SLSA's own that is true: no level of a build was looked at.
const UNEVALUATED: &str = "SLSA_BUILD_LEVEL_UNEVALUATED";
const FAILED: &str = "FAILED";
/// The version of SLSA whose summary this is.
const SLSA_VERSION: &str = "1.2";
/// Longest name of a level, in bytes.
const MAX_LEVEL_BYTES: usize = 200;

/// A decision of the gate.
#[derive(Debug, Clone, Copy)]
pub struct GateDecision<'a> {
    pub revision: Revision<'a>,
    /// URI that tells which registry decided.
    pub verifier: &'a str,
    /// Version of the registry.
    pub verifier_version: &'a str,
    /// Id of the stored decision.
    pub decision: &'a str,
    pub allowed: bool,
    pub environment: &'a str,
    pub intended_use: &'a Use,
    pub policy_name: &'a str,
    /// Hex SHA-256.
    pub policy_digest: &'a str,
    /// Hex SHA-256 of everything that was decided from.
    pub input_digest: &'a str,
    /// All attestations that the decision rests on, by the digest of their bundle; none where it
    /// rests on anything else as well, because a list that is not empty has to be complete.
    pub input_attestations: &'a [ResourceDescriptor],
    /// What was found beside "allowed", such as `WEIGHHOUSE_LICENSE_CONCLUDED`.
    pub levels: &'a [String],
    /// Codes of the reasons for a denial.
    pub reasons: &'a [String],
    /// Codes of denials that waivers lifted.
    pub waived: &'a [String],
    /// RFC 3339.
    pub decided_at: &'a str,
    /// RFC 3339; none while nothing among the inputs expires.
    pub valid_until: Option<&'a str>,
}

/// A decision as a Verification Summary Attestation (SLSA, VSA v1).
///
/// A decision holds for one environment and use. Readers ignore fields that they do not know, so
/// both stand in the policy's URI and the environment in a level as well: the extension field
/// alone would let an allowance for one environment pass as one for all.
pub fn gate_decision(decision: &GateDecision<'_>) -> Result<Statement, BuildError> {
    let predicate = json!({
        "verifier": { "id": decision.verifier, "version": { "weighhouse": decision.verifier_version } },
        "timeVerified": checked_time(decision.decided_at)?,
        "resourceUri": decision.revision.uri(),
        "policy": { "uri": policy_uri(decision), "digest": digest(decision.policy_digest) },
        "inputAttestations": decision.input_attestations,
        "verificationResult": if decision.allowed { "PASSED" } else { FAILED },
        "verifiedLevels": verified_levels(decision)?,
        "slsaVersion": SLSA_VERSION,
        EXTENSION: extension(decision)?,
    });
    decision.revision.statement(PredicateType::VerificationSummary.uri(), predicate)
}

fn verified_levels(decision: &GateDecision<'_>) -> Result<Vec<String>, BuildError> {
    if !decision.allowed {
        return Ok(vec![FAILED.to_owned()]);
    }
    let mut levels = vec![UNEVALUATED.to_owned(), allowed_in(decision.environment)];
    for level in decision.levels {
        let is_form = level.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        let is_ours = is_form && !level.starts_with("SLSA_") && level != FAILED;
        if !is_ours || level.is_empty() || level.len() > MAX_LEVEL_BYTES {
            return Err(BuildError::InvalidLevel(level.chars().take(100).collect()));
        }
        levels.push(level.clone());
    }
    Ok(levels)
}

/// `WEIGHHOUSE_ALLOWED_IN_production` for `production`.
fn allowed_in(environment: &str) -> String {
    format!("WEIGHHOUSE_ALLOWED_IN_{}", percent_encoded(environment))
}

/// `urn:weighhouse:policy:NAME?environment=…&KEY=VALUE…`, the use's keys sorted.
fn policy_uri(decision: &GateDecision<'_>) -> String {
    let mut uri = format!(
        "urn:weighhouse:policy:{}?environment={}",
        percent_encoded(decision.policy_name),
        percent_encoded(decision.environment)
    );
    for (key, value) in &decision.intended_use.0 {
        uri.extend(["&", &percent_encoded(key), "=", &percent_encoded(&value.to_string())]);
    }
    uri
}

/// RFC 3986: everything but its unreserved characters is encoded.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn extension(decision: &GateDecision<'_>) -> Result<Value, BuildError> {
    let mut extension = json!({
        "decision": decision.decision,
        "environment": decision.environment,
        "use": decision.intended_use,
        "reasons": decision.reasons,
        "waived": decision.waived,
        "input": { "digest": digest(decision.input_digest) },
    });
    if let Some(end) = decision.valid_until {
        extension["validUntil"] = json!(checked_time(end)?);
    }
    Ok(extension)
}

fn checked_time(text: &str) -> Result<&str, BuildError> {
    let parsed: Result<Timestamp, _> = text.parse();
    parsed.map(|_| text).map_err(|_| BuildError::InvalidTime(text.chars().take(100).collect()))
}
