//! Models in several files: Transformers folders, adapters and models that embed.

use std::path::Path;

use inference_probe::ProbeFile;
use verifier::evidence::{Conformance, ProbeReport, ProbeVerdict};
use weighhouse_tests::gguf::TinyLlama;
use weighhouse_tests::gguf::architectures::{self, File};
use weighhouse_tests::safetensors::{Builder, Tensor};

use crate::support::{LIMITS, codes, open, probe, probe_adapter};

fn opened(files: &[File]) -> Vec<ProbeFile> {
    files.iter().map(|(name, bytes)| open(name, bytes)).collect()
}

fn checkpoint(name: &str) -> Vec<File> {
    architectures::checkpoints().into_iter().find(|known| known.name == name).unwrap().files()
}

/// The model is of random weights: everything up to its predictions is in order.
#[track_caller]
fn assert_runs_degenerate(report: &ProbeReport) {
    assert_eq!(report.levels.len(), 5, "{report:#?}");
    assert!(codes(report).contains(&"DEGENERATE_PERPLEXITY"), "{report:#?}");
}

#[test]
fn a_transformers_folder_is_run() {
    for name in ["llama", "llama-shards", "llama-bf16"] {
        let report = probe(opened(&checkpoint(name)), LIMITS);
        assert_runs_degenerate(&report);
        assert_eq!(report.architecture.as_deref(), Some("llama"));
        assert_eq!(report.conformance, Some(Conformance::Verified));
        assert!(report.levels[0].detail.as_ref().unwrap().starts_with("safetensors of `llama`"), "{report:#?}");
    }
}

#[test]
fn a_folder_without_its_tokenizer_is_unsupported() {
    let files: Vec<File> = checkpoint("llama").into_iter().filter(|(name, _)| name != "tokenizer.json").collect();
    let report = probe(opened(&files), LIMITS);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Unsupported, vec!["TOKENIZER_UNSUPPORTED"]));
}

#[test]
fn a_folder_that_lacks_a_part_fails() {
    let files: Vec<File> =
        checkpoint("llama-shards").into_iter().filter(|(name, _)| !name.contains("00002-of")).collect();
    let report = probe(opened(&files), LIMITS);
    assert_eq!(report.verdict, ProbeVerdict::Failed);
    assert_eq!(codes(&report)[0], "MISSING_TENSOR", "{report:#?}");
}

#[test]
fn weights_without_their_configuration_are_unsupported_with_advice() {
    let files: Vec<File> = checkpoint("llama").into_iter().filter(|(name, _)| name != "config.json").collect();
    let report = probe(opened(&files), LIMITS);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Unsupported, vec!["CONTAINER_UNSUPPORTED"]));
    assert!(report.findings[0].remedy.contains("folder"), "{report:#?}");
}

#[test]
fn configurations_that_the_engine_does_not_follow_are_unsupported_by_name() {
    for (from, to, told) in [
        (r#""model_type":"llama""#, r#""model_type":"unheard-of""#, "unheard-of"),
        (r#""hidden_act":"silu""#, r#""hidden_act":"relu""#, "hidden_act"),
        (r#""vocab_size""#, r#""quantization_config":{"quant_method":"gptq"},"vocab_size""#, "quantization_config"),
    ] {
        let mut files = checkpoint("llama");
        let (_, config) = files.iter_mut().find(|(name, _)| name == "config.json").unwrap();
        let changed = String::from_utf8(config.clone()).unwrap().replace(from, to);
        assert_ne!(changed.as_bytes(), config.as_slice(), "{from}");
        *config = changed.into_bytes();
        let report = probe(opened(&files), LIMITS);
        assert_eq!(report.verdict, ProbeVerdict::Unsupported, "{report:#?}");
        assert!(report.reason.contains(told), "{}", report.reason);
    }
}

/// An adapter in PEFT's form for the output of [`TinyLlama`], which favors some tokens by about `up`.
fn adapter(inputs: u64, outputs: u64, up: f32) -> Vec<File> {
    let name = |side: &str| format!("base_model.model.lm_head.lora_{side}.weight");
    let length = |elements: u64| usize::try_from(elements).unwrap();
    let favors: Vec<f32> =
        [-1.0, 0.0, 1.0].into_iter().cycle().map(|sign: f32| sign * up).take(length(2 * outputs)).collect();
    let mut weights = Builder::new();
    weights.tensors = vec![
        Tensor::f32(&name("A"), &[2, inputs], &vec![0.01; length(2 * inputs)]),
        Tensor::f32(&name("B"), &[outputs, 2], &favors),
    ];
    let config = r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"bias":"none"}"#;
    vec![
        ("adapter_config.json".to_owned(), config.as_bytes().to_vec()),
        ("adapter_model.safetensors".to_owned(), weights.build()),
    ]
}

fn base() -> (Vec<ProbeFile>, u64, u64) {
    let bytes = TinyLlama::fluent().build();
    let header = verifier::format::gguf::read_header(&bytes).unwrap();
    let changed = header.tensor("output.weight").unwrap();
    (vec![open("base.gguf", &bytes)], changed.dimensions[0], changed.dimensions[1])
}

#[test]
fn an_adapter_is_run_on_its_base() {
    let (base, inputs, outputs) = base();
    let report = probe_adapter(opened(&adapter(inputs, outputs, 0.001)), base);
    assert!(matches!(report.verdict, ProbeVerdict::Passed | ProbeVerdict::PassedWithWarnings), "{report:#?}");
    let measured = report.adapter.unwrap();
    assert_eq!((measured.rank, measured.targets), (2, 1));
    let calibration = report.calibration.unwrap();
    assert!((calibration.perplexity / measured.base_perplexity - 1.0).abs() < 0.1, "{calibration:?} {measured:?}");
}

#[test]
fn an_adapter_that_ruins_its_base_is_told_apart() {
    let (base, inputs, outputs) = base();
    let report = probe_adapter(opened(&adapter(inputs, outputs, 1_000.0)), base);
    let found = codes(&report);
    assert!(found.contains(&"ADAPTER_RAISES_PERPLEXITY"), "{report:#?}");
}

#[test]
fn an_adapter_that_is_not_for_this_base_fails() {
    let (base, inputs, outputs) = base();
    let report = probe_adapter(opened(&adapter(inputs, outputs + 1, 0.001)), base);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Failed, vec!["ADAPTER_MISMATCH"]));
}

#[test]
fn a_base_with_a_weight_that_is_not_a_number_fails_with_its_adapter() {
    let (_, inputs, outputs) = base();
    let broken = TinyLlama::fluent().not_a_number_in("blk.1.ffn_up.weight").build();
    let report = probe_adapter(opened(&adapter(inputs, outputs, 0.001)), vec![open("base.gguf", &broken)]);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Failed, vec!["NON_FINITE_WEIGHTS"]));
    assert_eq!(report.findings[0].path.as_deref(), Some("base.gguf"));
}

#[test]
fn an_adapter_whose_rank_is_not_that_of_its_configuration_is_unsupported() {
    let (base, inputs, outputs) = base();
    let mut files = adapter(inputs, outputs, 0.001);
    files[0].1 = br#"{"peft_type":"LORA","r":8,"lora_alpha":4}"#.to_vec();
    let report = probe_adapter(opened(&files), base);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Unsupported, vec!["TENSOR_UNSUPPORTED"]));
}

#[test]
fn a_model_beside_an_adapter_is_one_too_many() {
    let (base, inputs, outputs) = base();
    let mut files = opened(&adapter(inputs, outputs, 0.001));
    files.push(open("other.gguf", &TinyLlama::new().build()));
    let report = probe_adapter(files, base);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Unsupported, vec!["SEVERAL_MODELS"]));
}

#[test]
fn weights_beside_the_model_are_named() {
    let mut files = opened(&checkpoint("llama"));
    files.push(open("consolidated.safetensors", b"\x02\0\0\0\0\0\0\0{}"));
    let report = probe(files, LIMITS);
    assert!(codes(&report).contains(&"WEIGHTS_NOT_PROBED"), "{report:#?}");
    let files = vec![open("model.gguf", &TinyLlama::fluent().build()), open("model.onnx", b"onnx")];
    let report = probe(files, LIMITS);
    assert_eq!(report.verdict, ProbeVerdict::PassedWithWarnings, "{report:#?}");
    assert!(codes(&report).contains(&"WEIGHTS_NOT_PROBED"), "{report:#?}");
}

#[test]
fn a_weight_that_nothing_is_computed_with_is_looked_at_too() {
    let mut files = checkpoint("llama");
    let mut extra = Builder::new();
    extra.tensors = vec![Tensor::f32("model.layers.0.self_attn.rotary_emb.inv_freq", &[2], &[1.0, f32::NAN])];
    files.push(("model-extra.safetensors".to_owned(), extra.build()));
    for (name, _) in files.iter_mut().filter(|(name, _)| name == "model.safetensors") {
        *name = "model-rest.safetensors".to_owned();
    }
    let report = probe(opened(&files), LIMITS);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Failed, vec!["NON_FINITE_WEIGHTS"]));
}

#[test]
fn a_limit_of_a_document_is_inconclusive() {
    let mut files = opened(&checkpoint("llama"));
    files.retain(|file| file.name != "config.json");
    files.push(open("config.json", &vec![b' '; (1 << 20) + 1]));
    let report = probe(files, LIMITS);
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Inconclusive, vec!["FILE_TOO_LARGE"]));
}

#[test]
fn a_model_of_many_files_is_as_confined_as_any_other() {
    let mut files = opened(&checkpoint("llama"));
    files.extend((0..70).map(|number| open(&format!("note-{number}.txt"), b"text")));
    let report = probe(files, LIMITS);
    let sandbox = report.sandbox.as_ref().unwrap();
    assert_eq!((sandbox.landlock.as_str(), sandbox.seccomp), ("full", true), "{report:#?}");
    assert!(sandbox.gaps.is_empty(), "{:?}", sandbox.gaps);
}

#[test]
fn an_adapter_without_its_base_is_unsupported_with_advice() {
    let report = probe_adapter(opened(&adapter(8, 8, 0.001)), Vec::new());
    assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Unsupported, vec!["ADAPTER_WITHOUT_BASE"]));
}

#[test]
fn an_embedding_model_of_random_weights_is_degenerate() {
    for case in architectures::encoders().into_iter().filter(|case| case.architecture == "bert") {
        let report = probe(vec![open("model.gguf", &(case.build)())], LIMITS);
        assert_eq!(report.levels.len(), 5, "{report:#?}");
        assert_eq!((report.verdict, codes(&report)), (ProbeVerdict::Failed, vec!["DEGENERATE_EMBEDDINGS"]));
    }
}

/// The one real model that embeds; see `tests/support/fetch-models`.
#[test]
fn all_minilm_tells_paraphrases_from_other_sentences() {
    let Some(folder) = weighhouse_tests::environment::models() else { return };
    let folder = folder.join("all-MiniLM-L6-v2");
    let names =
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json"];
    let open = |name: &&str| open_file(&folder, name);
    let report = probe(names.iter().map(open).collect(), LIMITS);
    assert_eq!(report.verdict, ProbeVerdict::Passed, "{report:#?}");
    let embedding = report.embedding.unwrap();
    assert_eq!((embedding.dimensions, embedding.pooling.as_str()), (384, "mean"));
    assert!(embedding.paraphrase_cosine > embedding.unrelated_cosine + 0.2, "{embedding:?}");
    assert!(embedding.deterministic);
}

fn open_file(folder: &Path, name: &str) -> ProbeFile {
    ProbeFile { name: name.to_owned(), file: fs_err::File::open(folder.join(name)).unwrap().into_file() }
}
