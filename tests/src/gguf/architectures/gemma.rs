//! The Gemma families: norms before and after each sublayer, and windows that alternate.

use super::super::TensorType;
use super::model::{GROUPED, LONG_HEADS, Model, Sizes, UNGROUPED, Vocabulary, attention, gains, gated, head_gains};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("gemma", "gemma", || gemma1().build()),
    case("gemma2", "gemma2", || gemma2(TWO_PERIODS).build()),
    case("gemma2-27b-scale", "gemma2", || gemma2(Sizes { blocks: 46, ..SHALLOW }).build()),
    case("gemma3", "gemma3", || gemma3(LONG_HEADS).build()),
    case("gemma3-windows", "gemma3", || windows(gemma3(Sizes { blocks: 7, ..LONG_HEADS })).build()),
    case("gemma3-scaled", "gemma3", || gemma3_scaled().build()),
    case("gemma3-untied", "gemma3", || gemma3(UNGROUPED).number("final_logit_softcapping", 2.0).untied().build()),
    case("gemma3-27b-scale", "gemma3", || windows(gemma3(Sizes { blocks: 62, ..SHALLOW })).build()),
];

pub(super) const TWO_PERIODS: Sizes = Sizes { blocks: 4, ..LONG_HEADS };

/// Narrow, for models that need many blocks: the largest of a family scale attention by their own rule, and the
/// number of blocks is what tells them from the others.
const SHALLOW: Sizes = Sizes { width: 32, heads: 2, key_value_heads: 1, head_length: 8, hidden: 32, ..GROUPED };

pub(super) const NORMS: &[&str] = &["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"];

pub(super) fn gemma(architecture: &'static str, norms: &[&str], sizes: Sizes) -> Model {
    Model::new(architecture, sizes)
        .vocabulary(Vocabulary::SentencePiece)
        .root_mean_square()
        .globals(gains(&["output_norm"], &sizes))
        .block(gains(norms, &sizes))
        .block(attention(&sizes))
        .block(gated(&sizes))
}

pub(super) fn gemma1() -> Model {
    gemma("gemma", &["attn_norm", "ffn_norm"], LONG_HEADS)
}

pub(super) fn gemma2(sizes: Sizes) -> Model {
    gemma("gemma2", NORMS, sizes)
        .length("attention.sliding_window", 8)
        .number("attn_logit_softcapping", 2.0)
        .number("final_logit_softcapping", 3.0)
}

pub(super) fn gemma3(sizes: Sizes) -> Model {
    gemma("gemma3", NORMS, sizes).number("rope.freq_base", 1_000_000.0).block(head_gains(&sizes))
}

/// The blocks that see everything rotate four times as slowly; the others do not.
pub(super) fn gemma3_scaled() -> Model {
    windows(gemma3(Sizes { blocks: 7, ..LONG_HEADS })).scaled("linear")
}

/// Five blocks of six see a window, and rotate by a base of their own.
pub(super) fn windows(model: Model) -> Model {
    model.length("attention.sliding_window", 8).number("rope.freq_base_swa", 5_000.0)
}

/// The layout of Gemma 3 270M with two thirds of its blocks.
const LARGE: Sizes = Sizes { width: 640, heads: 4, key_value_heads: 1, head_length: 256, hidden: 2048, blocks: 12 };

/// See [`super::large_vocabulary`].
pub(super) fn large_vocabulary() -> Vec<u8> {
    windows(gemma3(LARGE)).vocabulary(Vocabulary::Large).matrices(TensorType::Q8_0).build()
}
