//! The IQ formats: groups of 8 or 4 weights are entries of a codebook, with signs beside them.

use super::scaled::{UNEVEN, looked_up};
use super::{Encoding, HALF_RUN, Half, RUN, Scales, double_word_at, nibbles, word_at};

/// The entries of all codebooks as little-endian words, the first value in the lowest bits. They are
/// constants of the formats; `tests/llama-cpp/src/bin/blocks.rs` found them by letting ggml decode blocks
/// that name each entry in turn, and writes this file with `blocks codebooks`.
static ENTRIES: &[u8; 2 * 4_608] = include_bytes!("codebooks.bin");

/// Where each codebook starts, in entries. Each has a power of two of them.
const IQ2_XXS: (usize, usize) = (0, 256);
const IQ2_XS: (usize, usize) = (256, 512);
const IQ2_S: (usize, usize) = (768, 1_024);
const IQ3_XXS: (usize, usize) = (1_792, 256);
const IQ3_S: (usize, usize) = (2_048, 512);
const IQ1: (usize, usize) = (2_560, 2_048);

/// What the codes of signed groups add to a weight.
const MIDDLE: u8 = 64;
const MAGNITUDES_OF_2_BITS: [u8; 4] = [8, 25, 43, 43];
const MAGNITUDES_OF_IQ3_XXS: [u8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
const MAGNITUDES_OF_IQ3_S: [u8; 8] = [1, 3, 5, 7, 9, 11, 13, 15];

#[inline(always)]
fn entry((start, count): (usize, usize), number: usize) -> u16 {
    word_at(ENTRIES, 2 * (start + number % count))
}

/// The weight of `magnitude`, which bit `place` of `signs` negates.
#[inline(always)]
fn signed(magnitude: u8, signs: u8, place: usize) -> u8 {
    if signs >> place & 1 == 0 { MIDDLE + magnitude } else { MIDDLE - magnitude }
}

/// Seven signs and an eighth that makes the number of negative ones even.
#[inline(always)]
fn with_parity(signs: u32) -> u8 {
    let [signs, ..] = (signs & 127).to_le_bytes();
    signs | u8::from(signs.count_ones() % 2 == 1) << 7
}

/// A run of four groups of 8; `group` gives the entry and the signs of one.
#[inline(always)]
fn groups_of_8(group: impl Fn(usize) -> (u16, u8)) -> [u8; RUN] {
    let mut codes = [0; RUN];
    for (number, codes) in codes.chunks_exact_mut(8).enumerate() {
        let (entry, signs) = group(number);
        for (place, code) in codes.iter_mut().enumerate() {
            *code = signed(MAGNITUDES_OF_2_BITS[usize::from(entry >> (2 * place) & 3)], signs, place);
        }
    }
    codes
}

/// A run of eight groups of 4; `group` gives the entry of one, and `signs` those of two groups.
#[inline(always)]
fn groups_of_4(magnitudes: &[u8; 8], group: impl Fn(usize) -> u16, signs: impl Fn(usize) -> u8) -> [u8; RUN] {
    let mut codes = [0; RUN];
    for (number, codes) in codes.chunks_exact_mut(4).enumerate() {
        let (entry, signs) = (group(number), signs(number / 2) >> (number % 2 * 4));
        for (place, code) in codes.iter_mut().enumerate() {
            *code = signed(magnitudes[usize::from(entry >> (3 * place) & 7)], signs, place);
        }
    }
    codes
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
        groups_of_8(|group| (entry(IQ2_XXS, usize::from(packed[group])), with_parity(signs >> (7 * group))))
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
            (entry(IQ2_XS, usize::from(word)), with_parity(u32::from(word >> 9)))
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
            (entry(IQ2_S, number), block[34 + 4 * run + group])
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
        let group = |group| entry(IQ3_XXS, usize::from(block[2 + 8 * run + group]));
        groups_of_4(&MAGNITUDES_OF_IQ3_XXS, group, |pair| with_parity(signs >> (7 * pair)))
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
        groups_of_4(&MAGNITUDES_OF_IQ3_S, |group| entry(IQ3_S, number(group)), |pair| block[74 + 4 * run + pair])
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
    for (number, codes) in codes.chunks_exact_mut(8).enumerate() {
        let (number, negative) = group(number);
        let (entry, eighth) = (entry(IQ1, number), if negative { 0 } else { 2 });
        for (place, code) in codes.iter_mut().enumerate() {
            let [digit, _] = (entry >> (2 * place) & 3).to_le_bytes();
            *code = 8 * digit + eighth;
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
