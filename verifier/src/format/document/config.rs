//! What `config.json` of a Hugging Face folder says about the model.

use serde_json::{Map, Value, json};

use super::quantization::QuantizationConfig;
use super::{number, short_text};
use crate::evidence::{CacheLayout, Finding, InspectionVerdict, Severity};
use crate::format::found::{Found, shown};
use crate::words::listed;

/// Names of the longest context, in the order of how usual they are.
const CONTEXT: [&str; 5] = ["max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"];
/// Layers whose cache is counted; the deepest models have some 130.
const MAX_LAYERS: u64 = 10_000;

/// The facts that inspection uses.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Config {
    /// The folder the file is in; empty for the top.
    pub(crate) folder: String,
    /// `model_type`, such as `llama`.
    pub(crate) architecture: Option<String>,
    pub(crate) context_length: Option<u64>,
    pub(crate) quantization: Option<QuantizationConfig>,
    pub(crate) cache: Option<CacheLayout>,
}

impl Config {
    pub(super) fn read(path: &str, document: &Map<String, Value>, found: &mut Found) -> Self {
        check_remote_code(document, found);
        found.facts = facts(document);
        // A multimodal model nests the configuration of its language model.
        let text = document.get("text_config").and_then(Value::as_object).unwrap_or(document);
        Self {
            folder: path.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default(),
            architecture: short_text(document.get("model_type")),
            context_length: number(document, &CONTEXT).or_else(|| number(text, &CONTEXT)),
            quantization: QuantizationConfig::of_config(document).or_else(|| QuantizationConfig::of_config(text)),
            cache: cache(text),
        }
    }
}

/// What attention keeps per token, by the names that Transformers configurations use.
fn cache(text: &Map<String, Value>) -> Option<CacheLayout> {
    let layers = number(text, &["num_hidden_layers", "n_layer", "n_layers", "num_layers"])
        .filter(|layers| (1..=MAX_LAYERS).contains(layers))?;
    let per_layer = elements_per_layer(text)?;
    let windowed = windowed_layers(text, layers);
    Some(CacheLayout {
        elements_per_token: (layers - windowed).saturating_mul(per_layer),
        windowed_elements_per_token: windowed.saturating_mul(per_layer),
        window: if windowed > 0 { number(text, &["sliding_window"]) } else { None },
    })
}

fn elements_per_layer(text: &Map<String, Value>) -> Option<u64> {
    // Multi-head latent attention keeps one compressed vector and the rotary part of the keys.
    if let Some(rank) = number(text, &["kv_lora_rank"]) {
        return Some(rank.saturating_add(number(text, &["qk_rope_head_dim"]).unwrap_or(0)));
    }
    let heads = number(text, &["num_attention_heads", "n_head", "n_heads"]).filter(|heads| *heads > 0)?;
    let key_value_heads = number(text, &["num_key_value_heads", "multi_query_group_num"]).unwrap_or(heads);
    let head_length =
        number(text, &["head_dim"]).or_else(|| Some(number(text, &["hidden_size", "n_embd", "d_model"])? / heads))?;
    Some(key_value_heads.saturating_mul(head_length).saturating_mul(2))
}

fn windowed_layers(text: &Map<String, Value>, layers: u64) -> u64 {
    let types = text.get("layer_types").and_then(Value::as_array);
    let windowed = types.map_or(0, |types| types.iter().filter(|name| *name == "sliding_attention").count() as u64);
    windowed.min(layers)
}

/// Code that loading the model would run, from this folder or from another repository.
fn check_remote_code(document: &Map<String, Value>, found: &mut Found) {
    let mut targets = Vec::new();
    for key in ["auto_map", "auto_mapping", "custom_pipelines"] {
        if let Some(value) = document.get(key).filter(|value| !value.is_null()) {
            collect_texts(value, &mut targets);
            if targets.is_empty() {
                targets.push(key.to_owned());
            }
        }
    }
    // Transformers takes `owner/name` here as a kernel to download and run.
    for key in
        ["attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation"]
    {
        targets.extend(short_text(document.get(key)).filter(|name| name.contains('/')).map(|name| format!("{name}--")));
    }
    if !targets.is_empty() {
        found.add(InspectionVerdict::Suspicious, remote_code(&targets));
    }
}

/// The texts in `value`, without following more than a handful.
pub(super) fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    const MAX_TEXTS: usize = 16;
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        match value {
            Value::String(text) if texts.len() < MAX_TEXTS => texts.push(text.clone()),
            Value::Array(values) => pending.extend(values.iter().rev().take(MAX_TEXTS)),
            Value::Object(values) => pending.extend(values.values().take(MAX_TEXTS)),
            _ => {}
        }
    }
}

/// `owner/name--module.Class` names code of another repository, which can change at any time.
pub(crate) fn remote_code(targets: &[String]) -> Finding {
    if let Some(repository) = targets.iter().find_map(|target| Some(target.split_once("--")?.0)) {
        let detail = format!("Loading the model fetches and runs code of the repository `{}`.", shown(repository));
        let remedy = "load the model without remote code, or review that code and copy it into this folder";
        return Finding::new("REMOTE_CODE", Severity::High, detail, remedy);
    }
    let names: Vec<String> = targets.iter().map(|name| shown(name)).collect();
    let detail =
        format!("Loading the model with `transformers` asks for Python code from this folder ({}).", listed(&names, 4));
    let remedy = "review the code, or use an architecture that the library has built in";
    Finding::new("REMOTE_CODE", Severity::Medium, detail, remedy)
}

fn facts(document: &Map<String, Value>) -> Map<String, Value> {
    const TEXTS: [&str; 5] = ["model_type", "torch_dtype", "dtype", "transformers_version", "license"];
    let mut facts: Map<String, Value> =
        TEXTS.iter().filter_map(|key| Some(((*key).to_owned(), json!(short_text(document.get(*key))?)))).collect();
    if let Some(names) = document.get("architectures").and_then(Value::as_array) {
        let names: Vec<String> = names.iter().take(4).filter_map(|name| short_text(Some(name))).collect();
        facts.insert("architectures".to_owned(), json!(names));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Config, Found) {
        let mut found = Found::new();
        let document: Value = serde_json::from_str(text).unwrap();
        (Config::read("a/config.json", document.as_object().unwrap(), &mut found), found)
    }

    #[test]
    fn facts_of_a_multimodal_model_come_from_its_text_part() {
        let (config, found) = read(r#"{"model_type":"gemma3","text_config":{"max_position_embeddings":131072}}"#);
        assert_eq!(config.architecture.as_deref(), Some("gemma3"));
        assert_eq!((config.context_length, config.folder.as_str()), (Some(131_072), "a"));
        assert!(found.into_findings().is_empty());
    }

    #[test]
    fn the_cache_follows_grouped_latent_and_windowed_attention() {
        let elements = |text: &str| {
            let cache = read(text).0.cache.unwrap();
            (cache.elements_per_token, cache.windowed_elements_per_token, cache.window)
        };
        let grouped = r#"{"num_hidden_layers":32,"num_attention_heads":32,"num_key_value_heads":8,"hidden_size":4096}"#;
        assert_eq!(elements(grouped), (32 * 8 * 128 * 2, 0, None));
        let latent = r#"{"num_hidden_layers":61,"num_attention_heads":128,"kv_lora_rank":512,"qk_rope_head_dim":64}"#;
        assert_eq!(elements(latent), (61 * 576, 0, None));
        let windowed = r#"{"num_hidden_layers":2,"num_attention_heads":1,"head_dim":4,"sliding_window":512,
            "layer_types":["sliding_attention","full_attention"]}"#;
        assert_eq!(elements(windowed), (8, 8, Some(512)));
    }

    #[test]
    fn code_from_the_folder_and_from_elsewhere_are_told_apart() {
        let severity = |text: &str| read(text).1.into_findings().first().map(|finding| finding.severity);
        assert_eq!(severity(r#"{"auto_map":{"AutoModel":"modeling_x.X"}}"#), Some(Severity::Medium));
        assert_eq!(severity(r#"{"auto_map":{"AutoModel":"evil/repo--modeling_x.X"}}"#), Some(Severity::High));
        assert_eq!(severity(r#"{"_attn_implementation":"evil/kernel"}"#), Some(Severity::High));
        assert_eq!(severity(r#"{"_attn_implementation":"sdpa"}"#), None);
    }
}
