//! The verbs that need no server: the pipeline's own judgement over local files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use globset::GlobSet;
use inference_probe::{Limits, ProbeFile, ProbeRequest};
use registry_core::{FileSpec, MAX_SIGNATURE_BYTES};
use serde::Serialize;
use verifier::evidence::{
    Inspection, InspectionVerdict, ProbeReport, ProvenanceFacts, ProvenanceVerdict, SignatureFacts, SignatureState,
};
use verifier::format::{self, FileEntry, FileKind};
use verifier::provenance::oms::TrustedKey;
use verifier::provenance::{DigestCache, Subject, TrustMaterial};
use verifier::{DigestedFile, ReadAt, provenance};

use super::LocalPath;
use super::folder::{self, LocalFile};
use super::layout::{Sheet, table};
use super::output::{self, CliError, read_small};
use super::summary;
use super::units::{bytes, parse_bytes, parse_seconds};

/// The name that the OMS tool gives a signature inside the signed folder.
const USUAL_SIGNATURE: &str = "model.sig";
/// Bytes that tell what a file is.
const PREFIX_BYTES: usize = 4096;
/// Largest public key, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    path: LocalPath,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    path: LocalPath,
    /// The signature bundle [default: model.sig in the folder]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Leave out files of this name, or of this path where it has a slash; may be repeated
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<String>,
    /// A public key (PEM) that you trust; may be repeated
    #[arg(long = "key", value_name = "PEM")]
    keys: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    /// The best that this build has
    Auto,
    Cpu,
    Cuda,
}

impl Inspect {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let found = inspect(&files(&self.path.path)?);
        if self.json {
            output::json(&found)?;
        } else {
            output::text(&inspection_text(&found))?;
        }
        Ok(ExitCode::from(found.verdict.exit_code()))
    }
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

fn inspection_text(found: &Inspection) -> String {
    let mut sheet = Sheet::default();
    sheet.heading("What it is");
    summary::inspection(&mut sheet, found);
    summary::findings(&mut sheet, found.findings.iter());
    let row = |file: &verifier::evidence::InspectedFile| {
        vec![file.path.clone(), bytes(file.size), file.format.clone(), summary::word(&file.verdict)]
    };
    let files = table(&["FILE", "SIZE", "FORMAT", "VERDICT"], &found.files.iter().map(row).collect::<Vec<_>>());
    format!("{}\n{files}", sheet.into_text())
}

pub(super) fn digested<'a>(files: &'a [LocalFile], specs: &'a [FileSpec]) -> Vec<DigestedFile<'a>> {
    let file = |(file, spec): (&'a LocalFile, &'a FileSpec)| DigestedFile {
        path: &file.path,
        digest: spec.sha256.as_str(),
        source: file,
    };
    files.iter().zip(specs).map(file).collect()
}

/// What `verify` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Verified,
    Refused,
    Unchecked,
}

/// The result of `verify` as `--json` prints it.
#[derive(Debug, Serialize)]
struct Verification<'a> {
    answer: Answer,
    #[serde(flatten)]
    facts: &'a ProvenanceFacts,
}

impl Verify {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        if self.keys.is_empty() {
            let text = "nothing says whom to trust: name the signer's public key with --key";
            return Err(CliError::Usage(text.to_owned()));
        }
        let keys = self.keys.iter().map(|path| trusted_key(path)).collect::<Result<Vec<_>, _>>()?;
        let signature = self.signature.clone().unwrap_or_else(|| self.path.path.join(USUAL_SIGNATURE));
        let bundle = read_small(&signature, MAX_SIGNATURE_BYTES as u64)?;
        let mut files = folder::walk(&self.path.path, &folder::ignored(&self.ignore)?)?;
        // No signature covers itself or another one beside it.
        files.retain(|file| !is_same_file(&file.location, &signature) && !is_signature(file));
        let specs = folder::specify(&files)?;
        let files = digested(&files, &specs);
        let subject = Subject { files: &files, content_digest: "", attached: &[bundle] };
        let trust = TrustMaterial { keys, roots: Vec::new() };
        let facts = provenance::judge(subject, &trust, &DigestCache::new());
        let answer = Answer::of(&facts);
        if self.json {
            output::json(&Verification { answer, facts: &facts })?;
        } else {
            output::text(&provenance_text(answer, &facts))?;
        }
        Ok(ExitCode::from(match answer {
            Answer::Verified => 0,
            Answer::Refused => 1,
            Answer::Unchecked => 2,
        }))
    }
}

impl Answer {
    fn of(facts: &ProvenanceFacts) -> Self {
        let weights_are_covered = facts.findings.iter().all(|finding| finding.code != "UNSIGNED_WEIGHTS");
        // A signer may leave files out, and says so in what is signed. A file that the
        // signature does not even name came later.
        let is_whole = |signature: &SignatureFacts| {
            signature.state == SignatureState::Trusted && signature.coverage.unsigned.is_empty() && weights_are_covered
        };
        match facts.verdict {
            ProvenanceVerdict::Trusted => Self::Verified,
            ProvenanceVerdict::Unsupported => Self::Unchecked,
            _ if facts.signatures.iter().any(is_whole) => Self::Verified,
            _ => Self::Refused,
        }
    }
}

fn trusted_key(path: &Path) -> Result<TrustedKey, CliError> {
    let pem = read_small(path, MAX_KEY_BYTES)?;
    let name = path.display().to_string();
    TrustedKey::from_pem(&name, &String::from_utf8_lossy(&pem))
        .map_err(|error| CliError::Usage(format!("the key {name} cannot be used: {error}")))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path| fs_err::canonicalize(path).ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

fn is_signature(file: &LocalFile) -> bool {
    let mut prefix = vec![0; usize::try_from(file.size()).unwrap_or(PREFIX_BYTES).min(PREFIX_BYTES)];
    file.read_exact_at(0, &mut prefix).is_ok()
        && matches!(FileKind::recognize(&file.path, &prefix, file.size()), FileKind::Signature)
}

fn provenance_text(answer: Answer, facts: &ProvenanceFacts) -> String {
    let mut sheet = Sheet::default();
    sheet.heading(match answer {
        Answer::Verified => "Verified",
        Answer::Refused => "Refused",
        Answer::Unchecked => "Could not be checked",
    });
    summary::provenance(&mut sheet, facts);
    summary::findings(&mut sheet, facts.findings.iter());
    sheet.into_text()
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
        let report = inference_probe::run(&self.request(&files, &found)?);
        if self.json {
            output::json(&report)?;
        } else {
            output::text(&probe_text(&report))?;
        }
        Ok(ExitCode::from(report.verdict.exit_code()))
    }

    fn request(&self, files: &[LocalFile], found: &Inspection) -> Result<ProbeRequest, CliError> {
        let usual = Limits::default();
        let open = |file: &LocalFile| -> Result<ProbeFile, CliError> {
            let (open, _) = fs_err::File::open(&file.location)?.into_parts();
            Ok(ProbeFile { name: file.path.clone(), file: open })
        };
        let wanted = files.iter().filter(|file| is_loaded(&file.path, found));
        Ok(ProbeRequest {
            executable: std::env::current_exe()?,
            arguments: vec![OsString::from(crate::worker::PROBE_VERB)],
            files: wanted.map(open).collect::<Result<_, _>>()?,
            limits: Limits {
                memory_bytes: self.memory_limit.unwrap_or(usual.memory_bytes),
                wall: self.wall_limit.map_or(usual.wall, Duration::from_secs),
                threads: self.threads.unwrap_or(usual.threads),
            },
            cancelled: None,
        })
    }
}

/// Whether an engine needs the file: the weights, and the JSON beside weights that do not
/// carry their own configuration.
fn is_loaded(path: &str, found: &Inspection) -> bool {
    let self_contained = found.format.as_deref() == Some("gguf");
    let is_json = Path::new(path).extension().is_some_and(|extension| extension == "json");
    let is_weights = found.files.iter().any(|file| file.path == path && file.weights);
    is_weights || (!self_contained && !path.contains('/') && is_json)
}

fn probe_text(report: &ProbeReport) -> String {
    let mut sheet = Sheet::default();
    sheet.heading("Whether it runs");
    summary::probe(&mut sheet, report);
    summary::findings(&mut sheet, report.findings.iter());
    sheet.into_text()
}
