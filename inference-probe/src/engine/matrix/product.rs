//! The product of an input and a matrix: rounding, sharing the work, and the code for every processor.
//!
//! As in llama.cpp, a row of the input is first rounded to 8-bit integers, one scale for each 32
//! of them, where the weights are integers too; the sums of their products are then exact.

#![expect(clippy::inline_always, reason = "a function that is not inlined lacks its caller's vector instructions")]

use rayon::prelude::*;

use super::encoding::{Encoding, HALF_RUN, RUN, Scales};
use super::format::Multiply;
use super::numbers::Element;
use super::processor::{self, Processor};

/// Multiplications below which a second thread costs more than it saves.
const PARALLEL_FROM: usize = 1 << 17;
/// Tasks for each thread, so that one that is interrupted does not keep the others waiting for long.
const TASKS_PER_THREAD: usize = 4;
/// A task's rows of the matrix are a multiple of this, which is what vector code computes at once.
pub(super) const OUTPUTS_AT_ONCE: usize = 16;
/// Integers of an input that vector code multiplies with one lane, and how many times in a run.
pub(super) const STEP: usize = 4;
pub(super) const STEPS: usize = RUN / STEP;

/// Some rows of a matrix, and where their products go: one slice for each row of the input.
pub(super) struct Panel<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) row_bytes: usize,
    pub(super) products: Vec<&'a mut [f32]>,
}

/// Rows of floats.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) length: usize,
}

impl Rows<'_> {
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.length..][..self.length]
    }
}

/// A matrix of at least one row of at least one element, and as many products as it has rows for each row of `input`.
pub(super) struct Product<'a> {
    pub(super) matrix: &'a [u8],
    pub(super) row_bytes: usize,
    pub(super) outputs: usize,
    pub(super) input: Rows<'a>,
    pub(super) products: &'a mut [f32],
}

impl<'a> Product<'a> {
    pub(super) fn compute(self, multiply: Multiply, processor: Processor) {
        let threads = self.threads();
        match multiply {
            Multiply::Rounded(multiply) => {
                let input = Rounded::of(self.input, processor);
                share(threads, self.panels(threads), |panel| multiply(processor, panel, &input));
            }
            Multiply::Exact(multiply) => {
                let input = self.input;
                share(threads, self.panels(threads), |panel| multiply(processor, panel, &input));
            }
        }
    }

    fn threads(&self) -> usize {
        let work = self.outputs.saturating_mul(self.input.values.len());
        if work < PARALLEL_FROM { 1 } else { rayon::current_num_threads() }
    }

    fn panels(self, threads: usize) -> Vec<Panel<'a>> {
        let tasks = if threads == 1 { 1 } else { TASKS_PER_THREAD * threads };
        let size = self.outputs.div_ceil(tasks).next_multiple_of(OUTPUTS_AT_ONCE);
        let parts = self.matrix.chunks(size * self.row_bytes);
        let panel = |bytes| Panel { bytes, row_bytes: self.row_bytes, products: Vec::new() };
        let mut panels: Vec<_> = parts.map(panel).collect();
        for products in self.products.chunks_mut(self.outputs) {
            for (panel, products) in panels.iter_mut().zip(products.chunks_mut(size)) {
                panel.products.push(products);
            }
        }
        panels
    }
}

fn share(threads: usize, mut panels: Vec<Panel<'_>>, work: impl Fn(&mut Panel<'_>) + Send + Sync) {
    if threads == 1 {
        panels.iter_mut().for_each(work);
    } else {
        panels.par_iter_mut().for_each(work);
    }
}

/// Rows of floats, rounded run by run: a value is about its run's scale times its integer.
pub(super) struct Rounded {
    pub(super) rows: usize,
    pub(super) integers: Vec<i8>,
    pub(super) scales: Vec<f32>,
    /// The sums of the rounded values, which multiply the weights' minimum.
    pub(super) sums: Vec<f32>,
    pub(super) half_sums: Vec<[f32; 2]>,
}

/// One row of [`Rounded`].
#[derive(Clone, Copy)]
pub(super) struct RoundedRow<'a> {
    pub(super) integers: &'a [i8],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [f32],
    pub(super) half_sums: &'a [[f32; 2]],
}

impl Rounded {
    pub(super) fn of(input: Rows<'_>, processor: Processor) -> Self {
        let runs = input.values.len() / RUN;
        let mut rounded = Self {
            rows: input.values.len() / input.length,
            integers: vec![0; runs * RUN],
            scales: vec![0.0; runs],
            sums: vec![0.0; runs],
            half_sums: vec![[0.0; 2]; runs],
        };
        processor::round(processor, input.values, &mut rounded);
        rounded
    }

    pub(super) fn row(&self, row: usize) -> RoundedRow<'_> {
        let runs = self.scales.len() / self.rows;
        RoundedRow {
            integers: &self.integers[row * runs * RUN..][..runs * RUN],
            scales: &self.scales[row * runs..][..runs],
            sums: &self.sums[row * runs..][..runs],
            half_sums: &self.half_sums[row * runs..][..runs],
        }
    }
}

impl<'a> RoundedRow<'a> {
    /// The integers in the steps in which a tile has its codes.
    #[inline]
    pub(super) fn steps(&self) -> &'a [[[i8; STEP]; STEPS]] {
        self.integers.as_chunks::<STEP>().0.as_chunks::<STEPS>().0
    }
}

/// Rounds whole runs.
#[inline(always)]
pub(super) fn round(values: &[f32], rounded: &mut Rounded) {
    let scales = rounded.scales.iter_mut().zip(&mut rounded.sums).zip(&mut rounded.half_sums);
    let integers = rounded.integers.as_chunks_mut::<RUN>().0.iter_mut();
    for ((values, integers), ((scale, sum), half_sums)) in values.as_chunks::<RUN>().0.iter().zip(integers).zip(scales)
    {
        *scale = greatest_magnitude(values) / 127.0;
        let inverse = if *scale > 0.0 { scale.recip() } else { 0.0 };
        *integers = values.map(|value| nearest(value * inverse));
        *half_sums = [0, 1].map(|half| *scale * sum_of(&integers[half * HALF_RUN..][..HALF_RUN]));
        *sum = half_sums[0] + half_sums[1];
    }
}

/// NaN if one of the values is, so that the products are, too: as bits, NaN is above infinity.
#[inline]
fn greatest_magnitude(values: &[f32; RUN]) -> f32 {
    f32::from_bits(values.iter().fold(0, |greatest, value| greatest.max(value.abs().to_bits())))
}

/// Of two equally near integers the even one; `value` is at most 127 in magnitude. In a sum with
/// 1.5 * 2^23 the lowest byte is the integer.
#[inline]
fn nearest(value: f32) -> i8 {
    const SHIFT: f32 = 12_582_912.0;
    let [integer, ..] = (value + SHIFT).to_bits().to_le_bytes();
    integer.cast_signed()
}

#[inline]
fn sum_of(integers: &[i8]) -> f32 {
    f32::from(integers.iter().map(|integer| i16::from(*integer)).sum::<i16>())
}

/// For every processor; the compiler vectorizes it as far as the program's target allows.
pub(super) fn multiply_blocks<E: Encoding>(panel: &mut Panel<'_>, input: &Rounded) {
    for (output, row) in panel.bytes.chunks_exact(panel.row_bytes).enumerate() {
        for (number, products) in panel.products.iter_mut().enumerate() {
            products[output] = product_of_row::<E>(row, input.row(number));
        }
    }
}

fn product_of_row<E: Encoding>(row: &[u8], values: RoundedRow<'_>) -> f32 {
    let blocks = row.chunks_exact(E::BYTES).flat_map(|block| (0..E::RUNS).map(move |run| (block, run)));
    let integers = values.integers.as_chunks::<RUN>().0;
    let values = integers.iter().zip(values.scales).zip(values.half_sums);
    let products = blocks
        .zip(values)
        .map(|((block, run), ((integers, scale), sums))| product_of_run::<E>(block, run, integers, *scale, *sums));
    products.sum()
}

fn product_of_run<E: Encoding>(block: &[u8], run: usize, values: &[i8; RUN], scale: f32, sums: [f32; 2]) -> f32 {
    let codes = E::codes(block, run);
    let scales = E::scales(block, run);
    let half = |half: usize| {
        let pairs = codes[half * HALF_RUN..][..HALF_RUN].iter().zip(&values[half * HALF_RUN..]);
        let sum: i32 = pairs.map(|(code, value)| i32::from(*code) * i32::from(*value)).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most 16 * 255 * 127")]
        let sum = sum as f32;
        scales.scale[half] * scale * sum + scales.offset_minimum::<E>(half) * sums[half]
    };
    half(0) + half(1)
}

/// For every processor.
pub(super) fn multiply_elements<E: Element>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    multiply_elements_by::<E>(panel, input, |weight, value, sum| weight * value + sum);
}

/// For processors that multiply and add in one instruction.
#[inline(always)]
pub(super) fn multiply_elements_fused<E: Element>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    multiply_elements_by::<E>(panel, input, f32::mul_add);
}

#[inline(always)]
fn multiply_elements_by<E: Element>(
    panel: &mut Panel<'_>,
    input: &Rows<'_>,
    add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let mut weights = vec![0.0; input.length];
    for (output, row) in panel.bytes.chunks_exact(panel.row_bytes).enumerate() {
        for (weight, bytes) in weights.iter_mut().zip(row.chunks_exact(E::BYTES)) {
            *weight = E::value(bytes);
        }
        for (number, products) in panel.products.iter_mut().enumerate() {
            products[output] = exact_product(&weights, input.row(number), add);
        }
    }
}

/// Summed in lanes, which the compiler turns into vectors: several, for one would wait for its own sums.
#[inline(always)]
fn exact_product(weights: &[f32], values: &[f32], add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [0.0; LANES];
    let (weight_groups, weight_rest) = weights.as_chunks::<LANES>();
    let (value_groups, value_rest) = values.as_chunks::<LANES>();
    for (weights, values) in weight_groups.iter().zip(value_groups) {
        for (lane, (weight, value)) in lanes.iter_mut().zip(weights.iter().zip(values)) {
            *lane = add(*weight, *value, *lane);
        }
    }
    let rest: f32 = weight_rest.iter().zip(value_rest).map(|(weight, value)| weight * value).sum();
    lanes.iter().sum::<f32>() + rest
}

impl Scales {
    /// The minimum when codes are multiplied without subtracting their offset first.
    #[inline(always)]
    pub(super) fn offset_minimum<E: Encoding>(&self, half: usize) -> f32 {
        self.minimum[half] - f32::from(E::OFFSET) * self.scale[half]
    }
}
