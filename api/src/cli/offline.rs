//! The verbs that need no server: the pipeline's own judgement over local files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use globset::GlobSet;
use inference_probe::{Limits, ProbeFile, ProbeRequest};
use registry_core::FileSpec;
use verifier::DigestedFile;
use verifier::evidence::{Inspection, InspectionVerdict, ProbeReport};
use verifier::format::{self, FileEntry};

use super::LocalPath;
use super::folder::{self, LocalFile};
use super::layout::Sheet;
use super::output::{self, CliError};
use super::progress::StatusLine;
use super::summary;
use super::units::{parse_bytes, parse_seconds};

/// How often a terminal is told how far a probe has come.
const REPAINT: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Probe {
    #[command(flatten)]
    path: LocalPath,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Most memory, such as 8GB or 512MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    /// Longest time, such as 90s or 15m
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    wall_limit: Option<u64>,
    /// Most threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Where to run
    #[arg(long, value_enum, default_value = "auto")]
    device: Device,
    /// The model that an adapter changes, as a file or a folder
    #[arg(long, value_name = "PATH")]
    base: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    /// The best that this build has
    Auto,
    Cpu,
    Cuda,
}

pub(super) fn files(path: &Path) -> Result<Vec<LocalFile>, CliError> {
    let files = folder::walk(path, &GlobSet::empty())?;
    if files.is_empty() {
        return Err(CliError::Usage(format!("{} has no files", path.display())));
    }
    Ok(files)
}

pub(super) fn inspect(files: &[LocalFile]) -> Inspection {
    let entries: Vec<FileEntry<'_>> = files.iter().map(|file| FileEntry { path: &file.path, source: file }).collect();
    format::inspect(&entries)
}

pub(super) fn digested<'a>(files: &'a [LocalFile], specs: &'a [FileSpec]) -> Vec<DigestedFile<'a>> {
    let file = |(file, spec): (&'a LocalFile, &'a FileSpec)| DigestedFile {
        path: &file.path,
        digest: spec.sha256.as_str(),
        source: file,
    };
    files.iter().zip(specs).map(file).collect()
}

impl Probe {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        if self.device == Device::Cuda {
            return Err(CliError::Usage("this build has no CUDA; probe with --device cpu".to_owned()));
        }
        let files = files(&self.path.path)?;
        let found = inspect(&files);
        if found.verdict == InspectionVerdict::Dangerous {
            output::note("inspection calls these files dangerous; the sandbox will hold what it can");
        }
        let report = followed(self.request(&files, &found)?)?;
        if self.json {
            output::json(&report)?;
        } else {
            output::text(&probe_text(&report))?;
        }
        Ok(ExitCode::from(report.verdict.exit_code()))
    }

    fn request(&self, files: &[LocalFile], found: &Inspection) -> Result<ProbeRequest, CliError> {
        let usual = Limits::default();
        let base = self.base.as_deref().map(self::files).transpose()?.unwrap_or_default();
        Ok(ProbeRequest {
            executable: std::env::current_exe()?,
            arguments: vec![OsString::from(crate::worker::PROBE_VERB)],
            files: loaded(files, found)?,
            limits: Limits {
                memory_bytes: self.memory_limit.unwrap_or(usual.memory_bytes),
                wall: self.wall_limit.map_or(usual.wall, Duration::from_secs),
                threads: self.threads.unwrap_or(usual.threads),
            },
            base: loaded(&base, &inspect(&base))?,
            cancelled: None,
            progress: Some(Arc::default()),
        })
    }
}

/// The files that an engine reads, opened.
fn loaded(files: &[LocalFile], found: &Inspection) -> Result<Vec<ProbeFile>, CliError> {
    let open = |file: &LocalFile| -> Result<ProbeFile, CliError> {
        let (open, _) = fs_err::File::open(&file.location)?.into_parts();
        Ok(ProbeFile { name: file.path.clone(), file: open })
    };
    files.iter().filter(|file| found.is_loaded(&file.path)).map(open).collect()
}

/// Probes, and shows on a terminal how far it has come.
fn followed(request: ProbeRequest) -> Result<ProbeReport, CliError> {
    let progress = request.progress.clone().unwrap_or_default();
    let probe = std::thread::Builder::new().name("probe".into()).spawn(move || inference_probe::run(&request))?;
    let mut status = StatusLine::default();
    while !probe.is_finished() {
        if let Some((level, percent)) = progress.get() {
            status.show(level, percent);
        }
        std::thread::sleep(REPAINT);
    }
    status.clear();
    let ended = |_| CliError::Io("the probe ended unexpectedly".to_owned(), std::io::ErrorKind::Other.into());
    probe.join().map_err(ended)
}

fn probe_text(report: &ProbeReport) -> String {
    let mut sheet = Sheet::default();
    sheet.heading("Whether it runs");
    summary::probe(&mut sheet, report);
    summary::findings(&mut sheet, report.findings.iter());
    sheet.into_text()
}
