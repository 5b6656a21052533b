//! What a revision is made of: its files, precisions, tokenizer, templates and tensors.

use actix_web::http::StatusCode;
use actix_web::web;
use maud::{Markup, html};
use registry_core::{FileSpec, MAIN_BRANCH, ModelInfo, Page, PageRequest, Revision, TensorQuery, TensorRow};
use serde::{Deserialize, Serialize};
use verifier::evidence::{
    InspectedFile, Inspection, InspectionVerdict, MemoryEstimate, Precision, SharedWeights, WeightsAssessment,
};
use verifier::format::weights::dimensions;
use verifier::number::grouped;

use super::components::{badge, bytes, count, findings, things};
use super::layout::{Frame, document};
use super::model::{Tab, encoded, tabs};
use super::{PageAnswer, or_dash, page};
use crate::server::State;
use crate::server::access::Actor;
use crate::v1::ModelPath;

/// Files listed on the page; the API lists all.
const FILES_SHOWN: usize = 500;
const TENSORS_PER_PAGE: u64 = 100;
/// Longest chat template that is shown whole, in characters.
const MAX_TEMPLATE_CHARS: usize = 20_000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ContentsQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// Tokens of context to estimate memory for. Text, because a form sends an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
}

impl ContentsQuery {
    fn revision(&self) -> &str {
        self.revision.as_deref().filter(|name| !name.is_empty()).unwrap_or(MAIN_BRANCH)
    }

    fn search(&self) -> String {
        self.search.clone().unwrap_or_default().trim().to_owned()
    }

    fn context(&self) -> Option<u64> {
        self.context.as_ref()?.trim().parse().ok().filter(|tokens| *tokens > 0)
    }
}

/// Everything the page shows.
struct Contents {
    revision: Revision,
    files: Vec<FileSpec>,
    inspection: Option<Inspection>,
    weights: Option<WeightsAssessment>,
    tensors: Page<TensorRow>,
    tensor_count: u64,
    are_listed: bool,
}

pub(super) async fn show(
    state: web::Data<State>,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    query: web::Query<ContentsQuery>,
) -> PageAnswer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let contents = load(&state, &model, &query).await?;
    let title = format!("Files of {}", model.name);
    let markup = content(&model, &contents, &query);
    Ok(page(StatusCode::OK, document(&Frame { title: &title, caller: Some(&caller), refresh: false }, &markup)))
}

async fn load(state: &State, model: &ModelInfo, query: &ContentsQuery) -> registry_core::Result<Contents> {
    let registry = &state.registry;
    let revision = registry.find_revision(model, query.revision()).await?;
    let stages = registry.stages(&revision).await?;
    let inspection = stages.iter().find_map(|view| view.evidence.as_ref()?.as_inspection()).cloned();
    let wanted = TensorQuery { search: query.search(), path: None };
    let cursor = query.cursor.clone().filter(|cursor| !cursor.is_empty());
    let page = PageRequest::new(Some(TENSORS_PER_PAGE), cursor)?;
    Ok(Contents {
        files: registry.revision_files(&revision).await?,
        weights: registry.weights_assessment(model, &revision).await?,
        tensors: registry.list_tensors(&revision, &wanted, &page).await?,
        tensor_count: registry.count_tensors(&revision, &wanted).await?,
        are_listed: registry.tensors_are_listed(&revision).await?,
        inspection,
        revision,
    })
}

fn content(model: &ModelInfo, contents: &Contents, query: &ContentsQuery) -> Markup {
    html! {
        h1 { (model.name) }
        (tabs(model, query.revision(), Tab::Contents))
        p.quiet { "Revision " code { (contents.revision.commit) } }
        @if let Some(inspection) = &contents.inspection {
            section #precision { h2 { "Size and precision" } (sizes(model, inspection, query)) (histogram(&inspection.precisions)) }
        }
        section #files { h2 { "Files" } (files(model, contents)) }
        @if let Some(inspection) = &contents.inspection { (texts(inspection)) }
        section #tensors { h2 { "Tensors" } (identity(contents.weights.as_ref())) (tensors(model, contents, query)) }
        @if let Some(inspection) = &contents.inspection {
            section #findings {
                h2 { "Findings" }
                @if inspection.findings.is_empty() { p { "Inspection found nothing to mend." } }
                (findings(&inspection.findings))
            }
        }
    }
}

fn sizes(model: &ModelInfo, inspection: &Inspection, query: &ContentsQuery) -> Markup {
    let tokens = query.context().unwrap_or_else(|| inspection.usual_context());
    html! {
        dl.facts {
            dt { "Format" } dd { (or_dash(inspection.format.as_deref())) }
            dt { "Architecture" } dd { (or_dash(inspection.architecture.as_deref())) }
            dt { "Parameters" } dd { (or_dash(inspection.parameters.map(grouped).as_deref())) }
            @if let Some(method) = &inspection.quantization_method { dt { "Packed by" } dd { (method) } }
            dt { "Bits per weight" } dd { (or_dash(inspection.bits_per_weight.map(|bits| format!("{bits:.2}")).as_deref())) }
            dt { "Context length" } dd { (or_dash(inspection.context_length.map(|tokens| format!("{} tokens", grouped(tokens))).as_deref())) }
            @if let Some(memory) = inspection.memory(tokens) { dt { "Memory" } dd { (memory_in_words(&memory)) } }
        }
        @if inspection.weight_bytes.is_some() && inspection.cache.is_some() {
            form.inline method="get" action={ "/models/" (model.name) "/files" } {
                input type="hidden" name="revision" value=(query.revision());
                label for="context" { "Estimate memory for a context of" }
                input #context type="text" inputmode="numeric" name="context" value=(tokens) size="8";
                button type="submit" { "Estimate" }
            }
        }
    }
}

fn memory_in_words(memory: &MemoryEstimate) -> String {
    match memory.cache {
        Some(cache) => format!(
            "about {} for {} tokens: {} of weights and {} of keys and values in 16 bits; engines add buffers of their own",
            bytes(memory.total),
            grouped(memory.context),
            bytes(memory.weights),
            bytes(cache)
        ),
        None => format!("about {} of weights; the files do not say what the context takes", bytes(memory.weights)),
    }
}

fn histogram(precisions: &[Precision]) -> Markup {
    let all: u64 = precisions.iter().map(|precision| precision.parameters).sum::<u64>().max(1);
    html! {
        @if !precisions.is_empty() {
            div.scroll {
                table {
                    caption { "Parameters by precision" }
                    thead { tr { th scope="col" { "Precision" } th scope="col" { "Share" } th.number scope="col" { "Parameters" } th.number scope="col" { "Tensors" } th.number scope="col" { "Size" } } }
                    tbody { @for precision in precisions { (bar(precision, all)) } }
                }
            }
        }
    }
}

fn bar(precision: &Precision, all: u64) -> Markup {
    let permille = u128::from(precision.parameters) * 1000 / u128::from(all);
    let share = format!("{}.{} %", permille / 10, permille % 10);
    html! {
        tr {
            th scope="row" { (precision.name) }
            td { meter min="0" max="1000" value=(permille) aria-label={ "Share of " (precision.name) } { (share) } " " (share) }
            td.number { (grouped(precision.parameters)) }
            td.number { (grouped(precision.tensors)) }
            td.number { (bytes(precision.bytes)) }
        }
    }
}

fn files(model: &ModelInfo, contents: &Contents) -> Markup {
    let size = contents.files.iter().map(|file| file.size).sum();
    let seen = |path: &str| contents.inspection.as_ref()?.files.iter().find(|file| file.path == path);
    html! {
        div.scroll {
            table {
                caption { (things(contents.files.len(), "file")) ", " (bytes(size)) }
                thead {
                    tr {
                        th scope="col" { "Path" } th scope="col" { "Content" } th scope="col" { "Verdict" } th.number scope="col" { "Size" }
                        th.number scope="col" { "Parameters" } th scope="col" { "Precision" } th scope="col" { "SHA-256" }
                    }
                }
                tbody { @for file in contents.files.iter().take(FILES_SHOWN) { (file_row(model, &contents.revision, file, seen(&file.path))) } }
            }
        }
        @if contents.files.len() > FILES_SHOWN { p.quiet { "The first " (FILES_SHOWN) " files are shown." } }
    }
}

fn file_row(model: &ModelInfo, revision: &Revision, file: &FileSpec, seen: Option<&InspectedFile>) -> Markup {
    html! {
        tr {
            th scope="row" { a href={ "/v1/models/" (model.name) "/revisions/" (revision.commit) "/files/" (encoded(&file.path)) } { (file.path) } }
            td { (or_dash(seen.map(|seen| seen.format.replace('_', " ")).as_deref())) }
            td { @match seen { Some(seen) => (verdict(seen.verdict)), None => (or_dash(None)) } }
            td.number { (bytes(file.size)) }
            td.number { (or_dash(seen.and_then(|seen| seen.parameters).map(count).as_deref())) }
            td { (or_dash(seen.and_then(|seen| seen.quantization.as_deref()))) }
            td { code.digest { (file.sha256) } }
        }
    }
}

fn verdict(verdict: InspectionVerdict) -> Markup {
    match verdict {
        InspectionVerdict::Ok => badge("good", "✓", "ok"),
        InspectionVerdict::Suspicious => badge("warn", "!", "suspicious"),
        InspectionVerdict::Unsupported => badge("warn", "?", "unsupported"),
        InspectionVerdict::Unscannable => badge("warn", "?", "unscannable"),
        InspectionVerdict::Malformed => badge("bad", "✕", "malformed"),
        InspectionVerdict::Dangerous => badge("bad", "✕", "dangerous"),
    }
}

/// Tokenizers and chat templates: what a model reads and is told.
fn texts(inspection: &Inspection) -> Markup {
    html! {
        @if !inspection.tokenizers.is_empty() {
            section #tokenizer {
                h2 { "Tokenizer" }
                @for tokenizer in &inspection.tokenizers {
                    h3 { (tokenizer.path) }
                    dl.facts { @for (name, value) in &tokenizer.facts { dt { (name.replace('_', " ")) } dd { (plain(value)) } } }
                }
            }
        }
        @if !inspection.chat_templates.is_empty() {
            section #templates {
                h2 { "Chat templates" }
                @for template in &inspection.chat_templates {
                    h3 { (template.name) span.quiet { " in " (template.path) } }
                    p.quiet { (bytes(template.bytes)) ", SHA-256 " code.digest { (template.sha256) } }
                    details { summary { "Show the template" } pre { code { (template.text.chars().take(MAX_TEMPLATE_CHARS).collect::<String>()) } } }
                }
            }
        }
    }
}

/// A fact's value for people: text without quotation marks.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Bool(true) => "yes".to_owned(),
        serde_json::Value::Bool(false) => "no".to_owned(),
        serde_json::Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), grouped),
        serde_json::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn identity(weights: Option<&WeightsAssessment>) -> Markup {
    html! {
        @if let Some(found) = weights {
            @if let Some(digest) = &found.weights_digest {
                dl.facts { dt { "Weights digest" } dd { code.digest { (digest) } br; span.quiet { "The same for the same weights in other files." } } }
            }
            @if !found.shared.is_empty() {
                div.scroll {
                    table {
                        caption { "Models here that hold tensors of this one, byte for byte" }
                        thead { tr { th scope="col" { "Model" } th scope="col" { "Shares" } th.number scope="col" { "Tensors" } th.number scope="col" { "Size" } th scope="col" { "Relation" } } }
                        tbody { @for other in &found.shared { (shared_row(other)) } }
                    }
                }
            }
            (findings(&found.findings))
        }
    }
}

fn shared_row(other: &SharedWeights) -> Markup {
    let share = if other.identical { "all weights".to_owned() } else { format!("{} % of the bytes", other.percent) };
    html! {
        tr {
            th scope="row" { a href={ "/models/" (other.model) } { (other.model) } }
            td { (share) } td.number { (grouped(other.tensors)) } td.number { (bytes(other.bytes)) }
            td { @if other.declared { "declared" } @else { "not declared" } }
        }
    }
}

fn tensors(model: &ModelInfo, contents: &Contents, query: &ContentsQuery) -> Markup {
    if !contents.are_listed {
        return html! { p.quiet { "No tensors are listed: the revision has no readable weights, or a worker has not read them yet." } };
    }
    let next = contents.tensors.next.as_ref().map(|next| {
        let query = ContentsQuery { cursor: Some(next.clone()), ..query.clone() };
        format!("/models/{}/files?{}#tensors", model.name, serde_urlencoded::to_string(query).unwrap_or_default())
    });
    html! {
        form.inline method="get" action={ "/models/" (model.name) "/files#tensors" } role="search" {
            input type="hidden" name="revision" value=(query.revision());
            label for="search" { "Name contains" }
            input #search type="text" name="search" value=(query.search()) placeholder="attn_q" maxlength="200";
            button type="submit" { "Search" }
        }
        @if contents.tensors.items.is_empty() {
            p.empty { "No tensor's name contains that." }
        } @else {
            div.scroll {
                table {
                    caption { (grouped(contents.tensor_count)) " tensors" @if !query.search().is_empty() { " with “" (query.search()) "” in their name" } }
                    thead {
                        tr {
                            th scope="col" { "Tensor" } th scope="col" { "Type" } th scope="col" { "Shape" }
                            th.number scope="col" { "Size" } th scope="col" { "File" } th scope="col" { "SHA-256" }
                        }
                    }
                    tbody { @for tensor in &contents.tensors.items { (tensor_row(tensor)) } }
                }
            }
            @if let Some(next) = next { p { a rel="next" href=(next) { "Next tensors" } } }
        }
    }
}

fn tensor_row(tensor: &TensorRow) -> Markup {
    html! {
        tr {
            th scope="row" { (tensor.name) }
            td { (tensor.element_type) } td { (dimensions(&tensor.shape).replace('x', " × ")) }
            td.number { (bytes(tensor.byte_length)) } td { (tensor.path) }
            td { @match &tensor.sha256 { Some(digest) => code.digest { (digest.get(..16).unwrap_or(digest)) "…" }, None => (or_dash(None)) } }
        }
    }
}
