//! GGUF v3 files: any header, also a malformed one ([`Builder`]), a small model that really
//! runs ([`TinyLlama`]), and one small model for each way of computing ([`architectures`]).

pub mod architectures;
mod builder;
mod quantize;
mod tiny_llama;
mod vocabulary;

pub use builder::{Builder, Tensor, Value};
pub use quantize::TensorType;
pub use tiny_llama::{CHAT_TEMPLATE, TinyLlama};
pub use vocabulary::VOCABULARY_SIZE;

fn pair(key: &str, value: Value) -> (Vec<u8>, Value) {
    (key.into(), value)
}

fn u32_value(size: usize) -> Value {
    Value::U32(u32::try_from(size).unwrap_or(u32::MAX))
}
