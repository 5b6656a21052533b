//! BERT as `sentence-transformers` stores it.

use super::super::Tensor;
use super::super::vocabulary::word_piece_text;
use super::checkpoints::Checkpoint;
use super::encoders::{self, Pooling};
use super::model::{Sizes, attention, attention_biases};
use super::stored::{File, block_part, decoded, file};
use crate::safetensors;

/// Every checkpoint of a model that embeds a text; [`Checkpoint::case`] names one of
/// [`super::encoders()`].
pub fn encoder_checkpoints() -> Vec<Checkpoint> {
    vec![
        Checkpoint { name: "bert", case: "bert", build: || files(Pooling::Mean, true) },
        Checkpoint { name: "bert-first-token", case: "bert-first-token", build: || files(Pooling::First, false) },
    ]
}

/// Names of tensors, GGUF's first.
const NAMES: [(&str, &str); 13] = [
    ("token_embd.weight", "embeddings.word_embeddings.weight"),
    ("position_embd.weight", "embeddings.position_embeddings.weight"),
    ("token_types.weight", "embeddings.token_type_embeddings.weight"),
    ("token_embd_norm.weight", "embeddings.LayerNorm.weight"),
    ("token_embd_norm.bias", "embeddings.LayerNorm.bias"),
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

fn files(pooling: Pooling, biases: bool) -> Vec<File> {
    let sizes = encoders::SIZES;
    let model = encoders::bert(attention(&sizes), pooling);
    let model = if biases { model.block(attention_biases(&sizes)) } else { model };
    let mut tensors: Vec<safetensors::Tensor> = model.builder().tensors.iter().filter_map(stored).collect();
    if !biases {
        tensors.extend(zero_biases(&sizes));
    }
    vec![
        ("config.json".to_owned(), config(&sizes).into_bytes()),
        ("model.safetensors".to_owned(), file(&tensors)),
        ("vocab.txt".to_owned(), word_piece_text().into_bytes()),
        ("modules.json".to_owned(), MODULES.into()),
        ("1_Pooling/config.json".to_owned(), pooling_config(&sizes, pooling).into_bytes()),
    ]
}

const MODULES: &str = r#"[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},{"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"}]"#;

fn stored(tensor: &Tensor) -> Option<safetensors::Tensor> {
    let gguf = String::from_utf8_lossy(&tensor.name).into_owned();
    let find = |wanted: &str| NAMES.iter().find(|(name, _)| *name == wanted).map(|(_, name)| (*name).to_owned());
    let name = match block_part(&gguf) {
        Some((block, part, kind)) => format!("encoder.layer.{block}.{}.{kind}", find(part)?),
        None => find(&gguf)?,
    };
    let shape: Vec<u64> = tensor.dimensions.iter().rev().copied().collect();
    Some(safetensors::Tensor::f32(&name, &shape, &decoded(tensor)))
}

/// `transformers` has biases of queries, keys and values always.
fn zero_biases(sizes: &Sizes) -> Vec<safetensors::Tensor> {
    let zeros = vec![0.0; sizes.width];
    let names = ["query", "key", "value"];
    let named = |block: usize, name: &str| format!("encoder.layer.{block}.attention.self.{name}.bias");
    let blocks = (0..sizes.blocks).flat_map(|block| names.map(|name| named(block, name)));
    blocks.map(|name| safetensors::Tensor::f32(&name, &[sizes.width as u64], &zeros)).collect()
}

/// BERT itself was published with the exact form of GELU; llama.cpp computes the tanh form for
/// every BERT, so the golden is of a model that says so.
fn config(sizes: &Sizes) -> String {
    format!(
        r#"{{"architectures":["BertModel"],"model_type":"bert","hidden_act":"gelu_pytorch_tanh","vocab_size":300,"hidden_size":{},"intermediate_size":{},"num_hidden_layers":{},"num_attention_heads":{},"max_position_embeddings":256,"type_vocab_size":2,"layer_norm_eps":1e-05,"position_embedding_type":"absolute","pad_token_id":0,"torch_dtype":"float32"}}"#,
        sizes.width, sizes.hidden, sizes.blocks, sizes.heads
    )
}

fn pooling_config(sizes: &Sizes, pooling: Pooling) -> String {
    let [first, mean] = [matches!(pooling, Pooling::First), matches!(pooling, Pooling::Mean)];
    format!(
        r#"{{"word_embedding_dimension":{},"pooling_mode_cls_token":{first},"pooling_mode_mean_tokens":{mean},"pooling_mode_max_tokens":false,"pooling_mode_mean_sqrt_len_tokens":false}}"#,
        sizes.width
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_of_the_model_has_a_name_in_the_checkpoint() {
        let sizes = encoders::SIZES;
        let model = encoders::bert(attention(&sizes), Pooling::Mean).block(attention_biases(&sizes)).builder();
        for tensor in &model.tensors {
            assert!(stored(tensor).is_some(), "{}", String::from_utf8_lossy(&tensor.name));
        }
    }
}
