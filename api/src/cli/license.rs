//! Licenses at the command line: judge files, explain a license, keep one's own cases.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use verifier::evidence::{LicenseFacts, LicenseVerdict};
use verifier::license::cases::{Answers, CaseError};
use verifier::license::catalog::{CatalogFile, License as Row};
use verifier::license::explain::{Explained, explain};
use verifier::license::{self, Catalog, cases};

use super::LocalPath;
use super::layout::{Sheet, table};
use super::offline::{digested, files, inspect};
use super::output::{self, CliError, read_small};
use super::{folder, review, summary};

/// Largest file of a catalog folder, in bytes.
const MAX_CATALOG_FILE: u64 = 4 << 20;
/// Largest document of cases, in bytes.
const MAX_CASES_FILE: u64 = 64 << 20;
/// Most files of a catalog folder.
const MAX_CATALOG_FILES: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum License {
    /// Judge the licenses of local files; exit 0 agreed, 1 no license, 2 a person has to decide
    Check(Check),
    /// Explain a license in plain words; without an id, list all that are known
    Show(Show),
    /// Judge uses of models with parents, from a document of cases; exit 1 where one is not as it expects
    Evaluate(Cases),
    /// Place releases on the openness spectrum, from a document of cases; exit 1 where one is not as it expects
    Openness(Cases),
    /// What is known and concluded about a model on a server, and what follows for a use
    View(review::View),
    /// Record which license applies to a model on a server
    Conclude(review::Conclude),
    /// Agree with another person's conclusion
    Approve(review::Approve),
    /// Record that a duty was done
    Done(review::Done),
    /// Record a component of the release that is published elsewhere
    Component(review::Component),
    /// Record what a model was made from
    Parent(review::Parent),
    /// End a record
    End(review::End),
}

/// Whose knowledge of licenses counts.
#[derive(Debug, Args)]
struct CatalogArgument {
    /// Folder with license rows and texts of your own
    #[arg(long = "catalog", value_name = "DIR", env = "WEIGHHOUSE_LICENSE__CATALOG_DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    path: LocalPath,
    #[command(flatten)]
    catalog: CatalogArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// SPDX id, LicenseRef-…, or what the Hub calls it
    id: Option<String>,
    #[command(flatten)]
    catalog: CatalogArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Cases {
    /// JSON: one case, a list of cases, or {"cases": […]}
    file: PathBuf,
    #[command(flatten)]
    catalog: CatalogArgument,
}

impl License {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        match self {
            Self::Check(check) => check.run(),
            Self::Show(show) => show.run(),
            Self::Evaluate(cases) => cases.run(cases::evaluate),
            Self::Openness(cases) => cases.run(cases::classify),
            Self::View(view) => view.run(),
            Self::Conclude(conclude) => conclude.run(),
            Self::Approve(approve) => approve.run(),
            Self::Done(done) => done.run(),
            Self::Component(component) => component.run(),
            Self::Parent(parent) => parent.run(),
            Self::End(end) => end.run(),
        }
    }
}

impl Check {
    fn run(&self) -> Result<ExitCode, CliError> {
        let catalog = catalog(self.catalog.folder.as_deref())?;
        let files = files(&self.path.path)?;
        let specs = folder::specify(&files)?;
        let facts = license::judge_files(&catalog, &digested(&files, &specs), &inspect(&files));
        if self.json {
            output::json(&facts)?;
        } else {
            output::text(&facts_text(&facts))?;
        }
        Ok(ExitCode::from(match facts.verdict {
            LicenseVerdict::Agreed => 0,
            LicenseVerdict::Unlicensed => 1,
            LicenseVerdict::Review => 2,
        }))
    }
}

impl Show {
    fn run(&self) -> Result<ExitCode, CliError> {
        let catalog = catalog(self.catalog.folder.as_deref())?;
        let Some(id) = &self.id else { return self.list(&catalog) };
        let rows = catalog.named(id);
        match rows.as_slice() {
            [] => {
                Err(CliError::Usage(format!("no license of the catalog is called {id:?}; `license show` lists them")))
            }
            [row] if self.json => output::json(&explain(row)),
            rows if self.json => output::json(&rows.iter().map(|row| explain(row)).collect::<Vec<_>>()),
            rows => {
                output::text(&rows.iter().map(|row| license_text(&explain(row))).collect::<Vec<_>>().join("\n"))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn list(&self, catalog: &Catalog) -> Result<ExitCode, CliError> {
        if self.json {
            return output::json(&catalog.licenses().iter().map(explain).collect::<Vec<_>>());
        }
        let row = |license: &Row| {
            let tag = license.hf.license_name.as_ref().or(license.hf.license.as_ref()).cloned().unwrap_or_default();
            vec![license.id.clone(), tag, license.class.clone(), format!("{:?}", license.confidence)]
        };
        let rows: Vec<Vec<String>> = catalog.licenses().iter().map(row).collect();
        output::text(&table(&["LICENSE", "ON THE HUB", "CLASS", "CONFIDENCE"], &rows))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn license_text(explained: &Explained<'_>) -> String {
    let license = explained.license;
    let mut sheet = Sheet::default();
    sheet.heading(&license.name);
    sheet.row("id", &license.id);
    sheet.row("class", &license.class);
    sheet.optional_row("date of the text", license.effective_from.as_deref());
    for (label, list) in [
        ("permissions", &explained.permissions),
        ("conditions", &explained.conditions),
        ("limitations", &explained.limitations),
    ] {
        sheet.row(label, &list.join(", "));
    }
    for answer in &explained.explanation {
        sheet.heading(answer.question);
        for sentence in &answer.sentences {
            sheet.note(sentence);
        }
    }
    sheet.into_text()
}

impl Cases {
    fn run(&self, judge: fn(&Catalog, &[u8]) -> Result<Answers, CaseError>) -> Result<ExitCode, CliError> {
        let catalog = catalog(self.catalog.folder.as_deref())?;
        let document = read_small(&self.file, MAX_CASES_FILE)?;
        let answers = judge(&catalog, &document);
        let answers = answers.map_err(|error| CliError::Usage(format!("{}: {error}", self.file.display())))?;
        output::json(&answers.document())?;
        let unexpected: Vec<&str> =
            answers.unexpected().filter_map(|answer| answer.id.as_deref().or(answer.name.as_deref())).collect();
        if answers.unexpected().next().is_none() {
            return Ok(ExitCode::SUCCESS);
        }
        output::note(&format!("not as expected: {}", unexpected.join(", ")));
        Ok(ExitCode::FAILURE)
    }
}

fn facts_text(facts: &LicenseFacts) -> String {
    let mut sheet = Sheet::default();
    sheet.heading("What its licenses say");
    summary::license(&mut sheet, facts);
    summary::findings(&mut sheet, facts.findings.iter());
    sheet.into_text()
}

/// The built-in catalog with an operator's folder over it.
pub(super) fn catalog(folder: Option<&Path>) -> Result<Catalog, CliError> {
    let Some(folder) = folder else { return Ok(Catalog::built_in().clone()) };
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || entry.file_type()?.is_dir() {
            continue;
        }
        if files.len() == MAX_CATALOG_FILES {
            let text = format!("{} holds more than {MAX_CATALOG_FILES} files", folder.display());
            return Err(CliError::Usage(text));
        }
        files.push(CatalogFile { name, content: read_small(&entry.path(), MAX_CATALOG_FILE)? });
    }
    let unusable = |error| CliError::Usage(format!("the license catalog cannot be used: {error}"));
    Catalog::built_in().with_files(&files).map_err(unusable)
}
