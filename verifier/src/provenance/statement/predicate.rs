//! The predicates that are known here, and the fields that each must have.
//!
//! A rule asks a predicate for fields. One that lacks what its type requires is refused whole,
//! so that no rule is satisfied by half a document. Unknown fields are ignored, unknown types
//! are kept and say nothing.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::schema::{
    AttributeReport, LicenseReview, Provenance, Reference, SimpleVerificationResult, Spdx2, Spdx3, TestResult,
    VerificationSummary, Vulnerabilities,
};
use super::{Statement, shorten};

/// What a statement says, by its predicate type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredicateType {
    /// How the artifact was made.
    SlsaProvenance,
    TestResult,
    Vulnerabilities,
    Spdx2,
    Spdx3,
    /// Somebody's policy was applied (VSA).
    VerificationSummary,
    /// Properties that somebody verified (SVR).
    SimpleVerificationResult,
    /// Attributes under conditions (SCAI).
    AttributeReport,
    Reference,
    /// A person concluded which license applies.
    LicenseReview,
}

impl PredicateType {
    const ALL: [Self; 10] = [
        Self::SlsaProvenance,
        Self::TestResult,
        Self::Vulnerabilities,
        Self::Spdx2,
        Self::Spdx3,
        Self::VerificationSummary,
        Self::SimpleVerificationResult,
        Self::AttributeReport,
        Self::Reference,
        Self::LicenseReview,
    ];

    pub const fn uri(self) -> &'static str {
        match self {
            Self::SlsaProvenance => "https://slsa.dev/provenance/v1",
            Self::TestResult => "https://in-toto.io/attestation/test-result/v0.1",
            Self::Vulnerabilities => "https://in-toto.io/attestation/vulns/v0.2",
            Self::Spdx2 => "https://spdx.dev/Document/v2.3",
            Self::Spdx3 => "https://spdx.dev/Document/v3",
            Self::VerificationSummary => "https://slsa.dev/verification_summary/v1",
            Self::SimpleVerificationResult => "https://in-toto.io/attestation/svr/v0.2",
            Self::AttributeReport => "https://in-toto.io/attestation/scai/v0.3",
            Self::Reference => "https://in-toto.io/attestation/reference/v0.1",
            Self::LicenseReview => "urn:weighhouse:predicate:license-review:v1",
        }
    }

    /// The inverse of [`PredicateType::uri`]; none for a type that is not known here.
    pub fn parse(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.uri() == uri)
    }

    /// The code of the finding that a malformed predicate of this type becomes.
    pub const fn invalid_code(self) -> &'static str {
        match self {
            Self::SlsaProvenance => "ATTESTATION_PROVENANCE_INVALID",
            Self::TestResult => "ATTESTATION_TEST_RESULT_INVALID",
            Self::Vulnerabilities => "ATTESTATION_VULNS_INVALID",
            Self::Spdx2 | Self::Spdx3 => "ATTESTATION_SPDX_INVALID",
            Self::VerificationSummary => "ATTESTATION_VSA_INVALID",
            Self::SimpleVerificationResult => "ATTESTATION_SVR_INVALID",
            Self::AttributeReport => "ATTESTATION_SCAI_INVALID",
            Self::Reference => "ATTESTATION_REFERENCE_INVALID",
            Self::LicenseReview => "ATTESTATION_LICENSE_REVIEW_INVALID",
        }
    }

    /// Holds a predicate against the fields that its type requires.
    fn check(self, predicate: &Value) -> Result<(), String> {
        match self {
            Self::SlsaProvenance => fits::<Provenance>(predicate),
            Self::TestResult => fits::<TestResult>(predicate),
            Self::Vulnerabilities => fits::<Vulnerabilities>(predicate),
            Self::Spdx2 => fits::<Spdx2>(predicate),
            Self::Spdx3 => fits::<Spdx3>(predicate),
            Self::VerificationSummary => fits::<VerificationSummary>(predicate),
            Self::SimpleVerificationResult => fits::<SimpleVerificationResult>(predicate),
            Self::AttributeReport => fits::<AttributeReport>(predicate),
            Self::Reference => fits::<Reference>(predicate),
            Self::LicenseReview => fits::<LicenseReview>(predicate),
        }
    }
}

/// Why a predicate of a known type is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the predicate is not a `{}`: {reason}", predicate_type.uri())]
pub struct PredicateError {
    pub predicate_type: PredicateType,
    pub reason: String,
}

impl PredicateError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        self.predicate_type.invalid_code()
    }
}

impl Statement {
    /// What kind of predicate this is, once it has what its type requires; none for a type that
    /// is not known here.
    pub fn checked_predicate(&self) -> Result<Option<PredicateType>, PredicateError> {
        let Some(predicate_type) = PredicateType::parse(&self.predicate_type) else { return Ok(None) };
        let checked = predicate_type.check(&self.predicate);
        checked.map(|()| Some(predicate_type)).map_err(|reason| PredicateError { predicate_type, reason })
    }
}

fn fits<T: DeserializeOwned>(predicate: &Value) -> Result<(), String> {
    T::deserialize(predicate).map(|_| ()).map_err(|error| shorten(&error.to_string()))
}
