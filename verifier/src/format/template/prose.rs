//! Telling words that speak to a model from the marks that structure a prompt.

use std::collections::{BTreeSet, HashSet};

use super::super::found::is_invisible;
use super::Rendered;
use super::text::Origin;

/// Hosts of schemas: names, and not places to go to.
const SCHEMA_HOSTS: [&str; 3] = ["json-schema.org", "www.w3.org", "schema.org"];
const MARKUP: [&str; 9] =
    ["<script", "<iframe", "<img", "<object", "<embed", "javascript:", "onerror=", "onload=", "href="];
/// Phrases that turn a model against its user, in lower case; `*` stands for up to five words.
const PHRASES: [&str; 17] = [
    "ignore * previous instructions",
    "ignore * prior instructions",
    "ignore * above instructions",
    "disregard * previous instructions",
    "disregard * prior instructions",
    "forget * previous instructions",
    "always recommend",
    "always promote",
    "always endorse",
    "always suggest buying",
    "do not tell * user",
    "don't tell * user",
    "never tell * user",
    "do not mention this",
    "do not reveal this",
    "without telling * user",
    "without informing * user",
];

/// What a rendering says in the template's own words.
#[derive(Debug, Default, Clone)]
pub(super) struct Speech {
    words: BTreeSet<String>,
    triples: BTreeSet<[String; 3]>,
    /// Addresses and markup, as they stand.
    lures: BTreeSet<String>,
    /// Special tokens and other marks.
    marks: BTreeSet<String>,
    /// Passages that were looked at, as they stand.
    passages: HashSet<String>,
}

/// What one rendering says beyond others.
#[derive(Debug, Default, Clone)]
pub(super) struct Novelty {
    /// New words, and those in new company, in order of the alphabet.
    pub(super) words: BTreeSet<String>,
    pub(super) triples: usize,
    pub(super) lures: BTreeSet<String>,
    /// The passage that holds most of what is new, as it stands.
    passage: String,
}

impl Novelty {
    /// Whether a sentence was added: several new words, or known words in a new order.
    pub(super) fn is_prose(&self) -> bool {
        self.words.len() >= 3 || (self.triples >= 3 && !self.words.is_empty()) || self.triples >= 6
    }

    pub(super) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Some of what is new, for a finding.
    pub(super) fn sample(&self) -> &str {
        self.passage.trim()
    }
}

impl Speech {
    /// The template's own words in a rendering, without passages that `known` holds as they are.
    pub(super) fn of(rendered: &Rendered, known: &Self) -> Self {
        let mut speech = Self::default();
        for span in rendered.spans.iter().filter(|span| span.origin == Origin::Template) {
            let passage = &rendered.text[span.start..span.end];
            if !known.passages.contains(passage) && !speech.passages.contains(passage) {
                speech.add(passage);
                speech.passages.insert(passage.to_owned());
            }
        }
        speech
    }

    /// Bytes of the passages, which is what looking at them costs.
    pub(super) fn length(&self) -> u64 {
        self.passages.iter().map(|passage| passage.len() as u64).sum()
    }

    fn add(&mut self, text: &str) {
        self.lures.extend(lures(text));
        let (marks, rest) = split_marks(text);
        self.marks.extend(marks);
        for sentence in rest {
            let words: Vec<String> = words(&sentence).collect();
            for triple in words.windows(3) {
                if let [first, second, third] = triple {
                    self.triples.insert([first.clone(), second.clone(), third.clone()]);
                }
            }
            self.words.extend(words);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.words.extend(other.words);
        self.triples.extend(other.triples);
        self.lures.extend(other.lures);
        self.marks.extend(other.marks);
        self.passages.extend(other.passages);
    }

    /// What this says that none of `known` says.
    pub(super) fn beyond(&self, known: &[&Self]) -> Novelty {
        let counts = |word: &str| word.chars().count() >= 2 || word.chars().any(is_unspaced);
        let is_new = |word: &&String| counts(word) && !known.iter().any(|k| k.words.contains(*word));
        let new_words: BTreeSet<String> = self.words.iter().filter(is_new).cloned().collect();
        let newness = |passage: &&String| {
            let new = words(passage).filter(|word| new_words.contains(word)).count();
            // The same passage whatever the order of the set.
            (new, lures(passage).len(), (*passage).clone())
        };
        let fresh = self.passages.iter().filter(|passage| !known.iter().any(|k| k.passages.contains(*passage)));
        Novelty {
            passage: fresh.max_by_key(newness).cloned().unwrap_or_default(),
            words: new_words.clone(),
            triples: self.triples.iter().filter(|triple| !known.iter().any(|k| k.triples.contains(*triple))).count(),
            lures: self.lures.iter().filter(|lure| !known.iter().any(|k| k.lures.contains(*lure))).cloned().collect(),
        }
    }

    /// Special tokens, for the facts of a template.
    pub(super) fn marks(&self) -> impl Iterator<Item = &String> {
        self.marks.iter()
    }
}

/// Words in lower case; scripts that write none apart give each of their characters.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|character: char| !character.is_alphanumeric() && character != '\'');
    let words = parts.filter(|word| word.chars().any(char::is_alphabetic));
    words.flat_map(|word| {
        if word.chars().any(is_unspaced) { word.chars().map(String::from).collect() } else { vec![word.to_lowercase()] }
    })
}

/// Whether a character is of a script that is written without spaces between words.
const fn is_unspaced(character: char) -> bool {
    matches!(character, '\u{e00}'..='\u{eff}' | '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Takes `<…>` and `[…]` without spaces out of a text: marks of structure.
fn split_marks(text: &str) -> (Vec<String>, Vec<String>) {
    let mut marks = Vec::new();
    let mut rest = Vec::new();
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find(['<', '[']) {
        let start = at + found;
        let close = if text[start..].starts_with('<') { '>' } else { ']' };
        let end = text[start + 1..].find(|character: char| {
            character == close || character.is_whitespace() || character == '<' || character == '['
        });
        at = start + 1;
        let Some(length) = end.filter(|length| *length > 0 && *length <= 48) else { continue };
        if text[start + 1 + length..].starts_with(close) {
            let end = start + 2 + length;
            marks.push(text[start..end].to_owned());
            rest.push(text[plain_from..start].to_owned());
            plain_from = end;
            at = end;
        }
    }
    rest.push(text[plain_from..].to_owned());
    let sentences = rest.iter().flat_map(|part| part.split('\n')).map(str::to_owned).collect();
    (marks, sentences)
}

/// Addresses and markup that a page or an agent would follow.
pub(super) fn lures(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let mut lures: BTreeSet<String> = markup(&lower).map(str::to_owned).collect();
    lures.extend(addresses(&lower));
    lures
}

/// Markup that acts in a page, in a text in lower case.
pub(super) fn markup(lower: &str) -> impl Iterator<Item = &'static str> {
    MARKUP.into_iter().filter(move |mark| {
        lower.match_indices(mark).any(|(at, _)| {
            let next = lower[at + mark.len()..].chars().next();
            !mark.starts_with('<') || next.is_none_or(|next| next.is_whitespace() || next == '>' || next == '/')
        })
    })
}

/// Web addresses in a text, but for those of schemas.
pub(super) fn addresses(lower: &str) -> BTreeSet<String> {
    let mut addresses = BTreeSet::new();
    for scheme in ["http://", "https://", "ftp://", "www."] {
        for (at, _) in lower.match_indices(scheme).take(64) {
            let rest = &lower[at..];
            let end = rest.find(|character: char| character.is_whitespace() || "\"'<>)]}`".contains(character));
            let address = &rest[..end.unwrap_or(rest.len())];
            let host = address.split_once("//").map_or(address, |(_, host)| host);
            let names_host = host.contains('.') && host.chars().next().is_some_and(char::is_alphanumeric);
            if names_host && !SCHEMA_HOSTS.iter().any(|schema| host.starts_with(schema)) {
                addresses.insert(address.chars().take(120).collect());
            }
        }
    }
    addresses
}

/// A phrase of [`PHRASES`] in a text.
pub(super) fn phrase(text: &str) -> Option<&'static str> {
    let words: Vec<String> = words(&text.replace('\u{2019}', "'")).collect();
    PHRASES.into_iter().find(|phrase| {
        let (head, tail) = phrase.split_once(" * ").map_or((*phrase, None), |(head, tail)| (head, Some(tail)));
        let head: Vec<&str> = head.split(' ').collect();
        words.windows(head.len()).enumerate().any(|(at, window)| {
            let rest = &words[at + head.len()..];
            window.iter().zip(&head).all(|(word, wanted)| word == wanted)
                && tail.is_none_or(|tail| {
                    let tail: Vec<&str> = tail.split(' ').collect();
                    rest.windows(tail.len())
                        .take(6)
                        .any(|window| window.iter().zip(&tail).all(|(word, wanted)| word == wanted))
                })
        })
    })
}

/// What a person who reads the template would not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hidden {
    /// Characters without width, which may be accidents.
    Invisible,
    /// Characters that hide whole texts or turn their direction.
    Concealed,
}

pub(super) fn hidden(text: &str) -> Option<Hidden> {
    let kinds = text.chars().filter_map(|character| match character {
        '\u{e0000}'..='\u{e007f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some(Hidden::Concealed),
        // Joiners shape scripts and emoji.
        '\u{200c}' | '\u{200d}' => None,
        other => is_invisible(other).then_some(Hidden::Invisible),
    });
    kinds.max()
}
