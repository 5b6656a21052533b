//! OpenSSF Model Signing (OMS): a signed list of a model's files.
//!
//! The reference tool accepts more than its specification and binds less than its users
//! think: repeated names, paths that leave the model, files it was told to ignore. So manifests
//! are read here by code of our own, against digests that were stored when the files
//! arrived, and every signature comes with the list of files it does not speak for.
//!
//! After the OMS specification v1.0 and the behavior of `model_signing` 1.1.1.

mod error;
mod manifest;
mod sign;
mod verify;

pub use super::key::{KeyError, SigningKey, TrustedKey};
pub use error::OmsError;
pub(super) use manifest::PREDICATE_TYPES;
pub use sign::{SignError, SignedFile, sign, sign_without};
pub use verify::{Files, SignatureCheck, verify};
