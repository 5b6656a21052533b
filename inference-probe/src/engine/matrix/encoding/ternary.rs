//! Weights of -1, 0 and 1 times a scale, 256 to a block.

use super::{Encoding, HALF_RUN, Half, RUN, Scales, word_at};

/// 48 bytes of five ternary digits, 4 bytes of four, scale. A byte is the digits' fraction of 256,
/// so that multiplying by a power of three and looking at the overflow gives a digit.
pub(in super::super) struct Tq1_0;

/// Digit `place` of `byte`, the most significant first.
#[inline(always)]
fn digit(byte: u8, place: usize) -> u8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let fraction = byte.wrapping_mul(POWERS[place]);
    let [_, whole] = (u16::from(fraction) * 3).to_le_bytes();
    whole
}

impl Encoding for Tq1_0 {
    const BYTES: usize = 54;
    const RUNS: usize = 8;
    const OFFSET: u8 = 1;

    /// The first 32 bytes give five runs, a digit each. The next 16 give two runs and a half, two
    /// digits each, and the last 4 bytes the rest.
    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        std::array::from_fn(|index| {
            let (half, place) = (2 * (run.max(5) - 5) + index / HALF_RUN, index % HALF_RUN);
            match (run, half) {
                (0..=4, _) => digit(block[index], run),
                (_, 0..=4) => digit(block[32 + place], half),
                _ => digit(block[48 + place % 4], place / 4),
            }
        })
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 52)))
    }
}

/// 64 bytes of 2-bit codes, scale.
pub(in super::super) struct Tq2_0;

impl Encoding for Tq2_0 {
    const BYTES: usize = 66;
    const RUNS: usize = 8;
    const OFFSET: u8 = 1;

    #[inline(always)]
    fn codes(block: &[u8], run: usize) -> [u8; RUN] {
        let packed = &block[RUN * (run / 4)..][..RUN];
        std::array::from_fn(|index| packed[index] >> (run % 4 * 2) & 3)
    }

    #[inline(always)]
    fn scales(block: &[u8], _: usize, half: impl Half) -> Scales {
        Scales::of(half(word_at(block, 64)))
    }
}
