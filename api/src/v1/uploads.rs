//! Uploads: declare, send, resume.

use std::io;

use actix_web::{HttpResponse, web};
use futures::StreamExt;
use registry_core::FileSpec;

use super::wire::{DeclareUploads, DeclaredUpload, DeclaredUploads, File, Upload, UploadParams};
use super::{Data, ModelPath};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// Declares files and learns which bytes have to be sent. Bytes that the namespace has no
/// right to are always asked for, whether or not the server holds them.
#[utoipa::path(post, path = "/v1/models/{namespace}/{name}/uploads", tag = "uploads", request_body = DeclareUploads,
    params(ModelPath),
    responses((status = 200, body = DeclaredUploads), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn declare(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    body: web::Json<DeclareUploads>,
) -> Answer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let mut files: Vec<FileSpec> =
        body.into_inner().files.into_iter().map(File::parse).collect::<registry_core::Result<_>>()?;
    registry_core::check_files(&mut files)?;
    let uploads = state.registry.declare_uploads(&caller, &model.name.namespace, &files).await?;
    let uploads = uploads.into_iter().map(DeclaredUpload::from).collect();
    Ok(HttpResponse::Ok().json(DeclaredUploads { uploads }))
}

/// Where an upload stands.
#[utoipa::path(get, path = "/v1/uploads/{id}", tag = "uploads", params(("id" = String, Path)),
    responses((status = 200, body = Upload), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn show(state: Data, Actor(caller): Actor, id: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(Upload::from(state.registry.upload_state(&caller, &id).await?)))
}

/// Sends bytes from `offset` on. A broken connection keeps what arrived; the last byte
/// verifies the digest. Ask for the upload's state to learn where to continue.
#[utoipa::path(put, path = "/v1/uploads/{id}", tag = "uploads", params(("id" = String, Path), UploadParams),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Upload), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 507, body = Problem)))]
pub(crate) async fn send(
    state: Data,
    Actor(caller): Actor,
    id: web::Path<String>,
    query: web::Query<UploadParams>,
    body: web::Payload,
) -> Answer {
    let body = body.map(|chunk| chunk.map_err(io::Error::other));
    let upload = state.registry.write_upload(&caller, &id, query.offset, body).await?;
    Ok(HttpResponse::Ok().json(Upload::from(upload)))
}

/// Ends an upload and discards its bytes.
#[utoipa::path(delete, path = "/v1/uploads/{id}", tag = "uploads", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn abort(state: Data, Actor(caller): Actor, id: web::Path<String>) -> Answer {
    state.registry.abort_upload(&caller, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
