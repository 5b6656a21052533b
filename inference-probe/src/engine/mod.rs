//! The built-in engine: one decoder, described by data, over candle's quantized tensors.
//!
//! Per-model copies of a decoder drift apart, and a copy that is numerically wrong still
//! writes fluent text. So the computation exists once, in [`decoder`], and what differs
//! between model families is a row in the table of [`architecture`]. What a row, a key or a
//! tensor asks for and this engine does not do is refused by name, never ignored.

pub(crate) mod architecture;
pub(crate) mod conformance;
pub(crate) mod decoder;
pub(crate) mod encoder;
pub(crate) mod generate;
pub(crate) mod hyperparameters;
mod layers;
pub(crate) mod matrix;
mod operations;
mod rotary;
#[cfg(test)]
pub(crate) mod test_models;
pub(crate) mod weights;

use verifier::format::gguf::{Header, Value};

pub(crate) const NAME: &str = "candle";
/// Version of candle-core that this release is built with; a test compares it with `Cargo.lock`.
pub(crate) const VERSION: &str = "0.11.1";
pub(crate) const DEVICE: &str = "cpu";

/// Parameters below which a second thread costs more in synchronization than it computes.
const PARALLEL_FROM_PARAMETERS: u64 = 50_000_000;
/// Memory of the program, its tables and buffers before any model is loaded.
const BASE_BYTES: u64 = 48 << 20;
/// Memory per vocabulary entry: the tokenizer keeps each text several times, and a row of
/// logits for every calibration position lives at once in two forms.
const BYTES_PER_TOKEN_ENTRY: u64 = 2_000;

/// Key of a header made from a configuration that asks for GELU with the error function, which no
/// GGUF key can say.
pub(crate) const ACTIVATION_KEY: &str = "weighhouse.activation";
/// Its value.
pub(crate) const EXACT_GELU: &str = "gelu";

/// Whether a model's GELU is computed with the error function.
pub(crate) fn has_exact_gelu(header: &Header) -> bool {
    header.get(ACTIVATION_KEY).and_then(Value::as_str) == Some(EXACT_GELU)
}

/// Threads for a model of `parameters` parameters, at most `limit` and the machine's cores.
pub(crate) fn threads(parameters: u64, limit: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    if parameters < PARALLEL_FROM_PARAMETERS { 1 } else { cores.min(limit).max(1) }
}

/// Upper estimate of the resident memory, in bytes, that probing a model needs.
///
/// Weights take what they take in the file: they are multiplied where they lie.
pub(crate) fn estimate(header: &Header) -> u64 {
    let weights = header.tensors.iter().map(|tensor| tensor.byte_length).fold(0, u64::saturating_add);
    let vocabulary = header.get("tokenizer.ggml.tokens").and_then(|tokens| Some(tokens.as_array()?.len() as u64));
    let embedding = header.tensor("token_embd.weight").and_then(|tensor| tensor.dimensions.get(1).copied());
    let tables = vocabulary.or(embedding).unwrap_or(0).saturating_mul(BYTES_PER_TOKEN_ENTRY);
    BASE_BYTES.saturating_add(weights).saturating_add(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_models_use_one_thread_and_large_ones_respect_the_limit() {
        assert_eq!(threads(PARALLEL_FROM_PARAMETERS - 1, 8), 1);
        assert_eq!(threads(PARALLEL_FROM_PARAMETERS, 1), 1);
        assert!(threads(u64::MAX, 1_000) >= 1);
    }

    #[test]
    fn the_engine_version_is_the_one_in_the_lock_file() {
        let lock = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
        assert!(lock.contains(&format!("name = \"candle-core\"\nversion = \"{VERSION}\"")));
    }
}
