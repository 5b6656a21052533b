//! The sizes and constants of one model, read from its header.
//!
//! Keys that would change the computation in a way the decoder does not implement are
//! refused here: a loader that ignores them produces a model that is subtly another one.

mod keys;
mod rotary;

use verifier::format::gguf::Header;

use super::architecture::{
    Architecture, AttentionScale, DistanceBias, EmbeddingScale, LogitScale, Normalization, Positions, Presence,
    Residual, ResidualScale, SharedExpert, SoftCaps, Window,
};
use super::has_exact_gelu;
use keys::{Keys, MAX_BLOCKS, MAX_EXPERTS, MAX_WIDTH};
pub(crate) use rotary::{Rotary, Scaling};

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
    pub(crate) rotary: Rotary,
    pub(crate) window: Option<SlidingWindow>,
    pub(crate) attention_scale: f64,
    pub(crate) attention_soft_cap: Option<f64>,
    /// How much queries grow with the logarithm of the position in original contexts; 0 where they do not.
    pub(crate) attention_temperature: f64,
    /// How much scores fall over a distance at most; 0 where they do not.
    pub(crate) distance_bias: f64,
    /// Bound of queries, keys and values.
    pub(crate) projection_clamp: Option<f64>,
    pub(crate) logit_soft_cap: Option<f64>,
    pub(crate) normalization_epsilon: f64,
    pub(crate) parallel_residual: bool,
    pub(crate) embedding_scale: f64,
    pub(crate) residual_scale: f64,
    /// What logits are multiplied with.
    pub(crate) logit_scale: f64,
    /// Whether GELU is computed with the error function.
    pub(crate) exact_gelu: bool,
    pub(crate) experts: Option<ExpertSizes>,
    /// Rows of the token embedding.
    pub(crate) vocabulary_size: u64,
    pub(crate) context_length: u64,
}

/// Blocks that see only the last positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlidingWindow {
    /// Positions that are seen, the present one among them.
    pub(crate) length: u64,
    /// For each block.
    pub(crate) windowed: Vec<bool>,
}

/// The sizes of a mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ExpertSizes {
    pub(crate) count: u64,
    /// Experts that each token goes through.
    pub(crate) used: u64,
    pub(crate) feed_forward_length: u64,
    /// Of the expert that every token goes through; 0 where there is none.
    pub(crate) shared_feed_forward_length: u64,
    /// What the experts' shares are multiplied with.
    pub(crate) weights_scale: f64,
}

/// Of the one family that has a window without a key for it.
const USUAL_WINDOW: u64 = 4_096;

impl Hyperparameters {
    pub(crate) fn read(architecture: &Architecture, header: &Header) -> Result<Self, HyperparameterError> {
        let keys = Keys { prefix: architecture.name, header };
        keys.refuse_what_is_not_computed(architecture)?;
        let embedding_length = keys.size("embedding_length", MAX_WIDTH)?;
        let head_count = keys.size("attention.head_count", MAX_WIDTH)?;
        let head_length = keys.head_length(embedding_length, head_count)?;
        let block_count = keys.size("block_count", MAX_BLOCKS)?;
        let context_length = keys.size("context_length", u64::from(u32::MAX))?;
        let (attention_soft_cap, logit_soft_cap) = soft_caps(architecture, &keys)?;
        let sizes = Self {
            block_count,
            embedding_length,
            feed_forward_length: keys.size_or("feed_forward_length", MAX_WIDTH, embedding_length)?,
            head_count,
            key_value_head_count: keys.size_or("attention.head_count_kv", MAX_WIDTH, head_count)?,
            head_length,
            rotary: Rotary::read(architecture, &keys, head_length, context_length)?,
            window: window(architecture, &keys, block_count)?,
            attention_scale: attention_scale(architecture, &keys, embedding_length, head_count, head_length)?,
            attention_soft_cap,
            attention_temperature: keys.number("attention.temperature_scale").unwrap_or(0.0),
            distance_bias: distance_bias(architecture, &keys),
            projection_clamp: keys.number("attention.clamp_kqv").filter(|bound| *bound > 0.0),
            logit_soft_cap,
            normalization_epsilon: keys.positive(epsilon_key(architecture.normalization))?,
            parallel_residual: parallel_residual(architecture, &keys),
            embedding_scale: embedding_scale(architecture, &keys, embedding_length)?,
            residual_scale: residual_scale(architecture, &keys, block_count)?,
            logit_scale: logit_scale(architecture, &keys, embedding_length)?,
            exact_gelu: has_exact_gelu(header),
            experts: experts(architecture, &keys)?,
            vocabulary_size: keys.vocabulary_size()?,
            context_length,
        };
        sizes.check(&keys)?;
        Ok(sizes)
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), HyperparameterError> {
        if !self.head_count.is_multiple_of(self.key_value_head_count) {
            let rule = "the number of heads must be a multiple of it";
            return Err(keys.impossible("attention.head_count_kv", &self.key_value_head_count, rule));
        }
        if let Some(experts) = self.experts.filter(|experts| experts.used > experts.count) {
            let rule = "there are fewer experts";
            return Err(keys.impossible("expert_used_count", &experts.used, rule));
        }
        Ok(())
    }

    /// Whether the block with this number sees only the last positions.
    pub(crate) fn is_windowed(&self, block: u64) -> bool {
        let windowed = |window: &SlidingWindow| Some(*window.windowed.get(usize::try_from(block).ok()?)?);
        self.window.as_ref().and_then(windowed).unwrap_or(false)
    }
}

const fn epsilon_key(normalization: Normalization) -> &'static str {
    match normalization {
        Normalization::RootMeanSquare => "attention.layer_norm_rms_epsilon",
        Normalization::Layer { .. } => "attention.layer_norm_epsilon",
    }
}

fn window(
    architecture: &Architecture,
    keys: &Keys<'_>,
    block_count: u64,
) -> Result<Option<SlidingWindow>, HyperparameterError> {
    let key = "attention.sliding_window";
    let (period, usual_length) = match architecture.window {
        Window::AllButLastOf { period, .. } => (period, 0),
        Window::AllButLastOfInModelOf { blocks, period } if blocks == block_count => (period, USUAL_WINDOW),
        Window::AllButLastOfInModelOf { .. } | Window::Never => return Ok(None),
    };
    let length = if keys.number(key) == Some(0.0) { 0 } else { keys.size_or(key, u64::from(u32::MAX), usual_length)? };
    if length == 0 {
        return Ok(None);
    }
    let windowed = keys.window_pattern(period, block_count)?;
    Ok(Some(SlidingWindow { length, windowed }))
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn attention_scale(
    architecture: &Architecture,
    keys: &Keys<'_>,
    width: u64,
    heads: u64,
    head_length: u64,
) -> Result<f64, HyperparameterError> {
    let of_head = 1.0 / (head_length as f64).sqrt();
    match architecture.attention_scale {
        AttentionScale::Key if keys.number("attention.scale").unwrap_or(0.0) != 0.0 => keys.positive("attention.scale"),
        AttentionScale::WidthPerHeadInModelOf { blocks } if keys.number("block_count") == Some(blocks as f64) => {
            Ok(1.0 / ((width / heads) as f64).sqrt())
        }
        AttentionScale::HeadLength | AttentionScale::Key | AttentionScale::WidthPerHeadInModelOf { .. } => Ok(of_head),
    }
}

fn distance_bias(architecture: &Architecture, keys: &Keys<'_>) -> f64 {
    match architecture.positions {
        Positions::Distance(DistanceBias::Eight) => 8.0,
        Positions::Distance(DistanceBias::Key) => keys.number("attention.max_alibi_bias").unwrap_or(0.0),
        Positions::Learned | Positions::Rotary { .. } => 0.0,
    }
}

type Caps = (Option<f64>, Option<f64>);

fn soft_caps(architecture: &Architecture, keys: &Keys<'_>) -> Result<Caps, HyperparameterError> {
    let of_logits = "final_logit_softcapping";
    match architecture.soft_caps {
        SoftCaps::None => Ok((None, None)),
        SoftCaps::AttentionAndLogits { attention, logits } => Ok((
            Some(keys.positive_or("attn_logit_softcapping", attention)?),
            Some(keys.positive_or(of_logits, logits)?),
        )),
        SoftCaps::LogitsByKey if keys.number(of_logits).unwrap_or(0.0) == 0.0 => Ok((None, None)),
        SoftCaps::LogitsByKey => Ok((None, Some(keys.positive(of_logits)?))),
    }
}

fn parallel_residual(architecture: &Architecture, keys: &Keys<'_>) -> bool {
    match architecture.residual {
        Residual::Parallel => true,
        Residual::Sequential | Residual::ParallelWithoutSecondNorm => false,
        Residual::ByKey => keys.flag("use_parallel_residual").unwrap_or(true),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn embedding_scale(architecture: &Architecture, keys: &Keys<'_>, width: u64) -> Result<f64, HyperparameterError> {
    match architecture.embedding_scale {
        EmbeddingScale::One => Ok(1.0),
        EmbeddingScale::SquareRootOfWidth => Ok((width as f64).sqrt()),
        EmbeddingScale::KeyOr(default) => keys.scale_or("embedding_scale", default),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn residual_scale(architecture: &Architecture, keys: &Keys<'_>, blocks: u64) -> Result<f64, HyperparameterError> {
    match architecture.residual_scale {
        ResidualScale::One => Ok(1.0),
        ResidualScale::Key => keys.scale_or_one("residual_scale"),
        ResidualScale::KeyOrDepth(scale) => keys.scale_or("residual_scale", scale / (blocks as f64).sqrt()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn logit_scale(architecture: &Architecture, keys: &Keys<'_>, width: u64) -> Result<f64, HyperparameterError> {
    match architecture.logit_scale {
        LogitScale::None => Ok(1.0),
        LogitScale::Multiply => keys.scale_or_one("logit_scale"),
        LogitScale::Divide => Ok(1.0 / keys.scale_or_one("logit_scale")?),
        LogitScale::DivideOrWidth(scale) => Ok(1.0 / keys.scale_or("logit_scale", scale / width as f64)?),
    }
}

fn experts(architecture: &Architecture, keys: &Keys<'_>) -> Result<Option<ExpertSizes>, HyperparameterError> {
    let Some(experts) = architecture.experts else { return Ok(None) };
    if experts.presence == Presence::Sometimes && keys.number("expert_count").unwrap_or(0.0) == 0.0 {
        return Ok(None);
    }
    let dense = keys.size_or("feed_forward_length", MAX_WIDTH, 0)?;
    let used = keys.size("expert_used_count", MAX_EXPERTS)?;
    let shared_key = "expert_shared_feed_forward_length";
    let shared_feed_forward_length = match experts.shared {
        SharedExpert::None => 0,
        SharedExpert::Gated => keys.size_or(shared_key, MAX_WIDTH, dense)?,
        SharedExpert::Plain if keys.number(shared_key).unwrap_or(0.0) == 0.0 => 0,
        SharedExpert::Plain => keys.size(shared_key, MAX_WIDTH)?,
    };
    Ok(Some(ExpertSizes {
        count: keys.size("expert_count", MAX_EXPERTS)?,
        used,
        feed_forward_length: keys.size_or("expert_feed_forward_length", MAX_WIDTH, dense)?,
        shared_feed_forward_length,
        weights_scale: keys.scale_or_one("expert_weights_scale")?,
    }))
}
