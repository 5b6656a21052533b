//! Walks a TensorFlow Lite model: a FlatBuffer of operators, tensors and buffers.
//!
//! The schema is <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>,
//! the layout <https://flatbuffers.dev/internals/>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::json;

use super::super::content::Content;
use super::super::findings;
use super::super::flatbuffer::{FlatBuffer, FlatBufferError, Table};
use super::super::found::{Found, Weights, shown};
use super::super::pages::{PageError, Pages};
use super::super::tensor::Tensor;
use super::operators;
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Number of the operator whose meaning its own name gives.
const CUSTOM: u64 = 32;
/// Operators by name that are kept as facts.
const MAX_FACTS: usize = 64;
const MAX_TENSORS: usize = 100_000;
const MAX_DIMENSIONS: u64 = 64;
/// The fact that files may be attached to the model: an archive behind it, by the rules of
/// TensorFlow Lite's metadata.
const ATTACHED_FILES: &str = "attached_files";
/// The name of the metadata with which files are attached.
const METADATA_NAME: &str = "TFLITE_METADATA";
/// Operators written as custom ones that the runtime, or a runtime of the same makers, brings along.
const KNOWN_CUSTOM: [&str; 11] = [
    "AudioSpectrogram",
    "Convolution2DTransposeBias",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "Mfcc",
    "NumericVerify",
    "TFLite_Detection_PostProcess",
    "TransformLandmarks",
    "TransformTensorBilinear",
    "Landmarks2TransformMatrix",
    "edgetpu-custom-op",
];

type Result<T> = std::result::Result<T, FlatBufferError>;

/// Adds to `found` what the model computes with, and what it weighs.
pub(in super::super) fn scan(content: &Content<'_>, found: &mut Found) {
    match Model::read(content, found) {
        Ok(()) => {}
        Err(FlatBufferError::Page(PageError::Io(error))) => findings::unreadable(found, &error),
        Err(error) if error.is_too_large() => {
            findings::unscannable(found, error.code(), &error, "provide the weights as safetensors");
        }
        Err(error) => findings::malformed(found, error.code(), &error),
    }
}

struct Model<'a> {
    buffer: FlatBuffer<'a>,
    /// Place and length of the data of each buffer.
    buffers: Vec<(u64, u64)>,
    tensors: Vec<Tensor>,
}

impl<'a> Model<'a> {
    fn read(content: &Content<'a>, found: &mut Found) -> Result<()> {
        let (buffer, root) = FlatBuffer::open(Pages::new(content.source))?;
        let mut model = Self { buffer, buffers: Vec::new(), tensors: Vec::new() };
        let version = model.buffer.number(root, 0, 4)?;
        found.facts.insert("schema_version".to_owned(), json!(version));
        model.description(root, found)?;
        model.operators(root, found)?;
        model.read_buffers(root)?;
        model.graphs(root, found)?;
        if model.has_metadata(root)? {
            found.facts.insert(ATTACHED_FILES.to_owned(), json!(true));
        }
        found.weights = Some(Weights { tensors: model.tensors, ..Weights::default() });
        Ok(())
    }

    fn description(&mut self, root: Table, found: &mut Found) -> Result<()> {
        if let Some(text) = self.buffer.text(root, 3)? {
            found.facts.insert("description".to_owned(), json!(shown(&text)));
        }
        Ok(())
    }

    fn operators(&mut self, root: Table, found: &mut Found) -> Result<()> {
        let mut names = BTreeMap::<String, u64>::new();
        for code in self.buffer.tables(root, 1)? {
            // The older field has one byte; whichever is larger counts.
            let number = self.buffer.number(code, 0, 1)?.max(self.buffer.number(code, 3, 4)?);
            let custom = self.buffer.text(code, 1)?;
            if number == CUSTOM {
                let name = custom.unwrap_or_default();
                judge_custom(&name, found);
                if names.len() < MAX_FACTS {
                    *names.entry(shown(&name)).or_default() += 1;
                }
            } else if names.len() < MAX_FACTS {
                *names.entry(format!("builtin {number}")).or_default() += 1;
            }
        }
        let names: Vec<String> = names.into_keys().collect();
        found.facts.insert("operators".to_owned(), json!(names));
        Ok(())
    }

    fn read_buffers(&mut self, root: Table) -> Result<()> {
        let size = self.buffer.size();
        for table in self.buffer.tables(root, 4)? {
            let inside = self.buffer.bytes(table, 0)?;
            let outside = (self.buffer.number(table, 1, 8)?, self.buffer.number(table, 2, 8)?);
            // Models beyond 2 GiB keep the data behind the FlatBuffer; 0 and 1 mean that there are none.
            let place = match inside {
                Some(place) => place,
                None if outside.0 > 1 => outside,
                None => (0, 0),
            };
            if place.0.checked_add(place.1).is_none_or(|end| end > size) {
                return Err(FlatBufferError::Data(place.0));
            }
            self.buffers.push(place);
        }
        Ok(())
    }

    fn graphs(&mut self, root: Table, found: &mut Found) -> Result<()> {
        let graphs = self.buffer.tables(root, 2)?;
        found.facts.insert("subgraphs".to_owned(), json!(graphs.len()));
        // Tensors of several graphs may share a buffer, which then counts once.
        let mut counted = vec![false; self.buffers.len()];
        for graph in graphs {
            for table in self.buffer.tables(graph, 0)? {
                self.tensor(table, &mut counted)?;
            }
        }
        Ok(())
    }

    fn tensor(&mut self, table: Table, counted: &mut [bool]) -> Result<()> {
        let shape = self.buffer.numbers(table, 0, 4, MAX_DIMENSIONS)?;
        let kind = self.buffer.number(table, 1, 1)?;
        let buffer = usize::try_from(self.buffer.number(table, 2, 4)?).unwrap_or(usize::MAX);
        let is_sparse = self.buffer.has(table, 6)?;
        let (offset, length) = *self.buffers.get(buffer).ok_or(FlatBufferError::Buffer(buffer))?;
        if length == 0 || std::mem::replace(&mut counted[buffer], true) {
            return Ok(());
        }
        let (element_type, bits) = element_type(kind).ok_or(FlatBufferError::Type(kind))?;
        let product = |product: u64, dimension: &u64| product.checked_mul(*dimension);
        let elements = shape.iter().try_fold(1, product).ok_or(FlatBufferError::Overflow)?;
        let expected = elements.checked_mul(bits).ok_or(FlatBufferError::Overflow)?.div_ceil(8);
        if bits > 0 && !is_sparse && expected != length {
            return Err(FlatBufferError::Size { stored: length, expected });
        }
        if self.tensors.len() == MAX_TENSORS {
            return Err(FlatBufferError::TooLarge);
        }
        let name = self.buffer.text(table, 3)?.unwrap_or_default();
        let element_type = Cow::Borrowed(element_type);
        self.tensors.push(Tensor { name, element_type, shape, byte_length: length, offset: Some(offset) });
        Ok(())
    }

    fn has_metadata(&mut self, root: Table) -> Result<bool> {
        for table in self.buffer.tables(root, 6)? {
            if self.buffer.text(table, 0)?.as_deref() == Some(METADATA_NAME) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Operators with the prefix `Flex` are TensorFlow's own, run by its delegate.
fn judge_custom(name: &str, found: &mut Found) {
    if let Some(operator) = name.strip_prefix("Flex") {
        operators::judge(operator, found);
    } else if !KNOWN_CUSTOM.contains(&name) {
        let finding = Finding::new(
            "TFLITE_CUSTOM_OPERATOR",
            Severity::Medium,
            format!("The model uses the custom operator `{}`, which a library has to bring.", shown(name)),
            "load it only with a library for this operator that you trust",
        );
        found.add(InspectionVerdict::Suspicious, finding);
    }
}

/// Name and bits per element of `TensorType`; those without a fixed size have none.
const fn element_type(id: u64) -> Option<(&'static str, u64)> {
    Some(match id {
        0 => ("float32", 32),
        1 => ("float16", 16),
        2 => ("int32", 32),
        3 => ("uint8", 8),
        4 => ("int64", 64),
        5 => ("string", 0),
        6 => ("bool", 8),
        7 => ("int16", 16),
        8 => ("complex64", 64),
        9 => ("int8", 8),
        10 => ("float64", 64),
        11 => ("complex128", 128),
        12 => ("uint64", 64),
        13 => ("resource", 0),
        14 => ("variant", 0),
        15 => ("uint32", 32),
        16 => ("uint16", 16),
        17 => ("int4", 4),
        18 => ("bfloat16", 16),
        19 => ("int2", 2),
        _ => return None,
    })
}
