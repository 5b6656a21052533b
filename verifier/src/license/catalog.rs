//! The catalog of AI licenses: facts in our own words, with confidence and sources.
//!
//! It is data so that a person can review and extend it without touching code, and a value so
//! that an operator's own rows count wherever licenses are judged. Rows of confidence C and D
//! were not read in the license's own text; they lead to a review and to nothing else.

mod lists;
mod overlay;
mod row;

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde::Deserialize;

use super::corpus::Corpus;

pub use overlay::{CatalogError, CatalogFile};
pub use row::{
    Acceptance, CommercialUse, Comparison, Confidence, Derivatives, HubTag, IncorporatedDocument, License, Metric,
    Outputs, PatentGrant, Propagation, Redistribution, Registration, Termination, Territory, Threshold,
    ThresholdEffect, TrainOther,
};

const BUILT_IN: &str = include_str!("../../data/ai-licenses.json");

/// Parsed once; a test asserts that the built-in data parses.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::parse(BUILT_IN).unwrap_or_default());

/// Licenses by id, with the texts an operator holds of them.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    version: String,
    licenses: Vec<License>,
    /// Lower-case id to position.
    positions: HashMap<String, usize>,
    /// Reference texts by license id; only an operator's folder holds any.
    texts: HashMap<String, String>,
    /// The same, as detection compares with them; worked out at the first use.
    references: OnceLock<Corpus>,
}

#[derive(Deserialize)]
struct Document {
    version: String,
    licenses: Vec<License>,
}

impl Catalog {
    /// The catalog of this release.
    pub fn built_in() -> &'static Self {
        &CATALOG
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_str(text)?;
        Ok(Self::of(document.version, document.licenses, HashMap::new()))
    }

    fn of(version: String, licenses: Vec<License>, texts: HashMap<String, String>) -> Self {
        let position = |(index, license): (usize, &License)| (license.id.to_ascii_lowercase(), index);
        let positions = licenses.iter().enumerate().map(position).collect();
        Self { version, licenses, positions, texts, references: OnceLock::new() }
    }

    /// Names the data: the release's version, and a digest where an operator changed something.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every row, in the order of the data.
    pub fn licenses(&self) -> &[License] {
        &self.licenses
    }

    /// The row of `id`, in any case.
    pub fn find(&self, id: &str) -> Option<&License> {
        self.positions.get(&id.to_ascii_lowercase()).and_then(|index| self.licenses.get(*index))
    }

    /// The rows that `words` can mean: an id, a tag of the Hub, or a name seen beside `other`.
    pub fn named(&self, words: &str) -> Vec<&License> {
        if let Some(row) = self.find(words) {
            return vec![row];
        }
        let mut rows: Vec<&License> = self.by_hf_id(words).collect();
        rows.extend(self.by_name(words));
        rows.extend(self.find(&format!("LicenseRef-{words}")));
        rows.sort_by(|left, right| left.id.cmp(&right.id));
        rows.dedup_by(|left, right| left.id == right.id);
        rows
    }

    /// The license's text, where the operator's folder holds it.
    pub fn text(&self, id: &str) -> Option<&str> {
        self.texts.get(id).map(String::as_str)
    }

    /// Reference texts that the operator holds, by license id.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(id, text)| (id.as_str(), text.as_str()))
    }

    pub(super) fn references(&self) -> &Corpus {
        self.references.get_or_init(|| Corpus::of_operator(self.texts()))
    }

    /// The rows that a card means by this Hub id; several where dated texts share it.
    pub(super) fn by_hf_id(&self, id: &str) -> impl Iterator<Item = &License> {
        let id = id.to_ascii_lowercase();
        self.licenses.iter().filter(move |license| id != "other" && license.hf.license.as_deref() == Some(&id))
    }

    /// The rows that a card means by this `license_name` or another known name.
    pub(super) fn by_name(&self, name: &str) -> impl Iterator<Item = &License> {
        let name = name.to_ascii_lowercase();
        self.licenses.iter().filter(move |license| {
            let is_alias = |alias: &String| alias.eq_ignore_ascii_case(&name) && name != "unknown";
            license.hf.license_name.as_deref() == Some(&name) || license.aliases.iter().any(is_alias)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_catalog_parses() {
        let catalog = Catalog::built_in();
        assert_eq!(catalog.licenses().len(), 85);
        assert_eq!(catalog.find("licenseref-LLAMA3.1").unwrap().class, "community-restricted");
        assert!(catalog.find("LicenseRef-dbrx").is_some_and(|license| !license.is_provisional()));
        assert!(catalog.find("LicenseRef-deepfloyd-if").unwrap().is_provisional());
    }

    #[test]
    fn nobody_is_said_to_have_reviewed_the_built_in_rows() {
        assert!(Catalog::built_in().licenses().iter().all(|license| license.reviewed_by.is_none()));
    }

    #[test]
    fn one_tag_may_mean_two_texts() {
        let catalog = Catalog::built_in();
        assert_eq!(catalog.by_hf_id("gemma").count(), 2);
        assert_eq!(catalog.by_hf_id("other").count(), 0);
        assert_eq!(catalog.by_name("modified-mit").count(), 2);
    }
}
