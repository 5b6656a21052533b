//! The command line. Verbs and their exit codes are stable; scripts rely on them.
//!
//! With `--json` a verb prints one document on standard output; progress and messages for
//! people go to standard error.

mod aibom;
mod attestation;
mod audit;
mod client;
mod conformance;
mod download;
mod folder;
mod follow;
mod gate;
mod inspect;
mod keys;
mod layout;
mod license;
mod migrate;
mod model;
mod offline;
mod output;
mod progress;
mod pull;
mod push;
mod report;
mod review;
mod serve;
mod sign;
mod summary;
mod target;
mod token;
mod trust;
mod units;
mod upload;
mod verdict;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::{ConfigArguments, Loaded, render_text};
use crate::v1::wire::Page;

pub use output::CliError;

/// Registry and license and provenance governance for open-weight models.
#[derive(Debug, Parser)]
#[command(name = "weighhouse", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the API and the pages, with workers beside them
    Serve(ConfigArguments),
    /// Run workers alone, beside servers that share database and store
    Worker(serve::Worker),
    /// Bring the database schema up to this release
    Migrate(ConfigArguments),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print the OpenAPI document
    Openapi,
    /// Upload a folder as a revision
    Push(push::Push),
    /// Download a revision into a folder
    Pull(pull::Pull),
    /// Say what files are and what they could do; needs no server
    Inspect(inspect::Inspect),
    /// Judge, explain, conclude and record licenses
    #[command(subcommand)]
    License(license::License),
    /// Verify a signature over a folder; needs no server
    Verify(verify::Verify),
    /// Sign a folder as its publisher; needs no server
    Sign(sign::Sign),
    /// Speak the protocols of conformance suites
    #[command(subcommand, hide = true)]
    Conformance(conformance::Conformance),
    /// Load a model in a sandbox and let it generate; needs no server
    Probe(offline::Probe),
    /// Write a model's bill of materials, or a draft of its technical documentation
    Aibom(aibom::Aibom),
    /// Report on models as they stood on a date
    #[command(subcommand)]
    Report(report::Report),
    /// Ask whether a model may be used
    Gate(gate::Gate),
    /// Issue, list and revoke API tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Create, list, show, change and delete models
    #[command(subcommand)]
    Model(model::Model),
    /// Show the registry's keys and let others take their place; needs the server's configuration
    #[command(subcommand)]
    Keys(keys::Keys),
    /// List, download and attach signatures and attestations
    #[command(subcommand)]
    Attestation(attestation::Attestation),
    /// Look at trust, try a policy, import roots and revocations
    #[command(subcommand)]
    Trust(trust::Trust),
    /// Work with the audit log
    #[command(subcommand)]
    Audit(audit::Audit),
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print every value with where it came from; secrets are hidden
    Show(ConfigShow),
}

#[derive(Debug, Args)]
struct ConfigShow {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Where the server is and who asks.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// The server's address
    #[arg(long, env = "WEIGHHOUSE_URL", default_value = "http://127.0.0.1:8086")]
    url: String,
    /// The API token
    #[arg(long, env = "WEIGHHOUSE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// How much of a list to print, and how.
#[derive(Debug, Clone, Copy, Args)]
struct Listing {
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print every row
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Listing {
    fn wanted(self) -> Option<u64> {
        (!self.all).then_some(self.limit)
    }

    fn print<T: Serialize>(self, page: &Page<T>, table: impl Fn(&[T]) -> String) -> Result<ExitCode, CliError> {
        if self.json {
            return output::json(page);
        }
        output::text(&table(&page.items))?;
        if page.next.is_some() {
            output::note("there are more; --all prints them, --limit so many");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A path to files, for the offline verbs.
#[derive(Debug, Clone, Args)]
pub struct LocalPath {
    /// A file or a folder
    path: PathBuf,
}

/// Parses the command line and runs its verb.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.verb) {
        Ok(code) => code,
        Err(error) => {
            output::report(&error);
            error.exit_code()
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Serve(arguments) => serve::serve(&arguments),
        Verb::Worker(arguments) => serve::worker(&arguments),
        Verb::Migrate(arguments) => migrate::migrate(&arguments),
        Verb::Config(ConfigVerb::Show(show)) => show_config(&show),
        Verb::Openapi => output::json(&crate::openapi::document()),
        Verb::Push(push) => push.run(),
        Verb::Pull(pull) => pull.run(),
        Verb::Inspect(inspect) => inspect.run(),
        Verb::License(license) => license.run(),
        Verb::Verify(verify) => verify.run(),
        Verb::Sign(sign) => sign.run(),
        Verb::Conformance(conformance) => conformance.run(),
        Verb::Probe(probe) => probe.run(),
        Verb::Aibom(aibom) => aibom.run(),
        Verb::Report(report) => report.run(),
        Verb::Gate(gate) => gate.run(),
        Verb::Token(token) => token.run(),
        Verb::Model(model) => model.run(),
        Verb::Keys(keys) => keys.run(),
        Verb::Attestation(attestation) => attestation.run(),
        Verb::Trust(trust) => trust.run(),
        Verb::Audit(audit) => audit.run(),
    }
}

fn show_config(show: &ConfigShow) -> Result<ExitCode, CliError> {
    let loaded = Loaded::read(&show.config)?;
    if show.json {
        return output::json(&loaded.settings);
    }
    output::text(&render_text(&loaded.settings))?;
    Ok(ExitCode::SUCCESS)
}
