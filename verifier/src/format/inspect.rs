//! Judges a revision's files one by one and sums them up.

use super::content::{Allowance, Content};
use super::document::{Config, Document, NameDigest, QuantizationConfig, is_known, name_digest};
use super::folder;
use super::found::{Found, Split};
use super::kind::FileKind;
use super::lora::Lora;
use super::precision::Precisions;
use super::{findings, scan};
use crate::evidence::{
    CacheLayout, ChatTemplateFacts, Finding, InspectedFile, Inspection, InspectionVerdict, SCHEMA_VERSION,
    TokenizerFacts,
};
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
    // How weights were packed has to be known before they are counted.
    let documents: Vec<Option<Observation>> =
        files.iter().map(|entry| is_known(entry.path).then(|| Observation::of(entry, None))).collect();
    let quantization = quantization(documents.iter().flatten());
    let observe = |(entry, document): (&FileEntry<'_>, Option<Observation>)| {
        document.unwrap_or_else(|| Observation::of(entry, quantization.as_ref()))
    };
    let mut observations: Vec<Observation> = files.iter().zip(documents).map(observe).collect();
    folder::check(&mut observations);
    folder::mark_counted(&mut observations);
    let parts: Vec<&ModelPart> =
        observations.iter().filter(|seen| seen.file.counted).filter_map(|seen| seen.weights.as_ref()).collect();
    let precisions = Precisions::sum(parts.iter().map(|part| &part.precisions));
    let config = main_config(&observations);
    let verdict = observations.iter().map(|observation| observation.file.verdict).max();
    Inspection {
        schema_version: SCHEMA_VERSION,
        verdict: verdict.unwrap_or(InspectionVerdict::Ok),
        format: folder::main_format(&observations).map(|kind| kind.name().to_owned()),
        architecture: parts
            .iter()
            .find_map(|part| part.architecture.clone())
            .or_else(|| pipeline_class(&observations))
            .or_else(|| config?.architecture.clone()),
        parameters: (!parts.is_empty()).then(|| precisions.parameters()),
        quantization: precisions.dominant().map(str::to_owned),
        bits_per_weight: precisions.bits_per_weight(),
        context_length: parts.iter().find_map(|part| part.context_length).or_else(|| config?.context_length),
        quantization_method: quantization.and_then(|config| config.method),
        precisions: precisions.histogram(),
        weight_bytes: (!parts.is_empty()).then(|| precisions.bytes()),
        cache: parts.iter().find_map(|part| part.cache).or_else(|| config?.cache),
        tokenizers: observations.iter_mut().flat_map(|seen| std::mem::take(&mut seen.tokenizers)).collect(),
        chat_templates: observations.iter_mut().flat_map(|seen| std::mem::take(&mut seen.chat_templates)).collect(),
        findings: observations.iter().flat_map(|observation| observation.findings.iter().cloned()).collect(),
        files: observations.into_iter().map(|observation| observation.file).collect(),
    }
}

/// How the configurations say that weights were packed.
fn quantization<'o>(documents: impl Iterator<Item = &'o Observation>) -> Option<QuantizationConfig> {
    let mut found: Option<QuantizationConfig> = None;
    for seen in documents {
        let told = match &seen.document {
            Some(Document::Config(config)) => config.quantization.clone(),
            Some(Document::Quantization(config)) => Some(config.clone()),
            _ => None,
        };
        found = found.filter(|config| config.bits.is_some()).or(told);
    }
    found
}

/// The configuration nearest to the top.
fn main_config(observations: &[Observation]) -> Option<&Config> {
    let configs = observations.iter().filter_map(|observation| match &observation.document {
        Some(Document::Config(config)) => Some(config),
        _ => None,
    });
    configs.min_by_key(|config| config.folder.len())
}

fn pipeline_class(observations: &[Observation]) -> Option<String> {
    observations.iter().find_map(|observation| match &observation.document {
        Some(Document::Pipeline(pipeline)) => pipeline.class.clone(),
        _ => None,
    })
}

/// Everything one file contributes.
pub(super) struct Observation {
    pub(super) kind: FileKind,
    pub(super) file: InspectedFile,
    pub(super) findings: Vec<Finding>,
    pub(super) weights: Option<ModelPart>,
    pub(super) document: Option<Document>,
    tokenizers: Vec<TokenizerFacts>,
    chat_templates: Vec<ChatTemplateFacts>,
}

/// What a readable weight file contributes to the model.
pub(super) struct ModelPart {
    pub(super) architecture: Option<String>,
    pub(super) context_length: Option<u64>,
    pub(super) cache: Option<CacheLayout>,
    pub(super) split: Option<Split>,
    pub(super) precisions: Precisions,
    pub(super) lora: Option<Lora>,
    /// Sorted digests of the tensors' names.
    pub(super) names: Vec<NameDigest>,
}

impl Observation {
    fn of(entry: &FileEntry<'_>, quantization: Option<&QuantizationConfig>) -> Self {
        let mut found = Found::new();
        let kind = match scan::recognize(entry.path, entry.source) {
            Ok(kind) => {
                let allowance = Allowance::new(entry.source.size());
                let content = Content { path: entry.path, kind, source: entry.source, allowance: &allowance, depth: 0 };
                scan::scan(&content, &mut found);
                kind
            }
            Err(error) => {
                findings::unreadable(&mut found, &error);
                FileKind::Unknown
            }
        };
        Self::new(entry, kind, found, quantization)
    }

    fn new(entry: &FileEntry<'_>, kind: FileKind, mut found: Found, quantization: Option<&QuantizationConfig>) -> Self {
        let tensor_count = found.weights.as_ref().map(|weights| weights.tensors.len() as u64);
        let weights = found.weights.take().map(|weights| {
            let mut names: Vec<NameDigest> = weights.tensors.iter().map(|tensor| name_digest(&tensor.name)).collect();
            names.sort_unstable();
            ModelPart {
                lora: Lora::of(&weights.tensors),
                precisions: Precisions::of(&weights.tensors, quantization),
                architecture: weights.architecture,
                context_length: weights.context_length,
                cache: weights.cache,
                split: weights.split,
                names,
            }
        });
        let file = InspectedFile {
            path: entry.path.to_owned(),
            size: entry.source.size(),
            format: kind.name().to_owned(),
            verdict: found.verdict,
            weights: kind.holds_weights(),
            counted: false,
            parameters: weights.as_ref().map(|part| part.precisions.parameters()),
            tensor_count,
            quantization: weights.as_ref().and_then(|part| part.precisions.dominant()).map(str::to_owned),
            metadata: std::mem::take(&mut found.facts),
        };
        let document = found.document.take();
        let chat_templates = found.take_chat_templates(&file.path);
        let facts = std::mem::take(&mut found.tokenizer);
        let has_facts = !facts.is_empty();
        let tokenizers = has_facts.then(|| TokenizerFacts { path: file.path.clone(), facts }).into_iter().collect();
        let findings = found.into_findings().into_iter().map(|finding| finding.at(&file.path)).collect();
        Self { kind, file, findings, weights, document, tokenizers, chat_templates }
    }

    /// Takes a finding that only shows beside other files.
    pub(super) fn add(&mut self, verdict: InspectionVerdict, finding: Finding) {
        self.file.verdict = self.file.verdict.max(verdict);
        self.findings.push(finding.at(&self.file.path));
    }
}
