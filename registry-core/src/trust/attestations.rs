//! Attestations of a revision: those that others signed, and the registry's own.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use verifier::evidence::ProvenanceFacts;
use verifier::provenance::oms::{self, SignedFile};
use verifier::provenance::trust::{TrustAssessment, TrustVerdict};

use crate::access::{Caller, Role};
use crate::database::{now_ms, rfc3339};
use crate::entity::{audit_leaf, signature, statement};
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
    /// Its place in the audit log, once it has one.
    pub log_index: Option<u64>,
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
        let events = all.iter().filter_map(|(_, _, _, _, event)| event.clone());
        let places = self.places(events.collect()).await?;
        let info = |(at, sha256, origin, predicate_type, event): (_, _, _, _, Option<String>)| {
            let log_index = event.as_ref().and_then(|event| places.get(event).copied());
            AttestationInfo { sha256, origin, predicate_type, at: rfc3339(at), event, log_index }
        };
        Ok(all.into_iter().map(info).collect())
    }

    /// Places of events in the audit log.
    async fn places(&self, events: Vec<String>) -> Result<BTreeMap<String, u64>> {
        let rows = audit_leaf::Entity::find().filter(audit_leaf::Column::EventId.is_in(events)).all(&self.db).await?;
        let place = |row: audit_leaf::Model| Some((row.event_id, u64::try_from(row.leaf_index).ok()?));
        Ok(rows.into_iter().filter_map(place).collect())
    }

    /// A bundle as foreign verifiers take it. The registry's own come with their place in its log,
    /// once they have one.
    pub async fn attestation_bundle(
        &self,
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

impl Registry {
    /// Signs a revision's files with the registry's own key, beside whatever signatures there are,
    /// for sites that trust this registry and not each publisher.
    ///
    /// Only content that is trusted here is countersigned: the signature says that somebody looked.
    pub async fn countersign(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        revision: &Revision,
        environment: &str,
    ) -> Result<Sha256Digest> {
        caller.require(&model.name.namespace, Role::Maintainer)?;
        let view = self.trust_view(model, revision, environment).await?;
        let verdict = view.assessment.map(|found| found.verdict);
        if verdict != Some(TrustVerdict::Trusted) {
            let said = verdict.map_or("not judged yet", TrustVerdict::as_str);
            return Err(Error::invalid(
                "revision",
                format!("is {said} in {environment}; only what is trusted is countersigned"),
            ));
        }
        let files = self.revision_files(revision).await?;
        let bundles: BTreeSet<&str> =
            view.facts.iter().flat_map(|facts| &facts.signatures).map(|found| found.digest.as_str()).collect();
        let signed: Vec<SignedFile<'_>> = files
            .iter()
            .filter(|file| !bundles.contains(file.sha256.as_str()))
            .map(|file| SignedFile { path: &file.path, sha256: file.sha256.as_str() })
            .collect();
        let bundle = oms::sign(&model.name.to_string(), &signed, self.keys.statement());
        let bundle = bundle.map_err(|error| Error::Internal(error.to_string()))?;
        self.attach_signature(caller, model, revision, &bundle).await
    }
}
