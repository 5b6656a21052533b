//! `aibom`: what a model is made of, for buyers, auditors and authorities.
//!
//! A folder is judged here, by the code that the server runs; a model that a server holds is
//! described from the evidence stored there. Files that lie here come first: the verb is for
//! folders, and needs no server for them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use clap::Args;
use registry_core::content_digest;
use serde_json::Value;
use verifier::aibom::{self, Documentation, File, Subject, Terms};
use verifier::license;

use super::client::Client;
use super::folder::{self, LocalFile};
use super::license::catalog;
use super::offline::{digested, files, inspect};
use super::output::{self, CliError, read_small};
use super::target::{Target, model_path};
use super::{Remote, serve};
use crate::v1::aibom::{AibomParams, Format};

/// Where a model card lies.
const CARD: &str = "README.md";

#[derive(Debug, Args)]
pub(super) struct Aibom {
    /// A local file or folder, else a model
    #[arg(value_name = "PATH | NAMESPACE/NAME[@REVISION]")]
    subject: String,
    /// How it is written; `documentation` is a draft for the EU AI Act, as Markdown
    #[arg(long, value_enum, default_value = "cyclonedx")]
    format: Format,
    /// Print the documentation as JSON
    #[arg(long)]
    json: bool,
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Folder with license rows and texts of your own; for local files
    #[arg(long, value_name = "DIR", env = "WEIGHHOUSE_LICENSE__CATALOG_DIR")]
    catalog: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl Aibom {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let path = Path::new(&self.subject);
        let text = if path.exists() { self.local(path)? } else { self.remote()? };
        output::deliver(&text, self.output.as_deref())?;
        Ok(ExitCode::SUCCESS)
    }

    fn local(&self, path: &Path) -> Result<String, CliError> {
        let subject = subject(path, self.catalog.as_deref())?;
        match self.format {
            Format::Cyclonedx => pretty(&aibom::cyclonedx(&subject)),
            Format::Spdx => pretty(&aibom::spdx(&subject)),
            Format::Documentation => self.documentation(&aibom::technical_documentation(&subject)),
        }
    }

    fn remote(&self) -> Result<String, CliError> {
        let target: Target = self
            .subject
            .parse()
            .map_err(|error| CliError::Usage(format!("{:?} is neither a file nor a model ({error})", self.subject)))?;
        let client = Client::new(&self.remote)?;
        let path = model_path(&target.model, &["revisions", target.revision(), "aibom"]);
        let query = AibomParams { format: self.format };
        let runtime = serve::runtime()?;
        match self.format {
            Format::Cyclonedx | Format::Spdx => pretty(&runtime.block_on(client.get_with::<Value>(&path, &query))?),
            Format::Documentation => self.documentation(&runtime.block_on(client.get_with(&path, &query))?),
        }
    }

    fn documentation(&self, documentation: &Documentation) -> Result<String, CliError> {
        if self.json { pretty(documentation) } else { Ok(documentation.markdown()) }
    }
}

fn pretty(document: &impl serde::Serialize) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(document).map_err(|error| CliError::Protocol(error.to_string()))?;
    Ok(text + "\n")
}

/// What can be said of files that no registry holds.
fn subject(path: &Path, own_catalog: Option<&Path>) -> Result<Subject, CliError> {
    let catalog = catalog(own_catalog)?;
    let files = files(path)?;
    let specs = folder::specify(&files)?;
    let inspection = inspect(&files);
    let license = license::judge_files(&catalog, &digested(&files, &specs), &inspection);
    let card = card(&files)?.map(|text| aibom::front_matter(&text)).unwrap_or_default();
    let file = |spec: &registry_core::FileSpec| File {
        path: spec.path.clone(),
        sha256: spec.sha256.to_string(),
        size: spec.size,
    };
    Ok(Subject {
        namespace: None,
        name: name(path)?,
        commit: None,
        content_digest: content_digest(&specs).to_string(),
        created_at: last_change(&files)?,
        supplier: None,
        download_location: None,
        files: specs.iter().map(file).collect(),
        ancestors: aibom::ancestors(&license, &card),
        terms: Terms::of(&catalog, &license),
        inspection: Some(inspection),
        license,
        card,
    })
}

/// The folder's or file's own name, also for `.`.
pub(super) fn name(path: &Path) -> Result<String, CliError> {
    let real = fs_err::canonicalize(path)?;
    Ok(real.file_name().map_or_else(|| "files".to_owned(), |name| name.to_string_lossy().into_owned()))
}

fn card(files: &[LocalFile]) -> Result<Option<String>, CliError> {
    let card = files.iter().find(|file| file.path == CARD && file.size() <= license::MAX_TEXT_BYTES);
    let bytes = card.map(|file| read_small(&file.location, license::MAX_TEXT_BYTES)).transpose()?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// When the last of the files changed, in milliseconds since 1970: unlike the present time it is
/// the same in every run.
fn last_change(files: &[LocalFile]) -> Result<i64, CliError> {
    let mut last = 0;
    for file in files {
        let changed = fs_err::metadata(&file.location)?.modified()?;
        let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        last = last.max(i64::try_from(since.as_millis()).unwrap_or_default());
    }
    Ok(last)
}
