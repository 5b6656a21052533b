//! The scales of eight runs of a row at once, for inputs of so few rows that weights are used where they lie.

use std::arch::x86_64::{
    __m256, _mm_set1_ps, _mm256_castps128_ps256, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_insertf128_ps,
    _mm256_mul_ps, _mm256_set1_ps,
};

use super::super::encoding::{EIGHT, Encoding};
use super::super::product::{RoundedRow, RoundedRun};
use super::tile::parts;
use super::{read_half, read_halves, vector};

/// Eight runs of a row of the matrix beside those of the input.
pub(super) struct Strip<'a> {
    pub(super) blocks: &'a [u8],
    pub(super) values: &'a [RoundedRun; EIGHT],
    /// Products of the scales of both, by half and run.
    scales: [[f32; EIGHT]; 2],
}

/// Strip `number` of a row; the products of its minimums are added to `minimums`.
///
/// `OFFSET` says whether the codes' offset becomes part of the minimum.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn strip<'a, E: Encoding, const OFFSET: bool>(
    blocks: &'a [u8],
    number: usize,
    input: RoundedRow<'a>,
    minimums: &mut __m256,
) -> Strip<'a> {
    let weights = E::scales_of_eight(blocks, |bits| read_half(bits), |bits| read_halves(bits));
    let value_scales = vector::of_floats(input.scales.as_chunks().0[number]);
    let mut scales = [[0.0; EIGHT]; 2];
    for (half, products) in scales.iter_mut().enumerate().take(parts::<E>()) {
        let (scale, minimum) = (vector::of_floats(weights.scale[half]), vector::of_floats(weights.minimum[half]));
        let minimum =
            if OFFSET { _mm256_fnmadd_ps(_mm256_set1_ps(f32::from(E::OFFSET)), scale, minimum) } else { minimum };
        let sums = if E::HALVES { input.half_sums[half] } else { input.sums };
        *minimums = _mm256_fmadd_ps(minimum, vector::of_floats(sums.as_chunks().0[number]), *minimums);
        *products = vector::to_floats(_mm256_mul_ps(scale, value_scales));
    }
    Strip { blocks, values: &input.runs.as_chunks().0[number], scales }
}

/// Bytes of eight runs.
pub(super) const fn strip_bytes<E: Encoding>() -> usize {
    EIGHT / E::RUNS * E::BYTES
}

impl Strip<'_> {
    /// The codes of a run.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub(super) fn codes<E: Encoding>(&self, run: usize) -> std::arch::x86_64::__m256i {
        let block = &self.blocks[run / E::RUNS * E::BYTES..][..E::BYTES];
        vector::of_bytes(E::codes(block, run % E::RUNS))
    }

    /// The scale of a run's halves in the lanes of those halves.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub(super) fn scale<E: Encoding>(&self, run: usize) -> __m256 {
        spread::<E>([self.scales[0][run], self.scales[1][run]])
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn spread<E: Encoding>(scale: [f32; 2]) -> __m256 {
    if E::HALVES {
        let low = _mm256_castps128_ps256(_mm_set1_ps(scale[0]));
        _mm256_insertf128_ps::<1>(low, _mm_set1_ps(scale[1]))
    } else {
        _mm256_set1_ps(scale[0])
    }
}
