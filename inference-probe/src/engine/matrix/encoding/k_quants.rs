//! The K formats: blocks of 256 weights in 8 runs, whose small scales share a larger one.

use super::scaled::signed;
use super::{EIGHT, Encoding, HALF_RUN, Half, Halves, RUN, Scales, ScalesOfEight, double_word_at, word_at};

/// Two bits of each byte.
#[inline(always)]
fn pairs_of_bits(packed: &[u8], shift: usize) -> [u8; RUN] {
    let mut codes = [0; RUN];
    for (code, byte) in codes.iter_mut().zip(packed) {
        *code = byte >> shift & 3;
    }
    codes
}

/// The 6-bit scale and minimum of a run of Q4_K and Q5_K: the last four lie in the upper bits of the others.
#[inline(always)]
fn scale_and_minimum(packed: &[u8], run: usize) -> (f32, f32) {
    let (scale, minimum) = if run < 4 {
        (packed[run] & 63, packed[run + 4] & 63)
    } else {
        let low = packed[run + 4];
        (low & 15 | packed[run - 4] >> 6 << 4, low >> 4 | packed[run] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// 16 bytes of 4-bit scale and minimum, 64 bytes of 2-bit codes, scale and minimum of those.
pub(in super::super) struct Q2K;

impl Encoding for Q2K {
    const BYTES: usize = 84;
    const RUNS: usize = 8;
    const OFFSET: u8 = 0;
    const HALVES: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        pairs_of_bits(&block[16 + RUN * (run / 4)..][..RUN], run % 4 * 2)
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        let (scale, minimum) = (half(word_at(block, 80)), half(word_at(block, 82)));
        let packed = [block[2 * run], block[2 * run + 1]];
        Scales {
            scale: packed.map(|packed| scale * f32::from(packed & 15)),
            minimum: packed.map(|packed| -(minimum * f32::from(packed >> 4))),
        }
    }
}

/// 32 bytes of third bits, 64 bytes of 2-bit codes, 16 scales of 6 bits in 12 bytes, their scale.
pub(in super::super) struct Q3K;

impl Encoding for Q3K {
    const BYTES: usize = 110;
    const RUNS: usize = 8;
    const OFFSET: u8 = 4;
    const HALVES: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let mut codes = pairs_of_bits(&block[32 + RUN * (run / 4)..][..RUN], run % 4 * 2);
        for (code, high) in codes.iter_mut().zip(&block[..RUN]) {
            *code |= (high >> run & 1) << 2;
        }
        codes
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        let (packed, scale) = (&block[96..108], half(word_at(block, 108)));
        Scales::of_halves(|half| {
            let number = 2 * run + half;
            let low = packed[number % 8] >> (number / 8 * 4) & 15;
            let high = packed[8 + number % 4] >> (number / 4 * 2) & 3;
            scale * (f32::from(low | high << 4) - 32.0)
        })
    }
}

/// Scale, minimum, 12 bytes of 6-bit scales and minimums, 128 bytes of nibbles.
pub(in super::super) struct Q4K;

impl Encoding for Q4K {
    const BYTES: usize = 144;
    const RUNS: usize = 8;
    const OFFSET: u8 = 0;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        nibbles_of_two_runs(&block[16..], run)
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        scaled_twice(block, run, half)
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], half: impl Half, _: impl Halves) -> ScalesOfEight {
        all_scaled_twice(blocks, half)
    }
}

/// 32 bytes hold the nibbles of two runs, the first in the low ones.
#[inline(always)]
fn nibbles_of_two_runs(packed: &[u8], run: usize) -> [u8; RUN] {
    let mut codes = [0; RUN];
    for (code, byte) in codes.iter_mut().zip(&packed[RUN * (run / 2)..][..RUN]) {
        *code = byte >> (run % 2 * 4) & 15;
    }
    codes
}

#[inline(always)]
fn scaled_twice(block: &[u8], run: usize, half: impl Half) -> Scales {
    let (scale, minimum) = scale_and_minimum(&block[4..16], run);
    Scales::with_minimum(half(word_at(block, 0)) * scale, -(half(word_at(block, 2)) * minimum))
}

/// The scales and minimums of all runs, four bytes at a time.
#[inline(always)]
fn all_scaled_twice(block: &[u8], half: impl Half) -> ScalesOfEight {
    const LOW_SIX: u32 = 0x3F3F_3F3F;
    const LOW_FOUR: u32 = 0x0F0F_0F0F;
    const HIGH_TWO: u32 = 0x3030_3030;
    let (scales, minimums, low) = (double_word_at(block, 4), double_word_at(block, 8), double_word_at(block, 12));
    let last_scales = low & LOW_FOUR | scales >> 2 & HIGH_TWO;
    let last_minimums = low >> 4 & LOW_FOUR | minimums >> 2 & HIGH_TWO;
    let scaled = |factor: f32, first: u32, last: u32| {
        let mut numbers = [0.0; EIGHT];
        let bytes = (u64::from(last) << 32 | u64::from(first)).to_le_bytes();
        for (number, byte) in numbers.iter_mut().zip(bytes) {
            *number = factor * f32::from(byte);
        }
        numbers
    };
    ScalesOfEight::of(
        scaled(half(word_at(block, 0)), scales & LOW_SIX, last_scales),
        scaled(-half(word_at(block, 2)), minimums & LOW_SIX, last_minimums),
    )
}

/// Like Q4_K, with 32 bytes of fifth bits before the nibbles.
pub(in super::super) struct Q5K;

impl Encoding for Q5K {
    const BYTES: usize = 176;
    const RUNS: usize = 8;
    const OFFSET: u8 = 0;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let mut codes = nibbles_of_two_runs(&block[48..], run);
        for (code, high) in codes.iter_mut().zip(&block[16..48]) {
            *code |= (high >> run & 1) << 4;
        }
        codes
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        scaled_twice(block, run, half)
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], half: impl Half, _: impl Halves) -> ScalesOfEight {
        all_scaled_twice(blocks, half)
    }
}

/// 128 bytes of the lower four bits, 64 bytes of the upper two, 16 signed scales, their scale.
pub(in super::super) struct Q6K;

impl Encoding for Q6K {
    const BYTES: usize = 210;
    const RUNS: usize = 8;
    const OFFSET: u8 = 32;
    const HALVES: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let (part, place) = (run / 4, run % 4);
        let low = &block[64 * part + RUN * (place % 2)..][..RUN];
        let mut codes = pairs_of_bits(&block[128 + RUN * part..][..RUN], 2 * place);
        for (code, low) in codes.iter_mut().zip(low) {
            *code = *code << 4 | low >> (place / 2 * 4) & 15;
        }
        codes
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, half: impl Half) -> Scales {
        let scale = half(word_at(block, 208));
        Scales::of_halves(|half| scale * f32::from(block[192 + 2 * run + half].cast_signed()))
    }
}

/// A 32-bit scale, 256 signed bytes, sums that follow from them.
pub(in super::super) struct Q8K;

impl Encoding for Q8K {
    const BYTES: usize = 292;
    const RUNS: usize = 8;
    const OFFSET: u8 = 128;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        signed(&block[4 + RUN * run..][..RUN])
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, _: impl Half) -> Scales {
        Scales::of(f32::from_bits(double_word_at(block, 0)))
    }
}

const _: () = assert!(HALF_RUN == 16, "the scales of Q2_K, Q3_K and Q6_K are for 16 weights");
