//! The product of an input and a matrix: rounding, sharing the work, and the code for every processor.
//!
//! As in llama.cpp, a row of the input is first rounded to 8-bit integers, one scale for each 32
//! of them, where the weights are integers too; the sums of their products are then exact.

#![expect(clippy::inline_always, reason = "a function that is not inlined lacks its caller's vector instructions")]

use rayon::prelude::*;

use super::encoding::{Encoding, HALF_RUN, RUN, Scales};
use super::format::Multiply;
use super::numbers::{Element, half};
use super::processor::{self, Processor};

/// Multiplications below which a second thread costs more than it saves.
const PARALLEL_FROM: usize = 1 << 17;
/// Tasks for each thread, so that one that is interrupted does not keep the others waiting for long.
const TASKS_PER_THREAD: usize = 4;
/// A task's rows of the matrix are a multiple of this, which is what vector code computes at once.
pub(super) const OUTPUTS_AT_ONCE: usize = 16;
/// Rows of the input from which on vector code unpacks rows of the matrix before it multiplies them.
pub(super) const TILE_FROM: usize = 4;
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

/// Rows of floats, rounded run by run.
pub(super) struct Rounded {
    pub(super) rows: usize,
    pub(super) runs: Vec<RoundedRun>,
    /// The scales and sums of the runs once more, one after the other.
    pub(super) scales: Vec<f32>,
    pub(super) sums: Vec<f32>,
    pub(super) half_sums: [Vec<f32>; 2],
}

/// 32 values of about `scale` times an integer.
#[derive(Clone, Copy, Default)]
pub(super) struct RoundedRun {
    /// Four integers in each word, in the order of their bytes.
    pub(super) words: [u32; STEPS],
    pub(super) scale: f32,
    /// The sum of the rounded values, which multiplies the weights' minimum.
    pub(super) sum: f32,
    pub(super) half_sums: [f32; 2],
}

/// One row of [`Rounded`].
#[derive(Clone, Copy)]
pub(super) struct RoundedRow<'a> {
    pub(super) runs: &'a [RoundedRun],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [f32],
    pub(super) half_sums: [&'a [f32]; 2],
}

impl Rounded {
    pub(super) fn of(input: Rows<'_>, processor: Processor) -> Self {
        let (rows, runs) = (input.values.len() / input.length, input.values.len() / RUN);
        let mut rounded = Self {
            rows,
            runs: vec![RoundedRun::default(); runs],
            scales: Vec::with_capacity(runs),
            sums: Vec::with_capacity(runs),
            half_sums: [Vec::with_capacity(runs), Vec::with_capacity(runs)],
        };
        processor::round(processor, input.values, &mut rounded.runs);
        if rows < TILE_FROM {
            rounded.line_up();
        }
        rounded
    }

    fn line_up(&mut self) {
        self.scales.extend(self.runs.iter().map(|run| run.scale));
        self.sums.extend(self.runs.iter().map(|run| run.sum));
        for (half, sums) in self.half_sums.iter_mut().enumerate() {
            sums.extend(self.runs.iter().map(|run| run.half_sums[half]));
        }
    }

    #[inline(always)]
    pub(super) fn runs(&self, row: usize) -> &[RoundedRun] {
        let length = self.runs.len() / self.rows;
        &self.runs[row * length..][..length]
    }

    /// A row of fewer than [`TILE_FROM`].
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> RoundedRow<'_> {
        let length = self.runs.len() / self.rows;
        let (start, end) = (row * length, (row + 1) * length);
        RoundedRow {
            runs: &self.runs[start..end],
            scales: &self.scales[start..end],
            sums: &self.sums[start..end],
            half_sums: [&self.half_sums[0][start..end], &self.half_sums[1][start..end]],
        }
    }
}

/// The integers in a run's words.
#[inline(always)]
pub(super) fn unpacked(words: &[u32; STEPS]) -> [i8; RUN] {
    let mut integers = [0; RUN];
    for (integers, word) in integers.as_chunks_mut().0.iter_mut().zip(words) {
        *integers = word.to_ne_bytes().map(u8::cast_signed);
    }
    integers
}

/// Rounds whole runs.
#[inline(always)]
pub(super) fn round(values: &[f32], runs: &mut [RoundedRun]) {
    for (values, run) in values.as_chunks::<RUN>().0.iter().zip(runs) {
        let scale = greatest_magnitude(values) / 127.0;
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let mut integers = [0_i8; RUN];
        for (integer, value) in integers.iter_mut().zip(values) {
            *integer = nearest(value * inverse);
        }
        for (word, integers) in run.words.iter_mut().zip(integers.as_chunks::<STEP>().0) {
            *word = u32::from_ne_bytes(integers.map(i8::cast_unsigned));
        }
        run.scale = scale;
        run.half_sums = [scale * sum_of(&integers, 0), scale * sum_of(&integers, HALF_RUN)];
        run.sum = run.half_sums[0] + run.half_sums[1];
    }
}

/// NaN if one of the values is, so that the products are, too: as bits, NaN is above infinity.
#[inline(always)]
fn greatest_magnitude(values: &[f32; RUN]) -> f32 {
    let mut greatest = 0;
    for value in values {
        greatest = greatest.max(value.to_bits() & 0x7FFF_FFFF);
    }
    f32::from_bits(greatest)
}

/// Of two equally near integers the even one; `value` is at most 127 in magnitude. In a sum with
/// 1.5 * 2^23 the lowest byte is the integer.
#[inline(always)]
fn nearest(value: f32) -> i8 {
    const SHIFT: f32 = 12_582_912.0;
    let [integer, ..] = (value + SHIFT).to_bits().to_le_bytes();
    integer.cast_signed()
}

/// The sum of half a run.
#[inline(always)]
fn sum_of(integers: &[i8; RUN], first: usize) -> f32 {
    let mut sum = 0_i16;
    for integer in &integers[first..first + HALF_RUN] {
        sum += i16::from(*integer);
    }
    f32::from(sum)
}

/// For every processor; the compiler vectorizes it as far as the program's target allows.
pub(super) fn multiply_blocks<E: Encoding>(panel: &mut Panel<'_>, input: &Rounded) {
    for (output, row) in panel.bytes.chunks_exact(panel.row_bytes).enumerate() {
        for (number, products) in panel.products.iter_mut().enumerate() {
            products[output] = product_of_row::<E>(row, input.runs(number));
        }
    }
}

fn product_of_row<E: Encoding>(row: &[u8], values: &[RoundedRun]) -> f32 {
    let blocks = row.chunks_exact(E::BYTES).zip(values.chunks_exact(E::RUNS));
    let runs =
        blocks.flat_map(|(block, values)| values.iter().enumerate().map(move |(run, values)| (block, run, values)));
    runs.map(|(block, run, values)| product_of_run::<E>(block, run, values)).sum()
}

fn product_of_run<E: Encoding>(block: &[u8], run: usize, values: &RoundedRun) -> f32 {
    let codes = E::codes(block, run);
    let scales = E::scales(block, run, half);
    let integers = unpacked(&values.words);
    let product_of_half = |half: usize| {
        let pairs = codes[half * HALF_RUN..][..HALF_RUN].iter().zip(&integers[half * HALF_RUN..]);
        let sum: i32 = pairs.map(|(code, integer)| i32::from(*code) * i32::from(*integer)).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most 16 * 255 * 127")]
        let sum = sum as f32;
        scales.scale[half] * values.scale * sum + scales.offset_minimum::<E>(half) * values.half_sums[half]
    };
    product_of_half(0) + product_of_half(1)
}

/// For every processor.
pub(super) fn multiply_elements<E: Element>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    multiply_elements_in_lanes::<E, false>(panel, input);
}

/// `FUSED` says whether the processor multiplies and adds in one instruction.
#[inline(always)]
pub(super) fn multiply_elements_in_lanes<E: Element, const FUSED: bool>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    if panel.products.len() >= TILE_FROM {
        return multiply_elements_of_many::<E, FUSED>(panel, input);
    }
    let mut weights = vec![0.0; input.length];
    for (output, row) in panel.bytes.chunks_exact(panel.row_bytes).enumerate() {
        values_of::<E>(row, &mut weights);
        for (number, products) in panel.products.iter_mut().enumerate() {
            products[output] = exact_product::<FUSED>(&weights, input.row(number));
        }
    }
}

#[inline(always)]
fn values_of<E: Element>(bytes: &[u8], values: &mut [f32]) {
    for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(E::BYTES)) {
        *value = E::value(bytes);
    }
}

/// Some rows of the matrix side by side, with a lane for each, meet all rows of the input.
#[inline(always)]
fn multiply_elements_of_many<E: Element, const FUSED: bool>(panel: &mut Panel<'_>, input: &Rows<'_>) {
    let mut weights = vec![0.0; input.length];
    let mut columns = vec![[0.0; OUTPUTS_AT_ONCE]; input.length];
    for (number, bytes) in panel.bytes.chunks(OUTPUTS_AT_ONCE * panel.row_bytes).enumerate() {
        for (lane, row) in bytes.chunks_exact(panel.row_bytes).enumerate() {
            values_of::<E>(row, &mut weights);
            for (column, weight) in columns.iter_mut().zip(&weights) {
                column[lane] = *weight;
            }
        }
        let mut groups = panel.products.chunks_exact_mut(TILE_FROM);
        let mut first = 0;
        for group in &mut groups {
            store_lanes(group, number, &products_of_columns::<TILE_FROM, FUSED>(&columns, input, first));
            first += TILE_FROM;
        }
        for products in groups.into_remainder().chunks_mut(1) {
            store_lanes(products, number, &products_of_columns::<1, FUSED>(&columns, input, first));
            first += 1;
        }
    }
}

/// Products of the columns with `N` rows of the input from `first` on.
#[inline(always)]
fn products_of_columns<const N: usize, const FUSED: bool>(
    columns: &[[f32; OUTPUTS_AT_ONCE]],
    input: &Rows<'_>,
    first: usize,
) -> [[f32; OUTPUTS_AT_ONCE]; N] {
    let mut rows = [input.row(first); N];
    for (offset, row) in rows.iter_mut().enumerate() {
        *row = &input.row(first + offset)[..columns.len()];
    }
    let mut products = [[0.0_f32; OUTPUTS_AT_ONCE]; N];
    for (place, weights) in columns.iter().enumerate() {
        for (products, row) in products.iter_mut().zip(&rows) {
            let value = row[place];
            for (product, weight) in products.iter_mut().zip(weights) {
                *product = if FUSED { weight.mul_add(value, *product) } else { weight * value + *product };
            }
        }
    }
    products
}

/// Writes the products of the matrix's rows of group `number`, of which there may be fewer than lanes.
#[inline(always)]
fn store_lanes(products: &mut [&mut [f32]], number: usize, lanes: &[[f32; OUTPUTS_AT_ONCE]]) {
    for (products, lanes) in products.iter_mut().zip(lanes) {
        for (product, lane) in products[number * OUTPUTS_AT_ONCE..].iter_mut().zip(lanes) {
            *product = *lane;
        }
    }
}

/// Summed in lanes, which the compiler turns into vectors: several, for one would wait for its own sums.
#[inline(always)]
fn exact_product<const FUSED: bool>(weights: &[f32], values: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [0.0_f32; LANES];
    let (weight_groups, weight_rest) = weights.as_chunks::<LANES>();
    let (value_groups, value_rest) = values.as_chunks::<LANES>();
    for (weights, values) in weight_groups.iter().zip(value_groups) {
        for lane in 0..LANES {
            lanes[lane] = if FUSED {
                weights[lane].mul_add(values[lane], lanes[lane])
            } else {
                weights[lane] * values[lane] + lanes[lane]
            };
        }
    }
    let mut rest = 0.0;
    for (weight, value) in weight_rest.iter().zip(value_rest) {
        rest += weight * value;
    }
    let mut sums = [0.0; LANES / 4];
    for (place, sum) in sums.iter_mut().enumerate() {
        *sum = (lanes[place] + lanes[place + 8]) + (lanes[place + 16] + lanes[place + 24]);
    }
    rest + sum_of_lanes(sums)
}

/// Summed as a tree, so that no addition waits for all others.
#[inline(always)]
pub(super) fn sum_of_lanes(lanes: [f32; 8]) -> f32 {
    let pair = |place: usize| lanes[place] + lanes[place + 4];
    (pair(0) + pair(2)) + (pair(1) + pair(3))
}

impl Scales {
    /// The minimum when codes are multiplied without subtracting their offset first.
    #[inline(always)]
    pub(super) fn offset_minimum<E: Encoding>(&self, half: usize) -> f32 {
        self.minimum[half] - f32::from(E::OFFSET) * self.scale[half]
    }
}
