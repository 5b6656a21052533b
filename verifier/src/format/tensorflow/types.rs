//! TensorProto and its element types.

use std::borrow::Cow;

use super::super::found::Found;
use super::super::protobuf::{ProtobufError, Span, Walker, each_field};
use super::super::tensor::Tensor;
use super::graph;

/// The tensor without its name, or none where its shape is not known or breaks a rule that was reported.
pub(super) fn tensor(
    walker: &mut Walker<'_>,
    message: Span,
    found: &mut Found,
) -> Result<Option<Tensor>, ProtobufError> {
    let (mut data_type, mut shape, mut content) = (0, Some(Vec::new()), None);
    each_field(walker, message, |walker, field| {
        match field.number {
            1 => data_type = field.varint()?,
            2 => shape = graph::shape(walker, field.span()?)?,
            4 => content = Some(field.span()?).filter(|content| content.length() > 0),
            _ => {}
        }
        Ok(())
    })?;
    let Some(shape) = shape else { return Ok(None) };
    let Some(mut tensor) = described(data_type, shape) else {
        super::malformed(found, "TENSORFLOW_SIZE_OVERFLOW", "the size of a constant overflows 64 bits");
        return Ok(None);
    };
    if let Some(content) = content {
        let stored = content.length();
        if tensor.byte_length != stored && element_type(data_type).is_some_and(|(_, bits)| bits > 0) {
            let reason = format!("a constant holds {stored} bytes instead of {}", tensor.byte_length);
            super::malformed(found, "TENSORFLOW_TENSOR_SIZE", &reason);
            return Ok(None);
        }
        tensor.byte_length = stored;
        tensor.offset = Some(content.start());
    }
    Ok(Some(tensor))
}

/// A tensor of this type and shape without name and place; none where its size overflows.
pub(super) fn described(data_type: u64, shape: Vec<u64>) -> Option<Tensor> {
    let (name, bits) = element_type(data_type).unwrap_or(("unknown", 0));
    let elements = shape.iter().try_fold(1_u64, |product, dimension| product.checked_mul(*dimension))?;
    let byte_length = elements.checked_mul(bits)?.div_ceil(8);
    Some(Tensor { name: String::new(), element_type: Cow::Borrowed(name), shape, byte_length, offset: None })
}

pub(super) fn is_float(element_type: &str) -> bool {
    ["float", "bfloat", "complex"].iter().any(|prefix| element_type.starts_with(prefix))
}

/// Name and bits per element of `DataType`; those without a fixed size have none.
pub(super) const fn element_type(id: u64) -> Option<(&'static str, u64)> {
    Some(match id {
        1 => ("float32", 32),
        2 => ("float64", 64),
        3 => ("int32", 32),
        4 => ("uint8", 8),
        5 => ("int16", 16),
        6 => ("int8", 8),
        7 => ("string", 0),
        8 => ("complex64", 64),
        9 => ("int64", 64),
        10 => ("bool", 8),
        11 => ("qint8", 8),
        12 => ("quint8", 8),
        13 => ("qint32", 32),
        14 => ("bfloat16", 16),
        15 => ("qint16", 16),
        16 => ("quint16", 16),
        17 => ("uint16", 16),
        18 => ("complex128", 128),
        19 => ("float16", 16),
        20 => ("resource", 0),
        21 => ("variant", 0),
        22 => ("uint32", 32),
        23 => ("uint64", 64),
        24 => ("float8_e5m2", 8),
        25 => ("float8_e4m3fn", 8),
        29 => ("int4", 8),
        30 => ("uint4", 8),
        _ => return None,
    })
}
