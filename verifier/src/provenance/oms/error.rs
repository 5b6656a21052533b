//! Why an OMS bundle is refused or cannot be checked.

use super::bundle::MAX_BUNDLE_BYTES;

/// Each variant is one rule; [`OmsError::code`] names the finding it becomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OmsError {
    #[error("the bundle exceeds {MAX_BUNDLE_BYTES} bytes")]
    TooLarge,
    #[error("the bundle is not the JSON of a sigstore bundle: {0}")]
    InvalidJson(String),
    #[error("the bundle's media type `{0}` is not one of a v0.3 bundle")]
    MediaType(String),
    #[error("the bundle has no signed envelope")]
    MissingEnvelope,
    #[error("the bundle has no verification material")]
    MissingVerificationMaterial,
    #[error("the bundle has {0} signatures instead of one")]
    SignatureCount(usize),
    #[error("the envelope holds `{0}` instead of an in-toto statement")]
    PayloadType(String),
    #[error("the bundle's {0} is not base64")]
    InvalidBase64(&'static str),
    #[error("the signature does not verify")]
    BadSignature,
    #[error("the bundle's key hint does not belong to the key that verifies it")]
    KeyHintMismatch,
    #[error("the signed payload is not an in-toto statement with an OMS manifest: {0}")]
    InvalidStatement(String),
    #[error("the predicate `{0}` is not that of a model signature")]
    WrongPredicate(String),
    #[error("the signature has the pre-standard format v0.2, which binds too little")]
    Version02,
    #[error("the statement has {0} subjects instead of one")]
    SubjectCount(usize),
    #[error("the manifest lists no files")]
    EmptyManifest,
    #[error("the manifest's root digest is not that of its list")]
    RootDigestMismatch,
    #[error("the manifest names `{0}`, which is no path inside a model")]
    InvalidPath(String),
    #[error("the manifest names `{0}` twice")]
    DuplicatePath(String),
    #[error("the manifest mixes hash algorithms at `{0}`")]
    MixedAlgorithms(String),
    #[error("the digest of `{0}` is not lower-case hex of its algorithm's length")]
    InvalidDigest(String),
    #[error("the shard size is not a positive whole number")]
    InvalidShardSize,
    #[error("the manifest hashes with {0}, and stored digests are SHA-256")]
    UnsupportedHash(String),
    #[error("the manifest lists parts of files, and stored digests are of whole files")]
    UnsupportedShards,
    #[error("the signature was made with a certificate")]
    UnsupportedCertificate,
    #[error("the signature was made without a long-lived key (sigstore)")]
    UnsupportedKeyless,
    #[error("the file `{0}` is not part of the revision")]
    FileMissing(String),
    #[error("the content of `{0}` is not what was signed")]
    DigestMismatch(String),
}

impl OmsError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "OMS_BUNDLE_TOO_LARGE",
            Self::InvalidJson(_) => "OMS_INVALID_JSON",
            Self::MediaType(_) => "OMS_MEDIA_TYPE",
            Self::MissingEnvelope => "OMS_MISSING_ENVELOPE",
            Self::MissingVerificationMaterial => "OMS_MISSING_VERIFICATION_MATERIAL",
            Self::SignatureCount(_) => "OMS_SIGNATURE_COUNT",
            Self::PayloadType(_) => "OMS_PAYLOAD_TYPE",
            Self::InvalidBase64(_) => "OMS_INVALID_BASE64",
            Self::BadSignature => "OMS_BAD_SIGNATURE",
            Self::KeyHintMismatch => "OMS_KEY_HINT_MISMATCH",
            Self::InvalidStatement(_) => "OMS_INVALID_STATEMENT",
            Self::WrongPredicate(_) => "OMS_WRONG_PREDICATE",
            Self::Version02 => "OMS_V0_2_REFUSED",
            Self::SubjectCount(_) => "OMS_SUBJECT_COUNT",
            Self::EmptyManifest => "OMS_EMPTY_MANIFEST",
            Self::RootDigestMismatch => "OMS_ROOT_DIGEST_MISMATCH",
            Self::InvalidPath(_) => "OMS_INVALID_PATH",
            Self::DuplicatePath(_) => "OMS_DUPLICATE_PATH",
            Self::MixedAlgorithms(_) => "OMS_MIXED_ALGORITHMS",
            Self::InvalidDigest(_) => "OMS_INVALID_DIGEST",
            Self::InvalidShardSize => "OMS_INVALID_SHARD_SIZE",
            Self::UnsupportedHash(_) => "OMS_HASH_UNSUPPORTED",
            Self::UnsupportedShards => "OMS_SHARDS_UNSUPPORTED",
            Self::UnsupportedCertificate => "OMS_CERTIFICATE_UNSUPPORTED",
            Self::UnsupportedKeyless => "OMS_KEYLESS_UNSUPPORTED",
            Self::FileMissing(_) => "OMS_FILE_MISSING",
            Self::DigestMismatch(_) => "OMS_DIGEST_MISMATCH",
        }
    }

    /// Whether the signature may be good and is of a kind that this release cannot check.
    pub const fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::UnsupportedHash(_)
                | Self::UnsupportedShards
                | Self::UnsupportedCertificate
                | Self::UnsupportedKeyless
        )
    }
}
