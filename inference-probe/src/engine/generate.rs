//! Running a loaded model: teacher-forced measurement and greedy generation.

use std::time::{Duration, Instant};

use super::decoder::{Cache, Decoder, EngineError};

const TOP_LOGITS: usize = 5;
/// Rows of logits that are in memory together: a large vocabulary has a megabyte of them.
const ROWS_AT_ONCE: usize = 8;
/// Tokens of a long text that are read together.
const TOKENS_AT_ONCE: usize = 128;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("a logit is not a finite number at position {0}")]
    NotFinite(usize),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<candle_core::Error> for RunError {
    fn from(error: candle_core::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// How well a model predicts a given text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prediction {
    pub(crate) perplexity: f64,
    /// Mean entropy of the predicted distributions, in nats.
    pub(crate) mean_entropy: f64,
    /// The most likely tokens after the whole text, with their logits.
    pub(crate) top_logits: Vec<(u32, f32)>,
    /// All logits after the whole text.
    pub(crate) last: Vec<f32>,
}

/// Lets the model predict each token of `tokens` from those before it.
pub(crate) fn predict(decoder: &Decoder, tokens: &[u32]) -> Result<Prediction, RunError> {
    let states = decoder.forward(tokens, &mut Cache::default())?;
    let (mut surprise, mut entropy, mut last) = (0.0, 0.0, Vec::new());
    for first in (0..tokens.len()).step_by(ROWS_AT_ONCE) {
        let count = ROWS_AT_ONCE.min(tokens.len() - first);
        let rows = decoder.logits(&states.narrow(0, first, count)?)?.to_vec2::<f32>()?;
        for (position, row) in (first..).zip(rows) {
            if !all_finite(&row) {
                return Err(RunError::NotFinite(position));
            }
            let distribution = Distribution::of(&row);
            entropy += distribution.entropy;
            surprise += tokens.get(position + 1).map_or(0.0, |next| distribution.surprise(&row, *next));
            last = row;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "the text has few tokens")]
    let (predicted, positions) = ((tokens.len() - 1) as f64, tokens.len() as f64);
    Ok(Prediction {
        perplexity: (surprise / predicted).exp(),
        mean_entropy: entropy / positions,
        top_logits: top(&last),
        last,
    })
}

/// Reads `tokens`, a long text, in pieces; fails where the logits after a piece are not finite.
pub(crate) fn read(decoder: &Decoder, tokens: &[u32]) -> Result<(), RunError> {
    let mut cache = Cache::default();
    for piece in tokens.chunks(TOKENS_AT_ONCE) {
        most_likely(decoder, piece, &mut cache)?;
    }
    Ok(())
}

/// What one row of logits says, in nats.
struct Distribution {
    /// Logarithm of the sum of exponentials, which turns logits into log-probabilities.
    normalizer: f64,
    entropy: f64,
}

impl Distribution {
    fn of(row: &[f32]) -> Self {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers = row.iter().map(|logit| f64::from(logit - highest)).map(|shifted| (shifted, shifted.exp()));
        let (total, weighted) = powers
            .fold((0.0, 0.0), |(total, weighted), (shifted, power)| (total + power, power.mul_add(shifted, weighted)));
        Self { normalizer: f64::from(highest) + total.ln(), entropy: total.ln() - weighted / total }
    }

    fn surprise(&self, row: &[f32], token: u32) -> f64 {
        row.get(token as usize).map_or(f64::INFINITY, |logit| self.normalizer - f64::from(*logit))
    }
}

fn all_finite(row: &[f32]) -> bool {
    row.iter().all(|logit| logit.is_finite())
}

fn top(row: &[f32]) -> Vec<(u32, f32)> {
    let mut ranked: Vec<(u32, f32)> = (0..).zip(row.iter().copied()).collect();
    ranked.sort_unstable_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    ranked.truncate(TOP_LOGITS);
    ranked
}

/// One greedy continuation of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Continuation {
    /// Without the token that ended it.
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt_time: Duration,
    pub(crate) decode_time: Duration,
    /// Forward passes in `decode_time`.
    pub(crate) decode_steps: usize,
}

/// Continues `prompt` with the most likely token until one of `ends` or `limit` tokens.
pub(crate) fn continue_greedily(
    decoder: &Decoder,
    prompt: &[u32],
    ends: &[u32],
    limit: usize,
) -> Result<Continuation, RunError> {
    let mut cache = Cache::default();
    let started = Instant::now();
    let mut next = most_likely(decoder, prompt, &mut cache)?;
    let prompt_time = started.elapsed();
    let mut tokens = Vec::new();
    let mut decode_steps = 0;
    let started = Instant::now();
    while !ends.contains(&next) {
        tokens.push(next);
        if tokens.len() == limit {
            break;
        }
        next = most_likely(decoder, &[next], &mut cache)?;
        decode_steps += 1;
    }
    Ok(Continuation { tokens, prompt_time, decode_time: started.elapsed(), decode_steps })
}

fn most_likely(decoder: &Decoder, tokens: &[u32], cache: &mut Cache) -> Result<u32, RunError> {
    let states = decoder.forward(tokens, cache)?;
    let row = decoder.logits(&states.narrow(0, tokens.len() - 1, 1)?)?.squeeze(0)?.to_vec1::<f32>()?;
    if !all_finite(&row) {
        return Err(RunError::NotFinite(tokens.len() - 1));
    }
    Ok(highest(&row))
}

/// The token with the highest logit; of equals, the lowest token.
fn highest(row: &[f32]) -> u32 {
    let ranked = (0..).zip(row).max_by(|left, right| left.1.total_cmp(right.1).then(right.0.cmp(&left.0)));
    ranked.map_or(0, |(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_row_has_the_entropy_of_its_size() {
        let row = [0.5_f32; 8];
        let distribution = Distribution::of(&row);
        assert!((distribution.entropy - 8_f64.ln()).abs() < 1e-12);
        assert!((distribution.surprise(&row, 3) - 8_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_certain_row_has_no_entropy_and_no_surprise() {
        let row = [0.0_f32, 100.0, 0.0];
        let distribution = Distribution::of(&row);
        assert!(distribution.entropy < 1e-9);
        assert!(distribution.surprise(&row, 1) < 1e-9);
        assert!(distribution.surprise(&row, 0) > 99.0);
    }

    #[test]
    fn the_most_likely_token_is_the_first_of_equals() {
        assert_eq!(highest(&[1.0, 3.0, 3.0, 2.0]), 1);
    }

    #[test]
    fn the_top_logits_are_sorted_and_ties_go_to_the_lower_token() {
        assert_eq!(top(&[1.0, 3.0, 3.0, 2.0, 0.0, -1.0])[..3], [(1, 3.0), (2, 3.0), (3, 2.0)]);
    }
}
