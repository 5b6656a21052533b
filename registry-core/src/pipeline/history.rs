//! Reports of probes over time: the same files judged again by another engine, on another machine,
//! or because somebody asked.

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use verifier::evidence::{Calibration, Evidence, EvidenceKey, ProbeReport, Stage, drift};

use crate::database::{begin, sql};
use crate::entity::{evidence, revision_stage};
use crate::error::{Error, Result};
use crate::page::{Page, PageRequest};
use crate::registry::Registry;
use crate::revision::Revision;

/// Earlier reports that are looked through for one that can be compared.
const MAX_EARLIER: u64 = 50;
/// Rows of evidence that are completed in one transaction.
const BATCH: u64 = 500;

/// One report about a revision's files.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeRecord {
    pub evidence_key: String,
    /// When it was made, in milliseconds since 1970.
    pub recorded_at: i64,
    /// Version of the probe's code.
    pub tool_version: String,
    /// Whether it is the one that counts for the revision.
    pub is_selected: bool,
    pub report: ProbeReport,
}

impl Registry {
    /// All reports that a revision of the model had about the same files as this one, newest first.
    pub async fn probe_history(&self, revision: &Revision, page: &PageRequest) -> Result<Page<ProbeRecord>> {
        let stage = self.probe_stage(revision).await?;
        let selected = stage.and_then(|row| row.evidence_key);
        let latest = match &selected {
            Some(key) => evidence::Entity::find_by_id(key).one(&self.db).await?,
            None => self.latest_selection(revision).await?,
        };
        let Some(subject) = latest.and_then(|row| row.subject) else { return Ok(Page::cut(Vec::new(), 1, key_of)) };
        let before = page.cursor.as_deref().map(position).transpose()?;
        let rows = self.reports(revision, &subject, before, page.limit + 1).await?;
        let records = rows.into_iter().map(|row| record(row, selected.as_deref())).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(records, page.limit, key_of))
    }

    async fn probe_stage(&self, revision: &Revision) -> Result<Option<revision_stage::Model>> {
        let key = (revision.id.clone(), Stage::Probe.as_str().to_owned());
        Ok(revision_stage::Entity::find_by_id(key).one(&self.db).await?)
    }

    /// What a revision selected last, where it selects nothing now.
    async fn latest_selection(&self, revision: &Revision) -> Result<Option<evidence::Model>> {
        let query = "SELECT e.* FROM stage_selection s JOIN evidence e ON e.evidence_key = s.evidence_key \
                     WHERE s.revision_id = ? AND s.stage = ? ORDER BY s.selected_at DESC LIMIT 1";
        let values = vec![revision.id.clone().into(), Stage::Probe.as_str().into()];
        Ok(evidence::Entity::find().from_raw_sql(sql(&self.db, query, values)).one(&self.db).await?)
    }

    /// Only what revisions of the same model selected: others may hold the same bytes, which is theirs
    /// to know.
    async fn reports(
        &self,
        revision: &Revision,
        subject: &str,
        before: Option<(i64, String)>,
        limit: u64,
    ) -> Result<Vec<evidence::Model>> {
        let query = "SELECT e.* FROM evidence e WHERE e.subject = ? AND (e.created_at, e.evidence_key) < (?, ?) \
                     AND EXISTS (SELECT 1 FROM stage_selection s JOIN revision r ON r.id = s.revision_id \
                     WHERE s.evidence_key = e.evidence_key AND r.model_id = ?) \
                     ORDER BY e.created_at DESC, e.evidence_key DESC LIMIT ?";
        let (at, key) = before.unwrap_or((i64::MAX, String::new()));
        let values = vec![
            subject.into(),
            at.into(),
            key.into(),
            revision.model_id.clone().into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        Ok(evidence::Entity::find().from_raw_sql(sql(&self.db, query, values)).all(&self.db).await?)
    }

    /// The newest report over the same files that read the same text to its end, and when it was made.
    pub(super) async fn last_report(
        &self,
        revision: &Revision,
        subject: &str,
        calibration: &Calibration,
    ) -> Result<Option<(ProbeReport, i64)>> {
        for row in self.reports(revision, subject, None, MAX_EARLIER).await? {
            let report = report_of(&row)?;
            let is_comparable = |old: &Calibration| drift::is_comparable(calibration, old);
            if report.calibration.as_ref().is_some_and(is_comparable) {
                return Ok(Some((report, row.created_at)));
            }
        }
        Ok(None)
    }

    /// The newest evidence for what a key names, whether somebody asked for it or not.
    pub(super) async fn last_evidence(&self, key: &EvidenceKey) -> Result<Option<(EvidenceKey, Evidence)>> {
        let rows = evidence::Entity::find()
            .filter(evidence::Column::Subject.eq(key.subject()))
            .filter(evidence::Column::ToolVersion.eq(&key.tool_version))
            .order_by_desc(evidence::Column::CreatedAt)
            .limit(MAX_EARLIER);
        for row in rows.all(&self.db).await? {
            let found: EvidenceKey = serde_json::from_str(&row.key_document)?;
            if found.configuration_digest == key.configuration_digest {
                return Ok(Some((found, serde_json::from_str(&row.document)?)));
            }
        }
        Ok(None)
    }
}

fn key_of(record: &ProbeRecord) -> String {
    format!("{}:{}", record.recorded_at, record.evidence_key)
}

/// The row that a cursor names.
fn position(cursor: &str) -> Result<(i64, String)> {
    let foreign = || Error::invalid("cursor", "is not one of this list");
    let (at, key) = cursor.split_once(':').ok_or_else(foreign)?;
    let is_key = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    let at = at.parse().ok().filter(|_| is_key).ok_or_else(foreign)?;
    Ok((at, key.to_owned()))
}

fn record(row: evidence::Model, selected: Option<&str>) -> Result<ProbeRecord> {
    Ok(ProbeRecord {
        recorded_at: row.created_at,
        is_selected: selected == Some(row.evidence_key.as_str()),
        report: report_of(&row)?,
        tool_version: row.tool_version.unwrap_or_default(),
        evidence_key: row.evidence_key,
    })
}

fn report_of(row: &evidence::Model) -> Result<ProbeReport> {
    match serde_json::from_str(&row.document)? {
        Evidence::Probe(report) => Ok(*report),
        _ => Err(Error::Corrupt(format!("the evidence {} is of no probe", row.evidence_key))),
    }
}

/// Fills in what earlier releases did not write beside a probe's evidence.
pub(crate) async fn complete_stored(db: &DatabaseConnection) -> Result<()> {
    loop {
        let rows = evidence::Entity::find()
            .filter(evidence::Column::Stage.eq(Stage::Probe.as_str()))
            .filter(evidence::Column::Subject.is_null())
            .limit(BATCH)
            .all(db)
            .await?;
        let txn = begin(db).await?;
        for row in &rows {
            let key: EvidenceKey = serde_json::from_str(&row.key_document)?;
            let update = "UPDATE evidence SET subject = ?, tool_version = ? WHERE evidence_key = ?";
            let values = vec![key.subject().into(), key.tool_version.into(), row.evidence_key.clone().into()];
            txn.execute_raw(sql(&txn, update, values)).await?;
        }
        txn.commit().await?;
        if rows.is_empty() {
            return Ok(());
        }
    }
}
