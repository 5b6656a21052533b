//! Judges a revision's files one by one and sums them up.

use std::collections::BTreeMap;
use std::io;

use serde_json::Map;

use super::config::{self, MAX_CONFIG_BYTES};
use super::kind::{self, FileKind, PREFIX_BYTES, Support};
use super::{gguf, metadata, safetensors};
use crate::evidence::{Finding, InspectedFile, Inspection, InspectionVerdict, SCHEMA_VERSION, Severity};
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
    let model = Model::of(&weights);
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
        parameters: model.parameters,
        quantization: model.quantization,
        bits_per_weight: model.bits_per_weight,
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
    weights: Option<Weights>,
    config: Option<config::Config>,
}

/// What a readable weight file says about the model.
struct Weights {
    path: String,
    size: u64,
    architecture: Option<String>,
    context_length: Option<u64>,
    is_split: bool,
    /// Parameters and stored bytes by tensor type.
    types: BTreeMap<&'static str, (u64, u64)>,
}

impl Weights {
    fn parameters(&self) -> u64 {
        self.types.values().fold(0, |sum, (parameters, _)| sum.saturating_add(*parameters))
    }
}

impl Observation {
    fn of(entry: &FileEntry<'_>) -> Self {
        let size = entry.source.size();
        match read_prefix(entry.source, size) {
            Ok(prefix) => {
                let kind = FileKind::recognize(entry.path, &prefix, size);
                let mut observation = Self::new(entry.path, size, kind);
                observation.judge(entry);
                observation.check_name();
                observation
            }
            Err(error) => {
                let mut observation = Self::new(entry.path, size, FileKind::Unknown);
                observation.add(unreadable(&error), InspectionVerdict::Unscannable);
                observation
            }
        }
    }

    fn new(path: &str, size: u64, kind: FileKind) -> Self {
        let file = InspectedFile {
            path: path.to_owned(),
            size,
            format: kind.name().to_owned(),
            verdict: InspectionVerdict::Ok,
            weights: kind.holds_weights(),
            parameters: None,
            tensor_count: None,
            quantization: None,
            metadata: Map::new(),
        };
        Self { kind, file, findings: Vec::new(), weights: None, config: None }
    }

    fn add(&mut self, finding: Finding, verdict: InspectionVerdict) {
        self.findings.push(finding.at(&self.file.path));
        self.file.verdict = self.file.verdict.max(verdict);
    }

    fn judge(&mut self, entry: &FileEntry<'_>) {
        match self.kind {
            FileKind::Gguf => self.judge_gguf(entry.source),
            FileKind::Safetensors => self.judge_safetensors(entry.source),
            FileKind::Json if kind::file_name(entry.path) == "config.json" => self.judge_config(entry.source),
            FileKind::LfsPointer => self.add(lfs_pointer(), InspectionVerdict::Malformed),
            FileKind::Executable => self.add(executable(), InspectionVerdict::Suspicious),
            FileKind::Unknown => self.add(unknown(), InspectionVerdict::Unsupported),
            kind => {
                if let Support::NotScanned { code, hint } = kind.support() {
                    self.add(not_scanned(code, kind, hint), InspectionVerdict::Unscannable);
                }
            }
        }
    }

    fn judge_gguf(&mut self, source: &dyn ReadAt) {
        match gguf::read_header(source) {
            Ok(header) => {
                self.file.metadata = metadata::of_gguf(&header);
                self.take_weights(header.tensors.len(), gguf_weights(&self.file, &header));
            }
            Err(gguf::GgufError::Io(error)) => self.add(unreadable(&error), InspectionVerdict::Unscannable),
            Err(error) => {
                let verdict = refusal(error.is_unsupported());
                self.add(malformed(error.code(), &error), verdict);
            }
        }
    }

    fn judge_safetensors(&mut self, source: &dyn ReadAt) {
        use safetensors::SafetensorsError as Error;
        match safetensors::read_header(source) {
            Ok(header) => {
                self.file.metadata = metadata::of_safetensors(&header);
                self.take_weights(header.tensors.len(), safetensors_weights(&self.file, &header));
            }
            Err(Error::Io(error)) => self.add(unreadable(&error), InspectionVerdict::Unscannable),
            Err(error) => {
                let too_large = matches!(error, Error::HeaderTooLarge { .. } | Error::HeaderTooComplex);
                self.add(malformed(error.code(), &error), refusal(too_large));
            }
        }
    }

    fn take_weights(&mut self, tensors: usize, weights: Weights) {
        if metadata::holds_script(&self.file.metadata) {
            self.add(script_in_metadata(), InspectionVerdict::Suspicious);
        }
        self.file.tensor_count = Some(tensors as u64);
        self.file.parameters = Some(weights.parameters());
        self.file.quantization = dominant_type(&weights.types).map(str::to_owned);
        self.weights = Some(weights);
    }

    fn judge_config(&mut self, source: &dyn ReadAt) {
        if source.size() > MAX_CONFIG_BYTES {
            return self.add(config_too_large(source.size()), InspectionVerdict::Unscannable);
        }
        match read_all(source).map(|bytes| config::parse(&bytes)) {
            Ok(Ok(config)) => {
                if config.remote_code {
                    self.add(remote_code(), InspectionVerdict::Suspicious);
                }
                self.file.metadata.clone_from(&config.metadata);
                self.config = Some(config);
            }
            Ok(Err(reason)) => self.add(malformed("CONFIG_INVALID", &reason), InspectionVerdict::Malformed),
            Err(error) => self.add(unreadable(&error), InspectionVerdict::Unscannable),
        }
    }

    /// A name is what loaders go by: one that promises weights over other content is how such
    /// content gets loaded.
    fn check_name(&mut self) {
        if self.kind == FileKind::LfsPointer {
            return;
        }
        let extension = kind::extension(&self.file.path);
        let keeps_promise = match extension.as_str() {
            "gguf" => self.kind == FileKind::Gguf,
            "safetensors" => self.kind == FileKind::Safetensors,
            name if kind::is_weight_extension(name) => self.kind.holds_weights() || self.kind == FileKind::Archive,
            _ => true,
        };
        if !keeps_promise {
            self.add(misnamed(&extension, self.kind), InspectionVerdict::Malformed);
        }
    }
}

fn gguf_weights(file: &InspectedFile, header: &gguf::Header) -> Weights {
    let architecture = header.architecture().map(str::to_owned);
    let context_key = architecture.as_deref().map(|name| format!("{name}.context_length"));
    let mut types = BTreeMap::new();
    for tensor in &header.tensors {
        add_tensor(&mut types, tensor.tensor_type.name(), tensor.elements(), tensor.byte_length);
    }
    Weights {
        path: file.path.clone(),
        size: file.size,
        context_length: context_key.and_then(|key| header.get(&key)?.as_u64()),
        is_split: header.get("split.count").and_then(gguf::Value::as_u64).is_some_and(|count| count > 1),
        architecture,
        types,
    }
}

fn safetensors_weights(file: &InspectedFile, header: &safetensors::Header) -> Weights {
    let mut types = BTreeMap::new();
    for tensor in &header.tensors {
        add_tensor(&mut types, tensor.dtype.name(), tensor.elements(), tensor.byte_length);
    }
    Weights {
        path: file.path.clone(),
        size: file.size,
        architecture: None,
        context_length: None,
        is_split: true,
        types,
    }
}

fn add_tensor(types: &mut BTreeMap<&'static str, (u64, u64)>, name: &'static str, elements: u64, bytes: u64) {
    let (parameters, stored) = types.entry(name).or_default();
    *parameters = parameters.saturating_add(elements);
    *stored = stored.saturating_add(bytes);
}

/// The format of the largest weight files; a readable one wins over one that is not.
fn main_format(observations: &[Observation]) -> Option<FileKind> {
    let of_weights = || observations.iter().filter(|observation| observation.file.weights);
    let largest = |candidate: &&Observation| (candidate.weights.is_some(), candidate.file.size);
    of_weights().max_by_key(largest).map(|observation| observation.kind)
}

/// The files that together are the model: every file of the main format, or the one with the
/// most parameters where a folder holds alternatives (one GGUF file for each quantization).
fn main_weights(observations: &[Observation]) -> Vec<&Weights> {
    let main = main_format(observations);
    let candidates: Vec<&Weights> = observations
        .iter()
        .filter(|observation| Some(observation.kind) == main)
        .filter_map(|observation| observation.weights.as_ref())
        .collect();
    if candidates.iter().all(|weights| weights.is_split) {
        return candidates;
    }
    candidates
        .into_iter()
        .max_by(|a, b| (a.parameters(), a.size, &b.path).cmp(&(b.parameters(), b.size, &a.path)))
        .into_iter()
        .collect()
}

/// Numbers over all files of the model.
struct Model {
    parameters: Option<u64>,
    quantization: Option<String>,
    bits_per_weight: Option<f64>,
}

impl Model {
    fn of(weights: &[&Weights]) -> Self {
        let mut types = BTreeMap::new();
        for (name, (parameters, bytes)) in weights.iter().flat_map(|weights| &weights.types) {
            add_tensor(&mut types, name, *parameters, *bytes);
        }
        let (parameters, bytes) = types.values().fold((0_u64, 0_u64), |(parameters, bytes), value: &(u64, u64)| {
            (parameters.saturating_add(value.0), bytes.saturating_add(value.1))
        });
        Self {
            parameters: (!weights.is_empty()).then_some(parameters),
            quantization: dominant_type(&types).map(str::to_owned),
            bits_per_weight: (parameters > 0).then(|| ratio(bytes, parameters) * 8.0),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for display; model sizes are far below 2^52")]
fn ratio(numerator: u64, denominator: u64) -> f64 {
    numerator as f64 / denominator as f64
}

fn dominant_type(types: &BTreeMap<&'static str, (u64, u64)>) -> Option<&'static str> {
    types.iter().max_by_key(|(_, (parameters, _))| *parameters).map(|(name, _)| *name)
}

fn read_prefix(source: &dyn ReadAt, size: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(size).unwrap_or(PREFIX_BYTES).min(PREFIX_BYTES);
    let mut prefix = vec![0; length];
    source.read_exact_at(0, &mut prefix)?;
    Ok(prefix)
}

/// The whole of a file whose size was checked before.
fn read_all(source: &dyn ReadAt) -> io::Result<Vec<u8>> {
    let length = usize::try_from(source.size()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; length];
    source.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}

const fn refusal(unsupported: bool) -> InspectionVerdict {
    if unsupported { InspectionVerdict::Unsupported } else { InspectionVerdict::Malformed }
}

fn malformed(code: &str, reason: &dyn std::fmt::Display) -> Finding {
    Finding::new(code, Severity::High, sentence(reason), "obtain the file again from its publisher, or write it anew")
}

/// An error's text as a sentence.
fn sentence(reason: &dyn std::fmt::Display) -> String {
    let text = reason.to_string();
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return text };
    format!("{}{}.", first.to_uppercase(), characters.as_str())
}

fn unreadable(error: &io::Error) -> Finding {
    let detail = format!("The file could not be read: {error}.");
    Finding::new("FILE_UNREADABLE", Severity::High, detail, "check the storage and inspect the revision again")
}

fn not_scanned(code: &str, kind: FileKind, hint: &str) -> Finding {
    let detail = format!("The file is of format {}, which this release cannot look into.", kind.name());
    Finding::new(code, Severity::High, detail, format!("{hint}, and remove the file"))
}

fn lfs_pointer() -> Finding {
    Finding::new(
        "LFS_POINTER",
        Severity::High,
        "The file is a Git LFS pointer instead of the content it stands for.",
        "run `git lfs pull` before the push",
    )
}

fn executable() -> Finding {
    Finding::new(
        "EXECUTABLE_FILE",
        Severity::High,
        "The file is a program.",
        "remove it; a model needs no programs to be loaded",
    )
}

fn unknown() -> Finding {
    Finding::new(
        "UNKNOWN_FORMAT",
        Severity::Medium,
        "The file is of a format that this release does not know.",
        "remove the file if the model does not need it",
    )
}

fn script_in_metadata() -> Finding {
    Finding::new(
        "SCRIPT_IN_METADATA",
        Severity::Medium,
        "The file's metadata holds a script for web pages.",
        "write the file anew without that metadata",
    )
}

fn remote_code() -> Finding {
    Finding::new(
        "REMOTE_CODE",
        Severity::Medium,
        "Loading the model with `transformers` asks for Python code from this folder (`auto_map`).",
        "review the code, or use an architecture that the library has built in",
    )
}

fn config_too_large(size: u64) -> Finding {
    let detail = format!("The file has {size} bytes; at most {MAX_CONFIG_BYTES} are read.");
    Finding::new("CONFIG_TOO_LARGE", Severity::Medium, detail, "remove what does not belong into config.json")
}

fn misnamed(extension: &str, found: FileKind) -> Finding {
    let detail = format!("The name ends in .{extension}, and the content is {}.", found.name());
    Finding::new("EXTENSION_MISMATCH", Severity::High, detail, "rename or remove the file")
}
