//! Downloads.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use registry_core::ModelName;
use serde::Deserialize;

use super::wire::DownloadParams;
use super::{Data, syntax};
use crate::server::access::Actor;
use crate::server::download::Download;
use crate::server::problem::{Answer, Problem};

/// Seconds for which a presigned URL works: long enough to begin a transfer.
const PRESIGNED_SECONDS: u64 = 300;

/// A file in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FilePath {
    #[param(value_type = syntax::Segment)]
    pub(crate) namespace: String,
    #[param(value_type = syntax::Segment)]
    pub(crate) name: String,
    /// A commit, branch or tag.
    pub(crate) revision: String,
    /// The file's path; slashes may stand as they are.
    pub(crate) path: String,
}

impl FilePath {
    pub(crate) fn name(&self) -> registry_core::Result<ModelName> {
        format!("{}/{}", self.namespace, self.name).parse()
    }
}

/// A file of a revision, whole or a range, if the gate allows it in the caller's environment.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/files/{path}", tag = "revisions",
    params(FilePath, DownloadParams),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>,
            headers(("ETag" = String, description = "SHA-256 of the file, quoted"))),
        (status = 206, content_type = "application/octet-stream", body = Vec<u8>,
            headers(("ETag" = String, description = "SHA-256 of the file, quoted"),
                ("Content-Range" = String, description = "`bytes FIRST-LAST/SIZE`"))),
        (status = 304, description = "The client has these bytes"),
        (status = 307, description = "The store serves the bytes"),
        (status = 401, body = Problem), (status = 403, description = "Denied or pending, with reasons", body = Problem),
        (status = 404, body = Problem), (status = 416, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn download(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<FilePath>,
    query: web::Query<DownloadParams>,
    request: HttpRequest,
) -> Answer {
    let model = state.registry.find_model(&caller, &path.name()?).await?;
    let revision = state.registry.find_revision(&model, &path.revision).await?;
    let file = state.registry.revision_file(&revision, &path.path).await?;
    let download = Download {
        state: &state,
        request: &request,
        caller: &caller,
        model: &model,
        revision: &revision,
        file: &file,
        etag: file.sha256.as_str(),
    };
    download.admit().await?;
    if download.is_known() {
        return Ok(download.not_modified());
    }
    if query.redirect
        && let Some(url) = state.registry.presigned_blob(&file.sha256, PRESIGNED_SECONDS).await?
    {
        return Ok(HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, url)).finish());
    }
    download.send().await
}
