//! 512-bit vectors, and dot products of unsigned and signed bytes in one instruction.

use std::arch::x86_64::{
    __m256i, __m512, _mm256_add_ps, _mm256_cvtepi32_ps, _mm256_dpbusd_epi32, _mm256_fmadd_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
};

use super::super::encoding::Encoding;
use super::super::numbers::Element;
use super::super::product::{self, OUTPUTS_AT_ONCE, Panel, Rounded, RoundedRow, RoundedRun, Rows, STEPS, TILE_FROM};
use super::strip::{spread, strip, strip_bytes};
use super::tile::{Tile, store};
use super::{read_half, vector};

/// Rows of the input that share a load of weights.
const INPUTS_AT_ONCE: usize = 8;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn round(values: &[f32], runs: &mut [RoundedRun]) {
    product::round(values, runs);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn multiply_elements<E: Element>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    product::multiply_elements_in_lanes::<E, true>(panel, input);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn multiply_blocks<E: Encoding>(panel: &mut Panel<'_>, input: &Rounded) {
    if input.rows < TILE_FROM {
        return multiply_rows::<E>(panel, input);
    }
    let mut tile = Tile::new::<E>(panel.row_bytes);
    for (number, bytes) in panel.bytes.chunks(OUTPUTS_AT_ONCE * panel.row_bytes).enumerate() {
        tile.fill::<E, true>(bytes, panel.row_bytes);
        let first_output = number * OUTPUTS_AT_ONCE;
        if E::HALVES {
            multiply_tile::<2>(&tile, panel, input, first_output);
        } else {
            multiply_tile::<1>(&tile, panel, input, first_output);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_tile<const PARTS: usize>(tile: &Tile, panel: &mut Panel<'_>, input: &Rounded, first_output: usize) {
    let mut number = 0;
    while number + INPUTS_AT_ONCE <= input.rows {
        multiply_inputs::<PARTS, INPUTS_AT_ONCE>(tile, panel, input, first_output, number);
        number += INPUTS_AT_ONCE;
    }
    if number + 4 <= input.rows {
        multiply_inputs::<PARTS, 4>(tile, panel, input, first_output, number);
        number += 4;
    }
    while number < input.rows {
        multiply_inputs::<PARTS, 1>(tile, panel, input, first_output, number);
        number += 1;
    }
}

/// Products of the tile with `N` rows of the input from `number` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_inputs<const PARTS: usize, const N: usize>(
    tile: &Tile,
    panel: &mut Panel<'_>,
    input: &Rounded,
    first_output: usize,
    number: usize,
) {
    let rows: [&[RoundedRun]; N] = std::array::from_fn(|offset| input.runs(number + offset));
    let mut products = [_mm512_setzero_ps(); N];
    let scales = tile.scales.chunks_exact(PARTS).zip(tile.minimums.chunks_exact(PARTS));
    for (run, (codes, (scales, minimums))) in tile.codes.iter().zip(scales).enumerate() {
        let mut inputs = [&rows[0][run]; N];
        for (input, row) in inputs.iter_mut().zip(&rows[..]) {
            *input = &row[run];
        }
        for part in 0..PARTS {
            let mut sums = [_mm512_setzero_si512(); N];
            for step in part * STEPS / PARTS..(part + 1) * STEPS / PARTS {
                let codes = vector::of_16_words(codes[step]);
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    let values = input.words[step].cast_signed();
                    *sum = _mm512_dpbusd_epi32(*sum, codes, _mm512_set1_epi32(values));
                }
            }
            let (scale, minimum) = (vector::of_16_floats(scales[part]), vector::of_16_floats(minimums[part]));
            for (offset, input) in inputs.iter().enumerate() {
                let sum_of_values = if PARTS == 1 { input.sum } else { input.half_sums[part] };
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(input.scale));
                let with_minimum = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sum_of_values), products[offset]);
                products[offset] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[offset]), scale, with_minimum);
            }
        }
    }
    for (offset, products) in products.into_iter().enumerate() {
        store(panel, number + offset, first_output, &vector::to_16_floats(products));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_rows<E: Encoding>(panel: &mut Panel<'_>, input: &Rounded) {
    for (number, products) in panel.products.iter_mut().enumerate() {
        let values = input.row(number);
        for (product, row) in products.iter_mut().zip(panel.bytes.chunks_exact(panel.row_bytes)) {
            *product = multiply_row::<E>(row, values);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
#[inline]
fn multiply_row<E: Encoding>(row: &[u8], input: RoundedRow<'_>) -> f32 {
    let mut products = [_mm256_setzero_ps(); 2];
    let mut minimums = _mm256_setzero_ps();
    let strips = row.chunks_exact(strip_bytes::<E>());
    let rest = strips.remainder();
    for (number, blocks) in strips.enumerate() {
        let strip = strip::<E, true>(blocks, number, input, &mut minimums);
        for (run, values) in strip.values.iter().enumerate() {
            let sums = multiply(strip.codes::<E>(run), vector::of_words(values.words));
            let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), strip.scale::<E>(run), products[0]);
            // In turns, so that no addition waits for the one before.
            products = [products[1], sum];
        }
    }
    let products = _mm256_add_ps(_mm256_add_ps(products[0], products[1]), minimums);
    product::sum_of_lanes(vector::to_floats(products)) + multiply_rest::<E>(rest, input.runs)
}

/// Products of the last runs of a row, fewer than eight.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
#[inline]
fn multiply_rest<E: Encoding>(blocks: &[u8], values: &[RoundedRun]) -> f32 {
    let values = &values[values.len() - blocks.len() / E::BYTES * E::RUNS..];
    let mut products = _mm256_setzero_ps();
    let mut minimums = 0.0;
    for (block, values) in blocks.chunks_exact(E::BYTES).zip(values.chunks_exact(E::RUNS)) {
        for (run, values) in values.iter().enumerate() {
            let sums = multiply(vector::of_bytes(E::codes(block, run)), vector::of_words(values.words));
            let weights = E::scales(block, run, |bits| read_half(bits));
            let scale = spread::<E>([weights.scale[0] * values.scale, weights.scale[1] * values.scale]);
            products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, products);
            minimums += weights.offset_minimum::<E>(0) * values.half_sums[0];
            minimums += weights.offset_minimum::<E>(1) * values.half_sums[1];
        }
    }
    product::sum_of_lanes(vector::to_floats(products)) + minimums
}

/// Eight sums of four products each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
#[inline]
fn multiply(codes: __m256i, values: __m256i) -> __m256i {
    _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, values)
}

const _: () = assert!(size_of::<__m512>() == 4 * OUTPUTS_AT_ONCE, "a vector has a lane for each output of a tile");
