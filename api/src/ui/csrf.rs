//! Forms that only this server's own pages can send: a hidden field repeats a cookie.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use crate::server::State;

/// Name of the cookie that a form's hidden field must repeat.
const COOKIE: &str = "weighhouse_csrf";

/// The value for a form: the one that other open pages have, or else a new one.
pub(super) fn token(request: &HttpRequest) -> String {
    let known = request.cookie(COOKIE).and_then(|cookie| Uuid::parse_str(cookie.value()).ok());
    known.unwrap_or_else(Uuid::new_v4).to_string()
}

/// Leaves the value of a form in the browser.
pub(super) fn remember(response: &mut HttpResponse, state: &State, token: &str) {
    set_cookie(response, state, COOKIE, token);
}

/// Whether a form comes from a page of this server.
pub(super) fn is_own(request: &HttpRequest, field: &str) -> bool {
    request.cookie(COOKIE).is_some_and(|cookie| !field.is_empty() && cookie.value() == field)
}

/// Refuses a form of somebody else.
pub(super) fn check(request: &HttpRequest, field: &str) -> registry_core::Result<()> {
    if is_own(request, field) {
        return Ok(());
    }
    Err(registry_core::Error::Forbidden("this form had expired; open the page again".into()))
}

/// A cookie that scripts cannot read and other sites cannot send along.
pub(super) fn set_cookie(response: &mut HttpResponse, state: &State, name: &str, value: &str) {
    let cookie = Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(state.public_url.starts_with("https://"))
        .finish();
    // Names and values of ours always fit a header.
    let _ = response.add_cookie(&cookie);
}
