//! Evaluating a policy, and what the engine adds that no policy text can take away.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::data::{EnvironmentData, PolicyData};
use super::input::{PolicyInput, Waiver};
use super::{PolicyError, Use};
use crate::evidence::{Stage, Status};

/// Largest Rego text or data document, in bytes.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Most reasons taken from one set.
const MAX_REASONS: usize = 200;
const TIME_LIMIT: Duration = Duration::from_millis(250);
/// Work units between looks at the clock.
const TIMER_INTERVAL: NonZeroU32 = NonZeroU32::new(256).unwrap();
const PACKAGE: &str = "data.weighhouse.gate";

/// Why something is denied or deserves attention.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// Stable name in UPPER_SNAKE.
    pub code: String,
    /// One sentence for a person.
    pub msg: String,
    /// The evidence it rests on, such as `probe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

/// A denial that does not count, and what lifted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waived {
    pub reason: Reason,
    /// The waiver's id, or `policy-exception`.
    pub by: String,
}

/// One change that would remove a denial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suggestion {
    /// The denial it removes.
    pub code: String,
    pub change: String,
    /// Whether this change alone would make the gate allow.
    pub sufficient: bool,
}

/// What an evaluation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    pub allowed: bool,
    /// Denials that count.
    pub reasons: Vec<Reason>,
    pub warnings: Vec<Reason>,
    pub waived: Vec<Waived>,
    /// What would have to change; all of it together is always enough.
    pub would_pass_if: Vec<Suggestion>,
}

/// A compiled policy. Compiled once and cloned per evaluation.
#[derive(Clone)]
pub struct Policy {
    engine: regorus::Engine,
    data: PolicyData,
    rego: String,
    data_text: String,
    digest: String,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("name", &self.data.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Policy {
    /// The policy that ships with Weighhouse.
    pub fn standard() -> Result<Self, PolicyError> {
        Self::compile(include_str!("standard.rego"), include_str!("standard.json"))
    }

    /// Compiles a Rego text with its data document.
    pub fn compile(rego: &str, data_text: &str) -> Result<Self, PolicyError> {
        if rego.len() > MAX_SOURCE_BYTES || data_text.len() > MAX_SOURCE_BYTES {
            return Err(PolicyError::TooLarge(MAX_SOURCE_BYTES));
        }
        let data: PolicyData = serde_json::from_str(data_text).map_err(|error| PolicyError::Data(error.to_string()))?;
        check_uses(&data)?;
        let rego_error = |error: anyhow::Error| PolicyError::Rego(error.to_string());
        let mut engine = regorus::Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: TIME_LIMIT, check_interval: TIMER_INTERVAL });
        let package = engine.add_policy("policy.rego".into(), rego.into()).map_err(rego_error)?;
        if package != PACKAGE {
            return Err(PolicyError::Package);
        }
        engine.add_data_json(data_text).map_err(|error| PolicyError::Data(error.to_string()))?;
        let digest = source_digest(rego, data_text);
        Ok(Self { engine, data, rego: rego.into(), data_text: data_text.into(), digest })
    }

    pub fn name(&self) -> &str {
        &self.data.name
    }

    /// Hex SHA-256 over both texts.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn rego(&self) -> &str {
        &self.rego
    }

    pub fn data_text(&self) -> &str {
        &self.data_text
    }

    pub const fn environments(&self) -> &BTreeMap<String, EnvironmentData> {
        &self.data.environments
    }

    /// An environment by name.
    pub fn environment(&self, name: &str) -> Result<&EnvironmentData, PolicyError> {
        self.data.environments.get(name).ok_or_else(|| PolicyError::UnknownEnvironment {
            name: name.to_owned(),
            known: self.data.environments.keys().cloned().collect(),
        })
    }

    /// Judges `input`. `now` (RFC 3339) is given to the rules as `input.now`.
    pub fn evaluate(&self, input: &PolicyInput, now: &str) -> Result<Outcome, PolicyError> {
        let environment = self.environment(&input.environment)?;
        let mut denials = required_evidence(environment, input);
        let mut warnings = BTreeSet::new();
        let mut exceptions = BTreeSet::new();
        match self.run(input, now) {
            Ok(sets) => {
                denials.extend(sets.deny);
                warnings.extend(sets.warn);
                // An exception lifts what the policy itself denies, never what the engine requires.
                exceptions.extend(sets.exception.into_iter().filter(|code| !code.starts_with("EVIDENCE_")));
            }
            Err(message) => {
                denials.insert(policy_error(&message));
            }
        }
        Ok(outcome(input, denials, warnings, &exceptions))
    }

    fn run(&self, input: &PolicyInput, now: &str) -> Result<Sets, String> {
        let mut document = serde_json::to_value(input).map_err(|error| error.to_string())?;
        document["now"] = now.into();
        let mut engine = self.engine.clone();
        engine.set_input_json(&document.to_string()).map_err(|error| error.to_string())?;
        Ok(Sets {
            deny: reasons(&mut engine, "deny")?,
            warn: reasons(&mut engine, "warn")?,
            exception: exception_codes(&mut engine)?,
        })
    }
}

struct Sets {
    deny: BTreeSet<Reason>,
    warn: BTreeSet<Reason>,
    exception: BTreeSet<String>,
}

/// Reads one set. A rule that is missing altogether is an error for `deny` only: a policy
/// that cannot deny anything is a mistake, one that never warns is not.
fn reasons(engine: &mut regorus::Engine, rule: &str) -> Result<BTreeSet<Reason>, String> {
    let Some(values) = eval_set(engine, rule)? else {
        return if rule == "deny" { Err("it has no rule named deny".into()) } else { Ok(BTreeSet::new()) };
    };
    let parse =
        |value| serde_json::from_value(value).map_err(|error| format!("an entry of {rule} is not valid: {error}"));
    values.into_iter().map(parse).collect()
}

fn exception_codes(engine: &mut regorus::Engine) -> Result<BTreeSet<String>, String> {
    let code = |value: serde_json::Value| match value {
        serde_json::Value::String(code) => Ok(code),
        object => object["code"].as_str().map(str::to_owned).ok_or("an entry of exception has no code".to_owned()),
    };
    eval_set(engine, "exception")?.unwrap_or_default().into_iter().map(code).collect()
}

fn eval_set(engine: &mut regorus::Engine, rule: &str) -> Result<Option<Vec<serde_json::Value>>, String> {
    let path = format!("{PACKAGE}.{rule}");
    let value = match engine.eval_rule(path) {
        Ok(value) => value,
        Err(error) if error.to_string().contains("not a valid rule path") => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let json = value.to_json_str().map_err(|error| error.to_string())?;
    match serde_json::from_str(&json) {
        Ok(serde_json::Value::Array(values)) if values.len() <= MAX_REASONS => Ok(Some(values)),
        Ok(serde_json::Value::Array(_)) => Err(format!("{rule} has more than {MAX_REASONS} entries")),
        _ => Err(format!("{rule} is not a set")),
    }
}

fn required_evidence(environment: &EnvironmentData, input: &PolicyInput) -> BTreeSet<Reason> {
    let required = environment.required_evidence.iter();
    required.filter_map(|stage| missing_evidence(*stage, input.evidence.get(*stage).status)).collect()
}

fn missing_evidence(stage: Stage, status: Status) -> Option<Reason> {
    if status.satisfies_requirement() {
        return None;
    }
    let name = stage.as_str();
    let again = match stage {
        Stage::Probe => "Probe the revision again (weighhouse model probe)".to_owned(),
        _ => format!("Retry the stage {name}"),
    };
    let (word, remedy) = match status {
        Status::Pending | Status::Running => ("has not finished", "Wait until the pipeline has finished.".to_owned()),
        Status::Stale => ("ran longer ago than is allowed", format!("{again} to renew its evidence.")),
        Status::Failed => ("failed", format!("Read the findings of the stage {name} and push a corrected revision.")),
        Status::Unsupported => {
            ("does not support this model", "Use a supported format, or ask for a waiver.".to_owned())
        }
        Status::Inconclusive => {
            ("came to no conclusion", format!("Remove the cause that the report of {name} names. {again}."))
        }
        _ => ("left no evidence", format!("{again}; the list of dead jobs says why it stopped.")),
    };
    Some(Reason {
        code: format!("EVIDENCE_{}_{}", name.to_uppercase(), status.as_str().to_uppercase()),
        msg: format!("This environment requires the stage {name}, which {word}."),
        evidence: Some(name.to_owned()),
        remedy: Some(remedy),
        docs: None,
    })
}

fn policy_error(message: &str) -> Reason {
    Reason {
        code: "POLICY_ERROR".into(),
        msg: format!("The policy could not be evaluated, so nothing is allowed: {message}."),
        evidence: None,
        remedy: Some("An operator must correct the policy.".into()),
        docs: None,
    }
}

fn outcome(
    input: &PolicyInput,
    denials: BTreeSet<Reason>,
    warnings: BTreeSet<Reason>,
    exceptions: &BTreeSet<String>,
) -> Outcome {
    let mut reasons = Vec::new();
    let mut waived = Vec::new();
    for reason in denials {
        match lifted_by(input, &reason, exceptions) {
            Some(by) => waived.push(Waived { reason, by }),
            None => reasons.push(reason),
        }
    }
    let codes: BTreeSet<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
    let sufficient = codes.len() == 1;
    let would_pass_if = reasons.iter().map(|reason| suggestion(reason, sufficient)).collect();
    Outcome { allowed: reasons.is_empty(), would_pass_if, reasons, warnings: warnings.into_iter().collect(), waived }
}

fn lifted_by(input: &PolicyInput, reason: &Reason, exceptions: &BTreeSet<String>) -> Option<String> {
    if reason.code == "POLICY_ERROR" {
        return None;
    }
    let applies = |waiver: &&Waiver| {
        waiver.code == reason.code
            && waiver.environment == input.environment
            && waiver.content_digest.as_ref().is_none_or(|digest| *digest == input.content_digest)
    };
    let waiver = input.waivers.iter().find(applies).map(|waiver| waiver.id.clone());
    waiver.or_else(|| exceptions.contains(&reason.code).then(|| "policy-exception".to_owned()))
}

fn suggestion(reason: &Reason, sufficient: bool) -> Suggestion {
    let waive = || format!("A waiver for {} is approved.", reason.code);
    Suggestion { code: reason.code.clone(), change: reason.remedy.clone().unwrap_or_else(waive), sufficient }
}

fn check_uses(data: &PolicyData) -> Result<(), PolicyError> {
    let uses = data.environments.values().map(|environment| &environment.default_use);
    uses.into_iter().try_for_each(Use::check).map_err(|error| PolicyError::Data(error.to_string()))
}

fn source_digest(rego: &str, data_text: &str) -> String {
    let mut hasher = Sha256::new();
    for text in [rego, data_text] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hex::encode(hasher.finalize())
}
