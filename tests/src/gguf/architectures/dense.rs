//! Families of one dense layout: attention, then a feed-forward layer, each after a norm.

use super::super::Value;
use super::model::{
    GROUPED, LONG_HEADS, Model, Part, Sizes, UNGROUPED, attention, attention_biases, bias, fused_attention, gain,
    gain_and_bias, gains, gated, head_gains, matrix, rotary_factors,
};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("llama", "llama", || llama(GROUPED).build()),
    case("llama-ungrouped", "llama", || llama(UNGROUPED).build()),
    case("llama-long-heads", "llama", || llama(LONG_HEADS).build()),
    case("llama-untied", "llama", || llama(GROUPED).untied().build()),
    case("llama-rotary-factors", "llama", || {
        llama(GROUPED).number("rope.freq_base", 500_000.0).globals([rotary_factors("rope_freqs", 8, 8.0)]).build()
    }),
    case("llama-linear-scaling", "llama", || scaled(llama(GROUPED), "linear").build()),
    case("llama-yarn", "llama", || yarn(llama(GROUPED)).build()),
    case("llama-biases", "llama", || llama(GROUPED).block(llama_biases(&GROUPED)).build()),
    case("llama-fused", "llama", || rms("llama", GROUPED, fused_attention(&GROUPED)).build()),
    case("qwen2", "qwen2", || qwen2(GROUPED).build()),
    case("qwen2-untied", "qwen2", || qwen2(UNGROUPED).untied().globals([bias("output", &[261])]).build()),
    case("qwen2-yarn", "qwen2", || yarn(qwen2(GROUPED)).build()),
    case("qwen3", "qwen3", || qwen3(LONG_HEADS).build()),
    case("qwen3-untied", "qwen3", || qwen3(GROUPED).untied().build()),
    case("phi3", "phi3", || phi3().untied().build()),
    case("phi3-window", "phi3", || phi3().length("attention.sliding_window", 8).untied().build()),
    case("phi3-partial-rotary", "phi3", || phi3().length("rope.dimension_count", 12).build()),
    case("phi3-long-factors", "phi3", || long_rope(16).build()),
    case("phi3-short-factors", "phi3", || long_rope(4096).build()),
    case("stablelm", "stablelm", || stablelm(GROUPED).block(gain_and_bias("ffn_norm", &GROUPED)).build()),
    case("stablelm-biases", "stablelm", || {
        let sequential = stablelm(UNGROUPED).block(gain_and_bias("ffn_norm", &UNGROUPED));
        sequential.block(attention_biases(&UNGROUPED)).build()
    }),
    case("stablelm-parallel", "stablelm", || stablelm(GROUPED).block(separate_head_gains(&GROUPED)).build()),
];

/// Norms by the root mean square, and a gated feed-forward layer.
fn rms(architecture: &'static str, sizes: Sizes, attention: Vec<Part>) -> Model {
    Model::new(architecture, sizes)
        .root_mean_square()
        .length("rope.dimension_count", sizes.head_length)
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm", "ffn_norm"], &sizes))
        .block(attention)
        .block(gated(&sizes))
}

fn llama(sizes: Sizes) -> Model {
    rms("llama", sizes, attention(&sizes))
}

fn llama_biases(sizes: &Sizes) -> Vec<Part> {
    let width = [sizes.width];
    let others = vec![
        bias("attn_output", &width),
        bias("ffn_gate", &[sizes.hidden]),
        bias("ffn_up", &[sizes.hidden]),
        bias("ffn_down", &width),
    ];
    [attention_biases(sizes), others].concat()
}

fn scaled(model: Model, kind: &str) -> Model {
    model.key("rope.scaling.type", Value::string(kind)).number("rope.scaling.factor", 4.0)
}

fn yarn(model: Model) -> Model {
    scaled(model, "yarn").length("rope.scaling.original_context_length", 64)
}

fn qwen2(sizes: Sizes) -> Model {
    rms("qwen2", sizes, attention(&sizes)).number("rope.freq_base", 1_000_000.0).block(attention_biases(&sizes))
}

fn qwen3(sizes: Sizes) -> Model {
    rms("qwen3", sizes, attention(&sizes)).number("rope.freq_base", 1_000_000.0).block(head_gains(&sizes))
}

fn phi3() -> Model {
    let sizes = GROUPED;
    Model::new("phi3", sizes)
        .root_mean_square()
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm", "ffn_norm"], &sizes))
        .block(fused_attention(&sizes))
        .block([matrix("ffn_up", &[sizes.width, 2 * sizes.hidden]), matrix("ffn_down", &[sizes.hidden, sizes.width])])
}

/// A context beyond the original one takes the long factors, any other the short ones.
fn long_rope(original_context: usize) -> Model {
    phi3()
        .length("rope.scaling.original_context_length", original_context)
        .number("rope.scaling.attn_factor", 1.19)
        .globals([rotary_factors("rope_factors_long", 8, 12.0), rotary_factors("rope_factors_short", 8, 1.5)])
}

fn stablelm(sizes: Sizes) -> Model {
    Model::new("stablelm", sizes)
        .layer_norm()
        .length("rope.dimension_count", sizes.head_length / 4)
        .globals(gain_and_bias("output_norm", &sizes))
        .untied()
        .block(gain_and_bias("attn_norm", &sizes))
        .block(attention(&sizes))
        .block(gated(&sizes))
}

/// Gains of queries and keys that differ from head to head.
fn separate_head_gains(sizes: &Sizes) -> Vec<Part> {
    vec![
        gain("attn_q_norm", &[sizes.head_length, sizes.heads]),
        gain("attn_k_norm", &[sizes.head_length, sizes.key_value_heads]),
    ]
}
