//! Licenses at the command line: judge files, explain a license, keep one's own cases.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use verifier::evidence::{LicenseFacts, LicenseVerdict};
use verifier::license::catalog::CatalogFile;
use verifier::license::{self, Catalog};

use super::LocalPath;
use super::layout::Sheet;
use super::offline::{digested, files, inspect};
use super::output::{self, CliError, read_small};
use super::{folder, summary};

/// Largest file of a catalog folder, in bytes.
const MAX_CATALOG_FILE: u64 = 4 << 20;
/// Most files of a catalog folder.
const MAX_CATALOG_FILES: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum License {
    /// Judge the licenses of local files; exit 0 agreed, 1 no license, 2 a person has to decide
    Check(Check),
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

impl License {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        match self {
            Self::Check(check) => check.run(),
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
