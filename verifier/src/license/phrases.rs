//! Lines that name a license without being its text.
//!
//! Likeness says nothing about one line, so such lines are read by a table: what licensors ask to
//! put into a NOTICE file, `SPDX-License-Identifier` tags, and the usual ways to name a license.

use std::sync::LazyLock;

use serde::Deserialize;

use super::catalog::Catalog;
use super::fingerprint::NormalizedText;
use crate::evidence::MatchKind;

/// Most licenses that one text may name.
const MAX_NAMED: usize = 16;
const SPDX_TAG: &str = "SPDX-License-Identifier:";

/// A license that a line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// Words that [`super::expression::meaning_of`] understands.
    pub(super) words: String,
    /// `Exact` for the line that the licensor asks for, `Reference` for other words.
    pub(super) kind: MatchKind,
}

/// Parsed once; a test asserts that the built-in data parses.
static PHRASES: LazyLock<Vec<Phrase>> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("../../data/license-phrases.json")).unwrap_or_default();
    file.phrases.into_iter().map(|entry| Phrase::new(&entry.phrase, entry.license, MatchKind::Reference)).collect()
});

#[derive(Default, Deserialize)]
struct File {
    phrases: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    phrase: String,
    license: String,
}

struct Phrase {
    words: Vec<String>,
    license: String,
    kind: MatchKind,
}

impl Phrase {
    fn new(text: &str, license: String, kind: MatchKind) -> Self {
        Self { words: NormalizedText::new(text).into_words(), license, kind }
    }
}

/// The licenses that `text` names, each once, in the order of the text.
pub(super) fn named_in(catalog: &Catalog, text: &str) -> Vec<Named> {
    let mut found: Vec<Named> = tags(text);
    let words = NormalizedText::new(text).into_words();
    let notices: Vec<Phrase> = catalog.licenses().iter().filter_map(notice).collect();
    let mut position = 0;
    while position < words.len() && found.len() < MAX_NAMED {
        let rest = words.get(position..).unwrap_or_default();
        let fits = PHRASES.iter().chain(&notices).filter(|phrase| rest.starts_with(&phrase.words));
        match fits.max_by_key(|phrase| phrase.words.len()) {
            Some(phrase) => {
                found.push(Named { words: phrase.license.clone(), kind: phrase.kind });
                position += phrase.words.len();
            }
            None => position += 1,
        }
    }
    without_repeats(found)
}

fn notice(license: &super::catalog::License) -> Option<Phrase> {
    let text = license.redistribution.notice_text.as_deref()?;
    Some(Phrase::new(text, license.id.clone(), MatchKind::Exact))
}

fn tags(text: &str) -> Vec<Named> {
    let tagged = text.lines().filter_map(|line| line.split_once(SPDX_TAG)).map(|(_, expression)| expression.trim());
    let short = tagged.filter(|expression| !expression.is_empty() && expression.len() <= 200);
    short.take(MAX_NAMED).map(|words| Named { words: words.to_owned(), kind: MatchKind::Reference }).collect()
}

/// A line the licensor asks for names its license with other words too: the stronger counts.
fn without_repeats(found: Vec<Named>) -> Vec<Named> {
    let mut unique: Vec<Named> = Vec::new();
    for named in found {
        match unique.iter_mut().find(|known| known.words == named.words) {
            Some(known) if named.kind == MatchKind::Exact => known.kind = MatchKind::Exact,
            Some(_) => {}
            None => unique.push(named),
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        named_in(Catalog::built_in(), text).into_iter().map(|named| named.words).collect()
    }

    #[test]
    fn built_in_phrases_parse_and_name_known_licenses() {
        assert!(PHRASES.len() > 40);
        let catalog = Catalog::built_in();
        for phrase in PHRASES.iter() {
            assert!(!catalog.named(&phrase.license).is_empty(), "{}", phrase.license);
        }
    }

    #[test]
    fn versions_are_told_apart_by_their_words() {
        for (text, license) in [
            ("Licensed under the Llama 3.1 Community License.", "LicenseRef-llama3.1"),
            ("LLAMA 3.3 COMMUNITY LICENSE AGREEMENT", "LicenseRef-llama3.3"),
            ("Meta Llama 3 Community License", "LicenseRef-llama3"),
            ("SPDX-License-Identifier: MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("Licensed under the Apache License, Version 2.0 (the \"License\")", "Apache-2.0"),
            ("This uses CC BY-NC-SA 4.0", "CC-BY-NC-SA-4.0"),
        ] {
            assert_eq!(words(text), [license], "{text}");
        }
        assert!(words("We like llamas and open source.").is_empty());
    }

    #[test]
    fn the_line_that_a_licensor_asks_for_is_exact() {
        let license = Catalog::built_in().find("LicenseRef-llama3.2").unwrap();
        let line = license.redistribution.notice_text.clone().unwrap();
        let named = named_in(Catalog::built_in(), &format!("NOTICE\n\n{line}\n"));
        assert_eq!(named, [Named { words: "LicenseRef-llama3.2".to_owned(), kind: MatchKind::Exact }]);
    }
}
