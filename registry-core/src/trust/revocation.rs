//! Revocation lists: numbered, signed, carried here by hand where no network is.

use std::sync::Arc;

use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, QueryOrder, QuerySelect, Set};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::provenance::revocation::{self, SignedRevocationList};

use super::adopt::{TrustState, note};
use crate::access::Caller;
use crate::audit::{self, Event};
use crate::database::{begin, now_ms, rfc3339};
use crate::entity::revocation_list;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;

/// A list that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevocationListInfo {
    pub number: u64,
    /// Hex SHA-256 of the signed list.
    pub sha256: String,
    /// RFC 3339, by the list's own word.
    pub issued_at: String,
    pub issuer: String,
    pub entries: usize,
    /// RFC 3339.
    pub imported_at: String,
    pub imported_by: String,
    /// What the list before revoked and this one does not, or not as far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<String>,
}

impl Registry {
    /// The list in force, with the signature it came with checked again.
    pub(crate) async fn revocations_in(
        &self,
        connection: &impl ConnectionTrait,
    ) -> Result<Option<Arc<SignedRevocationList>>> {
        let newest = revocation_list::Entity::find().order_by_desc(revocation_list::Column::Number);
        let number = newest.clone().select_only().column(revocation_list::Column::Number);
        let Some(number) = number.into_tuple::<i64>().one(connection).await? else { return Ok(None) };
        if let Some(list) = self.trust_cache.revocations(u64::try_from(number).unwrap_or_default()) {
            return Ok(Some(list));
        }
        let Some(row) = newest.one(connection).await? else { return Ok(None) };
        let list = Arc::new(self.open_list(&row.bundle)?);
        self.trust_cache.keep_revocations(&list);
        Ok(Some(list))
    }

    /// The list in force.
    pub async fn revocation_list(&self) -> Result<Option<RevocationListInfo>> {
        let newest = revocation_list::Entity::find().order_by_desc(revocation_list::Column::Number);
        let Some(row) = newest.one(&self.db).await? else { return Ok(None) };
        let list = self.open_list(&row.bundle)?;
        Ok(Some(info(&list, &row, Vec::new())))
    }

    /// Takes a newer list. An older one, or another one of the same number, is refused: it would
    /// make revoked keys good again.
    pub async fn import_revocation_list(&self, caller: &Caller, bundle: &[u8]) -> Result<RevocationListInfo> {
        caller.require_site_admin()?;
        let list = self.open_list(bundle)?;
        let txn = begin(&self.db).await?;
        let newest = revocation_list::Entity::find().order_by_desc(revocation_list::Column::Number).one(&txn).await?;
        let sha256 = Sha256Digest::of(bundle).to_string();
        if let Some(row) = newest.as_ref().filter(|row| row.sha256 == sha256) {
            return Ok(info(&list, row, Vec::new()));
        }
        let withdrawn = match &newest {
            Some(row) => {
                let refused = |error: revocation::RevocationError| Error::invalid("list", error.to_string());
                revocation::check_successor(&self.open_list(&row.bundle)?, &list).map_err(refused)?
            }
            None => Vec::new(),
        };
        let number = list.list().number;
        let row = revocation_list::ActiveModel {
            number: Set(i64::try_from(number).map_err(|_| Error::invalid("number", "is too large"))?),
            sha256: Set(sha256.clone()),
            bundle: Set(bundle.to_vec()),
            imported_at: Set(now_ms()),
            imported_by: Set(caller.subject().to_owned()),
        };
        let row = row.insert(&txn).await?;
        let event = Event::new("trust.revocations_imported", caller.subject())
            .detail("number", number)
            .detail("sha256", sha256)
            .detail("entries", list.list().entries.len())
            .detail("withdrawn", withdrawn.len());
        audit::record(&txn, event).await?;
        note(&txn, TrustState::Revocations, list.digest()).await?;
        txn.commit().await?;
        Ok(info(&list, &row, withdrawn))
    }

    fn open_list(&self, bundle: &[u8]) -> Result<SignedRevocationList> {
        let keys = &self.settings.trust.revocation_keys;
        revocation::verify(bundle, keys).map_err(|error| Error::invalid("list", error.to_string()))
    }
}

fn info(list: &SignedRevocationList, row: &revocation_list::Model, withdrawn: Vec<String>) -> RevocationListInfo {
    RevocationListInfo {
        number: list.list().number,
        sha256: row.sha256.clone(),
        issued_at: list.list().issued_at.to_string(),
        issuer: list.list().issuer.clone(),
        entries: list.list().entries.len(),
        imported_at: rfc3339(row.imported_at),
        imported_by: row.imported_by.clone(),
        withdrawn,
    }
}
