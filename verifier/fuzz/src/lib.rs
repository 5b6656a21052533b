//! What the targets for file formats share.

use verifier::format::{FileEntry, inspect};

/// Inspects `data` under a name that leads to one reader.
pub fn inspect_as(path: &str, data: &[u8]) {
    let source = data.to_vec();
    let inspection = inspect(&[FileEntry { path, source: &source }]);
    // What is written into evidence must always be a document.
    serde_json::to_vec(&inspection).expect("evidence is JSON");
}
