//! What people recorded about a model's licenses.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use verifier::license::openness::is_component;
use verifier::license::record::{Body, Record};
use verifier::license::{is_expression, openness::DataInformation};

use super::lineage;
use crate::access::{Caller, Role};
use crate::audit::{self, Event};
use crate::database::{begin, now_ms, rfc3339};
use crate::entity::license_record;
use crate::error::{Error, Result};
use crate::identity::{ModelName, Sha256Digest};
use crate::model::{ModelInfo, lock_model};
use crate::registry::Registry;
use crate::revision::Revision;

/// Most records of one model that count or counted.
pub(crate) const MAX_RECORDS: u64 = 5000;
/// Longest text of a record, in characters.
const MAX_TEXT_CHARS: usize = 2000;

/// A record to be made.
#[derive(Debug, Clone)]
pub struct NewLicenseRecord {
    pub body: Body,
    /// Milliseconds since 1970; none for no end.
    pub expires_at: Option<i64>,
}

/// A record as the API shows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LicenseRecord {
    pub id: String,
    #[serde(flatten)]
    pub body: Body,
    pub recorded_by: String,
    /// RFC 3339.
    pub recorded_at: String,
    /// RFC 3339.
    pub expires_at: Option<String>,
    /// RFC 3339; set when somebody ended it.
    pub ended_at: Option<String>,
    /// Whether the facts it was made from are those of the revision that was asked about.
    pub facts_unchanged: bool,
}

impl LicenseRecord {
    pub(crate) fn new(record: Record, facts: &str) -> Self {
        Self {
            facts_unchanged: record.facts_digest == facts,
            id: record.id,
            body: record.body,
            recorded_by: record.recorded_by,
            recorded_at: rfc3339(record.recorded_at),
            expires_at: record.expires_at.map(rfc3339),
            ended_at: record.ended_at.map(rfc3339),
        }
    }
}

impl Registry {
    /// Records something about a revision's licenses, for maintainers of its namespace.
    ///
    /// It holds while the facts it was made from stay, for every revision that has them.
    pub async fn add_license_record(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        revision: &Revision,
        new: NewLicenseRecord,
    ) -> Result<LicenseRecord> {
        caller.require(&model.name.namespace, Role::Maintainer)?;
        check(&new)?;
        let txn = begin(&self.db).await?;
        lock_model(&txn, &model.id).await?;
        let basis = self.license_basis(&txn, model, revision).await?;
        if basis.facts.is_none() {
            return Err(Error::invalid(
                "revision",
                "has not been judged yet; try again when its license stage is done",
            ));
        }
        let facts = basis.facts_digest;
        if records_of(&txn, &model.id).await?.len() as u64 >= MAX_RECORDS {
            return Err(Error::TooLarge { what: "the number of records".into(), limit: MAX_RECORDS });
        }
        if let Body::Approval { of, .. } = &new.body {
            check_approval(&txn, caller, model, of, &facts).await?;
        }
        let record = Record {
            id: Uuid::now_v7().to_string(),
            body: new.body,
            facts_digest: facts.clone(),
            recorded_by: caller.subject().to_owned(),
            recorded_at: now_ms(),
            expires_at: new.expires_at,
            ended_at: None,
        };
        insert(&txn, model, revision, &record).await?;
        if let Body::Lineage { parent, relation } = &record.body {
            lineage::add_edge(&txn, revision, parent, *relation).await?;
        }
        let event = Event::new("license.recorded", caller.subject())
            .model(&model.id)
            .detail("content_digest", revision.content_digest.as_str())
            .detail("facts_digest", facts.as_str())
            .detail("record", record.id.as_str())
            .detail("kind", record.body.kind());
        audit::record(&txn, event).await?;
        self.license_changed(&txn, model, revision).await?;
        txn.commit().await?;
        Ok(LicenseRecord::new(record, &facts))
    }

    /// Ends a record; what followed from it is judged again.
    pub async fn end_license_record(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        revision: &Revision,
        id: &str,
    ) -> Result<()> {
        caller.require(&model.name.namespace, Role::Maintainer)?;
        let txn = begin(&self.db).await?;
        lock_model(&txn, &model.id).await?;
        let row = license_record::Entity::find_by_id(id).one(&txn).await?;
        let missing = || Error::NotFound(format!("record {id}"));
        let row = row.filter(|row| row.model_id == model.id && row.ended_at.is_none()).ok_or_else(missing)?;
        let change = license_record::ActiveModel {
            id: Set(row.id.clone()),
            ended_at: Set(Some(now_ms())),
            ended_by: Set(Some(caller.subject().to_owned())),
            ..Default::default()
        };
        change.update(&txn).await?;
        let event = Event::new("license.record_ended", caller.subject()).model(&model.id);
        audit::record(&txn, event.detail("record", row.id).detail("kind", row.kind)).await?;
        self.license_changed(&txn, model, revision).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Asks the gate again for the revision and for everything made from the model.
    async fn license_changed(&self, txn: &DatabaseTransaction, model: &ModelInfo, revision: &Revision) -> Result<()> {
        lineage::redecide_descendants(txn, model, Some(revision)).await
    }
}

fn check(new: &NewLicenseRecord) -> Result<()> {
    if new.expires_at.is_some_and(|end| end <= now_ms()) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    match &new.body {
        Body::Conclusion { expression, reason } => {
            check_text("reason", reason)?;
            let known = is_expression(expression);
            known.then_some(()).ok_or_else(|| Error::invalid("expression", "is no SPDX expression of known form"))
        }
        Body::Approval { reason, .. } => reason.as_deref().map_or(Ok(()), |reason| check_text("reason", reason)),
        Body::Obligation { code, evidence, license } => {
            check_text("evidence", evidence)?;
            check_optional("license", license.as_deref())?;
            let upper_snake = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            let named = !code.is_empty() && code.len() <= 64 && code.bytes().all(upper_snake);
            named.then_some(()).ok_or_else(|| Error::invalid("code", "is no finding's code, such as BADGE_REQUIRED"))
        }
        Body::Component { component, license, location, sha256 } => {
            check_text("location", location)?;
            check_optional("license", license.as_deref())?;
            if let Some(sha256) = sha256 {
                sha256.parse::<Sha256Digest>()?;
            }
            let known = is_component(component);
            known.then_some(()).ok_or_else(|| {
                Error::invalid("component", "is not one of the Model Openness Framework's, such as training_code")
            })
        }
        Body::Release { data_information, .. } => {
            let known = data_information.as_deref().is_none_or(|words| DataInformation::parse(words).is_some());
            known
                .then_some(())
                .ok_or_else(|| Error::invalid("data_information", "must be none, partial, datasets-public or complete"))
        }
        Body::Lineage { parent, .. } => parent.parse::<ModelName>().map(|_| ()),
    }
}

fn check_text(field: &str, text: &str) -> Result<()> {
    let length = text.trim().chars().take(MAX_TEXT_CHARS + 1).count();
    if (1..=MAX_TEXT_CHARS).contains(&length) {
        return Ok(());
    }
    Err(Error::invalid(field, format!("must have 1 to {MAX_TEXT_CHARS} characters")))
}

fn check_optional(field: &str, text: Option<&str>) -> Result<()> {
    text.map_or(Ok(()), |text| check_text(field, text))
}

async fn check_approval(
    txn: &DatabaseTransaction,
    caller: &Caller,
    model: &ModelInfo,
    of: &str,
    facts: &str,
) -> Result<()> {
    let row = license_record::Entity::find_by_id(of).one(txn).await?;
    let row = row.filter(|row| row.model_id == model.id && row.kind == "conclusion" && row.ended_at.is_none());
    let row = row.ok_or_else(|| Error::NotFound(format!("conclusion {of}")))?;
    if row.recorded_by == caller.subject() {
        return Err(Error::Forbidden("a conclusion is approved by another person than the one who made it".into()));
    }
    if row.facts_digest != facts {
        return Err(Error::invalid("of", "was concluded from other facts; conclude again"));
    }
    Ok(())
}

async fn insert(txn: &DatabaseTransaction, model: &ModelInfo, revision: &Revision, record: &Record) -> Result<()> {
    let row = license_record::ActiveModel {
        id: Set(record.id.clone()),
        model_id: Set(model.id.clone()),
        content_digest: Set(revision.content_digest.to_string()),
        facts_digest: Set(record.facts_digest.clone()),
        kind: Set(record.body.kind().to_owned()),
        document: Set(serde_json::to_string(&record.body)?),
        recorded_by: Set(record.recorded_by.clone()),
        recorded_at: Set(record.recorded_at),
        expires_at: Set(record.expires_at),
        ended_at: Set(None),
        ended_by: Set(None),
    };
    row.insert(txn).await?;
    Ok(())
}

/// Every record of a model, oldest first.
pub(super) async fn records_of(connection: &impl ConnectionTrait, model_id: &str) -> Result<Vec<Record>> {
    let rows = license_record::Entity::find()
        .filter(license_record::Column::ModelId.eq(model_id))
        .order_by_asc(license_record::Column::Id)
        .limit(MAX_RECORDS)
        .all(connection)
        .await?;
    rows.into_iter().map(record).collect()
}

/// A stored record.
pub(crate) fn record(row: license_record::Model) -> Result<Record> {
    Ok(Record {
        id: row.id,
        body: serde_json::from_str(&row.document)?,
        facts_digest: row.facts_digest,
        recorded_by: row.recorded_by,
        recorded_at: row.recorded_at,
        expires_at: row.expires_at,
        ended_at: row.ended_at,
    })
}
