//! The gate's answer as scripts see it: yes, no, or not yet.

use std::process::ExitCode;

use registry_core::Decision;
use serde::Serialize;

use crate::v1::wire::GateAnswer;

/// Ends of the codes of denials that only say that the pipeline is not done.
const NOT_YET: [&str; 2] = ["_PENDING", "_RUNNING"];

/// Ordered from good to bad, so that the strictest of several is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Allowed,
    /// Denied only for want of evidence that is on its way.
    Undecided,
    Denied,
}

impl Verdict {
    pub(super) fn of(answer: &GateAnswer) -> Self {
        let strictest = answer.decisions.iter().map(Self::of_decision).max();
        // No decisions are no permission.
        strictest.unwrap_or(Self::Undecided)
    }

    pub(super) fn of_decision(decision: &Decision) -> Self {
        let pending: Vec<&str> = decision
            .reasons
            .iter()
            .filter(|reason| {
                reason.code.starts_with("EVIDENCE_") && NOT_YET.iter().any(|end| reason.code.ends_with(end))
            })
            .filter_map(|reason| reason.evidence.as_deref())
            .collect();
        // What a rule concludes from evidence that is not there yet may change with it.
        let is_pending = |evidence: Option<&str>| evidence.is_some_and(|evidence| pending.contains(&evidence));
        if decision.allowed {
            Self::Allowed
        } else if decision.reasons.iter().all(|reason| is_pending(reason.evidence.as_deref())) {
            Self::Undecided
        } else {
            Self::Denied
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Undecided => "not decided yet",
            Self::Denied => "denied",
        }
    }

    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Allowed => 0,
            Self::Denied => 1,
            Self::Undecided => 2,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use verifier::policy::{Reason, Suggestion, Use};

    use super::*;

    pub(in super::super) fn reason(code: &str, evidence: Option<&str>) -> Reason {
        Reason {
            code: code.into(),
            msg: format!("message of {code}"),
            evidence: evidence.map(str::to_owned),
            remedy: Some(format!("remedy of {code}")),
            docs: None,
        }
    }

    pub(in super::super) fn decision(model: &str, reasons: Vec<Reason>) -> Decision {
        let suggestion = |reason: &Reason| Suggestion {
            code: reason.code.clone(),
            change: reason.remedy.clone().unwrap_or_default(),
            sufficient: reasons.len() == 1,
        };
        Decision {
            schema_version: 1,
            id: format!("decision-on-{model}"),
            model: model.into(),
            content_digest: "d".repeat(64),
            environment: "production".into(),
            r#use: Use::default(),
            allowed: reasons.is_empty(),
            would_pass_if: reasons.iter().map(suggestion).collect(),
            reasons,
            warnings: Vec::new(),
            waived: Vec::new(),
            license_assessment: None,
            license_conclusion: None,
            trust_assessment: None,
            policy_digest: "p".repeat(64),
            input_digest: "i".repeat(64),
            decided_at: "2026-01-01T00:00:00Z".into(),
            valid_until: None,
        }
    }

    pub(in super::super) fn answer(decisions: Vec<Decision>) -> GateAnswer {
        GateAnswer {
            allowed: decisions.iter().all(|decision| decision.allowed),
            environment: "production".into(),
            decisions,
        }
    }

    fn verdict(reasons: Vec<Reason>) -> Verdict {
        Verdict::of(&answer(vec![decision("a/b", reasons)]))
    }

    #[test]
    fn evidence_on_its_way_leaves_the_question_open() {
        assert_eq!(verdict(Vec::new()), Verdict::Allowed);
        assert_eq!(verdict(vec![reason("EVIDENCE_PROBE_PENDING", Some("probe"))]), Verdict::Undecided);
        let unsigned = reason("NO_TRUSTED_SIGNATURE", Some("provenance"));
        assert_eq!(
            verdict(vec![reason("EVIDENCE_PROVENANCE_PENDING", Some("provenance")), unsigned.clone()]),
            Verdict::Undecided
        );
        assert_eq!(verdict(vec![reason("EVIDENCE_PROBE_RUNNING", Some("probe")), unsigned.clone()]), Verdict::Denied);
        assert_eq!(verdict(vec![reason("EVIDENCE_PROBE_FAILED", Some("probe"))]), Verdict::Denied);
        assert_eq!(verdict(vec![reason("RECALLED", None)]), Verdict::Denied);
    }

    #[test]
    fn strictest_of_several_decisions_counts() {
        let pending = decision("a/b", vec![reason("EVIDENCE_PROBE_PENDING", Some("probe"))]);
        let denied = decision("c/d", vec![reason("RECALLED", None)]);
        let allowed = decision("e/f", Vec::new());
        assert_eq!(Verdict::of(&answer(vec![allowed.clone(), pending.clone()])), Verdict::Undecided);
        assert_eq!(Verdict::of(&answer(vec![pending, denied, allowed])), Verdict::Denied);
        assert_eq!(Verdict::of(&answer(Vec::new())), Verdict::Undecided);
    }
}
