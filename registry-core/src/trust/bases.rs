//! Parents that verified attestations name by digest. A digest is a stronger word than a name on
//! a card: where the registry holds the bytes, it knows which model they are.

use std::collections::BTreeSet;

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use verifier::evidence::{AttestedBase, ProvenanceFacts, Relation, SignatureState};

use crate::database::sql;
use crate::entity::lineage_edge;
use crate::error::Result;
use crate::identity::ModelName;
use crate::model::ModelInfo;
use crate::registry::Registry;
use crate::revision::Revision;

/// How sure an edge is.
const ATTESTED: &str = "attested";
pub(crate) const DECLARED: &str = "declared";
/// Most parents that are taken from a revision's attestations.
const MAX_BASES: usize = 100;

/// Remembers the parents that trusted attestations of a revision name; says whether they are others
/// than before.
pub(crate) async fn project_attested(
    registry: &Registry,
    txn: &DatabaseTransaction,
    model: &ModelInfo,
    revision: &Revision,
    facts: &ProvenanceFacts,
) -> Result<bool> {
    let parents = resolve(registry, txn, model, facts).await?;
    if attested_edges(txn, revision).await?.into_iter().collect::<BTreeSet<_>>() == parents {
        return Ok(false);
    }
    let reset = "UPDATE lineage_edge SET confidence = ? WHERE revision_id = ? AND confidence = ?";
    let values = vec![DECLARED.into(), revision.id.clone().into(), ATTESTED.into()];
    txn.execute_raw(sql(txn, reset, values)).await?;
    for (parent, relation) in parents {
        let upsert = "INSERT INTO lineage_edge (revision_id, parent, relation, confidence) VALUES (?, ?, ?, ?) \
                      ON CONFLICT (revision_id, parent, relation) DO UPDATE SET confidence = excluded.confidence";
        let values = vec![revision.id.clone().into(), parent.into(), relation.as_str().into(), ATTESTED.into()];
        txn.execute_raw(sql(txn, upsert, values)).await?;
    }
    Ok(true)
}

/// The attested parents of a revision, as they were projected.
pub(crate) async fn attested_edges(
    connection: &impl ConnectionTrait,
    revision: &Revision,
) -> Result<Vec<(String, Relation)>> {
    let rows = lineage_edge::Entity::find()
        .filter(lineage_edge::Column::RevisionId.eq(&revision.id))
        .filter(lineage_edge::Column::Confidence.eq(ATTESTED))
        .all(connection)
        .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.parent, Relation::parse(&row.relation)?))).collect())
}

async fn resolve(
    registry: &Registry,
    txn: &DatabaseTransaction,
    model: &ModelInfo,
    facts: &ProvenanceFacts,
) -> Result<BTreeSet<(String, Relation)>> {
    let trusted = facts.attestations.iter().filter(|found| found.signature.state == SignatureState::Trusted);
    let mut parents = BTreeSet::new();
    for base in trusted.flat_map(|found| &found.bases).take(MAX_BASES) {
        let name = match held(registry, txn, model, base).await? {
            Some(name) => Some(name),
            None => claimed(base),
        };
        parents.extend(name.filter(|name| *name != model.name.to_string()).map(|name| (name, base.relation)));
    }
    Ok(parents)
}

/// The model whose content or weight file has the base's digest, where whoever sees the child may
/// know of it.
async fn held(
    registry: &Registry,
    txn: &DatabaseTransaction,
    model: &ModelInfo,
    base: &AttestedBase,
) -> Result<Option<String>> {
    let query = "SELECT h.id AS id FROM (SELECT r.model_id AS id, r.created_at AS at FROM revision r \
                 WHERE r.content_digest = ? UNION SELECT r.model_id, r.created_at FROM revision_file f \
                 JOIN revision r ON r.id = f.revision_id WHERE f.sha256 = ?) h JOIN model m ON m.id = h.id \
                 WHERE m.deleted_at IS NULL AND h.id <> ? ORDER BY h.at LIMIT 20";
    let digest = || base.sha256.clone().into();
    let rows = txn.query_all_raw(sql(txn, query, vec![digest(), digest(), model.id.clone().into()])).await?;
    for row in rows {
        let id: String = row.try_get("", "id")?;
        let parent = registry.model_by_id(&id).await?;
        if crate::license::may_be_told(&parent, model) {
            return Ok(Some(parent.name.to_string()));
        }
    }
    Ok(None)
}

/// The name that the statement gives a base that is not here.
fn claimed(base: &AttestedBase) -> Option<String> {
    let uri = base.uri.as_deref().unwrap_or(&base.name);
    let path = uri.split_once("://").map_or(uri, |(_, path)| path);
    let path = path.strip_prefix("huggingface.co/").unwrap_or(path);
    let name = path.split('@').next().unwrap_or_default();
    name.parse::<ModelName>().ok().map(|name| name.to_string())
}
