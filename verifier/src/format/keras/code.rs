//! Python code inside a configuration.

use serde_json::{Map, Value};

use super::super::found::{Found, shown};
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Shortest base64 text that can hold a marshalled code object.
const MIN_CODE_CHARS: usize = 64;

/// Lambda layers, functions by value, and pickled modules.
pub(super) fn judge(object: &Map<String, Value>, found: &mut Found) {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let class_name = text("class_name").unwrap_or_default();
    // The last part, because a registered name has its package in front: `Custom>Lambda`.
    let class = class_name.rsplit(['>', '.']).next().unwrap_or_default();
    if matches!(class, "Lambda" | "__lambda__") {
        found.add(InspectionVerdict::Dangerous, lambda(class));
    } else if matches!(class, "TorchModuleWrapper") {
        found.add(InspectionVerdict::Dangerous, torch_module());
    } else if ["function_type", "output_shape_type", "mask_type"].iter().any(|key| text(key) == Some("lambda")) {
        found.add(InspectionVerdict::Dangerous, lambda("Lambda"));
    }
}

/// Whether a text is base64 of a code object as Python's `marshal` writes it.
pub(super) fn is_marshalled(text: &str) -> bool {
    // 0x63 or 0xe3, the type of code objects, then the low byte of a small argument count.
    text.len() >= MIN_CODE_CHARS
        && ["4w", "Yw"].iter().any(|start| text.starts_with(start))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_\n\r".contains(&byte))
}

pub(super) fn marshalled() -> Finding {
    Finding::new(
        "KERAS_LAMBDA",
        Severity::Critical,
        "The model holds compiled Python code, which loading it runs.",
        "do not load the model; ask for an export without code",
    )
}

fn lambda(class: &str) -> Finding {
    Finding::new(
        "KERAS_LAMBDA",
        Severity::Critical,
        format!("The model holds an object of class `{}`: Python code that runs with the model.", shown(class)),
        "do not load the model; ask for an export without code",
    )
}

fn torch_module() -> Finding {
    Finding::new(
        "KERAS_TORCH_MODULE",
        Severity::Critical,
        "The model holds a pickled PyTorch module, which can run any code when it is loaded.",
        "do not load the model; ask for the weights as safetensors",
    )
}
