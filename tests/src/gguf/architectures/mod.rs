//! One small model for each way of computing, in the exact tensor layout of its family.
//!
//! What llama.cpp computes for each is committed as its golden, so that an engine is held
//! to the reference without weights in the tree. Changing a model makes its golden stale:
//! `make goldens` computes them again.

mod adapters;
mod checkpoints;
mod dense;
mod encoder_checkpoints;
mod encoders;
mod experts;
mod gemma;
mod layer_norm;
mod layouts;
mod model;
mod stored;

use crate::random::Random;

pub use adapters::{Adapter, adapters};
pub use checkpoints::{Checkpoint, checkpoints};
pub use encoder_checkpoints::encoder_checkpoints;
pub use stored::File;

/// One model and what it is there for.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The golden's file name.
    pub name: &'static str,
    /// Value of `general.architecture`.
    pub architecture: &'static str,
    /// The bytes of the file.
    pub build: fn() -> Vec<u8>,
}

/// Tokens of each golden: more than any model's window is long.
const TOKENS: usize = 40;

/// Ids below this are in every vocabulary.
const TOKEN_LIMIT: u64 = 256;

impl Case {
    /// The tokens that the golden's numbers follow.
    pub fn tokens(&self) -> Vec<u32> {
        let mut random = Random::new(7);
        (0..TOKENS).filter_map(|_| u32::try_from(random.below(TOKEN_LIMIT)).ok()).collect()
    }
}

/// Every model that predicts tokens: its golden holds logits.
pub fn cases() -> Vec<Case> {
    [dense::CASES, gemma::CASES, layer_norm::CASES, experts::CASES].concat()
}

/// Every model that embeds a text: its golden is the pooled vector, before it is scaled to length 1.
pub fn encoders() -> Vec<Case> {
    encoders::CASES.to_vec()
}

/// The manners of splitting texts into words (`tokenizer.ggml.pre`) whose ids a golden holds.
pub const SPLITTINGS: &[&str] = &[
    "default",
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "qwen35",
    "smollm",
    "tekken",
    "gpt-4o",
    "llama4",
    "dbrx",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "deepseek-r1-qwen",
    "falcon",
    "falcon3",
    "starcoder",
    "refact",
    "command-r",
    "stablelm2",
    "olmo",
    "phi-2",
    "mpt",
    "bloom",
    "exaone",
    "exaone4",
    "chatglm-bpe",
    "glm4",
    "smaug-bpe",
    "seed-coder",
    "kimi-k2",
];

/// A model whose vocabulary merges byte pairs and splits texts in one of [`SPLITTINGS`].
pub fn byte_pairs(splitting: &'static str) -> Vec<u8> {
    dense::byte_pairs(splitting).build()
}

/// A model of 250 MB with 262,144 tokens, most of it embedding, for measuring memory.
pub fn large_vocabulary() -> Vec<u8> {
    gemma::large_vocabulary()
}

const fn case(name: &'static str, architecture: &'static str, build: fn() -> Vec<u8>) -> Case {
    Case { name, architecture, build }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_begin_with_the_architecture() {
        let all = [cases(), encoders()].concat();
        let names: std::collections::BTreeSet<&str> = all.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all.len());
        for case in all {
            assert!(case.name.starts_with(case.architecture), "{}", case.name);
        }
    }

    #[test]
    fn each_file_is_the_same_in_every_run_and_below_four_megabytes() {
        for case in [cases(), encoders()].concat() {
            let bytes = (case.build)();
            assert!(bytes == (case.build)() && bytes.len() < 4_000_000, "{}: {} bytes", case.name, bytes.len());
        }
    }
}
