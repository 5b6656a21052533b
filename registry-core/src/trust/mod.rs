//! Whom this registry trusts: keys, roots, the policy over them, and what was revoked.
//!
//! The provenance stage proves what bundles are; nothing it finds depends on time or policy. Here
//! the policy gives its word over those facts, at the gate, so a new policy or a new revocation
//! asks the gate again and reads no model's bytes. New keys and roots can prove more than before,
//! so they run the stage again.

mod adopt;
mod assessment;
mod attestations;
mod bases;
mod dry_run;
mod recheck;
mod revocation;
mod roots;
mod statements;

use std::sync::{Arc, Mutex, PoisonError};

use verifier::provenance::oms::TrustedKey;
use verifier::provenance::revocation::{NamedCrl, SignedRevocationList};
use verifier::provenance::trust::TrustPolicy;
use verifier::provenance::{TrustMaterial, TrustRoot};

pub(crate) use assessment::TrustBasis;
pub use attestations::{AttestationInfo, AttestationOrigin, TrustView};
pub(crate) use bases::{DECLARED, attested_edges, project_attested};
pub use dry_run::{DryRunItem, DryRunPage};
pub use recheck::Recheck;
pub use revocation::RevocationListInfo;
pub use roots::{NewTrustRoot, TrustRootInfo};

/// What an operator configured.
#[derive(Debug, Clone)]
pub struct TrustSettings {
    /// Keys whose signatures count.
    pub keys: Vec<TrustedKey>,
    /// Certificate authorities and sigstore instances, beside those that were imported.
    pub roots: Vec<TrustRoot>,
    pub policy: TrustPolicy,
    /// Keys that may sign revocation lists.
    pub revocation_keys: Vec<TrustedKey>,
    /// Lists of certificate authorities, which are verified.
    pub crls: Arc<[NamedCrl]>,
    /// From which age on a trust root is warned about, in days.
    pub root_age_warning_days: u32,
}

impl Default for TrustSettings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            roots: Vec::new(),
            policy: TrustPolicy::of_configured_signers(),
            revocation_keys: Vec::new(),
            crls: Arc::default(),
            root_age_warning_days: 90,
        }
    }
}

/// What was read from the database and is costly to read again.
#[derive(Debug, Default)]
pub(crate) struct TrustCache {
    revocations: Mutex<Option<Arc<SignedRevocationList>>>,
    material: Mutex<Option<(String, Arc<TrustMaterial>)>>,
}

impl TrustCache {
    /// The list of that number, parsed once.
    fn revocations(&self, number: u64) -> Option<Arc<SignedRevocationList>> {
        let cached = self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|list| list.list().number == number).cloned()
    }

    fn keep_revocations(&self, list: &Arc<SignedRevocationList>) {
        *self.revocations.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(list));
    }

    /// The material made with the roots up to that id, parsed once.
    fn material(&self, newest_root: &str) -> Option<Arc<TrustMaterial>> {
        let cached = self.material.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|(newest, _)| newest == newest_root).map(|(_, material)| Arc::clone(material))
    }

    fn keep_material(&self, newest_root: String, material: &Arc<TrustMaterial>) {
        *self.material.lock().unwrap_or_else(PoisonError::into_inner) = Some((newest_root, Arc::clone(material)));
    }
}
