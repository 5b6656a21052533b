//! Texts that look like a license and are not it, and licenses that look different and are.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use verifier::evidence::{LicenseFacts, MatchKind};
use verifier::license::{Catalog, Content, LicenseDocument, LicenseInput, judge};
use weighhouse_tests::environment;

fn judge_text(text: &str) -> LicenseFacts {
    let document = LicenseDocument { path: "LICENSE", digest: "00", content: Content::Text(text) };
    judge(Catalog::built_in(), &LicenseInput { documents: vec![document], has_weights: true, api_access: false })
}

fn spdx_text(id: &str) -> String {
    spdx::detection::Store::load_inline().unwrap().get_original(id).unwrap().lines().join("\n")
}

fn codes(facts: &LicenseFacts) -> Vec<&str> {
    facts.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn one_word_left_out_of_mit_is_shown_and_is_not_mit() {
    let facts = judge_text(&spdx_text("MIT").replace("sublicense,", ""));
    assert_eq!(facts.concluded, "NOASSERTION");
    let difference = facts.detected[0].difference.as_ref().unwrap();
    assert_eq!((difference.unmatched_count, difference.missing_count), (1, 1));
    assert!(difference.missing[0].contains("sublicense"), "{difference:?}");
}

#[test]
fn two_licenses_in_one_file_are_both_named_and_need_a_person() {
    let facts = judge_text(&format!("{}\n\n{}", spdx_text("MIT"), spdx_text("Apache-2.0")));
    let mut found: Vec<&str> = facts.detected.iter().map(|statement| statement.text.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["Apache-2.0", "MIT"]);
    assert!(codes(&facts).contains(&"LICENSE_TEXT_SEVERAL"));
}

#[test]
fn a_title_of_another_version_makes_a_text_a_changed_one() {
    let Some(vectors) = environment::vectors() else { return };
    let llama = fs_err::read_to_string(vectors.join("license-texts/LicenseRef-llama3.1.txt")).unwrap();
    let facts = judge_text(&llama.replacen("LLAMA 3.1", "LLAMA 3.3", 1));
    assert_eq!(facts.detected[0].expression, "NOASSERTION", "{:?}", facts.detected[0]);
}

#[test]
fn layout_and_decoration_do_not_hide_a_license() {
    let Some(vectors) = environment::vectors() else { return };
    let gemma = fs_err::read_to_string(vectors.join("license-texts/LicenseRef-gemma-2025-03-24.txt")).unwrap();
    let quoted = gemma.lines().map(|line| format!("> **{line}**\r\n")).collect::<Vec<_>>().concat();
    let facts = judge_text(&format!("\u{feff}{quoted}"));
    assert_eq!(facts.detected[0].match_kind, Some(MatchKind::Exact));
    let prose = "This page says how the model was made, which data went into it and how it was measured. ".repeat(10);
    let facts = judge_text(&format!("# Model\n\n{prose}\n\n{gemma}"));
    assert_eq!(facts.detected[0].expression, "LicenseRef-gemma-2025-03-24");
    assert!(codes(&facts).contains(&"LICENSE_TEXT_BESIDE"));
}
