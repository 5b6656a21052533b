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
    /// What the report of a probe must show.
    #[serde(default)]
    pub probe: ProbeDemands,
}

impl EnvironmentData {
    /// From which age on evidence of a stage is stale, in days; none for no limit.
    pub fn max_age_days(&self, stage: Stage) -> Option<u32> {
        let own = self.probe.max_age_days.filter(|_| stage == Stage::Probe);
        own.into_iter().chain(self.evidence_max_age_days).min()
    }
}

/// What an environment asks of a probe beyond its verdict; each demand is off where it is not named.
///
/// The standard policy judges them. They are read here as well, so that a misspelled demand or a
/// level that does not exist is an error and not a demand that everything meets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeDemands {
    /// The level that must have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_level: Option<DemandedLevel>,
    /// Classes of devices that count, such as `cpu` and `cuda`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// Speed of generation; of embedding models, of reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_tokens_per_second: Option<f64>,
    /// How far the computation of the architecture must be known to be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conformance: Option<DemandedConformance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<DemandedSandbox>,
    /// A report older than this is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_days: Option<u32>,
}

/// A level by its name in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DemandedLevel {
    L0,
    L1,
    L2,
    L3,
    L4,
}

/// What must be known of the computation of an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemandedConformance {
    /// This release reproduces what another engine computes.
    Verified,
}

/// How far the kernel must have enforced the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemandedSandbox {
    /// All of it: landlock, the system call filter and every limit.
    Full,
}

const fn one() -> usize {
    1
}
