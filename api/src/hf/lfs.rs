//! Git LFS (batch API, version 1), with the multipart transfer of the Hub's clients.
//!
//! Clients send bytes to these URLs without their token, so each URL is a capability: for one
//! object of one size in one namespace, for some hours, and only while the token that asked
//! for it counts.

use std::io;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::StreamExt;
use registry_core::{Caller, Error, FileSpec, MAIN_BRANCH, ModelInfo, Sha256Digest, now_ms};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::origin::origin;
use super::refusal::{Answer, Refusal, Sought};
use super::{Data, ModelPath, READ, find_model, read_json};
use crate::server::State;
use crate::server::access::{Actor, Permission, client};
use crate::server::download::Download;
use crate::server::routes::RouteTable;

const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
const UPLOAD: &str = "lfs-upload";
const DOWNLOAD: &str = "lfs-download";
/// How long a URL can be used, in seconds: a transfer of 500 GB at 30 MB/s ends within it.
const VALID_SECONDS: i64 = 6 * 3600;
/// Largest body that is not a file, in bytes.
const MAX_BODY: usize = 4 << 20;
/// Most objects in one batch; the specification suggests 100.
const MAX_OBJECTS: usize = 1000;

pub(super) fn routes(table: &mut RouteTable) {
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    // Downloads need no more than reading; the handler asks for the writer's role itself.
    table.add(post.clone(), "/{namespace}/{name}.git/info/lfs/objects/batch", READ, batch);
    table.add(put.clone(), "/lfs/upload/{capability}", Permission::Capability, upload);
    table.add(put, "/lfs/upload/{capability}/parts/{part}", Permission::Capability, upload_part);
    table.add(post.clone(), "/lfs/upload/{capability}/complete", Permission::Capability, complete);
    table.add(post, "/lfs/upload/{capability}/verify", Permission::Capability, verify);
    table.add(get, "/lfs/download/{capability}", Permission::Capability, download);
}

#[derive(Debug, Deserialize)]
struct Batch {
    operation: Operation,
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
    hash_algo: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Upload,
    Download,
}

#[derive(Debug, Clone, Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

impl Object {
    /// Objects have no path here; errors name them by their digest.
    fn file(&self) -> registry_core::Result<FileSpec> {
        Ok(FileSpec { path: self.oid.clone(), sha256: self.oid.parse()?, size: self.size })
    }
}

/// What an upload's URL allows.
#[derive(Debug, Serialize, Deserialize)]
struct UploadClaims {
    namespace: String,
    sha256: Sha256Digest,
    size: u64,
    /// Bytes of each part but the last; none where the object comes in one piece.
    part_bytes: Option<u64>,
}

impl UploadClaims {
    fn file(&self) -> FileSpec {
        FileSpec { path: self.sha256.to_string(), sha256: self.sha256.clone(), size: self.size }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct DownloadClaims {
    namespace: String,
    name: String,
    sha256: Sha256Digest,
}

/// Says for each object how to send or fetch it. What the namespace has a right to is not
/// asked for again; whether the store has bytes otherwise, nobody learns.
async fn batch(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    request: HttpRequest,
    body: web::Payload,
) -> Answer {
    let asked: Batch = read_json(body, MAX_BODY).await?;
    // The JavaScript client writes it with an underscore.
    if asked.hash_algo.is_some_and(|algorithm| !matches!(algorithm.as_str(), "sha256" | "sha_256")) {
        return Err(Refusal::bad_request("Only sha256 names objects."));
    }
    if asked.objects.len() > MAX_OBJECTS {
        return Err(Refusal::bad_request(format!("At most {MAX_OBJECTS} objects can be asked about at once.")));
    }
    let model = find_model(&state, &caller, &path.name()?).await?;
    let links = Links { state: &state, caller: &caller, model: &model, origin: origin(&request, &state) };
    let (transfer, objects) = match asked.operation {
        Operation::Download => ("basic", links.downloads(&asked.objects).await?),
        Operation::Upload => {
            caller.require_writer(&model.name.namespace)?;
            links.uploads(&asked.objects, &asked.transfers).await?
        }
    };
    let document = json!({ "transfer": transfer, "objects": objects, "hash_algo": "sha256" });
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body(document.to_string()))
}

/// Makes the URLs of one batch.
struct Links<'a> {
    state: &'a State,
    caller: &'a Caller,
    model: &'a ModelInfo,
    origin: String,
}

impl Links<'_> {
    fn sign(&self, purpose: &str, claims: &impl Serialize) -> registry_core::Result<String> {
        let expires_at = now_ms() + VALID_SECONDS * 1000;
        self.state.registry.issue_capability(self.caller, purpose, expires_at, claims)
    }

    async fn uploads(&self, objects: &[Object], offered: &[String]) -> Answer<(&'static str, Vec<Value>)> {
        let offers = |name: &str| offered.iter().any(|offer| offer == name);
        let parts = offers("multipart").then_some(self.state.multipart_bytes);
        let mut told = Vec::with_capacity(objects.len());
        for object in objects {
            told.push(match self.upload(object, offers("xet"), parts).await {
                Ok(actions) => with_actions(object, actions),
                Err(error) => with_error(object, &error),
            });
        }
        // Clients that know Xet send every object of the batch that way.
        let transfer = match parts {
            _ if offers("xet") => "xet",
            Some(part) if objects.iter().any(|object| object.size > part) => "multipart",
            _ => "basic",
        };
        Ok((transfer, told))
    }

    /// The actions for one object; none where the namespace has it.
    async fn upload(&self, object: &Object, xet: bool, parts: Option<u64>) -> registry_core::Result<Option<Value>> {
        let file = object.file()?;
        self.state.registry.check_size(&file)?;
        let held = self.state.registry.holds(self.caller, &self.model.name.namespace, &file).await?;
        if held {
            return Ok(None);
        }
        if xet {
            // The JavaScript client takes this link for where to get its access token.
            let token = format!("{}/api/models/{}/xet-write-token/{MAIN_BRANCH}", self.origin, self.model.name);
            return Ok(Some(json!({ "upload": { "href": token } })));
        }
        let part_bytes = parts.filter(|part| file.size > *part);
        let claims = UploadClaims {
            namespace: self.model.name.namespace.clone(),
            sha256: file.sha256,
            size: file.size,
            part_bytes,
        };
        let capability = self.sign(UPLOAD, &claims)?;
        let url = format!("{}/lfs/upload/{capability}", self.origin);
        let upload = match part_bytes {
            None => json!({ "href": url, "expires_in": VALID_SECONDS }),
            Some(part) => multipart_action(&url, part, file.size),
        };
        Ok(Some(json!({ "upload": upload, "verify": { "href": format!("{url}/verify") } })))
    }

    async fn downloads(&self, objects: &[Object]) -> Answer<Vec<Value>> {
        let mut told = Vec::with_capacity(objects.len());
        for object in objects {
            told.push(match self.download(object).await {
                Ok(actions) => with_actions(object, Some(actions)),
                Err(error) => with_error(object, &error),
            });
        }
        Ok(told)
    }

    async fn download(&self, object: &Object) -> registry_core::Result<Value> {
        let file = object.file()?;
        self.state.registry.file_by_digest(self.caller, self.model, &file.sha256).await?;
        let claims = DownloadClaims {
            namespace: self.model.name.namespace.clone(),
            name: self.model.name.name.clone(),
            sha256: file.sha256,
        };
        let capability = self.sign(DOWNLOAD, &claims)?;
        let url = format!("{}/lfs/download/{capability}", self.origin);
        Ok(json!({ "download": { "href": url, "expires_in": VALID_SECONDS } }))
    }
}

/// The Hub's multipart transfer: the header holds the size of the parts and a URL for each.
fn multipart_action(url: &str, part_bytes: u64, size: u64) -> Value {
    let mut header = Map::new();
    header.insert("chunk_size".into(), part_bytes.to_string().into());
    for part in 1..=size.div_ceil(part_bytes) {
        header.insert(part.to_string(), format!("{url}/parts/{part}").into());
    }
    json!({ "href": format!("{url}/complete"), "header": header, "expires_in": VALID_SECONDS })
}

fn with_actions(object: &Object, actions: Option<Value>) -> Value {
    let mut told = json!({ "oid": object.oid, "size": object.size, "authenticated": true });
    if let Some(actions) = actions {
        told["actions"] = actions;
    }
    told
}

fn with_error(object: &Object, error: &Error) -> Value {
    let code = match error {
        Error::NotFound(_) | Error::Gone(_) => 404,
        Error::Forbidden(_) | Error::Denied { .. } => 403,
        _ => 422,
    };
    json!({ "oid": object.oid, "size": object.size, "error": { "code": code, "message": error.to_string() } })
}

/// Opens an upload's URL: the claims, and the caller who asked for them.
async fn open(state: &State, capability: &str) -> Answer<(UploadClaims, Caller)> {
    let (caller, claims) = state.registry.open_capability(UPLOAD, capability).await?;
    Ok((claims, caller))
}

/// Whether an object has arrived. Some clients ask with their token, some without.
async fn verify(state: Data, capability: web::Path<String>, body: web::Payload) -> Answer {
    let (claims, caller) = open(&state, &capability).await?;
    let object: Object = read_json(body, MAX_BODY).await?;
    if object.oid != claims.sha256.as_str() || object.size != claims.size {
        return Err(Refusal::bad_request("This is not the object that was to be uploaded."));
    }
    if state.registry.holds(&caller, &claims.namespace, &claims.file()).await? {
        return Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body("{}"));
    }
    Err(Error::BlobMissing(claims.sha256).into())
}

/// An object in one piece.
async fn upload(state: Data, capability: web::Path<String>, body: web::Payload) -> Answer {
    let (claims, caller) = open(&state, &capability).await?;
    if claims.part_bytes.is_some() {
        return Err(Refusal::bad_request("This object is sent in parts."));
    }
    let body = body.map(|chunk| chunk.map_err(io::Error::other));
    state.registry.receive_whole(&caller, &claims.namespace, &claims.file(), body).await?;
    Ok(HttpResponse::Ok().finish())
}

/// A part of an object. Parts come in their order; one that is sent again is taken again.
async fn upload_part(state: Data, path: web::Path<(String, String)>, body: web::Payload) -> Answer {
    let (capability, part) = path.into_inner();
    let (claims, caller) = open(&state, &capability).await?;
    let missing = || Refusal::bad_request("This object has no such part.");
    let part_bytes = claims.part_bytes.ok_or_else(missing)?;
    let part: u64 = part.parse().map_err(|_| missing())?;
    let start = part.checked_sub(1).and_then(|before| before.checked_mul(part_bytes));
    let start = start.filter(|start| *start < claims.size).ok_or_else(missing)?;
    let end = start.saturating_add(part_bytes).min(claims.size);
    let body = body.map(|chunk| chunk.map_err(io::Error::other));
    state.registry.receive_part(&caller, &claims.namespace, &claims.file(), start..end, body).await?;
    Ok(HttpResponse::Ok().insert_header((header::ETAG, part_etag(&claims, part))).finish())
}

/// Names a part; the object's digest proves its bytes, not this.
fn part_etag(claims: &UploadClaims, part: u64) -> String {
    format!("\"{:.16}-{part}\"", claims.sha256.as_str())
}

#[derive(Debug, Deserialize)]
struct Completion {
    oid: String,
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    part_number: u64,
    etag: String,
}

/// Ends an upload in parts: all of them, in their order, and the object has arrived.
async fn complete(state: Data, capability: web::Path<String>, body: web::Payload) -> Answer {
    let (claims, caller) = open(&state, &capability).await?;
    let told: Completion = read_json(body, MAX_BODY).await?;
    let part_bytes = claims.part_bytes.ok_or_else(|| Refusal::bad_request("This object comes in one piece."))?;
    let expected = (1..=claims.size.div_ceil(part_bytes)).map(|part| (part, part_etag(&claims, part)));
    let given = told.parts.into_iter().map(|part| (part.part_number, part.etag));
    if told.oid != claims.sha256.as_str() || !expected.eq(given) {
        return Err(Refusal::bad_request(
            "The list of parts is not that of the upload: one is missing, twice or foreign.",
        ));
    }
    if state.registry.holds(&caller, &claims.namespace, &claims.file()).await? {
        return Ok(HttpResponse::Ok().json(json!({})));
    }
    Err(Error::BlobMissing(claims.sha256).into())
}

/// An object's bytes, if the gate allows a revision of the model that has them.
async fn download(state: Data, capability: web::Path<String>, request: HttpRequest) -> Answer {
    let (caller, claims) = state.registry.open_capability::<DownloadClaims>(DOWNLOAD, &capability).await?;
    let caller = caller.with_client(client(&request));
    let model = find_model(&state, &caller, &super::name(&claims.namespace, &claims.name)?).await?;
    let found = state.registry.file_by_digest(&caller, &model, &claims.sha256).await;
    let (revision, file) = found.map_err(|error| Refusal::from(error).sought(Sought::Entry))?;
    let etag = file.sha256.as_str();
    let download = Download {
        state: &state,
        request: &request,
        caller: &caller,
        model: &model,
        revision: &revision,
        file: &file,
        etag,
    };
    download.admit().await?;
    Ok(download.send().await?)
}
