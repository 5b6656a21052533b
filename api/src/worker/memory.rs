//! How much memory a probe will take, before it is started.
//!
//! The server opens no model for it: headers of strangers are read in the sandbox alone. It counts
//! by the sizes of the files and by what inspection said of them.

use registry_core::{ProbeFile, ProbeTask};

/// Of what is not known better, beside its files: buffers and code, in bytes.
const OVERHEAD: u64 = 200 << 20;
/// What tables of the tokenizer take for each entry of the vocabulary, in bytes.
const BYTES_PER_ENTRY: u64 = 2_000;
/// Entries that are counted where inspection found no vocabulary: as many as the largest in use have.
const UNKNOWN_ENTRIES: u64 = 262_144;

/// An upper estimate in bytes. It is at most `limit`, which one probe may take: what needs more ends
/// there, and must not keep others waiting for memory that it never gets.
pub(super) fn estimate(task: &ProbeTask, limit: u64) -> u64 {
    bytes_for(task.files.iter().chain(&task.base), task.vocabulary).min(limit)
}

/// Weights take what they take in the file. Tables of an unknown vocabulary are taken to be no larger
/// than the files that would have to hold it.
fn bytes_for<'f>(files: impl Iterator<Item = &'f ProbeFile>, vocabulary: Option<u64>) -> u64 {
    let bytes = files.map(|file| file.size).fold(0, u64::saturating_add);
    let tables = match vocabulary {
        Some(entries) => entries.saturating_mul(BYTES_PER_ENTRY),
        None => bytes.min(UNKNOWN_ENTRIES * BYTES_PER_ENTRY),
    };
    bytes.saturating_add(tables).saturating_add(OVERHEAD)
}

#[cfg(test)]
mod tests {
    use registry_core::Sha256Digest;

    use super::*;

    fn file(size: u64) -> ProbeFile {
        ProbeFile { path: "w.gguf".into(), sha256: Sha256Digest::of(b""), size }
    }

    #[test]
    fn files_and_tables_of_the_vocabulary_are_counted() {
        let files = [file(1_000_000_000), file(24_000_000)];
        assert_eq!(bytes_for(files.iter(), Some(49_152)), 1_024_000_000 + 98_304_000 + OVERHEAD);
    }

    #[test]
    fn unknown_vocabulary_is_bounded_by_the_files_and_by_the_largest_in_use() {
        assert_eq!(bytes_for([file(1_000)].iter(), None), 2_000 + OVERHEAD);
        assert_eq!(bytes_for([file(1 << 40)].iter(), None), (1 << 40) + 524_288_000 + OVERHEAD);
    }

    #[test]
    fn no_numbers_overflow() {
        assert_eq!(bytes_for([file(u64::MAX), file(1)].iter(), Some(u64::MAX)), u64::MAX);
    }
}
