//! The catalog of AI licenses: facts in our own words, with confidence and sources.
//!
//! It is data so that a person can review and extend it without touching code.

use std::sync::LazyLock;

use serde::Deserialize;

/// Parsed once; a test asserts that the built-in data parses.
static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../data/ai-licenses.json")).unwrap_or_default());

#[derive(Debug, Default, Deserialize)]
struct Catalog {
    licenses: Vec<License>,
}

/// One license, with the facts that judgement uses.
#[derive(Debug, Deserialize)]
pub(super) struct License {
    /// SPDX id or `LicenseRef-…`.
    pub(super) id: String,
    #[serde(rename = "license_class")]
    pub(super) class: String,
    hf: HfTag,
    aliases: Vec<String>,
    /// Whether the terms count as open: OSI, FSF, open data or OpenMDW.
    pub(super) open_terms: bool,
    confidence: Confidence,
}

#[derive(Debug, Default, Deserialize)]
struct HfTag {
    license: Option<String>,
    license_name: Option<String>,
}

/// How a row came about: A text read, B official list read, C secondary source, D recalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Confidence {
    A,
    B,
    C,
    D,
}

impl License {
    /// Whether a person has to read the text before the row may allow anything.
    pub(super) const fn is_provisional(&self) -> bool {
        matches!(self.confidence, Confidence::C | Confidence::D)
    }
}

/// The row of `id`, in any case.
pub(super) fn find(id: &str) -> Option<&'static License> {
    CATALOG.licenses.iter().find(|license| license.id.eq_ignore_ascii_case(id))
}

/// The rows that a card means by this Hub id; several where dated texts share it.
pub(super) fn by_hf_id(id: &str) -> impl Iterator<Item = &'static License> {
    let id = id.to_ascii_lowercase();
    CATALOG.licenses.iter().filter(move |license| id != "other" && license.hf.license.as_deref() == Some(&id))
}

/// The rows that a card means by this `license_name` or another known name.
pub(super) fn by_name(name: &str) -> impl Iterator<Item = &'static License> {
    let name = name.to_ascii_lowercase();
    CATALOG.licenses.iter().filter(move |license| {
        let is_alias = |alias: &String| alias.eq_ignore_ascii_case(&name) && name != "unknown";
        license.hf.license_name.as_deref() == Some(&name) || license.aliases.iter().any(is_alias)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_catalog_parses() {
        assert_eq!(CATALOG.licenses.len(), 85);
        assert_eq!(find("licenseref-LLAMA3.1").unwrap().class, "community-restricted");
        assert!(find("LicenseRef-dbrx").is_some_and(|license| !license.is_provisional()));
        assert!(find("LicenseRef-deepfloyd-if").unwrap().is_provisional());
    }

    #[test]
    fn one_tag_may_mean_two_texts() {
        assert_eq!(by_hf_id("gemma").count(), 2);
        assert_eq!(by_hf_id("other").count(), 0);
        assert_eq!(by_name("modified-mit").count(), 2);
    }
}
