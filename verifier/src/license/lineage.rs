//! What a revision was made from, as its own files name it.
//!
//! Terms travel from a model to what is made of it, so a license judgement has to know the
//! parents. A card says what a person wrote; tools leave the parent in the files they make.
//! Both are kept, each with the file it was read from, and where they disagree a person looks.

use serde_json::{Map, Value};

use super::card::{self, Card};
use super::yaml;
use super::{Content, LicenseDocument, LicenseInput, Role};
use crate::evidence::{Finding, LineageConfidence, LineageEdge, LineageSource, Relation, Severity};

/// Most parents that are kept of one file.
const MAX_PARENTS: usize = 64;
/// Most edges that are kept of a revision.
const MAX_EDGES: usize = 256;
/// Most findings about lineage.
const MAX_FINDINGS: usize = 32;
/// Longest part of a repository's name, in bytes.
const MAX_NAME_BYTES: usize = 96;

/// Parents and what is wrong with how they are named.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    pub(super) edges: Vec<LineageEdge>,
    pub(super) findings: Vec<Finding>,
    /// The model's own names, as its files give them.
    own: Vec<String>,
}

/// What kind of files the revision holds, from which the Hub concludes a relation.
#[derive(Debug, Clone, Copy, Default)]
struct Signs {
    adapter: bool,
    quantized: bool,
}

impl Signs {
    fn of(input: &LicenseInput<'_>) -> Self {
        let mut signs = Self::default();
        for document in &input.documents {
            match (&document.content, Role::of(document.path)) {
                (_, Some(Role::AdapterConfig)) => signs.adapter = true,
                (Content::Metadata(metadata), _) => signs.quantized |= is_gguf(metadata),
                (Content::Text(text), Some(Role::Config)) => signs.quantized |= is_quantized(text),
                _ => {}
            }
        }
        signs
    }

    /// As the Hub does where a card does not say: adapter, quantized, merge, finetune.
    const fn relation(self, parents: usize) -> Relation {
        match (self.adapter, self.quantized, parents) {
            (true, ..) => Relation::Adapter,
            (false, true, _) => Relation::Quantized,
            (false, false, 0 | 1) => Relation::Finetune,
            (false, false, _) => Relation::Merge,
        }
    }
}

/// Whether a weight file's metadata is that of GGUF.
pub(super) fn is_gguf(metadata: &Map<String, Value>) -> bool {
    metadata.keys().any(|key| key.starts_with("general."))
}

/// GPTQ, AWQ and their like say so in `config.json`.
fn is_quantized(config: &str) -> bool {
    let document: Option<Map<String, Value>> = serde_json::from_str(config).ok();
    document.is_some_and(|document| document.get("quantization_config").is_some_and(Value::is_object))
}

/// The parents that the files of `input` name.
pub(super) fn read(input: &LicenseInput<'_>) -> Lineage {
    let signs = Signs::of(input);
    let mut lineage = Lineage::default();
    for document in &input.documents {
        match (&document.content, Role::of(document.path)) {
            (Content::Metadata(metadata), _) if is_gguf(metadata) => lineage.read_gguf(document, metadata),
            (Content::Text(text), Some(Role::ModelCard)) => {
                // A card that cannot be read is a finding already.
                if let Ok(Some(card)) = card::parse(text) {
                    lineage.read_card(document, &card, signs);
                }
            }
            (Content::Text(text), Some(Role::AdapterConfig)) => lineage.read_adapter(document, text),
            (Content::Text(text), Some(Role::MergeConfig)) => lineage.read_merge(document, text),
            _ => {}
        }
    }
    lineage.check();
    lineage
}

impl Lineage {
    fn add(
        &mut self,
        document: &LicenseDocument<'_>,
        words: &str,
        relation: Relation,
        source: LineageSource,
        confidence: LineageConfidence,
    ) {
        let parent = match parent(words) {
            Ok(parent) => parent,
            Err(reason) => return self.complain("LINEAGE_PARENT_UNKNOWN", document.path, words, reason),
        };
        let edge = LineageEdge {
            parent,
            relation,
            source,
            path: document.path.to_owned(),
            digest: document.digest.to_owned(),
            confidence,
        };
        if self.edges.len() < MAX_EDGES && !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }

    fn complain(&mut self, code: &str, path: &str, words: &str, reason: &str) {
        let words: String = words.chars().take(80).collect();
        self.find(code, path, format!("`{words}` {reason}."), "name the parent as owner/name");
    }

    fn find(&mut self, code: &str, path: &str, detail: String, remedy: &str) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding::new(code, Severity::Medium, detail, remedy).at(path));
        }
    }

    fn read_card(&mut self, document: &LicenseDocument<'_>, card: &Card, signs: Signs) {
        let source = LineageSource::ModelCard;
        let written = card.base_model_relation.as_deref();
        let declared = written.and_then(Relation::parse);
        if let (Some(words), None) = (written, declared) {
            self.complain("LINEAGE_RELATION_UNKNOWN", document.path, words, "is no relation known to this release");
        }
        let (relation, confidence) = match declared {
            Some(relation) => (relation, LineageConfidence::Declared),
            None => (signs.relation(card.base_model.len()), LineageConfidence::Inferred),
        };
        for parent in &card.base_model {
            self.add(document, parent, relation, source, confidence);
        }
        for (parents, relation) in
            [(&card.distilled_from, Relation::Distilled), (&card.trained_on_outputs_of, Relation::TrainedOnOutputs)]
        {
            for parent in parents {
                self.add(document, parent, relation, source, LineageConfidence::Declared);
            }
        }
    }

    /// Keys after ggml's specification: `general.base_model.count` and, for each,
    /// `general.base_model.N.name`, `.organization` and `.repo_url`.
    fn read_gguf(&mut self, document: &LicenseDocument<'_>, metadata: &Map<String, Value>) {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        self.own.extend(text("general.repo_url").and_then(|words| parent(words).ok()));
        let count = metadata.get("general.base_model.count").and_then(Value::as_u64).unwrap_or_default();
        let relation = if count > 1 { Relation::Merge } else { Relation::Quantized };
        for number in 0..count.min(MAX_PARENTS as u64) {
            let of = |field: &str| text(&format!("general.base_model.{number}.{field}"));
            let words = match (of("repo_url"), of("organization"), of("name")) {
                (Some(address), ..) => address.to_owned(),
                (None, Some(owner), Some(name)) => [owner, name].map(|part| part.replace(' ', "-")).join("/"),
                (None, None, Some(name)) => name.replace(' ', "-"),
                (None, _, None) => continue,
            };
            self.add(document, &words, relation, LineageSource::GgufMetadata, LineageConfidence::Detected);
        }
    }

    fn read_adapter(&mut self, document: &LicenseDocument<'_>, text: &str) {
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(config) => match config.get("base_model_name_or_path") {
                Some(Value::String(parent)) => self.add(
                    document,
                    parent,
                    Relation::Adapter,
                    LineageSource::AdapterConfig,
                    LineageConfidence::Detected,
                ),
                Some(Value::Null) | None => {}
                Some(other) => {
                    self.complain("LINEAGE_PARENT_UNKNOWN", document.path, &other.to_string(), "is no model's name");
                }
            },
            Err(error) => self.cannot_read(document.path, &error),
        }
    }

    fn read_merge(&mut self, document: &LicenseDocument<'_>, text: &str) {
        let config = match yaml::value(text) {
            Ok(config) => config,
            Err(error) => return self.cannot_read(document.path, &error),
        };
        let mut parents = Vec::new();
        collect_merged(&config, &mut parents);
        for parent in parents {
            let (source, confidence) = (LineageSource::MergeConfig, LineageConfidence::Detected);
            self.add(document, &parent, Relation::Merge, source, confidence);
        }
    }

    fn cannot_read(&mut self, path: &str, reason: &dyn std::fmt::Display) {
        let reason: String = reason.to_string().chars().take(200).collect();
        let detail = format!("The file names the model's parents and cannot be read: {reason}.");
        self.find("LINEAGE_SOURCE_INVALID", path, detail, "correct the file");
    }

    /// Edges that contradict each other or lead back to the model.
    fn check(&mut self) {
        let mut found: Vec<(&str, String, String)> = Vec::new();
        for (position, edge) in self.edges.iter().enumerate() {
            if self.own.iter().any(|own| own.eq_ignore_ascii_case(&edge.parent)) {
                let detail = format!("{} names the model itself, {}, as its parent.", edge.path, edge.parent);
                found.push(("LINEAGE_SELF", edge.path.clone(), detail));
            }
            let contradicts = |other: &&LineageEdge| {
                other.parent.eq_ignore_ascii_case(&edge.parent)
                    && other.relation != edge.relation
                    && other.path != edge.path
                    && says_relation(other)
                    && says_relation(edge)
            };
            if let Some(other) = self.edges[..position].iter().find(contradicts) {
                let says = |edge: &LineageEdge| format!("{} says {}", edge.path, edge.relation.as_str());
                let detail = format!("Of the parent {}, {} while {}.", edge.parent, says(other), says(edge));
                found.push(("LINEAGE_CONFLICT", edge.path.clone(), detail));
            }
        }
        for (code, path, detail) in found {
            self.find(code, &path, detail, "correct the file that is wrong");
        }
    }
}

/// Whether the relation itself was written down; GGUF's keys name a parent and not how it was used.
fn says_relation(edge: &LineageEdge) -> bool {
    edge.confidence != LineageConfidence::Inferred && edge.source != LineageSource::GgufMetadata
}

/// The models that mergekit's configuration names, at any depth: `models`, `slices`, experts and the base.
fn collect_merged(config: &Value, parents: &mut Vec<String>) {
    match config {
        Value::Object(members) => {
            for (key, value) in members {
                let name = value.as_str().or_else(|| value.get("path").and_then(Value::as_str));
                match (key.as_str(), name) {
                    ("model" | "source_model" | "base_model", Some(name)) => {
                        // `model+adapter` puts an adapter on a model before the merge.
                        for part in name.split('+') {
                            if parents.len() < MAX_PARENTS && !parents.iter().any(|known| known == part) {
                                parents.push(part.to_owned());
                            }
                        }
                    }
                    _ => collect_merged(value, parents),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_merged(value, parents)),
        _ => {}
    }
}

/// The `owner/name` in `words`: as written, or from a repository's address.
fn parent(words: &str) -> Result<String, &'static str> {
    let words = words.trim();
    let name = match words.split_once("://") {
        Some(("http" | "https", address)) => {
            let path = address.split(['?', '#']).next().unwrap_or_default().split('/').skip(1);
            let mut parts = path.filter(|part| !part.is_empty() && *part != "models");
            match (parts.next(), parts.next()) {
                (Some(owner), Some(name)) => format!("{owner}/{name}"),
                _ => return Err("is no address of a repository"),
            }
        }
        Some(_) => return Err("is no address of a repository"),
        None if is_local(words) => return Err("is a place on somebody's machine and names no model"),
        None => words.to_owned(),
    };
    let is_part = |part: &str| {
        (1..=MAX_NAME_BYTES).contains(&part.len())
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let parts = name.split('/').count();
    if parts <= 2 && name.split('/').all(is_part) { Ok(name) } else { Err("is no model's name") }
}

fn is_local(words: &str) -> bool {
    words.starts_with(['/', '.', '~']) || words.contains('\\') || words.contains(":/") || words.split('/').count() > 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document<'a>(path: &'a str, text: &'a str) -> LicenseDocument<'a> {
        LicenseDocument { path, digest: "00", content: Content::Text(text) }
    }

    fn lineage(documents: Vec<LicenseDocument<'_>>) -> Lineage {
        read(&LicenseInput { documents, has_weights: true, api_access: false })
    }

    fn edges(lineage: &Lineage) -> Vec<(&str, Relation, LineageConfidence)> {
        lineage.edges.iter().map(|edge| (edge.parent.as_str(), edge.relation, edge.confidence)).collect()
    }

    fn codes(lineage: &Lineage) -> Vec<&str> {
        lineage.findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    #[test]
    fn a_card_declares_a_relation_or_leaves_it_to_be_inferred() {
        let declared =
            lineage(vec![document("README.md", "---\nbase_model: a/b\nbase_model_relation: quantized\n---\n")]);
        assert_eq!(edges(&declared), [("a/b", Relation::Quantized, LineageConfidence::Declared)]);
        let merge = lineage(vec![document("README.md", "---\nbase_model: [a/b, c/d]\n---\n")]);
        assert_eq!(merge.edges[1].relation, Relation::Merge);
        let tuned = lineage(vec![document("README.md", "---\nbase_model: a/b\n---\n")]);
        assert_eq!(edges(&tuned), [("a/b", Relation::Finetune, LineageConfidence::Inferred)]);
        let quantized = lineage(vec![
            document("README.md", "---\nbase_model: a/b\n---\n"),
            document("config.json", r#"{"quantization_config": {"quant_method": "gptq"}}"#),
        ]);
        assert_eq!(quantized.edges[0].relation, Relation::Quantized);
    }

    #[test]
    fn our_own_card_fields_name_what_the_hub_has_no_word_for() {
        let card = "---\ndistilled_from: a/b\ntrained_on_outputs_of: [c/d]\n---\n";
        let relations: Vec<Relation> =
            lineage(vec![document("README.md", card)]).edges.iter().map(|e| e.relation).collect();
        assert_eq!(relations, [Relation::Distilled, Relation::TrainedOnOutputs]);
    }

    #[test]
    fn an_adapter_names_its_base_and_a_local_path_is_none() {
        let named = lineage(vec![document("adapter_config.json", r#"{"base_model_name_or_path": "a/b"}"#)]);
        assert_eq!(edges(&named), [("a/b", Relation::Adapter, LineageConfidence::Detected)]);
        for local in ["/home/me/model", "./model", "C:\\\\model", "a/b/c"] {
            let text = format!(r#"{{"base_model_name_or_path": "{local}"}}"#);
            let found = lineage(vec![document("adapter_config.json", &text)]);
            assert_eq!(codes(&found), ["LINEAGE_PARENT_UNKNOWN"], "{local}");
        }
    }

    #[test]
    fn a_merge_config_names_all_models_once() {
        let config =
            "merge_method: ties\nbase_model: a/b\nmodels:\n- model: c/d\n- model: {path: e/f}\n- model: a/b+g/h\n";
        let found = lineage(vec![document("mergekit_config.yml", config)]);
        let mut parents: Vec<&str> = found.edges.iter().map(|edge| edge.parent.as_str()).collect();
        parents.sort_unstable();
        assert_eq!(parents, ["a/b", "c/d", "e/f", "g/h"]);
        assert!(found.edges.iter().all(|edge| edge.relation == Relation::Merge));
    }

    #[test]
    fn gguf_keys_name_parents_by_address_or_by_owner_and_name() {
        let value = serde_json::json!({
            "general.repo_url": "https://huggingface.co/me/mine",
            "general.base_model.count": 3,
            "general.base_model.0.repo_url": "https://huggingface.co/a/b",
            "general.base_model.1.organization": "Meta Llama", "general.base_model.1.name": "Llama 3.1 8B",
            "general.base_model.2.repo_url": "https://huggingface.co/me/mine",
        });
        let Value::Object(metadata) = value else { panic!("not an object") };
        let found =
            lineage(vec![LicenseDocument { path: "a.gguf", digest: "00", content: Content::Metadata(&metadata) }]);
        assert_eq!(found.edges[0].parent, "a/b");
        assert_eq!(found.edges[1].parent, "Meta-Llama/Llama-3.1-8B");
        assert_eq!(codes(&found), ["LINEAGE_SELF"]);
    }

    #[test]
    fn relations_that_disagree_are_both_named() {
        let found = lineage(vec![
            document("README.md", "---\nbase_model: a/b\nbase_model_relation: finetune\n---\n"),
            document("adapter_config.json", r#"{"base_model_name_or_path": "A/b"}"#),
        ]);
        assert_eq!((found.edges.len(), codes(&found)), (2, vec!["LINEAGE_CONFLICT"]));
        for words in ["README.md says finetune", "adapter_config.json says adapter"] {
            assert!(found.findings[0].detail.contains(words), "{}", found.findings[0].detail);
        }
    }

    #[test]
    fn hostile_files_are_findings_and_stay_small() {
        let many = (0..1000).map(|number| format!("- model: /local/{number}\n")).collect::<Vec<_>>().concat();
        let found = lineage(vec![
            document("adapter_config.json", "{"),
            document("merge_config.yaml", "a: [&a [*a"),
            document("mergekit_config.yml", &many),
        ]);
        assert!(found.edges.is_empty());
        assert_eq!(found.findings.len(), MAX_FINDINGS);
    }
}
