//! The tree in the database: the hashes that proofs and tiles look up.
//!
//! Of every 256 hashes of a level one of the level above is stored, so a proof reads a few runs
//! of 256 rows whatever the log's size, and the table is small beside the leaves.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, Set,
};
use verifier::provenance::transparency::merkle::{self, Hash, Node, ProofError};
use verifier::provenance::transparency::{Tile, tile};

use crate::database::begin;
use crate::entity::{audit_checkpoint, audit_leaf, audit_node};
use crate::error::{Error, Result};

/// Tile levels that a log of `2^63` leaves has above its leaves.
const LEVELS: u8 = 7;

/// The proof that leaf `index` is in the tree of the first `size` leaves.
pub(super) async fn inclusion(connection: &impl ConnectionTrait, index: u64, size: u64) -> Result<Vec<Hash>> {
    let wanted = noted(|note| merkle::inclusion_proof(index, size, note))?;
    let nodes = subtrees(connection, &wanted, size).await?;
    proven(merkle::inclusion_proof(index, size, |node| nodes.get(&node).copied().ok_or(node)))
}

/// The proof that the tree of `from` leaves is the beginning of the tree of `to`.
pub(super) async fn consistency(connection: &impl ConnectionTrait, from: u64, to: u64) -> Result<Vec<Hash>> {
    let wanted = noted(|note| merkle::consistency_proof(from, to, note))?;
    let nodes = subtrees(connection, &wanted, to).await?;
    proven(merkle::consistency_proof(from, to, |node| nodes.get(&node).copied().ok_or(node)))
}

type Lookup<'a> = &'a mut dyn FnMut(Node) -> Result<Hash, Node>;

/// Which subtrees a proof looks up: the proof itself cannot wait for a database.
fn noted(prove: impl FnOnce(Lookup<'_>) -> Result<Vec<Hash>, ProofError<Node>>) -> Result<BTreeSet<Node>> {
    let mut wanted = BTreeSet::new();
    let mut note = |node| {
        wanted.insert(node);
        Ok(Hash::default())
    };
    proven(prove(&mut note))?;
    Ok(wanted)
}

fn proven(proof: Result<Vec<Hash>, ProofError<Node>>) -> Result<Vec<Hash>> {
    proof.map_err(|error| match error {
        ProofError::Lookup(node) => Error::Corrupt(format!("node {} of level {} is missing", node.index, node.level)),
        outside => Error::invalid("the size", outside.to_string()),
    })
}

/// The roots of complete subtrees, each from the tile below it.
async fn subtrees(
    connection: &impl ConnectionTrait,
    wanted: &BTreeSet<Node>,
    size: u64,
) -> Result<BTreeMap<Node, Hash>> {
    let mut tiles: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for node in wanted {
        let (level, index, first, count) = Tile::under(*node);
        let tile = match tiles.entry((level, index)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let whole = Tile::clamped(level, index, size);
                let whole = whole.ok_or_else(|| Error::Corrupt(format!("the tree has no tile {level}/{index}")))?;
                unknown.insert(hashes(connection, whole).await?)
            }
        };
        found.extend(tile.get(first..first + count).map(|below| (*node, merkle::root(below))));
    }
    Ok(found)
}

/// The hashes of a tile, all of them or an error.
pub(super) async fn hashes(connection: &impl ConnectionTrait, tile: Tile) -> Result<Vec<Hash>> {
    let (first, end) = range(tile)?;
    let rows: Vec<(i64, String)> = if tile.level == 0 {
        let leaves = audit_leaf::Entity::find()
            .filter(audit_leaf::Column::LeafIndex.gte(first))
            .filter(audit_leaf::Column::LeafIndex.lt(end))
            .order_by_asc(audit_leaf::Column::LeafIndex);
        leaves.all(connection).await?.into_iter().map(|leaf| (leaf.leaf_index, leaf.leaf_hash)).collect()
    } else {
        let nodes = audit_node::Entity::find()
            .filter(audit_node::Column::Level.eq(i32::from(tile.level)))
            .filter(audit_node::Column::NodeIndex.gte(first))
            .filter(audit_node::Column::NodeIndex.lt(end))
            .order_by_asc(audit_node::Column::NodeIndex);
        nodes.all(connection).await?.into_iter().map(|node| (node.node_index, node.hash)).collect()
    };
    let parsed = (first..end).zip(rows).map_while(|(index, (stored, hash))| (index == stored).then(|| parse(&hash))?);
    let parsed: Vec<Hash> = parsed.collect();
    if parsed.len() as u64 == tile.width {
        Ok(parsed)
    } else {
        Err(Error::Corrupt(format!("hashes of the log's tile {}/{} are missing", tile.level, tile.path())))
    }
}

/// First place and the one behind the last of a tile's rows.
pub(super) fn range(tile: Tile) -> Result<(i64, i64)> {
    let place = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    let first = tile.index.checked_mul(tile::WIDTH);
    let end = first.and_then(|first| first.checked_add(tile.width));
    place(first).zip(place(end)).ok_or_else(|| Error::NotFound("this tile".into()))
}

pub(super) fn parse(hash: &str) -> Option<Hash> {
    let mut bytes = Hash::default();
    hex::decode_to_slice(hash, &mut bytes).ok()?;
    Some(bytes)
}

/// Stores what became complete in a tree of `size` leaves, and what a release that did not yet
/// store it left out. A hole in the leaves is for the verification to report, so it stops nobody.
pub(super) async fn complete(txn: &DatabaseTransaction, size: u64) -> Result<()> {
    for level in 1..=LEVELS {
        let complete = size >> (8 * u32::from(level));
        for index in stored(txn, level).await?..complete {
            match hashes(txn, Tile { level: level - 1, index, width: tile::WIDTH }).await {
                Ok(below) => store(txn, level, index, &merkle::root(&below)).await?,
                Err(Error::Corrupt(what)) => {
                    tracing::error!(what, "the audit log cannot prove what lies behind a hole in it");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if complete == 0 {
            break;
        }
    }
    Ok(())
}

/// The same for a log that this process did not write.
pub(crate) async fn complete_stored(db: &DatabaseConnection) -> Result<()> {
    let newest = audit_checkpoint::Entity::find().order_by_desc(audit_checkpoint::Column::TreeSize).one(db).await?;
    let size = newest.and_then(|row| u64::try_from(row.tree_size).ok()).unwrap_or_default();
    if stored(db, 1).await? < size / tile::WIDTH {
        let txn = begin(db).await?;
        complete(&txn, size).await?;
        txn.commit().await?;
    }
    Ok(())
}

/// How many hashes of a level are stored.
async fn stored(connection: &impl ConnectionTrait, level: u8) -> Result<u64> {
    let last = audit_node::Entity::find()
        .filter(audit_node::Column::Level.eq(i32::from(level)))
        .order_by_desc(audit_node::Column::NodeIndex)
        .one(connection)
        .await?;
    Ok(last.and_then(|row| u64::try_from(row.node_index).ok()).map_or(0, |index| index + 1))
}

async fn store(txn: &DatabaseTransaction, level: u8, index: u64, hash: &Hash) -> Result<()> {
    let row = audit_node::ActiveModel {
        level: Set(i32::from(level)),
        node_index: Set(i64::try_from(index).map_err(|_| Error::Corrupt("the log is too long".into()))?),
        hash: Set(hex::encode(hash)),
    };
    let nothing =
        OnConflict::columns([audit_node::Column::Level, audit_node::Column::NodeIndex]).do_nothing().to_owned();
    audit_node::Entity::insert(row).on_conflict(nothing).exec_without_returning(txn).await?;
    Ok(())
}
