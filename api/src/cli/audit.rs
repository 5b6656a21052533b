//! `audit`: verify the whole log, keep its signed heads elsewhere, and prove what is in it.

mod prove;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Remote;
use super::client::Client;
use super::layout::Sheet;
use super::output::{self, CliError, note, read_small};
use super::units::grouped;
use crate::v1::wire::{AuditHead, AuditVerification, VerifyAudit};

/// Largest checkpoint, in bytes; a signed note is a few lines.
const MAX_CHECKPOINT_BYTES: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Recompute the log and compare it with every signed head; exit 0 intact, 1 not, 2 could
    /// not check.
    ///
    /// With --from, the proof is checked here instead: that the log still begins with everything
    /// an old head covers
    Verify(Verify),
    /// Print the newest signed head, to be kept outside of the server
    Checkpoint(Checkpoint),
    /// Fetch the proof that an event is in the log, and its leaf
    Proof(prove::Proof),
    /// Check such a proof; needs no server; exit 0 proven, 1 not, 2 could not check
    CheckProof(prove::CheckProof),
    /// Fetch the proof that the log grew out of an old head, to be checked elsewhere
    Consistency(prove::Consistency),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A head that was kept outside of the server; may be repeated
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Prove here that the log grew out of this old head
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoints")]
    from: Option<PathBuf>,
    /// Take the proof from this file, which `audit consistency` wrote, and ask no server
    #[arg(long, value_name = "FILE", requires = "from", requires = "log_key")]
    consistency: Option<PathBuf>,
    /// The log's key, or a file with one on each line [default: the server's, if it signed the old head]
    #[arg(long, value_name = "KEY|FILE", requires = "from")]
    log_key: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Checkpoint {
    /// Write it to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Audit {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        super::serve::runtime()?.block_on(async {
            match self {
                Self::Verify(verify) => verify.run().await,
                Self::Checkpoint(checkpoint) => checkpoint.run().await,
                Self::Proof(proof) => proof.run().await,
                Self::CheckProof(check) => check.run(),
                Self::Consistency(consistency) => consistency.run().await,
            }
        })
    }
}

impl Verify {
    async fn run(&self) -> Result<ExitCode, CliError> {
        if let Some(old) = &self.from {
            return prove::growth(self, old).await;
        }
        let known_checkpoints = self.checkpoints.iter().map(|path| read_note(path)).collect::<Result<_, _>>()?;
        let body = VerifyAudit { known_checkpoints };
        let found: AuditVerification = Client::new(&self.remote)?.post(&["audit", "verify"], &body).await?;
        if self.json {
            output::json(&found)?;
        } else {
            output::text(&render_text(&found))?;
        }
        Ok(ExitCode::from(u8::from(!found.intact)))
    }
}

fn read_note(path: &Path) -> Result<String, CliError> {
    let note = read_small(path, MAX_CHECKPOINT_BYTES)?;
    String::from_utf8(note).map_err(|_| CliError::Usage(format!("{} is not a checkpoint", path.display())))
}

fn render_text(found: &AuditVerification) -> String {
    let mut sheet = Sheet::default();
    sheet.heading(if found.intact { "The audit log is intact" } else { "The audit log is NOT intact" });
    sheet.row("events", &grouped(found.leaves));
    sheet.row("signed heads", &grouped(found.checkpoints));
    sheet.row("not yet in it", &grouped(found.unsequenced));
    sheet.row("problems", &grouped(found.problem_count));
    for problem in &found.problems {
        sheet.note(&format!("{}: {}", problem.code, problem.detail));
    }
    sheet.into_text()
}

impl Checkpoint {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let head: AuditHead = Client::new(&self.remote)?.get(&["audit", "checkpoint"]).await?;
        if let Some(path) = &self.out {
            fs_err::write(path, &head.note)?;
            note(&format!("the head of {} events is in {}", grouped(head.tree_size), path.display()));
        }
        if self.json {
            return output::json(&head);
        }
        if self.out.is_none() {
            output::text(&head.note)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
