//! The tokenizer of a Transformers folder: `tokenizer.json` and what the files beside it say of it.

use serde_json::{Map, Value};
use tokenizers::Tokenizer as Inner;

use super::word_piece::WordPieceTokenizer;
use super::{END_OF_TURN_TEXTS, TokenizerError};
use crate::checkpoint::Checkpoint;

const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

pub(super) struct JsonTokenizer {
    inner: Inner,
    begin: Option<String>,
    end: Option<String>,
    ends: Vec<u32>,
    template: Option<String>,
}

impl JsonTokenizer {
    /// None where there is no `tokenizer.json`.
    pub(super) fn open(checkpoint: &Checkpoint<'_>) -> Result<Option<Self>, TokenizerError> {
        let bytes = checkpoint.document("tokenizer.json", MAX_TOKENIZER_BYTES)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let mut inner = Inner::from_bytes(&bytes).map_err(broken)?;
        inner.with_truncation(None).map_err(broken)?;
        inner.with_padding(None);
        let configuration = document(checkpoint, "tokenizer_config.json")?;
        let generation = document(checkpoint, "generation_config.json")?;
        let special = |key: &str| configuration.get(key).and_then(text_of).map(ToOwned::to_owned);
        let (begin, end) = (special("bos_token"), special("eos_token"));
        let texts = end.iter().map(String::as_str).chain(END_OF_TURN_TEXTS.iter().copied());
        let mut ends: Vec<u32> = texts.filter_map(|text| inner.token_to_id(text)).collect();
        ends.extend(generation.get("eos_token_id").map(ids_of).unwrap_or_default());
        ends.sort_unstable();
        ends.dedup();
        let template = template(checkpoint, &configuration)?;
        Ok(Some(Self { inner, begin, end, ends, template }))
    }

    /// One more than the highest id.
    pub(super) fn vocabulary_size(&self) -> usize {
        let highest = self.inner.get_vocab(true).into_values().max();
        highest.map_or(0, |highest| highest as usize + 1)
    }

    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(super) fn begin_text(&self) -> Option<&str> {
        self.begin.as_deref()
    }

    pub(super) fn end_text(&self) -> Option<&str> {
        self.end.as_deref()
    }

    pub(super) fn template(&self) -> Option<&str> {
        self.template.as_deref()
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, false)
    }

    pub(super) fn encode_document(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, true)
    }

    /// A template writes the token that begins a text itself.
    pub(super) fn encode_chat(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let begun = self.begin.as_ref().is_some_and(|begin| !begin.is_empty() && text.starts_with(begin));
        self.encode_with(text, !begun)
    }

    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(broken)
    }

    fn encode_with(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.inner.encode_fast(text, add_special).map_err(broken)?.get_ids().to_vec())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Broken(error.to_string())
}

/// The tokenizer of a folder that has the vocabulary of BERT alone.
pub(super) fn word_piece(checkpoint: &Checkpoint<'_>) -> Result<WordPieceTokenizer, TokenizerError> {
    let configuration = document(checkpoint, "tokenizer_config.json")?;
    let lowercase = configuration.get("do_lower_case").and_then(Value::as_bool).unwrap_or(true);
    let found = WordPieceTokenizer::open(checkpoint, lowercase)?;
    found.ok_or_else(|| TokenizerError::Unsupported("without a `tokenizer.json`".to_owned()))
}

/// A JSON object beside the model; an empty one where there is none.
fn document(checkpoint: &Checkpoint<'_>, name: &str) -> Result<Map<String, Value>, TokenizerError> {
    let Some(bytes) = checkpoint.document(name, MAX_DOCUMENT_BYTES)? else {
        return Ok(Map::new());
    };
    serde_json::from_slice(&bytes).map_err(|error| TokenizerError::Broken(format!("`{name}`: {error}")))
}

/// A token is given as its text or as an object that holds it.
fn text_of(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// One id or a list of them.
fn ids_of(value: &Value) -> Vec<u32> {
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
    value.as_array().map_or_else(|| id(value).into_iter().collect(), |ids| ids.iter().filter_map(id).collect())
}

/// The chat template: a file of its own, or a key of the tokenizer's configuration.
fn template(checkpoint: &Checkpoint<'_>, configuration: &Map<String, Value>) -> Result<Option<String>, TokenizerError> {
    let file = checkpoint.document("chat_template.jinja", MAX_DOCUMENT_BYTES)?;
    if let Some(bytes) = file {
        let text = String::from_utf8(bytes);
        return text.map(Some).map_err(|_| TokenizerError::Broken("the chat template is not UTF-8".to_owned()));
    }
    let key = configuration.get("chat_template");
    let named = |list: &Vec<Value>| {
        let usual = list.iter().find(|entry| entry.get("name").is_some_and(|name| name == "default"))?;
        usual.get("template")?.as_str().map(ToOwned::to_owned)
    };
    Ok(match key {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(list)) => named(list),
        _ => None,
    })
}
