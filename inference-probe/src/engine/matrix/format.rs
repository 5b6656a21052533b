//! The table from a file's tensor type to the code for its encoding.

use verifier::format::gguf::TensorType;

use super::encoding::{Encoding, RUN, weights};
use super::encoding::{codebook, k_quants, scaled, ternary};
use super::inspect::{self, Content};
use super::numbers::{self, Element};
use super::processor::{self, Processor};
use super::product::{Panel, Rounded, Rows};

/// What can be done with the bytes of one encoding.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) block_bytes: usize,
    pub(super) block_elements: usize,
    /// The values of whole blocks, into a slice of as many numbers.
    pub(super) decode: fn(&[u8], &mut [f32]),
    pub(super) inspect: fn(&[u8]) -> Content,
    pub(super) multiply: Multiply,
}

/// How rows of a matrix are multiplied.
#[derive(Clone, Copy)]
pub(super) enum Multiply {
    /// As integers, with the input rounded to 8 bits.
    Rounded(fn(Processor, &mut Panel<'_>, &Rounded)),
    /// As 32-bit floats.
    Exact(fn(Processor, &mut Panel<'_>, &Rows<'_>)),
}

impl Format {
    pub(super) const fn of(tensor_type: TensorType) -> Self {
        match tensor_type {
            TensorType::F32 => Self::of_elements::<numbers::F32>(),
            TensorType::F16 => Self::of_elements::<numbers::F16>(),
            TensorType::BF16 => Self::of_elements::<numbers::BF16>(),
            TensorType::F64 => Self::of_elements::<numbers::F64>(),
            TensorType::I8 => Self::of_elements::<numbers::I8>(),
            TensorType::I16 => Self::of_elements::<numbers::I16>(),
            TensorType::I32 => Self::of_elements::<numbers::I32>(),
            TensorType::I64 => Self::of_elements::<numbers::I64>(),
            TensorType::Q4_0 => Self::of_blocks::<scaled::Q4_0>(),
            TensorType::Q4_1 => Self::of_blocks::<scaled::Q4_1>(),
            TensorType::Q5_0 => Self::of_blocks::<scaled::Q5_0>(),
            TensorType::Q5_1 => Self::of_blocks::<scaled::Q5_1>(),
            TensorType::Q8_0 => Self::of_blocks::<scaled::Q8_0>(),
            TensorType::Q8_1 => Self::of_blocks::<scaled::Q8_1>(),
            TensorType::Q2_K => Self::of_blocks::<k_quants::Q2K>(),
            TensorType::Q3_K => Self::of_blocks::<k_quants::Q3K>(),
            TensorType::Q4_K => Self::of_blocks::<k_quants::Q4K>(),
            TensorType::Q5_K => Self::of_blocks::<k_quants::Q5K>(),
            TensorType::Q6_K => Self::of_blocks::<k_quants::Q6K>(),
            TensorType::Q8_K => Self::of_blocks::<k_quants::Q8K>(),
            TensorType::IQ1_S => Self::of_blocks::<codebook::Iq1S>(),
            TensorType::IQ1_M => Self::of_blocks::<codebook::Iq1M>(),
            TensorType::IQ2_XXS => Self::of_blocks::<codebook::Iq2Xxs>(),
            TensorType::IQ2_XS => Self::of_blocks::<codebook::Iq2Xs>(),
            TensorType::IQ2_S => Self::of_blocks::<codebook::Iq2S>(),
            TensorType::IQ3_XXS => Self::of_blocks::<codebook::Iq3Xxs>(),
            TensorType::IQ3_S => Self::of_blocks::<codebook::Iq3S>(),
            TensorType::IQ4_NL => Self::of_blocks::<scaled::Iq4Nl>(),
            TensorType::IQ4_XS => Self::of_blocks::<codebook::Iq4Xs>(),
            TensorType::TQ1_0 => Self::of_blocks::<ternary::Tq1_0>(),
            TensorType::TQ2_0 => Self::of_blocks::<ternary::Tq2_0>(),
            TensorType::MXFP4 => Self::of_blocks::<scaled::Mxfp4>(),
            TensorType::NVFP4 => Self::of_blocks::<scaled::Nvfp4>(),
            TensorType::Q1_0 => Self::of_blocks::<scaled::Q1_0>(),
            TensorType::Q2_0 => Self::of_blocks::<scaled::Q2_0>(),
        }
    }

    const fn of_blocks<E: Encoding>() -> Self {
        Self {
            block_bytes: E::BYTES,
            block_elements: E::RUNS * RUN,
            decode: decode_blocks::<E>,
            inspect: inspect::blocks::<E>,
            multiply: Multiply::Rounded(processor::multiply_blocks::<E>),
        }
    }

    const fn of_elements<E: Element>() -> Self {
        Self {
            block_bytes: E::BYTES,
            block_elements: 1,
            decode: decode_elements::<E>,
            inspect: inspect::elements::<E>,
            multiply: Multiply::Exact(processor::multiply_elements::<E>),
        }
    }
}

fn decode_blocks<E: Encoding>(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(E::BYTES).zip(values.chunks_exact_mut(E::RUNS * RUN)) {
        for (run, values) in values.chunks_exact_mut(RUN).enumerate() {
            values.copy_from_slice(&weights::<E>(block, run));
        }
    }
}

fn decode_elements<E: Element>(bytes: &[u8], values: &mut [f32]) {
    for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(E::BYTES)) {
        *value = E::value(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_the_sizes_that_files_declare() {
        for tensor_type in TensorType::ALL {
            let format = Format::of(*tensor_type);
            assert_eq!(format.block_bytes as u64, tensor_type.type_size(), "{tensor_type:?}");
            assert_eq!(format.block_elements as u64, tensor_type.block_size(), "{tensor_type:?}");
        }
    }
}
