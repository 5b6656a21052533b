//! What `model_index.json` says about a pipeline of several models (Stable Diffusion and its kin).

use serde_json::{Map, Value, json};

use super::config::remote_code;
use crate::evidence::InspectionVerdict;
use crate::format::found::Found;

/// Libraries whose classes a pipeline may name without bringing code along.
const LIBRARIES: [&str; 7] =
    ["diffusers", "transformers", "onnxruntime", "onnxruntime.training", "optimum", "stable_diffusion", "flax"];
/// Components of one pipeline; real ones have below 20.
const MAX_COMPONENTS: usize = 64;

/// The facts that inspection uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pipeline {
    /// `_class_name`, such as `StableDiffusionPipeline`.
    pub(crate) class: Option<String>,
    /// Folders of the models that the pipeline is made of.
    pub(crate) components: Vec<String>,
}

impl Pipeline {
    pub(super) fn read(document: &Map<String, Value>, found: &mut Found) -> Self {
        let mut targets = Vec::new();
        let mut components = Vec::new();
        for (name, value) in document.iter().filter(|(name, _)| !name.starts_with('_')) {
            let Some([library, class]) = value.as_array().map(Vec::as_slice) else { continue };
            let (Some(library), Some(class)) = (library.as_str(), class.as_str()) else { continue };
            if components.len() < MAX_COMPONENTS {
                components.push(name.clone());
            }
            if !is_library(library) {
                targets.push(format!("{name}/{library}.{class}"));
            }
        }
        components.sort_unstable();
        // A pair instead of a name asks for a pipeline class from a module of the folder.
        let class = document.get("_class_name");
        if let Some([module, _]) = class.and_then(Value::as_array).map(Vec::as_slice) {
            targets.push(module.as_str().unwrap_or("_class_name").to_owned());
        }
        if !targets.is_empty() {
            found.add(InspectionVerdict::Suspicious, remote_code(&targets));
        }
        let class = class.and_then(Value::as_str).map(str::to_owned);
        found.facts = facts(class.as_deref(), &components, document);
        Self { class, components }
    }
}

/// A library of the list, or a pipeline module of Diffusers itself (`stable_diffusion`, …).
fn is_library(name: &str) -> bool {
    let root = name.split('.').next().unwrap_or_default();
    LIBRARIES.contains(&name) || LIBRARIES.contains(&root)
}

fn facts(class: Option<&str>, components: &[String], document: &Map<String, Value>) -> Map<String, Value> {
    let mut facts = Map::new();
    if let Some(class) = class {
        facts.insert("pipeline".to_owned(), json!(class.chars().take(200).collect::<String>()));
    }
    facts.insert("components".to_owned(), json!(components));
    if let Some(version) = document.get("_diffusers_version").and_then(Value::as_str) {
        facts.insert("diffusers_version".to_owned(), json!(version.chars().take(40).collect::<String>()));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Pipeline, Found) {
        let mut found = Found::new();
        let document: Value = serde_json::from_str(text).unwrap();
        (Pipeline::read(document.as_object().unwrap(), &mut found), found)
    }

    #[test]
    fn components_of_known_libraries_are_fine() {
        let text = r#"{"_class_name":"StableDiffusionPipeline","unet":["diffusers","UNet2DConditionModel"],
            "safety_checker":["stable_diffusion","StableDiffusionSafetyChecker"],"feature_extractor":[null,null]}"#;
        let (pipeline, found) = read(text);
        assert_eq!(pipeline.class.as_deref(), Some("StableDiffusionPipeline"));
        assert_eq!(pipeline.components, ["safety_checker", "unet"]);
        assert_eq!(found.verdict, InspectionVerdict::Ok);
    }

    #[test]
    fn a_module_of_the_folder_is_code() {
        for text in [r#"{"_class_name":["my_pipeline","X"]}"#, r#"{"unet":["my_unet","X"]}"#] {
            assert_eq!(read(text).1.verdict, InspectionVerdict::Suspicious, "{text}");
        }
    }
}
