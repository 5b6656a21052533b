//! The graph of models that a model was made from, and the way back down.

use std::collections::{BTreeSet, VecDeque};

use sea_orm::{ConnectionTrait, DatabaseTransaction, EntityTrait};
use verifier::evidence::{LicenseFacts, Relation};
use verifier::license::propagation::{Edge, Node};
use verifier::license::record::Standing;

use super::Basis;
use crate::access::Visibility;
use crate::database::sql;
use crate::entity::lineage_edge;
use crate::error::Result;
use crate::identity::ModelName;
use crate::job::{self, Work};
use crate::model::{ModelInfo, ModelKind};
use crate::registry::Registry;
use crate::revision::Revision;
use crate::trust::DECLARED;
use sea_orm::Set;
use sea_orm::sea_query::OnConflict;

/// Most models of one graph that are read; beyond it parents count as unknown.
const MAX_ANCESTORS: usize = 1000;
/// Most revisions that one change asks the gate about again.
const MAX_DESCENDANTS: usize = 1000;

/// A model of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Ancestor {
    pub(crate) node: Node,
    pub(crate) kind: ModelKind,
    /// When the first of the records that count for it ends.
    pub(crate) valid_until: Option<i64>,
}

impl Ancestor {
    /// The model under the name that its child writes.
    fn new(model: &ModelInfo, name: &str, basis: &Basis, standing: &Standing) -> Self {
        Self { node: basis.node(name, standing), kind: model.kind, valid_until: standing.valid_until }
    }
}

impl Registry {
    /// The target and everything it was made from that is known here. The target comes first; node
    /// ids are names as children write them.
    pub(crate) async fn lineage(
        &self,
        connection: &impl ConnectionTrait,
        model: &ModelInfo,
        own: (&Basis, &Standing),
        at: i64,
        people: usize,
    ) -> Result<Vec<Ancestor>> {
        let target = Ancestor::new(model, &model.name.to_string(), own.0, own.1);
        let mut seen: BTreeSet<String> = BTreeSet::from([target.node.id.clone()]);
        let mut wanted: VecDeque<String> = target.node.parents.iter().map(|edge| edge.parent.clone()).collect();
        let mut graph = vec![target];
        while let Some(name) = wanted.pop_front().filter(|_| graph.len() < MAX_ANCESTORS) {
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some((parent, basis)) = self.ancestor(connection, model, &name).await? else { continue };
            let ancestor = Ancestor::new(&parent, &name, &basis, &basis.standing(at, people));
            wanted.extend(ancestor.node.parents.iter().map(|edge| edge.parent.clone()));
            graph.push(ancestor);
        }
        Ok(graph)
    }

    /// The model of that name with the facts of its main branch. One that not everybody may see who
    /// sees the child is left out: findings would tell of it.
    async fn ancestor(
        &self,
        connection: &impl ConnectionTrait,
        child: &ModelInfo,
        name: &str,
    ) -> Result<Option<(ModelInfo, Basis)>> {
        let Ok(name) = name.parse::<ModelName>() else { return Ok(None) };
        let Some(parent) = self.model_named(connection, &name).await? else { return Ok(None) };
        if !may_be_told(&parent, child) {
            return Ok(None);
        }
        let Some(revision) = crate::revision::main_head(connection, &parent.id).await? else { return Ok(None) };
        let basis = self.license_basis(connection, &parent, &revision).await?;
        Ok(Some((parent, basis)))
    }
}

/// Whether everybody who sees the child may know of the parent. The readers of one namespace are not
/// those of another, so a private model is told of in its own alone.
pub(crate) fn may_be_told(parent: &ModelInfo, child: &ModelInfo) -> bool {
    let is_as_open = openness(parent.visibility) >= openness(child.visibility);
    parent.name.namespace == child.name.namespace || (parent.visibility != Visibility::Private && is_as_open)
}

/// How many people see it.
const fn openness(visibility: Visibility) -> u8 {
    match visibility {
        Visibility::Private => 0,
        Visibility::Internal => 1,
        Visibility::Public => 2,
    }
}

/// A model's parents: those of its files and those that people recorded or attested.
pub(super) fn edges<'e>(
    facts: Option<&LicenseFacts>,
    others: impl IntoIterator<Item = &'e (String, Relation)>,
) -> Vec<Edge> {
    let of_files = facts.into_iter().flat_map(|facts| &facts.lineage).map(|edge| (edge.parent.clone(), edge.relation));
    let mut all: Vec<(String, Relation)> = of_files.chain(others.into_iter().cloned()).collect();
    all.sort();
    all.dedup();
    all.into_iter().map(|(parent, relation)| Edge { parent, relation }).collect()
}

/// Remembers the parents that a revision's new license evidence names.
pub(crate) async fn project_edges(txn: &DatabaseTransaction, revision: &Revision, facts: &LicenseFacts) -> Result<()> {
    for edge in edges(Some(facts), &[]) {
        add_edge(txn, revision, &edge.parent, edge.relation).await?;
    }
    Ok(())
}

pub(super) async fn add_edge(
    txn: &DatabaseTransaction,
    revision: &Revision,
    parent: &str,
    relation: Relation,
) -> Result<()> {
    let row = lineage_edge::ActiveModel {
        revision_id: Set(revision.id.clone()),
        parent: Set(parent.to_owned()),
        relation: Set(relation.as_str().to_owned()),
        confidence: Set(DECLARED.to_owned()),
    };
    let known = OnConflict::new().do_nothing().to_owned();
    lineage_edge::Entity::insert(row).on_conflict(known).exec_without_returning(txn).await?;
    Ok(())
}

/// Asks the gate again for everything that was made from the model and has a decision, and for
/// `also`. All jobs are enqueued in the order of their revisions: two transactions that wait for
/// each other's rows in different orders would stop each other.
pub(crate) async fn redecide_descendants(
    txn: &DatabaseTransaction,
    model: &ModelInfo,
    also: Option<&Revision>,
) -> Result<()> {
    let mut revisions: BTreeSet<String> = also.map(|revision| revision.id.clone()).into_iter().collect();
    let mut seen = BTreeSet::from([model.name.to_string()]);
    let mut wanted = VecDeque::from([model.name.to_string()]);
    while let Some(parent) = wanted.pop_front().filter(|_| revisions.len() < MAX_DESCENDANTS) {
        for (revision, child) in children(txn, &parent).await? {
            revisions.insert(revision);
            if seen.insert(child.clone()) {
                wanted.push_back(child);
            }
        }
    }
    for revision in revisions.into_iter().take(MAX_DESCENDANTS) {
        job::enqueue(txn, &Work::Decide { revision }).await?;
    }
    Ok(())
}

/// Judged revisions that name the parent, each with its model's name.
async fn children(txn: &DatabaseTransaction, parent: &str) -> Result<Vec<(String, String)>> {
    let query = "SELECT DISTINCT r.id AS id, n.namespace AS namespace, n.name AS name FROM lineage_edge e \
                 JOIN revision r ON r.id = e.revision_id \
                 JOIN model_name n ON n.model_id = r.model_id AND n.valid_to IS NULL \
                 JOIN live_decision l ON l.model_id = r.model_id AND l.content_digest = r.content_digest \
                 WHERE e.parent = ? ORDER BY r.id LIMIT 1000";
    let rows = txn.query_all_raw(sql(txn, query, vec![parent.into()])).await?;
    let child = |row: &sea_orm::QueryResult| -> Result<(String, String)> {
        let (namespace, name): (String, String) = (row.try_get("", "namespace")?, row.try_get("", "name")?);
        Ok((row.try_get("", "id")?, format!("{namespace}/{name}")))
    };
    rows.iter().map(child).collect()
}
