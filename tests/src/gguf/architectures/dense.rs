//! Families of one dense layout: attention, then a feed-forward layer, each after a norm.

use super::layer_norm::DEEP;
use super::model::{
    GROUPED, LONG_HEADS, Model, Part, Sizes, UNGROUPED, Vocabulary, attention, attention_biases, bias, fused_attention,
    fused_gate, gains, gated, head_gains, rotary_factors, shorten_mantissas, ungated, whole_gains,
};
use super::{Case, adapters, case};

pub(super) const CASES: &[Case] = &[
    case("llama", "llama", || llama(GROUPED).build()),
    case("llama-ungrouped", "llama", || llama(UNGROUPED).build()),
    case("llama-long-heads", "llama", || llama(LONG_HEADS).build()),
    case("llama-untied", "llama", || llama(GROUPED).untied().build()),
    case("llama-rotary-factors", "llama", || llama3().build()),
    case("llama-short-mantissas", "llama", || short_mantissas().build()),
    case("llama-adapted", "llama", || adapters::adapted().build()),
    case("llama-linear-scaling", "llama", || llama(GROUPED).scaled("linear").build()),
    case("llama-yarn", "llama", || llama(GROUPED).yarn().build()),
    case("llama-biases", "llama", || llama(GROUPED).block(llama_biases(&GROUPED)).build()),
    case("llama-fused", "llama", || rms("llama", GROUPED, fused_attention(&GROUPED)).build()),
    case("qwen2", "qwen2", || qwen2(GROUPED).build()),
    case("qwen2-untied", "qwen2", || qwen2(UNGROUPED).untied().globals([bias("output", &[261])]).build()),
    case("qwen2-yarn", "qwen2", || qwen2(GROUPED).yarn().build()),
    case("qwen3", "qwen3", || qwen3(LONG_HEADS).build()),
    case("qwen3-untied", "qwen3", || qwen3(GROUPED).untied().build()),
    case("phi3", "phi3", || phi3().untied().build()),
    case("phi3-window", "phi3", || phi3().length("attention.sliding_window", 8).untied().build()),
    case("phi3-partial-rotary", "phi3", || phi3().length("rope.dimension_count", 12).build()),
    case("phi3-long-factors", "phi3", || long_rope(16).build()),
    case("phi3-short-factors", "phi3", || long_rope(4096).build()),
    case("granite", "granite", || granite().build()),
    case("granite-no-rotation", "granite", || granite().flag("rope.scaling.finetuned", false).untied().build()),
    case("olmo2", "olmo2", || olmo2(GROUPED).build()),
    case("olmo2-windows", "olmo2", || {
        olmo2(Sizes { blocks: 5, ..GROUPED }).length("attention.sliding_window", 8).yarn().build()
    }),
    case("glm4", "glm4", || glm4().build()),
    case("glm4-biases", "glm4", || glm4().block(attention_biases(&GROUPED)).untied().build()),
    case("smollm3", "smollm3", || smollm3().build()),
    case("internlm2", "internlm2", || rms("internlm2", GROUPED, attention(&GROUPED)).untied().build()),
    case("exaone", "exaone", || {
        rms("exaone", GROUPED, attention(&GROUPED)).globals([rotary_factors("rope_freqs", &LLAMA3_FACTORS)]).build()
    }),
    case("mistral3", "mistral3", || mistral3().build()),
    case("ernie4_5", "ernie4_5", || rms("ernie4_5", LONG_HEADS, attention(&LONG_HEADS)).build()),
    case("xverse", "xverse", || rms("xverse", UNGROUPED, attention(&UNGROUPED)).untied().build()),
    case("minicpm", "minicpm", || rms("minicpm", GROUPED, attention(&GROUPED)).build()),
    case("minicpm-scales", "minicpm", || scaled("minicpm").build()),
    case("seed_oss", "seed_oss", || seed_oss().build()),
    case("exaone4", "exaone4", || exaone4(GROUPED).build()),
    case("exaone4-windows", "exaone4", || exaone4(DEEP).length("attention.sliding_window", 6).build()),
    case("arcee", "arcee", || arcee().build()),
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

pub(super) fn llama(sizes: Sizes) -> Model {
    rms("llama", sizes, attention(&sizes))
}

/// Weights that lose nothing as bfloat16.
pub(super) fn short_mantissas() -> Model {
    llama(GROUPED).untied().with_change(shorten_mantissas)
}

/// What Llama 3.1 stretches frequencies of 8 pairs by, for a base of 500,000, a factor of 8, low and high frequency
/// factors of 1 and 4, and an original context of 64: nothing where a wave is short, all where it is long.
const LLAMA3_FACTORS: [f32; 8] = [1.0, 2.442_259_4, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0];

pub(super) fn llama3() -> Model {
    llama(GROUPED).number("rope.freq_base", 500_000.0).globals([rotary_factors("rope_freqs", &LLAMA3_FACTORS)])
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

pub(super) fn qwen2(sizes: Sizes) -> Model {
    rms("qwen2", sizes, attention(&sizes)).number("rope.freq_base", 1_000_000.0).block(attention_biases(&sizes))
}

pub(super) fn qwen3(sizes: Sizes) -> Model {
    rms("qwen3", sizes, attention(&sizes)).number("rope.freq_base", 1_000_000.0).block(head_gains(&sizes))
}

fn phi3() -> Model {
    let sizes = GROUPED;
    Model::new("phi3", sizes)
        .root_mean_square()
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm", "ffn_norm"], &sizes))
        .block(fused_attention(&sizes))
        .block(fused_gate(&sizes))
}

pub(super) const LONG_FACTORS: [f32; 8] = [1.0, 2.5, 4.0, 5.5, 7.0, 8.5, 10.0, 12.0];
pub(super) const SHORT_FACTORS: [f32; 8] = [1.0, 1.05, 1.1, 1.2, 1.25, 1.3, 1.4, 1.5];

/// A context beyond the original one takes the long factors, any other the short ones. Phi scales attention by
/// the square root of 1 + ln(context / original context) / ln(original context), which for 256 and 16 is that of 2.
pub(super) fn long_rope(original_context: usize) -> Model {
    phi3()
        .length("rope.scaling.original_context_length", original_context)
        .number("rope.scaling.attn_factor", std::f32::consts::SQRT_2)
        .globals([rotary_factors("rope_factors_long", &LONG_FACTORS)])
        .globals([rotary_factors("rope_factors_short", &SHORT_FACTORS)])
}

/// Scales of embedding, residual stream and logits that are keys of the file.
fn scaled(architecture: &'static str) -> Model {
    rms(architecture, GROUPED, attention(&GROUPED))
        .number("logit_scale", 2.5)
        .number("embedding_scale", 3.0)
        .number("residual_scale", 0.6)
}

/// The same, and a scale of attention.
pub(super) fn granite() -> Model {
    scaled("granite").number("attention.scale", 0.4)
}

/// Qwen 2 with heads of any length; the norm before the feed-forward layer is named after attention.
fn seed_oss() -> Model {
    let sizes = LONG_HEADS;
    Model::new("seed_oss", sizes)
        .root_mean_square()
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm", "post_attention_norm"], &sizes))
        .block(attention(&sizes))
        .block(attention_biases(&sizes))
        .block(gated(&sizes))
}

/// Norms after the sublayers only, and of each head.
fn exaone4(sizes: Sizes) -> Model {
    Model::new("exaone4", sizes)
        .root_mean_square()
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["post_attention_norm", "post_ffw_norm"], &sizes))
        .block(attention(&sizes))
        .block(head_gains(&sizes))
        .block(gated(&sizes))
}

/// A square in place of a gate.
fn arcee() -> Model {
    let sizes = LONG_HEADS;
    Model::new("arcee", sizes)
        .root_mean_square()
        .globals(gains(&["output_norm"], &sizes))
        .globals([rotary_factors("rope_freqs", &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0, 8.0, 8.0])])
        .block(gains(&["attn_norm", "ffn_norm"], &sizes))
        .block(attention(&sizes))
        .block(ungated(&sizes))
}

/// Norms after the sublayers only.
pub(super) fn olmo2(sizes: Sizes) -> Model {
    Model::new("olmo2", sizes)
        .root_mean_square()
        .globals(gains(&["output_norm"], &sizes))
        .untied()
        .block(gains(&["post_attention_norm", "post_ffw_norm"], &sizes))
        .block(attention(&sizes))
        .block(whole_gains(&sizes))
        .block(gated(&sizes))
}

pub(super) fn glm4() -> Model {
    let sizes = GROUPED;
    Model::new("glm4", sizes)
        .root_mean_square()
        .length("rope.dimension_count", sizes.head_length / 2)
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"], &sizes))
        .block(attention(&sizes))
        .block(fused_gate(&sizes))
}

/// Queries grow with the position.
fn mistral3() -> Model {
    rms("mistral3", LONG_HEADS, attention(&LONG_HEADS))
        .scaled("yarn")
        .length("rope.scaling.original_context_length", 16)
        .number("rope.scaling.yarn_beta_fast", 1.0)
        .number("rope.scaling.yarn_beta_slow", 0.5)
        .number("rope.scaling.yarn_log_multiplier", 0.7)
        .number("attention.temperature_scale", 0.3)
        .untied()
}

/// Every fourth block sees no positions.
pub(super) fn smollm3() -> Model {
    let sizes = Sizes { blocks: 5, ..GROUPED };
    rms("smollm3", sizes, attention(&sizes))
}

/// The smallest model, for its vocabulary.
pub(super) fn byte_pairs(splitting: &'static str) -> Model {
    let sizes = Sizes { width: 32, heads: 2, key_value_heads: 2, hidden: 32, blocks: 1, ..GROUPED };
    llama(sizes).vocabulary(Vocabulary::BytePairs(splitting))
}
