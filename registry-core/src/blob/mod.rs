//! Bytes: where they lie, how they arrive, how they are read.
//!
//! `object_store` is the port. The database alone says what an object means: an object whose
//! key no blob row names is invisible, which is why an upload can write straight to its
//! final key and nothing is ever copied or renamed.

pub mod git;
mod inline;
mod read;
mod staging;
mod store;
mod sweep;
mod upload;
mod xet;

pub use inline::{Spool, SpooledFile};
pub use read::ByteRange;
pub(crate) use store::BlobStore;
pub use store::{S3Settings, Storage};
pub use sweep::SweepReport;
pub use upload::{FileUpload, UploadState, UploadStatus};
pub use xet::{Reconstruction, ReconstructionTerm, ShardOutcome, ShardProgress, XetHash};

use sea_orm::ConnectionTrait;

use crate::database::{now_ms, sql};
use crate::entity::blob;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;

/// How a blob's bytes are laid out in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One object at this key.
    Whole { storage_key: String },
    /// Terms over xorbs.
    Chunked,
}

impl Layout {
    pub(crate) fn of(row: &blob::Model) -> Result<Self> {
        match (row.layout.as_str(), &row.storage_key) {
            ("whole", Some(storage_key)) => Ok(Self::Whole { storage_key: storage_key.clone() }),
            ("chunked", None) => Ok(Self::Chunked),
            (layout, _) => Err(Error::LayoutUnsupported(layout.to_owned())),
        }
    }
}

/// Why a namespace has a right to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantSource {
    Uploaded,
    Readable,
}

impl GrantSource {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Readable => "readable",
        }
    }
}

/// Records a namespace's right to a blob; an existing right stays as it is.
pub(crate) async fn grant(
    connection: &impl ConnectionTrait,
    namespace: &str,
    digest: &Sha256Digest,
    source: GrantSource,
) -> Result<()> {
    let insert =
        "INSERT INTO blob_grant (namespace, sha256, source, granted_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let values = vec![namespace.into(), digest.as_str().into(), source.as_str().into(), now_ms().into()];
    connection.execute_raw(sql(connection, insert, values)).await?;
    Ok(())
}
