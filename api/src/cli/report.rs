//! `report`: what an organization owes under the licenses of the models it uses.
//!
//! A server's report is of a date and comes from what is stored there; it arrives written. Local
//! files have no history: they are judged here, as `license check` does, and written by the same
//! code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_core::{FileSpec, LicenseReport, MAX_NOTICE_BYTES, NoticeText};
use verifier::license;
use verifier::policy::Use;

use super::aibom::name;
use super::client::Client;
use super::folder::{self, LocalFile};
use super::license::catalog;
use super::offline::{digested, files, inspect};
use super::output::{self, CliError, read_small};
use super::target::Target;
use super::{Remote, serve};
use crate::v1::reports::{Format, ReportParams, write};

#[derive(Debug, Subcommand)]
pub(super) enum Report {
    /// Licenses, evidence, obligations and texts of models as they stood on a date
    License(Box<License>),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("scope").args(["subject", "namespace", "token_group"])))]
pub(super) struct License {
    /// A model, or a local file or folder (as ./PATH where it could be a model's name)
    #[arg(value_name = "NAMESPACE/NAME[@REVISION] | PATH")]
    subject: Option<String>,
    /// Every model of a namespace
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Everything that tokens with this label read since --since
    #[arg(long, value_name = "LABEL", requires = "since")]
    token_group: Option<String>,
    /// A day, from its beginning in UTC, or an RFC 3339 time
    #[arg(long, value_name = "DATE", requires = "token_group")]
    since: Option<String>,
    /// Whose decisions are shown; alone, every model with a decision there
    #[arg(long, value_name = "NAME", required_unless_present = "scope")]
    environment: Option<String>,
    /// A day, to its end in UTC, or an RFC 3339 time [default: now]
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value = "html")]
    format: Format,
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A fact about the use of local files, such as `commercial=true`; may be repeated
    #[arg(long = "use", value_name = "KEY=VALUE")]
    uses: Vec<String>,
    /// Folder with license rows and texts of your own; for local files
    #[arg(long, value_name = "DIR", env = "WEIGHHOUSE_LICENSE__CATALOG_DIR")]
    catalog: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl Report {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        match self {
            Self::License(license) => license.run(),
        }
    }
}

impl License {
    fn run(&self) -> Result<ExitCode, CliError> {
        let text = match self.local()? {
            Some(path) => self.of_files(path)?,
            None => serve::runtime()?.block_on(self.of_server())?,
        };
        output::deliver(&text, self.output.as_deref())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The local files that are meant. A model's name is never taken for a path, so that a folder
    /// that happens to lie around does not change a report.
    fn local(&self) -> Result<Option<&Path>, CliError> {
        let Some(subject) = &self.subject else { return Ok(None) };
        match subject.parse::<Target>() {
            Ok(_) => Ok(None),
            Err(_) if Path::new(subject).exists() => Ok(Some(Path::new(subject))),
            Err(error) => Err(CliError::Usage(format!("{subject:?} is neither a model nor a file ({error})"))),
        }
    }

    async fn of_server(&self) -> Result<String, CliError> {
        if !self.uses.is_empty() {
            let text = "--use is for local files; a server's report shows the decisions of --environment";
            return Err(CliError::Usage(text.to_owned()));
        }
        let params = ReportParams {
            model: self.subject.clone(),
            namespace: self.namespace.clone(),
            environment: self.environment.clone(),
            token_group: self.token_group.clone(),
            since: self.since.clone(),
            as_of: self.as_of.clone(),
            format: self.format,
        };
        Client::new(&self.remote)?.get_text(&["reports", "license"], &params).await
    }

    fn of_files(&self, path: &Path) -> Result<String, CliError> {
        if self.as_of.is_some() || self.environment.is_some() {
            let text = "local files have no history and no environment: leave out --as-of and --environment";
            return Err(CliError::Usage(text.to_owned()));
        }
        let catalog = catalog(self.catalog.as_deref())?;
        let files = files(path)?;
        let specs = folder::specify(&files)?;
        let facts = license::judge_files(&catalog, &digested(&files, &specs), &inspect(&files));
        let name = name(path)?;
        let report = LicenseReport::of_files(&catalog, &name, &specs, facts, &self.stated_use()?)?;
        let texts = if self.format == Format::Notices { texts(&report, &files, &specs)? } else { BTreeMap::new() };
        Ok(write(self.format, &report, &texts)?)
    }

    fn stated_use(&self) -> Result<Use, CliError> {
        let mut stated = Use::default();
        for fact in &self.uses {
            stated.insert(fact).map_err(|error| CliError::Usage(error.to_string()))?;
        }
        Ok(stated)
    }
}

fn texts(
    report: &LicenseReport,
    files: &[LocalFile],
    specs: &[FileSpec],
) -> Result<BTreeMap<String, NoticeText>, CliError> {
    let mut texts = BTreeMap::new();
    for digest in report.notice_files()?.into_keys() {
        let held = files.iter().zip(specs).find(|(_, spec)| spec.sha256.as_str() == digest);
        let Some((file, _)) = held else { continue };
        let text = match file.size() {
            size if size > MAX_NOTICE_BYTES => NoticeText::TooLong,
            _ => NoticeText::of(read_small(&file.location, MAX_NOTICE_BYTES)?),
        };
        texts.insert(digest.to_owned(), text);
    }
    Ok(texts)
}
