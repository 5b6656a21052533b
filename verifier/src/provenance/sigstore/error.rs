//! Why sigstore evidence is refused, with one name for each way to fail.

use sigstore_verify::{CertificateError, Error, TimestampError, TransparencyLogError};

/// Each variant is one reason; [`SigstoreError::code`] names the finding it becomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigstoreError {
    #[error("the trust root cannot be used: {0}")]
    Root(String),
    #[error("the key cannot be used: {0}")]
    Key(String),
    #[error("the bundle cannot be read: {0}")]
    Bundle(String),
    #[error("the bundle is of a kind that cannot be verified: {0}")]
    Unsupported(String),
    #[error("no subject of the statement has a SHA-256 digest")]
    NoSubjectDigest,
    #[error("the artifact cannot be read: {0}")]
    Artifact(String),
    #[error("the signature is over something else: {0}")]
    ArtifactMismatch(String),
    #[error("the signer's identity is another: {0}")]
    IdentityMismatch(String),
    #[error("the issuer of the signer's identity is another: {0}")]
    IssuerMismatch(String),
    #[error("the signature does not verify: {0}")]
    Signature(String),
    #[error("the signer's certificate cannot be read: {0}")]
    CertificateMalformed(String),
    #[error("the signer's certificate does not lead to the root: {0}")]
    CertificateChain(String),
    #[error("the root had no certificate authority when the signature was made: {0}")]
    NoAuthorityThen(String),
    #[error("the signature was made before its certificate was valid: {0}")]
    SignedTooEarly(String),
    #[error("the signature was made after its certificate had expired: {0}")]
    SignedTooLate(String),
    #[error("the certificate was not logged: {0}")]
    CertificateNotLogged(String),
    #[error("the entry is from a log that the root does not have: {0}")]
    UnknownLog(String),
    #[error("the log's inclusion proof does not hold: {0}")]
    InclusionProof(String),
    #[error("the log's checkpoint does not hold: {0}")]
    Checkpoint(String),
    #[error("the log's promise, which signs the entry's time, does not hold: {0}")]
    InclusionPromise(String),
    #[error("the log's entry is about another signature: {0}")]
    EntryMismatch(String),
    #[error("the log's time for the entry does not fit: {0}")]
    EntryTime(String),
    #[error("the log's time for the entry lies in the future; check this machine's clock: {0}")]
    EntryInFuture(String),
    #[error("the log's entry cannot be read: {0}")]
    EntryMalformed(String),
    #[error("the timestamp does not verify: {0}")]
    Timestamp(String),
    #[error("the timestamp lies outside the time of its authority: {0}")]
    TimestampOutsideAuthority(String),
    #[error("nothing trusted says when the signature was made: {0}")]
    NoTime(String),
}

impl SigstoreError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Root(_) => "TRUST_ROOT_UNUSABLE",
            Self::Key(_) => "SIGNATURE_KEY_UNSUPPORTED",
            Self::Bundle(_) => "BUNDLE_MALFORMED",
            Self::Unsupported(_) => "BUNDLE_UNSUPPORTED",
            Self::NoSubjectDigest => "STATEMENT_DIGEST_UNSUPPORTED",
            Self::Artifact(_) => "ARTIFACT_UNREADABLE",
            Self::ArtifactMismatch(_) => "ARTIFACT_MISMATCH",
            Self::IdentityMismatch(_) => "SIGNER_IDENTITY_MISMATCH",
            Self::IssuerMismatch(_) => "SIGNER_ISSUER_MISMATCH",
            Self::Signature(_) => "SIGNATURE_INVALID",
            Self::CertificateMalformed(_) => "CERTIFICATE_MALFORMED",
            Self::CertificateChain(_) => "CERTIFICATE_CHAIN_INVALID",
            Self::NoAuthorityThen(_) => "CERTIFICATE_AUTHORITY_NOT_VALID",
            Self::SignedTooEarly(_) => "SIGNED_BEFORE_CERTIFICATE",
            Self::SignedTooLate(_) => "SIGNED_AFTER_CERTIFICATE",
            Self::CertificateNotLogged(_) => "CERTIFICATE_NOT_LOGGED",
            Self::UnknownLog(_) => "LOG_UNKNOWN",
            Self::InclusionProof(_) => "LOG_INCLUSION_PROOF_INVALID",
            Self::Checkpoint(_) => "LOG_CHECKPOINT_INVALID",
            Self::InclusionPromise(_) => "LOG_PROMISE_INVALID",
            Self::EntryMismatch(_) => "LOG_ENTRY_MISMATCH",
            Self::EntryTime(_) => "LOG_TIME_INVALID",
            Self::EntryInFuture(_) => "LOG_TIME_IN_FUTURE",
            Self::EntryMalformed(_) => "LOG_ENTRY_MALFORMED",
            Self::Timestamp(_) => "TIMESTAMP_INVALID",
            Self::TimestampOutsideAuthority(_) => "TIMESTAMP_OUTSIDE_AUTHORITY",
            Self::NoTime(_) => "SIGNING_TIME_MISSING",
        }
    }

    /// Whether the signature may be good and is of a kind that this release cannot check.
    pub const fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported(_) | Self::NoSubjectDigest | Self::Key(_))
    }
}

impl From<Error> for SigstoreError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::IdentityMismatch { .. } => Self::IdentityMismatch(text),
            Error::IssuerMismatch { .. } => Self::IssuerMismatch(text),
            Error::SignatureInvalid(_) => Self::Signature(text),
            Error::ArtifactMismatch(_) => Self::ArtifactMismatch(text),
            Error::UnsupportedArtifact(_) | Error::UnsupportedBundle(_) => Self::Unsupported(text),
            Error::Certificate(error) => Self::of_certificate(&error, text),
            Error::TransparencyLog(error) => Self::of_log(&error, text),
            Error::Timestamp(error) => Self::of_timestamp(&error, text),
            Error::InvalidTrustRoot(_) | Error::TrustRoot(_) | Error::TrustedCertificate(_) => Self::Root(text),
            Error::Crypto(_) => Self::Key(text),
            Error::ArtifactRead(_) => Self::Artifact(text),
            Error::Bundle(error) => Self::of_structure(&error, text),
            _ => Self::Bundle(text),
        }
    }
}

impl SigstoreError {
    fn of_structure(error: &sigstore_verify::bundle::Error, text: String) -> Self {
        use sigstore_verify::bundle::Error;
        match error {
            Error::MissingSigningTimeEvidence => Self::NoTime(text),
            Error::MissingInclusionProof(_) | Error::LogIndexOutOfRange { .. } => Self::InclusionProof(text),
            Error::MissingCheckpoint | Error::CheckpointRootMismatch => Self::Checkpoint(text),
            Error::MissingInclusionPromise(_) => Self::InclusionPromise(text),
            _ => Self::Bundle(text),
        }
    }

    fn of_certificate(error: &CertificateError, text: String) -> Self {
        match error {
            // A time outside the chain's is told apart in the text alone.
            CertificateError::ChainInvalid(detail) if detail.contains("CertExpired") => Self::SignedTooLate(text),
            CertificateError::ChainInvalid(detail) if detail.contains("CertNotValidYet") => Self::SignedTooEarly(text),
            CertificateError::ChainInvalid(_) => Self::CertificateChain(text),
            CertificateError::NoValidAuthority { .. } => Self::NoAuthorityThen(text),
            CertificateError::NotYetValid { .. } => Self::SignedTooEarly(text),
            CertificateError::Expired { .. } => Self::SignedTooLate(text),
            CertificateError::Sct(_) => Self::CertificateNotLogged(text),
            _ => Self::CertificateMalformed(text),
        }
    }

    fn of_log(error: &TransparencyLogError, text: String) -> Self {
        match error {
            TransparencyLogError::UnknownLog { .. } => Self::UnknownLog(text),
            TransparencyLogError::InclusionProof(_) => Self::InclusionProof(text),
            TransparencyLogError::Checkpoint(_) => Self::Checkpoint(text),
            TransparencyLogError::InclusionPromise(_) => Self::InclusionPromise(text),
            TransparencyLogError::EntryMismatch(_) => Self::EntryMismatch(text),
            // The crate has one variant for both, and an operator's wrong clock needs its own words.
            TransparencyLogError::IntegratedTime(detail) if detail.contains("in the future") => {
                Self::EntryInFuture(text)
            }
            TransparencyLogError::IntegratedTime(_) => Self::EntryTime(text),
            _ => Self::EntryMalformed(text),
        }
    }

    fn of_timestamp(error: &TimestampError, text: String) -> Self {
        match error {
            TimestampError::OutsideAuthorityValidity { .. } => Self::TimestampOutsideAuthority(text),
            TimestampError::NoVerifiedTimestamp(_) => Self::NoTime(text),
            _ => Self::Timestamp(text),
        }
    }
}
