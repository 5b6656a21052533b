//! Matrices in the encodings of ggml, multiplied where they lie.
//!
//! The rest of the engine knows no encoding: it multiplies a [`Matrix`], looks rows of one up,
//! and turns small tensors into floats with [`dequantize`].

mod block_matrix;

use std::sync::Arc;

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use verifier::format::gguf::TensorType;

use super::decoder::EngineError;
use block_matrix::BlockMatrix;

/// The engine's type for a file's tensor type, where it can compute with it.
const fn engine_type(tensor_type: TensorType) -> Option<GgmlDType> {
    Some(match tensor_type {
        TensorType::F32 => GgmlDType::F32,
        TensorType::F16 => GgmlDType::F16,
        TensorType::BF16 => GgmlDType::BF16,
        TensorType::Q4_0 => GgmlDType::Q4_0,
        TensorType::Q4_1 => GgmlDType::Q4_1,
        TensorType::Q5_0 => GgmlDType::Q5_0,
        TensorType::Q5_1 => GgmlDType::Q5_1,
        TensorType::Q8_0 => GgmlDType::Q8_0,
        TensorType::Q2_K => GgmlDType::Q2K,
        TensorType::Q3_K => GgmlDType::Q3K,
        TensorType::Q4_K => GgmlDType::Q4K,
        TensorType::Q5_K => GgmlDType::Q5K,
        TensorType::Q6_K => GgmlDType::Q6K,
        _ => return None,
    })
}

/// Whether the engine computes with tensors of this type.
pub(crate) const fn is_computable(tensor_type: TensorType) -> bool {
    engine_type(tensor_type).is_some()
}

/// The values of `bytes`, which hold whole blocks of `tensor_type`.
pub(crate) fn dequantize(tensor_type: TensorType, bytes: &[u8]) -> Result<Vec<f32>, EngineError> {
    let elements = bytes.len() as u64 / tensor_type.type_size() * tensor_type.block_size();
    let elements = usize::try_from(elements).map_err(|_| EngineError::WrongLength { bytes: bytes.len() })?;
    Ok(decode(tensor_type, bytes, vec![elements])?.dequantize(&Device::Cpu)?.to_vec1()?)
}

/// A matrix of `outputs` rows of `inputs` elements, in the encoding of its file.
pub(crate) struct Matrix {
    stored: Arc<QTensor>,
    kind: Kind,
}

enum Kind {
    Blocks(BlockMatrix),
    Candle(QMatMul),
}

impl Matrix {
    /// `bytes` holds the rows one after the other.
    pub(crate) fn new(
        tensor_type: TensorType,
        bytes: &[u8],
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, EngineError> {
        let stored = Arc::new(decode(tensor_type, bytes, vec![outputs, inputs])?);
        let kind = match BlockMatrix::new(&stored) {
            Some(blocks) => Kind::Blocks(blocks),
            None => Kind::Candle(QMatMul::from_arc(Arc::clone(&stored))?),
        };
        Ok(Self { stored, kind })
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        match &self.kind {
            Kind::Blocks(matrix) => input.apply_op1_no_bwd(matrix),
            Kind::Candle(matrix) => matrix.forward(input),
        }
    }

    /// The rows of these numbers as floats, `[ids, inputs]`.
    pub(crate) fn rows(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        self.stored.embedding(&Tensor::new(ids, &Device::Cpu)?)
    }
}

/// Interprets `bytes` as a tensor of `dimensions`, slowest-varying first.
fn decode(tensor_type: TensorType, bytes: &[u8], dimensions: Vec<usize>) -> Result<QTensor, EngineError> {
    let unsupported = || EngineError::UnsupportedType(tensor_type.name());
    let kind = engine_type(tensor_type).ok_or_else(unsupported)?;
    let elements = dimensions.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let expected = elements.and_then(|elements| (elements / kind.block_size()).checked_mul(kind.type_size()));
    // candle reads as many bytes as the dimensions say, without looking at the slice's length.
    if expected != Some(bytes.len()) {
        return Err(EngineError::WrongLength { bytes: bytes.len() });
    }
    Ok(qtensor_from_ggml(kind, bytes, dimensions, &Device::Cpu)?)
}
