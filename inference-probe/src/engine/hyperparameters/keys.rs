//! Reading the keys of one architecture.

use verifier::format::gguf::{Array, Header, Value};

use super::HyperparameterError;
use crate::engine::architecture::{
    Architecture, AttentionScale, EmbeddingScale, LogitScale, Positions, ResidualScale, SoftCaps,
};

/// Bounds that keep a hostile header from asking for endless work; real models are far below.
pub(super) const MAX_BLOCKS: u64 = 1_024;
pub(super) const MAX_WIDTH: u64 = 1 << 20;
pub(super) const MAX_EXPERTS: u64 = 1_024;
const MAX_VOCABULARY: u64 = 1 << 22;

/// The keys of one architecture.
pub(super) struct Keys<'a> {
    pub(super) prefix: &'static str,
    pub(super) header: &'a Header,
}

impl<'a> Keys<'a> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.header.get(&self.name(key))
    }

    pub(super) fn number(&self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        value.as_f64().or_else(|| value.as_u64().map(|number| number as f64))
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    /// A size, which may be given once for each block as long as it is the same for all.
    pub(super) fn size(&self, key: &str, limit: u64) -> Result<u64, HyperparameterError> {
        let value = self.get(key).ok_or_else(|| self.missing(key))?;
        let size = match value.as_array() {
            None => value.as_u64().ok_or_else(|| self.missing(key))?,
            Some(array) => {
                let several = || self.unsupported(key, &"different from block to block");
                common(array).ok_or_else(several)?
            }
        };
        if size == 0 || size > limit {
            return Err(self.impossible(key, &size, "it is zero or beyond any real model"));
        }
        Ok(size)
    }

    pub(super) fn size_or(&self, key: &str, limit: u64, default: u64) -> Result<u64, HyperparameterError> {
        if self.get(key).is_some() { self.size(key, limit) } else { Ok(default) }
    }

    pub(super) fn positive(&self, key: &str) -> Result<f64, HyperparameterError> {
        let number = self.number(key).ok_or_else(|| self.missing(key))?;
        if number.is_finite() && number > 0.0 {
            Ok(number)
        } else {
            Err(self.impossible(key, &number, "it must be a positive number"))
        }
    }

    pub(super) fn positive_or(&self, key: &str, default: f64) -> Result<f64, HyperparameterError> {
        if self.get(key).is_some() { self.positive(key) } else { Ok(default) }
    }

    /// A factor; one where it is absent or zero, as llama.cpp takes it.
    pub(super) fn scale_or_one(&self, key: &str) -> Result<f64, HyperparameterError> {
        if self.number(key).unwrap_or(0.0) == 0.0 { Ok(1.0) } else { self.positive(key) }
    }

    /// The same; `default` where it is absent.
    pub(super) fn scale_or(&self, key: &str, default: f64) -> Result<f64, HyperparameterError> {
        if self.get(key).is_some() { self.scale_or_one(key) } else { Ok(default) }
    }

    pub(super) fn head_length(&self, width: u64, heads: u64) -> Result<u64, HyperparameterError> {
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

    /// For each block whether it has a sliding window: as the key says, or all but the last of each `period`.
    pub(super) fn window_pattern(&self, period: u64, block_count: u64) -> Result<Vec<bool>, HyperparameterError> {
        let key = "attention.sliding_window_pattern";
        if let Some(Value::Array(array)) = self.get(key) {
            let pattern = flags(array).ok_or_else(|| self.missing(key))?;
            let blocks = usize::try_from(block_count).unwrap_or(usize::MAX);
            if pattern.len() < blocks {
                return Err(self.impossible(key, &pattern.len(), "each block needs one"));
            }
            return Ok(pattern[..blocks].to_vec());
        }
        let period = self.get(key).and_then(Value::as_u64).unwrap_or(period);
        Ok((0..block_count).map(|block| period == 0 || block % period < period - 1).collect())
    }

    pub(super) fn vocabulary_size(&self) -> Result<u64, HyperparameterError> {
        let tensor = |name: &str| self.header.tensor(name);
        let embedding = tensor("token_embd.weight").or_else(|| tensor("output.weight"));
        let rows = embedding.and_then(|tensor| tensor.dimensions.get(1).copied());
        match rows {
            Some(rows) if rows <= MAX_VOCABULARY => Ok(rows),
            Some(rows) => Err(self.impossible("vocab_size", &rows, "it is beyond any real model")),
            // The missing tensor is reported with the other tensors.
            None => self.size_or("vocab_size", MAX_VOCABULARY, 1),
        }
    }

    pub(super) fn refuse_what_is_not_computed(&self, architecture: &Architecture) -> Result<(), HyperparameterError> {
        let not_computed: [(bool, &[&str]); 9] = [
            (true, &["nextn_predict_layers", "leading_dense_block_count"]),
            (!matches!(architecture.positions, Positions::Distance(_)), &["attention.max_alibi_bias"]),
            (!architecture.clamped_projection, &["attention.clamp_kqv"]),
            (!architecture.attention_temperature, &["attention.temperature_scale", "rope.scaling.yarn_log_multiplier"]),
            (architecture.experts.is_none(), &["expert_count"]),
            (architecture.attention_scale != AttentionScale::Key, &["attention.scale"]),
            (architecture.logit_scale == LogitScale::None, &["logit_scale"]),
            (!matches!(architecture.embedding_scale, EmbeddingScale::KeyOr(_)), &["embedding_scale"]),
            (architecture.residual_scale == ResidualScale::One, &["residual_scale"]),
        ];
        let keys = not_computed.iter().filter(|(refused, _)| *refused).flat_map(|(_, keys)| keys.iter());
        for key in keys {
            if let Some(value) = self.number(key).filter(|value| *value != 0.0) {
                return Err(self.unsupported(key, &value));
            }
        }
        self.refuse_soft_caps(architecture)?;
        self.refuse_expert_groups()?;
        if self.flag("attention.causal") == Some(false) {
            return Err(self.unsupported("attention.causal", &false));
        }
        match self.header.get("general.type").and_then(Value::as_str) {
            None | Some("model") => Ok(()),
            Some(other) => {
                Err(HyperparameterError::Unsupported { key: "general.type".to_owned(), value: other.to_owned() })
            }
        }
    }

    fn refuse_soft_caps(&self, architecture: &Architecture) -> Result<(), HyperparameterError> {
        let refused: &[&str] = match architecture.soft_caps {
            SoftCaps::AttentionAndLogits { .. } => &[],
            SoftCaps::LogitsByKey => &["attn_logit_softcapping"],
            SoftCaps::None => &["attn_logit_softcapping", "final_logit_softcapping"],
        };
        let given = refused.iter().find_map(|key| Some((key, self.number(key).filter(|cap| *cap != 0.0)?)));
        given.map_or(Ok(()), |(key, cap)| Err(self.unsupported(key, &cap)))
    }

    fn refuse_expert_groups(&self) -> Result<(), HyperparameterError> {
        let groups = self.number("expert_group_count").unwrap_or(0.0);
        if groups > 1.0 { Err(self.unsupported("expert_group_count", &groups)) } else { Ok(()) }
    }

    pub(super) fn missing(&self, key: &str) -> HyperparameterError {
        HyperparameterError::Missing(self.name(key))
    }

    pub(super) fn impossible(
        &self,
        key: &str,
        value: &dyn std::fmt::Display,
        rule: &'static str,
    ) -> HyperparameterError {
        HyperparameterError::Impossible { key: self.name(key), value: value.to_string(), rule }
    }

    pub(super) fn unsupported(&self, key: &str, value: &dyn std::fmt::Display) -> HyperparameterError {
        HyperparameterError::Unsupported { key: self.name(key), value: value.to_string() }
    }
}

/// The number that an array holds again and again.
fn common(array: &Array) -> Option<u64> {
    let values: Vec<u64> = match array {
        Array::U32(values) => values.iter().map(|value| u64::from(*value)).collect(),
        Array::I32(values) => values.iter().map(|value| u64::try_from(*value).ok()).collect::<Option<_>>()?,
        Array::U64(values) => values.clone(),
        _ => return None,
    };
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}

fn flags(array: &Array) -> Option<Vec<bool>> {
    match array {
        Array::Bool(flags) => Some(flags.clone()),
        Array::U32(values) => Some(values.iter().map(|value| *value != 0).collect()),
        Array::I32(values) => Some(values.iter().map(|value| *value != 0).collect()),
        _ => None,
    }
}
