//! Which tensors a file of a family holds, and in what shape.

use super::{Architecture, Experts, FeedForward, Gate, Norms, Output, Positions, Presence, QueryKeyNorm, SharedExpert};
use crate::engine::hyperparameters::Hyperparameters;

/// A tensor as the architecture wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpecification {
    pub(crate) name: String,
    /// Elements per dimension in GGUF order: inputs first, then outputs.
    pub(crate) dimensions: Vec<u64>,
    pub(crate) required: bool,
}

/// Collects the specification of a whole model.
struct Specifications<'a> {
    architecture: &'a Architecture,
    sizes: &'a Hyperparameters,
    /// Whether the file has a tensor of this name: some families store the same weights in one of two forms.
    has: &'a dyn Fn(&str) -> bool,
    /// `blk.N.` or nothing.
    prefix: String,
    tensors: Vec<TensorSpecification>,
}

impl Architecture {
    /// Every tensor that a file of this family may hold.
    pub(crate) fn tensors(&self, sizes: &Hyperparameters, has: &dyn Fn(&str) -> bool) -> Vec<TensorSpecification> {
        let mut all = Specifications { architecture: self, sizes, has, prefix: String::new(), tensors: Vec::new() };
        all.add_model();
        for block in 0..sizes.block_count {
            all.prefix = format!("blk.{block}.");
            all.add_norms();
            all.add_attention();
            all.add_feed_forward();
        }
        all.tensors
    }
}

impl Presence {
    /// Of a part of something that is itself present in this way.
    const fn of(self, whole: Self) -> Self {
        match (self, whole) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Always, Self::Always) => Self::Always,
            _ => Self::Sometimes,
        }
    }
}

impl Specifications<'_> {
    fn add(&mut self, part: &str, kind: &str, presence: Presence, dimensions: &[u64]) {
        if presence != Presence::Never {
            let name = format!("{}{part}.{kind}", self.prefix);
            let required = presence == Presence::Always;
            self.tensors.push(TensorSpecification { name, dimensions: dimensions.to_vec(), required });
        }
    }

    fn matrix(&mut self, part: &str, inputs: u64, outputs: u64) {
        self.add(part, "weight", Presence::Always, &[inputs, outputs]);
    }

    fn norm(&mut self, part: &str, presence: Presence) {
        let width = self.sizes.embedding_length;
        let (gain, bias) = self.architecture.normalization.learned();
        self.add(part, "weight", gain.of(presence), &[width]);
        self.add(part, "bias", bias.of(presence), &[width]);
    }

    fn add_model(&mut self) {
        let (width, vocabulary) = (self.sizes.embedding_length, self.sizes.vocabulary_size);
        let embedding =
            if self.architecture.output == Output::OwnOrBoth { Presence::Sometimes } else { Presence::Always };
        self.add("token_embd", "weight", embedding, &[width, vocabulary]);
        if self.architecture.embedding_norm {
            self.norm("token_embd_norm", Presence::Always);
        }
        self.norm("output_norm", Presence::Always);
        let output = match self.architecture.output {
            Output::Own | Output::OwnOrBoth => Presence::Always,
            Output::Tied => Presence::Never,
            Output::OwnOrTied => Presence::Sometimes,
        };
        self.add("output", "weight", output, &[width, vocabulary]);
        self.add("output", "bias", self.architecture.output_bias, &[vocabulary]);
        match self.architecture.positions {
            Positions::Rotary { .. } => {
                let pairs = self.sizes.rotary.dimensions / 2;
                for factors in ["rope_freqs", "rope_factors_short", "rope_factors_long"] {
                    self.add(factors, "weight", Presence::Sometimes, &[pairs]);
                }
            }
            Positions::Learned => self.matrix("position_embd", width, self.sizes.context_length),
            Positions::Distance(_) => {}
        }
    }

    fn add_norms(&mut self) {
        let (before, second, after) = match self.architecture.norms {
            Norms::Before => (true, Some(("ffn_norm", Presence::Always)), false),
            Norms::BeforeUnderOtherName => (true, Some(("post_attention_norm", Presence::Always)), false),
            Norms::After => (false, None, true),
            Norms::BeforeAndAfter => (true, Some(("ffn_norm", Presence::Always)), true),
            Norms::Shared => (true, Some(("attn_norm_2", Presence::Sometimes)), false),
            Norms::SharedOrBefore => (true, Some(("ffn_norm", Presence::Sometimes)), false),
        };
        if before {
            self.norm("attn_norm", Presence::Always);
        }
        if let Some((part, presence)) = second {
            self.norm(part, presence);
        }
        if after {
            self.norm("post_attention_norm", Presence::Always);
            self.norm("post_ffw_norm", Presence::Always);
        }
    }

    fn add_attention(&mut self) {
        let (width, head) = (self.sizes.embedding_length, self.sizes.head_length);
        let (heads, key_heads) = (self.sizes.head_count, self.sizes.key_value_head_count);
        let (queries, keys) = (heads * head, key_heads * head);
        let parts: &[(&str, u64)] = if (self.has)(&format!("{}attn_qkv.weight", self.prefix)) {
            &[("attn_qkv", queries + 2 * keys)]
        } else {
            &[("attn_q", queries), ("attn_k", keys), ("attn_v", keys)]
        };
        for (part, outputs) in parts {
            self.matrix(part, width, *outputs);
            self.add(part, "bias", Presence::Sometimes, &[*outputs]);
        }
        self.matrix("attn_output", queries, width);
        self.add("attn_output", "bias", self.architecture.attention_output_bias, &[width]);
        if self.architecture.attention_sinks {
            self.add("attn_sinks", "weight", Presence::Always, &[heads]);
        }
        let (presence, query, key): (_, &[u64], &[u64]) = match self.architecture.query_key_norm {
            QueryKeyNorm::None => return,
            QueryKeyNorm::EachHead => (Presence::Always, &[head], &[head]),
            QueryKeyNorm::EachHeadWithOwnGain => (Presence::Sometimes, &[head, heads], &[head, key_heads]),
            QueryKeyNorm::AllHeads => (Presence::Always, &[queries], &[keys]),
        };
        self.add("attn_q_norm", "weight", presence, query);
        self.add("attn_k_norm", "weight", presence, key);
    }

    fn add_feed_forward(&mut self) {
        if let (Some(experts), Some(sizes)) = (self.architecture.experts, self.sizes.experts) {
            self.matrix("ffn_gate_inp", self.sizes.embedding_length, sizes.count);
            self.add("ffn_gate_inp", "bias", experts.bias, &[sizes.count]);
            self.add_experts(experts, sizes.count, sizes.feed_forward_length);
            self.add_shared_expert(experts, sizes.shared_feed_forward_length);
        } else {
            self.add_dense(self.architecture.feed_forward, self.sizes.feed_forward_length);
        }
    }

    fn add_dense(&mut self, feed_forward: FeedForward, hidden: u64) {
        let (width, bias) = (self.sizes.embedding_length, self.architecture.feed_forward_bias);
        let up = if feed_forward.gate == Gate::Fused { 2 * hidden } else { hidden };
        if feed_forward.gate == Gate::Separate {
            self.matrix("ffn_gate", width, hidden);
            self.add("ffn_gate", "bias", bias, &[hidden]);
        }
        self.matrix("ffn_up", width, up);
        self.add("ffn_up", "bias", bias, &[up]);
        self.matrix("ffn_down", hidden, width);
        self.add("ffn_down", "bias", bias, &[width]);
    }

    fn add_experts(&mut self, experts: Experts, count: u64, hidden: u64) {
        let width = self.sizes.embedding_length;
        for (part, inputs, outputs) in
            [("ffn_gate_exps", width, hidden), ("ffn_up_exps", width, hidden), ("ffn_down_exps", hidden, width)]
        {
            self.add(part, "weight", Presence::Always, &[inputs, outputs, count]);
            self.add(part, "bias", experts.bias, &[outputs, count]);
        }
    }

    fn add_shared_expert(&mut self, experts: Experts, hidden: u64) {
        if experts.shared == SharedExpert::None || hidden == 0 {
            return;
        }
        let width = self.sizes.embedding_length;
        self.matrix("ffn_gate_shexp", width, hidden);
        self.matrix("ffn_up_shexp", width, hidden);
        self.matrix("ffn_down_shexp", hidden, width);
        if experts.shared == SharedExpert::Gated {
            self.add("ffn_gate_inp_shexp", "weight", Presence::Always, &[width]);
        }
    }
}
