//! The protocol of sigstore's conformance suite, so that anyone can hold this verifier against it.
//!
//! The exit status is the whole answer: 0 where the bundle verifies.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_core::MAX_SIGNATURE_BYTES;
use verifier::provenance::sigstore::{self, Artifact, Signer};
use verifier::provenance::{RootError, TrustRoot};

use super::output::{self, CliError, read_small};
use super::verify::MAX_KEY_BYTES;

/// Largest document of a trust root, in bytes.
const MAX_ROOT_BYTES: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Conformance {
    /// Verify one bundle over a file or digest
    VerifyBundle(VerifyBundle),
}

#[derive(Debug, Args)]
pub(super) struct VerifyBundle {
    /// The sigstore bundle
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Take the root of sigstore's test instance
    #[arg(long)]
    staging: bool,
    /// The certificate's identity, exactly
    #[arg(long, value_name = "ID", required_unless_present = "key", requires = "certificate_oidc_issuer")]
    certificate_identity: Option<String>,
    /// The identity's issuer, exactly
    #[arg(long, value_name = "URL")]
    certificate_oidc_issuer: Option<String>,
    /// The signer's public key (PEM)
    #[arg(long, value_name = "PEM", conflicts_with_all = ["certificate_identity", "certificate_oidc_issuer"])]
    key: Option<PathBuf>,
    /// The instance's trusted_root.json
    #[arg(long, value_name = "FILE", conflicts_with = "staging")]
    trusted_root: Option<PathBuf>,
    /// What was signed: a path, or sha256:<64 hex>
    #[arg(value_name = "FILE_OR_DIGEST")]
    artifact: String,
}

impl Conformance {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let Self::VerifyBundle(verify) = self;
        match verify.verify() {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(Failure::Refused(reason)) => {
                output::note(&reason);
                Ok(ExitCode::from(1))
            }
            Err(Failure::Unusable(error)) => Err(error),
        }
    }
}

enum Failure {
    Refused(String),
    Unusable(CliError),
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self::Unusable(error)
    }
}

impl From<RootError> for Failure {
    fn from(error: RootError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl VerifyBundle {
    fn verify(&self) -> Result<(), Failure> {
        let bundle = read_small(&self.bundle, MAX_SIGNATURE_BYTES as u64)?;
        let root = match &self.trusted_root {
            Some(path) => TrustRoot::parse("trusted root", &read_small(path, MAX_ROOT_BYTES)?)?,
            None if self.staging => TrustRoot::staging()?,
            None => TrustRoot::public_good()?,
        };
        let key = self.key.as_ref().map(|path| read_small(path, MAX_KEY_BYTES)).transpose()?;
        let pem = key.as_deref().map(String::from_utf8_lossy);
        let signer = match &pem {
            Some(pem) => Signer::Key { pem },
            None => Signer::Identity {
                identity: self.certificate_identity.as_deref().unwrap_or_default(),
                issuer: self.certificate_oidc_issuer.as_deref().unwrap_or_default(),
            },
        };
        let verified = if let Some(digest) = sha256(&self.artifact) {
            sigstore::verify(&bundle, Artifact::Sha256(digest), signer, &root)
        } else {
            let mut file = fs_err::File::open(&self.artifact).map_err(CliError::from)?;
            sigstore::verify(&bundle, Artifact::Reader(&mut file), signer, &root)
        };
        verified.map(drop).map_err(|error| Failure::Refused(format!("{}: {error}", error.code())))
    }
}

fn sha256(artifact: &str) -> Option<[u8; 32]> {
    hex::decode(artifact.strip_prefix("sha256:")?).ok()?.try_into().ok()
}
