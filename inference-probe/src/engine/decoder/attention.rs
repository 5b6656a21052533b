//! The attention of one block.

use candle_core::Tensor;

use super::{Angles, EngineError, Plan, index, rows};
use crate::engine::architecture::QueryKeyNorm;
use crate::engine::hyperparameters::Hyperparameters;
use crate::engine::layers::Projection;
use crate::engine::operations::{Attend, Normalize, Temperature, slopes};
use crate::engine::weights::Linear;

/// Positions for which a new cache has room.
const FIRST_CAPACITY: usize = 128;

/// Attention in which groups of query heads share one key and value head.
pub(super) struct Attention {
    input: Projection,
    query_norm: Option<Normalize>,
    key_norm: Option<Normalize>,
    output: Linear,
    sinks: Option<Vec<f32>>,
    rotates: bool,
    causal: bool,
    heads: usize,
    key_value_heads: usize,
    head_length: usize,
    scale: f32,
    soft_cap: Option<f32>,
    window: Option<usize>,
    clamp: Option<f64>,
    temperature: Option<Temperature>,
    slopes: Option<Vec<f32>>,
}

/// Keys and values of one block, each `[capacity, key heads * length]`.
#[derive(Default)]
pub(super) struct KeyValues {
    room: Option<(Tensor, Tensor)>,
    used: usize,
}

impl Attention {
    pub(super) fn load(plan: Plan<'_>, block: u64) -> Result<Self, EngineError> {
        let Plan { architecture, sizes, weights, .. } = plan;
        let part = |part: &str| format!("blk.{block}.{part}");
        let windowed = sizes.is_windowed(block);
        let window = sizes.window.as_ref().filter(|_| windowed).map(|window| index(window.length)).transpose()?;
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
        let single = |number: f64| number as f32;
        Ok(Self {
            input: Projection::load(weights, block)?,
            query_norm: query_key_norm(plan, &part("attn_q_norm.weight"))?,
            key_norm: query_key_norm(plan, &part("attn_k_norm.weight"))?,
            output: weights.linear(&part("attn_output"))?,
            sinks: weights.find_floats(&part("attn_sinks.weight"))?,
            rotates: architecture.rotates(block, windowed, sizes.window.is_some()),
            causal: architecture.causal,
            heads: index(sizes.head_count)?,
            key_value_heads: index(sizes.key_value_head_count)?,
            head_length: index(sizes.head_length)?,
            scale: single(sizes.attention_scale),
            soft_cap: sizes.attention_soft_cap.map(single),
            window,
            clamp: sizes.projection_clamp,
            temperature: temperature(sizes)?,
            slopes: slopes(sizes.distance_bias, index(sizes.head_count)?),
        })
    }

    pub(super) fn forward(&self, state: &Tensor, angles: &Angles, seen: &mut KeyValues) -> candle_core::Result<Tensor> {
        let (query, key, value) =
            self.input.forward(state, self.heads * self.head_length, self.key_value_heads * self.head_length)?;
        let (query, key, value) = match self.clamp {
            Some(bound) => (query.clamp(-bound, bound)?, key.clamp(-bound, bound)?, value.clamp(-bound, bound)?),
            None => (query, key, value),
        };
        let query = self.place(&query, self.query_norm.as_ref(), angles)?;
        let key = self.place(&key, self.key_norm.as_ref(), angles)?;
        let (keys, values) = seen.extend(&key, &value)?;
        let attend = Attend {
            heads: self.heads,
            key_value_heads: self.key_value_heads,
            head_length: self.head_length,
            scale: self.scale,
            soft_cap: self.soft_cap,
            window: self.window,
            temperature: self.temperature,
            slopes: self.slopes.as_deref(),
            sinks: self.sinks.as_deref(),
            causal: self.causal,
        };
        self.output.forward(&attend.apply(&query, &keys, &values)?)
    }

    /// Normalizes and rotates queries or keys.
    fn place(&self, heads: &Tensor, norm: Option<&Normalize>, angles: &Angles) -> candle_core::Result<Tensor> {
        let heads = norm.map_or(Ok(heads.clone()), |norm| norm.apply(heads))?;
        let rotation = if self.window.is_some() { &angles.local } else { &angles.global };
        match rotation {
            Some(rotation) if self.rotates => rotation.apply(&heads),
            _ => Ok(heads),
        }
    }
}

fn temperature(sizes: &Hyperparameters) -> Result<Option<Temperature>, EngineError> {
    #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
    let growth = sizes.attention_temperature as f32;
    let stretch = index(sizes.rotary.original_context)?;
    Ok((growth != 0.0).then_some(Temperature { growth, stretch }))
}

/// The normalization of queries or keys, where the family and the file have one.
fn query_key_norm(plan: Plan<'_>, name: &str) -> Result<Option<Normalize>, EngineError> {
    let Some(gain) = plan.weights.find_floats(name)? else { return Ok(None) };
    Ok(match plan.architecture.query_key_norm {
        QueryKeyNorm::None => None,
        QueryKeyNorm::EachHead | QueryKeyNorm::EachHeadWithOwnGain => {
            Some(plan.norm_of(index(plan.sizes.head_length)?, Some(gain), None))
        }
        QueryKeyNorm::AllHeads => Some(plan.norm_of(gain.len(), Some(gain), None)),
    })
}

impl KeyValues {
    /// Adds the new positions and gives all of them.
    fn extend(&mut self, key: &Tensor, value: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let (new, width) = key.dims2()?;
        let (keys, values) = self.make_room(self.used + new, width)?;
        keys.slice_set(key, 0, self.used)?;
        values.slice_set(value, 0, self.used)?;
        self.used += new;
        Ok((keys.narrow(0, 0, self.used)?, values.narrow(0, 0, self.used)?))
    }

    /// Room for `positions`, with what is in it already.
    fn make_room(&mut self, positions: usize, width: usize) -> candle_core::Result<(Tensor, Tensor)> {
        if let Some((keys, values)) = &self.room
            && keys.dim(0)? >= positions
        {
            return Ok((keys.clone(), values.clone()));
        }
        let capacity = positions.next_power_of_two().max(FIRST_CAPACITY);
        let larger = (rows(capacity, width)?, rows(capacity, width)?);
        if let Some((keys, values)) = &self.room {
            larger.0.slice_set(&keys.narrow(0, 0, self.used)?.contiguous()?, 0, 0)?;
            larger.1.slice_set(&values.narrow(0, 0, self.used)?.contiguous()?, 0, 0)?;
        }
        self.room = Some(larger.clone());
        Ok(larger)
    }
}
