//! Judges pickles, the format of `.pkl`, `.bin`, `.pt`, `.ckpt` and `.joblib` files.
//!
//! A pickle is a program for a small machine that may import and call anything Python can. The
//! machine here follows every instruction without importing or calling anything, and each name
//! that would be imported must be on a list of what checkpoints need. From what PyTorch wrote it
//! also reads which tensors there are, so that such files have exact parameter counts too.

mod error;
mod globals;
mod imports;
mod joblib;
mod machine;
mod nested;
mod opcode;
mod reader;
mod standard_library;
mod text;
mod torch;
mod value;

use std::collections::HashMap;

use error::PickleError;
use machine::Machine;
use reader::Reader;
pub(super) use torch::Place;
use value::Value;

use super::archive;
use super::content::Content;
use super::findings;
use super::found::Found;
use super::kind;
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::read_at::ReadAt;

/// The number 0x1950a86a20f9469cfc6c, which PyTorch wrote first before version 1.6.
pub(super) const TORCH_MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// Pickles that PyTorch's old format consists of: magic, version, system, object, storage keys.
const LEGACY_STREAMS: usize = 5;
/// Instructions followed to tell whether content without a mark is a pickle at all.
const MAX_RECOGNIZED: u64 = 1_000_000;
/// Constants looked into for further pickles.
const MAX_SUSPECTS: usize = 4096;

/// Adds what loading the pickle would do, and the tensors it holds.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    if kind::is_zip(content.source) {
        archive::scan_zip(content, found);
    } else {
        let outcome = follow_paid(content, false);
        report(&outcome, content, found);
    }
}

/// Whether the content, whatever it looks like, is a pickle that does something: one from its start
/// to its end that imports a name, or one that breaks off after a dangerous call.
pub(super) fn leads_somewhere(source: &dyn ReadAt) -> bool {
    let mut prefix = [0; 64];
    let length = source.read_at(0, &mut prefix).unwrap_or(0);
    let outcome = follow(source, false, MAX_RECOGNIZED);
    let imports = &outcome.machine.imports;
    imports.is_armed() || (outcome.is_whole() && (!imports.is_empty() || kind::is_pickle(&prefix[..length])))
}

/// Whether the part of the content that can be read is a pickle that goes on behind it.
pub(super) fn goes_on(source: &dyn ReadAt) -> bool {
    matches!(follow(source, false, MAX_RECOGNIZED).error, Some(PickleError::Read(_)))
}

/// Follows the `data.pkl` of a PyTorch archive, whose tensors lie at `places`, and says which
/// storages it names, with their bytes.
pub(super) fn scan_torch_member(
    content: &Content<'_>,
    is_torch_script: bool,
    places: &dyn Fn(&str) -> Option<Place>,
    found: &mut Found,
) -> HashMap<String, u64> {
    let outcome = follow_paid(content, is_torch_script);
    report_findings(&outcome, content, found);
    if let Some(root) = outcome.roots.first() {
        torch::read(&outcome.machine, root, places).report(found);
    }
    torch::storages(&outcome.machine)
}

/// What became of all pickles in one source.
struct Outcome {
    machine: Machine,
    /// What the first pickles made.
    roots: Vec<Value>,
    error: Option<PickleError>,
    /// Where bytes start that belong to nothing.
    trailing: Option<u64>,
    /// Where the data of PyTorch's old format starts.
    legacy_data: Option<u64>,
}

impl Outcome {
    /// Whether the source is pickles from its start to its end.
    fn is_whole(&self) -> bool {
        self.error.is_none() && self.trailing.is_none()
    }
}

/// Follows the content at the cost of the file it is in: an archive may hold hundreds of pickles.
fn follow_paid(content: &Content<'_>, allows_torch_script: bool) -> Outcome {
    let allowed = content.allowance.instructions_left();
    let outcome = follow(content.source, allows_torch_script, allowed);
    content.allowance.leave_instructions(outcome.machine.instructions_left());
    outcome
}

fn follow(source: &dyn ReadAt, allows_torch_script: bool, instructions: u64) -> Outcome {
    let mut reader = Reader::new(source);
    let mut outcome = Outcome {
        machine: Machine::new(allows_torch_script, instructions),
        roots: Vec::new(),
        error: None,
        trailing: None,
        legacy_data: None,
    };
    loop {
        let start = reader.position();
        let imported = outcome.machine.imports.len();
        match outcome.machine.run(&mut reader) {
            Ok(root) if outcome.roots.len() < LEGACY_STREAMS => outcome.roots.push(root),
            Ok(_) => {}
            Err(error) => {
                // A second pickle that breaks before it imports anything is none.
                let is_none = start > 0 && imported == outcome.machine.imports.len() && !error.is_limit();
                if is_none {
                    outcome.trailing = Some(start);
                } else {
                    outcome.error = Some(error);
                }
                return outcome;
            }
        }
        if outcome.roots.len() == LEGACY_STREAMS && outcome.roots[0] == Value::TorchMagic {
            outcome.legacy_data = Some(reader.position());
            return outcome;
        }
        if reader.remaining() == 0 {
            return outcome;
        }
    }
}

fn report(outcome: &Outcome, content: &Content<'_>, found: &mut Found) {
    report_findings(outcome, content, found);
    if let Some(start) = outcome.legacy_data {
        torch::read_legacy(&outcome.machine, &outcome.roots, start, content.source).report(found);
    } else if let Some(root) = outcome.roots.first() {
        torch::read(&outcome.machine, root, &|_| None).report(found);
    }
}

fn report_findings(outcome: &Outcome, content: &Content<'_>, found: &mut Found) {
    outcome.machine.imports.report(found);
    match &outcome.error {
        Some(error) if error.is_limit() => {
            findings::unscannable(found, error.code(), error, "obtain the weights as safetensors");
        }
        Some(error) => findings::malformed(found, error.code(), error),
        None => {}
    }
    if let Some(start) = outcome.trailing {
        let bytes = content.source.size() - start;
        let detail = format!("{bytes} bytes from byte {start} on belong to no pickle.");
        let finding =
            Finding::new("PICKLE_TRAILING_BYTES", Severity::Medium, detail, "obtain the weights as safetensors");
        found.add(InspectionVerdict::Suspicious, finding);
    }
    let suspects = &outcome.machine.suspects;
    for (position, constant) in suspects.iter().take(MAX_SUSPECTS) {
        nested::look(*position, constant, content, found);
    }
    if suspects.len() > MAX_SUSPECTS {
        let reason = "more constants than are looked into begin like pickles";
        findings::unscannable(found, "PICKLE_TOO_COMPLEX", &reason, "obtain the weights as safetensors");
    }
}
