//! The pages: server-rendered, readable without JavaScript, printable.
//!
//! A page shows what the API shows and links to it. Forms post; links get; nothing needs a
//! script. Colors never carry a meaning alone.

mod catalog;
mod components;
mod contents;
mod csrf;
mod layout;
mod license;
mod model;
mod probe;
mod provenance;
pub(crate) mod report;
mod sign_in;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use maud::{Markup, html};

pub(crate) use layout::error_page;

use crate::server::access::Permission;
use crate::server::problem::Failure;
use crate::server::routes::RouteTable;

const STYLE: &str = include_str!("style.css");

pub(crate) fn routes(table: &mut RouteTable) {
    table.add(Method::GET, "/", Permission::Public, home);
    table.add(Method::GET, "/assets/style.css", Permission::Public, style);
    table.add(Method::GET, "/sign-in", Permission::Public, sign_in::form);
    table.add(Method::POST, "/sign-in", Permission::Public, sign_in::submit);
    table.add(Method::POST, "/sign-out", Permission::Public, sign_in::sign_out);
    table.add(Method::GET, "/licenses", Permission::Read, license::list);
    table.add(Method::GET, "/licenses/{id}", Permission::Read, license::show);
    table.add(Method::GET, "/models", Permission::Read, catalog::show);
    table.add(Method::GET, "/reports", Permission::Read, report::show);
    table.add(Method::GET, "/models/{namespace}/{name}", Permission::Read, model::show);
    table.add(Method::GET, "/models/{namespace}/{name}/files", Permission::Read, contents::show);
    table.add(Method::GET, "/models/{namespace}/{name}/probe", Permission::Read, probe::show);
    let writer = Permission::Scope(registry_core::Role::Writer);
    table.add(Method::POST, "/models/{namespace}/{name}/probe", writer, probe::again);
}

async fn home() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, "/models")).finish()
}

async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "max-age=3600"))
        .body(STYLE)
}

/// A failure that is shown as a page.
#[derive(Debug)]
pub(crate) struct PageFailure(Failure);

pub(crate) type PageAnswer = Result<HttpResponse, PageFailure>;

impl std::fmt::Display for PageFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: Into<Failure>> From<E> for PageFailure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl ResponseError for PageFailure {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        error_page(&self.0)
    }
}

/// A page as an answer. The policy allows the one stylesheet and nothing else to load.
fn page(status: StatusCode, markup: Markup) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(markup.into_string())
}

/// Text for people where a value is not known.
fn or_dash(value: Option<&str>) -> Markup {
    html! { @match value { Some(value) => (value), None => span.quiet { "–" } } }
}
