//! Branches and tags.

use actix_web::{HttpResponse, web};
use registry_core::{ModelName, RefKind};
use serde::Deserialize;

use super::wire::{Movement, Page, PageQuery, Ref, SetRef, parse_expected};
use super::{Data, ModelPath, syntax};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// A ref in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RefPath {
    #[param(value_type = syntax::Segment)]
    namespace: String,
    #[param(value_type = syntax::Segment)]
    name: String,
    kind: RefKind,
    #[param(value_type = syntax::RefName)]
    r#ref: String,
}

impl RefPath {
    fn model(&self) -> registry_core::Result<ModelName> {
        format!("{}/{}", self.namespace, self.name).parse()
    }
}

/// Branches, then tags, each by name.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/refs", tag = "refs",
    params(ModelPath),
    responses((status = 200, body = [Ref]), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn list(state: Data, Actor(caller): Actor, path: web::Path<ModelPath>) -> Answer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let refs: Vec<Ref> = state.registry.list_refs(&model).await?.into_iter().map(Ref::from).collect();
    Ok(HttpResponse::Ok().json(refs))
}

/// Creates or moves a branch, or creates a tag. With `expected` it is a compare-and-swap.
#[utoipa::path(put, path = "/v1/models/{namespace}/{name}/refs/{kind}/{ref}", tag = "refs", request_body = SetRef,
    params(RefPath),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn set(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RefPath>,
    body: web::Json<SetRef>,
) -> Answer {
    let model = state.registry.find_model(&caller, &path.model()?).await?;
    let to = state.registry.find_revision(&model, &body.revision).await?;
    let expected = parse_expected(body.expected.as_deref())?;
    state.registry.set_ref(&caller, &model, path.kind, &path.r#ref, &to, &expected).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deletes a branch or tag. A tag's name stays bound to the content it had.
#[utoipa::path(delete, path = "/v1/models/{namespace}/{name}/refs/{kind}/{ref}", tag = "refs",
    params(RefPath),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn remove(state: Data, Actor(caller): Actor, path: web::Path<RefPath>) -> Answer {
    let model = state.registry.find_model(&caller, &path.model()?).await?;
    state.registry.delete_ref(&caller, &model, path.kind, &path.r#ref).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Every movement of a ref, newest first; also of one that was deleted.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/refs/{kind}/{ref}/history", tag = "refs",
    params(RefPath,
        PageQuery),
    responses((status = 200, body = Page<Movement>), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn history(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RefPath>,
    page: web::Query<PageQuery>,
) -> Answer {
    let model = state.registry.find_model(&caller, &path.model()?).await?;
    let page = page.into_inner().parse()?;
    let history = state.registry.ref_history(&model, path.kind, &path.r#ref, &page).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(history, Movement::from)))
}
