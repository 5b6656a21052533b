//! Where the data of a tensor lies when it is not in the model's own file.
//!
//! Runtimes join the location to the model's folder and open it. Locations that lead out of
//! that folder read any file of the machine into the model (CVE-2022-25882, CVE-2024-27318,
//! CVE-2024-5187), and one location that ONNX Runtime keeps for itself is an address in memory.

use super::super::found::{Found, shown};
use super::super::reports::Reports;
use super::super::{findings, paths};
use super::tensor::TensorReader;
use crate::evidence::{Finding, InspectionVerdict, Severity};

const PATH: &str = "ONNX_EXTERNAL_DATA_PATH";
const RANGE: &str = "ONNX_EXTERNAL_DATA_RANGE";
const KEY: &str = "ONNX_EXTERNAL_DATA_KEY";
/// ONNX Runtime's marker for data that is already in memory: the offset is a pointer.
const MEMORY_ADDRESS: &str = "*/_ORT_MEM_ADDR_/*";

/// Adds what is wrong with where the tensor's data lies; gives the file where nothing is.
pub(super) fn judge(tensor: &TensorReader, reports: &mut Reports, found: &mut Found) -> Option<String> {
    let mut location = None;
    for (key, value) in &tensor.external {
        match key.as_str() {
            "location" => match escape(value) {
                Some(how) if reports.wants(PATH) => found.add(InspectionVerdict::Dangerous, escaping(value, how)),
                Some(_) => {}
                None => location = Some(shown(value)).filter(|_| tensor.is_external()),
            },
            "offset" | "length" if !value.is_empty() && value.parse::<u64>().is_err() && reports.wants(RANGE) => {
                let reason = format!("the {key} `{}` of external data is no whole number", shown(value));
                findings::malformed(found, RANGE, &reason);
            }
            "offset" | "length" | "checksum" | "basepath" => {}
            key if key.starts_with("prepacked") => {}
            other if reports.wants(KEY) => found.add(InspectionVerdict::Suspicious, unknown_key(other)),
            _ => {}
        }
    }
    location
}

fn escape(location: &str) -> Option<&'static str> {
    if location == MEMORY_ADDRESS { Some("is an address in the runtime's memory") } else { paths::escape(location) }
}

fn escaping(location: &str, how: &str) -> Finding {
    Finding::new(
        PATH,
        Severity::Critical,
        format!("A tensor takes its data from `{}`, which {how}.", shown(location)),
        "do not load the model; external data belongs into files beside it",
    )
}

fn unknown_key(key: &str) -> Finding {
    Finding::new(
        KEY,
        Severity::Medium,
        format!("A tensor's external data has the unknown property `{}`.", shown(key)),
        "write the model anew; readers that take over unknown properties can be misled by them",
    )
}
