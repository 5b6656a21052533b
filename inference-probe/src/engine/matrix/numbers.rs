//! Number formats that Rust has no type for, and the encodings that store one number after the other.

#![expect(clippy::inline_always, reason = "a function that is not inlined lacks its caller's vector instructions")]

/// An encoding without blocks.
pub(super) trait Element {
    const BYTES: usize;
    /// The number in `bytes`, which are as many as `BYTES`.
    fn value(bytes: &[u8]) -> f32;
}

/// The half-precision number of these bits, whose exponent differs by 112 from that of the same
/// 32-bit float. No step computes with subnormal floats, which are slow.
#[inline(always)]
pub(super) fn half(bits: u16) -> f32 {
    const EXPONENT: u32 = 0x7C00;
    const TWO_TO_MINUS_24: f32 = f32::from_bits((127 - 24) << 23);
    let bits = u32::from(bits);
    let magnitude = bits & 0x7FFF;
    let normal = (magnitude << 13) + (112 << 23);
    let [low, high, ..] = magnitude.to_le_bytes();
    let subnormal = (f32::from(u16::from_le_bytes([low, high])) * TWO_TO_MINUS_24).to_bits();
    let special = magnitude << 13 | f32::INFINITY.to_bits();
    let number = match bits & EXPONENT {
        0 => subnormal,
        EXPONENT => special,
        _ => normal,
    };
    f32::from_bits(number | (bits & 0x8000) << 16)
}

/// Half of two to the power `exponent - 127`: the scale of an MXFP4 block, whose codes are doubled numbers.
/// OCP Microscaling Formats, E8M0.
#[inline(always)]
pub(super) fn half_power_of_two(exponent: u8) -> f32 {
    let exponent = u32::from(exponent);
    f32::from_bits(if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 })
}

/// Half of an unsigned 8-bit number with 4 bits of exponent (bias 7) and 3 of mantissa. As in ggml the
/// sign bit is ignored, and the code of NaN stands for zero.
#[inline(always)]
pub(super) fn half_of_ue4m3(bits: u8) -> f32 {
    const TWO_TO_119: f32 = f32::from_bits((127 + 119) << 23);
    let bits = if bits == 0x7F { 0 } else { u32::from(bits & 0x7F) };
    f32::from_bits(bits << 20) * TWO_TO_119
}

macro_rules! elements {
    ($($name:ident, $bytes:literal, $value:expr;)+) => {
        $(
            pub(super) struct $name;
            impl Element for $name {
                const BYTES: usize = $bytes;
                #[inline(always)]
                fn value(bytes: &[u8]) -> f32 {
                    let value: fn([u8; $bytes]) -> f32 = $value;
                    bytes.first_chunk().map_or(f32::NAN, |bytes| value(*bytes))
                }
            }
        )+
    };
}

elements! {
    F32, 4, f32::from_le_bytes;
    F16, 2, |bytes| half(u16::from_le_bytes(bytes));
    BF16, 2, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
    F64, 8, |bytes| narrow(f64::from_le_bytes(bytes));
    I8, 1, |bytes| f32::from(i8::from_le_bytes(bytes));
    I16, 2, |bytes| f32::from(i16::from_le_bytes(bytes));
    I32, 4, |bytes| narrow(f64::from(i32::from_le_bytes(bytes)));
    I64, 8, |bytes| nearest(i64::from_le_bytes(bytes));
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest number, or infinity, is what is wanted")]
#[inline(always)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "the nearest number is what is wanted")]
#[inline(always)]
fn nearest(value: i64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers_are_read_exactly() {
        for (bits, value) in [
            (0x3C00_u16, 1.0_f32),
            (0xC000, -2.0),
            (0x7BFF, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x7C00, f32::INFINITY),
            (0xFC00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), value.to_bits(), "{bits:#x}");
        }
        assert!(half(0x7C01).is_nan());
        assert!(half(0xFFFF).is_nan());
    }

    #[test]
    fn scales_of_4_bit_floats_follow_their_definition() {
        for (exponent, power) in [(0, -128), (1, -127), (2, -126), (127, -1), (128, 0), (254, 126), (255, 127)] {
            assert!(
                (f64::from(half_power_of_two(exponent)) - 2_f64.powi(power)).abs() < f64::EPSILON * 2_f64.powi(power)
            );
        }
        for (bits, value) in
            [(0x00, 0.0), (0x7F, 0.0), (0x01, 0.000_976_562_5), (0x38, 0.5), (0x7E, 224.0), (0xB8, 0.5)]
        {
            assert_eq!(half_of_ue4m3(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        }
    }

    #[test]
    fn integers_and_wide_floats_are_narrowed() {
        assert_eq!(I8::value(&[0xFF]).to_bits(), (-1.0_f32).to_bits());
        assert_eq!(I64::value(&i64::MIN.to_le_bytes()).to_bits(), (-9.223_372e18_f32).to_bits());
        assert_eq!(F64::value(&1e300_f64.to_le_bytes()).to_bits(), f32::INFINITY.to_bits());
    }
}
