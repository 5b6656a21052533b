//! Bills of materials say what the evidence says, and nothing that a card can break.

#![expect(clippy::unwrap_used, reason = "a failed step of a test must end it")]

use serde_json::{Value, json};
use verifier::aibom::{self, File, Subject, Terms, check_spdx, completeness, cyclonedx, spdx, technical_documentation};
use verifier::license::{self, Catalog, Content, LicenseDocument, LicenseInput};

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const RICH: &str = "---\nlicense: llama3.1\nlanguage: [en, de]\nlibrary_name: transformers\n\
    pipeline_tag: text-generation\ndatasets: [acme/tickets]\nbase_model: meta-llama/Llama-3.1-8B\n\
    base_model_relation: quantized\nmodel-index:\n- results:\n  - dataset: {name: MMLU}\n    metrics:\n    \
    - {type: accuracy, value: 0.61}\n---\n";

fn subject(card: &str) -> Subject {
    let document = LicenseDocument { path: "README.md", digest: DIGEST, content: Content::Text(card) };
    let input = LicenseInput { documents: vec![document], has_weights: true, api_access: false };
    let license = license::judge(Catalog::built_in(), &input);
    let card = aibom::front_matter(card);
    Subject {
        namespace: Some("acme".into()),
        name: "support-8b".into(),
        commit: Some("0e9e39f249a16976918f6564b8830bc894c89659".into()),
        content_digest: DIGEST.into(),
        created_at: 1_764_000_000_123,
        supplier: Some("acme".into()),
        download_location: Some("https://registry.example.org/models/acme/support-8b".into()),
        files: vec![File { path: "model.gguf".into(), sha256: DIGEST.into(), size: 7 }],
        inspection: None,
        terms: Terms::of(Catalog::built_in(), &license),
        ancestors: aibom::ancestors(&license, &card),
        license,
        card,
    }
}

/// The elements of an SPDX document that have this type.
fn of_type<'a>(document: &'a Value, kind: &str) -> Vec<&'a Value> {
    document["@graph"].as_array().unwrap().iter().filter(|element| element["type"] == kind).collect()
}

#[test]
fn declared_and_concluded_licenses_stand_side_by_side() {
    let licenses = |card: &str| cyclonedx(&subject(card))["metadata"]["component"]["licenses"].clone();
    let agreed = licenses("---\nlicense: mit\n---\n");
    assert_eq!(agreed[0], json!({ "expression": "MIT", "acknowledgement": "declared" }));
    assert_eq!(agreed[1], json!({ "expression": "MIT", "acknowledgement": "concluded" }));
    // Words that name no one license are a fact too, and lead to no conclusion.
    let open = licenses("---\nlicense: other\nlicense_name: ours\n---\n");
    assert_eq!(open[0]["license"]["acknowledgement"], "declared");
    assert!(open[0]["license"]["name"].as_str().unwrap().contains("ours"), "{open}");
    assert_eq!(open[1], json!({ "license": { "name": "NOASSERTION", "acknowledgement": "concluded" } }));
}

#[test]
fn what_the_card_says_is_in_cyclonedx() {
    let document = cyclonedx(&subject(RICH));
    let component = &document["metadata"]["component"];
    assert_eq!(component["purl"], "pkg:huggingface/acme/support-8b@0e9e39f249a16976918f6564b8830bc894c89659");
    assert_eq!(component["modelCard"]["modelParameters"]["task"], "text-generation");
    let metric = json!({ "type": "accuracy", "value": "0.61", "slice": "MMLU" });
    assert_eq!(component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"], json!([metric]));
    let ancestor = &component["pedigree"]["ancestors"][0];
    assert_eq!(ancestor["purl"], "pkg:huggingface/meta-llama/Llama-3.1-8B");
    assert_eq!(ancestor["properties"], json!([{ "name": "weighhouse:relation", "value": "quantized" }]));
    assert_eq!(component["components"][0]["hashes"][0]["content"], DIGEST);
    assert_eq!(component["licenses"][0]["expressionDetails"][0]["licenseIdentifier"], "LicenseRef-llama3.1");
    assert_eq!(document["metadata"]["timestamp"], "2025-11-24T16:00:00Z");
}

#[test]
fn a_use_policy_is_referred_to_in_both_documents() {
    let subject = subject(RICH);
    let policy = &subject.terms.documents[0].url;
    let references = cyclonedx(&subject)["metadata"]["component"]["externalReferences"].clone();
    assert!(references.as_array().unwrap().iter().any(|one| one["type"] == "documentation" && one["url"] == *policy));
    let document = spdx(&subject);
    assert_eq!(of_type(&document, "ai_AIPackage")[0]["externalRef"][0]["locator"], json!([policy]));
}

#[test]
fn spdx_names_parents_data_and_the_texts_of_custom_licenses() {
    let document = spdx(&subject(RICH));
    assert_eq!(check_spdx(&document), Vec::<String>::new());
    let relations: Vec<&str> =
        of_type(&document, "Relationship").iter().map(|one| one["relationshipType"].as_str().unwrap()).collect();
    for kind in ["descendantOf", "trainedOn", "contains"] {
        assert!(relations.contains(&kind), "{relations:?}");
    }
    assert_eq!(relations.iter().filter(|kind| **kind == "hasConcludedLicense").count(), 3);
    let text = of_type(&document, "simplelicensing_SimpleLicensingText")[0];
    let expression = of_type(&document, "simplelicensing_LicenseExpression")[0];
    assert_eq!(expression["simplelicensing_customIdToUri"][0]["value"], text["spdxId"]);
}

#[test]
fn what_is_not_known_is_said_not_to_be() {
    let mut subject = subject("# Nothing\n");
    (subject.supplier, subject.download_location, subject.namespace, subject.commit) = (None, None, None, None);
    let document = spdx(&subject);
    assert_eq!(check_spdx(&document), Vec::<String>::new());
    let model = of_type(&document, "ai_AIPackage")[0];
    assert_eq!(model["software_downloadLocation"], "NOASSERTION");
    assert_eq!(model["software_packageVersion"], format!("sha256:{DIGEST}"));
    assert!(model.get("software_packageUrl").is_none());
    assert!(cyclonedx(&subject)["metadata"]["component"].get("purl").is_none());
}

#[test]
fn a_broken_spdx_document_is_found_out() {
    let whole = spdx(&subject(RICH));
    let broken = |change: fn(&mut Vec<Value>)| {
        let mut document = whole.clone();
        change(document["@graph"].as_array_mut().unwrap());
        check_spdx(&document).join("\n")
    };
    let version = broken(|graph| {
        let package = graph.iter_mut().find(|one| one["type"] == "ai_AIPackage").unwrap();
        package.as_object_mut().unwrap().remove("software_packageVersion");
    });
    assert!(version.contains("has no software_packageVersion"), "{version}");
    let concluded = broken(|graph| graph.retain(|one| one["relationshipType"] != "hasConcludedLicense"));
    assert_eq!(concluded.matches("has no hasConcludedLicense").count(), 3, "{concluded}");
    let twice = broken(|graph| {
        let mut copy = graph.iter().find(|one| one["relationshipType"] == "hasDeclaredLicense").unwrap().clone();
        copy["spdxId"] = json!("urn:x");
        graph.push(copy);
    });
    assert!(twice.contains("has 2 licenses by hasDeclaredLicense"), "{twice}");
    let text = broken(|graph| graph.retain(|one| one["type"] != "simplelicensing_SimpleLicensingText"));
    assert!(text.contains("leads to no text of LicenseRef-llama3.1"), "{text}");
    let data = broken(|graph| {
        let package = graph.iter_mut().find(|one| one["type"] == "dataset_DatasetPackage").unwrap();
        package["dataset_datasetType"] = json!([]);
    });
    assert!(data.contains("has no dataset_datasetType"), "{data}");
    let dangling = broken(|graph| graph.retain(|one| one["type"] != "dataset_DatasetPackage"));
    assert!(dangling.contains("which is not there"), "{dangling}");
    assert_eq!(check_spdx(&json!({ "@graph": 7 })), ["The document has no @graph."]);
}

#[test]
fn a_hostile_card_stays_within_bounds_and_does_no_harm() {
    let long = "x".repeat(5_000);
    let many = (0..500).map(|number| format!("\"d{number}/{long}\"")).collect::<Vec<_>>();
    let cards = [
        format!("---\npipeline_tag: {long}\n---\n"),
        format!("---\ndatasets: [{}]\n---\n", many[..20].join(", ")),
        "---\ndatasets: {a: b}\nlanguage: [[[[[x]]]]]\nmodel-index: [7, {results: {}}, {results: [{metrics: [1, {type: []}]}]}]\n---\n"
            .to_owned(),
        "---\nbase_model: ['a b/c', '../..', \"x\\0y\", 7, null]\nbase_model_relation: [x]\n---\n".to_owned(),
    ];
    for card in cards {
        let subject = subject(&card);
        assert_eq!(check_spdx(&spdx(&subject)), Vec::<String>::new(), "{card:.80}");
        assert!(cyclonedx(&subject).to_string().len() < 64 << 10);
        assert!(technical_documentation(&subject).markdown().len() < 64 << 10);
    }
}

#[test]
fn markdown_holds_nothing_of_the_card_that_acts() {
    let text =
        technical_documentation(&subject("---\npipeline_tag: \"<img src=x>[a](javascript:b)\"\n---\n")).markdown();
    assert!(text.contains(r"\<img src=x\>\[a\](javascript:b)"), "{text}");
}

#[test]
fn the_score_rises_with_what_is_known_and_names_the_rest() {
    let (bare, rich) = (completeness(&subject("# Nothing\n")), completeness(&subject(RICH)));
    assert!(bare.score < rich.score && rich.score < 100, "{} {}", bare.score, rich.score);
    assert_eq!(bare.clusters.len(), 7);
    let models = bare.clusters.iter().find(|cluster| cluster.name == "models").unwrap();
    assert!(models.missing.contains(&"declared license".to_owned()));
    let data = rich.clusters.iter().find(|cluster| cluster.name == "dataset properties").unwrap();
    assert!(data.provider.contains(&"provenance".to_owned()) && data.present.contains(&"name".to_owned()));
}

#[test]
fn every_field_of_the_draft_is_filled_with_a_source_or_left_to_the_provider() {
    let documentation = technical_documentation(&subject(RICH));
    let fields: Vec<_> = documentation.sections.iter().flat_map(|section| &section.fields).collect();
    assert!(fields.iter().all(|field| !field.values.is_empty() || field.provider_supplies.is_some()));
    assert!(fields.iter().all(|field| field.values.is_empty() == field.sources.is_empty()));
    let tasks = fields.iter().find(|field| field.reference.contains("XI.1.1(a)")).unwrap();
    assert_eq!(tasks.values, ["text-generation"]);
    let energy = fields.iter().find(|field| field.reference == "XI.1.2(e)").unwrap();
    assert!(energy.values.is_empty() && energy.provider_supplies.is_some());
}

#[test]
fn the_same_subject_gives_the_same_bytes_and_another_revision_another_number() {
    let one = subject(RICH);
    assert_eq!(cyclonedx(&one).to_string(), cyclonedx(&subject(RICH)).to_string());
    assert_eq!(spdx(&one).to_string(), spdx(&subject(RICH)).to_string());
    let mut other = subject(RICH);
    other.commit = Some("0".repeat(40));
    assert_ne!(cyclonedx(&one)["serialNumber"], cyclonedx(&other)["serialNumber"]);
}
