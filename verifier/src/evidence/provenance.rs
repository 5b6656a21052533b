//! Who vouches for a revision: what its signatures and attestations prove.
//!
//! Nothing here depends on the time of asking or on whom an operator trusts for what: that is the
//! trust policy's word, given at the gate over these facts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Finding, Status};

/// What can be said of one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureState {
    /// Valid, by a key or a certificate authority that an operator configured.
    Trusted,
    /// Valid, but nothing configured names the signer: an identity under a sigstore root, which a
    /// trust policy may name, or a key that came with the signature, which nothing makes trusted.
    Untrusted,
    /// Present, but no configured key or root could check it.
    Unverified,
    /// Refused: the findings name the reason.
    Invalid,
    /// Of a kind that this release cannot check.
    Unsupported,
}

/// One signature bundle, over a revision's files or around an attestation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SignatureFacts {
    pub state: SignatureState,
    /// `key`, `certificate` or `keyless`.
    pub method: String,
    /// Hex SHA-256 of the signature bundle.
    pub digest: String,
    /// Hex SHA-256 of the DER public key that verified it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Operator's name of the trusted key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The signer's certificate, where one was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFacts>,
    /// Operator's name of the trust root that the certificate, the log entries or the times were
    /// verified with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Hex SHA-256 of that root's document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_digest: Option<String>,
    /// Verified times at which the signature existed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeEvidence>,
    /// Verified places in transparency logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_positions: Vec<LogPosition>,
    pub coverage: Coverage,
}

impl SignatureFacts {
    /// A bundle of which nothing is known yet and that covers none of the files.
    pub fn unproven(bundle_digest: String, files: impl IntoIterator<Item = String>) -> Self {
        Self {
            state: SignatureState::Unverified,
            method: "unknown".to_owned(),
            digest: bundle_digest,
            key: None,
            signer: None,
            certificate: None,
            root: None,
            root_digest: None,
            times: Vec::new(),
            log_positions: Vec::new(),
            coverage: Coverage { unsigned: files.into_iter().collect(), ..Coverage::default() },
        }
    }
}

/// A verified certificate of a signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateFacts {
    /// Hex SHA-256 of the DER certificate.
    pub sha256: String,
    /// Hex, without leading zeros.
    pub serial: String,
    /// The subject's distinguished name (RFC 4514); empty in sigstore's certificates.
    pub subject: String,
    /// The subject alternative name: a mail address or URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Who confirmed the identity: the OIDC issuer's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The distinguished name (RFC 4514) of the authority that issued it.
    pub issued_by: String,
    /// RFC 3339: from when on the leaf and every certificate above it are valid.
    pub valid_from: String,
    /// RFC 3339: until when the leaf and every certificate above it are valid.
    pub valid_until: String,
}

/// Who says when a signature existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// A timestamp authority (RFC 3161).
    TimestampAuthority,
    /// A transparency log's signed entry time.
    TransparencyLog,
}

/// A verified time of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeEvidence {
    pub source: TimeSource,
    /// RFC 3339.
    pub at: String,
}

/// A verified place in a transparency log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogPosition {
    /// The log's origin where its checkpoint names one, else its id in hex.
    pub log: String,
    pub index: u64,
}

/// Which files a signature speaks for; a valid signature says nothing about the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    pub signed: Vec<String>,
    pub ignored: Vec<String>,
    pub unsigned: Vec<String>,
}

/// A signed statement about a revision (in-toto).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttestationFacts {
    pub predicate_type: String,
    /// Subjects that are this revision: its content, or files of it.
    pub subjects: Vec<Subject>,
    /// What is stated. Null where it is larger than 64 KiB, which no rule can then ask for.
    pub predicate: Value,
    /// What the revision was made from, by the statement's word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<AttestedBase>,
    pub signature: SignatureFacts,
}

/// A subject that was found in the revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AttestedSubject)]
pub struct Subject {
    pub name: String,
    /// Hex SHA-256: the content digest, or that of a file.
    pub sha256: String,
    /// Path of the file in the revision; none where the subject is the whole content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A model that an attestation names as a material, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttestedBase {
    /// What the statement calls it.
    pub name: String,
    /// Where the statement says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Hex SHA-256: a content digest, or that of a weight file.
    pub sha256: String,
    /// How the revision was made from it.
    pub relation: super::Relation,
}

/// The overall word on provenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProvenanceVerdict {
    /// A signature by a configured key or authority covers everything that matters.
    Trusted,
    Untrusted,
    Unsigned,
    Invalid,
    Unsupported,
}

/// What the signatures and attestations of a revision prove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProvenanceFacts {
    pub schema_version: u32,
    pub verdict: ProvenanceVerdict,
    pub signatures: Vec<SignatureFacts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<AttestationFacts>,
    /// Files that hold weights, sorted, where a trust policy has to tell them from others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weight_files: Vec<String>,
    /// Files that people read and no loader does, sorted: they may change without a new signature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
    pub findings: Vec<Finding>,
}

impl ProvenanceFacts {
    pub const fn status(&self) -> Status {
        match self.verdict {
            ProvenanceVerdict::Trusted => Status::Passed,
            ProvenanceVerdict::Untrusted | ProvenanceVerdict::Unsigned => Status::Warned,
            ProvenanceVerdict::Invalid => Status::Failed,
            ProvenanceVerdict::Unsupported => Status::Unsupported,
        }
    }
}
