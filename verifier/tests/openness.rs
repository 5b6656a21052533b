//! The openness algorithm against the reference cases.

use verifier::license::cases;
use verifier::license::openness::{self, Component, OpennessInput};
use verifier::license::{Catalog, cases::CaseError};

fn access_class(input: &OpennessInput) -> String {
    openness::assess(Catalog::built_in(), input).access_class
}

#[test]
fn every_reference_case_gets_its_expected_answer() {
    let answers = cases::classify(Catalog::built_in(), include_bytes!("data/openness-cases.json")).unwrap();
    assert_eq!(answers.answers.len(), 21);
    assert!(answers.answers.iter().all(|answer| answer.as_expected.is_some()));
    let unexpected: Vec<_> = answers.unexpected().map(|answer| (&answer.name, answer.result.to_string())).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[test]
fn one_bare_case_is_answered_by_its_bare_result() {
    let case = br#"{"name": "x", "api_access": true, "components": []}"#;
    let document = cases::classify(Catalog::built_in(), case).unwrap().document();
    assert_eq!(document["access_class"], "open-access");
}

#[test]
fn a_case_that_cannot_be_meant_is_named() {
    let document = br#"{"cases": [{"name": "typo", "data_information": "all", "components": []}]}"#;
    let error = cases::classify(Catalog::built_in(), document).unwrap_err();
    assert!(matches!(&error, CaseError::Case { case, .. } if case == "typo"), "{error}");
}

#[test]
fn nothing_published_is_closed_and_unlicensed_weights_are_named_so() {
    assert_eq!(access_class(&OpennessInput::default()), "closed");
    for license in [None, Some("NOASSERTION"), Some("my own terms")] {
        let components = vec![Component::present("params_final", license)];
        let input = OpennessInput { components, ..OpennessInput::default() };
        assert_eq!(access_class(&input), "open-weight-unlicensed", "{license:?}");
    }
}
