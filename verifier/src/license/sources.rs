//! Collects what each file of a revision says about its license.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::card::{self, Card};
use super::catalog::Catalog;
use super::detect::{self, Detection};
use super::expression::{self, Meaning};
use super::{Content, LicenseDocument, LicenseInput, Role};
use crate::evidence::{Finding, LicenseSource, LicenseStatement, Severity};

/// Longest quotation of a source, in characters.
const MAX_QUOTE_CHARS: usize = 200;

/// A statement as it is recorded, with what it can mean.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) record: LicenseStatement,
    pub(super) meaning: Meaning,
}

/// Everything that was said.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) declared: Vec<Statement>,
    pub(super) detected: Vec<Statement>,
    pub(super) findings: Vec<Finding>,
    pub(super) has_card: bool,
    pub(super) has_license_text: bool,
}

pub(super) fn read(catalog: &Catalog, input: &LicenseInput<'_>) -> Sources {
    let mut sources = Sources::default();
    for document in &input.documents {
        sources.read_document(catalog, document);
    }
    sources
}

impl Sources {
    fn read_document(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>) {
        match (&document.content, Role::of(document.path)) {
            (Content::Metadata(metadata), _) => self.read_metadata(catalog, document, metadata),
            (Content::Text(text), Some(Role::ModelCard)) => self.read_card(catalog, document, text),
            (Content::Text(text), Some(Role::LicenseText)) => self.read_license_text(document, text),
            (Content::Text(text), Some(Role::Config)) => self.read_config(catalog, document, text),
            (Content::Unreadable, Some(_)) => self.findings.push(unreadable(document.path)),
            (Content::Text(_) | Content::Unreadable, None) => {}
        }
    }

    fn declare(&mut self, document: &LicenseDocument<'_>, source: LicenseSource, words: &str, meaning: Meaning) {
        self.declared.push(statement(document, source, words, meaning, None));
    }

    fn read_card(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, text: &str) {
        self.has_card = true;
        match card::parse(text) {
            Ok(Some(card)) => self.read_card_fields(catalog, document, &card),
            Ok(None) => {}
            Err(error) => self.findings.push(invalid_source(document.path, &error)),
        }
    }

    fn read_card_fields(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, card: &Card) {
        let name = card.license_name.as_deref();
        let meaning = match (card.license.as_slice(), name) {
            ([], None) => return,
            ([], Some(_)) => expression::meaning_of(catalog, "other", name),
            ([license], _) => expression::meaning_of(catalog, license, name),
            // A list does not say whether all apply or one may be chosen.
            _ => Meaning::Unrecognized,
        };
        let license = card.license.join(", ");
        let words = match name {
            Some(name) if license.is_empty() => name.to_owned(),
            Some(name) => format!("{license} ({name})"),
            None => license,
        };
        self.declare(document, LicenseSource::ModelCard, &words, meaning);
    }

    fn read_config(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, text: &str) {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            license: Option<Value>,
        }
        match serde_json::from_str::<Config>(text) {
            Ok(Config { license: Some(Value::String(license)) }) => {
                let meaning = expression::meaning_of(catalog, &license, None);
                self.declare(document, LicenseSource::Config, &license, meaning);
            }
            Ok(_) => {}
            Err(error) => self.findings.push(invalid_source(document.path, &error)),
        }
    }

    /// GGUF keys after ggml's specification; safetensors has no convention but `license`.
    fn read_metadata(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, metadata: &Map<String, Value>) {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let is_gguf = metadata.keys().any(|key| key.starts_with("general."));
        let (source, license, name) = if is_gguf {
            (LicenseSource::GgufMetadata, text("general.license"), text("general.license.name"))
        } else {
            (LicenseSource::SafetensorsMetadata, text("license"), text("license_name"))
        };
        let (words, meaning) = match (license, name) {
            (None, None) => return,
            (Some(license), _) => (license, expression::meaning_of(catalog, license, name)),
            (None, Some(name)) => (name, expression::meaning_of(catalog, "other", Some(name))),
        };
        self.declare(document, source, words, meaning);
    }

    fn read_license_text(&mut self, document: &LicenseDocument<'_>, text: &str) {
        let (id, meaning, score) = match detect::detect(text) {
            Detection::Incorporated { .. } => return,
            Detection::License { id, score } => (id.clone(), expression::detected(&id), Some(score)),
            Detection::Modified { nearest, score } => {
                self.findings.push(modified(document.path, &nearest, score));
                (format!("changed from {nearest}"), Meaning::Unrecognized, Some(score))
            }
            Detection::Unknown => {
                self.findings.push(unknown_text(document.path));
                (text.trim().to_owned(), Meaning::Unrecognized, None)
            }
        };
        self.has_license_text = true;
        self.detected.push(statement(document, LicenseSource::LicenseText, &id, meaning, score));
    }
}

fn statement(
    document: &LicenseDocument<'_>,
    source: LicenseSource,
    words: &str,
    meaning: Meaning,
    score: Option<f64>,
) -> Statement {
    let record = LicenseStatement {
        source,
        path: document.path.to_owned(),
        digest: document.digest.to_owned(),
        text: words.chars().take(MAX_QUOTE_CHARS).collect(),
        expression: meaning.expression().to_owned(),
        score,
        match_kind: None,
        difference: None,
    };
    Statement { record, meaning }
}

fn unreadable(path: &str) -> Finding {
    Finding::new(
        "LICENSE_SOURCE_UNREADABLE",
        Severity::Medium,
        "The file is longer than license judgement reads, or not UTF-8.",
        "shorten the file or store it as UTF-8",
    )
    .at(path)
}

fn invalid_source(path: &str, reason: &dyn std::fmt::Display) -> Finding {
    let detail = format!("The file's license statement cannot be read: {reason}.");
    Finding::new("LICENSE_SOURCE_INVALID", Severity::Medium, detail, "correct the file").at(path)
}

fn modified(path: &str, nearest: &str, score: f64) -> Finding {
    let detail = format!("The text is close to {nearest} (similarity {score:.3}) and not equal to it.");
    let remedy = "compare the text with the published one; restore it, or have the change reviewed";
    Finding::new("LICENSE_TEXT_MODIFIED", Severity::High, detail, remedy).at(path)
}

fn unknown_text(path: &str) -> Finding {
    Finding::new(
        "LICENSE_TEXT_UNKNOWN",
        Severity::Medium,
        "The text is no license known to this release.",
        "have the text reviewed",
    )
    .at(path)
}
