//! How families store their tensors in Hugging Face's libraries.

/// How one family stores its tensors.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Value of `model_type`.
    pub(super) model_type: &'static str,
    /// Value of `hidden_act`.
    pub(super) activation: &'static str,
    /// The key of what is added to a norm's divisor.
    pub(super) epsilon: &'static str,
    /// Keys of the sizes, in the order of [`LENGTHS`]; empty where there is none.
    pub(super) lengths: [&'static str; 8],
    /// Names of tensors that exist once, GGUF's first.
    pub(super) globals: Names,
    /// What stands before the number of a block.
    pub(super) block: &'static str,
    /// Names of a block's tensors, GGUF's first.
    pub(super) names: Names,
    /// Names of tensors that are one in GGUF and many here; `{}` stands for the number of each.
    pub(super) stacks: Names,
    /// In which order rows and columns come.
    pub(super) order: Order,
    /// Whether gains are stored without their 1.
    pub(super) gains_from_zero: bool,
    /// Number of files that share the weights.
    pub(super) shards: usize,
}

type Names = &'static [(&'static str, &'static str)];

/// In which order rows and columns come, compared with GGUF.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Same,
    /// Elements that are rotated together lie half a head apart here, but side by side in GGUF.
    Halves,
    /// Outputs first: the matrices of GPT-2.
    Transposed,
    /// Query, key and value of one head, then those of the next.
    ByHead,
}

/// Keys of the sizes in the configurations of most families.
pub(super) const LENGTHS: [&str; 8] = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
];

const GLOBALS: Names = &[("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

pub(super) const LLAMA: Layout = Layout {
    model_type: "llama",
    activation: "silu",
    epsilon: "rms_norm_eps",
    lengths: LENGTHS,
    globals: GLOBALS,
    block: "model.layers.",
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
        ("ffn_gate_shexp", "mlp.shared_expert.gate_proj"),
        ("ffn_up_shexp", "mlp.shared_expert.up_proj"),
        ("ffn_down_shexp", "mlp.shared_expert.down_proj"),
        ("ffn_gate_inp_shexp", "mlp.shared_expert_gate"),
    ],
    stacks: &[],
    order: Order::Halves,
    gains_from_zero: false,
    shards: 1,
};

pub(super) const QWEN2: Layout = Layout { model_type: "qwen2", order: Order::Same, ..LLAMA };

pub(super) const GEMMA: Layout =
    Layout { model_type: "gemma", activation: "gelu_pytorch_tanh", gains_from_zero: true, ..QWEN2 };

pub(super) const GEMMA2: Layout = Layout {
    model_type: "gemma2",
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
    ..GEMMA
};

pub(super) const OLMO2: Layout = Layout { model_type: "olmo2", activation: "silu", gains_from_zero: false, ..GEMMA2 };

pub(super) const PHI3: Layout = Layout {
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

pub(super) const GLM4: Layout = Layout {
    model_type: "glm4",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("post_attention_norm", "post_self_attn_layernorm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("post_ffw_norm", "post_mlp_layernorm"),
        ("ffn_up", "mlp.gate_up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
    ..QWEN2
};

pub(super) const MIXTRAL: Layout = Layout {
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
    stacks: &[
        ("ffn_gate_exps", "block_sparse_moe.experts.{}.w1"),
        ("ffn_down_exps", "block_sparse_moe.experts.{}.w2"),
        ("ffn_up_exps", "block_sparse_moe.experts.{}.w3"),
    ],
    ..LLAMA
};

pub(super) const QWEN3_MOE: Layout = Layout {
    model_type: "qwen3_moe",
    stacks: &[
        ("ffn_gate_exps", "mlp.experts.{}.gate_proj"),
        ("ffn_down_exps", "mlp.experts.{}.down_proj"),
        ("ffn_up_exps", "mlp.experts.{}.up_proj"),
    ],
    ..QWEN2
};

pub(super) const COHERE: Layout = Layout { model_type: "cohere", epsilon: "layer_norm_eps", ..QWEN2 };

pub(super) const STABLELM: Layout = Layout {
    model_type: "stablelm",
    epsilon: "layer_norm_eps",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
    stacks: &[("attn_q_norm", "self_attn.q_layernorm.norms.{}"), ("attn_k_norm", "self_attn.k_layernorm.norms.{}")],
    ..QWEN2
};

pub(super) const STARCODER2: Layout = Layout {
    model_type: "starcoder2",
    activation: "gelu_pytorch_tanh",
    epsilon: "norm_epsilon",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_up", "mlp.c_fc"),
        ("ffn_down", "mlp.c_proj"),
    ],
    ..QWEN2
};

pub(super) const PHI: Layout = Layout {
    model_type: "phi",
    activation: "gelu_new",
    epsilon: "layer_norm_eps",
    globals: &[("token_embd", "model.embed_tokens"), ("output_norm", "model.final_layernorm"), ("output", "lm_head")],
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.dense"),
        ("ffn_up", "mlp.fc1"),
        ("ffn_down", "mlp.fc2"),
    ],
    ..QWEN2
};

pub(super) const GPT_NEOX: Layout = Layout {
    model_type: "gpt_neox",
    activation: "gelu_new",
    epsilon: "layer_norm_eps",
    globals: &[
        ("token_embd", "gpt_neox.embed_in"),
        ("output_norm", "gpt_neox.final_layer_norm"),
        ("output", "embed_out"),
    ],
    block: "gpt_neox.layers.",
    names: &[
        ("attn_norm", "input_layernorm"),
        ("attn_qkv", "attention.query_key_value"),
        ("attn_output", "attention.dense"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_up", "mlp.dense_h_to_4h"),
        ("ffn_down", "mlp.dense_4h_to_h"),
    ],
    order: Order::ByHead,
    ..QWEN2
};

pub(super) const GPT2: Layout = Layout {
    model_type: "gpt2",
    activation: "gelu_new",
    epsilon: "layer_norm_epsilon",
    lengths: ["vocab_size", "n_embd", "n_inner", "n_layer", "n_head", "", "", "n_positions"],
    globals: &[
        ("token_embd", "transformer.wte"),
        ("position_embd", "transformer.wpe"),
        ("output_norm", "transformer.ln_f"),
        ("output", "lm_head"),
    ],
    block: "transformer.h.",
    names: &[
        ("attn_norm", "ln_1"),
        ("attn_qkv", "attn.c_attn"),
        ("attn_output", "attn.c_proj"),
        ("ffn_norm", "ln_2"),
        ("ffn_up", "mlp.c_fc"),
        ("ffn_down", "mlp.c_proj"),
    ],
    order: Order::Transposed,
    ..QWEN2
};
