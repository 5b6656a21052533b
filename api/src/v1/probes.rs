//! Probes of a revision: its reports over time, and one more on demand.

use actix_web::{HttpRequest, HttpResponse, web};

use super::wire::{Page, PageQuery, ProbeRecord, ProbeRequested};
use super::{Data, RevisionPath, idempotency_key};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// Reports that the model had about the same files as this revision, newest first: what they measured,
/// with which engine, and which one counts.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/probes", tag = "revisions",
    params(RevisionPath, PageQuery),
    responses((status = 200, body = Page<ProbeRecord>), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn list(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    page: web::Query<PageQuery>,
) -> Answer {
    let (_, revision) = path.find(&state, &caller).await?;
    let history = state.registry.probe_history(&revision, &page.into_inner().parse()?).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(history, ProbeRecord::from)))
}

/// Has a revision probed again. The report that it has counts until there is a new one; both are kept.
/// While a probe of the revision waits or runs, asking again changes nothing.
#[utoipa::path(post, path = "/v1/models/{namespace}/{name}/revisions/{revision}/probe", tag = "revisions",
    params(RevisionPath, ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 128,
        pattern = "^[ -~]+$",
        description = "Makes a repeat safe: a request of the same caller under the same key is made once.")),
    responses((status = 202, body = ProbeRequested),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 410, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn request(
    state: Data,
    Actor(caller): Actor,
    request: HttpRequest,
    path: web::Path<RevisionPath>,
) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let key = idempotency_key(&request, &(&model.id, &revision.commit))?;
    let found = state.registry.request_probe(&caller, &model, &revision, key.as_ref()).await?;
    let (model, commit) = (model.name.to_string(), revision.commit.to_string());
    Ok(HttpResponse::Accepted().json(ProbeRequested { model, commit, state: found }))
}
