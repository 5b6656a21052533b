//! Files as git and the Hub's clients see them: entries with object ids, folders included.

use std::collections::BTreeMap;

use registry_core::{FileSpec, git};
use serde::Serialize;
use sha1::{Digest, Sha1};

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    r#type: &'static str,
    pub(super) path: String,
    /// Git's id of what stands at this path.
    pub(super) oid: String,
    /// Bytes; zero for a folder.
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lfs: Option<Lfs>,
}

/// What Git LFS says of a file that it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lfs {
    /// SHA-256.
    pub(super) oid: String,
    pub(super) size: u64,
    /// Bytes of the text that stands in git.
    pub(super) pointer_size: u64,
}

/// One file's entry; an ordinary one has a git id.
pub(super) fn file_entry(file: &FileSpec, git_id: Option<&String>) -> Entry {
    let entry = |oid, lfs| Entry { r#type: "file", path: file.path.clone(), oid, size: file.size, lfs };
    if let Some(oid) = git_id {
        return entry(oid.clone(), None);
    }
    let pointer = git::lfs_pointer(file);
    let lfs = Lfs { oid: file.sha256.to_string(), size: file.size, pointer_size: pointer.len() as u64 };
    entry(git::blob_id(pointer.as_bytes()), Some(lfs))
}

/// What clients compare to tell whether they have a file: SHA-256 where Git LFS keeps it.
pub(super) fn etag(file: &FileSpec, git_id: Option<&String>) -> String {
    let entry = file_entry(file, git_id);
    entry.lfs.map_or(entry.oid, |lfs| lfs.oid)
}

/// The entries of `folder` (empty for the root), sorted by path: folders first where it is not
/// recursive, as on the Hub. `None` where there is no such folder.
pub(super) fn listing(entries: &[Entry], folder: &str, recursive: bool) -> Option<Vec<Entry>> {
    let root = Folder::of(entries);
    let folder = folder.trim_matches('/');
    let start = folder.split('/').filter(|part| !part.is_empty()).try_fold(&root, |at, part| at.folders.get(part))?;
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut found = Vec::new();
    start.list(&prefix, recursive, &mut found);
    if recursive {
        found.sort_by(|left, right| left.path.cmp(&right.path));
    }
    Some(found)
}

#[derive(Default)]
struct Folder<'a> {
    folders: BTreeMap<&'a str, Self>,
    files: BTreeMap<&'a str, &'a Entry>,
}

impl<'a> Folder<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let mut root = Self::default();
        for entry in entries {
            let (folders, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            let parts = folders.split('/').filter(|part| !part.is_empty());
            let folder = parts.fold(&mut root, |at, part| at.folders.entry(part).or_default());
            folder.files.insert(name, entry);
        }
        root
    }

    fn list(&self, prefix: &str, recursive: bool, found: &mut Vec<Entry>) {
        for (name, folder) in &self.folders {
            let path = format!("{prefix}{name}");
            found.push(Entry { r#type: "directory", path, oid: folder.tree_id(), size: 0, lfs: None });
            if recursive {
                folder.list(&format!("{prefix}{name}/"), recursive, found);
            }
        }
        found.extend(self.files.values().map(|entry| (*entry).clone()));
    }

    /// Git's id of the folder: SHA-1 over its entries, folders sorted as if their names ended
    /// with a slash.
    fn tree_id(&self) -> String {
        let files = self.files.iter().map(|(name, entry)| ((*name).to_owned(), "100644", *name, entry.oid.clone()));
        let folders = self.folders.iter().map(|(name, folder)| (format!("{name}/"), "40000", *name, folder.tree_id()));
        let mut rows: Vec<_> = files.chain(folders).collect();
        rows.sort();
        let mut tree = Vec::new();
        for (_, mode, name, oid) in rows {
            tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            tree.extend(hex::decode(oid).unwrap_or_default());
        }
        let mut hasher = Sha1::new();
        hasher.update(format!("tree {}\0", tree.len()));
        hasher.update(&tree);
        hex::encode(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use registry_core::Sha256Digest;

    use super::*;

    fn entries(paths: &[(&str, &[u8])]) -> Vec<Entry> {
        let entry = |(path, bytes): &(&str, &[u8])| {
            let size = bytes.len() as u64;
            let file = FileSpec { path: (*path).into(), sha256: Sha256Digest::of(bytes), size };
            let id = git::is_ordinary(path, size).then(|| git::blob_id(bytes));
            file_entry(&file, id.as_ref())
        };
        paths.iter().map(entry).collect()
    }

    #[test]
    fn folders_have_the_ids_that_git_computes() {
        // mkdir -p d/e; printf hello > d/a; printf hello > d/e/b; printf hello > d/e.txt
        // git init; git add .; git ls-tree $(git write-tree)
        let entries = entries(&[("d/a", b"hello"), ("d/e/b", b"hello"), ("d/e.txt", b"hello")]);
        let root = listing(&entries, "", false).unwrap();
        assert_eq!((root.len(), root[0].path.as_str(), root[0].r#type), (1, "d", "directory"));
        assert_eq!(root[0].oid, "a9b0d6d04dadf14ae9a2e30b872622e0dcdd15cc");
    }

    #[test]
    fn a_listing_holds_what_is_below_its_folder() {
        let entries = entries(&[("a", b"1"), ("d/x", b"2"), ("d/e/y", b"3"), ("dd/z", b"4")]);
        let paths = |folder: &str, recursive| {
            listing(&entries, folder, recursive).map(|found| found.into_iter().map(|e| e.path).collect::<Vec<_>>())
        };
        assert_eq!(paths("", false).unwrap(), ["d", "dd", "a"]);
        assert_eq!(paths("", true).unwrap(), ["a", "d", "d/e", "d/e/y", "d/x", "dd", "dd/z"]);
        assert_eq!(paths("d/", true).unwrap(), ["d/e", "d/e/y", "d/x"]);
        assert_eq!(paths("nowhere", true), None);
        assert_eq!(paths("a", true), None);
    }

    #[test]
    fn weights_are_named_by_sha256_and_texts_by_git() {
        let entries = entries(&[("README.md", b"hello\n"), ("m.safetensors", b"hello\n")]);
        assert_eq!(entries[0].oid, "ce013625030ba8dba906f756967f9e9ca394464a");
        let lfs = entries[1].lfs.as_ref().unwrap();
        assert_eq!((lfs.oid.as_str(), lfs.size), (Sha256Digest::of(b"hello\n").as_str(), 6));
        // The pointer's text: 3 lines with a digest of 64 digits and a size of one.
        assert_eq!(lfs.pointer_size, 126);
    }
}
