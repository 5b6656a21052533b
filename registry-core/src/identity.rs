//! The identities that are signed or stored forever: names, digests, content and commits.
//!
//! Everything here is pure. The formats are fixed by DESIGN.md and by the vectors in this
//! module's tests; changing one would orphan every signature and decision made so far.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::error::{Error, Result};

/// Longest file path, in bytes.
pub(crate) const MAX_PATH_BYTES: usize = 1024;
/// Most files in one revision.
pub const MAX_FILES: usize = 100_000;

/// SHA-256 as 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Digest(String);

impl Sha256Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    pub fn from_hasher(hasher: Sha256) -> Self {
        Self(hex::encode(hasher.finalize()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Sha256Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_lower_hex(text, 64) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid("digest", "expected 64 lower-case hexadecimal digits of SHA-256"))
    }
}

/// A revision's name within its model: 40 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommitId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_lower_hex(text, 40) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid("commit", "expected 40 lower-case hexadecimal digits"))
    }
}

/// `namespace/name`, both 1 to 96 characters of `[A-Za-z0-9._-]`.
///
/// The rules are those of the Hugging Face Hub, so that every name there is a name here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    pub namespace: String,
    pub name: String,
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((namespace, name)) = text.split_once('/') else {
            return Err(Error::invalid("model name", "expected namespace/name"));
        };
        check_segment("namespace", namespace)?;
        check_segment("model name", name)?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Checks one half of a model name.
pub(crate) fn check_segment(what: &str, text: &str) -> Result<()> {
    let reason = if text.is_empty() || text.len() > 96 {
        "must have 1 to 96 characters"
    } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        "may contain only letters, digits, '.', '_' and '-'"
    } else if text.starts_with(['.', '-']) || text.ends_with(['.', '-']) {
        "must not begin or end with '.' or '-'"
    } else if text.contains("..") || text.contains("--") {
        "must not contain '..' or '--'"
    } else {
        return Ok(());
    };
    Err(Error::invalid(what, reason))
}

/// Checks the name of a branch or tag: the useful part of `git check-ref-format`.
pub fn check_ref_name(name: &str) -> Result<()> {
    let bad_character = |c: char| c.is_control() || " ~^:?*[\\@%".contains(c);
    let reason = if name.is_empty() || name.len() > 255 {
        "must have 1 to 255 bytes"
    } else if name.chars().any(bad_character) {
        "contains a character that is not allowed in a branch or tag"
    } else if name
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.strip_suffix(".lock").is_some())
    {
        "has an empty, hidden or '.lock' component"
    } else if name.contains("..") || name.ends_with('.') || name.starts_with('-') {
        "must not contain '..', end with '.' or begin with '-'"
    } else if is_lower_hex(name, 40) {
        "looks like a commit"
    } else {
        return Ok(());
    };
    Err(Error::invalid("ref", reason))
}

/// One file of a revision as its author declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    pub path: String,
    pub sha256: Sha256Digest,
    pub size: u64,
}

/// Checks one path: relative, NFC, no `.` or `..`, no NUL, at most 1,024 bytes.
pub fn check_path(path: &str) -> Result<()> {
    let reason = if path.is_empty() {
        "it is empty"
    } else if path.len() > MAX_PATH_BYTES {
        "it is longer than 1,024 bytes"
    } else if path.contains('\0') {
        "it contains NUL"
    } else if path.chars().any(char::is_control) {
        "it contains a control character"
    } else if path.starts_with('/') || path.contains('\\') {
        "it must be relative, with '/' between its parts"
    } else if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        "it has an empty part, '.' or '..'"
    } else if !is_nfc(path) {
        "it is not in Unicode normalization form C"
    } else {
        return Ok(());
    };
    Err(Error::Path { path: path.to_owned(), reason: reason.to_owned() })
}

/// Checks all paths of a revision together and sorts the files by path bytes.
///
/// Case collisions and a path that is also a folder are refused, because the set could not
/// be checked out on a common file system.
pub fn check_files(files: &mut [FileSpec]) -> Result<()> {
    if files.len() > MAX_FILES {
        return Err(Error::TooLarge { what: "the number of files".into(), limit: MAX_FILES as u64 });
    }
    let mut seen = std::collections::HashMap::with_capacity(files.len());
    for file in files.iter() {
        check_path(&file.path)?;
        if let Some(other) = seen.insert(folded(&file.path), file.path.as_str()) {
            let reason = if other == file.path {
                "it appears twice".to_owned()
            } else {
                format!("it differs from {other:?} only in case")
            };
            return Err(Error::Path { path: file.path.clone(), reason });
        }
    }
    if let Some(path) = files.iter().map(|file| &file.path).find(|path| has_file_as_folder(path, &seen)) {
        return Err(Error::Path { path: path.clone(), reason: "one of its folders is also a file".into() });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}

fn has_file_as_folder(path: &str, files: &std::collections::HashMap<String, &str>) -> bool {
    path.match_indices('/').any(|(at, _)| files.contains_key(&folded(&path[..at])))
}

fn folded(path: &str) -> String {
    path.chars().flat_map(char::to_lowercase).nfc().collect()
}

/// SHA-256 of `weighhouse-content-v1\n` and a `<64 hex>  <path>\n` line per file.
///
/// `files` must be sorted by path bytes, as [`check_files`] leaves them. The same digest
/// comes out of `(echo weighhouse-content-v1; sha256sum FILES…) | sha256sum`.
pub fn content_digest(files: &[FileSpec]) -> Sha256Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"weighhouse-content-v1\n");
    for file in files {
        hasher.update(file.sha256.as_str());
        hasher.update(b"  ");
        hasher.update(&file.path);
        hasher.update(b"\n");
    }
    Sha256Digest::from_hasher(hasher)
}

/// What a commit id is computed from. The field order is the canonical JSON order.
#[derive(Serialize)]
struct CommitDocument<'a> {
    author: &'a str,
    content: &'a str,
    message: &'a str,
    parents: &'a [CommitId],
    time: i64,
}

/// The first 40 hex digits of SHA-256 over canonical JSON
/// `{"author","content","message","parents","time"}` (sorted keys, no spaces, time in ms).
pub(crate) fn commit_id(
    content: &Sha256Digest,
    parents: &[CommitId],
    author: &str,
    time: i64,
    message: &str,
) -> CommitId {
    let document = CommitDocument { author, content: content.as_str(), message, parents, time };
    // Serializing a struct of strings and an integer cannot fail.
    let bytes = serde_json::to_vec(&document).unwrap_or_default();
    let digest = Sha256Digest::of(&bytes);
    CommitId(digest.0[..40].to_owned())
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

macro_rules! text_newtype {
    ($name:ident, $text:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text: fn(&$name) -> String = $text;
                f.write_str(&text(self))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

text_newtype!(Sha256Digest, |digest| digest.0.clone());
text_newtype!(CommitId, |commit| commit.0.clone());
text_newtype!(ModelName, |model| format!("{}/{}", model.namespace, model.name));

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> FileSpec {
        FileSpec { path: path.into(), sha256: Sha256Digest::of(content.as_bytes()), size: content.len() as u64 }
    }

    fn refused(paths: &[&str]) -> String {
        let mut files: Vec<_> = paths.iter().map(|path| file(path, "x")).collect();
        match check_files(&mut files) {
            Err(Error::Path { path, .. }) => path,
            other => panic!("expected a path error, got {other:?}"),
        }
    }

    #[test]
    fn content_digest_equals_what_coreutils_computes() {
        // printf 'a' > a.txt; printf 'b' > 'sub/b é.txt'
        // (echo weighhouse-content-v1; sha256sum a.txt 'sub/b é.txt') | sha256sum
        let mut files = vec![file("sub/b é.txt", "b"), file("a.txt", "a")];
        check_files(&mut files).unwrap();
        assert_eq!(content_digest(&files).as_str(), "0c7e3548278f57d679cc123a1d7a9232b97b47d2984e91be931c800852162eac");
    }

    #[test]
    fn content_digest_of_no_files_is_that_of_the_header() {
        assert_eq!(content_digest(&[]), Sha256Digest::of(b"weighhouse-content-v1\n"));
    }

    #[test]
    fn commit_id_is_fixed_by_a_vector() {
        // printf '{"author":"ada","content":"<64 zeros>","message":"first \"line\"\\né","parents":[],"time":1700000000000}' | sha256sum | cut -c1-40
        let content: Sha256Digest = "0".repeat(64).parse().unwrap();
        let id = commit_id(&content, &[], "ada", 1_700_000_000_000, "first \"line\"\né");
        assert_eq!(id.as_str(), "87da4785420be6cc4c95fd187160780d00770c35");
        let child = commit_id(&content, &[id], "ada", 1_700_000_000_000, "");
        assert_eq!(child.as_str(), "661d6c5e9ef7bee7449acce8f6c86164936e8dad");
    }

    #[test]
    fn unsafe_paths_are_refused_by_name() {
        for path in ["", "/a", "a//b", "a/", "./a", "a/../b", "..", "a\0b", "a\\b", "a\nb", "e\u{301}.txt"] {
            assert_eq!(refused(&[path]), path);
        }
        assert_eq!(refused(&["x".repeat(1025).as_str()]).len(), 1025);
        check_path(&"x".repeat(1024)).unwrap();
    }

    #[test]
    fn colliding_paths_are_refused() {
        assert_eq!(refused(&["README.md", "readme.MD"]), "readme.MD");
        assert_eq!(refused(&["a", "a"]), "a");
        assert_eq!(refused(&["dir", "dir/file"]), "dir/file");
        assert_eq!(refused(&["DIR", "dir/file"]), "dir/file");
    }

    #[test]
    fn names_follow_the_hub_rules() {
        for good in ["meta-llama/Llama-3.1-8B", "a/b", "HuggingFaceTB/SmolLM2-135M-Instruct"] {
            assert_eq!(good.parse::<ModelName>().unwrap().to_string(), good);
        }
        for bad in ["a", "a/b/c", "/b", "a/", "a/.b", "a/b-", "a/b..c", "a/b c", "a/é"] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ref_names_cannot_be_mistaken_for_commits_or_escape() {
        for good in ["main", "v1.0", "refs/pr/1", "feature/x"] {
            check_ref_name(good).unwrap();
        }
        for bad in ["", "a..b", "/a", "a/", "a b", "a:b", ".a", "a.lock", "-a", &"0".repeat(40)] {
            assert!(check_ref_name(bad).is_err(), "{bad}");
        }
    }
}
