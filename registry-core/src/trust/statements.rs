//! What this registry itself signs: that a model ran, that a person concluded its license, and
//! what the gate decided.
//!
//! Each is made in the transaction of what it states and gets a place in the audit log there, so
//! none exists that the log does not know. They are never input to the provenance stage: a
//! registry that trusted its own word would need nobody else's.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, Set};
use verifier::evidence::{LicenseFacts, ProbeReport};
use verifier::license::propagation::Assessment;
use verifier::provenance;
use verifier::provenance::oms::SignedFile;
use verifier::provenance::statement::{self, BuildError, ResourceDescriptor, ReviewerId, Statement};
use verifier::provenance::trust::TrustVerdict;

use crate::audit;
use crate::database::now_ms;
use crate::entity;
use crate::error::{Error, Result};
use crate::gate::Decision;
use crate::identity::{FileSpec, Sha256Digest};
use crate::license::Basis;
use crate::model::ModelInfo;
use crate::pipeline::StageView;
use crate::registry::Registry;
use crate::revision::{Revision, files_of};
use verifier::license::record::Standing;

/// Why a statement is made, as text that is unique to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause<'a> {
    Decision(&'a str),
    /// A probe's evidence for one revision.
    Probe {
        revision: &'a str,
        evidence: &'a str,
    },
    /// A conclusion with a number of people behind it, for one revision.
    Review {
        revision: &'a str,
        record: &'a str,
        people: usize,
    },
}

impl Cause<'_> {
    fn text(&self) -> String {
        match self {
            Self::Decision(id) => format!("decision:{id}"),
            Self::Probe { revision, evidence } => format!("probe:{revision}:{evidence}"),
            Self::Review { revision, record, people } => format!("review:{revision}:{record}:{people}"),
        }
    }
}

/// A revision with what statements say of it.
struct Stated<'a> {
    model: &'a ModelInfo,
    revision: &'a Revision,
    name: String,
    weights: Vec<FileSpec>,
}

impl Stated<'_> {
    fn files(&self) -> Vec<SignedFile<'_>> {
        self.weights.iter().map(|file| SignedFile { path: &file.path, sha256: file.sha256.as_str() }).collect()
    }

    fn revision<'a>(&'a self, weight_files: &'a [SignedFile<'a>]) -> statement::Revision<'a> {
        statement::Revision {
            model: &self.name,
            commit: self.revision.commit.as_str(),
            content_digest: self.revision.content_digest.as_str(),
            weight_files,
        }
    }
}

impl Registry {
    /// Attests what a probe came to. One that came to nothing attests nothing.
    pub(crate) async fn attest_probe(
        &self,
        txn: &DatabaseTransaction,
        model: &ModelInfo,
        revision: &Revision,
        evidence_key: &str,
        report: &ProbeReport,
    ) -> Result<()> {
        let cause = Cause::Probe { revision: &revision.id, evidence: evidence_key };
        if is_stated(txn, &cause).await? {
            return Ok(());
        }
        let stated = stated(txn, model, revision, &self.stages_in(txn, revision).await?).await?;
        let files = stated.files();
        let report_digest = Sha256Digest::of(&serde_json::to_vec(report)?);
        let configuration = Sha256Digest::of(self.settings.probe_configuration.as_bytes());
        let run = statement::ProbeRun {
            revision: stated.revision(&files),
            report,
            report_digest: report_digest.as_str(),
            tool_version: &self.settings.probe_version,
            configuration_digest: configuration.as_str(),
            finished_at: now_ms(),
            url: None,
        };
        match statement::probe_result(&run) {
            Ok(made) => self.state(txn, &stated, &cause, &made).await,
            Err(BuildError::NoResult(_)) => Ok(()),
            Err(error) => Err(Error::Internal(error.to_string())),
        }
    }

    /// Attests a license conclusion that counts, each time another person stands behind it.
    pub(crate) async fn attest_review(
        &self,
        txn: &DatabaseTransaction,
        model: &ModelInfo,
        revision: &Revision,
        basis: &Basis,
        standing: &Standing,
        assessment: Option<&Assessment>,
    ) -> Result<()> {
        let Some(conclusion) = &standing.conclusion else { return Ok(()) };
        let Some(record) = basis.records.iter().find(|record| record.id == conclusion.record) else { return Ok(()) };
        let cause = Cause::Review { revision: &revision.id, record: &record.id, people: conclusion.people };
        if is_stated(txn, &cause).await? {
            return Ok(());
        }
        let stated = stated(txn, model, revision, &self.stages_in(txn, revision).await?).await?;
        let files = stated.files();
        let salt = audit::new_salt()?;
        let declared =
            basis.facts.as_ref().and_then(|facts| facts.declared.first()).map(|found| found.words().to_owned());
        let review = statement::LicenseReview {
            revision: stated.revision(&files),
            record,
            reviewer: ReviewerId::Salted(&salt),
            people: conclusion.people,
            declared: declared.as_deref(),
            conditions: &assessment.map(conditions).unwrap_or_default(),
            evidence: &basis.facts.as_ref().map(evidence).unwrap_or_default(),
        };
        let made = statement::license_review(&review).map_err(|error| Error::Internal(error.to_string()))?;
        self.state(txn, &stated, &cause, &made).await
    }

    /// Attests a decision of the gate as a verification summary.
    pub(crate) async fn attest_decision(
        &self,
        txn: &DatabaseTransaction,
        model: &ModelInfo,
        revision: &Revision,
        stages: &[StageView],
        decision: &Decision,
    ) -> Result<()> {
        let stated = stated(txn, model, revision, stages).await?;
        let files = stated.files();
        let codes = |reasons: &[verifier::policy::Reason]| -> Vec<String> {
            reasons.iter().map(|reason| reason.code.clone()).collect()
        };
        let verifier = format!("urn:weighhouse:registry:{}", self.instance_id());
        let waived: Vec<String> = decision.waived.iter().map(|waived| waived.reason.code.clone()).collect();
        let made = statement::gate_decision(&statement::GateDecision {
            revision: stated.revision(&files),
            verifier: &verifier,
            verifier_version: env!("CARGO_PKG_VERSION"),
            decision: &decision.id,
            allowed: decision.allowed,
            environment: &decision.environment,
            intended_use: &decision.r#use,
            policy_name: self.policy().name(),
            policy_digest: &decision.policy_digest,
            input_digest: &decision.input_digest,
            input_attestations: &[],
            levels: &levels(decision),
            reasons: &codes(&decision.reasons),
            waived: &waived,
            decided_at: &decision.decided_at,
            valid_until: decision.valid_until.as_deref(),
        });
        let made = made.map_err(|error| Error::Internal(error.to_string()))?;
        self.state(txn, &stated, &Cause::Decision(&decision.id), &made).await
    }

    /// Signs a statement, stores it and gives it its place in the log.
    async fn state(
        &self,
        txn: &DatabaseTransaction,
        stated: &Stated<'_>,
        cause: &Cause<'_>,
        made: &Statement,
    ) -> Result<()> {
        let bundle =
            statement::sign(made, self.keys.statement()).map_err(|error| Error::Internal(error.to_string()))?;
        let entry = provenance::log_entry_of(&bundle, &self.keys.statement().public_key_der())
            .map_err(|error| Error::Internal(error.to_string()))?;
        let event_id = audit::record_statement(txn, Some(&stated.model.id), &self.keys, &entry).await?;
        let row = entity::statement::ActiveModel {
            sha256: Set(Sha256Digest::of(&bundle).to_string()),
            cause: Set(cause.text()),
            model_id: Set(stated.model.id.clone()),
            content_digest: Set(stated.revision.content_digest.to_string()),
            predicate_type: Set(made.predicate_type().to_owned()),
            bundle: Set(bundle),
            event_id: Set(event_id),
            made_at: Set(now_ms()),
        };
        row.insert(txn).await?;
        Ok(())
    }
}

/// One statement for a cause is enough.
async fn is_stated(txn: &DatabaseTransaction, cause: &Cause<'_>) -> Result<bool> {
    let same = entity::statement::Column::Cause.eq(cause.text());
    Ok(entity::statement::Entity::find().filter(same).one(txn).await?.is_some())
}

async fn stated<'a>(
    connection: &impl ConnectionTrait,
    model: &'a ModelInfo,
    revision: &'a Revision,
    stages: &[StageView],
) -> Result<Stated<'a>> {
    let inspected = stages.iter().find_map(|view| view.evidence.as_ref()?.as_inspection());
    let files = inspected.into_iter().flat_map(|found| &found.files);
    let weights: BTreeSet<&str> = files.filter(|file| file.weights).map(|file| file.path.as_str()).collect();
    let files = files_of(connection, &revision.id).await?;
    let weights = files.into_iter().filter(|file| weights.contains(file.path.as_str())).collect();
    Ok(Stated { model, revision, name: model.name.to_string(), weights })
}

/// What the license asks for in the use that is assumed here, done or not: each once, sorted.
fn conditions(assessment: &Assessment) -> Vec<String> {
    let codes: BTreeSet<&str> = assessment.obligations.iter().map(|owed| owed.code.as_str()).collect();
    codes.into_iter().map(ToOwned::to_owned).collect()
}

/// The files that say something of the license: texts, the card, metadata of weights.
fn evidence(facts: &LicenseFacts) -> Vec<ResourceDescriptor> {
    let statements = facts.declared.iter().chain(&facts.detected);
    let read: BTreeMap<&str, &str> = statements.map(|found| (found.path.as_str(), found.digest.as_str())).collect();
    read.into_iter().map(|(path, digest)| ResourceDescriptor::sha256(path, digest)).collect()
}

/// What was found beside "allowed", for whoever trusts this registry's word.
fn levels(decision: &Decision) -> Vec<String> {
    let mut levels = Vec::new();
    if decision.license_conclusion.is_some() {
        levels.push("WEIGHHOUSE_LICENSE_CONCLUDED".to_owned());
    }
    if decision.trust_assessment.as_ref().is_some_and(|found| found.verdict == TrustVerdict::Trusted) {
        levels.push("WEIGHHOUSE_SIGNED_BY_TRUSTED".to_owned());
    }
    levels
}
