//! The tensors of a revision, searchable and paged.

use sea_orm::{ConnectionTrait, QueryResult};
use verifier::format::weights::parse_dimensions;

use crate::database::sql;
use crate::error::{Error, Result};
use crate::page::{Page, PageRequest};
use crate::registry::Registry;
use crate::revision::Revision;

const MAX_SEARCH_CHARACTERS: usize = 200;

/// Which tensors are wanted.
#[derive(Debug, Clone, Default)]
pub struct TensorQuery {
    /// Part of the name; empty for all.
    pub search: String,
    /// Only those of this file.
    pub path: Option<String>,
}

/// One tensor of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRow {
    /// The file that holds it.
    pub path: String,
    /// Place in the file's header, from 0.
    pub position: u64,
    pub name: String,
    pub element_type: String,
    /// Number of elements per dimension, the slowest-varying first; empty for a scalar.
    pub shape: Vec<u64>,
    pub byte_length: u64,
    /// Hex SHA-256 of its bytes, where they were read.
    pub sha256: Option<String>,
}

impl Registry {
    /// The tensors of a revision by file and place in it; empty until they were listed.
    pub async fn list_tensors(
        &self,
        revision: &Revision,
        query: &TensorQuery,
        page: &PageRequest,
    ) -> Result<Page<TensorRow>> {
        if query.search.chars().count() > MAX_SEARCH_CHARACTERS {
            return Err(Error::invalid("search", format!("is longer than {MAX_SEARCH_CHARACTERS} characters")));
        }
        let (path, position) = page.cursor.as_deref().map(parse_cursor).transpose()?.unwrap_or_default();
        let (from, values) = condition(revision, query);
        let text = format!(
            "SELECT f.path AS path, t.* {from} AND (f.path > ? OR (f.path = ? AND t.position >= ?)) \
             ORDER BY f.path, t.position LIMIT ?"
        );
        let limit = i64::try_from(page.limit + 1).unwrap_or(i64::MAX);
        let cursor = [path.clone().into(), path.into(), position.into(), limit.into()];
        let statement = sql(&self.db, &text, values.into_iter().chain(cursor).collect());
        let rows = self.db.query_all_raw(statement).await?.iter().map(row).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, page.limit, |row| format!("{}:{}", row.position + 1, row.path)))
    }

    /// Number of tensors that a query finds.
    pub async fn count_tensors(&self, revision: &Revision, query: &TensorQuery) -> Result<u64> {
        let (from, values) = condition(revision, query);
        let row = self.db.query_one_raw(sql(&self.db, &format!("SELECT COUNT(*) AS number {from}"), values)).await?;
        let number: i64 = row.map(|row| row.try_get("", "number")).transpose()?.unwrap_or(0);
        Ok(u64::try_from(number).unwrap_or(0))
    }

    /// Whether the tensors of a revision's weights were listed already.
    pub async fn tensors_are_listed(&self, revision: &Revision) -> Result<bool> {
        super::is_read(&self.db, revision).await
    }
}

fn condition(revision: &Revision, query: &TensorQuery) -> (String, Vec<sea_orm::Value>) {
    let mut text = "FROM revision_file f JOIN blob_tensor t ON t.sha256 = f.sha256 WHERE f.revision_id = ?".to_owned();
    let mut values = vec![revision.id.clone().into()];
    if let Some(path) = &query.path {
        text.push_str(" AND f.path = ?");
        values.push(path.clone().into());
    }
    if !query.search.is_empty() {
        text.push_str(" AND LOWER(t.name) LIKE ? ESCAPE '!'");
        values.push(pattern(&query.search).into());
    }
    (text, values)
}

fn pattern(search: &str) -> String {
    let mut pattern = "%".to_owned();
    for character in search.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// `<next position>:<path>`.
fn parse_cursor(text: &str) -> Result<(String, i64)> {
    let unknown = || Error::invalid("cursor", "is none that this server gives");
    let (position, path) = text.split_once(':').ok_or_else(unknown)?;
    Ok((path.to_owned(), position.parse().map_err(|_| unknown())?))
}

fn row(row: &QueryResult) -> Result<TensorRow> {
    let number = |name: &str| -> Result<u64> {
        let value: i64 = row.try_get("", name)?;
        u64::try_from(value).map_err(|_| Error::Corrupt(format!("negative {name}")))
    };
    Ok(TensorRow {
        path: row.try_get("", "path")?,
        position: number("position")?,
        name: row.try_get("", "name")?,
        element_type: row.try_get("", "element_type")?,
        shape: shape_of(&row.try_get::<String>("", "shape")?)?,
        byte_length: number("byte_length")?,
        sha256: row.try_get("", "digest")?,
    })
}

/// A stored shape.
pub(super) fn shape_of(text: &str) -> Result<Vec<u64>> {
    parse_dimensions(text).ok_or_else(|| Error::Corrupt(format!("shape of a tensor: {text}")))
}
