//! The same models as Hugging Face's libraries store them: safetensors with a configuration.
//!
//! The golden of the GGUF file is the golden of the checkpoint too, so that what converters do
//! (names, the order of rotated elements, gains without their 1, factors from formulas) is
//! tested without a converter.

use super::layouts::{
    COHERE, GEMMA, GEMMA2, GLM4, GPT_NEOX, GPT2, LLAMA, Layout, MIXTRAL, OLMO2, PHI, PHI3, QWEN2, QWEN3_MOE, STABLELM,
    STARCODER2,
};
use super::model::{GROUPED, LONG_HEADS, UNGROUPED, attention, attention_biases, gain_and_bias};
use super::stored::{ElementType, File};
use super::{dense, experts, gemma, layer_norm};

/// A folder that `transformers` would load, and the golden that it must reproduce.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint {
    pub name: &'static str,
    /// The name of the [`super::Case`] whose golden holds for these files.
    pub case: &'static str,
    pub(super) build: fn() -> Vec<File>,
}

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
    checkpoint("qwen2-moe", "qwen2moe", || {
        let layout = Layout { model_type: "qwen2_moe", ..QWEN3_MOE };
        layout.files(experts::qwen2moe(), &qwen2_moe_config(), ElementType::F32)
    }),
    checkpoint("olmoe", "olmoe", || {
        Layout { model_type: "olmoe", ..QWEN3_MOE }.files(experts::olmoe(), &olmoe_config(), ElementType::F32)
    }),
    checkpoint("gemma", "gemma", || GEMMA.files(gemma::gemma1(), "", ElementType::F32)),
    checkpoint("glm4", "glm4", || GLM4.files(dense::glm4(), GLM4_CONFIG, ElementType::F32)),
    checkpoint("olmo", "olmo-clamped", || {
        Layout { model_type: "olmo", ..LLAMA }.files(layer_norm::olmo_clamped(), OLMO_CONFIG, ElementType::F32)
    }),
    checkpoint("cohere", "command-r", || {
        COHERE.files(layer_norm::cohere("command-r", GROUPED), COHERE_CONFIG, ElementType::F32)
    }),
    checkpoint("cohere2", "cohere2", || {
        Layout { model_type: "cohere2", ..COHERE }.files(layer_norm::cohere2(), COHERE2_CONFIG, ElementType::F32)
    }),
    checkpoint("stablelm", "stablelm-biases", || {
        let model = layer_norm::stablelm(UNGROUPED).block(gain_and_bias("ffn_norm", &UNGROUPED));
        STABLELM.files(model.block(attention_biases(&UNGROUPED)), STABLELM_CONFIG, ElementType::F32)
    }),
    checkpoint("stablelm-parallel", "stablelm-parallel", || {
        STABLELM.files(layer_norm::stablelm_parallel(), STABLELM_PARALLEL_CONFIG, ElementType::F32)
    }),
    checkpoint("starcoder2", "starcoder2", || {
        STARCODER2.files(layer_norm::starcoder2(), STARCODER2_CONFIG, ElementType::F32)
    }),
    checkpoint("phi", "phi2", || {
        let model = layer_norm::phi2(attention(&UNGROUPED), attention_biases(&UNGROUPED));
        PHI.files(model, PHI_CONFIG, ElementType::F32)
    }),
    checkpoint("gpt-neox", "gptneox", || GPT_NEOX.files(layer_norm::gptneox(true), GPT_NEOX_CONFIG, ElementType::F32)),
    checkpoint("gpt-neox-sequential", "gptneox-sequential", || {
        GPT_NEOX.files(layer_norm::gptneox(false), GPT_NEOX_SEQUENTIAL_CONFIG, ElementType::F32)
    }),
    checkpoint("gpt2", "gpt2", || GPT2.files(layer_norm::positioned("gpt2"), r#","n_ctx":256"#, ElementType::F32)),
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

const GLM4_CONFIG: &str = r#","partial_rotary_factor":0.5,"attention_bias":false"#;
const OLMO_CONFIG: &str = r#","clip_qkv":0.8,"attention_bias":false"#;
const COHERE_CONFIG: &str = r#","logit_scale":0.6,"use_qk_norm":false,"attention_bias":false"#;
const COHERE2_CONFIG: &str = r#","logit_scale":0.6,"sliding_window":8,"sliding_window_pattern":4,"attention_bias":false,"layer_norm_bias":false"#;
const STABLELM_CONFIG: &str =
    r#","partial_rotary_factor":0.25,"use_qkv_bias":true,"use_parallel_residual":false,"qk_layernorm":false"#;
const STABLELM_PARALLEL_CONFIG: &str =
    r#","partial_rotary_factor":0.25,"use_qkv_bias":false,"use_parallel_residual":true,"qk_layernorm":true"#;
const STARCODER2_CONFIG: &str = r#","use_bias":true,"sliding_window":null"#;
const PHI_CONFIG: &str = r#","partial_rotary_factor":0.5,"qk_layernorm":false"#;
const GPT_NEOX_CONFIG: &str = r#","rotary_pct":0.25,"rotary_emb_base":10000,"use_parallel_residual":true"#;
const GPT_NEOX_SEQUENTIAL_CONFIG: &str = r#","rotary_pct":0.25,"rotary_emb_base":10000,"use_parallel_residual":false"#;

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

fn qwen2_moe_config() -> String {
    format!(
        r#","num_experts":{},"num_experts_per_tok":{},"moe_intermediate_size":{},"shared_expert_intermediate_size":{},"norm_topk_prob":false,"decoder_sparse_step":1,"mlp_only_layers":[]"#,
        experts::EXPERTS,
        experts::EXPERTS_USED,
        experts::EXPERT_LENGTH,
        experts::SHARED_LENGTH
    )
}

fn olmoe_config() -> String {
    format!(
        r#","num_experts":{},"num_experts_per_tok":{},"norm_topk_prob":false,"clip_qkv":null"#,
        experts::EXPERTS,
        experts::EXPERTS_USED
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
