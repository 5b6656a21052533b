//! One layer: attention and feed-forward, each added to what it read.

use candle_core::Tensor;

use super::attention::{Attention, KeyValues};
use super::feed_forward::FeedForward;
use super::{Angles, EngineError, Plan};
use crate::engine::architecture::{Norms, Residual};
use crate::engine::operations::Normalize;

pub(super) struct Block {
    attention_norm: Option<Normalize>,
    attention: Attention,
    attention_post_norm: Option<Normalize>,
    feed_forward_norm: SecondNorm,
    feed_forward: FeedForward,
    feed_forward_post_norm: Option<Normalize>,
    /// Whether the feed-forward layer reads the block's input rather than the sum with attention's result.
    parallel: bool,
    residual_scale: f64,
}

/// What the feed-forward layer reads.
enum SecondNorm {
    /// Its input, normalized.
    Own(Normalize),
    /// What attention reads.
    Shared,
    /// Its input as it is.
    None,
}

impl Block {
    pub(super) fn load(plan: Plan<'_>, block: u64) -> Result<Self, EngineError> {
        let norm = |part: &str| plan.norm(&format!("blk.{block}.{part}"));
        let has = |part: &str| plan.weights.has(&format!("blk.{block}.{part}.weight"));
        let norms = plan.architecture.norms;
        let after = matches!(norms, Norms::After | Norms::BeforeAndAfter);
        let (attention_norm, feed_forward_norm) = match norms {
            Norms::Before | Norms::BeforeAndAfter => (Some(norm("attn_norm")?), SecondNorm::Own(norm("ffn_norm")?)),
            Norms::BeforeUnderOtherName => (Some(norm("attn_norm")?), SecondNorm::Own(norm("post_attention_norm")?)),
            Norms::After => (None, SecondNorm::None),
            Norms::Shared if has("attn_norm_2") => (Some(norm("attn_norm_2")?), SecondNorm::Own(norm("attn_norm")?)),
            Norms::SharedOrBefore if has("ffn_norm") => (Some(norm("attn_norm")?), SecondNorm::Own(norm("ffn_norm")?)),
            Norms::Shared | Norms::SharedOrBefore => (Some(norm("attn_norm")?), SecondNorm::Shared),
        };
        let parallel_here = plan.architecture.residual == Residual::ParallelWithoutSecondNorm
            && !matches!(feed_forward_norm, SecondNorm::Own(_));
        Ok(Self {
            attention_norm,
            attention: Attention::load(plan, block)?,
            attention_post_norm: after.then(|| norm("post_attention_norm")).transpose()?,
            feed_forward_norm,
            feed_forward: FeedForward::load(plan, block)?,
            feed_forward_post_norm: after.then(|| norm("post_ffw_norm")).transpose()?,
            parallel: plan.sizes.parallel_residual || parallel_here,
            residual_scale: plan.sizes.residual_scale,
        })
    }

    pub(super) fn forward(&self, state: &Tensor, angles: &Angles, seen: &mut KeyValues) -> candle_core::Result<Tensor> {
        let normalized = apply(self.attention_norm.as_ref(), state)?;
        let attended = self.attention.forward(&normalized, angles, seen)?;
        let attended = self.scaled(apply(self.attention_post_norm.as_ref(), &attended)?)?;
        let sum = (state + attended)?;
        let read = if self.parallel { state } else { &sum };
        let input = match &self.feed_forward_norm {
            SecondNorm::Own(norm) => norm.apply(read)?,
            SecondNorm::Shared => normalized,
            SecondNorm::None => read.clone(),
        };
        let result = self.feed_forward.forward(&input)?;
        sum + self.scaled(apply(self.feed_forward_post_norm.as_ref(), &result)?)?
    }

    fn scaled(&self, result: Tensor) -> candle_core::Result<Tensor> {
        #[expect(clippy::float_cmp, reason = "one is what a model without the key has")]
        if self.residual_scale == 1.0 { Ok(result) } else { result * self.residual_scale }
    }
}

fn apply(norm: Option<&Normalize>, input: &Tensor) -> candle_core::Result<Tensor> {
    norm.map_or_else(|| Ok(input.clone()), |norm| norm.apply(input))
}
