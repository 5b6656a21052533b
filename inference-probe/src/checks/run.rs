//! L4: does the model load, predict English and generate the same text twice?
//!
//! "It printed text" is not a check: a model with a wrong activation or swapped layers
//! still prints. What such damage cannot hide from is how badly the model then predicts a
//! text that it did not write.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use verifier::evidence::{Calibration, Finding, Fingerprint, Generation, Severity};
use verifier::format::gguf::Header;

use super::language::Language;
use super::structure::Structure;
use super::{Passed, Progress, Stop};
use crate::checkpoint::Checkpoint;
use crate::engine::decoder::{Decoder, EngineError};
use crate::engine::generate::{self, Continuation, Prediction, RunError};
use crate::engine::weights::{Adapter, Weights};
use crate::protocol::{self, Measurements};

/// The text that every model has to predict. Changing it makes perplexities incomparable with those of
/// earlier releases.
pub(crate) const CALIBRATION_TEXT: &str = "Water is essential for life on Earth. It covers about seventy percent of the \
planet's surface, mostly in oceans and seas. Plants absorb water through their roots and use sunlight to turn carbon \
dioxide into sugar and oxygen. Animals, including humans, need to drink water every day to stay healthy. When water \
is heated it turns into steam, and when it is cooled it freezes into ice.";
/// Most tokens of an answer.
pub(crate) const GENERATED_TOKENS: usize = 64;
/// Steps of this level, for its progress.
const STEPS: u64 = 5;
/// Longest text of a probe: the long text, or the prompt and what follows it.
pub(crate) const CONTEXT_TOKENS: u64 = 2_048;
/// Most tokens of the text that shows whether a model holds over a long context.
const LONG_TEXT_TOKENS: usize = 1_024;
/// Longest time for reading it, in seconds.
const LONG_TEXT_SECONDS: f64 = 60.0;
/// Logits of the fingerprint that are kept.
const SAMPLED_LOGITS: usize = 16;

/// Perplexity from which a model does not predict English, for any vocabulary.
const MAX_PERPLEXITY: f64 = 1_000.0;
/// The same as a share of the vocabulary, for small ones.
const MAX_PERPLEXITY_SHARE: f64 = 0.1;
/// Perplexity that a sound model of [`LARGE_PARAMETERS`] does not reach.
const SUSPICIOUS_PERPLEXITY: f64 = 60.0;
const LARGE_PARAMETERS: u64 = 100_000_000;
/// Bounds of mean entropy as a share of its maximum, the logarithm of the vocabulary.
const ENTROPY_SHARE: std::ops::RangeInclusive<f64> = 0.02..=0.8;
/// Share of the generated text that may be one loop.
const MAX_LOOP_SHARE: f64 = 0.5;
const MAX_LOOP_PERIOD: usize = 16;
/// Shorter texts may repeat themselves.
const LEAST_TOKENS_FOR_LOOPS: usize = 16;
const REMEDY: &str = "Compare the digest with the publisher's, or quantize the model again from its original weights.";

/// What the earlier levels hand to this one.
#[derive(Clone, Copy)]
pub(crate) struct Prepared<'a> {
    pub(crate) checkpoint: &'a Checkpoint<'a>,
    pub(crate) structure: &'a Structure,
    pub(crate) language: &'a Language,
    /// What changes the model of the checkpoint.
    pub(crate) adapter: Option<&'a Adapter<'a>>,
}

pub(crate) fn check(
    model: Prepared<'_>,
    measured: &mut Measurements,
    progress: Progress<'_>,
) -> Result<Passed<()>, Stop> {
    let (file, structure) = (model.checkpoint.name.as_str(), model.structure);
    let stop = |error: RunError| refused(file, error);
    let text = calibration_tokens(file, structure, model.language)?;
    let base = base_perplexity(model, &text).map_err(stop)?;
    if base.is_some_and(|perplexity| !perplexity.is_finite()) {
        let detail = "the base does not predict plain English at all";
        return Err(Stop::failed(vec![Finding::new("DEGENERATE_PERPLEXITY", Severity::High, detail, REMEDY).at(file)]));
    }
    let started = Instant::now();
    let weights = model
        .adapter
        .map_or_else(|| Weights::new(model.checkpoint), |adapter| Weights::with(model.checkpoint, adapter));
    let decoder = load(structure, &weights).map_err(stop)?;
    measured.load_milliseconds = Some(protocol::milliseconds(started.elapsed()));
    progress(1, STEPS);
    let prediction = generate::predict(&decoder, &text).map_err(stop)?;
    let mut findings = judge_prediction(&prediction, &model.checkpoint.header, structure);
    if let Some((adapter, base)) = model.adapter.zip(base) {
        findings.extend(super::adapter::judge(prediction.perplexity, base));
        measured.adapter = Some(super::adapter::measurement(adapter.deltas, base));
    }
    measured.calibration = Some(calibration(text.len(), prediction));
    let mut warnings = stop_if_fatal(file, findings)?;
    progress(2, STEPS);
    let (prompt, ends) = (&model.language.prompt_tokens, model.language.tokenizer.ends());
    let context = usize::try_from(structure.sizes.context_length).unwrap_or(usize::MAX);
    let limit = GENERATED_TOKENS.min(context.saturating_sub(prompt.len()).max(1));
    let first = generate::continue_greedily(&decoder, prompt, ends, limit).map_err(stop)?;
    progress(3, STEPS);
    let second = generate::continue_greedily(&decoder, prompt, ends, limit).map_err(stop)?;
    let generation = generation(model.language, &first, &second);
    warnings.extend(stop_if_fatal(file, judge_generation(&first, &second))?);
    progress(4, STEPS);
    let long = long_text(&text, structure, generation.prompt_tokens_per_second);
    generate::read(&decoder, &long).map_err(stop)?;
    measured.generation = Some(generation);
    let read = if long.is_empty() { String::new() } else { format!(", {} tokens read", long.len()) };
    let detail = format!("{} tokens generated twice with the same result{read}", first.tokens.len());
    Ok(Passed::new((), detail, warnings))
}

fn load(structure: &Structure, weights: &Weights<'_>) -> Result<Decoder, RunError> {
    let context = structure.sizes.context_length.min(CONTEXT_TOKENS);
    Ok(Decoder::load(structure.architecture, &structure.sizes, weights, context)?)
}

/// How well the base of an adapter predicts the calibration text without it; none for other models.
fn base_perplexity(model: Prepared<'_>, text: &[u32]) -> Result<Option<f64>, RunError> {
    if model.adapter.is_none() {
        return Ok(None);
    }
    let base = load(model.structure, &Weights::new(model.checkpoint))?;
    generate::predict(&base, text).map(|prediction| Some(prediction.perplexity))
}

/// The calibration text again and again, up to three quarters of the context; empty where that
/// would take too long at this speed.
fn long_text(text: &[u32], structure: &Structure, tokens_per_second: f64) -> Vec<u32> {
    let context = usize::try_from(structure.sizes.context_length).unwrap_or(usize::MAX);
    let length = (context / 4).saturating_mul(3).min(LONG_TEXT_TOKENS);
    #[expect(clippy::cast_precision_loss, reason = "the text has few tokens")]
    let seconds = length as f64 / tokens_per_second.max(f64::MIN_POSITIVE);
    let length = if seconds > LONG_TEXT_SECONDS { 0 } else { length };
    text.iter().copied().cycle().take(length).collect()
}

/// The findings as warnings, unless one of them fails the model.
fn stop_if_fatal(file: &str, findings: Vec<Finding>) -> Result<Vec<Finding>, Stop> {
    let findings: Vec<Finding> = findings.into_iter().map(|finding| finding.at(file)).collect();
    let is_fatal = findings.iter().any(|finding| finding.severity >= Severity::High);
    if is_fatal { Err(Stop::failed(findings)) } else { Ok(findings) }
}

fn refused(file: &str, error: RunError) -> Stop {
    match error {
        RunError::NotFinite(_) => {
            Stop::failed(vec![Finding::new("NON_FINITE_LOGITS", Severity::High, error.to_string(), REMEDY).at(file)])
        }
        RunError::Engine(error) => engine_refused(file, error),
    }
}

/// How a probe ends when the engine cannot go on: the model may be sound.
pub(super) fn engine_refused(file: &str, error: EngineError) -> Stop {
    match error {
        EngineError::Io(error) => Stop::unreadable(file, &error),
        error => Stop::inconclusive(
            Finding::new("ENGINE_ERROR", Severity::Medium, error.to_string(), "Report the file to the maintainers.")
                .at(file),
        ),
    }
}

/// The calibration text as the model reads it, at most as long as its context.
fn calibration_tokens(file: &str, structure: &Structure, language: &Language) -> Result<Vec<u32>, Stop> {
    let encoded = language.tokenizer.encode_document(CALIBRATION_TEXT);
    let mut tokens = encoded.unwrap_or_default();
    tokens.truncate(usize::try_from(structure.sizes.context_length).unwrap_or(usize::MAX));
    if tokens.len() < 2 {
        let detail = "fewer than two tokens of the calibration text fit the context";
        return Err(Stop::failed(vec![
            Finding::new("HYPERPARAMETER_INVALID", Severity::High, detail, REMEDY).at(file),
        ]));
    }
    super::language::check_ids(file, &tokens, structure.sizes.vocabulary_size)?;
    Ok(tokens)
}

fn judge_prediction(prediction: &Prediction, header: &Header, structure: &Structure) -> Vec<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "vocabularies are far below 2^52")]
    let vocabulary = structure.sizes.vocabulary_size as f64;
    let (perplexity, limit) = (prediction.perplexity, MAX_PERPLEXITY.min(vocabulary * MAX_PERPLEXITY_SHARE));
    let mut findings = Vec::new();
    if !(perplexity.is_finite() && perplexity < limit) {
        let detail =
            format!("plain English has a perplexity of {perplexity:.1}; a working model stays below {limit:.0}");
        findings.push(Finding::new("DEGENERATE_PERPLEXITY", Severity::High, detail, REMEDY));
    } else if perplexity > SUSPICIOUS_PERPLEXITY && header.parameters() >= LARGE_PARAMETERS {
        let detail = format!("plain English has a perplexity of {perplexity:.1}, high for a model of this size");
        findings.push(Finding::new("HIGH_PERPLEXITY", Severity::Medium, detail, REMEDY));
    }
    let share = prediction.mean_entropy / vocabulary.ln();
    if !ENTROPY_SHARE.contains(&share) {
        let detail =
            format!("predictions have {share:.3} of the greatest possible entropy, as from an untrained model");
        findings.push(Finding::new("DEGENERATE_ENTROPY", Severity::High, detail, REMEDY));
    }
    findings
}

/// The measurement as evidence; none where a number is not finite, which a finding then says.
fn calibration(tokens: usize, prediction: Prediction) -> Calibration {
    let finite = |number: f64| if number.is_finite() { number } else { f64::MAX };
    Calibration {
        tokens: tokens as u64,
        perplexity: finite(prediction.perplexity),
        mean_entropy: finite(prediction.mean_entropy),
        fingerprint: Some(fingerprint(&prediction.last)),
        top_logits: prediction.top_logits,
    }
}

fn fingerprint(logits: &[f32]) -> Fingerprint {
    #[expect(clippy::cast_possible_truncation, reason = "logits are far below 2^31 hundredths; others saturate")]
    let rounded = logits.iter().map(|logit| (logit * 100.0).round() as i32);
    let digest = rounded.fold(Sha256::new(), |hasher, number| hasher.chain_update(number.to_le_bytes()));
    let step = logits.len().div_ceil(SAMPLED_LOGITS).max(1);
    Fingerprint { digest: hex::encode(digest.finalize()), sample: logits.iter().step_by(step).copied().collect() }
}

fn judge_generation(first: &Continuation, second: &Continuation) -> Vec<Finding> {
    let mut findings = Vec::new();
    if first.tokens != second.tokens {
        let detail = "two greedy runs over the same prompt gave different tokens";
        findings.push(Finding::new("NOT_DETERMINISTIC", Severity::High, detail, REMEDY));
    }
    if first.tokens.is_empty() {
        let (detail, remedy) =
            ("the model ends its answer at once", "Check the chat template and the end-of-text token.");
        findings.push(Finding::new("EMPTY_GENERATION", Severity::Medium, detail, remedy));
    }
    let share = loop_share(&first.tokens);
    if first.tokens.len() >= LEAST_TOKENS_FOR_LOOPS && share >= MAX_LOOP_SHARE {
        let detail = format!("{:.0} % of the generated text is one loop", share * 100.0);
        let remedy = "Common for small base models under greedy decoding; otherwise compare with the original weights.";
        findings.push(Finding::new("REPETITIVE_OUTPUT", Severity::Low, detail, remedy));
    }
    findings
}

/// The longest stretch that repeats with one period, as a share of all tokens.
fn loop_share(tokens: &[u32]) -> f64 {
    let longest = (1..=MAX_LOOP_PERIOD).map(|period| longest_loop(tokens, period)).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "few tokens are generated")]
    let share = longest as f64 / tokens.len().max(1) as f64;
    share
}

/// The longest stretch that repeats at least once with `period`, in tokens.
fn longest_loop(tokens: &[u32], period: usize) -> usize {
    let (mut run, mut longest) = (0, 0);
    for (token, earlier) in tokens.iter().skip(period).zip(tokens) {
        run = if token == earlier { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    if longest >= period { longest + period } else { 0 }
}

fn generation(language: &Language, first: &Continuation, second: &Continuation) -> Generation {
    Generation {
        prompt: language.prompt.clone(),
        text: language.tokenizer.decode(&first.tokens).unwrap_or_default(),
        prompt_tokens: language.prompt_tokens.len() as u64,
        generated_tokens: first.tokens.len() as u64,
        prompt_tokens_per_second: per_second(language.prompt_tokens.len(), first.prompt_time.min(second.prompt_time)),
        tokens_per_second: per_second(first.decode_steps, first.decode_time.min(second.decode_time)),
        token_digest: token_digest(&first.tokens),
        deterministic: first.tokens == second.tokens,
    }
}

fn per_second(count: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "few tokens are processed")]
    let rate = count as f64 / time.as_secs_f64().max(1e-9);
    rate
}

/// SHA-256 over the ids as little-endian 32-bit numbers.
fn token_digest(tokens: &[u32]) -> String {
    let digest = tokens.iter().fold(Sha256::new(), |hasher, token| hasher.chain_update(token.to_le_bytes()));
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(tokens: &[u32]) -> f64 {
        loop_share(tokens)
    }

    #[test]
    fn a_text_that_repeats_one_phrase_is_one_loop() {
        assert!((share(&[1, 2, 3].repeat(10)) - 1.0).abs() < 1e-9);
        assert!((share(&[7; 20]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_text_without_repetition_has_no_loop() {
        let tokens: Vec<u32> = (0..40).collect();
        assert!(share(&tokens).abs() < 1e-9);
        assert!(share(&[]).abs() < 1e-9);
    }

    #[test]
    fn a_loop_at_the_end_counts_by_its_length() {
        let tokens: Vec<u32> = (0..20).chain([100, 101].repeat(10)).collect();
        assert!((share(&tokens) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_token_digest_is_the_sha256_of_little_endian_ids() {
        // printf '\x01\x00\x00\x00\x00\x01\x00\x00' | sha256sum
        assert_eq!(token_digest(&[1, 256]), "242045e2f1bb37769b514f182fd91b3d215324cb57f187cced1e9c62921dbac3");
    }
}
