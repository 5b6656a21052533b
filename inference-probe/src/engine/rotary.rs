//! Rotary position embedding: each pair of elements of a head turns with the position.

use std::sync::Arc;

use super::architecture::{LocalRotation, RotaryPairs};
use super::hyperparameters::{Hyperparameters, Scaling};
use super::operations::Rotate;

/// Rotation speeds of one model.
#[derive(Debug)]
pub(super) struct Rotary {
    pairs: RotaryPairs,
    head_length: usize,
    /// Radians per position, one for each pair.
    speeds: Vec<f64>,
    /// What rotated elements are multiplied with.
    magnitude: f64,
}

impl Rotary {
    /// `divisors` slow pairs down one by one (`rope_freqs.weight`, which Llama 3.1 and later carry).
    pub(super) fn new(pairs: RotaryPairs, sizes: &Hyperparameters, divisors: Option<&[f32]>) -> Self {
        let (base, scaling) = (sizes.rotary.base, sizes.rotary.scaling);
        Self { magnitude: sizes.rotary.magnitude, ..Self::with(pairs, sizes, base, scaling, divisors) }
    }

    /// The rotation in blocks with a sliding window, where it differs from that of the others.
    pub(super) fn local(pairs: RotaryPairs, sizes: &Hyperparameters, local: LocalRotation) -> Option<Self> {
        let base = match local {
            LocalRotation::Same => return None,
            LocalRotation::Unscaled => sizes.rotary.base,
            LocalRotation::OwnBase => sizes.rotary.local_base,
        };
        Some(Self::with(pairs, sizes, base, Scaling::Linear(1.0), None))
    }

    /// A rotation of whole heads without scaling.
    pub(super) fn plain(pairs: RotaryPairs, head_length: usize, base: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a head has far fewer elements than 2^52")]
        let speed = |pair: usize| base.powf(-2.0 * pair as f64 / head_length as f64);
        Self { pairs, head_length, speeds: (0..head_length / 2).map(speed).collect(), magnitude: 1.0 }
    }

    #[expect(clippy::cast_precision_loss, reason = "a head has far fewer elements than 2^52")]
    fn with(
        pairs: RotaryPairs,
        sizes: &Hyperparameters,
        base: f64,
        scaling: Scaling,
        divisors: Option<&[f32]>,
    ) -> Self {
        let dimensions = usize::try_from(sizes.rotary.dimensions).unwrap_or(usize::MAX);
        let original_context = sizes.rotary.original_context as f64;
        let speed = |pair: usize| {
            let divisor = divisors.and_then(|divisors| divisors.get(pair)).map_or(1.0, |divisor| f64::from(*divisor));
            let unscaled = base.powf(-2.0 * pair as f64 / dimensions as f64) / divisor;
            match scaling {
                Scaling::Linear(factor) => unscaled / factor,
                Scaling::Yarn { factor, fast_turns, slow_turns } => {
                    // The number of the pair that turns this often within the original context.
                    let at = |turns: f64| {
                        let ratio = original_context / (turns * std::f64::consts::TAU);
                        dimensions as f64 * ratio.ln() / (2.0 * base.ln())
                    };
                    let low = at(fast_turns).floor().max(0.0);
                    let high = at(slow_turns).ceil().min(dimensions as f64 - 1.0);
                    let kept = kept_share(pair as f64, low, high);
                    unscaled * kept + unscaled / factor * (1.0 - kept)
                }
            }
        };
        let head_length = usize::try_from(sizes.head_length).unwrap_or(usize::MAX);
        Self { pairs, head_length, speeds: (0..dimensions / 2).map(speed).collect(), magnitude: 1.0 }
    }

    /// The rotation of `count` positions, as an operation on `[count, heads * head length]`.
    pub(super) fn angles(&self, first_position: usize, count: usize) -> Arc<Rotate> {
        #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
        let radians = (first_position..first_position + count)
            .flat_map(|position| self.speeds.iter().map(move |speed| position as f64 * speed));
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
        let scaled = |number: f64| (number * self.magnitude) as f32;
        let (sines, cosines) = radians.map(f64::sin_cos).map(|(sine, cosine)| (scaled(sine), scaled(cosine))).unzip();
        Arc::new(Rotate { pairs: self.pairs, head_length: self.head_length, cosines, sines })
    }
}

/// The share of its own speed that `YaRN` leaves to a pair: all up to pair `low`, none from `high` on.
fn kept_share(pair: f64, low: f64, high: f64) -> f64 {
    1.0 - ((pair - low) / (high - low).max(0.001)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::engine::architecture::Architecture;
    use crate::engine::hyperparameters;

    fn sizes() -> Hyperparameters {
        let bytes = weighhouse_tests::gguf::TinyLlama::new().build();
        let header = verifier::format::gguf::read_header(&bytes).unwrap();
        let sizes = Hyperparameters::read(Architecture::find("llama").unwrap(), &header).unwrap();
        let rotary = hyperparameters::Rotary { dimensions: 4, ..sizes.rotary };
        Hyperparameters { head_length: 8, rotary, ..sizes }
    }

    fn rotate(pairs: RotaryPairs, sizes: &Hyperparameters, divisors: Option<&[f32]>, position: usize) -> Vec<f32> {
        let rotary = Rotary::new(pairs, sizes, divisors);
        let head = Tensor::new(&[[1.0_f32, 0.0, 1.0, 0.0, 5.0, 6.0, 7.0, 8.0]], &Device::Cpu).unwrap();
        let rotated = rotary.angles(position, 1).apply(&head).unwrap();
        rotated.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_close(left: &[f32], right: &[f32]) {
        assert_eq!(left.len(), right.len());
        assert!(left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6), "{left:?} {right:?}");
    }

    #[test]
    fn adjacent_elements_turn_at_their_own_speed_and_the_rest_stays() {
        // Speeds are 1 and 10000^(-2/4) = 0.01 radians for each position.
        let (first, second) = (3.0_f32, 0.03_f32);
        let expected = [first.cos(), first.sin(), second.cos(), second.sin(), 5.0, 6.0, 7.0, 8.0];
        assert_close(&rotate(RotaryPairs::Adjacent, &sizes(), None, 3), &expected);
    }

    #[test]
    fn halves_turn_the_same_pairs_where_they_lie_apart() {
        let (sine, cosine) = 3.0_f32.sin_cos();
        let expected = [cosine - sine, 0.0, sine + cosine, 0.0, 5.0, 6.0, 7.0, 8.0];
        assert_close(&rotate(RotaryPairs::Halves, &sizes(), None, 3), &expected);
    }

    #[test]
    fn linear_scaling_and_equal_divisors_slow_every_pair_down() {
        let mut scaled = sizes();
        scaled.rotary.scaling = Scaling::Linear(2.0);
        let pairs = RotaryPairs::Adjacent;
        assert_close(&rotate(pairs, &scaled, None, 6), &rotate(pairs, &sizes(), None, 3));
        assert_close(&rotate(pairs, &sizes(), Some(&[2.0, 2.0]), 6), &rotate(pairs, &sizes(), None, 3));
    }

    #[test]
    fn yarn_keeps_fast_pairs_and_slows_pairs_that_do_not_turn_once() {
        let shares = [3.0, 5.0, 8.0, 9.0].map(|pair| kept_share(pair, 4.0, 8.0));
        assert!(shares.iter().zip([1.0, 0.75, 0.0, 0.0]).all(|(share, expected)| (share - expected).abs() < 1e-12));
    }
}
