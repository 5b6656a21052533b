//! Files and addresses that layers open by themselves.

use serde_json::Value;

use super::super::found::{Found, shown};
use super::super::{paths, tensorflow};
use super::names;
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Layers that take a vocabulary, as a list or as a path that is opened (CVE-2025-12058).
const LOOKUP_LAYERS: [&str; 5] = ["StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization", "Hashing"];

pub(super) fn judge(class_name: &str, config: Option<&Value>, found: &mut Found) {
    let text = |key: &str| config.and_then(|config| config.get(key)).and_then(Value::as_str);
    let class = class_name.rsplit(['>', '.']).next().unwrap_or_default();
    match class {
        class if LOOKUP_LAYERS.contains(&class) => {
            for path in ["vocabulary", "idf_weights"].iter().filter_map(|key| text(key)) {
                found.add(InspectionVerdict::Dangerous, external_file(class, path));
            }
        }
        "TFSMLayer" => {
            let path = text("filepath").unwrap_or_default();
            let leaves = paths::escape(path).is_some();
            let verdict = if leaves { InspectionVerdict::Dangerous } else { InspectionVerdict::Suspicious };
            found.add(verdict, external_file(class, path));
        }
        "KerasLayer" => {
            let handle = text("handle").unwrap_or_default();
            found.add(InspectionVerdict::Suspicious, external_file(class, handle));
        }
        "TFOpLambda" | "SlicingOpLambda" => {
            let function = text("function").unwrap_or_default();
            if let Some((_, operator)) = function.rsplit_once("raw_ops.") {
                tensorflow::judge_operator(operator, found);
            } else if names::is_unsafe_tensorflow_function(function) {
                found.add(InspectionVerdict::Dangerous, super::unsafe_function(&format!("`tf.{}`", shown(function))));
            }
        }
        "TensorFlowOpLayer" => judge_node(config.and_then(|config| config.get("node_def")), found),
        _ => {}
    }
}

/// A TensorFlow operation as a layer: the node stands as JSON, as an object or as text.
fn judge_node(node: Option<&Value>, found: &mut Found) {
    let parsed;
    let node = match node {
        Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(value) => {
                parsed = value;
                &parsed
            }
            Err(_) => return tensorflow::judge_operators_in_text(text, found),
        },
        Some(value) => value,
        None => return,
    };
    if let Some(operator) = node.get("op").and_then(Value::as_str) {
        tensorflow::judge_operator(operator, found);
    }
}

fn external_file(class: &str, path: &str) -> Finding {
    Finding::new(
        "KERAS_EXTERNAL_FILE",
        Severity::High,
        format!("A `{class}` layer opens `{}` when the model is loaded.", shown(path)),
        "do not load the model; ask for one that holds what it needs",
    )
}
