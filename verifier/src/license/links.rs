//! Statements that point at a license file which the revision does not hold.

use super::card;
use super::package::{self, PackageLicense};
use super::{Content, LicenseDocument, Role};
use crate::evidence::{Finding, Severity};

/// Longest quotation of a link, in characters.
const MAX_QUOTE_CHARS: usize = 200;

/// A finding for each link in `documents` to a file that is not among `paths`.
pub(super) fn broken(documents: &[LicenseDocument<'_>], paths: &[&str]) -> Vec<Finding> {
    let linked = documents.iter().filter_map(|document| Some((document.path, link(document)?)));
    let missing = linked.filter(|(_, link)| path_of(link).is_some_and(|path| !paths.contains(&path)));
    missing.map(|(path, link)| broken_link(path, &link)).collect()
}

/// The link of a card or of package metadata; those that cannot be read are findings already.
fn link(document: &LicenseDocument<'_>) -> Option<String> {
    match (&document.content, Role::of(document.path)) {
        (Content::Text(text), Some(Role::ModelCard)) => card::parse(text).ok().flatten()?.license_link,
        (Content::Text(text), Some(Role::PackageMetadata)) => {
            match package::read(document.path, text).ok().flatten()? {
                PackageLicense::File(path) => Some(path),
                PackageLicense::Words(_) | PackageLicense::Text(_) => None,
            }
        }
        _ => None,
    }
}

/// The path inside the revision that `link` names; none where it is an address or prose.
fn path_of(link: &str) -> Option<&str> {
    let link = link.trim();
    let link = link.strip_prefix("./").unwrap_or(link);
    let path = link.split(['#', '?']).next().unwrap_or_default();
    let path = match path.strip_prefix("blob/").or_else(|| path.strip_prefix("resolve/")) {
        Some(rest) => rest.split_once('/').map_or(path, |(_, path)| path),
        None => path,
    };
    // `llama.com/license` is an address without its scheme.
    let is_host = path.split_once('/').is_some_and(|(first, _)| first.contains('.') && !first.starts_with('.'));
    let is_address = is_host || path.contains(':') || path.starts_with("//") || path.starts_with("www.");
    let is_prose = path.is_empty() || path.contains(char::is_whitespace);
    (!is_address && !is_prose).then_some(path)
}

fn broken_link(path: &str, link: &str) -> Finding {
    let link: String = link.chars().filter(|character| !character.is_control()).take(MAX_QUOTE_CHARS).collect();
    let detail = format!("{path} points at the license in `{link}`, which the revision does not hold.");
    let remedy = "add the file to the revision, or correct the link";
    Finding::new("LICENSE_LINK_BROKEN", Severity::Medium, detail, remedy).at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_addresses() {
        for (link, path) in [
            ("LICENSE", Some("LICENSE")),
            ("./docs/LICENSE.md#terms", Some("docs/LICENSE.md")),
            ("blob/main/LICENSE", Some("LICENSE")),
            ("../LICENSE", Some("../LICENSE")),
            ("https://example.com/LICENSE", None),
            ("example.com/LICENSE", None),
            ("www.example.com", None),
            ("mailto:legal@example.com", None),
            ("see the paper", None),
            ("", None),
        ] {
            assert_eq!(path_of(link), path, "{link}");
        }
    }
}
