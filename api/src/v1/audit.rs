//! The audit log: what it says, and what it proves to whoever keeps a head of it.

use actix_web::{HttpResponse, web};
use registry_core::{Error, Role, rfc3339};
use verifier::provenance::transparency::proof::ConsistencyProof;

use super::wire::{
    AuditEvent, AuditHead, AuditVerification, ConsistencyQuery, Page, PageQuery, RegistryKey, VerifyAudit,
};
use super::{Data, ModelPath};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// Events of one model, newest first.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/events", tag = "governance",
    params(ModelPath, PageQuery),
    responses((status = 200, body = Page<AuditEvent>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn model_events(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    page: web::Query<PageQuery>,
) -> Answer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    caller.require(&model.name.namespace, Role::Maintainer)?;
    let events = state.registry.audit_events(&caller, Some(&model.id), &page.into_inner().parse()?).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(events, AuditEvent::from)))
}

/// All events, newest first.
#[utoipa::path(get, path = "/v1/audit/events", tag = "governance", params(PageQuery),
    responses((status = 200, body = Page<AuditEvent>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn events(state: Data, Actor(caller): Actor, page: web::Query<PageQuery>) -> Answer {
    let events = state.registry.audit_events(&caller, None, &page.into_inner().parse()?).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(events, AuditEvent::from)))
}

/// The newest signed head of the audit log. Keep it elsewhere: held against the log later, it
/// shows whether anything was cut off.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "governance",
    responses((status = 200, body = AuditHead), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn checkpoint(state: Data, Actor(_caller): Actor) -> Answer {
    let newest = state.registry.latest_checkpoint().await?;
    let head = newest.ok_or_else(|| Error::NotFound("a checkpoint".into()))?;
    Ok(HttpResponse::Ok().json(AuditHead {
        tree_size: head.tree_size,
        root_hash: head.root_hash,
        note: head.note,
        created_at: rfc3339(head.created_at),
        verifier: state.registry.log_verifier(),
    }))
}

/// Recomputes the whole audit log and compares it with every signed head.
#[utoipa::path(post, path = "/v1/audit/verify", tag = "governance", request_body = VerifyAudit,
    responses((status = 200, body = AuditVerification), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(crate) async fn verify(state: Data, Actor(caller): Actor, body: web::Json<VerifyAudit>) -> Answer {
    caller.require_site_admin()?;
    let report = state.registry.verify_audit_log(&body.known_checkpoints).await?;
    Ok(HttpResponse::Ok().json(AuditVerification::from(report)))
}

/// The proof that an event is in the log, as a C2SP `tlog-proof`: with the event's leaf and the
/// log's key it is all that is needed to check it, offline and years later. An event that has no
/// place in the tree yet, a second at most, is not found.
#[utoipa::path(get, path = "/v1/audit/events/{id}/proof", tag = "governance", params(("id" = String, Path)),
    responses((status = 200, content_type = "text/plain", body = String), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn proof(state: Data, Actor(_caller): Actor, id: web::Path<String>) -> Answer {
    let proof = state.registry.log_proof(&id).await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(proof.to_string()))
}

/// The leaf of an event, byte for byte as it was hashed. For maintainers of the model that it is
/// about, and for site administrators.
#[utoipa::path(get, path = "/v1/audit/events/{id}/leaf", tag = "governance", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = String),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn leaf(state: Data, Actor(caller): Actor, id: web::Path<String>) -> Answer {
    let leaf = state.registry.audit_leaf(&caller, &id).await?;
    Ok(HttpResponse::Ok().content_type("application/octet-stream").body(leaf))
}

/// The proof that the log still begins with everything that it held at an earlier size.
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "governance", params(ConsistencyQuery),
    responses((status = 200, body = ConsistencyProof), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn consistency(state: Data, Actor(_caller): Actor, query: web::Query<ConsistencyQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(state.registry.log_consistency(query.from, query.to).await?))
}

/// The registry's public keys, oldest first of each purpose; each but the first was named by the
/// one before it.
#[utoipa::path(get, path = "/v1/audit/keys", tag = "governance",
    responses((status = 200, body = Vec<RegistryKey>), (status = 401, body = Problem)))]
pub(crate) async fn keys(state: Data, Actor(_caller): Actor) -> Answer {
    Ok(HttpResponse::Ok().json(RegistryKey::list(state.registry.keys().await?)))
}
