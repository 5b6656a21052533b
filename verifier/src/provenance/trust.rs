//! Whom an operator trusts for what: the trust policy and its word over a revision's provenance.
//!
//! Facts say which bundles are valid and who signed them. Whether that is enough depends on the
//! model, the environment, the time and what was revoked since, so it is judged apart, from stored
//! facts alone: a changed policy or a new revocation needs no byte of a model to be read again,
//! and a policy can be tried over a whole catalog before it is in force.

mod assess;
mod candidate;
mod conditions;
mod coverage;
mod document;
mod pattern;
mod result;

pub use assess::{Context, Receipt, assess};
pub use document::{
    CheckModes, CoverageRule, Mode, Policy, Requirement, RequirementKind, SignerRule, TrustPolicy, TrustPolicyError,
    Validity, names_key,
};
pub use pattern::{IdentityPattern, ModelPattern, PatternError};
pub use result::{Check, CheckKind, CheckOutcome, RequirementResult, TrustAssessment, TrustVerdict};
