//! The gate and the jobs behind it.

use actix_web::{HttpResponse, web};
use registry_core::{
    Caller, Error, JobState, MAIN_BRANCH, ModelInfo, ModelName, PageRequest, Question, Registry, Revision,
};

use super::Data;
use super::wire::{GateAnswer, GateRequest, Job, JobParams, Page};
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
