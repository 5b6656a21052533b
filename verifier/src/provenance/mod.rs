//! Who vouches for a revision, and what can be proven of that.

pub mod attestation;
mod bundle;
mod certificate;
mod der;
mod digests;
mod dsse;
mod envelope;
mod judge;
mod key;
mod material;
pub mod oms;
mod peek;
pub mod revocation;
mod root;
pub mod sigstore;
pub mod statement;
pub mod transparency;
pub mod trust;

pub use certificate::CertificateError;
pub use digests::{DigestCache, DigestScheme, FileDigests, HashAlgorithm};
pub use envelope::{EnvelopeCheck, EnvelopeError, verify_envelope};
pub use judge::{Subject, judge};
pub use key::{KeyError, SigningKey, TrustedKey};
pub use material::TrustMaterial;
pub use peek::{log_entry_of, predicate_type};
pub use root::{RootError, RootKind, TrustRoot};
