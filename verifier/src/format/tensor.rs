//! One tensor as a header describes it, whatever the format.

use std::borrow::Cow;

/// A tensor's name, type, shape and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// The format's own name of the element type, such as `Q4_K`, `BF16` or `float32`.
    pub element_type: Cow<'static, str>,
    /// Number of elements per dimension, the slowest-varying first; empty for a scalar.
    pub shape: Vec<u64>,
    /// Stored bytes.
    pub byte_length: u64,
    /// Where the bytes are, counted from the start of the file; none where they are in another
    /// file or packed.
    pub offset: Option<u64>,
}

impl Tensor {
    /// Number of elements as stored; packed formats hold several parameters in one.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, dimension| product.saturating_mul(*dimension))
    }
}
