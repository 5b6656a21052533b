//! What an attestation must say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::assess::Context;
use super::document::{Requirement, VERIFICATION_SUMMARY};
use crate::evidence::AttestationFacts;

/// Asks that the time at `expires` has not come.
const NOT_EXPIRED: &str = "not_expired";
const EXPIRES: &str = "expires";
const BUILDER: &str = "runDetails.builder.id";
/// Most conditions of one requirement.
const MAX_CONDITIONS: usize = 100;

/// Why a statement is not what a requirement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unmet {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// Refuses conditions that could never be met, or always.
pub(super) fn check(conditions: &BTreeMap<String, Value>) -> Result<(), String> {
    if conditions.len() > MAX_CONDITIONS {
        return Err(format!("it has more than {MAX_CONDITIONS} conditions"));
    }
    for (path, wanted) in conditions {
        let is_scalar = |value: &Value| matches!(value, Value::String(_) | Value::Bool(_) | Value::Number(_));
        let valid = match wanted {
            Value::Bool(true) if path == NOT_EXPIRED => true,
            _ if path == NOT_EXPIRED => false,
            Value::Array(values) => !values.is_empty() && values.iter().all(is_scalar),
            value => is_scalar(value),
        };
        if !valid {
            return Err(format!("the condition {path} is a value or a list of values; `{NOT_EXPIRED}` is only `true`"));
        }
    }
    Ok(())
}

/// Holds an attestation against the requirement. When it is met, gives the time at which it ends
/// to be.
pub(super) fn judge(
    requirement: &Requirement,
    attestation: &AttestationFacts,
    context: &Context<'_>,
) -> Result<Option<Timestamp>, Unmet> {
    let predicate = &attestation.predicate;
    if predicate.is_null() {
        let detail = "Its predicate is too large to be asked about.".to_owned();
        return Err(Unmet { code: "PREDICATE_TOO_LARGE", detail });
    }
    if attestation.predicate_type == VERIFICATION_SUMMARY {
        // A summary counts for what it was made for, and only when it passed.
        equals(predicate, "verificationResult", &Value::from("PASSED"))?;
        equals(predicate, "resourceUri", &Value::from(context.resource))?;
    }
    if let Some(pattern) = &requirement.builder {
        let builder = at(predicate, BUILDER).and_then(Value::as_str).unwrap_or_default();
        if !pattern.matches(builder) {
            return Err(Unmet { code: "BUILDER_NOT_ALLOWED", detail: format!("It was built by {}.", shown(builder)) });
        }
    }
    let mut ends = None;
    for (path, wanted) in &requirement.r#where {
        if path == NOT_EXPIRED {
            ends = not_expired(predicate, context.now)?;
        } else {
            equals(predicate, path, wanted)?;
        }
    }
    Ok(ends)
}

fn not_expired(predicate: &Value, now: Timestamp) -> Result<Option<Timestamp>, Unmet> {
    let Some(expires) = at(predicate, EXPIRES).filter(|value| !value.is_null()) else { return Ok(None) };
    let end = expires.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let unmet = |detail| Unmet { code: "ATTESTATION_EXPIRED", detail };
    let end = end.ok_or_else(|| unmet("Its `expires` is no time.".to_owned()))?;
    if end <= now { Err(unmet(format!("It expired at {end}."))) } else { Ok(Some(end)) }
}

fn equals(predicate: &Value, path: &str, wanted: &Value) -> Result<(), Unmet> {
    let found = at(predicate, path);
    let fits = match wanted {
        Value::Array(values) => found.is_some_and(|found| values.contains(found)),
        value => found == Some(value),
    };
    if fits {
        return Ok(());
    }
    let found = found.map_or_else(|| "nothing".to_owned(), |found| shown(&found.to_string()));
    Err(Unmet { code: "PREDICATE_CONDITION", detail: format!("It says {found} at {path}, not {wanted}.") })
}

/// The value at a dotted path of names.
fn at<'v>(predicate: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(predicate, |value, name| value.get(name))
}

fn shown(text: &str) -> String {
    if text.is_empty() { "nobody".to_owned() } else { text.chars().take(200).collect() }
}
