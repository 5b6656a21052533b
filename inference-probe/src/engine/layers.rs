//! What the blocks of decoders and encoders are made of alike.

use candle_core::{D, Tensor};

use super::architecture::{Activation, Gate};
use super::decoder::EngineError;
use super::operations::{activate, activate_gated};
use super::weights::{Linear, Weights};

/// How a state becomes queries, keys and values.
pub(super) enum Projection {
    Separate([Linear; 3]),
    /// One matrix with the rows of all three.
    Fused(Linear),
}

impl Projection {
    pub(super) fn load(weights: &Weights<'_>, block: u64) -> Result<Self, EngineError> {
        let linear = |part: &str| weights.linear(&format!("blk.{block}.{part}"));
        if weights.has(&format!("blk.{block}.attn_qkv.weight")) {
            return Ok(Self::Fused(linear("attn_qkv")?));
        }
        Ok(Self::Separate([linear("attn_q")?, linear("attn_k")?, linear("attn_v")?]))
    }

    /// Queries of `queries` elements, keys and values of `keys`, for each row of `state`.
    pub(super) fn forward(
        &self,
        state: &Tensor,
        queries: usize,
        keys: usize,
    ) -> candle_core::Result<(Tensor, Tensor, Tensor)> {
        match self {
            Self::Separate([query, key, value]) => {
                Ok((query.forward(state)?, key.forward(state)?, value.forward(state)?))
            }
            Self::Fused(all) => {
                let all = all.forward(state)?;
                let part = |start, length| all.narrow(D::Minus1, start, length)?.contiguous();
                Ok((part(0, queries)?, part(queries, keys)?, part(queries + keys, keys)?))
            }
        }
    }
}

/// A network of two or three matrices.
pub(super) struct Network {
    pub(super) gate: Option<Linear>,
    pub(super) up: Linear,
    pub(super) down: Linear,
    /// Whether `up` holds the gate too, before its own rows.
    pub(super) fused: bool,
    pub(super) activation: Activation,
}

impl Network {
    /// The network of a block whose tensors end in `suffix`, which is empty for most.
    pub(super) fn load(
        weights: &Weights<'_>,
        block: u64,
        suffix: &str,
        gate: Gate,
        activation: Activation,
    ) -> Result<Self, EngineError> {
        let linear = |part: &str| weights.linear(&format!("blk.{block}.{part}{suffix}"));
        Ok(Self {
            gate: (gate == Gate::Separate).then(|| linear("ffn_gate")).transpose()?,
            up: linear("ffn_up")?,
            down: linear("ffn_down")?,
            fused: gate == Gate::Fused,
            activation,
        })
    }

    pub(super) fn forward(&self, state: &Tensor) -> candle_core::Result<Tensor> {
        let up = self.up.forward(state)?;
        let inner = match &self.gate {
            Some(gate) => activate_gated(self.activation, &gate.forward(state)?, &up)?,
            None if self.fused => {
                let half = up.dim(D::Minus1)? / 2;
                let part = |start| up.narrow(D::Minus1, start, half)?.contiguous();
                activate_gated(self.activation, &part(0)?, &part(half)?)?
            }
            None => activate(self.activation, &up)?,
        };
        self.down.forward(&inner)
    }
}

impl Activation {
    /// The same, with the error function where the model asks for it.
    pub(super) const fn exact(self, exact_gelu: bool) -> Self {
        match self {
            Self::Gelu if exact_gelu => Self::GeluExact,
            other => other,
        }
    }
}
