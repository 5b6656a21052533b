//! Which models a report is about, as they were called and as they stood on its date.

use sea_orm::{ConnectionTrait, EntityTrait, QueryResult};

use super::{MAX_REPORT_ROWS, ReportReads, ReportScope};
use crate::access::{Caller, Visibility};
use crate::database::{rfc3339, sql};
use crate::entity::revision;
use crate::error::{Error, Result};
use crate::identity::{CommitId, ModelName};
use crate::model::ModelKind;
use crate::registry::Registry;
use crate::revision::{MAIN_BRANCH, RefKind, Revision};

/// Models read at a time.
const PAGE: usize = 500;

/// One row's model and content.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) model: ModelThen,
    /// None where the model had no revision.
    pub(super) revision: Option<Revision>,
    pub(super) reads: Option<ReportReads>,
}

/// A model under the name it had.
#[derive(Debug, Clone)]
pub(super) struct ModelThen {
    pub(super) id: String,
    pub(super) kind: ModelKind,
    pub(super) name: ModelName,
    visibility: Visibility,
    /// Where its roles lie now.
    namespace_now: String,
}

/// A condition on models, with its values.
struct Which {
    condition: &'static str,
    values: Vec<sea_orm::Value>,
    /// Whether models that had been deleted count.
    deleted: bool,
}

impl Registry {
    pub(super) async fn report_subjects(
        &self,
        caller: &Caller,
        scope: &ReportScope,
        environment: &str,
        as_of: i64,
    ) -> Result<Vec<Subject>> {
        match scope {
            ReportScope::Model { name, revision } => {
                Ok(vec![self.one_subject(caller, name, revision.as_deref(), as_of).await?])
            }
            ReportScope::Namespace(namespace) => {
                crate::identity::check_segment("namespace", namespace)?;
                let condition = "n.namespace = ?";
                self.heads(caller, &Which { condition, values: vec![namespace.clone().into()], deleted: false }, as_of)
                    .await
            }
            ReportScope::Environment => {
                let condition = "EXISTS (SELECT 1 FROM decision d WHERE d.model_id = m.id AND d.environment = ? \
                                 AND d.decided_at <= ?)";
                let values = vec![environment.into(), as_of.into()];
                self.heads(caller, &Which { condition, values, deleted: false }, as_of).await
            }
            ReportScope::TokenGroup { label, since } => self.reads_of(caller, label, *since, as_of).await,
        }
    }

    async fn one_subject(
        &self,
        caller: &Caller,
        name: &ModelName,
        revision: Option<&str>,
        as_of: i64,
    ) -> Result<Subject> {
        let missing = || Error::NotFound(format!("model {name} at that time"));
        // A name never leads to a second model, so any time it was used tells whose it is.
        let query = "SELECT model_id FROM model_name WHERE namespace = ? AND name = ? AND valid_from <= ? LIMIT 1";
        let values = vec![name.namespace.clone().into(), name.name.clone().into(), as_of.into()];
        let row = self.db.query_one_raw(sql(&self.db, query, values)).await?.ok_or_else(missing)?;
        let id: String = row.try_get("", "model_id")?;
        let model = self.model_then(&id, false, as_of).await?;
        let model = model.filter(|model| model.is_visible_to(caller)).ok_or_else(missing)?;
        let found = match revision {
            None => self.head_at(&model.id, RefKind::Branch, MAIN_BRANCH, as_of).await?,
            Some(revision) => {
                let found = self.revision_at(&model.id, revision, as_of).await?;
                let absent = || Error::NotFound(format!("revision {revision} of model {name} at that time"));
                Some(found.ok_or_else(absent)?)
            }
        };
        Ok(Subject { model, revision: found, reads: None })
    }

    async fn model_then(&self, id: &str, deleted: bool, as_of: i64) -> Result<Option<ModelThen>> {
        let which = Which { condition: "m.id = ?", values: vec![id.into()], deleted };
        Ok(self.models_then(&which, None, as_of).await?.pop())
    }

    /// The heads of the main branches of visible models.
    async fn heads(&self, caller: &Caller, which: &Which, as_of: i64) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        let mut last: Option<ModelName> = None;
        loop {
            let page = self.models_then(which, last.as_ref(), as_of).await?;
            let full = page.len() == PAGE;
            last = page.last().map(|model| model.name.clone());
            for model in page.into_iter().filter(|model| model.is_visible_to(caller)) {
                check_room(subjects.len())?;
                let revision = self.head_at(&model.id, RefKind::Branch, MAIN_BRANCH, as_of).await?;
                subjects.push(Subject { model, revision, reads: None });
            }
            if !full {
                return Ok(subjects);
            }
        }
    }

    /// A page of models by the name they had.
    async fn models_then(&self, which: &Which, after: Option<&ModelName>, as_of: i64) -> Result<Vec<ModelThen>> {
        let mut query = format!(
            "SELECT m.id AS id, m.kind AS kind, m.visibility AS visibility, n.namespace AS namespace, \
             n.name AS name, c.namespace AS namespace_now FROM model_name n JOIN model m ON m.id = n.model_id \
             JOIN model_name c ON c.model_id = m.id AND c.valid_to IS NULL \
             WHERE n.valid_from <= ? AND (n.valid_to IS NULL OR n.valid_to > ?) AND {}",
            which.condition
        );
        let mut values = vec![as_of.into(), as_of.into()];
        values.extend(which.values.iter().cloned());
        if !which.deleted {
            query.push_str(" AND (m.deleted_at IS NULL OR m.deleted_at > ?)");
            values.push(as_of.into());
        }
        if let Some(after) = after {
            query.push_str(" AND (n.namespace, n.name) > (?, ?)");
            values.extend([after.namespace.clone().into(), after.name.clone().into()]);
        }
        query.push_str(" ORDER BY n.namespace, n.name LIMIT ?");
        values.push(i64::try_from(PAGE).unwrap_or(i64::MAX).into());
        self.db.query_all_raw(sql(&self.db, &query, values)).await?.iter().map(ModelThen::try_from).collect()
    }

    /// What the tokens of one label were allowed to read. Models that were deleted since count:
    /// their bytes are still where they were taken to.
    async fn reads_of(&self, caller: &Caller, label: &str, since: i64, as_of: i64) -> Result<Vec<Subject>> {
        caller.require_site_admin()?;
        self.flush_access_log().await?;
        let query = "SELECT a.model_id AS model_id, a.content_digest AS content_digest, COUNT(*) AS number, \
                     MIN(a.occurred_at) AS first_read, MAX(a.occurred_at) AS last_read FROM access_entry a \
                     JOIN api_token t ON t.id = a.token_id WHERE t.label = ? AND a.outcome = 'allowed' \
                     AND a.occurred_at >= ? AND a.occurred_at <= ? \
                     GROUP BY a.model_id, a.content_digest ORDER BY a.model_id, a.content_digest LIMIT ?";
        let limit = i64::try_from(MAX_REPORT_ROWS + 1).unwrap_or(i64::MAX);
        let values = vec![label.into(), since.into(), as_of.into(), limit.into()];
        let rows = self.db.query_all_raw(sql(&self.db, query, values)).await?;
        let mut subjects = Vec::with_capacity(rows.len());
        for row in rows {
            check_room(subjects.len())?;
            let (model, content): (String, String) = (row.try_get("", "model_id")?, row.try_get("", "content_digest")?);
            let Some(model) = self.model_then(&model, true, as_of).await? else { continue };
            let revision = self.content_at(&model.id, &content, as_of).await?;
            subjects.push(Subject { model, revision, reads: Some(reads(&row)?) });
        }
        Ok(subjects)
    }

    /// The revision that a commit, branch or tag named.
    async fn revision_at(&self, model_id: &str, name: &str, as_of: i64) -> Result<Option<Revision>> {
        if let Ok(commit) = name.parse::<CommitId>() {
            return self.commit_at(model_id, &commit, as_of).await;
        }
        match self.head_at(model_id, RefKind::Branch, name, as_of).await? {
            Some(revision) => Ok(Some(revision)),
            None => self.head_at(model_id, RefKind::Tag, name, as_of).await,
        }
    }

    async fn head_at(&self, model_id: &str, kind: RefKind, name: &str, as_of: i64) -> Result<Option<Revision>> {
        let query = "SELECT to_commit FROM ref_movement WHERE model_id = ? AND kind = ? AND name = ? \
                     AND moved_at <= ? ORDER BY id DESC LIMIT 1";
        let values = vec![model_id.into(), kind.as_str().into(), name.into(), as_of.into()];
        let row = self.db.query_one_raw(sql(&self.db, query, values)).await?;
        let commit: Option<String> = row.map(|row| row.try_get("", "to_commit")).transpose()?.flatten();
        match commit {
            Some(commit) => self.commit_at(model_id, &commit.parse()?, as_of).await,
            None => Ok(None),
        }
    }

    async fn commit_at(&self, model_id: &str, commit: &CommitId, as_of: i64) -> Result<Option<Revision>> {
        let query = "SELECT * FROM revision WHERE model_id = ? AND commit_id = ? AND created_at <= ?";
        self.one_revision(query, vec![model_id.into(), commit.as_str().into(), as_of.into()]).await
    }

    /// The newest revision with the content.
    async fn content_at(&self, model_id: &str, content: &str, as_of: i64) -> Result<Option<Revision>> {
        let query = "SELECT * FROM revision WHERE model_id = ? AND content_digest = ? AND created_at <= ? \
                     ORDER BY created_at DESC, id DESC LIMIT 1";
        self.one_revision(query, vec![model_id.into(), content.into(), as_of.into()]).await
    }

    async fn one_revision(&self, query: &str, values: Vec<sea_orm::Value>) -> Result<Option<Revision>> {
        let row = revision::Entity::find().from_raw_sql(sql(&self.db, query, values)).one(&self.db).await?;
        row.map(Revision::try_from).transpose()
    }
}

impl ModelThen {
    fn is_visible_to(&self, caller: &Caller) -> bool {
        caller.may_see(&self.namespace_now, self.visibility)
    }
}

impl TryFrom<&QueryResult> for ModelThen {
    type Error = Error;

    fn try_from(row: &QueryResult) -> Result<Self> {
        let (kind, visibility): (String, String) = (row.try_get("", "kind")?, row.try_get("", "visibility")?);
        Ok(Self {
            id: row.try_get("", "id")?,
            kind: ModelKind::parse(&kind)?,
            name: ModelName { namespace: row.try_get("", "namespace")?, name: row.try_get("", "name")? },
            visibility: visibility.parse()?,
            namespace_now: row.try_get("", "namespace_now")?,
        })
    }
}

fn reads(row: &QueryResult) -> Result<ReportReads> {
    let number: i64 = row.try_get("", "number")?;
    Ok(ReportReads {
        number: u64::try_from(number).map_err(|_| Error::Corrupt("a negative count".into()))?,
        first: rfc3339(row.try_get("", "first_read")?),
        last: rfc3339(row.try_get("", "last_read")?),
    })
}

fn check_room(rows: usize) -> Result<()> {
    if rows < MAX_REPORT_ROWS {
        return Ok(());
    }
    Err(Error::TooLarge { what: "the number of the report's rows".into(), limit: MAX_REPORT_ROWS as u64 })
}
