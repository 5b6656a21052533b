//! The texts that travel with models, as one text that is ready to ship.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use registry_core::{
    AttributionFile, LicenseReport, MAX_NOTICE_BYTES, NoticeText, ObligationStatus, ReportObligation, ReportRow,
};

/// Duties that a text in the bundle would fulfil.
const TEXT_DUTIES: [&str; 2] = ["LICENSE_COPY_MISSING", "NOTICE_MISSING"];
const RULE: &str = "================================================================================";

/// The whole bundle: models, texts (each once), and what is missing.
pub(super) fn write(report: &LicenseReport, texts: &BTreeMap<String, NoticeText>) -> String {
    let mut out =
        String::from("NOTICES\n\nThis text names the models of a release and holds their license texts and notices.\n");
    let date = report.as_of.as_ref().map(|as_of| format!(", as of {as_of}")).unwrap_or_default();
    let _ = writeln!(out, "It is about {}{date}.", report.scope);
    models(&mut out, report);
    bundle(&mut out, report, texts);
    missing(&mut out, report, texts);
    out
}

fn heading(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\n{RULE}\n{text}\n{RULE}\n");
}

fn models(out: &mut String, report: &LicenseReport) {
    heading(out, "Models");
    for row in &report.rows {
        let _ = writeln!(out, "\n{}\n  License: {}", row.model, row.license);
        if let Some(digest) = &row.content_digest {
            let _ = writeln!(out, "  Content: sha256:{digest}");
        }
        let others: Vec<&str> =
            row.effective_licenses.iter().map(String::as_str).filter(|id| *id != row.license).collect();
        if !others.is_empty() {
            let _ = writeln!(out, "  Terms of what it was made from: {}", others.join(", "));
        }
    }
}

/// Texts in the order in which models first carry them.
fn bundle(out: &mut String, report: &LicenseReport, texts: &BTreeMap<String, NoticeText>) {
    let mut carriers: BTreeMap<&str, Vec<(&ReportRow, &AttributionFile)>> = BTreeMap::new();
    let mut order = Vec::new();
    for row in &report.rows {
        for file in files(row) {
            let known = carriers.entry(file.sha256.as_str()).or_default();
            if known.is_empty() {
                order.push(file.sha256.as_str());
            }
            known.push((row, file));
        }
    }
    for digest in order {
        let Some(NoticeText::Text(text)) = texts.get(digest) else { continue };
        let named =
            carriers.get(digest).into_iter().flatten().map(|(row, file)| format!("{}: {}", row.model, file.path));
        heading(out, &named.collect::<Vec<_>>().join("\n"));
        let _ = writeln!(out, "\n{}", text.trim_end());
    }
}

fn files(row: &ReportRow) -> impl Iterator<Item = &AttributionFile> {
    row.attribution.license_texts.iter().chain(&row.attribution.notices)
}

fn missing(out: &mut String, report: &LicenseReport, texts: &BTreeMap<String, NoticeText>) {
    let lines: Vec<String> = report.rows.iter().flat_map(|row| missing_of(row, texts)).collect();
    if lines.is_empty() {
        return;
    }
    heading(out, "Missing: add these before you pass the models on");
    let _ = writeln!(out, "\n{}", lines.join("\n"));
}

fn open_text_duties(row: &ReportRow) -> impl Iterator<Item = &ReportObligation> {
    let open = row.obligations.iter().filter(|duty| duty.status == ObligationStatus::Open);
    open.filter(|duty| TEXT_DUTIES.contains(&duty.code.as_str()))
}

fn missing_of(row: &ReportRow, texts: &BTreeMap<String, NoticeText>) -> Vec<String> {
    let mut lines = Vec::new();
    let is_owed = open_text_duties(row).any(|duty| duty.code == TEXT_DUTIES[0] && duty.license == row.license);
    if row.attribution.license_text_missing && !is_owed {
        lines.push(format!("{}: the model's files hold no license text ({})", row.model, row.license));
    }
    for duty in open_text_duties(row) {
        lines.push(format!("{}: {} for {}: {}", row.model, duty.code, duty.license, duty.remedy));
    }
    for file in files(row) {
        let why = match texts.get(&file.sha256) {
            Some(NoticeText::Text(_)) => continue,
            Some(NoticeText::TooLong) => format!("longer than {MAX_NOTICE_BYTES} bytes"),
            Some(NoticeText::NotText) | None => "no UTF-8 text".to_owned(),
        };
        lines.push(format!("{}: {} ({}) is {why}; take it from the model", row.model, file.path, file.sha256));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::samples::{report, row, with_text};
    use super::*;

    #[test]
    fn identical_texts_appear_once_with_every_model() {
        let rows = vec![with_text(row("acme/one", 0), "LICENSE", "aa"), with_text(row("acme/two", 0), "COPYING", "aa")];
        let texts = BTreeMap::from([("aa".to_owned(), NoticeText::Text("The words.\n".into()))]);
        let text = write(&report(rows), &texts);
        assert_eq!(text.matches("The words.").count(), 1);
        assert!(text.contains("acme/one: LICENSE\nacme/two: COPYING\n"), "{text}");
        assert!(!text.contains("Missing"), "{text}");
    }

    #[test]
    fn missing_and_unusable_texts_are_listed() {
        let mut without = row("acme/bare", 0);
        without.attribution.license_text_missing = true;
        let long = with_text(row("acme/long", 0), "LICENSE", "bb");
        let text = write(&report(vec![without, long]), &BTreeMap::from([("bb".to_owned(), NoticeText::TooLong)]));
        assert!(text.contains("acme/bare: the model's files hold no license text"), "{text}");
        assert!(text.contains("acme/long: LICENSE (bb) is longer than"), "{text}");
    }
}
