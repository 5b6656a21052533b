//! What `config.json` of a Hugging Face folder says about the model.

use serde_json::{Map, Value, json};

use super::content::Content;
use super::found::Found;
use super::findings;
use super::scan::read_bounded;
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Largest `config.json` that is parsed, in bytes; those of real models are below 64 KiB.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// Adds the facts of a configuration.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    match read_bounded(content.source, MAX_CONFIG_BYTES) {
        Ok(Some(bytes)) => match parse(&bytes) {
            Ok(config) => take(config, found),
            Err(reason) => findings::malformed(found, "CONFIG_INVALID", &reason),
        },
        Ok(None) => {
            let size = content.source.size();
            let detail = format!("the file has {size} bytes; at most {MAX_CONFIG_BYTES} are read");
            findings::unscannable(found, "CONFIG_TOO_LARGE", &detail, "remove what does not belong into config.json");
        }
        Err(error) => findings::unreadable(found, &error),
    }
}

fn take(config: Config, found: &mut Found) {
    if config.remote_code {
        found.add(InspectionVerdict::Suspicious, remote_code());
    }
    found.facts.clone_from(&config.metadata);
    found.config = Some(config);
}

fn remote_code() -> Finding {
    Finding::new(
        "REMOTE_CODE",
        Severity::Medium,
        "Loading the model with `transformers` asks for Python code from this folder (`auto_map`).",
        "review the code, or use an architecture that the library has built in",
    )
}

/// The facts that inspection uses.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Config {
    /// `model_type`, such as `llama`.
    pub(crate) architecture: Option<String>,
    pub(crate) context_length: Option<u64>,
    /// Whether loading the model asks for Python code from the folder.
    pub(crate) remote_code: bool,
    pub(crate) metadata: Map<String, Value>,
}

/// Reads the facts, or says why the text is no configuration.
pub(super) fn parse(bytes: &[u8]) -> Result<Config, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Value::Object(document) = document else {
        return Err("it is not a JSON object".to_owned());
    };
    let architecture = short_text(document.get("model_type"));
    let context_length = number(&document, &["max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"]);
    let remote_code = document.contains_key("auto_map");
    Ok(Config { architecture, context_length, remote_code, metadata: facts(&document) })
}

/// The first of `keys` that holds a number, also where a multimodal model nests its text part.
fn number(document: &Map<String, Value>, keys: &[&str]) -> Option<u64> {
    let nested = document.get("text_config").and_then(Value::as_object);
    [Some(document), nested]
        .into_iter()
        .flatten()
        .find_map(|object| keys.iter().find_map(|key| object.get(*key).and_then(Value::as_u64)))
}

fn facts(document: &Map<String, Value>) -> Map<String, Value> {
    const TEXTS: [&str; 5] = ["model_type", "torch_dtype", "dtype", "transformers_version", "license"];
    let mut facts: Map<String, Value> =
        TEXTS.iter().filter_map(|key| Some(((*key).to_owned(), json!(short_text(document.get(*key))?)))).collect();
    let architectures = document.get("architectures").and_then(Value::as_array);
    if let Some(names) = architectures {
        let names: Vec<String> = names.iter().take(4).filter_map(|name| short_text(Some(name))).collect();
        facts.insert("architectures".to_owned(), json!(names));
    }
    facts
}

fn short_text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    (text.len() <= 200).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_a_multimodal_model_come_from_its_text_part() {
        let config = parse(br#"{"model_type":"gemma3","text_config":{"max_position_embeddings":131072}}"#).unwrap();
        assert_eq!(config.architecture.as_deref(), Some("gemma3"));
        assert_eq!(config.context_length, Some(131_072));
        assert!(!config.remote_code);
    }

    #[test]
    fn remote_code_is_seen() {
        let text = br#"{"model_type":"x","auto_map":{"AutoModel":"modeling_x.X"}}"#;
        assert!(parse(text).unwrap().remote_code);
    }

    #[test]
    fn text_that_is_no_object_is_refused() {
        assert!(parse(b"[]").is_err());
        assert!(parse(b"{").is_err());
    }
}
