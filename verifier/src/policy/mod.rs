//! The gate's judgement: Rego behind a narrow contract.
//!
//! A policy is a Rego module `weighhouse.gate` with the sets `deny`, `warn` and `exception`,
//! and a JSON data document with the environments. That is conftest's shape, so `conftest`
//! and `opa` reach the same verdict from the same two files. Policy text never decides
//! "allowed" by itself: evidence that an environment requires is enforced here, and a policy
//! that fails, times out or says nothing where it must speak denies.

mod data;
mod evaluate;
mod input;

pub use data::{DemandedConformance, DemandedLevel, DemandedSandbox, EnvironmentData, PolicyData, ProbeDemands};
pub use evaluate::{Outcome, Policy, Reason, Suggestion, Waived};
pub use input::{
    Advisory, EvidenceDocuments, EvidenceState, PolicyInput, PolicyModel, Use, UseError, UseValue, Waiver,
};

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy's data document is not valid: {0}")]
    Data(String),
    #[error("the policy does not compile: {0}")]
    Rego(String),
    #[error("the policy declares no package weighhouse.gate")]
    Package,
    #[error("the policy text is larger than {0} bytes")]
    TooLarge(usize),
    #[error("no environment is called {name:?}; this policy has {known}", known = known.join(", "))]
    UnknownEnvironment { name: String, known: Vec<String> },
}
