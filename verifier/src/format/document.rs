//! The JSON documents beside weights: what they say about the model, and what they make loaders do.

mod adapter;
mod config;
mod index;
mod pipeline;
mod quantization;

pub(crate) use adapter::Adapter;
pub(crate) use config::{Config, remote_code};
pub(crate) use index::{Index, NameDigest, name_digest};
pub(crate) use pipeline::Pipeline;
pub(crate) use quantization::QuantizationConfig;

use serde_json::{Map, Value};

use super::content::Content;
use super::found::{Found, shown};
use super::scan::read_bounded;
use super::{findings, json, kind};
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Largest document of a few facts that is parsed, in bytes; those of real models are below 64 KiB.
const MAX_DOCUMENT_BYTES: u64 = 1024 * 1024;

/// What a document of a known role says.
#[derive(Debug)]
pub(crate) enum Document {
    Config(Config),
    Index(Index),
    Adapter(Adapter),
    Pipeline(Pipeline),
    Quantization(QuantizationConfig),
}

/// What a document is for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Config,
    Index,
    Adapter,
    Pipeline,
    Quantization,
}

impl Role {
    fn of(path: &str) -> Option<Self> {
        match kind::file_name(path) {
            "config.json" => Some(Self::Config),
            "adapter_config.json" => Some(Self::Adapter),
            "model_index.json" => Some(Self::Pipeline),
            "quantize_config.json" | "quant_config.json" => Some(Self::Quantization),
            name if name.ends_with(".index.json") => Some(Self::Index),
            _ => None,
        }
    }
}

/// Whether the JSON file called `path` is one of these documents.
pub(crate) fn is_known(path: &str) -> bool {
    Role::of(path).is_some()
}

/// Whether it says which file holds which tensors.
pub(crate) fn is_index(path: &str) -> bool {
    Role::of(path) == Some(Role::Index)
}

/// Reads the document and adds what it says.
pub(crate) fn scan(content: &Content<'_>, found: &mut Found) {
    let Some(role) = Role::of(content.path) else { return };
    let limit = if role == Role::Index { index::MAX_INDEX_BYTES } else { MAX_DOCUMENT_BYTES };
    match read_bounded(content.source, limit) {
        Ok(Some(bytes)) if role == Role::Index => index::read(&bytes, found),
        Ok(Some(bytes)) => read(role, content.path, &bytes, found),
        Ok(None) => {
            let detail = format!("the file has {} bytes; at most {limit} are read", content.source.size());
            findings::unscannable(found, "CONFIG_TOO_LARGE", &detail, "remove what does not belong into the file");
        }
        Err(error) => findings::unreadable(found, &error),
    }
}

fn read(role: Role, path: &str, bytes: &[u8], found: &mut Found) {
    let document = match json::parse(bytes) {
        Ok(document) => document,
        Err(error) => return findings::malformed(found, "CONFIG_INVALID", &error),
    };
    let Value::Object(object) = document.value else {
        return findings::malformed(found, "CONFIG_INVALID", &"it is not a JSON object");
    };
    check_repeated(&document.repeated, found);
    found.document = Some(match role {
        Role::Config | Role::Index => Document::Config(Config::read(path, &object, found)),
        Role::Adapter => Document::Adapter(Adapter::read(&object, found)),
        Role::Pipeline => Document::Pipeline(Pipeline::read(&object, found)),
        Role::Quantization => Document::Quantization(QuantizationConfig::read(&object)),
    });
}

fn check_repeated(repeated: &[String], found: &mut Found) {
    if repeated.is_empty() {
        return;
    }
    let names: Vec<String> = repeated.iter().map(|name| shown(name)).collect();
    let detail = format!("The file gives keys twice, so readers disagree on them: {}.", names.join(", "));
    let finding =
        Finding::new("CONFIG_DUPLICATE_KEY", Severity::High, detail, "keep one of the entries and write the file anew");
    found.add(InspectionVerdict::Malformed, finding);
}

/// A text of at most 200 bytes; longer ones are nobody's name.
fn short_text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    (text.len() <= 200).then(|| text.to_owned())
}

/// The first of `keys` that holds a number.
fn number(object: &Map<String, Value>, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|key| object.get(*key).and_then(Value::as_u64))
}
