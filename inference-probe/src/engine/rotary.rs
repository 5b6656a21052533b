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
