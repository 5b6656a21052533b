//! From bytes at an offset to what the decoder multiplies with.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use verifier::ReadAt;
use verifier::format::gguf::TensorInfo;

use super::decoder::EngineError;
use super::matrix::{self, Matrix};
use crate::checkpoint::adapter::Delta;
use crate::checkpoint::{Change, Checkpoint};

/// Reads the tensors of one model.
pub(crate) struct Weights<'a> {
    checkpoint: &'a Checkpoint<'a>,
    adapter: Option<&'a Adapter<'a>>,
}

/// What an adapter adds to the matrices of a model.
pub(crate) struct Adapter<'a> {
    pub(crate) checkpoint: &'a Checkpoint<'a>,
    /// By the tensors that they change.
    pub(crate) deltas: &'a [Delta<'a>],
}

impl<'a> Weights<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint<'a>) -> Self {
        Self { checkpoint, adapter: None }
    }

    /// The weights as `adapter` changes them.
    pub(crate) fn with(checkpoint: &'a Checkpoint<'a>, adapter: &'a Adapter<'a>) -> Self {
        Self { checkpoint, adapter: Some(adapter) }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.checkpoint.has(name)
    }

    /// The matrix of `part`, with its bias where there is one.
    pub(crate) fn linear(&self, part: &str) -> Result<Linear, EngineError> {
        let matrix = self.matrix(&format!("{part}.weight"))?;
        let bias =
            self.find_floats(&format!("{part}.bias"))?.map(|bias| Tensor::new(bias, &Device::Cpu)).transpose()?;
        Ok(Linear { matrix, bias, change: self.change(&format!("{part}.weight"))? })
    }

    fn change(&self, name: &str) -> Result<Option<LowRank>, EngineError> {
        let Some(adapter) = self.adapter else { return Ok(None) };
        let find = adapter.deltas.iter().find(|delta| delta.target == name);
        find.map(|delta| LowRank::read(adapter.checkpoint, delta)).transpose()
    }

    pub(crate) fn matrix(&self, name: &str) -> Result<Arc<Matrix>, EngineError> {
        let (tensor, bytes) = self.read(name)?;
        let (outputs, inputs) = match row_major(tensor)?[..] {
            [inputs] => (1, inputs),
            [outputs, inputs] => (outputs, inputs),
            _ => return Err(EngineError::WrongLength { bytes: bytes.len() }),
        };
        Ok(Arc::new(Matrix::new(tensor.tensor_type, bytes, outputs, inputs)?))
    }

    /// The matrices of a tensor of three dimensions, with the rows of its biases. Each is read by
    /// itself, so that no second copy of all is in memory.
    pub(crate) fn experts(&self, part: &str) -> Result<Vec<Linear>, EngineError> {
        let name = format!("{part}.weight");
        let tensor = self.checkpoint.tensor(&name).ok_or_else(|| EngineError::MissingTensor(name.clone()))?;
        let [count, outputs, inputs] = row_major(tensor)?[..] else {
            return Err(EngineError::WrongLength { bytes: 0 });
        };
        let biases = self.find_floats(&format!("{part}.bias"))?;
        let byte_length = tensor.byte_length / (count as u64).max(1);
        let linear = |number: usize| {
            let offset = tensor.offset + number as u64 * byte_length;
            let bytes = read(self.checkpoint, &TensorInfo { offset, byte_length, ..tensor.clone() })?;
            let bias = biases.as_ref().and_then(|biases| biases.chunks_exact(outputs).nth(number));
            Ok(Linear {
                matrix: Arc::new(Matrix::new(tensor.tensor_type, bytes, outputs, inputs)?),
                bias: bias.map(|bias| Tensor::new(bias, &Device::Cpu)).transpose()?,
                change: None,
            })
        };
        (0..count).map(linear).collect()
    }

    /// A small tensor as 32-bit floats, whatever its shape.
    pub(crate) fn floats(&self, name: &str) -> Result<Vec<f32>, EngineError> {
        let (tensor, bytes) = self.read(name)?;
        let mut values = matrix::dequantize(tensor.tensor_type, &bytes)?;
        if self.checkpoint.change(name) == Change::AddOne {
            for value in &mut values {
                *value += 1.0;
            }
        }
        Ok(values)
    }

    /// The same, or none when the model has no tensor of that name.
    pub(crate) fn find_floats(&self, name: &str) -> Result<Option<Vec<f32>>, EngineError> {
        if self.has(name) { self.floats(name).map(Some) } else { Ok(None) }
    }

    fn read(&self, name: &str) -> Result<(&'a TensorInfo, Vec<u8>), EngineError> {
        let tensor = self.checkpoint.tensor(name).ok_or_else(|| EngineError::MissingTensor(name.to_owned()))?;
        let mut bytes = read(self.checkpoint, tensor)?;
        if self.checkpoint.change(name) == Change::Transposed {
            bytes = transpose(&bytes, tensor)?;
        }
        Ok((tensor, bytes))
    }
}

/// A matrix and what is added to its products.
pub(crate) struct Linear {
    pub(crate) matrix: Arc<Matrix>,
    pub(crate) bias: Option<Tensor>,
    pub(crate) change: Option<LowRank>,
}

/// The product of two small matrices, added to a large one.
pub(crate) struct LowRank {
    /// `[inputs, rank]`, with the scale.
    down: Tensor,
    /// `[rank, outputs]`.
    up: Tensor,
}

impl LowRank {
    fn read(adapter: &Checkpoint<'_>, delta: &Delta<'_>) -> Result<Self, EngineError> {
        let matrix = |tensor: &TensorInfo| -> Result<Tensor, EngineError> {
            let values = matrix::dequantize(tensor.tensor_type, &read(adapter, tensor)?)?;
            Ok(Tensor::from_vec(values, row_major(tensor)?, &Device::Cpu)?.t()?.contiguous()?)
        };
        Ok(Self { down: (matrix(delta.down)? * delta.scale)?, up: matrix(delta.up)? })
    }
}

impl Linear {
    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let mut products = self.matrix.forward(input)?;
        if let Some(change) = &self.change {
            products = (products + input.matmul(&change.down)?.matmul(&change.up)?)?;
        }
        self.bias.as_ref().map_or_else(|| Ok(products.clone()), |bias| products.broadcast_add(bias))
    }
}

fn read(checkpoint: &Checkpoint<'_>, tensor: &TensorInfo) -> Result<Vec<u8>, EngineError> {
    let size = usize::try_from(tensor.byte_length).map_err(|_| EngineError::TooLarge(tensor.name.clone()))?;
    let mut bytes = vec![0; size];
    checkpoint.read_exact_at(tensor.offset, &mut bytes)?;
    Ok(bytes)
}

/// The bytes of a matrix whose file has inputs and outputs exchanged.
fn transpose(bytes: &[u8], tensor: &TensorInfo) -> Result<Vec<u8>, EngineError> {
    let [outputs, inputs] = row_major(tensor)?[..] else { return Err(EngineError::WrongLength { bytes: bytes.len() }) };
    let size = bytes.len() / (outputs * inputs).max(1);
    let element = |output: usize, input: usize| &bytes[(input * outputs + output) * size..][..size];
    Ok((0..outputs).flat_map(|output| (0..inputs).flat_map(move |input| element(output, input))).copied().collect())
}

/// Dimensions with the slowest-varying first, as candle counts them.
fn row_major(tensor: &TensorInfo) -> Result<Vec<usize>, EngineError> {
    let dimension = |size: &u64| usize::try_from(*size).map_err(|_| EngineError::TooLarge(tensor.name.clone()));
    tensor.dimensions.iter().rev().map(dimension).collect()
}
