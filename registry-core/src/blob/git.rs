//! How git and its clients name files.
//!
//! Clients of the Hub compare what they have with what a repository has by git's own ids: the
//! SHA-1 of a blob for ordinary files, SHA-256 for those that Git LFS keeps. A wrong kind of id
//! makes them send a file again on every push, so which file is which must never change.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult};
use sha1::{Digest, Sha1};

use super::read::ByteRange;
use crate::database::sql;
use crate::entity::git_blob;
use crate::error::{Error, Result};
use crate::identity::{FileSpec, Sha256Digest};
use crate::registry::Registry;
use crate::revision::Revision;

/// Largest file that is an ordinary one, in bytes.
pub const MAX_ORDINARY_BYTES: u64 = 5 << 20;
/// Digests looked up in one statement.
const LOOKUP_ROWS: usize = 1000;
/// Files read at once to compute their ids.
const READS: usize = 8;

/// Endings of files that Git LFS keeps whatever their size: those that the Hub lists in the
/// `.gitattributes` of a new repository.
const LFS_ENDINGS: [&str; 36] = [
    "7z",
    "arrow",
    "bin",
    "bz2",
    "ckpt",
    "ftz",
    "gguf",
    "gz",
    "h5",
    "joblib",
    "mlmodel",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "ot",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rar",
    "safetensors",
    "tar",
    "tflite",
    "tgz",
    "wasm",
    "xz",
    "zip",
    "zst",
    "bf16",
    "imatrix",
    "nemo",
    "safetensor",
];

/// Whether git keeps the file itself; else Git LFS does. Empty files are always ordinary.
pub fn is_ordinary(path: &str, size: u64) -> bool {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let is_lfs = ending.is_some_and(|ending| LFS_ENDINGS.contains(&ending.as_str()));
    size == 0 || (size <= MAX_ORDINARY_BYTES && !is_lfs)
}

/// The id of a file's bytes in git: SHA-1, 40 hex digits.
pub fn blob_id(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex::encode(hasher.finalize())
}

/// The text that stands in git for a file that Git LFS keeps (Git LFS specification, version 1).
pub fn lfs_pointer(file: &FileSpec) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", file.sha256, file.size)
}

impl Registry {
    /// The git ids of the ordinary ones among `files`; those of the others need no bytes.
    pub async fn git_ids(&self, files: &[FileSpec]) -> Result<HashMap<Sha256Digest, String>> {
        let ordinary: Vec<&FileSpec> = files.iter().filter(|file| is_ordinary(&file.path, file.size)).collect();
        let mut known = HashMap::with_capacity(ordinary.len());
        for rows in ordinary.chunks(LOOKUP_ROWS) {
            let digests = rows.iter().map(|file| file.sha256.as_str());
            let query = git_blob::Entity::find().filter(git_blob::Column::Sha256.is_in(digests));
            for row in query.all(&self.db).await? {
                known.insert(row.sha256.parse()?, row.sha1);
            }
        }
        let missing: HashMap<&Sha256Digest, &FileSpec> =
            ordinary.into_iter().filter(|file| !known.contains_key(&file.sha256)).map(|f| (&f.sha256, f)).collect();
        let computed: Vec<(Sha256Digest, String)> = futures::stream::iter(missing.into_values().cloned())
            .map(|file| async move { Ok::<_, Error>((file.sha256.clone(), self.compute_git_id(&file).await?)) })
            .buffer_unordered(READS)
            .try_collect()
            .await?;
        self.remember_git_ids(&computed).await?;
        known.extend(computed);
        Ok(known)
    }

    /// All files of a revision, sorted by path, and the git ids of the ordinary ones.
    pub async fn git_files(&self, revision: &Revision) -> Result<Vec<(FileSpec, Option<String>)>> {
        let query = "SELECT f.path, f.sha256, f.size, g.sha1 FROM revision_file f \
                     LEFT JOIN git_blob g ON g.sha256 = f.sha256 WHERE f.revision_id = ? ORDER BY f.path";
        let rows = self.db.query_all_raw(sql(&self.db, query, vec![revision.id.clone().into()])).await?;
        let mut files = rows.iter().map(git_file).collect::<Result<Vec<_>>>()?;
        // Committed before ids were kept, or while their bytes could not be read.
        let lacking = |(file, id): &&(FileSpec, Option<String>)| id.is_none() && is_ordinary(&file.path, file.size);
        let missing: Vec<FileSpec> = files.iter().filter(lacking).map(|(file, _)| file.clone()).collect();
        if !missing.is_empty() {
            let ids = self.git_ids(&missing).await?;
            for (file, id) in &mut files {
                *id = id.take().or_else(|| ids.get(&file.sha256).cloned());
            }
        }
        Ok(files)
    }

    async fn compute_git_id(&self, file: &FileSpec) -> Result<String> {
        let mut bytes = self.stream_blob(&file.sha256, ByteRange { start: 0, end: file.size }).await?;
        let mut whole = Vec::new();
        while let Some(chunk) = bytes.try_next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(blob_id(&whole))
    }

    async fn remember_git_ids(&self, ids: &[(Sha256Digest, String)]) -> Result<()> {
        for rows in ids.chunks(LOOKUP_ROWS) {
            let rows = rows.iter().map(|(sha256, sha1)| git_blob::ActiveModel {
                sha256: sea_orm::Set(sha256.to_string()),
                sha1: sea_orm::Set(sha1.clone()),
            });
            let ignore = sea_orm::sea_query::OnConflict::column(git_blob::Column::Sha256).do_nothing().to_owned();
            git_blob::Entity::insert_many(rows).on_conflict(ignore).exec_without_returning(&self.db).await?;
        }
        Ok(())
    }
}

/// An id counts for an ordinary file alone: the same bytes may lie elsewhere under a name that
/// Git LFS keeps.
fn git_file(row: &QueryResult) -> Result<(FileSpec, Option<String>)> {
    let size: i64 = row.try_get("", "size")?;
    let size = u64::try_from(size).map_err(|_| Error::Corrupt("negative size".into()))?;
    let sha256: String = row.try_get("", "sha256")?;
    let file = FileSpec { path: row.try_get("", "path")?, sha256: sha256.parse()?, size };
    let id: Option<String> = row.try_get("", "sha1")?;
    let ordinary = is_ordinary(&file.path, file.size);
    Ok((file, id.filter(|_| ordinary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_id_is_what_git_hash_object_prints() {
        // printf 'hello\n' | git hash-object --stdin; git hash-object /dev/null
        assert_eq!(blob_id(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }

    #[test]
    fn weights_are_kept_by_lfs_and_texts_by_git() {
        for path in ["model.safetensors", "a/b.GGUF", "tokenizer.model", "x.bin"] {
            assert!(!is_ordinary(path, 10), "{path}");
        }
        for path in ["README.md", "config.json", "tokenizer", ".gitattributes"] {
            assert!(is_ordinary(path, MAX_ORDINARY_BYTES) && !is_ordinary(path, MAX_ORDINARY_BYTES + 1), "{path}");
        }
        assert!(is_ordinary("empty.bin", 0));
    }
}
