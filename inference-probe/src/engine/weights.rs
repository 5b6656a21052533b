//! From bytes at an offset to tensors.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use verifier::ReadAt;
use verifier::format::gguf::{Header, TensorInfo};

use super::decoder::EngineError;
use super::matrix::{self, Matrix};

/// Reads the tensors of one file.
pub(crate) struct Weights<'a> {
    header: &'a Header,
    source: &'a dyn ReadAt,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(header: &'a Header, source: &'a dyn ReadAt) -> Self {
        Self { header, source }
    }

    /// A matrix, or none when the file has no tensor of that name.
    pub(crate) fn find_matrix(&self, name: &str) -> Result<Option<Arc<Matrix>>, EngineError> {
        self.header.tensor(name).map(|tensor| self.read_matrix(tensor).map(Arc::new)).transpose()
    }

    pub(crate) fn matrix(&self, name: &str) -> Result<Arc<Matrix>, EngineError> {
        self.find_matrix(name)?.ok_or_else(|| EngineError::MissingTensor(name.to_owned()))
    }

    /// A small tensor as 32-bit floats.
    pub(crate) fn floats(&self, name: &str) -> Result<Tensor, EngineError> {
        let tensor = self.header.tensor(name).ok_or_else(|| EngineError::MissingTensor(name.to_owned()))?;
        let values = matrix::dequantize(tensor.tensor_type, &self.read(tensor)?)?;
        Ok(Tensor::from_vec(values, row_major(tensor)?, &Device::Cpu)?)
    }

    fn read_matrix(&self, tensor: &TensorInfo) -> Result<Matrix, EngineError> {
        let [outputs, inputs] = row_major(tensor)?[..] else {
            return Err(EngineError::WrongLength { bytes: 0 });
        };
        Matrix::new(tensor.tensor_type, self.read(tensor)?, outputs, inputs)
    }

    fn read(&self, tensor: &TensorInfo) -> Result<Vec<u8>, EngineError> {
        let size = usize::try_from(tensor.byte_length).map_err(|_| EngineError::TooLarge(tensor.name.clone()))?;
        let mut bytes = vec![0; size];
        self.source.read_exact_at(tensor.offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// Dimensions with the slowest-varying first, as candle counts them.
fn row_major(tensor: &TensorInfo) -> Result<Vec<usize>, EngineError> {
    let dimension = |size: &u64| usize::try_from(*size).map_err(|_| EngineError::TooLarge(tensor.name.clone()));
    tensor.dimensions.iter().rev().map(dimension).collect()
}
