//! Everything that an operator trusts for signatures.

use sha2::{Digest, Sha256};

use super::key::TrustedKey;
use super::root::{RootKind, TrustRoot};

/// The keys and roots that signatures are verified with.
#[derive(Debug, Clone, Default)]
pub struct TrustMaterial {
    pub keys: Vec<TrustedKey>,
    pub roots: Vec<TrustRoot>,
}

impl TrustMaterial {
    /// Hex SHA-256 over names and digests: equal where every judgement is equal.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for key in &self.keys {
            hasher.update(format!("key {:?} {}\n", key.name(), key.digest()));
        }
        for root in &self.roots {
            let log = if root.is_without_log() { " without log" } else { "" };
            hasher.update(format!("root {:?} {}{log}\n", root.name(), root.digest()));
        }
        hex::encode(hasher.finalize())
    }

    pub(super) fn roots_of(&self, kind: RootKind) -> impl Iterator<Item = &TrustRoot> {
        self.roots.iter().filter(move |root| root.kind() == kind)
    }
}
