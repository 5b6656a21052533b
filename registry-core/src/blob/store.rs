//! The object store behind the registry: a local folder or S3.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectStore, ObjectStoreExt};

use super::xet::IndexCache;
use crate::error::Result;

/// What the check of the store asks for.
const READINESS: &str = "weighhouse-readiness";

/// Where bytes are kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// Files under this folder, written with fsync.
    Local(PathBuf),
    S3(S3Settings),
}

/// An S3 bucket and how to reach it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    pub bucket: String,
    pub region: String,
    pub endpoint: Option<String>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    pub allow_http: bool,
    /// Put before every key; empty for none.
    pub prefix: String,
}

/// The store, with what only one kind of it can do.
#[derive(Debug, Clone)]
pub(crate) struct BlobStore {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) kind: Kind,
    pub(super) indexes: IndexCache,
    prefix: String,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Local { folder: PathBuf },
    S3 { bucket: Arc<AmazonS3> },
}

impl BlobStore {
    /// Opens the store; a missing local folder is created.
    pub(crate) fn open(storage: Storage) -> Result<Self> {
        match storage {
            Storage::Local(folder) => Self::open_local(folder),
            Storage::S3(settings) => Self::open_s3(&settings),
        }
    }

    fn open_local(folder: PathBuf) -> Result<Self> {
        fs_err::create_dir_all(&folder)?;
        let objects = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            kind: Kind::Local { folder },
            indexes: IndexCache::default(),
            prefix: String::new(),
        })
    }

    fn open_s3(settings: &S3Settings) -> Result<Self> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_allow_http(settings.allow_http);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(id), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let bucket = Arc::new(builder.build()?);
        let prefix = settings.prefix.trim_matches('/').to_owned();
        Ok(Self { objects: bucket.clone(), kind: Kind::S3 { bucket }, indexes: IndexCache::default(), prefix })
    }

    /// The object's path for a storage key.
    pub(super) fn path(&self, storage_key: &str) -> Path {
        if self.prefix.is_empty() {
            Path::from(storage_key)
        } else {
            Path::from(format!("{}/{storage_key}", self.prefix))
        }
    }

    /// Deletes an object; one that is gone already is no error.
    pub(super) async fn delete(&self, storage_key: &str) -> Result<()> {
        match self.objects.delete(&self.path(storage_key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A URL that serves the object without this server for `valid_for`; none on a local store.
    pub(crate) async fn presigned_get(&self, storage_key: &str, valid_for: Duration) -> Result<Option<String>> {
        let Kind::S3 { bucket } = &self.kind else { return Ok(None) };
        let url = bucket.signed_url(http::Method::GET, &self.path(storage_key), valid_for).await?;
        Ok(Some(url.to_string()))
    }

    /// Whether the store can be used.
    ///
    /// A read of an object that does not exist would not tell: a store whose folder or bucket is
    /// gone does not have it either. So the folder must take a file and the bucket be listed.
    pub(crate) async fn check(&self) -> Result<()> {
        match &self.kind {
            Kind::Local { folder } => {
                let mut options = fs_err::tokio::OpenOptions::new();
                options.write(true).create(true).open(folder.join(READINESS)).await?;
            }
            Kind::S3 { .. } => {
                self.objects.list(Some(&self.path(READINESS))).next().await.transpose()?;
            }
        }
        Ok(())
    }

    /// A key that was never used before. Two leading hex digits keep local folders small.
    pub(super) fn new_key() -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        format!("blobs/{}/{id}", &id[..2])
    }
}
