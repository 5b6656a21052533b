//! Which other models hold the same tensors, and whether anybody said so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, Set};
use verifier::evidence::{SharedWeights, WeightsAssessment};
use verifier::format::Tensor;
use verifier::format::weights::weights_digest;

use crate::database::sql;
use crate::entity::{blob_tensor, lineage_edge, revision_weights, shared_weights};
use crate::error::{Error, Result};
use crate::identity::FileSpec;
use crate::license::may_be_told;
use crate::model::ModelInfo;
use crate::registry::Registry;
use crate::revision::{Revision, main_head};

use super::list::shape_of;

/// Values of one query; SQLite takes some 30,000.
const MAX_VALUES: usize = 1000;
/// Other models that are remembered for a revision, those of the largest shares.
const MAX_MODELS: usize = 50;
/// Names that are followed when two models are asked for a common ancestor.
const MAX_ANCESTORS: usize = 200;

/// What a model shares with another one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Share {
    tensors: i64,
    bytes: i64,
    identical: bool,
}

/// Remembers a revision's weights and what others share of them; says whether others do.
pub(super) async fn project<'f>(
    txn: &DatabaseTransaction,
    revision: &Revision,
    counted: impl Iterator<Item = &'f FileSpec>,
) -> Result<bool> {
    let blobs: BTreeSet<&str> = counted.map(|file| file.sha256.as_str()).collect();
    let (digest, bytes) = identity(txn, &blobs).await?;
    let shares = shares(txn, revision, &blobs, digest.as_deref()).await?;
    shared_weights::Entity::delete_many().filter(shared_weights::Column::RevisionId.eq(&revision.id)).exec(txn).await?;
    revision_weights::Entity::delete_by_id(&revision.id).exec(txn).await?;
    let row = revision_weights::ActiveModel {
        revision_id: Set(revision.id.clone()),
        digest: Set(digest),
        byte_length: Set(bytes),
    };
    revision_weights::Entity::insert(row).exec_without_returning(txn).await?;
    let rows: Vec<shared_weights::ActiveModel> =
        shares.iter().map(|(model, share)| row_of(revision, model, *share)).collect();
    if !rows.is_empty() {
        shared_weights::Entity::insert_many(rows).exec_without_returning(txn).await?;
    }
    Ok(!shares.is_empty())
}

fn row_of(revision: &Revision, model: &str, share: Share) -> shared_weights::ActiveModel {
    shared_weights::ActiveModel {
        revision_id: Set(revision.id.clone()),
        model_id: Set(model.to_owned()),
        tensors: Set(share.tensors),
        byte_length: Set(share.bytes),
        identical: Set(share.identical),
    }
}

/// The digest over all tensors of the files, and how many bytes could tell something.
async fn identity(txn: &DatabaseTransaction, blobs: &BTreeSet<&str>) -> Result<(Option<String>, i64)> {
    let mut tensors: Vec<(Tensor, Option<String>)> = Vec::new();
    let mut telling = BTreeMap::new();
    for blob in blobs {
        let rows = blob_tensor::Entity::find().filter(blob_tensor::Column::Sha256.eq(*blob));
        for row in rows.order_by_asc(blob_tensor::Column::Position).all(txn).await? {
            if let Some(digest) = row.digest.as_ref().filter(|_| row.telling) {
                telling.insert(digest.clone(), row.byte_length);
            }
            let digest = row.digest.clone();
            tensors.push((tensor(row)?, digest));
        }
    }
    let all = tensors.iter().map(|(tensor, digest)| (tensor, digest.as_deref()));
    Ok((weights_digest(all), telling.values().sum()))
}

fn tensor(row: blob_tensor::Model) -> Result<Tensor> {
    let shape = shape_of(&row.shape)?;
    let byte_length = u64::try_from(row.byte_length).map_err(|_| Error::Corrupt("negative length".into()))?;
    Ok(Tensor { name: row.name, element_type: row.element_type.into(), shape, byte_length, offset: None })
}

/// Other models with tensors of these blobs, the largest shares first.
async fn shares(
    txn: &DatabaseTransaction,
    revision: &Revision,
    blobs: &BTreeSet<&str>,
    digest: Option<&str>,
) -> Result<Vec<(String, Share)>> {
    let by_blob = blobs_sharing(txn, blobs).await?;
    let mut by_model: BTreeMap<String, Share> = BTreeMap::new();
    let names: Vec<&String> = by_blob.keys().collect();
    for chunk in names.chunks(MAX_VALUES) {
        for (blob, model) in models_holding(txn, revision, chunk).await? {
            let share = by_model.entry(model).or_default();
            let of_blob = by_blob.get(&blob).copied().unwrap_or_default();
            share.tensors += of_blob.tensors;
            share.bytes += of_blob.bytes;
        }
    }
    if let Some(digest) = digest {
        for model in models_of_digest(txn, revision, digest).await? {
            by_model.entry(model).or_default().identical = true;
        }
    }
    let mut all: Vec<(String, Share)> = by_model.into_iter().collect();
    all.sort_by_key(|(_, share)| std::cmp::Reverse((share.identical, share.bytes)));
    all.truncate(MAX_MODELS);
    Ok(all)
}

/// Blobs with tensors of these, each distinct tensor counted once.
async fn blobs_sharing(txn: &DatabaseTransaction, blobs: &BTreeSet<&str>) -> Result<BTreeMap<String, Share>> {
    let mut found: BTreeMap<String, Share> = BTreeMap::new();
    for blobs in blobs.iter().collect::<Vec<_>>().chunks(MAX_VALUES) {
        let marks = vec!["?"; blobs.len()].join(", ");
        let query = format!(
            "SELECT o.sha256 AS sha256, COUNT(*) AS tensors, CAST(SUM(o.byte_length) AS BIGINT) AS bytes FROM \
             (SELECT DISTINCT other.sha256, other.digest, other.byte_length FROM blob_tensor own \
             JOIN blob_tensor other ON other.digest = own.digest WHERE own.sha256 IN ({marks}) AND own.telling) o \
             GROUP BY o.sha256"
        );
        let values = blobs.iter().map(|blob| (**blob).into()).collect();
        for row in txn.query_all_raw(sql(txn, &query, values)).await? {
            let share = found.entry(row.try_get("", "sha256")?).or_default();
            share.tensors += row.try_get::<i64>("", "tensors")?;
            share.bytes += row.try_get::<i64>("", "bytes")?;
        }
    }
    Ok(found)
}

async fn models_holding(
    txn: &DatabaseTransaction,
    revision: &Revision,
    blobs: &[&String],
) -> Result<Vec<(String, String)>> {
    let marks = vec!["?"; blobs.len()].join(", ");
    let query = format!(
        "SELECT DISTINCT f.sha256 AS sha256, r.model_id AS model_id FROM revision_file f \
         JOIN revision r ON r.id = f.revision_id JOIN model m ON m.id = r.model_id \
         WHERE f.sha256 IN ({marks}) AND m.deleted_at IS NULL AND r.model_id <> ?"
    );
    let blobs = blobs.iter().map(|blob| (*blob).clone().into());
    let values = blobs.chain([revision.model_id.clone().into()]).collect();
    let rows = txn.query_all_raw(sql(txn, &query, values)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "sha256")?, row.try_get("", "model_id")?))).collect()
}

async fn models_of_digest(txn: &DatabaseTransaction, revision: &Revision, digest: &str) -> Result<Vec<String>> {
    let query = "SELECT DISTINCT r.model_id AS model_id FROM revision_weights w JOIN revision r ON r.id = w.revision_id \
                 JOIN model m ON m.id = r.model_id WHERE w.digest = ? AND m.deleted_at IS NULL AND r.model_id <> ?";
    let values = vec![digest.into(), revision.model_id.clone().into()];
    let rows = txn.query_all_raw(sql(txn, query, values)).await?;
    rows.iter().map(|row| Ok(row.try_get("", "model_id")?)).collect()
}

/// What is remembered of a revision's weights; none until they were read.
pub(super) async fn weights_of(
    connection: &impl ConnectionTrait,
    revision: &Revision,
) -> Result<Option<revision_weights::Model>> {
    Ok(revision_weights::Entity::find_by_id(&revision.id).one(connection).await?)
}

impl Registry {
    /// What a revision's weights say beside those of other models that whoever sees this one may
    /// know of; none until they were read.
    pub async fn weights_assessment(
        &self,
        model: &ModelInfo,
        revision: &Revision,
    ) -> Result<Option<WeightsAssessment>> {
        self.weights_assessment_in(&self.db, model, revision).await
    }

    pub(crate) async fn weights_assessment_in(
        &self,
        connection: &impl ConnectionTrait,
        model: &ModelInfo,
        revision: &Revision,
    ) -> Result<Option<WeightsAssessment>> {
        let Some(weights) = weights_of(connection, revision).await? else { return Ok(None) };
        let query = "SELECT s.* FROM shared_weights s JOIN model m ON m.id = s.model_id \
                     WHERE s.revision_id = ? AND m.deleted_at IS NULL";
        let statement = sql(connection, query, vec![revision.id.clone().into()]);
        let rows = shared_weights::Entity::find().from_raw_sql(statement).all(connection).await?;
        if rows.is_empty() {
            return Ok(Some(WeightsAssessment::new(weights.digest, Vec::new())));
        }
        let own = self.ancestors(connection, model, revision).await?;
        let mut shared = Vec::with_capacity(rows.len());
        for row in rows {
            let other = self.model_by_id(&row.model_id).await?;
            if may_be_told(&other, model) {
                let declared = self.is_declared(connection, model, &own, &other).await?;
                shared.push(shared_row(&other, &row, weights.byte_length, declared));
            }
        }
        Ok(Some(WeightsAssessment::new(weights.digest, shared)))
    }

    /// Whether one of both names the other, or both have an ancestor in common.
    async fn is_declared(
        &self,
        connection: &impl ConnectionTrait,
        model: &ModelInfo,
        own: &BTreeSet<String>,
        other: &ModelInfo,
    ) -> Result<bool> {
        if own.contains(&key(&other.name.to_string())) {
            return Ok(true);
        }
        let Some(head) = main_head(connection, &other.id).await? else { return Ok(false) };
        let theirs = self.ancestors(connection, model, &head).await?;
        Ok(theirs.contains(&key(&model.name.to_string())) || !own.is_disjoint(&theirs))
    }

    /// Names of everything that a revision says it was made from, by way of models that are here and
    /// that whoever sees `model` may know of.
    async fn ancestors(
        &self,
        connection: &impl ConnectionTrait,
        model: &ModelInfo,
        revision: &Revision,
    ) -> Result<BTreeSet<String>> {
        let mut seen = BTreeSet::new();
        let mut wanted = VecDeque::from([revision.id.clone()]);
        while let Some(id) = wanted.pop_front().filter(|_| seen.len() < MAX_ANCESTORS) {
            let edges = lineage_edge::Entity::find().filter(lineage_edge::Column::RevisionId.eq(&id));
            for edge in edges.all(connection).await? {
                if !seen.insert(key(&edge.parent)) {
                    continue;
                }
                let Ok(name) = edge.parent.parse() else { continue };
                let Some(parent) = self.model_named(connection, &name).await? else { continue };
                if may_be_told(&parent, model)
                    && let Some(head) = main_head(connection, &parent.id).await?
                {
                    wanted.push_back(head.id);
                }
            }
        }
        Ok(seen)
    }
}

fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn shared_row(other: &ModelInfo, row: &shared_weights::Model, all: i64, declared: bool) -> SharedWeights {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    SharedWeights {
        model: other.name.to_string(),
        tensors: number(row.tensors),
        bytes: number(row.byte_length),
        percent: (number(row.byte_length).saturating_mul(100) / number(all).max(1)).min(100),
        identical: row.identical,
        declared,
    }
}
