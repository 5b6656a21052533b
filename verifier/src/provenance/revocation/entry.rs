//! One thing that is revoked, and which signatures that concerns.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest reason, issuer name or log origin, in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// Longest serial number in hex digits (RFC 5280, 4.1.2.2).
const MAX_SERIAL_DIGITS: usize = 40;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revoked {
    /// Hex SHA-256 of a DER public key.
    Key(String),
    /// Hex SHA-256 of a DER certificate.
    Certificate(String),
    /// A certificate by who issued it.
    CertificateSerial {
        /// Distinguished name (RFC 4514).
        issuer: String,
        /// Hex, without leading zeros.
        serial: String,
    },
    /// Hex SHA-256 of a signature bundle.
    Bundle(String),
    /// A content digest.
    Content(String),
}

impl fmt::Display for Revoked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(sha256) => write!(formatter, "key {sha256}"),
            Self::Certificate(sha256) => write!(formatter, "certificate {sha256}"),
            Self::CertificateSerial { issuer, serial } => write!(formatter, "certificate {serial} of {issuer}"),
            Self::Bundle(sha256) => write!(formatter, "bundle {sha256}"),
            Self::Content(digest) => write!(formatter, "content {digest}"),
        }
    }
}

/// From when on signatures are refused; those that were received before stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CompromisedFrom {
    Log(LogMoment),
    Time(TimeMoment),
}

impl CompromisedFrom {
    /// Receipts at lower indices of this log stand.
    pub fn log(origin: &str, index: u64) -> Self {
        Self::Log(LogMoment { log_origin: origin.to_owned(), log_index: index })
    }

    /// Receipts before this time stand.
    pub const fn time(time: Timestamp) -> Self {
        Self::Time(TimeMoment { time })
    }
}

/// An index of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMoment {
    pub log_origin: String,
    pub log_index: u64,
}

/// A time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeMoment {
    pub time: Timestamp,
}

/// Where and when the registry received a signature, by its own log: what a signature says of
/// its own age is the word of whoever holds the key, which may be the thief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Origin of the registry's log.
    pub log_origin: &'a str,
    /// None while the receipt is not yet in the log.
    pub log_index: Option<u64>,
    pub received_at: Timestamp,
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("the kind `{0}` is not known, so what it revokes would go on")]
    UnknownKind(String),
    #[error("it has no SHA-256")]
    MissingDigest,
    #[error("its SHA-256 is not 64 lower-case hex digits")]
    InvalidDigest,
    #[error("it names a certificate neither by SHA-256 alone nor by issuer and serial number alone")]
    AmbiguousCertificate,
    #[error("its serial number is not hex without leading zeros")]
    InvalidSerial,
    #[error("only a certificate has an issuer and a serial number")]
    NotACertificate,
    #[error("only keys and certificates are compromised from a moment on")]
    CompromisedFromNotAllowed,
    #[error("one of its texts is empty or exceeds {MAX_TEXT_BYTES} bytes")]
    InvalidText,
}

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub revoked: Revoked,
    /// For people.
    pub reason: String,
    pub revoked_at: Timestamp,
    /// None where nothing of it stands, whenever it was received.
    pub compromised_from: Option<CompromisedFrom>,
}

impl Entry {
    /// Whether a signature that was received as `receipt` says is revoked by this entry. What
    /// cannot be shown to be older than the compromise is; an index of another log shows nothing.
    pub fn covers(&self, receipt: Option<&Receipt<'_>>) -> bool {
        match (&self.compromised_from, receipt) {
            (None, _) | (_, None) => true,
            (Some(CompromisedFrom::Log(moment)), Some(receipt)) => {
                let is_same_log = receipt.log_origin == moment.log_origin;
                !(is_same_log && receipt.log_index.is_some_and(|index| index < moment.log_index))
            }
            (Some(CompromisedFrom::Time(moment)), Some(receipt)) => receipt.received_at >= moment.time,
        }
    }

    /// Whether this entry lets signatures stand that `other` revokes, as far as can be told.
    pub(super) fn is_looser_than(&self, other: &Self) -> bool {
        match (&self.compromised_from, &other.compromised_from) {
            (None, _) => false,
            (Some(CompromisedFrom::Log(this)), Some(CompromisedFrom::Log(that))) => {
                this.log_origin != that.log_origin || this.log_index > that.log_index
            }
            (Some(CompromisedFrom::Time(this)), Some(CompromisedFrom::Time(that))) => this.time > that.time,
            (Some(_), _) => true,
        }
    }
}

/// An entry as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryDocument {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    reason: String,
    revoked_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compromised_from: Option<CompromisedFrom>,
}

impl From<&Entry> for EntryDocument {
    fn from(entry: &Entry) -> Self {
        let (kind, sha256, issuer, serial) = match &entry.revoked {
            Revoked::Key(sha256) => ("key", Some(sha256), None, None),
            Revoked::Certificate(sha256) => ("certificate", Some(sha256), None, None),
            Revoked::CertificateSerial { issuer, serial } => ("certificate", None, Some(issuer), Some(serial)),
            Revoked::Bundle(sha256) => ("bundle", Some(sha256), None, None),
            Revoked::Content(sha256) => ("content", Some(sha256), None, None),
        };
        Self {
            kind: kind.to_owned(),
            sha256: sha256.cloned(),
            issuer: issuer.cloned(),
            serial: serial.cloned(),
            reason: entry.reason.clone(),
            revoked_at: entry.revoked_at,
            compromised_from: entry.compromised_from.clone(),
        }
    }
}

impl EntryDocument {
    pub(super) fn check(self) -> Result<Entry, EntryError> {
        let texts = [Some(&self.reason), self.issuer.as_ref(), self.log_origin()];
        if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_TEXT_BYTES) {
            return Err(EntryError::InvalidText);
        }
        let revoked = self.revoked()?;
        if self.compromised_from.is_some() && matches!(revoked, Revoked::Bundle(_) | Revoked::Content(_)) {
            return Err(EntryError::CompromisedFromNotAllowed);
        }
        let Self { reason, revoked_at, compromised_from, .. } = self;
        Ok(Entry { revoked, reason, revoked_at, compromised_from })
    }

    fn log_origin(&self) -> Option<&String> {
        match &self.compromised_from {
            Some(CompromisedFrom::Log(moment)) => Some(&moment.log_origin),
            _ => None,
        }
    }

    fn revoked(&self) -> Result<Revoked, EntryError> {
        match self.kind.as_str() {
            "certificate" => self.certificate(),
            "key" => self.digest().map(Revoked::Key),
            "bundle" => self.digest().map(Revoked::Bundle),
            "content" => self.digest().map(Revoked::Content),
            other => Err(EntryError::UnknownKind(other.chars().take(100).collect())),
        }
    }

    fn certificate(&self) -> Result<Revoked, EntryError> {
        match (&self.sha256, &self.issuer, &self.serial) {
            (Some(sha256), None, None) => checked_digest(sha256).map(Revoked::Certificate),
            (None, Some(issuer), Some(serial)) => {
                let issuer = issuer.clone();
                Ok(Revoked::CertificateSerial { issuer, serial: checked_serial(serial)? })
            }
            _ => Err(EntryError::AmbiguousCertificate),
        }
    }

    fn digest(&self) -> Result<String, EntryError> {
        if self.issuer.is_some() || self.serial.is_some() {
            return Err(EntryError::NotACertificate);
        }
        checked_digest(self.sha256.as_deref().ok_or(EntryError::MissingDigest)?)
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn checked_digest(text: &str) -> Result<String, EntryError> {
    if text.len() == 64 && is_lower_hex(text) { Ok(text.to_owned()) } else { Err(EntryError::InvalidDigest) }
}

fn checked_serial(text: &str) -> Result<String, EntryError> {
    let is_normal = !text.is_empty() && text.len() <= MAX_SERIAL_DIGITS && !text.starts_with('0');
    if is_normal && is_lower_hex(text) { Ok(text.to_owned()) } else { Err(EntryError::InvalidSerial) }
}
