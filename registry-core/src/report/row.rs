//! One row, from what was known: pure, so that local files get the same report as stored ones.

use verifier::evidence::{LicenseFacts, LicenseStatement};
use verifier::license::NO_ASSERTION;
use verifier::license::propagation::{Assessment, Finding, Obligation, Weight};
use verifier::license::record::{Body, Record};

use super::{
    Attribution, AttributionFile, ObligationEvidence, ObligationStatus, OpenConclusion, ReportConclusion,
    ReportDecision, ReportObligation, ReportOpenness, ReportRow, ReportStatement,
};
use crate::database::rfc3339;
use crate::gate::Decision;
use crate::identity::FileSpec;
use crate::license::duty_shown_by;
use crate::model::ModelKind;

/// The duty to hand over the license's text.
const LICENSE_COPY: &str = "LICENSE_COPY_MISSING";

/// What was known about one content.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The report's date, in milliseconds since 1970.
    pub(super) at: i64,
    /// Key of the license evidence.
    pub(super) evidence: Option<String>,
    pub(super) facts: Option<LicenseFacts>,
    /// Digest of what conclusions are made from; empty where nothing depends on it.
    pub(super) facts_digest: String,
    /// Made by the date, oldest first.
    pub(super) records: Vec<Record>,
    pub(super) decision: Option<Decision>,
    pub(super) decision_ended: bool,
    pub(super) assessment: Option<Assessment>,
}

impl Known {
    fn counting(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.counts_at(self.at))
    }

    fn current(&self) -> impl Iterator<Item = &Record> {
        self.counting().filter(|record| record.facts_digest == self.facts_digest)
    }

    /// Whether a decision was made from what counts now: the same conclusion, the same duties done.
    pub(super) fn agrees_with(&self, decision: &Decision) -> bool {
        let counts = |id: &str| self.current().any(|record| record.id == id);
        let duties = decision.license_assessment.iter().flat_map(|assessment| &assessment.obligations);
        decision.license_conclusion.as_ref().is_none_or(|counted| counts(&counted.record))
            && duties.into_iter().all(|duty| {
                duty.satisfied == (recorded(self, duty).next().is_some() || shown_by_files(self, duty).next().is_some())
            })
    }
}

/// A row without commit, digest and reads.
pub(super) fn assemble(model: String, kind: ModelKind, files: &[FileSpec], known: Known) -> ReportRow {
    let conclusion = conclusion(&known);
    let license = license(&known, conclusion.as_ref());
    let attribution = attribution(files);
    let facts = known.facts.as_ref();
    let assessment = known.assessment.as_ref();
    let statements = |list: &[LicenseStatement]| list.iter().map(statement).collect();
    ReportRow {
        model,
        kind,
        commit: None,
        content_digest: None,
        verdict: facts.map(|facts| facts.verdict),
        license_class: facts.and_then(|facts| facts.license_class.clone()),
        declared: facts.map(|facts| statements(&facts.declared)).unwrap_or_default(),
        detected: facts.map(|facts| statements(&facts.detected)).unwrap_or_default(),
        open_conclusions: open_conclusions(&known, conclusion.as_ref()),
        openness: facts.map(openness),
        decision: known.decision.as_ref().map(|decision| stored_decision(decision, known.decision_ended)),
        use_verdict: assessment.map(|assessment| assessment.verdict),
        effective_licenses: assessment.map(|found| found.effective_licenses.clone()).unwrap_or_default(),
        obligations: obligations(&known, &license, &attribution),
        conflicts: assessment.map(conflicts).unwrap_or_default(),
        omitted_conflicts: assessment.map_or(0, |assessment| assessment.omitted_findings),
        findings: facts.map(|facts| facts.findings.clone()).unwrap_or_default(),
        evidence: known.evidence,
        license,
        conclusion,
        attribution,
        reads: None,
    }
}

/// Whether a finding along the lineage stands against the use.
pub(super) fn is_conflict(finding: &Finding) -> bool {
    finding.severity >= Weight::Review
}

fn license(known: &Known, conclusion: Option<&ReportConclusion>) -> String {
    let of_files = known.facts.as_ref().map(|facts| facts.concluded.clone());
    conclusion.map(|found| found.expression.clone()).or(of_files).unwrap_or_else(|| NO_ASSERTION.to_owned())
}

fn statement(statement: &LicenseStatement) -> ReportStatement {
    ReportStatement {
        path: statement.path.clone(),
        sha256: statement.digest.clone(),
        text: statement.text.clone(),
        expression: statement.expression.clone(),
        match_kind: statement.match_kind,
    }
}

fn openness(facts: &LicenseFacts) -> ReportOpenness {
    ReportOpenness {
        access_class: facts.openness.access_class.clone(),
        mof_class: facts.openness.mof_class,
        mof_next_gap: facts.openness.mof_next_gap.clone(),
    }
}

/// The conclusion that the gate had counted, while its record still held. How many people an
/// environment wants is the policy's business: the decision remembers what that came to.
fn conclusion(known: &Known) -> Option<ReportConclusion> {
    let counted = known.decision.as_ref()?.license_conclusion.as_ref()?;
    let record = known.current().find(|record| record.id == counted.record)?;
    let Body::Conclusion { expression, reason } = &record.body else { return None };
    let mut approved_by: Vec<String> = known
        .current()
        .filter(|other| matches!(&other.body, Body::Approval { of, .. } if *of == record.id))
        .map(|other| other.recorded_by.clone())
        .filter(|person| *person != record.recorded_by)
        .collect();
    approved_by.sort_unstable();
    approved_by.dedup();
    Some(ReportConclusion {
        expression: expression.clone(),
        record: record.id.clone(),
        reason: reason.clone(),
        recorded_by: record.recorded_by.clone(),
        approved_by,
        recorded_at: rfc3339(record.recorded_at),
        expires_at: record.expires_at.map(rfc3339),
    })
}

fn open_conclusions(known: &Known, counted: Option<&ReportConclusion>) -> Vec<OpenConclusion> {
    let open = |record: &Record| {
        let Body::Conclusion { expression, .. } = &record.body else { return None };
        Some(OpenConclusion {
            expression: expression.clone(),
            record: record.id.clone(),
            recorded_by: record.recorded_by.clone(),
            facts_changed: record.facts_digest != known.facts_digest,
        })
    };
    let is_other = |record: &&Record| counted.is_none_or(|counted| counted.record < record.id);
    known.counting().filter(is_other).filter_map(open).collect()
}

fn stored_decision(decision: &Decision, ended: bool) -> ReportDecision {
    let mut reasons: Vec<String> = decision.reasons.iter().map(|reason| reason.code.clone()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    ReportDecision {
        id: decision.id.clone(),
        allowed: decision.allowed,
        decided_at: decision.decided_at.clone(),
        valid_until: decision.valid_until.clone(),
        ended,
        r#use: decision.r#use.clone(),
        policy_digest: decision.policy_digest.clone(),
        reasons,
    }
}

/// What stands against the use; duties are listed as obligations.
fn conflicts(assessment: &Assessment) -> Vec<Finding> {
    assessment.findings.iter().filter(|finding| finding.severity != Weight::Obligation).cloned().collect()
}

/// The duties of the use. A license that travels without its text owes it, whatever the use.
fn obligations(known: &Known, license: &str, attribution: &Attribution) -> Vec<ReportObligation> {
    let asked = known.assessment.as_ref().map(|assessment| assessment.obligations.as_slice()).unwrap_or_default();
    let mut obligations: Vec<ReportObligation> = asked.iter().map(|duty| obligation(known, duty)).collect();
    let is_asked = asked.iter().any(|duty| duty.code == LICENSE_COPY && duty.license == license);
    if attribution.license_text_missing && license != NO_ASSERTION && !is_asked {
        obligations.push(obligation(known, &missing_text(license)));
    }
    obligations
}

fn missing_text(license: &str) -> Obligation {
    Obligation {
        code: LICENSE_COPY.to_owned(),
        license: license.to_owned(),
        clause: "the license's text belongs to every copy that is passed on, and the model has none".to_owned(),
        remedy: "add the publisher's LICENSE file".to_owned(),
        satisfied: false,
    }
}

fn obligation(known: &Known, duty: &Obligation) -> ReportObligation {
    let shown_by: Vec<ObligationEvidence> = recorded(known, duty).chain(shown_by_files(known, duty)).collect();
    ReportObligation {
        code: duty.code.clone(),
        license: duty.license.clone(),
        clause: duty.clause.clone(),
        remedy: duty.remedy.clone(),
        status: if shown_by.is_empty() { ObligationStatus::Open } else { ObligationStatus::Satisfied },
        shown_by,
    }
}

fn recorded(known: &Known, duty: &Obligation) -> impl Iterator<Item = ObligationEvidence> {
    known.current().filter_map(|record| {
        let Body::Obligation { code, license, evidence } = &record.body else { return None };
        let shows = *code == duty.code && license.as_ref().is_none_or(|license| *license == duty.license);
        shows.then(|| ObligationEvidence::Record {
            record: record.id.clone(),
            recorded_by: record.recorded_by.clone(),
            evidence: evidence.clone(),
        })
    })
}

/// The files that are what the duty asks for.
fn shown_by_files(known: &Known, duty: &Obligation) -> impl Iterator<Item = ObligationEvidence> {
    let statements = known.facts.iter().flat_map(|facts| facts.detected.iter().chain(&facts.declared));
    let shows = |statement: &&LicenseStatement| {
        statement.expression == duty.license && duty_shown_by(statement) == Some(duty.code.as_str())
    };
    let file = |statement: &LicenseStatement| ObligationEvidence::File {
        path: statement.path.clone(),
        sha256: statement.digest.clone(),
    };
    statements.filter(shows).map(file)
}

fn attribution(files: &[FileSpec]) -> Attribution {
    let named = |stems: &[&str]| -> Vec<AttributionFile> {
        files.iter().filter(|file| is_named(&file.path, stems)).map(attribution_file).collect()
    };
    let license_texts = named(&["license", "licence", "copying", "unlicense"]);
    Attribution {
        license_text_missing: !files.is_empty() && license_texts.is_empty(),
        notices: named(&["notice"]),
        license_texts,
    }
}

/// Whether the file's own name begins with one of the stems. Folders count: what was vendored
/// travels with the model, and its texts with it.
fn is_named(path: &str, stems: &[&str]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    stems.iter().any(|stem| name.starts_with(stem))
}

fn attribution_file(file: &FileSpec) -> AttributionFile {
    AttributionFile { path: file.path.clone(), sha256: file.sha256.to_string(), size: file.size }
}
