//! Weights: the tensors of a revision, and other models that hold them.

use actix_web::{HttpResponse, web};
use registry_core::{Error, TensorQuery, TensorRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::evidence::WeightsAssessment;

use super::wire::{Page, PageQuery};
use super::{Data, RevisionPath};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// Which tensors are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TensorParams {
    /// Part of the name, in any case.
    #[param(max_length = 200)]
    search: Option<String>,
    /// Only those of this file.
    path: Option<String>,
    /// Rows on the page; 50 when absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// `next` of the page before.
    #[param(max_length = 2048)]
    cursor: Option<String>,
}

/// One tensor of a weight file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tensor)]
pub(crate) struct TensorItem {
    /// The file that holds it.
    pub(crate) path: String,
    pub(crate) name: String,
    /// The format's own name, such as `Q4_K` or `BF16`.
    pub(crate) element_type: String,
    /// Number of elements per dimension, the slowest-varying first; empty for a scalar.
    pub(crate) shape: Vec<u64>,
    /// Stored bytes.
    pub(crate) byte_length: u64,
    /// Hex SHA-256 of these bytes; absent where they are not at a place of their own in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

impl From<TensorRow> for TensorItem {
    fn from(row: TensorRow) -> Self {
        Self {
            path: row.path,
            name: row.name,
            element_type: row.element_type,
            shape: row.shape,
            byte_length: row.byte_length,
            sha256: row.sha256,
        }
    }
}

/// The tensors of a revision's weights, by file and place in it. Empty until a worker has read the
/// weights, which it does after the inspection.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/tensors", tag = "revisions",
    params(RevisionPath, TensorParams),
    responses((status = 200, body = Page<TensorItem>), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn tensors(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    query: web::Query<TensorParams>,
) -> Answer {
    let (_, revision) = path.find(&state, &caller).await?;
    let TensorParams { search, path, limit, cursor } = query.into_inner();
    let page = PageQuery { limit, cursor }.parse()?;
    let wanted = TensorQuery { search: search.unwrap_or_default(), path };
    let found = state.registry.list_tensors(&revision, &wanted, &page).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(found, TensorItem::from)))
}

/// The digest over all tensors, and other models that share some of them. Not found until a worker
/// has read the weights, and for a revision without readable ones.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/weights", tag = "revisions",
    params(RevisionPath),
    responses((status = 200, body = WeightsAssessment), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn show(state: Data, Actor(caller): Actor, path: web::Path<RevisionPath>) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let found = state.registry.weights_assessment(&model, &revision).await?;
    let found = found.ok_or_else(|| Error::NotFound(format!("weights of {}@{}", model.name, revision.commit)))?;
    Ok(HttpResponse::Ok().json(found))
}
