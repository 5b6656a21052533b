//! Blocks with a scale, and in some formats a minimum, for all their codes; 4-bit floats among them.

use super::super::numbers::{half_of_ue4m3, half_power_of_two};
use super::{
    EIGHT, Encoding, HALF_RUN, Half, Halves, NO_MINIMUM, RUN, Scales, ScalesOfEight, nibbles, spread_bits, word_at,
    words_of_eight,
};

/// Signed bytes as codes with an offset of 128.
#[inline(always)]
pub(super) fn signed(bytes: &[u8]) -> [u8; RUN] {
    let mut codes = [0; RUN];
    for (code, byte) in codes.iter_mut().zip(bytes) {
        *code = byte ^ 0x80;
    }
    codes
}

/// Codes that stand for the entries of a table.
#[inline(always)]
pub(super) fn looked_up(codes: [u8; RUN], table: &[u8; 16]) -> [u8; RUN] {
    codes.map(|code| table[usize::from(code & 15)])
}

/// Nibbles with a fifth bit from the four bytes of `high`.
#[inline(always)]
fn five_bits(packed: &[u8], high: &[u8]) -> [u8; RUN] {
    let mut codes = nibbles(packed);
    for (code, is_set) in codes.iter_mut().zip(spread_bits(high)) {
        *code |= is_set & 16;
    }
    codes
}

/// Scale, 16 bytes of nibbles.
pub(in super::super) struct Q4_0;

impl Encoding for Q4_0 {
    const BYTES: usize = 18;
    const RUNS: usize = 1;
    const OFFSET: u8 = 8;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        nibbles(&block[2..])
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)))
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], _: impl Half, halves: impl Halves) -> ScalesOfEight {
        ScalesOfEight::of(halves(words_of_eight::<Self>(blocks, 0)), [NO_MINIMUM; EIGHT])
    }
}

/// Scale, minimum, 16 bytes of nibbles.
pub(in super::super) struct Q4_1;

impl Encoding for Q4_1 {
    const BYTES: usize = 20;
    const RUNS: usize = 1;
    const OFFSET: u8 = 0;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        nibbles(&block[4..])
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::with_minimum(half(word_at(block, 0)), half(word_at(block, 2)))
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], _: impl Half, halves: impl Halves) -> ScalesOfEight {
        let minimum = halves(words_of_eight::<Self>(blocks, 2));
        ScalesOfEight::of(halves(words_of_eight::<Self>(blocks, 0)), minimum)
    }
}

/// Scale, 32 fifth bits, 16 bytes of nibbles.
pub(in super::super) struct Q5_0;

impl Encoding for Q5_0 {
    const BYTES: usize = 22;
    const RUNS: usize = 1;
    const OFFSET: u8 = 16;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        five_bits(&block[6..], &block[2..6])
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)))
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], _: impl Half, halves: impl Halves) -> ScalesOfEight {
        ScalesOfEight::of(halves(words_of_eight::<Self>(blocks, 0)), [NO_MINIMUM; EIGHT])
    }
}

/// Scale, minimum, 32 fifth bits, 16 bytes of nibbles.
pub(in super::super) struct Q5_1;

impl Encoding for Q5_1 {
    const BYTES: usize = 24;
    const RUNS: usize = 1;
    const OFFSET: u8 = 0;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        five_bits(&block[8..], &block[4..8])
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::with_minimum(half(word_at(block, 0)), half(word_at(block, 2)))
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], _: impl Half, halves: impl Halves) -> ScalesOfEight {
        let minimum = halves(words_of_eight::<Self>(blocks, 2));
        ScalesOfEight::of(halves(words_of_eight::<Self>(blocks, 0)), minimum)
    }
}

/// Scale, 32 signed bytes.
pub(in super::super) struct Q8_0;

impl Encoding for Q8_0 {
    const BYTES: usize = 34;
    const RUNS: usize = 1;
    const OFFSET: u8 = 128;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        signed(&block[2..])
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)))
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], _: impl Half, halves: impl Halves) -> ScalesOfEight {
        ScalesOfEight::of(halves(words_of_eight::<Self>(blocks, 0)), [NO_MINIMUM; EIGHT])
    }
}

/// Scale, the weights' sum (which follows from the rest), 32 signed bytes.
pub(in super::super) struct Q8_1;

impl Encoding for Q8_1 {
    const BYTES: usize = 36;
    const RUNS: usize = 1;
    const OFFSET: u8 = 128;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        signed(&block[4..])
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)))
    }
}

/// The weights that IQ4 formats can express before scaling, with 128 added.
pub(super) const UNEVEN: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

/// Scale, 16 bytes of nibbles that number the entries of a table.
pub(in super::super) struct Iq4Nl;

impl Encoding for Iq4Nl {
    const BYTES: usize = 18;
    const RUNS: usize = 1;
    const OFFSET: u8 = 128;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        looked_up(nibbles(&block[2..]), &UNEVEN)
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)))
    }

    #[inline(always)]
    fn scales_of_eight(blocks: &[u8], _: impl Half, halves: impl Halves) -> ScalesOfEight {
        ScalesOfEight::of(halves(words_of_eight::<Self>(blocks, 0)), [NO_MINIMUM; EIGHT])
    }
}

/// The doubled 4-bit floats (E2M1) of the OCP Microscaling Formats, with 12 added.
const FLOATS: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

/// A power of two, 16 bytes of 4-bit floats.
pub(in super::super) struct Mxfp4;

impl Encoding for Mxfp4 {
    const BYTES: usize = 17;
    const RUNS: usize = 1;
    const OFFSET: u8 = 12;

    #[inline(always)]
    fn codes(block: &[u8], _: usize) -> [u8; RUN] {
        looked_up(nibbles(&block[1..]), &FLOATS)
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, _: impl Half) -> Scales {
        Scales::of(half_power_of_two(block[0]))
    }
}

/// Four 8-bit scales, one for each 16 weights, then 32 bytes of 4-bit floats. Of 8 bytes, the low
/// nibbles are 8 weights and the high nibbles the next 8.
pub(in super::super) struct Nvfp4;

impl Encoding for Nvfp4 {
    const BYTES: usize = 36;
    const RUNS: usize = 2;
    const OFFSET: u8 = 12;
    const HALVES: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let packed = &block[4 + HALF_RUN * run..][..HALF_RUN];
        let mut codes = [0; RUN];
        for (index, byte) in packed.iter().enumerate() {
            let first = index / 8 * HALF_RUN + index % 8;
            codes[first] = byte & 15;
            codes[first + 8] = byte >> 4;
        }
        looked_up(codes, &FLOATS)
    }

    #[inline(always)]
    fn scales(block: &[u8], run: usize, _: impl Half) -> Scales {
        Scales::of_halves(|half| half_of_ue4m3(block[2 * run + half]))
    }
}

/// Scale, one bit for each of 128 weights: plus or minus the scale.
pub(in super::super) struct Q1_0;

impl Encoding for Q1_0 {
    const BYTES: usize = 18;
    const RUNS: usize = 4;
    const OFFSET: u8 = 1;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let packed = &block[2 + 4 * run..][..4];
        std::array::from_fn(|index| packed[index / 8] >> (index % 8) << 1 & 2)
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)))
    }
}

/// Scale, two bits for each of 64 weights: -1, 0, 1 or 2 times the scale.
pub(in super::super) struct Q2_0;

impl Encoding for Q2_0 {
    const BYTES: usize = 18;
    const RUNS: usize = 2;
    const OFFSET: u8 = 1;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let packed = &block[2 + 8 * run..][..8];
        std::array::from_fn(|index| packed[index / 4] >> (index % 4 * 2) & 3)
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 0)))
    }
}
