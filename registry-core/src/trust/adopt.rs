//! Noticing that trust changed while nobody looked: between two starts, or by an import.

use sea_orm::{ActiveModelTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QuerySelect, Set};
use verifier::provenance::TrustMaterial;
use verifier::provenance::trust::{TrustPolicy, names_key};

use super::recheck::Recheck;
use crate::audit::{self, Event};
use crate::database::{begin, now_ms, sql};
use crate::entity::{live_decision, trust_policy_version, trust_state};
use crate::error::{Error, Result};
use crate::job::{self, Work};
use crate::registry::Registry;

/// What trust is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrustState {
    Policy,
    /// Keys and roots.
    Material,
    Revocations,
    /// Lists of certificate authorities.
    AuthorityLists,
}

impl TrustState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Material => "material",
            Self::Revocations => "revocations",
            Self::AuthorityLists => "authority_lists",
        }
    }

    /// What has to be looked at again when it changes.
    const fn recheck(self) -> Recheck {
        match self {
            Self::Material => Recheck::Provenance,
            Self::Policy | Self::Revocations | Self::AuthorityLists => Recheck::Decisions,
        }
    }
}

impl Registry {
    /// Records the trust policy and the keys and roots in force; what was judged under others is
    /// judged anew.
    pub(crate) async fn adopt_trust(&self) -> Result<()> {
        let trust = &self.settings.trust;
        let material = self.trust_material(&self.db).await?;
        let (keys, roots) = unknown_names(&trust.policy, &material);
        if !keys.is_empty() {
            let reason = format!("names keys that are not configured: {}", keys.join(", "));
            return Err(Error::invalid("trust policy", reason));
        }
        if !roots.is_empty() {
            let roots = roots.join(", ");
            tracing::warn!(roots, "the trust policy names roots that are not here: nothing meets it");
        }
        let txn = begin(&self.db).await?;
        self.record_policy(&txn).await?;
        note(&txn, TrustState::Policy, trust.policy.digest()).await?;
        note(&txn, TrustState::Material, &material.digest()).await?;
        let lists: Vec<&str> = trust.crls.iter().map(|crl| crl.list.sha256.as_str()).collect();
        note(&txn, TrustState::AuthorityLists, &lists.join(" ")).await?;
        txn.commit().await?;
        Ok(())
    }

    async fn record_policy(&self, txn: &DatabaseTransaction) -> Result<()> {
        let policy = &self.settings.trust.policy;
        if trust_policy_version::Entity::find_by_id(policy.digest()).one(txn).await?.is_some() {
            return Ok(());
        }
        let row = trust_policy_version::ActiveModel {
            digest: Set(policy.digest().to_owned()),
            document: Set(policy.to_json()),
            first_used_at: Set(now_ms()),
        };
        row.insert(txn).await?;
        // What every registry begins with is no news.
        if policy.digest() != TrustPolicy::of_configured_signers().digest() {
            let event = Event::new("trust.policy_adopted", "weighhouse").detail("digest", policy.digest());
            audit::record(txn, event).await?;
        }
        Ok(())
    }
}

/// Keys and roots that a policy names and the material does not hold.
pub(super) fn unknown_names<'p>(policy: &'p TrustPolicy, material: &TrustMaterial) -> (Vec<&'p str>, Vec<&'p str>) {
    let is_known = |name: &str| material.keys.iter().any(|key| names_key(name, Some(key.name()), Some(key.digest())));
    let keys = policy.unknown_keys(is_known);
    let roots = policy.unknown_roots(|name| material.roots.iter().any(|root| root.name() == name));
    (keys.into_iter().collect(), roots.into_iter().collect())
}

/// Remembers by what trust is judged. Where it was judged by something else before, everything is
/// looked at again that the change can touch.
pub(super) async fn note(txn: &DatabaseTransaction, state: TrustState, value: &str) -> Result<()> {
    let before = trust_state::Entity::find_by_id(state.as_str()).one(txn).await?;
    if before.is_some_and(|row| row.value == value) {
        return Ok(());
    }
    let upsert = "INSERT INTO trust_state (name, value, changed_at) VALUES (?, ?, ?) \
                  ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at";
    txn.execute_raw(sql(txn, upsert, vec![state.as_str().into(), value.into(), now_ms().into()])).await?;
    if live_decision::Entity::find().limit(1).one(txn).await?.is_some() {
        job::enqueue(txn, &Work::Recheck { what: state.recheck(), after: None }).await?;
    }
    Ok(())
}
