//! `push`: a folder becomes a revision.
//!
//! The client hashes first, so the server can say what it lacks, and sends only that. What
//! breaks on the way goes on where the server is, within one run or in the next. The branch
//! moves only from where it was when the push began, so two pushes never overwrite each
//! other unseen.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};
use registry_core::{FileSpec, ModelKind, RefKind, Visibility};
use serde::Serialize;

use super::client::Client;
use super::folder::{self, LocalFile};
use super::follow::{self, Judgement};
use super::layout::Sheet;
use super::output::{self, CliError, note};
use super::progress::Progress;
use super::target::{Target, model_path};
use super::units::{bytes, plural};
use super::upload::Upload;
use super::{Remote, summary};
use crate::v1::wire::{
    CommitRequest, Committed, CreateModel, DeclareUploads, DeclaredUpload, DeclaredUploads, File, Model, ModelDetail,
};

#[derive(Debug, Args)]
pub(super) struct Push {
    /// The folder to upload
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The model, and the branch that moves to the new revision [default branch: main]
    #[arg(value_name = "NAMESPACE/NAME[@BRANCH]")]
    target: Target,
    /// What the revision is about
    #[arg(long, short, default_value = "", hide_default_value = true)]
    message: String,
    /// Who sees the model, if this push creates it
    #[arg(long, value_enum, default_value = "private")]
    visibility: VisibilityArgument,
    /// Fail where the model does not exist
    #[arg(long)]
    no_create: bool,
    /// Files that are sent at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Leave out files of this name, or of this path where it has a slash; may be repeated
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<String>,
    /// Stay until the revision is judged and print what was found
    #[arg(long)]
    wait: bool,
    /// Longest time to stay, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, requires = "wait")]
    wait_limit: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// [`Visibility`] as a command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum VisibilityArgument {
    /// Only members of the namespace
    Private,
    /// Everyone with a token
    Internal,
    /// Everyone
    Public,
}

impl From<VisibilityArgument> for Visibility {
    fn from(argument: VisibilityArgument) -> Self {
        match argument {
            VisibilityArgument::Private => Self::Private,
            VisibilityArgument::Internal => Self::Internal,
            VisibilityArgument::Public => Self::Public,
        }
    }
}

/// What a push did, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    committed: Committed,
    branch: String,
    files: usize,
    /// Bytes of all files.
    size: u64,
    /// Bytes that went over the network in this run.
    sent: u64,
    /// Time for reading and hashing the files.
    hash_seconds: f64,
    /// Time from declaring the files until the server had verified the last byte.
    transfer_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    judgement: Option<Judgement>,
}

/// Where the push goes.
struct Destination {
    target: Target,
    /// What the branch must still be when the push is committed: a commit, or `none`.
    parent: String,
}

impl Push {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        registry_core::check_ref_name(self.target.revision())?;
        let files = folder::walk(&self.folder, &folder::ignored(&self.ignore)?)?;
        if files.is_empty() {
            return Err(CliError::Usage(format!("{} has no files to push", self.folder.display())));
        }
        super::serve::runtime()?.block_on(self.push(&client, &files))
    }

    async fn push(&self, client: &Client, files: &[LocalFile]) -> Result<ExitCode, CliError> {
        let destination = self.destination(client).await?;
        let client = &client.patient();
        let started = Instant::now();
        let specs = tokio::task::block_in_place(|| folder::specify(files))?;
        let hashed = Instant::now();
        let sent = self.send_missing(client, &destination, files, &specs).await?;
        let transfer_seconds = hashed.elapsed().as_secs_f64();
        let committed = self.commit(client, &destination, &specs).await?;
        let mut report = Report {
            branch: destination.target.revision().to_owned(),
            files: files.len(),
            size: folder::total_size(files),
            sent,
            hash_seconds: (hashed - started).as_secs_f64(),
            transfer_seconds,
            committed,
            judgement: None,
        };
        if self.wait {
            note(&format!("{:.12} is committed; the registry judges it:", report.committed.revision.commit));
            let limit = Duration::from_secs(self.wait_limit);
            let commit = &report.committed.revision.commit;
            report.judgement = Some(follow::judgement(client, &destination.target.model, commit, limit).await?);
        }
        if self.json {
            return output::json(&report);
        }
        output::text(&report.text())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Finds the model, or creates it, and the place that the branch is at now.
    async fn destination(&self, client: &Client) -> Result<Destination, CliError> {
        let found: Result<ModelDetail, CliError> = client.get(&model_path(&self.target.model, &[])).await;
        let detail = match found {
            Err(error) if error.is("not-found") && !self.no_create => return self.create(client).await,
            found => found?,
        };
        let target = Target::new(detail.model.name.parse()?, self.target.revision());
        if target.model != self.target.model {
            note(&format!("{} is called {} now", self.target.model, target.model));
        }
        let is_at = |kind| detail.refs.iter().find(|found| found.kind == kind && found.name == target.revision());
        match (is_at(RefKind::Branch), is_at(RefKind::Tag)) {
            (Some(head), _) => Ok(Destination { parent: head.commit.clone(), target }),
            (None, Some(_)) => {
                Err(CliError::Usage(format!("{target} is a tag, which does not move; push to a branch")))
            }
            (None, None) => Ok(Destination { parent: "none".to_owned(), target }),
        }
    }

    async fn create(&self, client: &Client) -> Result<Destination, CliError> {
        let body = CreateModel {
            name: self.target.model.to_string(),
            kind: ModelKind::Model,
            visibility: self.visibility.into(),
            reference: None,
        };
        match client.create::<Model>(&["models"], &body).await {
            Ok(model) => note(&format!("created {} ({})", model.name, model.visibility.as_str())),
            // Someone else, or an earlier delivery of this request, was faster.
            Err(error) if error.is("exists") => {}
            Err(error) => return Err(error),
        }
        Ok(Destination { target: self.target.clone(), parent: "none".to_owned() })
    }

    /// Sends what the server lacks; returns the number of bytes that were sent.
    async fn send_missing(
        &self,
        client: &Client,
        destination: &Destination,
        files: &[LocalFile],
        specs: &[FileSpec],
    ) -> Result<u64, CliError> {
        let model = &destination.target.model;
        let body = DeclareUploads { files: specs.iter().cloned().map(File::from).collect() };
        let declared: DeclaredUploads = client.post(&model_path(model, &["uploads"]), &body).await?;
        let missing: Vec<DeclaredUpload> =
            declared.uploads.into_iter().filter(|upload| upload.session.is_some()).collect();
        let holders: HashMap<&str, (&LocalFile, &FileSpec)> =
            files.iter().zip(specs).map(|(file, spec)| (spec.sha256.as_str(), (file, spec))).collect();
        let progress = Progress::start("sending", missing.iter().map(|upload| upload.size).sum());
        let uploads = stream::iter(missing).map(Ok).map_ok(|declared| {
            let (holder, progress) = (holders.get(declared.sha256.as_str()).copied(), &progress);
            async move {
                let undeclared =
                    || CliError::Protocol(format!("the server asks for {}, which is not here", declared.sha256));
                let (file, spec) = holder.ok_or_else(undeclared)?;
                Upload { client, model, file, spec, progress }.run(declared).await
            }
        });
        let parallel = usize::from(self.parallel);
        uploads.try_buffer_unordered(parallel).try_fold(0, |sum, sent| async move { Ok(sum + sent) }).await
    }

    async fn commit(
        &self,
        client: &Client,
        destination: &Destination,
        specs: &[FileSpec],
    ) -> Result<Committed, CliError> {
        let body = CommitRequest {
            branch: destination.target.revision().to_owned(),
            parent: Some(destination.parent.clone()),
            message: self.message.clone(),
            files: specs.iter().cloned().map(File::from).collect(),
        };
        let committed = client.post(&model_path(&destination.target.model, &["commits"]), &body).await;
        committed.map_err(|error| moved(destination, error))
    }
}

/// What a lost race means for the one who lost it.
fn moved(destination: &Destination, error: CliError) -> CliError {
    match error {
        CliError::Server(problem) if problem.code == "ref-moved" => {
            let now = problem.current.as_deref().unwrap_or("another revision");
            let (target, parent) = (&destination.target, &destination.parent);
            CliError::Moved(format!(
                "{target} moved while this push ran: it was at {parent} and is at {now} now. \
                 Nothing was changed; the bytes are kept. Look at what was pushed there, then push again"
            ))
        }
        error => error,
    }
}

impl Report {
    fn headline(&self) -> String {
        let target = format!("{}@{}", self.committed.model, self.branch);
        if !self.committed.created {
            return format!("{target} holds this content already ({} sent)", bytes(self.sent));
        }
        let size = format!("{}, {}", plural(self.files, "file"), bytes(self.size));
        format!("pushed {size} to {target} ({} sent)", bytes(self.sent))
    }

    fn text(&self) -> String {
        let mut sheet = Sheet::default();
        sheet.heading(&self.headline());
        sheet.row("commit", &self.committed.revision.commit);
        sheet.row("content digest", &self.committed.revision.content_digest);
        sheet.row("page", &self.committed.url);
        let mut text = sheet.into_text();
        if let Some(judgement) = &self.judgement {
            text.push('\n');
            text.push_str(&summary::revision(&judgement.revision, &judgement.decisions));
            text.extend(["\nThe model's page: ", &self.committed.url, "\n"]);
        }
        text
    }
}
