//! Rows of a matrix laid out for vectors with a lane for each row.
//!
//! An input of several rows meets every weight several times, so that it pays to unpack the
//! weights first. With a lane for each output no vector has to be summed up at the end.

#![expect(clippy::inline_always, reason = "a function that is not inlined lacks its caller's vector instructions")]

use super::super::encoding::Encoding;
use super::super::product::{OUTPUTS_AT_ONCE, Panel, STEP, STEPS};

/// Rows of the input from which on a tile is worth its making.
pub(super) const TILE_FROM: usize = 4;

/// Up to 16 rows.
pub(super) struct Tile {
    /// For each run and each four of its codes, the four of each row.
    pub(super) codes: Vec<[[u8; STEP * OUTPUTS_AT_ONCE]; STEPS]>,
    /// For each run, or each half of one, the scale of each row, and its minimum.
    pub(super) scales: Vec<[f32; OUTPUTS_AT_ONCE]>,
    pub(super) minimums: Vec<[f32; OUTPUTS_AT_ONCE]>,
}

impl Tile {
    pub(super) fn new<E: Encoding>(row_bytes: usize) -> Self {
        let runs = row_bytes / E::BYTES * E::RUNS;
        let scales = runs * parts::<E>();
        Self {
            codes: vec![[[0; STEP * OUTPUTS_AT_ONCE]; STEPS]; runs],
            scales: vec![[0.0; OUTPUTS_AT_ONCE]; scales],
            minimums: vec![[0.0; OUTPUTS_AT_ONCE]; scales],
        }
    }

    /// Takes the rows in `bytes`; what was there before stays in lanes for which there is no row.
    /// `OFFSET` says whether the codes' offset becomes part of the minimum.
    #[inline(always)]
    pub(super) fn fill<E: Encoding, const OFFSET: bool>(&mut self, bytes: &[u8], row_bytes: usize) {
        for (lane, row) in bytes.chunks_exact(row_bytes).enumerate().take(OUTPUTS_AT_ONCE) {
            let tile = self.codes.chunks_exact_mut(E::RUNS);
            let tile = tile.zip(self.scales.chunks_exact_mut(E::RUNS * parts::<E>()));
            let tile = tile.zip(self.minimums.chunks_exact_mut(E::RUNS * parts::<E>()));
            for (block, ((codes, scales), minimums)) in row.chunks_exact(E::BYTES).zip(tile) {
                for (run, codes) in codes.iter_mut().enumerate() {
                    for (step, codes_of_step) in E::codes(block, run).as_chunks::<STEP>().0.iter().enumerate() {
                        codes[step][STEP * lane..][..STEP].copy_from_slice(codes_of_step);
                    }
                    let of_run = E::scales(block, run);
                    for part in 0..parts::<E>() {
                        let place = run * parts::<E>() + part;
                        scales[place][lane] = of_run.scale[part];
                        minimums[place][lane] =
                            if OFFSET { of_run.offset_minimum::<E>(part) } else { of_run.minimum[part] };
                    }
                }
            }
        }
    }
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
