//! What is known of a model's weights beside other models'.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Finding, Severity};
use crate::words::listed;

/// Shares below this are chance: a shared vocabulary matrix of a large model is above it.
const LEAST_PERCENT: u64 = 5;

/// Another model that holds tensors of this one, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SharedWeights {
    /// `namespace/name`.
    pub model: String,
    /// Tensors of this model that the other one holds too, constant and tiny ones left out.
    pub tensors: u64,
    /// Bytes of these tensors.
    pub bytes: u64,
    /// Part of this model's bytes, in whole percent.
    pub percent: u64,
    /// Whether all weights are the same, in whatever files.
    pub identical: bool,
    /// Whether one of both names the other, or both name the same ancestor.
    pub declared: bool,
}

/// What a revision's weights say about where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WeightsAssessment {
    /// Hex SHA-256 over all tensors, the same for the same weights in other files; see
    /// `weighhouse inspect --digests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_digest: Option<String>,
    /// Models that share tensors, the largest share first.
    pub shared: Vec<SharedWeights>,
    pub findings: Vec<Finding>,
}

impl WeightsAssessment {
    /// Draws the conclusion: weights of a model that nobody declared a relation to.
    pub fn new(weights_digest: Option<String>, mut shared: Vec<SharedWeights>) -> Self {
        shared.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.model.cmp(&b.model)));
        let matters = |other: &&SharedWeights| !other.declared && (other.identical || other.percent >= LEAST_PERCENT);
        let undeclared: Vec<String> = shared.iter().filter(matters).map(SharedWeights::in_words).collect();
        let findings = if undeclared.is_empty() { Vec::new() } else { vec![undeclared_base(&undeclared)] };
        Self { weights_digest, shared, findings }
    }
}

impl SharedWeights {
    fn in_words(&self) -> String {
        if self.identical {
            format!("all weights of {}", self.model)
        } else {
            format!("{} percent of its bytes with {}", self.percent, self.model)
        }
    }
}

fn undeclared_base(others: &[String]) -> Finding {
    Finding::new(
        "UNDECLARED_BASE",
        Severity::High,
        format!("The model shares {}, and neither names the other.", listed(others, 3)),
        "name the base in the model card (`base_model`), or record the relation with a license review",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(model: &str, percent: u64, declared: bool) -> SharedWeights {
        SharedWeights { model: model.to_owned(), tensors: 1, bytes: percent, percent, identical: false, declared }
    }

    #[test]
    fn only_undeclared_shares_of_some_size_are_findings() {
        let assessment = |others| WeightsAssessment::new(None, others).findings;
        assert!(assessment(vec![shared("a/b", 97, true), shared("a/c", 4, false)]).is_empty());
        let findings = assessment(vec![shared("a/c", 5, false), shared("a/b", 97, false)]);
        assert!(findings[0].detail.contains("97 percent of its bytes with a/b, 5 percent"), "{}", findings[0].detail);
    }

    #[test]
    fn identical_weights_count_whatever_their_size() {
        let other = SharedWeights { identical: true, ..shared("a/b", 0, false) };
        assert_eq!(WeightsAssessment::new(None, vec![other]).findings.len(), 1);
    }
}
