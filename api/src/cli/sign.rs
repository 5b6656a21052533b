//! `sign`: a model signature over a folder, that any OMS tool verifies.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use verifier::provenance::SigningKey;
use verifier::provenance::oms::{SignedFile, sign_without};

use super::folder::{self, LocalFile};
use super::output::{self, CliError, read_small};
use super::units::plural;
use super::verify::{MAX_KEY_BYTES, USUAL_SIGNATURE, is_signature};

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The model's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Your private key: ECDSA P-256, PEM, without a password
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// Where to write the signature [default: model.sig in the folder]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Leave out files of this name, or of this path where it has a slash; may be repeated
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What was signed, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Signed<'a> {
    signature: &'a Path,
    files: Vec<&'a str>,
    /// Paths that the signature says it does not speak for.
    ignored: Vec<&'a str>,
}

impl Sign {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        if !self.folder.is_dir() {
            return Err(CliError::Usage(format!("{} is not a folder", self.folder.display())));
        }
        let key = signing_key(&self.key)?;
        let target = self.signature.clone().unwrap_or_else(|| self.folder.join(USUAL_SIGNATURE));
        let (mut files, left_out) = folder::walk_with_left_out(&self.folder, &folder::ignored(&self.ignore)?)?;
        let mut ignored: BTreeSet<String> = left_out.into_iter().collect();
        // Signatures accumulate beside the model, and this one will lie among them.
        ignored.extend(files.extract_if(.., |file| is_signature(file)).map(|file| file.path));
        ignored.extend(path_inside(&self.folder, &target));
        let specs = folder::specify(&files)?;
        let listed: Vec<SignedFile<'_>> =
            specs.iter().map(|spec| SignedFile { path: &spec.path, sha256: spec.sha256.as_str() }).collect();
        let ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
        let bundle = sign_without(&name_of(&self.folder), &listed, &ignored, &key);
        let bundle = bundle.map_err(|error| CliError::Usage(error.to_string()))?;
        for file in &files {
            LocalFile::check_unchanged(file)?;
        }
        write(&target, &bundle)?;
        self.print(&Signed { signature: &target, files: listed.iter().map(|file| file.path).collect(), ignored })
    }

    fn print(&self, signed: &Signed<'_>) -> Result<ExitCode, CliError> {
        if self.json {
            return output::json(signed);
        }
        let files = plural(signed.files.len(), "file");
        output::text(&format!("signed {files}: {}\n", signed.signature.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn signing_key(path: &Path) -> Result<SigningKey, CliError> {
    let pem = read_small(path, MAX_KEY_BYTES)?;
    SigningKey::from_pem(&String::from_utf8_lossy(&pem))
        .map_err(|error| CliError::Usage(format!("the key {} cannot be used: {error}", path.display())))
}

/// The folder's own name, which verifiers show and do not rely on.
fn name_of(folder: &Path) -> String {
    let real = fs_err::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    real.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Where in the folder a file lies or will lie; none outside of it.
fn path_inside(folder: &Path, file: &Path) -> Option<String> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let place = fs_err::canonicalize(parent).ok()?.join(file.file_name()?);
    let inside = place.strip_prefix(fs_err::canonicalize(folder).ok()?).ok()?.to_str()?.to_owned();
    Some(inside)
}

/// Whole or not at all: a reader never meets half a signature.
fn write(target: &Path, bundle: &[u8]) -> Result<(), CliError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error| CliError::Io("cannot write the signature".into(), error);
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".signature-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(parent)
        .map_err(failed)?;
    file.write_all(bundle).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(target).map_err(|error| failed(error.error))?;
    Ok(())
}
