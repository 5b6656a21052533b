//! What a file is, decided by its content.

pub mod gguf;
pub mod safetensors;
