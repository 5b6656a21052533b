//! The decoder: embedding, blocks of attention and feed-forward, output.

use std::io;
use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};
use verifier::ReadAt;
use verifier::format::gguf::Header;

use super::architecture::{Architecture, FeedForward, Normalization};
use super::hyperparameters::Hyperparameters;
use super::matrix::Matrix;
use super::rotary::{Angles, Rotary};
use super::weights::Weights;

/// Why a model cannot be computed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("the tensor `{0}` is missing")]
    MissingTensor(String),
    #[error("the tensor `{0}` is larger than this machine can address")]
    TooLarge(String),
    #[error("{bytes} bytes do not make up a tensor of the given shape")]
    WrongLength { bytes: usize },
    #[error("the engine does not compute with {0}")]
    UnsupportedType(&'static str),
    #[error("weights could not be read: {0}")]
    Io(#[from] io::Error),
    #[error("the engine refused an operation: {0}")]
    Candle(#[from] candle_core::Error),
}

/// A loaded model.
pub(crate) struct Decoder {
    embedding: Arc<Matrix>,
    blocks: Vec<Block>,
    normalization: Norm,
    output: Arc<Matrix>,
    rotary: Rotary,
}

/// Keys and values of the positions seen so far, one entry for each block.
#[derive(Default)]
pub(crate) struct Cache {
    blocks: Vec<(Tensor, Tensor)>,
    positions: usize,
}

/// For which positions logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logits {
    All,
    Last,
}

impl Decoder {
    /// Loads the weights. L1 has checked presence and shape of every tensor.
    pub(crate) fn load(
        architecture: &Architecture,
        sizes: &Hyperparameters,
        header: &Header,
        source: &dyn ReadAt,
    ) -> Result<Self, EngineError> {
        let weights = Weights::new(header, source);
        let embedding = weights.matrix("token_embd.weight")?;
        let output = weights.find_matrix("output.weight")?.unwrap_or_else(|| Arc::clone(&embedding));
        let divisors = header.tensor("rope_freqs.weight").map(|tensor| weights.floats(&tensor.name)).transpose()?;
        let divisors = divisors.map(|divisors| divisors.to_vec1::<f32>()).transpose()?;
        let blocks = (0..sizes.block_count).map(|block| Block::load(architecture, sizes, block, &weights));
        Ok(Self {
            blocks: blocks.collect::<Result<_, _>>()?,
            normalization: Norm::load(architecture, sizes, "output_norm.weight", &weights)?,
            output,
            rotary: Rotary::new(architecture.rotary, sizes, divisors.as_deref()),
            embedding,
        })
    }

    /// Reads `tokens` after those in `cache`; returns logits of shape `[positions, vocabulary]`.
    pub(crate) fn forward(&self, tokens: &[u32], cache: &mut Cache, wanted: Logits) -> Result<Tensor, EngineError> {
        let angles = self.rotary.angles(cache.positions, tokens.len())?;
        let mask = causal_mask(cache.positions, tokens.len())?;
        let mut state = self.embedding.rows(tokens)?;
        for (index, block) in self.blocks.iter().enumerate() {
            state = block.forward(&state, &self.rotary, &angles, mask.as_ref(), cache, index)?;
        }
        cache.positions += tokens.len();
        if wanted == Logits::Last {
            state = state.narrow(0, tokens.len() - 1, 1)?;
        }
        Ok(self.output.forward(&self.normalization.forward(&state)?)?)
    }
}

/// What each of `count` new positions must not see: minus infinity for those after it. None for one position.
fn causal_mask(first_position: usize, count: usize) -> Result<Option<Tensor>, EngineError> {
    if count == 1 {
        return Ok(None);
    }
    let width = first_position + count;
    let hidden = |row: usize, column: usize| if column > first_position + row { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..count).flat_map(|row| (0..width).map(move |column| hidden(row, column))).collect();
    Ok(Some(Tensor::from_vec(values, (count, width), &Device::Cpu)?))
}

/// A normalization with its learned gain.
struct Norm {
    kind: Normalization,
    gain: Tensor,
    epsilon: f64,
}

impl Norm {
    fn load(
        architecture: &Architecture,
        sizes: &Hyperparameters,
        name: &str,
        weights: &Weights<'_>,
    ) -> Result<Self, EngineError> {
        let gain = weights.floats(name)?;
        Ok(Self { kind: architecture.normalization, gain, epsilon: sizes.normalization_epsilon })
    }

    fn forward(&self, state: &Tensor) -> candle_core::Result<Tensor> {
        match self.kind {
            Normalization::RootMeanSquare => {
                let mean_square = state.sqr()?.mean_keepdim(D::Minus1)?;
                let length = (mean_square + self.epsilon)?.sqrt()?;
                state.broadcast_div(&length)?.broadcast_mul(&self.gain)
            }
        }
    }
}

/// One layer: attention, then feed-forward, each added to the state it read.
struct Block {
    attention_norm: Norm,
    attention: Attention,
    feed_forward_norm: Norm,
    feed_forward: GatedFeedForward,
}

impl Block {
    fn load(
        architecture: &Architecture,
        sizes: &Hyperparameters,
        block: u64,
        weights: &Weights<'_>,
    ) -> Result<Self, EngineError> {
        let norm = |part: &str| Norm::load(architecture, sizes, &format!("blk.{block}.{part}.weight"), weights);
        Ok(Self {
            attention_norm: norm("attn_norm")?,
            attention: Attention::load(sizes, block, weights)?,
            feed_forward_norm: norm("ffn_norm")?,
            feed_forward: GatedFeedForward::load(architecture, block, weights)?,
        })
    }

    fn forward(
        &self,
        state: &Tensor,
        rotary: &Rotary,
        angles: &Angles,
        mask: Option<&Tensor>,
        cache: &mut Cache,
        index: usize,
    ) -> candle_core::Result<Tensor> {
        let normalized = self.attention_norm.forward(state)?;
        let state = (state + self.attention.forward(&normalized, rotary, angles, mask, cache, index)?)?;
        let normalized = self.feed_forward_norm.forward(&state)?;
        &state + self.feed_forward.forward(&normalized)?
    }
}

/// Attention in which groups of query heads share one key and value head.
struct Attention {
    query: Arc<Matrix>,
    key: Arc<Matrix>,
    value: Arc<Matrix>,
    output: Arc<Matrix>,
    heads: usize,
    key_value_heads: usize,
    head_length: usize,
}

impl Attention {
    fn load(sizes: &Hyperparameters, block: u64, weights: &Weights<'_>) -> Result<Self, EngineError> {
        let matrix = |part: &str| weights.matrix(&format!("blk.{block}.{part}.weight"));
        let size = |size: u64| usize::try_from(size).map_err(|_| EngineError::TooLarge(format!("blk.{block}")));
        Ok(Self {
            query: matrix("attn_q")?,
            key: matrix("attn_k")?,
            value: matrix("attn_v")?,
            output: matrix("attn_output")?,
            heads: size(sizes.head_count)?,
            key_value_heads: size(sizes.key_value_head_count)?,
            head_length: size(sizes.head_length)?,
        })
    }

    fn forward(
        &self,
        state: &Tensor,
        rotary: &Rotary,
        angles: &Angles,
        mask: Option<&Tensor>,
        cache: &mut Cache,
        index: usize,
    ) -> candle_core::Result<Tensor> {
        let count = state.dim(0)?;
        let query = rotary.apply(&self.split_heads(&self.query.forward(state)?, self.heads)?, angles)?;
        let key = rotary.apply(&self.split_heads(&self.key.forward(state)?, self.key_value_heads)?, angles)?;
        let value = self.split_heads(&self.value.forward(state)?, self.key_value_heads)?;
        let (keys, values) = cache.extend(index, key, value)?;
        let mixed = self.attend(&query, &keys, &values, mask)?;
        let joined = mixed.transpose(0, 1)?.contiguous()?.reshape((count, self.heads * self.head_length))?;
        self.output.forward(&joined)
    }

    /// `[positions, heads * length]` to `[heads, positions, length]`.
    fn split_heads(&self, joined: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
        joined.reshape((joined.dim(0)?, heads, self.head_length))?.transpose(0, 1)?.contiguous()
    }

    /// Mixes values by the similarity of queries and keys. The query heads of a group are
    /// stacked below each other, so that no key or value is copied for them.
    fn attend(
        &self,
        query: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        mask: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let count = query.dim(1)?;
        let seen = keys.dim(1)?;
        let group = self.heads / self.key_value_heads;
        let query = query.reshape((self.key_value_heads, group * count, self.head_length))?;
        #[expect(clippy::cast_precision_loss, reason = "a head has far fewer elements than 2^52")]
        let scale = 1.0 / (self.head_length as f64).sqrt();
        let scores = (query.matmul(&keys.t()?)? * scale)?;
        let scores = scores.reshape((self.key_value_heads, group, count, seen))?;
        let scores = mask.map_or_else(|| Ok(scores.clone()), |mask| scores.broadcast_add(mask))?;
        let shares = softmax(&scores)?.reshape((self.key_value_heads, group * count, seen))?;
        shares.matmul(values)?.reshape((self.heads, count, self.head_length))
    }
}

impl Cache {
    /// Adds the new positions of a block and returns all of them.
    fn extend(&mut self, block: usize, key: Tensor, value: Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let Some(entry) = self.blocks.get_mut(block) else {
            self.blocks.push((key.clone(), value.clone()));
            return Ok((key, value));
        };
        *entry = (Tensor::cat(&[&entry.0, &key], 1)?, Tensor::cat(&[&entry.1, &value], 1)?);
        Ok(entry.clone())
    }
}

fn softmax(scores: &Tensor) -> candle_core::Result<Tensor> {
    debug_assert_eq!(scores.dtype(), DType::F32);
    let highest = scores.max_keepdim(D::Minus1)?;
    let powers = scores.broadcast_sub(&highest)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

/// The gated feed-forward layer.
struct GatedFeedForward {
    kind: FeedForward,
    gate: Arc<Matrix>,
    up: Arc<Matrix>,
    down: Arc<Matrix>,
}

impl GatedFeedForward {
    fn load(architecture: &Architecture, block: u64, weights: &Weights<'_>) -> Result<Self, EngineError> {
        let matrix = |part: &str| weights.matrix(&format!("blk.{block}.{part}.weight"));
        Ok(Self {
            kind: architecture.feed_forward,
            gate: matrix("ffn_gate")?,
            up: matrix("ffn_up")?,
            down: matrix("ffn_down")?,
        })
    }

    fn forward(&self, state: &Tensor) -> candle_core::Result<Tensor> {
        let gate = match self.kind {
            FeedForward::GatedSilu => self.gate.forward(state)?.silu()?,
        };
        self.down.forward(&(gate * self.up.forward(state)?)?)
    }
}

#[cfg(test)]
mod tests {
    use verifier::format::gguf::read_header;
    use weighhouse_tests::gguf::{TensorType, TinyLlama};

    use super::*;

    const TOKENS: [u32; 6] = [72, 101, 108, 108, 111, 33];

    fn tiny(tensor_type: TensorType) -> Decoder {
        let bytes = TinyLlama::new().tensor_type(tensor_type).build();
        let header = read_header(&bytes).unwrap();
        let architecture = Architecture::find("llama").unwrap();
        let sizes = Hyperparameters::read(architecture, &header).unwrap();
        Decoder::load(architecture, &sizes, &header, &bytes).unwrap()
    }

    fn last_row(decoder: &Decoder, tokens: &[u32], cache: &mut Cache) -> Vec<f32> {
        let logits = decoder.forward(tokens, cache, Logits::Last).unwrap();
        logits.squeeze(0).unwrap().to_vec1().unwrap()
    }

    fn greatest_difference(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn reading_token_by_token_gives_the_logits_of_reading_at_once() {
        let decoder = tiny(TensorType::F32);
        let at_once = last_row(&decoder, &TOKENS, &mut Cache::default());
        let mut cache = Cache::default();
        let one_by_one = TOKENS.map(|token| last_row(&decoder, &[token], &mut cache));
        assert!(greatest_difference(&at_once, &one_by_one[5]) < 1e-4);
        let mut cache = Cache::default();
        last_row(&decoder, &TOKENS[..4], &mut cache);
        assert!(greatest_difference(&at_once, &last_row(&decoder, &TOKENS[4..], &mut cache)) < 1e-4);
    }

    #[test]
    fn a_position_does_not_see_those_after_it() {
        let decoder = tiny(TensorType::F32);
        let all = decoder.forward(&TOKENS, &mut Cache::default(), Logits::All).unwrap().to_vec2::<f32>().unwrap();
        let prefix = last_row(&decoder, &TOKENS[..3], &mut Cache::default());
        assert!(greatest_difference(&all[2], &prefix) < 1e-4);
    }

    #[test]
    fn order_matters_to_attention() {
        let decoder = tiny(TensorType::F32);
        let swapped = [TOKENS[1], TOKENS[0], TOKENS[2], TOKENS[3], TOKENS[4], TOKENS[5]];
        let (left, right) =
            (last_row(&decoder, &TOKENS, &mut Cache::default()), last_row(&decoder, &swapped, &mut Cache::default()));
        assert!(greatest_difference(&left, &right) > 1e-3);
    }

    #[test]
    fn encodings_of_the_same_weights_agree() {
        let exact = last_row(&tiny(TensorType::F32), &TOKENS, &mut Cache::default());
        let scale = exact.iter().copied().fold(0.0_f32, |scale, logit| scale.max(logit.abs()));
        for (tensor_type, tolerance) in [(TensorType::F16, 0.01), (TensorType::Q8_0, 0.05), (TensorType::Q4_1, 0.5)] {
            let row = last_row(&tiny(tensor_type), &TOKENS, &mut Cache::default());
            assert!(greatest_difference(&exact, &row) < scale * tolerance, "{tensor_type:?}");
        }
    }
}
