//! `config.json` as the keys of a GGUF header.

use serde_json::{Map, Value as Json};
use verifier::format::gguf::{Array, Header, Value};

use super::family::Family;
use crate::checkpoint::CheckpointError;
use crate::checks::run::CONTEXT_TOKENS;
use crate::engine::{ACTIVATION_KEY, EXACT_GELU};

/// The base of rotation of nearly all models that do not give one.
const USUAL_BASE: f64 = 10_000.0;
/// No real model has more of anything; a larger number would only ask for endless work.
const MAX_SIZE: u64 = 1 << 32;
const MAX_HEAD_LENGTH: u64 = 1 << 16;

/// The document.
pub(super) struct Config(Map<String, Json>);

/// Sizes that decide how tensors are read.
pub(in crate::checkpoint) struct Sizes {
    pub(super) blocks: u64,
    pub(super) width: u64,
    pub(super) heads: u64,
    pub(super) key_value_heads: u64,
    pub(super) head_length: u64,
    pub(super) rotary_dimensions: u64,
    pub(super) context: u64,
    pub(super) ties_embeddings: bool,
}

impl Sizes {
    /// Those of a model whose header is known.
    pub(in crate::checkpoint) fn of_header(header: &Header) -> Option<Self> {
        let architecture = header.architecture()?;
        let size = |key: &str| header.get(&format!("{architecture}.{key}")).and_then(Value::as_u64);
        let (width, heads) = (size("embedding_length")?, size("attention.head_count").filter(|heads| *heads > 0)?);
        let head_length = size("attention.key_length").unwrap_or(width / heads);
        Some(Self {
            blocks: size("block_count")?,
            width,
            heads,
            key_value_heads: size("attention.head_count_kv").unwrap_or(heads),
            head_length,
            rotary_dimensions: size("rope.dimension_count").unwrap_or(head_length),
            context: size("context_length")?,
            ties_embeddings: header.tensor("output.weight").is_none(),
        })
    }
}

type Metadata = Vec<(String, Value)>;

impl Config {
    pub(super) fn new(document: Map<String, Json>) -> Self {
        Self(document)
    }

    /// A key that is set to something.
    fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    fn number(&self, keys: &[&str]) -> Option<f64> {
        keys.iter().find_map(|key| self.get(key)?.as_f64())
    }

    fn size(&self, keys: &[&str]) -> Option<u64> {
        keys.iter().find_map(|key| self.get(key)?.as_u64())
    }

    pub(super) fn activation(&self) -> Option<&str> {
        ["hidden_activation", "hidden_act", "activation_function"].iter().find_map(|key| self.text(key))
    }

    pub(super) fn unsupported(key: &str, value: &str) -> CheckpointError {
        let value = value.chars().take(64).collect();
        CheckpointError::ConfigUnsupported { key: key.to_owned(), value }
    }

    fn missing(key: &str) -> CheckpointError {
        CheckpointError::Config { file: "config.json".to_owned(), detail: format!("`{key}` is missing") }
    }

    fn required(&self, keys: &[&str]) -> Result<u64, CheckpointError> {
        self.size(keys)
            .filter(|size| (1..=MAX_SIZE).contains(size))
            .ok_or_else(|| Self::missing(keys.first().unwrap_or(&"")))
    }

    pub(super) fn sizes(&self, family: &Family) -> Result<Sizes, CheckpointError> {
        let width = self.required(&["hidden_size", "n_embd"])?;
        let heads = self.required(&["num_attention_heads", "n_head"])?;
        let head_length = self.size(&["head_dim"]).unwrap_or(width / heads).min(MAX_HEAD_LENGTH);
        let rotating =
            self.number(&["partial_rotary_factor", "rotary_pct"]).or_else(|| self.rope_number("partial_rotary_factor"));
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a small size"
        )]
        let rotary_dimensions =
            rotating.map_or(head_length, |share| (head_length as f64 * share.clamp(0.0, 1.0)) as u64);
        let usually_tied =
            matches!(family.architecture, "gemma" | "gemma2" | "gemma3" | "gpt2" | "command-r" | "cohere2");
        Ok(Sizes {
            blocks: self.required(&["num_hidden_layers", "n_layer"])?,
            width,
            heads,
            key_value_heads: self.size(&["num_key_value_heads"]).unwrap_or(heads),
            head_length,
            rotary_dimensions,
            context: self.required(&["max_position_embeddings", "n_positions", "n_ctx"])?,
            ties_embeddings: self.flag("tie_word_embeddings").unwrap_or(usually_tied),
        })
    }

    /// The keys of the header.
    pub(super) fn metadata(
        &self,
        family: &Family,
        sizes: &Sizes,
        vocabulary: Option<u64>,
        pooling: Option<u64>,
    ) -> Result<Metadata, CheckpointError> {
        let mut keys = Keys { prefix: family.architecture, entries: Vec::new() };
        if self.activation() == Some("gelu") {
            keys.entries.push((ACTIVATION_KEY.to_owned(), Value::String(EXACT_GELU.to_owned())));
        }
        keys.entries.push(("general.architecture".to_owned(), Value::String(family.architecture.to_owned())));
        keys.size("block_count", Some(sizes.blocks));
        keys.size("embedding_length", Some(sizes.width));
        keys.size("attention.head_count", Some(sizes.heads));
        keys.size("attention.head_count_kv", Some(sizes.key_value_heads));
        keys.size("attention.key_length", Some(sizes.head_length));
        keys.size("attention.value_length", Some(sizes.head_length));
        keys.size("rope.dimension_count", Some(sizes.rotary_dimensions));
        keys.size("context_length", Some(sizes.context));
        keys.size("vocab_size", vocabulary);
        keys.size("feed_forward_length", self.feed_forward(sizes));
        keys.number("attention.layer_norm_rms_epsilon", self.number(&["rms_norm_eps"]));
        let epsilon = self.number(&["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"]);
        keys.number("attention.layer_norm_epsilon", epsilon.or((family.architecture == "olmo").then_some(1e-5)));
        keys.number(
            "rope.freq_base",
            self.number(&["rope_theta", "rotary_emb_base"]).or_else(|| self.rope_number("rope_theta")),
        );
        keys.number("rope.freq_base_swa", self.local_base());
        keys.size("pooling_type", pooling);
        self.add_experts(&mut keys);
        self.add_scales(family, &mut keys);
        self.add_window(family, sizes, &mut keys)?;
        self.add_scaling(sizes, &mut keys)?;
        self.check_soft_caps(family)?;
        self.check_attention_scale(family, sizes)?;
        self.check_blocks(family, sizes)?;
        Ok(keys.entries)
    }

    fn feed_forward(&self, sizes: &Sizes) -> Option<u64> {
        let given = self.size(&["intermediate_size", "n_inner", "ffn_hidden_size"]);
        given.or_else(|| sizes.width.checked_mul(4))
    }

    fn add_experts(&self, keys: &mut Keys) {
        keys.size("expert_count", self.size(&["num_local_experts", "num_experts"]));
        keys.size("expert_used_count", self.size(&["num_experts_per_tok"]));
        keys.size("expert_feed_forward_length", self.size(&["moe_intermediate_size"]));
        keys.size("expert_shared_feed_forward_length", self.size(&["shared_expert_intermediate_size"]));
    }

    fn add_scales(&self, family: &Family, keys: &mut Keys) {
        keys.number("embedding_scale", self.number(&["embedding_multiplier"]));
        keys.number("residual_scale", self.number(&["residual_multiplier"]));
        keys.number("attention.scale", self.number(&["attention_multiplier"]));
        keys.number("logit_scale", self.number(&["logits_scaling", "logit_scale"]));
        keys.number("attention.clamp_kqv", self.number(&["clip_qkv"]));
        keys.number("attn_logit_softcapping", self.number(&["attn_logit_softcapping"]));
        keys.number("final_logit_softcapping", self.number(&["final_logit_softcapping"]));
        if family.architecture == "gptneox" {
            let parallel = self.flag("use_parallel_residual").unwrap_or(true);
            keys.add("use_parallel_residual", Value::Bool(parallel));
        }
    }

    /// The window, for families that the decoder computes with one; others must not have one that a probe would reach.
    fn add_window(&self, family: &Family, sizes: &Sizes, keys: &mut Keys) -> Result<(), CheckpointError> {
        let used = self.flag("use_sliding_window").unwrap_or(true);
        let Some(window) = self.size(&["sliding_window"]).filter(|_| used) else { return Ok(()) };
        if matches!(family.architecture, "gemma2" | "gemma3" | "cohere2" | "olmo2") {
            keys.size("attention.sliding_window", Some(window));
            if let Some(pattern) = self.window_pattern(sizes) {
                keys.add("attention.sliding_window_pattern", Value::Array(Array::Bool(pattern)));
            } else {
                keys.size("attention.sliding_window_pattern", self.size(&["sliding_window_pattern"]));
            }
            Ok(())
        } else if window < CONTEXT_TOKENS {
            Err(Self::unsupported("sliding_window", &window.to_string()))
        } else {
            Ok(())
        }
    }

    fn window_pattern(&self, sizes: &Sizes) -> Option<Vec<bool>> {
        let types = self.get("layer_types")?.as_array()?;
        let pattern: Vec<bool> = types.iter().map(|kind| kind == "sliding_attention").collect();
        (pattern.len() as u64 == sizes.blocks).then_some(pattern)
    }

    /// `rope_scaling`, or `rope_parameters` of newer files.
    fn rope(&self) -> Option<&Map<String, Json>> {
        let found = ["rope_scaling", "rope_parameters"].iter().find_map(|key| self.get(key)?.as_object())?;
        // Newer files give one for each kind of layer.
        Some(found.get("full_attention").and_then(Json::as_object).unwrap_or(found))
    }

    /// The base of rotation in layers with a sliding window.
    fn local_base(&self) -> Option<f64> {
        let by_kind = || self.get("rope_parameters")?.get("sliding_attention")?.get("rope_theta")?.as_f64();
        self.number(&["rope_local_base_freq"]).or_else(by_kind)
    }

    /// `YaRN` with the values of its paper; llama.cpp's converter has no place for others.
    fn check_yarn(&self) -> Result<(), CheckpointError> {
        let usual = [("beta_fast", 32.0), ("beta_slow", 1.0)];
        let refused = ["mscale", "mscale_all_dim", "attention_factor"];
        let Some(rope) = self.rope() else { return Ok(()) };
        let number = |key: &str| rope.get(key).and_then(Json::as_f64);
        let unusual = usual.iter().find(|(key, usual)| number(key).is_some_and(|value| (value - usual).abs() > 1e-9));
        let own = refused.iter().find(|key| rope.get(**key).is_some_and(|value| !value.is_null()));
        let truncates = rope.get("truncate").and_then(Json::as_bool).unwrap_or(true);
        match unusual.map(|(key, _)| *key).or(own.copied()).or((!truncates).then_some("truncate")) {
            Some(key) => Err(Self::unsupported(&format!("rope_scaling.{key}"), "its own")),
            None => Ok(()),
        }
    }

    fn rope_number(&self, key: &str) -> Option<f64> {
        self.rope()?.get(key)?.as_f64()
    }

    fn rope_kind(&self) -> &str {
        let kind = |rope: &'_ Map<String, Json>| {
            let kind = rope.get("rope_type").or_else(|| rope.get("type"))?;
            kind.as_str().map(ToOwned::to_owned)
        };
        match self.rope().and_then(kind).as_deref() {
            Some("linear") => "linear",
            Some("yarn") => "yarn",
            Some("llama3") => "llama3",
            Some("longrope" | "su") => "longrope",
            // Scales only beyond the context of the training, which a probe stays within.
            None | Some("default" | "dynamic") => "default",
            Some(_) => "unknown",
        }
    }

    fn original_context(&self, sizes: &Sizes) -> u64 {
        let key = "original_max_position_embeddings";
        let given = self.rope().and_then(|rope| rope.get(key)?.as_u64()).or_else(|| self.size(&[key]));
        given.unwrap_or(sizes.context)
    }

    fn add_scaling(&self, sizes: &Sizes, keys: &mut Keys) -> Result<(), CheckpointError> {
        let factor = self.rope_number("factor");
        match self.rope_kind() {
            "default" | "llama3" => {}
            "linear" => {
                keys.add("rope.scaling.type", Value::String("linear".to_owned()));
                keys.number("rope.scaling.factor", factor);
            }
            "yarn" => {
                keys.add("rope.scaling.type", Value::String("yarn".to_owned()));
                keys.number("rope.scaling.factor", factor);
                keys.size("rope.scaling.original_context_length", Some(self.original_context(sizes)));
                self.check_yarn()?;
            }
            "longrope" => {
                let original = self.original_context(sizes);
                keys.size("rope.scaling.original_context_length", Some(original));
                keys.number("rope.scaling.attn_factor", Some(long_magnitude(sizes.context, original)));
            }
            _ => return Err(Self::unsupported("rope_scaling", "of an unknown kind")),
        }
        Ok(())
    }

    /// Vectors that slow rotation down, which GGUF has as tensors.
    pub(super) fn factors(&self, sizes: &Sizes) -> Result<Vec<(String, Vec<f32>)>, CheckpointError> {
        match self.rope_kind() {
            "llama3" => Ok(vec![("rope_freqs.weight".to_owned(), self.llama3_factors(sizes)?)]),
            "longrope" => [("short_factor", "rope_factors_short.weight"), ("long_factor", "rope_factors_long.weight")]
                .into_iter()
                .map(|(key, name)| Ok((name.to_owned(), self.factor_list(key)?)))
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    fn factor_list(&self, key: &str) -> Result<Vec<f32>, CheckpointError> {
        let list = self.rope().and_then(|rope| rope.get(key)?.as_array()).ok_or_else(|| Self::missing(key))?;
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
        let factors: Option<Vec<f32>> = list.iter().map(|factor| Some(factor.as_f64()? as f32)).collect();
        factors.ok_or_else(|| Self::missing(key))
    }

    /// Llama 3.1 slows pairs by their wavelength: long ones by the factor, short ones not, those between in part.
    fn llama3_factors(&self, sizes: &Sizes) -> Result<Vec<f32>, CheckpointError> {
        let needed = |key: &str| self.rope_number(key).ok_or_else(|| Self::missing(key));
        let (factor, low, high) = (needed("factor")?, needed("low_freq_factor")?, needed("high_freq_factor")?);
        let base = self.number(&["rope_theta"]).or_else(|| self.rope_number("rope_theta")).unwrap_or(USUAL_BASE);
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let (original, dimensions) = (self.original_context(sizes) as f64, sizes.rotary_dimensions as f64);
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let wavelength = |pair: u64| std::f64::consts::TAU * base.powf(2.0 * pair as f64 / dimensions);
        let slowed = |pair: u64| {
            let wavelength = wavelength(pair);
            if wavelength < original / high {
                1.0
            } else if wavelength > original / low {
                factor
            } else {
                let kept = (original / wavelength - low) / (high - low);
                1.0 / ((1.0 - kept) / factor + kept)
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
        let factors = (0..sizes.rotary_dimensions / 2).map(|pair| slowed(pair) as f32).collect();
        Ok(factors)
    }

    /// Gemma 2 has caps unless the configuration says that it has none.
    fn check_soft_caps(&self, family: &Family) -> Result<(), CheckpointError> {
        let keys = ["attn_logit_softcapping", "final_logit_softcapping"];
        let none = keys.iter().find(|key| self.0.get(**key).is_some_and(Json::is_null));
        match none.filter(|_| family.architecture == "gemma2") {
            Some(key) => Err(Self::unsupported(key, "null")),
            None => Ok(()),
        }
    }

    /// The decoder derives the scale from sizes; a configuration that asks for another is another model.
    fn check_attention_scale(&self, family: &Family, sizes: &Sizes) -> Result<(), CheckpointError> {
        let Some(wanted) = self.number(&["query_pre_attn_scalar"]) else { return Ok(()) };
        let by_width = matches!((family.architecture, sizes.blocks), ("gemma2", 46) | ("gemma3", 62));
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let computed = if by_width { sizes.width / sizes.heads } else { sizes.head_length } as f64;
        if (wanted - computed).abs() < 1e-9 {
            Ok(())
        } else {
            Err(Self::unsupported("query_pre_attn_scalar", &wanted.to_string()))
        }
    }

    /// Blocks that differ from those the family's row describes.
    fn check_blocks(&self, family: &Family, sizes: &Sizes) -> Result<(), CheckpointError> {
        if self.size(&["decoder_sparse_step"]).is_some_and(|step| step != 1) {
            return Err(Self::unsupported("decoder_sparse_step", "more than 1"));
        }
        if self.get("mlp_only_layers").and_then(Json::as_array).is_some_and(|layers| !layers.is_empty()) {
            return Err(Self::unsupported("mlp_only_layers", "not empty"));
        }
        let Some(rotating) = self.get("no_rope_layers").and_then(Json::as_array) else { return Ok(()) };
        let usual = (0..sizes.blocks).map(|block| u64::from(!(block + 1).is_multiple_of(4)));
        let is_usual = rotating.iter().map(|flag| flag.as_u64().unwrap_or(u64::MAX)).eq(usual);
        if family.architecture == "smollm3" && !is_usual {
            return Err(Self::unsupported("no_rope_layers", "not each fourth"));
        }
        Ok(())
    }
}

/// What `LongRoPE` multiplies rotated elements with.
#[expect(clippy::cast_precision_loss, reason = "contexts are far below 2^52")]
fn long_magnitude(context: u64, original: u64) -> f64 {
    let stretch = context as f64 / original.max(1) as f64;
    if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / (original.max(2) as f64).ln()).sqrt() }
}

/// The entries of a header.
struct Keys {
    prefix: &'static str,
    entries: Metadata,
}

impl Keys {
    fn add(&mut self, key: &str, value: Value) {
        self.entries.push((format!("{}.{key}", self.prefix), value));
    }

    fn size(&mut self, key: &str, size: Option<u64>) {
        if let Some(size) = size {
            self.add(key, Value::U64(size));
        }
    }

    fn number(&mut self, key: &str, number: Option<f64>) {
        if let Some(number) = number {
            self.add(key, Value::F64(number));
        }
    }
}
