//! Attestations of a revision: those that others signed, and the registry's own.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use verifier::evidence::ProvenanceFacts;
use verifier::provenance::trust::TrustAssessment;

use crate::access::Caller;
use crate::database::{now_ms, rfc3339};
use crate::entity::{signature, statement};
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::model::ModelInfo;
use crate::registry::Registry;
use crate::revision::Revision;

/// Most attestations that one answer lists.
const MAX_LISTED: u64 = 1000;

/// Who made an attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttestationOrigin {
    /// Somebody attached it.
    Received,
    /// This registry signed it.
    Registry,
}

/// A bundle that speaks of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttestationInfo {
    /// Hex SHA-256 of the bundle as it is stored; by it the bundle is asked for.
    pub sha256: String,
    pub origin: AttestationOrigin,
    /// None for a signature over the files.
    pub predicate_type: Option<String>,
    /// RFC 3339.
    pub at: String,
    /// Id of the event in the audit log; only for the registry's own.
    pub event: Option<String>,
}

/// What is known of a revision's provenance, and the trust policy's word over it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrustView {
    pub environment: String,
    /// None while the provenance has not been judged.
    pub facts: Option<ProvenanceFacts>,
    pub assessment: Option<TrustAssessment>,
    pub attestations: Vec<AttestationInfo>,
}

impl Registry {
    /// What is known of a revision's provenance and what the policy makes of it in an environment.
    pub async fn trust_view(&self, model: &ModelInfo, revision: &Revision, environment: &str) -> Result<TrustView> {
        self.gate.check_environment(environment)?;
        let stages = self.stages(revision).await?;
        let basis = self.trust_basis(&self.db, revision, &stages).await?;
        let policy = &self.settings.trust.policy;
        let assess = |basis: &super::TrustBasis| basis.assess(policy, model, revision, environment, now_ms());
        let assessment = basis.as_ref().map(assess).transpose()?;
        Ok(TrustView {
            environment: environment.to_owned(),
            assessment,
            facts: basis.map(|basis| basis.facts),
            attestations: self.attestations(model, revision).await?,
        })
    }

    /// Bundles that speak of a revision's content, the oldest first.
    pub async fn attestations(&self, model: &ModelInfo, revision: &Revision) -> Result<Vec<AttestationInfo>> {
        let content = revision.content_digest.as_str();
        let received = signature::Entity::find()
            .filter(signature::Column::ContentDigest.eq(content))
            .order_by_asc(signature::Column::ReceivedAt)
            .limit(MAX_LISTED);
        let received = received.all(&self.db).await?.into_iter().map(|row| {
            let origin = AttestationOrigin::Received;
            (row.received_at, row.sha256, origin, row.predicate_type, None)
        });
        let own = statement::Entity::find()
            .filter(statement::Column::ModelId.eq(&model.id))
            .filter(statement::Column::ContentDigest.eq(content))
            .order_by_desc(statement::Column::MadeAt)
            .limit(MAX_LISTED);
        let own = own.all(&self.db).await?.into_iter().map(|row| {
            let origin = AttestationOrigin::Registry;
            (row.made_at, row.sha256, origin, Some(row.predicate_type), Some(row.event_id))
        });
        let mut all: Vec<_> = received.chain(own).collect();
        all.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let info = |(at, sha256, origin, predicate_type, event)| {
            AttestationInfo { sha256, origin, predicate_type, at: rfc3339(at), event }
        };
        Ok(all.into_iter().map(info).collect())
    }

    /// A bundle as foreign verifiers take it. The registry's own come with their place in its log,
    /// once they have one.
    pub async fn attestation_bundle(
        &self,
        _caller: &Caller,
        model: &ModelInfo,
        revision: &Revision,
        sha256: &Sha256Digest,
    ) -> Result<Vec<u8>> {
        let content = revision.content_digest.as_str();
        let key = (content.to_owned(), sha256.to_string());
        if let Some(row) = signature::Entity::find_by_id(key).one(&self.db).await? {
            return Ok(row.bundle);
        }
        let own = statement::Entity::find_by_id(sha256.as_str()).one(&self.db).await?;
        let own = own.filter(|row| row.model_id == model.id && row.content_digest == content);
        let row = own.ok_or_else(|| Error::NotFound(format!("attestation {sha256}")))?;
        let Some(entry) = self.log_entry(&row.event_id).await? else { return Ok(row.bundle) };
        let mut bundle: Value = serde_json::from_slice(&row.bundle)?;
        bundle["verificationMaterial"]["tlogEntries"] = Value::Array(vec![serde_json::to_value(entry)?]);
        Ok(serde_json::to_vec(&bundle)?)
    }
}
