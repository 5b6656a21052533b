//! Models that read a text in both directions and give one vector for it: the family of BERT.
//!
//! Their blocks differ from a decoder's in more than a row of its table could say: each
//! sublayer's sum is normalized, nothing is cached, and no word is predicted.

use std::sync::Arc;

use candle_core::Tensor;
use verifier::format::gguf::{Header, Value};

use super::architecture::{Activation, Gate, RotaryPairs, TensorSpecification};
use super::decoder::EngineError;
use super::layers::{Network, Projection};
use super::matrix::Matrix;
use super::operations::{Attend, Normalize, slopes};
use super::rotary::Rotary;
use super::weights::{Linear, Weights};
use crate::checkpoint::Checkpoint;

/// How one family of encoders computes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) positions: Positions,
    /// Whether the feed-forward layer has a gate.
    pub(crate) gated: bool,
    pub(crate) activation: Activation,
}

/// How an encoder knows where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    Learned,
    Rotary,
    /// Scores fall with the distance in both directions.
    Distance,
}

pub(crate) const FAMILIES: &[Family] = &[
    Family { name: "bert", positions: Positions::Learned, gated: false, activation: Activation::Gelu },
    Family { name: "nomic-bert", positions: Positions::Rotary, gated: true, activation: Activation::Silu },
    Family { name: "jina-bert-v2", positions: Positions::Distance, gated: true, activation: Activation::Gelu },
];

/// The greatest bias of attention by distance.
const DISTANCE_BIAS: f64 = 8.0;
const MAX_BLOCKS: u64 = 1_024;
const MAX_SIZE: u64 = 1 << 22;

impl Family {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.name == name)
    }
}

/// How the vectors of all tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Mean,
    First,
    Last,
}

impl Pooling {
    /// What the header asks for; none where it leaves the vectors apart.
    pub(crate) fn read(architecture: &str, header: &Header) -> Option<Self> {
        match header.get(&format!("{architecture}.pooling_type"))?.as_u64()? {
            1 => Some(Self::Mean),
            2 => Some(Self::First),
            3 => Some(Self::Last),
            _ => None,
        }
    }

    /// One vector of those of all tokens, `[tokens, width]`.
    pub(crate) fn pool(self, states: &Tensor) -> candle_core::Result<Vec<f32>> {
        let pooled = match self {
            Self::Mean => states.mean(0)?,
            Self::First => states.get(0)?,
            Self::Last => states.get(states.dim(0)?.saturating_sub(1))?,
        };
        pooled.to_vec1()
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::First => "cls",
            Self::Last => "last",
        }
    }
}

/// The numbers of one encoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) blocks: u64,
    pub(crate) width: u64,
    pub(crate) hidden: u64,
    pub(crate) heads: u64,
    pub(crate) vocabulary: u64,
    pub(crate) context: u64,
    pub(crate) epsilon: f64,
    pub(crate) rotary_base: f64,
    pub(crate) pooling: Pooling,
    /// Kinds of text that the model tells apart; a probe knows the first.
    pub(crate) kinds: u64,
    /// Whether GELU is computed with the error function.
    pub(crate) exact_gelu: bool,
}

impl Sizes {
    /// Reads the header's keys, or says which is missing or impossible.
    pub(crate) fn read(family: &Family, header: &Header) -> Result<Self, String> {
        let name = |key: &str| format!("{}.{key}", family.name);
        let size = |key: &str, limit: u64| {
            let found = header.get(&name(key)).and_then(Value::as_u64).filter(|size| (1..=limit).contains(size));
            found.ok_or_else(|| format!("the key `{}` is missing or impossible", name(key)))
        };
        let (width, heads) = (size("embedding_length", MAX_SIZE)?, size("attention.head_count", MAX_SIZE)?);
        if !width.is_multiple_of(heads) || !(width / heads).is_multiple_of(2) {
            return Err(format!("{width} elements are not those of {heads} heads"));
        }
        let epsilon = header.get(&name("attention.layer_norm_epsilon")).and_then(Value::as_f64);
        let (embedding, kinds) = (header.tensor("token_embd.weight"), header.tensor("token_types.weight"));
        Ok(Self {
            blocks: size("block_count", MAX_BLOCKS)?,
            width,
            hidden: size("feed_forward_length", MAX_SIZE)?,
            heads,
            vocabulary: embedding.and_then(|tensor| tensor.dimensions.get(1).copied()).unwrap_or(0),
            context: size("context_length", u64::from(u32::MAX))?,
            epsilon: epsilon.filter(|epsilon| *epsilon > 0.0 && epsilon.is_finite()).unwrap_or(1e-12),
            rotary_base: header.get(&name("rope.freq_base")).and_then(Value::as_f64).unwrap_or(10_000.0),
            pooling: Pooling::read(family.name, header).unwrap_or(Pooling::Mean),
            kinds: kinds.and_then(|tensor| tensor.dimensions.get(1).copied()).unwrap_or(1),
            exact_gelu: super::has_exact_gelu(header),
        })
    }

    /// The tensors that the family needs, and those that it may have.
    pub(crate) fn tensors(&self, family: &Family, has: &dyn Fn(&str) -> bool) -> Vec<TensorSpecification> {
        let (width, hidden) = (self.width, self.hidden);
        let tensor = |name: String, dimensions: Vec<u64>, required| TensorSpecification { name, dimensions, required };
        let mut all = vec![
            tensor("token_embd.weight".to_owned(), vec![width, self.vocabulary], true),
            tensor("token_types.weight".to_owned(), vec![width, self.kinds], false),
            tensor("token_embd_norm.weight".to_owned(), vec![width], true),
            tensor("token_embd_norm.bias".to_owned(), vec![width], true),
        ];
        if family.positions == Positions::Learned {
            all.push(tensor("position_embd.weight".to_owned(), vec![width, self.context], true));
        }
        for block in 0..self.blocks {
            let name = |part: &str| format!("blk.{block}.{part}");
            let fused = has(&name("attn_qkv.weight"));
            let projections: &[(&str, u64)] = if fused {
                &[("attn_qkv", 3 * width)]
            } else {
                &[("attn_q", width), ("attn_k", width), ("attn_v", width)]
            };
            for (part, outputs) in projections.iter().copied().chain([("attn_output", width)]) {
                all.push(tensor(name(&format!("{part}.weight")), vec![width, outputs], true));
                all.push(tensor(name(&format!("{part}.bias")), vec![outputs], false));
            }
            for norm in ["attn_output_norm", "layer_output_norm"] {
                all.push(tensor(name(&format!("{norm}.weight")), vec![width], true));
                all.push(tensor(name(&format!("{norm}.bias")), vec![width], true));
            }
            let separate = family.gated && has(&name("ffn_gate.weight"));
            let up = if family.gated && !separate { 2 * hidden } else { hidden };
            if separate {
                all.push(tensor(name("ffn_gate.weight"), vec![width, hidden], true));
            }
            all.push(tensor(name("ffn_up.weight"), vec![width, up], true));
            all.push(tensor(name("ffn_up.bias"), vec![up], false));
            all.push(tensor(name("ffn_down.weight"), vec![hidden, width], true));
            all.push(tensor(name("ffn_down.bias"), vec![width], false));
        }
        all
    }
}

/// A loaded encoder.
pub(crate) struct Encoder {
    embedding: Arc<Matrix>,
    /// What is added to every token: the vector of the first kind of text.
    kind: Option<Vec<f32>>,
    positions: Option<Arc<Matrix>>,
    embedding_norm: Normalize,
    blocks: Vec<Block>,
    rotary: Option<Rotary>,
    slopes: Option<Vec<f32>>,
    heads: usize,
    head_length: usize,
    pooling: Pooling,
}

struct Block {
    projection: Projection,
    output: Linear,
    attention_norm: Normalize,
    network: Network,
    output_norm: Normalize,
}

impl Encoder {
    pub(crate) fn load(family: &Family, sizes: &Sizes, checkpoint: &Checkpoint<'_>) -> Result<Self, EngineError> {
        let weights = Weights::new(checkpoint);
        let index = |size: u64| usize::try_from(size).map_err(|_| EngineError::TooLarge(size.to_string()));
        let heads = index(sizes.heads)?;
        let head_length = index(sizes.width / sizes.heads)?;
        let kinds = weights.find_floats("token_types.weight")?;
        let rotary = |base| Rotary::plain(RotaryPairs::Halves, head_length, base);
        Ok(Self {
            embedding: weights.matrix("token_embd.weight")?,
            kind: kinds.map(|kinds| kinds.into_iter().take(heads * head_length).collect()),
            positions: (family.positions == Positions::Learned)
                .then(|| weights.matrix("position_embd.weight"))
                .transpose()?,
            embedding_norm: norm(&weights, sizes, "token_embd_norm")?,
            blocks: (0..sizes.blocks)
                .map(|block| Block::load(family, sizes, &weights, block))
                .collect::<Result<_, _>>()?,
            rotary: (family.positions == Positions::Rotary).then(|| rotary(sizes.rotary_base)),
            slopes: (family.positions == Positions::Distance).then(|| slopes(DISTANCE_BIAS, heads)).flatten(),
            heads,
            head_length,
            pooling: sizes.pooling,
        })
    }

    /// The vector of a text.
    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        let mut state = self.embedding.rows(tokens)?;
        if let Some(kind) = &self.kind {
            state = state.broadcast_add(&Tensor::new(kind.as_slice(), &candle_core::Device::Cpu)?)?;
        }
        if let Some(positions) = &self.positions {
            let numbers: Vec<u32> = (0..).take(tokens.len()).collect();
            state = (state + positions.rows(&numbers)?)?;
        }
        let mut state = self.embedding_norm.apply(&state)?;
        for block in &self.blocks {
            state = self.forward(block, &state)?;
        }
        Ok(self.pooling.pool(&state)?)
    }

    fn forward(&self, block: &Block, state: &Tensor) -> candle_core::Result<Tensor> {
        let width = self.heads * self.head_length;
        let (mut query, mut key, value) = block.projection.forward(state, width, width)?;
        if let Some(rotary) = &self.rotary {
            let angles = rotary.angles(0, state.dim(0)?);
            (query, key) = (angles.apply(&query)?, angles.apply(&key)?);
        }
        #[expect(clippy::cast_precision_loss, reason = "a head has few elements")]
        let scale = (self.head_length as f32).sqrt().recip();
        let attend = Attend {
            heads: self.heads,
            key_value_heads: self.heads,
            head_length: self.head_length,
            scale,
            soft_cap: None,
            window: None,
            temperature: None,
            slopes: self.slopes.as_deref(),
            sinks: None,
            causal: false,
        };
        let attended = block.output.forward(&attend.apply(&query, &key, &value)?)?;
        let state = block.attention_norm.apply(&(state + attended)?)?;
        block.output_norm.apply(&(&state + block.network.forward(&state)?)?)
    }
}

impl Block {
    fn load(family: &Family, sizes: &Sizes, weights: &Weights<'_>, block: u64) -> Result<Self, EngineError> {
        let name = |part: &str| format!("blk.{block}.{part}");
        let gate = match (family.gated, weights.has(&name("ffn_gate.weight"))) {
            (false, _) => Gate::None,
            (true, true) => Gate::Separate,
            (true, false) => Gate::Fused,
        };
        Ok(Self {
            projection: Projection::load(weights, block)?,
            output: weights.linear(&name("attn_output"))?,
            attention_norm: norm(weights, sizes, &name("attn_output_norm"))?,
            network: Network::load(weights, block, "", gate, family.activation.exact(sizes.exact_gelu))?,
            output_norm: norm(weights, sizes, &name("layer_output_norm"))?,
        })
    }
}

fn norm(weights: &Weights<'_>, sizes: &Sizes, part: &str) -> Result<Normalize, EngineError> {
    let gain = weights.floats(&format!("{part}.weight"))?;
    let bias = weights.floats(&format!("{part}.bias"))?;
    #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
    let epsilon = sizes.epsilon as f32;
    Ok(Normalize { length: gain.len(), centered: true, epsilon, gain: Some(gain), bias: Some(bias) })
}

#[cfg(test)]
mod tests {
    use weighhouse_tests::gguf::architectures::{encoder_checkpoints, encoders};

    use super::*;
    use crate::checks::ModelFile;
    use crate::engine::architecture::Architecture;
    use crate::engine::decoder::Decoder;
    use crate::engine::hyperparameters::Hyperparameters;
    use crate::engine::test_models::file;

    /// As for decoders: llama.cpp looks GELU up in a table of half-precision numbers.
    const TOLERANCE: f32 = 0.01;

    #[derive(serde::Deserialize)]
    struct Golden {
        tokens: Vec<u32>,
        embedding: Vec<f32>,
    }

    fn embed(name: &str, family: &'static Family, checkpoint: &Checkpoint<'_>, tokens: &[u32]) -> Vec<f32> {
        let sizes = Sizes::read(family, &checkpoint.header).unwrap();
        let known = sizes.tensors(family, &|name| checkpoint.has(name));
        for tensor in &checkpoint.header.tensors {
            assert!(known.iter().any(|known| known.name == tensor.name), "{name} has {}", tensor.name);
        }
        Encoder::load(family, &sizes, checkpoint).unwrap().embed(tokens).unwrap()
    }

    fn embed_by_decoder(checkpoint: &Checkpoint<'_>, tokens: &[u32]) -> Vec<f32> {
        let architecture = Architecture::find(checkpoint.header.architecture().unwrap()).unwrap();
        let sizes = Hyperparameters::read(architecture, &checkpoint.header).unwrap();
        let decoder = Decoder::load(architecture, &sizes, &Weights::new(checkpoint), 256).unwrap();
        decoder.embedding(tokens, Pooling::read(architecture.name, &checkpoint.header).unwrap()).unwrap()
    }

    fn difference(name: &str, case: &str, files: &[ModelFile]) -> f32 {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/encoders");
        let golden: Golden = serde_json::from_slice(&fs_err::read(format!("{folder}/{case}.json")).unwrap()).unwrap();
        let checkpoint = Checkpoint::open(files).unwrap();
        let embedding = match Family::find(checkpoint.header.architecture().unwrap()) {
            Some(family) => embed(name, family, &checkpoint, &golden.tokens),
            None => embed_by_decoder(&checkpoint, &golden.tokens),
        };
        assert_eq!(embedding.len(), golden.embedding.len());
        embedding.iter().zip(&golden.embedding).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn every_family_embeds_as_llama_cpp_does() {
        for case in encoders() {
            let difference = difference(case.name, case.name, &[file("model.gguf", &(case.build)())]);
            assert!(difference < TOLERANCE, "{}: {difference}", case.name);
        }
    }

    #[test]
    fn a_folder_of_sentence_transformers_embeds_as_its_gguf_file_does() {
        for checkpoint in encoder_checkpoints() {
            let files: Vec<_> = checkpoint.files().iter().map(|(name, bytes)| file(name, bytes)).collect();
            let difference = difference(checkpoint.name, checkpoint.case, &files);
            assert!(difference < TOLERANCE, "{}: {difference}", checkpoint.name);
        }
    }

    #[test]
    fn every_listed_family_has_a_golden() {
        for family in FAMILIES {
            assert!(encoders().iter().any(|case| case.architecture == family.name), "{}", family.name);
        }
    }
}
