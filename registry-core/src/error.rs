//! What can go wrong in the registry, free of HTTP.
//!
//! The `api` crate has the one table from these variants to problem codes and statuses; a
//! variant's message is written for the caller unless it says "internal".

use verifier::policy::Reason;

use crate::identity::{CommitId, Sha256Digest};

/// Shorthand used throughout this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} does not exist or is not visible to you")]
    NotFound(String),
    #[error("{0} was deleted")]
    Gone(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("the gate does not allow this revision in the environment {environment}: {summary}", summary = summary(reasons))]
    Denied { environment: String, pending: bool, reasons: Vec<Reason> },
    #[error("this signed link or access token is refused: {0}")]
    Capability(&'static str),
    #[error("{0} is invalid: {1}")]
    Invalid(String, String),
    #[error("path {path:?} is not acceptable: {reason}")]
    Path { path: String, reason: String },
    #[error("{0} exists already")]
    Exists(String),
    #[error("the name {0} belonged to another model before and is not given to a second one; choose another name")]
    NameRetired(String),
    #[error("{reference} moved: it is at {current}, not at {expected}", current = shown(.current.as_ref()), expected = shown(.expected.as_ref()))]
    RefMoved { reference: String, expected: Option<CommitId>, current: Option<CommitId> },
    #[error("the tag {0} pointed to other content before; a tag's name is never reused for other content")]
    TagReused(String),
    #[error("this Idempotency-Key was used before: {0}; take a new key")]
    KeyReused(&'static str),
    #[error("the bytes of {0} have not been uploaded by this namespace; start an upload for them first")]
    BlobMissing(Sha256Digest),
    #[error("xorb {0} is missing: this namespace has not uploaded it; upload it first")]
    XorbMissing(String),
    #[error("the upload is at offset {current}, not at {requested}; continue from there")]
    OffsetMismatch { current: u64, requested: u64 },
    #[error("the uploaded bytes have SHA-256 {actual}, but {expected} was declared; the upload was discarded")]
    DigestMismatch { expected: Sha256Digest, actual: Sha256Digest },
    #[error("another connection is writing this upload; try again when it has ended")]
    UploadBusy,
    #[error("more bytes than the declared size of {0} were sent")]
    TooLong(u64),
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge { what: String, limit: u64 },
    #[error("the connection broke after {0} bytes; they are kept, continue from there")]
    Interrupted(u64),
    #[error("there is not enough space left in the store")]
    StorageFull,
    #[error("{0} cannot be judged: {1}")]
    CannotDecide(String, String),
    #[error("the lease on this job was lost to another worker")]
    LeaseLost,
    #[error("the registry signs as {expected}, but the configured key is of {actual}")]
    ForeignKey { expected: String, actual: String },
    #[error("the database schema is of a newer release than this binary: {0}")]
    SchemaTooNew(String),
    #[error("blobs of layout {0} cannot be read by this release")]
    LayoutUnsupported(String),
    #[error("stored data is inconsistent: {0}")]
    Corrupt(String),
    #[error("internal database error: {0}")]
    Database(#[source] sea_orm::DbErr),
    #[error("internal storage error: {0}")]
    Store(#[source] object_store::Error),
    #[error("internal input/output error: {0}")]
    Io(#[source] std::io::Error),
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// A value that does not parse, with the reason.
    pub fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid(what.into(), reason.into())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull || error.kind() == std::io::ErrorKind::QuotaExceeded {
            return Self::StorageFull;
        }
        Self::Io(error)
    }
}

impl From<sea_orm::DbErr> for Error {
    fn from(error: sea_orm::DbErr) -> Self {
        if is_out_of_space(&error) { Self::StorageFull } else { Self::Database(error) }
    }
}

/// SQLite's `SQLITE_FULL` and PostgreSQL's `disk_full`.
fn is_out_of_space(error: &sea_orm::DbErr) -> bool {
    use sea_orm::{DbErr, RuntimeErr};
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(code.as_ref(), "13" | "53100"))
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(current) = cause {
            if let Some(io) = current.downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::StorageFull
            {
                return Self::StorageFull;
            }
            cause = current.source();
        }
        Self::Store(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(error.to_string())
    }
}

fn shown(commit: Option<&CommitId>) -> String {
    commit.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

fn summary(reasons: &[Reason]) -> String {
    let texts: Vec<&str> = reasons.iter().map(|reason| reason.msg.as_str()).collect();
    texts.join(" ")
}
