//! Who calls, and whether the route lets them in.
//!
//! Every route states a [`Permission`] when it is registered; the guard made from it runs
//! before the handler and leaves the [`Caller`] for it. A handler on a route without a guard
//! finds no caller and fails, so a forgotten permission cannot go unnoticed.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, ResponseError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use registry_core::{Caller, Role};

use super::State;
use super::problem::Failure;
use super::routes::Facade;
use crate::{hf, ui};

/// Name of the cookie that holds a browser's token.
pub(crate) const SESSION_COOKIE: &str = "weighhouse_session";

/// What a route asks of its caller before the handler looks at namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Nothing. The list of public routes is reviewed by a test.
    Public,
    /// Read what is visible: anyone where anonymous readers are allowed, else any token.
    Read,
    /// A token of at least this scope.
    Scope(Role),
    /// What this server signed for the client in place of its token. The guard finds no caller
    /// on such a route: the handler takes an extractor that opens the capability.
    Capability,
}

/// The caller of a guarded route.
pub(crate) struct Actor(pub(crate) Caller);

impl FromRequest for Actor {
    type Error = Failure;
    type Future = std::future::Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned();
        let missing = || Failure::Core(registry_core::Error::Internal("a route without a permission".into()));
        std::future::ready(caller.map(Self).ok_or_else(missing))
    }
}

/// The guard of a route: authenticates, checks the permission and leaves the caller behind.
///
/// A refusal is an answer, not an error, so that it is logged and counted like any other.
pub(crate) async fn guard<B: MessageBody>(
    facade: Facade,
    permission: Permission,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    match admit(permission, &request).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            Ok(next.call(request).await?.map_into_left_body())
        }
        Err(failure) => {
            let answer = match facade {
                Facade::Hub => hf::Refusal::from(failure).error_response(),
                Facade::Native if wants_page(&request) => ui::error_page(&failure),
                Facade::Native => failure.error_response(),
            };
            Ok(request.into_response(answer).map_into_right_body())
        }
    }
}

/// Browsers name HTML; programs do not.
fn wants_page(request: &ServiceRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The caller, if the permission is about callers.
async fn admit(permission: Permission, request: &ServiceRequest) -> Result<Option<Caller>, Failure> {
    if permission == Permission::Capability {
        return Ok(None);
    }
    let state = super::state(request.request())?;
    let caller = authenticate(state, request, permission).await?.with_client(client(request.request()));
    check(state, permission, &caller)?;
    Ok(Some(caller))
}

/// The program that calls, as it names itself.
pub(crate) fn client(request: &HttpRequest) -> &str {
    request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn authenticate(state: &State, request: &ServiceRequest, permission: Permission) -> Result<Caller, Failure> {
    let anonymous = || Caller::anonymous(&state.registry.settings().default_environment);
    let secret = match presented_token(request) {
        // A probe of the server's health, or an ended session on its way to the sign-in page,
        // gets through whatever it presents.
        Err(_) if permission == Permission::Public => None,
        presented => presented?,
    };
    let Some(secret) = secret else { return Ok(anonymous()) };
    match state.registry.authenticate(&secret).await? {
        Some(caller) => Ok(caller),
        None if permission == Permission::Public => Ok(anonymous()),
        None => Err(Failure::Unauthenticated("The token is unknown, expired or revoked.")),
    }
}

/// The bearer token, or a browser's cookie.
fn presented_token(request: &ServiceRequest) -> Result<Option<String>, Failure> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(request.cookie(SESSION_COOKIE).map(|cookie| cookie.value().to_owned()));
    };
    let value = value.to_str().ok();
    let bearer = value.and_then(|text| text.strip_prefix("Bearer ")).map(|token| token.trim().to_owned());
    let token = bearer.or_else(|| value.and_then(|text| text.strip_prefix("Basic ")).and_then(basic_password));
    token.map(Some).ok_or(Failure::Unauthenticated("The Authorization header must be of the form: Bearer hf_…"))
}

/// Programs that know only users and passwords, such as Git LFS, send the token as password.
fn basic_password(credentials: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned()).filter(|password| !password.is_empty())
}

fn check(state: &State, permission: Permission, caller: &Caller) -> Result<(), Failure> {
    let needed = match permission {
        Permission::Public | Permission::Capability => return Ok(()),
        Permission::Read if state.anonymous_read => return Ok(()),
        Permission::Read => Role::Reader,
        Permission::Scope(role) => role,
    };
    match caller.scope() {
        None => Err(Failure::Unauthenticated("This needs a token: Authorization: Bearer hf_…")),
        Some(scope) if scope >= needed => Ok(()),
        Some(_) => {
            let detail = format!("this needs a token with the scope {needed}");
            Err(Failure::Core(registry_core::Error::Forbidden(detail)))
        }
    }
}
