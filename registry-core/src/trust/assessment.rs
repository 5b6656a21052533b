//! The trust policy's word over one revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use verifier::evidence::ProvenanceFacts;
use verifier::provenance::revocation::{NamedCrl, SignedRevocationList};
use verifier::provenance::statement;
use verifier::provenance::trust::{Context, Receipt, TrustAssessment, TrustPolicy, assess};

use crate::database::sql;
use crate::entity::signature;
use crate::error::{Error, Result};
use crate::model::ModelInfo;
use crate::pipeline::StageView;
use crate::registry::Registry;
use crate::revision::Revision;

/// Everything that a policy is asked with, read once for all environments.
#[derive(Debug)]
pub(crate) struct TrustBasis {
    pub(crate) facts: ProvenanceFacts,
    receipts: BTreeMap<String, Receipt>,
    revocations: Option<Arc<SignedRevocationList>>,
    crls: Arc<[NamedCrl]>,
    log_origin: String,
    roots: BTreeMap<String, Timestamp>,
}

impl Registry {
    /// What trust in a revision rests on; none while its provenance has not been judged.
    pub(crate) async fn trust_basis(
        &self,
        connection: &impl ConnectionTrait,
        revision: &Revision,
        stages: &[StageView],
    ) -> Result<Option<TrustBasis>> {
        let facts = stages.iter().find_map(|view| view.evidence.as_ref()?.as_provenance()).cloned();
        let Some(facts) = facts else { return Ok(None) };
        let revocations = self.revocations_in(connection).await?;
        let receipts = receipts(connection, revision, &facts, revocations.is_some()).await?;
        let roots = self.root_times(connection).await?;
        let crls = Arc::clone(&self.settings.trust.crls);
        let log_origin = self.keys.verifier().name().to_owned();
        Ok(Some(TrustBasis { facts, receipts, revocations, crls, log_origin, roots }))
    }
}

impl TrustBasis {
    /// The policy's word in an environment.
    pub(crate) fn assess(
        &self,
        policy: &TrustPolicy,
        model: &ModelInfo,
        revision: &Revision,
        environment: &str,
        now: i64,
    ) -> Result<TrustAssessment> {
        let name = model.name.to_string();
        Ok(assess(&Context {
            policy,
            model: &name,
            environment,
            resource: &statement::resource_uri(&name, revision.commit.as_str()),
            content_digest: revision.content_digest.as_str(),
            facts: &self.facts,
            receipts: &self.receipts,
            revocations: self.revocations.as_deref(),
            crls: &self.crls,
            log_origin: &self.log_origin,
            roots: &self.roots,
            now: timestamp(now)?,
        }))
    }
}

fn timestamp(milliseconds: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|error| Error::Corrupt(error.to_string()))
}

/// When each bundle came here: those that were attached by their rows, those among the files with
/// the first revision of the model that held them. Places in the log are looked up only where a
/// revocation could ask for them.
async fn receipts(
    connection: &impl ConnectionTrait,
    revision: &Revision,
    facts: &ProvenanceFacts,
    with_log: bool,
) -> Result<BTreeMap<String, Receipt>> {
    let rows = signature::Entity::find()
        .filter(signature::Column::ContentDigest.eq(revision.content_digest.as_str()))
        .all(connection)
        .await?;
    let attached: BTreeMap<String, i64> = rows.into_iter().map(|row| (row.sha256, row.received_at)).collect();
    let bundles = facts.signatures.iter().chain(facts.attestations.iter().map(|found| &found.signature));
    let mut receipts = BTreeMap::new();
    for digest in bundles.map(|found| &found.digest) {
        let (at, event) = match attached.get(digest) {
            Some(at) => (*at, ("signature.attached", format!("%\"signature\":\"{digest}\"%"))),
            None => first_held(connection, revision, digest).await?,
        };
        let log_index = if with_log { log_index(connection, revision, event).await? } else { None };
        receipts.insert(digest.clone(), Receipt { at: timestamp(at)?, log_index });
    }
    Ok(receipts)
}

/// An event by its kind and a pattern of its body.
type EventPattern = (&'static str, String);

async fn first_held(
    connection: &impl ConnectionTrait,
    revision: &Revision,
    bundle: &str,
) -> Result<(i64, EventPattern)> {
    let query = "SELECT r.created_at AS at, r.commit_id AS commit_id FROM revision r \
                 JOIN revision_file f ON f.revision_id = r.id \
                 WHERE r.model_id = ? AND f.sha256 = ? ORDER BY r.created_at LIMIT 1";
    let values = vec![revision.model_id.clone().into(), bundle.into()];
    let (at, commit) = match connection.query_one_raw(sql(connection, query, values)).await? {
        Some(row) => (row.try_get("", "at")?, row.try_get("", "commit_id")?),
        None => (revision.created_at, revision.commit.to_string()),
    };
    Ok((at, ("revision.committed", format!("%\"commit\":\"{commit}\"%"))))
}

async fn log_index(
    connection: &impl ConnectionTrait,
    revision: &Revision,
    (kind, body): EventPattern,
) -> Result<Option<u64>> {
    let query = "SELECT MIN(l.leaf_index) AS leaf FROM audit_event e JOIN audit_leaf l ON l.event_id = e.id \
                 WHERE e.model_id = ? AND e.kind = ? AND e.body LIKE ?";
    let values = vec![revision.model_id.clone().into(), kind.into(), body.into()];
    let row = connection.query_one_raw(sql(connection, query, values)).await?;
    let leaf: Option<i64> = row.map(|row| row.try_get("", "leaf")).transpose()?.flatten();
    Ok(leaf.and_then(|leaf| u64::try_from(leaf).ok()))
}
