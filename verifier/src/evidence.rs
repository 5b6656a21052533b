//! Everything a stage can conclude about a revision, as data.
//!
//! Evidence is stored forever and read by policies, pages, reports and foreign tools, so
//! these types are the product's memory: fields are only ever added, and each document
//! carries `schema_version`.

pub mod drift;
mod loading;
mod provenance;
mod weights;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::license::NO_ASSERTION;

pub use provenance::{
    AttestationFacts, AttestedBase, CertificateFacts, Coverage, LogPosition, ProvenanceFacts, ProvenanceVerdict,
    SignatureFacts, SignatureState, Subject, TimeEvidence, TimeSource,
};

pub use weights::{SharedWeights, WeightsAssessment};

/// Version written into every evidence document of this release.
pub const SCHEMA_VERSION: u32 = 1;

/// One step of judgement. `inspect` runs first; the others depend on it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Inspect,
    License,
    Provenance,
    Probe,
}

impl Stage {
    pub const ALL: [Self; 4] = [Self::Inspect, Self::License, Self::Provenance, Self::Probe];

    /// The name used in tables, URLs and policy inputs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::License => "license",
            Self::Provenance => "provenance",
            Self::Probe => "probe",
        }
    }

    /// The inverse of [`Stage::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// Where the evidence of one stage stands; the gate reads this word first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Missing,
    Pending,
    Running,
    Stale,
    Passed,
    Warned,
    Failed,
    Unsupported,
    Inconclusive,
    NotApplicable,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stale => "stale",
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Unsupported => "unsupported",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not_applicable",
        }
    }

    /// Whether an environment that requires this evidence is satisfied by it.
    pub const fn satisfies_requirement(self) -> bool {
        matches!(self, Self::Passed | Self::Warned | Self::NotApplicable)
    }
}

/// How much a finding matters by itself; what it means for a use is the policy's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

/// One named problem in evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Stable name in UPPER_SNAKE; waivers and policies refer to it.
    pub code: String,
    pub severity: Severity,
    /// The file the finding is about, or none when it is about the whole revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was seen, in one sentence.
    pub detail: String,
    /// What a person can do about it.
    pub remedy: String,
}

impl Finding {
    pub fn new(code: &str, severity: Severity, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.to_owned(), severity, path: None, detail: detail.into(), remedy: remedy.into() }
    }

    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }
}

/// The worst thing that can be said of the bytes, over all files.
///
/// The order is that of "worse". What could not be scanned is worse than what was scanned
/// and looks odd, or one odd file would turn a revision nobody looked into from
/// inconclusive into warned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InspectionVerdict {
    Ok,
    Suspicious,
    Unsupported,
    Unscannable,
    Malformed,
    Dangerous,
}

impl InspectionVerdict {
    pub const fn status(self) -> Status {
        match self {
            Self::Ok => Status::Passed,
            Self::Suspicious => Status::Warned,
            Self::Malformed | Self::Dangerous => Status::Failed,
            Self::Unsupported => Status::Unsupported,
            Self::Unscannable => Status::Inconclusive,
        }
    }

    /// The exit code of `weighhouse inspect`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Dangerous | Self::Malformed => 1,
            Self::Suspicious | Self::Unsupported | Self::Unscannable => 2,
        }
    }
}

/// What the bytes of a revision say about themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Inspection {
    pub schema_version: u32,
    pub verdict: InspectionVerdict,
    /// `gguf`, `safetensors`, … of the main weights; none when there are no weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Exact number of parameters over all weight files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// The dominant tensor type by parameters, such as `Q4_1` or `BF16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// Stored bits per parameter over all weight files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_weight: Option<f64>,
    /// Longest context the model was trained for, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// How the weights were packed (`gptq`, `awq`, `compressed-tensors`, `bitsandbytes`, …), as the
    /// configuration names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization_method: Option<String>,
    /// Tensors, parameters and bytes by precision, the one of most parameters first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub precisions: Vec<Precision>,
    /// Stored bytes of all tensors, scales and zero points included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bytes: Option<u64>,
    /// What attention keeps for each token, where the files say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheLayout>,
    /// What turns text into tokens, as each file that says so says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokenizers: Vec<TokenizerFacts>,
    /// The programs that turn conversations into text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chat_templates: Vec<ChatTemplateFacts>,
    pub files: Vec<InspectedFile>,
    pub findings: Vec<Finding>,
}

/// What one file says of the tokenizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenizerFacts {
    /// The file.
    pub path: String,
    /// Names and values, bounded in number and length: `model`, `vocabulary_size`, …
    #[schema(value_type = Object)]
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// One chat template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChatTemplateFacts {
    /// The file that holds it.
    pub path: String,
    /// `default`, or the name it has beside others.
    pub name: String,
    /// Hex SHA-256 of the text.
    pub sha256: String,
    /// Length of the text.
    pub bytes: u64,
    /// The text, cut after 64 KiB.
    pub text: String,
}

/// One bar of a model's precision histogram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Precision {
    /// The format's own name (`Q4_K`, `BF16`), or method and width of packed weights (`GPTQ-4bit`).
    pub name: String,
    pub tensors: u64,
    pub parameters: u64,
    /// Stored bytes, without scales and zero points that are tensors of their own.
    pub bytes: u64,
}

/// What attention keeps: elements of keys and values for each token of the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheLayout {
    /// In layers that see the whole context.
    pub elements_per_token: u64,
    /// In layers that see a sliding window only.
    #[serde(default)]
    pub windowed_elements_per_token: u64,
    /// Length of that window in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

/// Memory that a model takes, in bytes. Engines add working buffers of their own, as a rule some
/// hundred megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemoryEstimate {
    /// Tokens of context the estimate is for.
    pub context: u64,
    /// The tensors as they are stored.
    pub weights: u64,
    /// Keys and values in 16 bits; none where the files do not say how much attention keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<u64>,
    pub total: u64,
}

impl Inspection {
    /// The context that memory is estimated for where nobody asks for another, in tokens.
    pub fn usual_context(&self) -> u64 {
        const USUAL_CONTEXT: u64 = 8192;
        self.context_length.unwrap_or(USUAL_CONTEXT).min(USUAL_CONTEXT)
    }

    /// What the model takes with a context of `tokens`; none where no weights could be read.
    pub fn memory(&self, tokens: u64) -> Option<MemoryEstimate> {
        let weights = self.weight_bytes?;
        let cache = self.cache.map(|layout| layout.bytes(tokens));
        Some(MemoryEstimate { context: tokens, weights, cache, total: weights.saturating_add(cache.unwrap_or(0)) })
    }
}

impl CacheLayout {
    /// Bytes of keys and values in 16 bits for `tokens` of context.
    pub fn bytes(&self, tokens: u64) -> u64 {
        const ELEMENT_BYTES: u64 = 2;
        let in_window = self.window.map_or(tokens, |window| window.min(tokens));
        self.elements_per_token
            .saturating_mul(tokens)
            .saturating_add(self.windowed_elements_per_token.saturating_mul(in_window))
            .saturating_mul(ELEMENT_BYTES)
    }
}

/// One file as its content, not its extension, describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InspectedFile {
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// `gguf`, `safetensors`, `pickle`, `json`, `text`, `license`, `model_card`, `media`, `unknown`, …
    pub format: String,
    pub verdict: InspectionVerdict,
    /// Whether the file holds model parameters.
    pub weights: bool,
    /// Whether the numbers of the whole model include this file; alternatives are not added up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// Facts read from the file's own metadata, bounded in number and length.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Where a license statement was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LicenseSource {
    ModelCard,
    LicenseText,
    GgufMetadata,
    SafetensorsMetadata,
    Config,
    PackageMetadata,
    /// A file such as NOTICE, which travels with the model and names its license in a line.
    Notice,
    /// The text below a model card's front matter.
    CardProse,
}

/// How surely a text names its license.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MatchKind {
    /// The words are those of the license, one for one.
    Exact,
    /// All but a few words are, and what sets this version apart from its siblings is there.
    ExactVersion,
    /// The words are shared by several versions, and nothing tells which one it is.
    FamilyVersionUnknown,
    /// Made from the license's text by changing it.
    Modified,
    /// A line that names the license and is not its text.
    Reference,
    Unknown,
}

impl MatchKind {
    /// The words people use for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::ExactVersion => "exact version",
            Self::FamilyVersionUnknown => "family, version unknown",
            Self::Modified => "modified",
            Self::Reference => "named in a line",
            Self::Unknown => "unknown",
        }
    }
}

/// What a text has that the nearest license has not, and the other way round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TextDifference {
    /// The license the text was compared with.
    pub nearest: String,
    /// Paragraphs of the text that the license does not hold, shortened in number and length.
    pub unmatched: Vec<String>,
    /// How many there are.
    pub unmatched_count: u64,
    /// Paragraphs of the license that the text does not hold, shortened in number and length.
    /// Empty where only hashes of the license are at hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// How many there are.
    pub missing_count: u64,
}

/// What a model was made from another by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    Finetune,
    Adapter,
    Quantized,
    Merge,
    /// Trained to reproduce the other model; the Hub has no word for it.
    Distilled,
    /// Trained on what the other model put out; the Hub has no word for it.
    TrainedOnOutputs,
}

impl Relation {
    /// The name used in documents, tables and policy inputs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finetune => "finetune",
            Self::Adapter => "adapter",
            Self::Quantized => "quantized",
            Self::Merge => "merge",
            Self::Distilled => "distilled",
            Self::TrainedOnOutputs => "trained-on-outputs",
        }
    }

    /// The inverse of [`Relation::as_str`], in any case and with `_` for `-`.
    pub fn parse(name: &str) -> Option<Self> {
        const ALL: [Relation; 6] = [
            Relation::Finetune,
            Relation::Adapter,
            Relation::Quantized,
            Relation::Merge,
            Relation::Distilled,
            Relation::TrainedOnOutputs,
        ];
        let name = name.trim().replace('_', "-").to_ascii_lowercase();
        ALL.into_iter().find(|relation| relation.as_str() == name)
    }
}

/// Where a parent was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineageSource {
    ModelCard,
    GgufMetadata,
    AdapterConfig,
    MergeConfig,
}

/// How a relation to a parent is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineageConfidence {
    /// A person wrote parent and relation down.
    Declared,
    /// A tool wrote the parent down where it made the files.
    Detected,
    /// The parent is named, and the relation follows from the kind of files.
    Inferred,
}

/// One parent of a model, as one file names it. Files that name the same parent each have an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineageEdge {
    /// `owner/name` as written, or that of a repository's address.
    pub parent: String,
    pub relation: Relation,
    pub source: LineageSource,
    pub path: String,
    /// Hex SHA-256 of the file.
    pub digest: String,
    pub confidence: LineageConfidence,
}

/// One statement about a license, with what it was read from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LicenseStatement {
    pub source: LicenseSource,
    pub path: String,
    /// Hex SHA-256 of the file the statement was read from.
    pub digest: String,
    /// The words as found, shortened to 200 characters.
    pub text: String,
    /// SPDX expression, `LicenseRef-…`, or `NOASSERTION` when the words do not name one license.
    pub expression: String,
    /// Similarity of a detected text in 0..=1; absent for declarations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How surely a text or a line names the license; absent for declarations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_kind: Option<MatchKind>,
    /// What a changed text has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<TextDifference>,
}

impl LicenseStatement {
    /// The expression the words stand for, or the words where they stand for none.
    pub fn words(&self) -> &str {
        if self.expression == NO_ASSERTION { &self.text } else { &self.expression }
    }
}

/// How a concluded license came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LicenseVerdict {
    /// Every source agrees on one known license.
    Agreed,
    /// A person has to decide; the findings say why.
    Review,
    /// No source names a license.
    Unlicensed,
}

/// What a revision may be used for, as far as its own files tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LicenseFacts {
    pub schema_version: u32,
    pub verdict: LicenseVerdict,
    pub declared: Vec<LicenseStatement>,
    pub detected: Vec<LicenseStatement>,
    /// SPDX expression or `NOASSERTION`.
    pub concluded: String,
    /// The catalog's class of the concluded license, such as `permissive` or `non-commercial`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_class: Option<String>,
    /// Whether a person has to read the catalog's row before it may allow anything (confidence C or D).
    #[serde(default)]
    pub provisional: bool,
    pub openness: Openness,
    /// The models that this one was made from, as its files name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<LineageEdge>,
    pub findings: Vec<Finding>,
}

impl LicenseFacts {
    pub const fn status(&self) -> Status {
        match self.verdict {
            LicenseVerdict::Agreed => Status::Passed,
            LicenseVerdict::Review => Status::Warned,
            LicenseVerdict::Unlicensed => Status::Failed,
        }
    }
}

/// Where a model stands on the openness spectrum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Openness {
    /// `closed`, `open-access`, `open-weight-unlicensed`, `-restricted`, `-copyleft`,
    /// `-permissive` or `fully-open`.
    pub access_class: String,
    /// Model Openness Framework class 1 to 3; 0 when unclassified.
    pub mof_class: u8,
    /// Components missing for the next class, sorted.
    pub mof_next_gap: Vec<String>,
    /// `conformant`, `undetermined` or `not-conformant`.
    pub osaid: String,
    pub eu_art53_2_candidate: bool,
    pub reasons: Vec<String>,
}

/// The outcome of an attempt to load and generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeVerdict {
    Passed,
    PassedWithWarnings,
    Failed,
    Unsupported,
    Inconclusive,
}

impl ProbeVerdict {
    pub const fn status(self) -> Status {
        match self {
            Self::Passed => Status::Passed,
            Self::PassedWithWarnings => Status::Warned,
            Self::Failed => Status::Failed,
            Self::Unsupported => Status::Unsupported,
            Self::Inconclusive => Status::Inconclusive,
        }
    }

    /// The exit code of `weighhouse probe`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed | Self::PassedWithWarnings => 0,
            Self::Failed => 1,
            Self::Unsupported | Self::Inconclusive => 2,
        }
    }
}

/// One level of the probe, from the header (`L0`) to generation (`L4`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbeLevel {
    /// `L0` to `L4`.
    pub level: String,
    pub status: Status,
    pub milliseconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What the model did when it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Generation {
    pub prompt: String,
    pub text: String,
    pub prompt_tokens: u64,
    pub generated_tokens: u64,
    pub prompt_tokens_per_second: f64,
    pub tokens_per_second: f64,
    /// Hex SHA-256 of the generated token ids, equal over both greedy runs.
    pub token_digest: String,
    /// Whether two greedy runs gave the same tokens.
    pub deterministic: bool,
}

/// Teacher-forced measurement over a fixed English paragraph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    pub tokens: u64,
    pub perplexity: f64,
    /// Mean entropy of the next-token distribution, in nats.
    pub mean_entropy: f64,
    /// The five most likely next tokens after the last one of the paragraph: token id and logit.
    pub top_logits: Vec<(u32, f32)>,
    /// What tells later whether the same weights are still computed to the same numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// A short trace of a computation, comparable over engines, machines and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fingerprint {
    /// Hex SHA-256 over the logits after the last token of the calibration text, each rounded to
    /// hundredths and written as a little-endian 32-bit integer. Equal on the same engine, machine
    /// and number of threads; a near tie may round differently elsewhere.
    pub digest: String,
    /// Logits of up to 16 tokens at evenly spaced ids, which can be compared with a tolerance.
    pub sample: Vec<f32>,
}

/// How far the computation of an architecture is known to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conformance {
    /// A committed golden of another engine is reproduced by this release.
    Verified,
    /// The engine computes it, but nothing committed compares it with another engine.
    Unverified,
}

impl Conformance {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
        }
    }
}

/// What an embedding model did with texts of known relation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Embedding {
    /// Elements of one embedding.
    pub dimensions: u64,
    /// `mean`, `cls` or `last`.
    pub pooling: String,
    /// Lowest cosine between paraphrases.
    pub paraphrase_cosine: f64,
    /// Highest cosine between unrelated texts.
    pub unrelated_cosine: f64,
    /// Tokens read per second.
    pub tokens_per_second: f64,
    /// Whether two runs gave the same numbers.
    pub deterministic: bool,
}

/// What an adapter does to its base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Adapter {
    /// Inner dimension of the low-rank matrices; the greatest where they differ.
    pub rank: u64,
    /// Matrices of the base that it changes.
    pub targets: u64,
    /// Perplexity of the base over the calibration text, without the adapter.
    pub base_perplexity: f64,
}

/// The limits a probe ran under and how far they were enforced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SandboxReport {
    /// `strict` for CPU; weaker profiles name themselves.
    pub profile: String,
    /// `full`, `partial` or `none`.
    pub landlock: String,
    pub seccomp: bool,
    pub memory_limit_bytes: u64,
    pub wall_limit_seconds: u64,
    /// What the kernel did not enforce, such as `RLIMIT_AS`; empty when the sandbox is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
}

/// The report of one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbeReport {
    pub schema_version: u32,
    pub verdict: ProbeVerdict,
    /// Why the verdict is what it is, in one sentence.
    pub reason: String,
    pub engine: String,
    pub engine_version: String,
    pub device: String,
    pub threads: u32,
    /// What the engine took the model for, in llama.cpp's name for the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conformance: Option<Conformance>,
    pub levels: Vec<ProbeLevel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_milliseconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Embedding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxReport>,
    pub findings: Vec<Finding>,
}

/// One stage's conclusion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Evidence {
    Inspect(Inspection),
    License(LicenseFacts),
    Provenance(ProvenanceFacts),
    Probe(Box<ProbeReport>),
}

impl Evidence {
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Inspect(_) => Stage::Inspect,
            Self::License(_) => Stage::License,
            Self::Provenance(_) => Stage::Provenance,
            Self::Probe(_) => Stage::Probe,
        }
    }

    pub const fn status(&self) -> Status {
        match self {
            Self::Inspect(inspection) => inspection.verdict.status(),
            Self::License(facts) => facts.status(),
            Self::Provenance(facts) => facts.status(),
            Self::Probe(report) => report.verdict.status(),
        }
    }

    pub const fn as_inspection(&self) -> Option<&Inspection> {
        if let Self::Inspect(inspection) = self { Some(inspection) } else { None }
    }

    pub const fn as_license(&self) -> Option<&LicenseFacts> {
        if let Self::License(facts) = self { Some(facts) } else { None }
    }

    pub const fn as_provenance(&self) -> Option<&ProvenanceFacts> {
        if let Self::Provenance(facts) = self { Some(facts) } else { None }
    }

    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Inspect(inspection) => &inspection.findings,
            Self::License(facts) => &facts.findings,
            Self::Provenance(facts) => &facts.findings,
            Self::Probe(report) => &report.findings,
        }
    }
}

/// One input that a stage read: a role (a path, `signature`, `trusted-keys`, …) and a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EvidenceInput {
    pub role: String,
    /// Hex SHA-256.
    pub digest: String,
}

impl EvidenceInput {
    /// Role of the request that asked for a judgement although there is one. No path begins with a slash.
    pub const REQUESTED: &'static str = "//requested";
    /// Put before the path of a file of the model that an adapter changes.
    pub const BASE: &'static str = "//base/";
}

/// The identity of a piece of evidence: same stage, tool, configuration and inputs give the
/// same key, so unchanged bytes are never judged twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceKey {
    pub stage: Stage,
    /// Version of the code that judged, raised whenever its conclusions may change.
    pub tool_version: String,
    /// Hex SHA-256 of the configuration that influenced the judgement.
    pub configuration_digest: String,
    /// Exactly the inputs that were read, sorted.
    pub inputs: Vec<EvidenceInput>,
}

impl EvidenceKey {
    pub fn new(stage: Stage, tool_version: &str, configuration_digest: String, mut inputs: Vec<EvidenceInput>) -> Self {
        inputs.sort();
        inputs.dedup();
        Self { stage, tool_version: tool_version.to_owned(), configuration_digest, inputs }
    }

    /// Hex SHA-256 that no two keys share.
    pub fn digest(&self) -> String {
        let fields = ["weighhouse-evidence-v1", self.stage.as_str(), &self.tool_version, &self.configuration_digest];
        digest_of(fields.into_iter().chain(fields_of(self.inputs.iter())))
    }

    /// Hex SHA-256 over the inputs alone, without the request that asked for it: the same for all
    /// judgements of the same bytes, by whatever version and however often.
    pub fn subject(&self) -> String {
        let read = self.inputs.iter().filter(|input| input.role != EvidenceInput::REQUESTED);
        digest_of(["weighhouse-subject-v1", self.stage.as_str()].into_iter().chain(fields_of(read)))
    }
}

fn fields_of<'a>(inputs: impl Iterator<Item = &'a EvidenceInput>) -> impl Iterator<Item = &'a str> {
    inputs.flat_map(|input| [input.role.as_str(), input.digest.as_str()])
}

/// Hex SHA-256 over length-prefixed fields.
fn digest_of<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for text in fields {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hex::encode(hasher.finalize())
}
