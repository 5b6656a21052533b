//! From errors to RFC 9457 problem documents: the one table of codes.
//!
//! Core errors know nothing of HTTP. Each gets a stable code, a status and a title here. The
//! text of internal errors stays in the log; the `error_id` that the client is given finds it,
//! as it finds every other refusal.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use registry_core::Error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use verifier::policy::Reason;

pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// The body of every error answer (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:weighhouse:problem:` and the code.
    pub r#type: String,
    pub title: String,
    pub status: u16,
    /// Stable name for programs.
    pub code: String,
    /// What happened here, for a person.
    pub detail: String,
    /// The same id stands in the server's log.
    pub error_id: String,
    /// The path that was not acceptable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where the ref is now, or how many bytes the server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Why the gate denies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// Anything a handler can fail with.
#[derive(Debug)]
pub(crate) enum Failure {
    Core(Error),
    Unauthenticated(&'static str),
    /// A request that does not parse: status, code, detail.
    Request(StatusCode, &'static str, String),
    /// A range outside of a file of this many bytes.
    Range(u64),
}

pub(crate) type Answer<T = HttpResponse> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Core(error) => error.fmt(f),
            Self::Unauthenticated(detail) => f.write_str(detail),
            Self::Request(_, _, detail) => f.write_str(detail),
            Self::Range(size) => write!(f, "the file has {size} bytes"),
        }
    }
}

impl Failure {
    /// Status, code and title.
    pub(crate) fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Core(error) => core_kind(error),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid token is needed"),
            Self::Request(status, code, _) => (*status, code, "The request is not acceptable"),
            Self::Range(_) => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "The range lies outside of the file")
            }
        }
    }

    /// The document. The log names its `error_id` beside the id of the request.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code, title) = self.kind();
        let error_id = Uuid::now_v7().to_string();
        let internal = status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE;
        if status.is_server_error() {
            tracing::error!(error_id, code, error = %self, details = ?self, "request failed");
        } else {
            tracing::info!(error_id, code, reason = %self, "request refused");
        }
        let detail = if internal { "The server's log has the details.".to_owned() } else { self.to_string() };
        let mut problem = Problem {
            r#type: format!("urn:weighhouse:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail,
            error_id,
            path: None,
            current: None,
            reasons: Vec::new(),
        };
        if let Self::Core(error) = self {
            add_particulars(&mut problem, error);
        }
        problem
    }
}

fn add_particulars(problem: &mut Problem, error: &Error) {
    match error {
        Error::Path { path, .. } => problem.path = Some(path.clone()),
        Error::RefMoved { current, .. } => {
            problem.current = Some(current.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string));
        }
        Error::OffsetMismatch { current, .. } | Error::Interrupted(current) => {
            problem.current = Some(current.to_string());
        }
        Error::Denied { reasons, .. } => problem.reasons.clone_from(reasons),
        _ => {}
    }
}

fn core_kind(error: &Error) -> (StatusCode, &'static str, &'static str) {
    use StatusCode as S;
    match error {
        Error::NotFound(_) => (S::NOT_FOUND, "not-found", "Nothing is here"),
        Error::Gone(_) => (S::GONE, "deleted", "It was deleted"),
        Error::Forbidden(_) => (S::FORBIDDEN, "forbidden", "Your role does not allow this"),
        Error::Capability(_) => (S::FORBIDDEN, "capability-refused", "The signed link or token is not valid"),
        Error::Denied { pending: true, .. } => (S::FORBIDDEN, "decision-pending", "The gate has not decided yet"),
        Error::Denied { .. } => (S::FORBIDDEN, "denied", "The gate denies this use"),
        Error::Invalid(..) => (S::UNPROCESSABLE_ENTITY, "invalid", "A value is not valid"),
        Error::Path { .. } => (S::UNPROCESSABLE_ENTITY, "invalid-path", "A path is not acceptable"),
        Error::Exists(_) => (S::CONFLICT, "exists", "It exists already"),
        Error::NameRetired(_) => (S::CONFLICT, "name-retired", "The name belonged to another model"),
        Error::RefMoved { .. } => (S::CONFLICT, "ref-moved", "The ref is elsewhere"),
        Error::TagReused(_) => (S::CONFLICT, "tag-fixed", "A tag does not move"),
        Error::KeyReused(_) => (S::CONFLICT, "idempotency-key-reused", "The key belongs to another request"),
        Error::BlobMissing(_) => (S::UNPROCESSABLE_ENTITY, "bytes-missing", "Bytes have not been uploaded"),
        Error::XorbMissing(_) => (S::UNPROCESSABLE_ENTITY, "xorb-missing", "A xorb has not been uploaded"),
        Error::OffsetMismatch { .. } => (S::CONFLICT, "offset-mismatch", "The upload is at another offset"),
        Error::DigestMismatch { .. } => {
            (S::UNPROCESSABLE_ENTITY, "digest-mismatch", "The bytes are not the declared ones")
        }
        Error::UploadBusy => (S::CONFLICT, "upload-busy", "Another connection writes this upload"),
        Error::TooLong(_) => (S::UNPROCESSABLE_ENTITY, "too-many-bytes", "More bytes than declared"),
        Error::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "too-large", "Larger than the limit"),
        Error::Interrupted(_) => (S::BAD_REQUEST, "interrupted", "The body ended early"),
        Error::StorageFull => (S::INSUFFICIENT_STORAGE, "storage-full", "The store is full"),
        Error::CannotDecide(..) => (S::UNPROCESSABLE_ENTITY, "cannot-decide", "The gate cannot decide"),
        Error::LayoutUnsupported(_) => (S::NOT_IMPLEMENTED, "layout-unsupported", "This layout cannot be read"),
        Error::LeaseLost
        | Error::ForeignKey { .. }
        | Error::SchemaTooNew(_)
        | Error::Corrupt(_)
        | Error::Database(_)
        | Error::Store(_)
        | Error::Io(_)
        | Error::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.kind().0
    }

    fn error_response(&self) -> HttpResponse {
        let problem = self.problem();
        let mut response = HttpResponse::build(self.status_code());
        response.content_type(CONTENT_TYPE);
        match self {
            Self::Unauthenticated(_) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"weighhouse\""));
            }
            Self::Range(size) => {
                response.insert_header((header::CONTENT_RANGE, format!("bytes */{size}")));
            }
            Self::Core(_) | Self::Request(..) => {}
        }
        response.json(problem)
    }
}
