//! Rotary position embedding: each pair of elements of a head turns with the position.

use candle_core::{D, Device, Result, Tensor};

use super::architecture::RotaryPairs;
use super::hyperparameters::Hyperparameters;

/// Rotation speeds of one model.
#[derive(Debug)]
pub(super) struct Rotary {
    pairs: RotaryPairs,
    /// Leading elements of a head that rotate.
    dimensions: usize,
    /// Radians per position, one for each pair.
    speeds: Vec<f64>,
}

/// Sines and cosines for a run of positions, each of shape `[positions, pairs]`.
pub(super) struct Angles {
    cosines: Tensor,
    sines: Tensor,
}

impl Rotary {
    /// `divisors` slow pairs down one by one (`rope_freqs.weight`, which Llama 3.1 and later carry).
    pub(super) fn new(pairs: RotaryPairs, sizes: &Hyperparameters, divisors: Option<&[f32]>) -> Self {
        let dimensions = usize::try_from(sizes.rotary_dimensions).unwrap_or(usize::MAX);
        #[expect(clippy::cast_precision_loss, reason = "a head has far fewer elements than 2^52")]
        let speed = |pair: usize| {
            let exponent = 2.0 * pair as f64 / dimensions as f64;
            let divisor = divisors.map_or(1.0, |divisors| f64::from(divisors[pair]));
            sizes.rotary_base.powf(-exponent) / sizes.position_divisor / divisor
        };
        Self { pairs, dimensions, speeds: (0..dimensions / 2).map(speed).collect() }
    }

    pub(super) fn angles(&self, first_position: usize, count: usize) -> Result<Angles> {
        let positions = first_position..first_position + count;
        #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
        let radians = positions.flat_map(|position| self.speeds.iter().map(move |speed| position as f64 * speed));
        let shape = (count, self.speeds.len());
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
        let (sines, cosines): (Vec<f32>, Vec<f32>) =
            radians.map(f64::sin_cos).map(|(sine, cosine)| (sine as f32, cosine as f32)).unzip();
        Ok(Angles {
            cosines: Tensor::from_vec(cosines, shape, &Device::Cpu)?,
            sines: Tensor::from_vec(sines, shape, &Device::Cpu)?,
        })
    }

    /// Rotates `heads` of shape `[heads, positions, head length]`.
    pub(super) fn apply(&self, heads: &Tensor, angles: &Angles) -> Result<Tensor> {
        let length = heads.dim(D::Minus1)?;
        let rotated = match self.pairs {
            RotaryPairs::Adjacent => rotate_adjacent(&heads.narrow(D::Minus1, 0, self.dimensions)?, angles)?,
        };
        if self.dimensions == length {
            return Ok(rotated);
        }
        let rest = heads.narrow(D::Minus1, self.dimensions, length - self.dimensions)?;
        Tensor::cat(&[rotated, rest], D::Minus1)
    }
}

fn rotate_adjacent(heads: &Tensor, angles: &Angles) -> Result<Tensor> {
    let (count, positions, dimensions) = heads.dims3()?;
    let pairs = heads.contiguous()?.reshape((count, positions, dimensions / 2, 2))?;
    let even = pairs.narrow(3, 0, 1)?.squeeze(3)?;
    let odd = pairs.narrow(3, 1, 1)?.squeeze(3)?;
    let new_even = (even.broadcast_mul(&angles.cosines)? - odd.broadcast_mul(&angles.sines)?)?;
    let new_odd = (even.broadcast_mul(&angles.sines)? + odd.broadcast_mul(&angles.cosines)?)?;
    Tensor::stack(&[new_even, new_odd], 3)?.reshape((count, positions, dimensions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> Hyperparameters {
        Hyperparameters {
            block_count: 1,
            embedding_length: 16,
            feed_forward_length: 16,
            head_count: 2,
            key_value_head_count: 1,
            head_length: 8,
            rotary_dimensions: 4,
            rotary_base: 10_000.0,
            position_divisor: 1.0,
            normalization_epsilon: 1e-5,
            vocabulary_size: 10,
            context_length: 100,
        }
    }

    fn rotate(sizes: &Hyperparameters, divisors: Option<&[f32]>, position: usize) -> Vec<f32> {
        let rotary = Rotary::new(RotaryPairs::Adjacent, sizes, divisors);
        let head = Tensor::new(&[[[1.0_f32, 0.0, 1.0, 0.0, 5.0, 6.0, 7.0, 8.0]]], &Device::Cpu).unwrap();
        let rotated = rotary.apply(&head, &rotary.angles(position, 1).unwrap()).unwrap();
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
        assert_close(&rotate(&sizes(), None, 3), &expected);
    }

    #[test]
    fn linear_scaling_and_equal_divisors_slow_every_pair_down() {
        let scaled = Hyperparameters { position_divisor: 2.0, ..sizes() };
        assert_close(&rotate(&scaled, None, 6), &rotate(&sizes(), None, 3));
        assert_close(&rotate(&sizes(), Some(&[2.0, 2.0]), 6), &rotate(&sizes(), None, 3));
    }
}
