//! Rows of a matrix laid out for vectors with a lane for each row.
//!
//! An input of several rows meets every weight several times, so that it pays to unpack the
//! weights first. With a lane for each output no vector has to be summed up at the end.

#![expect(clippy::inline_always, reason = "a function that is not inlined lacks its caller's vector instructions")]

use std::arch::x86_64::{
    __m256i, _mm256_permute2x128_si256, _mm256_setzero_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

use super::super::encoding::Encoding;
use super::super::product::{OUTPUTS_AT_ONCE, Panel, STEPS};
use super::{read_half, vector};

/// Words in the vectors that a tile is made with.
const LANES: usize = 8;

/// Up to 16 rows.
pub(super) struct Tile {
    /// For each run and each four of its codes, the four of each row in a word.
    pub(super) codes: Vec<[[u32; OUTPUTS_AT_ONCE]; STEPS]>,
    /// For each run, or each half of one, the scale of each row, and its minimum.
    pub(super) scales: Vec<[f32; OUTPUTS_AT_ONCE]>,
    pub(super) minimums: Vec<[f32; OUTPUTS_AT_ONCE]>,
}

impl Tile {
    pub(super) fn new<E: Encoding>(row_bytes: usize) -> Self {
        let runs = row_bytes / E::BYTES * E::RUNS;
        let scales = runs * parts::<E>();
        Self {
            codes: vec![[[0; OUTPUTS_AT_ONCE]; STEPS]; runs],
            scales: vec![[0.0; OUTPUTS_AT_ONCE]; scales],
            minimums: vec![[0.0; OUTPUTS_AT_ONCE]; scales],
        }
    }

    /// Takes the rows in `bytes`, at least one; in lanes for which there is no row stands the last.
    /// `OFFSET` says whether the codes' offset becomes part of the minimum.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn fill<E: Encoding, const OFFSET: bool>(&mut self, bytes: &[u8], row_bytes: usize) {
        let last = bytes.len() / row_bytes - 1;
        for half in 0..OUTPUTS_AT_ONCE / LANES {
            let row = |lane: usize| &bytes[last.min(half * LANES + lane) * row_bytes..][..row_bytes];
            for number in 0..row_bytes / E::BYTES {
                for run in 0..E::RUNS {
                    let mut codes = [_mm256_setzero_si256(); LANES];
                    for (lane, codes) in codes.iter_mut().enumerate() {
                        let block = &row(lane)[number * E::BYTES..][..E::BYTES];
                        *codes = vector::of_bytes(E::codes(block, run));
                        let place = (number * E::RUNS + run) * parts::<E>();
                        self.set_scales::<E, OFFSET>(place, half * LANES + lane, block, run);
                    }
                    let transposed = transpose(codes);
                    for (step, codes) in self.codes[number * E::RUNS + run].iter_mut().zip(transposed) {
                        step.as_chunks_mut().0[half] = vector::to_words(codes);
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn set_scales<E: Encoding, const OFFSET: bool>(&mut self, place: usize, lane: usize, block: &[u8], run: usize) {
        let of_run = E::scales(block, run, |bits| read_half(bits));
        for part in 0..parts::<E>() {
            self.scales[place + part][lane] = of_run.scale[part];
            self.minimums[place + part][lane] =
                if OFFSET { of_run.offset_minimum::<E>(part) } else { of_run.minimum[part] };
        }
    }
}

/// Eight vectors of eight words as if each were a row of a table, read by columns.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(rows: [__m256i; LANES]) -> [__m256i; LANES] {
    let mut of_four = [[_mm256_setzero_si256(); 4]; 2];
    for (columns, [first, second, third, fourth]) in of_four.iter_mut().zip(rows.as_chunks().0) {
        let (low, high) = (_mm256_unpacklo_epi32(*first, *second), _mm256_unpackhi_epi32(*first, *second));
        let (next_low, next_high) = (_mm256_unpacklo_epi32(*third, *fourth), _mm256_unpackhi_epi32(*third, *fourth));
        columns[0] = _mm256_unpacklo_epi64(low, next_low);
        columns[1] = _mm256_unpackhi_epi64(low, next_low);
        columns[2] = _mm256_unpacklo_epi64(high, next_high);
        columns[3] = _mm256_unpackhi_epi64(high, next_high);
    }
    let mut columns = rows;
    for place in 0..4 {
        columns[place] = _mm256_permute2x128_si256::<0x20>(of_four[0][place], of_four[1][place]);
        columns[place + 4] = _mm256_permute2x128_si256::<0x31>(of_four[0][place], of_four[1][place]);
    }
    columns
}

/// Scales in a run.
pub(super) const fn parts<E: Encoding>() -> usize {
    if E::HALVES { 2 } else { 1 }
}

/// Writes the products of the rows from `first_output` on with the row `number` of the input.
#[inline(always)]
pub(super) fn store(panel: &mut Panel<'_>, number: usize, first_output: usize, lanes: &[f32; OUTPUTS_AT_ONCE]) {
    let products = &mut panel.products[number][first_output..];
    let count = products.len().min(OUTPUTS_AT_ONCE);
    products[..count].copy_from_slice(&lanes[..count]);
}
