//! The model's tokenizer, built from its header.
//!
//! shimmytok gives the token ids of llama.cpp, but it comes with a GGUF parser of its own
//! that is more lenient than ours and keeps every metadata value twice. It therefore never
//! sees the file: it is handed a small GGUF document with the tokenizer's keys alone, as our
//! strict reader understood them.

use shimmytok::{EncodeOptions, Tokenizer as Inner};
use verifier::format::gguf::{Array, Header, Value};

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenizerError {
    #[error("the tokenizer {0} is not one the engine computes")]
    Unsupported(String),
    #[error("the tokenizer is broken: {0}")]
    Broken(String),
}

/// Values of `tokenizer.ggml.pre` whose splitting rules are implemented. An unknown one would
/// silently be tokenized by the rules of another model.
const KNOWN_SPLITTERS: &[&str] = &[
    "default",
    "llama3",
    "llama-v3",
    "llama-bpe",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "deepseek-r1-qwen",
    "falcon",
    "starcoder",
    "refact",
    "command-r",
    "smollm",
    "codeshell",
    "exaone",
    "minerva",
    "gpt-2",
    "phi-2",
    "jina-es",
    "jina-de",
    "mpt",
    "olmo",
    "jais",
    "trillion",
    "granite-docling",
    "exaone4",
    "qwen2",
    "stablelm2",
    "hunyuan",
    "megrez",
    "chatglm4",
    "glm4",
    "chatglm-bpe",
    "dbrx",
    "smaug-bpe",
    "tekken",
    "gpt-4o",
    "llama4",
];

/// Texts of tokens that end a turn, which some files do not list among their special ids.
const END_OF_TURN_TEXTS: &[&str] =
    &["<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "<|end_of_text|>", "</s>"];

pub(crate) struct Tokenizer {
    inner: Inner,
    begin: Option<String>,
    end: Option<String>,
    ends: Vec<u32>,
}

impl Tokenizer {
    pub(crate) fn from_header(header: &Header) -> Result<Self, TokenizerError> {
        check_kind(header)?;
        let document = tokenizer_document(header);
        let inner = Inner::from_bytes(&document).map_err(|error| TokenizerError::Broken(error.to_string()))?;
        let mut ends: Vec<u32> = ["eos", "eot", "eom"].iter().filter_map(|name| special_id(header, name)).collect();
        ends.extend(END_OF_TURN_TEXTS.iter().filter_map(|text| inner.get_token(text)));
        ends.sort_unstable();
        ends.dedup();
        let text = |name: &str| Some(tokens(header).get(special_id(header, name)? as usize)?.clone());
        Ok(Self { begin: text("bos"), end: text("eos"), ends, inner })
    }

    /// The number of entries of the vocabulary.
    pub(crate) fn vocabulary_size(&self) -> usize {
        self.inner.vocab_size()
    }

    /// Tokens after which a turn or text is over.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The text of the token that begins a text, for chat templates.
    pub(crate) fn begin_text(&self) -> Option<&str> {
        self.begin.as_deref()
    }

    /// The text of the token that ends a text, for chat templates.
    pub(crate) fn end_text(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// Plain text, without special tokens.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, false, false)
    }

    /// Plain text with the tokens that the model wants at its beginning and end.
    pub(crate) fn encode_document(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, true, false)
    }

    /// A rendered chat, in which the texts of special tokens stand for those tokens. The beginning
    /// is added only where the template did not write it.
    pub(crate) fn encode_chat(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let begun = self.begin.as_ref().is_some_and(|begin| !begin.is_empty() && text.starts_with(begin));
        self.encode_with(text, !begun, true)
    }

    fn encode_with(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let options = EncodeOptions::with_parse_special(add_special, parse_special);
        self.inner.encode_with_options(text, &options).map_err(|error| TokenizerError::Broken(error.to_string()))
    }

    pub(crate) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(|error| TokenizerError::Broken(error.to_string()))
    }
}

fn check_kind(header: &Header) -> Result<(), TokenizerError> {
    let splitter = header.get("tokenizer.ggml.pre").and_then(Value::as_str).unwrap_or("default");
    match header.get("tokenizer.ggml.model").and_then(Value::as_str) {
        Some("llama") => Ok(()),
        Some("gpt2") if KNOWN_SPLITTERS.contains(&splitter) => Ok(()),
        Some("gpt2") => Err(TokenizerError::Unsupported(format!("`gpt2` with the splitter `{splitter}`"))),
        Some(other) => Err(TokenizerError::Unsupported(format!("`{other}`"))),
        None => Err(TokenizerError::Broken("`tokenizer.ggml.model` is missing".to_owned())),
    }
}

/// The texts of the vocabulary, empty where the header has none.
pub(crate) fn tokens(header: &Header) -> &[String] {
    header.get("tokenizer.ggml.tokens").and_then(|value| value.as_array()?.as_strings()).unwrap_or_default()
}

/// The id that `tokenizer.ggml.NAME_token_id` gives.
pub(crate) fn special_id(header: &Header, name: &str) -> Option<u32> {
    header.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?.try_into().ok()
}

const TYPE_U32: u32 = 4;
const TYPE_I32: u32 = 5;
const TYPE_F32: u32 = 6;
const TYPE_BOOL: u32 = 7;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// A GGUF document without tensors that holds the tokenizer's keys in the types shimmytok expects.
fn tokenizer_document(header: &Header) -> Vec<u8> {
    let is_used = |key: &str| key.starts_with("tokenizer.ggml.");
    let entries = header.metadata.iter().filter(|(key, _)| is_used(key)).filter_map(|(key, value)| entry(key, value));
    let entries: Vec<Vec<u8>> = entries.collect();
    let mut document = b"GGUF".to_vec();
    document.extend(3_u32.to_le_bytes());
    document.extend(0_u64.to_le_bytes());
    document.extend((entries.len() as u64).to_le_bytes());
    document.extend(entries.concat());
    document
}

fn entry(key: &str, value: &Value) -> Option<Vec<u8>> {
    let mut entry = string(key);
    match value {
        Value::String(text) => append(&mut entry, TYPE_STRING, &string(text)),
        Value::Bool(flag) => append(&mut entry, TYPE_BOOL, &[u8::from(*flag)]),
        Value::Array(Array::Strings(texts)) => {
            append_array(&mut entry, TYPE_STRING, texts.len(), texts.iter().flat_map(|text| string(text)));
        }
        Value::Array(Array::F32(values)) => {
            append_array(&mut entry, TYPE_F32, values.len(), values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Value::Array(Array::I32(values)) => {
            append_array(&mut entry, TYPE_I32, values.len(), values.iter().flat_map(|value| value.to_le_bytes()));
        }
        other => append(&mut entry, TYPE_U32, &u32::try_from(other.as_u64()?).ok()?.to_le_bytes()),
    }
    Some(entry)
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn append(entry: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    entry.extend(kind.to_le_bytes());
    entry.extend_from_slice(bytes);
}

fn append_array(entry: &mut Vec<u8>, kind: u32, length: usize, bytes: impl Iterator<Item = u8>) {
    append(entry, TYPE_ARRAY, &kind.to_le_bytes());
    entry.extend((length as u64).to_le_bytes());
    entry.extend(bytes);
}
