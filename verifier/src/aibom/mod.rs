//! The bill of materials of one revision, from stored evidence and from nothing else.
//!
//! Buyers, auditors and authorities ask for the same facts in three forms: CycloneDX 1.7, SPDX
//! 3.0.1 with its AI and Dataset profiles, and the technical documentation of the EU AI Act.
//! All three are made from one [`Subject`]. The same subject gives the same bytes, so a document
//! can be made again for any past date. What a card says is a stranger's: it is bounded here, and
//! a value of the wrong type is left out.

mod check;
mod completeness;
mod cyclonedx;
mod described;
mod documentation;
mod identity;
mod spdx;
mod terms;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::evidence::{Inspection, LicenseFacts, Relation};
use crate::license::NO_ASSERTION;
use crate::license::card;

pub use check::check_spdx;
pub use completeness::{Cluster, Completeness, completeness};
pub use cyclonedx::cyclonedx;
pub use documentation::{Documentation, Field, Section, technical_documentation};
pub use spdx::spdx;
pub use terms::{CustomLicense, Document, Terms};

use described::Described;

/// Most files that a document lists; it says so where there are more.
pub const MAX_FILES: usize = 10_000;
/// Most entries of every other list.
const MAX_LIST: usize = 64;
/// Longest text that is taken over, in characters.
const MAX_CHARACTERS: usize = 500;
/// The program that all documents name as their author.
const TOOL: &str = "weighhouse";
const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything that the documents of one revision are made from.
#[derive(Debug, Clone)]
pub struct Subject {
    /// None for files that no registry holds.
    pub namespace: Option<String>,
    pub name: String,
    /// None for files that no registry holds.
    pub commit: Option<String>,
    /// Hex SHA-256 over all files, see the registry's content digest.
    pub content_digest: String,
    /// When the revision was made, in milliseconds since 1970; every time in the documents.
    pub created_at: i64,
    /// Who gave the files to the registry, where that is known.
    pub supplier: Option<String>,
    /// Where the files can be had.
    pub download_location: Option<String>,
    pub files: Vec<File>,
    pub inspection: Option<Inspection>,
    pub license: LicenseFacts,
    /// The front matter of the model card.
    pub card: Map<String, Value>,
    pub ancestors: Vec<Ancestor>,
    pub terms: Terms,
}

/// One file of the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: String,
    /// Hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// A model that this one was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// `owner/name` as the files name it.
    pub name: String,
    pub relation: Relation,
    /// SPDX expression that the registry concluded for it.
    pub license: Option<String>,
    /// Hex SHA-256 of its content, where the very revision is known.
    pub content_digest: Option<String>,
}

/// The parents that license facts name, each once for each relation.
///
/// Evidence of earlier releases has no lineage; the card stands in for it there.
pub fn ancestors(facts: &LicenseFacts, card: &Map<String, Value>) -> Vec<Ancestor> {
    let mut named: Vec<(String, Relation)> =
        facts.lineage.iter().map(|edge| (edge.parent.clone(), edge.relation)).collect();
    if named.is_empty() {
        let relation = card.get("base_model_relation").and_then(Value::as_str).and_then(Relation::parse);
        let parents = described::texts(card.get("base_model"));
        named.extend(parents.into_iter().map(|parent| (parent, relation.unwrap_or(Relation::Finetune))));
    }
    named.sort();
    named.dedup();
    named.truncate(MAX_LIST);
    let ancestor = |(name, relation)| Ancestor { name, relation, license: None, content_digest: None };
    named.into_iter().map(ancestor).collect()
}

/// The front matter of a model card's text, empty where there is none that can be used.
pub fn front_matter(text: &str) -> Map<String, Value> {
    card::metadata(text).ok().flatten().unwrap_or_default()
}

impl Subject {
    fn full_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => bounded(&format!("{namespace}/{}", self.name)),
            None => bounded(&self.name),
        }
    }

    /// The commit, or the content digest of files that have none.
    fn version(&self) -> String {
        self.commit.clone().unwrap_or_else(|| format!("sha256:{}", self.content_digest))
    }

    fn listed_files(&self) -> &[File] {
        &self.files[..self.files.len().min(MAX_FILES)]
    }

    fn listed_ancestors(&self) -> &[Ancestor] {
        &self.ancestors[..self.ancestors.len().min(MAX_LIST)]
    }

    fn described(&self) -> Described {
        Described::of(&self.card)
    }

    /// What the card and the other files say, as one expression. Statements that differ all hold.
    fn declared(&self) -> String {
        let mut expressions: Vec<&str> = Vec::new();
        for statement in self.license.declared.iter().take(MAX_LIST) {
            let expression = statement.expression.as_str();
            if expression != NO_ASSERTION && !expressions.contains(&expression) {
                expressions.push(expression);
            }
        }
        match expressions.as_slice() {
            [] => NO_ASSERTION.to_owned(),
            [one] => (*one).to_owned(),
            several => several.iter().map(|one| grouped(one)).collect::<Vec<_>>().join(" AND "),
        }
    }

    fn concluded(&self) -> &str {
        &self.license.concluded
    }

    /// One sentence on what was judged.
    fn verdict(&self) -> String {
        let license = &self.license;
        let verdict = word(&license.verdict);
        let openness = &license.openness;
        format!(
            "License verdict: {verdict}; concluded {}; access class {}; Model Openness Framework class {}; OSAID {}.",
            license.concluded, openness.access_class, openness.mof_class, openness.osaid
        )
    }

    /// Findings of inspection and license judgement, one line each.
    fn findings(&self) -> Vec<String> {
        let inspected = self.inspection.iter().flat_map(|inspection| &inspection.findings);
        let all = inspected.chain(&self.license.findings).take(MAX_LIST);
        all.map(|finding| bounded(&format!("{}: {}", finding.code, finding.detail))).collect()
    }
}

/// A compound expression in parentheses, so that it stays whole in a larger one.
fn grouped(expression: &str) -> String {
    if expression.contains(' ') { format!("({expression})") } else { expression.to_owned() }
}

/// The word that serializes a unit variant.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// `text` without control characters, and not longer than any reader needs.
fn bounded(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_CHARACTERS).collect()
}
