//! What a run of weights holds, seen without keeping any of them.

use super::encoding::{Encoding, HALF_RUN, Scales, weights};
use super::numbers::{Element, half};

/// What was seen of a tensor, or a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Values that are infinite or not a number.
    pub(crate) not_finite: u64,
    pub(crate) any_nonzero: bool,
}

impl Content {
    pub(crate) fn merge(&mut self, other: Self) {
        self.not_finite += other.not_finite;
        self.any_nonzero |= other.any_nonzero;
    }

    fn look(&mut self, values: &[f32]) {
        self.not_finite += values.iter().map(|value| u64::from(!value.is_finite())).sum::<u64>();
        self.any_nonzero |= values.iter().any(|value| *value != 0.0);
    }
}

/// Weights are only computed where the scales leave a doubt. A code less the offset is below 2^8
/// in magnitude, so where 2^8 times a scale and the minimum are finite numbers of moderate size no
/// weight can be anything else.
pub(super) fn blocks<E: Encoding>(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    for block in bytes.chunks_exact(E::BYTES) {
        for run in 0..E::RUNS {
            if !content.any_nonzero || !is_moderate(E::scales(block, run, half)) {
                content.look(&weights::<E>(block, run));
            }
        }
    }
    content
}

/// False where a number is infinite or NaN, too.
fn is_moderate(scales: Scales) -> bool {
    const MODERATE: f32 = f32::MAX / 1_024.0;
    scales.scale.iter().chain(&scales.minimum).all(|number| number.abs() < MODERATE)
}

const _: () = assert!(2 * HALF_RUN == super::encoding::RUN, "a run has two scales");

pub(super) fn elements<E: Element>(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    let mut values = [0.0; 256];
    for bytes in bytes.chunks(values.len() * E::BYTES) {
        let values = &mut values[..bytes.len() / E::BYTES];
        for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(E::BYTES)) {
            *value = E::value(bytes);
        }
        content.look(values);
    }
    content
}
