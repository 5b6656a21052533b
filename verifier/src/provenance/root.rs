//! Trust roots: the documents from which everything about a certificate, a log or a time follows.
//!
//! A root is known by the digest of its document, because an operator without a network can only
//! confirm a number that came another way. Documents grow old while signatures do not: merging
//! keeps what an older one had, or bundles of yesterday's log would fail.

mod merge;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sigstore_trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT};

use super::certificate::{Authorities, Certificate};
use super::der;
use super::sigstore::Instance;

/// Largest document, in bytes; the public one has some 6,000.
const MAX_ROOT_BYTES: usize = 1024 * 1024;
/// Most certificates in a PEM document.
const MAX_CERTIFICATES: usize = 64;
/// Most entries of one kind in a sigstore document.
const MAX_ENTRIES: usize = 64;
/// Lists of a sigstore document.
const LISTS: [&str; 4] = ["tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"];
const CERTIFICATE_LABEL: &str = "CERTIFICATE";
const PUBLIC_GOOD: &str = "public-good";

/// Why a document is no trust root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    #[error("the document exceeds {MAX_ROOT_BYTES} bytes")]
    TooLarge,
    #[error("the document is neither a sigstore trusted root nor PEM certificates")]
    Unrecognized,
    #[error("the document is not the JSON of a sigstore trusted root: {0}")]
    InvalidJson(String),
    #[error("the document has more than {MAX_ENTRIES} entries in `{0}`")]
    TooManyEntries(&'static str),
    #[error("the document has more than {MAX_CERTIFICATES} certificates")]
    TooManyCertificates,
    #[error("the sigstore trusted root cannot be used: {0}")]
    Sigstore(String),
    #[error("a certificate of the document cannot be used: {0}")]
    Certificate(String),
    #[error("the documents are of different kinds")]
    KindMismatch,
    #[error("the documents hold different keys for the log {0}")]
    Conflict(String),
}

/// What a root vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootKind {
    /// The authorities and logs of a sigstore instance.
    Sigstore,
    /// Certificate authorities of one's own.
    Certificates,
}

impl RootKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sigstore => "sigstore",
            Self::Certificates => "certificates",
        }
    }
}

/// A trust root under an operator's name.
#[derive(Debug, Clone)]
pub struct TrustRoot {
    name: String,
    document: Vec<u8>,
    digest: String,
    newest: Option<Timestamp>,
    without_log: bool,
    content: Arc<Content>,
}

#[derive(Debug)]
enum Content {
    Sigstore(Box<Instance>),
    Certificates(Authorities),
}

impl TrustRoot {
    /// Reads a sigstore `trusted_root.json`, a client configuration that holds one, or PEM
    /// certificates; which of them it is, its content says.
    pub fn parse(name: &str, document: &[u8]) -> Result<Self, RootError> {
        if document.len() > MAX_ROOT_BYTES {
            return Err(RootError::TooLarge);
        }
        let text = std::str::from_utf8(document).map_err(|_| RootError::Unrecognized)?;
        let (content, newest) = if text.trim_start().starts_with('{') {
            sigstore(text)?
        } else if text.contains("-----BEGIN CERTIFICATE-----") {
            certificates(text)?
        } else {
            return Err(RootError::Unrecognized);
        };
        Ok(Self {
            name: name.to_owned(),
            document: document.to_vec(),
            digest: hex::encode(Sha256::digest(document)),
            newest,
            without_log: false,
            content: Arc::new(content),
        })
    }

    /// The root of sigstore's public instance, as this release carries it.
    pub fn public_good() -> Result<Self, RootError> {
        Self::parse(PUBLIC_GOOD, SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
    }

    /// The root of sigstore's test instance, which only its conformance suite asks for.
    pub fn staging() -> Result<Self, RootError> {
        Self::parse("staging", SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes())
    }

    /// The same root as that of a private instance without a transparency log, whose signatures
    /// are placed in time by timestamps alone. Signatures of a public instance must never be
    /// judged so: the log is what makes a stolen identity visible.
    #[must_use]
    pub fn without_log(mut self) -> Self {
        self.without_log = true;
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> RootKind {
        match *self.content {
            Content::Sigstore(_) => RootKind::Sigstore,
            Content::Certificates(_) => RootKind::Certificates,
        }
    }

    /// Hex SHA-256 of the document, which an operator confirms.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The certificates of a root of authorities, in DER: those that may have signed a revocation
    /// list. A sigstore root has none.
    pub fn certificates(&self) -> Vec<&[u8]> {
        self.authorities().into_iter().flat_map(Authorities::certificates).map(Certificate::der).collect()
    }

    /// Whether signatures are judged without a transparency log.
    pub const fn is_without_log(&self) -> bool {
        self.without_log
    }

    /// RFC 3339: when the newest key or certificate in it became valid, by which its age is told.
    pub fn newest(&self) -> Option<String> {
        self.newest.map(|time| time.to_string())
    }

    /// This root with what a newer document of it adds. Nothing that this one has is dropped;
    /// where both have a key or certificate, its time ends when either says so.
    pub fn merged(&self, newer: &[u8]) -> Result<Self, RootError> {
        let newer = Self::parse(&self.name, newer)?;
        let document = match (&*self.content, &*newer.content) {
            (Content::Sigstore(_), Content::Sigstore(_)) => merge::sigstore(&self.document, &newer.document)?,
            (Content::Certificates(_), Content::Certificates(_)) => merge::pem(&self.document, &newer.document),
            _ => return Err(RootError::KindMismatch),
        };
        Ok(Self { without_log: self.without_log, ..Self::parse(&self.name, &document)? })
    }

    pub(super) fn instance(&self) -> Option<&Instance> {
        match &*self.content {
            Content::Sigstore(instance) => Some(instance),
            Content::Certificates(_) => None,
        }
    }

    pub(super) fn authorities(&self) -> Option<&Authorities> {
        match &*self.content {
            Content::Certificates(authorities) => Some(authorities),
            Content::Sigstore(_) => None,
        }
    }
}

fn sigstore(text: &str) -> Result<(Content, Option<Timestamp>), RootError> {
    let document = trusted_root(text.as_bytes())?;
    for list in LISTS {
        if document[list].as_array().is_some_and(|entries| entries.len() > MAX_ENTRIES) {
            return Err(RootError::TooManyEntries(list));
        }
    }
    let starts = LISTS.iter().flat_map(|list| document[*list].as_array().into_iter().flatten()).filter_map(|entry| {
        let window = entry.pointer("/publicKey/validFor").unwrap_or(&entry["validFor"]);
        window["start"].as_str()?.parse::<Timestamp>().ok()
    });
    let newest = starts.max();
    let instance = Instance::parse(&document.to_string()).map_err(|error| RootError::Sigstore(error.to_string()))?;
    Ok((Content::Sigstore(Box::new(instance)), newest))
}

/// The trusted root in a document, be it the whole or a part of a client's configuration.
fn trusted_root(document: &[u8]) -> Result<Value, RootError> {
    let mut document: Value =
        serde_json::from_slice(document).map_err(|error| RootError::InvalidJson(error.to_string()))?;
    let inner = document.get_mut("trustedRoot").map(Value::take);
    let root = inner.unwrap_or(document);
    let is_root = root["mediaType"].as_str().is_some_and(|kind| kind.contains("trustedroot"));
    if is_root { Ok(root) } else { Err(RootError::Unrecognized) }
}

fn certificates(text: &str) -> Result<(Content, Option<Timestamp>), RootError> {
    let mut certificates = Vec::new();
    for (label, der) in der::parse_pem_blocks(text) {
        if label != CERTIFICATE_LABEL {
            continue;
        }
        if certificates.len() == MAX_CERTIFICATES {
            return Err(RootError::TooManyCertificates);
        }
        let der = der.ok_or_else(|| RootError::Certificate("its text is not base64".to_owned()))?;
        certificates.push(Certificate::parse(&der).map_err(|error| RootError::Certificate(error.to_string()))?);
    }
    if certificates.is_empty() {
        return Err(RootError::Unrecognized);
    }
    let newest = certificates.iter().map(|certificate| certificate.window().from).max();
    Ok((Content::Certificates(Authorities::new(certificates)), newest))
}
