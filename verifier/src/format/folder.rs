//! What only shows when files are seen together: parts that miss or contradict each other, and
//! which of the files are the model.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::document::{Adapter, Document, Index, NameDigest, Pipeline};
use super::found::shown;
use super::inspect::{ModelPart, Observation};
use super::kind::{self, FileKind};
use super::lora::Lora;
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::words::listed;

const OBTAIN_ALL: &str = "obtain all parts of the same release from the publisher again";

/// Adds what the files say about each other.
pub(super) fn check(observations: &mut [Observation]) {
    let mut findings = Vec::new();
    for position in 0..observations.len() {
        if let Some(Document::Index(index)) = &observations[position].document {
            check_index(observations, position, index, &mut findings);
        }
    }
    for (position, observation) in observations.iter().enumerate() {
        check_external_data(observations, position, observation, &mut findings);
    }
    check_splits(observations, &mut findings);
    check_adapters(observations, &mut findings);
    for (position, verdict, finding) in findings {
        observations[position].add(verdict, finding);
    }
}

/// A finding, what it makes of a file, and the file's position.
type Found = (usize, InspectionVerdict, Finding);

/// The index, each file it names and each tensor must agree.
fn check_index(observations: &[Observation], position: usize, index: &Index, findings: &mut Vec<Found>) {
    let folder = folder_of(&observations[position].file.path);
    // An index on its own says nothing about files that were not asked about.
    let is_alone = observations.len() == 1;
    let mut missing = Vec::new();
    for (name, tensors) in &index.files {
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let Some(shard) = observations.iter().position(|observation| observation.file.path == path) else {
            missing.push(shown(name));
            continue;
        };
        let Some(part) = &observations[shard].weights else { continue };
        if let Some(count) = differing(tensors, &part.names).filter(|_| !is_alone) {
            let detail = format!("The index and the file disagree on {count} tensors.");
            let finding = Finding::new("INDEX_MISMATCH", Severity::High, detail, OBTAIN_ALL);
            findings.push((shard, InspectionVerdict::Malformed, finding));
        }
    }
    if !missing.is_empty() && !is_alone && holds_weights_in(observations, folder) {
        let detail = format!("Files that the index names are missing: {}.", listed(&missing, 5));
        findings.push((
            position,
            InspectionVerdict::Malformed,
            Finding::new("INDEX_FILE_MISSING", Severity::High, detail, OBTAIN_ALL),
        ));
    }
}

/// The files that an ONNX model keeps its tensors in must be beside it.
fn check_external_data(
    observations: &[Observation],
    position: usize,
    observation: &Observation,
    findings: &mut Vec<Found>,
) {
    let Some(named) = observation.file.metadata.get("external_data").and_then(Value::as_array) else { return };
    let folder = folder_of(&observation.file.path);
    let is_here = |name: &str| {
        let name = name.strip_prefix("./").unwrap_or(name);
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        observations.iter().any(|seen| seen.file.path == path)
    };
    let missing: Vec<String> =
        named.iter().filter_map(Value::as_str).filter(|name| !is_here(name)).map(shown).collect();
    if observations.len() > 1 && !missing.is_empty() {
        let detail = format!("Files that the model keeps its tensors in are missing: {}.", listed(&missing, 5));
        let finding = Finding::new("EXTERNAL_DATA_MISSING", Severity::High, detail, OBTAIN_ALL);
        findings.push((position, InspectionVerdict::Malformed, finding));
    }
}

/// A repository can hold an index beside weights of another format alone.
fn holds_weights_in(observations: &[Observation], folder: &str) -> bool {
    observations.iter().any(|seen| seen.weights.is_some() && folder_of(&seen.file.path) == folder)
}

/// Number of names that only one of two sorted lists has; none where they are equal.
fn differing<T: Ord + std::hash::Hash>(a: &[T], b: &[T]) -> Option<usize> {
    if a == b {
        return None;
    }
    let (first, second): (HashSet<&T>, HashSet<&T>) = (a.iter().collect(), b.iter().collect());
    Some(first.symmetric_difference(&second).count()).filter(|count| *count > 0)
}

/// Parts of a GGUF model: each once, all of them, with the number of tensors they promise.
fn check_splits(observations: &[Observation], findings: &mut Vec<Found>) {
    let mut groups: BTreeMap<(String, u64), Vec<usize>> = BTreeMap::new();
    for (position, observation) in observations.iter().enumerate() {
        if let Some(split) = observation.weights.as_ref().and_then(|part| part.split) {
            groups.entry((stem(&observation.file.path), split.count)).or_default().push(position);
        }
    }
    for ((_, count), positions) in &groups {
        // A person who looks at one part knows that it is one.
        if observations.len() > 1 {
            check_split(observations, positions, *count, findings);
        }
    }
}

fn check_split(observations: &[Observation], positions: &[usize], count: u64, findings: &mut Vec<Found>) {
    let parts: Vec<&ModelPart> = positions.iter().filter_map(|at| observations[*at].weights.as_ref()).collect();
    let indices: BTreeSet<u64> = parts.iter().filter_map(|part| Some(part.split?.index)).collect();
    let first = positions[0];
    if indices.len() != parts.len() || indices.iter().any(|index| *index >= count) {
        let detail = "Parts of the model have the same number, or one beyond their count.".to_owned();
        let finding = Finding::new("SPLIT_INCONSISTENT", Severity::High, detail, OBTAIN_ALL);
        return findings.push((first, InspectionVerdict::Malformed, finding));
    }
    if (indices.len() as u64) < count {
        let detail = format!("{} of {count} parts of the model are here.", indices.len());
        let finding = Finding::new("SPLIT_PART_MISSING", Severity::High, detail, OBTAIN_ALL);
        return findings.push((first, InspectionVerdict::Malformed, finding));
    }
    let tensors: u64 = parts.iter().map(|part| part.names.len() as u64).sum();
    let names: HashSet<&NameDigest> = parts.iter().flat_map(|part| &part.names).collect();
    if (names.len() as u64) < tensors {
        let detail = "Parts of the model hold tensors of the same name.";
        let finding = Finding::new("SPLIT_INCONSISTENT", Severity::High, detail, OBTAIN_ALL);
        findings.push((first, InspectionVerdict::Malformed, finding));
    }
    let promised = parts.iter().find_map(|part| part.split?.tensors);
    if promised.is_some_and(|promised| promised != tensors) {
        let detail = format!("The parts hold {tensors} tensors and promise {}.", promised.unwrap_or(0));
        let finding = Finding::new("SPLIT_INCONSISTENT", Severity::High, detail, OBTAIN_ALL);
        findings.push((first, InspectionVerdict::Malformed, finding));
    }
}

/// An adapter's configuration and its matrices must be those of one adapter.
fn check_adapters(observations: &[Observation], findings: &mut Vec<Found>) {
    for (position, observation) in observations.iter().enumerate() {
        let Some(Document::Adapter(adapter)) = &observation.document else { continue };
        let folder = folder_of(&observation.file.path);
        let mut weights = observations
            .iter()
            .enumerate()
            .filter(|(_, seen)| seen.file.weights && folder_of(&seen.file.path) == folder);
        if observations.len() > 1 && weights.clone().next().is_none() {
            let detail = "The folder has an adapter's configuration and no weights for it.";
            let finding = Finding::new("ADAPTER_WITHOUT_WEIGHTS", Severity::Medium, detail, OBTAIN_ALL);
            findings.push((position, InspectionVerdict::Suspicious, finding));
        }
        let matrices = weights.find_map(|(at, seen)| Some((at, seen.weights.as_ref()?.lora.as_ref()?)));
        if let Some((at, lora)) = matrices {
            findings.extend(check_lora(adapter, lora).map(|(verdict, finding)| (at, verdict, finding)));
        }
    }
}

fn check_lora(adapter: &Adapter, lora: &Lora) -> Option<(InspectionVerdict, Finding)> {
    if !lora.broken.is_empty() {
        let modules: Vec<String> = lora.broken.iter().take(6).map(|name| shown(name)).collect();
        let detail = format!(
            "{} modules have one of both matrices, or matrices of different rank: {}.",
            lora.broken.len(),
            listed(&modules, 5)
        );
        let finding = Finding::new("ADAPTER_INCOMPLETE", Severity::High, detail, OBTAIN_ALL);
        return Some((InspectionVerdict::Malformed, finding));
    }
    let rank = adapter.rank.filter(|rank| !lora.ranks.contains(rank) && !lora.ranks.is_empty())?;
    let ranks: Vec<String> = lora.ranks.iter().map(u64::to_string).collect();
    let detail = format!("The configuration gives rank {rank}, and the matrices have {}.", ranks.join(", "));
    let finding = Finding::new("ADAPTER_RANK_MISMATCH", Severity::Medium, detail, OBTAIN_ALL);
    Some((InspectionVerdict::Suspicious, finding))
}

/// The format of the largest weight files; a readable one wins over one that is not.
pub(super) fn main_format(observations: &[Observation]) -> Option<FileKind> {
    let of_weights = || observations.iter().filter(|observation| observation.file.weights);
    let largest = |candidate: &&Observation| (candidate.weights.is_some(), candidate.file.size);
    of_weights().max_by_key(largest).map(|observation| observation.kind)
}

/// Marks the files that together are the model.
///
/// A folder often holds alternatives: one GGUF file for each quantization, a second copy of the
/// weights for another loader, halved precisions. Files that differ in the number of their part
/// alone belong together; of several such groups the one with the most parameters is the model.
/// A pipeline is the sum of its components.
pub(super) fn mark_counted(observations: &mut [Observation]) {
    let main = main_format(observations);
    let mut groups = Groups::new();
    for (position, observation) in observations.iter().enumerate() {
        if let Some(part) = observation.weights.as_ref().filter(|_| Some(observation.kind) == main) {
            let path = &observation.file.path;
            groups.entry((folder_of(path).to_owned(), stem(path))).or_default().add(position, part);
        }
    }
    for position in counted(observations, &groups) {
        observations[position].file.counted = true;
    }
}

/// Groups of files by folder and stem.
type Groups = BTreeMap<(String, String), Group>;

/// Files that belong together.
#[derive(Default)]
struct Group {
    positions: Vec<usize>,
    parameters: u64,
    bytes: u64,
}

impl Group {
    fn add(&mut self, position: usize, part: &ModelPart) {
        self.positions.push(position);
        self.parameters = self.parameters.saturating_add(part.precisions.parameters());
        self.bytes = self.bytes.saturating_add(part.precisions.bytes());
    }
}

fn counted(observations: &[Observation], groups: &Groups) -> Vec<usize> {
    let Some((folder, pipeline)) = pipeline(observations) else { return largest(groups.values()) };
    let component = |name: &String| {
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        largest(groups.iter().filter(|((folder, _), _)| *folder == path).map(|(_, group)| group))
    };
    pipeline.components.iter().flat_map(component).collect()
}

fn pipeline(observations: &[Observation]) -> Option<(&str, &Pipeline)> {
    observations.iter().find_map(|observation| match &observation.document {
        Some(Document::Pipeline(pipeline)) => Some((folder_of(&observation.file.path), pipeline)),
        _ => None,
    })
}

/// The group with the most parameters; the first by name where several have as many.
fn largest<'g>(groups: impl Iterator<Item = &'g Group>) -> Vec<usize> {
    let mut best: Option<&Group> = None;
    for group in groups {
        if best.is_none_or(|best| (group.parameters, group.bytes) > (best.parameters, best.bytes)) {
            best = Some(group);
        }
    }
    best.map(|group| group.positions.clone()).unwrap_or_default()
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The file's name without its extension and without the number of its part
/// (`-00001-of-00003`, or `.00` as in `consolidated.00.pth`).
fn stem(path: &str) -> String {
    let name = kind::file_name(path);
    let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((rest, count)) = name.rsplit_once("-of-")
        && is_number(count)
        && let Some((stem, _)) = rest.rsplit_once('-').filter(|(_, number)| is_number(number))
    {
        return stem.to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, number)) if is_number(number) && number.len() == 2 => stem.to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_a_stem() {
        for (path, expected) in [
            ("a/model-00001-of-00003.safetensors", "model"),
            ("Llama-70B.Q4_K_M-00002-of-00002.gguf", "Llama-70B.Q4_K_M"),
            ("original/consolidated.03.pth", "consolidated"),
            ("model.safetensors", "model"),
            ("a-of-b.bin", "a-of-b"),
        ] {
            assert_eq!(stem(path), expected, "{path}");
        }
    }
}
