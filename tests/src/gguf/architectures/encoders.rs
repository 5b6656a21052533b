//! Families that read a text in both directions and give one vector for it.

use super::model::{
    Model, Part, Sizes, UNGROUPED, Vocabulary, attention, attention_biases, bias, fused_attention, fused_gate,
    gain_and_bias, gated, matrix, ungated, ungated_biases,
};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("bert", "bert", || bert(attention(&SIZES), Pooling::Mean).block(attention_biases(&SIZES)).build()),
    case("bert-first-token", "bert", || bert(attention(&SIZES), Pooling::First).build()),
    case("bert-fused", "bert", || {
        bert(fused_attention(&SIZES), Pooling::Mean).block([bias("attn_qkv", &[192])]).build()
    }),
    case("nomic-bert", "nomic-bert", || nomic_bert().build()),
    case("jina-bert-v2", "jina-bert-v2", || jina_bert(gated(&SIZES)).build()),
    case("jina-bert-v2-fused", "jina-bert-v2", || jina_bert(fused_gate(&SIZES)).build()),
];

const SIZES: Sizes = UNGROUPED;

/// How the vectors of all tokens become one; the numbers are the values of the key.
#[derive(Clone, Copy)]
enum Pooling {
    Mean = 1,
    First = 2,
}

fn encoder(architecture: &'static str, pooling: Pooling) -> Model {
    let model = Model::new(architecture, SIZES).vocabulary(Vocabulary::WordPiece);
    model
        .layer_norm()
        .flag("attention.causal", false)
        .length("pooling_type", pooling as usize)
        .globals([matrix("token_types", &[SIZES.width, 2])])
        .globals(gain_and_bias("token_embd_norm", &SIZES))
        .block(gain_and_bias("attn_output_norm", &SIZES))
        .block(gain_and_bias("layer_output_norm", &SIZES))
}

fn bert(attention: Vec<Part>, pooling: Pooling) -> Model {
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
