//! `weighhouse inspect`: what files are and what they could do, without a server and without
//! running anything of them.

use std::io;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use verifier::evidence::{InspectedFile, Inspection, MemoryEstimate, Precision};
use verifier::format::weights::{TensorDigest, digest_tensors, dimensions, tensors, weights_digest};
use verifier::format::{FileEntry, Tensor};

use super::LocalPath;
use super::folder::{self, LocalFile};
use super::layout::{Sheet, table};
use super::output::{self, CliError};
use super::progress::Progress;
use super::units::{bytes, grouped, plural};
use super::{offline, summary};
use crate::v1::weights::TensorItem;

/// Rows of the precision histogram and of the file table that a person is shown.
const MOST_ROWS: usize = 40;

/// Exits with 0 where nothing was found, 1 for what is dangerous or malformed, 2 for the rest:
/// suspicious, of an unsupported format, or what could not be looked into.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    path: LocalPath,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Tokens of context to estimate memory for
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    context: Option<u64>,
    /// List the tensors, or those whose name contains TEXT
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
    tensors: Option<String>,
    /// Digest each tensor; reads all weights once
    #[arg(long)]
    digests: bool,
}

/// The JSON document: the inspection's own fields with what was asked for beside it.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    inspection: Inspection,
    /// For the context that was asked for, or a usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryEstimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<Vec<TensorItem>>,
}

impl Inspect {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let files = folder::walk_for_reading(&self.path.path)?;
        if files.is_empty() {
            return Err(CliError::Usage(format!("{} has no files", self.path.path.display())));
        }
        let report = self.report(&files)?;
        if self.json {
            output::json(&report)?;
        } else {
            output::text(&text(&report))?;
        }
        Ok(ExitCode::from(report.inspection.verdict.exit_code()))
    }

    fn report(&self, files: &[LocalFile]) -> Result<Report, CliError> {
        let inspection = offline::inspect(files);
        let memory = inspection.memory(self.context.unwrap_or_else(|| inspection.usual_context()));
        let mut report = Report { inspection, memory, weights_digest: None, tensors: None };
        if self.tensors.is_some() || self.digests {
            self.add_tensors(files, &mut report)?;
        }
        Ok(report)
    }

    fn add_tensors(&self, files: &[LocalFile], report: &mut Report) -> Result<(), CliError> {
        let read = self.read(files, &report.inspection)?;
        if self.digests {
            let is_counted = |path: &str| report.inspection.files.iter().any(|file| file.counted && file.path == path);
            let counted = read.iter().filter(|tensor| is_counted(tensor.path));
            report.weights_digest = weights_digest(counted.map(|found| (&found.tensor, found.sha256())));
        }
        let search = self.tensors.as_deref().unwrap_or_default().to_lowercase();
        let wanted = read.into_iter().filter(|found| found.tensor.name.to_lowercase().contains(&search));
        report.tensors = Some(wanted.map(ReadTensor::listed).collect());
        Ok(())
    }

    /// The tensors of all files whose headers could be read, with digests where they are wanted.
    fn read<'f>(&self, files: &'f [LocalFile], inspection: &Inspection) -> Result<Vec<ReadTensor<'f>>, CliError> {
        let has_tensors =
            |path: &str| inspection.files.iter().any(|seen| seen.path == path && seen.tensor_count.is_some());
        let mut listed = Vec::new();
        for file in files.iter().filter(|file| has_tensors(&file.path)) {
            listed.push((file, tensors(&FileEntry { path: &file.path, source: file })?));
        }
        let total = listed.iter().flat_map(|(_, tensors)| tensors).map(|tensor| tensor.byte_length).sum();
        let progress = self.digests.then(|| Progress::start("digesting", total));
        let mut read = Vec::new();
        for (file, tensors) in listed {
            let digests = match &progress {
                Some(progress) => digests(file, &tensors, progress)?,
                None => vec![None; tensors.len()],
            };
            let path = file.path.as_str();
            read.extend(tensors.into_iter().zip(digests).map(|(tensor, digest)| ReadTensor { path, tensor, digest }));
        }
        Ok(read)
    }
}

fn digests(file: &LocalFile, tensors: &[Tensor], progress: &Progress) -> io::Result<Vec<Option<TensorDigest>>> {
    digest_tensors(file, tensors, &|count| progress.add(count))
}

struct ReadTensor<'f> {
    path: &'f str,
    tensor: Tensor,
    digest: Option<TensorDigest>,
}

impl ReadTensor<'_> {
    fn sha256(&self) -> Option<&str> {
        self.digest.as_ref().map(|digest| digest.sha256.as_str())
    }

    fn listed(self) -> TensorItem {
        TensorItem {
            path: self.path.to_owned(),
            name: self.tensor.name,
            element_type: self.tensor.element_type.into_owned(),
            shape: self.tensor.shape,
            byte_length: self.tensor.byte_length,
            sha256: self.digest.map(|digest| digest.sha256),
        }
    }
}

fn text(report: &Report) -> String {
    let found = &report.inspection;
    let mut sheet = Sheet::default();
    sheet.heading("What it is");
    summary::inspection(&mut sheet, found);
    if let Some(memory) = &report.memory {
        sheet.row("memory", &memory_in_words(memory));
    }
    sheet.optional_row("weights digest", report.weights_digest.as_deref());
    summary::findings(&mut sheet, found.findings.iter());
    let mut text = sheet.into_text();
    for part in [precisions(found), Some(files(found)), listed(report)].into_iter().flatten() {
        text.push('\n');
        text.push_str(&part);
    }
    text
}

fn memory_in_words(memory: &MemoryEstimate) -> String {
    match memory.cache {
        Some(cache) => format!(
            "about {} for {} tokens of context: {} of weights, {} of keys and values",
            bytes(memory.total),
            grouped(memory.context),
            bytes(memory.weights),
            bytes(cache)
        ),
        None => format!("about {} of weights", bytes(memory.weights)),
    }
}

/// A histogram says something where there are several precisions.
fn precisions(found: &Inspection) -> Option<String> {
    let row = |precision: &Precision| {
        vec![precision.name.clone(), grouped(precision.tensors), grouped(precision.parameters), bytes(precision.bytes)]
    };
    let rows: Vec<Vec<String>> = found.precisions.iter().take(MOST_ROWS).map(row).collect();
    (rows.len() > 1).then(|| table(&["PRECISION", "TENSORS", "PARAMETERS", "SIZE"], &rows))
}

fn files(found: &Inspection) -> String {
    let row = |file: &InspectedFile| {
        vec![file.path.clone(), bytes(file.size), file.format.clone(), summary::word(&file.verdict)]
    };
    // What is wrong comes first: in a folder of hundreds of files nobody scrolls for it.
    let mut worst: Vec<&InspectedFile> = found.files.iter().collect();
    worst.sort_by_key(|file| std::cmp::Reverse(file.verdict));
    let rows: Vec<Vec<String>> = worst.iter().take(MOST_ROWS).map(|file| row(file)).collect();
    let mut text = table(&["FILE", "SIZE", "FORMAT", "VERDICT"], &rows);
    if worst.len() > MOST_ROWS {
        let more = plural(worst.len() - MOST_ROWS, "more file");
        text.push_str(&["and ", &more, "; --json lists them all\n"].concat());
    }
    text
}

fn listed(report: &Report) -> Option<String> {
    let tensors = report.tensors.as_ref()?;
    let row = |tensor: &TensorItem| {
        let digest = tensor.sha256.clone().unwrap_or_default();
        vec![
            tensor.name.clone(),
            tensor.element_type.clone(),
            dimensions(&tensor.shape),
            bytes(tensor.byte_length),
            digest,
        ]
    };
    let has_digests = tensors.iter().any(|tensor| tensor.sha256.is_some());
    let titles: &[&str] = if has_digests {
        &["TENSOR", "TYPE", "SHAPE", "SIZE", "SHA-256"]
    } else {
        &["TENSOR", "TYPE", "SHAPE", "SIZE"]
    };
    Some(table(titles, &tensors.iter().map(row).collect::<Vec<_>>()))
}
