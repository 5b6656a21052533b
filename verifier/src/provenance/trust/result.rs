//! What a trust policy comes to: never one bit, always the outcome of every check.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Mode;

/// The policy's word over a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustVerdict {
    /// Every requirement is met.
    Trusted,
    /// Signatures or attestations exist, and a requirement is not met.
    Untrusted,
    /// Nobody signed anything about it.
    Unsigned,
    /// A signature contradicts the files, and no requirement is met without it.
    Invalid,
    /// The content itself was revoked.
    Revoked,
}

impl TrustVerdict {
    /// The name used in documents and policy inputs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
            Self::Unsigned => "unsigned",
            Self::Invalid => "invalid",
            Self::Revoked => "revoked",
        }
    }
}

/// What is checked about a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// The bundle is well-formed, its signature valid, and its digests are those of the files.
    Integrity,
    /// The signer is one whom the requirement names.
    Signer,
    /// The signer's key or certificate was within its validity.
    Expiry,
    /// A verified time says when the signature existed.
    Timestamp,
    /// A transparency log holds the signature.
    Log,
    /// Neither the signer, the bundle nor the content was revoked.
    Revocation,
    /// The files that the signature does not speak for.
    Coverage,
    /// What an attestation states.
    Predicate,
    /// The trust root is the pinned one and not too old.
    Root,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    Passed,
    /// Failed where the policy only warns.
    Warned,
    Failed,
    /// The policy leaves the check out.
    Skipped,
    /// The method has nothing to check here, such as the time of a signature by key.
    NotApplicable,
}

/// One check of one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TrustCheck)]
pub struct Check {
    pub check: CheckKind,
    pub outcome: CheckOutcome,
    /// UPPER_SNAKE where it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    pub detail: String,
    /// Hex SHA-256 of the bundle that was checked.
    pub bundle: String,
}

/// One requirement of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequirementResult {
    pub id: String,
    pub mode: Mode,
    pub met: bool,
    /// Distinct signers who meet it, and how many it asks for.
    pub signers: Vec<String>,
    pub threshold: usize,
    /// UPPER_SNAKE where it is not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    pub detail: String,
    pub checks: Vec<Check>,
}

impl TrustAssessment {
    /// Adds what is found beside the policy, each with its code and in words.
    pub fn add_notes(&mut self, found: Vec<(&'static str, String)>) {
        for (code, note) in found {
            self.codes.push(code.to_owned());
            self.notes.push(note);
        }
    }
}

/// A trust policy's word over one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrustAssessment {
    pub verdict: TrustVerdict,
    /// Name of the policy that applied; none where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Hex SHA-256 of the document that holds the policy.
    pub policy_digest: String,
    pub requirements: Vec<RequirementResult>,
    /// UPPER_SNAKE: what stands against trust, most important first.
    pub codes: Vec<String>,
    /// In words: what stands against trust, or what to know beside it.
    pub notes: Vec<String>,
    /// RFC 3339: when the first thing that this rests on ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}
