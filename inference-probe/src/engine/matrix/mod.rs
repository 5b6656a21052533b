//! Matrices in the encodings of ggml, multiplied where they lie.
//!
//! The rest of the engine knows no encoding: it multiplies a [`Matrix`], looks rows of one up,
//! and turns small tensors into floats with [`dequantize`]. A matrix is its bytes as they are in
//! the file; nothing is kept a second time.

mod encoding;
mod format;
mod inspect;
mod numbers;
mod processor;
mod product;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use verifier::format::gguf::TensorType;

use super::decoder::EngineError;
use format::Format;
pub(crate) use inspect::Content;
use processor::Processor;
use product::{Product, Rows};

/// Whether the engine computes with tensors of this type: all that ggml itself turns into floats.
/// The others appear in files for purposes of their own, such as token numbers.
pub(crate) const fn is_computable(tensor_type: TensorType) -> bool {
    !matches!(
        tensor_type,
        TensorType::I8
            | TensorType::I16
            | TensorType::I32
            | TensorType::I64
            | TensorType::F64
            | TensorType::Q8_1
            | TensorType::Q8_K
    )
}

/// The values of `bytes`, which hold whole blocks of `tensor_type`.
pub(crate) fn dequantize(tensor_type: TensorType, bytes: &[u8]) -> std::result::Result<Vec<f32>, EngineError> {
    let format = Format::of(tensor_type);
    let wrong = || EngineError::WrongLength { bytes: bytes.len() };
    if !bytes.len().is_multiple_of(format.block_bytes) {
        return Err(wrong());
    }
    let elements = (bytes.len() / format.block_bytes).checked_mul(format.block_elements).ok_or_else(wrong)?;
    let mut values = vec![0.0; elements];
    (format.decode)(bytes, &mut values);
    Ok(values)
}

/// What the whole blocks of `bytes` hold.
pub(crate) fn inspect(tensor_type: TensorType, bytes: &[u8]) -> Content {
    (Format::of(tensor_type).inspect)(bytes)
}

/// A matrix of `outputs` rows of `inputs` elements, in the encoding of its file.
pub(crate) struct Matrix {
    format: Format,
    bytes: Vec<u8>,
    outputs: usize,
    inputs: usize,
    row_bytes: usize,
}

impl Matrix {
    /// `bytes` holds the rows one after the other.
    pub(crate) fn new(
        tensor_type: TensorType,
        bytes: Vec<u8>,
        outputs: usize,
        inputs: usize,
    ) -> std::result::Result<Self, EngineError> {
        if !is_computable(tensor_type) {
            return Err(EngineError::UnsupportedType(tensor_type.name()));
        }
        let format = Format::of(tensor_type);
        let row_bytes = (inputs / format.block_elements).checked_mul(format.block_bytes);
        let expected = row_bytes.and_then(|row_bytes| row_bytes.checked_mul(outputs));
        let (Some(row_bytes), true, true) =
            (row_bytes, expected == Some(bytes.len()), inputs.is_multiple_of(format.block_elements))
        else {
            return Err(EngineError::WrongLength { bytes: bytes.len() });
        };
        Ok(Self { format, bytes, outputs, inputs, row_bytes })
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(&Multiplication { matrix: self })
    }

    /// The rows of these numbers as floats, `[ids, inputs]`.
    pub(crate) fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        let mut values = vec![0.0; size_of(ids.len(), self.inputs)?];
        for (position, id) in ids.iter().enumerate() {
            if *id as usize >= self.outputs {
                bail!("row {id} of a matrix of {} rows", self.outputs);
            }
            let bytes = &self.bytes[*id as usize * self.row_bytes..][..self.row_bytes];
            (self.format.decode)(bytes, &mut values[position * self.inputs..][..self.inputs]);
        }
        Tensor::from_vec(values, (ids.len(), self.inputs), &Device::Cpu)
    }

    fn multiply(&self, input: &[f32], rows: usize) -> Result<Vec<f32>> {
        let mut products = vec![0.0; size_of(rows, self.outputs)?];
        if !products.is_empty() && self.inputs > 0 {
            let input = Rows { values: input, length: self.inputs };
            let (matrix, row_bytes, outputs) = (self.bytes.as_slice(), self.row_bytes, self.outputs);
            let product = Product { matrix, row_bytes, outputs, input, products: &mut products };
            product.compute(self.format.multiply, Processor::detect());
        }
        Ok(products)
    }
}

fn size_of(rows: usize, columns: usize) -> Result<usize> {
    match rows.checked_mul(columns) {
        Some(size) => Ok(size),
        None => bail!("{rows} rows of {columns} numbers are more than this machine can address"),
    }
}

/// The form in which candle takes operations of others.
struct Multiplication<'a> {
    matrix: &'a Matrix,
}

impl CustomOp1 for Multiplication<'_> {
    fn name(&self) -> &'static str {
        "matrix"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = layout.shape().dims2()?;
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("the input is not contiguous") };
        if inputs != self.matrix.inputs {
            bail!("a matrix of {} inputs is given {inputs}", self.matrix.inputs);
        }
        let products = self.matrix.multiply(&storage.as_slice::<f32>()?[start..end], rows)?;
        Ok((CpuStorage::F32(products), Shape::from((rows, self.matrix.outputs))))
    }
}

#[cfg(test)]
mod tests;
