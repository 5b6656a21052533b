//! The families of models that Transformers and llama.cpp both know, and how the names of one
//! become those of the other.

use super::config::{Config, Sizes};
use super::rows::Order;
use crate::checkpoint::{Change, CheckpointError};

/// One value of `model_type`.
#[derive(Debug)]
pub(in crate::checkpoint) struct Family {
    pub(super) model_type: &'static str,
    /// llama.cpp's name.
    pub(super) architecture: &'static str,
    names: Names,
    rotation: Rotation,
    /// Whether gains are stored without the one that they are added to.
    gains_without_one: bool,
    /// Values of `hidden_act` that the decoder computes.
    activations: &'static [&'static str],
    /// Keys that must have one value, because the decoder computes no other.
    pub(super) fixed: &'static [Fixed],
}

/// A switch of the configuration that the decoder computes in one position alone.
#[derive(Debug)]
pub(super) struct Fixed {
    key: &'static str,
    computed: bool,
    /// Where the key is absent.
    usual: bool,
}

const fn fixed(key: &'static str, computed: bool, usual: bool) -> Fixed {
    Fixed { key, computed, usual }
}

/// How names are put together.
#[derive(Debug, Clone, Copy)]
struct Names {
    /// Of the tensors outside of blocks.
    model: &'static [(&'static str, &'static str)],
    /// What stands before the number of a block.
    block: &'static str,
    /// What follows it, without `weight` or `bias`.
    parts: &'static [(&'static str, &'static str)],
}

/// How rotation pairs the elements of a head in Transformers and in llama.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    /// The same way.
    Alike,
    /// Halves there and neighbors here.
    HalvesToNeighbors,
}

/// Where a tensor belongs.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::checkpoint) enum Place {
    /// Not part of the computation.
    Ignored,
    /// In this tensor; several are stacked in the order of their numbers.
    Tensor { name: String, number: u64 },
}

const LLAMA_MODEL: &[(&str, &str)] =
    &[("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];
const LLAMA_PARTS: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
    ("block_sparse_moe.experts.*.w1", "ffn_gate_exps"),
    ("block_sparse_moe.experts.*.w3", "ffn_up_exps"),
    ("block_sparse_moe.experts.*.w2", "ffn_down_exps"),
    ("mlp.gate", "ffn_gate_inp"),
    ("mlp.experts.*.gate_proj", "ffn_gate_exps"),
    ("mlp.experts.*.up_proj", "ffn_up_exps"),
    ("mlp.experts.*.down_proj", "ffn_down_exps"),
    ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
    ("mlp.shared_expert.up_proj", "ffn_up_shexp"),
    ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
    ("mlp.shared_expert_gate", "ffn_gate_inp_shexp"),
    ("self_attn.q_layernorm.norms.*", "attn_q_norm"),
    ("self_attn.k_layernorm.norms.*", "attn_k_norm"),
];
const LLAMA_NAMES: Names = Names { model: LLAMA_MODEL, block: "model.layers.", parts: LLAMA_PARTS };

/// Norms before and after each sublayer.
const GEMMA2_NAMES: Names = Names {
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("post_attention_layernorm", "post_attention_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
    ..LLAMA_NAMES
};

const GLM4_NAMES: Names = Names {
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_self_attn_layernorm", "post_attention_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("post_mlp_layernorm", "post_ffw_norm"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
    ..LLAMA_NAMES
};

const PHI_NAMES: Names = Names {
    model: &[("model.embed_tokens", "token_embd"), ("model.final_layernorm", "output_norm"), ("lm_head", "output")],
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.dense", "attn_output"),
        ("mlp.fc1", "ffn_up"),
        ("mlp.fc2", "ffn_down"),
    ],
    ..LLAMA_NAMES
};

const STARCODER2_NAMES: Names = Names {
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ],
    ..LLAMA_NAMES
};

const GPT_NEOX_NAMES: Names = Names {
    model: &[
        ("gpt_neox.embed_in", "token_embd"),
        ("gpt_neox.final_layer_norm", "output_norm"),
        ("embed_out", "output"),
    ],
    block: "gpt_neox.layers.",
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("attention.query_key_value", "attn_qkv"),
        ("attention.dense", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.dense_h_to_4h", "ffn_up"),
        ("mlp.dense_4h_to_h", "ffn_down"),
    ],
};

const GPT2_NAMES: Names = Names {
    model: &[
        ("transformer.wte", "token_embd"),
        ("transformer.wpe", "position_embd"),
        ("transformer.ln_f", "output_norm"),
        ("lm_head", "output"),
    ],
    block: "transformer.h.",
    parts: &[
        ("ln_1", "attn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("ln_2", "ffn_norm"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ],
};

const BERT_NAMES: Names = Names {
    model: &[
        ("embeddings.word_embeddings", "token_embd"),
        ("embeddings.position_embeddings", "position_embd"),
        ("embeddings.token_type_embeddings", "token_types"),
        ("embeddings.LayerNorm", "token_embd_norm"),
    ],
    block: "encoder.layer.",
    parts: &[
        ("attention.self.query", "attn_q"),
        ("attention.self.key", "attn_k"),
        ("attention.self.value", "attn_v"),
        ("attention.output.dense", "attn_output"),
        ("attention.output.LayerNorm", "attn_output_norm"),
        ("intermediate.dense", "ffn_up"),
        ("output.dense", "ffn_down"),
        ("output.LayerNorm", "layer_output_norm"),
    ],
};

const SILU: &[&str] = &["silu", "swish"];
const GELU: &[&str] = &["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast"];

const LLAMA: Family = Family {
    model_type: "llama",
    architecture: "llama",
    names: LLAMA_NAMES,
    rotation: Rotation::HalvesToNeighbors,
    gains_without_one: false,
    activations: SILU,
    fixed: &[],
};
/// A llama whose rotation is the same on both sides.
const HALVES: Family = Family { rotation: Rotation::Alike, ..LLAMA };
const GEMMA: Family =
    Family { model_type: "gemma", architecture: "gemma", gains_without_one: true, activations: GELU, ..HALVES };

const FAMILIES: &[Family] = &[
    LLAMA,
    Family { model_type: "mistral", ..LLAMA },
    Family { model_type: "mixtral", ..LLAMA },
    Family { model_type: "qwen2", architecture: "qwen2", ..HALVES },
    Family { model_type: "qwen3", architecture: "qwen3", ..HALVES },
    Family {
        model_type: "qwen2_moe",
        architecture: "qwen2moe",
        fixed: &[fixed("norm_topk_prob", false, false)],
        ..HALVES
    },
    Family {
        model_type: "qwen3_moe",
        architecture: "qwen3moe",
        fixed: &[fixed("norm_topk_prob", true, false)],
        ..HALVES
    },
    GEMMA,
    Family { model_type: "gemma2", architecture: "gemma2", names: GEMMA2_NAMES, ..GEMMA },
    Family { model_type: "gemma3_text", architecture: "gemma3", names: GEMMA2_NAMES, ..GEMMA },
    Family { model_type: "phi3", architecture: "phi3", ..HALVES },
    Family {
        model_type: "phi",
        architecture: "phi2",
        names: PHI_NAMES,
        activations: GELU,
        fixed: &[fixed("qk_layernorm", false, false)],
        ..HALVES
    },
    Family { model_type: "stablelm", architecture: "stablelm", ..HALVES },
    Family { model_type: "gpt_neox", architecture: "gptneox", names: GPT_NEOX_NAMES, activations: GELU, ..HALVES },
    Family {
        model_type: "gpt2",
        architecture: "gpt2",
        names: GPT2_NAMES,
        activations: GELU,
        fixed: &[fixed("scale_attn_by_inverse_layer_idx", false, false), fixed("scale_attn_weights", true, true)],
        ..HALVES
    },
    Family {
        model_type: "starcoder2",
        architecture: "starcoder2",
        names: STARCODER2_NAMES,
        activations: GELU,
        ..HALVES
    },
    Family { model_type: "granite", architecture: "granite", ..LLAMA },
    Family { model_type: "olmo", architecture: "olmo", ..LLAMA },
    Family { model_type: "olmo2", architecture: "olmo2", names: GEMMA2_NAMES, ..HALVES },
    Family { model_type: "olmoe", architecture: "olmoe", fixed: &[fixed("norm_topk_prob", false, false)], ..HALVES },
    Family { model_type: "glm4", architecture: "glm4", names: GLM4_NAMES, ..HALVES },
    Family { model_type: "smollm3", architecture: "smollm3", ..LLAMA },
    Family { model_type: "cohere", architecture: "command-r", fixed: &[fixed("use_qk_norm", false, false)], ..HALVES },
    Family { model_type: "bert", architecture: "bert", names: BERT_NAMES, activations: GELU, ..HALVES },
    Family { model_type: "cohere2", architecture: "cohere2", ..HALVES },
];

impl Family {
    pub(super) fn find(config: &Config) -> Result<&'static Self, CheckpointError> {
        let model_type = config.text("model_type").unwrap_or("");
        let found = FAMILIES.iter().find(|family| family.model_type == model_type);
        let family = found.ok_or_else(|| CheckpointError::ModelType(model_type.chars().take(64).collect()))?;
        family.check(config)?;
        Ok(family)
    }

    /// The family whose names adapters for models of this architecture use.
    pub(in crate::checkpoint) fn of_architecture(architecture: &str) -> Result<&'static Self, CheckpointError> {
        let found = FAMILIES.iter().find(|family| family.architecture == architecture);
        found.ok_or_else(|| CheckpointError::ModelType(architecture.chars().take(64).collect()))
    }

    /// Refuses what would change the computation in a way that the decoder does not follow.
    fn check(&self, config: &Config) -> Result<(), CheckpointError> {
        if let Some(activation) = config.activation().filter(|activation| !self.activations.contains(activation)) {
            return Err(Config::unsupported("hidden_act", activation));
        }
        if config.has("quantization_config") {
            return Err(Config::unsupported("quantization_config", "set"));
        }
        let differs = |fixed: &&Fixed| config.flag(fixed.key).unwrap_or(fixed.usual) != fixed.computed;
        match self.fixed.iter().find(differs) {
            Some(fixed) => Err(Config::unsupported(fixed.key, if fixed.computed { "false" } else { "true" })),
            None => Ok(()),
        }
    }

    /// Where the tensor of this name belongs; none for one that the family does not have.
    pub(in crate::checkpoint) fn place(&self, name: &str) -> Option<Place> {
        let is_head =
            ["pooler.", "cls.", "classifier."].iter().any(|head| name.trim_start_matches("bert.").starts_with(head));
        if self.architecture == "bert" && (is_head || name.ends_with("position_ids")) {
            return Some(Place::Ignored);
        }
        if name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attn.bias") || name.ends_with(".masked_bias") {
            return Some(Place::Ignored);
        }
        let (stem, kind) = name.rsplit_once('.')?;
        if !matches!(kind, "weight" | "bias") {
            return None;
        }
        let stem = self.with_prefix(stem);
        if let Some((_, new)) = self.names.model.iter().find(|(old, _)| *old == stem) {
            return Some(Place::Tensor { name: format!("{new}.{kind}"), number: 0 });
        }
        let (block, part) = stem.strip_prefix(self.names.block)?.split_once('.')?;
        let block: u32 = block.parse().ok()?;
        let (new, number) = self.names.parts.iter().find_map(|(old, new)| Some((*new, matches(old, part)?)))?;
        let new = self.renamed(new, part);
        Some(Place::Tensor { name: format!("blk.{block}.{new}.{kind}"), number })
    }

    /// Some files of GPT-2 leave the model's own name out, and some of BERT put it before.
    fn with_prefix(&self, stem: &str) -> String {
        if self.architecture == "bert" {
            return stem.strip_prefix("bert.").unwrap_or(stem).to_owned();
        }
        let is_bare = self.model_type == "gpt2" && !stem.starts_with("transformer.") && stem != "lm_head";
        if is_bare { format!("transformer.{stem}") } else { stem.to_owned() }
    }

    /// Families in which a part of the same name has another place.
    fn renamed(&self, new: &'static str, part: &str) -> &'static str {
        match (self.architecture, part) {
            ("olmo2", "post_attention_layernorm") => "post_attention_norm",
            _ => new,
        }
    }

    /// Whether a tensor is a stack of several, however many there are.
    pub(super) fn is_stacked(&self, name: &str) -> bool {
        let is_head_norm = name.contains("attn_q_norm") || name.contains("attn_k_norm");
        name.contains("_exps.") || (is_head_norm && self.architecture == "stablelm")
    }

    pub(in crate::checkpoint) fn order(&self, name: &str, sizes: &Sizes) -> Order {
        let part = name.rsplit('.').nth(1).unwrap_or("");
        match part {
            "attn_q" if self.rotation == Rotation::HalvesToNeighbors => Order::PairedHalves { heads: sizes.heads },
            "attn_k" if self.rotation == Rotation::HalvesToNeighbors => {
                Order::PairedHalves { heads: sizes.key_value_heads }
            }
            "attn_qkv" if self.architecture == "gptneox" => Order::Ungrouped { heads: sizes.heads },
            _ => Order::Same,
        }
    }

    pub(super) fn change(&self, name: &str) -> Change {
        let is_matrix = name.ends_with(".weight");
        let convolutions = ["attn_qkv", "attn_output", "ffn_up", "ffn_down"];
        if self.gains_without_one && name.contains("norm") {
            Change::AddOne
        } else if self.architecture == "gpt2" && is_matrix && convolutions.iter().any(|part| name.contains(part)) {
            Change::Transposed
        } else {
            Change::None
        }
    }
}

/// The number that stands in place of the star, or zero where there is none; none for another name.
fn matches(pattern: &str, part: &str) -> Option<u64> {
    let Some((before, after)) = pattern.split_once('*') else { return (pattern == part).then_some(0) };
    part.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(model_type: &str, name: &str) -> Option<Place> {
        FAMILIES.iter().find(|family| family.model_type == model_type).unwrap().place(name)
    }

    fn tensor(name: &str, number: u64) -> Place {
        Place::Tensor { name: name.to_owned(), number }
    }

    #[test]
    fn names_become_those_of_llama_cpp() {
        assert_eq!(place("llama", "model.layers.12.self_attn.q_proj.weight"), Some(tensor("blk.12.attn_q.weight", 0)));
        assert_eq!(
            place("gemma2", "model.layers.0.post_attention_layernorm.weight"),
            Some(tensor("blk.0.post_attention_norm.weight", 0))
        );
        assert_eq!(place("gpt2", "h.1.attn.c_attn.bias"), Some(tensor("blk.1.attn_qkv.bias", 0)));
        assert_eq!(place("gpt2", "wte.weight"), Some(tensor("token_embd.weight", 0)));
    }

    #[test]
    fn experts_are_stacked_in_the_order_of_their_numbers() {
        let name = "model.layers.3.block_sparse_moe.experts.7.w2.weight";
        assert_eq!(place("mixtral", name), Some(tensor("blk.3.ffn_down_exps.weight", 7)));
    }

    #[test]
    fn a_name_that_the_family_does_not_have_has_no_place() {
        assert_eq!(place("llama", "model.vision_tower.weight"), None);
        assert_eq!(place("llama", "model.layers.x.self_attn.q_proj.weight"), None);
        assert_eq!(place("llama", "model.layers.0.self_attn.q_proj.qweight"), None);
        assert_eq!(place("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"), Some(Place::Ignored));
    }
}
