//! Collects what each file of a revision says about its license.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::card::{self, Card};
use super::catalog::Catalog;
use super::detect::{self, Detection, Match};
use super::expression::{self, Meaning};
use super::lineage;
use super::package::{self, PackageLicense};
use super::phrases::{self, Named};
use super::{Content, LicenseDocument, LicenseInput, Role};
use crate::evidence::{Finding, LicenseSource, LicenseStatement, Severity};

/// Longest quotation of a source, in characters.
const MAX_QUOTE_CHARS: usize = 200;
/// Longest license file that is read as lines which name a license, in bytes.
const MAX_LINES_BYTES: usize = 2000;

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
    /// Whether the card says that the model is used through an interface.
    pub(super) api_access: bool,
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
            (Content::Text(text), Some(Role::LicenseText)) => self.read_license_text(catalog, document, text),
            (Content::Text(text), Some(Role::Notice)) => self.read_notice(catalog, document, text),
            (Content::Text(text), Some(Role::Config)) => self.read_config(catalog, document, text),
            (Content::Text(text), Some(Role::PackageMetadata)) => self.read_package(catalog, document, text),
            (Content::Unreadable, Some(_)) => self.findings.push(unreadable(document.path)),
            // Lineage reads the configurations of adapters and merges.
            (Content::Text(_), Some(Role::AdapterConfig | Role::MergeConfig) | None) | (Content::Unreadable, None) => {}
        }
    }

    fn declare(&mut self, document: &LicenseDocument<'_>, source: LicenseSource, words: &str, meaning: Meaning) {
        self.declared.push(statement(document, source, words, meaning, None));
    }

    fn read_card(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, text: &str) {
        self.has_card = true;
        match card::parse(text) {
            Ok(Some(card)) => {
                let misshapen = card::misshapen(text).into_iter();
                self.findings.extend(misshapen.map(|field| invalid_source(document.path, &not_text(field))));
                self.read_card_fields(catalog, document, &card);
            }
            Ok(None) => {}
            Err(error) => return self.findings.push(invalid_source(document.path, &error)),
        }
        if self.declared.iter().all(|said| said.record.source != LicenseSource::ModelCard) {
            self.read_prose(catalog, document, text);
        }
    }

    /// A card whose front matter is silent may still name a license; a person has to read it.
    fn read_prose(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, text: &str) {
        let named = phrases::named_in(catalog, text);
        if named.is_empty() {
            return;
        }
        self.findings.push(only_in_prose(document.path));
        self.declared.extend(named.iter().map(|one| by_phrase(catalog, document, LicenseSource::CardProse, one)));
    }

    /// Notices name the licenses of whatever is inside, so only lines about models count here.
    fn read_notice(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, text: &str) {
        let named = phrases::named_in(catalog, text);
        let about_models = named.iter().filter(|one| one.words.starts_with("LicenseRef-"));
        self.declared.extend(about_models.map(|one| by_phrase(catalog, document, LicenseSource::Notice, one)));
    }

    fn read_card_fields(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, card: &Card) {
        self.api_access = card.api_access.as_deref() == Some("true");
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
            Ok(Config { license: None | Some(Value::Null) }) => {}
            Ok(_) => self.findings.push(invalid_source(document.path, &"`license` is not a text")),
            Err(error) => self.findings.push(invalid_source(document.path, &error)),
        }
    }

    fn read_package(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, text: &str) {
        let source = LicenseSource::PackageMetadata;
        match package::read(document.path, text) {
            Ok(Some(PackageLicense::Words(words))) => {
                self.declare(document, source, &words, expression::meaning_of(catalog, &words, None));
            }
            Ok(Some(PackageLicense::Text(text))) => match detect::detect(catalog, &text) {
                Detection::License(found) => {
                    let meaning = expression::detected(&found.id);
                    self.declared.push(recognized(document, source, &found.id, meaning, &found));
                }
                _ => self.declare(document, source, &text, Meaning::Unrecognized),
            },
            Ok(Some(PackageLicense::File(path))) => self.declare(document, source, &path, Meaning::Elsewhere),
            Ok(None) => {}
            Err(reason) => self.findings.push(invalid_source(document.path, &reason)),
        }
    }

    /// GGUF keys after ggml's specification; safetensors has no convention but `license`.
    fn read_metadata(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, metadata: &Map<String, Value>) {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (source, license, name) = if lineage::is_gguf(metadata) {
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

    fn read_license_text(&mut self, catalog: &Catalog, document: &LicenseDocument<'_>, text: &str) {
        let source = LicenseSource::LicenseText;
        match detect::detect(catalog, text) {
            Detection::Incorporated => return,
            Detection::License(found) => {
                let meaning = expression::detected(&found.id);
                self.detected.push(recognized(document, source, &found.id, meaning, &found));
            }
            Detection::Header(found) => {
                let meaning = expression::detected(&found.id);
                self.detected.push(recognized(document, source, &found.id, meaning, &found));
                return;
            }
            Detection::Part(found) => {
                self.findings.push(text_beside(document.path, &found.id));
                let meaning = expression::detected(&found.id);
                self.detected.push(recognized(document, source, &found.id, meaning, &found));
            }
            Detection::Several(all) => {
                let ids: Vec<&str> = all.iter().map(|found| found.id.as_str()).collect();
                self.findings.push(several_texts(document.path, &ids));
                // The file does not say whether all apply or one may be chosen.
                let each =
                    all.iter().map(|found| recognized(document, source, &found.id, Meaning::Unrecognized, found));
                self.detected.extend(each);
            }
            Detection::Modified(found) => {
                self.findings.push(modified(document.path, &found));
                let words = format!("changed from {}", found.id);
                self.detected.push(recognized(document, source, &words, Meaning::Unrecognized, &found));
            }
            Detection::Unknown => {
                let named = if text.len() <= MAX_LINES_BYTES { phrases::named_in(catalog, text) } else { Vec::new() };
                if !named.is_empty() {
                    self.detected.extend(named.iter().map(|one| by_phrase(catalog, document, source, one)));
                    return;
                }
                self.findings.push(unknown_text(document.path));
                let words = text.trim();
                self.detected.push(statement(document, source, words, Meaning::Unrecognized, None));
            }
        }
        self.has_license_text = true;
    }
}

/// A statement by words that name a license.
fn by_phrase(catalog: &Catalog, document: &LicenseDocument<'_>, source: LicenseSource, named: &Named) -> Statement {
    let meaning = expression::meaning_of(catalog, &named.words, None);
    let mut said = statement(document, source, &named.words, meaning, None);
    said.record.match_kind = Some(named.kind);
    said
}

/// A statement by a text that was recognized.
fn recognized(
    document: &LicenseDocument<'_>,
    source: LicenseSource,
    words: &str,
    meaning: Meaning,
    found: &Match,
) -> Statement {
    let mut said = statement(document, source, words, meaning, Some(found.score));
    said.record.match_kind = Some(found.kind);
    said.record.difference.clone_from(&found.difference);
    said
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
        text: quote(words),
        expression: meaning.expression().to_owned(),
        score,
        match_kind: None,
        difference: None,
    };
    Statement { record, meaning }
}

/// The start of `words`, without characters that would act on a terminal or a page.
fn quote(words: &str) -> String {
    let printable = words.chars().map(|character| if character.is_control() { ' ' } else { character });
    printable.take(MAX_QUOTE_CHARS).collect()
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

fn not_text(field: &str) -> String {
    format!("`{field}` is neither a text nor a list of texts")
}

/// `reason` may quote the file, so it is bounded.
fn invalid_source(path: &str, reason: &dyn std::fmt::Display) -> Finding {
    let reason = quote(&reason.to_string());
    let detail = format!("The file's license statement cannot be read: {reason}.");
    Finding::new("LICENSE_SOURCE_INVALID", Severity::Medium, detail, "correct the file").at(path)
}

fn modified(path: &str, found: &Match) -> Finding {
    let (nearest, score) = (&found.id, found.score);
    let paragraphs = found.difference.as_ref().map(|difference| {
        let (more, less) = (difference.unmatched_count, difference.missing_count);
        format!("; paragraphs that {nearest} does not hold: {more}, of its own that are missing: {less}")
    });
    let paragraphs = paragraphs.unwrap_or_default();
    let detail = format!("The text is close to {nearest} (similarity {score:.3}) and not equal to it{paragraphs}.");
    let remedy = "compare the text with the published one; restore it, or have the change reviewed";
    Finding::new("LICENSE_TEXT_MODIFIED", Severity::High, detail, remedy).at(path)
}

fn only_in_prose(path: &str) -> Finding {
    let remedy = "name the license in the front matter, or have a person read the card";
    Finding::new("LICENSE_ONLY_IN_PROSE", Severity::Medium, "Only the card's prose names a license.", remedy).at(path)
}

fn text_beside(path: &str, id: &str) -> Finding {
    let detail = format!("The file holds the whole text of {id} and other text beside it, which may add terms.");
    let remedy = "have the other text read, or keep the license in a file of its own";
    Finding::new("LICENSE_TEXT_BESIDE", Severity::Medium, detail, remedy).at(path)
}

fn several_texts(path: &str, ids: &[&str]) -> Finding {
    let detail = format!("The file holds the texts of {} and does not say which applies to what.", ids.join(", "));
    let remedy = "keep each license in a file of its own and say what it covers";
    Finding::new("LICENSE_TEXT_SEVERAL", Severity::Medium, detail, remedy).at(path)
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
