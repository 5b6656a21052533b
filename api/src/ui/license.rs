//! The license side of a model's page, and the pages of the catalog.

use actix_web::http::StatusCode;
use actix_web::web;
use maud::{Markup, html};
use registry_core::{Error, LicenseRecord, LicenseView, LineageNode};
use verifier::license::Catalog;
use verifier::license::explain::{Explained, explain};
use verifier::license::propagation::{Assessment, Finding, Verdict, Weight};
use verifier::license::record::Body;

use super::components::{badge, sentence, time};
use super::layout::{Frame, document};
use super::{PageAnswer, or_dash, page};
use crate::server::State;
use crate::server::access::Actor;

/// Models of a lineage that the page lists; the API lists all.
const NODES_SHOWN: usize = 50;

/// What follows for the environment's usual use: verdict, duties, lineage, and who said so.
pub(super) fn panel(view: &LicenseView, catalog: &Catalog) -> Markup {
    html! {
        h3 { "What follows in " (view.environment) }
        (stated_use(view))
        dl.facts {
            dt { "For this use" } dd { (use_verdict(view.assessment.verdict)) }
            dt { "Licenses that reach it" } dd { (licenses(catalog, &view.assessment.effective_licenses)) }
            dt { "Concluded by people" } dd { (conclusion(view)) }
            dt { "Openness" } dd { (view.openness.access_class) }
        }
        (conflicts(&view.assessment))
        (obligations(catalog, &view.assessment))
        (lineage(catalog, &view.lineage))
        (records(&view.records))
    }
}

fn stated_use(view: &LicenseView) -> Markup {
    let stated: Vec<String> = view.r#use.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
    html! { p.quiet { "Judged for " code { (stated.join(", ")) } ". Another use is asked with " code { "weighhouse gate --use" } "." } }
}

fn use_verdict(verdict: Verdict) -> Markup {
    let (class, icon) = match verdict {
        Verdict::Allow => ("good", "✓"),
        Verdict::AllowWithObligations => ("warn", "!"),
        Verdict::Review => ("warn", "?"),
        Verdict::Deny => ("bad", "✕"),
    };
    badge(class, icon, &verdict.as_str().replace('-', " "))
}

fn licenses(catalog: &Catalog, ids: &[String]) -> Markup {
    html! {
        @for (position, id) in ids.iter().enumerate() {
            @if position > 0 { ", " }
            (license_link(catalog, id))
        }
    }
}

/// Leads to the catalog's page where the id is one of its.
fn license_link(catalog: &Catalog, id: &str) -> Markup {
    let known = catalog.find(id).is_some();
    html! { @if known { a href={ "/licenses/" (id) } { (id) } } @else { (id) } }
}

fn conclusion(view: &LicenseView) -> Markup {
    html! {
        @match &view.conclusion {
            Some(found) => { strong { (found.expression) } ", by " (found.people) @if found.people == 1 { " person" } @else { " people" } }
            None => "–",
        }
        @if !view.awaiting_approval.is_empty() { " A conclusion waits for another person's approval." }
        @if !view.reopened.is_empty() { " An earlier conclusion is open again, because its facts changed." }
    }
}

fn conflicts(assessment: &Assessment) -> Markup {
    let mut found: Vec<&Finding> =
        assessment.findings.iter().filter(|finding| finding.severity != Weight::Obligation).collect();
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    html! {
        @if !found.is_empty() {
            div.scroll {
                table {
                    caption { "Conflicts and open questions" }
                    thead { tr { th scope="col" { "Leads to" } th scope="col" { "Finding" } th scope="col" { "Came by" } th scope="col" { "What to do" } } }
                    tbody {
                        @for finding in found {
                            tr {
                                td { (weight(finding.severity)) }
                                td { code { (finding.code) } br; (finding.license) ": " (sentence(&finding.clause)) }
                                td { (finding.path.join(" ← ")) }
                                td { (sentence(&finding.remedy)) }
                            }
                        }
                    }
                }
            }
        }
        @if assessment.omitted_findings > 0 { p.quiet { "And " (assessment.omitted_findings) " more about ancestors." } }
    }
}

const fn weight(weight: Weight) -> &'static str {
    match weight {
        Weight::Info => "note",
        Weight::Obligation => "duty",
        Weight::Review => "review",
        Weight::Deny => "deny",
    }
}

fn obligations(catalog: &Catalog, assessment: &Assessment) -> Markup {
    html! {
        @if !assessment.obligations.is_empty() {
            div.scroll {
                table {
                    caption { "Obligations" }
                    thead { tr { th scope="col" { "Status" } th scope="col" { "Duty" } th scope="col" { "License" } th scope="col" { "What to do" } } }
                    tbody {
                        @for duty in &assessment.obligations {
                            tr {
                                td { @if duty.satisfied { "✓ done" } @else { "○ open" } }
                                td { code { (duty.code) } br; (sentence(&duty.clause)) }
                                td { (license_link(catalog, &duty.license)) }
                                td { @if duty.satisfied { "–" } @else { (sentence(&duty.remedy)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn lineage(catalog: &Catalog, nodes: &[LineageNode]) -> Markup {
    html! {
        @if nodes.len() > 1 {
            div.scroll {
                table {
                    caption { "Lineage" }
                    thead { tr { th scope="col" { "Model" } th scope="col" { "License" } th scope="col" { "Made from" } } }
                    tbody {
                        @for node in nodes.iter().take(NODES_SHOWN) {
                            tr {
                                td { @if node.kind.is_some() { a href={ "/models/" (node.name) } { (node.name) } } @else { (node.name) span.quiet { " (not known here)" } } }
                                td { @match &node.license { Some(id) => (license_link(catalog, id)), None => "–" } }
                                td { @for (position, parent) in node.parents.iter().enumerate() { @if position > 0 { ", " } (parent.name) " (" (parent.relation.as_str()) ")" } }
                            }
                        }
                    }
                }
            }
            @if nodes.len() > NODES_SHOWN { p.quiet { "And " (nodes.len() - NODES_SHOWN) " more; the API lists all." } }
        }
    }
}

fn records(list: &[LicenseRecord]) -> Markup {
    html! {
        @if !list.is_empty() {
            div.scroll {
                table {
                    caption { "What people recorded" }
                    thead { tr { th scope="col" { "Kind" } th scope="col" { "Says" } th scope="col" { "By" } th scope="col" { "Counts" } } }
                    tbody { @for record in list { tr { td { (record.body.kind()) } td { (said(&record.body)) } td { (record.recorded_by) ", " (time(&record.recorded_at)) } td { (counts(record)) } } } }
                }
            }
        }
    }
}

fn said(body: &Body) -> String {
    match body {
        Body::Conclusion { expression, reason } => format!("{expression}: {reason}"),
        Body::Approval { of, reason } => format!("agrees with {of} {}", reason.as_deref().unwrap_or_default()),
        Body::Obligation { code, evidence, .. } => format!("{code} done: {evidence}"),
        Body::Component { component, location, .. } => format!("{component} at {location}"),
        Body::Release { data_information, api_access } => {
            let data = data_information.as_deref().unwrap_or("none");
            format!("training data information: {data}; interface: {}", if *api_access { "yes" } else { "no" })
        }
        Body::Lineage { parent, relation } => format!("{} of {parent}", relation.as_str()),
    }
}

fn counts(record: &LicenseRecord) -> Markup {
    html! {
        @match (&record.ended_at, record.facts_unchanged, &record.expires_at) {
            (Some(end), ..) => { "ended " (time(end)) }
            (None, false, _) => "no: facts changed",
            (None, true, Some(end)) => { "until " (time(end)) }
            (None, true, None) => "yes",
        }
    }
}

/// The catalog.
pub(super) async fn list(state: web::Data<State>, Actor(caller): Actor) -> PageAnswer {
    let catalog = &state.registry.settings().catalog;
    let content = html! {
        h1 { "Licenses" }
        p { "What is known of " (catalog.licenses().len()) " licenses, in our own words. This is not legal advice." }
        p.quiet { "Data " (catalog.version()) ". Rows of confidence C and D were not read in the text; they lead to a review and to nothing else." }
        div.scroll {
            table {
                caption { "Licenses" }
                thead { tr { th scope="col" { "License" } th scope="col" { "On the Hub" } th scope="col" { "Class" } th scope="col" { "Confidence" } } }
                tbody {
                    @for license in catalog.licenses() {
                        tr {
                            td { a href={ "/licenses/" (license.id) } { (license.name) } br; code { (license.id) } }
                            td { (or_dash(license.hf.license_name.as_deref().or(license.hf.license.as_deref()))) }
                            td { (license.class) }
                            td { (format!("{:?}", license.confidence)) }
                        }
                    }
                }
            }
        }
    };
    Ok(page(StatusCode::OK, document(&Frame { title: "Licenses", caller: Some(&caller), refresh: false }, &content)))
}

/// One license in plain words.
pub(super) async fn show(state: web::Data<State>, Actor(caller): Actor, id: web::Path<String>) -> PageAnswer {
    let catalog = &state.registry.settings().catalog;
    let license = catalog.find(&id).ok_or_else(|| Error::NotFound(format!("license {id}")))?;
    let frame = Frame { title: &license.name, caller: Some(&caller), refresh: false };
    Ok(page(StatusCode::OK, document(&frame, &explained(&explain(license)))))
}

fn explained(explained: &Explained<'_>) -> Markup {
    let license = explained.license;
    html! {
        h1 { (license.name) }
        ul.chips { li { (license.id) } li { (license.class) } @if let Some(day) = &license.effective_from { li { "text of " (day) } } }
        div.columns {
            (list_card("Permissions", &explained.permissions))
            (list_card("Conditions", &explained.conditions))
            (list_card("Limitations", &explained.limitations))
        }
        @for answer in &explained.explanation {
            h2 { (answer.question) }
            ul { @for sentence in &answer.sentences { li { (sentence) } } }
        }
        p.quiet { "Facts in our own words; not legal advice. " a href="/licenses" { "All licenses" } }
    }
}

fn list_card(title: &str, words: &[&str]) -> Markup {
    html! {
        div.card {
            h2 { (title) }
            @if words.is_empty() { p { "–" } }
            ul { @for word in words { li { (word.replace('-', " ")) } } }
        }
    }
}
