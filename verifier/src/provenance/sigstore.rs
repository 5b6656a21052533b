//! What needs the public `sigstore-verify` family: certificates that live for minutes, entries of
//! transparency logs, and timestamps.
//!
//! Those crates change their API every few weeks and report errors as text, so they are used in
//! this module alone: types of our own go in and come out. Two checks are added that they leave
//! out. A proof's tree size must be that of its signed checkpoint, and a position is reported
//! only where a proof covers it, because everything that stands beside the proofs can be changed
//! by whoever passes the bundle on.

mod error;

use std::io::Read;

use serde_json::Value;
use sigstore_trust_root::TrustedRoot;
use sigstore_types::bundle::TransparencyLogEntry;
use sigstore_types::{
    Artifact as SigstoreArtifact, ArtifactDigest, Bundle, DerPublicKey, KindVersion, Sha256Hash, SignatureContent,
    Statement,
};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier};

use super::bundle;
use super::certificate::{Authorities, Certificate};
use super::root::TrustRoot;
use crate::evidence::{LogPosition, TimeEvidence, TimeSource};

pub use error::SigstoreError;

/// What a verified bundle proves beside its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The subject alternative name of the signer's certificate.
    pub identity: Option<String>,
    /// The OIDC issuer that confirmed the identity.
    pub issuer: Option<String>,
    pub times: Vec<TimeEvidence>,
    pub log_positions: Vec<LogPosition>,
}

/// Which of the verifier's times come first: it lists them in the order in which it checks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AuthoritiesFirst,
    LogsFirst,
}

/// One sigstore instance: its authorities and logs.
pub(super) struct Instance {
    verifier: Verifier,
    authorities: Authorities,
    log_ids: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Instance").field("log_ids", &self.log_ids.len()).finish_non_exhaustive()
    }
}

impl Instance {
    /// Reads the JSON of a `trusted_root.json`.
    pub(super) fn parse(document: &str) -> Result<Self, SigstoreError> {
        let root = TrustedRoot::from_json(document).map_err(|error| SigstoreError::Root(error.to_string()))?;
        let verifier = Verifier::new(&root).map_err(|error| SigstoreError::Root(error.to_string()))?;
        let mut certificates = Vec::new();
        for entry in root.certificate_authorities.iter().flat_map(|authority| &authority.cert_chain.certificates) {
            let certificate = Certificate::parse(entry.raw_bytes.as_bytes());
            certificates.push(certificate.map_err(|error| SigstoreError::Root(error.to_string()))?);
        }
        let log_ids = root.tlogs.iter().map(|log| log.log_id.key_id.as_bytes().to_vec()).collect();
        Ok(Self { verifier, authorities: Authorities::new(certificates), log_ids })
    }

    /// The certificate authorities, whatever their windows.
    pub(super) const fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Whether each of the bundle's log entries is from a log of this instance.
    pub(super) fn knows_logs_of(&self, parsed: &Parsed) -> bool {
        let entries = &parsed.0.verification_material.tlog_entries;
        entries.iter().all(|entry| self.log_ids.iter().any(|id| id == entry.log_id.key_id.as_bytes()))
    }

    /// Verifies a signature by a certificate of this instance, over whatever its statement is about.
    ///
    /// Without its log (`with_log` false) the certificate's own transparency is not asked for
    /// either: this is the profile of private instances, where timestamps alone give the time.
    pub(super) fn verify_keyless(&self, parsed: &Parsed, with_log: bool) -> Result<Verified, SigstoreError> {
        let mut policy = VerificationPolicy::any_identity();
        if !with_log {
            policy = policy.skip_tlog_unsafe().skip_sct();
        }
        let subject = parsed.subject()?;
        let result = self.verifier.verify(SigstoreArtifact::Digest(subject), &parsed.0, &policy)?;
        parsed.evidence(&result, Order::AuthoritiesFirst)
    }

    /// Verifies the log entries and timestamps of a signature by the key with this DER.
    pub(super) fn verify_key(&self, parsed: &Parsed, key: &[u8]) -> Result<Verified, SigstoreError> {
        let with_log = !parsed.0.verification_material.tlog_entries.is_empty();
        let mut policy = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.to_vec()));
        if !with_log {
            policy = policy.skip_tlog_unsafe();
        }
        let subject = parsed.subject()?;
        let result = self.verifier.verify(SigstoreArtifact::Digest(subject), &parsed.0, &policy)?;
        parsed.evidence(&result, Order::LogsFirst)
    }
}

fn evidence_of_time(by_authority: &[jiff::Timestamp], by_log: &[jiff::Timestamp]) -> Vec<TimeEvidence> {
    let all = |times: &[jiff::Timestamp], source| -> Vec<TimeEvidence> {
        times.iter().map(|time| TimeEvidence { source, at: time.to_string() }).collect()
    };
    [all(by_authority, TimeSource::TimestampAuthority), all(by_log, TimeSource::TransparencyLog)].concat()
}

/// A bundle as the sigstore crates see it.
#[derive(Debug)]
pub(super) struct Parsed(Bundle);

impl Parsed {
    /// Reads a bundle that [`super::bundle::Bundle`] accepted.
    pub(super) fn parse(bundle: &[u8]) -> Result<Self, SigstoreError> {
        let mut document: Value =
            serde_json::from_slice(bundle).map_err(|error| SigstoreError::Bundle(error.to_string()))?;
        drop_null_key_id(&mut document);
        let parsed = serde_json::from_value(document).map_err(|error| SigstoreError::Bundle(error.to_string()))?;
        Ok(Self(parsed))
    }

    /// A digest of a subject of the signed statement, which the verifier asks for as the artifact.
    fn subject(&self) -> Result<ArtifactDigest, SigstoreError> {
        let SignatureContent::DsseEnvelope(envelope) = &self.0.content else {
            return Err(SigstoreError::Bundle("it holds no signed statement".to_owned()));
        };
        let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes())
            .map_err(|error| SigstoreError::Bundle(format!("its payload is no in-toto statement: {error}")))?;
        let digests = statement.subject.iter().map(|subject| &subject.digest);
        let digest = digests.filter_map(|digest| digest.sha256).map(ArtifactDigest::sha256).next();
        digest.ok_or(SigstoreError::NoSubjectDigest)
    }

    fn evidence(&self, result: &VerificationResult, order: Order) -> Result<Verified, SigstoreError> {
        let times = result.verified_timestamps();
        let data = &self.0.verification_material.timestamp_verification_data;
        let by_authorities = data.rfc3161_timestamps.len().min(times.len());
        let (by_authority, by_log) = match order {
            Order::AuthoritiesFirst => times.split_at(by_authorities),
            Order::LogsFirst => {
                let (by_log, by_authority) = times.split_at(times.len() - by_authorities);
                (by_authority, by_log)
            }
        };
        let is_logged = result.tlog_verified();
        if is_logged {
            self.check_tree_sizes()?;
        }
        Ok(Verified {
            identity: result.identity().map(ToString::to_string),
            issuer: result.issuer().map(str::to_owned),
            times: evidence_of_time(by_authority, by_log),
            log_positions: if is_logged { self.log_positions() } else { Vec::new() },
        })
    }

    /// The verifier takes a Rekor v1 proof's tree size from the unsigned field beside the checkpoint,
    /// so that another size with a proof of the same shape would pass.
    fn check_tree_sizes(&self) -> Result<(), SigstoreError> {
        for entry in &self.0.verification_material.tlog_entries {
            let proof = entry.inclusion_proof.as_ref().filter(|_| !is_rekor_v2(entry));
            let Some(proof) = proof else { continue };
            let signed = proof.checkpoint.checkpoint().map(sigstore_types::Checkpoint::tree_size);
            if signed != Some(proof.tree_size) {
                return Err(SigstoreError::InclusionProof("its tree size is not that of its checkpoint".to_owned()));
            }
        }
        Ok(())
    }

    /// Index and log as the proofs have them: a Rekor v1 entry's own index counts over several
    /// trees and is covered only by its promise.
    fn log_positions(&self) -> Vec<LogPosition> {
        let entries = self.0.verification_material.tlog_entries.iter();
        let position = |entry: &TransparencyLogEntry| {
            let proof = entry.inclusion_proof.as_ref()?;
            let index = if is_rekor_v2(entry) { entry.log_index } else { proof.log_index };
            let log = proof.checkpoint.checkpoint().map_or_else(
                || hex::encode(entry.log_id.key_id.as_bytes()),
                |checkpoint| checkpoint.origin().to_owned(),
            );
            Some(LogPosition { log, index: index.get() })
        };
        entries.filter_map(position).collect()
    }
}

fn is_rekor_v2(entry: &TransparencyLogEntry) -> bool {
    entry.kind_version == KindVersion::HashedRekordV002
}

/// `null` is how some signers write an absent key id, and the sigstore types do not read it.
fn drop_null_key_id(document: &mut Value) {
    let signatures = document.pointer_mut("/dsseEnvelope/signatures").and_then(Value::as_array_mut);
    for signature in signatures.into_iter().flatten().filter_map(Value::as_object_mut) {
        if signature.get("keyid").is_some_and(Value::is_null) {
            signature.remove("keyid");
        }
    }
}

/// What a bundle is verified over.
pub enum Artifact<'a> {
    /// Read to its end.
    Reader(&'a mut dyn Read),
    Sha256([u8; 32]),
}

/// Who has to have signed.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'a> {
    /// Exactly this subject alternative name, confirmed by exactly this OIDC issuer.
    Identity { identity: &'a str, issuer: &'a str },
    /// The key in this PEM text.
    Key { pem: &'a str },
}

/// Verifies one sigstore bundle as the conformance suite asks for, message signatures included.
pub fn verify(
    bundle: &[u8],
    artifact: Artifact<'_>,
    signer: Signer<'_>,
    root: &TrustRoot,
) -> Result<Verified, SigstoreError> {
    let instance = root.instance().ok_or_else(|| SigstoreError::Root("it is not a sigstore root".to_owned()))?;
    bundle::check_fields(bundle).map_err(|error| SigstoreError::Bundle(error.to_string()))?;
    let parsed = Parsed::parse(bundle)?;
    let (result, order) = match signer {
        Signer::Identity { identity, issuer } => {
            let policy = VerificationPolicy::new(identity, issuer);
            (run(&instance.verifier, &parsed.0, artifact, &policy)?, Order::AuthoritiesFirst)
        }
        Signer::Key { pem } => {
            let key = DerPublicKey::from_pem(pem).map_err(|error| SigstoreError::Key(error.to_string()))?;
            let policy = PublicKeyVerificationPolicy::new(key);
            (run(&instance.verifier, &parsed.0, artifact, &policy)?, Order::LogsFirst)
        }
    };
    parsed.evidence(&result, order)
}

fn run(
    verifier: &Verifier,
    bundle: &Bundle,
    artifact: Artifact<'_>,
    policy: &impl sigstore_verify::Policy,
) -> sigstore_verify::Result<VerificationResult> {
    match artifact {
        Artifact::Reader(reader) => verifier.verify_reader(reader, bundle, policy),
        Artifact::Sha256(digest) => verifier.verify(Sha256Hash::new(digest), bundle, policy),
    }
}
