//! What may be done with a revision, as far as its own files tell.
//!
//! A tag is a claim, a license text is a document, and most published models carry only the
//! claim. So three facts are kept apart: what is *declared*, what is *detected* in texts,
//! and what follows from both. Where they disagree, or the words name no one license, a
//! person decides; nothing here guesses in favor of use.

pub mod card;
pub mod cases;
pub mod catalog;
mod changes;
mod conclude;
mod corpus;
mod detect;
pub mod explain;
mod expression;
mod files;
pub mod fingerprint;
mod hf_ids;
mod lineage;
mod links;
pub mod openness;
mod package;
pub mod paragraphs;
mod phrases;
pub mod propagation;
pub mod record;
mod sources;
mod terms;
mod yaml;

pub(crate) use yaml::value as yaml_value;

use serde_json::{Map, Value};

pub use catalog::Catalog;
pub use expression::NO_ASSERTION;

pub use conclude::judge;
pub use files::judge_files;

pub use crate::digested_file::DigestedFile;

/// Whether `text` is an SPDX expression, in which unknown ids are `LicenseRef-…`.
pub fn is_expression(text: &str) -> bool {
    text.len() <= 1000 && expression::parse(text).is_some()
}

/// Longest text that is read for license judgement, in bytes; the longest license in use has 120,000.
pub const MAX_TEXT_BYTES: u64 = 256 * 1024;

/// What judgement reads of a revision.
#[derive(Debug, Clone, Default)]
pub struct LicenseInput<'a> {
    pub documents: Vec<LicenseDocument<'a>>,
    /// Whether the revision holds model parameters.
    pub has_weights: bool,
    /// Whether the model can be used through an interface, as for a reference without weights.
    pub api_access: bool,
}

/// One file that may speak of licenses.
#[derive(Debug, Clone)]
pub struct LicenseDocument<'a> {
    /// Path inside the revision.
    pub path: &'a str,
    /// Hex SHA-256 of the file.
    pub digest: &'a str,
    pub content: Content<'a>,
}

/// How a document was read.
#[derive(Debug, Clone)]
pub enum Content<'a> {
    /// The text of a model card, license or `config.json`.
    Text(&'a str),
    /// Metadata of a weight file, as inspection stored it.
    Metadata(&'a Map<String, Value>),
    /// A text that is longer than [`MAX_TEXT_BYTES`] or not UTF-8.
    Unreadable,
}

/// The license role of a file, from its path; weight files speak through their metadata instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    ModelCard,
    LicenseText,
    Config,
    /// `adapter_config.json` of PEFT.
    AdapterConfig,
    /// The configuration that mergekit leaves beside a merged model.
    MergeConfig,
    /// What a packaging tool reads, such as `pyproject.toml`.
    PackageMetadata,
    /// A NOTICE file, with the lines that licensors ask for.
    Notice,
}

impl Role {
    /// The role of the file at `path`. Only files at the top of a revision speak for it as a
    /// whole: folders hold the licenses of parts and of vendored code.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.to_ascii_lowercase();
        let is_license = ["license", "licence", "copying", "unlicense"].iter().any(|stem| name.starts_with(stem));
        match name.as_str() {
            _ if name.contains('/') => None,
            "readme.md" => Some(Self::ModelCard),
            "config.json" => Some(Self::Config),
            "adapter_config.json" => Some(Self::AdapterConfig),
            "mergekit_config.yml" | "mergekit_config.yaml" | "merge_config.yml" | "merge_config.yaml" => {
                Some(Self::MergeConfig)
            }
            "notice" | "notice.txt" | "notice.md" => Some(Self::Notice),
            "pyproject.toml" | "package.json" | "citation.cff" | "setup.cfg" => Some(Self::PackageMetadata),
            _ if is_license => Some(Self::LicenseText),
            _ => None,
        }
    }
}
