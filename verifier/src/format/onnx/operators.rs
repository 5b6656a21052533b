//! Which operators a model uses, and which of them need more than the runtime.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::found::{Found, shown};
use super::standard;
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Kinds of operators that are told apart.
const MAX_KINDS: usize = 4096;
/// Entries of the histogram of operators.
const MAX_FACTS: usize = 64;

/// Domains whose operators every runtime, or the most used one, brings along.
const BUILT_IN_DOMAINS: [&str; 7] = [
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview",
    "ai.onnx.preview.training",
    "com.ms.internal.nhwc",
];

/// Operators that hand over to a Python interpreter inside the process, in any domain.
const PYTHON_OPERATORS: [&str; 5] = ["PyOp", "PythonOp", "PythonOpGrad", "PyCustomOp", "PyFunc"];

/// Operators of onnxruntime-extensions that send their inputs to a network service.
const NETWORK_OPERATORS: [&str; 6] = [
    "AzureAudioToText",
    "AzureTextToText",
    "AzureTritonInvoker",
    "OpenAIAudioToText",
    "OpenAIEmbeddings",
    "TritonInvoker",
];

/// Operators by domain and name.
#[derive(Debug, Default)]
pub(super) struct Operators {
    used: BTreeMap<(String, String), u64>,
    defined: BTreeSet<(String, String)>,
    uncounted: u64,
}

impl Operators {
    pub(super) fn use_one(&mut self, domain: String, name: String) {
        let key = (domain, name);
        if self.used.len() < MAX_KINDS || self.used.contains_key(&key) {
            *self.used.entry(key).or_default() += 1;
        } else {
            self.uncounted += 1;
        }
    }

    /// Takes note of an operator that the model defines out of others.
    pub(super) fn define(&mut self, domain: String, name: String) {
        if self.defined.len() < MAX_KINDS {
            self.defined.insert((domain, name));
        }
    }

    /// Adds what is wrong with the operators; `opset` is the version of the default domain.
    pub(super) fn judge(&self, opset: u64, found: &mut Found) {
        let mut custom = BTreeMap::<&str, Vec<&str>>::new();
        for key in self.used.keys().filter(|key| !self.defined.contains(key)) {
            let (domain, name) = (key.0.as_str(), key.1.as_str());
            if PYTHON_OPERATORS.contains(&name) {
                found.add(InspectionVerdict::Dangerous, python(domain, name));
            } else if NETWORK_OPERATORS.contains(&name) {
                found.add(InspectionVerdict::Dangerous, network(domain, name));
            } else if !is_built_in(domain) || is_unknown(domain, name, opset) {
                custom.entry(domain).or_default().push(name);
            }
        }
        for (domain, names) in custom {
            found.add(InspectionVerdict::Suspicious, custom_operators(domain, &names));
        }
        if self.uncounted > 0 {
            let reason = format!("the model has more than {MAX_KINDS} kinds of operators");
            super::super::findings::malformed(found, "ONNX_TOO_MANY_OPERATORS", &reason);
        }
    }

    /// How often the most used operators occur.
    pub(super) fn histogram(&self) -> Value {
        let mut counts: Vec<(&(String, String), &u64)> = self.used.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let entries = counts.into_iter().take(MAX_FACTS);
        entries.map(|((domain, name), count)| (qualified(domain, name), json!(count))).collect::<Map<_, _>>().into()
    }
}

pub(super) fn is_default_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Microsoft's domains are built into ONNX Runtime, but for those of its extensions library.
fn is_built_in(domain: &str) -> bool {
    BUILT_IN_DOMAINS.contains(&domain)
        || domain == "com.microsoft"
        || (domain.starts_with("com.microsoft.") && domain != "com.microsoft.extensions")
}

/// Whether the default domain has no such operator, as far as its version is known here.
fn is_unknown(domain: &str, name: &str, opset: u64) -> bool {
    is_default_domain(domain) && opset <= standard::LAST_OPSET && !standard::has(name)
}

fn qualified(domain: &str, name: &str) -> String {
    let name = if is_default_domain(domain) { name.to_owned() } else { format!("{domain}::{name}") };
    shown(&name)
}

fn python(domain: &str, name: &str) -> Finding {
    Finding::new(
        "ONNX_PYTHON_OPERATOR",
        Severity::Critical,
        format!("The model runs Python code by the operator `{}`.", qualified(domain, name)),
        "do not load the model; ask for an export without Python operators",
    )
}

fn network(domain: &str, name: &str) -> Finding {
    Finding::new(
        "ONNX_NETWORK_OPERATOR",
        Severity::High,
        format!("The model sends its inputs to a network service by the operator `{}`.", qualified(domain, name)),
        "do not load the model where its inputs must not leave the machine",
    )
}

fn custom_operators(domain: &str, names: &[&str]) -> Finding {
    let domain = if is_default_domain(domain) { "ai.onnx" } else { domain };
    let listed: Vec<String> = names.iter().take(4).map(|name| format!("`{}`", shown(name))).collect();
    let rest = names.len() - listed.len();
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    Finding::new(
        "ONNX_CUSTOM_OPERATOR",
        Severity::Medium,
        format!(
            "The model uses {}{more} of the domain `{}`, which a library has to bring.",
            listed.join(", "),
            shown(domain)
        ),
        "load it only with a library for these operators that you trust",
    )
}
