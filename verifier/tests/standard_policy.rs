//! The standard policy's verdicts, and what no policy text can do.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use serde_json::{Value, json};
use verifier::evidence::Status;
use verifier::license::Catalog;
use verifier::license::propagation::{self, Assessment, Node};
use verifier::license::record::Conclusion;
use verifier::policy::{
    Advisory, EvidenceDocuments, EvidenceState, Outcome, Policy, PolicyError, PolicyInput, PolicyModel, Use, Waiver,
};

const NOW: &str = "2026-11-24T12:00:00Z";

fn state(status: Status, document: Value) -> EvidenceState {
    EvidenceState { status, document }
}

/// An unsigned Apache-2.0 model that loads and generates.
fn input(environment: &str) -> PolicyInput {
    PolicyInput {
        schema_version: 1,
        model: PolicyModel { namespace: "acme".into(), name: "tiny".into(), kind: "model".into() },
        content_digest: "c".repeat(64),
        environment: environment.into(),
        r#use: Use::default(),
        evidence: EvidenceDocuments {
            inspect: state(Status::Passed, json!({"verdict": "ok"})),
            license: state(
                Status::Passed,
                json!({"verdict": "agreed", "concluded": "Apache-2.0", "license_class": "permissive"}),
            ),
            provenance: state(Status::Warned, json!({"verdict": "unsigned"})),
            probe: state(Status::Passed, json!({"verdict": "passed", "reason": "It runs."})),
        },
        license_conclusion: None,
        trust_assessment: None,
        weights_assessment: None,
        license_assessment: Some(assessment("Apache-2.0", &Use::default())),
        waivers: vec![],
        advisories: vec![],
    }
}

/// What follows from a model's own license for a use.
fn assessment(license: &str, intended: &Use) -> Assessment {
    let node = Node { id: "m".into(), name: "acme/tiny".into(), declared: Some(license.into()), ..Node::default() };
    propagation::assess(Catalog::built_in(), &[node], "m", &intended.intended()).unwrap()
}

/// A model of another license, used as stated.
fn licensed(environment: &str, license: &str, intended: &str) -> PolicyInput {
    let mut input = input(environment);
    input.r#use = intended.parse().unwrap();
    input.evidence.license.document = json!({"verdict": "agreed", "concluded": license});
    input.evidence.provenance = state(Status::Passed, json!({"verdict": "trusted"}));
    input.license_assessment = Some(assessment(license, &input.r#use));
    input
}

fn judge(input: &PolicyInput) -> Outcome {
    Policy::standard().unwrap().evaluate(input, NOW).unwrap()
}

fn codes(outcome: &Outcome) -> Vec<&str> {
    outcome.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    outcome.warnings.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn development_allows_an_unsigned_model_with_a_warning() {
    let outcome = judge(&input("development"));
    assert!(outcome.allowed, "{outcome:?}");
    assert_eq!(warnings(&outcome), ["NO_TRUSTED_SIGNATURE"]);
}

#[test]
fn production_denies_an_unsigned_model_and_says_what_would_make_it_pass() {
    let outcome = judge(&input("production"));
    assert!(!outcome.allowed);
    assert_eq!(codes(&outcome), ["NO_TRUSTED_SIGNATURE"]);
    assert!(outcome.would_pass_if[0].sufficient);
    assert!(outcome.would_pass_if[0].change.contains("gate.trusted_keys"));
}

#[test]
fn production_allows_a_model_with_a_trusted_signature() {
    let mut input = input("production");
    input.evidence.provenance = state(Status::Passed, json!({"verdict": "trusted"}));
    let outcome = judge(&input);
    assert!(outcome.allowed, "{outcome:?}");
    assert!(outcome.warnings.is_empty());
}

#[test]
fn required_evidence_is_enforced_for_every_status_that_is_not_good() {
    for (status, code) in [
        (Status::Missing, "EVIDENCE_PROBE_MISSING"),
        (Status::Pending, "EVIDENCE_PROBE_PENDING"),
        (Status::Running, "EVIDENCE_PROBE_RUNNING"),
        (Status::Stale, "EVIDENCE_PROBE_STALE"),
        (Status::Failed, "EVIDENCE_PROBE_FAILED"),
        (Status::Unsupported, "EVIDENCE_PROBE_UNSUPPORTED"),
        (Status::Inconclusive, "EVIDENCE_PROBE_INCONCLUSIVE"),
    ] {
        let mut input = input("development");
        input.evidence.probe = EvidenceState::without_document(status);
        assert_eq!(codes(&judge(&input)), [code]);
    }
    let mut reference = input("development");
    reference.evidence.probe = EvidenceState::without_document(Status::NotApplicable);
    assert!(judge(&reference).allowed);
}

#[test]
fn policy_text_cannot_lift_required_evidence_but_a_waiver_can() {
    let data = r#"{"name": "lax", "environments": {"e": {"title": "E", "required_evidence": ["probe"]}}}"#;
    let rego = "package weighhouse.gate\nimport rego.v1\ndeny contains {} if false\n\
                exception contains \"EVIDENCE_FAILED\"";
    let policy = Policy::compile(rego, data).unwrap();
    let mut input = input("e");
    input.evidence.probe = EvidenceState::without_document(Status::Failed);
    assert_eq!(codes(&policy.evaluate(&input, NOW).unwrap()), ["EVIDENCE_PROBE_FAILED"]);

    input.waivers = vec![waiver("e", Some("c"))];
    let outcome = policy.evaluate(&input, NOW).unwrap();
    assert!(outcome.allowed);
    assert_eq!(outcome.waived[0].by, "w1");
    for elsewhere in [waiver("other", Some("c")), waiver("e", Some("d"))] {
        input.waivers = vec![elsewhere];
        assert!(!policy.evaluate(&input, NOW).unwrap().allowed);
    }
    input.waivers = vec![waiver("e", None)];
    assert!(policy.evaluate(&input, NOW).unwrap().allowed);
}

fn waiver(environment: &str, content: Option<&str>) -> Waiver {
    let content_digest = content.map(|digit| digit.repeat(64));
    Waiver { id: "w1".into(), code: "EVIDENCE_PROBE_FAILED".into(), environment: environment.into(), content_digest }
}

#[test]
fn a_policy_exception_lifts_the_policys_own_denial() {
    let data = r#"{"name": "p", "environments": {"e": {"title": "E"}}}"#;
    let rego = "package weighhouse.gate\nimport rego.v1\n\
                deny contains {\"code\": \"A\", \"msg\": \"a\"}\nexception contains {\"code\": \"A\"}";
    let outcome = Policy::compile(rego, data).unwrap().evaluate(&input("e"), NOW).unwrap();
    assert!(outcome.allowed);
    assert_eq!(outcome.waived[0].by, "policy-exception");
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies() {
    let data = r#"{"name": "p", "environments": {"e": {"title": "E"}}}"#;
    for body in [
        // says nothing
        "x := 1",
        // runs too long
        "big := numbers.range(0, 3000)\ndeny contains {\"code\": \"A\", \"msg\": \"a\"} if { some x in big; some y in big; x + y == -1 }",
        // returns something that is not a reason
        "deny contains 5",
        "deny := \"no\"",
        // fails
        "deny contains {\"code\": \"A\", \"msg\": \"a\"} if { to_number(\"x\") == 1 }",
    ] {
        let policy = Policy::compile(&format!("package weighhouse.gate\nimport rego.v1\n{body}"), data).unwrap();
        let outcome = policy.evaluate(&input("e"), NOW).unwrap();
        assert_eq!(codes(&outcome), ["POLICY_ERROR"], "{body}");
    }
}

#[test]
fn unusable_policies_are_refused_when_they_are_loaded() {
    let data = r#"{"name": "p", "environments": {}}"#;
    assert!(matches!(Policy::compile("package other", data), Err(PolicyError::Package)));
    assert!(matches!(Policy::compile("not rego", data), Err(PolicyError::Rego(_))));
    assert!(matches!(Policy::compile("package weighhouse.gate", "[]"), Err(PolicyError::Data(_))));
    let bad_use = r#"{"name": "p", "environments": {"e": {"title": "E", "default_use": {"comercial": true}}}}"#;
    assert!(matches!(Policy::compile("package weighhouse.gate", bad_use), Err(PolicyError::Data(_))));
    let unknown = Policy::standard().unwrap().evaluate(&input("staging"), NOW).unwrap_err();
    assert!(unknown.to_string().contains("development, production"), "{unknown}");
}

#[test]
fn a_non_commercial_license_is_denied_for_commercial_use_only() {
    assert!(judge(&licensed("production", "CC-BY-NC-4.0", "commercial=false")).allowed);
    assert_eq!(codes(&judge(&licensed("development", "CC-BY-NC-4.0", "commercial=true"))), ["NONCOMMERCIAL_UPSTREAM"]);
}

#[test]
fn open_duties_and_unknown_numbers_need_a_person_in_production() {
    let unknown = licensed("production", "LicenseRef-llama3.1", "commercial=true");
    assert_eq!(codes(&judge(&unknown)), ["AUP_APPLIES", "THRESHOLD_UNKNOWN"]);
    let known = licensed("production", "LicenseRef-llama3.1", "commercial=true,monthly_users=5000");
    assert_eq!(codes(&judge(&known)), ["AUP_APPLIES"]);
    let outcome = judge(&licensed("development", "LicenseRef-llama3.1", "commercial=true"));
    assert!(outcome.allowed);
    assert_eq!(warnings(&outcome), ["AUP_APPLIES", "THRESHOLD_UNKNOWN"]);
}

#[test]
fn a_conclusion_that_counts_answers_a_review_and_not_what_the_license_says() {
    let mut input = licensed("production", "CC-BY-NC-4.0", "commercial=false");
    input.evidence.license.document = json!({"verdict": "review", "concluded": "NOASSERTION"});
    assert_eq!(codes(&judge(&input)), ["LICENSE_REVIEW"]);
    input.license_conclusion =
        Some(Conclusion { record: "r".into(), expression: "CC-BY-NC-4.0".into(), people: 2, expires_at: None });
    assert!(judge(&input).allowed);
    input.license_assessment = Some(assessment("CC-BY-NC-4.0", &"commercial=true".parse().unwrap()));
    assert_eq!(codes(&judge(&input)), ["NONCOMMERCIAL_UPSTREAM"]);
}

#[test]
fn a_use_that_nobody_judged_is_not_allowed_by_silence() {
    let mut input = licensed("production", "Apache-2.0", "commercial=true");
    input.license_assessment = None;
    assert_eq!(codes(&judge(&input)), ["LICENSE_NOT_ASSESSED"]);
}

#[test]
fn invalid_signatures_dangerous_content_and_recalls_are_denied_everywhere() {
    let mut input = input("development");
    input.evidence.provenance = state(Status::Failed, json!({"verdict": "invalid"}));
    input.evidence.inspect = state(Status::Failed, json!({"verdict": "dangerous"}));
    input.advisories = vec![Advisory { id: "WH-1".into(), recall: true, summary: "backdoor".into() }];
    assert_eq!(codes(&judge(&input)), ["EVIDENCE_INSPECT_FAILED", "INVALID_SIGNATURE", "RECALLED", "UNSAFE_CONTENT"]);
    assert!(!judge(&input).would_pass_if[0].sufficient);
}

#[test]
fn the_input_digest_covers_evidence_and_use() {
    let base = input("development");
    let mut other_use = base.clone();
    other_use.r#use = "commercial=true".parse().unwrap();
    let mut other_evidence = base.clone();
    other_evidence.evidence.probe.status = Status::Warned;
    assert_eq!(base.digest().unwrap(), base.clone().digest().unwrap());
    assert_ne!(base.digest().unwrap(), other_use.digest().unwrap());
    assert_ne!(base.digest().unwrap(), other_evidence.digest().unwrap());
}

#[test]
fn a_use_accepts_only_known_keys_with_values_of_their_kind() {
    let parsed: Use = "commercial=true,territory=DE,monthly_users=5".parse().unwrap();
    assert_eq!(parsed.0.len(), 3);
    for bad in ["comercial=true", "commercial=yes", "territory=Germany", "monthly_users=-1", "commercial"] {
        assert!(bad.parse::<Use>().is_err(), "{bad}");
    }
}
