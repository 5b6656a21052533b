//! Reading: how a file consists of chunks, and the bytes of them.
//!
//! The gate is asked when a client wants to know how a file is put together. The answer holds
//! links that serve exactly the bytes that it names, for a short time.

use std::collections::BTreeMap;

use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use futures::future::LocalBoxFuture;
use registry_core::{
    Access, ByteRange, Error, ModelInfo, Reconstruction, ReconstructionTerm, Revision, Sha256Digest, XetHash, now_ms,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::refusal::{Answer, Refusal, Sought};
use super::super::{Data, find_model, origin};
use super::actor::XetActor;
use super::{FileHashPath, HashPath};
use crate::server::download::parse_range;
use crate::server::problem::Failure;
use crate::server::state;

/// What a link to bytes is signed for.
const PURPOSE: &str = "xet-fetch";
/// How long a link is valid: enough to begin a transfer; clients ask for a new one.
const VALID_MS: i64 = 600_000;

/// Which bytes a link serves.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    xorb: String,
    start: u64,
    end: u64,
}

/// Whether a chunk is stored: never said, see the head of [`super`].
pub(super) async fn find_chunk(_actor: XetActor, path: web::Path<HashPath>) -> Answer {
    path.hash()?;
    Ok(HttpResponse::NotFound().finish())
}

/// The first form of the answer: links by xorb, one for each range of chunks.
pub(super) async fn reconstruct_v1(
    state: Data,
    actor: XetActor,
    path: web::Path<FileHashPath>,
    request: HttpRequest,
) -> Answer {
    let found = reconstruct(&state, &actor, &path.file, &request).await?;
    let fetch_info = links(
        &state,
        &actor,
        &request,
        &found,
        |term, url| json!({ "range": chunks(term), "url": url, "url_range": bytes(term) }),
    )?;
    Ok(HttpResponse::Ok().json(json!({
        "offset_into_first_range": found.offset_into_first_range,
        "terms": terms(&found),
        "fetch_info": fetch_info,
    })))
}

/// The second form, in which a link may serve several ranges; here each serves one.
pub(super) async fn reconstruct_v2(
    state: Data,
    actor: XetActor,
    path: web::Path<FileHashPath>,
    request: HttpRequest,
) -> Answer {
    let found = reconstruct(&state, &actor, &path.file, &request).await?;
    let xorbs = links(
        &state,
        &actor,
        &request,
        &found,
        |term, url| json!({ "url": url, "ranges": [{ "chunks": chunks(term), "bytes": bytes(term) }] }),
    )?;
    Ok(HttpResponse::Ok().json(json!({
        "offset_into_first_range": found.offset_into_first_range,
        "terms": terms(&found),
        "xorbs": xorbs,
    })))
}

async fn reconstruct(state: &Data, actor: &XetActor, file: &str, request: &HttpRequest) -> Answer<Reconstruction> {
    let model = find_model(state, &actor.caller, &actor.model).await?;
    let missing = || Refusal::from(Error::NotFound(format!("file {file}"))).sought(Sought::Entry);
    let digest = state.registry.xet_file(file.parse()?).await?.ok_or_else(missing)?;
    admit(state, actor, &model, &digest).await?.ok_or_else(missing)?;
    let size = state.registry.blob_size(&digest).await?;
    let header = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = match header.and_then(|range| range.strip_prefix("bytes=")) {
        Some(spec) => parse_range(spec, size).ok_or(Failure::Range(size))?,
        None if size == 0 => return Ok(Reconstruction { offset_into_first_range: 0, terms: Vec::new() }),
        None => ByteRange { start: 0, end: size },
    };
    Ok(state.registry.reconstruct(&digest, range).await?)
}

/// Asks the gate for the revisions of the model that hold the file, and notes the read, allowed
/// or not. None if no revision holds it.
async fn admit(state: &Data, actor: &XetActor, model: &ModelInfo, digest: &Sha256Digest) -> Answer<Option<()>> {
    let mut refused: Option<(Revision, Error)> = None;
    for revision in state.registry.revisions_with(model, digest).await? {
        match state.registry.authorize_read(&actor.caller, model, &revision).await {
            Ok(()) => {
                note(state, actor, model, &revision, digest, "allowed").await?;
                return Ok(Some(()));
            }
            Err(error) => refused = refused.or(Some((revision, error))),
        }
    }
    let Some((revision, error)) = refused else { return Ok(None) };
    note(state, actor, model, &revision, digest, "denied").await?;
    Err(error.into())
}

async fn note(
    state: &Data,
    actor: &XetActor,
    model: &ModelInfo,
    revision: &Revision,
    digest: &Sha256Digest,
    outcome: &'static str,
) -> Answer<()> {
    let access = Access { action: "reconstruct", model, revision, sha256: Some(digest), outcome };
    Ok(state.registry.record_access(&actor.caller, access).await?)
}

fn terms(found: &Reconstruction) -> Vec<Value> {
    let term = |term: &ReconstructionTerm| json!({ "hash": term.xorb.to_string(), "unpacked_length": term.length, "range": chunks(term) });
    found.terms.iter().map(term).collect()
}

fn chunks(term: &ReconstructionTerm) -> Value {
    json!({ "start": term.first_chunk, "end": term.end_chunk })
}

/// As a `Range` header counts, with the last byte.
fn bytes(term: &ReconstructionTerm) -> Value {
    json!({ "start": term.object.start, "end": term.object.end - 1 })
}

/// A link for each range of chunks, by xorb.
fn links(
    state: &Data,
    actor: &XetActor,
    request: &HttpRequest,
    found: &Reconstruction,
    render: impl Fn(&ReconstructionTerm, String) -> Value,
) -> Answer<BTreeMap<String, Vec<Value>>> {
    let base = format!("{}/xet/fetch", origin::origin(request, state));
    let expires_at = now_ms() + VALID_MS;
    let mut distinct = BTreeMap::new();
    for term in &found.terms {
        distinct.insert((term.xorb, term.first_chunk, term.end_chunk), term);
    }
    let mut links: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for term in distinct.into_values() {
        let xorb = term.xorb.to_string();
        let (start, end) = (term.object.start, term.object.end);
        let claims = Claims { xorb: xorb.clone(), start, end };
        let capability = state.registry.issue_capability(&actor.caller, PURPOSE, expires_at, &claims)?;
        links.entry(xorb).or_default().push(render(term, format!("{base}/{capability}")));
    }
    Ok(links)
}

/// Bytes that a link serves.
#[derive(Debug)]
pub(super) struct Granted {
    xorb: XetHash,
    range: ByteRange,
}

impl FromRequest for Granted {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Answer<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = state(&request)?;
            let capability = request.match_info().get("capability").unwrap_or_default();
            let (_, claims) = state.registry.open_capability::<Claims>(PURPOSE, capability).await?;
            Ok(Self { xorb: claims.xorb.parse()?, range: ByteRange { start: claims.start, end: claims.end } })
        })
    }
}

/// The bytes of a link, or a range of them; offsets are those of the xorb.
pub(super) async fn fetch(state: Data, granted: Granted, request: HttpRequest) -> Answer {
    let header = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = match header.and_then(|range| range.strip_prefix("bytes=")) {
        Some(spec) => {
            let within = |range: &ByteRange| range.start >= granted.range.start;
            parse_range(spec, granted.range.end).filter(within).ok_or(Failure::Range(granted.range.end))?
        }
        None => granted.range,
    };
    let body = if request.method() == Method::HEAD {
        Box::pin(futures::stream::empty())
    } else {
        state.registry.stream_xorb(granted.xorb, range).await?
    };
    let response = HttpResponse::build(StatusCode::PARTIAL_CONTENT)
        .insert_header((header::CONTENT_RANGE, format!("bytes {}-{}/*", range.start, range.end - 1)))
        .content_type("application/octet-stream")
        .body(actix_web::body::SizedStream::new(range.end - range.start, body));
    Ok(response)
}
