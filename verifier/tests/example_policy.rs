//! The example policy that operators start from, with the input that its readme tells them to try.

#![expect(clippy::unwrap_used, reason = "a failed step of a test must end it")]

use std::path::Path;

use verifier::policy::{Outcome, Policy, PolicyInput, Reason};

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
