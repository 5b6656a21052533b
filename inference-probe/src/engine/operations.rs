//! The small steps between matrices, each one pass over its data.
//!
//! As chains of tensor operations they would cost more in bookkeeping than in arithmetic, and
//! attention over a long text would hold a matrix of all pairs of positions.

mod activate;
mod attend;
mod normalize;
mod rotate;

pub(crate) use activate::{activate, activate_gated};
pub(crate) use attend::{Attend, Temperature, slopes};
pub(crate) use normalize::Normalize;
pub(crate) use rotate::Rotate;

use candle_core::{CpuStorage, Layout, Result};

/// The values of a contiguous tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("an operand is not contiguous"),
    }
}

/// Elements that are summed side by side.
const LANES: usize = 16;

#[inline(always)]
#[expect(clippy::inline_always, reason = "a function that is not inlined lacks the processor's instructions")]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}
