//! The rows.

use super::{
    Activation, Architecture, AttentionScale, DistanceBias, EmbeddingScale, Experts, FeedForward, Gate, Learned,
    LocalRotation, LogitScale, Normalization, Norms, Output, Positions, Presence, QueryKeyNorm, Residual,
    ResidualScale, RotaryLayers, RotaryPairs, Routing, SharedExpert, SoftCaps, Window,
};

const ADJACENT: Positions = Positions::Rotary { pairs: RotaryPairs::Adjacent, layers: RotaryLayers::All };
const HALVES: Positions = Positions::Rotary { pairs: RotaryPairs::Halves, layers: RotaryLayers::All };
const LAYER_NORM: Normalization = Normalization::Layer(Learned::GainAndBias);
const SWIGLU: FeedForward = FeedForward { gate: Gate::Separate, activation: Activation::Silu };
const GEGLU: FeedForward = FeedForward { gate: Gate::Separate, activation: Activation::Gelu };
const PLAIN_GELU: FeedForward = FeedForward { gate: Gate::None, activation: Activation::Gelu };
const PLAIN_SQUARE: FeedForward = FeedForward { gate: Gate::None, activation: Activation::SquaredRelu };

const EXPERTS: Experts = Experts {
    presence: Presence::Always,
    routing: Routing::NormalizedSoftmax,
    activation: Activation::Silu,
    bias: Presence::Never,
    shared: SharedExpert::None,
};

/// Llama 1 to 3, Mistral, Mixtral, `SmolLM`, `SmolLM2`, `TinyLlama`, Yi; what most others differ from in a few lines.
const LLAMA: Architecture = Architecture {
    name: "llama",
    normalization: Normalization::RootMeanSquare,
    norms: Norms::Before,
    residual: Residual::Sequential,
    positions: ADJACENT,
    query_key_norm: QueryKeyNorm::None,
    window: Window::Never,
    attention_scale: AttentionScale::HeadLength,
    attention_temperature: false,
    clamped_projection: false,
    attention_sinks: false,
    attention_output_bias: Presence::Sometimes,
    soft_caps: SoftCaps::None,
    feed_forward: SWIGLU,
    feed_forward_bias: Presence::Sometimes,
    experts: Some(Experts { presence: Presence::Sometimes, ..EXPERTS }),
    embedding_scale: EmbeddingScale::One,
    embedding_norm: false,
    residual_scale: ResidualScale::One,
    logit_scale: LogitScale::None,
    output: Output::OwnOrTied,
    output_bias: Presence::Never,
};

/// A llama without experts and without biases beside those of queries, keys and values.
const PLAIN: Architecture =
    Architecture { attention_output_bias: Presence::Never, feed_forward_bias: Presence::Never, experts: None, ..LLAMA };

const GEMMA: Architecture = Architecture {
    name: "gemma",
    positions: HALVES,
    feed_forward: GEGLU,
    embedding_scale: EmbeddingScale::SquareRootOfWidth,
    output: Output::Tied,
    ..PLAIN
};

/// Biases everywhere, no gate.
const BIASED: Architecture = Architecture {
    normalization: LAYER_NORM,
    positions: HALVES,
    attention_output_bias: Presence::Always,
    feed_forward: PLAIN_GELU,
    feed_forward_bias: Presence::Always,
    ..PLAIN
};

const COMMAND_R: Architecture = Architecture {
    name: "command-r",
    normalization: Normalization::Layer(Learned::Gain),
    norms: Norms::Shared,
    residual: Residual::Parallel,
    query_key_norm: QueryKeyNorm::EachHeadWithOwnGain,
    logit_scale: LogitScale::Multiply,
    output: Output::Tied,
    ..PLAIN
};

const GRANITE: Architecture = Architecture {
    name: "granite",
    attention_scale: AttentionScale::Key,
    embedding_scale: EmbeddingScale::KeyOr(1.0),
    residual_scale: ResidualScale::Key,
    logit_scale: LogitScale::Divide,
    experts: None,
    ..LLAMA
};

pub(crate) const ARCHITECTURES: &[Architecture] = &[
    LLAMA,
    Architecture { name: "qwen2", positions: HALVES, ..PLAIN },
    Architecture { name: "qwen3", positions: HALVES, query_key_norm: QueryKeyNorm::EachHead, ..PLAIN },
    GEMMA,
    Architecture {
        name: "gemma2",
        norms: Norms::BeforeAndAfter,
        window: Window::AllButLastOf { period: 2, local_rotation: LocalRotation::Same },
        attention_scale: AttentionScale::WidthPerHeadInModelOf { blocks: 46 },
        soft_caps: SoftCaps::AttentionAndLogits { attention: 50.0, logits: 30.0 },
        ..GEMMA
    },
    Architecture {
        name: "gemma3",
        norms: Norms::BeforeAndAfter,
        query_key_norm: QueryKeyNorm::EachHead,
        window: Window::AllButLastOf { period: 6, local_rotation: LocalRotation::OwnBase },
        attention_scale: AttentionScale::WidthPerHeadInModelOf { blocks: 62 },
        soft_caps: SoftCaps::LogitsByKey,
        output: Output::OwnOrTied,
        ..GEMMA
    },
    // Phi-3, Phi-3.5 and Phi-4, mini models with two sets of rotary factors among them.
    Architecture {
        name: "phi3",
        positions: HALVES,
        feed_forward: FeedForward { gate: Gate::Fused, activation: Activation::Silu },
        ..PLAIN
    },
    Architecture {
        name: "stablelm",
        normalization: LAYER_NORM,
        norms: Norms::SharedOrBefore,
        residual: Residual::ParallelWithoutSecondNorm,
        positions: HALVES,
        query_key_norm: QueryKeyNorm::EachHeadWithOwnGain,
        output: Output::Own,
        ..PLAIN
    },
    Architecture {
        name: "qwen2moe",
        positions: HALVES,
        experts: Some(Experts { routing: Routing::Softmax, shared: SharedExpert::Gated, ..EXPERTS }),
        ..PLAIN
    },
    Architecture {
        name: "qwen3moe",
        positions: HALVES,
        query_key_norm: QueryKeyNorm::EachHead,
        experts: Some(EXPERTS),
        ..PLAIN
    },
    Architecture {
        name: "gpt-oss",
        norms: Norms::BeforeUnderOtherName,
        positions: HALVES,
        window: Window::AllButLastOf { period: 2, local_rotation: LocalRotation::Same },
        attention_sinks: true,
        attention_output_bias: Presence::Always,
        experts: Some(Experts {
            routing: Routing::SoftmaxOfChosen,
            activation: Activation::ClampedSwish,
            bias: Presence::Always,
            ..EXPERTS
        }),
        output: Output::Own,
        ..PLAIN
    },
    Architecture {
        name: "falcon",
        norms: Norms::Shared,
        residual: Residual::Parallel,
        attention_output_bias: Presence::Never,
        feed_forward_bias: Presence::Never,
        ..BIASED
    },
    Architecture { name: "gpt2", positions: Positions::Learned, ..BIASED },
    Architecture { name: "bloom", positions: Positions::Distance(DistanceBias::Eight), embedding_norm: true, ..BIASED },
    Architecture {
        name: "mpt",
        normalization: Normalization::Layer(Learned::GainAndPerhapsBias),
        positions: Positions::Distance(DistanceBias::Key),
        clamped_projection: true,
        attention_output_bias: Presence::Sometimes,
        feed_forward_bias: Presence::Sometimes,
        ..BIASED
    },
    Architecture { name: "gptneox", residual: Residual::ByKey, output: Output::Own, ..BIASED },
    Architecture { name: "starcoder", positions: Positions::Learned, ..BIASED },
    Architecture { name: "starcoder2", ..BIASED },
    Architecture { name: "codeshell", output: Output::OwnOrBoth, ..BIASED },
    Architecture {
        name: "nemotron",
        attention_output_bias: Presence::Sometimes,
        feed_forward: PLAIN_SQUARE,
        feed_forward_bias: Presence::Sometimes,
        output: Output::Own,
        ..BIASED
    },
    Architecture { name: "orion", normalization: LAYER_NORM, positions: HALVES, output: Output::Own, ..PLAIN },
    Architecture {
        name: "phi2",
        norms: Norms::Shared,
        residual: Residual::Parallel,
        output: Output::Own,
        output_bias: Presence::Always,
        ..BIASED
    },
    GRANITE,
    Architecture { name: "granitemoe", experts: Some(Experts { shared: SharedExpert::Plain, ..EXPERTS }), ..GRANITE },
    Architecture {
        name: "minicpm",
        attention_scale: AttentionScale::HeadLength,
        embedding_scale: EmbeddingScale::KeyOr(12.0),
        residual_scale: ResidualScale::KeyOrDepth(1.4),
        logit_scale: LogitScale::DivideOrWidth(256.0),
        ..GRANITE
    },
    Architecture {
        name: "olmo2",
        norms: Norms::After,
        positions: HALVES,
        query_key_norm: QueryKeyNorm::AllHeads,
        window: Window::AllButLastOf { period: 4, local_rotation: LocalRotation::Unscaled },
        output: Output::Own,
        ..PLAIN
    },
    Architecture {
        name: "olmoe",
        positions: HALVES,
        query_key_norm: QueryKeyNorm::AllHeads,
        experts: Some(Experts { routing: Routing::Softmax, ..EXPERTS }),
        output: Output::Own,
        ..PLAIN
    },
    Architecture {
        name: "glm4",
        norms: Norms::BeforeAndAfter,
        feed_forward: FeedForward { gate: Gate::Fused, activation: Activation::Silu },
        ..PLAIN
    },
    Architecture {
        name: "smollm3",
        positions: Positions::Rotary { pairs: RotaryPairs::Adjacent, layers: RotaryLayers::NotEachFourth },
        ..PLAIN
    },
    COMMAND_R,
    Architecture {
        name: "cohere2",
        positions: Positions::Rotary { pairs: RotaryPairs::Adjacent, layers: RotaryLayers::Windowed },
        query_key_norm: QueryKeyNorm::None,
        window: Window::AllButLastOf { period: 4, local_rotation: LocalRotation::Same },
        ..COMMAND_R
    },
    Architecture { name: "internlm2", attention_output_bias: Presence::Sometimes, output: Output::Own, ..PLAIN },
    Architecture { name: "exaone", positions: HALVES, ..PLAIN },
    Architecture {
        name: "exaone4",
        norms: Norms::After,
        positions: Positions::Rotary { pairs: RotaryPairs::Halves, layers: RotaryLayers::WindowedWhereAny },
        query_key_norm: QueryKeyNorm::EachHead,
        window: Window::AllButLastOfInModelOf { blocks: 64, period: 4 },
        ..PLAIN
    },
    Architecture { name: "arcee", feed_forward: PLAIN_SQUARE, ..PLAIN },
    Architecture { name: "ernie4_5", ..PLAIN },
    Architecture { name: "xverse", output: Output::Own, ..PLAIN },
    Architecture { name: "seed_oss", norms: Norms::BeforeUnderOtherName, positions: HALVES, ..PLAIN },
    // Ministral 3 and what is derived from it.
    Architecture { name: "mistral3", attention_temperature: true, ..LLAMA },
    Architecture {
        name: "olmo",
        normalization: Normalization::Layer(Learned::Nothing),
        clamped_projection: true,
        ..PLAIN
    },
];
