//! Signing in with a token. The cookie holds the token itself: HttpOnly, SameSite, and
//! Secure wherever the public address is HTTPS.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::layout::{Frame, document};
use super::{PageAnswer, page};
use crate::server::State;
use crate::server::access::{Actor, SESSION_COOKIE};

/// Name of the cookie that a form's hidden field must repeat.
const CSRF_COOKIE: &str = "weighhouse_csrf";

#[derive(Debug, Deserialize)]
pub(super) struct SignIn {
    token: String,
    csrf: String,
}

pub(super) async fn form(state: web::Data<State>) -> HttpResponse {
    let csrf = Uuid::new_v4().to_string();
    let mut response = page(StatusCode::OK, content(&csrf, None));
    set_cookie(&mut response, &state, CSRF_COOKIE, &csrf);
    response
}

pub(super) async fn submit(state: web::Data<State>, request: HttpRequest, body: web::Form<SignIn>) -> PageAnswer {
    let known = request.cookie(CSRF_COOKIE).is_some_and(|cookie| !body.csrf.is_empty() && cookie.value() == body.csrf);
    let token = body.token.trim();
    let refused = if !known {
        Some("This form had expired. Please try again.")
    } else if state.registry.authenticate(token).await?.is_none() {
        Some("This token is unknown, expired or revoked.")
    } else {
        None
    };
    if let Some(message) = refused {
        let csrf = Uuid::new_v4().to_string();
        let mut response = page(StatusCode::UNPROCESSABLE_ENTITY, content(&csrf, Some(message)));
        set_cookie(&mut response, &state, CSRF_COOKIE, &csrf);
        return Ok(response);
    }
    let mut response = HttpResponse::SeeOther().insert_header((header::LOCATION, "/models")).finish();
    set_cookie(&mut response, &state, SESSION_COOKIE, token);
    Ok(response)
}

/// Ends the session. SameSite keeps other sites from posting here with the cookie.
pub(super) async fn sign_out(_: Actor) -> HttpResponse {
    let mut response = HttpResponse::SeeOther().insert_header((header::LOCATION, "/models")).finish();
    let mut cookie = Cookie::build(SESSION_COOKIE, "").path("/").finish();
    cookie.make_removal();
    // A cookie of ASCII letters always fits a header.
    let _ = response.add_cookie(&cookie);
    response
}

fn set_cookie(response: &mut HttpResponse, state: &State, name: &str, value: &str) {
    let cookie = Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(state.public_url.starts_with("https://"))
        .finish();
    let _ = response.add_cookie(&cookie);
}

fn content(csrf: &str, message: Option<&str>) -> Markup {
    let form = html! {
        h1 { "Sign in" }
        @if let Some(message) = message { p.notice role="alert" { (message) } }
        form.card method="post" action="/sign-in" {
            input type="hidden" name="csrf" value=(csrf);
            label for="token" { "API token" }
            input #token type="password" name="token" autocomplete="current-password" required placeholder="hf_…";
            p.quiet { "Tokens are issued with " code { "weighhouse token create" } "." }
            button type="submit" { "Sign in" }
        }
    };
    document(&Frame { title: "Sign in", caller: None, refresh: false }, &form)
}
