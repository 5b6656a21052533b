//! What `adapter_config.json` says about an adapter (LoRA and its kin).

use serde_json::{Map, Value, json};

use super::config::{collect_texts, remote_code};
use super::{number, short_text};
use crate::evidence::InspectionVerdict;
use crate::format::found::Found;

/// The facts that inspection uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Adapter {
    /// `peft_type`, such as `LORA`.
    pub(crate) method: Option<String>,
    /// Rank of the low-rank matrices where no pattern changes it for single layers.
    pub(crate) rank: Option<u64>,
}

impl Adapter {
    pub(super) fn read(document: &Map<String, Value>, found: &mut Found) -> Self {
        // `auto_mapping` names the class of the base; with a module of its own it loads that code.
        let library = document.get("auto_mapping").and_then(|mapping| mapping.get("parent_library"));
        let mut targets = Vec::new();
        if let Some(library) = library {
            collect_texts(library, &mut targets);
        }
        targets.retain(|module| module.starts_with("transformers_modules") || module.contains("--"));
        if !targets.is_empty() {
            found.add(InspectionVerdict::Suspicious, remote_code(&targets));
        }
        found.facts = facts(document);
        let has_pattern = document.get("rank_pattern").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
        Self {
            method: short_text(document.get("peft_type")),
            rank: if has_pattern { None } else { number(document, &["r"]) },
        }
    }
}

fn facts(document: &Map<String, Value>) -> Map<String, Value> {
    let mut facts = Map::new();
    for key in ["peft_type", "task_type", "base_model_name_or_path", "revision", "peft_version"] {
        if let Some(text) = short_text(document.get(key)) {
            facts.insert(key.to_owned(), json!(text));
        }
    }
    for key in ["r", "lora_alpha"] {
        if let Some(value) = document.get(key).filter(|value| value.is_number()) {
            facts.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(modules) = document.get("target_modules").and_then(Value::as_array) {
        let names: Vec<String> = modules.iter().take(32).filter_map(|name| short_text(Some(name))).collect();
        facts.insert("target_modules".to_owned(), json!(names));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_base_and_targets_are_read() {
        let text = r#"{"peft_type":"LORA","r":8,"lora_alpha":16,"base_model_name_or_path":"a/b","target_modules":["q_proj"],
            "auto_mapping":{"base_model_class":"X","parent_library":"transformers.models.x"}}"#;
        let mut found = Found::new();
        let adapter = Adapter::read(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap(), &mut found);
        assert_eq!((adapter.method.as_deref(), adapter.rank), (Some("LORA"), Some(8)));
        assert_eq!(found.facts["base_model_name_or_path"], "a/b");
        assert_eq!(found.verdict, InspectionVerdict::Ok);
    }
}
