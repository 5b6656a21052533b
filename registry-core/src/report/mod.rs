//! License compliance reports: what was known of each model's licenses on a date, and what is owed.
//!
//! A report is evidence in itself, so it has to come out the same whenever it is asked for again.
//! It reads only what is stored and never changes (names, ref movements, selections of evidence,
//! decisions, records), each as it was on the date, and judges nothing anew. The same date and
//! [`REPORT_SCHEMA_VERSION`] give the same bytes, for everyone who may see the same models.

mod local;
mod notices;
mod row;
mod stored;
mod subjects;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::evidence::LicenseVerdict;
use verifier::license::NO_ASSERTION;
use verifier::license::propagation::{self, Verdict};
use verifier::policy::Use;

pub use notices::{MAX_NOTICE_BYTES, MAX_NOTICES_BYTES, NoticeText};

use crate::access::Caller;
use crate::database::{now_ms, rfc3339};
use crate::error::{Error, Result};
use crate::identity::ModelName;
use crate::model::ModelKind;
use crate::registry::Registry;

/// Version of the report's contents: raised whenever the same evidence would give other bytes.
pub const REPORT_SCHEMA_VERSION: u32 = 1;
/// Most rows of a report; a wider scope has to be split.
pub const MAX_REPORT_ROWS: usize = 10_000;

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportScope {
    /// One model at a commit, branch or tag; at the head of its main branch where none is named.
    Model { name: ModelName, revision: Option<String> },
    /// Every model whose name was in the namespace.
    Namespace(String),
    /// Every model with a decision in the report's environment.
    Environment,
    /// What the tokens of one label read since a time, in milliseconds since 1970.
    TokenGroup { label: String, since: i64 },
}

impl ReportScope {
    /// The scope in words that do not change.
    fn text(&self, environment: &str) -> String {
        match self {
            Self::Model { name, revision: Some(revision) } => format!("model {name}@{revision}"),
            Self::Model { name, revision: None } => format!("model {name}"),
            Self::Namespace(namespace) => format!("namespace {namespace}"),
            Self::Environment => format!("environment {environment}"),
            Self::TokenGroup { label, since } => format!("token group {label} since {}", rfc3339(*since)),
        }
    }
}

/// What was known of the licenses of some models on a date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LicenseReport {
    pub schema_version: u32,
    /// RFC 3339; none for local files, which have no history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Such as `namespace acme`.
    pub scope: String,
    /// Whose decisions are shown; none for local files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    pub totals: ReportTotals,
    /// By name, then content digest.
    pub rows: Vec<ReportRow>,
}

/// Sums over the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportTotals {
    pub rows: usize,
    pub allowed: usize,
    pub denied: usize,
    /// Rows without a decision, or with one that had ended.
    pub undecided: usize,
    /// Rows whose license nobody could name.
    pub without_license: usize,
    pub open_obligations: usize,
    pub satisfied_obligations: usize,
    /// Findings along the lineage that deny the use or need a person.
    pub conflicts: usize,
}

/// One model's content in a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportRow {
    /// `namespace/name` on the date.
    pub model: String,
    pub kind: ModelKind,
    /// None where the model had no revision.
    pub commit: Option<String>,
    pub content_digest: Option<String>,
    /// SPDX expression that counted: a person's conclusion, else that of the files, else
    /// `NOASSERTION`.
    pub license: String,
    /// What the files came to; none until they were judged.
    pub verdict: Option<LicenseVerdict>,
    pub license_class: Option<String>,
    pub declared: Vec<ReportStatement>,
    pub detected: Vec<ReportStatement>,
    /// Key of the license evidence.
    pub evidence: Option<String>,
    /// What a person concluded, where that counted.
    pub conclusion: Option<ReportConclusion>,
    /// Conclusions that did not count: their facts had changed, or other people had to agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_conclusions: Vec<OpenConclusion>,
    /// As the files alone place it; none until they were judged.
    pub openness: Option<ReportOpenness>,
    pub decision: Option<ReportDecision>,
    /// What the licenses of everything the model was made from mean for the decision's use.
    pub use_verdict: Option<Verdict>,
    pub effective_licenses: Vec<String>,
    pub obligations: Vec<ReportObligation>,
    /// Along the lineage, with path and clause; duties stand among the obligations.
    pub conflicts: Vec<propagation::Finding>,
    /// Findings about ancestors beyond those kept.
    pub omitted_conflicts: usize,
    /// What was odd about the files' statements.
    pub findings: Vec<verifier::evidence::Finding>,
    pub attribution: Attribution,
    /// Present where the report is about what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<ReportReads>,
}

/// A statement about a license and the file it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportStatement {
    pub path: String,
    /// Hex SHA-256 of the file.
    pub sha256: String,
    pub text: String,
    pub expression: String,
    /// How surely a text names the license; none for declarations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_kind: Option<verifier::evidence::MatchKind>,
}

/// What a person concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportConclusion {
    pub expression: String,
    /// Id of its record.
    pub record: String,
    pub reason: String,
    pub recorded_by: String,
    /// Others who agreed, sorted.
    pub approved_by: Vec<String>,
    /// RFC 3339.
    pub recorded_at: String,
    /// RFC 3339; none without an end.
    pub expires_at: Option<String>,
}

/// A conclusion that a person has to look at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenConclusion {
    pub expression: String,
    pub record: String,
    pub recorded_by: String,
    /// Whether the facts it was made from had changed; else it waited for approval or for the gate.
    pub facts_changed: bool,
}

/// Where the model stood on the openness spectrum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportOpenness {
    pub access_class: String,
    /// Model Openness Framework class 1 to 3; 0 when unclassified.
    pub mof_class: u8,
    pub mof_next_gap: Vec<String>,
}

/// What the gate had answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportDecision {
    pub id: String,
    pub allowed: bool,
    /// RFC 3339.
    pub decided_at: String,
    /// RFC 3339.
    pub valid_until: Option<String>,
    /// Whether it had ended by the report's date.
    pub ended: bool,
    pub r#use: Use,
    pub policy_digest: String,
    /// Codes of the reasons against the use, sorted.
    pub reasons: Vec<String>,
}

/// Whether a duty was shown as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObligationStatus {
    Open,
    Satisfied,
}

impl ObligationStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Satisfied => "satisfied",
        }
    }
}

/// A duty of the use, and what showed it as done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportObligation {
    pub code: String,
    pub license: String,
    pub clause: String,
    pub remedy: String,
    pub status: ObligationStatus,
    /// Empty while it is open.
    pub shown_by: Vec<ObligationEvidence>,
}

/// What shows a duty as done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ObligationEvidence {
    /// Somebody recorded it.
    Record { record: String, recorded_by: String, evidence: String },
    /// The model's own file is it.
    File { path: String, sha256: String },
}

/// What has to travel with the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attribution {
    /// The model's own license texts.
    pub license_texts: Vec<AttributionFile>,
    pub notices: Vec<AttributionFile>,
    /// Whether the model has files and no license text among them.
    pub license_text_missing: bool,
}

/// A file that has to travel with the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttributionFile {
    pub path: String,
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
}

/// How often the content was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportReads {
    /// Requests that were allowed.
    pub number: u64,
    /// RFC 3339.
    pub first: String,
    /// RFC 3339.
    pub last: String,
}

impl Registry {
    /// What was known of the licenses in `scope` at `as_of`, in milliseconds since 1970.
    ///
    /// Rows are those of models that the caller may see now; what a token group read is for site
    /// administrators.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a time to come or an environment that never was,
    /// [`Error::NotFound`] for a model or revision that was not there, and [`Error::TooLarge`]
    /// beyond [`MAX_REPORT_ROWS`].
    pub async fn license_report(
        &self,
        caller: &Caller,
        scope: &ReportScope,
        environment: &str,
        as_of: i64,
    ) -> Result<LicenseReport> {
        if as_of > now_ms() {
            return Err(Error::invalid("as_of", "lies in the future"));
        }
        self.check_reported_environment(environment).await?;
        let mut rows = Vec::new();
        for subject in self.report_subjects(caller, scope, environment, as_of).await? {
            rows.push(self.report_row(subject, environment, as_of).await?);
        }
        rows.sort_by(|left, right| (&left.model, &left.content_digest).cmp(&(&right.model, &right.content_digest)));
        Ok(LicenseReport {
            schema_version: REPORT_SCHEMA_VERSION,
            as_of: Some(rfc3339(as_of)),
            scope: scope.text(environment),
            environment: Some(environment.to_owned()),
            totals: ReportTotals::of(&rows),
            rows,
        })
    }
}

impl ReportTotals {
    fn of(rows: &[ReportRow]) -> Self {
        let mut totals = Self { rows: rows.len(), ..Self::default() };
        for row in rows {
            match row.decision.as_ref().filter(|decision| !decision.ended) {
                Some(decision) if decision.allowed => totals.allowed += 1,
                Some(_) => totals.denied += 1,
                None => totals.undecided += 1,
            }
            totals.without_license += usize::from(row.license == NO_ASSERTION);
            let open = row.obligations.iter().filter(|duty| duty.status == ObligationStatus::Open).count();
            totals.open_obligations += open;
            totals.satisfied_obligations += row.obligations.len() - open;
            totals.conflicts += row.conflicts.iter().filter(|found| row::is_conflict(found)).count();
        }
        totals
    }
}
