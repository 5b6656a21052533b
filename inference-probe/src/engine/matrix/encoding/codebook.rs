//! The IQ formats: groups of 8 or 4 weights are entries of a codebook, with signs beside them.

use super::scaled::{UNEVEN, looked_up};
use super::{Encoding, HALF_RUN, Half, RUN, Scales, double_word_at, nibbles, spread_bits, word_at};

/// The entries of all codebooks as little-endian words, the first value in the lowest bits. They are
/// constants of the formats; `tests/llama-cpp/src/bin/blocks.rs` found them by letting ggml decode blocks
/// that name each entry in turn, and writes this file with `blocks codebooks`.
const ENTRIES_IN_BITS: &[u8; 2 * 4_608] = include_bytes!("codebooks.bin");

/// What the codes of signed groups add to a weight.
const MIDDLE: u8 = 64;

/// The codebooks with a byte for each value.
static MAGNITUDES_OF_IQ2: [[u8; 8]; 1_792] = unpacked(0, 2, [8, 25, 43, 0, 0, 0, 0, 0]);
static MAGNITUDES_OF_IQ3_XXS: [[u8; 4]; 256] = unpacked(1_792, 3, [4, 12, 20, 28, 36, 44, 52, 62]);
static MAGNITUDES_OF_IQ3_S: [[u8; 4]; 512] = unpacked(2_048, 3, [1, 3, 5, 7, 9, 11, 13, 15]);
/// Eight times -1, 0 and 1, with 8 added.
static EIGHTHS_OF_IQ1: [[u8; 8]; 2_048] = unpacked(2_560, 2, [0, 8, 16, 0, 0, 0, 0, 0]);

const fn unpacked<const VALUES: usize, const ENTRIES: usize>(
    first: usize,
    bits: usize,
    digits: [u8; 8],
) -> [[u8; VALUES]; ENTRIES] {
    let mut entries = [[0; VALUES]; ENTRIES];
    let mut number = 0;
    while number < ENTRIES {
        let offset = 2 * (first + number);
        let entry = u16::from_le_bytes([ENTRIES_IN_BITS[offset], ENTRIES_IN_BITS[offset + 1]]);
        let mut place = 0;
        while place < VALUES {
            entries[number][place] = digits[(entry >> (bits * place)) as usize & ((1 << bits) - 1)];
            place += 1;
        }
        number += 1;
    }
    entries
}

/// Where the three codebooks of IQ2 start; each has a power of two of entries.
const IQ2_XXS: (usize, usize) = (0, 256);
const IQ2_XS: (usize, usize) = (256, 512);
const IQ2_S: (usize, usize) = (768, 1_024);

#[inline(always)]
fn magnitudes_of_iq2((start, count): (usize, usize), number: usize) -> [u8; 8] {
    MAGNITUDES_OF_IQ2[start + number % count]
}

/// Magnitudes as weights, negative where a bit of `signs` is set.
#[inline(always)]
fn signed(magnitudes: [u8; RUN], signs: [u8; 4]) -> [u8; RUN] {
    let mut codes = magnitudes;
    for (code, negative) in codes.iter_mut().zip(spread_bits(&signs)) {
        // In two's complement, flipping all bits and subtracting -1 negates.
        *code = (*code ^ negative).wrapping_sub(negative).wrapping_add(MIDDLE);
    }
    codes
}

/// Seven signs and an eighth that makes the number of negative ones even.
#[inline(always)]
fn with_parity(signs: u32) -> u8 {
    let [signs, ..] = (signs & 127).to_le_bytes();
    signs | u8::from(signs.count_ones() % 2 == 1) << 7
}

/// A run of four groups of 8; `group` gives the magnitudes and the signs of one.
#[inline(always)]
fn groups_of_8(group: impl Fn(usize) -> ([u8; 8], u8)) -> [u8; RUN] {
    let (mut magnitudes, mut signs) = ([0; RUN], [0; 4]);
    for (number, place) in magnitudes.as_chunks_mut().0.iter_mut().enumerate() {
        (*place, signs[number]) = group(number);
    }
    signed(magnitudes, signs)
}

/// A run of eight groups of 4; `group` gives the magnitudes of one.
#[inline(always)]
fn groups_of_4(group: impl Fn(usize) -> [u8; 4], signs: [u8; 4]) -> [u8; RUN] {
    let mut magnitudes = [0; RUN];
    for (number, place) in magnitudes.as_chunks_mut().0.iter_mut().enumerate() {
        *place = group(number);
    }
    signed(magnitudes, signs)
}

/// Scale, then for each run four numbers of entries of one byte, and 32 bits: four times seven signs and a 4-bit scale.
pub(in super::super) struct Iq2Xxs;

impl Encoding for Iq2Xxs {
    const BYTES: usize = 66;
    const RUNS: usize = 8;
    const OFFSET: u8 = MIDDLE;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let packed = &block[2 + 8 * run..][..8];
        let signs = double_word_at(packed, 4);
        groups_of_8(|group| (magnitudes_of_iq2(IQ2_XXS, usize::from(packed[group])), with_parity(signs >> (7 * group))))
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)) * (0.5 + f32::from(block[9 + 8 * run] >> 4)) * 0.25)
    }
}

/// 4-bit scales of IQ2_XS and IQ2_S, two in the byte of a run.
#[inline(always)]
fn halves_of_byte(scale: f32, packed: u8) -> Scales {
    Scales::of_halves(|half| scale * (0.5 + f32::from(packed >> (4 * half) & 15)) * 0.25)
}

/// Scale, 32 words of an entry's number (9 bits) and seven signs, 8 bytes of 4-bit scales.
pub(in super::super) struct Iq2Xs;

impl Encoding for Iq2Xs {
    const BYTES: usize = 74;
    const RUNS: usize = 8;
    const OFFSET: u8 = MIDDLE;
    const HALVES: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        groups_of_8(|group| {
            let word = word_at(block, 2 + 8 * run + 2 * group);
            (magnitudes_of_iq2(IQ2_XS, usize::from(word)), with_parity(u32::from(word >> 9)))
        })
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        halves_of_byte(half(word_at(block, 0)), block[66 + run])
    }
}

/// Scale, 32 low bytes of numbers, 32 bytes of signs, 8 bytes of two upper bits, 8 bytes of 4-bit scales.
pub(in super::super) struct Iq2S;

impl Encoding for Iq2S {
    const BYTES: usize = 82;
    const RUNS: usize = 8;
    const OFFSET: u8 = MIDDLE;
    const HALVES: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let high = usize::from(block[66 + run]);
        groups_of_8(|group| {
            let number = usize::from(block[2 + 4 * run + group]) | (high >> (2 * group) & 3) << 8;
            (magnitudes_of_iq2(IQ2_S, number), block[34 + 4 * run + group])
        })
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        halves_of_byte(half(word_at(block, 0)), block[74 + run])
    }
}

/// Scale, 64 numbers of one byte, then for each run 32 bits as in IQ2_XXS.
pub(in super::super) struct Iq3Xxs;

impl Encoding for Iq3Xxs {
    const BYTES: usize = 98;
    const RUNS: usize = 8;
    const OFFSET: u8 = MIDDLE;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let signs = double_word_at(block, 66 + 4 * run);
        let signs = [0, 1, 2, 3].map(|pair| with_parity(signs >> (7 * pair)));
        groups_of_4(|group| MAGNITUDES_OF_IQ3_XXS[usize::from(block[2 + 8 * run + group])], signs)
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)) * (0.5 + f32::from(block[69 + 4 * run] >> 4)) * 0.5)
    }
}

/// Scale, 64 low bytes of numbers, 8 bytes of their ninth bits, 32 bytes of signs, 4 bytes of 4-bit scales.
pub(in super::super) struct Iq3S;

impl Encoding for Iq3S {
    const BYTES: usize = 110;
    const RUNS: usize = 8;
    const OFFSET: u8 = MIDDLE;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let high = usize::from(block[66 + run]);
        let number = |group: usize| usize::from(block[2 + 8 * run + group]) | (high >> group & 1) << 8;
        let signs = double_word_at(block, 74 + 4 * run).to_le_bytes();
        groups_of_4(|group| MAGNITUDES_OF_IQ3_S[number(group)], signs)
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        let packed = block[106 + run / 2] >> (run % 2 * 4) & 15;
        Scales::of(half(word_at(block, 0)) * f32::from(1 + 2 * packed))
    }
}

/// Digits of -1, 0 and 1 with an eighth added or subtracted, counted in eighths.
const MIDDLE_OF_IQ1: u8 = 9;

/// A run of four groups of 8; `group` gives the number of the entry and whether the eighth is subtracted.
#[inline(always)]
fn eighths(group: impl Fn(usize) -> (usize, bool)) -> [u8; RUN] {
    let mut codes = [0; RUN];
    for (number, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let (number, negative) = group(number);
        *codes = EIGHTHS_OF_IQ1[number % EIGHTHS_OF_IQ1.len()];
        let eighth = if negative { 0 } else { 2 };
        for code in codes {
            *code += eighth;
        }
    }
    codes
}

#[inline(always)]
fn odd(packed: u16) -> f32 {
    f32::from(2 * (packed & 7) + 1)
}

/// Scale, 32 low bytes of numbers, then a word for each run: four times three upper bits, a 3-bit scale and a sign.
pub(in super::super) struct Iq1S;

impl Encoding for Iq1S {
    const BYTES: usize = 50;
    const RUNS: usize = 8;
    const OFFSET: u8 = MIDDLE_OF_IQ1;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let word = word_at(block, 34 + 2 * run);
        eighths(|group| {
            let high = usize::from(word >> (3 * group) & 7);
            (usize::from(block[2 + 4 * run + group]) | high << 8, word & 0x8000 != 0)
        })
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)) * odd(word_at(block, 34 + 2 * run) >> 12) * 0.125)
    }
}

/// 32 low bytes of numbers, 32 nibbles of three upper bits and a sign, four words of four 3-bit
/// scales and a quarter of the block's scale.
pub(in super::super) struct Iq1M;

impl Encoding for Iq1M {
    const BYTES: usize = 56;
    const RUNS: usize = 8;
    const OFFSET: u8 = MIDDLE_OF_IQ1;
    const HALVES: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        eighths(|group| {
            let nibble = block[32 + 2 * run + group / 2] >> (group % 2 * 4);
            (usize::from(block[4 * run + group]) | usize::from(nibble & 7) << 8, nibble & 8 != 0)
        })
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        let word = |number: usize| word_at(block, 48 + 2 * number);
        let scale = half(word(0) >> 12 | word(1) >> 12 << 4 | word(2) >> 12 << 8 | word(3) >> 12 << 12);
        let packed = word(run / 2) >> (run % 2 * 6);
        Scales::of_halves(|half| scale * odd(packed >> (3 * half)) * 0.125)
    }
}

/// Scale, a word and 4 bytes of 6-bit scales, 128 bytes of nibbles as in IQ4_NL.
pub(in super::super) struct Iq4Xs;

impl Encoding for Iq4Xs {
    const BYTES: usize = 136;
    const RUNS: usize = 8;
    const OFFSET: u8 = 128;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        looked_up(nibbles(&block[8 + HALF_RUN * run..]), &UNEVEN)
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        let low = block[4 + run / 2] >> (run % 2 * 4) & 15;
        let [high, _] = (word_at(block, 2) >> (2 * run) & 3).to_le_bytes();
        Scales::of(half(word_at(block, 0)) * (f32::from(low | high << 4) - 32.0))
    }
}
