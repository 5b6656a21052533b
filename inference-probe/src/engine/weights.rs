//! From bytes at an offset to candle tensors.

use std::sync::Arc;

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use verifier::ReadAt;
use verifier::format::gguf::{Header, TensorInfo, TensorType};

use super::block_matrix::BlockMatrix;
use super::decoder::EngineError;

/// The engine's type for a file's tensor type, where it can compute with it.
pub(crate) const fn computable(tensor_type: TensorType) -> Option<GgmlDType> {
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

/// Reads the tensors of one file.
pub(crate) struct Weights<'a> {
    header: &'a Header,
    source: &'a dyn ReadAt,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(header: &'a Header, source: &'a dyn ReadAt) -> Self {
        Self { header, source }
    }

    /// The tensor in its stored encoding, or none when the file has no tensor of that name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Arc<QTensor>>, EngineError> {
        self.header.tensor(name).map(|tensor| self.read(tensor).map(Arc::new)).transpose()
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Arc<QTensor>, EngineError> {
        self.find(name)?.ok_or_else(|| EngineError::MissingTensor(name.to_owned()))
    }

    pub(crate) fn matrix(&self, name: &str) -> Result<Matrix, EngineError> {
        Matrix::new(self.tensor(name)?)
    }

    /// A small tensor as 32-bit floats.
    pub(crate) fn floats(&self, name: &str) -> Result<Tensor, EngineError> {
        Ok(self.tensor(name)?.dequantize(&Device::Cpu)?)
    }

    fn read(&self, tensor: &TensorInfo) -> Result<QTensor, EngineError> {
        let size = usize::try_from(tensor.byte_length).map_err(|_| EngineError::TooLarge(tensor.name.clone()))?;
        let mut bytes = vec![0; size];
        self.source.read_exact_at(tensor.offset, &mut bytes)?;
        decode(tensor.tensor_type, &bytes, row_major(tensor)?)
    }
}

/// A matrix to multiply vectors with, in the way that is fastest for its encoding.
pub(crate) enum Matrix {
    Blocks(BlockMatrix),
    Candle(QMatMul),
}

impl Matrix {
    pub(crate) fn new(stored: Arc<QTensor>) -> Result<Self, EngineError> {
        match BlockMatrix::new(&stored) {
            Some(blocks) => Ok(Self::Blocks(blocks)),
            None => Ok(Self::Candle(QMatMul::from_arc(stored)?)),
        }
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Blocks(matrix) => input.apply_op1_no_bwd(matrix),
            Self::Candle(matrix) => matrix.forward(input),
        }
    }
}

/// Dimensions with the slowest-varying first, as candle counts them.
fn row_major(tensor: &TensorInfo) -> Result<Vec<usize>, EngineError> {
    let dimension = |size: &u64| usize::try_from(*size).map_err(|_| EngineError::TooLarge(tensor.name.clone()));
    tensor.dimensions.iter().rev().map(dimension).collect()
}

/// Interprets `bytes` as a tensor of `dimensions`, slowest-varying first.
pub(crate) fn decode(tensor_type: TensorType, bytes: &[u8], dimensions: Vec<usize>) -> Result<QTensor, EngineError> {
    let unsupported = || EngineError::UnsupportedType(tensor_type.name());
    let kind = computable(tensor_type).ok_or_else(unsupported)?;
    let elements = dimensions.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let expected = elements.and_then(|elements| (elements / kind.block_size()).checked_mul(kind.type_size()));
    // candle reads as many bytes as the dimensions say, without looking at the slice's length.
    if expected != Some(bytes.len()) {
        return Err(EngineError::WrongLength { bytes: bytes.len() });
    }
    Ok(qtensor_from_ggml(kind, bytes, dimensions, &Device::Cpu)?)
}
