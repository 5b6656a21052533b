//! The example policies that operators start from, with the input that their texts tell them to try.

#![expect(clippy::unwrap_used, reason = "a failed step of a test must end it")]

use std::collections::BTreeMap;
use std::path::Path;

use verifier::evidence::{Coverage, ProvenanceFacts, ProvenanceVerdict, SignatureFacts, SignatureState};
use verifier::policy::{Outcome, Policy, PolicyInput, Reason};
use verifier::provenance::trust::{Context, Receipt, TrustPolicy, TrustVerdict, assess};

fn example(name: &str) -> String {
    fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/policy").join(name)).unwrap()
}

fn judged_in(environment: &str) -> Outcome {
    let policy = Policy::compile(&example("policy.rego"), &example("data.json")).unwrap();
    let input: PolicyInput = serde_json::from_str(&example("input.json")).unwrap();
    let input = PolicyInput { environment: environment.to_owned(), ..input };
    policy.evaluate(&input, "2026-11-24T00:00:00Z").unwrap()
}

fn codes(reasons: &[Reason]) -> Vec<&str> {
    let mut codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
    codes.sort_unstable();
    codes
}

#[test]
fn rules_of_the_example_are_the_standard_ones() {
    assert_eq!(example("policy.rego"), Policy::standard().unwrap().rego());
}

#[test]
fn unsigned_model_with_conditions_is_judged_as_each_environment_says() {
    let [development, staging, production] = ["development", "staging", "production"].map(judged_in);
    assert!(development.allowed && codes(&development.warnings).is_empty(), "{development:?}");
    assert!(staging.allowed, "{staging:?}");
    assert_eq!(codes(&staging.warnings), ["AUP_APPLIES", "BADGE_REQUIRED", "NO_TRUSTED_SIGNATURE"]);
    assert!(!production.allowed, "{production:?}");
    assert_eq!(codes(&production.reasons), ["AUP_APPLIES", "BADGE_REQUIRED", "NO_TRUSTED_SIGNATURE"]);
}

fn trust_policy() -> TrustPolicy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/trust-policy.yaml");
    TrustPolicy::parse(&fs_err::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn example_trust_policy_applies_to_the_models_that_its_comments_name() {
    let policy = trust_policy();
    let applying = |model: &str, environment: &str| policy.applying(model, environment).unwrap().name.clone();
    assert_eq!(applying("acme/tiny", "production"), "own-models");
    assert_eq!(applying("acme/tiny", "development"), "anybody-known");
    assert_eq!(applying("other/tiny", "production"), "anybody-known");
    let names = ["legal", "release-2025", "release-2026"];
    assert_eq!(policy.unknown_keys(|_| false).into_iter().collect::<Vec<_>>(), names);
    assert_eq!(policy.unknown_roots(|_| false).into_iter().collect::<Vec<_>>(), ["acme-ca", "public-good"]);
}

#[test]
fn example_trust_policy_counts_each_release_key_in_its_year() {
    let policy = trust_policy();
    let verdict = |key: &str, received: &str| {
        let signature = SignatureFacts {
            state: SignatureState::Trusted,
            method: "key".into(),
            signer: Some(key.into()),
            coverage: Coverage { signed: vec!["model.gguf".into()], ..Coverage::default() },
            ..SignatureFacts::unproven("b".repeat(64), [])
        };
        let receipt = Receipt { at: received.parse().unwrap(), log_index: None };
        let facts = ProvenanceFacts {
            schema_version: 1,
            verdict: ProvenanceVerdict::Trusted,
            signatures: vec![signature],
            attestations: Vec::new(),
            weight_files: vec!["model.gguf".into()],
            documents: Vec::new(),
            findings: Vec::new(),
        };
        let answer = assess(&Context {
            policy: &policy,
            model: "acme/tiny",
            environment: "production",
            resource: "weighhouse://acme/tiny@0123",
            content_digest: "9",
            facts: &facts,
            receipts: &BTreeMap::from([("b".repeat(64), receipt)]),
            revocations: None,
            crls: &[],
            log_origin: "log",
            roots: &BTreeMap::new(),
            now: "2026-11-24T00:00:00Z".parse().unwrap(),
        });
        let release = answer.requirements.iter().find(|result| result.id == "release").unwrap();
        // The others ask for people who have not signed.
        assert_eq!(answer.verdict, TrustVerdict::Untrusted);
        release.code.clone()
    };
    assert_eq!(verdict("release-2025", "2025-06-01T00:00:00Z"), None);
    assert_eq!(verdict("release-2025", "2026-06-01T00:00:00Z").as_deref(), Some("KEY_EXPIRED"));
    assert_eq!(verdict("release-2026", "2025-06-01T00:00:00Z").as_deref(), Some("KEY_EXPIRED"));
    assert_eq!(verdict("release-2026", "2026-06-01T00:00:00Z"), None);
    assert_eq!(verdict("stranger", "2026-06-01T00:00:00Z").as_deref(), Some("SIGNER_NOT_ALLOWED"));
}

#[test]
fn example_trust_policy_stands_in_the_documentation_word_for_word() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = fs_err::read_to_string(folder.join("docs/provenance.md")).unwrap();
    let example = fs_err::read_to_string(folder.join("deploy/examples/trust-policy.yaml")).unwrap();
    assert!(document.contains(&format!("```yaml\n{example}```\n")));
}
