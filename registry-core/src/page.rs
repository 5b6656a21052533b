//! Cursor paging: stable under concurrent changes, because a cursor names the last row seen.

use crate::error::{Error, Result};

/// Rows on a page when the caller names no number.
pub const DEFAULT_LIMIT: u64 = 50;
/// Most rows on a page.
pub const MAX_LIMIT: u64 = 500;

/// Which page is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub limit: u64,
    /// The previous page's `next`.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// Checks what a caller asked for.
    pub fn new(limit: Option<u64>, cursor: Option<String>) -> Result<Self> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be between 1 and {MAX_LIMIT}")));
        }
        if cursor.as_ref().is_some_and(|cursor| cursor.len() > 2048) {
            return Err(Error::invalid("cursor", "is longer than any cursor this server gives"));
        }
        Ok(Self { limit, cursor })
    }
}

/// One page and the cursor of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` rows from a query that asked for one more.
    pub(crate) fn cut(mut rows: Vec<T>, limit: u64, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { items: rows, next }
    }

    /// The same page with its rows converted.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next: self.next }
    }
}
