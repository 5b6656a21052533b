//! Each synthetic model has a golden, and the golden is of exactly its bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use weighhouse_tests::gguf::architectures::{Case, SPLITTINGS, byte_pairs, cases, encoders};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../inference-probe/tests/goldens").join(name)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

fn digest(model: &[u8]) -> String {
    hex::encode(Sha256::digest(model))
}

fn check(folder_name: &str, cases: &[Case]) {
    let folder = folder(folder_name);
    for case in cases {
        let golden = read(&folder.join(format!("{}.json", case.name)));
        assert_eq!(golden["model_sha256"], digest(&(case.build)()), "{} changed: run `make goldens`", case.name);
        assert_eq!(golden["architecture"], case.architecture, "{}", case.name);
        assert_eq!(golden["tokens"], serde_json::json!(case.tokens()), "{}", case.name);
    }
    let names = fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let expected: BTreeSet<String> = cases.iter().map(|case| format!("{}.json", case.name)).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_model_that_predicts_has_the_golden_of_its_bytes() {
    check("architectures", &cases());
}

#[test]
fn every_model_that_embeds_has_the_golden_of_its_bytes() {
    check("encoders", &encoders());
}

#[test]
fn every_vocabulary_has_the_golden_of_its_bytes() {
    let all = [cases(), encoders()].concat();
    for kind in ["byte-level", "sentence-piece", "word-piece"] {
        let golden = read(&folder("tokenizers").join(format!("{kind}.json")));
        let case = all.iter().find(|case| golden["case"] == case.name).unwrap();
        assert_eq!(golden["model_sha256"], digest(&(case.build)()), "{kind}");
    }
    let golden = read(&folder("tokenizers").join("byte-pairs.json"));
    let splittings = golden["splittings"].as_array().unwrap();
    assert_eq!(splittings.len(), SPLITTINGS.len());
    for (splitting, name) in splittings.iter().zip(SPLITTINGS) {
        assert_eq!(splitting["name"], *name);
        assert_eq!(splitting["model_sha256"], digest(&byte_pairs(name)), "{name}");
    }
}
