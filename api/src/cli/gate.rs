//! `gate`: may this be used there, and if not, what would make it pass?
//!
//! Made for pipelines: 0 says yes, 1 says no, and 2 says that there is no answer, which a
//! pipeline must not take for either.

mod formats;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use globset::GlobSet;
use registry_core::{Sha256Digest, content_digest};
use serde::Serialize;
use verifier::policy::Use;

use super::client::Client;
use super::layout::Sheet;
use super::output::{self, CliError, note};
use super::summary;
use super::target::Target;
use super::verdict::Verdict;
use super::{Remote, folder};
use crate::v1::wire::{GateAnswer, GateRequest};

const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Gate {
    /// A model, the SHA-256 of a content digest, or a local file or folder (as ./PATH where it
    /// could be a model's name); content is judged in every model that holds it
    #[arg(value_name = "NAMESPACE/NAME[@REVISION] | sha256:HEX | PATH")]
    subject: Subject,
    /// Where it shall be used, such as `production`
    #[arg(long, value_name = "NAME")]
    environment: String,
    /// A fact about the use, such as `commercial=true`; may be repeated
    #[arg(long = "use", value_name = "KEY=VALUE")]
    uses: Vec<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Ask again for so long while evidence is on its way
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    wait: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for test reports
    Junit,
}

/// What the question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Model(Target),
    Content(Sha256Digest),
    Local(PathBuf),
}

impl FromStr for Subject {
    type Err = CliError;

    /// A model's name is never taken for a path, so that a folder that happens to lie around
    /// does not change what a pipeline asks.
    fn from_str(text: &str) -> Result<Self, CliError> {
        if let Some(digest) = text.strip_prefix("sha256:") {
            return Ok(Self::Content(digest.parse()?));
        }
        match text.parse() {
            Ok(target) => Ok(Self::Model(target)),
            Err(_) if Path::new(text).exists() => Ok(Self::Local(text.into())),
            Err(error) => Err(CliError::Usage(format!("{text:?} is neither a model, a digest nor a file ({error})"))),
        }
    }
}

/// The answer as `--json` prints it.
#[derive(Debug, Serialize)]
struct Document<'a> {
    verdict: Verdict,
    #[serde(flatten)]
    answer: &'a GateAnswer,
}

impl Gate {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        let question = self.question()?;
        let answer = super::serve::runtime()?.block_on(self.ask(&client, &question))?;
        let verdict = Verdict::of(&answer);
        match if self.json { Format::Json } else { self.format } {
            Format::Text => output::text(&render_text(&answer))?,
            Format::Json => output::json(&Document { verdict, answer: &answer }).map(drop)?,
            Format::Sarif => output::json(&formats::sarif(&answer)).map(drop)?,
            Format::Junit => output::text(&formats::junit(&answer))?,
        }
        Ok(verdict.exit_code())
    }

    fn question(&self) -> Result<GateRequest, CliError> {
        let mut stated = Use::default();
        for fact in &self.uses {
            stated.insert(fact).map_err(|error| CliError::Usage(error.to_string()))?;
        }
        let (model, content_digest) = match &self.subject {
            Subject::Model(target) => (Some(target.to_string()), None),
            Subject::Content(digest) => (None, Some(digest.to_string())),
            Subject::Local(path) => (None, Some(digest_of(path)?.to_string())),
        };
        Ok(GateRequest { model, content_digest, environment: Some(self.environment.clone()), r#use: stated })
    }

    async fn ask(&self, client: &Client, question: &GateRequest) -> Result<GateAnswer, CliError> {
        let limit = Instant::now() + Duration::from_secs(self.wait);
        loop {
            let answer: GateAnswer = client.post(&["gate"], question).await?;
            if Verdict::of(&answer) != Verdict::Undecided || Instant::now() >= limit {
                return Ok(answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn digest_of(path: &Path) -> Result<Sha256Digest, CliError> {
    let files = folder::walk(path, &GlobSet::empty())?;
    let digest = content_digest(&folder::specify(&files)?);
    note(&format!("content digest of {}: {digest}", path.display()));
    Ok(digest)
}

fn render_text(answer: &GateAnswer) -> String {
    let mut sheet = Sheet::default();
    for decision in &answer.decisions {
        sheet.heading(&decision.model);
        let uses: Vec<String> = decision.r#use.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        sheet.row("content digest", &decision.content_digest);
        sheet.row("use", &uses.join(", "));
        sheet.optional_row("valid until", decision.valid_until.as_deref());
    }
    sheet.heading(&format!("{} in {}", Verdict::of(answer).as_str(), answer.environment));
    summary::decision_rows(&mut sheet, answer);
    sheet.into_text()
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::{answer, decision, reason};
    use super::*;

    #[test]
    fn subject_is_a_digest_a_model_or_what_lies_at_a_path() {
        let digest = "0".repeat(64);
        assert_eq!(format!("sha256:{digest}").parse::<Subject>().unwrap(), Subject::Content(digest.parse().unwrap()));
        assert!(matches!("a/b@v1".parse::<Subject>().unwrap(), Subject::Model(_)));
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(path.parse::<Subject>().unwrap(), Subject::Local(path.into()));
        for wrong in ["sha256:00", "nothing here", "./not-there"] {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_tells_reasons_and_what_would_make_it_pass() {
        let denied = answer(vec![decision("a/b", vec![reason("RECALLED", None)])]);
        let text = render_text(&denied);
        for part in [
            "denied in production",
            "RECALLED: message of RECALLED",
            "Remedy: remedy of RECALLED This alone is enough.",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let allowed = render_text(&answer(vec![decision("a/b", Vec::new())]));
        assert!(allowed.contains("allowed in production"), "{allowed}");
    }

    #[test]
    fn every_model_of_a_digest_is_listed() {
        let text =
            render_text(&answer(vec![decision("a/b", vec![reason("RECALLED", None)]), decision("c/d", Vec::new())]));
        assert!(text.contains("a/b: denied") && text.contains("c/d: allowed"), "{text}");
    }
}
