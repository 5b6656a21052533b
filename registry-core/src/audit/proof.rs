//! What the log proves to third parties: places, growth, tiles and its keys.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;
use verifier::provenance::transparency::proof::ConsistencyProof;
use verifier::provenance::transparency::trusted_root::log_entry;
use verifier::provenance::transparency::{self, InclusionProof, LogKey, Tile, trusted_root};

use super::{STATEMENT_SIGNED, tree};
use crate::access::{Caller, Role};
use crate::database::rfc3339;
use crate::entity::{audit_checkpoint, audit_event, audit_leaf};
use crate::error::{Error, Result};
use crate::keys::{self, KeyInfo, KeyPurpose};
use crate::registry::Registry;

/// A leaf's place under the newest head.
struct Place {
    index: u64,
    body: String,
    kind: String,
    head: audit_checkpoint::Model,
}

impl Registry {
    /// The proof that an event is in the log, for its keeper. An event that is not sequenced yet
    /// has none.
    pub async fn log_proof(&self, event_id: &str) -> Result<InclusionProof> {
        let place = self.place(event_id).await?;
        let place = place.ok_or_else(|| Error::NotFound(format!("event {event_id}, or its place in the log yet,")))?;
        let hashes = tree::inclusion(&self.db, place.index, size_of(&place.head)?).await?;
        Ok(InclusionProof { index: place.index, hashes, checkpoint: place.head.note })
    }

    /// The element of a sigstore bundle's `tlogEntries` for a signed statement; `None` until it is
    /// sequenced, and for every other event.
    pub async fn log_entry(&self, event_id: &str) -> Result<Option<Value>> {
        let Some(place) = self.place(event_id).await?.filter(|place| place.kind == STATEMENT_SIGNED) else {
            return Ok(None);
        };
        let keys = self.log_keys().await?;
        let opened = keys.iter().find_map(|key| {
            let head = transparency::Checkpoint::open(&place.head.note, &key.verifier).ok()?;
            Some((head, &key.verifier))
        });
        let Some((head, verifier)) = opened else {
            return Err(Error::Corrupt("the newest checkpoint is not signed by a key of this log".into()));
        };
        let hashes = tree::inclusion(&self.db, place.index, head.size).await?;
        let signed = (&head, place.head.note.as_str());
        Ok(Some(log_entry(&place.body, place.index, &hashes, signed, verifier)))
    }

    /// The proof that the log of `to` leaves, by default the newest, still begins with its first
    /// `from`.
    pub async fn log_consistency(&self, from: u64, to: Option<u64>) -> Result<ConsistencyProof> {
        let head = match to {
            Some(size) => self.checkpoint_of(size).await?,
            None => self.newest().await?,
        };
        let head = head.ok_or_else(|| Error::NotFound("a checkpoint of this size".into()))?;
        let size = size_of(&head)?;
        let hashes = tree::consistency(&self.db, from, size).await?;
        Ok(ConsistencyProof {
            from,
            to: size,
            hashes: hashes.iter().map(|hash| STANDARD.encode(hash)).collect(),
            from_checkpoint: self.checkpoint_of(from).await?.map(|row| row.note),
            to_checkpoint: head.note,
        })
    }

    /// The bytes of a tile under the newest head.
    pub async fn log_tile(&self, tile: Tile) -> Result<Vec<u8>> {
        self.require_tile(tile).await?;
        Ok(tree::hashes(&self.db, tile).await?.concat())
    }

    /// The leaves of a tile of level 0, each behind its length. They say who did what, so they are
    /// for site administrators.
    pub async fn log_entries(&self, caller: &Caller, tile: Tile) -> Result<Vec<u8>> {
        caller.require_site_admin()?;
        self.require_tile(tile).await?;
        let (first, end) = tree::range(tile)?;
        let leaves = audit_leaf::Entity::find()
            .filter(audit_leaf::Column::LeafIndex.gte(first))
            .filter(audit_leaf::Column::LeafIndex.lt(end))
            .order_by_asc(audit_leaf::Column::LeafIndex);
        let leaves = leaves.all(&self.db).await?;
        let ids = leaves.iter().map(|leaf| leaf.event_id.as_str());
        let events = audit_event::Entity::find().filter(audit_event::Column::Id.is_in(ids)).all(&self.db).await?;
        let bodies: HashMap<_, _> = events.into_iter().map(|event| (event.id, event.body)).collect();
        let mut bundle = Vec::new();
        for leaf in &leaves {
            let missing = || Error::Corrupt(format!("leaf {} has no event", leaf.leaf_index));
            let body = bodies.get(&leaf.event_id).ok_or_else(missing)?;
            let length = u16::try_from(body.len());
            let length = length.map_err(|_| Error::Corrupt(format!("leaf {} is too long", leaf.leaf_index)))?;
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend_from_slice(body.as_bytes());
        }
        Ok(bundle)
    }

    /// The leaf of an event, byte for byte: for maintainers of the model that it is about, and for
    /// site administrators.
    pub async fn audit_leaf(&self, caller: &Caller, event_id: &str) -> Result<String> {
        let unknown = || Error::NotFound(format!("event {event_id}"));
        let event = audit_event::Entity::find_by_id(event_id).one(&self.db).await?.ok_or_else(unknown)?;
        if caller.require_site_admin().is_err() {
            let model = self.model_by_id(event.model_id.as_deref().ok_or_else(unknown)?).await?;
            caller.require(&model.name.namespace, Role::Maintainer).map_err(|_| unknown())?;
        }
        Ok(event.body)
    }

    /// The `trusted_root.json` with which stock sigstore verifiers check what is in this log.
    pub async fn log_trusted_root(&self) -> Result<Value> {
        Ok(trusted_root(&self.log_keys().await?))
    }

    /// Every key of the registry, oldest first of each purpose.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>> {
        keys::history(&self.db).await
    }

    /// Every key that signed heads of the log, oldest first.
    pub(super) async fn log_keys(&self) -> Result<Vec<LogKey>> {
        let keys = self.keys().await?.into_iter().filter(|key| key.purpose == KeyPurpose::Checkpoint);
        keys.map(|key| {
            let verifier = key.note_verifier()?;
            let valid_to = key.valid_to.map(rfc3339);
            Ok(LogKey { verifier, valid_from: rfc3339(key.valid_from), valid_to })
        })
        .collect()
    }

    async fn place(&self, event_id: &str) -> Result<Option<Place>> {
        // The head first: the leaf is then under it, or not yet in the log.
        let Some(head) = self.newest().await? else { return Ok(None) };
        let leaf = audit_leaf::Entity::find().filter(audit_leaf::Column::EventId.eq(event_id)).one(&self.db).await?;
        let Some(leaf) = leaf.filter(|leaf| leaf.leaf_index < head.tree_size) else { return Ok(None) };
        let event = audit_event::Entity::find_by_id(event_id).one(&self.db).await?;
        let event = event.ok_or_else(|| Error::Corrupt(format!("leaf {} has no event", leaf.leaf_index)))?;
        let index = u64::try_from(leaf.leaf_index).map_err(|_| Error::Corrupt("a leaf before the first".into()))?;
        Ok(Some(Place { index, body: event.body, kind: event.kind, head }))
    }

    async fn require_tile(&self, tile: Tile) -> Result<()> {
        let size = self.newest().await?.map_or(Ok(0), |head| size_of(&head))?;
        if tile.is_in(size) { Ok(()) } else { Err(Error::NotFound(format!("tile {}/{}", tile.level, tile.path()))) }
    }

    async fn newest(&self) -> Result<Option<audit_checkpoint::Model>> {
        let newest = audit_checkpoint::Entity::find().order_by_desc(audit_checkpoint::Column::TreeSize).limit(1);
        Ok(newest.one(&self.db).await?)
    }

    async fn checkpoint_of(&self, size: u64) -> Result<Option<audit_checkpoint::Model>> {
        let Ok(size) = i64::try_from(size) else { return Ok(None) };
        Ok(audit_checkpoint::Entity::find_by_id(size).one(&self.db).await?)
    }
}

fn size_of(head: &audit_checkpoint::Model) -> Result<u64> {
    u64::try_from(head.tree_size).map_err(|_| Error::Corrupt("negative size of the log".into()))
}
