//! Trust roots: those that are configured, and those that somebody carried here and confirmed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryOrder, QuerySelect, Set};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use verifier::provenance::{TrustMaterial, TrustRoot};

use super::adopt::{TrustState, note};
use crate::access::Caller;
use crate::audit::{self, Event};
use crate::database::{begin, now_ms, rfc3339};
use crate::entity::trust_root;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;

/// Largest document of a root, in bytes.
pub(crate) const MAX_ROOT_BYTES: usize = 1 << 20;
const DAY_MS: i64 = 86_400_000;

/// A root to be imported.
#[derive(Debug, Clone)]
pub struct NewTrustRoot {
    pub name: String,
    pub document: Vec<u8>,
    /// The digest that the operator confirms, learned over another way than the document.
    pub sha256: Sha256Digest,
    /// Forget what older documents of this name held, rather than add to it.
    pub replace: bool,
    /// A private sigstore instance that runs no transparency log.
    pub without_log: bool,
}

/// A trust root as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrustRootInfo {
    pub name: String,
    /// `sigstore` or `certificates`.
    pub kind: String,
    /// Hex SHA-256 of the document in force, which holds what older ones of the name held.
    pub sha256: String,
    /// Hex SHA-256 of the file that was imported last; none where the root is configured.
    pub imported_sha256: Option<String>,
    pub without_log: bool,
    /// RFC 3339; none where the root is configured.
    pub imported_at: Option<String>,
    pub imported_by: Option<String>,
    /// RFC 3339: when it was imported, else the newest start of a validity inside.
    pub as_of: Option<String>,
    pub age_days: Option<i64>,
    /// Whether it is older than the operator wants a root to be.
    pub aging: bool,
    /// How many documents of this name there were.
    pub versions: usize,
}

impl Registry {
    /// Keys and roots in force.
    pub(crate) async fn trust_material(&self, connection: &impl ConnectionTrait) -> Result<Arc<TrustMaterial>> {
        let newest: Option<String> = trust_root::Entity::find()
            .select_only()
            .column(trust_root::Column::Id)
            .order_by_desc(trust_root::Column::Id)
            .into_tuple()
            .one(connection)
            .await?;
        let newest = newest.unwrap_or_default();
        if let Some(material) = self.trust_cache.material(&newest) {
            return Ok(material);
        }
        let imported = current(connection).await?;
        let trust = &self.settings.trust;
        let mut roots = Vec::new();
        for row in imported.values() {
            roots.push(root_of(row)?);
        }
        let configured = trust.roots.iter().filter(|root| !imported.contains_key(root.name()));
        roots.extend(configured.cloned());
        let material = Arc::new(TrustMaterial { keys: trust.keys.clone(), roots });
        self.trust_cache.keep_material(newest, &material);
        Ok(material)
    }

    /// As of when each root is.
    pub(crate) async fn root_times(&self, connection: &impl ConnectionTrait) -> Result<BTreeMap<String, Timestamp>> {
        let roots = self.describe_roots(connection).await?;
        let time = |root: TrustRootInfo| Some((root.name, root.as_of?.parse().ok()?));
        Ok(roots.into_iter().filter_map(time).collect())
    }

    /// Every root that is in force, by name.
    pub async fn trust_roots(&self) -> Result<Vec<TrustRootInfo>> {
        self.describe_roots(&self.db).await
    }

    /// The documents are left where they are: this is asked with every decision.
    async fn describe_roots(&self, connection: &impl ConnectionTrait) -> Result<Vec<TrustRootInfo>> {
        let configured = self.settings.trust.roots.iter();
        let mut found: BTreeMap<String, TrustRootInfo> =
            configured.map(|root| (root.name().to_owned(), self.configured(root))).collect();
        let mut versions: BTreeMap<String, usize> = BTreeMap::new();
        for row in imported(connection).await? {
            let count = versions.entry(row.name.clone()).or_default();
            *count += 1;
            found.insert(row.name.clone(), self.imported(row, *count));
        }
        Ok(found.into_values().collect())
    }

    fn configured(&self, root: &TrustRoot) -> TrustRootInfo {
        let as_of = root.newest().and_then(|time| time.parse::<Timestamp>().ok()).map(Timestamp::as_millisecond);
        let age_days = as_of.map(age_days);
        TrustRootInfo {
            name: root.name().to_owned(),
            kind: root.kind().as_str().to_owned(),
            sha256: root.digest().to_owned(),
            imported_sha256: None,
            without_log: root.is_without_log(),
            imported_at: None,
            imported_by: None,
            as_of: as_of.map(rfc3339),
            age_days,
            aging: self.is_aging(age_days),
            versions: 1,
        }
    }

    fn imported(&self, row: RootRow, versions: usize) -> TrustRootInfo {
        let (imported_at, age_days) = (rfc3339(row.imported_at), Some(age_days(row.imported_at)));
        TrustRootInfo {
            name: row.name,
            kind: row.kind,
            sha256: row.sha256,
            imported_sha256: Some(row.imported_sha256),
            without_log: row.without_log,
            imported_at: Some(imported_at.clone()),
            imported_by: Some(row.imported_by),
            as_of: Some(imported_at),
            age_days,
            aging: self.is_aging(age_days),
            versions,
        }
    }

    fn is_aging(&self, age_days: Option<i64>) -> bool {
        age_days.is_some_and(|age| age > i64::from(self.settings.trust.root_age_warning_days))
    }

    /// Takes a root whose digest an operator confirms. What older documents of the name held stays
    /// in force, because old signatures were made under it; only `replace` lets go of it.
    pub async fn import_trust_root(&self, caller: &Caller, new: NewTrustRoot) -> Result<TrustRootInfo> {
        caller.require_site_admin()?;
        let received = Sha256Digest::of(&new.document);
        if received != new.sha256 {
            let reason =
                format!("is {received}, and {} was confirmed: the document is not the expected one", new.sha256);
            return Err(Error::invalid("sha256", reason));
        }
        if new.document.len() > MAX_ROOT_BYTES {
            return Err(Error::TooLarge { what: "the trust root".into(), limit: MAX_ROOT_BYTES as u64 });
        }
        let txn = begin(&self.db).await?;
        let before = current(&txn).await?.remove(&new.name);
        let root = self.merged(&new, before.as_ref())?;
        let row = trust_root::ActiveModel {
            id: Set(Uuid::now_v7().to_string()),
            name: Set(new.name.clone()),
            kind: Set(root.kind().as_str().to_owned()),
            sha256: Set(root.digest().to_owned()),
            imported_sha256: Set(received.to_string()),
            document: Set(root.document().to_vec()),
            without_log: Set(new.without_log),
            imported_at: Set(now_ms()),
            imported_by: Set(caller.subject().to_owned()),
        };
        row.insert(&txn).await?;
        let event = Event::new("trust.root_imported", caller.subject())
            .detail("root", new.name.as_str())
            .detail("sha256", root.digest())
            .detail("imported_sha256", received.as_str())
            .detail("replaced", new.replace);
        audit::record(&txn, event).await?;
        let material = self.trust_material(&txn).await?;
        note(&txn, TrustState::Material, &material.digest()).await?;
        txn.commit().await?;
        let described = self.trust_roots().await?.into_iter().find(|known| known.name == new.name);
        described.ok_or_else(|| Error::Internal("a trust root is stored and not found".into()))
    }

    fn merged(&self, new: &NewTrustRoot, before: Option<&trust_root::Model>) -> Result<TrustRoot> {
        let unusable = |error: verifier::provenance::RootError| Error::invalid("document", error.to_string());
        let configured = self.settings.trust.roots.iter().find(|root| root.name() == new.name);
        let older = match before {
            Some(row) => Some(root_of(row)?),
            None => configured.cloned(),
        };
        let root = match older.filter(|_| !new.replace) {
            Some(older) => older.merged(&new.document).map_err(unusable)?,
            None => TrustRoot::parse(&new.name, &new.document).map_err(unusable)?,
        };
        Ok(if new.without_log { root.without_log() } else { root })
    }
}

/// An imported root without its document.
#[derive(Debug, FromQueryResult)]
struct RootRow {
    name: String,
    kind: String,
    sha256: String,
    imported_sha256: String,
    without_log: bool,
    imported_at: i64,
    imported_by: String,
}

/// Every import, the oldest first.
async fn imported(connection: &impl ConnectionTrait) -> Result<Vec<RootRow>> {
    use trust_root::Column::{Id, ImportedAt, ImportedBy, ImportedSha256, Kind, Name, Sha256, WithoutLog};
    let columns = [Name, Kind, Sha256, ImportedSha256, WithoutLog, ImportedAt, ImportedBy];
    let query = trust_root::Entity::find().select_only().columns(columns).order_by_asc(Id);
    Ok(query.into_model().all(connection).await?)
}

fn age_days(since: i64) -> i64 {
    (now_ms() - since).max(0) / DAY_MS
}

/// The newest document of each name.
async fn current(connection: &impl ConnectionTrait) -> Result<BTreeMap<String, trust_root::Model>> {
    let rows = trust_root::Entity::find().order_by_asc(trust_root::Column::Id).all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect())
}

fn root_of(row: &trust_root::Model) -> Result<TrustRoot> {
    let root = TrustRoot::parse(&row.name, &row.document).map_err(|error| Error::Corrupt(error.to_string()))?;
    Ok(if row.without_log { root.without_log() } else { root })
}
