//! The same models as Hugging Face's libraries store them: safetensors with a configuration.
//!
//! The golden of the GGUF file is the golden of the checkpoint too, so that what converters do
//! (names, the order of rotated elements, gains without their 1, factors from formulas) is
//! tested without a converter.

use std::fmt::Write;

use super::super::vocabulary::byte_level_tokenizer;
use super::super::{Builder, Tensor};
use super::model::{GROUPED, LONG_HEADS, Model, Sizes, Vocabulary};
use super::{dense, experts, gemma};
use crate::safetensors;

/// A folder that `transformers` would load, and the golden that it must reproduce.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint {
    pub name: &'static str,
    /// The name of the [`super::Case`] whose golden holds for these files.
    pub case: &'static str,
    pub(super) build: fn() -> Vec<File>,
}

/// A file's name and bytes.
pub type File = (String, Vec<u8>);

impl Checkpoint {
    /// `config.json`, the weights, their index where there are several files of them, and the
    /// vocabulary where it is not one of sentence pieces.
    pub fn files(&self) -> Vec<File> {
        (self.build)()
    }
}

/// Every checkpoint.
pub fn checkpoints() -> Vec<Checkpoint> {
    CHECKPOINTS.to_vec()
}

const CHECKPOINTS: &[Checkpoint] = &[
    checkpoint("llama", "llama", || LLAMA.files(dense::llama(GROUPED), "", ElementType::F32)),
    checkpoint("llama-shards", "llama", || {
        Layout { shards: 2, ..LLAMA }.files(dense::llama(GROUPED), "", ElementType::F32)
    }),
    checkpoint("llama3", "llama-rotary-factors", || LLAMA.files(dense::llama3(), LLAMA3_CONFIG, ElementType::F32)),
    checkpoint("mistral-long-heads", "llama-long-heads", || {
        Layout { model_type: "mistral", ..LLAMA }.files(dense::llama(LONG_HEADS), "", ElementType::F32)
    }),
    checkpoint("llama-bf16", "llama-short-mantissas", || LLAMA.files(dense::short_mantissas(), "", ElementType::BF16)),
    checkpoint("llama-f16", "llama-short-mantissas", || LLAMA.files(dense::short_mantissas(), "", ElementType::F16)),
    checkpoint("qwen2", "qwen2", || QWEN2.files(dense::qwen2(GROUPED), "", ElementType::F32)),
    checkpoint("qwen3", "qwen3", || {
        Layout { model_type: "qwen3", ..QWEN2 }.files(dense::qwen3(LONG_HEADS), "", ElementType::F32)
    }),
    checkpoint("gemma2", "gemma2", || GEMMA2.files(gemma::gemma2(gemma::TWO_PERIODS), GEMMA2_CONFIG, ElementType::F32)),
    checkpoint("gemma3", "gemma3-scaled", || {
        Layout { model_type: "gemma3_text", ..GEMMA2 }.files(gemma::gemma3_scaled(), GEMMA3_CONFIG, ElementType::F32)
    }),
    checkpoint("phi3-long-factors", "phi3-long-factors", || {
        PHI3.files(dense::long_rope(16), &phi3_config(), ElementType::F32)
    }),
    checkpoint("mixtral", "llama-experts", || {
        MIXTRAL.files(experts::mixture("llama", GROUPED, GROUPED.hidden), MIXTRAL_CONFIG, ElementType::F32)
    }),
    checkpoint("qwen3-moe", "qwen3moe", || {
        QWEN3_MOE.files(experts::qwen3moe(LONG_HEADS), &qwen3_moe_config(), ElementType::F32)
    }),
    checkpoint("granite", "granite", || {
        Layout { model_type: "granite", ..LLAMA }.files(dense::granite(), GRANITE_CONFIG, ElementType::F32)
    }),
    checkpoint("olmo2", "olmo2", || OLMO2.files(dense::olmo2(GROUPED), "", ElementType::F32)),
    checkpoint("smollm3", "smollm3", || {
        Layout { model_type: "smollm3", ..LLAMA }.files(dense::smollm3(), SMOLLM3_CONFIG, ElementType::F32)
    }),
];

const fn checkpoint(name: &'static str, case: &'static str, build: fn() -> Vec<File>) -> Checkpoint {
    Checkpoint { name, case, build }
}

const LLAMA3_CONFIG: &str = r#","rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64}"#;
const GEMMA2_CONFIG: &str =
    r#","sliding_window":8,"query_pre_attn_scalar":24,"attn_logit_softcapping":2.0,"final_logit_softcapping":3.0"#;
const GEMMA3_CONFIG: &str = r#","sliding_window":8,"sliding_window_pattern":6,"query_pre_attn_scalar":24,"rope_local_base_freq":5000.0,"rope_scaling":{"rope_type":"linear","factor":4.0},"attn_logit_softcapping":null,"final_logit_softcapping":null"#;
const MIXTRAL_CONFIG: &str = r#","num_local_experts":8,"num_experts_per_tok":3,"sliding_window":null"#;
const GRANITE_CONFIG: &str = r#","embedding_multiplier":3.0,"residual_multiplier":0.6,"attention_multiplier":0.4,"logits_scaling":2.5,"attention_bias":false,"mlp_bias":false"#;
const SMOLLM3_CONFIG: &str = r#","no_rope_layers":[1,1,1,0,1],"no_rope_layer_interval":4"#;

fn phi3_config() -> String {
    format!(
        r#","original_max_position_embeddings":16,"sliding_window":null,"rope_scaling":{{"type":"longrope","long_factor":{:?},"short_factor":{:?}}}"#,
        dense::LONG_FACTORS,
        dense::SHORT_FACTORS
    )
}

fn qwen3_moe_config() -> String {
    format!(
        r#","num_experts":{},"num_experts_per_tok":{},"moe_intermediate_size":{},"norm_topk_prob":true,"decoder_sparse_step":1,"mlp_only_layers":[]"#,
        experts::EXPERTS,
        experts::EXPERTS_USED,
        experts::EXPERT_LENGTH
    )
}

/// How one family stores its tensors.
#[derive(Clone, Copy)]
struct Layout {
    /// Value of `model_type`.
    model_type: &'static str,
    /// Value of `hidden_act`.
    activation: &'static str,
    /// Names of a block's tensors, GGUF's first.
    names: &'static [(&'static str, &'static str)],
    /// Names of the matrices of each expert, GGUF's first; `{}` stands for the expert's number.
    experts: &'static [(&'static str, &'static str)],
    /// Whether the elements that are rotated together lie half a head apart here, but side by side in GGUF.
    halves_become_pairs: bool,
    /// Whether gains are stored without their 1.
    gains_from_zero: bool,
    /// Number of files that share the weights.
    shards: usize,
}

const LLAMA: Layout = Layout {
    model_type: "llama",
    activation: "silu",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
        ("ffn_gate_inp", "mlp.gate"),
    ],
    experts: &[],
    halves_become_pairs: true,
    gains_from_zero: false,
    shards: 1,
};

const QWEN2: Layout = Layout { model_type: "qwen2", halves_become_pairs: false, ..LLAMA };

const GEMMA2: Layout = Layout {
    model_type: "gemma2",
    activation: "gelu_pytorch_tanh",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("post_attention_norm", "post_attention_layernorm"),
        ("ffn_norm", "pre_feedforward_layernorm"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
    halves_become_pairs: false,
    gains_from_zero: true,
    ..LLAMA
};

const PHI3: Layout = Layout {
    model_type: "phi3",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_qkv", "self_attn.qkv_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_up", "mlp.gate_up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
    ..QWEN2
};

const OLMO2: Layout = Layout {
    model_type: "olmo2",
    names: &[
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("post_attention_norm", "post_attention_layernorm"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
    ..QWEN2
};

const MIXTRAL: Layout = Layout {
    model_type: "mixtral",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate_inp", "block_sparse_moe.gate"),
    ],
    experts: &[
        ("ffn_gate_exps", "block_sparse_moe.experts.{}.w1"),
        ("ffn_down_exps", "block_sparse_moe.experts.{}.w2"),
        ("ffn_up_exps", "block_sparse_moe.experts.{}.w3"),
    ],
    ..LLAMA
};

const QWEN3_MOE: Layout = Layout {
    model_type: "qwen3_moe",
    experts: &[
        ("ffn_gate_exps", "mlp.experts.{}.gate_proj"),
        ("ffn_down_exps", "mlp.experts.{}.down_proj"),
        ("ffn_up_exps", "mlp.experts.{}.up_proj"),
    ],
    ..QWEN2
};

/// The element type of all weights.
#[derive(Debug, Clone, Copy)]
enum ElementType {
    F32,
    BF16,
    F16,
}

impl ElementType {
    /// The name in `config.json`.
    const fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::BF16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => super::super::TensorType::F32.encode(values),
            Self::F16 => super::super::TensorType::F16.encode(values),
            // The values are cut to what fits.
            Self::BF16 => values.iter().flat_map(|value| value.to_le_bytes()[2..].to_vec()).collect(),
        }
    }
}

impl Layout {
    /// `extra` is what the configuration says beyond sizes, beginning with a comma.
    fn files(&self, model: Model, extra: &str, element_type: ElementType) -> Vec<File> {
        let (sizes, vocabulary) = (model.sizes, model.vocabulary_kind());
        let gguf = model.builder();
        let config = self.config(&gguf, &sizes, element_type, extra);
        let tensors = gguf.tensors.iter().flat_map(|tensor| self.tensors(tensor, &sizes, element_type));
        let tensors: Vec<safetensors::Tensor> = tensors.collect();
        let mut files = match self.shards {
            1 => vec![("model.safetensors".to_owned(), file(&tensors))],
            count => shard(&tensors, count),
        };
        files.push(("config.json".to_owned(), config.into_bytes()));
        if matches!(vocabulary, Vocabulary::ByteLevel) {
            files.push(("tokenizer.json".to_owned(), byte_level_tokenizer().into_bytes()));
        }
        files
    }

    fn config(&self, gguf: &Builder, sizes: &Sizes, element_type: ElementType, extra: &str) -> String {
        let tied = !gguf.tensors.iter().any(|tensor| tensor.name == b"output.weight");
        let base = number(gguf, "rope.freq_base").unwrap_or(10_000.0);
        let activation = if self.gains_from_zero { "hidden_activation" } else { "hidden_act" };
        let mut config = format!(r#"{{"model_type":"{}","{activation}":"{}""#, self.model_type, self.activation);
        let lengths = [
            ("vocab_size", usize::try_from(gguf.tensors[0].dimensions[1]).unwrap_or(0)),
            ("hidden_size", sizes.width),
            ("intermediate_size", sizes.hidden),
            ("num_hidden_layers", sizes.blocks),
            ("num_attention_heads", sizes.heads),
            ("num_key_value_heads", sizes.key_value_heads),
            ("head_dim", sizes.head_length),
            ("max_position_embeddings", 256),
        ];
        for (key, length) in lengths {
            // Writing to a string does not fail.
            let _ = write!(config, r#","{key}":{length}"#);
        }
        let element_type = element_type.torch_name();
        let _ = write!(config, r#","rms_norm_eps":1e-05,"rope_theta":{base:?},"tie_word_embeddings":{tied}"#);
        let _ = write!(config, r#","torch_dtype":"{element_type}"{extra}}}"#);
        config
    }

    /// What one tensor of the GGUF file becomes; none where the configuration says it.
    fn tensors(&self, tensor: &Tensor, sizes: &Sizes, element_type: ElementType) -> Vec<safetensors::Tensor> {
        let name = String::from_utf8_lossy(&tensor.name).into_owned();
        let values = self.values(tensor, &name, sizes);
        let shape: Vec<u64> = tensor.dimensions.iter().rev().copied().collect();
        let dtype = format!("{element_type:?}");
        let stored = |name: &str, shape: &[u64], values: &[f32]| {
            safetensors::Tensor::new(name, &dtype, shape, element_type.encode(values))
        };
        if let Some(name) = self.name(&name) {
            return vec![stored(&name, &shape, &values)];
        }
        let Some(pattern) = self.expert_name(&name) else { return Vec::new() };
        let each = values.len() / experts::EXPERTS;
        let named = |expert: usize| pattern.replace("{}", &expert.to_string());
        values.chunks(each).enumerate().map(|(expert, part)| stored(&named(expert), &shape[1..], part)).collect()
    }

    fn values(&self, tensor: &Tensor, name: &str, sizes: &Sizes) -> Vec<f32> {
        let mut values = decoded(tensor);
        let rotated = [".attn_q.", ".attn_k."].iter().any(|part| name.contains(part));
        if self.halves_become_pairs && rotated {
            let row = if name.ends_with("bias") { 1 } else { sizes.width };
            values = pairs_to_halves(&values, row, sizes.head_length);
        }
        if self.gains_from_zero && name.contains("norm") {
            values = values.iter().map(|value| value - 1.0).collect();
        }
        values
    }

    fn name(&self, gguf: &str) -> Option<String> {
        match gguf {
            "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
            "output_norm.weight" => return Some("model.norm.weight".to_owned()),
            "output.weight" => return Some("lm_head.weight".to_owned()),
            _ => {}
        }
        let (block, part, kind) = block_part(gguf)?;
        let (_, name) = self.names.iter().find(|(name, _)| *name == part)?;
        Some(format!("model.layers.{block}.{name}.{kind}"))
    }

    fn expert_name(&self, gguf: &str) -> Option<String> {
        let (block, part, kind) = block_part(gguf)?;
        let (_, name) = self.experts.iter().find(|(name, _)| *name == part)?;
        Some(format!("model.layers.{block}.{name}.{kind}"))
    }
}

/// The values of an F32 tensor.
pub(super) fn decoded(tensor: &Tensor) -> Vec<f32> {
    tensor.data.chunks(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}

/// The parts of `blk.BLOCK.PART.KIND`.
pub(super) fn block_part(gguf: &str) -> Option<(&str, &str, &str)> {
    let (block, rest) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.split_once('.')?;
    Some((block, part, kind))
}

/// Rows 0, 2, 4 … of each head, then rows 1, 3, 5 …
pub(super) fn pairs_to_halves(values: &[f32], row: usize, head_length: usize) -> Vec<f32> {
    let heads = values.chunks(row * head_length);
    let every_second = |head: &[f32], first: usize| -> Vec<f32> {
        head.chunks(row).skip(first).step_by(2).flatten().copied().collect()
    };
    heads.flat_map(|head| [every_second(head, 0), every_second(head, 1)].concat()).collect()
}

fn number(gguf: &Builder, key: &str) -> Option<f32> {
    let ending = format!(".{key}").into_bytes();
    gguf.metadata.iter().find(|(name, _)| name.ends_with(&ending)).and_then(|(_, value)| match value {
        super::super::Value::F32(number) => Some(*number),
        _ => None,
    })
}

/// The weights in files of about as many tensors, with the index that finds them.
fn shard(tensors: &[safetensors::Tensor], count: usize) -> Vec<File> {
    let parts = tensors.chunks(tensors.len().div_ceil(count));
    let name = |number: usize| format!("model-{:05}-of-{count:05}.safetensors", number + 1);
    let mut map = Vec::new();
    let mut files = Vec::new();
    for (number, part) in parts.enumerate() {
        map.extend(part.iter().map(|tensor| format!(r#""{}":"{}""#, tensor.name, name(number))));
        files.push((name(number), file(part)));
    }
    let size: usize = tensors.iter().map(|tensor| tensor.data.len()).sum();
    let index = format!(r#"{{"metadata":{{"total_size":{size}}},"weight_map":{{{}}}}}"#, map.join(","));
    files.push(("model.safetensors.index.json".to_owned(), index.into_bytes()));
    files
}

pub(super) fn file(tensors: &[safetensors::Tensor]) -> Vec<u8> {
    let mut builder = safetensors::Builder::new().metadata("format", "pt");
    builder.tensors = tensors.to_vec();
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_pair_move_half_a_head_apart() {
        let rows: Vec<f32> = [0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0].iter().flat_map(|row| [*row, *row]).collect();
        let halves = [0.0_f32, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
        let expected: Vec<f32> = halves.iter().flat_map(|row| [*row, *row]).collect();
        assert_eq!(pairs_to_halves(&rows, 2, 4), expected);
    }

    #[test]
    fn every_tensor_of_a_case_is_in_its_checkpoint() {
        for checkpoint in checkpoints() {
            let case = super::super::cases().into_iter().find(|case| case.name == checkpoint.case);
            let gguf = (case.unwrap().build)().len();
            let weights: usize = checkpoint
                .files()
                .iter()
                .filter(|(name, _)| {
                    std::path::Path::new(name).extension().is_some_and(|extension| extension == "safetensors")
                })
                .map(|(_, bytes)| bytes.len())
                .sum();
            let shrunk = if checkpoint.name.ends_with("16") { 2 } else { 1 };
            // Headers differ; a missing tensor of a block would be a tenth.
            assert!(weights * shrunk > gguf * 19 / 20, "{}: {weights} of {gguf}", checkpoint.name);
        }
    }
}
