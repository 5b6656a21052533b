//! From text to the numbers that a model reads, and back.

mod byte_pair;
mod gguf;
mod json;
mod sentence_piece;
mod word_piece;

use verifier::format::gguf::Value;

use crate::checkpoint::{Checkpoint, CheckpointError};
use gguf::GgufTokenizer;
pub(crate) use gguf::{special_id, tokens};
use json::JsonTokenizer;
use word_piece::WordPieceTokenizer;

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenizerError {
    #[error("the tokenizer {0} is not one the engine computes")]
    Unsupported(String),
    #[error("the tokenizer is broken: {0}")]
    Broken(String),
    #[error(transparent)]
    Unread(#[from] CheckpointError),
}

/// Texts of tokens that end a turn, which some files do not list among their special ids.
const END_OF_TURN_TEXTS: &[&str] =
    &["<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "<|end_of_text|>", "</s>"];

/// The tokenizer that a model brings along.
pub(crate) struct Tokenizer(Kind);

enum Kind {
    Gguf(Box<GgufTokenizer>),
    Json(Box<JsonTokenizer>),
    WordPiece(Box<WordPieceTokenizer>),
}

/// Asks whichever tokenizer there is.
macro_rules! ask {
    ($tokenizer:expr, $question:ident $(, $argument:expr)*) => {
        match &$tokenizer.0 {
            Kind::Gguf(tokenizer) => tokenizer.$question($($argument),*),
            Kind::Json(tokenizer) => tokenizer.$question($($argument),*),
            Kind::WordPiece(tokenizer) => tokenizer.$question($($argument),*),
        }
    };
}

impl Tokenizer {
    pub(crate) fn open(checkpoint: &Checkpoint<'_>) -> Result<Self, TokenizerError> {
        let model = checkpoint.header.get("tokenizer.ggml.model").and_then(Value::as_str);
        Ok(Self(if model == Some("bert") {
            Kind::WordPiece(Box::new(WordPieceTokenizer::from_header(&checkpoint.header)?))
        } else if model.is_some() || checkpoint.is_gguf() {
            Kind::Gguf(Box::new(GgufTokenizer::from_header(&checkpoint.header)?))
        } else {
            match JsonTokenizer::open(checkpoint)? {
                Some(tokenizer) => Kind::Json(Box::new(tokenizer)),
                None => Kind::WordPiece(Box::new(json::word_piece(checkpoint)?)),
            }
        }))
    }

    /// The chat template that comes with the tokenizer.
    pub(crate) fn template<'a>(&'a self, checkpoint: &'a Checkpoint<'_>) -> Option<&'a str> {
        match &self.0 {
            Kind::Gguf(_) => checkpoint.header.get("tokenizer.chat_template").and_then(Value::as_str),
            Kind::Json(tokenizer) => tokenizer.template(),
            Kind::WordPiece(_) => None,
        }
    }

    /// What no golden of llama.cpp covers of the tokenizer, in words.
    pub(crate) fn unverified(&self) -> Option<String> {
        match &self.0 {
            Kind::Gguf(tokenizer) => tokenizer.unverified(),
            Kind::Json(_) | Kind::WordPiece(_) => None,
        }
    }

    /// The number of entries of the vocabulary.
    pub(crate) fn vocabulary_size(&self) -> usize {
        ask!(self, vocabulary_size)
    }

    /// Tokens after which a turn or text is over.
    pub(crate) fn ends(&self) -> &[u32] {
        ask!(self, ends)
    }

    /// The text of the token that begins a text, for chat templates.
    pub(crate) fn begin_text(&self) -> Option<&str> {
        match &self.0 {
            Kind::Gguf(tokenizer) => tokenizer.begin_text(),
            Kind::Json(tokenizer) => tokenizer.begin_text(),
            Kind::WordPiece(_) => None,
        }
    }

    /// The text of the token that ends a text, for chat templates.
    pub(crate) fn end_text(&self) -> Option<&str> {
        match &self.0 {
            Kind::Gguf(tokenizer) => tokenizer.end_text(),
            Kind::Json(tokenizer) => tokenizer.end_text(),
            Kind::WordPiece(_) => None,
        }
    }

    /// Plain text, without special tokens.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        ask!(self, encode, text)
    }

    /// Plain text with the tokens that the model wants at its beginning and end.
    pub(crate) fn encode_document(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        ask!(self, encode_document, text)
    }

    /// A rendered chat, in which the texts of special tokens stand for those tokens. The beginning
    /// is added only where the template did not write it.
    pub(crate) fn encode_chat(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        ask!(self, encode_chat, text)
    }

    pub(crate) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        ask!(self, decode, tokens)
    }
}
