//! The frame around every page.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use maud::{DOCTYPE, Markup, html};
use registry_core::Caller;

use super::page;
use crate::server::problem::Failure;

/// What the frame needs to know.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    pub(super) caller: Option<&'a Caller>,
    /// Load the page again after a few seconds, while something is still to come.
    pub(super) refresh: bool,
}

/// A whole document.
pub(super) fn document(frame: &Frame<'_>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if frame.refresh { meta http-equiv="refresh" content="3"; }
                title { (frame.title) " · Weighhouse" }
                link rel="stylesheet" href="/assets/style.css";
                link rel="icon" href="data:,";
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header.bar {
                    a.brand href="/models" { "Weighhouse" }
                    nav aria-label="Main" {
                        a href="/models" { "Models" }
                        a href="/licenses" { "Licenses" }
                        a href="/reports" { "Reports" }
                        a href="/docs/" { "API" }
                    }
                    (account(frame.caller))
                }
                main #content { (content) }
                footer { "Weighhouse " (env!("CARGO_PKG_VERSION")) }
            }
        }
    }
}

fn account(caller: Option<&Caller>) -> Markup {
    html! {
        div.account {
            @match caller {
                Some(caller) if !caller.is_anonymous() => {
                    span { "Signed in as " strong { (caller.subject()) } }
                    form method="post" action="/sign-out" { button.link type="submit" { "Sign out" } }
                }
                _ => a href="/sign-in" { "Sign in" }
            }
        }
    }
}

/// A failure as a page: what happened, why, and what to do.
pub(crate) fn error_page(failure: &Failure) -> HttpResponse {
    let problem = failure.problem();
    if failure.status_code() == StatusCode::UNAUTHORIZED {
        return HttpResponse::SeeOther().insert_header((header::LOCATION, "/sign-in")).finish();
    }
    let content = html! {
        h1 { (problem.title) }
        p { (problem.detail) }
        @if !problem.reasons.is_empty() {
            ul { @for reason in &problem.reasons { li { (reason.msg) " " @if let Some(remedy) = &reason.remedy { (remedy) } } } }
        }
        p.quiet { "Error " code { (problem.error_id) } }
        p { a href="/models" { "Back to the models" } }
    };
    page(failure.status_code(), document(&Frame { title: &problem.title, caller: None, refresh: false }, &content))
}
