//! What inspection says when files are seen together.

use verifier::evidence::{Inspection, InspectionVerdict};
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::gguf::{Builder as Gguf, Tensor as GgufTensor, TinyLlama, Value};
use weighhouse_tests::protobuf::Message;
use weighhouse_tests::safetensors::{Builder, Tensor};

fn inspect_files(files: &[(&str, Vec<u8>)]) -> Inspection {
    let entries: Vec<FileEntry<'_>> = files.iter().map(|(path, bytes)| FileEntry { path, source: bytes }).collect();
    inspect(&entries)
}

fn codes(inspection: &Inspection) -> Vec<&str> {
    inspection.findings.iter().map(|finding| finding.code.as_str()).collect()
}

fn shard(names: &[&str]) -> Vec<u8> {
    let add = |file: Builder, name: &&str| file.tensor(Tensor::f32(name, &[4], &[1.0; 4]));
    names.iter().fold(Builder::new(), add).build()
}

fn index(pairs: &[(&str, &str)]) -> Vec<u8> {
    let pairs: Vec<String> = pairs.iter().map(|(tensor, file)| format!("\"{tensor}\":\"{file}\"")).collect();
    format!("{{\"metadata\":{{}},\"weight_map\":{{{}}}}}", pairs.join(",")).into_bytes()
}

const ONE: &str = "model-00001-of-00002.safetensors";
const TWO: &str = "model-00002-of-00002.safetensors";

#[test]
fn an_index_that_agrees_with_its_shards_is_fine() {
    let found = inspect_files(&[
        ("m/model.safetensors.index.json", index(&[("a", ONE), ("b", TWO)])),
        (&format!("m/{ONE}"), shard(&["a"])),
        (&format!("m/{TWO}"), shard(&["b"])),
    ]);
    assert_eq!(found.verdict, InspectionVerdict::Ok, "{:?}", found.findings);
    assert_eq!(found.parameters, Some(8));
}

#[test]
fn a_tensor_that_only_the_file_has_is_found() {
    let found = inspect_files(&[
        ("model.safetensors.index.json", index(&[("a", ONE), ("b", TWO)])),
        (ONE, shard(&["a", "hidden"])),
        (TWO, shard(&["b"])),
    ]);
    assert_eq!(codes(&found), ["INDEX_MISMATCH"]);
    assert_eq!(found.findings[0].path.as_deref(), Some(ONE));
    assert_eq!(found.verdict, InspectionVerdict::Malformed);
}

#[test]
fn a_shard_that_is_missing_is_named_unless_only_the_index_was_asked_about() {
    let named = ("model.safetensors.index.json", index(&[("a", ONE), ("b", TWO)]));
    let found = inspect_files(&[named.clone(), (ONE, shard(&["a"]))]);
    assert_eq!(codes(&found), ["INDEX_FILE_MISSING"]);
    assert!(found.findings[0].detail.contains(TWO));
    assert_eq!(inspect_files(&[named]).verdict, InspectionVerdict::Ok);
}

#[test]
fn an_index_that_points_outside_its_folder_is_dangerous() {
    for target in ["../other.safetensors", "/etc/passwd", "a/../../b", "C:\\\\x", "https://example.org/x", ""] {
        let found = inspect_files(&[("model.safetensors.index.json", index(&[("a", target)]))]);
        assert_eq!(found.verdict, InspectionVerdict::Dangerous, "{target}");
        assert_eq!(codes(&found), ["INDEX_OUTSIDE_FOLDER"], "{target}");
    }
}

#[test]
fn a_tensor_that_an_index_gives_twice_is_refused() {
    let found = inspect_files(&[("model.safetensors.index.json", index(&[("a", ONE), ("a", TWO)]))]);
    assert_eq!(codes(&found), ["INDEX_DUPLICATE_KEY"]);
}

fn part(number: u16, count: u16, tensors: i32, name: &str) -> Vec<u8> {
    let first = number == 0;
    let file =
        if first { Gguf::minimal() } else { Gguf::new().metadata("general.architecture", Value::string("llama")) };
    file.metadata("split.no", Value::U16(number))
        .metadata("split.count", Value::U16(count))
        .metadata("split.tensors.count", Value::I32(tensors))
        .tensor(GgufTensor::f32(name, &[8], &[1.0; 8]))
        .build()
}

/// Tensors in both parts: the first has one more.
const BOTH: i32 = 3;

#[test]
fn parts_of_a_split_model_must_be_complete_and_differ() {
    let count = BOTH;
    let inspect_parts = |parts: &[Vec<u8>]| {
        let names: Vec<String> = (1..).take(parts.len()).map(|number| format!("m-{number:05}-of-00002.gguf")).collect();
        let files: Vec<(&str, Vec<u8>)> = names.iter().map(String::as_str).zip(parts.iter().cloned()).collect();
        let found = inspect_files(&files);
        codes(&found).iter().map(|code| (*code).to_owned()).collect::<Vec<_>>()
    };
    let good = [part(0, 2, count, "x"), part(1, 2, count, "y")];
    assert!(inspect_parts(&good).is_empty());
    let twice = [part(0, 2, count, "x"), part(1, 2, count, "x")];
    assert_eq!(inspect_parts(&twice), ["SPLIT_INCONSISTENT"], "the same tensor in both");
    assert_eq!(inspect_parts(&[part(0, 2, count, "x"), part(0, 2, count, "y")]), ["SPLIT_INCONSISTENT"]);
    let other = ("config.json", b"{}".to_vec());
    assert_eq!(codes(&inspect_files(&[("m-00001-of-00002.gguf", good[0].clone()), other])), ["SPLIT_PART_MISSING"]);
    assert!(inspect_parts(&good[..1]).is_empty(), "one part that was asked about alone");
}

#[test]
fn a_part_with_more_tensors_than_promised_is_found() {
    let count = BOTH;
    let found = inspect_files(&[
        ("m-00001-of-00002.gguf", part(0, 2, count + 1, "x")),
        ("m-00002-of-00002.gguf", part(1, 2, count + 1, "y")),
    ]);
    assert!(codes(&found).contains(&"SPLIT_INCONSISTENT"));
}

#[test]
fn a_vocabulary_longer_than_the_embedding_is_malformed() {
    let model = TinyLlama::new().builder();
    assert_eq!(inspect_files(&[("a.gguf", model.build())]).verdict, InspectionVerdict::Ok);
    let mut longer = model;
    for (key, value) in &mut longer.metadata {
        if key.as_slice() == b"tokenizer.ggml.tokens" {
            *value = Value::strings((0..10_000).map(|number| format!("t{number}")));
        }
    }
    let found = inspect_files(&[("a.gguf", longer.build())]);
    assert_eq!(found.verdict, InspectionVerdict::Malformed);
    assert!(codes(&found).contains(&"GGUF_VOCABULARY_MISMATCH"));
}

#[test]
fn an_adapter_must_hold_both_matrices_in_the_rank_of_its_configuration() {
    let config =
        |rank: u64| format!(r#"{{"peft_type":"LORA","r":{rank},"base_model_name_or_path":"a/b"}}"#).into_bytes();
    let adapter = |rank, weights: Vec<u8>| {
        inspect_files(&[("adapter_config.json", config(rank)), ("adapter_model.safetensors", weights)])
    };
    let good = adapter(4, Builder::lora(4).build());
    assert_eq!(good.verdict, InspectionVerdict::Ok, "{:?}", good.findings);
    assert_eq!(codes(&adapter(8, Builder::lora(4).build())), ["ADAPTER_RANK_MISMATCH"]);
    let mut half = Builder::lora(4);
    half.tensors.pop();
    assert_eq!(codes(&adapter(4, half.build())), ["ADAPTER_INCOMPLETE"]);
}

#[test]
fn a_pipeline_is_the_sum_of_its_components() {
    let found = inspect_files(&[
        (
            "model_index.json",
            br#"{"_class_name":"StableDiffusionPipeline","unet":["diffusers","U"],"vae":["diffusers","V"]}"#.to_vec(),
        ),
        ("unet/diffusion_pytorch_model.safetensors", shard(&["a", "b"])),
        ("unet/diffusion_pytorch_model.fp16.safetensors", shard(&["a"])),
        ("vae/diffusion_pytorch_model.safetensors", shard(&["a"])),
        ("unet/config.json", b"{\"_class_name\":\"U\"}".to_vec()),
    ]);
    assert_eq!(found.verdict, InspectionVerdict::Ok, "{:?}", found.findings);
    assert_eq!(found.parameters, Some(12));
    assert_eq!(found.architecture.as_deref(), Some("StableDiffusionPipeline"));
}

#[test]
fn a_second_copy_of_the_weights_is_not_added() {
    let found = inspect_files(&[
        (ONE, shard(&["a"])),
        (TWO, shard(&["b"])),
        ("consolidated.safetensors", shard(&["layers.a"])),
    ]);
    assert_eq!(found.parameters, Some(8));
}

#[test]
fn packed_weights_count_for_what_they_hold() {
    let layer = Builder::new()
        .tensor(Tensor::new("a.qweight", "I32", &[8, 64], vec![0; 8 * 64 * 4]))
        .tensor(Tensor::new("a.qzeros", "I32", &[1, 8], vec![0; 32]))
        .tensor(Tensor::new("a.scales", "F16", &[1, 64], vec![0; 128]));
    let config = br#"{"model_type":"llama","quantization_config":{"quant_method":"gptq","bits":4}}"#.to_vec();
    let found = inspect_files(&[("model.safetensors", layer.build()), ("config.json", config)]);
    assert_eq!(found.parameters, Some(8 * 8 * 64));
    assert_eq!(found.quantization.as_deref(), Some("GPTQ-4bit"));
    assert_eq!(found.quantization_method.as_deref(), Some("gptq"));
    assert_eq!(found.weight_bytes, Some(8 * 64 * 4 + 32 + 128));
    assert_eq!(found.precisions.len(), 1);
}

#[test]
fn memory_grows_with_the_context() {
    let found = inspect_files(&[("a.gguf", TinyLlama::new().build())]);
    let cache = found.cache.unwrap();
    assert!(cache.elements_per_token > 0);
    let (short, long) = (found.memory(1).unwrap(), found.memory(1000).unwrap());
    assert_eq!(short.weights, found.weight_bytes.unwrap());
    assert_eq!(long.total - short.total, 999 * 2 * cache.elements_per_token);
}

#[test]
fn weights_that_were_taken_for_text_are_told_from_forged_ones() {
    let model = TinyLlama::new().build();
    let mut windows = Vec::new();
    for byte in &model {
        if *byte == b'\n' {
            windows.push(b'\r');
        }
        windows.push(*byte);
    }
    let decoded = String::from_utf8_lossy(&model).into_owned().into_bytes();
    for bytes in [windows, decoded] {
        let found = inspect_files(&[("a.gguf", bytes)]);
        assert!(codes(&found).contains(&"TEXT_MODE_CORRUPTION"), "{:?}", found.findings);
        assert_eq!(found.verdict, InspectionVerdict::Malformed);
    }
    let page = inspect_files(&[("model.safetensors", b"<!DOCTYPE html><title>404</title>".to_vec())]);
    assert!(page.findings[0].detail.contains("web page"));
}

#[test]
fn program_text_is_named_and_code_that_loaders_run_is_suspicious() {
    let found = inspect_files(&[("train.py", b"print('x')\n".to_vec())]);
    assert_eq!((found.verdict, codes(&found)), (InspectionVerdict::Ok, vec!["PROGRAM_TEXT"]));
    let found = inspect_files(&[("custom_generate/generate.py", b"print('x')\n".to_vec())]);
    assert_eq!((found.verdict, codes(&found)), (InspectionVerdict::Suspicious, vec!["REMOTE_CODE"]));
}

#[test]
fn a_configuration_with_two_meanings_is_malformed() {
    let found = inspect_files(&[("config.json", br#"{"license":"mit","license":"other"}"#.to_vec())]);
    assert_eq!((found.verdict, codes(&found)), (InspectionVerdict::Malformed, vec!["CONFIG_DUPLICATE_KEY"]));
}

#[test]
fn external_data_of_an_onnx_model_must_be_beside_it() {
    let location = Message::new().text(1, "location").text(2, "weights.bin");
    let tensor = Message::new().number(1, 4).number(2, 1).text(8, "w").number(14, 1).message(13, &location);
    let graph = Message::new().message(1, &Message::new().text(4, "Relu")).message(5, &tensor);
    let model = Message::new().number(1, 8).text(2, "pytorch").message(7, &graph).build();
    let card = ("README.md", b"# Model".to_vec());
    let found = inspect_files(&[("m/model.onnx", model.clone()), card.clone()]);
    assert_eq!((found.verdict, codes(&found)), (InspectionVerdict::Malformed, vec!["EXTERNAL_DATA_MISSING"]));
    let found = inspect_files(&[("m/model.onnx", model), card, ("m/weights.bin", vec![0; 16])]);
    assert!(!codes(&found).contains(&"EXTERNAL_DATA_MISSING"), "{:?}", found.findings);
}
