//! Errors as clients of the Hugging Face Hub understand them.
//!
//! The clients read three headers and, at best, one field of the body: `X-Error-Code` selects
//! the exception, `X-Error-Message` is what a person sees, and without a code some of them
//! treat a refusal as a network failure and serve an old copy from their cache.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use registry_core::{CommitId, Error};
use serde_json::json;

use crate::server::problem::Failure;

const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
/// Where Git LFS looks for how to authenticate.
const LFS_AUTHENTICATE: HeaderName = HeaderName::from_static("lfs-authenticate");
/// The commit that a revision's name led to.
pub(super) const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");

/// Clients compare this text literally to tell a recalled model from one that is only gated.
const DISABLED: &str = "Access to this resource is disabled.";
/// The code of the reason that a recall gives.
const RECALLED: &str = "RECALLED";

pub(super) type Answer<T = HttpResponse> = Result<T, Refusal>;

/// What was looked for when nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    Repository,
    Revision,
    Entry,
}

impl Sought {
    const fn code(self) -> &'static str {
        match self {
            Self::Repository => "RepoNotFound",
            Self::Revision => "RevisionNotFound",
            Self::Entry => "EntryNotFound",
        }
    }
}

/// A failure in the Hub's dialect.
#[derive(Debug)]
pub(crate) struct Refusal {
    failure: Failure,
    sought: Option<Sought>,
    commit: Option<CommitId>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, sought: None, commit: None }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Failure::Core(error).into()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(f)
    }
}

impl Refusal {
    /// A request that the client must change.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Failure::Request(StatusCode::BAD_REQUEST, "invalid-request", detail.into()).into()
    }

    /// Says what was not found; clients raise another exception for each.
    pub(super) fn sought(self, sought: Sought) -> Self {
        Self { sought: Some(sought), ..self }
    }

    /// Names the commit, so that a client remembers that the file is not in it.
    pub(super) fn at(self, commit: &CommitId) -> Self {
        Self { commit: Some(commit.clone()), ..self }
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(self.failure, Failure::Core(Error::NotFound(_)))
    }

    fn code(&self) -> Option<&'static str> {
        match &self.failure {
            // One that was deleted, or whose name another model has now, is as good as never there.
            Failure::Core(Error::NotFound(_) | Error::Gone(_)) => self.sought.map(Sought::code),
            Failure::Core(Error::Denied { .. }) if !self.is_recalled() => Some("GatedRepo"),
            _ => None,
        }
    }

    fn is_recalled(&self) -> bool {
        matches!(&self.failure, Failure::Core(Error::Denied { reasons, .. })
            if reasons.iter().any(|reason| reason.code == RECALLED))
    }

    fn message(&self, detail: &str) -> String {
        match &self.failure {
            _ if self.is_recalled() => DISABLED.to_owned(),
            Failure::Core(Error::Denied { reasons, .. }) => {
                let remedies: Vec<&str> = reasons.iter().filter_map(|reason| reason.remedy.as_deref()).collect();
                format!("{detail} {}", remedies.join(" ")).trim_end().to_owned()
            }
            _ => detail.to_owned(),
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self.failure.status_code() {
            // What clients take for "not found" is this status alone.
            StatusCode::GONE => StatusCode::NOT_FOUND,
            // Clients print the body of a 400 and of no other status for a request that is wrong.
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let problem = self.failure.problem();
        let message = self.message(&problem.detail);
        let mut response = HttpResponse::build(self.status_code());
        if let Some(code) = self.code() {
            response.insert_header((ERROR_CODE, code));
        }
        response.insert_header((ERROR_MESSAGE, header_text(&message)));
        if let Some(commit) = &self.commit {
            response.insert_header((REPO_COMMIT, commit.as_str()));
        }
        match &self.failure {
            Failure::Unauthenticated(_) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"weighhouse\""));
                response.insert_header((LFS_AUTHENTICATE, "Basic realm=\"weighhouse\""));
            }
            Failure::Range(size) => {
                response.insert_header((header::CONTENT_RANGE, format!("bytes */{size}")));
            }
            Failure::Core(_) | Failure::Request(..) => {}
        }
        // Git LFS shows `message`.
        response.json(json!({ "error": message, "message": message, "error_id": problem.error_id }))
    }
}

/// Header values are one line of printable ASCII; what is not becomes a space or a `?`.
fn header_text(text: &str) -> HeaderValue {
    const LONGEST: usize = 2000;
    let printable = text.chars().take(LONGEST).map(|character| match character {
        ' '..='~' => character,
        character if character.is_whitespace() => ' ',
        _ => '?',
    });
    HeaderValue::from_str(&printable.collect::<String>()).unwrap_or(HeaderValue::from_static("refused"))
}
