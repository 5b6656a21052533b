//! Names the license of a text.
//!
//! First the hash of all words, then whole licenses found clause by clause, then SPDX's texts
//! with names filled in, then likeness. What is only alike is reported as changed, with the
//! paragraphs that differ, and never as the license it was made from.

use std::collections::BTreeSet;

use spdx::detection::TextData;

use super::catalog::Catalog;
use super::changes;
use super::corpus::{Body, Corpus, FINGERPRINTS, Kind, Reference, SPDX};
use super::fingerprint::{self, NormalizedText};
use super::paragraphs::{self, Paragraph, ParagraphHashes};
use crate::evidence::{MatchKind, TextDifference};

/// Texts below this number of words are notes about a license, not a license.
const LEAST_WORDS: usize = 40;
/// Similarity of shingles from which a text is a changed version of a license.
const MODIFIED: f64 = 0.75;
/// Share of a version's own shingles that must occur in a text of that version.
const LEAST_DISCRIMINATORS: f64 = 0.8;
/// Similarity from which a text without those is of the family, whatever its version.
const FAMILY: f64 = 0.8;
/// Similarity from which the `spdx` crate's texts count; it compares pairs of words.
const SPDX_MODIFIED: f64 = 0.90;
/// Similarity of shingles below which that is not worth working out.
const SPDX_NEAR: f64 = 0.4;
/// Most texts that are compared word by word.
const MAX_NEAR: usize = 12;
/// Words that may stand beside a license without being looked at by a person.
const MAX_WORDS_BESIDE: usize = 20;
/// Words beside a license from which it is a part of its file rather than a changed text.
const PART_OF_FILE: usize = 100;
/// Most paragraphs that are quoted of a difference.
const MAX_QUOTES: usize = 12;

/// What a text is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Detection {
    /// The text of this license.
    License(Match),
    /// The whole text of this license, beside others that are no license.
    Part(Match),
    /// The whole texts of several licenses.
    Several(Vec<Match>),
    /// Documents that licenses incorporate, such as a use policy.
    Incorporated,
    /// Close to this license's text and not equal to it.
    Modified(Match),
    /// Lines that put a file under this license.
    Header(Match),
    /// No license text known here.
    Unknown,
}

/// A license and how its text was recognized.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    pub(super) id: String,
    /// Similarity in 0..=1.
    pub(super) score: f64,
    pub(super) kind: MatchKind,
    pub(super) difference: Option<TextDifference>,
}

/// Judges `text`, which the caller has bounded.
pub(super) fn detect(catalog: &Catalog, text: &str) -> Detection {
    let upload = Upload::new(text);
    if upload.words.len() < LEAST_WORDS {
        return header(&upload).unwrap_or(Detection::Unknown);
    }
    exact(catalog, &upload)
        .or_else(|| whole_texts(catalog, &upload))
        .or_else(|| with_names_filled_in(catalog, text, &upload))
        .or_else(|| header(&upload))
        .unwrap_or_else(|| nearest(catalog, text, &upload))
}

/// A text as the comparisons need it.
struct Upload {
    words: Vec<String>,
    sha256: String,
    sample: BTreeSet<u32>,
    shingles: BTreeSet<u32>,
    /// The same for the text with its addresses of pages blanked out, as SPDX's texts have them.
    plain_sha256: String,
    plain_sample: BTreeSet<u32>,
    paragraphs: Vec<Paragraph>,
    plain_paragraphs: Vec<Paragraph>,
}

impl Upload {
    fn new(text: &str) -> Self {
        let normalized = NormalizedText::new(text);
        let shingles = normalized.shingles();
        let plain_text = without_addresses(text);
        let plain = NormalizedText::new(&plain_text);
        Self {
            sha256: normalized.sha256(),
            sample: fingerprint::sample(&shingles),
            shingles: shingles.iter().map(|hash| fingerprint::shorten(*hash)).collect(),
            plain_sha256: plain.sha256(),
            plain_sample: fingerprint::sample(&plain.shingles()),
            paragraphs: paragraphs::split(text),
            plain_paragraphs: paragraphs::split(&plain_text),
            words: normalized.into_words(),
        }
    }

    fn sample_for(&self, reference: &Reference) -> &BTreeSet<u32> {
        if is_plain(reference) { &self.plain_sample } else { &self.sample }
    }

    /// Positions of the paragraphs that `reference` has too.
    fn shared(&self, reference: &Reference) -> BTreeSet<usize> {
        let paragraphs = if is_plain(reference) { &self.plain_paragraphs } else { &self.paragraphs };
        let is_shared = |(_, paragraph): &(usize, &Paragraph)| reference.paragraphs.contains(paragraph.hash);
        paragraphs.iter().enumerate().filter(is_shared).map(|(position, _)| position).collect()
    }
}

const fn is_plain(reference: &Reference) -> bool {
    matches!(reference.body, Body::Spdx(_))
}

/// `text` with each address of a page replaced by what the `spdx` crate replaces it by.
fn without_addresses(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for piece in text.split_inclusive(char::is_whitespace) {
        let Some(start) = piece.find("http://").or_else(|| piece.find("https://")) else {
            plain.push_str(piece);
            continue;
        };
        plain.push_str(&piece[..start]);
        plain.push_str("http://blackboxed/url");
        plain.extend(piece.chars().next_back().filter(|character| character.is_whitespace()));
    }
    plain
}

fn exact(catalog: &Catalog, upload: &Upload) -> Option<Detection> {
    let reference = catalog.references().exact(&upload.sha256).or_else(|| FINGERPRINTS.exact(&upload.sha256));
    let reference = reference.or_else(|| SPDX.exact(&upload.plain_sha256))?;
    let found = Match { id: reference.id.clone(), score: 1.0, kind: MatchKind::Exact, difference: None };
    Some(match reference.kind {
        Kind::License => Detection::License(found),
        Kind::Policy => Detection::Incorporated,
        Kind::Header => Detection::Header(Match { kind: MatchKind::Reference, ..found }),
    })
}

/// Licenses of which every clause stands in the text, with nothing between them.
fn whole_texts(catalog: &Catalog, upload: &Upload) -> Option<Detection> {
    let found = contained(catalog, upload);
    let (licenses, _): (Vec<&Reference>, Vec<&Reference>) =
        found.iter().partition(|reference| reference.kind == Kind::License);
    let beside = beside(upload, &found);
    let words: Vec<&String> = beside.iter().flat_map(|paragraph| &paragraph.words).collect();
    let is_harmless = words.len() <= MAX_WORDS_BESIDE && !changes::may_restrict(words.iter().copied());
    match licenses.as_slice() {
        [] => (!found.is_empty() && is_harmless).then_some(Detection::Incorporated),
        [license] => {
            let found = matched(license, upload, &beside);
            let is_version = found.kind == MatchKind::ExactVersion;
            match (is_harmless && is_version, words.len() >= PART_OF_FILE && is_version) {
                (true, _) => Some(Detection::License(found)),
                (false, true) if is_in_one_piece(upload, license) => Some(Detection::Part(found)),
                (false, _) if !is_version => Some(Detection::Modified(found)),
                _ => None,
            }
        }
        several => Some(Detection::Several(several.iter().map(|license| matched(license, upload, &beside)).collect())),
    }
}

/// The whole texts in an upload, without those that are parts of others.
fn contained<'c>(catalog: &'c Catalog, upload: &Upload) -> Vec<&'c Reference> {
    let clauses = ParagraphHashes::of(&upload.paragraphs).clauses;
    let plain_clauses = ParagraphHashes::of(&upload.plain_paragraphs).clauses;
    let own: [&'c Corpus; 2] = [catalog.references(), &FINGERPRINTS];
    let mut found: Vec<&'c Reference> = own.iter().flat_map(|corpus| corpus.contained(&clauses)).collect();
    found.extend(SPDX.contained(&plain_clauses).into_iter().filter(|reference| reference.kind != Kind::Header));
    let mut places: Vec<(&Reference, BTreeSet<usize>)> =
        found.into_iter().map(|reference| (reference, upload.shared(reference))).collect();
    // The one with more of the text counts; of equals, the operator's, then ours, then the first by name.
    places.sort_by_key(|(_, shared)| std::cmp::Reverse(shared.len()));
    let mut kept: Vec<(&Reference, BTreeSet<usize>)> = Vec::new();
    for (reference, shared) in places {
        if !kept.iter().any(|(_, larger)| shared.is_subset(larger)) {
            kept.push((reference, shared));
        }
    }
    kept.into_iter().map(|(reference, _)| reference).collect()
}

/// The paragraphs that belong to none of `references`.
fn beside<'u>(upload: &'u Upload, references: &[&Reference]) -> Vec<&'u Paragraph> {
    let is_in = |paragraphs: &[Paragraph], position: usize, plain: bool| {
        let hash = paragraphs.get(position).map(|paragraph| paragraph.hash);
        hash.is_some_and(|hash| {
            references.iter().any(|reference| is_plain(reference) == plain && reference.paragraphs.contains(hash))
        })
    };
    let is_beside = |(position, _): &(usize, &Paragraph)| {
        !is_in(&upload.paragraphs, *position, false) && !is_in(&upload.plain_paragraphs, *position, true)
    };
    let beside = upload.paragraphs.iter().enumerate().filter(is_beside).map(|(_, paragraph)| paragraph);
    beside.filter(|paragraph| !paragraph.is_about_copyright() || changes::may_restrict(&paragraph.words)).collect()
}

/// Whether nothing but headings stands between the clauses of `reference`.
fn is_in_one_piece(upload: &Upload, reference: &Reference) -> bool {
    let shared = upload.shared(reference);
    let (Some(first), Some(last)) = (shared.first(), shared.last()) else { return false };
    let is_foreign = |position: usize| {
        !shared.contains(&position) && upload.paragraphs.get(position).is_some_and(Paragraph::is_clause)
    };
    !(*first..=*last).any(is_foreign)
}

fn matched(reference: &Reference, upload: &Upload, beside: &[&Paragraph]) -> Match {
    let sample = upload.sample_for(reference);
    let score = fingerprint::similarity(&reference.sample, sample);
    let share = reference.discriminator_share(&upload.shingles);
    let is_version = share.is_none_or(|share| share >= LEAST_DISCRIMINATORS) && has_headings(reference, upload);
    let difference = TextDifference {
        nearest: reference.id.clone(),
        unmatched: quotes(beside.iter().copied()),
        unmatched_count: beside.len() as u64,
        ..TextDifference::default()
    };
    Match {
        id: reference.id.clone(),
        score,
        kind: if is_version { MatchKind::ExactVersion } else { MatchKind::FamilyVersionUnknown },
        difference: (!beside.is_empty()).then_some(difference),
    }
}

/// A version's name and date may stand in headings alone. Only our own fingerprints are of
/// texts that have siblings; elsewhere headings are left out and changed without meaning.
fn has_headings(reference: &Reference, upload: &Upload) -> bool {
    let own: BTreeSet<u32> = upload.paragraphs.iter().map(|paragraph| paragraph.hash).collect();
    !matches!(reference.body, Body::Hashes) || reference.paragraphs.headings.is_subset(&own)
}

fn quotes<'p>(paragraphs: impl Iterator<Item = &'p Paragraph>) -> Vec<String> {
    paragraphs.take(MAX_QUOTES).map(|paragraph| paragraph.quote.clone()).collect()
}

/// A text that is at hand as a whole, and from which the upload differs in names alone.
fn with_names_filled_in(catalog: &Catalog, text: &str, upload: &Upload) -> Option<Detection> {
    let plain = NormalizedText::new(&without_addresses(text));
    let own = catalog.references().near(&upload.sample, SPDX_NEAR);
    let near = own.into_iter().chain(SPDX.near(&upload.plain_sample, SPDX_NEAR));
    let is_same = |reference: &Reference| {
        let words = if is_plain(reference) { plain.words() } else { &upload.words };
        let original = reference.text().map(|original| NormalizedText::new(&original));
        original.is_some_and(|original| changes::are_harmless(original.words(), words))
    };
    let licenses = near.filter(|(_, reference)| reference.kind == Kind::License).take(MAX_NEAR);
    let (score, reference) = licenses.into_iter().find(|(_, reference)| is_same(reference))?;
    let kind = MatchKind::ExactVersion;
    Some(Detection::License(Match { id: reference.id.clone(), score, kind, difference: None }))
}

/// The lines that a license asks to put into files, and nothing else that says anything.
fn header(upload: &Upload) -> Option<Detection> {
    let clauses = ParagraphHashes::of(&upload.plain_paragraphs).clauses;
    let found = SPDX.contained(&clauses).into_iter().filter(|reference| reference.kind == Kind::Header);
    let header = found.max_by_key(|reference| reference.words)?;
    let beside = beside(upload, &[header]);
    let words: Vec<&String> = beside.iter().flat_map(|paragraph| &paragraph.words).collect();
    let is_harmless = words.len() <= MAX_WORDS_BESIDE && !changes::may_restrict(words);
    let found = || Match { id: header.id.clone(), score: 1.0, kind: MatchKind::Reference, difference: None };
    is_harmless.then(|| Detection::Header(found()))
}

/// The license that a text was probably made from.
fn nearest(catalog: &Catalog, text: &str, upload: &Upload) -> Detection {
    let mut own = catalog.references().near(&upload.sample, MODIFIED);
    own.extend(FINGERPRINTS.near(&upload.sample, MODIFIED));
    own.sort_by(|left, right| right.0.total_cmp(&left.0));
    let spdx = nearest_of_spdx(text, upload);
    let best = own.first().copied().into_iter().chain(spdx).max_by(|left, right| left.0.total_cmp(&right.0));
    let Some((score, reference)) = best else { return Detection::Unknown };
    let siblings =
        own.iter().filter(|(score, other)| *score >= FAMILY && is_sibling(catalog, reference, other)).count();
    let shares = own.iter().filter_map(|(_, reference)| reference.discriminator_share(&upload.shingles));
    let is_of_family = siblings > 0 && score >= FAMILY && shares.fold(0.0, f64::max) < LEAST_DISCRIMINATORS;
    let kind = if is_of_family { MatchKind::FamilyVersionUnknown } else { MatchKind::Modified };
    let difference = Some(difference(reference, upload));
    Detection::Modified(Match { id: reference.id.clone(), score, kind, difference })
}

fn nearest_of_spdx(text: &str, upload: &Upload) -> Option<(f64, &'static Reference)> {
    let near = SPDX.near(&upload.plain_sample, SPDX_NEAR);
    if near.is_empty() {
        return None;
    }
    let text = TextData::new(text);
    let score = |reference: &'static Reference| match reference.body {
        Body::Spdx(data) => Some((f64::from(data.match_score(&text)), reference)),
        Body::Hashes | Body::Operator(_) => None,
    };
    let scores = near.into_iter().take(MAX_NEAR).filter_map(|(_, reference)| score(reference));
    scores.filter(|(score, _)| *score >= SPDX_MODIFIED).max_by(|left, right| left.0.total_cmp(&right.0))
}

fn is_sibling(catalog: &Catalog, left: &Reference, right: &Reference) -> bool {
    let family = |reference: &Reference| catalog.find(&reference.id).map(|license| license.family.as_str());
    left.id != right.id && family(left).is_some() && family(left) == family(right)
}

/// What `upload` has that `reference` has not, and the other way round.
fn difference(reference: &Reference, upload: &Upload) -> TextDifference {
    let shared = upload.shared(reference);
    let unmatched: Vec<&Paragraph> = upload
        .paragraphs
        .iter()
        .enumerate()
        .filter(|(position, _)| !shared.contains(position))
        .map(|(_, paragraph)| paragraph)
        .collect();
    let own: &[Paragraph] = if is_plain(reference) { &upload.plain_paragraphs } else { &upload.paragraphs };
    let own: BTreeSet<u32> = own.iter().map(|paragraph| paragraph.hash).collect();
    let original = reference.text().map(|text| paragraphs::split(&text)).unwrap_or_default();
    let missing = original.iter().filter(|paragraph| paragraph.is_clause() && !own.contains(&paragraph.hash));
    TextDifference {
        nearest: reference.id.clone(),
        unmatched: quotes(unmatched.iter().copied()),
        unmatched_count: unmatched.len() as u64,
        missing: quotes(missing),
        missing_count: reference.paragraphs.clauses.difference(&own).count() as u64,
    }
}
