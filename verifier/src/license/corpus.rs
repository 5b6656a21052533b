//! The texts that a text is compared with: ours by their hashes, SPDX's and an operator's whole.
//!
//! A text is compared with about eight hundred others, so each list is indexed once by the
//! hashes of its shingles and paragraphs; only what shares some of them is looked at.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use spdx::detection::{Store, TextData};

use super::fingerprint::{self, Fingerprint, NormalizedText};
use super::paragraphs::{self, ParagraphHashes};

/// A text of fewer clauses or words than these proves nothing by standing inside another one.
const LEAST_CLAUSES: usize = 2;
const LEAST_WORDS: usize = 40;

/// What a reference text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    License,
    /// A document that a license incorporates, such as a use policy.
    Policy,
    /// The lines that a license asks to put into files under it.
    Header,
}

/// How much of a reference is at hand.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Hashes,
    /// The `spdx` crate's copy, in which addresses of pages are blanked out.
    Spdx(&'static TextData),
    Operator(String),
}

#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) body: Body,
    pub(super) words: usize,
    pub(super) paragraphs: ParagraphHashes,
    pub(super) sample: BTreeSet<u32>,
    sha256: String,
    discriminators: BTreeSet<u32>,
}

impl Reference {
    fn decode(fingerprint: Fingerprint) -> Option<Self> {
        let paragraphs =
            ParagraphHashes { clauses: hashes(&fingerprint.clauses)?, headings: hashes(&fingerprint.headings)? };
        Some(Self {
            kind: if fingerprint.kind == "license" { Kind::License } else { Kind::Policy },
            body: Body::Hashes,
            words: fingerprint.words,
            sample: hashes(&fingerprint.shingles)?,
            discriminators: hashes(&fingerprint.discriminators)?,
            id: fingerprint.id,
            sha256: fingerprint.sha256,
            paragraphs,
        })
    }

    fn whole(id: &str, kind: Kind, text: &str, body: Body) -> Self {
        let normalized = NormalizedText::new(text);
        Self {
            id: id.to_owned(),
            kind,
            body,
            words: normalized.words().len(),
            paragraphs: ParagraphHashes::of(&paragraphs::split(text)),
            sha256: normalized.sha256(),
            sample: fingerprint::sample(&normalized.shingles()),
            discriminators: BTreeSet::new(),
        }
    }

    /// Share of the shingles that only this version has, among those of a text; `None` where
    /// the version has no siblings to be told from.
    pub(super) fn discriminator_share(&self, shingles: &BTreeSet<u32>) -> Option<f64> {
        let found = self.discriminators.intersection(shingles).count();
        (!self.discriminators.is_empty()).then(|| fingerprint::share(found, self.discriminators.len()))
    }

    /// The text, where more than its hashes is at hand.
    pub(super) fn text(&self) -> Option<String> {
        match &self.body {
            Body::Hashes => None,
            Body::Spdx(data) => Some(data.lines().join("\n")),
            Body::Operator(text) => Some(text.clone()),
        }
    }
}

fn hashes(base64: &str) -> Option<BTreeSet<u32>> {
    let bytes = STANDARD.decode(base64).ok()?;
    Some(bytes.chunks_exact(4).filter_map(|chunk| chunk.try_into().ok()).map(u32::from_be_bytes).collect())
}

/// Indexed references of one origin.
#[derive(Debug, Clone, Default)]
pub(super) struct Corpus {
    references: Vec<Reference>,
    by_sha256: HashMap<String, usize>,
    by_shingle: HashMap<u32, Vec<usize>>,
    by_clause: HashMap<u32, Vec<usize>>,
}

impl Corpus {
    fn of(mut references: Vec<Reference>) -> Self {
        references.sort_by(|left, right| left.id.cmp(&right.id));
        let mut corpus = Self { references, ..Self::default() };
        for (index, reference) in corpus.references.iter().enumerate() {
            corpus.by_sha256.entry(reference.sha256.clone()).or_insert(index);
            for hash in &reference.sample {
                corpus.by_shingle.entry(*hash).or_default().push(index);
            }
            for hash in &reference.paragraphs.clauses {
                corpus.by_clause.entry(*hash).or_default().push(index);
            }
        }
        corpus
    }

    /// The texts that an operator holds, by license id.
    pub(super) fn of_operator<'t>(texts: impl Iterator<Item = (&'t str, &'t str)>) -> Self {
        let reference =
            |(id, text): (&str, &str)| Reference::whole(id, Kind::License, text, Body::Operator(text.to_owned()));
        Self::of(texts.map(reference).collect())
    }

    /// The text whose words are these, by their hash.
    pub(super) fn exact(&self, sha256: &str) -> Option<&Reference> {
        self.by_sha256.get(sha256).and_then(|index| self.references.get(*index))
    }

    /// The texts that share at least `least` of their sampled shingles with `sample`, with
    /// their Sørensen–Dice similarity, the nearest first.
    pub(super) fn near(&self, sample: &BTreeSet<u32>, least: f64) -> Vec<(f64, &Reference)> {
        let dice = |(index, shared): (usize, usize)| {
            let reference = self.references.get(index)?;
            let score = fingerprint::share(2 * shared, sample.len() + reference.sample.len());
            (score >= least).then_some((score, reference))
        };
        let mut near: Vec<_> = counts(&self.by_shingle, sample).into_iter().filter_map(dice).collect();
        near.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.id.cmp(&right.1.id)));
        near
    }

    /// The texts all of whose clauses are among `clauses`.
    pub(super) fn contained(&self, clauses: &BTreeSet<u32>) -> Vec<&Reference> {
        let whole = |(index, found): (usize, usize)| {
            let reference = self.references.get(index)?;
            let is_header = reference.kind == Kind::Header;
            let is_proof = is_header || (found >= LEAST_CLAUSES && reference.words >= LEAST_WORDS);
            (found == reference.paragraphs.clauses.len() && is_proof).then_some(reference)
        };
        let mut contained: Vec<&Reference> = counts(&self.by_clause, clauses).into_iter().filter_map(whole).collect();
        contained.sort_by(|left, right| left.id.cmp(&right.id));
        contained
    }
}

/// How many of `hashes` each reference has.
fn counts(index: &HashMap<u32, Vec<usize>>, hashes: &BTreeSet<u32>) -> HashMap<usize, usize> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for reference in hashes.iter().filter_map(|hash| index.get(hash)).flatten() {
        *counts.entry(*reference).or_default() += 1;
    }
    counts
}

/// Our fingerprints. Parsed once; a test asserts that the built-in data parses.
pub(super) static FINGERPRINTS: LazyLock<Corpus> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("../../data/license-fingerprints.json")).unwrap_or_default();
    Corpus::of(file.fingerprints.into_iter().filter_map(Reference::decode).collect())
});

#[derive(Default, Deserialize)]
struct File {
    fingerprints: Vec<Fingerprint>,
}

/// The texts of SPDX's list. Empty if the crate's built-in cache cannot be read, in which case
/// SPDX texts stay unknown and so lead to a review.
pub(super) static SPDX: LazyLock<Corpus> = LazyLock::new(|| {
    static STORE: LazyLock<Option<Store>> = LazyLock::new(|| Store::load_inline().ok());
    let Some(store) = STORE.as_ref() else { return Corpus::default() };
    let mut references = Vec::new();
    for (id, entry) in store.iter() {
        let licenses = std::iter::once(&entry.original).chain(&entry.alternates).map(|data| (Kind::License, data));
        let headers = entry.headers.iter().map(|data| (Kind::Header, data));
        references.extend(
            licenses
                .chain(headers)
                .map(|(kind, data)| Reference::whole(id, kind, &data.lines().join("\n"), Body::Spdx(data))),
        );
    }
    Corpus::of(references)
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_texts_are_read() {
        assert_eq!(FINGERPRINTS.references.len(), 42);
        assert!(FINGERPRINTS.references.iter().all(|reference| reference.paragraphs.clauses.len() > 3));
        assert!(SPDX.references.len() > 690);
    }

    #[test]
    fn a_text_contains_itself_and_is_nearest_to_itself() {
        let corpus = Corpus::of_operator([("LicenseRef-a", "You may copy the work as often as you like, to anyone.\n\nYou may change the work in any way that you like, as well.\n\nIt comes as it is, and nobody answers for what it does or does not do.")].into_iter());
        let reference = &corpus.references[0];
        assert_eq!(corpus.contained(&reference.paragraphs.clauses).len(), 1);
        assert!(corpus.near(&reference.sample, 0.99).len() <= 1);
        assert_eq!(corpus.exact(&reference.sha256).unwrap().id, "LicenseRef-a");
    }
}
