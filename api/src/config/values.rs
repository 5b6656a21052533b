//! Types of single values that check themselves while they are read.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;

/// A value that must not reach a log: formatting shows nothing of it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Where bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "StorageValues")]
pub enum Storage {
    /// Files in the data folder.
    Local,
    S3(S3Storage),
}

/// An S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Storage {
    pub bucket: String,
    pub region: String,
    pub endpoint: Option<String>,
    /// Key id and secret; none where the machine's own identity is used.
    pub credentials: Option<(String, Secret)>,
    pub allow_http: bool,
    pub prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageValues {
    kind: StorageKind,
    bucket: Option<String>,
    region: String,
    endpoint: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
    allow_http: bool,
    prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StorageKind {
    Local,
    S3,
}

impl TryFrom<StorageValues> for Storage {
    type Error = &'static str;

    fn try_from(values: StorageValues) -> Result<Self, Self::Error> {
        if matches!(values.kind, StorageKind::Local) {
            return Ok(Self::Local);
        }
        let credentials = match (values.access_key_id, values.secret_access_key) {
            (Some(id), Some(secret)) => Some((id, secret)),
            (None, None) => None,
            _ => return Err("`storage.access_key_id` and `storage.secret_access_key` are only of use together"),
        };
        if values.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) && !values.allow_http {
            return Err("`storage.endpoint` is plain HTTP, which `storage.allow_http` does not allow");
        }
        Ok(Self::S3(S3Storage {
            bucket: values.bucket.ok_or("`storage.kind` is `s3`, so `storage.bucket` must be set")?,
            region: values.region,
            endpoint: values.endpoint,
            credentials,
            allow_http: values.allow_http,
            prefix: values.prefix,
        }))
    }
}

/// A file with the operator's name for what is in it: a signer's public key, a trust root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFile {
    pub name: String,
    pub path: PathBuf,
}

/// Addresses of machines: one, or a network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed.map(Self).map_err(|_| format!("{text:?} is not an address or a network such as 10.0.0.0/8"))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Which jobs a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerJobs {
    All,
    Probe,
    NoProbe,
}
