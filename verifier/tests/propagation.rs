//! Licenses over lineage graphs: the reference cases, and what they do not show.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::time::Instant;

use verifier::evidence::Relation;
use verifier::license::propagation::{Assessment, Edge, GraphError, IntendedUse, Node, Satisfied, Verdict, Weight};
use verifier::license::{Catalog, cases, propagation};

fn node(id: &str, declared: &str, parents: &[(&str, Relation)]) -> Node {
    let edge = |(parent, relation): &(&str, Relation)| Edge { parent: (*parent).to_owned(), relation: *relation };
    Node {
        id: id.to_owned(),
        name: format!("acme/{id}"),
        declared: (!declared.is_empty()).then(|| declared.to_owned()),
        parents: parents.iter().map(edge).collect(),
        ..Node::default()
    }
}

fn small_commercial_use() -> IntendedUse {
    IntendedUse {
        commercial: true,
        territory: Some("US".to_owned()),
        mau: Some(10_000),
        dau: Some(1_000),
        monthly_visits: Some(1_000),
        annual_revenue_usd: Some(500_000),
        monthly_revenue_usd: Some(40_000),
        ..IntendedUse::default()
    }
}

fn assess(nodes: &[Node], target: &str, intended: &IntendedUse) -> Assessment {
    propagation::assess(Catalog::built_in(), nodes, target, intended).unwrap()
}

fn codes(assessment: &Assessment) -> Vec<(&str, &str)> {
    assessment.findings.iter().map(|finding| (finding.code.as_str(), finding.node.as_str())).collect()
}

#[test]
fn every_reference_case_gets_its_expected_answer() {
    let answers = cases::evaluate(Catalog::built_in(), include_bytes!("data/propagation-cases.json")).unwrap();
    assert_eq!(answers.answers.len(), 18);
    let unexpected: Vec<_> = answers.unexpected().map(|answer| (&answer.id, answer.result.to_string())).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[test]
fn terms_survive_any_number_of_relabellings() {
    let mut nodes = vec![node("n0", "CC-BY-NC-4.0", &[])];
    for hop in 1..=4 {
        nodes.push(node(&format!("n{hop}"), "MIT", &[(&format!("n{}", hop - 1), Relation::Finetune)]));
    }
    let assessment = assess(&nodes, "n4", &small_commercial_use());
    assert_eq!(assessment.verdict, Verdict::Deny);
    let upstream = assessment.findings.iter().find(|finding| finding.code == "NONCOMMERCIAL_UPSTREAM").unwrap();
    assert_eq!(upstream.path, ["acme/n4", "acme/n3", "acme/n2", "acme/n1", "acme/n0"]);
    let relicensed: Vec<_> = codes(&assessment).into_iter().filter(|(code, _)| *code == "RELICENSE_CONFLICT").collect();
    assert_eq!(relicensed.len(), 4, "each step is named: {relicensed:?}");
}

#[test]
fn outputs_that_may_not_train_taint_everything_made_from_the_student() {
    let nodes = [
        node("teacher", "LicenseRef-llama2", &[]),
        node("student", "MIT", &[("teacher", Relation::TrainedOnOutputs)]),
        node("grandchild", "MIT", &[("student", Relation::Quantized)]),
    ];
    let assessment = assess(&nodes, "grandchild", &small_commercial_use());
    assert_eq!(codes(&assessment), [("OUTPUT_TRAINING_PROHIBITED", "student")]);
    assert_eq!(assessment.findings[0].via.as_deref(), Some("teacher"));
    assert_eq!(assessment.effective_licenses, ["MIT"]);
}

#[test]
fn a_name_duty_from_outputs_follows_derivatives() {
    let nodes = [
        node("teacher", "LicenseRef-llama3.1", &[]),
        node("student", "MIT", &[("teacher", Relation::TrainedOnOutputs)]),
        node("tuned", "MIT", &[("student", Relation::Finetune)]),
    ];
    let intended = IntendedUse { distribution: true, ..small_commercial_use() };
    assert!(codes(&assess(&nodes, "tuned", &intended)).contains(&("NAME_PREFIX_REQUIRED", "tuned")));
}

#[test]
fn a_row_that_nobody_read_leads_to_a_review_and_never_to_a_refusal() {
    let nodes = [node("b", "LicenseRef-MNPL-0.1", &[]), node("d", "Apache-2.0", &[("b", Relation::Finetune)])];
    let assessment = assess(&nodes, "d", &small_commercial_use());
    assert_eq!(assessment.verdict, Verdict::Review);
    let found = codes(&assessment);
    for code in ["NONCOMMERCIAL_UPSTREAM", "LOW_CONFIDENCE_TERMS", "RELICENSE_CONFLICT"] {
        assert!(found.contains(&(code, "d")), "{found:?}");
    }
}

#[test]
fn thresholds_have_an_operator_and_an_unknown_number_is_not_a_small_one() {
    let at = |revenue| IntendedUse { annual_revenue_usd: revenue, ..small_commercial_use() };
    let has = |license: &str, revenue, code: &str| {
        codes(&assess(&[node("m", license, &[])], "m", &at(revenue))).contains(&(code, "m"))
    };
    assert!(!has("LicenseRef-stability-community-2024", Some(1_000_000), "THRESHOLD_EXCEEDED"));
    assert!(has("LicenseRef-stability-community-2024", Some(1_000_001), "THRESHOLD_EXCEEDED"));
    assert!(has("LicenseRef-krea-2-community", Some(1_000_000), "THRESHOLD_EXCEEDED"));
    assert!(!has("LicenseRef-krea-2-community", Some(999_999), "THRESHOLD_EXCEEDED"));
    assert!(has("LicenseRef-krea-2-community", None, "THRESHOLD_UNKNOWN"));
}

#[test]
fn a_badge_by_threshold_is_owed_above_it_and_not_below() {
    let users = |mau| IntendedUse { mau: Some(mau), hosting: true, ..small_commercial_use() };
    let of = |mau| assess(&[node("k", "LicenseRef-kimi-k2-modified-mit", &[])], "k", &users(mau)).verdict;
    assert_eq!((of(100_000_000), of(100_000_001)), (Verdict::Allow, Verdict::AllowWithObligations));
}

#[test]
fn a_member_state_is_inside_an_exclusion_of_the_union() {
    let mut model = node("v", "LicenseRef-llama3.2", &[]);
    let verdict = |model: &Node, place: &str| {
        let intended = IntendedUse { territory: Some(place.to_owned()), ..small_commercial_use() };
        assess(std::slice::from_ref(model), "v", &intended).verdict
    };
    assert_eq!(verdict(&model, "DE"), Verdict::Review, "nobody says whether it is multimodal");
    model.multimodal = Some(true);
    assert_eq!(verdict(&model, "DE"), Verdict::Deny);
    assert_eq!(verdict(&model, "US"), Verdict::AllowWithObligations);
    model.multimodal = Some(false);
    assert_eq!(verdict(&model, "FR"), Verdict::AllowWithObligations);
}

#[test]
fn a_conclusion_settles_what_declaration_and_text_leave_open() {
    let mut model = node("m", "MIT", &[]);
    model.detected = Some("LicenseRef-llama3.1".to_owned());
    assert!(
        codes(&assess(std::slice::from_ref(&model), "m", &small_commercial_use()))
            .contains(&("DECLARED_DETECTED_MISMATCH", "m"))
    );
    model.concluded = Some("LicenseRef-llama3.1".to_owned());
    let assessment = assess(&[model], "m", &small_commercial_use());
    assert_eq!(codes(&assessment), [("AUP_APPLIES", "m")]);
}

#[test]
fn a_tag_that_leaves_open_only_or_later_agrees_with_either_text() {
    let mut model = node("m", "gpl-3.0", &[]);
    model.detected = Some("GPL-3.0-or-later".to_owned());
    assert_eq!(assess(&[model], "m", &small_commercial_use()).verdict, Verdict::Allow);
}

#[test]
fn a_parent_that_nobody_knows_is_a_review_at_the_parent() {
    let nodes = [node("d", "Apache-2.0", &[("elsewhere/base", Relation::Finetune)])];
    assert_eq!(codes(&assess(&nodes, "d", &small_commercial_use())), [("UNKNOWN_LICENSE", "elsewhere/base")]);
}

#[test]
fn duties_are_listed_whether_done_or_not() {
    let mut derived = node("Llama-mine", "LicenseRef-llama3.1", &[("b", Relation::Finetune)]);
    let done = |code: &str| Satisfied { code: code.to_owned(), license: Some("LicenseRef-llama3.1".to_owned()) };
    derived.satisfied = vec![done("LICENSE_COPY_MISSING"), done("NOTICE_MISSING")];
    let nodes = [node("b", "LicenseRef-llama3.1", &[]), derived];
    let intended = IntendedUse { distribution: true, ..small_commercial_use() };
    let assessment = assess(&nodes, "Llama-mine", &intended);
    let duties: Vec<_> = assessment.obligations.iter().map(|duty| (duty.code.as_str(), duty.satisfied)).collect();
    assert_eq!(
        duties,
        [("AUP_APPLIES", false), ("BADGE_REQUIRED", false), ("LICENSE_COPY_MISSING", true), ("NOTICE_MISSING", true),]
    );
    assert!(assessment.findings.iter().all(|finding| finding.severity == Weight::Obligation));
}

#[test]
fn cycles_are_cut_and_reported_and_diamonds_count_once() {
    let nodes = [
        node("base", "Apache-2.0", &[]),
        node("left", "Apache-2.0", &[("base", Relation::Finetune)]),
        node("right", "Apache-2.0", &[("base", Relation::Finetune)]),
        node("merge", "Apache-2.0", &[("left", Relation::Merge), ("right", Relation::Merge)]),
    ];
    let assessment = assess(&nodes, "merge", &small_commercial_use());
    assert_eq!((assessment.verdict, assessment.diamonds), (Verdict::Allow, vec!["base".to_owned()]));

    let nodes = [
        node("a", "Apache-2.0", &[("b", Relation::Finetune)]),
        node("b", "CC-BY-NC-4.0", &[("a", Relation::Finetune)]),
    ];
    let assessment = assess(&nodes, "a", &small_commercial_use());
    assert_eq!(assessment.cycles, [["a".to_owned(), "b".to_owned()]]);
    assert_eq!(assessment.verdict, Verdict::Deny, "what the cut graph shows still counts");
    assert!(codes(&assessment).contains(&("LINEAGE_CYCLE", "b")));
}

#[test]
fn a_graph_that_contradicts_itself_is_refused() {
    let twice = [node("a", "MIT", &[]), node("a", "MIT", &[])];
    let refused = propagation::assess(Catalog::built_in(), &twice, "a", &small_commercial_use());
    assert_eq!(refused.unwrap_err(), GraphError::DuplicateNode("a".to_owned()));
    let refused = propagation::assess(Catalog::built_in(), &twice[..1], "b", &small_commercial_use());
    assert_eq!(refused.unwrap_err(), GraphError::NoTarget("b".to_owned()));
}

/// A chain as long as this would end a recursive walk; many parents would end a quadratic one.
#[test]
fn ten_thousand_models_are_judged_without_recursion() {
    let licenses = ["Apache-2.0", "LicenseRef-llama3.1", "CC-BY-SA-4.0", "LicenseRef-gemma-2025-03-24", "MIT"];
    let mut nodes = vec![node("n0", "LicenseRef-llama3.1", &[])];
    for index in 1..10_000_usize {
        let near = format!("n{}", index - 1);
        let far = format!("n{}", index / 2);
        let parents = [(near.as_str(), Relation::Finetune), (far.as_str(), Relation::Merge)];
        nodes.push(node(&format!("n{index}"), licenses[index % licenses.len()], &parents));
    }
    let started = Instant::now();
    let assessment = assess(&nodes, "n9999", &small_commercial_use());
    eprintln!("10,000 models with 19,998 edges: {} ms", started.elapsed().as_millis());
    assert_eq!(assessment.effective_licenses.len(), 5);
    assert_eq!(assessment.verdict, Verdict::Deny);
}
