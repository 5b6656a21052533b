//! License judgement of whole revisions.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use serde_json::{Map, Value, json};
use verifier::evidence::{LicenseFacts, LicenseSource, LicenseVerdict, MatchKind, Severity, Status};
use verifier::format::{FileEntry, inspect};
use verifier::license::{
    Catalog, Content, DigestedFile, LicenseDocument, LicenseInput, Role, judge, judge_files as judge_digested,
};
use weighhouse_tests::environment;
use weighhouse_tests::gguf::{Builder, Value as Key};

const DIGEST: &str = "00";

fn text<'a>(path: &'a str, text: &'a str) -> LicenseDocument<'a> {
    LicenseDocument { path, digest: DIGEST, content: Content::Text(text) }
}

fn metadata<'a>(path: &'a str, metadata: &'a Map<String, Value>) -> LicenseDocument<'a> {
    LicenseDocument { path, digest: DIGEST, content: Content::Metadata(metadata) }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("not an object") };
    map
}

fn judge_documents(documents: Vec<LicenseDocument<'_>>) -> LicenseFacts {
    judge(Catalog::built_in(), &LicenseInput { documents, has_weights: true, api_access: false })
}

fn judge_card(front_matter: &str) -> LicenseFacts {
    let card = format!("---\n{front_matter}\n---\n# Model\n");
    judge_documents(vec![text("README.md", &card)])
}

/// Judges files as the pipeline does, inspection first.
fn judge_files(files: &[(&str, Vec<u8>)]) -> LicenseFacts {
    let entries: Vec<_> = files.iter().map(|(path, bytes)| FileEntry { path, source: bytes }).collect();
    let digested: Vec<_> =
        files.iter().map(|(path, bytes)| DigestedFile { path, digest: DIGEST, source: bytes }).collect();
    judge_digested(Catalog::built_in(), &digested, &inspect(&entries))
}

/// The words of a license on SPDX's list, as the `spdx` crate holds them.
fn spdx_text(id: &str) -> String {
    spdx::detection::Store::load_inline().unwrap().get_original(id).unwrap().lines().join("\n")
}

fn codes(facts: &LicenseFacts) -> Vec<&str> {
    facts.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn a_gguf_key_alone_is_enough_for_a_permissive_license() {
    let facts = judge_documents(vec![metadata(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        &object(json!({"general.architecture": "llama", "general.license": "apache-2.0"})),
    )]);
    assert_eq!((facts.concluded.as_str(), facts.verdict), ("Apache-2.0", LicenseVerdict::Agreed));
    assert_eq!(facts.license_class.as_deref(), Some("permissive"));
    assert_eq!(facts.openness.access_class, "open-weight-permissive");
    assert_eq!(codes(&facts), ["LICENSE_TEXT_MISSING"]);
    assert_eq!(facts.findings[0].severity, Severity::Info);
    assert_eq!(facts.declared[0].text, "apache-2.0");
}

#[test]
fn a_revision_that_says_nothing_is_unlicensed() {
    let facts = judge_documents(vec![metadata("a.gguf", &object(json!({"general.architecture": "llama"})))]);
    assert_eq!((facts.concluded.as_str(), facts.verdict), ("NOASSERTION", LicenseVerdict::Unlicensed));
    assert_eq!(facts.status(), Status::Failed);
    assert_eq!(codes(&facts), ["LICENSE_MISSING"]);
    assert_eq!(facts.openness.access_class, "open-weight-unlicensed");
}

#[test]
fn sources_that_disagree_are_both_named_and_nothing_is_concluded() {
    let card = "---\nlicense: apache-2.0\n---\n";
    let facts = judge_documents(vec![
        text("README.md", card),
        metadata("a.gguf", &object(json!({"general.license": "llama3.1"}))),
    ]);
    assert_eq!((facts.concluded.as_str(), facts.verdict), ("NOASSERTION", LicenseVerdict::Review));
    let conflict = facts.findings.iter().find(|finding| finding.code == "LICENSE_CONFLICT").unwrap();
    for words in ["README.md", "Apache-2.0", "a.gguf", "LicenseRef-llama3.1"] {
        assert!(conflict.detail.contains(words), "{}", conflict.detail);
    }
}

#[test]
fn each_pair_of_sources_that_disagree_is_a_finding() {
    let facts = judge_documents(vec![
        text("README.md", "---\nlicense: apache-2.0\n---\n"),
        text("config.json", r#"{"license": "gpl"}"#),
        metadata("a.gguf", &object(json!({"general.license": "llama3.1"}))),
        metadata("b.gguf", &object(json!({"general.license": "llama3.1"}))),
        metadata("c.safetensors", &object(json!({"license": "Apache-2.0"}))),
    ]);
    let conflicts: Vec<&str> = facts.findings.iter().map(|finding| finding.detail.as_str()).collect();
    assert_eq!(
        conflicts,
        [
            "README.md declares Apache-2.0, while config.json declares gpl.",
            "README.md declares Apache-2.0, while a.gguf declares LicenseRef-llama3.1.",
            "config.json declares gpl, while a.gguf declares LicenseRef-llama3.1.",
            "config.json declares gpl, while c.safetensors declares Apache-2.0.",
            "a.gguf declares LicenseRef-llama3.1, while c.safetensors declares Apache-2.0.",
        ]
    );
    assert!(codes(&facts).iter().all(|code| *code == "LICENSE_CONFLICT"));
}

#[test]
fn many_disagreements_are_counted_and_not_all_told() {
    let ids: Vec<_> = (0..500).map(|number| object(json!({"license": format!("LicenseRef-{number}")}))).collect();
    let facts = judge_documents(ids.iter().map(|id| metadata("a.safetensors", id)).collect());
    assert_eq!((facts.verdict, facts.findings.len()), (LicenseVerdict::Review, 11));
    assert!(facts.findings[10].detail.contains("2006 more pairs"), "{}", facts.findings[10].detail);
}

#[test]
fn license_files_of_different_licenses_are_a_conflict_that_names_both() {
    let (mit, apache) = (spdx_text("MIT"), spdx_text("Apache-2.0"));
    let facts = judge_documents(vec![text("LICENSE", &apache), text("LICENSE-MODEL", &mit)]);
    assert_eq!(codes(&facts), ["LICENSE_CONFLICT"]);
    let detail = &facts.findings[0].detail;
    assert_eq!(detail, "LICENSE holds the text of Apache-2.0, while LICENSE-MODEL holds the text of MIT.");
}

#[test]
fn a_license_or_base_model_key_given_twice_in_gguf_needs_a_person() {
    for key in ["general.license", "general.license.link", "general.base_model.0.repo_url"] {
        let twice = Builder::minimal().metadata(key, Key::string("mit")).metadata(key, Key::string("apache-2.0"));
        let card = b"---\nlicense: mit\n---\n".to_vec();
        for files in [vec![("a.gguf", twice.build())], vec![("README.md", card), ("a.gguf", twice.build())]] {
            let facts = judge_files(&files);
            assert_eq!((facts.concluded.as_str(), facts.verdict), ("NOASSERTION", LicenseVerdict::Review), "{key}");
            assert_eq!(codes(&facts), ["LICENSE_SOURCE_INVALID"], "{key}");
            assert!(facts.findings[0].detail.contains(key), "{}", facts.findings[0].detail);
            assert_eq!(facts.findings[0].path.as_deref(), Some("a.gguf"));
        }
    }
}

#[test]
fn package_metadata_is_one_more_source_that_may_disagree() {
    let card = ("README.md", b"---\nlicense: apache-2.0\n---\n".to_vec());
    for (path, apache, other) in [
        ("pyproject.toml", "[project]\nlicense = \"Apache-2.0\"", "[project]\nlicense = \"MIT\""),
        ("package.json", r#"{"license": "Apache-2.0"}"#, r#"{"license": "MIT"}"#),
        ("CITATION.cff", "license: Apache-2.0", "license: MIT"),
        ("setup.cfg", "[metadata]\nlicense = Apache-2.0", "[metadata]\nlicense = MIT"),
    ] {
        let facts = judge_files(&[card.clone(), (path, apache.as_bytes().to_vec())]);
        assert_eq!((facts.concluded.as_str(), facts.verdict), ("Apache-2.0", LicenseVerdict::Agreed), "{path}");
        assert_eq!(facts.declared[1].source, LicenseSource::PackageMetadata);
        let facts = judge_files(&[card.clone(), (path, other.as_bytes().to_vec())]);
        assert_eq!((codes(&facts), facts.verdict), (vec!["LICENSE_CONFLICT"], LicenseVerdict::Review), "{path}");
        let expected = format!("README.md declares Apache-2.0, while {path} declares MIT.");
        assert_eq!(facts.findings[0].detail, expected);
    }
}

#[test]
fn a_whole_license_in_package_metadata_is_recognized() {
    let mit = format!("[project]\nlicense = {{text = '''{}'''}}", spdx_text("MIT"));
    let facts = judge_documents(vec![text("pyproject.toml", &mit)]);
    assert_eq!(facts.declared[0].expression, "MIT", "{:?}", facts.findings);
}

#[test]
fn a_link_to_a_license_file_that_is_not_there_needs_a_person() {
    let card = |link: &str| format!("---\nlicense: mit\nlicense_link: {link}\n---\n").into_bytes();
    let terms = ("terms/model.md", b"Terms".to_vec());
    for link in ["LICENSE", "docs/LICENSE.md", "Terms/model.md"] {
        let facts = judge_files(&[("README.md", card(link)), terms.clone()]);
        assert_eq!((facts.concluded.as_str(), facts.verdict), ("NOASSERTION", LicenseVerdict::Review), "{link}");
        assert_eq!(codes(&facts), ["LICENSE_LINK_BROKEN"], "{link}");
        assert!(facts.findings[0].detail.contains(&format!("README.md points at the license in `{link}`")));
    }
    for link in ["terms/model.md", "./terms/model.md", "https://example.com/LICENSE", "example.com/license"] {
        let facts = judge_files(&[("README.md", card(link)), terms.clone()]);
        assert_eq!((facts.concluded.as_str(), facts.verdict), ("MIT", LicenseVerdict::Agreed), "{link}");
    }
    let package = br#"{"license": "SEE LICENSE IN LICENSE.txt"}"#.to_vec();
    let facts = judge_files(&[("README.md", card("terms/model.md")), ("package.json", package), terms]);
    assert_eq!(codes(&facts), ["LICENSE_LINK_BROKEN"]);
}

#[test]
fn hostile_cards_are_findings_and_stay_small() {
    const INVALID: &str = "LICENSE_SOURCE_INVALID";
    const UNRESOLVED: &str = "LICENSE_UNRESOLVED";
    let fields = |yaml: &str| format!("---\n{yaml}\n---\n");
    let many = |words: &str, count: usize| words.repeat(count);
    let hostile = [
        ("10 MiB", fields(&format!("license: mit\nx: \"{}\"", many("a", 10 << 20))), INVALID),
        ("10 MiB of license", fields(&format!("license: {}", many("a", 10 << 20))), INVALID),
        ("a bomb", fields(&format!("a: &a [{}]\nlicense: [{}]", many("x,", 15_000), many("*a,", 15_000))), INVALID),
        ("a mapping", fields("license: {mit: true}"), INVALID),
        ("a mapping in a list", fields("license: [mit, {a: b}]"), INVALID),
        ("a mapping as a name", fields("license: mit\nlicense_name: {a: b}"), INVALID),
        ("a number", fields("license: 2.0"), UNRESOLVED),
        ("an unknown id", fields("license: made-up-9"), UNRESOLVED),
        ("a long id", fields(&format!("license: LicenseRef-{}", many("a", 100_000))), UNRESOLVED),
        ("a long expression", fields(&format!("license: MIT{}", many(" OR MIT", 10_000))), UNRESOLVED),
        ("a long name", fields(&format!("license_name: {}", many("a", 100_000))), UNRESOLVED),
        ("lists left open", fields(&format!("license: {}", many("[", 60_000))), INVALID),
        ("nested lists", fields(&format!("license: {}{}", many("[", 999), many("]", 999))), INVALID),
        ("parentheses", fields(&format!("license: \"{}MIT\"", many("(", 900))), UNRESOLVED),
        ("a list of ids", fields(&format!("license: [{}]", many("mit,", 20_000))), INVALID),
        ("control characters", fields("license: \"mit\\0\\e[2J\""), UNRESOLVED),
    ];
    for (what, card, code) in &hostile {
        let facts = judge_documents(vec![text("README.md", card)]);
        assert_eq!((facts.concluded.as_str(), facts.verdict), ("NOASSERTION", LicenseVerdict::Review), "{what}");
        assert!(codes(&facts).contains(code), "{what}: {:?}", facts.findings);
        let evidence = serde_json::to_string(&facts).unwrap();
        assert!(evidence.len() < 4096, "{what}: {} bytes", evidence.len());
        assert!(!facts.declared.iter().any(|said| said.text.contains(char::is_control)), "{what}");
        let facts = judge_files(&[("README.md", card.clone().into_bytes())]);
        assert_eq!(facts.verdict, LicenseVerdict::Review, "{what}");
    }
}

#[test]
fn a_configuration_whose_license_is_no_text_needs_a_person() {
    let facts = judge_documents(vec![
        text("README.md", "---\nlicense: mit\n---\n"),
        text("config.json", r#"{"license": ["mit", "other"]}"#),
    ]);
    assert_eq!((codes(&facts), facts.verdict), (vec!["LICENSE_SOURCE_INVALID"], LicenseVerdict::Review));
}

#[test]
fn family_tags_and_unknown_names_need_a_person() {
    for front_matter in
        ["license: gpl", "license: other", "license: other\nlicense_name: my-terms", "license: [mit, gpl-3.0]"]
    {
        let facts = judge_card(front_matter);
        assert_eq!(facts.verdict, LicenseVerdict::Review, "{front_matter}");
        assert_eq!(facts.concluded, "NOASSERTION", "{front_matter}");
        assert_eq!(codes(&facts), ["LICENSE_UNRESOLVED"], "{front_matter}");
    }
}

#[test]
fn a_tag_of_several_dated_texts_needs_the_text() {
    let facts = judge_card("license: gemma");
    assert_eq!(codes(&facts), ["LICENSE_UNRESOLVED"]);
    assert!(facts.findings[0].detail.contains("LicenseRef-gemma-2024-04-01"));
}

#[test]
fn a_license_known_from_secondary_sources_is_provisional() {
    let facts = judge_card("license: deepfloyd-if-license");
    assert_eq!(facts.concluded, "LicenseRef-deepfloyd-if");
    assert!(facts.provisional);
    assert_eq!(facts.verdict, LicenseVerdict::Review);
    assert!(codes(&facts).contains(&"LICENSE_PROVISIONAL"));
}

#[test]
fn a_license_nobody_described_is_not_allowed_by_silence() {
    let facts = judge_card("license: LicenseRef-my-company-1.0");
    assert_eq!(facts.concluded, "LicenseRef-my-company-1.0");
    assert_eq!((facts.license_class.as_deref(), facts.verdict), (None, LicenseVerdict::Review));
    assert!(codes(&facts).contains(&"LICENSE_UNCLASSIFIED"));
}

#[test]
fn a_card_that_cannot_be_read_blocks_a_conclusion() {
    let facts = judge_documents(vec![
        text("README.md", "---\nlicense: mit\nlicense: cc-by-nc-4.0\n---\n"),
        metadata("a.gguf", &object(json!({"general.license": "mit"}))),
    ]);
    assert_eq!((facts.concluded.as_str(), facts.verdict), ("NOASSERTION", LicenseVerdict::Review));
    assert_eq!(codes(&facts), ["LICENSE_SOURCE_INVALID"]);
}

#[test]
fn a_text_too_long_to_read_is_not_a_missing_license() {
    let document = LicenseDocument { path: "LICENSE", digest: DIGEST, content: Content::Unreadable };
    let facts = judge_documents(vec![document]);
    assert_eq!(facts.verdict, LicenseVerdict::Review);
    assert_eq!(codes(&facts), ["LICENSE_SOURCE_UNREADABLE"]);
}

#[test]
fn a_spdx_text_is_detected_and_narrows_the_tag() {
    let facts = judge_documents(vec![
        text("README.md", "---\nlicense: gpl-3.0\n---\n"),
        text("LICENSE", &spdx_text("GPL-3.0-or-later")),
    ]);
    assert_eq!(facts.verdict, LicenseVerdict::Agreed, "{:?}", facts.findings);
    assert!(facts.detected[0].score.unwrap() > 0.98);
    assert_eq!(facts.openness.access_class, "open-weight-copyleft");
    assert!(facts.findings.is_empty());
}

#[test]
fn a_changed_text_is_never_taken_for_its_original() {
    let apache = spdx_text("Apache-2.0");
    let mit = spdx_text("MIT");
    let changes = [
        format!("{apache}\nYou may not use the Work for any commercial purpose without prior written permission."),
        mit.replace("to deal in", "for non-commercial purposes only, to deal in"),
        mit.lines().filter(|line| !line.contains("without restriction")).collect(),
    ];
    for changed in changes {
        let facts = judge_documents(vec![text("LICENSE", &changed)]);
        assert_eq!((facts.concluded.as_str(), facts.verdict), ("NOASSERTION", LicenseVerdict::Review), "{changed}");
    }
}

#[test]
fn a_declared_license_does_not_outweigh_a_changed_text() {
    let changed = format!("{}\nResearch use only.", spdx_text("Apache-2.0"));
    let facts = judge_documents(vec![text("README.md", "---\nlicense: apache-2.0\n---\n"), text("LICENSE", &changed)]);
    assert_eq!(facts.concluded, "NOASSERTION");
    assert!(codes(&facts).contains(&"LICENSE_TEXT_MODIFIED"), "{:?}", facts.findings);
}

#[test]
fn apache_without_its_appendix_and_bsd_with_a_name_are_themselves() {
    let apache = spdx_text("Apache-2.0");
    let end = apache.to_lowercase().find("end of terms and conditions").unwrap();
    let short = &apache[..end + "end of terms and conditions".len()];
    let bsd = spdx_text("BSD-3-Clause")
        .replace("copyright holder", "Example Labs")
        .replace("COPYRIGHT HOLDER", "EXAMPLE LABS");
    for (id, license) in [("Apache-2.0", short), ("BSD-3-Clause", &bsd)] {
        let facts = judge_documents(vec![text("LICENSE", license)]);
        assert_eq!(facts.concluded, id, "{:?}", facts.findings);
    }
}

#[test]
fn mit_with_its_copyright_line_filled_in_is_mit() {
    let text_of_mit = format!("Copyright (c) 2026 Example Labs\n\n{}", spdx_text("MIT"));
    let facts = judge_documents(vec![text("LICENSE", &text_of_mit)]);
    assert_eq!((facts.concluded.as_str(), facts.verdict), ("MIT", LicenseVerdict::Agreed));
}

#[test]
fn every_published_ai_license_text_is_told_apart_from_its_siblings() {
    let Some(vectors) = environment::vectors() else { return };
    for entry in fs_err::read_dir(vectors.join("license-texts")).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if id.ends_with(".use-policy") {
            continue;
        }
        let license = fs_err::read_to_string(&path).unwrap();
        // Another layout, and a holder's line above: the text is still that version's.
        let rewrapped = license.split_whitespace().collect::<Vec<_>>().join("\n");
        for variant in [license.clone(), rewrapped, format!("Downloaded from the publisher in 2026.\n\n{license}")] {
            let facts = judge_documents(vec![text("LICENSE", &variant)]);
            assert_eq!(facts.detected[0].expression, id, "{:?}", facts.findings);
        }
    }
}

#[test]
fn a_llama_text_with_the_version_replaced_is_not_that_version() {
    let Some(vectors) = environment::vectors() else { return };
    let llama = fs_err::read_to_string(vectors.join("license-texts/LicenseRef-llama3.1.txt")).unwrap();
    let renamed = llama.replace("3.1", "3.9").replace("July 23, 2024", "July 23, 2029");
    let facts = judge_documents(vec![text("LICENSE", &renamed)]);
    assert_eq!(facts.concluded, "NOASSERTION");
    assert_eq!(codes(&facts), ["LICENSE_TEXT_MODIFIED", "LICENSE_UNRESOLVED"]);
}

#[test]
fn a_use_policy_is_not_a_license_of_its_own() {
    let Some(vectors) = environment::vectors() else { return };
    let policy = fs_err::read_to_string(vectors.join("license-texts/LicenseRef-llama3.2.use-policy.txt")).unwrap();
    let facts =
        judge_documents(vec![text("README.md", "---\nlicense: llama3.2\n---\n"), text("LICENSE-USE-POLICY", &policy)]);
    assert_eq!(facts.concluded, "LicenseRef-llama3.2", "{:?}", facts.findings);
    assert_eq!(facts.openness.access_class, "open-weight-restricted");
}

#[test]
fn only_files_at_the_top_speak_for_the_revision() {
    assert_eq!(Role::of("LICENSE.md"), Some(Role::LicenseText));
    assert_eq!(Role::of("third_party/LICENSE"), None);
    assert_eq!(Role::of("README.md"), Some(Role::ModelCard));
    assert_eq!(Role::of("NOTICE"), Some(Role::Notice));
    assert_eq!(Role::of("vendor/NOTICE"), None);
}

#[test]
fn a_license_file_of_one_line_names_a_license_and_is_not_its_text() {
    let facts = judge_documents(vec![text("LICENSE", "Licensed under the Llama 3.1 Community License.")]);
    assert_eq!(facts.detected[0].expression, "LicenseRef-llama3.1");
    assert_eq!(facts.detected[0].match_kind, Some(MatchKind::Reference));
    assert_eq!(facts.concluded, "LicenseRef-llama3.1");
    assert!(codes(&facts).contains(&"LICENSE_TEXT_MISSING"), "{:?}", facts.findings);
}

#[test]
fn a_notice_about_the_model_is_a_statement_and_one_about_a_library_is_not() {
    let line = "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright \u{a9} Meta Platforms, Inc. All Rights Reserved.";
    let card = "---\nlicense: apache-2.0\n---\n";
    let facts = judge_documents(vec![text("README.md", card), text("NOTICE", line)]);
    assert_eq!(facts.declared[1].match_kind, Some(MatchKind::Exact));
    assert!(codes(&facts).contains(&"LICENSE_CONFLICT"), "{:?}", facts.findings);
    let library = "This product includes software under the MIT License.";
    let facts = judge_documents(vec![text("README.md", card), text("NOTICE", library)]);
    assert_eq!((facts.concluded.as_str(), facts.declared.len()), ("Apache-2.0", 1));
}

#[test]
fn a_license_that_only_prose_names_needs_a_person() {
    let facts =
        judge_documents(vec![text("README.md", "# Model\n\nReleased under the Apache License, Version 2.0.\n")]);
    assert_eq!(facts.verdict, LicenseVerdict::Review);
    assert_eq!(facts.declared[0].expression, "Apache-2.0");
    assert!(codes(&facts).contains(&"LICENSE_ONLY_IN_PROSE"), "{:?}", facts.findings);
    let facts = judge_documents(vec![text(
        "README.md",
        "---\nlicense: mit\n---\nUnlike the Apache License 2.0 models, this is MIT.\n",
    )]);
    assert_eq!((facts.concluded.as_str(), facts.declared.len()), ("MIT", 1));
}
