//! The bytes of a file, by the path that every client of the Hub builds.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use registry_core::{Caller, FileSpec, ModelInfo, Revision, git};

use super::files::etag;
use super::origin::origin;
use super::refusal::{Answer, REPO_COMMIT, Refusal, Sought};
use super::{Data, find_model, find_revision};
use crate::server::State;
use crate::server::access::Actor;
use crate::server::download::Download;
use crate::v1::files::FilePath;

/// A file of a revision, or a range of it. HEAD reaches the same verdict: some clients take
/// whatever GET sends for the file once HEAD has succeeded.
pub(super) async fn resolve(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<FilePath>,
    request: HttpRequest,
) -> Answer {
    let (model, revision, file) = find(&state, &caller, &path).await?;
    send(&state, &request, &caller, &model, &revision, &file).await
}

/// A file as it stands in git: for one that Git LFS keeps, the text that names it.
pub(super) async fn raw(state: Data, Actor(caller): Actor, path: web::Path<FilePath>, request: HttpRequest) -> Answer {
    let (model, revision, file) = find(&state, &caller, &path).await?;
    if git::is_ordinary(&file.path, file.size) {
        return send(&state, &request, &caller, &model, &revision, &file).await;
    }
    state.registry.authorize_read(&caller, &model, &revision).await?;
    let pointer = git::lfs_pointer(&file);
    let tag = format!("\"{}\"", git::blob_id(pointer.as_bytes()));
    let mut response = HttpResponse::Ok();
    response.insert_header((header::ETAG, tag)).insert_header((REPO_COMMIT, revision.commit.as_str()));
    Ok(response.content_type("text/plain; charset=utf-8").body(pointer))
}

async fn find(state: &State, caller: &Caller, path: &FilePath) -> Answer<(ModelInfo, Revision, FileSpec)> {
    let model = find_model(state, caller, &path.name()?).await?;
    let revision = find_revision(state, &model, &path.revision).await?;
    let file = state.registry.revision_file(&revision, &path.path).await;
    let file = file.map_err(|error| Refusal::from(error).sought(Sought::Entry).at(&revision.commit))?;
    Ok((model, revision, file))
}

async fn send(
    state: &State,
    request: &HttpRequest,
    caller: &Caller,
    model: &ModelInfo,
    revision: &Revision,
    file: &FileSpec,
) -> Answer {
    let ids = state.registry.git_ids(std::slice::from_ref(file)).await?;
    let etag = etag(file, ids.get(&file.sha256));
    let download = Download { state, request, caller, model, revision, file, etag: &etag };
    let refused = |error| Refusal::from(error).at(&revision.commit);
    download.admit().await.map_err(refused)?;
    if download.is_known() {
        return Ok(download.not_modified());
    }
    let mut response = download.send().await?;
    if file.size >= state.xet_download_bytes
        && let Some(hash) = state.registry.xet_hash(&file.sha256).await?
    {
        let token = format!("{}/api/models/{}/xet-read-token/{}", origin(request, state), model.name, revision.commit);
        offer_xet(&mut response, &hash.to_string(), &token);
    }
    Ok(response)
}

/// Tells where the file can be had in chunks: Python refuses larger files over plain HTTP.
fn offer_xet(response: &mut HttpResponse, hash: &str, token_url: &str) {
    let link = format!("<{token_url}>; rel=\"xet-auth\"");
    let headers = [(HeaderName::from_static("x-xet-hash"), hash.to_owned()), (header::LINK, link)];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}
