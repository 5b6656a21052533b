//! Families that read a text in both directions and give one vector for it.

use super::model::{
    LONG_HEADS, Model, Part, Sizes, UNGROUPED, Vocabulary, attention, attention_biases, bias, fused_attention,
    fused_gate, gain_and_bias, gated, head_gains, matrix, ungated, ungated_biases,
};
use super::{Case, case, dense, gemma};

pub(super) const CASES: &[Case] = &[
    case("bert", "bert", || bert(attention(&SIZES), Pooling::Mean).block(attention_biases(&SIZES)).build()),
    case("bert-first-token", "bert", || bert(attention(&SIZES), Pooling::First).build()),
    case("bert-fused", "bert", || {
        bert(fused_attention(&SIZES), Pooling::Mean).block([bias("attn_qkv", &[192])]).build()
    }),
    case("nomic-bert", "nomic-bert", || nomic_bert().build()),
    case("jina-bert-v2", "jina-bert-v2", || jina_bert(gated(&SIZES)).build()),
    case("qwen3-last-token", "qwen3", || pooled(dense::qwen3(LONG_HEADS), Pooling::Last).build()),
    case("gemma-embedding", "gemma-embedding", || gemma_embedding().build()),
    case("jina-bert-v2-fused", "jina-bert-v2", || jina_bert(fused_gate(&SIZES)).build()),
];

pub(super) const SIZES: Sizes = UNGROUPED;

/// How the vectors of all tokens become one; the numbers are the values of the key.
#[derive(Clone, Copy)]
pub(super) enum Pooling {
    Mean = 1,
    First = 2,
    Last = 3,
}

fn pooled(model: Model, pooling: Pooling) -> Model {
    model.length("pooling_type", pooling as usize)
}

fn encoder(architecture: &'static str, pooling: Pooling) -> Model {
    let model = Model::new(architecture, SIZES).vocabulary(Vocabulary::WordPiece);
    pooled(model, pooling)
        .layer_norm()
        .flag("attention.causal", false)
        .globals([matrix("token_types", &[SIZES.width, 2])])
        .globals(gain_and_bias("token_embd_norm", &SIZES))
        .block(gain_and_bias("attn_output_norm", &SIZES))
        .block(gain_and_bias("layer_output_norm", &SIZES))
}

pub(super) fn bert(attention: Vec<Part>, pooling: Pooling) -> Model {
    encoder("bert", pooling)
        .globals([matrix("position_embd", &[SIZES.width, 256])])
        .block(attention)
        .block([bias("attn_output", &[SIZES.width])])
        .block(ungated(&SIZES))
        .block(ungated_biases(&SIZES))
}

/// Rotations in place of learned positions, and a gate.
fn nomic_bert() -> Model {
    encoder("nomic-bert", Pooling::Mean)
        .number("rope.freq_base", 1_000.0)
        .block(fused_attention(&SIZES))
        .block(gated(&SIZES))
}

/// Biases that fall with the distance in place of learned positions, and a gate.
fn jina_bert(feed_forward: Vec<Part>) -> Model {
    encoder("jina-bert-v2", Pooling::Mean)
        .block(attention(&SIZES))
        .block(attention_biases(&SIZES))
        .block([bias("attn_output", &[SIZES.width])])
        .block(feed_forward)
        .block([bias("ffn_down", &[SIZES.width])])
}

/// Gemma 3 without a causal mask: windows reach half their length to either side.
fn gemma_embedding() -> Model {
    let sizes = Sizes { blocks: 7, ..LONG_HEADS };
    let model = gemma::gemma("gemma-embedding", gemma::NORMS, sizes).number("rope.freq_base", 1_000_000.0);
    pooled(gemma::windows(model), Pooling::Mean).block(head_gains(&sizes))
}
