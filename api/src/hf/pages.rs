//! The addresses that clients print for a person, led to the pages of this registry.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::origin::origin;
use super::refusal::Answer;
use super::{Data, READ, find_model};
use crate::server::access::Actor;
use crate::server::routes::RouteTable;

pub(super) fn routes(table: &mut RouteTable) {
    for path in [
        "/{namespace}/{name}",
        "/{namespace}/{name}/commit/{rest:.*}",
        "/{namespace}/{name}/tree/{rest:.*}",
        "/{namespace}/{name}/blob/{rest:.*}",
    ] {
        table.add(Method::GET, path, READ, show);
    }
}

#[derive(Debug, Deserialize)]
struct PagePath {
    namespace: String,
    name: String,
}

async fn show(state: Data, Actor(caller): Actor, path: web::Path<PagePath>, request: HttpRequest) -> Answer {
    let model = find_model(&state, &caller, &super::name(&path.namespace, &path.name)?).await?;
    let page = format!("{}/models/{}", origin(&request, &state), model.name);
    Ok(HttpResponse::Found().insert_header((header::LOCATION, page)).finish())
}
