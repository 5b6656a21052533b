//! License reports: the form that asks for one, and the document.
//!
//! The document leaves this server: it is mailed, archived and printed. It loads nothing from
//! anywhere, says everything in words and shows no time but that of its facts.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use registry_core::{
    AttributionFile, Caller, LicenseReport, ObligationEvidence, ReportDecision, ReportObligation, ReportRow,
    ReportStatement, ReportTotals,
};
use sha2::{Digest, Sha256};
use verifier::evidence::Finding;
use verifier::license::propagation;

use super::components::{sentence, things};
use super::layout::{self, Frame};
use super::{PageAnswer, or_dash, page};
use crate::server::State;
use crate::server::access::Actor;
use crate::v1::reports::{ReportParams, answer, verdict_word};

const STYLE: &str = include_str!("report.css");

/// The form, or the report that the address asks for.
pub(super) async fn show(state: web::Data<State>, Actor(caller): Actor, query: web::Query<ReportParams>) -> PageAnswer {
    let params = query.into_inner().filled();
    if params.has_scope() {
        return Ok(answer(&state.registry, &caller, &params).await?);
    }
    let content = form(&caller, &state.registry.environments());
    let frame = Frame { title: "License report", caller: Some(&caller), refresh: false };
    Ok(page(StatusCode::OK, layout::document(&frame, &content)))
}

fn form(caller: &Caller, environments: &[String]) -> Markup {
    html! {
        h1 { "License report" }
        p { "What was known of licenses on a date, and what is owed. The same date gives the same report whenever you ask." }
        form.card method="get" action="/reports" {
            p { "Fill in one of the first three, or none for every model of the environment." }
            (text_field("model", "Model", "namespace/name or namespace/name@revision"))
            (text_field("namespace", "Namespace", "acme"))
            @if caller.is_site_admin() {
                (text_field("token_group", "Read by tokens with the label", "ci"))
                (text_field("since", "Read since", "2026-01-01"))
            }
            label for="environment" { "Environment whose decisions are shown" }
            select #environment name="environment" {
                @for name in environments { option value=(name) selected[name == caller.environment()] { (name) } }
            }
            (text_field("as_of", "Date (now when empty)", "2026-06-30"))
            label for="format" { "Format" }
            select #format name="format" {
                option value="html" { "Page to read and print" }
                option value="csv" { "CSV for spreadsheets" }
                option value="json" { "JSON for programs" }
                option value="notices" { "License texts and notices to ship" }
            }
            button type="submit" { "Make the report" }
        }
    }
}

fn text_field(name: &str, label: &str, example: &str) -> Markup {
    html! {
        label for=(name) { (label) }
        input #(name) name=(name) placeholder=(example) autocomplete="off";
    }
}

/// The document as an answer. Its policy allows the one style in it and nothing to load.
pub(crate) fn standalone(report: &LicenseReport) -> HttpResponse {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'");
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(document(report).into_string())
}

/// The whole document.
pub(crate) fn document(report: &LicenseReport) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "License report: " (report.scope) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "License report" }
                (heading(report))
                (totals(&report.totals))
                (overview(report))
                @for (position, row) in report.rows.iter().enumerate() { (model(position, row)) }
            }
        }
    }
}

fn heading(report: &LicenseReport) -> Markup {
    html! {
        dl {
            dt { "About" } dd { (report.scope) }
            @if let Some(as_of) = &report.as_of { dt { "As of" } dd { (as_of) } }
            @if let Some(environment) = &report.environment { dt { "Decisions of" } dd { (environment) } }
            dt { "Report schema" } dd { (report.schema_version) }
        }
    }
}

fn totals(totals: &ReportTotals) -> Markup {
    html! {
        p {
            (things(totals.rows, "model")) ": " (totals.allowed) " allowed, " (totals.denied) " denied, "
            (totals.undecided) " without a decision. " (things(totals.open_obligations, "obligation")) " open, "
            (totals.satisfied_obligations) " satisfied. " (things(totals.conflicts, "conflict")) " along the lineage. "
            (totals.without_license) " without a known license."
        }
    }
}

fn overview(report: &LicenseReport) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Model" } th scope="col" { "License" } th scope="col" { "Openness" }
                th scope="col" { "Use" } th scope="col" { "Gate" } th scope="col" { "Open obligations" }
            } }
            tbody {
                @for (position, row) in report.rows.iter().enumerate() {
                    tr {
                        th scope="row" { a href={ "#m" (position) } { (row.model) } }
                        td { (row.license) }
                        td { (or_dash(row.openness.as_ref().map(|found| found.access_class.as_str()))) }
                        td { (or_dash(row.use_verdict.map(propagation::Verdict::as_str))) }
                        td { (gate_word(row.decision.as_ref())) }
                        td { (row.obligations.iter().filter(|duty| duty.shown_by.is_empty()).count()) }
                    }
                }
            }
        }
    }
}

fn gate_word(decision: Option<&ReportDecision>) -> &'static str {
    match decision {
        None => "not decided",
        Some(decision) if decision.ended => "decision ended",
        Some(decision) if decision.allowed => "allowed",
        Some(_) => "denied",
    }
}

fn model(position: usize, row: &ReportRow) -> Markup {
    html! {
        section #{ "m" (position) } {
            h2 { (row.model) }
            (identity(row))
            (conclusion(row))
            (statements("Declared", &row.declared))
            (statements("Detected in texts", &row.detected))
            (findings(&row.findings))
            (conflicts(row))
            (obligations(&row.obligations))
            (attribution(row))
        }
    }
}

fn identity(row: &ReportRow) -> Markup {
    html! {
        dl {
            dt { "Content" } dd { (digest(row.content_digest.as_deref())) }
            dt { "Commit" } dd { (digest(row.commit.as_deref())) }
            dt { "License" } dd { strong { (row.license) } @if let Some(class) = &row.license_class { " (" (class) ")" } }
            @if let Some(verdict) = row.verdict { dt { "Files say" } dd { (verdict_word(verdict)) } }
            @if !row.effective_licenses.is_empty() { dt { "Terms that reach it" } dd { (row.effective_licenses.join(", ")) } }
            @if let Some(openness) = &row.openness {
                dt { "Openness" }
                dd {
                    (openness.access_class) ", "
                    @if openness.mof_class == 0 { "no MOF class" } @else { "MOF class " (openness.mof_class) }
                    @if !openness.mof_next_gap.is_empty() { span.quiet { " (missing for the next: " (openness.mof_next_gap.join(", ")) ")" } }
                }
            }
            dt { "Use" } dd { (or_dash(row.use_verdict.map(propagation::Verdict::as_str))) }
            dt { "Gate" } dd { (gate(row.decision.as_ref())) }
            @if let Some(key) = &row.evidence { dt { "Evidence" } dd { (digest(Some(key))) } }
            @if let Some(reads) = &row.reads {
                dt { "Read" } dd { (reads.number) " times, first " (reads.first) ", last " (reads.last) }
            }
        }
    }
}

fn digest(text: Option<&str>) -> Markup {
    html! { @match text { Some(text) => code.digest { (text) }, None => span.quiet { "–" } } }
}

fn gate(decision: Option<&ReportDecision>) -> Markup {
    html! {
        (gate_word(decision))
        @if let Some(decision) = decision {
            " on " (decision.decided_at) @if let Some(until) = &decision.valid_until { ", valid until " (until) }
            @if !decision.r#use.0.is_empty() {
                ", for " (decision.r#use.0.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", "))
            }
            @if !decision.reasons.is_empty() { ", because of " (decision.reasons.join(", ")) }
            br; span.quiet { "Decision " code.digest { (decision.id) } }
        }
    }
}

fn conclusion(row: &ReportRow) -> Markup {
    html! {
        @if let Some(found) = &row.conclusion {
            h3 { "Concluded by a person" }
            p {
                (found.expression) ", by " (found.recorded_by) " on " (found.recorded_at)
                @if !found.approved_by.is_empty() { ", approved by " (found.approved_by.join(", ")) }
                @match &found.expires_at { Some(end) => { ", until " (end) } None => { ", without an end" } } ". "
                (sentence(&found.reason)) " " span.quiet { "Record " code.digest { (found.record) } }
            }
        }
        @if !row.open_conclusions.is_empty() {
            h3 { "Conclusions that need a person" }
            ul {
                @for open in &row.open_conclusions {
                    li {
                        (open.expression) ", by " (open.recorded_by) ": "
                        @if open.facts_changed { "its facts have changed" } @else { "waits for approval or for the gate" }
                        span.quiet { " (record " code.digest { (open.record) } ")" }
                    }
                }
            }
        }
    }
}

fn statements(title: &str, list: &[ReportStatement]) -> Markup {
    html! {
        @if !list.is_empty() {
            h3 { (title) }
            table {
                thead { tr { th scope="col" { "License" } th scope="col" { "Words" } th scope="col" { "File" } th scope="col" { "SHA-256 of the file" } } }
                tbody {
                    @for found in list {
                        tr {
                            td { (found.expression) @if let Some(kind) = found.match_kind { br; span.quiet { (kind.as_str()) } } }
                            td { (found.text) }
                            td { (found.path) }
                            td { code.digest { (found.sha256) } }
                        }
                    }
                }
            }
        }
    }
}

fn findings(list: &[Finding]) -> Markup {
    html! {
        @if !list.is_empty() {
            h3 { "Findings in the files" }
            ul { @for found in list { li { code { (found.code) } " " (sentence(&found.detail)) " " span.quiet { (sentence(&found.remedy)) } } } }
        }
    }
}

fn conflicts(row: &ReportRow) -> Markup {
    html! {
        @if !row.conflicts.is_empty() {
            h3 { "Findings along the lineage" }
            table {
                thead { tr { th scope="col" { "Finding" } th scope="col" { "License" } th scope="col" { "Path" } th scope="col" { "Clause and remedy" } } }
                tbody {
                    @for found in &row.conflicts {
                        tr {
                            td { code { (found.code) } br; (weight(found.severity)) }
                            td { (found.license) }
                            td { (found.path.join(" ← ")) }
                            td { (sentence(&found.clause)) " " (sentence(&found.remedy)) }
                        }
                    }
                }
            }
            @if row.omitted_conflicts > 0 { p { (row.omitted_conflicts) " more about ancestors are not listed." } }
        }
    }
}

const fn weight(weight: propagation::Weight) -> &'static str {
    match weight {
        propagation::Weight::Info => "for information",
        propagation::Weight::Obligation => "obligation",
        propagation::Weight::Review => "needs a person",
        propagation::Weight::Deny => "denies the use",
    }
}

fn obligations(list: &[ReportObligation]) -> Markup {
    html! {
        @if !list.is_empty() {
            h3 { "Obligations" }
            table {
                thead { tr { th scope="col" { "Status" } th scope="col" { "Obligation" } th scope="col" { "License" } th scope="col" { "Clause and remedy" } th scope="col" { "Shown by" } } }
                tbody {
                    @for duty in list {
                        tr {
                            td { strong { (duty.status.as_str()) } }
                            td { code { (duty.code) } }
                            td { (duty.license) }
                            td { (sentence(&duty.clause)) " " (sentence(&duty.remedy)) }
                            td { (shown_by(&duty.shown_by)) }
                        }
                    }
                }
            }
        }
    }
}

fn shown_by(list: &[ObligationEvidence]) -> Markup {
    html! {
        @if list.is_empty() { span.quiet { "nothing yet" } }
        @for evidence in list {
            div {
                @match evidence {
                    ObligationEvidence::Record { record, recorded_by, evidence } => {
                        (evidence) " " span.quiet { "(" (recorded_by) ", record " code.digest { (record) } ")" }
                    }
                    ObligationEvidence::File { path, sha256 } => { (path) " " code.digest { (sha256) } }
                }
            }
        }
    }
}

fn attribution(row: &ReportRow) -> Markup {
    let files: Vec<&AttributionFile> = row.attribution.license_texts.iter().chain(&row.attribution.notices).collect();
    html! {
        h3 { "Texts that travel with it" }
        @if row.attribution.license_text_missing { p { strong { "The license's text is missing." } } }
        @if row.commit.is_none() && files.is_empty() && !row.attribution.license_text_missing { p.quiet { "No files." } }
        @if !files.is_empty() {
            ul { @for file in files { li { (file.path) " " code.digest { (file.sha256) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::reports::samples::{report, row, with_text};

    #[test]
    fn document_stands_alone_and_prints() {
        let text = document(&report(vec![with_text(row("acme/one", 2), "LICENSE", "aa")])).into_string();
        for outside in ["<script", "<link", "<img", "src=", "http://", "https://", "url(", "@import"] {
            assert!(!text.contains(outside), "{outside}");
        }
        for part in ["@media print", "acme/one", "DUTY_0", "ticket", "As of", "LICENSE", "namespace acme"] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn words_of_strangers_are_text() {
        let mut bad = row("acme/one", 1);
        bad.license = "</style><script>alert(1)</script>".into();
        bad.obligations[0].clause = "<img src=x>".into();
        let text = document(&report(vec![bad])).into_string();
        assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
    }

    #[test]
    fn status_is_a_word() {
        let text = document(&report(vec![row("acme/one", 2)])).into_string();
        assert!(text.contains("<strong>open</strong>") && text.contains("<strong>satisfied</strong>"), "{text}");
        assert!(text.contains("not decided"));
    }
}
