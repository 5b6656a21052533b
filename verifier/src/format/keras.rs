//! Judges a Keras configuration: the JSON from which a loader builds layers.
//!
//! The configuration names Python classes and functions by module and name, and may carry
//! compiled Python code. A loader imports what it names (CVE-2025-1550) and runs what it
//! carries (CVE-2024-3660), so names are judged by an allow-list of module segments.
//! The layout: <https://keras.io/guides/serialization_and_saving/>.

mod code;
mod files;
mod names;
mod shape;

use serde_json::{Map, Value, json};

use self::names::Origin;
use super::content::Content;
use super::document::Document;
use super::findings;
use super::found::{Found, shown};
use super::reports::Reports;
use super::scan::read_bounded;
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Largest configuration that is parsed, in bytes; those of real models are below 1 MiB.
pub(super) const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;
/// Longest text kept as a fact, in bytes.
const MAX_FACT_BYTES: usize = 128;

/// Judges JSON that has the shape of a Keras serialization, whatever its name; leaves other JSON alone.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    match read_bounded(content.source, MAX_CONFIG_BYTES) {
        Ok(Some(bytes)) if shape::is_serialization(&bytes) => {
            // The name is also that of another library's configuration, which has an architecture.
            found
                .document
                .take_if(|document| matches!(document, Document::Config(config) if config.architecture.is_none()));
            judge_text(&bytes, "configuration", found);
        }
        Ok(None) if begins_as_configuration(content) => too_large(content.source.size(), found),
        Ok(_) => {}
        Err(error) => findings::unreadable(found, &error),
    }
}

fn begins_as_configuration(content: &Content<'_>) -> bool {
    let mut start = [0; 4096];
    let is_read = content.source.read_exact_at(0, &mut start).is_ok();
    is_read && [&b"\"class_name\""[..], b"\"registered_name\""].iter().any(|key| contains(&start, key))
}

/// Judges a configuration as text; `what` names it in findings.
pub(super) fn judge_text(text: &[u8], what: &str, found: &mut Found) {
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return too_large(text.len() as u64, found);
    }
    match serde_json::from_slice(text) {
        Ok(document) => {
            facts(&document, found);
            judge_config(&document, found);
        }
        Err(error) => {
            let reason = format!("the Keras {what} is no valid JSON: {error}");
            findings::malformed(found, "KERAS_CONFIG_INVALID", &reason);
        }
    }
}

/// Adds what loading the configuration would import, run or open.
pub(super) fn judge_config(config: &Value, found: &mut Found) {
    let mut reports = Reports::default();
    let mut pending = vec![config];
    while let Some(value) = pending.pop() {
        match value {
            Value::Object(object) => {
                judge_object(object, &mut reports, found);
                pending.extend(object.values());
            }
            Value::Array(items) => pending.extend(items),
            Value::String(text) if code::is_marshalled(text) => {
                found.add(InspectionVerdict::Dangerous, code::marshalled());
            }
            _ => {}
        }
    }
}

/// Says that a configuration was not looked into.
pub(super) fn too_large(size: u64, found: &mut Found) {
    let detail = format!("the Keras configuration has {size} bytes; at most {MAX_CONFIG_BYTES} are read");
    findings::unscannable(found, "KERAS_CONFIG_TOO_LARGE", &detail, "provide the weights as safetensors");
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn facts(document: &Value, found: &mut Found) {
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).filter(|text| text.len() <= MAX_FACT_BYTES).map(|text| json!(text))
    };
    for key in ["class_name", "keras_version", "backend"] {
        if let Some(value) = text(document.get(key)) {
            found.facts.entry(key).or_insert(value);
        }
    }
    if let Some(value) = text(document.pointer("/config/name")) {
        found.facts.entry("name").or_insert(value);
    }
}

fn judge_object(object: &Map<String, Value>, reports: &mut Reports, found: &mut Found) {
    code::judge(object, found);
    let Some(class_name) = object.get("class_name").and_then(Value::as_str) else { return };
    let config = object.get("config");
    files::judge(class_name, config, found);
    judge_name(object, class_name, config, reports, found);
    judge_layer_name(object.get("name").or_else(|| config?.get("name")), found);
}

fn judge_name(
    object: &Map<String, Value>,
    class_name: &str,
    config: Option<&Value>,
    reports: &mut Reports,
    found: &mut Found,
) {
    let module = object.get("module").and_then(Value::as_str);
    let is_function = class_name == "function";
    let name = config.and_then(Value::as_str).filter(|_| is_function).unwrap_or(class_name);
    let registered = object.get("registered_name").and_then(Value::as_str).unwrap_or(class_name);
    let shown_name = || format!("`{}.{}`", shown(module.unwrap_or("?")), shown(name));
    match names::origin(module, name, is_function, registered) {
        Origin::Custom if reports.wants("KERAS_CUSTOM_OBJECT") => {
            found.add(InspectionVerdict::Suspicious, custom_object(registered, module));
        }
        Origin::BuiltIn | Origin::Custom => {}
        Origin::Unsafe => found.add(InspectionVerdict::Dangerous, unsafe_function(&shown_name())),
        Origin::Foreign => found.add(InspectionVerdict::Dangerous, foreign_module(&shown_name())),
    }
}

/// Names of layers become paths in the weights' archive (CVE-2026-12479). A slash inside is
/// common: released models have layers called `expanded_conv/project`. Without one, a name is no path.
fn judge_layer_name(name: Option<&Value>, found: &mut Found) {
    if let Some(name) = name.and_then(Value::as_str)
        && (name.contains(['/', '\\', '\0']) || name == "..")
        && let Some(how) = super::paths::escape(name)
    {
        let finding = Finding::new(
            "KERAS_LAYER_NAME_PATH",
            Severity::High,
            format!("A layer is called `{}`, which as a path {how}.", shown(name)),
            "do not load the model; no program gives a layer such a name",
        );
        found.add(InspectionVerdict::Dangerous, finding);
    }
}

fn custom_object(registered: &str, module: Option<&str>) -> Finding {
    let module = module.map(|module| format!(" of the module `{}`", shown(module))).unwrap_or_default();
    Finding::new(
        "KERAS_CUSTOM_OBJECT",
        Severity::Medium,
        format!("The model needs the custom object `{}`{module}, whose code is not in the file.", shown(registered)),
        "load it only with code for this object that you trust",
    )
}

fn unsafe_function(name: &str) -> Finding {
    Finding::new(
        "KERAS_UNSAFE_FUNCTION",
        Severity::Critical,
        format!("Loading the model reaches {name}, which can load code, open files or switch off protections."),
        "do not load the model",
    )
}

fn foreign_module(name: &str) -> Finding {
    Finding::new(
        "KERAS_FOREIGN_MODULE",
        Severity::Critical,
        format!("Loading the model imports {name}, which is no part of Keras."),
        "do not load the model",
    )
}

#[cfg(test)]
mod tests;
