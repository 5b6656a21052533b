//! What a GGUF file says about the model, and what is wrong with it.

use serde_json::{Map, Value as Json, json};

use super::super::content::Content;
use super::super::found::{Found, Split, Weights};
use super::super::tensor::Tensor;
use super::super::{findings, metadata, template};
use super::{Array, GgufError, Header, TensorInfo, Value, read_header};
use crate::evidence::CacheLayout;

/// Layers whose cache is counted; the deepest models have some 130.
const MAX_LAYERS: u64 = 10_000;
/// Most templates of a file that are judged.
const MAX_TEMPLATES: usize = 16;

pub(crate) fn scan(content: &Content<'_>, found: &mut Found) {
    match read_header(content.source) {
        Ok(header) => {
            found.facts = metadata::of_gguf(&header);
            metadata::check_scripts(found);
            check_vocabulary(&header, found);
            found.tokenizer = tokenizer(&header);
            judge_templates(&header, found);
            found.weights = Some(weights(header));
        }
        Err(GgufError::Io(error)) => findings::unreadable(found, &error),
        Err(error) if error.is_unsupported() => findings::unsupported(found, error.code(), &error),
        Err(error) => findings::malformed(found, error.code(), &error),
    }
}

/// A token beyond the embedding's rows reads memory that belongs to something else.
fn check_vocabulary(header: &Header, found: &mut Found) {
    let tokens = header.get("tokenizer.ggml.tokens").and_then(Value::as_array).map(|tokens| tokens.len() as u64);
    let rows = header.tensor("token_embd.weight").and_then(|tensor| tensor.dimensions.get(1));
    let (Some(tokens), Some(rows)) = (tokens, rows) else { return };
    if tokens > *rows {
        let reason = format!("the vocabulary has {tokens} tokens, and the embedding has {rows} rows");
        findings::malformed(found, "GGUF_VOCABULARY_MISMATCH", &reason);
    }
    for key in ["tokenizer.ggml.scores", "tokenizer.ggml.token_type"] {
        let length = header.get(key).and_then(Value::as_array).map(|values| values.len() as u64);
        if let Some(length) = length.filter(|length| *length != tokens) {
            let reason = format!("`{key}` has {length} entries for {tokens} tokens");
            findings::malformed(found, "GGUF_VOCABULARY_MISMATCH", &reason);
        }
    }
}

/// The facts of the embedded tokenizer that people compare.
fn tokenizer(header: &Header) -> Map<String, Json> {
    const TEXTS: [(&str, &str); 2] = [("model", "tokenizer.ggml.model"), ("pre_tokenizer", "tokenizer.ggml.pre")];
    const LENGTHS: [(&str, &str); 2] =
        [("vocabulary_size", "tokenizer.ggml.tokens"), ("merges", "tokenizer.ggml.merges")];
    const IDS: [(&str, &str); 4] = [
        ("begin_of_text_id", "tokenizer.ggml.bos_token_id"),
        ("end_of_text_id", "tokenizer.ggml.eos_token_id"),
        ("unknown_id", "tokenizer.ggml.unknown_token_id"),
        ("padding_id", "tokenizer.ggml.padding_token_id"),
    ];
    let text = |key| header.get(key).and_then(Value::as_str).map(|text| json!(metadata::shorten(text)));
    let length = |key| header.get(key).and_then(Value::as_array).map(|values| json!(values.len()));
    let id = |key| header.get(key).and_then(Value::as_u64).map(|id| json!(id));
    let texts = TEXTS.iter().map(|(name, key)| (name, text(key)));
    let lengths = LENGTHS.iter().map(|(name, key)| (name, length(key)));
    let ids = IDS.iter().map(|(name, key)| (name, id(key)));
    texts.chain(lengths).chain(ids).filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect()
}

/// Judges every chat template, with the special tokens that the file names by number.
fn judge_templates(header: &Header, found: &mut Found) {
    let texts = header.get("tokenizer.ggml.tokens").and_then(Value::as_array).and_then(Array::as_strings);
    let token = |name: &str| {
        let id = header.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?;
        let text = texts?.get(usize::try_from(id).ok()?)?;
        Some((format!("{name}_token"), text.clone()))
    };
    let tokens: Vec<(String, String)> = ["bos", "eos", "unknown", "padding"].into_iter().filter_map(token).collect();
    for (key, value) in
        header.metadata.iter().filter(|(key, _)| key.starts_with("tokenizer.chat_template")).take(MAX_TEMPLATES)
    {
        if let Some(source) = value.as_str().filter(|source| template::is_template(source)) {
            template::judge(key, source, &tokens, found);
        }
    }
}

fn weights(header: Header) -> Weights {
    let architecture = header.architecture().map(str::to_owned);
    let sizes = architecture.as_deref().map(|name| Sizes { header: &header, architecture: name });
    Weights {
        context_length: sizes.as_ref().and_then(|sizes| sizes.number("context_length")),
        cache: sizes.as_ref().and_then(Sizes::cache),
        split: split(&header),
        architecture: architecture.clone(),
        tensors: header.tensors.into_iter().map(tensor).collect(),
    }
}

/// Which part of how many the file is, as llama.cpp's `gguf-split` writes it.
fn split(header: &Header) -> Option<Split> {
    let number = |key| header.get(key).and_then(Value::as_u64);
    let count = number("split.count").filter(|count| *count > 1)?;
    Some(Split { index: number("split.no").unwrap_or(0), count, tensors: number("split.tensors.count") })
}

/// Sizes under the prefix of the architecture.
struct Sizes<'h> {
    header: &'h Header,
    architecture: &'h str,
}

impl Sizes<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.header.get(&format!("{}.{key}", self.architecture))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.as_u64()
    }

    /// What attention keeps per token.
    fn cache(&self) -> Option<CacheLayout> {
        let layers = self.number("block_count").filter(|layers| (1..=MAX_LAYERS).contains(layers))?;
        let elements = match self.number("attention.kv_lora_rank") {
            // Multi-head latent attention keeps one compressed vector and the rotary part of the keys.
            Some(rank) => layers.saturating_mul(rank.saturating_add(self.number("rope.dimension_count").unwrap_or(0))),
            None => self.key_value_heads(layers)?.saturating_mul(self.head_length()?),
        };
        Some(CacheLayout { elements_per_token: elements, windowed_elements_per_token: 0, window: None })
    }

    /// Heads of keys and values over all layers; hybrid models give one number for each layer.
    fn key_value_heads(&self, layers: u64) -> Option<u64> {
        match self.value("attention.head_count_kv").or_else(|| self.value("attention.head_count"))? {
            Value::Array(Array::I32(heads)) => {
                Some(heads.iter().filter_map(|heads| u64::try_from(*heads).ok()).fold(0, u64::saturating_add))
            }
            Value::Array(Array::U32(heads)) => Some(heads.iter().fold(0, |sum, heads| sum + u64::from(*heads))),
            value => Some(value.as_u64()?.saturating_mul(layers)),
        }
    }

    /// Elements of one key and one value.
    fn head_length(&self) -> Option<u64> {
        let usual = || {
            let heads = self.number("attention.head_count").filter(|heads| *heads > 0)?;
            Some(self.number("embedding_length")? / heads)
        };
        let key = self.number("attention.key_length").or_else(usual)?;
        let value = self.number("attention.value_length").or_else(usual)?;
        Some(key.saturating_add(value))
    }
}

fn tensor(info: TensorInfo) -> Tensor {
    let mut shape = info.dimensions;
    shape.reverse();
    Tensor {
        name: info.name,
        element_type: info.tensor_type.name().into(),
        shape,
        byte_length: info.byte_length,
        offset: Some(info.offset),
    }
}
