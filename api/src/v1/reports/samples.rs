//! Small reports for tests of the renderers.

use registry_core::{
    Attribution, AttributionFile, LicenseReport, ModelKind, ObligationEvidence, ObligationStatus,
    REPORT_SCHEMA_VERSION, ReportObligation, ReportRow, ReportTotals,
};

pub(crate) fn report(rows: Vec<ReportRow>) -> LicenseReport {
    LicenseReport {
        schema_version: REPORT_SCHEMA_VERSION,
        as_of: Some("2026-06-30T23:59:59.999Z".into()),
        scope: "namespace acme".into(),
        environment: Some("production".into()),
        totals: ReportTotals { rows: rows.len(), ..ReportTotals::default() },
        rows,
    }
}

/// A row with so many obligations, every second one shown by a record.
pub(crate) fn row(model: &str, obligations: usize) -> ReportRow {
    ReportRow {
        model: model.into(),
        kind: ModelKind::Model,
        commit: None,
        content_digest: None,
        license: "MIT".into(),
        verdict: None,
        license_class: None,
        declared: Vec::new(),
        detected: Vec::new(),
        evidence: None,
        conclusion: None,
        open_conclusions: Vec::new(),
        openness: None,
        decision: None,
        use_verdict: None,
        effective_licenses: vec!["MIT".into()],
        obligations: (0..obligations).map(obligation).collect(),
        conflicts: Vec::new(),
        omitted_conflicts: 0,
        findings: Vec::new(),
        attribution: Attribution { license_texts: Vec::new(), notices: Vec::new(), license_text_missing: false },
        reads: None,
    }
}

fn obligation(number: usize) -> ReportObligation {
    let shown =
        ObligationEvidence::Record { record: "r1".into(), recorded_by: "ada".into(), evidence: "ticket".into() };
    let satisfied = number % 2 == 1;
    ReportObligation {
        code: format!("DUTY_{number}"),
        license: "MIT".into(),
        clause: "a clause".into(),
        remedy: "a remedy".into(),
        status: if satisfied { ObligationStatus::Satisfied } else { ObligationStatus::Open },
        shown_by: if satisfied { vec![shown] } else { Vec::new() },
    }
}

pub(crate) fn with_text(mut row: ReportRow, path: &str, sha256: &str) -> ReportRow {
    row.attribution.license_texts.push(AttributionFile { path: path.into(), sha256: sha256.into(), size: 10 });
    row
}
