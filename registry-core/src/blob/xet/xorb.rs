//! Xorbs: arriving, owned, swept.
//!
//! A namespace has a right to a xorb when it has sent its bytes. "Exists" is answered only
//! under such a right; otherwise the bytes are received, verified and dropped if they are
//! stored already.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Set,
};

use super::super::staging::discard;
use super::super::store::BlobStore;
use super::chunk::{ChunkIndex, MAX_XORB_BYTES};
use super::intake::Intake;
use super::sink::Sink;
use super::{Malformed, XetHash};
use crate::access::{Caller, Role};
use crate::database::{begin, now_ms, sql};
use crate::entity::{xorb, xorb_grant, xorb_staging};
use crate::error::{Error, Result};
use crate::registry::Registry;

/// Xorbs named in one statement.
pub(super) const LOOKUP_ROWS: usize = 500;
/// Most objects or xorbs removed in one sweep.
const SWEEP_BATCH: u64 = 100;

impl Registry {
    /// Stores a xorb for `namespace` from its serialized chunks. Returns whether the namespace
    /// has it for the first time. Nothing stays of a xorb that is not what its hash says.
    pub async fn put_xorb<S>(&self, caller: &Caller, namespace: &str, hash: XetHash, body: S) -> Result<bool>
    where
        S: Stream<Item = std::io::Result<Bytes>>,
    {
        if self.has_xorb(caller, namespace, hash).await? {
            drain(body).await?;
            return Ok(false);
        }
        let storage_key = self.stage_xorb().await?;
        let outcome = match self.receive_xorb(&storage_key, hash, body).await {
            Ok(index) => self.record_xorb(namespace, hash, &storage_key, &index).await,
            Err(error) => Err(error),
        };
        if !matches!(outcome, Ok(true)) {
            // Not the xorb, or another upload of it came first.
            self.drop_staged(&storage_key).await?;
        }
        outcome.map(|_| true)
    }

    /// Whether the namespace has sent this xorb before; if so, its time begins again.
    pub async fn has_xorb(&self, caller: &Caller, namespace: &str, hash: XetHash) -> Result<bool> {
        caller.require_writer(namespace)?;
        let key = (hash.to_string(), namespace.to_owned());
        if xorb_grant::Entity::find_by_id(key).one(&self.db).await?.is_none() {
            return Ok(false);
        }
        let update = "UPDATE xorb SET last_used = ? WHERE hash = ?";
        let values = vec![now_ms().into(), hash.to_string().into()];
        Ok(self.db.execute_raw(sql(&self.db, update, values)).await?.rows_affected() == 1)
    }

    /// The row is written before the first byte, so the sweeper finds whatever follows.
    async fn stage_xorb(&self) -> Result<String> {
        let storage_key = BlobStore::new_key();
        let row = xorb_staging::ActiveModel {
            storage_key: Set(storage_key.clone()),
            multipart_id: Set(None),
            expires_at: Set(now_ms() + self.settings.upload_session_ttl_ms),
        };
        xorb_staging::Entity::insert(row).exec_without_returning(&self.db).await?;
        Ok(storage_key)
    }

    async fn receive_xorb<S>(&self, storage_key: &str, hash: XetHash, body: S) -> Result<ChunkIndex>
    where
        S: Stream<Item = std::io::Result<Bytes>>,
    {
        let malformed = |error: Malformed| error.of(format_args!("xorb {hash}"));
        let mut sink = Sink::open(&self.blobs, storage_key).await?;
        let (mut intake, mut body) = (Intake::default(), pin!(body));
        let mut received = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| interrupted())?;
            received = bounded(received, &piece)?;
            if let Some(chunks) = intake.push(&piece).await.map_err(malformed)?
                && let Some(multipart_id) = sink.write(chunks).await?
            {
                self.note_multipart(storage_key, multipart_id).await?;
            }
        }
        let (last, index) = intake.finish(hash).await.map_err(malformed)?;
        sink.write(last).await?;
        sink.finish().await?;
        Ok(index)
    }

    async fn note_multipart(&self, storage_key: &str, multipart_id: String) -> Result<()> {
        let update = "UPDATE xorb_staging SET multipart_id = ? WHERE storage_key = ?";
        let values = vec![multipart_id.into(), storage_key.into()];
        self.db.execute_raw(sql(&self.db, update, values)).await?;
        Ok(())
    }

    /// The xorb and the namespace's right to it, in one transaction. Returns whether the
    /// received object is the xorb's.
    async fn record_xorb(&self, namespace: &str, hash: XetHash, storage_key: &str, index: &ChunkIndex) -> Result<bool> {
        let txn = begin(&self.db).await?;
        let kept = insert_xorb(&txn, hash, storage_key, index).await?;
        grant_xorbs(&txn, namespace, &[hash]).await?;
        let ended = if kept {
            xorb_staging::Entity::delete_by_id(storage_key).exec(&txn).await?.rows_affected
        } else {
            expire_staged(&txn, storage_key).await?
        };
        if ended != 1 {
            // The sweeper took the object of an upload that lasted too long.
            return Err(Error::UploadBusy);
        }
        txn.commit().await?;
        Ok(kept)
    }

    async fn drop_staged(&self, storage_key: &str) -> Result<()> {
        match xorb_staging::Entity::find_by_id(storage_key).one(&self.db).await? {
            Some(staged) => self.discard_staged(&staged).await,
            None => Ok(()),
        }
    }

    async fn discard_staged(&self, staged: &xorb_staging::Model) -> Result<()> {
        discard(&self.blobs, &staged.storage_key, staged.multipart_id.as_ref()).await?;
        xorb_staging::Entity::delete_by_id(&staged.storage_key).exec(&self.db).await?;
        Ok(())
    }

    /// Fails for the first of the xorbs that the caller may not use in `namespace`: that does
    /// not exist, or that neither this namespace nor another one in which the caller may write
    /// has sent. The answer is the same in both cases.
    pub(super) async fn require_xorbs(
        &self,
        caller: &Caller,
        namespace: &str,
        hashes: &HashSet<XetHash>,
    ) -> Result<()> {
        let hashes: Vec<XetHash> = hashes.iter().copied().collect();
        for hashes in hashes.chunks(LOOKUP_ROWS) {
            let names = hashes.iter().map(ToString::to_string);
            let granted =
                xorb_grant::Entity::find().filter(xorb_grant::Column::Xorb.is_in(names)).all(&self.db).await?;
            let usable: HashSet<String> = granted
                .into_iter()
                .filter(|grant| grant.namespace == namespace || may_write(caller, &grant.namespace))
                .map(|grant| grant.xorb)
                .collect();
            if let Some(missing) = hashes.iter().find(|hash| !usable.contains(&hash.to_string())) {
                return Err(Error::XorbMissing(missing.to_string()));
            }
        }
        Ok(())
    }

    /// Where the object of each xorb lies.
    pub(super) async fn xorb_keys(&self, hashes: &HashSet<XetHash>) -> Result<HashMap<XetHash, String>> {
        #[derive(FromQueryResult)]
        struct Row {
            hash: String,
            storage_key: String,
        }
        let mut keys = HashMap::new();
        let hashes: Vec<XetHash> = hashes.iter().copied().collect();
        for hashes in hashes.chunks(LOOKUP_ROWS) {
            let rows = xorb::Entity::find()
                .select_only()
                .columns([xorb::Column::Hash, xorb::Column::StorageKey])
                .filter(xorb::Column::Hash.is_in(hashes.iter().map(ToString::to_string)))
                .into_model::<Row>()
                .all(&self.db)
                .await?;
            for row in rows {
                keys.insert(row.hash.parse()?, row.storage_key);
            }
        }
        Ok(keys)
    }

    /// Removes the objects of uploads that ended on the way, and xorbs that no blob refers to
    /// and that no one has used for long. Returns how many objects went and how many failed.
    pub(in crate::blob) async fn sweep_xorbs(&self) -> Result<(u64, u64)> {
        self.retire_idle_xorbs().await?;
        let expired = xorb_staging::Entity::find()
            .filter(xorb_staging::Column::ExpiresAt.lte(now_ms()))
            .limit(SWEEP_BATCH)
            .all(&self.db)
            .await?;
        let (mut removed, mut failed) = (0, 0);
        for staged in expired {
            match self.discard_staged(&staged).await {
                Ok(()) => removed += 1,
                Err(error) => {
                    tracing::warn!(key = staged.storage_key, %error, "the object of a xorb could not be removed");
                    failed += 1;
                }
            }
        }
        Ok((removed, failed))
    }

    async fn retire_idle_xorbs(&self) -> Result<()> {
        let idle_since = now_ms() - self.settings.xet_xorb_grace_ms;
        let unreferenced = sea_orm::sea_query::Expr::cust("NOT EXISTS (SELECT 1 FROM blob_term t WHERE t.xorb = hash)");
        let idle = xorb::Entity::find()
            .select_only()
            .column(xorb::Column::Hash)
            .filter(xorb::Column::LastUsed.lte(idle_since))
            .filter(unreferenced)
            .order_by_asc(xorb::Column::LastUsed)
            .limit(SWEEP_BATCH)
            .into_tuple::<String>()
            .all(&self.db)
            .await?;
        for hash in idle {
            let txn = begin(&self.db).await?;
            retire(&txn, &hash, idle_since).await?;
            txn.commit().await?;
        }
        Ok(())
    }
}

fn may_write(caller: &Caller, namespace: &str) -> bool {
    caller.role_in(namespace).is_some_and(|role| role >= Role::Writer)
}

/// Reads a body that nobody needs to its end.
async fn drain(body: impl Stream<Item = std::io::Result<Bytes>>) -> Result<()> {
    let (mut body, mut received) = (pin!(body), 0);
    while let Some(piece) = body.next().await {
        received = bounded(received, &piece.map_err(|_| interrupted())?)?;
    }
    Ok(())
}

fn interrupted() -> Error {
    Error::invalid("the xorb", "its body ended early")
}

fn bounded(received: u64, piece: &Bytes) -> Result<u64> {
    let received = received + piece.len() as u64;
    if received > MAX_XORB_BYTES {
        return Err(Error::TooLarge { what: "the xorb".into(), limit: MAX_XORB_BYTES });
    }
    Ok(received)
}

/// Inserts the xorb, or locks the one that is there. Returns whether it was inserted.
async fn insert_xorb(txn: &DatabaseTransaction, hash: XetHash, storage_key: &str, index: &ChunkIndex) -> Result<bool> {
    let insert = "INSERT INTO xorb (hash, storage_key, size, chunks, created_at, last_used) VALUES (?, ?, ?, ?, ?, ?) \
                  ON CONFLICT (hash) DO UPDATE SET last_used = excluded.last_used RETURNING storage_key";
    let size = i64::try_from(index.object_bytes()).map_err(|_| Error::Internal("a xorb of absurd size".into()))?;
    let now = now_ms();
    let values =
        vec![hash.to_string().into(), storage_key.into(), size.into(), index.to_bytes().into(), now.into(), now.into()];
    let row = txn.query_one_raw(sql(txn, insert, values)).await?;
    let row = row.ok_or_else(|| Error::Internal("an inserted xorb was not returned".into()))?;
    Ok(row.try_get_by_index::<String>(0)? == storage_key)
}

/// Gives the namespace the right to xorbs that exist; a right that it has stays as it is.
pub(super) async fn grant_xorbs(txn: &DatabaseTransaction, namespace: &str, hashes: &[XetHash]) -> Result<()> {
    for hashes in hashes.chunks(LOOKUP_ROWS) {
        let grants = hashes.iter().map(|hash| xorb_grant::ActiveModel {
            xorb: Set(hash.to_string()),
            namespace: Set(namespace.to_owned()),
            granted_at: Set(now_ms()),
        });
        let conflict =
            sea_orm::sea_query::OnConflict::columns([xorb_grant::Column::Xorb, xorb_grant::Column::Namespace])
                .do_nothing()
                .to_owned();
        xorb_grant::Entity::insert_many(grants).on_conflict(conflict).exec_without_returning(txn).await?;
    }
    Ok(())
}

/// Begins the xorbs' time again and keeps the sweeper off until the transaction ends. Fails if
/// one of them is gone.
pub(super) async fn use_xorbs(connection: &impl ConnectionTrait, hashes: &[XetHash]) -> Result<()> {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    for hashes in sorted.chunks(LOOKUP_ROWS) {
        let marks = vec!["?"; hashes.len()].join(", ");
        let update = format!("UPDATE xorb SET last_used = ? WHERE hash IN ({marks})");
        let mut values = vec![now_ms().into()];
        values.extend(hashes.iter().map(|hash| hash.to_string().into()));
        let used = connection.execute_raw(sql(connection, &update, values)).await?.rows_affected();
        if used != hashes.len() as u64 {
            return Err(missing_of(connection, hashes).await?);
        }
    }
    Ok(())
}

/// Names a xorb that is gone.
async fn missing_of(connection: &impl ConnectionTrait, hashes: &[XetHash]) -> Result<Error> {
    for hash in hashes {
        if xorb::Entity::find_by_id(hash.to_string()).count(connection).await? == 0 {
            return Ok(Error::XorbMissing(hash.to_string()));
        }
    }
    Ok(Error::UploadBusy)
}

/// Lets the next sweep take the object.
async fn expire_staged(txn: &DatabaseTransaction, storage_key: &str) -> Result<u64> {
    let update = "UPDATE xorb_staging SET expires_at = ? WHERE storage_key = ?";
    Ok(txn.execute_raw(sql(txn, update, vec![now_ms().into(), storage_key.into()])).await?.rows_affected())
}

/// Ends a xorb if it is still idle: from here on it is missing, and its object is waste.
async fn retire(txn: &DatabaseTransaction, hash: &str, idle_since: i64) -> Result<()> {
    // The update locks the row; a shard that uses the xorb either came before and has moved
    // `last_used`, or finds it gone.
    let lock = "UPDATE xorb SET last_used = last_used WHERE hash = ? AND last_used <= ? \
                AND NOT EXISTS (SELECT 1 FROM blob_term t WHERE t.xorb = xorb.hash) RETURNING storage_key";
    let Some(row) = txn.query_one_raw(sql(txn, lock, vec![hash.into(), idle_since.into()])).await? else {
        return Ok(());
    };
    let storage_key: String = row.try_get_by_index(0)?;
    xorb_grant::Entity::delete_many().filter(xorb_grant::Column::Xorb.eq(hash)).exec(txn).await?;
    xorb::Entity::delete_by_id(hash).exec(txn).await?;
    let waste =
        xorb_staging::ActiveModel { storage_key: Set(storage_key), multipart_id: Set(None), expires_at: Set(now_ms()) };
    xorb_staging::Entity::insert(waste).exec_without_returning(txn).await?;
    Ok(())
}
