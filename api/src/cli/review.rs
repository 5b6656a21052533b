//! What people conclude and record about the licenses of models on a server.

use std::process::ExitCode;

use clap::Args;
use registry_core::{LicenseRecord, LicenseView, now_ms};
use serde::Serialize;
use verifier::evidence::Relation;
use verifier::license::record::Body;

use super::Remote;
use super::client::Client;
use super::layout::{Sheet, table};
use super::output::{self, CliError};
use super::summary::word;
use super::target::{Target, model_path};
use crate::v1::license::MakeRecord;

/// A model on a server.
#[derive(Debug, Args)]
struct OnServer {
    #[arg(value_name = "NAMESPACE/NAME[@REVISION]")]
    model: Target,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct View {
    #[command(flatten)]
    on: OnServer,
    /// Whose conclusions and use count [default: your own]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// A fact about the use, such as `commercial=true`; may be repeated
    #[arg(long = "use", value_name = "KEY=VALUE")]
    uses: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Conclude {
    #[command(flatten)]
    on: OnServer,
    /// SPDX expression or LicenseRef-… that applies
    expression: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// Days until the question is open again
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    #[command(flatten)]
    on: OnServer,
    /// Id of the conclusion's record
    record: String,
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Done {
    #[command(flatten)]
    on: OnServer,
    /// The duty, such as BADGE_REQUIRED
    code: String,
    /// Where it can be seen: a page, a file, a ticket
    #[arg(long)]
    evidence: String,
    /// The license that asks for it [default: every one that does]
    #[arg(long)]
    license: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Component {
    #[command(flatten)]
    on: OnServer,
    /// Name in the Model Openness Framework's vocabulary, such as `training_code`
    #[arg(value_name = "COMPONENT")]
    named: String,
    /// Where it is published
    #[arg(long)]
    location: String,
    #[arg(long)]
    license: Option<String>,
    /// SHA-256 of what was found there
    #[arg(long)]
    sha256: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Parent {
    #[command(flatten)]
    on: OnServer,
    /// What the model was made from
    #[arg(value_name = "NAMESPACE/NAME")]
    made_from: String,
    /// finetune, adapter, quantized, merge, distilled or trained-on-outputs
    #[arg(long, value_parser = relation)]
    relation: Relation,
}

#[derive(Debug, Args)]
pub(super) struct End {
    #[command(flatten)]
    on: OnServer,
    /// Id of the record
    record: String,
}

fn relation(word: &str) -> Result<Relation, String> {
    Relation::parse(word).ok_or_else(|| "is not a relation".to_owned())
}

impl OnServer {
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let revision = ["revisions", self.model.revision(), "license"];
        model_path(&self.model.model, &[&revision, rest].concat())
    }

    fn record(&self, body: Body, expires_in_days: Option<u64>) -> Result<ExitCode, CliError> {
        let made: LicenseRecord = super::serve::runtime()?.block_on(async {
            let client = Client::new(&self.remote)?;
            client.create(&self.path(&["records"]), &MakeRecord { body, expires_in_days }).await
        })?;
        if self.json {
            return output::json(&made);
        }
        output::text(&format!("recorded {} {}\n", made.body.kind(), made.id))?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Serialize)]
struct Query<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    r#use: String,
}

impl View {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let query = Query { environment: self.environment.as_deref(), r#use: self.uses.join(",") };
        let view: LicenseView = super::serve::runtime()?
            .block_on(async { Client::new(&self.on.remote)?.get_with(&self.on.path(&[]), &query).await })?;
        if self.on.json {
            return output::json(&view);
        }
        output::text(&view_text(&view))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn view_text(view: &LicenseView) -> String {
    let mut sheet = Sheet::default();
    sheet.heading(&format!("What follows from its licenses in {}", view.environment));
    sheet.row("for this use", &view.assessment.verdict.as_str().replace('-', " "));
    sheet.row("licenses", &view.assessment.effective_licenses.join(", "));
    sheet.optional_row("concluded", view.conclusion.as_ref().map(|found| found.expression.as_str()));
    sheet.row("openness", &view.openness.access_class);
    for id in &view.awaiting_approval {
        sheet.row("to be approved", id);
    }
    for id in &view.reopened {
        sheet.row("open again", id);
    }
    for finding in &view.assessment.findings {
        sheet.row(&word(&finding.severity), &format!("{} {}: {}", finding.code, finding.license, finding.clause));
        sheet.note(&format!("by {}", finding.path.join(" <- ")));
    }
    let records: Vec<Vec<String>> = view.records.iter().map(record_row).collect();
    if records.is_empty() {
        return sheet.into_text();
    }
    let records = table(&["RECORD", "KIND", "BY", "COUNTS"], &records);
    format!("{}\n{records}", sheet.into_text())
}

fn record_row(record: &LicenseRecord) -> Vec<String> {
    let expired = record.expires_at.as_ref().is_some_and(|end| *end <= registry_core::rfc3339(now_ms()));
    let counts = record.ended_at.is_none() && record.facts_unchanged && !expired;
    let counts = if counts { "yes" } else { "no" };
    vec![record.id.clone(), record.body.kind().to_owned(), record.recorded_by.clone(), counts.to_owned()]
}

impl Conclude {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let body = Body::Conclusion { expression: self.expression.clone(), reason: self.reason.clone() };
        self.on.record(body, self.expires_in_days)
    }
}

impl Approve {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        self.on.record(Body::Approval { of: self.record.clone(), reason: self.reason.clone() }, None)
    }
}

impl Done {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let (code, license, evidence) = (self.code.clone(), self.license.clone(), self.evidence.clone());
        self.on.record(Body::Obligation { code, license, evidence }, None)
    }
}

impl Component {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let body = Body::Component {
            component: self.named.clone(),
            license: self.license.clone(),
            location: self.location.clone(),
            sha256: self.sha256.clone(),
        };
        self.on.record(body, None)
    }
}

impl Parent {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        self.on.record(Body::Lineage { parent: self.made_from.clone(), relation: self.relation }, None)
    }
}

impl End {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        super::serve::runtime()?.block_on(async {
            Client::new(&self.on.remote)?.delete(&self.on.path(&["records", &self.record])).await
        })?;
        output::text(&format!("ended {}\n", self.record))?;
        Ok(ExitCode::SUCCESS)
    }
}
