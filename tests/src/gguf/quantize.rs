//! Turns F32 values into the block formats of ggml that the generated models use, after the
//! reference rules of ggml's `quantize_row_*_ref`.

/// The tensor types a generated model may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TensorType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q8_0,
    Mxfp4,
}

/// Elements per block of the quantized types; rows must be a multiple of it.
const BLOCK: usize = 32;

impl TensorType {
    pub const fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
            Self::Mxfp4 => 39,
        }
    }

    /// The value of `general.file_type` for a file that is mostly of this type.
    pub const fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 7,
            Self::Mxfp4 => 38,
        }
    }

    /// The stored bytes of `values`, whose number is a multiple of 32 for quantized types.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|value| half(*value)).collect(),
            Self::Q4_0 => values.chunks(BLOCK).flat_map(q4_0).collect(),
            Self::Q4_1 => values.chunks(BLOCK).flat_map(q4_1).collect(),
            Self::Q8_0 => values.chunks(BLOCK).flat_map(q8_0).collect(),
            Self::Mxfp4 => values.chunks(BLOCK).flat_map(mxfp4).collect(),
        }
    }
}

fn q4_0(block: &[f32]) -> Vec<u8> {
    let extreme = block.iter().copied().fold(0.0_f32, |a, b| if b.abs() > a.abs() { b } else { a });
    let scale = extreme / -8.0;
    let mut bytes = half(scale).to_vec();
    bytes.extend(nibbles(block, |value| divide(value, scale) + 8.5));
    bytes
}

fn q4_1(block: &[f32]) -> Vec<u8> {
    let least = block.iter().copied().fold(f32::INFINITY, f32::min);
    let most = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = (most - least) / 15.0;
    let mut bytes = half(scale).to_vec();
    bytes.extend(half(least));
    bytes.extend(nibbles(block, |value| divide(value - least, scale) + 0.5));
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "the scale bounds the quotient to -127..=127")]
fn q8_0(block: &[f32]) -> Vec<u8> {
    let extreme = block.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let scale = extreme / 127.0;
    let mut bytes = half(scale).to_vec();
    bytes.extend(block.iter().map(|value| (divide(*value, scale).round() as i8).cast_unsigned()));
    bytes
}

/// What the codes of a microscaling 4-bit float stand for: one bit of sign, two of exponent, one
/// of mantissa (OCP Microscaling Formats, version 1.0, section 5.3.3).
const MXFP4_VALUES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// A power of two for the block, so that its greatest element takes the greatest exponent; then
/// the nearest code for each element.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "weights are neither tiny nor huge")]
fn mxfp4(block: &[f32]) -> Vec<u8> {
    let extreme = block.iter().fold(0.0_f32, |a, b| a.max(b.abs())).max(f32::MIN_POSITIVE);
    let exponent = extreme.log2().floor() - 2.0;
    let mut bytes = vec![(exponent + 127.0) as u8];
    bytes.extend(nibbles(block, |value| f32::from(mxfp4_code(value / exponent.exp2()))));
    bytes
}

fn mxfp4_code(value: f32) -> u8 {
    let distance = |code: &u8| (MXFP4_VALUES[usize::from(*code)] - value.abs()).abs();
    let code = (0..8).min_by(|left, right| distance(left).total_cmp(&distance(right))).unwrap_or(0);
    if value < 0.0 { code + 8 } else { code }
}

/// ggml packs element `i` with element `i + 16`: low nibble first.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=15")]
fn nibbles(block: &[f32], level: impl Fn(f32) -> f32) -> Vec<u8> {
    let quantize = |value: f32| level(value).clamp(0.0, 15.0) as u8;
    let (low, high) = block.split_at(BLOCK / 2);
    low.iter().zip(high).map(|(low, high)| quantize(*low) | (quantize(*high) << 4)).collect()
}

fn divide(value: f32, scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { value / scale }
}

/// IEEE 754 binary16, little endian: rounded to nearest, too small becomes zero, too large
/// becomes infinity, NaN stays NaN.
#[expect(clippy::cast_possible_truncation, reason = "all fields are masked to their width")]
fn half(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    if value.is_nan() {
        return (sign | 0x7E00).to_le_bytes();
    }
    // Round the 13 bits that binary16 lacks; a carry moves on into the exponent, as it should.
    let rounded = (bits & 0x7FFF_FFFF) + 0x0FFF + ((bits >> 13) & 1);
    let exponent = (rounded >> 23).cast_signed() - 127 + 15;
    let magnitude = match exponent {
        ..=0 => 0,
        31.. => 0x7C00,
        normal => (normal.cast_unsigned() << 10 | (rounded >> 13) & 0x3FF) as u16,
    };
    (sign | magnitude).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mxfp4_keeps_values_that_it_can_hold() {
        let block: Vec<f32> = (0..32).map(|index| [6.0, -0.5, 3.0, -4.0][index % 4]).collect();
        let mut expected = vec![127];
        expected.extend([0x77, 0x99, 0x55, 0xEE].repeat(4));
        assert_eq!(TensorType::Mxfp4.encode(&block), expected);
    }

    #[test]
    fn half_matches_known_bit_patterns() {
        let known = [(0.0, 0), (1.0, 0x3C00), (-2.0, 0xC000), (65504.0, 0x7BFF), (1e6, 0x7C00), (0.333_251_95, 0x3555)];
        for (value, bits) in known {
            assert_eq!(u16::from_le_bytes(half(value)), bits, "{value}");
        }
        assert_eq!(u16::from_le_bytes(half(f32::NAN)) & 0x7C00, 0x7C00);
    }

    #[test]
    fn blocks_have_the_sizes_of_ggml() {
        let values = [0.5_f32; 64];
        let sizes = [TensorType::F32, TensorType::F16, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0]
            .map(|kind| kind.encode(&values).len());
        assert_eq!(sizes, [256, 128, 36, 40, 68]);
    }

    #[test]
    fn q8_0_keeps_values_within_half_a_step() {
        let values: Vec<f32> = (0_u8..32).map(|index| f32::from(index) - 15.0).collect();
        let bytes = TensorType::Q8_0.encode(&values);
        let scale = 16.0 / 127.0;
        for (value, byte) in values.iter().zip(&bytes[2..]) {
            assert!((f32::from(byte.cast_signed()) * scale - value).abs() <= scale / 2.0 + 1e-3);
        }
    }

    #[test]
    fn q4_0_packs_the_first_half_into_low_nibbles() {
        let mut values = [0.0_f32; 32];
        values[0] = -8.0;
        values[16] = 7.0;
        let bytes = TensorType::Q4_0.encode(&values);
        assert_eq!(u16::from_le_bytes([bytes[0], bytes[1]]), 0x3C00);
        assert_eq!(bytes[2], 0xF0);
    }
}
