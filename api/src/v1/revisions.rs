//! Revisions: commit, list, look at, sign.

use actix_web::{HttpResponse, web};

use super::wire::{
    AttachedSignature, CommitRequest, Committed, File, Page, PageQuery, Revision, RevisionDetail, StageStatus,
};
use super::{Data, ModelPath, RevisionPath, read_body};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// Makes a set of files the head of a branch. Repeating the request returns the same revision.
#[utoipa::path(post, path = "/v1/models/{namespace}/{name}/commits", tag = "revisions", request_body = CommitRequest,
    params(ModelPath),
    responses((status = 201, body = Committed), (status = 200, description = "It existed already", body = Committed),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 410, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn commit(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    body: web::Json<CommitRequest>,
) -> Answer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let committed = state.registry.commit(&caller, &model, body.into_inner().parse()?).await?;
    let mut response = if committed.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.json(Committed {
        revision: committed.revision.into(),
        model: model.name.to_string(),
        created: committed.created,
        url: format!("{}/models/{}", state.public_url, model.name),
    }))
}

/// A model's revisions, newest first.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions", tag = "revisions",
    params(ModelPath, PageQuery),
    responses((status = 200, body = Page<Revision>), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn list(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    page: web::Query<PageQuery>,
) -> Answer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let revisions = state.registry.list_revisions(&model, &page.into_inner().parse()?).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(revisions, Revision::from)))
}

/// A revision by commit, branch or tag, with its files and the evidence of every stage.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}", tag = "revisions",
    params(RevisionPath),
    responses((status = 200, body = RevisionDetail), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn show(state: Data, Actor(caller): Actor, path: web::Path<RevisionPath>) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let stages = state.registry.stages(&revision).await?;
    Ok(HttpResponse::Ok().json(RevisionDetail {
        settled: registry_core::is_settled(stages.iter().map(|view| view.state)),
        files: state.registry.revision_files(&revision).await?.into_iter().map(File::from).collect(),
        stages: stages.into_iter().map(StageStatus::from).collect(),
        revision: revision.into(),
        model: model.name.to_string(),
    }))
}

/// Attaches a sigstore bundle to the revision's content: a signature over its files (OpenSSF Model
/// Signing), or an attestation about it (in-toto).
#[utoipa::path(post, path = "/v1/models/{namespace}/{name}/revisions/{revision}/signatures", tag = "revisions",
    params(RevisionPath),
    request_body(content = Vec<u8>, content_type = "application/vnd.dev.sigstore.bundle.v0.3+json"),
    responses((status = 200, body = AttachedSignature), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn attach_signature(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    body: web::Payload,
) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let bundle = read_body(body, "the signature", registry_core::MAX_SIGNATURE_BYTES).await?;
    let digest = state.registry.attach_signature(&caller, &model, &revision, &bundle).await?;
    Ok(HttpResponse::Ok()
        .json(AttachedSignature { sha256: digest.to_string(), content_digest: revision.content_digest.to_string() }))
}
