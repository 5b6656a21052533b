//! From the words of a card or a metadata key to what they can mean.
//!
//! Words are loose: `gemma` stands for two dated texts, `gpl-3.0` does not say whether later
//! versions are allowed, `other` points at a file. So a statement has a set of candidates,
//! and another statement may narrow it.

use spdx::{Expression, ParseMode};

use super::catalog::Catalog;
use super::hf_ids::{self, Kind};

/// What the SPDX specification writes where no license is asserted.
pub const NO_ASSERTION: &str = "NOASSERTION";

/// Longest words, in bytes, that are read as a license; [`super::is_expression`] has the same bound.
const MAX_WORDS_BYTES: usize = 1000;

/// What a statement can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One of these expressions; the first is the likeliest.
    OneOf(Vec<String>),
    /// A license whose id starts with one of these.
    Family(&'static [&'static str]),
    /// Points elsewhere: `other`, `unknown`, or a license name nobody here knows.
    Elsewhere,
    /// Words that name no license known here.
    Unrecognized,
}

impl Meaning {
    /// Whether no license is what both say. Words that name nothing exclude nothing.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OneOf(left), Self::OneOf(right)) => !left.iter().any(|id| right.contains(id)),
            (Self::OneOf(ids), Self::Family(prefixes)) | (Self::Family(prefixes), Self::OneOf(ids)) => {
                !ids.iter().any(|id| prefixes.iter().any(|prefix| id.starts_with(prefix)))
            }
            (Self::Family(left), Self::Family(right)) => left != right,
            (Self::Elsewhere | Self::Unrecognized, _) | (_, Self::Elsewhere | Self::Unrecognized) => false,
        }
    }

    /// The expression a statement is recorded with.
    pub(super) fn expression(&self) -> &str {
        match self {
            Self::OneOf(candidates) => candidates.first().map_or(NO_ASSERTION, String::as_str),
            Self::Family(_) | Self::Elsewhere | Self::Unrecognized => NO_ASSERTION,
        }
    }
}

/// What `license` means, with the free name that cards add to `other`.
pub(super) fn meaning_of(catalog: &Catalog, license: &str, license_name: Option<&str>) -> Meaning {
    let license = license.trim();
    let license_name = license_name.filter(|name| name.len() <= MAX_WORDS_BYTES);
    if license.len() > MAX_WORDS_BYTES {
        return Meaning::Unrecognized;
    }
    let Some(entry) = hf_ids::find(license) else {
        return standard(catalog, license)
            .or_else(|| known_name(catalog, license))
            .map_or(Meaning::Unrecognized, Meaning::OneOf);
    };
    match entry.kind {
        Kind::Escape => license_name.and_then(|name| named(catalog, name)).map_or(Meaning::Elsewhere, Meaning::OneOf),
        Kind::FamilyTag => Meaning::Family(family(license)),
        Kind::Spdx | Kind::LicenseRef | Kind::Undated => {
            let mut candidates = with_gnu_sibling(&entry.expression);
            candidates.extend(catalog.by_hf_id(license).map(|row| row.id.clone()));
            Meaning::OneOf(without_repeats(candidates))
        }
    }
}

/// The candidates for a license that was detected by its text.
pub(super) fn detected(id: &str) -> Meaning {
    Meaning::OneOf(with_gnu_sibling(id))
}

fn named(catalog: &Catalog, name: &str) -> Option<Vec<String>> {
    let name = name.trim();
    let mut candidates: Vec<String> = hf_ids::by_license_name(name).map(str::to_owned).into_iter().collect();
    candidates.extend(known_name(catalog, name).unwrap_or_default());
    if candidates.is_empty() { standard(catalog, name) } else { Some(without_repeats(candidates)) }
}

fn known_name(catalog: &Catalog, name: &str) -> Option<Vec<String>> {
    let candidates: Vec<String> = catalog.by_name(name).map(|row| row.id.clone()).collect();
    (!candidates.is_empty()).then_some(candidates)
}

/// An id or expression in SPDX's language, in any case and with the usual misspellings.
fn standard(catalog: &Catalog, words: &str) -> Option<Vec<String>> {
    if let Some(row) = catalog.find(words) {
        return Some(with_gnu_sibling(&row.id));
    }
    let exact = spdx::identifiers::LICENSES.iter().find(|license| license.name.eq_ignore_ascii_case(words));
    let imprecise = || spdx::imprecise_license_id(words).filter(|(_, length)| *length == words.len());
    if let Some(name) = exact.map(|license| license.name).or_else(|| imprecise().map(|(license, _)| license.name)) {
        return Some(with_gnu_sibling(&undeprecated(name)));
    }
    if matches!(words, "" | "NONE" | NO_ASSERTION) {
        return None;
    }
    Expression::parse(words).ok().map(|expression| vec![expression.to_string()])
}

/// `GPL-3.0` and its like were replaced by ids that say `-only` or `-or-later`.
fn undeprecated(name: &str) -> String {
    let canonical = Expression::canonicalize(name).ok().flatten();
    canonical.unwrap_or_else(|| name.to_owned())
}

/// Neither a tag nor a text tells `-only` from `-or-later`.
fn with_gnu_sibling(id: &str) -> Vec<String> {
    let sibling = match (id.strip_suffix("-only"), id.strip_suffix("-or-later")) {
        (Some(base), _) => Some(format!("{base}-or-later")),
        (_, Some(base)) => Some(format!("{base}-only")),
        (None, None) => None,
    };
    std::iter::once(id.to_owned()).chain(sibling).collect()
}

fn without_repeats(candidates: Vec<String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for candidate in candidates {
        if !unique.contains(&candidate) {
            unique.push(candidate);
        }
    }
    unique
}

fn family(tag: &str) -> &'static [&'static str] {
    match tag.to_ascii_lowercase().as_str() {
        "gpl" => &["GPL-"],
        "lgpl" => &["LGPL-"],
        "gfdl" => &["GFDL-"],
        "bsd" => &["BSD-", "0BSD"],
        "cc" => &["CC-", "CC0-"],
        "openrail" => &[
            "LicenseRef-openrailpp-m",
            "LicenseRef-creativeml-openrail-m",
            "LicenseRef-bigscience-openrail-m",
            "LicenseRef-bigcode-openrail-m",
        ],
        _ => &[],
    }
}

/// Parses an expression that may hold references unknown to SPDX.
pub(super) fn parse(expression: &str) -> Option<Expression> {
    let mode = ParseMode { allow_unknown: true, ..ParseMode::STRICT };
    Expression::parse_mode(expression, mode).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning_of(license: &str, license_name: Option<&str>) -> Meaning {
        super::meaning_of(Catalog::built_in(), license, license_name)
    }

    fn candidates(words: &str) -> Vec<String> {
        match meaning_of(words, None) {
            Meaning::OneOf(candidates) => candidates,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn ids_are_found_in_any_spelling() {
        for words in ["apache-2.0", "Apache-2.0", "Apache 2.0", " APACHE-2.0 "] {
            assert_eq!(candidates(words), ["Apache-2.0"], "{words}");
        }
        assert_eq!(candidates("openrail++"), ["LicenseRef-openrailpp-m"]);
        assert_eq!(candidates("LicenseRef-llama3.1"), ["LicenseRef-llama3.1"]);
        assert_eq!(candidates("MIT OR Apache-2.0"), ["MIT OR Apache-2.0"]);
    }

    #[test]
    fn tags_that_leave_a_choice_keep_it() {
        assert_eq!(candidates("gpl-3.0"), ["GPL-3.0-only", "GPL-3.0-or-later"]);
        assert_eq!(candidates("gemma"), ["LicenseRef-gemma-2025-03-24", "LicenseRef-gemma-2024-04-01"]);
        assert_eq!(meaning_of("cc", None), Meaning::Family(&["CC-", "CC0-"]));
    }

    #[test]
    fn other_is_resolved_by_its_name_or_points_elsewhere() {
        let named = meaning_of("other", Some("flux-1-dev-non-commercial-license"));
        assert_eq!(named.expression(), "LicenseRef-flux-1-dev-nc");
        assert_eq!(meaning_of("other", Some("my-own-terms")), Meaning::Elsewhere);
        assert_eq!(meaning_of("unknown", None), Meaning::Elsewhere);
    }

    #[test]
    fn words_that_name_nothing_are_unrecognized() {
        for words in ["", "free for all", "NONE"] {
            assert_eq!(meaning_of(words, None), Meaning::Unrecognized, "{words}");
        }
    }
}
