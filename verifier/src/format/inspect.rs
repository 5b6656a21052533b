//! Judges a revision's files one by one and sums them up.

use super::content::{Allowance, Content};
use super::found::Found;
use super::kind::FileKind;
use super::precision::Precisions;
use super::{config, findings, scan};
use crate::evidence::{Finding, InspectedFile, Inspection, InspectionVerdict, SCHEMA_VERSION};
use crate::read_at::ReadAt;

/// One file of a revision.
#[derive(Clone, Copy)]
pub struct FileEntry<'a> {
    /// Path inside the revision, with `/` between folders.
    pub path: &'a str,
    pub source: &'a dyn ReadAt,
}

/// Says what `files` are, in their order. Reads headers and small texts, never weights.
pub fn inspect(files: &[FileEntry<'_>]) -> Inspection {
    let observations: Vec<Observation> = files.iter().map(Observation::of).collect();
    let weights = main_weights(&observations);
    let precisions = Precisions::sum(weights.iter().map(|part| &part.precisions));
    let config = observations.iter().find_map(|observation| observation.config.as_ref());
    let verdict = observations.iter().map(|observation| observation.file.verdict).max();
    Inspection {
        schema_version: SCHEMA_VERSION,
        verdict: verdict.unwrap_or(InspectionVerdict::Ok),
        format: main_format(&observations).map(|kind| kind.name().to_owned()),
        architecture: weights
            .iter()
            .find_map(|weights| weights.architecture.clone())
            .or_else(|| config?.architecture.clone()),
        parameters: (!weights.is_empty()).then(|| precisions.parameters()),
        quantization: precisions.dominant().map(str::to_owned),
        bits_per_weight: precisions.bits_per_weight(),
        context_length: weights.iter().find_map(|weights| weights.context_length).or_else(|| config?.context_length),
        findings: observations.iter().flat_map(|observation| observation.findings.iter().cloned()).collect(),
        files: observations.into_iter().map(|observation| observation.file).collect(),
    }
}

/// Everything one file contributes.
struct Observation {
    kind: FileKind,
    file: InspectedFile,
    findings: Vec<Finding>,
    weights: Option<ModelPart>,
    config: Option<config::Config>,
}

/// What a readable weight file contributes to the model.
struct ModelPart {
    path: String,
    size: u64,
    architecture: Option<String>,
    context_length: Option<u64>,
    is_part: bool,
    precisions: Precisions,
}

impl Observation {
    fn of(entry: &FileEntry<'_>) -> Self {
        let mut found = Found::new();
        let kind = match scan::recognize(entry.path, entry.source) {
            Ok(kind) => {
                let allowance = Allowance::new();
                let content =
                    Content { path: entry.path, kind, source: entry.source, allowance: &allowance, depth: 0 };
                scan::scan(&content, &mut found);
                kind
            }
            Err(error) => {
                findings::unreadable(&mut found, &error);
                FileKind::Unknown
            }
        };
        Self::new(entry, kind, found)
    }

    fn new(entry: &FileEntry<'_>, kind: FileKind, mut found: Found) -> Self {
        let precisions = found.weights.as_ref().map(|weights| Precisions::of(&weights.tensors));
        let file = InspectedFile {
            path: entry.path.to_owned(),
            size: entry.source.size(),
            format: kind.name().to_owned(),
            verdict: found.verdict,
            weights: kind.holds_weights(),
            parameters: precisions.as_ref().map(Precisions::parameters),
            tensor_count: found.weights.as_ref().map(|weights| weights.tensors.len() as u64),
            quantization: precisions.as_ref().and_then(Precisions::dominant).map(str::to_owned),
            metadata: std::mem::take(&mut found.facts),
        };
        let weights = found.weights.take().zip(precisions).map(|(weights, precisions)| ModelPart {
            path: file.path.clone(),
            size: file.size,
            architecture: weights.architecture,
            context_length: weights.context_length,
            is_part: weights.is_part,
            precisions,
        });
        let config = found.config.take();
        let mut findings = found.into_findings();
        for finding in &mut findings {
            finding.path = Some(file.path.clone());
        }
        Self { kind, file, findings, weights, config }
    }
}

/// The format of the largest weight files; a readable one wins over one that is not.
fn main_format(observations: &[Observation]) -> Option<FileKind> {
    let of_weights = || observations.iter().filter(|observation| observation.file.weights);
    let largest = |candidate: &&Observation| (candidate.weights.is_some(), candidate.file.size);
    of_weights().max_by_key(largest).map(|observation| observation.kind)
}

/// The files that together are the model: every file of the main format, or the one with the
/// most parameters where a folder holds alternatives (one GGUF file for each quantization).
fn main_weights(observations: &[Observation]) -> Vec<&ModelPart> {
    let main = main_format(observations);
    let candidates: Vec<&ModelPart> = observations
        .iter()
        .filter(|observation| Some(observation.kind) == main)
        .filter_map(|observation| observation.weights.as_ref())
        .collect();
    if candidates.iter().all(|weights| weights.is_part) {
        return candidates;
    }
    candidates
        .into_iter()
        .max_by(|a, b| (a.precisions.parameters(), a.size, &b.path).cmp(&(b.precisions.parameters(), b.size, &a.path)))
        .into_iter()
        .collect()
}

