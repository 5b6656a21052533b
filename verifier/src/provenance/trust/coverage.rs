//! What a signature leaves out, and whether that matters.

use std::collections::BTreeSet;

use super::document::{CoverageRule, CoverageRules};
use crate::evidence::{Coverage, ProvenanceFacts};
use crate::words::listed;

/// Longest list of paths in a sentence.
const MAX_LISTED: usize = 10;

/// Files that a signature does not speak for, where that stands against it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// The gap that stands against the signature; none where the rules accept what it leaves out.
pub(super) fn gap(coverage: &Coverage, facts: &ProvenanceFacts, rules: CoverageRules) -> Option<Gap> {
    let documents: BTreeSet<&str> = facts.documents.iter().map(String::as_str).collect();
    let matters = |path: &&str| !(rules.allow_documents && documents.contains(path));
    let left_out = |paths: &[String], rule: CoverageRule| -> Vec<String> {
        if rule == CoverageRule::Report {
            return Vec::new();
        }
        paths.iter().map(String::as_str).filter(matters).map(ToOwned::to_owned).collect()
    };
    let unsigned = left_out(&coverage.unsigned, rules.unsigned_files);
    let ignored = left_out(&coverage.ignored, rules.ignored_files);
    let is_weight = |path: &String| facts.weight_files.binary_search(path).is_ok();
    let code = if unsigned.iter().chain(&ignored).any(is_weight) {
        "UNSIGNED_WEIGHTS"
    } else if !unsigned.is_empty() {
        "UNSIGNED_FILES"
    } else if !ignored.is_empty() {
        "IGNORED_FILES"
    } else {
        return None;
    };
    let missing: Vec<String> = unsigned.into_iter().chain(ignored).collect();
    Some(Gap { code, detail: format!("The signature does not speak for {}.", listed(&missing, MAX_LISTED)) })
}

/// What a signature that counts covers, in one sentence.
pub(super) fn summary(coverage: &Coverage) -> String {
    let (signed, unsigned, ignored) = (coverage.signed.len(), coverage.unsigned.len(), coverage.ignored.len());
    format!("{signed} files are signed, {unsigned} are not, and the signer left {ignored} out.")
}
