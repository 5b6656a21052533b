//! Signing in with a token. The cookie holds the token itself: HttpOnly, SameSite, and
//! Secure wherever the public address is HTTPS.

use actix_web::cookie::Cookie;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::layout::{Frame, document};
use super::{PageAnswer, csrf, page};
use crate::server::State;
use crate::server::access::{Actor, SESSION_COOKIE};

#[derive(Debug, Deserialize)]
pub(super) struct SignIn {
    token: String,
    csrf: String,
}

pub(super) async fn form(state: web::Data<State>) -> HttpResponse {
    let token = Uuid::new_v4().to_string();
    let mut response = page(StatusCode::OK, content(&token, None));
    csrf::remember(&mut response, &state, &token);
    response
}

pub(super) async fn submit(state: web::Data<State>, request: HttpRequest, body: web::Form<SignIn>) -> PageAnswer {
    let known = csrf::is_own(&request, &body.csrf);
    let presented = body.token.trim();
    let refused = if !known {
        Some("This form had expired. Please try again.")
    } else if state.registry.authenticate(presented).await?.is_none() {
        Some("This token is unknown, expired or revoked.")
    } else {
        None
    };
    if let Some(message) = refused {
        let token = Uuid::new_v4().to_string();
        let mut response = page(StatusCode::UNPROCESSABLE_ENTITY, content(&token, Some(message)));
        csrf::remember(&mut response, &state, &token);
        return Ok(response);
    }
    let mut response = HttpResponse::SeeOther().insert_header((header::LOCATION, "/models")).finish();
    csrf::set_cookie(&mut response, &state, SESSION_COOKIE, presented);
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
