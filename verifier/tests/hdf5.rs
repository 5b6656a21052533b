//! What inspection says of HDF5 files and of the Keras models in them.

use serde_json::json;
use verifier::evidence::{Inspection, InspectionVerdict};
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::hdf5::{
    Builder, contiguous, dataspace, external_files, external_link, fixed_attribute, float32, hard_link,
};

const DENSE: &str =
    r#"{"class_name":"Sequential","config":{"name":"s","layers":[{"class_name":"Dense","config":{"name":"d"}}]}}"#;
const LAMBDA: &str =
    r#"{"class_name":"Sequential","config":{"layers":[{"class_name":"Lambda","config":{"function":["x"]}}]}}"#;

fn judge_as(path: &str, bytes: impl AsRef<[u8]>) -> Inspection {
    inspect(&[FileEntry { path, source: &bytes.as_ref().to_vec() }])
}

fn judge(bytes: impl AsRef<[u8]>) -> Inspection {
    judge_as("model.h5", bytes)
}

#[track_caller]
fn assert_judged(inspection: &Inspection, verdict: InspectionVerdict, code: &str) {
    let codes: Vec<&str> = inspection.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!((inspection.verdict, codes), (verdict, vec![code]), "{:?}", inspection.findings);
}

#[track_caller]
fn assert_ok(inspection: &Inspection) {
    assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
}

/// A Keras model of one layer.
fn model(config: &str) -> Vec<u8> {
    let mut file = Builder::new();
    let kernel = file.dataset(&[3, 4]);
    let bias = file.dataset(&[4]);
    let layer = file.group(&[("bias:0", bias), ("kernel:0", kernel)], &[]);
    let weights = file.group(&[("dense", layer)], &[]);
    let config = file.text_attribute("model_config", config);
    let root = file.group(&[("model_weights", weights)], &[config, fixed_attribute("keras_version", "2.15.0")]);
    file.build(root)
}

#[test]
fn a_keras_model_is_described_by_its_datasets_and_attributes() {
    let inspection = judge(model(DENSE));
    assert_ok(&inspection);
    assert_eq!((inspection.parameters, inspection.files[0].tensor_count), (Some(16), Some(2)));
    assert_eq!(inspection.quantization.as_deref(), Some("float32"));
    let facts = &inspection.files[0].metadata;
    assert_eq!((&facts["keras_version"], &facts["class_name"]), (&json!("2.15.0"), &json!("Sequential")));
}

#[test]
fn code_in_a_configuration_is_dangerous_however_the_attribute_is_stored() {
    assert_judged(&judge(model(LAMBDA)), InspectionVerdict::Dangerous, "KERAS_LAMBDA");
    let mut file = Builder::new();
    let root = file.group(&[], &[fixed_attribute("model_config", LAMBDA)]);
    assert_judged(&judge(file.build(root)), InspectionVerdict::Dangerous, "KERAS_LAMBDA");
    let mut file = Builder::new();
    let group = file.group(&[], &[fixed_attribute("model_config", LAMBDA)]);
    let root = file.group(&[("a", group)], &[]);
    assert_judged(&judge_as("a.bin", file.build(root)), InspectionVerdict::Dangerous, "KERAS_LAMBDA");
}

#[test]
fn data_in_other_files_are_dangerous() {
    let mut file = Builder::new();
    let dataset = file.object(&[dataspace(&[4]), float32(), external_files(), contiguous(u64::MAX, 16)]);
    let root = file.group(&[("x", dataset)], &[]);
    assert_judged(&judge(file.build(root)), InspectionVerdict::Dangerous, "HDF5_EXTERNAL_STORAGE");
    let mut file = Builder::new();
    let root = file.object(&[external_link("x", "/etc/passwd.h5")]);
    assert_judged(&judge(file.build(root)), InspectionVerdict::Dangerous, "HDF5_EXTERNAL_LINK");
    let mut file = Builder::new();
    let root = file.object(&[(0x08, vec![4, 3, 0, 0]), dataspace(&[4]), float32()]);
    assert_judged(&judge(file.build(root)), InspectionVerdict::Dangerous, "HDF5_EXTERNAL_STORAGE");
}

#[test]
fn an_object_that_is_not_read_does_not_hide_the_others() {
    let mut file = Builder::new();
    let (_, space) = dataspace(&[]);
    let mut shared = vec![2, 1, 2, 0, 8, 0];
    shared.extend((space.len() as u64).to_le_bytes());
    let unread = file.object(&[(0x0c, shared.clone())]);
    let evil = file.group(&[], &[(0x0c, shared), fixed_attribute("model_config", LAMBDA)]);
    for links in [[("a", unread), ("b", evil)], [("a", evil), ("b", unread)]] {
        let mut file = file.clone();
        let root = file.group(&links, &[]);
        let inspection = judge(file.build(root));
        let mut codes: Vec<&str> = inspection.findings.iter().map(|finding| finding.code.as_str()).collect();
        codes.sort_unstable();
        assert_eq!((inspection.verdict, codes), (InspectionVerdict::Dangerous, vec!["HDF5_NOT_READ", "KERAS_LAMBDA"]));
    }
}

#[test]
fn links_in_a_heap_are_followed() {
    let mut file = Builder::new();
    let kernel = file.dataset(&[3, 4]);
    let names: Vec<String> = (0..20).map(|number| format!("layer{number}")).collect();
    let links: Vec<_> = names.iter().map(|name| hard_link(name, kernel)).collect();
    let root = file.dense_group(&links);
    let inspection = judge(file.clone().build(root));
    assert_ok(&inspection);
    assert_eq!(inspection.parameters, Some(12));
    let root = file.dense_group(&[hard_link("a", kernel), external_link("b", "/etc/passwd.h5")]);
    let mut bytes = file.build(root);
    assert_judged(&judge(&bytes), InspectionVerdict::Dangerous, "HDF5_EXTERNAL_LINK");
    let node = bytes.windows(4).rposition(|window| window == b"BTLF").unwrap();
    bytes[node + 8] ^= 1;
    assert_judged(&judge(&bytes), InspectionVerdict::Malformed, "HDF5_CHECKSUM");
}

#[test]
fn one_text_under_many_objects_is_not_read_for_each_of_them() {
    let mut file = Builder::new();
    let layers = vec![r#"{"class_name":"Dense","config":{}}"#; 2000].join(",");
    let config = file.text_attribute("model_config", &format!(r#"{{"class_name":"S","config":[{layers}]}}"#));
    let names: Vec<String> = (0..500).map(|number| format!("g{number}")).collect();
    let groups: Vec<(&str, u64)> =
        names.iter().map(|name| (name.as_str(), file.group(&[], std::slice::from_ref(&config)))).collect();
    let root = file.group(&groups, &[]);
    assert_judged(&judge(file.build(root)), InspectionVerdict::Unscannable, "HDF5_TOO_LARGE");
}

#[test]
fn objects_that_link_to_each_other_are_visited_once() {
    let mut file = Builder::new();
    // A link message may name any address: here, that of the group it stands in.
    let address = file.clone().object(&[]);
    let mut link = vec![1, 0, 4];
    link.extend(b"self");
    link.extend(address.to_le_bytes());
    let root = file.object(&[(0x06, link)]);
    assert_eq!(root, address);
    assert_ok(&judge(file.build(root)));
}

#[test]
fn datasets_that_do_not_fit_are_malformed() {
    let with = |shape: &[u64], address: u64, length: u64| {
        let mut file = Builder::new();
        let dataset = file.object(&[dataspace(shape), float32(), contiguous(address, length)]);
        let root = file.group(&[("x", dataset)], &[]);
        judge(file.build(root))
    };
    assert_judged(&with(&[4], 96, 12), InspectionVerdict::Malformed, "HDF5_DATASET_SIZE");
    assert_judged(&with(&[1 << 20], 96, 4 << 20), InspectionVerdict::Malformed, "HDF5_OUT_OF_BOUNDS");
    assert_judged(&with(&[1 << 40, 1 << 40], 96, 0), InspectionVerdict::Malformed, "HDF5_SIZE_OVERFLOW");
    assert_ok(&with(&[4], u64::MAX, 16));
}

#[test]
fn names_that_would_climb_are_malformed() {
    for name in ["..", ".", "a/b"] {
        let mut file = Builder::new();
        let dataset = file.dataset(&[1]);
        let root = file.group(&[(name, dataset)], &[]);
        assert_judged(&judge(file.build(root)), InspectionVerdict::Malformed, "HDF5_INVALID_VALUE");
    }
}

#[test]
fn what_stands_before_and_behind_the_file_is_reported() {
    let mut trailing = model(DENSE);
    trailing.extend(b"more");
    assert_judged(&judge(trailing), InspectionVerdict::Suspicious, "HDF5_TRAILING_BYTES");
    let mut truncated = model(DENSE);
    truncated.truncate(truncated.len() - 1);
    assert_judged(&judge(truncated), InspectionVerdict::Malformed, "HDF5_TRUNCATED");
}

#[test]
fn a_user_block_is_searched_for_the_file_and_reported_when_it_says_something() {
    let with = |block: &[u8]| {
        let mut file = block.to_vec();
        file.resize(512, 0);
        let mut model = model(DENSE);
        let end = model.len() as u64 + 512;
        model[40..48].copy_from_slice(&end.to_le_bytes());
        judge([file, model].concat())
    };
    assert_ok(&with(b""));
    assert_judged(&with(b"#!/bin/sh\n"), InspectionVerdict::Suspicious, "HDF5_USER_BLOCK");
}

#[test]
fn filters_that_need_a_library_deserve_a_look() {
    let with = |id: u16| {
        let mut file = Builder::new();
        let mut pipeline = vec![1, 1, 0, 0, 0, 0, 0, 0];
        pipeline.extend(id.to_le_bytes());
        pipeline.extend([0; 6]);
        let layout = (0x08, vec![3, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0]);
        let dataset = file.object(&[dataspace(&[4]), float32(), layout, (0x0b, pipeline)]);
        let root = file.group(&[("x", dataset)], &[]);
        judge(file.build(root))
    };
    assert_ok(&with(1));
    assert_judged(&with(32_015), InspectionVerdict::Suspicious, "HDF5_PLUGIN_FILTER");
}

#[test]
fn a_keras_configuration_is_known_by_its_shape() {
    let keras = judge_as("config.json", LAMBDA.as_bytes());
    assert_judged(&keras, InspectionVerdict::Dangerous, "KERAS_LAMBDA");
    assert_judged(&judge_as("notes.json", LAMBDA.as_bytes()), InspectionVerdict::Dangerous, "KERAS_LAMBDA");
    let escaped = LAMBDA.replace("class_name", "class\\u005fname");
    assert_judged(&judge_as("config.json", escaped.into_bytes()), InspectionVerdict::Dangerous, "KERAS_LAMBDA");
    let transformers = judge_as("config.json", br#"{"model_type":"bert","class_name":"x"}"#);
    assert_ok(&transformers);
    assert_eq!(transformers.architecture.as_deref(), Some("bert"));
    // What both libraries would read is judged for both.
    let both = br#"{"model_type":"x","auto_map":{},"class_name":"Lambda","config":{}}"#;
    let codes: Vec<String> = judge_as("config.json", both).findings.into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["REMOTE_CODE", "KERAS_LAMBDA"]);
}
