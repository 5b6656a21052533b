//! The sizes and constants of one model, read from its header.
//!
//! Keys that would change the computation in a way the decoder does not implement are
//! refused here: a loader that ignores them produces a model that is subtly another one.

use verifier::format::gguf::{Header, Value};

use super::architecture::Architecture;

/// Bounds that keep a hostile header from asking for endless work; real models are far below.
const MAX_BLOCKS: u64 = 1_024;
const MAX_WIDTH: u64 = 1 << 20;
const MAX_VOCABULARY: u64 = 1 << 22;

/// Why a header does not describe a model that can be computed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HyperparameterError {
    #[error("the key `{0}` is missing or has the wrong type")]
    Missing(String),
    #[error("`{key}` is {value}, which is not possible: {rule}")]
    Impossible { key: String, value: String, rule: &'static str },
    #[error("`{key}` is {value}, which the engine does not compute")]
    Unsupported { key: String, value: String },
}

/// The numbers the decoder needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hyperparameters {
    pub(crate) block_count: u64,
    pub(crate) embedding_length: u64,
    pub(crate) feed_forward_length: u64,
    pub(crate) head_count: u64,
    pub(crate) key_value_head_count: u64,
    /// Elements of one attention head.
    pub(crate) head_length: u64,
    /// Leading elements of a head that carry the position.
    pub(crate) rotary_dimensions: u64,
    pub(crate) rotary_base: f64,
    /// Positions are divided by this factor (linear scaling); 1 for most models.
    pub(crate) position_divisor: f64,
    pub(crate) normalization_epsilon: f64,
    /// Rows of the token embedding.
    pub(crate) vocabulary_size: u64,
    pub(crate) context_length: u64,
}

impl Hyperparameters {
    pub(crate) fn read(architecture: &Architecture, header: &Header) -> Result<Self, HyperparameterError> {
        let keys = Keys { prefix: architecture.name, header };
        keys.refuse_unsupported()?;
        let embedding_length = keys.size("embedding_length", MAX_WIDTH)?;
        let head_count = keys.size("attention.head_count", MAX_WIDTH)?;
        let head_length = keys.head_length(embedding_length, head_count)?;
        let sizes = Self {
            block_count: keys.size("block_count", MAX_BLOCKS)?,
            embedding_length,
            feed_forward_length: keys.size("feed_forward_length", MAX_WIDTH)?,
            head_count,
            key_value_head_count: keys.size_or("attention.head_count_kv", MAX_WIDTH, head_count)?,
            head_length,
            rotary_dimensions: keys.size_or("rope.dimension_count", MAX_WIDTH, head_length)?,
            rotary_base: keys.positive_or("rope.freq_base", 10_000.0)?,
            position_divisor: keys.position_divisor()?,
            normalization_epsilon: keys.positive("attention.layer_norm_rms_epsilon")?,
            vocabulary_size: keys.vocabulary_size()?,
            context_length: keys.size("context_length", u64::from(u32::MAX))?,
        };
        sizes.check(&keys)?;
        Ok(sizes)
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), HyperparameterError> {
        if !self.head_count.is_multiple_of(self.key_value_head_count) {
            let rule = "the number of heads must be a multiple of it";
            return Err(keys.impossible("attention.head_count_kv", &self.key_value_head_count, rule));
        }
        if self.rotary_dimensions > self.head_length || !self.rotary_dimensions.is_multiple_of(2) {
            let rule = "it must be even and at most the length of a head";
            return Err(keys.impossible("rope.dimension_count", &self.rotary_dimensions, rule));
        }
        Ok(())
    }
}

/// The keys of one architecture.
struct Keys<'a> {
    prefix: &'static str,
    header: &'a Header,
}

impl<'a> Keys<'a> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.header.get(&self.name(key))
    }

    fn size(&self, key: &str, limit: u64) -> Result<u64, HyperparameterError> {
        let value = self.get(key).ok_or_else(|| HyperparameterError::Missing(self.name(key)))?;
        if value.as_array().is_some() {
            return Err(HyperparameterError::Unsupported {
                key: self.name(key),
                value: "one value per block".to_owned(),
            });
        }
        let size = value.as_u64().ok_or_else(|| HyperparameterError::Missing(self.name(key)))?;
        if size == 0 || size > limit {
            return Err(self.impossible(key, &size, "it is zero or beyond any real model"));
        }
        Ok(size)
    }

    fn size_or(&self, key: &str, limit: u64, default: u64) -> Result<u64, HyperparameterError> {
        if self.get(key).is_some() { self.size(key, limit) } else { Ok(default) }
    }

    fn positive(&self, key: &str) -> Result<f64, HyperparameterError> {
        let number = self.get(key).and_then(Value::as_f64);
        let number = number.ok_or_else(|| HyperparameterError::Missing(self.name(key)))?;
        if number.is_finite() && number > 0.0 {
            Ok(number)
        } else {
            Err(self.impossible(key, &number, "it must be a positive number"))
        }
    }

    fn positive_or(&self, key: &str, default: f64) -> Result<f64, HyperparameterError> {
        if self.get(key).is_some() { self.positive(key) } else { Ok(default) }
    }

    fn head_length(&self, width: u64, heads: u64) -> Result<u64, HyperparameterError> {
        if self.get("attention.key_length").is_none() && !width.is_multiple_of(heads) {
            return Err(self.impossible(
                "attention.head_count",
                &heads,
                "the embedding length must be a multiple of it",
            ));
        }
        let length = self.size_or("attention.key_length", MAX_WIDTH, width / heads)?;
        let value_length = self.size_or("attention.value_length", MAX_WIDTH, length)?;
        if value_length == length { Ok(length) } else { Err(self.unsupported("attention.value_length", &value_length)) }
    }

    /// Positions are divided by `rope.scaling.factor` when its type is `linear`. Older files give
    /// the factor alone, as `rope.scale_linear`.
    fn position_divisor(&self) -> Result<f64, HyperparameterError> {
        match self.get("rope.scaling.type").and_then(Value::as_str) {
            None => self.positive_or("rope.scale_linear", 1.0),
            Some("none") => Ok(1.0),
            Some("linear") => self.positive("rope.scaling.factor"),
            Some(other) => Err(self.unsupported("rope.scaling.type", &other)),
        }
    }

    fn vocabulary_size(&self) -> Result<u64, HyperparameterError> {
        let embedding = self.header.tensor("token_embd.weight");
        let rows = embedding.and_then(|tensor| tensor.dimensions.get(1).copied());
        match rows {
            Some(rows) if rows <= MAX_VOCABULARY => Ok(rows),
            Some(rows) => Err(self.impossible("vocab_size", &rows, "it is beyond any real model")),
            // The missing tensor is reported with the other tensors.
            None => self.size_or("vocab_size", MAX_VOCABULARY, 1),
        }
    }

    fn refuse_unsupported(&self) -> Result<(), HyperparameterError> {
        let zero_or_absent = ["expert_count", "attention.clamp_kqv", "logit_scale", "attention.scale"];
        for key in zero_or_absent {
            let value = self.get(key).and_then(Value::as_f64);
            if let Some(value) = value.filter(|value| *value != 0.0) {
                return Err(self.unsupported(key, &value));
            }
        }
        if self.get("attention.causal").and_then(Value::as_bool) == Some(false) {
            return Err(self.unsupported("attention.causal", &false));
        }
        match self.header.get("general.type").and_then(Value::as_str) {
            None | Some("model") => Ok(()),
            Some(other) => {
                Err(HyperparameterError::Unsupported { key: "general.type".to_owned(), value: other.to_owned() })
            }
        }
    }

    fn impossible(&self, key: &str, value: &dyn std::fmt::Display, rule: &'static str) -> HyperparameterError {
        HyperparameterError::Impossible { key: self.name(key), value: value.to_string(), rule }
    }

    fn unsupported(&self, key: &str, value: &dyn std::fmt::Display) -> HyperparameterError {
        HyperparameterError::Unsupported { key: self.name(key), value: value.to_string() }
    }
}
