//! Searching models, and what clients ask about themselves and the server.

use actix_web::{HttpRequest, HttpResponse};
use registry_core::{CatalogItem, CatalogOrder, CatalogQuery, rfc3339};
use serde_json::{Value, json};

use super::Data;
use super::query::Query;
use super::read::with_next;
use super::refusal::{Answer, Refusal};
use crate::server::access::Actor;

/// Models on a page.
const LISTED: u64 = 500;

/// No program is treated in another way than others.
pub(super) async fn agent_harnesses() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "standardEnvVars": [], "harnesses": {} }))
}

/// Who the token is.
pub(super) async fn whoami(Actor(caller): Actor) -> HttpResponse {
    let role = if caller.scope() > Some(registry_core::Role::Reader) { "write" } else { "read" };
    HttpResponse::Ok().json(json!({
        "type": "user",
        "id": caller.subject(),
        "name": caller.subject(),
        "fullname": caller.subject(),
        "orgs": [],
        "auth": {
            "type": "access_token",
            "accessToken": { "displayName": caller.token_id(), "role": role },
        },
    }))
}

/// The models that the caller may see and that match.
pub(super) async fn models(state: Data, Actor(caller): Actor, request: HttpRequest) -> Answer {
    let query = Query::of(&request)?;
    let mut search = CatalogQuery {
        search: query.text("search").map(str::to_owned),
        namespace: query.text("author").map(str::to_owned),
        environment: caller.environment().to_owned(),
        ..CatalogQuery::default()
    };
    for filter in query.all("filter") {
        narrow(&mut search, filter)?;
    }
    check_supported(&query)?;
    search.order = order(&query)?;
    // Nothing here is gated in the Hub's sense: whether a file is given out, the gate decides.
    if query.flag("gated") {
        return Ok(HttpResponse::Ok().json(json!([])));
    }
    let page = state.registry.catalog(&caller, &search, &query.page(LISTED, LISTED)?).await?;
    let rows: Value = page.items.iter().map(document).collect();
    Ok(with_next(&request, &state, &query, page.next.as_deref(), &rows))
}

/// An unknown filter is refused: ignoring it would list models that do not match.
fn narrow(search: &mut CatalogQuery, filter: &str) -> Answer<()> {
    match filter.split_once(':') {
        Some(("license", license)) => search.license = Some(license.to_owned()),
        Some(("openness", openness)) => search.openness = Some(openness.to_owned()),
        Some(("architecture", architecture)) => search.architecture = Some(architecture.to_owned()),
        Some(("quantization", quantization)) => search.quantization = Some(quantization.to_owned()),
        _ => {
            return Err(Refusal::bad_request(format!(
                "This registry does not index {filter:?}; it filters by license:, openness:, architecture: and quantization:."
            )));
        }
    }
    Ok(())
}

fn check_supported(query: &Query) -> Answer<()> {
    for name in ["pipeline_tag", "num_parameters", "apps", "inference", "inference_provider"] {
        if query.text(name).is_some() {
            return Err(Refusal::bad_request(format!("This registry does not filter by {name}.")));
        }
    }
    Ok(())
}

fn order(query: &Query) -> Answer<CatalogOrder> {
    match query.text("sort") {
        // Nothing is counted, so every model is as popular as the next one.
        None | Some("trendingScore" | "trending_score" | "downloads" | "likes") => Ok(CatalogOrder::Name),
        Some("lastModified" | "last_modified") => Ok(CatalogOrder::Updated),
        Some(other) => {
            let refusal = format!("This registry lists models by name or by their last change, not by {other}.");
            Err(Refusal::bad_request(refusal))
        }
    }
}

fn document(item: &CatalogItem) -> Value {
    let mut document = super::model_document(&item.name, item.visibility, item.commit.as_ref());
    document["lastModified"] = rfc3339(item.updated_at).into();
    let facts = [
        ("", &item.format),
        ("license:", &item.license),
        ("openness:", &item.openness),
        ("architecture:", &item.architecture),
        ("quantization:", &item.quantization),
    ];
    let tags = facts.into_iter().filter_map(|(prefix, fact)| Some(format!("{prefix}{}", fact.as_ref()?)));
    document["tags"] = tags.collect::<Vec<_>>().into();
    document
}
