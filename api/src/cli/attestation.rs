//! `attestation`: what others and the registry state about a revision, as bundles.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_core::{AttestationInfo, AttestationOrigin, MAX_SIGNATURE_BYTES, TrustView};

use super::client::Client;
use super::layout::table;
use super::output::{self, CliError, read_small};
use super::target::{Target, model_path};
use super::{Remote, serve};
use crate::v1::wire::AttachedSignature;

#[derive(Debug, Subcommand)]
pub(super) enum Attestation {
    /// List the signatures and attestations of a revision
    List(List),
    /// Download one as the bundle that foreign verifiers take
    Get(Get),
    /// Attach a signature or an attestation
    Attach(Attach),
    /// Have the registry sign a trusted revision's files with its own key
    Countersign(Countersign),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[arg(value_name = "NAMESPACE/NAME[@REVISION]")]
    target: Target,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[arg(value_name = "NAMESPACE/NAME[@REVISION]")]
    target: Target,
    /// The bundle's digest, as `attestation list` prints it
    sha256: String,
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    #[arg(value_name = "NAMESPACE/NAME[@REVISION]")]
    target: Target,
    /// A sigstore bundle
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Countersign {
    #[arg(value_name = "NAMESPACE/NAME[@REVISION]")]
    target: Target,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Attestation {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        serve::runtime()?.block_on(async {
            match self {
                Self::List(list) => list.run().await,
                Self::Get(get) => get.run().await,
                Self::Attach(attach) => attach.run().await,
                Self::Countersign(countersign) => countersign.run().await,
            }
        })
    }
}

fn path<'a>(target: &'a Target, rest: &[&'a str]) -> Vec<&'a str> {
    model_path(&target.model, &[&["revisions", target.revision()], rest].concat())
}

impl List {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let view: TrustView = Client::new(&self.remote)?.get(&path(&self.target, &["provenance"])).await?;
        if self.json {
            return output::json(&view);
        }
        let row = |found: &AttestationInfo| {
            let origin = match found.origin {
                AttestationOrigin::Received => "received",
                AttestationOrigin::Registry => "registry",
            };
            let states = found.predicate_type.clone().unwrap_or_else(|| "signature over the files".to_owned());
            let place = found.log_index.map(|index| index.to_string()).unwrap_or_default();
            vec![found.sha256.clone(), origin.to_owned(), found.at.clone(), place, states]
        };
        let rows: Vec<Vec<String>> = view.attestations.iter().map(row).collect();
        output::text(&table(&["SHA-256", "FROM", "AT", "LOG", "STATES"], &rows))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Get {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        let bundle = client.get_text(&path(&self.target, &["attestations", &self.sha256]), &()).await?;
        output::deliver(&bundle, self.output.as_deref())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Attach {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let bundle = read_small(&self.file, MAX_SIGNATURE_BYTES as u64)?;
        let client = Client::new(&self.remote)?;
        let attached: AttachedSignature = client.post_bytes(&path(&self.target, &["signatures"]), bundle).await?;
        if self.json {
            return output::json(&attached);
        }
        output::done(&format!("attached as {}; the revision is judged again", attached.sha256), None)
    }
}

impl Countersign {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        let signed: AttachedSignature = client.create(&path(&self.target, &["countersignature"]), &()).await?;
        if self.json {
            return output::json(&signed);
        }
        output::done(&format!("signed by the registry as {}", signed.sha256), None)
    }
}
