//! Small generated models: what is sound passes, and each thing that is wrong is found at its level and by its name.

use crate::support::{LIMITS, codes, open, probe, probe_bytes};
use verifier::evidence::{Conformance, ProbeReport, ProbeVerdict, Status};
use weighhouse_tests::gguf::architectures::encoders;
use weighhouse_tests::gguf::{Builder, TensorType, TinyLlama, Value};

fn probe_gguf(builder: &Builder) -> ProbeReport {
    probe_bytes("model.gguf", &builder.build())
}

fn fluent() -> TinyLlama {
    TinyLlama::fluent()
}

/// The report stops at `level` with this verdict and this finding.
#[track_caller]
fn assert_stops(report: &ProbeReport, level: &str, verdict: ProbeVerdict, code: &str) {
    assert_eq!(report.verdict, verdict, "{report:#?}");
    assert_eq!(report.levels.last().map(|level| level.level.as_str()), Some(level), "{report:#?}");
    assert_eq!(codes(report).first(), Some(&code), "{report:#?}");
    assert!(!report.reason.is_empty());
}

#[track_caller]
fn assert_runs(report: &ProbeReport) {
    assert!(matches!(report.verdict, ProbeVerdict::Passed | ProbeVerdict::PassedWithWarnings), "{report:#?}");
    assert_eq!(report.levels.len(), 5);
    let generation = report.generation.as_ref().unwrap();
    assert!(generation.deterministic);
    assert_eq!(generation.token_digest.len(), 64);
}

#[test]
fn a_sound_model_runs_in_every_encoding() {
    for tensor_type in [TensorType::F32, TensorType::F16, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0] {
        let report = probe_bytes("model.gguf", &fluent().tensor_type(tensor_type).build());
        assert_runs(&report);
        assert_eq!(report.threads, 1);
        let sandbox = report.sandbox.unwrap();
        assert_eq!((sandbox.landlock.as_str(), sandbox.seccomp), ("full", true));
    }
}

#[test]
fn two_probes_of_the_same_bytes_agree() {
    let bytes = fluent().build();
    let (first, second) = (probe_bytes("a.gguf", &bytes), probe_bytes("a.gguf", &bytes));
    assert_eq!(first.calibration, second.calibration);
    let digest = |report: &ProbeReport| report.generation.as_ref().unwrap().token_digest.clone();
    assert_eq!(digest(&first), digest(&second));
    assert_eq!(first.findings, second.findings);
}

#[test]
fn a_model_without_a_chat_template_continues_a_plain_beginning() {
    let report = probe_bytes("model.gguf", &fluent().chat_template(None).build());
    assert_runs(&report);
    assert_eq!(report.generation.unwrap().prompt, "The planets of the solar system are");
}

#[test]
fn random_weights_are_degenerate() {
    let report = probe_bytes("model.gguf", &TinyLlama::new().build());
    assert_stops(&report, "L4", ProbeVerdict::Failed, "DEGENERATE_PERPLEXITY");
    assert!(report.calibration.is_some());
}

#[test]
fn a_file_that_is_not_gguf_inside_is_malformed() {
    let report = probe_bytes("model.gguf", b"not a model at all");
    assert_stops(&report, "L0", ProbeVerdict::Failed, "GGUF_BAD_MAGIC");
}

#[test]
fn a_truncated_file_fails_at_its_header() {
    let bytes = fluent().build();
    let report = probe_bytes("model.gguf", &bytes[..bytes.len() / 2]);
    assert_stops(&report, "L0", ProbeVerdict::Failed, "GGUF_TENSOR_OUT_OF_BOUNDS");
}

#[test]
fn other_containers_are_unsupported_by_name() {
    let report = probe_bytes("model.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    assert_stops(&report, "L0", ProbeVerdict::Unsupported, "CONTAINER_UNSUPPORTED");
    assert!(report.reason.contains("model.safetensors"), "{}", report.reason);
    let nothing = probe(Vec::new(), LIMITS);
    assert_stops(&nothing, "L0", ProbeVerdict::Unsupported, "CONTAINER_UNSUPPORTED");
}

#[test]
fn one_part_of_a_split_model_is_not_the_model() {
    let report = probe_bytes("model.gguf", &fluent().extra_metadata("split.count", Value::U16(3)).build());
    assert_stops(&report, "L0", ProbeVerdict::Failed, "SPLIT_INCOMPLETE");
    assert!(report.reason.contains("one of 3 parts"), "{}", report.reason);
}

#[test]
fn the_parts_of_a_split_model_are_one_model() {
    let whole = fluent().builder();
    let middle = whole.tensors.len() / 2;
    let mut parts = [whole.clone(), whole.clone()];
    parts[0].tensors.truncate(middle);
    parts[1].tensors.drain(..middle);
    parts[1].metadata.clear();
    let files = (0_u16..).zip(&mut parts).map(|(number, part)| {
        part.metadata.extend([(b"split.no".to_vec(), Value::U16(number)), (b"split.count".to_vec(), Value::U16(2))]);
        let name = format!("model-0000{}-of-00002.gguf", number + 1);
        open(&name, &part.build())
    });
    let mut files: Vec<_> = files.collect();
    files.reverse();
    let report = probe(files, LIMITS);
    assert_runs(&report);
    assert!(report.levels[0].detail.as_ref().unwrap().contains("in 2 parts"), "{report:#?}");
    assert_eq!(report.calibration, probe_gguf(&whole).calibration);
}

#[test]
fn an_unknown_architecture_is_unsupported_by_name() {
    let report = probe_bytes("model.gguf", &fluent().architecture("mamba").build());
    assert_stops(&report, "L1", ProbeVerdict::Unsupported, "ARCHITECTURE_UNSUPPORTED");
    assert!(report.reason.contains("mamba"), "{}", report.reason);
}

#[test]
fn keys_that_would_change_the_computation_are_unsupported() {
    for (key, value) in [
        ("llama.rope.scaling.type", Value::string("unheard-of")),
        ("llama.expert_group_count", Value::U32(8)),
        ("llama.attn_logit_softcapping", Value::F32(50.0)),
        ("llama.logit_scale", Value::F32(0.5)),
        ("llama.attention.causal", Value::Bool(false)),
    ] {
        let report = probe_bytes("model.gguf", &fluent().extra_metadata(key, value).build());
        assert_stops(&report, "L1", ProbeVerdict::Unsupported, "HYPERPARAMETER_UNSUPPORTED");
        assert!(report.reason.contains(key), "{}", report.reason);
    }
}

#[test]
fn linear_scaling_of_positions_is_computed() {
    let scaled = fluent()
        .extra_metadata("llama.rope.scaling.type", Value::string("linear"))
        .extra_metadata("llama.rope.scaling.factor", Value::F32(2.0));
    assert_runs(&probe_bytes("model.gguf", &scaled.build()));
}

#[test]
fn impossible_sizes_fail() {
    let mut builder = fluent().builder();
    set(&mut builder, "llama.attention.head_count", Value::U32(0));
    assert_stops(&probe_gguf(&builder), "L1", ProbeVerdict::Failed, "HYPERPARAMETER_INVALID");
    let mut builder = fluent().builder();
    builder.metadata.retain(|(key, _)| key != b"llama.attention.layer_norm_rms_epsilon");
    assert_stops(&probe_gguf(&builder), "L1", ProbeVerdict::Failed, "HYPERPARAMETER_INVALID");
}

fn set(builder: &mut Builder, key: &str, value: Value) {
    builder.metadata.iter_mut().find(|(name, _)| name == key.as_bytes()).expect("the key is there").1 = value;
}

#[test]
fn a_missing_tensor_fails_by_name() {
    for name in ["token_embd.weight", "output_norm.weight", "blk.1.ffn_up.weight"] {
        let report = probe_bytes("model.gguf", &fluent().without_tensor(name).build());
        assert_stops(&report, "L1", ProbeVerdict::Failed, "MISSING_TENSOR");
        assert!(report.reason.contains(name), "{}", report.reason);
    }
}

#[test]
fn a_tensor_of_the_wrong_shape_fails() {
    let mut model = fluent();
    model.feed_forward_length = 64;
    let mut builder = model.builder();
    let tensor = builder.tensors.iter_mut().find(|tensor| tensor.name == b"blk.0.ffn_down.weight").unwrap();
    tensor.dimensions.reverse();
    assert_stops(&probe_gguf(&builder), "L1", ProbeVerdict::Failed, "TENSOR_SHAPE");
}

#[test]
fn a_tensor_that_the_architecture_does_not_have_is_unsupported() {
    let mut builder = fluent().builder();
    let mut extra = builder.tensors.last().unwrap().clone();
    extra.name = b"blk.0.attn_q_norm.weight".to_vec();
    builder.tensors.push(extra);
    let report = probe_gguf(&builder);
    assert_stops(&report, "L1", ProbeVerdict::Unsupported, "TENSOR_UNSUPPORTED");
    assert!(report.reason.contains("blk.0.attn_q_norm.weight"), "{}", report.reason);
}

#[test]
fn an_encoding_that_the_engine_lacks_is_unsupported_by_name() {
    const I32: u32 = 26;
    let mut builder = fluent().tensor_type(TensorType::F32).builder();
    // A 32-bit integer has the length of a float.
    builder.tensors.iter_mut().find(|tensor| tensor.name == b"blk.0.attn_q.weight").unwrap().type_id = I32;
    let report = probe_gguf(&builder);
    assert_stops(&report, "L1", ProbeVerdict::Unsupported, "QUANTIZATION_UNSUPPORTED");
    assert!(report.reason.contains("I32"), "{}", report.reason);
}

#[test]
fn a_vocabulary_larger_than_the_embedding_fails() {
    let report = probe_bytes("model.gguf", &fluent().token_count(300).build());
    assert_stops(&report, "L1", ProbeVerdict::Failed, "VOCABULARY_MISMATCH");
}

#[test]
fn a_weight_that_is_not_a_number_fails_in_every_encoding() {
    for tensor_type in [TensorType::F32, TensorType::F16, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0] {
        let model = fluent().tensor_type(tensor_type).not_a_number_in("blk.1.attn_v.weight");
        let report = probe_bytes("model.gguf", &model.build());
        assert_stops(&report, "L2", ProbeVerdict::Failed, "NON_FINITE_WEIGHTS");
        assert!(report.reason.contains("blk.1.attn_v.weight"), "{}", report.reason);
    }
}

#[test]
fn a_tensor_of_zeros_fails() {
    let mut builder = fluent().builder();
    builder.tensors.iter_mut().find(|tensor| tensor.name == b"blk.0.ffn_up.weight").unwrap().data.fill(0);
    assert_stops(&probe_gguf(&builder), "L2", ProbeVerdict::Failed, "ALL_ZERO_TENSOR");
}

/// Of random weights, so that the vectors themselves are not sound.
#[test]
fn a_decoder_whose_header_pools_is_probed_as_a_model_that_embeds() {
    for (name, pooling) in [("qwen3-last-token", "last"), ("gemma-embedding", "mean")] {
        let case = encoders().into_iter().find(|case| case.name == name).unwrap();
        let report = probe_bytes("model.gguf", &(case.build)());
        assert_eq!(report.conformance, Some(Conformance::Verified), "{report:#?}");
        let embedding = report.embedding.as_ref().unwrap();
        assert_eq!((embedding.pooling.as_str(), embedding.deterministic), (pooling, true), "{report:#?}");
        assert!(report.generation.is_none());
    }
}

#[test]
fn a_tokenizer_that_the_engine_does_not_compute_is_unsupported() {
    for (key, value) in [("tokenizer.ggml.pre", "of-tomorrow"), ("tokenizer.ggml.model", "t5")] {
        let mut builder = fluent().builder();
        set(&mut builder, key, Value::string(value));
        let report = probe_gguf(&builder);
        assert_stops(&report, "L3", ProbeVerdict::Unsupported, "TOKENIZER_UNSUPPORTED");
        assert!(report.reason.contains(value), "{}", report.reason);
    }
}

#[test]
fn a_tokenizer_that_loses_plain_text_fails() {
    let mut builder = fluent().builder();
    let tokens = (0..261).map(|id| format!("token{id}"));
    set(&mut builder, "tokenizer.ggml.tokens", Value::strings(tokens));
    assert_stops(&probe_gguf(&builder), "L3", ProbeVerdict::Failed, "TOKENIZER_BROKEN");
}

#[test]
fn a_bad_chat_template_is_a_warning_with_its_name() {
    for (template, code) in [
        ("{% for message in messages %}{{ message.content }}", "CHAT_TEMPLATE_FAILS"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "CHAT_TEMPLATE_FAILS"),
        ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "CHAT_TEMPLATE_RUNAWAY"),
        ("Say hello.", "CHAT_TEMPLATE_DROPS_CONTENT"),
    ] {
        let report = probe_bytes("model.gguf", &fluent().chat_template(Some(template)).build());
        assert_runs(&report);
        assert_eq!(report.verdict, ProbeVerdict::PassedWithWarnings, "{template}");
        assert!(codes(&report).contains(&code), "{template}: {:?}", codes(&report));
        assert_eq!(report.levels[3].status, Status::Warned);
    }
}

#[test]
fn a_template_that_takes_the_context_for_itself_is_not_used() {
    let template = "{{ 'word ' * 2000 }}{% for message in messages %}{{ message.content }}{% endfor %}";
    let report = probe_bytes("model.gguf", &fluent().chat_template(Some(template)).build());
    assert_runs(&report);
    assert!(codes(&report).contains(&"CHAT_TEMPLATE_LONG"), "{:?}", codes(&report));
    assert_eq!(report.generation.unwrap().prompt, "The planets of the solar system are");
}

#[test]
fn two_models_in_one_probe_are_unsupported() {
    let files = ["a.gguf", "b.gguf"].map(|name| open(name, &fluent().build()));
    let report = probe(files.into(), LIMITS);
    assert_stops(&report, "L0", ProbeVerdict::Unsupported, "SEVERAL_MODELS");
}
