//! A model as a list of tensors with random weights.
//!
//! Weights are scaled so that every feature shows in the logits: attention prefers some
//! tokens, gains differ from 1, and biases are as large as what they are added to.

use super::super::vocabulary::{self, BYTE_PAIRS_SIZE, SENTENCE_PIECE_SIZE, VOCABULARY_SIZE, WORD_PIECE_SIZE};
use super::super::{Builder, Tensor, TensorType, Value, pair, u32_value};
use crate::random::Random;

/// The lengths of the axes of one model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) key_value_heads: usize,
    pub(super) head_length: usize,
    pub(super) hidden: usize,
    pub(super) blocks: usize,
}

impl Sizes {
    pub(super) const fn queries(&self) -> usize {
        self.heads * self.head_length
    }

    pub(super) const fn keys(&self) -> usize {
        self.key_value_heads * self.head_length
    }
}

/// Two query heads share one head of keys and values.
pub(super) const GROUPED: Sizes =
    Sizes { width: 64, heads: 4, key_value_heads: 2, head_length: 16, hidden: 96, blocks: 3 };

/// Each query head has its own keys and values.
pub(super) const UNGROUPED: Sizes = Sizes { key_value_heads: 4, ..GROUPED };

/// Heads longer than the width divided by their number.
pub(super) const LONG_HEADS: Sizes = Sizes { head_length: 24, ..GROUPED };

/// What the numbers of a tensor are.
#[derive(Debug, Clone)]
enum Content {
    /// 1 give or take 0.3.
    Gain,
    /// Up to 0.4 on both sides of 0.
    Bias,
    /// As large as keeps the length of what it multiplies, times this number.
    Matrix(f32),
    /// These numbers.
    Given(Vec<f32>),
}

/// One tensor: of a block or of the whole model.
#[derive(Debug, Clone)]
pub(super) struct Part {
    name: String,
    dimensions: Vec<usize>,
    content: Content,
    /// None stands for the model's type of matrices, or F32 for anything else.
    tensor_type: Option<TensorType>,
}

fn part(name: String, dimensions: &[usize], content: Content) -> Part {
    Part { name, dimensions: dimensions.to_vec(), content, tensor_type: None }
}

/// The gain of a norm.
pub(super) fn gain(name: &str, dimensions: &[usize]) -> Part {
    part(format!("{name}.weight"), dimensions, Content::Gain)
}

pub(super) fn bias(name: &str, dimensions: &[usize]) -> Part {
    part(format!("{name}.bias"), dimensions, Content::Bias)
}

/// A matrix, inputs first; of several experts where there is a third number.
pub(super) fn matrix(name: &str, dimensions: &[usize]) -> Part {
    let sharpened = ["attn_q", "attn_k", "attn_qkv", "ffn_gate_inp", "token_embd", "position_embd", "token_types"];
    let factor = if sharpened.contains(&name) { 2.0 } else { 1.0 };
    part(format!("{name}.weight"), dimensions, Content::Matrix(factor))
}

/// Divisors of rotary frequencies, one for each pair.
pub(super) fn rotary_factors(name: &str, factors: &[f32]) -> Part {
    part(format!("{name}.weight"), &[factors.len()], Content::Given(factors.to_vec()))
}

impl Part {
    pub(super) const fn of_type(mut self, tensor_type: TensorType) -> Self {
        self.tensor_type = Some(tensor_type);
        self
    }

    fn tensor(&self, name: &str, matrix_type: TensorType, random: &mut Random) -> Tensor {
        let natural_type = if matches!(self.content, Content::Matrix(_)) { matrix_type } else { TensorType::F32 };
        let tensor_type = self.tensor_type.unwrap_or(natural_type);
        let dimensions: Vec<u64> = self.dimensions.iter().map(|length| *length as u64).collect();
        Tensor::new(name, &dimensions, tensor_type.id(), self.data(tensor_type, random))
    }

    /// Encoded row by row, so that large tensors never exist as F32.
    fn data(&self, tensor_type: TensorType, random: &mut Random) -> Vec<u8> {
        let (row, count) = (self.dimensions[0], self.dimensions.iter().product());
        let mut data = Vec::new();
        for start in (0..count).step_by(row) {
            let values: Vec<f32> = (start..start + row).map(|index| self.value(index, random)).collect();
            data.extend(tensor_type.encode(&values));
        }
        data
    }

    #[expect(clippy::cast_precision_loss, reason = "axes are short")]
    fn value(&self, index: usize, random: &mut Random) -> f32 {
        let inputs = self.dimensions[0] as f32;
        match &self.content {
            Content::Gain => 1.0 + random.weight(0.3),
            Content::Bias => random.weight(0.4),
            Content::Matrix(factor) => random.weight(factor * (3.0 / inputs).sqrt()),
            Content::Given(values) => values[index],
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Vocabulary {
    ByteLevel,
    /// Byte pairs, with the name of the manner in which texts are split.
    BytePairs(&'static str),
    SentencePiece,
    WordPiece,
    /// Sentence pieces, as many as the largest of real models have.
    Large,
}

impl Vocabulary {
    const fn size(self) -> usize {
        match self {
            Self::ByteLevel => VOCABULARY_SIZE,
            Self::BytePairs(_) => BYTE_PAIRS_SIZE,
            Self::SentencePiece => SENTENCE_PIECE_SIZE,
            Self::WordPiece => WORD_PIECE_SIZE,
            Self::Large => 1 << 18,
        }
    }

    fn metadata(self) -> Vec<(Vec<u8>, Value)> {
        match self {
            Self::ByteLevel => vocabulary::byte_level(self.size()),
            Self::BytePairs(splitting) => vocabulary::byte_pairs(splitting),
            Self::WordPiece => vocabulary::word_piece(),
            Self::SentencePiece | Self::Large => vocabulary::sentence_piece(self.size()),
        }
    }
}

/// A model in the making.
#[derive(Debug, Clone)]
pub(super) struct Model {
    architecture: &'static str,
    pub(super) sizes: Sizes,
    vocabulary: Vocabulary,
    matrix_type: TensorType,
    /// What is done to the tensors last.
    change: Option<fn(&mut [Tensor])>,
    metadata: Vec<(Vec<u8>, Value)>,
    globals: Vec<Part>,
    block: Vec<Part>,
}

impl Model {
    /// A model with a token embedding and without blocks' tensors.
    pub(super) fn new(architecture: &'static str, sizes: Sizes) -> Self {
        let model = Self {
            architecture,
            sizes,
            vocabulary: Vocabulary::ByteLevel,
            matrix_type: TensorType::F32,
            change: None,
            metadata: Vec::new(),
            globals: Vec::new(),
            block: Vec::new(),
        };
        let lengths = [
            ("block_count", sizes.blocks),
            ("context_length", 256),
            ("embedding_length", sizes.width),
            ("feed_forward_length", sizes.hidden),
            ("attention.head_count", sizes.heads),
            ("attention.head_count_kv", sizes.key_value_heads),
        ];
        let model = lengths.into_iter().fold(model, |model, (key, length)| model.length(key, length));
        if sizes.head_length * sizes.heads == sizes.width {
            return model;
        }
        model.length("attention.key_length", sizes.head_length).length("attention.value_length", sizes.head_length)
    }

    pub(super) const fn vocabulary(mut self, vocabulary: Vocabulary) -> Self {
        self.vocabulary = vocabulary;
        self
    }

    /// The type of matrices that name none of their own.
    pub(super) const fn matrices(mut self, tensor_type: TensorType) -> Self {
        self.matrix_type = tensor_type;
        self
    }

    /// Changes the tensors after all of them have been made.
    pub(super) const fn with_change(mut self, change: fn(&mut [Tensor])) -> Self {
        self.change = Some(change);
        self
    }

    /// Sets a key of the architecture.
    pub(super) fn key(mut self, key: &str, value: Value) -> Self {
        self.metadata.push(pair(&format!("{}.{key}", self.architecture), value));
        self
    }

    pub(super) fn length(self, key: &str, length: usize) -> Self {
        self.key(key, u32_value(length))
    }

    pub(super) fn number(self, key: &str, number: f32) -> Self {
        self.key(key, Value::F32(number))
    }

    pub(super) fn flag(self, key: &str, flag: bool) -> Self {
        self.key(key, Value::Bool(flag))
    }

    /// Rotary frequencies of a context 4 times as long as the original one.
    pub(super) fn scaled(self, kind: &str) -> Self {
        self.key("rope.scaling.type", Value::string(kind)).number("rope.scaling.factor", 4.0)
    }

    /// Scaling that leaves fast rotations as they are and slows slow ones.
    pub(super) fn yarn(self) -> Self {
        self.scaled("yarn").length("rope.scaling.original_context_length", 64)
    }

    /// Normalization by the root mean square.
    pub(super) fn root_mean_square(self) -> Self {
        self.number("attention.layer_norm_rms_epsilon", 1e-5)
    }

    /// Normalization by mean and variance.
    pub(super) fn layer_norm(self) -> Self {
        self.number("attention.layer_norm_epsilon", 1e-5)
    }

    /// Tensors that exist once.
    pub(super) fn globals(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.globals.extend(parts);
        self
    }

    /// Tensors of each block.
    pub(super) fn block(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.block.extend(parts);
        self
    }

    /// An output matrix of its own, where the embedding would serve otherwise.
    pub(super) fn untied(self) -> Self {
        let dimensions = [self.sizes.width, self.vocabulary_size()];
        self.globals([matrix("output", &dimensions)])
    }

    pub(super) const fn vocabulary_kind(&self) -> Vocabulary {
        self.vocabulary
    }

    pub(super) const fn vocabulary_size(&self) -> usize {
        self.vocabulary.size()
    }

    pub(super) fn build(self) -> Vec<u8> {
        self.builder().build()
    }

    pub(super) fn builder(self) -> Builder {
        let mut builder = Builder::new();
        builder.metadata = vec![
            pair("general.architecture", Value::string(self.architecture)),
            pair("general.type", Value::string("model")),
            // llama.cpp treats some families' vocabularies by rules of their own, which it knows by this name.
            pair("general.name", Value::string("Synthetic")),
        ];
        builder.tensors = self.tensors();
        builder.metadata.extend(self.metadata);
        builder.metadata.extend(self.vocabulary.metadata());
        builder
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut random = Random::new(1);
        let embedding = matrix("token_embd", &[self.sizes.width, self.vocabulary_size()]);
        let globals = [embedding].into_iter().chain(self.globals.iter().cloned());
        let mut tensors: Vec<_> = globals.map(|part| part.tensor(&part.name, self.matrix_type, &mut random)).collect();
        for block in 0..self.sizes.blocks {
            let name = |part: &Part| format!("blk.{block}.{}", part.name);
            tensors.extend(self.block.iter().map(|part| part.tensor(&name(part), self.matrix_type, &mut random)));
        }
        if let Some(change) = self.change {
            change(&mut tensors);
        }
        tensors
    }
}

/// Cuts F32 values to what a bfloat16 holds.
pub(super) fn shorten_mantissas(tensors: &mut [Tensor]) {
    for value in tensors.iter_mut().flat_map(|tensor| tensor.data.chunks_exact_mut(4)) {
        value[..2].fill(0);
    }
}

/// The matrices of attention, one for each of queries, keys and values.
pub(super) fn attention(sizes: &Sizes) -> Vec<Part> {
    let [queries, keys] = [sizes.queries(), sizes.keys()];
    vec![
        matrix("attn_q", &[sizes.width, queries]),
        matrix("attn_k", &[sizes.width, keys]),
        matrix("attn_v", &[sizes.width, keys]),
        matrix("attn_output", &[queries, sizes.width]),
    ]
}

/// The matrices of attention, with one for queries, keys and values together.
pub(super) fn fused_attention(sizes: &Sizes) -> Vec<Part> {
    vec![
        matrix("attn_qkv", &[sizes.width, sizes.queries() + 2 * sizes.keys()]),
        matrix("attn_output", &[sizes.queries(), sizes.width]),
    ]
}

/// Biases of queries, keys and values.
pub(super) fn attention_biases(sizes: &Sizes) -> Vec<Part> {
    vec![bias("attn_q", &[sizes.queries()]), bias("attn_k", &[sizes.keys()]), bias("attn_v", &[sizes.keys()])]
}

/// The matrices of a feed-forward layer with a gate.
pub(super) fn gated(sizes: &Sizes) -> Vec<Part> {
    [vec![matrix("ffn_gate", &[sizes.width, sizes.hidden])], ungated(sizes)].concat()
}

/// One matrix for the gate and what it lets through, in this order.
pub(super) fn fused_gate(sizes: &Sizes) -> Vec<Part> {
    vec![matrix("ffn_up", &[sizes.width, 2 * sizes.hidden]), matrix("ffn_down", &[sizes.hidden, sizes.width])]
}

/// The matrices of a feed-forward layer without a gate.
pub(super) fn ungated(sizes: &Sizes) -> Vec<Part> {
    vec![matrix("ffn_up", &[sizes.width, sizes.hidden]), matrix("ffn_down", &[sizes.hidden, sizes.width])]
}

/// Gain and bias of a norm over the width.
pub(super) fn gain_and_bias(name: &str, sizes: &Sizes) -> Vec<Part> {
    vec![gain(name, &[sizes.width]), bias(name, &[sizes.width])]
}

/// Gains of norms over the width.
pub(super) fn gains(names: &[&str], sizes: &Sizes) -> Vec<Part> {
    names.iter().map(|name| gain(name, &[sizes.width])).collect()
}

/// Biases of a feed-forward layer without a gate.
pub(super) fn ungated_biases(sizes: &Sizes) -> Vec<Part> {
    vec![bias("ffn_up", &[sizes.hidden]), bias("ffn_down", &[sizes.width])]
}

/// Biases of queries, keys and values together, and of attention's output.
pub(super) fn fused_attention_biases(sizes: &Sizes) -> Vec<Part> {
    vec![bias("attn_qkv", &[sizes.queries() + 2 * sizes.keys()]), bias("attn_output", &[sizes.width])]
}

/// Gains of queries and keys that differ from head to head.
pub(super) fn separate_head_gains(sizes: &Sizes) -> Vec<Part> {
    vec![
        gain("attn_q_norm", &[sizes.head_length, sizes.heads]),
        gain("attn_k_norm", &[sizes.head_length, sizes.key_value_heads]),
    ]
}

/// Gains over all queries and over all keys, before they are cut into heads.
pub(super) fn whole_gains(sizes: &Sizes) -> Vec<Part> {
    vec![gain("attn_q_norm", &[sizes.queries()]), gain("attn_k_norm", &[sizes.keys()])]
}

/// Gains over each head of queries and of keys, the same for all heads.
pub(super) fn head_gains(sizes: &Sizes) -> Vec<Part> {
    vec![gain("attn_q_norm", &[sizes.head_length]), gain("attn_k_norm", &[sizes.head_length])]
}
