//! Access tokens of the store, and who speaks with one.

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use futures::future::LocalBoxFuture;
use registry_core::{Caller, Error, ModelName, now_ms};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::refusal::{Answer, Refusal};
use super::super::{Data, RevisionPath, find_model, find_revision, origin};
use crate::server::access::{Actor, client};
use crate::server::problem::Failure;
use crate::server::{State, state};

/// What an access token is signed for.
const PURPOSE: &str = "xet";
/// How long an access token is valid; clients get a new one in time.
const VALID_MS: i64 = 3_600_000;
/// What clients write where they name no revision.
const NO_REVISION: &str = "None";

/// What an access token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    model: String,
    write: bool,
}

/// The bearer of an access token.
#[derive(Debug)]
pub(super) struct XetActor {
    pub(super) caller: Caller,
    /// The model that the token was issued for.
    pub(super) model: ModelName,
    write: bool,
}

impl XetActor {
    /// Fails unless the token was issued to write. Whether the caller may still write in the
    /// namespace is the core's question.
    pub(super) fn require_write(&self) -> Answer<()> {
        if self.write {
            return Ok(());
        }
        Err(Error::Capability("it was issued to read").into())
    }
}

impl FromRequest for XetActor {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Answer<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = state(&request)?;
            let opened = state.registry.open_capability::<Claims>(PURPOSE, bearer(&request)?).await;
            let (caller, claims) = opened?;
            let caller = caller.with_client(client(&request));
            Ok(Self { caller, model: claims.model.parse()?, write: claims.write })
        })
    }
}

fn bearer(request: &HttpRequest) -> Answer<&str> {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let missing = Failure::Unauthenticated("This needs an access token of the store: Authorization: Bearer …");
    token.ok_or_else(|| missing.into())
}

/// An access token to read a model's files. The gate is asked here for the revision that is
/// named, and again for every file.
pub(super) async fn read_token(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    request: HttpRequest,
) -> Answer {
    let model = find_model(&state, &caller, &path.name()?).await?;
    if path.revision != NO_REVISION {
        let revision = find_revision(&state, &model, &path.revision).await?;
        state.registry.authorize_read(&caller, &model, &revision).await?;
    }
    issue(&state, &request, &caller, &model.name, false)
}

/// An access token to upload files of a model. The revision does not have to exist.
pub(super) async fn write_token(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    request: HttpRequest,
) -> Answer {
    let model = find_model(&state, &caller, &path.name()?).await?;
    caller.require_writer(&model.name.namespace)?;
    issue(&state, &request, &caller, &model.name, true)
}

fn issue(state: &State, request: &HttpRequest, caller: &Caller, model: &ModelName, write: bool) -> Answer {
    let claims = Claims { model: model.to_string(), write };
    let expires_at = now_ms() + VALID_MS;
    let token = state.registry.issue_capability(caller, PURPOSE, expires_at, &claims)?;
    let store = format!("{}-{}", state.registry.instance_id(), model.namespace);
    let url = format!("{}/xet/stores/{store}", origin::origin(request, state));
    let seconds = expires_at / 1000;
    // Python reads the headers, the others the body.
    let answer = HttpResponse::Ok()
        .insert_header(("X-Xet-Cas-Url", url.as_str()))
        .insert_header(("X-Xet-Access-Token", token.as_str()))
        .insert_header(("X-Xet-Token-Expiration", seconds.to_string()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "casUrl": url, "accessToken": token, "exp": seconds }));
    Ok(answer)
}
