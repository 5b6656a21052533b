//! What the bytes of ggml's block formats mean, after the block structs of ggml-common.h.
//!
//! Every format is described in the same way: a block is a number of *runs* of 32 weights, each
//! `scale * (code - OFFSET) + minimum` with codes of one byte. So dequantizing, multiplying and
//! inspecting exist once, and a format is only where its bits lie.

#![expect(clippy::inline_always, reason = "a function that is not inlined lacks its caller's vector instructions")]

pub(super) mod codebook;
pub(super) mod k_quants;
pub(super) mod scaled;
pub(super) mod ternary;

use super::numbers::half;

/// Weights in a run.
pub(super) const RUN: usize = 32;
/// Runs whose scales are computed together.
pub(super) const EIGHT: usize = 8;
/// Both halves of a run can have a scale of their own.
pub(super) const HALF_RUN: usize = RUN / 2;

/// The minimum of formats that have none. It leaves every number as it is, a negative zero too.
const NO_MINIMUM: f32 = -0.0;

/// A block format.
///
/// `block` has `BYTES` bytes and `run` is below `RUNS`, so that no index is out of bounds. Any bytes
/// have a meaning, though scales that are not finite give weights that are not.
pub(super) trait Encoding {
    const BYTES: usize;
    const RUNS: usize;
    /// What a code of zero stands for, negated.
    const OFFSET: u8;
    /// Whether the halves of a run have different scales.
    const HALVES: bool = false;

    fn codes(block: &[u8], run: usize) -> [u8; RUN];
    /// `half` is how this machine reads half-precision numbers.
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales;

    /// The scales of the first eight runs in `blocks`; `halves` reads eight numbers at once.
    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], half: impl Half, halves: impl Halves) -> ScalesOfEight {
        let _ = halves;
        let mut of_eight = ScalesOfEight::default();
        for run in 0..EIGHT {
            let block = &blocks[run / Self::RUNS * Self::BYTES..][..Self::BYTES];
            let scales = Self::scales(block, run % Self::RUNS, half);
            for half in 0..2 {
                of_eight.scale[half][run] = scales.scale[half];
                of_eight.minimum[half][run] = scales.minimum[half];
            }
        }
        of_eight
    }
}

/// Turns the bits of a half-precision number into the number.
pub(super) trait Half: Fn(u16) -> f32 + Copy {}

impl<F: Fn(u16) -> f32 + Copy> Half for F {}

/// The same for eight of them.
pub(super) trait Halves: Fn([u16; EIGHT]) -> [f32; EIGHT] + Copy {}

impl<F: Fn([u16; EIGHT]) -> [f32; EIGHT] + Copy> Halves for F {}

/// How the codes of a run become weights, for each half.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scales {
    pub(super) scale: [f32; 2],
    pub(super) minimum: [f32; 2],
}

/// [`Scales`] of eight runs, by half and run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScalesOfEight {
    pub(super) scale: [[f32; EIGHT]; 2],
    pub(super) minimum: [[f32; EIGHT]; 2],
}

impl ScalesOfEight {
    /// Of runs whose halves are alike.
    #[inline(always)]
    fn of(scale: [f32; EIGHT], minimum: [f32; EIGHT]) -> Self {
        Self { scale: [scale; 2], minimum: [minimum; 2] }
    }
}

/// The words at `offset` of eight blocks.
#[inline(always)]
fn words_of_eight<E: Encoding>(blocks: &[u8], offset: usize) -> [u16; EIGHT] {
    let mut words = [0; EIGHT];
    for (number, word) in words.iter_mut().enumerate() {
        *word = word_at(blocks, number * E::BYTES + offset);
    }
    words
}

impl Scales {
    #[inline(always)]
    fn of(scale: f32) -> Self {
        Self { scale: [scale; 2], minimum: [NO_MINIMUM; 2] }
    }

    #[inline(always)]
    fn with_minimum(scale: f32, minimum: f32) -> Self {
        Self { scale: [scale; 2], minimum: [minimum; 2] }
    }

    #[inline(always)]
    fn of_halves(scale: impl Fn(usize) -> f32) -> Self {
        Self { scale: [scale(0), scale(1)], minimum: [NO_MINIMUM; 2] }
    }
}

/// The weights of a run.
#[inline(always)]
pub(super) fn weights<E: Encoding>(block: &[u8], run: usize) -> [f32; RUN] {
    let Scales { scale, minimum } = E::scales(block, run, half);
    let codes = E::codes(block, run);
    std::array::from_fn(|index| {
        let half = index / HALF_RUN;
        scale[half] * (f32::from(codes[index]) - f32::from(E::OFFSET)) + minimum[half]
    })
}

/// 16 bytes of two 4-bit codes: the low ones are the first half of the run, the high ones the second.
#[inline(always)]
fn nibbles(packed: &[u8]) -> [u8; RUN] {
    let mut codes = [0; RUN];
    for (index, byte) in packed[..HALF_RUN].iter().enumerate() {
        codes[index] = byte & 15;
        codes[index + HALF_RUN] = byte >> 4;
    }
    codes
}

/// For each byte, a byte for each of its bits, the lowest first: all ones where it is set.
static BITS: [[u8; 8]; 256] = {
    let mut bits = [[0; 8]; 256];
    let mut number = 0;
    while number < 8 * 256 {
        if (number / 8) >> (number % 8) & 1 == 1 {
            bits[number / 8][number % 8] = 0xFF;
        }
        number += 1;
    }
    bits
};

/// A byte for each bit, the lowest first: all ones where it is set.
#[inline(always)]
fn spread_bits(bytes: &[u8]) -> [u8; RUN] {
    let mut spread = [0; RUN];
    for (place, byte) in spread.as_chunks_mut().0.iter_mut().zip(bytes) {
        *place = BITS[usize::from(*byte)];
    }
    spread
}

#[inline(always)]
fn word_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

#[inline(always)]
fn double_word_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}
