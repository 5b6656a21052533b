//! A model's page: what it is, what may be done with it, who vouches for it, whether it runs.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web;
use maud::{Markup, html};
use registry_core::{
    Caller, Decision, FileSpec, LicenseView, MAIN_BRANCH, ModelInfo, Ref, Revision, StageView, TrustView,
};
use serde::Deserialize;
use verifier::evidence::{Evidence, Inspection, LicenseFacts, LicenseStatement, ProbeReport, Stage};
use verifier::license::Catalog;
use verifier::policy::Use;

use super::components::{bytes, count, findings, sentence, status, things, time, verdict};
use super::layout::{Frame, document};
use super::license as licenses;
use super::provenance;
use super::{PageAnswer, or_dash, page};
use crate::server::State;
use crate::server::access::Actor;
use crate::v1::ModelPath;

/// Files listed on the page; the API lists all.
const FILES_SHOWN: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct ModelQuery {
    revision: Option<String>,
}

/// What follows from the licenses, with what is known of them.
struct Licensed {
    view: LicenseView,
    catalog: Arc<Catalog>,
}

/// Everything the page shows of one revision.
struct Shown {
    revision: Revision,
    files: Vec<FileSpec>,
    stages: Vec<StageView>,
    /// The decision in force per environment; none while it is pending.
    decisions: Vec<(String, Option<Decision>)>,
    /// The license side, in the reader's environment.
    license: Licensed,
    /// Who vouches for it, in the reader's environment.
    trust: TrustView,
}

impl Shown {
    fn settled(&self) -> bool {
        registry_core::is_settled(self.stages.iter().map(|view| view.state))
    }

    fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

pub(super) async fn show(
    state: web::Data<State>,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    query: web::Query<ModelQuery>,
) -> PageAnswer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let refs = state.registry.list_refs(&model).await?;
    let wanted = query.revision.as_deref().filter(|name| !name.is_empty());
    let shown = match (wanted, refs.is_empty()) {
        (None, true) => None,
        (wanted, _) => Some(load(&state, &caller, &model, wanted.unwrap_or(MAIN_BRANCH)).await?),
    };
    let content = match &shown {
        Some(shown) => content(&model, &refs, shown, wanted.unwrap_or(MAIN_BRANCH), &state.public_url),
        None => empty(&model),
    };
    let refresh = shown.as_ref().is_some_and(|shown| !shown.settled());
    let title = model.name.to_string();
    Ok(page(StatusCode::OK, document(&Frame { title: &title, caller: Some(&caller), refresh }, &content)))
}

async fn load(state: &State, caller: &Caller, model: &ModelInfo, name: &str) -> registry_core::Result<Shown> {
    let revision = state.registry.find_revision(model, name).await?;
    let files = state.registry.revision_files(&revision).await?;
    let stages = state.registry.stages(&revision).await?;
    let mut decisions = Vec::new();
    for environment in state.registry.environments() {
        let decision = state.registry.live_decision(model, &revision, &environment).await?;
        decisions.push((environment, decision));
    }
    let license = state.registry.license_view(model, &revision, caller.environment(), &Use::default()).await?;
    let catalog = state.registry.settings().catalog.clone();
    let trust = state.registry.trust_view(model, &revision, caller.environment()).await?;
    Ok(Shown { revision, files, stages, decisions, license: Licensed { view: license, catalog }, trust })
}

fn empty(model: &ModelInfo) -> Markup {
    html! {
        h1 { (model.name) }
        p.empty {
            "This model has no revision yet. Push one with " code { "weighhouse push DIR " (model.name) } " or "
            code { "hf upload " (model.name) " DIR" } "."
        }
    }
}

fn content(model: &ModelInfo, refs: &[Ref], shown: &Shown, name: &str, public_url: &str) -> Markup {
    html! {
        h1 { (model.name) }
        (tabs(model, name, Tab::Overview))
        (summary(model, shown))
        @if !shown.settled() { p.notice role="status" { "This revision is being judged. The page renews itself." } }
        (chooser(model, refs, name))
        nav.anchors aria-label="On this page" {
            @for (anchor, label) in [("policy", "Policy"), ("license", "License"), ("provenance", "Provenance"),
                ("probe", "Probe"), ("inspection", "Inspection"), ("files", "Files"), ("use", "Use it")] {
                a href={ "#" (anchor) } { (label) }
            }
        }
        section #policy { h2 { "Policy" } div.columns { @for (environment, decision) in &shown.decisions { (decision_card(environment, decision.as_ref())) } } }
        @for view in order(&shown.stages) { (stage(model, view, shown)) }
        (files(model, shown))
        (usage(model, shown, public_url))
    }
}

/// One of a revision's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Contents,
    Probe,
}

/// The pages of one revision.
pub(super) fn tabs(model: &ModelInfo, revision: &str, shown: Tab) -> Markup {
    let pages = [
        (Tab::Overview, "", "Overview"),
        (Tab::Contents, "/files", "Files and tensors"),
        (Tab::Probe, "/probe", "Probe"),
    ];
    html! {
        nav.tabs aria-label="Pages of this model" {
            @for (tab, place, title) in pages {
                a href={ "/models/" (model.name) (place) "?revision=" (encoded(revision)) } aria-current=[(tab == shown).then_some("page")] { (title) }
            }
        }
    }
}

/// License and provenance first: that is what people come for.
fn order(stages: &[StageView]) -> Vec<&StageView> {
    let wanted = [Stage::License, Stage::Provenance, Stage::Probe, Stage::Inspect];
    wanted.iter().filter_map(|stage| stages.iter().find(|view| view.stage == *stage)).collect()
}

fn summary(model: &ModelInfo, shown: &Shown) -> Markup {
    let inspection = shown.stages.iter().find_map(|view| view.evidence.as_ref()?.as_inspection());
    let license = shown.stages.iter().find_map(|view| view.evidence.as_ref()?.as_license());
    html! {
        ul.chips {
            @for (environment, decision) in &shown.decisions { li { (environment) ": " (verdict(word(decision.as_ref()))) } }
            li { (model.visibility.as_str()) }
            @if let Some(facts) = license { li { (facts.concluded) } li { (facts.openness.access_class) } }
            @if let Some(inspection) = inspection {
                @if let Some(quantization) = &inspection.quantization { li { (quantization) } }
                @if let Some(parameters) = inspection.parameters { li { (count(parameters)) " parameters" } }
            }
            li { (bytes(shown.size())) }
        }
        dl.facts {
            dt { "Commit" } dd { code { (shown.revision.commit) } }
            dt { "Content digest" } dd { code { "sha256:" (shown.revision.content_digest) } }
            dt { "Pushed" } dd { (time(&registry_core::rfc3339(shown.revision.created_at))) " by " (shown.revision.author) }
            @if !shown.revision.message.is_empty() { dt { "Message" } dd { (shown.revision.message) } }
        }
    }
}

fn chooser(model: &ModelInfo, refs: &[Ref], name: &str) -> Markup {
    html! {
        form.inline method="get" action={ "/models/" (model.name) } {
            label for="revision" { "Revision" }
            select #revision name="revision" {
                @for reference in refs { option value=(reference.name) selected[reference.name == name] { (reference.name) } }
                @if !refs.iter().any(|reference| reference.name == name) { option value=(name) selected { (name) } }
            }
            button type="submit" { "Show" }
        }
    }
}

const fn word(decision: Option<&Decision>) -> &'static str {
    match decision {
        None => "pending",
        Some(decision) if decision.allowed => "allowed",
        Some(_) => "denied",
    }
}

fn decision_card(environment: &str, decision: Option<&Decision>) -> Markup {
    html! {
        article.card {
            h3 { (environment) " " (verdict(word(decision))) }
            @match decision {
                Some(decision) => (grounds(decision)),
                None => p { "The gate decides when the stages below have finished. Until then it allows nothing." },
            }
        }
    }
}

fn grounds(decision: &Decision) -> Markup {
    html! {
            @if !decision.reasons.is_empty() {
                h4 { "Why" }
                ul.reasons { @for reason in &decision.reasons { li { code { (reason.code) } " " (reason.msg) } } }
                h4 { "What would make it pass" }
                ul.reasons {
                    @for (change, sufficient) in changes(decision) {
                        li { (change) @if sufficient { " " span.quiet { "This alone is enough." } } }
                    }
                }
            }
            @if !decision.warnings.is_empty() {
                h4 { "Warnings" }
                ul.reasons { @for reason in &decision.warnings { li { code { (reason.code) } " " (reason.msg) } } }
            }
            p.quiet {
                "Decided " (time(&decision.decided_at)) " for "
                @for (position, (key, value)) in decision.r#use.0.iter().enumerate() {
                    @if position > 0 { ", " } (key) "=" (value)
                }
                " · " a href={ "/v1/decisions/" (decision.id) } { "as JSON" }
            }
    }
}

/// Several denials may ask for the same change; it is shown once.
fn changes(decision: &Decision) -> Vec<(&str, bool)> {
    let mut changes: Vec<(&str, bool)> = Vec::new();
    for suggestion in &decision.would_pass_if {
        if !changes.iter().any(|(change, _)| *change == suggestion.change) {
            changes.push((&suggestion.change, suggestion.sufficient));
        }
    }
    changes
}

fn stage(model: &ModelInfo, view: &StageView, shown: &Shown) -> Markup {
    let (anchor, title) = match view.stage {
        Stage::Inspect => ("inspection", "Inspection"),
        Stage::License => ("license", "License and openness"),
        Stage::Provenance => ("provenance", "Provenance"),
        Stage::Probe => ("probe", "Probe"),
    };
    html! {
        section id=(anchor) {
            h2 { (title) " " (status(view.status)) }
            @match &view.evidence {
                Some(Evidence::Inspect(inspection)) => (inspect(model, &shown.revision, inspection)),
                Some(Evidence::License(facts)) => { (license(facts)) (licenses::panel(&shown.license.view, &shown.license.catalog)) }
                Some(Evidence::Provenance(_)) => (provenance::panel(model, &shown.revision, &shown.trust)),
                Some(Evidence::Probe(report)) => (probe(model, &shown.revision, report)),
                None => p.quiet { "No evidence: the stage is " (view.state.as_str()) (reached(view)) "." },
            }
        }
    }
}

/// How far a running probe has come.
fn reached(view: &StageView) -> String {
    view.progress.as_ref().map(|found| format!(", at level {} ({} %)", found.level, found.percent)).unwrap_or_default()
}

fn inspect(model: &ModelInfo, revision: &Revision, inspection: &Inspection) -> Markup {
    html! {
        dl.facts {
            dt { "Format" } dd { (or_dash(inspection.format.as_deref())) }
            dt { "Architecture" } dd { (or_dash(inspection.architecture.as_deref())) }
            dt { "Parameters" } dd { (or_dash(inspection.parameters.map(|number| number.to_string()).as_deref())) }
            dt { "Quantization" } dd { (or_dash(inspection.quantization.as_deref())) }
            dt { "Bits per weight" } dd { (or_dash(inspection.bits_per_weight.map(|bits| format!("{bits:.2}")).as_deref())) }
            dt { "Context length" } dd { (or_dash(inspection.context_length.map(|number| number.to_string()).as_deref())) }
        }
        (findings(&inspection.findings))
        p { a href={ "/models/" (model.name) "/files?revision=" (revision.commit) } { "Files, tensors, tokenizer and templates" } }
    }
}

fn license(facts: &LicenseFacts) -> Markup {
    html! {
        dl.facts {
            dt { "Concluded" } dd { strong { (facts.concluded) } @if facts.provisional { " (provisional)" } }
            dt { "Class" } dd { (or_dash(facts.license_class.as_deref())) }
            dt { "Openness" } dd { (facts.openness.access_class) }
            dt { "OSAID 1.0" } dd { (facts.openness.osaid) }
            dt { "MOF class" } dd { @match facts.openness.mof_class { 0 => "unclassified", class => (class) } }
        }
        @if !facts.openness.reasons.is_empty() {
            ul.reasons { @for reason in &facts.openness.reasons { li { (sentence(reason)) } } }
        }
        (statements("Declared", &facts.declared))
        (statements("Detected in texts", &facts.detected))
        (findings(&facts.findings))
    }
}

fn statements(caption: &str, list: &[LicenseStatement]) -> Markup {
    html! {
        @if !list.is_empty() {
            div.scroll {
                table {
                    caption { (caption) }
                    thead { tr { th scope="col" { "Says" } th scope="col" { "Means" } th scope="col" { "Read from" } } }
                    tbody {
                        @for statement in list {
                            tr { td { (statement.text) } td { (statement.expression) } td { (statement.path) } }
                        }
                    }
                }
            }
        }
    }
}

fn probe(model: &ModelInfo, revision: &Revision, report: &ProbeReport) -> Markup {
    html! {
        p { (sentence(&report.reason)) }
        @if let Some(generation) = &report.generation {
            figure {
                figcaption { "Asked:" pre { code { (generation.prompt) } } "Answered:" }
                blockquote { (generation.text) }
            }
        }
        dl.facts {
            @if let Some(generation) = &report.generation {
                dt { "Speed" } dd { (format!("{:.1}", generation.tokens_per_second)) " tokens per second, " (generation.generated_tokens) " tokens" }
                dt { "Deterministic" } dd { @if generation.deterministic { "yes" } @else { "no" } }
            }
            @if let Some(calibration) = &report.calibration {
                dt { "Perplexity" } dd { (format!("{:.2}", calibration.perplexity)) }
            }
            dt { "Engine" } dd { (report.engine) " " (report.engine_version) " on " (report.device) ", " (things(usize::try_from(report.threads).unwrap_or(usize::MAX), "thread")) }
            @if let Some(peak) = report.peak_memory_bytes { dt { "Peak memory" } dd { (bytes(peak)) } }
        }
        (findings(&report.findings))
        p { a href={ "/models/" (model.name) "/probe?revision=" (revision.commit) } { "Levels, measurements, sandbox and earlier reports" } }
    }
}

fn files(model: &ModelInfo, shown: &Shown) -> Markup {
    html! {
        section #files {
            h2 { "Files" }
            div.scroll {
                table {
                    caption { (things(shown.files.len(), "file")) ", " (bytes(shown.size())) }
                    thead { tr { th scope="col" { "Path" } th.number scope="col" { "Size" } th scope="col" { "SHA-256" } } }
                    tbody {
                        @for file in shown.files.iter().take(FILES_SHOWN) {
                            tr {
                                th scope="row" {
                                    a href={ "/v1/models/" (model.name) "/revisions/" (shown.revision.commit) "/files/" (encoded(&file.path)) } { (file.path) }
                                }
                                td.number { (bytes(file.size)) }
                                td { code.digest { (file.sha256) } }
                            }
                        }
                    }
                }
            }
            @if shown.files.len() > FILES_SHOWN { p.quiet { "The first " (FILES_SHOWN) " files are shown." } }
        }
    }
}

/// A path for a URL: everything but unreserved characters and slashes is percent-encoded.
pub(super) fn encoded(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

fn usage(model: &ModelInfo, shown: &Shown, public_url: &str) -> Markup {
    let at = format!("{}@{}", model.name, shown.revision.commit);
    html! {
        section #use {
            h2 { "Use it" }
            pre { code { "export WEIGHHOUSE_URL=" (public_url) "\nweighhouse pull " (at) " ./" (model.name.name) } }
            pre { code { "weighhouse gate " (at) " --environment production" } }
            p { "Or with the clients of the Hugging Face Hub:" }
            pre { code {
                "export HF_ENDPOINT=" (public_url) "\nhf download " (model.name) " --revision " (shown.revision.commit)
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn paths_in_links_are_percent_encoded() {
        assert_eq!(encoded("a b/é#?.txt"), "a%20b/%C3%A9%23%3F.txt");
    }
}
