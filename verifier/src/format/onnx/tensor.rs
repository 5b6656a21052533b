//! One TensorProto: its type, its shape, and whether as many bytes are there as both say.

use std::borrow::Cow;

use super::super::found::shown;
use super::super::protobuf::{Field, ProtobufError, Span, Walker, each_field};
use super::super::tensor::Tensor;

/// Dimensions of a tensor; runtimes stop at 8.
const MAX_DIMENSIONS: usize = 64;
/// Entries that describe where external data lies.
const MAX_EXTERNAL_ENTRIES: usize = 64;
const STRING: u64 = 8;

/// What one rule has against a tensor.
#[derive(Debug, thiserror::Error)]
pub(super) enum TensorError {
    #[error("the tensor `{name}` has the unknown type {id}")]
    UnknownType { name: String, id: u64 },
    #[error("the tensor `{0}` has a negative dimension")]
    NegativeDimension(String),
    #[error("the size of the tensor `{0}` overflows 64 bits")]
    SizeOverflow(String),
    #[error("the tensor `{name}` holds {stored} bytes or values instead of {expected}")]
    Size { name: String, stored: u64, expected: u64 },
    #[error("the tensor `{0}` holds its data in more than one place")]
    DataTwice(String),
    #[error("the tensor `{0}` lies in an external file that it does not name")]
    NoLocation(String),
}

impl TensorError {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "ONNX_UNKNOWN_TENSOR_TYPE",
            Self::NegativeDimension(_) => "ONNX_NEGATIVE_DIMENSION",
            Self::SizeOverflow(_) => "ONNX_SIZE_OVERFLOW",
            Self::Size { .. } => "ONNX_TENSOR_SIZE",
            Self::DataTwice(_) => "ONNX_TENSOR_DATA_TWICE",
            Self::NoLocation(_) => "ONNX_NO_EXTERNAL_LOCATION",
        }
    }
}

/// The parts of a TensorProto that tell its size.
#[derive(Debug, Default)]
pub(super) struct TensorReader {
    pub(super) name: String,
    pub(super) external: Vec<(String, String)>,
    dimensions: Vec<u64>,
    data_type: u64,
    raw: Option<Span>,
    /// Least and largest number of values in the typed fields.
    values: (u64, u64),
    /// Which of the typed fields occur, by number.
    typed: u16,
    is_external: bool,
}

impl TensorReader {
    pub(super) fn read(walker: &mut Walker<'_>, message: Span) -> Result<Self, ProtobufError> {
        let mut tensor = Self::default();
        each_field(walker, message, |walker, field| tensor.take(walker, &field))?;
        Ok(tensor)
    }

    fn take(&mut self, walker: &mut Walker<'_>, field: &Field) -> Result<(), ProtobufError> {
        match field.number {
            1 => walker.varints(field, MAX_DIMENSIONS, &mut self.dimensions)?,
            2 => self.data_type = field.varint()?,
            4 => self.add_values(4, field.fixed_count(4).map(|count| (count, count))?),
            5 => self.add_values(5, field.varint_counts()?),
            6 => {
                field.span()?;
                self.add_values(6, (1, 1));
            }
            7 => self.add_values(7, field.varint_counts()?),
            8 => self.name = walker.name(field.span()?)?,
            9 => self.raw = Some(field.span()?),
            10 => self.add_values(10, field.fixed_count(8).map(|count| (count, count))?),
            11 => self.add_values(11, field.varint_counts()?),
            13 if self.external.len() < MAX_EXTERNAL_ENTRIES => self.external.push(entry(walker, field.span()?)?),
            14 => self.is_external = field.varint()? == 1,
            _ => {}
        }
        Ok(())
    }

    fn add_values(&mut self, field: u32, (least, most): (u64, u64)) {
        self.typed |= 1 << field;
        self.values = (self.values.0.saturating_add(least), self.values.1.saturating_add(most));
    }

    /// Whether the tensor says what its elements are.
    pub(super) const fn has_type(&self) -> bool {
        self.data_type != 0
    }

    /// Whether loaders look for the data in another file.
    pub(super) const fn is_external(&self) -> bool {
        self.is_external
    }

    /// The tensor, where type, shape and data agree.
    pub(super) fn check(self) -> Result<Tensor, TensorError> {
        let name = shown(&self.name);
        let (element_type, bits) = element_type(self.data_type)
            .ok_or_else(|| TensorError::UnknownType { name: name.clone(), id: self.data_type })?;
        if self.dimensions.iter().any(|dimension| dimension.cast_signed() < 0) {
            return Err(TensorError::NegativeDimension(name));
        }
        let overflow = || TensorError::SizeOverflow(name.clone());
        let product = |product: u64, dimension: &u64| product.checked_mul(*dimension);
        let elements = self.dimensions.iter().try_fold(1, product).ok_or_else(overflow)?;
        let byte_length = elements.checked_mul(bits).ok_or_else(overflow)?.div_ceil(8);
        if self.is_external {
            self.check_external(&name, byte_length)?;
        } else {
            self.check_data(&name, elements, byte_length)?;
        }
        Ok(Tensor {
            name: self.name,
            element_type: Cow::Borrowed(element_type),
            shape: self.dimensions,
            byte_length: if self.data_type == STRING { self.raw.map_or(0, |raw| raw.length()) } else { byte_length },
            offset: self.raw.filter(|_| !self.is_external).map(|raw| raw.start()),
        })
    }

    fn check_external(&self, name: &str, byte_length: u64) -> Result<(), TensorError> {
        let value_of = |key: &str| self.external.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        if value_of("location").is_none_or(str::is_empty) {
            return Err(TensorError::NoLocation(name.to_owned()));
        }
        let stored = value_of("length").and_then(|length| length.parse().ok()).filter(|length| *length != 0);
        match stored {
            Some(stored) if stored != byte_length => {
                Err(TensorError::Size { name: name.to_owned(), stored, expected: byte_length })
            }
            _ => Ok(()),
        }
    }

    /// Raw bytes have a known length; typed fields a number of values that complex and packed types halve or double.
    fn check_data(&self, name: &str, elements: u64, byte_length: u64) -> Result<(), TensorError> {
        let size = |stored, expected| TensorError::Size { name: name.to_owned(), stored, expected };
        if let Some(raw) = self.raw {
            if self.typed != 0 {
                return Err(TensorError::DataTwice(name.to_owned()));
            }
            return if raw.length() == byte_length { Ok(()) } else { Err(size(raw.length(), byte_length)) };
        }
        if self.typed.count_ones() > 1 {
            return Err(TensorError::DataTwice(name.to_owned()));
        }
        let expected = match self.data_type {
            14 | 15 => elements.saturating_mul(2),
            _ => elements,
        };
        let least = if self.is_packed_type() { elements.div_ceil(4) } else { expected };
        let (fewest, most) = self.values;
        // A run of integers of unknown width holds from a tenth of its bytes to all of them.
        if most < least || fewest > expected { Err(size(most, expected)) } else { Ok(()) }
    }

    /// Types of which several elements may share one value of the typed field.
    const fn is_packed_type(&self) -> bool {
        matches!(self.data_type, 21..=23 | 25 | 26)
    }
}

fn entry(walker: &mut Walker<'_>, message: Span) -> Result<(String, String), ProtobufError> {
    let (mut key, mut value) = (String::new(), String::new());
    each_field(walker, message, |walker, field| {
        match field.number {
            1 => key = walker.name(field.span()?)?,
            2 => value = walker.name(field.span()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

pub(super) fn is_float(element_type: &str) -> bool {
    ["float", "bfloat", "complex"].iter().any(|prefix| element_type.starts_with(prefix))
}

/// Name and bits per element of `TensorProto.DataType`; strings have no fixed size.
pub(super) const fn element_type(id: u64) -> Option<(&'static str, u64)> {
    Some(match id {
        1 => ("float32", 32),
        2 => ("uint8", 8),
        3 => ("int8", 8),
        4 => ("uint16", 16),
        5 => ("int16", 16),
        6 => ("int32", 32),
        7 => ("int64", 64),
        STRING => ("string", 0),
        9 => ("bool", 8),
        10 => ("float16", 16),
        11 => ("float64", 64),
        12 => ("uint32", 32),
        13 => ("uint64", 64),
        14 => ("complex64", 64),
        15 => ("complex128", 128),
        16 => ("bfloat16", 16),
        17 => ("float8e4m3fn", 8),
        18 => ("float8e4m3fnuz", 8),
        19 => ("float8e5m2", 8),
        20 => ("float8e5m2fnuz", 8),
        21 => ("uint4", 4),
        22 => ("int4", 4),
        23 => ("float4e2m1", 4),
        24 => ("float8e8m0", 8),
        25 => ("uint2", 2),
        26 => ("int2", 2),
        _ => return None,
    })
}
