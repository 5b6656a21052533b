//! SentencePiece vocabularies of GGUF headers.
//!
//! shimmytok gives the token ids of llama.cpp, but it comes with a GGUF parser of its own
//! that is more lenient than ours and keeps every metadata value twice. It therefore never
//! sees the file: it is handed a small GGUF document with the tokenizer's keys alone, as our
//! strict reader understood them.

use shimmytok::{EncodeOptions, Tokenizer as Inner};
use verifier::format::gguf::{Array, Header, Value};

use super::TokenizerError;

pub(super) struct SentencePiece {
    inner: Inner,
    /// Whether a space is put before a text; where the text begins with one, too.
    adds_space: bool,
}

impl SentencePiece {
    pub(super) fn from_header(header: &Header) -> Result<Self, TokenizerError> {
        let inner = Inner::from_bytes(&tokenizer_document(header)).map_err(broken)?;
        let adds_space = header.get("tokenizer.ggml.add_space_prefix").and_then(Value::as_bool).unwrap_or(true);
        Ok(Self { inner, adds_space })
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.inner.get_token(text)
    }

    /// The tokens of a text; `finds_control` says whether texts of control tokens stand for those tokens.
    pub(super) fn encode(&self, text: &str, finds_control: bool) -> Result<Vec<u32>, TokenizerError> {
        let options = EncodeOptions::with_parse_special(false, finds_control);
        // shimmytok leaves the space out before a text that begins with one; llama.cpp does not.
        let spaced = (self.adds_space && text.starts_with(' ')).then(|| format!(" {text}"));
        self.inner.encode_with_options(spaced.as_deref().unwrap_or(text), &options).map_err(broken)
    }

    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(broken)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: shimmytok::Error) -> TokenizerError {
    TokenizerError::Broken(error.to_string())
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
