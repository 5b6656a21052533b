//! The gate, the jobs behind it and the audit log.

use actix_web::{HttpResponse, web};
use registry_core::{
    Caller, Error, JobState, MAIN_BRANCH, ModelInfo, ModelName, PageRequest, Question, Registry, Revision,
};

use super::wire::{
    AuditEvent, AuditHead, AuditVerification, GateAnswer, GateRequest, Job, JobParams, Page, PageQuery, VerifyAudit,
};
use super::{Data, ModelPath};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// May this be used here, and if not, what would make it pass?
///
/// A content digest that several models hold gets the strictest answer; all are listed.
#[utoipa::path(post, path = "/v1/gate", tag = "governance", request_body = GateRequest,
    responses((status = 200, body = GateAnswer), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 410, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn gate(state: Data, Actor(caller): Actor, body: web::Json<GateRequest>) -> Answer {
    let request = body.into_inner();
    let environment = request.environment.clone().unwrap_or_else(|| caller.environment().to_owned());
    let question = Question { environment: environment.clone(), stated_use: request.r#use.clone() };
    let mut decisions = Vec::new();
    for (model, revision) in subjects(&state.registry, &caller, &request).await? {
        decisions.push(state.registry.decide(&model, &revision, &question).await?);
    }
    decisions.sort_by_key(|decision| decision.allowed);
    let allowed = decisions.iter().all(|decision| decision.allowed);
    Ok(HttpResponse::Ok().json(GateAnswer { allowed, environment, decisions }))
}

async fn subjects(
    registry: &Registry,
    caller: &Caller,
    request: &GateRequest,
) -> Result<Vec<(ModelInfo, Revision)>, Error> {
    match (&request.model, &request.content_digest) {
        (Some(model), None) => {
            let (name, revision) = model.split_once('@').unwrap_or((model, MAIN_BRANCH));
            let model = registry.find_model(caller, &name.parse::<ModelName>()?).await?;
            let revision = registry.find_revision(&model, revision).await?;
            Ok(vec![(model, revision)])
        }
        (None, Some(digest)) => {
            let found = registry.revisions_with_content(caller, &digest.parse()?).await?;
            if found.is_empty() {
                return Err(Error::NotFound(format!("content {digest}")));
            }
            Ok(found)
        }
        _ => Err(Error::invalid("request", "give either model or content_digest")),
    }
}

/// A stored decision.
#[utoipa::path(get, path = "/v1/decisions/{id}", tag = "governance", params(("id" = String, Path)),
    responses((status = 200, body = registry_core::Decision), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn decision(state: Data, Actor(caller): Actor, id: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(state.registry.find_decision(&caller, &id).await?))
}

/// Jobs in one state, oldest first; dead ones need a person.
#[utoipa::path(get, path = "/v1/jobs", tag = "governance", params(JobParams),
    responses((status = 200, body = Page<Job>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn jobs(state: Data, Actor(caller): Actor, query: web::Query<JobParams>) -> Answer {
    let query = query.into_inner();
    let page = PageRequest::new(query.limit, query.cursor)?;
    let jobs = state.registry.list_jobs(&caller, query.state.unwrap_or(JobState::Dead), &page).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(jobs, Job::from)))
}

/// Gives a dead job a fresh set of attempts.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "governance", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn retry(state: Data, Actor(caller): Actor, id: web::Path<String>) -> Answer {
    state.registry.retry_job(&caller, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

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
    caller.require(&model.name.namespace, registry_core::Role::Maintainer)?;
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
        created_at: registry_core::rfc3339(head.created_at),
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
