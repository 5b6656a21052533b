//! The gate: stored decisions, and the evaluation that makes them.
//!
//! Doors only look a decision up; nothing on the way of a file runs Rego. A decision is
//! stored once per input and stays; which one is in force is a pointer that moves.

use std::sync::Arc;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, DatabaseTransaction, EntityTrait, Set};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use verifier::evidence::{Stage, Status, WeightsAssessment};
use verifier::license::propagation::Assessment;
use verifier::license::record::Conclusion;
use verifier::policy::{
    EnvironmentData, EvidenceDocuments, EvidenceState, Outcome, Policy, PolicyInput, PolicyModel, Reason, Suggestion,
    Use, Waived,
};
use verifier::provenance::trust::{self, TrustAssessment};

use crate::access::{Caller, Role};
use crate::audit::{self, Event};
use crate::catalog;
use crate::database::{begin, now_ms, rfc3339, sql};
use crate::entity::{decision, live_decision, policy_version, revision};
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::job::{self, Lease, Work};
use crate::license::Basis;
use crate::model::{ModelInfo, ModelKind, hold_model};
use crate::pipeline::StageView;
use crate::registry::Registry;
use crate::revision::{Revision, revision_by_id};
use crate::trust::TrustBasis;

const DAY_MS: i64 = 86_400_000;
/// Most bytes of checks in one event: a leaf of the log has at most 64 KiB. Beyond it a digest stands
/// for them, and the stored decision has them all.
const MAX_LOGGED_CHECKS: usize = 32 << 10;
/// Most models that one question about a digest may concern.
const MAX_SUBJECTS: u64 = 1000;

/// The policy in force.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    policy: Arc<Policy>,
}

impl Gate {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy: Arc::new(policy) }
    }

    pub(crate) fn check_environment(&self, name: &str) -> Result<()> {
        self.policy.environment(name).map(|_| ()).map_err(|error| Error::invalid("environment", error.to_string()))
    }

    /// How many people have to stand behind a license conclusion.
    pub(crate) fn license_reviewers(&self, environment: &str) -> Result<usize> {
        let data = self.policy.environment(environment);
        Ok(data.map_err(|error| Error::invalid("environment", error.to_string()))?.license_reviewers)
    }

    /// The stated use over the environment's default.
    pub(crate) fn complete_use(&self, environment: &str, stated: &Use) -> Result<Use> {
        stated.check().map_err(|error| Error::invalid("use", error.to_string()))?;
        let data = self.policy.environment(environment);
        let data = data.map_err(|error| Error::invalid("environment", error.to_string()))?;
        Ok(data.default_use.clone().overlaid(stated))
    }
}

/// The gate's stored answer for one content digest in one model, use and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    pub schema_version: u32,
    pub id: String,
    /// `namespace/name` when it was decided.
    pub model: String,
    pub content_digest: String,
    pub environment: String,
    pub r#use: Use,
    pub allowed: bool,
    pub reasons: Vec<Reason>,
    pub warnings: Vec<Reason>,
    pub waived: Vec<Waived>,
    /// What would have to change; all of it together is always enough.
    pub would_pass_if: Vec<Suggestion>,
    /// What followed from the licenses of everything the model was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_assessment: Option<Assessment>,
    /// The license that a person had concluded, where a conclusion counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_conclusion: Option<Conclusion>,
    /// What the trust policy said of signatures and attestations, check by check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_assessment: Option<TrustAssessment>,
    pub policy_digest: String,
    pub input_digest: String,
    /// RFC 3339.
    pub decided_at: String,
    /// RFC 3339; none while nothing among the inputs expires.
    pub valid_until: Option<String>,
}

/// What to decide about: a model's revision, and for what.
#[derive(Debug, Clone)]
pub struct Question {
    pub environment: String,
    pub stated_use: Use,
}

/// A revision's evidence, and what people said of its license.
struct Known {
    stages: Vec<StageView>,
    basis: Basis,
    trust: Option<TrustBasis>,
    weights: Option<WeightsAssessment>,
}

impl Registry {
    /// Names of the environments, sorted.
    pub fn environments(&self) -> Vec<String> {
        self.gate.policy.environments().keys().cloned().collect()
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.gate.policy
    }

    /// Answers a question: from a stored decision whose input is unchanged, else by evaluating.
    pub async fn decide(&self, model: &ModelInfo, revision: &Revision, question: &Question) -> Result<Decision> {
        let complete = self.gate.complete_use(&question.environment, &question.stated_use)?;
        let txn = begin(&self.db).await?;
        let known = self.known(&txn, model, revision).await?;
        let decision = self.evaluate(&txn, model, revision, &known, &question.environment, complete).await?;
        txn.commit().await?;
        Ok(decision)
    }

    /// Revisions with this content that the caller may see, with their models.
    pub async fn revisions_with_content(
        &self,
        caller: &Caller,
        content: &Sha256Digest,
    ) -> Result<Vec<(ModelInfo, Revision)>> {
        let query = "SELECT r.* FROM revision r JOIN model m ON m.id = r.model_id WHERE r.content_digest = ? \
                     AND m.deleted_at IS NULL ORDER BY r.id DESC LIMIT ?";
        let limit = i64::try_from(MAX_SUBJECTS).unwrap_or(i64::MAX);
        let statement = sql(&self.db, query, vec![content.as_str().into(), limit.into()]);
        let rows = revision::Entity::find().from_raw_sql(statement).all(&self.db).await?;
        let mut found: Vec<(ModelInfo, Revision)> = Vec::new();
        for row in rows {
            let revision = Revision::try_from(row)?;
            if found.iter().any(|(model, _)| model.id == revision.model_id) {
                continue;
            }
            let model = self.model_by_id(&revision.model_id).await?;
            if caller.may_see(&model.name.namespace, model.visibility) {
                found.push((model, revision));
            }
        }
        Ok(found)
    }

    /// The decision in force for the environment's default use; `None` while there is none.
    pub async fn live_decision(
        &self,
        model: &ModelInfo,
        revision: &Revision,
        environment: &str,
    ) -> Result<Option<Decision>> {
        let use_digest = self.gate.complete_use(environment, &Use::default())?.digest();
        let query = "SELECT d.* FROM live_decision l JOIN decision d ON d.id = l.decision_id \
                     WHERE l.model_id = ? AND l.content_digest = ? AND l.environment = ? AND l.use_digest = ?";
        let values = vec![
            model.id.clone().into(),
            revision.content_digest.as_str().into(),
            environment.into(),
            use_digest.into(),
        ];
        let row = decision::Entity::find().from_raw_sql(sql(&self.db, query, values)).one(&self.db).await?;
        let live = row.filter(|row| {
            row.policy_digest == self.gate.policy.digest() && row.valid_until.is_none_or(|until| until > now_ms())
        });
        live.map(|row| Ok(serde_json::from_str(&row.document)?)).transpose()
    }

    /// Lets the caller read a revision's bytes, or says why not.
    ///
    /// Writers of the namespace may read revisions that are pending or denied.
    pub async fn authorize_read(&self, caller: &Caller, model: &ModelInfo, revision: &Revision) -> Result<()> {
        if caller.role_in(&model.name.namespace).is_some_and(|role| role >= Role::Writer) {
            return Ok(());
        }
        let environment = caller.environment().to_owned();
        match self.live_decision(model, revision, &environment).await? {
            Some(decision) if decision.allowed => Ok(()),
            Some(decision) => Err(Error::Denied { environment, pending: false, reasons: decision.reasons }),
            None => Err(Error::Denied { environment, pending: true, reasons: vec![pending_reason()] }),
        }
    }

    /// A stored decision by its id.
    pub async fn find_decision(&self, caller: &Caller, id: &str) -> Result<Decision> {
        let missing = || Error::NotFound(format!("decision {id}"));
        let row = decision::Entity::find_by_id(id).one(&self.db).await?.ok_or_else(missing)?;
        let model = self.model_by_id(&row.model_id).await?;
        if !caller.may_see(&model.name.namespace, model.visibility) {
            return Err(missing());
        }
        Ok(serde_json::from_str(&row.document)?)
    }

    /// Decides in every environment, as the pipeline's last job.
    pub(crate) async fn run_decide(&self, lease: &Lease, revision_id: &str) -> Result<()> {
        let revision = revision_by_id(&self.db, revision_id).await?;
        let model = self.model_by_id(&revision.model_id).await?;
        let txn = begin(&self.db).await?;
        job::complete(&txn, lease).await?;
        hold_model(&txn, &model.id).await?;
        let known = self.known(&txn, &model, &revision).await?;
        let mut assessment = None;
        for environment in self.environments() {
            let default_use = self.gate.complete_use(&environment, &Use::default())?;
            let decision = self.evaluate(&txn, &model, &revision, &known, &environment, default_use).await?;
            catalog::show_verdict(&txn, &revision, &environment, decision.allowed).await?;
            if environment == self.settings.default_environment {
                assessment = decision.license_assessment;
            }
        }
        self.show_license(&txn, &model, &revision, &known.basis, assessment.as_ref()).await?;
        txn.commit().await?;
        Ok(())
    }

    /// The catalog shows what people concluded over what the files say; what counts is attested.
    async fn show_license(
        &self,
        txn: &DatabaseTransaction,
        model: &ModelInfo,
        revision: &Revision,
        basis: &Basis,
        assessment: Option<&Assessment>,
    ) -> Result<()> {
        let environment = &self.settings.default_environment;
        let standing = basis.standing(now_ms(), self.gate.license_reviewers(environment)?);
        self.attest_review(txn, model, revision, basis, &standing, assessment).await?;
        let openness = basis.openness(&self.settings.catalog, &standing);
        let of_files = basis.facts.as_ref().map(|facts| facts.concluded.clone());
        let Some(license) = standing.conclusion.map(|found| found.expression).or(of_files) else { return Ok(()) };
        catalog::show_license(txn, revision, &license, &openness.access_class).await
    }

    /// What all environments judge by, read once.
    async fn known(&self, txn: &DatabaseTransaction, model: &ModelInfo, revision: &Revision) -> Result<Known> {
        let stages = self.stages_in(txn, revision).await?;
        let basis = self.basis_of(txn, model, revision, &stages).await?;
        let trust = self.trust_basis(txn, revision, &stages).await?;
        let weights = self.weights_assessment_in(txn, model, revision).await?;
        Ok(Known { stages, basis, trust, weights })
    }

    async fn evaluate(
        &self,
        txn: &DatabaseTransaction,
        model: &ModelInfo,
        revision: &Revision,
        known: &Known,
        environment: &str,
        complete: Use,
    ) -> Result<Decision> {
        let now = now_ms();
        let ends = EvidenceEnds::of(self.gate.policy.environment(environment).ok(), &known.stages);
        let judged = self.judge_use(txn, model, &known.basis, environment, &complete.intended(), now).await?;
        let policy = &self.settings.trust.policy;
        let trusted = known.trust.as_ref().map(|basis| basis.assess(policy, model, revision, environment, now));
        let mut trusted = trusted.transpose()?;
        if let Some(trusted) = &mut trusted {
            trusted.add_notes(known.basis.base_disagreements());
        }
        let input = PolicyInput {
            schema_version: 1,
            model: PolicyModel {
                namespace: model.name.namespace.clone(),
                name: model.name.name.clone(),
                kind: model.kind.as_str().to_owned(),
            },
            content_digest: revision.content_digest.to_string(),
            environment: environment.to_owned(),
            r#use: complete,
            evidence: documents(model, &known.stages, &ends, now)?,
            license_conclusion: judged.standing.conclusion,
            license_assessment: Some(judged.assessment),
            trust_assessment: trusted,
            // What says nothing must not make a new question of one that was answered before.
            weights_assessment: known.weights.clone().filter(|found| !found.shared.is_empty()),
            waivers: Vec::new(),
            advisories: Vec::new(),
        };
        let input_digest = input.digest()?;
        if let Some(stored) = self.same_input(txn, model, &input, &input_digest).await? {
            set_live(txn, model, &input, &stored.id).await?;
            return Ok(stored);
        }
        let outcome = self.gate.policy.evaluate(&input, &rfc3339(now));
        let outcome = outcome.map_err(|error| Error::CannotDecide(model.name.to_string(), error.to_string()))?;
        let trusted_until = input.trust_assessment.as_ref().and_then(valid_until_ms);
        let others = [judged.valid_until, trusted_until];
        let valid_until = ends.all().chain(others.into_iter().flatten()).filter(|end| *end > now).min();
        self.store(txn, model, revision, &known.stages, &input, input_digest, outcome, now, valid_until).await
    }

    async fn same_input(
        &self,
        txn: &DatabaseTransaction,
        model: &ModelInfo,
        input: &PolicyInput,
        input_digest: &str,
    ) -> Result<Option<Decision>> {
        let query = "SELECT * FROM decision WHERE model_id = ? AND content_digest = ? AND environment = ? \
                     AND use_digest = ? AND policy_digest = ? AND input_digest = ?";
        let values = vec![
            model.id.clone().into(),
            input.content_digest.clone().into(),
            input.environment.clone().into(),
            input.r#use.digest().into(),
            self.gate.policy.digest().into(),
            input_digest.into(),
        ];
        let row = decision::Entity::find().from_raw_sql(sql(txn, query, values)).one(txn).await?;
        row.map(|row| Ok(serde_json::from_str(&row.document)?)).transpose()
    }

    #[expect(clippy::too_many_arguments, reason = "one row, written in one place")]
    async fn store(
        &self,
        txn: &DatabaseTransaction,
        model: &ModelInfo,
        revision: &Revision,
        stages: &[StageView],
        input: &PolicyInput,
        input_digest: String,
        outcome: Outcome,
        now: i64,
        valid_until: Option<i64>,
    ) -> Result<Decision> {
        let decision = Decision {
            schema_version: 1,
            id: Uuid::now_v7().to_string(),
            model: model.name.to_string(),
            content_digest: input.content_digest.clone(),
            environment: input.environment.clone(),
            r#use: input.r#use.clone(),
            allowed: outcome.allowed,
            reasons: outcome.reasons,
            warnings: outcome.warnings,
            waived: outcome.waived,
            would_pass_if: outcome.would_pass_if,
            license_assessment: input.license_assessment.clone(),
            license_conclusion: input.license_conclusion.clone(),
            trust_assessment: input.trust_assessment.clone(),
            policy_digest: self.gate.policy.digest().to_owned(),
            input_digest,
            decided_at: rfc3339(now),
            valid_until: valid_until.map(rfc3339),
        };
        let row = decision::ActiveModel {
            id: Set(decision.id.clone()),
            model_id: Set(model.id.clone()),
            content_digest: Set(decision.content_digest.clone()),
            environment: Set(decision.environment.clone()),
            use_digest: Set(input.r#use.digest()),
            policy_digest: Set(decision.policy_digest.clone()),
            input_digest: Set(decision.input_digest.clone()),
            allowed: Set(decision.allowed),
            document: Set(serde_json::to_string(&decision)?),
            decided_at: Set(now),
            valid_until: Set(valid_until),
        };
        let same_input = OnConflict::new().do_nothing().to_owned();
        if decision::Entity::insert(row).on_conflict(same_input).exec_without_returning(txn).await? == 0 {
            // Somebody asked the same at the same moment: one answer is stored, and it counts.
            let stored = self.same_input(txn, model, input, &decision.input_digest).await?;
            let stored = stored.ok_or_else(|| Error::Internal("a decision is stored and not found".into()))?;
            set_live(txn, model, input, &stored.id).await?;
            return Ok(stored);
        }
        set_live(txn, model, input, &decision.id).await?;
        let event = Event::new("decision.made", "weighhouse")
            .model(&model.id)
            .detail("decision", decision.id.as_str())
            .detail("content_digest", decision.content_digest.as_str())
            .detail("environment", decision.environment.as_str())
            .detail("allowed", decision.allowed)
            .detail("trust", decision.trust_assessment.as_ref().map(trust_of_event));
        audit::record(txn, event).await?;
        self.attest_decision(txn, model, revision, stages, &decision).await?;
        Ok(decision)
    }

    /// Records the policy in force; decisions made under another one are made anew.
    pub(crate) async fn adopt_policy(&self) -> Result<()> {
        let policy = &self.gate.policy;
        let txn = begin(&self.db).await?;
        if policy_version::Entity::find_by_id(policy.digest()).one(&txn).await?.is_none() {
            let row = policy_version::ActiveModel {
                digest: Set(policy.digest().to_owned()),
                name: Set(policy.name().to_owned()),
                rego: Set(policy.rego().to_owned()),
                data: Set(policy.data_text().to_owned()),
                first_used_at: Set(now_ms()),
            };
            row.insert(&txn).await?;
            let event = Event::new("policy.adopted", "weighhouse").detail("digest", policy.digest());
            audit::record(&txn, event.detail("name", policy.name())).await?;
        }
        for revision in outdated_revisions(&txn, policy.digest()).await? {
            job::enqueue(&txn, &Work::Decide { revision }).await?;
        }
        txn.commit().await?;
        Ok(())
    }

    /// Enqueues a new evaluation for decisions that have run out.
    pub async fn renew_expired_decisions(&self) -> Result<u64> {
        let query = "SELECT DISTINCT r.id AS id FROM live_decision l JOIN decision d ON d.id = l.decision_id \
                     JOIN revision r ON r.model_id = l.model_id AND r.content_digest = l.content_digest \
                     WHERE d.valid_until <= ? LIMIT 1000";
        let txn = begin(&self.db).await?;
        let expired = ids(&txn, query, vec![now_ms().into()]).await?;
        for revision in &expired {
            job::enqueue(&txn, &Work::Decide { revision: revision.clone() }).await?;
        }
        txn.commit().await?;
        Ok(expired.len() as u64)
    }
}

async fn outdated_revisions(txn: &DatabaseTransaction, policy_digest: &str) -> Result<Vec<String>> {
    let query = "SELECT DISTINCT r.id AS id FROM live_decision l JOIN decision d ON d.id = l.decision_id \
                 JOIN revision r ON r.model_id = l.model_id AND r.content_digest = l.content_digest \
                 WHERE d.policy_digest <> ?";
    ids(txn, query, vec![policy_digest.into()]).await
}

async fn ids(txn: &DatabaseTransaction, query: &str, values: Vec<sea_orm::Value>) -> Result<Vec<String>> {
    use sea_orm::ConnectionTrait;
    let rows = txn.query_all_raw(sql(txn, query, values)).await?;
    rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

async fn set_live(txn: &DatabaseTransaction, model: &ModelInfo, input: &PolicyInput, id: &str) -> Result<()> {
    let row = live_decision::ActiveModel {
        model_id: Set(model.id.clone()),
        content_digest: Set(input.content_digest.clone()),
        environment: Set(input.environment.clone()),
        use_digest: Set(input.r#use.digest()),
        decision_id: Set(id.to_owned()),
    };
    let key = [
        live_decision::Column::ModelId,
        live_decision::Column::ContentDigest,
        live_decision::Column::Environment,
        live_decision::Column::UseDigest,
    ];
    let replace = OnConflict::columns(key).update_column(live_decision::Column::DecisionId).to_owned();
    live_decision::Entity::insert(row).on_conflict(replace).exec_without_returning(txn).await?;
    Ok(())
}

/// From when on evidence is stale in an environment.
struct EvidenceEnds(Vec<(Stage, i64)>);

impl EvidenceEnds {
    fn of(environment: Option<&EnvironmentData>, stages: &[StageView]) -> Self {
        let end = |view: &StageView| {
            let days = environment?.max_age_days(view.stage)?;
            Some((view.stage, view.recorded_at? + i64::from(days) * DAY_MS))
        };
        Self(stages.iter().filter_map(end).collect())
    }

    fn is_stale(&self, stage: Stage, now: i64) -> bool {
        self.0.iter().any(|(of, end)| *of == stage && *end <= now)
    }

    fn all(&self) -> impl Iterator<Item = i64> {
        self.0.iter().map(|(_, end)| *end)
    }
}

fn documents(model: &ModelInfo, stages: &[StageView], ends: &EvidenceEnds, now: i64) -> Result<EvidenceDocuments> {
    let state = |stage: Stage| -> Result<EvidenceState> {
        let view = stages.iter().find(|view| view.stage == stage);
        if model.kind == ModelKind::Reference && stage == Stage::Probe {
            return Ok(EvidenceState::without_document(Status::NotApplicable));
        }
        let Some(view) = view else { return Ok(EvidenceState::without_document(Status::Missing)) };
        let Some(evidence) = &view.evidence else { return Ok(EvidenceState::without_document(view.status)) };
        let status = if ends.is_stale(stage, now) { Status::Stale } else { view.status };
        Ok(EvidenceState { status, document: serde_json::to_value(evidence)? })
    };
    Ok(EvidenceDocuments {
        inspect: state(Stage::Inspect)?,
        license: state(Stage::License)?,
        provenance: state(Stage::Provenance)?,
        probe: state(Stage::Probe)?,
    })
}

fn valid_until_ms(assessment: &TrustAssessment) -> Option<i64> {
    let until: jiff::Timestamp = assessment.valid_until.as_ref()?.parse().ok()?;
    Some(until.as_millisecond())
}

/// Every check and its outcome, without the words: they name signers.
fn trust_of_event(assessment: &TrustAssessment) -> serde_json::Value {
    let check = |found: &trust::Check| {
        serde_json::json!({
            "bundle": found.bundle, "check": found.check, "code": found.code, "outcome": found.outcome,
        })
    };
    let requirement = |found: &trust::RequirementResult| {
        let checks: Vec<_> = found.checks.iter().map(check).collect();
        serde_json::json!({ "code": found.code, "id": found.id, "met": found.met, "checks": checks })
    };
    let mut told = serde_json::json!({
        "policy": assessment.policy, "policy_digest": assessment.policy_digest, "verdict": assessment.verdict,
    });
    let requirements: Vec<_> = assessment.requirements.iter().map(requirement).collect();
    let text = serde_json::Value::Array(requirements.clone()).to_string();
    if text.len() > MAX_LOGGED_CHECKS {
        told["requirements_sha256"] = Sha256Digest::of(text.as_bytes()).to_string().into();
    } else {
        told["requirements"] = requirements.into();
    }
    told
}

fn pending_reason() -> Reason {
    Reason {
        code: "DECISION_PENDING".into(),
        msg: "This revision has not been judged yet.".into(),
        evidence: None,
        remedy: Some("Wait until the pipeline has finished and try again.".into()),
        docs: None,
    }
}
