//! What a file is, decided by its content.
//!
//! Names lie: a pickle called `model.safetensors` runs code just the same. So every file is
//! recognized by its bytes, weights are read by strict readers of our own, and what this
//! release cannot read is reported as such and never as clean.

mod archive;
mod content;
mod corruption;
mod document;
mod findings;
mod flatbuffer;
mod folder;
mod found;
pub mod gguf;
mod hdf5;
mod inspect;
mod json;
mod keras;
pub(crate) mod kind;
mod lora;
mod metadata;
mod numpy;
mod onnx;
mod packing;
mod pages;
mod paths;
mod pickle;
mod precision;
mod protobuf;
mod reports;
pub mod safetensors;
mod scan;
mod section;
pub mod template;
mod tensor;
mod tensorflow;
mod tokenizer;
pub mod weights;

pub use inspect::{FileEntry, inspect};
pub use kind::FileKind;
pub use tensor::Tensor;
