//! GGUF v3 files: any header, also a malformed one ([`Builder`]), and a small model that
//! really runs ([`TinyLlama`]).

mod builder;
mod quantize;
mod tiny_llama;

pub use builder::{Builder, Tensor, Value};
pub use quantize::TensorType;
pub use tiny_llama::{CHAT_TEMPLATE, TinyLlama, VOCABULARY_SIZE};
