//! A commit stated as changes, as git and the Hub's clients state it.
//!
//! The whole content is computed from what the branch held and committed like any other. A
//! client repeats its request when an answer was lost, and the same changes must not fail then
//! because the first delivery made them already.

use std::collections::BTreeMap;

use super::commit::{Commit, Committed, Expected};
use super::refs::{self, RefKind};
use super::{Revision, files_of};
use crate::access::Caller;
use crate::blob::{Spool, SpooledFile};
use crate::error::{Error, Result};
use crate::identity::{self, FileSpec, Sha256Digest};
use crate::model::ModelInfo;
use crate::registry::Registry;

/// How often a commit is computed anew because another one came between.
const ATTEMPTS: usize = 8;

/// One change of a branch's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file that is new or replaces the one at its path.
    Add(FileSpec),
    /// A file whose content came with the changes.
    Write(SpooledFile),
    /// A file with bytes that were uploaded or that the model holds already; their size is
    /// looked up.
    Link {
        path: String,
        sha256: Sha256Digest,
    },
    DeleteFile(String),
    /// All files below a folder.
    DeleteFolder(String),
}

impl Change {
    /// The file, if its content came with the changes.
    fn content(&self) -> Option<&SpooledFile> {
        match self {
            Self::Write(file) => Some(file),
            _ => None,
        }
    }

    /// The file, if its bytes must have been uploaded before.
    fn uploaded(&self) -> Option<&FileSpec> {
        match self {
            Self::Add(file) => Some(file),
            _ => None,
        }
    }
}

/// Changes to become a branch's next revision.
#[derive(Debug)]
pub struct ChangeSet {
    pub branch: String,
    pub expected: Expected,
    pub message: String,
    pub changes: Vec<Change>,
    /// Where the content of [`Change::Write`] is.
    pub spool: Option<Spool>,
}

impl Registry {
    /// Commits changes. Without an expected parent they apply to wherever the branch is.
    pub async fn commit_changes(&self, caller: &Caller, model: &ModelInfo, set: ChangeSet) -> Result<Committed> {
        caller.require_writer(&model.name.namespace)?;
        let set = ChangeSet { changes: self.resolve_links(caller, model, set.changes).await?, ..set };
        for _ in 1..ATTEMPTS {
            match self.try_changes(caller, model, &set).await {
                Err(Error::RefMoved { .. }) if set.expected == Expected::Any => {}
                other => return other,
            }
        }
        self.try_changes(caller, model, &set).await
    }

    /// A branch that has moved is where an earlier delivery of these changes took it, or the
    /// changes are refused.
    fn check_still_expected(head: Option<&Revision>, set: &ChangeSet, after: &[FileSpec]) -> Result<()> {
        let moved = refs::check_expected(&set.branch, &set.expected, head.map(|head| &head.commit));
        if moved.is_err() && head.is_some_and(|head| head.content_digest == identity::content_digest(after)) {
            return Ok(());
        }
        moved
    }

    /// Where the branch is, and what the changes apply to.
    async fn base_of(&self, model: &ModelInfo, set: &ChangeSet) -> Result<(Option<Revision>, Option<Revision>)> {
        let head = refs::head(&self.db, &model.id, RefKind::Branch, &set.branch).await?;
        let base = match &set.expected {
            Expected::At(commit) => match self.find_revision(model, commit.as_str()).await {
                Err(Error::NotFound(_)) => {
                    refs::check_expected(&set.branch, &set.expected, head.as_ref().map(|head| &head.commit))?;
                    None
                }
                found => Some(found?),
            },
            Expected::Any => head.clone(),
            Expected::Absent => None,
        };
        Ok((head, base))
    }

    async fn files_before(&self, base: Option<&Revision>) -> Result<Vec<FileSpec>> {
        match base {
            Some(base) => files_of(&self.db, &base.id).await,
            None => Ok(Vec::new()),
        }
    }

    async fn try_changes(&self, caller: &Caller, model: &ModelInfo, set: &ChangeSet) -> Result<Committed> {
        let (head, base) = self.base_of(model, set).await?;
        if let Some(head) = &head
            && self.is_repetition(caller, model, head, set).await?
        {
            return Ok(Committed { revision: head.clone(), created: false });
        }
        let expected = match (&set.expected, &base) {
            (Expected::Any, Some(head)) => Expected::At(head.commit.clone()),
            (Expected::Any, None) => Expected::Absent,
            (expected, _) => expected.clone(),
        };
        let mut files = apply(self.files_before(base.as_ref()).await?, &set.changes)?;
        identity::check_files(&mut files)?;
        Self::check_still_expected(head.as_ref(), set, &files)?;
        self.store_contents(caller, model, set).await?;
        let commit = Commit { branch: set.branch.clone(), expected, message: set.message.clone(), files };
        self.commit(caller, model, commit).await
    }

    /// Stores the contents that came with the changes, once nothing else stands in their way.
    async fn store_contents(&self, caller: &Caller, model: &ModelInfo, set: &ChangeSet) -> Result<()> {
        let Some(spool) = &set.spool else { return Ok(()) };
        let uploaded: Vec<FileSpec> = set.changes.iter().filter_map(Change::uploaded).cloned().collect();
        self.check_blobs(caller, model, &uploaded).await?;
        let contents: Vec<SpooledFile> = set.changes.iter().filter_map(Change::content).cloned().collect();
        self.store_spooled(caller, &model.name.namespace, spool, &contents).await
    }

    /// Whether the head is what an earlier delivery of these changes made.
    async fn is_repetition(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        head: &Revision,
        set: &ChangeSet,
    ) -> Result<bool> {
        if set.expected != Expected::Any || head.author != caller.subject() || head.message != set.message {
            return Ok(false);
        }
        let parent = match head.parents.first() {
            Some(parent) => Some(self.find_revision(model, parent.as_str()).await?),
            None => None,
        };
        let before = self.files_before(parent.as_ref()).await?;
        let Ok(after) = apply(before, &set.changes) else { return Ok(false) };
        Ok(after == files_of(&self.db, &head.id).await?)
    }

    async fn resolve_links(&self, caller: &Caller, model: &ModelInfo, changes: Vec<Change>) -> Result<Vec<Change>> {
        let linked: Vec<FileSpec> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Link { path, sha256 } => Some(FileSpec { path: path.clone(), sha256: sha256.clone(), size: 0 }),
                _ => None,
            })
            .collect();
        if linked.is_empty() {
            return Ok(changes);
        }
        let sizes = self.usable_blobs(caller, &model.name.namespace, &linked).await?;
        changes
            .into_iter()
            .map(|change| match change {
                Change::Link { path, sha256 } => match sizes.get(&sha256) {
                    Some(size) => Ok(Change::Add(FileSpec { path, sha256, size: *size })),
                    None => Err(Error::BlobMissing(sha256)),
                },
                other => Ok(other),
            })
            .collect()
    }
}

/// The content after the changes, sorted by path.
fn apply(before: Vec<FileSpec>, changes: &[Change]) -> Result<Vec<FileSpec>> {
    let mut files: BTreeMap<String, FileSpec> = before.into_iter().map(|file| (file.path.clone(), file)).collect();
    for change in changes {
        match change {
            Change::Add(file) | Change::Write(SpooledFile { spec: file, .. }) => {
                files.insert(file.path.clone(), file.clone());
            }
            Change::Link { path, .. } => return Err(Error::Internal(format!("{path} is not resolved"))),
            Change::DeleteFile(path) => {
                files.remove(path).ok_or_else(|| Error::NotFound(format!("file {path:?}")))?;
            }
            Change::DeleteFolder(path) => delete_folder(&mut files, path)?,
        }
    }
    Ok(files.into_values().collect())
}

fn delete_folder(files: &mut BTreeMap<String, FileSpec>, path: &str) -> Result<()> {
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let before = files.len();
    files.retain(|path, _| !path.starts_with(&prefix));
    if files.len() == before {
        return Err(Error::NotFound(format!("folder {path:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> FileSpec {
        FileSpec { path: path.into(), sha256: Sha256Digest::of(path.as_bytes()), size: 1 }
    }

    fn paths(files: &[FileSpec]) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn changes_apply_in_their_order() {
        let before = vec![file("a"), file("d/x"), file("d/y"), file("dd")];
        let changes = [
            Change::DeleteFolder("d/".into()),
            Change::Add(file("d/z")),
            Change::DeleteFile("a".into()),
            Change::Add(file("b")),
        ];
        assert_eq!(paths(&apply(before, &changes).unwrap()), ["b", "d/z", "dd"]);
    }

    #[test]
    fn what_is_not_there_cannot_be_deleted() {
        for change in [Change::DeleteFile("b".into()), Change::DeleteFolder("a".into())] {
            assert!(matches!(apply(vec![file("a")], &[change]), Err(Error::NotFound(_))));
        }
    }
}
