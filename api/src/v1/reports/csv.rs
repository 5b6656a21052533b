//! A report for spreadsheets: one line for each model and obligation (RFC 4180).
//!
//! Names and words in a report come from strangers, and a spreadsheet computes cells that begin
//! like a formula. Such cells get an apostrophe in front, which spreadsheets take for "text".

use registry_core::{LicenseReport, ObligationEvidence, ReportObligation, ReportRow, ReportStatement};

use super::verdict_word;

const COLUMNS: [&str; 27] = [
    "as_of",
    "environment",
    "model",
    "kind",
    "commit",
    "content_digest",
    "license",
    "license_class",
    "files_verdict",
    "declared",
    "detected",
    "evidence",
    "concluded_by",
    "concluded_until",
    "openness",
    "mof_class",
    "decision",
    "decision_allowed",
    "decision_valid_until",
    "use_verdict",
    "conflicts",
    "license_text",
    "obligation",
    "obligation_license",
    "obligation_status",
    "obligation_shown_by",
    "obligation_remedy",
];

/// The whole file, with a header line.
pub(super) fn write(report: &LicenseReport) -> String {
    let mut out = String::new();
    line(&mut out, COLUMNS.into_iter().map(str::to_owned));
    for row in &report.rows {
        let of_model = model_cells(report, row);
        if row.obligations.is_empty() {
            line(&mut out, of_model.iter().cloned().chain(vec![String::new(); 5]));
        }
        for duty in &row.obligations {
            line(&mut out, of_model.iter().cloned().chain(duty_cells(duty)));
        }
    }
    out
}

fn model_cells(report: &LicenseReport, row: &ReportRow) -> Vec<String> {
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let (conclusion, openness, decision) = (row.conclusion.as_ref(), row.openness.as_ref(), row.decision.as_ref());
    vec![
        text(report.as_of.as_ref()),
        text(report.environment.as_ref()),
        row.model.clone(),
        row.kind.as_str().to_owned(),
        text(row.commit.as_ref()),
        text(row.content_digest.as_ref()),
        row.license.clone(),
        text(row.license_class.as_ref()),
        row.verdict.map(|verdict| verdict_word(verdict).to_owned()).unwrap_or_default(),
        statements(&row.declared),
        statements(&row.detected),
        text(row.evidence.as_ref()),
        conclusion.map(|found| found.recorded_by.clone()).unwrap_or_default(),
        text(conclusion.and_then(|found| found.expires_at.as_ref())),
        openness.map(|found| found.access_class.clone()).unwrap_or_default(),
        openness.map(|found| found.mof_class.to_string()).unwrap_or_default(),
        decision.map(|decision| decision.id.clone()).unwrap_or_default(),
        decision.map(|decision| (decision.allowed && !decision.ended).to_string()).unwrap_or_default(),
        text(decision.and_then(|decision| decision.valid_until.as_ref())),
        row.use_verdict.map(|verdict| verdict.as_str().to_owned()).unwrap_or_default(),
        row.conflicts
            .iter()
            .map(|found| format!("{}: {}", found.code, found.path.join(" < ")))
            .collect::<Vec<_>>()
            .join("; "),
        if row.attribution.license_text_missing { "missing".to_owned() } else { paths(row) },
    ]
}

fn statements(list: &[ReportStatement]) -> String {
    let words = list.iter().map(|found| format!("{} ({}, {})", found.expression, found.path, found.sha256));
    words.collect::<Vec<_>>().join("; ")
}

fn paths(row: &ReportRow) -> String {
    let files = row.attribution.license_texts.iter().map(|file| format!("{} ({})", file.path, file.sha256));
    files.collect::<Vec<_>>().join("; ")
}

fn duty_cells(duty: &ReportObligation) -> Vec<String> {
    let shown = duty.shown_by.iter().map(|evidence| match evidence {
        ObligationEvidence::Record { record, recorded_by, evidence } => {
            format!("record {record} by {recorded_by}: {evidence}")
        }
        ObligationEvidence::File { path, sha256 } => format!("file {path} ({sha256})"),
    });
    vec![
        duty.code.clone(),
        duty.license.clone(),
        duty.status.as_str().to_owned(),
        shown.collect::<Vec<_>>().join("; "),
        duty.remedy.clone(),
    ]
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (position, text) in cells.enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push_str(&cell(&text));
    }
    out.push_str("\r\n");
}

fn cell(text: &str) -> String {
    // Some spreadsheets skip spaces and control characters before they look for a formula.
    let first = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control()).chars().next();
    let guarded = match first {
        Some('=' | '+' | '-' | '@') => format!("'{text}"),
        _ => text.to_owned(),
    };
    if guarded.contains([',', '"', '\r', '\n']) || guarded.trim() != guarded {
        return format!("\"{}\"", guarded.replace('"', "\"\""));
    }
    guarded
}

#[cfg(test)]
mod tests {
    use super::super::samples::{report, row};
    use super::*;

    #[test]
    fn cells_that_begin_like_a_formula_are_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r\n=1"] {
            let cell = cell(formula);
            assert!(cell.trim_start_matches('"').starts_with('\''), "{cell:?}");
        }
        assert_eq!(cell("a-b"), "a-b");
        assert_eq!(cell(""), "");
    }

    #[test]
    fn cells_with_separators_are_quoted() {
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(cell("two\nlines"), "\"two\nlines\"");
    }

    #[test]
    fn every_obligation_has_a_line_and_a_model_without_any_has_one() {
        let text = write(&report(vec![row("acme/owes", 2), row("acme/free", 0)]));
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.matches(',').count() + 1 == COLUMNS.len()), "{text}");
        assert!(lines[1].contains("acme/owes") && lines[2].contains("acme/owes") && lines[3].contains("acme/free"));
    }
}
