//! The decoder: embedding, blocks of attention and feed-forward, output.

mod attention;
mod block;
mod feed_forward;

use std::io;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::architecture::{Architecture, Normalization, Output, Presence, Window};
use super::hyperparameters::Hyperparameters;
use super::matrix::Matrix;
use super::operations::{Normalize, Rotate};
use super::rotary::Rotary;
use super::weights::{Linear, Weights};
use attention::KeyValues;
use block::Block;

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

/// What every part of a model is made from.
#[derive(Clone, Copy)]
struct Plan<'a> {
    architecture: &'static Architecture,
    sizes: &'a Hyperparameters,
    weights: &'a Weights<'a>,
    /// Most positions that will be read.
    context: u64,
}

/// A loaded model.
pub(crate) struct Decoder {
    embedding: Arc<Matrix>,
    /// One vector for each position, for models that learn them.
    positions: Option<Arc<Matrix>>,
    embedding_scale: f64,
    embedding_norm: Option<Normalize>,
    blocks: Vec<Block>,
    normalization: Normalize,
    output: Linear,
    logit_scale: f64,
    logit_soft_cap: Option<f64>,
    rotary: Option<Rotary>,
    /// In blocks with a sliding window, where it is another one.
    local_rotary: Option<Rotary>,
}

/// Keys and values of the positions seen so far, one entry for each block.
#[derive(Default)]
pub(crate) struct Cache {
    blocks: Vec<KeyValues>,
    positions: usize,
}

/// The rotations of the positions that are read together.
struct Angles {
    global: Option<Arc<Rotate>>,
    local: Option<Arc<Rotate>>,
}

impl Decoder {
    /// Loads the weights for texts of up to `context` tokens. L1 has checked presence and shape of
    /// every tensor.
    pub(crate) fn load(
        architecture: &'static Architecture,
        sizes: &Hyperparameters,
        weights: &Weights<'_>,
        context: u64,
    ) -> Result<Self, EngineError> {
        let plan = Plan { architecture, sizes, weights, context };
        let has_embedding = weights.has("token_embd.weight") || architecture.output != Output::OwnOrBoth;
        let embedding = weights.matrix(if has_embedding { "token_embd.weight" } else { "output.weight" })?;
        let blocks = (0..sizes.block_count).map(|block| Block::load(plan, block));
        let (rotary, local_rotary) = plan.rotations()?;
        Ok(Self {
            blocks: blocks.collect::<Result<_, _>>()?,
            positions: weights
                .has("position_embd.weight")
                .then(|| weights.matrix("position_embd.weight"))
                .transpose()?,
            embedding_scale: sizes.embedding_scale,
            embedding_norm: architecture.embedding_norm.then(|| plan.norm("token_embd_norm")).transpose()?,
            normalization: plan.norm("output_norm")?,
            output: if weights.has("output.weight") {
                weights.linear("output")?
            } else {
                Linear { matrix: Arc::clone(&embedding), bias: None, change: None }
            },
            logit_scale: sizes.logit_scale,
            logit_soft_cap: sizes.logit_soft_cap,
            rotary,
            local_rotary,
            embedding,
        })
    }

    /// Reads `tokens` after those in `cache`; gives states of shape `[tokens, width]`, from which
    /// [`Decoder::logits`] makes predictions.
    pub(crate) fn forward(&self, tokens: &[u32], cache: &mut Cache) -> Result<Tensor, EngineError> {
        let first = cache.positions;
        let angles = |rotary: &Rotary| rotary.angles(first, tokens.len());
        let global = self.rotary.as_ref().map(angles);
        let local = self.local_rotary.as_ref().map(angles).or_else(|| global.clone());
        let angles = Angles { global, local };
        cache.blocks.resize_with(self.blocks.len(), KeyValues::default);
        let mut state = self.embed(tokens, first)?;
        for (block, seen) in self.blocks.iter().zip(&mut cache.blocks) {
            state = block.forward(&state, &angles, seen)?;
        }
        cache.positions += tokens.len();
        Ok(state)
    }

    /// What comes after each of `states`: `[states, vocabulary]`.
    pub(crate) fn logits(&self, states: &Tensor) -> Result<Tensor, EngineError> {
        let mut logits = self.output.forward(&self.normalization.apply(states)?)?;
        #[expect(clippy::float_cmp, reason = "one is what a model without the key has")]
        if self.logit_scale != 1.0 {
            logits = (logits * self.logit_scale)?;
        }
        if let Some(cap) = self.logit_soft_cap {
            logits = ((logits * (1.0 / cap))?.tanh()? * cap)?;
        }
        Ok(logits)
    }

    fn embed(&self, tokens: &[u32], first_position: usize) -> Result<Tensor, EngineError> {
        let mut state = self.embedding.rows(tokens)?;
        #[expect(clippy::float_cmp, reason = "one is what a model without a scale has")]
        if self.embedding_scale != 1.0 {
            state = (state * self.embedding_scale)?;
        }
        if let Some(norm) = &self.embedding_norm {
            state = norm.apply(&state)?;
        }
        let Some(positions) = &self.positions else { return Ok(state) };
        let numbers = (first_position..first_position + tokens.len()).map(u32::try_from);
        let numbers: Vec<u32> = numbers.collect::<Result<_, _>>().map_err(candle_core::Error::wrap)?;
        Ok((state + positions.rows(&numbers)?)?)
    }
}

impl Plan<'_> {
    /// The normalization over the width of the model that is called `part`.
    fn norm(&self, part: &str) -> Result<Normalize, EngineError> {
        let (gain, bias) = self.architecture.normalization.learned();
        let floats = |kind: &str| self.weights.find_floats(&format!("{part}.{kind}"));
        let gain = if gain == Presence::Never { None } else { floats("weight")? };
        let bias = if bias == Presence::Never { None } else { floats("bias")? };
        Ok(self.norm_of(index(self.sizes.embedding_length)?, gain, bias))
    }

    /// A normalization of runs of `length` elements.
    fn norm_of(&self, length: usize, gain: Option<Vec<f32>>, bias: Option<Vec<f32>>) -> Normalize {
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
        let epsilon = self.sizes.normalization_epsilon as f32;
        let centered = matches!(self.architecture.normalization, Normalization::Layer(_));
        Normalize { length, centered, epsilon, gain, bias }
    }

    /// The rotation of most blocks and, where it is another one, that of blocks with a sliding window.
    fn rotations(&self) -> Result<(Option<Rotary>, Option<Rotary>), EngineError> {
        let pairs = self.architecture.rotary_pairs().filter(|_| !self.sizes.rotary.is_off);
        let Some(pairs) = pairs else { return Ok((None, None)) };
        let mut divisors = self.weights.find_floats("rope_freqs.weight")?;
        if divisors.is_none() {
            let is_long = self.context > self.sizes.rotary.original_context;
            let factors = if is_long { "rope_factors_long.weight" } else { "rope_factors_short.weight" };
            divisors = self.weights.find_floats(factors)?;
        }
        let local = match self.architecture.window {
            Window::AllButLastOf { local_rotation, .. } => Rotary::local(pairs, self.sizes, local_rotation),
            Window::Never | Window::AllButLastOfInModelOf { .. } => None,
        };
        Ok((Some(Rotary::new(pairs, self.sizes, divisors.as_deref())), local))
    }
}

/// A size as an index, for a tensor that is in memory.
fn index(size: u64) -> Result<usize, EngineError> {
    usize::try_from(size).map_err(|_| EngineError::TooLarge(size.to_string()))
}

/// An empty tensor to grow, of rows of `width` elements.
fn rows(count: usize, width: usize) -> candle_core::Result<Tensor> {
    Tensor::zeros((count, width), candle_core::DType::F32, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use weighhouse_tests::gguf::{TensorType, TinyLlama};

    use super::*;
    use crate::engine::test_models::Loaded;

    const TOKENS: [u32; 6] = [72, 101, 108, 108, 111, 33];

    fn tiny(tensor_type: TensorType) -> Loaded {
        Loaded::new(&TinyLlama::new().tensor_type(tensor_type).build())
    }

    fn greatest_difference(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn reading_token_by_token_gives_the_logits_of_reading_at_once() {
        let model = tiny(TensorType::F32);
        let at_once = model.last_logits(&TOKENS, &mut Cache::default());
        let mut cache = Cache::default();
        let one_by_one = TOKENS.map(|token| model.last_logits(&[token], &mut cache));
        assert!(greatest_difference(&at_once, &one_by_one[5]) < 1e-4);
        let mut cache = Cache::default();
        model.last_logits(&TOKENS[..4], &mut cache);
        assert!(greatest_difference(&at_once, &model.last_logits(&TOKENS[4..], &mut cache)) < 1e-4);
    }

    #[test]
    fn a_cache_that_has_to_grow_keeps_what_it_holds() {
        let model = tiny(TensorType::F32);
        let long: Vec<u32> = (0..300).map(|position| position * 7 % 256).collect();
        let at_once = model.last_logits(&long, &mut Cache::default());
        let mut cache = Cache::default();
        let in_pieces: Vec<_> = long.chunks(50).map(|piece| model.last_logits(piece, &mut cache)).collect();
        assert!(greatest_difference(&at_once, in_pieces.last().unwrap()) < 1e-3);
    }

    #[test]
    fn a_position_does_not_see_those_after_it() {
        let model = tiny(TensorType::F32);
        let all = model.all_logits(&TOKENS);
        let prefix = model.last_logits(&TOKENS[..3], &mut Cache::default());
        assert!(greatest_difference(&all[2], &prefix) < 1e-4);
    }

    #[test]
    fn order_matters_to_attention() {
        let model = tiny(TensorType::F32);
        let swapped = [TOKENS[1], TOKENS[0], TOKENS[2], TOKENS[3], TOKENS[4], TOKENS[5]];
        let logits = |tokens: &[u32]| model.last_logits(tokens, &mut Cache::default());
        assert!(greatest_difference(&logits(&TOKENS), &logits(&swapped)) > 1e-3);
    }

    #[test]
    fn encodings_of_the_same_weights_agree() {
        let exact = tiny(TensorType::F32).last_logits(&TOKENS, &mut Cache::default());
        let scale = exact.iter().copied().fold(0.0_f32, |scale, logit| scale.max(logit.abs()));
        for (tensor_type, tolerance) in [(TensorType::F16, 0.01), (TensorType::Q8_0, 0.05), (TensorType::Q4_1, 0.5)] {
            let row = tiny(tensor_type).last_logits(&TOKENS, &mut Cache::default());
            assert!(greatest_difference(&exact, &row) < scale * tolerance, "{tensor_type:?}");
        }
    }
}
