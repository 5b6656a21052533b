//! The input document: total, so that no rule can pass because a fact is absent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::evidence::{Stage, Status, WeightsAssessment};
use crate::license::propagation::{Assessment, IntendedUse};
use crate::license::record::Conclusion;
use crate::number::whole_number;
use crate::provenance::trust::TrustAssessment;

/// The model a decision is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyModel {
    pub namespace: String,
    pub name: String,
    /// `model` or `reference`.
    pub kind: String,
}

/// One stage's evidence as a policy sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceState {
    pub status: Status,
    /// The evidence document, or null when there is none.
    pub document: Value,
}

impl EvidenceState {
    /// No evidence, for the reason that `status` gives.
    pub const fn without_document(status: Status) -> Self {
        Self { status, document: Value::Null }
    }
}

/// Every kind of evidence is always present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceDocuments {
    pub inspect: EvidenceState,
    pub license: EvidenceState,
    pub provenance: EvidenceState,
    pub probe: EvidenceState,
}

impl EvidenceDocuments {
    pub const fn get(&self, stage: Stage) -> &EvidenceState {
        match stage {
            Stage::Inspect => &self.inspect,
            Stage::License => &self.license,
            Stage::Provenance => &self.provenance,
            Stage::Probe => &self.probe,
        }
    }
}

/// A dated, approved exception for one finding code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiver {
    pub id: String,
    pub code: String,
    pub environment: String,
    /// None for all revisions of the model.
    pub content_digest: Option<String>,
}

/// A published problem that names this content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Advisory {
    pub id: String,
    /// A recall also blocks.
    pub recall: bool,
    pub summary: String,
}

/// Everything a decision depends on, apart from the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyInput {
    pub schema_version: u32,
    pub model: PolicyModel,
    pub content_digest: String,
    pub environment: String,
    pub r#use: Use,
    pub evidence: EvidenceDocuments,
    /// The license that a person concluded, where a conclusion counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_conclusion: Option<Conclusion>,
    /// What follows from the licenses of everything the model was made from, for this use. Absent
    /// in documents of releases that did not judge it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_assessment: Option<Assessment>,
    /// What the trust policy says of signatures and attestations. Absent while the provenance has
    /// not been judged, and in documents of releases that knew no trust policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_assessment: Option<TrustAssessment>,
    /// What the weights say beside those of other models; absent until they were read, and where no
    /// other model shares any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_assessment: Option<WeightsAssessment>,
    pub waivers: Vec<Waiver>,
    pub advisories: Vec<Advisory>,
}

impl PolicyInput {
    /// Hex SHA-256 of the document. Field order is fixed and maps are sorted, so the same
    /// input always has the same digest; the present time is not part of it.
    pub fn digest(&self) -> Result<String, serde_json::Error> {
        Ok(hex::encode(Sha256::digest(serde_json::to_vec(self)?)))
    }
}

/// One fact about the intended use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum UseValue {
    Flag(bool),
    Number(#[serde(deserialize_with = "whole_number")] u64),
    Text(String),
}

impl fmt::Display for UseValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// The intended use: only keys that a rule can rely on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Use(pub BTreeMap<String, UseValue>);

/// A use that cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    #[error("{0:?} is not a key of a use; known keys are {known}", known = KEYS.map(|(key, _)| key).join(", "))]
    UnknownKey(String),
    #[error("the value of {key} must be {expected}")]
    Value { key: String, expected: &'static str },
    #[error("a use is written key=value, not {0:?}")]
    Syntax(String),
}

#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Number,
    Territory,
}

impl Kind {
    const fn expected(self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Number => "a whole number",
            Self::Territory => "two letters of ISO 3166-1, such as DE, or EU",
        }
    }
}

/// Users, visits and revenue (US dollars; per year where nothing else is said) are the facts that
/// license thresholds ask for.
const KEYS: [(&str, Kind); 10] = [
    ("commercial", Kind::Flag),
    ("daily_users", Kind::Number),
    ("distribution", Kind::Flag),
    ("hosting", Kind::Flag),
    ("monthly_revenue", Kind::Number),
    ("monthly_users", Kind::Number),
    ("monthly_visits", Kind::Number),
    ("output_training", Kind::Flag),
    ("revenue", Kind::Number),
    ("territory", Kind::Territory),
];

impl Use {
    /// Hex SHA-256 of the canonical form.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (key, value) in &self.0 {
            hasher.update(format!("{key}={value}\n"));
        }
        hex::encode(hasher.finalize())
    }

    /// This use with the facts of `other` put over it.
    #[must_use]
    pub fn overlaid(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        self
    }

    /// The use in the words of license terms. A flag that is not stated is false, except that a use
    /// is commercial until somebody says that it is not.
    pub fn intended(&self) -> IntendedUse {
        let flag = |key: &str| match self.0.get(key) {
            Some(UseValue::Flag(flag)) => Some(*flag),
            _ => None,
        };
        let number = |key: &str| match self.0.get(key) {
            Some(UseValue::Number(number)) => Some(*number),
            _ => None,
        };
        let territory = match self.0.get("territory") {
            Some(UseValue::Text(place)) => Some(place.clone()),
            _ => None,
        };
        IntendedUse {
            commercial: flag("commercial").unwrap_or(true),
            distribution: flag("distribution").unwrap_or(false),
            hosting: flag("hosting").unwrap_or(false),
            output_training: flag("output_training").unwrap_or(false),
            territory,
            mau: number("monthly_users"),
            dau: number("daily_users"),
            monthly_visits: number("monthly_visits"),
            annual_revenue_usd: number("revenue"),
            monthly_revenue_usd: number("monthly_revenue"),
        }
    }

    /// Checks keys and kinds of values, as a document from outside needs.
    pub fn check(&self) -> Result<(), UseError> {
        self.0.iter().try_for_each(|(key, value)| parse_value(key, &value.to_string()).map(|_| ()))
    }

    /// Adds one `key=value`.
    pub fn insert(&mut self, text: &str) -> Result<(), UseError> {
        let (key, value) = text.split_once('=').ok_or_else(|| UseError::Syntax(text.to_owned()))?;
        self.0.insert(key.to_owned(), parse_value(key, value)?);
        Ok(())
    }
}

impl FromStr for Use {
    type Err = UseError;

    /// Reads `key=value,key=value`.
    fn from_str(text: &str) -> Result<Self, UseError> {
        let mut parsed = Self::default();
        text.split(',').filter(|part| !part.is_empty()).try_for_each(|part| parsed.insert(part))?;
        Ok(parsed)
    }
}

fn parse_value(key: &str, value: &str) -> Result<UseValue, UseError> {
    let known = KEYS.iter().find(|(name, _)| *name == key).ok_or_else(|| UseError::UnknownKey(key.to_owned()))?;
    let parsed = match known.1 {
        Kind::Flag => value.parse().ok().map(UseValue::Flag),
        Kind::Number => value.parse().ok().map(UseValue::Number),
        Kind::Territory => {
            let valid = value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase());
            valid.then(|| UseValue::Text(value.to_owned()))
        }
    };
    parsed.ok_or(UseError::Value { key: key.to_owned(), expected: known.1.expected() })
}
