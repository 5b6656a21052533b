//! 256-bit vectors.
//!
//! The multiplication of bytes takes one unsigned side and adds pairs in 16 bits, which overflow
//! where codes are above 127. So codes with an offset of 128 are made signed, and their signs
//! moved to the values.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi32_ps, _mm256_fmadd_ps,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_xor_si256,
};

use super::super::encoding::{Encoding, Scales};
use super::super::numbers::Element;
use super::super::product::{self, OUTPUTS_AT_ONCE, Panel, Rounded, RoundedRow, RoundedRun, Rows, STEPS, TILE_FROM};
use super::strip::{spread, strip, strip_bytes};
use super::tile::{Tile, store};
use super::{read_half, vector};

/// Rows of the input that share a load of weights.
const INPUTS_AT_ONCE: usize = 4;
/// Vectors with a lane for each output of a tile.
const VECTORS: usize = OUTPUTS_AT_ONCE / 8;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn round(values: &[f32], runs: &mut [RoundedRun]) {
    product::round(values, runs);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply_elements<E: Element>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    product::multiply_elements_in_lanes::<E, true>(panel, input);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply_blocks<E: Encoding>(panel: &mut Panel<'_>, input: &Rounded) {
    if input.rows < TILE_FROM {
        return multiply_rows::<E>(panel, input);
    }
    let mut tile = Tile::new::<E>(panel.row_bytes);
    for (number, bytes) in panel.bytes.chunks(OUTPUTS_AT_ONCE * panel.row_bytes).enumerate() {
        let first_output = number * OUTPUTS_AT_ONCE;
        if is_signed::<E>() {
            tile.fill::<E, false>(bytes, panel.row_bytes);
            multiply_tile::<E, true>(&tile, panel, input, first_output);
        } else {
            tile.fill::<E, true>(bytes, panel.row_bytes);
            multiply_tile::<E, false>(&tile, panel, input, first_output);
        }
    }
}

const fn is_signed<E: Encoding>() -> bool {
    E::OFFSET == 128
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_tile<E: Encoding, const SIGNED: bool>(
    tile: &Tile,
    panel: &mut Panel<'_>,
    input: &Rounded,
    first_output: usize,
) {
    let mut number = 0;
    while number < input.rows {
        match (E::HALVES, input.rows - number >= INPUTS_AT_ONCE) {
            (true, true) => multiply_inputs::<2, INPUTS_AT_ONCE, SIGNED>(tile, panel, input, first_output, number),
            (true, false) => multiply_inputs::<2, 1, SIGNED>(tile, panel, input, first_output, number),
            (false, true) => multiply_inputs::<1, INPUTS_AT_ONCE, SIGNED>(tile, panel, input, first_output, number),
            (false, false) => multiply_inputs::<1, 1, SIGNED>(tile, panel, input, first_output, number),
        }
        number += if input.rows - number >= INPUTS_AT_ONCE { INPUTS_AT_ONCE } else { 1 };
    }
}

/// Products of the tile with `N` rows of the input from `number` on.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_inputs<const PARTS: usize, const N: usize, const SIGNED: bool>(
    tile: &Tile,
    panel: &mut Panel<'_>,
    input: &Rounded,
    first_output: usize,
    number: usize,
) {
    let rows: [&[RoundedRun]; N] = std::array::from_fn(|offset| input.runs(number + offset));
    let mut lanes = [[0.0; OUTPUTS_AT_ONCE]; N];
    for vector in 0..VECTORS {
        let products = multiply_lanes::<PARTS, N, SIGNED>(tile, &rows, vector);
        for (lanes, products) in lanes.iter_mut().zip(products) {
            lanes.as_chunks_mut().0[vector] = vector::to_floats(products);
        }
    }
    for (offset, lanes) in lanes.iter().enumerate() {
        store(panel, number + offset, first_output, lanes);
    }
}

/// Products of eight of the tile's rows.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_lanes<const PARTS: usize, const N: usize, const SIGNED: bool>(
    tile: &Tile,
    rows: &[&[RoundedRun]; N],
    vector: usize,
) -> [__m256; N] {
    let mut products = [_mm256_setzero_ps(); N];
    let scales = tile.scales.chunks_exact(PARTS).zip(tile.minimums.chunks_exact(PARTS));
    for (run, (codes, (scales, minimums))) in tile.codes.iter().zip(scales).enumerate() {
        let mut inputs = [&rows[0][run]; N];
        for (input, row) in inputs.iter_mut().zip(rows) {
            *input = &row[run];
        }
        for part in 0..PARTS {
            let mut sums = [_mm256_setzero_si256(); N];
            for step in part * STEPS / PARTS..(part + 1) * STEPS / PARTS {
                let codes = vector::of_words(codes[step].as_chunks().0[vector]);
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    let values = input.words[step].cast_signed();
                    *sum = _mm256_add_epi32(*sum, multiply::<SIGNED>(codes, _mm256_set1_epi32(values)));
                }
            }
            let scale = vector::of_floats(scales[part].as_chunks().0[vector]);
            let minimum = vector::of_floats(minimums[part].as_chunks().0[vector]);
            for (offset, input) in inputs.iter().enumerate() {
                let sum_of_values = if PARTS == 1 { input.sum } else { input.half_sums[part] };
                let scale = _mm256_mul_ps(scale, _mm256_set1_ps(input.scale));
                let with_minimum = _mm256_fmadd_ps(minimum, _mm256_set1_ps(sum_of_values), products[offset]);
                products[offset] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[offset]), scale, with_minimum);
            }
        }
    }
    products
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_rows<E: Encoding>(panel: &mut Panel<'_>, input: &Rounded) {
    for (number, products) in panel.products.iter_mut().enumerate() {
        let values = input.row(number);
        for (product, row) in products.iter_mut().zip(panel.bytes.chunks_exact(panel.row_bytes)) {
            *product = multiply_row::<E>(row, values);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn multiply_row<E: Encoding>(row: &[u8], input: RoundedRow<'_>) -> f32 {
    let mut products = _mm256_setzero_ps();
    let mut minimums = _mm256_setzero_ps();
    let strips = row.chunks_exact(strip_bytes::<E>());
    let rest = strips.remainder();
    for (number, blocks) in strips.enumerate() {
        let strip = if is_signed::<E>() {
            strip::<E, false>(blocks, number, input, &mut minimums)
        } else {
            strip::<E, true>(blocks, number, input, &mut minimums)
        };
        for (run, values) in strip.values.iter().enumerate() {
            let sums = multiply_by_sign::<E>(strip.codes::<E>(run), vector::of_words(values.words));
            products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), strip.scale::<E>(run), products);
        }
    }
    let products = _mm256_add_ps(products, minimums);
    product::sum_of_lanes(vector::to_floats(products)) + multiply_rest::<E>(rest, input.runs)
}

/// Products of the last runs of a row, fewer than eight.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn multiply_rest<E: Encoding>(blocks: &[u8], values: &[RoundedRun]) -> f32 {
    let values = &values[values.len() - blocks.len() / E::BYTES * E::RUNS..];
    let mut products = _mm256_setzero_ps();
    let mut minimums = 0.0;
    for (block, values) in blocks.chunks_exact(E::BYTES).zip(values.chunks_exact(E::RUNS)) {
        for (run, values) in values.iter().enumerate() {
            let codes = vector::of_bytes(E::codes(block, run));
            let sums = multiply_by_sign::<E>(codes, vector::of_words(values.words));
            let weights = E::scales(block, run, |bits| read_half(bits));
            let scale = spread::<E>([weights.scale[0] * values.scale, weights.scale[1] * values.scale]);
            products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, products);
            minimums += minimum::<E>(weights, 0) * values.half_sums[0];
            minimums += minimum::<E>(weights, 1) * values.half_sums[1];
        }
    }
    product::sum_of_lanes(vector::to_floats(products)) + minimums
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn multiply_by_sign<E: Encoding>(codes: __m256i, values: __m256i) -> __m256i {
    if is_signed::<E>() { multiply::<true>(codes, values) } else { multiply::<false>(codes, values) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn minimum<E: Encoding>(weights: Scales, half: usize) -> f32 {
    if is_signed::<E>() { weights.minimum[half] } else { weights.offset_minimum::<E>(half) }
}

/// Eight sums of four products each. A pair is below 2 * 128 * 127 in magnitude, which fits 16 bits.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn multiply<const SIGNED: bool>(codes: __m256i, values: __m256i) -> __m256i {
    let pairs = if SIGNED {
        let weights = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
        _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(values, weights))
    } else {
        _mm256_maddubs_epi16(codes, values)
    };
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}
