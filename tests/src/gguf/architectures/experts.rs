//! Families whose feed-forward layers are mixtures of experts.

use super::super::TensorType;
use super::model::{
    GROUPED, LONG_HEADS, Model, Part, Sizes, UNGROUPED, attention, attention_biases, bias, gain, gains, head_gains,
    matrix, whole_gains,
};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("llama-experts", "llama", || mixture("llama", GROUPED, GROUPED.hidden).build()),
    case("qwen3moe", "qwen3moe", || qwen3moe(LONG_HEADS).build()),
    case("qwen2moe", "qwen2moe", || qwen2moe().build()),
    case("olmoe", "olmoe", || olmoe().build()),
    case("granitemoe", "granitemoe", || granitemoe().build()),
    case("granitemoe-shared", "granitemoe", || {
        let model = granitemoe().length("expert_shared_feed_forward_length", SHARED_LENGTH);
        model.block(shared_expert(&GROUPED)).build()
    }),
    case("gpt-oss", "gpt-oss", || gpt_oss(TensorType::F32, EXPERTS_USED).build()),
    // Engines round what they multiply with such weights, each in its own way: a router that leaves no
    // expert out keeps the last digit from deciding which expert it is.
    case("gpt-oss-mxfp4", "gpt-oss", || gpt_oss(TensorType::Mxfp4, EXPERTS).build()),
    case("gpt-oss-q8_0", "gpt-oss", || gpt_oss(TensorType::Q8_0, EXPERTS).build()),
];

pub(super) const EXPERTS: usize = 8;
pub(super) const EXPERTS_USED: usize = 3;
/// Width of an expert where it has a key of its own.
pub(super) const EXPERT_LENGTH: usize = 32;
/// Width of the expert that sees every token.
pub(super) const SHARED_LENGTH: usize = 48;

/// The router and the matrices of experts of width `hidden`.
fn experts(sizes: &Sizes, hidden: usize, tensor_type: TensorType) -> Vec<Part> {
    vec![
        matrix("ffn_gate_inp", &[sizes.width, EXPERTS]),
        matrix("ffn_gate_exps", &[sizes.width, hidden, EXPERTS]).of_type(tensor_type),
        matrix("ffn_up_exps", &[sizes.width, hidden, EXPERTS]).of_type(tensor_type),
        matrix("ffn_down_exps", &[hidden, sizes.width, EXPERTS]).of_type(tensor_type),
    ]
}

fn shared_expert(sizes: &Sizes) -> Vec<Part> {
    vec![
        matrix("ffn_gate_shexp", &[sizes.width, SHARED_LENGTH]),
        matrix("ffn_up_shexp", &[sizes.width, SHARED_LENGTH]),
        matrix("ffn_down_shexp", &[SHARED_LENGTH, sizes.width]),
    ]
}

pub(super) fn mixture(architecture: &'static str, sizes: Sizes, hidden: usize) -> Model {
    Model::new(architecture, sizes)
        .root_mean_square()
        .length("expert_count", EXPERTS)
        .length("expert_used_count", EXPERTS_USED)
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(&["attn_norm", "ffn_norm"], &sizes))
        .block(attention(&sizes))
        .block(experts(&sizes, hidden, TensorType::F32))
}

pub(super) fn qwen3moe(sizes: Sizes) -> Model {
    mixture("qwen3moe", sizes, EXPERT_LENGTH)
        .length("expert_feed_forward_length", EXPERT_LENGTH)
        .number("rope.freq_base", 1_000_000.0)
        .block(head_gains(&sizes))
}

pub(super) fn qwen2moe() -> Model {
    let sizes = GROUPED;
    mixture("qwen2moe", sizes, EXPERT_LENGTH)
        .length("expert_feed_forward_length", EXPERT_LENGTH)
        .length("expert_shared_feed_forward_length", SHARED_LENGTH)
        .block(attention_biases(&sizes))
        .block([matrix("ffn_gate_inp_shexp", &[sizes.width])])
        .block(shared_expert(&sizes))
        .untied()
}

pub(super) fn olmoe() -> Model {
    mixture("olmoe", UNGROUPED, UNGROUPED.hidden).block(whole_gains(&UNGROUPED)).untied()
}

fn granitemoe() -> Model {
    mixture("granitemoe", GROUPED, GROUPED.hidden)
        .number("logit_scale", 2.5)
        .number("embedding_scale", 3.0)
        .number("residual_scale", 0.6)
        .number("attention.scale", 0.4)
}

/// The layout of gpt-oss, with experts of any type; the published files have them as MXFP4.
fn gpt_oss(expert_type: TensorType, experts_used: usize) -> Model {
    let sizes = Sizes { blocks: 4, ..LONG_HEADS };
    Model::new("gpt-oss", sizes)
        .root_mean_square()
        .number("rope.freq_base", 150_000.0)
        .yarn()
        .length("attention.sliding_window", 8)
        .length("expert_count", EXPERTS)
        .length("expert_used_count", experts_used)
        .length("expert_feed_forward_length", EXPERT_LENGTH)
        .globals(gains(&["output_norm"], &sizes))
        .untied()
        .block(gains(&["attn_norm", "post_attention_norm"], &sizes))
        .block(attention(&sizes))
        .block(attention_biases(&sizes))
        .block([bias("attn_output", &[sizes.width]), gain("attn_sinks", &[sizes.heads])])
        .block(experts(&sizes, EXPERT_LENGTH, expert_type))
        .block([
            bias("ffn_gate_inp", &[EXPERTS]),
            bias("ffn_gate_exps", &[EXPERT_LENGTH, EXPERTS]),
            bias("ffn_up_exps", &[EXPERT_LENGTH, EXPERTS]),
            bias("ffn_down_exps", &[sizes.width, EXPERTS]),
        ])
}
