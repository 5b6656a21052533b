//! Downloads: ranges, validators and the gate.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use registry_core::{Access, ByteRange, Caller, Error, FileSpec, ModelInfo, ModelName, Revision};
use serde::Deserialize;

use super::wire::DownloadParams;
use super::{Data, syntax};
use crate::server::State;
use crate::server::access::Actor;
use crate::server::problem::{Answer, Failure, Problem};

/// Seconds for which a presigned URL works: long enough to begin a transfer.
const PRESIGNED_SECONDS: u64 = 300;

/// A file in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FilePath {
    #[param(value_type = syntax::Segment)]
    namespace: String,
    #[param(value_type = syntax::Segment)]
    name: String,
    /// A commit, branch or tag.
    revision: String,
    /// The file's path; slashes may stand as they are.
    path: String,
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
    let name: ModelName = format!("{}/{}", path.namespace, path.name).parse()?;
    let model = state.registry.find_model(&caller, &name).await?;
    let revision = state.registry.find_revision(&model, &path.revision).await?;
    let file = state.registry.revision_file(&revision, &path.path).await?;
    admit(&state, &caller, &model, &revision, &file).await?;
    if has_same_bytes(&request, &file) {
        return Ok(HttpResponse::NotModified().insert_header(etag(&file)).finish());
    }
    if query.redirect
        && let Some(url) = state.registry.presigned_blob(&file.sha256, PRESIGNED_SECONDS).await?
    {
        return Ok(HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, url)).finish());
    }
    send(&state, &request, &revision, &file).await
}

/// Asks the gate and notes the read, allowed or not.
async fn admit(
    state: &State,
    caller: &Caller,
    model: &ModelInfo,
    revision: &Revision,
    file: &FileSpec,
) -> Result<(), Error> {
    let admitted = state.registry.authorize_read(caller, model, revision).await;
    let outcome = if admitted.is_ok() { "allowed" } else { "denied" };
    let access = Access { action: "download", model, revision, sha256: Some(&file.sha256), outcome };
    state.registry.record_access(caller, access).await?;
    admitted
}

fn etag(file: &FileSpec) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{}\"", file.sha256))
}

fn has_same_bytes(request: &HttpRequest, file: &FileSpec) -> bool {
    let header = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = |tag: &str| matches!(tag.trim(), "*") || tag.trim().trim_matches('"') == file.sha256.as_str();
    header.is_some_and(|tags| tags.split(',').any(same))
}

async fn send(state: &State, request: &HttpRequest, revision: &Revision, file: &FileSpec) -> Answer {
    let requested = requested_range(request, file)?;
    let range = requested.unwrap_or(ByteRange { start: 0, end: file.size });
    let status = if requested.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = HttpResponse::build(status);
    response
        .insert_header(etag(file))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header(("X-Repo-Commit", revision.commit.as_str()))
        .insert_header((header::CONTENT_DISPOSITION, "attachment"))
        .content_type("application/octet-stream");
    if requested.is_some() {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        response.insert_header((header::CONTENT_RANGE, content_range));
    }
    // For HEAD no stream is opened; actix keeps the length and drops the body.
    let body = if request.method() == actix_web::http::Method::HEAD {
        Box::pin(futures::stream::empty())
    } else {
        state.registry.stream_blob(&file.sha256, range).await?
    };
    Ok(response.body(actix_web::body::SizedStream::new(range.end - range.start, body)))
}

/// The one range asked for, if it is still about these bytes. Several ranges are answered
/// with the whole file, as RFC 9110 allows.
fn requested_range(request: &HttpRequest, file: &FileSpec) -> Answer<Option<ByteRange>> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|tag| tag.trim_matches('"') != file.sha256.as_str()) {
        return Ok(None);
    }
    let Some(spec) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else { return Ok(None) };
    if spec.contains(',') {
        return Ok(None);
    }
    parse_range(spec, file.size).map(Some).ok_or(Failure::Range(file.size))
}

fn parse_range(spec: &str, size: u64) -> Option<ByteRange> {
    let (first, last) = spec.split_once('-')?;
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => {
            let length: u64 = suffix.parse().ok()?;
            ByteRange { start: size.saturating_sub(length), end: size }
        }
        (first, "") => ByteRange { start: first.parse().ok()?, end: size },
        (first, last) => {
            ByteRange { start: first.parse().ok()?, end: last.parse::<u64>().ok()?.saturating_add(1).min(size) }
        }
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(spec: &str) -> Option<(u64, u64)> {
        parse_range(spec, 10).map(|range| (range.start, range.end))
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        assert_eq!(range("0-0"), Some((0, 1)));
        assert_eq!(range("2-"), Some((2, 10)));
        assert_eq!(range("-3"), Some((7, 10)));
        assert_eq!(range("-30"), Some((0, 10)));
        assert_eq!(range("5-99"), Some((5, 10)));
        for unsatisfiable in ["10-", "3-2", "-0", "x-1", "1", ""] {
            assert_eq!(range(unsatisfiable), None, "{unsatisfiable}");
        }
    }
}
