//! From all statements to one conclusion, or to the reason why there is none.

use super::LicenseInput;
use super::catalog::Catalog;
use super::expression::{Meaning, NO_ASSERTION};
use super::lineage;
use super::openness::{self, DataInformation, Release};
use super::sources::{self, Sources, Statement};
use super::terms::{self, State, Terms};
use crate::evidence::{Finding, LicenseFacts, LicenseStatement, LicenseVerdict, SCHEMA_VERSION, Severity};

/// Most disagreements that are told one by one.
const MAX_CONFLICTS: usize = 10;
/// Most different statements that are held against each other.
const MAX_COMPARED: usize = 64;

/// Judges what the files of `input` say about licenses.
pub fn judge(catalog: &Catalog, input: &LicenseInput<'_>) -> LicenseFacts {
    judge_with(catalog, input, Vec::new())
}

/// Judges `input`, given what was found wrong with sources before they became documents.
pub(super) fn judge_with(catalog: &Catalog, input: &LicenseInput<'_>, found: Vec<Finding>) -> LicenseFacts {
    let mut sources = sources::read(catalog, input);
    sources.findings.extend(found);
    let conclusion = conclude(&sources);
    let mut findings = sources.findings.clone();
    findings.extend(conclusion.findings(&sources));
    // A source that could not be read may disagree with those that could.
    let in_doubt = findings.iter().any(needs_person);
    let concluded = match &conclusion {
        Conclusion::One(expression) if !in_doubt => expression.clone(),
        _ => NO_ASSERTION.to_owned(),
    };
    let terms = terms::of(catalog, &concluded);
    findings.extend(term_findings(&concluded, terms, &sources));
    // What is wrong with a parent's name leaves the model's own license as it is.
    let lineage = lineage::read(input);
    findings.extend(lineage.findings);
    LicenseFacts {
        schema_version: SCHEMA_VERSION,
        verdict: verdict(&conclusion, &findings),
        openness: openness::assess(catalog, &release(input, &sources, &concluded).input()),
        declared: records(sources.declared),
        detected: records(sources.detected),
        license_class: terms.class.map(str::to_owned),
        provisional: terms.provisional,
        concluded,
        lineage: lineage.edges,
        findings,
    }
}

/// What the statements amount to.
enum Conclusion {
    /// No file speaks of a license.
    Nothing,
    One(String),
    /// Pairs of statements that cannot both be true.
    Conflict(Vec<(LicenseStatement, LicenseStatement)>),
    /// No statement names one license; this is one of them.
    Unresolved(Box<LicenseStatement>),
    /// Several dated texts fit.
    Several(Vec<String>),
}

fn conclude(sources: &Sources) -> Conclusion {
    // Texts first: they are exact, and declarations are checked against them.
    let statements: Vec<&Statement> = sources.detected.iter().chain(&sources.declared).collect();
    let Some(first) = statements.first() else { return Conclusion::Nothing };
    let conflicts = conflicts(&statements);
    if !conflicts.is_empty() {
        return Conclusion::Conflict(conflicts);
    }
    let candidates = match narrow(&statements) {
        Ok(candidates) => candidates,
        // Three statements may exclude each other although any two of them agree.
        Err((left, right)) => return Conclusion::Conflict(vec![(left.record.clone(), right.record.clone())]),
    };
    let unrecognized = statements.iter().find(|statement| statement.meaning == Meaning::Unrecognized);
    match (unrecognized, candidates.as_slice()) {
        (Some(statement), _) => Conclusion::Unresolved(Box::new(statement.record.clone())),
        (None, []) => Conclusion::Unresolved(Box::new(first.record.clone())),
        (None, several) if several.iter().filter(|id| id.starts_with("LicenseRef-")).count() > 1 => {
            Conclusion::Several(several.to_vec())
        }
        (None, [likeliest, ..]) => Conclusion::One(likeliest.clone()),
    }
}

/// Every pair of statements that exclude each other. Files of one kind that say the same, such
/// as the parts of a split model, count once.
fn conflicts(statements: &[&Statement]) -> Vec<(LicenseStatement, LicenseStatement)> {
    let mut different: Vec<&Statement> = Vec::new();
    for statement in statements {
        let is_same =
            |known: &&Statement| known.record.source == statement.record.source && known.meaning == statement.meaning;
        if different.len() < MAX_COMPARED && !different.iter().any(is_same) {
            different.push(statement);
        }
    }
    let mut pairs = Vec::new();
    for (index, left) in different.iter().enumerate() {
        let excluded = different[index + 1..].iter().filter(|right| left.meaning.excludes(&right.meaning));
        pairs.extend(excluded.map(|right| (left.record.clone(), right.record.clone())));
    }
    pairs
}

/// The expressions that every statement allows, or two statements that exclude each other.
fn narrow<'s>(statements: &[&'s Statement]) -> Result<Vec<String>, (&'s Statement, &'s Statement)> {
    let mut narrowed: Option<(Vec<String>, &Statement)> = None;
    for statement in statements {
        let Meaning::OneOf(candidates) = &statement.meaning else { continue };
        let remaining: Vec<String> = match &narrowed {
            None => candidates.clone(),
            Some((before, _)) => before.iter().filter(|id| candidates.contains(id)).cloned().collect(),
        };
        match narrowed {
            Some((_, other)) if remaining.is_empty() => return Err((other, statement)),
            _ => narrowed = Some((remaining, statement)),
        }
    }
    let Some((candidates, source)) = narrowed else { return Ok(Vec::new()) };
    let fits = |statement: &&&Statement| match &statement.meaning {
        Meaning::Family(prefixes) => !candidates.iter().any(|id| prefixes.iter().any(|prefix| id.starts_with(prefix))),
        Meaning::OneOf(_) | Meaning::Elsewhere | Meaning::Unrecognized => false,
    };
    match statements.iter().find(fits) {
        Some(family) => Err((source, family)),
        None => Ok(candidates),
    }
}

impl Conclusion {
    fn findings(&self, sources: &Sources) -> Vec<Finding> {
        match self {
            Self::One(_) => Vec::new(),
            // What could not be read is not what is not there.
            Self::Nothing if !sources.findings.is_empty() => Vec::new(),
            Self::Nothing => vec![missing()],
            Self::Conflict(pairs) => {
                let told = pairs.iter().take(MAX_CONFLICTS).map(|(left, right)| conflict(left, right));
                told.chain(more_conflicts(pairs.len())).collect()
            }
            Self::Unresolved(statement) => vec![unresolved(statement)],
            Self::Several(candidates) => vec![several(candidates)],
        }
    }
}

fn missing() -> Finding {
    Finding::new(
        "LICENSE_MISSING",
        Severity::High,
        "No file of the revision names a license.",
        "ask the publisher for the license, and add it to README.md and LICENSE",
    )
}

fn several(candidates: &[String]) -> Finding {
    let detail = format!("The words fit several licenses: {}.", candidates.join(", "));
    Finding::new("LICENSE_UNRESOLVED", Severity::Medium, detail, "add the license text as LICENSE")
}

fn more_conflicts(count: usize) -> Option<Finding> {
    let more = count.checked_sub(MAX_CONFLICTS).filter(|more| *more > 0)?;
    let detail = format!("{more} more pairs of statements disagree about the license.");
    let remedy = "settle the disagreements that are told, and judge the revision again";
    Some(Finding::new("LICENSE_CONFLICT", Severity::High, detail, remedy))
}

fn conflict(left: &LicenseStatement, right: &LicenseStatement) -> Finding {
    let says = |statement: &LicenseStatement| {
        let verb = if statement.score.is_some() { "holds the text of" } else { "declares" };
        format!("{} {verb} {}", statement.path, statement.words())
    };
    let detail = format!("{}, while {}.", says(left), says(right));
    Finding::new(
        "LICENSE_CONFLICT",
        Severity::High,
        detail,
        "ask the publisher which license applies, and correct the other",
    )
    .at(&right.path)
}

fn unresolved(statement: &LicenseStatement) -> Finding {
    let words: String = statement.text.chars().take(80).collect();
    let detail = format!("The words `{words}` do not name one license.");
    Finding::new(
        "LICENSE_UNRESOLVED",
        Severity::Medium,
        detail,
        "name the license by its SPDX id, and add its text as LICENSE",
    )
    .at(&statement.path)
}

fn term_findings(concluded: &str, terms: Terms, sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    if concluded == NO_ASSERTION {
        return findings;
    }
    if terms.provisional {
        let detail = format!("The catalog's facts about {concluded} come from secondary sources.");
        findings.push(Finding::new(
            "LICENSE_PROVISIONAL",
            Severity::Medium,
            detail,
            "have a person read the license text",
        ));
    }
    if terms.state == State::Unknown || terms.class.is_none() {
        let detail = format!("The catalog does not describe {concluded}.");
        findings.push(Finding::new(
            "LICENSE_UNCLASSIFIED",
            Severity::Medium,
            detail,
            "have a person read the license text",
        ));
    }
    if !sources.has_license_text {
        let detail = format!("The revision names {concluded} and does not hold its text.");
        findings.push(Finding::new("LICENSE_TEXT_MISSING", Severity::Info, detail, "add the license text as LICENSE"));
    }
    findings
}

fn needs_person(finding: &Finding) -> bool {
    finding.severity >= Severity::Medium
}

fn verdict(conclusion: &Conclusion, findings: &[Finding]) -> LicenseVerdict {
    match conclusion {
        Conclusion::Nothing if findings.iter().any(|finding| finding.code == "LICENSE_MISSING") => {
            LicenseVerdict::Unlicensed
        }
        _ if findings.iter().any(needs_person) => LicenseVerdict::Review,
        _ => LicenseVerdict::Agreed,
    }
}

/// What the revision's own files show.
fn release<'a>(input: &LicenseInput<'_>, sources: &Sources, concluded: &'a str) -> Release<'a> {
    Release {
        has_weights: input.has_weights,
        has_card: sources.has_card,
        concluded: Some(concluded),
        components: &[],
        data_information: DataInformation::None,
        api_access: input.api_access || sources.api_access,
    }
}

fn records(statements: Vec<Statement>) -> Vec<LicenseStatement> {
    statements.into_iter().map(|statement| statement.record).collect()
}
