//! Why the manifest of a model signature is refused or cannot be checked.

/// Each variant is one rule; [`OmsError::code`] names the finding it becomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OmsError {
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
    #[error("the parts of `{0}` do not follow each other from its start to its end")]
    InvalidShards(String),
    #[error("the manifest hashes with `{0}`, which is none of sha256, blake2b and blake3")]
    UnsupportedHash(String),
    #[error("the file `{0}` is not part of the revision")]
    FileMissing(String),
    #[error("the content of `{0}` is not what was signed")]
    DigestMismatch(String),
    #[error("the file `{0}` could not be read: {1}")]
    FileUnreadable(String, String),
}

impl OmsError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
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
            Self::InvalidShards(_) => "OMS_INVALID_SHARDS",
            Self::UnsupportedHash(_) => "OMS_HASH_UNSUPPORTED",
            Self::FileMissing(_) => "OMS_FILE_MISSING",
            Self::DigestMismatch(_) => "OMS_DIGEST_MISMATCH",
            Self::FileUnreadable(..) => "FILE_UNREADABLE",
        }
    }

    /// Whether the signature may be good and could not be checked.
    pub const fn is_unsupported(&self) -> bool {
        matches!(self, Self::UnsupportedHash(_) | Self::FileUnreadable(..))
    }
}
