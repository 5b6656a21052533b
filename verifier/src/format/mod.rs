//! What a file is, decided by its content.
//!
//! Names lie: a pickle called `model.safetensors` runs code just the same. So every file is
//! recognized by its bytes, weights are read by strict readers of our own, and what this
//! release cannot read is reported as such and never as clean.

mod config;
mod content;
mod findings;
mod flatbuffer;
mod found;
pub mod gguf;
mod hdf5;
mod inspect;
mod keras;
pub(crate) mod kind;
mod metadata;
mod onnx;
mod pages;
mod paths;
mod precision;
mod protobuf;
mod reports;
pub mod safetensors;
mod scan;
mod tensor;
mod tensorflow;

pub use inspect::{FileEntry, inspect};
pub use kind::FileKind;
pub use tensor::Tensor;
