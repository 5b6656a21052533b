//! Families that normalize by mean and variance, many of them with both sublayers in parallel.

use super::model::{
    GROUPED, Model, Part, Sizes, UNGROUPED, attention, attention_biases, bias, fused_attention, fused_attention_biases,
    gain_and_bias, gains, gated, matrix, separate_head_gains, ungated, ungated_biases,
};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("stablelm", "stablelm", || stablelm(GROUPED).block(gain_and_bias("ffn_norm", &GROUPED)).build()),
    case("stablelm-biases", "stablelm", || {
        let sequential = stablelm(UNGROUPED).block(gain_and_bias("ffn_norm", &UNGROUPED));
        sequential.block(attention_biases(&UNGROUPED)).build()
    }),
    case("stablelm-parallel", "stablelm", || stablelm_parallel().build()),
    case("falcon", "falcon", || falcon(ONE_KEY_HEAD).build()),
    case("falcon-two-norms", "falcon", || {
        falcon(GROUPED).block(gain_and_bias("attn_norm_2", &GROUPED)).untied().build()
    }),
    case("gpt2", "gpt2", || positioned("gpt2").build()),
    case("gpt2-untied", "gpt2", || positioned("gpt2").untied().build()),
    case("gptneox", "gptneox", || gptneox(true).build()),
    case("gptneox-sequential", "gptneox", || gptneox(false).build()),
    case("starcoder2", "starcoder2", || starcoder2().build()),
    case("starcoder2-untied", "starcoder2", || starcoder2().untied().build()),
    case("starcoder", "starcoder", || {
        generative("starcoder", ONE_KEY_HEAD).globals([matrix("position_embd", &[ONE_KEY_HEAD.width, 256])]).build()
    }),
    case("codeshell", "codeshell", || starcoder2_like("codeshell").untied().build()),
    case("nemotron", "nemotron", || nemotron().build()),
    case("nemotron-biases", "nemotron", || {
        let biases = [bias("attn_output", &[GROUPED.width])];
        nemotron().block(attention_biases(&GROUPED)).block(biases).block(ungated_biases(&GROUPED)).build()
    }),
    case("orion", "orion", || orion().build()),
    case("phi2", "phi2", || phi2(attention(&UNGROUPED), attention_biases(&UNGROUPED)).build()),
    case("phi2-fused", "phi2", || phi2(fused_attention(&UNGROUPED), vec![bias("attn_qkv", &[192])]).build()),
    case("olmo", "olmo", || olmo().build()),
    case("olmo-clamped", "olmo", || olmo_clamped().build()),
    case("command-r", "command-r", || cohere("command-r", GROUPED).build()),
    case("command-r-head-norms", "command-r", || cohere("command-r", DEEP).block(separate_head_gains(&DEEP)).build()),
    case("cohere2", "cohere2", || cohere2().build()),
    case("bloom", "bloom", || bloom().build()),
    case("mpt", "mpt", || mpt().build()),
    case("mpt-clamped", "mpt", || mpt().number("attention.clamp_kqv", 0.8).untied().build()),
];

const ONE_KEY_HEAD: Sizes = Sizes { key_value_heads: 1, ..GROUPED };

/// With 64 blocks, Command R has norms for each head of queries and keys, and EXAONE 4 sliding windows.
pub(super) const DEEP: Sizes =
    Sizes { width: 32, heads: 4, key_value_heads: 2, head_length: 8, hidden: 32, blocks: 64 };

/// Heads that are no power of two: their slopes are taken from two series.
const SIX_HEADS: Sizes = Sizes { width: 96, heads: 6, key_value_heads: 6, ..GROUPED };

pub(super) fn stablelm(sizes: Sizes) -> Model {
    Model::new("stablelm", sizes)
        .layer_norm()
        .length("rope.dimension_count", sizes.head_length / 4)
        .globals(gain_and_bias("output_norm", &sizes))
        .untied()
        .block(gain_and_bias("attn_norm", &sizes))
        .block(attention(&sizes))
        .block(gated(&sizes))
}

fn falcon(sizes: Sizes) -> Model {
    Model::new("falcon", sizes)
        .layer_norm()
        .globals(gain_and_bias("output_norm", &sizes))
        .block(gain_and_bias("attn_norm", &sizes))
        .block(fused_attention(&sizes))
        .block(ungated(&sizes))
}

/// The layout of GPT-2 but for what tells positions apart: everything has a bias.
fn generative(architecture: &'static str, sizes: Sizes) -> Model {
    Model::new(architecture, sizes)
        .layer_norm()
        .globals(gain_and_bias("output_norm", &sizes))
        .block(gain_and_bias("attn_norm", &sizes))
        .block(fused_attention(&sizes))
        .block(fused_attention_biases(&sizes))
        .block(gain_and_bias("ffn_norm", &sizes))
        .block(ungated(&sizes))
        .block(ungated_biases(&sizes))
}

pub(super) fn positioned(architecture: &'static str) -> Model {
    generative(architecture, UNGROUPED).globals([matrix("position_embd", &[UNGROUPED.width, 256])])
}

pub(super) fn gptneox(parallel: bool) -> Model {
    generative("gptneox", UNGROUPED)
        .length("rope.dimension_count", UNGROUPED.head_length / 4)
        .flag("use_parallel_residual", parallel)
        .untied()
}

pub(super) fn starcoder2() -> Model {
    starcoder2_like("starcoder2")
}

fn starcoder2_like(architecture: &'static str) -> Model {
    let sizes = GROUPED;
    Model::new(architecture, sizes)
        .layer_norm()
        .globals(gain_and_bias("output_norm", &sizes))
        .block(gain_and_bias("attn_norm", &sizes))
        .block(attention(&sizes))
        .block(attention_biases(&sizes))
        .block([bias("attn_output", &[sizes.width])])
        .block(gain_and_bias("ffn_norm", &sizes))
        .block(ungated(&sizes))
        .block(ungated_biases(&sizes))
}

/// A square in place of a gate, and partly rotated heads.
fn nemotron() -> Model {
    let sizes = GROUPED;
    Model::new("nemotron", sizes)
        .layer_norm()
        .length("rope.dimension_count", sizes.head_length / 2)
        .globals(gain_and_bias("output_norm", &sizes))
        .untied()
        .block(gain_and_bias("attn_norm", &sizes))
        .block(attention(&sizes))
        .block(gain_and_bias("ffn_norm", &sizes))
        .block(ungated(&sizes))
}

fn orion() -> Model {
    let sizes = GROUPED;
    Model::new("orion", sizes)
        .layer_norm()
        .globals(gain_and_bias("output_norm", &sizes))
        .untied()
        .block(gain_and_bias("attn_norm", &sizes))
        .block(attention(&sizes))
        .block(gain_and_bias("ffn_norm", &sizes))
        .block(gated(&sizes))
}

pub(super) fn phi2(attention: Vec<Part>, biases: Vec<Part>) -> Model {
    let sizes = UNGROUPED;
    let model = Model::new("phi2", sizes).untied();
    let vocabulary = [model.vocabulary_size()];
    model
        .layer_norm()
        .length("rope.dimension_count", sizes.head_length / 2)
        .globals(gain_and_bias("output_norm", &sizes))
        .globals([bias("output", &vocabulary)])
        .block(gain_and_bias("attn_norm", &sizes))
        .block(attention)
        .block(biases)
        .block([bias("attn_output", &[sizes.width])])
        .block(ungated(&sizes))
        .block(ungated_biases(&sizes))
}

/// Norms without gains: there are no tensors for them.
pub(super) fn olmo() -> Model {
    Model::new("olmo", GROUPED).layer_norm().block(attention(&GROUPED)).block(gated(&GROUPED))
}

pub(super) fn cohere(architecture: &'static str, sizes: Sizes) -> Model {
    Model::new(architecture, sizes)
        .layer_norm()
        .number("logit_scale", 0.6)
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm"], &sizes))
        .block(attention(&sizes))
        .block(gated(&sizes))
}

fn bloom() -> Model {
    generative("bloom", SIX_HEADS).globals(gain_and_bias("token_embd_norm", &SIX_HEADS))
}

/// Biases that fall with the distance tell positions apart; no other biases, and no biases of norms.
fn mpt() -> Model {
    let sizes = UNGROUPED;
    Model::new("mpt", sizes)
        .layer_norm()
        .number("attention.max_alibi_bias", 8.0)
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm", "ffn_norm"], &sizes))
        .block(fused_attention(&sizes))
        .block(ungated(&sizes))
}

/// Queries, keys and values between -0.8 and 0.8.
pub(super) fn olmo_clamped() -> Model {
    olmo().number("attention.clamp_kqv", 0.8).untied()
}

/// One norm for both sublayers.
pub(super) fn stablelm_parallel() -> Model {
    stablelm(GROUPED).block(separate_head_gains(&GROUPED))
}

/// Three blocks of four see a window and positions; the others see all and no positions.
pub(super) fn cohere2() -> Model {
    cohere("cohere2", Sizes { blocks: 5, ..GROUPED }).length("attention.sliding_window", 8)
}
