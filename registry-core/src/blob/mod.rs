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

use std::collections::BTreeMap;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, EntityTrait, Set};

use crate::database::now_ms;
use crate::entity::{blob, blob_grant};
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

/// Grants recorded in one statement.
const GRANT_ROWS: usize = 1000;

/// Records a namespace's right to blobs; existing rights stay as they are.
pub(crate) async fn grant<'a>(
    connection: &impl ConnectionTrait,
    namespace: &str,
    digests: impl IntoIterator<Item = &'a Sha256Digest>,
    source: GrantSource,
) -> Result<()> {
    let row = |digest: &Sha256Digest| blob_grant::ActiveModel {
        namespace: Set(namespace.to_owned()),
        sha256: Set(digest.to_string()),
        source: Set(source.as_str().to_owned()),
        granted_at: Set(now_ms()),
    };
    let rows: BTreeMap<&Sha256Digest, _> = digests.into_iter().map(|digest| (digest, row(digest))).collect();
    let rows: Vec<_> = rows.into_values().collect();
    for rows in rows.chunks(GRANT_ROWS) {
        let keep =
            OnConflict::columns([blob_grant::Column::Namespace, blob_grant::Column::Sha256]).do_nothing().to_owned();
        blob_grant::Entity::insert_many(rows.to_vec()).on_conflict(keep).exec_without_returning(connection).await?;
    }
    Ok(())
}
