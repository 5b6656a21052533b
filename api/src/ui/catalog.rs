//! The catalog page: every state of the list stands in its URL.

use actix_web::http::StatusCode;
use actix_web::web;
use maud::{Markup, html};
use registry_core::{CatalogItem, CatalogQuery, Page, PageRequest};

use super::components::{bytes, count, verdict};
use super::layout::{Frame, document};
use super::{PageAnswer, or_dash, page};
use crate::server::State;
use crate::server::access::Actor;
use crate::v1::wire::CatalogParams;

pub(super) async fn show(
    state: web::Data<State>,
    Actor(caller): Actor,
    query: web::Query<CatalogParams>,
) -> PageAnswer {
    let params = filled(query.into_inner());
    let request = PageRequest::new(params.limit, params.cursor.clone())?;
    let environment = params.environment.clone().unwrap_or_else(|| caller.environment().to_owned());
    let search = CatalogQuery {
        search: params.search.clone(),
        namespace: params.namespace.clone(),
        license: params.license.clone(),
        openness: params.openness.clone(),
        architecture: params.architecture.clone(),
        quantization: params.quantization.clone(),
        verdict: params.verdict.clone(),
        environment: environment.clone(),
        order: params.order.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
    };
    let models = state.registry.catalog(&caller, &search, &request).await?;
    let content = html! {
        h1 { "Models" }
        (filters(&params, &environment, &state.registry.environments()))
        (table(&models, &environment))
        @if let Some(next) = &models.next { p { a rel="next" href=(next_page(&params, next)) { "Next page" } } }
    };
    let frame = Frame { title: "Models", caller: Some(&caller), refresh: false };
    Ok(page(StatusCode::OK, document(&frame, &content)))
}

/// Empty fields of the form mean "any".
fn filled(mut params: CatalogParams) -> CatalogParams {
    let fields = [
        &mut params.search,
        &mut params.namespace,
        &mut params.license,
        &mut params.openness,
        &mut params.architecture,
        &mut params.quantization,
        &mut params.verdict,
        &mut params.environment,
        &mut params.order,
    ];
    for field in fields {
        if field.as_deref().is_some_and(|text| text.trim().is_empty()) {
            *field = None;
        }
    }
    params
}

fn next_page(params: &CatalogParams, next: &str) -> String {
    let params = CatalogParams { cursor: Some(next.to_owned()), ..params.clone() };
    // A struct of optional strings and numbers always has a query form.
    format!("/models?{}", serde_urlencoded::to_string(&params).unwrap_or_default())
}

fn filters(params: &CatalogParams, environment: &str, environments: &[String]) -> Markup {
    let openness = [
        "open-access",
        "open-weight-unlicensed",
        "open-weight-restricted",
        "open-weight-copyleft",
        "open-weight-permissive",
        "fully-open",
    ];
    html! {
        form.filters method="get" action="/models" role="search" {
            (text_field("search", "Search", params.search.as_deref(), "name or part of it"))
            (text_field("license", "License", params.license.as_deref(), "Apache-2.0"))
            (choice("openness", "Openness", params.openness.as_deref(), &openness))
            (text_field("architecture", "Architecture", params.architecture.as_deref(), "llama"))
            (text_field("quantization", "Quantization", params.quantization.as_deref(), "Q4_K"))
            (choice("verdict", "Verdict", params.verdict.as_deref(), &["allowed", "denied", "pending"]))
            div.field {
                label for="environment" { "Environment" }
                select #environment name="environment" {
                    @for name in environments { option value=(name) selected[name == environment] { (name) } }
                }
            }
            button type="submit" { "Apply" }
        }
    }
}

fn text_field(name: &str, label: &str, value: Option<&str>, example: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) type="text" name=(name) value=[value] placeholder=(example);
        }
    }
}

fn choice(name: &str, label: &str, value: Option<&str>, choices: &[&str]) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                option value="" { "any" }
                @for choice in choices { option value=(choice) selected[value == Some(*choice)] { (choice) } }
            }
        }
    }
}

fn table(models: &Page<CatalogItem>, environment: &str) -> Markup {
    html! {
        @if models.items.is_empty() {
            p.empty { "No model matches. Push one with " code { "weighhouse push DIR namespace/name" } "." }
        } @else {
            div.scroll {
                table {
                    caption { "Models with their verdict in " strong { (environment) } }
                    thead {
                        tr {
                            th scope="col" { "Model" } th scope="col" { "Verdict" } th scope="col" { "License" }
                            th scope="col" { "Openness" } th scope="col" { "Architecture" } th scope="col" { "Quantization" }
                            th.number scope="col" { "Parameters" } th.number scope="col" { "Size" }
                        }
                    }
                    tbody { @for item in &models.items { (row(item)) } }
                }
            }
        }
    }
}

fn row(item: &CatalogItem) -> Markup {
    html! {
        tr {
            th scope="row" { a href={ "/models/" (item.name) } { (item.name) } }
            td { (verdict(&item.verdict)) }
            td { (or_dash(item.license.as_deref())) }
            td { (or_dash(item.openness.as_deref())) }
            td { (or_dash(item.architecture.as_deref())) }
            td { (or_dash(item.quantization.as_deref())) }
            td.number { (or_dash(item.parameters.map(count).as_deref())) }
            td.number { (bytes(item.size)) }
        }
    }
}
