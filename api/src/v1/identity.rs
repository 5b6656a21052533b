//! Who the caller is, tokens, and roles in namespaces.

use actix_web::{HttpRequest, HttpResponse, web};
use registry_core::{Error, NewToken, now_ms};
use serde::Deserialize;

use super::wire::{CreateToken, IssuedToken, Member, Page, PageQuery, Server, SetMember, Token, Whoami};
use super::{Data, idempotency_key, syntax};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// Release, environments and policy of this server.
#[utoipa::path(get, path = "/v1/server", tag = "identity",
    responses((status = 200, body = Server), (status = 401, body = Problem)))]
pub(crate) async fn server(state: Data, Actor(_caller): Actor) -> Answer {
    let policy = state.registry.policy();
    Ok(HttpResponse::Ok().json(Server {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        environments: state.registry.environments(),
        default_environment: state.registry.settings().default_environment.clone(),
        policy: policy.name().to_owned(),
        policy_digest: policy.digest().to_owned(),
    }))
}

/// Who the caller is and which environment's decisions bind them.
#[utoipa::path(get, path = "/v1/whoami", tag = "identity",
    responses((status = 200, body = Whoami), (status = 401, body = Problem)))]
pub(crate) async fn whoami(Actor(caller): Actor) -> Answer {
    Ok(HttpResponse::Ok().json(Whoami {
        subject: caller.subject().to_owned(),
        scope: caller.scope(),
        environment: caller.environment().to_owned(),
    }))
}

/// The caller's tokens; everyone's for an administrator of the whole registry.
#[utoipa::path(get, path = "/v1/tokens", tag = "identity", params(PageQuery),
    responses((status = 200, body = Page<Token>), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn tokens(state: Data, Actor(caller): Actor, page: web::Query<PageQuery>) -> Answer {
    let tokens = state.registry.list_tokens(&caller, &page.into_inner().parse()?).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(tokens, Token::from)))
}

/// Issues a token. Its secret is in this answer and nowhere else.
///
/// A lost answer is mended by repeating the request under its `Idempotency-Key`: the same token
/// gets a new secret, and the lost one opens nothing more.
#[utoipa::path(post, path = "/v1/tokens", tag = "identity", request_body = CreateToken,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 128, pattern = "^[ -~]+$",
        description = "Chosen by the caller, new for each token; remembered as long as the token")),
    responses((status = 201, body = IssuedToken), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn issue(
    state: Data,
    Actor(caller): Actor,
    request: HttpRequest,
    body: web::Json<CreateToken>,
) -> Answer {
    let body = body.into_inner();
    let key = idempotency_key(&request, &body)?;
    let new = NewToken {
        label: body.label,
        subject: body.subject,
        scope: body.scope,
        namespaces: body.namespaces,
        environment: body.environment,
        expires_at: body.expires_in_seconds.map(end_of).transpose()?,
    };
    let issued = match key {
        Some(key) => state.registry.issue_token_once(&caller, new, key).await?,
        None => state.registry.issue_token(&caller, new).await?,
    };
    Ok(HttpResponse::Created().json(IssuedToken { token: issued.info.into(), secret: issued.secret }))
}

fn end_of(seconds: u64) -> Result<i64, Error> {
    let milliseconds = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
    let end = milliseconds.and_then(|milliseconds| now_ms().checked_add(milliseconds));
    // 200 years: beyond it a date is a mistake.
    end.filter(|_| seconds > 0 && seconds <= 6_307_200_000)
        .ok_or_else(|| Error::invalid("expires_in_seconds", "must be between 1 and 6307200000"))
}

/// Ends a token at once.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "identity", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn revoke(state: Data, Actor(caller): Actor, id: web::Path<String>) -> Answer {
    state.registry.revoke_token(&caller, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Members of a namespace; `*` stands for all namespaces.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/members", tag = "identity",
    params(("namespace" = syntax::Namespaces, Path), PageQuery),
    responses((status = 200, body = Page<Member>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn members(
    state: Data,
    Actor(caller): Actor,
    namespace: web::Path<String>,
    page: web::Query<PageQuery>,
) -> Answer {
    let members = state.registry.list_members(&caller, &namespace, &page.into_inner().parse()?).await?;
    Ok(HttpResponse::Ok().json(Page::from_core(members, Member::from)))
}

/// A member in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MemberPath {
    #[param(value_type = syntax::Namespaces)]
    namespace: String,
    #[param(value_type = syntax::Subject)]
    subject: String,
}

/// Gives a subject a role in a namespace.
#[utoipa::path(put, path = "/v1/namespaces/{namespace}/members/{subject}", tag = "identity", request_body = SetMember,
    params(MemberPath),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn set_member(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<MemberPath>,
    body: web::Json<SetMember>,
) -> Answer {
    state.registry.assign_role(&caller, &path.namespace, &path.subject, Some(body.role)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Takes a subject's role in a namespace away.
#[utoipa::path(delete, path = "/v1/namespaces/{namespace}/members/{subject}", tag = "identity",
    params(MemberPath),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn remove_member(state: Data, Actor(caller): Actor, path: web::Path<MemberPath>) -> Answer {
    state.registry.assign_role(&caller, &path.namespace, &path.subject, None).await?;
    Ok(HttpResponse::NoContent().finish())
}
