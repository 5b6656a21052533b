//! Reports of probes over time: the same files judged again by another engine, on another machine,
//! or because somebody asked.

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use verifier::evidence::{Evidence, EvidenceKey, Finding, ProbeReport, ProbeVerdict, Stage, drift};

use crate::database::{begin, rfc3339, sql};
use crate::entity::{evidence, revision_stage};
use crate::error::{Error, Result};
use crate::page::{Page, PageRequest};
use crate::registry::Registry;
use crate::revision::Revision;

/// Earlier reports that are looked through for one that can be compared.
const MAX_EARLIER: u64 = 50;
/// Rows of evidence that are completed in one transaction.
const BATCH: u64 = 500;
/// The finding of a probe that did not start because its limit was too low.
const MEMORY_LIMIT_TOO_LOW: &str = "MEMORY_LIMIT_TOO_LOW";

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
    /// With what it says beside the one before it.
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
        // Those behind the page are what its last ones are compared with.
        let limit = page.limit + 1 + MAX_EARLIER;
        let rows = reports(&self.db, &revision.model_id, &subject, before, limit).await?;
        let mut records = rows.into_iter().map(|row| record(row, selected.as_deref())).collect::<Result<Vec<_>>>()?;
        let moved: Vec<Option<Finding>> = (0..records.len()).map(|at| moved_since(&records[at..])).collect();
        for (record, finding) in records.iter_mut().zip(moved) {
            record.report.findings.extend(finding);
        }
        records.truncate(usize::try_from(page.limit + 1).unwrap_or(usize::MAX));
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

    /// The newest evidence for what a key names, whether somebody asked for it or not. One that came to
    /// no result says something of the run and nothing of the files, so it stands for no other run; but a
    /// limit that was too low still is.
    pub(super) async fn last_evidence(&self, key: &EvidenceKey) -> Result<Option<(EvidenceKey, Evidence)>> {
        let rows = evidence::Entity::find()
            .filter(evidence::Column::Subject.eq(key.subject()))
            .filter(evidence::Column::ToolVersion.eq(&key.tool_version))
            .order_by_desc(evidence::Column::CreatedAt)
            .limit(MAX_EARLIER);
        for row in rows.all(&self.db).await? {
            let found: EvidenceKey = serde_json::from_str(&row.key_document)?;
            if found.configuration_digest == key.configuration_digest {
                let report = report_of(&row)?;
                return Ok(stands_for_others(&report).then(|| (found, Evidence::Probe(Box::new(report)))));
            }
        }
        Ok(None)
    }
}

fn stands_for_others(report: &ProbeReport) -> bool {
    report.verdict != ProbeVerdict::Inconclusive
        || report.findings.iter().any(|finding| finding.code == MEMORY_LIMIT_TOO_LOW)
}

/// What a report says beside the one that the model had before it. Evidence belongs to files, which
/// other models hold as well; what came before it is the model's own, so it is said when it is read.
pub(super) async fn drift_of(
    connection: &impl ConnectionTrait,
    model_id: &str,
    row: &evidence::Model,
) -> Result<Option<Finding>> {
    let Some(subject) = &row.subject else { return Ok(None) };
    let newest = record(row.clone(), None)?;
    if newest.report.calibration.is_none() {
        return Ok(None);
    }
    let before = (row.created_at, row.evidence_key.clone());
    let earlier = reports(connection, model_id, subject, Some(before), MAX_EARLIER).await?;
    let earlier = earlier.into_iter().map(|row| record(row, None));
    let all = std::iter::once(Ok(newest)).chain(earlier).collect::<Result<Vec<_>>>()?;
    Ok(moved_since(&all))
}

/// Compares the first, which is the newest, with the next that read the same text to its end.
fn moved_since(records: &[ProbeRecord]) -> Option<Finding> {
    let (newest, earlier) = records.split_first()?;
    let calibration = newest.report.calibration.as_ref()?;
    let is_comparable =
        |old: &&ProbeRecord| old.report.calibration.as_ref().is_some_and(|old| drift::is_comparable(calibration, old));
    let old = earlier.iter().take(usize::try_from(MAX_EARLIER).unwrap_or(usize::MAX)).find(is_comparable)?;
    drift::compare(&newest.report, &old.report, &rfc3339(old.recorded_at))
}

/// Only what revisions of the same model selected, newest first: others may hold the same bytes,
/// which is theirs to know.
async fn reports(
    connection: &impl ConnectionTrait,
    model_id: &str,
    subject: &str,
    before: Option<(i64, String)>,
    limit: u64,
) -> Result<Vec<evidence::Model>> {
    let query = "SELECT e.* FROM evidence e WHERE e.subject = ? AND (e.created_at, e.evidence_key) < (?, ?) \
                 AND EXISTS (SELECT 1 FROM stage_selection s JOIN revision r ON r.id = s.revision_id \
                 WHERE s.evidence_key = e.evidence_key AND r.model_id = ?) \
                 ORDER BY e.created_at DESC, e.evidence_key DESC LIMIT ?";
    let (at, key) = before.unwrap_or((i64::MAX, String::new()));
    let values =
        vec![subject.into(), at.into(), key.into(), model_id.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    Ok(evidence::Entity::find().from_raw_sql(sql(connection, query, values)).all(connection).await?)
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
