//! A file of a revision as the stages that need its digest see it.

use crate::read_at::ReadAt;

/// One file of a revision with its digest. The digest is the one that was computed when the
/// file was received; stages rely on it and do not hash again.
#[derive(Clone, Copy)]
pub struct DigestedFile<'a> {
    /// Path inside the revision, with `/` between folders.
    pub path: &'a str,
    /// Hex SHA-256.
    pub digest: &'a str,
    pub source: &'a dyn ReadAt,
}
