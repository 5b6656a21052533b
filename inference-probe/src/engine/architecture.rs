//! The table of model families that the decoder can compute.
//!
//! Each row reads like the family's specification: the words are those of its paper and of
//! llama.cpp's tensor names. A family is listed only when a committed golden of llama.cpp is
//! reproduced; every other value of `general.architecture` is `unsupported`.

mod table;
mod tensors;

pub(crate) use table::ARCHITECTURES;
pub(crate) use tensors::TensorSpecification;

/// How one family of models computes.
#[derive(Debug, PartialEq)]
pub(crate) struct Architecture {
    /// Value of `general.architecture` and prefix of the family's keys.
    pub(crate) name: &'static str,
    pub(crate) normalization: Normalization,
    pub(crate) norms: Norms,
    pub(crate) residual: Residual,
    pub(crate) positions: Positions,
    pub(crate) query_key_norm: QueryKeyNorm,
    pub(crate) window: Window,
    pub(crate) attention_scale: AttentionScale,
    /// Whether queries grow with the logarithm of the position, by the key `attention.temperature_scale`.
    pub(crate) attention_temperature: bool,
    /// Whether queries, keys and values are kept within the key `attention.clamp_kqv`.
    pub(crate) clamped_projection: bool,
    /// One learned logit for each head that takes attention away from the tokens.
    pub(crate) attention_sinks: bool,
    pub(crate) attention_output_bias: Presence,
    /// Scores and logits are kept below the caps that the keys give.
    pub(crate) soft_caps: SoftCaps,
    pub(crate) feed_forward: FeedForward,
    pub(crate) feed_forward_bias: Presence,
    pub(crate) experts: Option<Experts>,
    pub(crate) embedding_scale: EmbeddingScale,
    /// Whether the embedding is normalized before the first block.
    pub(crate) embedding_norm: bool,
    /// What multiplies that which each sublayer adds.
    pub(crate) residual_scale: ResidualScale,
    pub(crate) logit_scale: LogitScale,
    pub(crate) output: Output,
    pub(crate) output_bias: Presence,
}

/// Whether files of the family hold a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Never,
    Sometimes,
    Always,
}

/// What a normalization does to a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Normalization {
    /// Division by the root mean square, then a learned gain; no mean, no bias.
    RootMeanSquare,
    /// The mean is taken away first.
    Layer(Learned),
}

/// What layer normalization learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    Nothing,
    Gain,
    GainAndBias,
    /// The bias only in some files.
    GainAndPerhapsBias,
}

/// Where the normalizations of a block stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norms {
    /// Before attention and before the feed-forward layer.
    Before,
    /// As [`Norms::Before`], but the second one is called `post_attention_norm`.
    BeforeUnderOtherName,
    /// After each sublayer, before its result is added.
    After,
    /// Before and after each sublayer.
    BeforeAndAfter,
    /// One before the block, which both sublayers read; a second one, where there is one, is
    /// attention's own (`attn_norm_2`).
    Shared,
    /// Before attention, and before the feed-forward layer where there is one; without it, both read the first.
    SharedOrBefore,
}

/// What the feed-forward layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Residual {
    /// The sum of the block's input and attention's result.
    Sequential,
    /// The block's input, like attention.
    Parallel,
    /// Parallel in blocks without a second norm.
    ParallelWithoutSecondNorm,
    /// As the key `use_parallel_residual` says.
    ByKey,
}

/// How the model knows where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    Rotary {
        pairs: RotaryPairs,
        layers: RotaryLayers,
    },
    /// A learned vector for each position is added to the embedding.
    Learned,
    /// Scores fall with the distance (`ALiBi`, <https://arxiv.org/abs/2108.12409>).
    Distance(DistanceBias),
}

/// The greatest bias of attention by distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DistanceBias {
    Eight,
    /// The key `attention.max_alibi_bias`, or none.
    Key,
}

/// Which elements of a head are rotated together by rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RotaryPairs {
    /// Elements 2i and 2i+1. Converters permute the weights of llama models to this order.
    Adjacent,
    /// Elements i and i + n/2 of the n that rotate.
    Halves,
}

/// The blocks that rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RotaryLayers {
    All,
    /// All but each fourth.
    NotEachFourth,
    /// Those with a sliding window.
    Windowed,
    /// The same, and all in a model without windows.
    WindowedWhereAny,
}

/// Normalization of queries and keys before they are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryKeyNorm {
    None,
    /// Each head by itself, with one gain for all heads.
    EachHead,
    /// Each head by itself, with a gain of its own, in the files that have it.
    EachHeadWithOwnGain,
    /// All heads together.
    AllHeads,
}

/// Which blocks see only the last `attention.sliding_window` positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// None does, whatever the key says.
    Never,
    /// All but the last of each `period`, where the key `attention.sliding_window_pattern` does not say otherwise.
    AllButLastOf { period: u64, local_rotation: LocalRotation },
    /// The same in the model with this many blocks, over 4,096 positions where the key does not say
    /// otherwise; none in the others.
    AllButLastOfInModelOf { blocks: u64, period: u64 },
}

/// The rotation in blocks with a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalRotation {
    /// That of the other blocks.
    Same,
    /// Unscaled.
    Unscaled,
    /// Unscaled, with the base `rope.freq_base_swa` or 10,000.
    OwnBase,
}

/// What the product of a query and a key is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttentionScale {
    /// The inverse root of a head's length.
    HeadLength,
    /// The key `attention.scale`, or else [`AttentionScale::HeadLength`].
    Key,
    /// The inverse root of width per head in the model with this many blocks, of a head's length in the others.
    WidthPerHeadInModelOf { blocks: u64 },
}

/// Bounds of the form `cap * tanh(x / cap)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SoftCaps {
    None,
    /// Of attention scores and of logits, unless keys give others.
    AttentionAndLogits {
        attention: f64,
        logits: f64,
    },
    /// Of logits, where the key is there.
    LogitsByKey,
}

/// The sublayer after attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeedForward {
    pub(crate) gate: Gate,
    pub(crate) activation: Activation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// `down(activation(up(x)))`.
    None,
    /// `down(activation(gate(x)) * up(x))`.
    Separate,
    /// The same with both matrices in `ffn_up`, the gate first.
    Fused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Silu,
    /// In its approximation by the hyperbolic tangent.
    Gelu,
    /// With the error function.
    GeluExact,
    /// The square of what is positive.
    SquaredRelu,
    /// `g * sigmoid(1.702 g) * (up + 1)` with `g` at most 7 and `up` within -7 to 7.
    ClampedSwish,
}

/// A mixture of experts in place of the feed-forward layer, where `expert_count` is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Experts {
    /// Whether the family has models without experts.
    pub(crate) presence: Presence,
    pub(crate) routing: Routing,
    pub(crate) activation: Activation,
    pub(crate) bias: Presence,
    pub(crate) shared: SharedExpert,
}

/// How much each chosen expert counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Its share of the softmax over all experts.
    Softmax,
    /// The same, divided by the sum over the chosen ones.
    NormalizedSoftmax,
    /// Its share of the softmax over the chosen ones.
    SoftmaxOfChosen,
}

/// An expert that every token goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedExpert {
    None,
    /// Multiplied by the sigmoid of a learned gate.
    Gated,
    /// Added as it is, in the files that have it.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum EmbeddingScale {
    One,
    SquareRootOfWidth,
    /// The key `embedding_scale`, or this number where it is absent.
    KeyOr(f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ResidualScale {
    One,
    /// The key `residual_scale`.
    Key,
    /// The same, or this number over the root of the number of blocks where it is absent.
    KeyOrDepth(f64),
}

/// What is done to logits with the key `logit_scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LogitScale {
    None,
    Multiply,
    Divide,
    /// As [`LogitScale::Divide`], with this number over the width where the key is absent.
    DivideOrWidth(f64),
}

/// Where the output matrix comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Own,
    /// The output matrix serves as the token embedding in files without one.
    OwnOrBoth,
    /// The token embedding serves as the output matrix.
    Tied,
    OwnOrTied,
}

impl Normalization {
    /// Which files have a gain, and which a bias.
    pub(crate) const fn learned(self) -> (Presence, Presence) {
        match self {
            Self::RootMeanSquare | Self::Layer(Learned::Gain) => (Presence::Always, Presence::Never),
            Self::Layer(Learned::Nothing) => (Presence::Never, Presence::Never),
            Self::Layer(Learned::GainAndBias) => (Presence::Always, Presence::Always),
            Self::Layer(Learned::GainAndPerhapsBias) => (Presence::Always, Presence::Sometimes),
        }
    }
}

impl Architecture {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.name == name)
    }

    pub(crate) const fn rotary_pairs(&self) -> Option<RotaryPairs> {
        match self.positions {
            Positions::Rotary { pairs, .. } => Some(pairs),
            Positions::Learned | Positions::Distance(_) => None,
        }
    }

    /// Whether the block with this number rotates queries and keys.
    pub(crate) const fn rotates(&self, block: u64, windowed: bool, any_windowed: bool) -> bool {
        match self.positions {
            Positions::Rotary { layers: RotaryLayers::All, .. } => true,
            Positions::Rotary { layers: RotaryLayers::NotEachFourth, .. } => !(block + 1).is_multiple_of(4),
            Positions::Rotary { layers: RotaryLayers::Windowed, .. } => windowed,
            Positions::Rotary { layers: RotaryLayers::WindowedWhereAny, .. } => windowed || !any_windowed,
            Positions::Learned | Positions::Distance(_) => false,
        }
    }
}
