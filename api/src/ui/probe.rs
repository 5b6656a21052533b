//! Whether a model runs: what a probe did, what it measured, and how that compares over time.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use registry_core::{
    Caller, JobState, MAIN_BRANCH, ModelInfo, Page, PageRequest, ProbeRecord, Revision, Role, StageState, StageView,
};
use serde::Deserialize;
use verifier::evidence::{
    Adapter, Calibration, Conformance, Embedding, Evidence, Generation, ProbeLevel, ProbeReport, ProbeVerdict,
    SandboxReport, Stage, drift,
};
use verifier::number::grouped;

use super::components::{badge, bytes, findings, sentence, status, things, time};
use super::layout::{Frame, document};
use super::model::{Tab, encoded, tabs};
use super::{PageAnswer, csrf, or_dash, page};
use crate::server::State;
use crate::server::access::Actor;
use crate::v1::ModelPath;

/// Reports listed on the page; the API lists all.
const REPORTS_SHOWN: u64 = 50;
/// What each level asks, for people.
const LEVELS: [(&str, &str); 5] = [
    ("L0", "Is the file what it says it is?"),
    ("L1", "Is every tensor there, in the right shape?"),
    ("L2", "Is every weight a finite number?"),
    ("L3", "Do tokenizer and chat template work?"),
    ("L4", "Does it run, predict plain text and answer twice alike?"),
];

#[derive(Debug, Deserialize)]
pub(super) struct ProbeQuery {
    revision: Option<String>,
}

impl ProbeQuery {
    fn revision(&self) -> &str {
        self.revision.as_deref().filter(|name| !name.is_empty()).unwrap_or(MAIN_BRANCH)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ProbeForm {
    csrf: String,
    revision: String,
}

/// Everything the page shows.
struct Probed {
    revision: Revision,
    stage: Option<StageView>,
    history: Page<ProbeRecord>,
}

impl Probed {
    fn report(&self) -> Option<&ProbeReport> {
        match self.stage.as_ref()?.evidence.as_ref()? {
            Evidence::Probe(report) => Some(report),
            _ => None,
        }
    }

    /// Whether something is still to come.
    fn is_open(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.renewal.is_some() || !stage.state.is_settled())
    }
}

pub(super) async fn show(
    state: web::Data<State>,
    Actor(caller): Actor,
    request: HttpRequest,
    path: web::Path<ModelPath>,
    query: web::Query<ProbeQuery>,
) -> PageAnswer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let probed = load(&state, &model, query.revision()).await?;
    let token = csrf::token(&request);
    let markup = content(&model, &probed, query.revision(), &caller, &token);
    let title = format!("Probe of {}", model.name);
    let frame = Frame { title: &title, caller: Some(&caller), refresh: probed.is_open() };
    let mut response = page(StatusCode::OK, document(&frame, &markup));
    csrf::remember(&mut response, &state, &token);
    Ok(response)
}

/// Has the revision probed again and shows the page.
pub(super) async fn again(
    state: web::Data<State>,
    Actor(caller): Actor,
    request: HttpRequest,
    path: web::Path<ModelPath>,
    form: web::Form<ProbeForm>,
) -> PageAnswer {
    csrf::check(&request, &form.csrf)?;
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let revision = state.registry.find_revision(&model, &form.revision).await?;
    state.registry.request_probe(&caller, &model, &revision, None).await?;
    let place = format!("/models/{}/probe?revision={}", model.name, encoded(&form.revision));
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}

async fn load(state: &State, model: &ModelInfo, name: &str) -> registry_core::Result<Probed> {
    let revision = state.registry.find_revision(model, name).await?;
    let mut stages = state.registry.stages(&revision).await?;
    let stage = stages.iter().position(|view| view.stage == Stage::Probe).map(|place| stages.swap_remove(place));
    let history = state.registry.probe_history(&revision, &PageRequest::new(Some(REPORTS_SHOWN), None)?).await?;
    Ok(Probed { revision, stage, history })
}

fn content(model: &ModelInfo, probed: &Probed, name: &str, caller: &Caller, csrf: &str) -> Markup {
    let may_ask = caller.role_in(&model.name.namespace).is_some_and(|role| role >= Role::Writer);
    html! {
        h1 { (model.name) }
        (tabs(model, name, Tab::Probe))
        p.quiet { "Revision " code { (probed.revision.commit) } }
        @if let Some(stage) = &probed.stage { (activity(stage)) }
        @match probed.report() {
            Some(report) => (whole(report, probed.stage.as_ref())),
            None => (nothing(probed.stage.as_ref())),
        }
        @if may_ask { (again_form(model, name, csrf, probed.is_open())) }
        (history(model, probed))
    }
}

/// What is going on just now.
fn activity(stage: &StageView) -> Markup {
    let words = match (stage.renewal, stage.state) {
        (Some(JobState::Running), _) => "The probe runs again. The report below counts until it has ended.",
        (Some(_), _) => "The probe will run again. The report below counts until it has ended.",
        (None, StageState::Running) => "The probe is running.",
        (None, StageState::Pending | StageState::Waiting) => "The probe has not begun yet.",
        _ => return html! {},
    };
    html! {
        div.notice role="status" {
            p { (words) " The page renews itself." }
            @if let Some(reached) = &stage.progress {
                p {
                    "Level " (reached.level) " "
                    progress max="100" value=(reached.percent) aria-label={ "Level " (reached.level) } { (reached.percent) " %" }
                    " " (reached.percent) " %"
                }
            }
        }
    }
}

fn nothing(stage: Option<&StageView>) -> Markup {
    let words = match stage.map(|stage| stage.state) {
        Some(StageState::Superseded) => {
            "This revision was not probed, because no branch or tag pointed to it any more."
        }
        Some(StageState::Dead) => "The probe could not be finished; an administrator can have it tried again.",
        _ => "There is no report yet.",
    };
    html! { section #verdict { h2 { "Whether it runs" } p.empty { (words) } } }
}

fn whole(report: &ProbeReport, stage: Option<&StageView>) -> Markup {
    html! {
        section #verdict {
            h2 { "Whether it runs " (status(report.verdict.status())) }
            p { strong { (meaning(report.verdict)) } " " (sentence(&report.reason)) }
            @if let Some(at) = stage.and_then(|stage| stage.recorded_at) { p.quiet { "Reported " (time(&registry_core::rfc3339(at))) } }
        }
        section #levels { h2 { "Levels" } (levels(&report.levels)) }
        @if let Some(generation) = &report.generation { section #generation { h2 { "What it said" } (generated(generation)) } }
        section #measurements { h2 { "Measurements" } (measurements(report)) }
        @if let Some(calibration) = &report.calibration { section #calibration { h2 { "Calibration" } (calibrated(calibration)) } }
        @if let Some(embedding) = &report.embedding { section #embedding { h2 { "Embeddings" } (embedded(embedding)) } }
        @if let Some(adapter) = &report.adapter { section #adapter { h2 { "Adapter" } (adapted(adapter, report.calibration.as_ref())) } }
        @if let Some(sandbox) = &report.sandbox { section #sandbox { h2 { "Sandbox " (enforcement(sandbox)) } (confined(sandbox)) } }
        section #findings {
            h2 { "Findings" }
            @if report.findings.is_empty() { p { "The probe found nothing to mend." } }
            (findings(&report.findings))
        }
    }
}

const fn meaning(verdict: ProbeVerdict) -> &'static str {
    match verdict {
        ProbeVerdict::Passed => "The model runs.",
        ProbeVerdict::PassedWithWarnings => "The model runs, and something about it deserves a look.",
        ProbeVerdict::Failed => "The model does not work.",
        ProbeVerdict::Unsupported => "The engine does not know this kind of model, which says nothing against it.",
        ProbeVerdict::Inconclusive => "The probe could not tell.",
    }
}

fn levels(reached: &[ProbeLevel]) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Each level runs only when the ones before it passed" }
                thead { tr { th scope="col" { "Level" } th scope="col" { "Asks" } th scope="col" { "Status" } th.number scope="col" { "Time" } th scope="col" { "Seen" } } }
                tbody { @for (name, asks) in LEVELS { (level(name, asks, reached.iter().find(|level| level.level == name))) } }
            }
        }
    }
}

fn level(name: &str, asks: &str, reached: Option<&ProbeLevel>) -> Markup {
    html! {
        tr {
            th scope="row" { (name) } td { (asks) }
            @match reached {
                Some(level) => {
                    td { (status(level.status)) } td.number { (grouped(level.milliseconds)) " ms" }
                    td { @match &level.detail { Some(detail) => (sentence(detail)), None => (or_dash(None)) } }
                },
                None => { td { (badge("open", "–", "not reached")) } td.number { (or_dash(None)) } td { (or_dash(None)) } },
            }
        }
    }
}

fn generated(generation: &Generation) -> Markup {
    html! {
        figure {
            figcaption { "The registry asked:" }
            pre { code { (generation.prompt) } }
            figcaption { "The model wrote this. It is the output of a model that was told to go on, not a statement of the registry:" }
            blockquote { (generation.text) }
        }
        dl.facts {
            dt { "Prompt" } dd { (things(whole_number(generation.prompt_tokens), "token")) }
            dt { "Answer" } dd { (things(whole_number(generation.generated_tokens), "token")) }
            dt { "Repeatable" } dd {
                @if generation.deterministic { "yes: two runs that always take the likeliest token wrote the same" }
                @else { "no: two runs that always take the likeliest token wrote different texts" }
            }
            dt { "Digest of the tokens" } dd { code.digest { (generation.token_digest) } }
        }
    }
}

fn measurements(report: &ProbeReport) -> Markup {
    html! {
        dl.facts {
            @if let Some(generation) = &report.generation {
                dt { "Generation" } dd { (per_second(generation.tokens_per_second)) }
                dt { "Reading the prompt" } dd { (per_second(generation.prompt_tokens_per_second)) }
            }
            @if let Some(load) = report.load_milliseconds { dt { "Loading" } dd { (grouped(load)) " ms" } }
            @if let Some(peak) = report.peak_memory_bytes { dt { "Peak memory" } dd { (memory(peak, report.sandbox.as_ref())) } }
            dt { "Device" } dd { (report.device) ", " (things(usize::try_from(report.threads).unwrap_or(usize::MAX), "thread")) }
            dt { "Engine" } dd { (report.engine) " " (report.engine_version) }
            @if let Some(architecture) = &report.architecture { dt { "Architecture" } dd { (architecture) } }
            @if let Some(conformance) = report.conformance { dt { "Conformance" } dd { (conformance.as_str()) ": " (conforms(conformance)) } }
        }
        @if report.generation.is_some() { p.quiet { "Speeds are those of the machine that probed, while it may have had other work." } }
    }
}

fn memory(peak: u64, sandbox: Option<&SandboxReport>) -> Markup {
    html! {
        (bytes(peak))
        @if let Some(limit) = sandbox.map(|sandbox| sandbox.memory_limit_bytes).filter(|limit| *limit > 0) {
            " of a limit of " (bytes(limit)) " "
            meter min="0" max=(limit) value=(peak.min(limit)) aria-label="Share of the memory limit" { (bytes(peak)) }
        }
    }
}

const fn conforms(conformance: Conformance) -> &'static str {
    match conformance {
        Conformance::Verified => {
            "for this architecture the engine is held to the numbers of an independent one (llama.cpp) by committed tests"
        }
        Conformance::Unverified => {
            "the engine computes this architecture, but no committed test compares its numbers with another engine's"
        }
    }
}

fn calibrated(calibration: &Calibration) -> Markup {
    html! {
        p { "The model read a fixed English text of " (grouped(calibration.tokens)) " tokens, and at each token it was measured how well it had predicted the next." }
        dl.facts {
            dt { "Perplexity" } dd { (format!("{:.3}", calibration.perplexity)) br; span.quiet { "Among how many tokens it was undecided on average; lower is better. Compare it between versions of one model, not between models." } }
            dt { "Mean entropy" } dd { (format!("{:.3}", calibration.mean_entropy)) " nats" br; span.quiet { "How undecided it was by its own account. Near zero it repeats itself, very high values are noise." } }
            @if !calibration.top_logits.is_empty() {
                dt { "Likeliest next tokens" }
                dd {
                    @for (place, (token, logit)) in calibration.top_logits.iter().enumerate() {
                        @if place > 0 { ", " } (token) span.quiet { (format!(" ({logit:.2})")) }
                    }
                    br; span.quiet { "Token ids after the last one of the text, each with its logit." }
                }
            }
            @if let Some(fingerprint) = &calibration.fingerprint {
                dt { "Fingerprint" } dd { code.digest { (fingerprint.digest) } br; span.quiet { "The same on the same engine, machine and number of threads; elsewhere roundings may differ." } }
            }
        }
    }
}

fn embedded(embedding: &Embedding) -> Markup {
    html! {
        p { "Texts of the same meaning must be nearer to each other than texts that have nothing in common." }
        dl.facts {
            dt { "Paraphrases" } dd { "cosine of at least " (format!("{:.3}", embedding.paraphrase_cosine)) }
            dt { "Unrelated texts" } dd { "cosine of at most " (format!("{:.3}", embedding.unrelated_cosine)) }
            dt { "Dimensions" } dd { (grouped(embedding.dimensions)) }
            dt { "Pooling" } dd { (embedding.pooling) }
            dt { "Speed" } dd { (per_second(embedding.tokens_per_second)) }
            dt { "Repeatable" } dd { @if embedding.deterministic { "yes" } @else { "no" } }
        }
    }
}

fn adapted(adapter: &Adapter, with: Option<&Calibration>) -> Markup {
    html! {
        p { "The adapter was loaded onto its base, and the text was read with and without it." }
        dl.facts {
            dt { "Rank" } dd { (grouped(adapter.rank)) }
            dt { "Changes" } dd { (things(whole_number(adapter.targets), "matrix").replace("matrixs", "matrices")) " of the base" }
            dt { "Perplexity of the base" } dd { (format!("{:.3}", adapter.base_perplexity)) }
            @if let Some(with) = with { dt { "With the adapter" } dd { (format!("{:.3}", with.perplexity)) } }
        }
    }
}

fn enforcement(sandbox: &SandboxReport) -> Markup {
    if sandbox.landlock == "full" && sandbox.seccomp && sandbox.gaps.is_empty() {
        badge("good", "✓", "fully enforced")
    } else {
        badge("warn", "!", "partly enforced")
    }
}

fn confined(sandbox: &SandboxReport) -> Markup {
    html! {
        p { "The model was loaded and run in a process of its own that held its files and nothing else: no network, no other files, no programs." }
        dl.facts {
            dt { "Profile" } dd { (sandbox.profile) }
            dt { "Files (landlock)" } dd { (sandbox.landlock) }
            dt { "System calls (seccomp)" } dd { @if sandbox.seccomp { "filtered" } @else { "not filtered" } }
            dt { "Limits" } dd { (bytes(sandbox.memory_limit_bytes)) " of memory, " (grouped(sandbox.wall_limit_seconds)) " seconds" }
            @if !sandbox.gaps.is_empty() { dt { "Not enforced" } dd { (sandbox.gaps.join(", ")) } }
        }
    }
}

fn again_form(model: &ModelInfo, name: &str, csrf: &str, is_open: bool) -> Markup {
    html! {
        form.inline method="post" action={ "/models/" (model.name) "/probe" } {
            input type="hidden" name="csrf" value=(csrf);
            input type="hidden" name="revision" value=(name);
            button type="submit" disabled[is_open] { "Probe again" }
            span.quiet { "The report above counts until the new one is there; both are kept." }
        }
    }
}

fn history(model: &ModelInfo, probed: &Probed) -> Markup {
    let records = &probed.history.items;
    html! {
        section #history {
            h2 { "History" }
            @if records.is_empty() {
                p.quiet { "No probe of these files has ended yet." }
            } @else {
                p { "All reports about exactly these files. Numbers that moved although the files did not are a finding: " code { (drift::FINGERPRINT_DRIFT) } "." }
                div.scroll {
                    table {
                        caption { (things(records.len(), "report")) @if probed.history.next.is_some() { ", the newest" } }
                        thead {
                            tr {
                                th scope="col" { "Reported" } th scope="col" { "Verdict" } th scope="col" { "Engine" } th scope="col" { "Device" }
                                th.number scope="col" { "Perplexity" } th.number scope="col" { "Tokens/s" } th.number scope="col" { "Memory" }
                                th scope="col" { "Fingerprint" } th scope="col" { "Counts" }
                            }
                        }
                        tbody { @for record in records { (record_row(record)) } }
                    }
                }
            }
            p { a href={ "/v1/models/" (model.name) "/revisions/" (probed.revision.commit) "/probes" } { "As JSON" } }
        }
    }
}

fn record_row(record: &ProbeRecord) -> Markup {
    let report = &record.report;
    let calibration = report.calibration.as_ref();
    let speed = report.generation.as_ref().map(|found| found.tokens_per_second);
    let speed = speed.or_else(|| report.embedding.as_ref().map(|found| found.tokens_per_second));
    html! {
        tr {
            th scope="row" { (time(&registry_core::rfc3339(record.recorded_at))) }
            td { (status(report.verdict.status())) }
            td { (report.engine) " " (report.engine_version) br; span.quiet { (record.tool_version) } }
            td { (report.device) ", " (things(usize::try_from(report.threads).unwrap_or(usize::MAX), "thread")) }
            td.number { (or_dash(calibration.map(|found| format!("{:.3}", found.perplexity)).as_deref())) }
            td.number { (or_dash(speed.map(|speed| format!("{speed:.1}")).as_deref())) }
            td.number { (or_dash(report.peak_memory_bytes.map(bytes).as_deref())) }
            td { (fingerprint(report)) }
            td { @if record.is_selected { (badge("good", "✓", "now")) } @else { (or_dash(None)) } }
        }
    }
}

fn fingerprint(report: &ProbeReport) -> Markup {
    let found = report.calibration.as_ref().and_then(|found| found.fingerprint.as_ref());
    let has_moved = report.findings.iter().any(|finding| finding.code == drift::FINGERPRINT_DRIFT);
    html! {
        @match found {
            Some(found) => code.digest title=(found.digest) { (found.digest.get(..16).unwrap_or(&found.digest)) "…" },
            None => (or_dash(None)),
        }
        @if has_moved { " " (badge("warn", "!", "moved")) }
    }
}

fn per_second(speed: f64) -> String {
    format!("{speed:.1} tokens per second")
}

fn whole_number(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
