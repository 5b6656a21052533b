//! `pull`: a revision becomes a folder.
//!
//! A file takes its name only when all its bytes are there and have the digest that the
//! revision states. Until then it grows in a folder of its own, where the next run finds it
//! and goes on. The server chooses the paths, so each is checked as if it were hostile.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use registry_core::{FileSpec, ModelName, content_digest};
use serde::Serialize;

use super::Remote;
use super::client::Client;
use super::download::Download;
use super::layout::Sheet;
use super::output::{self, CliError};
use super::progress::Progress;
use super::target::{Target, model_path};
use super::units::{bytes, plural};
use crate::v1::wire::{File, RevisionDetail};

/// Folder inside the target where unfinished files grow.
pub(super) const PARTIAL_FOLDER: &str = ".weighhouse-partial";

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// The model, and a branch, tag or commit of it [default revision: main]
    #[arg(value_name = "NAMESPACE/NAME[@REVISION]")]
    target: Target,
    /// The folder to write to; files that are right already stay
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Files that are fetched at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What a pull did, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    commit: String,
    content_digest: String,
    folder: PathBuf,
    /// Bytes that went over the network in this run.
    received: u64,
    files: Vec<PulledFile>,
}

#[derive(Debug, Serialize)]
struct PulledFile {
    #[serde(flatten)]
    file: File,
    /// False where the folder had it already.
    fetched: bool,
}

impl Pull {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        super::serve::runtime()?.block_on(self.pull(&client))
    }

    async fn pull(&self, client: &Client) -> Result<ExitCode, CliError> {
        let path = model_path(&self.target.model, &["revisions", self.target.revision()]);
        let detail: RevisionDetail = client.get(&path).await?;
        let files = checked_files(&detail)?;
        let model = detail.model.parse()?;
        fs_err::create_dir_all(&self.folder)?;
        let fetched = self.fetch_all(&client.patient(), &model, &detail.revision.commit, &files).await;
        // Not empty where this or an earlier pull broke off; the next one goes on.
        let _ = fs_err::remove_dir(self.folder.join(PARTIAL_FOLDER));
        let fetched = fetched?;
        let report = Report {
            model: detail.model,
            commit: detail.revision.commit,
            content_digest: detail.revision.content_digest,
            folder: self.folder.clone(),
            received: fetched.iter().flatten().sum(),
            files: files
                .into_iter()
                .zip(&fetched)
                .map(|(file, fetched)| PulledFile { file: file.into(), fetched: fetched.is_some() })
                .collect(),
        };
        if self.json {
            return output::json(&report);
        }
        output::text(&report.text())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The bytes received for each file; none where the folder had it.
    async fn fetch_all(
        &self,
        client: &Client,
        model: &ModelName,
        commit: &str,
        files: &[FileSpec],
    ) -> Result<Vec<Option<u64>>, CliError> {
        let progress = Progress::start("fetching", files.iter().map(|file| file.size).sum());
        let fetched = stream::iter(files).map(|file| {
            let download = Download { client, model, commit, file, folder: &self.folder, progress: &progress };
            async move { download.run().await }
        });
        let fetched = fetched.buffered(usize::from(self.parallel));
        fetched.try_collect().await
    }
}

/// The files of a revision, whose paths stay inside of a folder and whose digest is the
/// revision's.
fn checked_files(detail: &RevisionDetail) -> Result<Vec<FileSpec>, CliError> {
    let mut files = detail.files.iter().cloned().map(File::parse).collect::<registry_core::Result<Vec<_>>>()?;
    registry_core::check_files(&mut files)?;
    if content_digest(&files).as_str() != detail.revision.content_digest {
        let text = "the server's list of files does not have the content digest that it states for the revision";
        return Err(CliError::Protocol(text.to_owned()));
    }
    Ok(files)
}

/// Where `path` lies in `folder`, with its parent folders made.
///
/// A link among them would lead outside, so it is refused by name.
pub(super) fn prepare(folder: &Path, path: &str) -> Result<PathBuf, CliError> {
    let mut location = folder.to_owned();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        location.push(part);
        if parts.peek().is_none() {
            break;
        }
        match fs_err::create_dir(&location) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_folder(&location)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(location)
}

fn require_folder(location: &Path) -> Result<(), CliError> {
    if fs_err::symlink_metadata(location)?.is_dir() {
        return Ok(());
    }
    Err(CliError::Usage(format!("{} stands where the revision has a folder", location.display())))
}

impl Report {
    fn text(&self) -> String {
        let size = self.files.iter().map(|pulled| pulled.file.size).sum();
        let had = self.files.iter().filter(|pulled| !pulled.fetched).count();
        let mut sheet = Sheet::default();
        sheet.heading(&format!("{} is in {}", self.model, self.folder.display()));
        sheet.row("commit", &self.commit);
        sheet.row("content digest", &self.content_digest);
        sheet.row("files", &format!("{}, {}", plural(self.files.len(), "file"), bytes(size)));
        sheet.row("received", &bytes(self.received));
        sheet.row("there already", &plural(had, "file"));
        sheet.into_text()
    }
}

#[cfg(test)]
mod tests {
    use registry_core::Sha256Digest;

    use super::*;
    use crate::v1::wire::Revision;

    fn detail(paths: &[&str], content: &str) -> RevisionDetail {
        let file = |path: &&str| File { path: (*path).into(), sha256: Sha256Digest::of(b"x").to_string(), size: 1 };
        RevisionDetail {
            revision: Revision {
                commit: "c".repeat(40),
                content_digest: content.into(),
                parents: Vec::new(),
                author: String::new(),
                message: String::new(),
                created_at: String::new(),
            },
            model: "a/b".into(),
            files: paths.iter().map(file).collect(),
            stages: Vec::new(),
            settled: true,
        }
    }

    #[test]
    fn paths_of_a_hostile_server_are_refused() {
        for path in ["../evil", "/etc/passwd", "a/../../evil", "a\\b", ""] {
            let refused = checked_files(&detail(&[path], &"0".repeat(64)));
            assert!(matches!(refused, Err(CliError::Core(registry_core::Error::Path { .. }))), "{path}");
        }
    }

    #[test]
    fn list_that_is_not_the_revisions_is_refused() {
        let files = [FileSpec { path: "a".into(), sha256: Sha256Digest::of(b"x"), size: 1 }];
        checked_files(&detail(&["a"], content_digest(&files).as_str())).unwrap();
        assert!(matches!(checked_files(&detail(&["b"], content_digest(&files).as_str())), Err(CliError::Protocol(_))));
    }

    #[test]
    fn link_in_the_way_is_refused_and_folders_are_made() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        assert!(matches!(prepare(folder.path(), "link/file"), Err(CliError::Usage(_))));
        let location = prepare(folder.path(), "a/b/file").unwrap();
        assert!(location.parent().unwrap().is_dir());
        prepare(folder.path(), "a/b/other").unwrap();
    }
}
