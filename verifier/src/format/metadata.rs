//! The part of a file's own metadata that goes into evidence.
//!
//! Evidence is kept forever and shown on pages, so it takes a bounded number of short facts.
//! Facts that other stages read (license, base model) come first: a file with thousands of
//! keys must not push its license out.

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::found::Found;
use super::gguf::{self, Array, Value};
use super::safetensors;
use crate::evidence::{Finding, InspectionVerdict, Severity};

const MAX_ENTRIES: usize = 96;
const MAX_TEXT_CHARS: usize = 512;
const MAX_LIST_ENTRIES: usize = 16;

/// Facts of a GGUF file: scalars, short lists, and the digest of the chat template.
pub(super) fn of_gguf(header: &gguf::Header) -> Map<String, Json> {
    let mut entries: Vec<(&str, Json)> =
        header.metadata.iter().filter_map(|(key, value)| Some((key.as_str(), gguf_fact(key, value)?))).collect();
    entries.sort_by_key(|(key, _)| priority(key));
    bounded(entries)
}

/// Facts of a safetensors file: its `__metadata__`.
pub(super) fn of_safetensors(header: &safetensors::Header) -> Map<String, Json> {
    let mut entries: Vec<(&str, Json)> =
        header.metadata.iter().map(|(key, value)| (key.as_str(), json!(shorten(value)))).collect();
    entries.sort_by_key(|(key, _)| priority(key));
    bounded(entries)
}

fn bounded(entries: Vec<(&str, Json)>) -> Map<String, Json> {
    entries.into_iter().take(MAX_ENTRIES).map(|(key, value)| (shorten(key), value)).collect()
}

fn priority(key: &str) -> u8 {
    match key {
        key if key.contains("license") => 0,
        key if key.contains("base_model") => 1,
        key if key.starts_with("general.") => 2,
        key if key.starts_with("tokenizer.") => 4,
        _ => 3,
    }
}

fn gguf_fact(key: &str, value: &Value) -> Option<Json> {
    if key.starts_with("tokenizer.chat_template") {
        let text = value.as_str()?;
        return Some(json!({ "sha256": hex::encode(Sha256::digest(text)), "bytes": text.len() }));
    }
    match value {
        Value::String(text) => Some(json!(shorten(text))),
        Value::Bool(flag) => Some(json!(flag)),
        Value::I8(number) => Some(json!(number)),
        Value::I16(number) => Some(json!(number)),
        Value::I32(number) => Some(json!(number)),
        Value::I64(number) => Some(json!(number)),
        Value::Array(Array::Strings(texts)) if texts.len() <= MAX_LIST_ENTRIES => {
            Some(texts.iter().map(|text| shorten(text)).collect())
        }
        Value::Array(_) => None,
        other => other.as_u64().map(|number| json!(number)).or_else(|| other.as_f64().map(|number| json!(number))),
    }
}

/// At most 512 characters; a cut is marked, because a shortened license name is not that license.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Markup in metadata runs in a careless page; nothing honest needs it there.
pub(super) fn check_scripts(found: &mut Found) {
    let texts = || found.facts.values().filter_map(Json::as_str).map(str::to_ascii_lowercase);
    let verdict = if texts().any(|text| text.contains("<script")) {
        InspectionVerdict::Dangerous
    } else if texts().any(|text| text.contains("javascript:")) {
        InspectionVerdict::Suspicious
    } else {
        return;
    };
    let finding = Finding::new(
        "SCRIPT_IN_METADATA",
        Severity::High,
        "The file's metadata holds a script for web pages.",
        "write the file anew without that metadata",
    );
    found.add(verdict, finding);
}
