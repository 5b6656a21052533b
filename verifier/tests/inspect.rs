//! What inspection says of whole revisions.

use verifier::ReadAt;
use verifier::evidence::{Inspection, InspectionVerdict, Status};
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::environment;
use weighhouse_tests::gguf::{Builder, Tensor, TensorType, TinyLlama, Value};
use weighhouse_tests::safetensors;

fn inspect_bytes(files: &[(&str, Vec<u8>)]) -> Inspection {
    let entries: Vec<FileEntry<'_>> = files.iter().map(|(path, bytes)| FileEntry { path, source: bytes }).collect();
    inspect(&entries)
}

fn codes(inspection: &Inspection) -> Vec<&str> {
    inspection.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn a_quantized_model_is_summed_up() {
    let inspection = inspect_bytes(&[("model.gguf", TinyLlama::new().tensor_type(TensorType::Q4_1).build())]);
    assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
    assert_eq!(inspection.format.as_deref(), Some("gguf"));
    assert_eq!(inspection.architecture.as_deref(), Some("llama"));
    assert_eq!(inspection.quantization.as_deref(), Some("Q4_1"));
    assert!(inspection.context_length.is_some());
    let bits = inspection.bits_per_weight.unwrap();
    assert!((5.0..6.0).contains(&bits), "{bits}");
    assert_eq!(inspection.files[0].parameters, inspection.parameters);
    assert!(inspection.files[0].metadata.contains_key("general.architecture"));
}

#[test]
fn shards_are_added_and_described_by_their_configuration() {
    let inspection = inspect_bytes(&[
        ("model-00001-of-00002.safetensors", safetensors::Builder::good().build()),
        ("model-00002-of-00002.safetensors", safetensors::Builder::good().build()),
        ("config.json", br#"{"model_type":"bert","max_position_embeddings":512}"#.to_vec()),
    ]);
    assert_eq!(inspection.verdict, InspectionVerdict::Ok);
    assert_eq!((inspection.parameters, inspection.context_length), (Some(24), Some(512)));
    assert_eq!(inspection.architecture.as_deref(), Some("bert"));
    assert_eq!(inspection.quantization.as_deref(), Some("F32"));
}

#[test]
fn alternative_quantizations_are_not_added_up() {
    let one = inspect_bytes(&[("a.gguf", TinyLlama::new().build())]).parameters;
    let both = inspect_bytes(&[
        ("a.gguf", TinyLlama::new().tensor_type(TensorType::Q4_0).build()),
        ("b.gguf", TinyLlama::new().tensor_type(TensorType::Q8_0).build()),
    ]);
    assert_eq!(both.parameters, one);
    assert_eq!(both.quantization.as_deref(), Some("Q8_0"));
}

#[test]
fn formats_that_cannot_be_scanned_are_never_clean() {
    let cases: [(&str, &[u8], &str); 1] = [("a.rar", b"Rar!\x1a\x07\x01\0", "ARCHIVE_NOT_SCANNED")];
    for (path, bytes, code) in cases {
        let inspection = inspect_bytes(&[(path, bytes.to_vec())]);
        assert_eq!(codes(&inspection), [code], "{path}");
        assert_eq!(inspection.verdict.status(), Status::Inconclusive, "{path}");
    }
}

#[test]
fn a_suspicious_file_does_not_excuse_an_unscanned_one() {
    let inspection = inspect_bytes(&[
        ("a.rar", b"Rar!\x1a\x07\x01\0".to_vec()),
        ("config.json", br#"{"auto_map":{"AutoModel":"m.M"}}"#.to_vec()),
    ]);
    assert_eq!(codes(&inspection), ["ARCHIVE_NOT_SCANNED", "REMOTE_CODE"]);
    assert_eq!(inspection.verdict.status(), Status::Inconclusive);
}

#[test]
fn content_under_a_false_name_is_malformed() {
    let inspection = inspect_bytes(&[("model.safetensors", b"\x80\x04N.".to_vec())]);
    assert_eq!(codes(&inspection), ["EXTENSION_MISMATCH"]);
    assert_eq!(inspection.verdict, InspectionVerdict::Malformed);
    let inspection = inspect_bytes(&[("model.pt", b"\x89PNG\r\n\x1a\n".to_vec())]);
    assert_eq!(codes(&inspection), ["EXTENSION_MISMATCH"]);
}

#[test]
fn broken_weights_are_named_by_their_reader() {
    let twice = Builder::minimal()
        .metadata("general.license", Value::string("apache-2.0"))
        .metadata("general.license", Value::string("cc-by-nc-4.0"));
    let inspection = inspect_bytes(&[("a.gguf", twice.build()), ("b.safetensors", vec![0; 7])]);
    assert_eq!(codes(&inspection), ["GGUF_DUPLICATE_LICENSE_KEY", "SAFETENSORS_TRUNCATED"]);
    assert_eq!(inspection.verdict, InspectionVerdict::Malformed);
    assert_eq!(inspection.findings[0].path.as_deref(), Some("a.gguf"));
}

#[test]
fn big_endian_files_are_unsupported_and_not_malformed() {
    let inspection = inspect_bytes(&[("a.gguf", Builder { magic: *b"FUGG", ..Builder::minimal() }.build())]);
    assert_eq!(inspection.verdict.status(), Status::Unsupported);
}

#[test]
fn pointers_in_place_of_weights_are_found() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec();
    let inspection = inspect_bytes(&[("model.safetensors", pointer)]);
    assert_eq!(codes(&inspection), ["LFS_POINTER"]);
    assert_eq!(inspection.verdict, InspectionVerdict::Malformed);
}

#[test]
fn the_license_survives_a_flood_of_keys() {
    let mut builder = Builder::minimal();
    for index in 0..500 {
        builder = builder.metadata(format!("general.aaa{index}"), Value::U8(1));
    }
    let builder =
        builder.metadata("general.license", Value::string("mit")).metadata("x", Value::string("y".repeat(9000)));
    let inspection = inspect_bytes(&[("a.gguf", builder.build())]);
    let metadata = &inspection.files[0].metadata;
    assert_eq!(metadata["general.license"], "mit");
    assert!(serde_json::to_string(metadata).unwrap().len() < 64 * 1024);
}

#[test]
fn ordinary_side_files_are_recognized_without_findings() {
    let inspection = inspect_bytes(&[
        ("README.md", b"---\nlicense: mit\n---\n# Model\n".to_vec()),
        ("LICENSE", b"MIT License".to_vec()),
        ("model.sig", b"{}".to_vec()),
        ("tokenizer.json", b"{\"version\":\"1.0\"}".to_vec()),
        ("notes.txt", b"hello".to_vec()),
        ("picture.png", b"\x89PNG\r\n\x1a\n".to_vec()),
        (".gitkeep", Vec::new()),
    ]);
    assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
    let formats: Vec<&str> = inspection.files.iter().map(|file| file.format.as_str()).collect();
    assert_eq!(formats, ["model_card", "license", "signature", "json", "text", "image", "empty"]);
    assert_eq!(inspection.format, None);
    assert_eq!(inspection.parameters, None);
}

#[test]
fn a_storage_failure_is_inconclusive() {
    struct Broken;
    impl ReadAt for Broken {
        fn size(&self) -> u64 {
            100
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let inspection = inspect(&[FileEntry { path: "a.gguf", source: &Broken }]);
    assert_eq!(codes(&inspection), ["FILE_UNREADABLE"]);
    assert_eq!(inspection.verdict.status(), Status::Inconclusive);
}

#[test]
fn foreign_samples_of_other_formats_are_judged() {
    let Some(vectors) = environment::vectors() else { return };
    let verdict = |path: &str| inspect_bytes(&[(path, fs_err::read(vectors.join(path)).unwrap())]);
    assert_eq!(codes(&verdict("keras/malicious_lambda.h5")), ["KERAS_LAMBDA"]);
    assert_eq!(codes(&verdict("keras/safe_model.h5")), [""; 0]);
    assert_eq!(codes(&verdict("safetensors/safe_model.safetensors")), [""; 0]);
    let script = verdict("safetensors/script_injection.safetensors");
    assert_eq!((script.verdict, codes(&script)), (InspectionVerdict::Dangerous, vec!["SCRIPT_IN_METADATA"]));
}

#[test]
fn tensors_of_one_dominant_type_name_the_quantization() {
    let builder = Builder::new().tensor(Tensor::f32("norm", &[32], &[0.0; 32])).tensor(Tensor::new(
        "weights",
        &[64],
        39,
        vec![0; 34],
    ));
    let inspection = inspect_bytes(&[("a.gguf", builder.build())]);
    assert_eq!(inspection.quantization.as_deref(), Some("MXFP4"));
}

#[test]
fn a_program_under_the_name_of_data_is_dangerous() {
    let program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for name in ["libfast.so", "libfast.so.1", "tool"] {
        let found = inspect_bytes(&[(name, program.clone())]);
        assert_eq!((found.verdict, codes(&found)), (InspectionVerdict::Suspicious, vec!["EXECUTABLE_FILE"]), "{name}");
    }
    let found = inspect_bytes(&[("pytorch_model.bin", program)]);
    assert_eq!(found.verdict, InspectionVerdict::Dangerous);
    assert!(codes(&found).contains(&"DISGUISED_EXECUTABLE"));
}
