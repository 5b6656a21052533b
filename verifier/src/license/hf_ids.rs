//! The license ids of the Hugging Face Hub and the free license names seen beside them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// Parsed once; a test asserts that the built-in data parses.
static IDS: LazyLock<HfIds> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../data/hf-license-ids.json")).unwrap_or_default());

#[derive(Debug, Default, Deserialize)]
struct HfIds {
    ids: Vec<HfId>,
    /// From `license_name` to a license.
    license_names: BTreeMap<String, String>,
}

/// One id of the Hub's list.
#[derive(Debug, Deserialize)]
pub(super) struct HfId {
    id: String,
    pub(super) expression: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Spdx,
    #[serde(rename = "licenseref")]
    LicenseRef,
    /// Names one license of which several dated texts exist.
    Undated,
    /// Names a family without a version.
    FamilyTag,
    /// `other` and `unknown`.
    Escape,
}

/// The entry of `id` in any case.
pub(super) fn find(id: &str) -> Option<&'static HfId> {
    IDS.ids.iter().find(|entry| entry.id.eq_ignore_ascii_case(id))
}

/// The license that cards mean by this `license_name`.
pub(super) fn by_license_name(name: &str) -> Option<&'static str> {
    IDS.license_names.get(&name.to_ascii_lowercase()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_ids_parse() {
        assert_eq!(IDS.ids.len(), 83);
        assert_eq!(find("Apache-2.0").unwrap().expression, "Apache-2.0");
        assert_eq!(find("gpl").unwrap().kind, Kind::FamilyTag);
        assert_eq!(by_license_name("Qwen"), Some("LicenseRef-qwen-2024"));
    }
}
