//! 512-bit vectors, and dot products of unsigned and signed bytes in one instruction.

use std::arch::x86_64::{
    __m256, __m512, _mm_set1_ps, _mm256_add_ps, _mm256_castps128_ps256, _mm256_cvtepi32_ps, _mm256_dpbusd_epi32,
    _mm256_fmadd_ps, _mm256_insertf128_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm512_cvtepi32_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512,
};

use super::super::encoding::{Encoding, RUN};
use super::super::numbers::Element;
use super::super::product::{self, OUTPUTS_AT_ONCE, Panel, Rounded, RoundedRow, Rows, STEP, STEPS};
use super::tile::{TILE_FROM, Tile, store};
use super::vector;

/// Rows of the input that share a load of weights.
const INPUTS_AT_ONCE: usize = 8;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn round(values: &[f32], rounded: &mut Rounded) {
    product::round(values, rounded);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn multiply_elements<E: Element>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    product::multiply_elements_fused::<E>(panel, input);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
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

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn multiply_inputs<const PARTS: usize, const N: usize>(
    tile: &Tile,
    panel: &mut Panel<'_>,
    input: &Rounded,
    first_output: usize,
    number: usize,
) {
    let rows: [RoundedRow<'_>; N] = std::array::from_fn(|offset| input.row(number + offset));
    let mut products = [_mm512_setzero_ps(); N];
    let scales = tile.scales.chunks_exact(PARTS).zip(tile.minimums.chunks_exact(PARTS));
    for (run, (codes, (scales, minimums))) in tile.codes.iter().zip(scales).enumerate() {
        let integers: [&[[i8; STEP]; STEPS]; N] = rows.map(|row| &row.steps()[run]);
        for part in 0..PARTS {
            let mut sums = [_mm512_setzero_si512(); N];
            for step in part * STEPS / PARTS..(part + 1) * STEPS / PARTS {
                let codes = vector::of_64_bytes(&codes[step]);
                for (sum, integers) in sums.iter_mut().zip(integers) {
                    let values = i32::from_ne_bytes(integers[step].map(i8::cast_unsigned));
                    *sum = _mm512_dpbusd_epi32(*sum, codes, _mm512_set1_epi32(values));
                }
            }
            let (scale, minimum) = (vector::of_16_floats(&scales[part]), vector::of_16_floats(&minimums[part]));
            for (offset, row) in rows.iter().enumerate() {
                let sum_of_values = if PARTS == 1 { row.sums[run] } else { row.half_sums[run][part] };
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(row.scales[run]));
                let with_minimum = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sum_of_values), products[offset]);
                products[offset] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[offset]), scale, with_minimum);
            }
        }
    }
    for (offset, products) in products.into_iter().enumerate() {
        store(panel, number + offset, first_output, &vector::to_16_floats(products));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn multiply_rows<E: Encoding>(panel: &mut Panel<'_>, input: &Rounded) {
    for (number, products) in panel.products.iter_mut().enumerate() {
        let values = input.row(number);
        for (product, row) in products.iter_mut().zip(panel.bytes.chunks_exact(panel.row_bytes)) {
            *product = multiply_row::<E>(row, values);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
#[inline]
fn multiply_row<E: Encoding>(row: &[u8], values: RoundedRow<'_>) -> f32 {
    let mut products = [_mm256_setzero_ps(); 2];
    let mut minimums = [0.0; 2];
    let integers = values.integers.as_chunks::<RUN>().0.chunks_exact(E::RUNS);
    let scales = values.scales.chunks_exact(E::RUNS);
    let sums = values.sums.chunks_exact(E::RUNS).zip(values.half_sums.chunks_exact(E::RUNS));
    for ((block, integers), (value_scales, (sums, half_sums))) in
        row.chunks_exact(E::BYTES).zip(integers).zip(scales.zip(sums))
    {
        for run in 0..E::RUNS {
            let codes = vector::of_bytes(&E::codes(block, run));
            let sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, vector::of_signed_bytes(&integers[run]));
            let weights = E::scales(block, run);
            let scale = spread::<E>(weights.scale, value_scales[run]);
            products[run % 2] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, products[run % 2]);
            if E::HALVES {
                for half in 0..2 {
                    minimums[half] += weights.offset_minimum::<E>(half) * half_sums[run][half];
                }
            } else {
                minimums[run % 2] += weights.offset_minimum::<E>(0) * sums[run];
            }
        }
    }
    let lanes = vector::to_floats(_mm256_add_ps(products[0], products[1]));
    lanes.iter().sum::<f32>() + minimums[0] + minimums[1]
}

/// The scales of a run's halves in the lanes of those halves.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
#[inline]
fn spread<E: Encoding>(scale: [f32; 2], factor: f32) -> __m256 {
    if E::HALVES {
        let low = _mm256_castps128_ps256(_mm_set1_ps(scale[0] * factor));
        _mm256_insertf128_ps::<1>(low, _mm_set1_ps(scale[1] * factor))
    } else {
        _mm256_set1_ps(scale[0] * factor)
    }
}

const _: () = assert!(size_of::<__m512>() == 4 * OUTPUTS_AT_ONCE, "a vector has a lane for each output of a tile");
