//! The openness algorithm against the reference cases.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use serde::Deserialize;
use verifier::evidence::Openness;
use verifier::license::Catalog;
use verifier::license::openness::{Component, DataInformation, OpennessInput};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    api_access: bool,
    data_information: String,
    components: Vec<CaseComponent>,
    expected: Openness,
}

#[derive(Deserialize)]
struct CaseComponent {
    component: String,
    present: bool,
    license: Option<String>,
    verified: Option<bool>,
}

fn assess(input: &OpennessInput) -> Openness {
    verifier::license::openness::assess(Catalog::built_in(), input)
}

fn input(case: &Case) -> OpennessInput {
    let components = case.components.iter().map(|component| Component {
        name: component.component.clone(),
        present: component.present,
        license: component.license.clone(),
        verified: component.verified.unwrap_or(true),
    });
    OpennessInput {
        api_access: case.api_access,
        data_information: DataInformation::parse(&case.data_information).unwrap(),
        components: components.collect(),
    }
}

#[test]
fn every_reference_case_gets_its_expected_answer() {
    let cases: Cases = serde_json::from_str(include_str!("data/openness-cases.json")).unwrap();
    assert_eq!(cases.cases.len(), 21);
    for case in &cases.cases {
        assert_eq!(assess(&input(case)), case.expected, "{}", case.name);
    }
}

#[test]
fn nothing_published_is_closed_and_unlicensed_weights_are_named_so() {
    assert_eq!(assess(&OpennessInput::default()).access_class, "closed");
    for license in [None, Some("NOASSERTION"), Some("my own terms")] {
        let components = vec![Component::present("params_final", license)];
        let openness = assess(&OpennessInput { components, ..OpennessInput::default() });
        assert_eq!(openness.access_class, "open-weight-unlicensed", "{license:?}");
    }
}
