//! The data document of a policy: what most operators edit instead of Rego.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::input::Use;
use crate::evidence::Stage;

/// The part of the data document that the engine itself reads. Everything else in the
/// document is for the Rego rules alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyData {
    pub name: String,
    pub environments: BTreeMap<String, EnvironmentData>,
}

/// What the engine enforces for one environment, whatever the Rego says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnvironmentData {
    pub title: String,
    /// The use that a door assumes when it is asked for a file.
    #[serde(default)]
    pub default_use: Use,
    /// Evidence whose status must be `passed` or `warned`.
    #[serde(default)]
    pub required_evidence: Vec<Stage>,
    /// How many people have to stand behind a license conclusion.
    #[serde(default = "one")]
    pub license_reviewers: usize,
    /// Evidence older than this is stale; none for no limit.
    #[serde(default)]
    pub evidence_max_age_days: Option<u32>,
}

const fn one() -> usize {
    1
}
