//! Models: list, create, look at, rename, delete.

use actix_web::{HttpResponse, web};
use registry_core::{CatalogQuery, Error, ModelChange, ModelKind, PageRequest};

use super::wire::{CatalogItem, CatalogParams, ChangeModel, CreateModel, Model, ModelDetail, NamePeriod, Page, Ref};
use super::{Data, ModelPath};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// The catalog: models that the caller may see, by name or the last changed first.
#[utoipa::path(get, path = "/v1/models", tag = "models", params(CatalogParams),
    responses((status = 200, body = Page<CatalogItem>), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn list(state: Data, Actor(caller): Actor, query: web::Query<CatalogParams>) -> Answer {
    let query = query.into_inner();
    let page = PageRequest::new(query.limit, query.cursor)?;
    let order = query.order.as_deref().map(str::parse).transpose()?;
    let query = CatalogQuery {
        search: query.search,
        namespace: query.namespace,
        license: query.license,
        openness: query.openness,
        architecture: query.architecture,
        quantization: query.quantization,
        verdict: query.verdict,
        environment: query.environment.unwrap_or_else(|| caller.environment().to_owned()),
        order: order.unwrap_or_default(),
    };
    let found = state.registry.catalog(&caller, &query, &page).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(found, CatalogItem::from)))
}

/// Creates a model without revisions, or a reference with its card.
#[utoipa::path(post, path = "/v1/models", tag = "models", request_body = CreateModel,
    responses((status = 201, body = Model, headers(("Location" = String, description = "The model"))), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn create(state: Data, Actor(caller): Actor, body: web::Json<CreateModel>) -> Answer {
    let name = body.name.parse()?;
    let info = match (&body.reference, body.kind) {
        (None, kind) => state.registry.create_model(&caller, &name, kind, body.visibility).await?,
        (Some(about), ModelKind::Reference) => {
            state.registry.create_reference(&caller, &name, body.visibility, about).await?
        }
        (Some(_), ModelKind::Model) => {
            return Err(Error::invalid("reference", "describes a model of kind reference").into());
        }
    };
    let location = format!("{}/v1/models/{}", state.public_url, info.name);
    Ok(HttpResponse::Created().insert_header(("Location", location)).json(Model::from(info)))
}

/// A model by its present name, or by one it had.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}", tag = "models",
    params(ModelPath),
    responses((status = 200, body = ModelDetail), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 410, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn show(state: Data, Actor(caller): Actor, path: web::Path<ModelPath>) -> Answer {
    let info = state.registry.find_model(&caller, &path.name()?).await?;
    let names = state.registry.name_history(&info).await?.into_iter().map(NamePeriod::from).collect();
    let refs = state.registry.list_refs(&info).await?.into_iter().map(Ref::from).collect();
    Ok(HttpResponse::Ok().json(ModelDetail { model: info.into(), names, refs }))
}

/// Renames a model or changes who sees it.
#[utoipa::path(patch, path = "/v1/models/{namespace}/{name}", tag = "models", request_body = ChangeModel,
    params(ModelPath),
    responses((status = 200, body = Model), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    body: web::Json<ChangeModel>,
) -> Answer {
    let change = ModelChange { name: body.name.as_deref().map(str::parse).transpose()?, visibility: body.visibility };
    let info = state.registry.change_model(&caller, &path.name()?, change).await?;
    Ok(HttpResponse::Ok().json(Model::from(info)))
}

/// Deletes a model. Its name stays reserved; evidence, decisions and events stay.
#[utoipa::path(delete, path = "/v1/models/{namespace}/{name}", tag = "models",
    params(ModelPath),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn remove(state: Data, Actor(caller): Actor, path: web::Path<ModelPath>) -> Answer {
    state.registry.delete_model(&caller, &path.name()?).await?;
    Ok(HttpResponse::NoContent().finish())
}
