//! What was stored about one model's content by a date, and nothing that came later.

use sea_orm::{ConnectionTrait, EntityTrait};
use verifier::evidence::{Evidence, Inspection, Stage};
use verifier::license::record::Record;
use verifier::policy::PolicyData;

use super::ReportRow;
use super::row::{self, Known};
use super::subjects::Subject;
use crate::database::sql;
use crate::entity::{decision, evidence, license_record, policy_version};
use crate::error::{Error, Result};
use crate::gate::Decision;
use crate::identity::FileSpec;
use crate::license::{MAX_RECORDS, facts_digest_of, record};
use crate::registry::Registry;
use crate::revision::{Revision, files_of};

/// Most decisions about one content in one environment that are looked through.
const MAX_DECISIONS: i64 = 200;
/// For the assumed use, and in agreement with the records.
const BEST_FIT: u8 = 3;

impl Registry {
    /// An environment that the policy no longer has may still be reported on.
    pub(super) async fn check_reported_environment(&self, environment: &str) -> Result<()> {
        let Err(unknown) = self.gate.check_environment(environment) else { return Ok(()) };
        let query = "SELECT id FROM decision WHERE environment = ? LIMIT 1";
        let row = self.db.query_one_raw(sql(&self.db, query, vec![environment.into()])).await?;
        row.map(|_| ()).ok_or(unknown)
    }

    pub(super) async fn report_row(&self, subject: Subject, environment: &str, as_of: i64) -> Result<ReportRow> {
        let Subject { model, revision, reads } = subject;
        let (files, known) = match &revision {
            Some(revision) => {
                let files = files_of(&self.db, &revision.id).await?;
                let known = self.known_at(revision, &files, environment, as_of).await?;
                (files, known)
            }
            None => (Vec::new(), Known::default()),
        };
        let mut row = row::assemble(model.name.to_string(), model.kind, &files, known);
        row.commit = revision.as_ref().map(|revision| revision.commit.to_string());
        row.content_digest = revision.map(|revision| revision.content_digest.to_string());
        row.reads = reads;
        Ok(row)
    }

    async fn known_at(&self, revision: &Revision, files: &[FileSpec], environment: &str, as_of: i64) -> Result<Known> {
        let mut known = Known { at: as_of, ..Known::default() };
        if let Some((key, Evidence::License(facts))) = self.evidence_at(revision, Stage::License, as_of).await? {
            known.evidence = Some(key);
            known.facts = Some(facts);
        }
        known.records = self.records_at(&revision.model_id, as_of).await?;
        if let Some(facts) = known.facts.as_ref().filter(|_| !known.records.is_empty()) {
            let found = self.inspection_at(revision, as_of).await?;
            known.facts_digest = facts_digest_of(facts, found.as_ref(), files);
        }
        if let Some((row, decision)) = self.decision_at(revision, environment, &known).await? {
            known.decision_ended = row.valid_until.is_some_and(|end| end <= as_of);
            known.assessment.clone_from(&decision.license_assessment);
            known.decision = Some(decision);
        }
        Ok(known)
    }

    async fn evidence_at(&self, revision: &Revision, stage: Stage, as_of: i64) -> Result<Option<(String, Evidence)>> {
        let query = "SELECT e.* FROM stage_selection s JOIN evidence e ON e.evidence_key = s.evidence_key \
                     WHERE s.revision_id = ? AND s.stage = ? AND s.selected_at <= ? \
                     ORDER BY s.selected_at DESC LIMIT 1";
        let values = vec![revision.id.clone().into(), stage.as_str().into(), as_of.into()];
        let row = evidence::Entity::find().from_raw_sql(sql(&self.db, query, values)).one(&self.db).await?;
        row.map(|row| Ok((row.evidence_key, serde_json::from_str(&row.document)?))).transpose()
    }

    async fn inspection_at(&self, revision: &Revision, as_of: i64) -> Result<Option<Inspection>> {
        match self.evidence_at(revision, Stage::Inspect, as_of).await? {
            Some((_, Evidence::Inspect(found))) => Ok(Some(found)),
            _ => Ok(None),
        }
    }

    /// Records that had been made, oldest first.
    async fn records_at(&self, model_id: &str, as_of: i64) -> Result<Vec<Record>> {
        let query = "SELECT * FROM license_record WHERE model_id = ? AND recorded_at <= ? ORDER BY id LIMIT ?";
        let values = vec![model_id.into(), as_of.into(), i64::try_from(MAX_RECORDS).unwrap_or(i64::MAX).into()];
        let rows = license_record::Entity::find().from_raw_sql(sql(&self.db, query, values)).all(&self.db).await?;
        rows.into_iter().map(record).collect()
    }

    /// The newest decision that agrees with the records which counted then, first of those for the
    /// use that the environment assumed when it was made. When a record ends, the gate gives an
    /// older decision again, so the newest one is not always the one in force.
    async fn decision_at(
        &self,
        revision: &Revision,
        environment: &str,
        known: &Known,
    ) -> Result<Option<(decision::Model, Decision)>> {
        let query = "SELECT * FROM decision WHERE model_id = ? AND content_digest = ? AND environment = ? \
                     AND decided_at <= ? ORDER BY decided_at DESC, id DESC LIMIT ?";
        let values = vec![
            revision.model_id.clone().into(),
            revision.content_digest.as_str().into(),
            environment.into(),
            known.at.into(),
            MAX_DECISIONS.into(),
        ];
        let rows = decision::Entity::find().from_raw_sql(sql(&self.db, query, values)).all(&self.db).await?;
        let mut best: Option<(u8, decision::Model, Decision)> = None;
        for row in rows {
            let decision: Decision = serde_json::from_str(&row.document)?;
            let assumed = self.assumed_use(&row.policy_digest, environment).await?;
            let for_assumed_use = assumed.as_deref() == Some(row.use_digest.as_str());
            let fit = 2 * u8::from(for_assumed_use) + u8::from(known.agrees_with(&decision));
            if best.as_ref().is_none_or(|(held, ..)| fit > *held) {
                best = Some((fit, row, decision));
            }
            if fit == BEST_FIT {
                break;
            }
        }
        Ok(best.map(|(_, row, decision)| (row, decision)))
    }

    /// Digest of the use that a policy assumed in an environment.
    async fn assumed_use(&self, policy_digest: &str, environment: &str) -> Result<Option<String>> {
        if policy_digest == self.policy().digest() {
            return Ok(self.policy().environment(environment).ok().map(|data| data.default_use.digest()));
        }
        let row = policy_version::Entity::find_by_id(policy_digest).one(&self.db).await?;
        let row = row.ok_or_else(|| Error::Corrupt(format!("policy {policy_digest} is not stored")))?;
        let data: PolicyData = serde_json::from_str(&row.data)?;
        Ok(data.environments.get(environment).map(|data| data.default_use.digest()))
    }
}
