//! The rotation of queries and keys.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::values;
use crate::engine::architecture::RotaryPairs;

/// Turns the pairs of each head; cosines and sines are those of one position after the other.
#[derive(Debug)]
pub(crate) struct Rotate {
    pub(crate) pairs: RotaryPairs,
    pub(crate) head_length: usize,
    pub(crate) cosines: Vec<f32>,
    pub(crate) sines: Vec<f32>,
}

impl Rotate {
    /// `[positions, heads * head length]` to the same.
    pub(crate) fn apply(&self, heads: &Tensor) -> Result<Tensor> {
        heads.apply_op1_no_bwd(self)
    }
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (positions, width) = layout.shape().dims2()?;
        let pairs = self.cosines.len() / positions.max(1);
        if pairs * positions != self.cosines.len() || !width.is_multiple_of(self.head_length) {
            candle_core::bail!("angles for {} pairs do not fit {positions} positions", self.cosines.len());
        }
        let mut output = values(storage, layout)?.to_vec();
        let angles = self.cosines.chunks_exact(pairs.max(1)).zip(self.sines.chunks_exact(pairs.max(1)));
        for (row, (cosines, sines)) in output.chunks_exact_mut(width).zip(angles) {
            for head in row.chunks_exact_mut(self.head_length) {
                turn(self.pairs, &mut head[..2 * pairs], cosines, sines);
            }
        }
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

fn turn(pairs: RotaryPairs, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let angles = cosines.iter().zip(sines);
    match pairs {
        RotaryPairs::Adjacent => {
            for (pair, (cosine, sine)) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                let [first, second] = *pair;
                *pair = [first * cosine - second * sine, first * sine + second * cosine];
            }
        }
        RotaryPairs::Halves => {
            let (firsts, seconds) = head.split_at_mut(cosines.len());
            for ((first, second), (cosine, sine)) in firsts.iter_mut().zip(seconds).zip(angles) {
                (*first, *second) = (*first * cosine - *second * sine, *first * sine + *second * cosine);
            }
        }
    }
}
