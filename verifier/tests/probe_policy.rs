//! What an environment can ask of a probe, judged by the standard policy in the real engine.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use serde_json::{Value, json};
use verifier::evidence::{Stage, Status};
use verifier::policy::{
    EvidenceDocuments, EvidenceState, Outcome, Policy, PolicyError, PolicyInput, PolicyModel, Reason, Use,
};

const NOW: &str = "2026-11-24T12:00:00Z";

/// The standard rules over one environment with these demands.
fn policy(demands: &Value, drift: &str, required: &[&str]) -> Result<Policy, PolicyError> {
    let checks = json!({
        "license_missing": "ignore", "license_review": "ignore", "license_obligations": "ignore",
        "no_trusted_signature": "ignore", "probe_warnings": "warn", "fingerprint_drift": drift,
    });
    let environment = json!({ "title": "E", "required_evidence": required, "probe": demands, "checks": checks });
    let data = json!({ "name": "test", "environments": { "e": environment } });
    Policy::compile(Policy::standard().unwrap().rego(), &data.to_string())
}

fn report() -> Value {
    let level = |name: &str| json!({ "level": name, "status": "passed", "milliseconds": 1 });
    let levels = ["L0", "L1", "L2", "L3", "L4"].map(level);
    json!({
        "stage": "probe", "schema_version": 1, "verdict": "passed", "reason": "it runs", "engine": "candle",
        "engine_version": "1", "device": "cpu", "threads": 2, "conformance": "verified",
        "levels": levels,
        "generation": { "tokens_per_second": 12.5 },
        "sandbox": { "profile": "strict", "landlock": "full", "seccomp": true },
        "findings": [],
    })
}

fn judged(policy: &Policy, status: Status, document: Value) -> Outcome {
    let missing = || EvidenceState::without_document(Status::Missing);
    let input = PolicyInput {
        schema_version: 1,
        model: PolicyModel { namespace: "acme".into(), name: "tiny".into(), kind: "model".into() },
        content_digest: "c".repeat(64),
        environment: "e".into(),
        r#use: Use::default(),
        evidence: EvidenceDocuments {
            inspect: missing(),
            license: missing(),
            provenance: missing(),
            probe: EvidenceState { status, document },
        },
        license_conclusion: None,
        trust_assessment: None,
        weights_assessment: None,
        license_assessment: None,
        waivers: vec![],
        advisories: vec![],
    };
    policy.evaluate(&input, NOW).unwrap()
}

/// Codes of the denials when `change` was made to a good report and the environment asks for `demands`.
fn denied(demands: &Value, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut report = report();
    change(&mut report);
    let outcome = judged(&policy(demands, "ignore", &["probe"]).unwrap(), Status::Passed, report);
    for reason in &outcome.reasons {
        assert!(reason.remedy.is_some() && reason.docs.is_some(), "{reason:?}");
    }
    outcome.reasons.into_iter().map(|reason| reason.code).collect()
}

fn codes(reasons: &[Reason]) -> Vec<&str> {
    reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn nothing_is_asked_where_nothing_is_named() {
    let nothing = |report: &mut Value| {
        report["levels"] = json!([]);
        report["device"] = json!("abacus");
        report["generation"] = Value::Null;
        report["sandbox"] = Value::Null;
    };
    assert_eq!(denied(&json!({}), nothing), Vec::<String>::new());
}

#[test]
fn report_that_shows_all_that_is_asked_passes() {
    let all = json!({
        "minimum_level": "L4", "devices": ["cpu"], "minimum_tokens_per_second": 12, "conformance": "verified",
        "sandbox": "full", "max_age_days": 30,
    });
    assert_eq!(denied(&all, |_| ()), Vec::<String>::new());
}

#[test]
fn level_must_have_passed() {
    let fourth = |status: &'static str| move |report: &mut Value| report["levels"][4]["status"] = json!(status);
    assert_eq!(denied(&json!({"minimum_level": "L4"}), fourth("warned")), Vec::<String>::new());
    assert_eq!(denied(&json!({"minimum_level": "L4"}), fourth("inconclusive")), ["PROBE_LEVEL_TOO_LOW"]);
    assert_eq!(denied(&json!({"minimum_level": "L3"}), fourth("inconclusive")), Vec::<String>::new());
    let none = |report: &mut Value| drop(report.as_object_mut().unwrap().remove("levels"));
    assert_eq!(denied(&json!({"minimum_level": "L0"}), none), ["PROBE_LEVEL_TOO_LOW"]);
}

#[test]
fn device_counts_by_its_class() {
    let on = |device: &'static str| move |report: &mut Value| report["device"] = json!(device);
    assert_eq!(denied(&json!({"devices": ["cuda"]}), on("cuda:0")), Vec::<String>::new());
    assert_eq!(denied(&json!({"devices": ["cuda"]}), on("cpu")), ["PROBE_DEVICE_NOT_ALLOWED"]);
    assert_eq!(denied(&json!({"devices": []}), on("cpu")), ["PROBE_DEVICE_NOT_ALLOWED"]);
}

#[test]
fn speed_is_that_of_generation_or_of_embedding() {
    assert_eq!(denied(&json!({"minimum_tokens_per_second": 13}), |_| ()), ["PROBE_TOO_SLOW"]);
    let embeds = |report: &mut Value| {
        report.as_object_mut().unwrap().remove("generation");
        report["embedding"] = json!({ "tokens_per_second": 500.0 });
    };
    assert_eq!(denied(&json!({"minimum_tokens_per_second": 13}), embeds), Vec::<String>::new());
    let unmeasured = |report: &mut Value| drop(report.as_object_mut().unwrap().remove("generation"));
    assert_eq!(denied(&json!({"minimum_tokens_per_second": 0}), unmeasured), ["PROBE_TOO_SLOW"]);
}

#[test]
fn conformance_that_is_not_known_is_not_verified() {
    let unverified = |report: &mut Value| report["conformance"] = json!("unverified");
    assert_eq!(denied(&json!({"conformance": "verified"}), unverified), ["PROBE_NOT_VERIFIED"]);
    let unknown = |report: &mut Value| drop(report.as_object_mut().unwrap().remove("conformance"));
    assert_eq!(denied(&json!({"conformance": "verified"}), unknown), ["PROBE_NOT_VERIFIED"]);
}

#[test]
fn sandbox_is_full_only_with_landlock_seccomp_and_without_gaps() {
    let changes: [fn(&mut Value); 4] = [
        |report| report["sandbox"]["landlock"] = json!("partial"),
        |report| report["sandbox"]["seccomp"] = json!(false),
        |report| report["sandbox"]["gaps"] = json!(["RLIMIT_AS"]),
        |report| drop(report.as_object_mut().unwrap().remove("sandbox")),
    ];
    for change in changes {
        assert_eq!(denied(&json!({"sandbox": "full"}), change), ["PROBE_NOT_CONFINED"]);
    }
}

#[test]
fn drift_is_ignored_warned_of_or_denied_as_the_environment_says() {
    let mut drifted = report();
    drifted["findings"] = json!([{
        "code": "FINGERPRINT_DRIFT", "severity": "medium", "detail": "the perplexity is 40 and was 20", "remedy": "Look.",
    }]);
    let outcome =
        |drift: &str| judged(&policy(&json!({}), drift, &["probe"]).unwrap(), Status::Passed, drifted.clone());
    assert!(outcome("ignore").allowed && outcome("ignore").warnings.is_empty());
    assert!(outcome("warn").allowed);
    assert_eq!(codes(&outcome("warn").warnings), ["FINGERPRINT_DRIFT"]);
    assert_eq!(codes(&outcome("deny").reasons), ["FINGERPRINT_DRIFT"]);
}

#[test]
fn demands_do_not_pass_because_there_is_no_report() {
    let (asking, silent) = (json!({"minimum_level": "L0"}), json!({}));
    let outcome = |demands: &Value, required: &[&str], status: Status| {
        let outcome = judged(&policy(demands, "ignore", required).unwrap(), status, Value::Null);
        outcome.reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>()
    };
    assert_eq!(outcome(&asking, &[], Status::Pending), ["PROBE_MISSING"]);
    // Said once where the engine says it already.
    assert_eq!(outcome(&asking, &["probe"], Status::Pending), ["EVIDENCE_PROBE_PENDING"]);
    assert_eq!(outcome(&silent, &[], Status::Pending), Vec::<String>::new());
    assert_eq!(outcome(&asking, &["probe"], Status::NotApplicable), Vec::<String>::new());
}

#[test]
fn stale_report_is_denied_once() {
    let outcome = |required: &[&str]| {
        let policy = policy(&json!({"max_age_days": 7}), "ignore", required).unwrap();
        judged(&policy, Status::Stale, report()).reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>()
    };
    assert_eq!(outcome(&["probe"]), ["EVIDENCE_PROBE_STALE"]);
    assert_eq!(outcome(&[]), ["PROBE_STALE"]);
}

#[test]
fn age_of_a_probe_is_the_stricter_of_both_limits() {
    let age = |data: Value| {
        let environment =
            json!({ "e": { "title": "E", "probe": data["probe"], "evidence_max_age_days": data["all"] } });
        let data = json!({ "name": "n", "environments": environment }).to_string();
        let policy = Policy::compile(Policy::standard().unwrap().rego(), &data).unwrap();
        let environment = policy.environment("e").unwrap();
        (environment.max_age_days(Stage::Probe), environment.max_age_days(Stage::License))
    };
    assert_eq!(age(json!({"probe": {"max_age_days": 7}, "all": null})), (Some(7), None));
    assert_eq!(age(json!({"probe": {"max_age_days": 7}, "all": 3})), (Some(3), Some(3)));
    assert_eq!(age(json!({"probe": {}, "all": 3})), (Some(3), Some(3)));
}

#[test]
fn misspelled_demand_is_an_error_and_not_one_that_everything_meets() {
    for bad in [
        json!({"minimum_levle": "L4"}),
        json!({"minimum_level": "L5"}),
        json!({"sandbox": "strict"}),
        json!({"conformance": "unverified"}),
    ] {
        assert!(matches!(policy(&bad, "ignore", &[]), Err(PolicyError::Data(_))), "{bad}");
    }
}
