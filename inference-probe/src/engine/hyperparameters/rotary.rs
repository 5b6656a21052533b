//! The keys of rotary position embedding.

use super::HyperparameterError;
use super::keys::{Keys, MAX_WIDTH};
use crate::engine::architecture::{Architecture, ResidualScale};

const DEFAULT_BASE: f64 = 10_000.0;
/// Where `YaRN` begins and ends to interpolate, in turns over the original context.
const FAST_TURNS: f64 = 32.0;
const SLOW_TURNS: f64 = 1.0;

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
    /// Whether the file switches rotation off.
    pub(crate) is_off: bool,
    /// The longest text of the training before it was continued with scaled positions.
    pub(crate) original_context: u64,
}

/// How positions beyond the original context are brought into its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scaling {
    /// Positions are divided by this factor; 1 for most models.
    Linear(f64),
    /// Slow pairs by the factor, fast ones not (`YaRN`, <https://arxiv.org/abs/2309.00071>).
    Yarn { factor: f64, fast_turns: f64, slow_turns: f64 },
}

impl Rotary {
    pub(super) fn read(
        architecture: &Architecture,
        keys: &Keys<'_>,
        head_length: u64,
        context: u64,
    ) -> Result<Self, HyperparameterError> {
        let dimensions = keys.size_or("rope.dimension_count", MAX_WIDTH, head_length)?;
        if dimensions > head_length || !dimensions.is_multiple_of(2) {
            let rule = "it must be even and at most the length of a head";
            return Err(keys.impossible("rope.dimension_count", &dimensions, rule));
        }
        Ok(Self {
            dimensions,
            base: keys.positive_or("rope.freq_base", DEFAULT_BASE)?,
            local_base: keys.positive_or("rope.freq_base_swa", DEFAULT_BASE)?,
            scaling: scaling(architecture, keys)?,
            magnitude: magnitude(keys)?,
            // The files of granite do so with a key that has no meaning elsewhere.
            is_off: architecture.residual_scale == ResidualScale::Key
                && keys.flag("rope.scaling.finetuned") == Some(false),
            original_context: keys.size_or("rope.scaling.original_context_length", u64::from(u32::MAX), context)?,
        })
    }
}

/// A factor without a type scales linearly; older files give it as `rope.scale_linear`.
fn scaling(architecture: &Architecture, keys: &Keys<'_>) -> Result<Scaling, HyperparameterError> {
    let key = if keys.get("rope.scaling.factor").is_some() { "rope.scaling.factor" } else { "rope.scale_linear" };
    // llama.cpp reads where the interpolation begins and ends for few families, and computes with
    // the values of the paper for all others.
    let turns = |key: &str, usual: f64| {
        if architecture.attention_temperature { keys.positive_or(key, usual) } else { Ok(usual) }
    };
    match keys.text("rope.scaling.type") {
        Some("none") => Ok(Scaling::Linear(1.0)),
        None | Some("linear" | "longrope") => Ok(Scaling::Linear(keys.scale_or_one(key)?)),
        Some("yarn") => Ok(Scaling::Yarn {
            factor: keys.scale_or_one(key)?,
            fast_turns: turns("rope.scaling.yarn_beta_fast", FAST_TURNS)?,
            slow_turns: turns("rope.scaling.yarn_beta_slow", SLOW_TURNS)?,
        }),
        Some(other) => Err(keys.unsupported("rope.scaling.type", &other)),
    }
}

/// What `YaRN` multiplies with to keep attention as sharp as it was, and what the file gives beside.
fn magnitude(keys: &Keys<'_>) -> Result<f64, HyperparameterError> {
    let given = keys.positive_or("rope.scaling.attn_factor", 1.0)?;
    if keys.text("rope.scaling.type") != Some("yarn") {
        return Ok(given);
    }
    let growth = keys.scale_or_one("rope.scaling.factor")?.max(1.0).ln() * 0.1;
    let multiplier = keys.number("rope.scaling.yarn_log_multiplier").unwrap_or(0.0);
    Ok(given * (1.0 + growth) / (1.0 + multiplier * growth))
}
