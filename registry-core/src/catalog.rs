//! The catalog: one searchable row per model.
//!
//! A projection of the tables that hold the truth, written in the same transactions, so a
//! list never needs a join and a search is an index range on either database.

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, Set};
use verifier::evidence::Evidence;

use crate::access::{Caller, Visibility};
use crate::database::{now_ms, sql};
use crate::entity::{catalog_entry, catalog_term, catalog_verdict};
use crate::error::{Error, Result};
use crate::identity::{CommitId, ModelName};
use crate::model::{ModelInfo, ModelKind};
use crate::page::{Page, PageRequest};
use crate::registry::Registry;
use crate::revision::{Revision, files_of};

/// Words of a search that are looked at.
const MAX_WORDS: usize = 8;

/// From how many matches on a filter is answered while walking the list.
const MANY: i64 = 2000;

/// Rows beside the catalog that name models.
struct Source {
    rows: &'static str,
    model: &'static str,
    /// That of an index on the rows. Without it PostgreSQL reads all matches, or the whole table,
    /// before it counts the first few.
    order: &'static str,
}

const TERMS: Source =
    Source { rows: "catalog_term t WHERE t.term >= ? AND t.term < ?", model: "t.model_id", order: "t.term" };
const VERDICTS: Source = Source {
    rows: "catalog_verdict v WHERE v.environment = ? AND v.verdict = ?",
    model: "v.model_id",
    order: "v.namespace",
};

/// In which order models are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CatalogOrder {
    #[default]
    Name,
    /// The last changed first. A model that changes while pages are read moves before them: no
    /// page shows it twice.
    Updated,
}

impl CatalogOrder {
    /// The order's rows after a cursor.
    const fn after(self) -> &'static str {
        match self {
            Self::Name => "(e.namespace, e.name) > (?, ?)",
            Self::Updated => "(e.updated_at, e.model_id) < (?, ?)",
        }
    }

    const fn clause(self) -> &'static str {
        match self {
            Self::Name => " ORDER BY e.namespace, e.name LIMIT ?",
            Self::Updated => " ORDER BY e.updated_at DESC, e.model_id DESC LIMIT ?",
        }
    }

    /// Names the last row of a page.
    fn cursor(self, item: &CatalogItem) -> String {
        match self {
            Self::Name => item.name.to_string(),
            Self::Updated => format!("{}:{}", item.updated_at, item.id),
        }
    }

    /// The values of the row that a cursor names.
    fn position(self, cursor: &str) -> Result<Vec<sea_orm::Value>> {
        let foreign = || Error::invalid("cursor", "is not one of this list");
        match self {
            Self::Name => {
                let last: ModelName = cursor.parse().map_err(|_| foreign())?;
                Ok(vec![last.namespace.into(), last.name.into()])
            }
            Self::Updated => {
                let (updated_at, id) = cursor.split_once(':').ok_or_else(foreign)?;
                let updated_at: i64 = updated_at.parse().map_err(|_| foreign())?;
                let id = uuid::Uuid::parse_str(id).map_err(|_| foreign())?;
                Ok(vec![updated_at.into(), id.to_string().into()])
            }
        }
    }
}

impl std::str::FromStr for CatalogOrder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "name" => Ok(Self::Name),
            "updated" => Ok(Self::Updated),
            _ => Err(Error::invalid("order", "expected name or updated")),
        }
    }
}

/// What to look for; absent fields match everything.
#[derive(Debug, Clone, Default)]
pub struct CatalogQuery {
    /// Words; each must begin some part of the name.
    pub search: Option<String>,
    pub namespace: Option<String>,
    pub license: Option<String>,
    pub openness: Option<String>,
    pub architecture: Option<String>,
    pub quantization: Option<String>,
    /// `allowed`, `denied` or `pending` in `environment`.
    pub verdict: Option<String>,
    /// The environment of `verdict` and of the verdicts shown.
    pub environment: String,
    pub order: CatalogOrder,
}

/// A model in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogItem {
    pub id: String,
    pub name: ModelName,
    pub kind: ModelKind,
    pub visibility: Visibility,
    pub commit: Option<CommitId>,
    pub updated_at: i64,
    pub license: Option<String>,
    pub openness: Option<String>,
    pub format: Option<String>,
    pub architecture: Option<String>,
    pub quantization: Option<String>,
    pub parameters: Option<u64>,
    /// Bytes of the main branch's files.
    pub size: u64,
    /// `allowed`, `denied` or, without a decision yet, `pending`.
    pub verdict: String,
}

impl Registry {
    /// Models that the caller may see, in the order asked for. A cursor belongs to its order.
    pub async fn catalog(
        &self,
        caller: &Caller,
        query: &CatalogQuery,
        page: &PageRequest,
    ) -> Result<Page<CatalogItem>> {
        let (text, values) = self.search(caller, query, page).await?.finish(query.order, page.limit + 1);
        let rows = catalog_entry::Entity::find().from_raw_sql(sql(&self.db, &text, values)).all(&self.db).await?;
        let ids = rows.iter().map(|row| row.model_id.clone());
        let verdicts: std::collections::HashMap<String, String> = catalog_verdict::Entity::find()
            .filter(catalog_verdict::Column::ModelId.is_in(ids))
            .filter(catalog_verdict::Column::Environment.eq(&query.environment))
            .all(&self.db)
            .await?
            .into_iter()
            .map(|row| (row.model_id, row.verdict))
            .collect();
        let items = rows.into_iter().map(|row| item(row, &verdicts)).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(items, page.limit, |item| query.order.cursor(item)))
    }

    async fn search(&self, caller: &Caller, query: &CatalogQuery, page: &PageRequest) -> Result<Search> {
        let mut search = Search::new(caller, query, page)?;
        for word in words(query.search.as_deref().unwrap_or_default()) {
            let end = format!("{word}\u{10FFFF}");
            self.restrict(&mut search, &TERMS, vec![word.into(), end.into()]).await?;
        }
        let environment = || query.environment.clone().into();
        match query.verdict.as_deref() {
            None => {}
            Some(verdict @ ("allowed" | "denied")) => {
                self.restrict(&mut search, &VERDICTS, vec![environment(), verdict.into()]).await?;
            }
            Some("pending") => search.and(
                "NOT EXISTS (SELECT 1 FROM catalog_verdict v WHERE v.environment = ? AND v.model_id = e.model_id)",
                vec![environment()],
            ),
            Some(_) => return Err(Error::invalid("verdict", "expected allowed, denied or pending")),
        }
        Ok(search)
    }

    /// Keeps the models that `source` names. Few of them are collected first; many are looked
    /// up while the list is walked in its order, which then ends as soon as the page is full.
    async fn restrict(&self, search: &mut Search, source: &Source, values: Vec<sea_orm::Value>) -> Result<()> {
        let Source { rows, model, order } = source;
        let sample = format!("SELECT 1 AS one FROM {rows} ORDER BY {order} LIMIT {MANY}");
        let count = format!("SELECT COUNT(*) AS number FROM ({sample}) AS sample");
        let counted = self.db.query_one_raw(sql(&self.db, &count, values.clone())).await?;
        let number: i64 = counted.map(|row| row.try_get("", "number")).transpose()?.unwrap_or_default();
        if number < MANY {
            search.and(&format!("e.model_id IN (SELECT {model} FROM {rows})"), values);
        } else {
            search.and(&format!("EXISTS (SELECT 1 FROM {rows} AND {model} = e.model_id)"), values);
        }
        Ok(())
    }
}

fn item(row: catalog_entry::Model, verdicts: &std::collections::HashMap<String, String>) -> Result<CatalogItem> {
    let verdict = verdicts.get(&row.model_id).cloned().unwrap_or_else(|| "pending".to_owned());
    Ok(CatalogItem {
        name: ModelName { namespace: row.namespace, name: row.name },
        kind: ModelKind::parse(&row.kind)?,
        visibility: row.visibility.parse()?,
        commit: row.commit_id.map(|commit| commit.parse()).transpose()?,
        updated_at: row.updated_at,
        license: row.license,
        openness: row.openness,
        format: row.format,
        architecture: row.architecture,
        quantization: row.quantization,
        parameters: row.parameters.and_then(|number| u64::try_from(number).ok()),
        size: u64::try_from(row.size).map_err(|_| Error::Corrupt("negative size".into()))?,
        verdict,
        id: row.model_id,
    })
}

/// A catalog query being written: the text and its values grow together.
struct Search {
    text: String,
    values: Vec<sea_orm::Value>,
}

impl Search {
    fn new(caller: &Caller, query: &CatalogQuery, page: &PageRequest) -> Result<Self> {
        let mut search = Self { text: "SELECT e.* FROM catalog_entry e WHERE 1 = 1".into(), values: Vec::new() };
        search.visible_to(caller);
        let columns = [
            ("namespace", &query.namespace),
            ("license", &query.license),
            ("openness", &query.openness),
            ("architecture", &query.architecture),
            ("quantization", &query.quantization),
        ];
        for (column, value) in columns {
            if let Some(value) = value {
                search.and(&format!("e.{column} = ?"), vec![value.clone().into()]);
            }
        }
        if let Some(cursor) = &page.cursor {
            search.and(query.order.after(), query.order.position(cursor)?);
        }
        Ok(search)
    }

    fn and(&mut self, condition: &str, values: Vec<sea_orm::Value>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.values.extend(values);
    }

    fn visible_to(&mut self, caller: &Caller) {
        let Some(namespaces) = caller.private_namespaces() else { return };
        let open = if caller.is_anonymous() { "('public')" } else { "('public', 'internal')" };
        if namespaces.is_empty() {
            self.and(&format!("e.visibility IN {open}"), Vec::new());
            return;
        }
        let holes = vec!["?"; namespaces.len()].join(", ");
        let namespaces = namespaces.into_iter().map(sea_orm::Value::from).collect();
        self.and(&format!("(e.visibility IN {open} OR e.namespace IN ({holes}))"), namespaces);
    }

    fn finish(mut self, order: CatalogOrder, limit: u64) -> (String, Vec<sea_orm::Value>) {
        self.text.push_str(order.clause());
        self.values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        (self.text, self.values)
    }
}

/// Lower-case runs of letters and digits.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let mut words: Vec<String> = parts.map(str::to_owned).collect();
    words.sort();
    words.dedup();
    words.truncate(MAX_WORDS);
    words
}

pub(crate) async fn insert_entry(txn: &DatabaseTransaction, info: &ModelInfo) -> Result<()> {
    let row = catalog_entry::ActiveModel {
        model_id: Set(info.id.clone()),
        namespace: Set(info.name.namespace.clone()),
        name: Set(info.name.name.clone()),
        kind: Set(info.kind.as_str().to_owned()),
        visibility: Set(info.visibility.as_str().to_owned()),
        updated_at: Set(now_ms()),
        size: Set(0),
        ..Default::default()
    };
    catalog_entry::Entity::insert(row).exec_without_returning(txn).await?;
    insert_terms(txn, info).await
}

/// Follows a rename or a change of visibility.
pub(crate) async fn update_identity(txn: &DatabaseTransaction, info: &ModelInfo) -> Result<()> {
    let name = [info.name.namespace.clone(), info.name.name.clone()];
    let update = "UPDATE catalog_entry SET namespace = ?, name = ?, visibility = ? WHERE model_id = ?";
    let [namespace, model] = name.clone();
    let visibility = info.visibility.as_str();
    let values = vec![namespace.into(), model.into(), visibility.into(), info.id.clone().into()];
    txn.execute_raw(sql(txn, update, values)).await?;
    let update = "UPDATE catalog_verdict SET namespace = ?, name = ? WHERE model_id = ?";
    let [namespace, model] = name;
    txn.execute_raw(sql(txn, update, vec![namespace.into(), model.into(), info.id.clone().into()])).await?;
    remove_terms(txn, &info.id).await?;
    insert_terms(txn, info).await
}

async fn insert_terms(txn: &DatabaseTransaction, info: &ModelInfo) -> Result<()> {
    let terms = words(&info.name.to_string());
    let rows = terms.into_iter().map(|term| catalog_term::ActiveModel {
        term: Set(term),
        namespace: Set(info.name.namespace.clone()),
        name: Set(info.name.name.clone()),
        model_id: Set(info.id.clone()),
    });
    catalog_term::Entity::insert_many(rows).exec_without_returning(txn).await?;
    Ok(())
}

async fn remove_terms(txn: &DatabaseTransaction, model_id: &str) -> Result<()> {
    catalog_term::Entity::delete_many().filter(catalog_term::Column::ModelId.eq(model_id)).exec(txn).await?;
    Ok(())
}

/// A deleted model leaves every list.
pub(crate) async fn remove_entry(txn: &DatabaseTransaction, model_id: &str) -> Result<()> {
    remove_terms(txn, model_id).await?;
    catalog_verdict::Entity::delete_many().filter(catalog_verdict::Column::ModelId.eq(model_id)).exec(txn).await?;
    catalog_entry::Entity::delete_by_id(model_id).exec(txn).await?;
    Ok(())
}

/// Follows the main branch: what was known of the revision before is not known of the new one.
pub(crate) async fn point_at(txn: &DatabaseTransaction, model: &ModelInfo, revision: &Revision) -> Result<()> {
    let size: u64 = files_of(txn, &revision.id).await?.iter().map(|file| file.size).sum();
    let row = catalog_entry::ActiveModel {
        model_id: Set(model.id.clone()),
        commit_id: Set(Some(revision.commit.to_string())),
        content_digest: Set(Some(revision.content_digest.to_string())),
        updated_at: Set(now_ms()),
        license: Set(None),
        openness: Set(None),
        format: Set(None),
        architecture: Set(None),
        quantization: Set(None),
        parameters: Set(None),
        size: Set(i64::try_from(size).unwrap_or(i64::MAX)),
        ..Default::default()
    };
    catalog_entry::Entity::update(row).exec(txn).await?;
    catalog_verdict::Entity::delete_many().filter(catalog_verdict::Column::ModelId.eq(&model.id)).exec(txn).await?;
    Ok(())
}

/// Shows new evidence in the catalog if it is about the main branch's head.
pub(crate) async fn show_evidence(txn: &DatabaseTransaction, revision: &Revision, evidence: &Evidence) -> Result<()> {
    let mut row = catalog_entry::ActiveModel { updated_at: Set(now_ms()), ..Default::default() };
    match evidence {
        Evidence::Inspect(inspection) => {
            row.format = Set(inspection.format.clone());
            row.architecture = Set(inspection.architecture.clone());
            row.quantization = Set(inspection.quantization.clone());
            row.parameters = Set(inspection.parameters.and_then(|number| i64::try_from(number).ok()));
        }
        Evidence::License(facts) => {
            row.license = Set(Some(facts.concluded.clone()));
            row.openness = Set(Some(facts.openness.access_class.clone()));
        }
        Evidence::Provenance(_) | Evidence::Probe(_) => return Ok(()),
    }
    catalog_entry::Entity::update_many()
        .set(row)
        .filter(catalog_entry::Column::ModelId.eq(&revision.model_id))
        .filter(catalog_entry::Column::CommitId.eq(revision.commit.as_str()))
        .exec(txn)
        .await?;
    Ok(())
}

/// Shows what a license and its openness came to if it is about the main branch's head.
pub(crate) async fn show_license(
    txn: &DatabaseTransaction,
    revision: &Revision,
    license: &str,
    openness: &str,
) -> Result<()> {
    let update = "UPDATE catalog_entry SET license = ?, openness = ? WHERE model_id = ? AND commit_id = ?";
    let commit = revision.commit.as_str();
    let values = vec![license.into(), openness.into(), revision.model_id.clone().into(), commit.into()];
    txn.execute_raw(sql(txn, update, values)).await?;
    Ok(())
}

/// Shows a decision in the catalog if it is about the main branch's head.
pub(crate) async fn show_verdict(
    txn: &DatabaseTransaction,
    revision: &Revision,
    environment: &str,
    allowed: bool,
) -> Result<()> {
    let upsert = "INSERT INTO catalog_verdict (model_id, environment, verdict, namespace, name) \
                  SELECT e.model_id, ?, ?, e.namespace, e.name FROM catalog_entry e \
                  WHERE e.model_id = ? AND e.content_digest = ? \
                  ON CONFLICT (model_id, environment) DO UPDATE SET verdict = excluded.verdict";
    let verdict = if allowed { "allowed" } else { "denied" };
    let values = vec![
        environment.into(),
        verdict.into(),
        revision.model_id.clone().into(),
        revision.content_digest.as_str().into(),
    ];
    txn.execute_raw(sql(txn, upsert, values)).await?;
    Ok(())
}
