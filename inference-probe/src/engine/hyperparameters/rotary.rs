//! The keys of rotary position embedding.

use super::HyperparameterError;
use super::keys::{Keys, MAX_WIDTH};

const DEFAULT_BASE: f64 = 10_000.0;

/// How far each pair of elements turns with the position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rotary {
    /// Leading elements of a head that carry the position.
    pub(crate) dimensions: u64,
    pub(crate) base: f64,
    /// The base in blocks with a sliding window, for families in which it is their own.
    pub(crate) local_base: f64,
    pub(crate) scaling: Scaling,
    /// What the rotated elements are multiplied with beside.
    pub(crate) magnitude: f64,
    /// The longest text of the training before it was continued with scaled positions.
    pub(crate) original_context: u64,
}

/// How positions beyond the original context are brought into its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scaling {
    /// Positions are divided by this factor; 1 for most models.
    Linear(f64),
    /// Slow pairs by the factor, fast ones not (`YaRN`, <https://arxiv.org/abs/2309.00071>).
    Yarn(f64),
}

impl Rotary {
    pub(super) fn read(keys: &Keys<'_>, head_length: u64, context: u64) -> Result<Self, HyperparameterError> {
        let dimensions = keys.size_or("rope.dimension_count", MAX_WIDTH, head_length)?;
        if dimensions > head_length || !dimensions.is_multiple_of(2) {
            let rule = "it must be even and at most the length of a head";
            return Err(keys.impossible("rope.dimension_count", &dimensions, rule));
        }
        Ok(Self {
            dimensions,
            base: keys.positive_or("rope.freq_base", DEFAULT_BASE)?,
            local_base: keys.positive_or("rope.freq_base_swa", DEFAULT_BASE)?,
            scaling: scaling(keys)?,
            magnitude: keys.positive_or("rope.scaling.attn_factor", 1.0)?,
            original_context: keys.size_or("rope.scaling.original_context_length", u64::from(u32::MAX), context)?,
        })
    }
}

/// A factor without a type scales linearly; older files give it as `rope.scale_linear`.
fn scaling(keys: &Keys<'_>) -> Result<Scaling, HyperparameterError> {
    let key = if keys.get("rope.scaling.factor").is_some() { "rope.scaling.factor" } else { "rope.scale_linear" };
    match keys.text("rope.scaling.type") {
        Some("none") => Ok(Scaling::Linear(1.0)),
        None | Some("linear" | "longrope") => Ok(Scaling::Linear(keys.scale_or_one(key)?)),
        Some("yarn") => Ok(Scaling::Yarn(keys.scale_or_one(key)?)),
        Some(other) => Err(keys.unsupported("rope.scaling.type", &other)),
    }
}
