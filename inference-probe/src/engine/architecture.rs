//! The table of model families that the decoder can compute.
//!
//! Each row reads like the family's specification: the words are those of its paper and of
//! llama.cpp's tensor names. A family is listed only when a test compares it with a
//! reference; every other value of `general.architecture` is `unsupported`.

use super::hyperparameters::Hyperparameters;

/// How one family of models computes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// Value of `general.architecture` and prefix of the family's keys.
    pub(crate) name: &'static str,
    pub(crate) normalization: Normalization,
    pub(crate) feed_forward: FeedForward,
    pub(crate) rotary: RotaryPairs,
    /// Where the output matrix comes from when the file has none.
    pub(crate) output: OutputFallback,
}

/// What is done to a vector before each sublayer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Normalization {
    /// Division by the root mean square, then a learned gain; no mean, no bias.
    RootMeanSquare,
}

/// The sublayer after attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedForward {
    /// `down(silu(gate(x)) * up(x))`, known as SwiGLU.
    GatedSilu,
}

/// Which elements of a head are rotated together by rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RotaryPairs {
    /// Elements 2i and 2i+1. Converters permute the weights of llama models to this order.
    Adjacent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputFallback {
    /// The token embedding serves as the output matrix (tied embeddings).
    TokenEmbedding,
}

pub(crate) const ARCHITECTURES: &[Architecture] = &[
    // Llama 1 to 3, Mistral, SmolLM, SmolLM2, TinyLlama, Yi. Mixtures of experts and biases are refused by their keys and tensors.
    Architecture {
        name: "llama",
        normalization: Normalization::RootMeanSquare,
        feed_forward: FeedForward::GatedSilu,
        rotary: RotaryPairs::Adjacent,
        output: OutputFallback::TokenEmbedding,
    },
];

/// A tensor as the architecture wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpecification {
    pub(crate) name: String,
    /// Elements per dimension in GGUF order: inputs first, then outputs.
    pub(crate) dimensions: Vec<u64>,
    pub(crate) required: bool,
}

impl Architecture {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.name == name)
    }

    /// Every tensor that a file of this family may hold.
    pub(crate) fn tensors(&self, sizes: &Hyperparameters) -> Vec<TensorSpecification> {
        let OutputFallback::TokenEmbedding = self.output;
        let width = sizes.embedding_length;
        let mut tensors = vec![
            required("token_embd.weight", &[width, sizes.vocabulary_size]),
            required("output_norm.weight", &[width]),
            optional("output.weight", &[width, sizes.vocabulary_size]),
            optional("rope_freqs.weight", &[sizes.rotary_dimensions / 2]),
        ];
        tensors.extend((0..sizes.block_count).flat_map(|block| self.block_tensors(block, sizes)));
        tensors
    }

    fn block_tensors(&self, block: u64, sizes: &Hyperparameters) -> Vec<TensorSpecification> {
        let FeedForward::GatedSilu = self.feed_forward;
        let Normalization::RootMeanSquare = self.normalization;
        let (width, hidden) = (sizes.embedding_length, sizes.feed_forward_length);
        let queries = sizes.head_count * sizes.head_length;
        let keys = sizes.key_value_head_count * sizes.head_length;
        let tensor = |part: &str, dimensions: &[u64]| required(&format!("blk.{block}.{part}.weight"), dimensions);
        vec![
            tensor("attn_norm", &[width]),
            tensor("attn_q", &[width, queries]),
            tensor("attn_k", &[width, keys]),
            tensor("attn_v", &[width, keys]),
            tensor("attn_output", &[queries, width]),
            tensor("ffn_norm", &[width]),
            tensor("ffn_gate", &[width, hidden]),
            tensor("ffn_up", &[width, hidden]),
            tensor("ffn_down", &[hidden, width]),
        ]
    }
}

fn required(name: &str, dimensions: &[u64]) -> TensorSpecification {
    TensorSpecification { name: name.to_owned(), dimensions: dimensions.to_vec(), required: true }
}

fn optional(name: &str, dimensions: &[u64]) -> TensorSpecification {
    TensorSpecification { required: false, ..required(name, dimensions) }
}
