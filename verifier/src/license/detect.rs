//! Names the license of a text.
//!
//! First the hash of the normalized text, then similarity against our fingerprints of AI
//! licenses and the `spdx` crate's texts. A similar text is named only if it holds the words
//! that set that version apart; a changed text is reported as changed and never as the
//! license it was made from.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use spdx::detection::{Store, TextData};

use super::fingerprint::{self, Fingerprint, NormalizedText};

/// Texts below this number of words are notes about a license, not a license.
const LEAST_WORDS: usize = 40;
/// Sampled shingles in which a text may differ from a license and still be it: about sixteen
/// shingles in all, which is a line added above the text.
const MAX_DIFFERENCE: usize = 4;
/// Similarity of shingles from which a text is a changed version of a license.
const MODIFIED: f64 = 0.75;
/// Share of a version's own shingles that must occur in a text of that version.
const LEAST_DISCRIMINATORS: f64 = 0.8;
/// Similarity from which the `spdx` crate's best match is looked at; it compares pairs of words.
const SPDX_MODIFIED: f64 = 0.90;
/// Words that may be added to or missing from a text of SPDX's list: names, titles, a year.
const MAX_CHANGED_WORDS: usize = 20;
/// Added words that change what a license allows, however few they are.
const RESTRICTIVE_WORDS: [&str; 24] = [
    "academic",
    "additional",
    "agree",
    "commercial",
    "commons",
    "condition",
    "educational",
    "ethical",
    "evaluation",
    "except",
    "forbidden",
    "however",
    "internal",
    "noncommercial",
    "non",
    "not",
    "only",
    "permission",
    "personal",
    "prohibited",
    "provided",
    "research",
    "restricted",
    "unless",
];

/// What a text is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Detection {
    /// The text of this license.
    License { id: String, score: f64 },
    /// A document that a license incorporates, such as a use policy.
    Incorporated { id: String, score: f64 },
    /// Close to this license's text and not equal to it.
    Modified { nearest: String, score: f64 },
    /// No license text known here.
    Unknown,
}

/// Judges `text`, which the caller has bounded.
pub(super) fn detect(text: &str) -> Detection {
    let normalized = NormalizedText::new(text);
    if normalized.words().len() < LEAST_WORDS {
        return Detection::Unknown;
    }
    let sha256 = normalized.sha256();
    if let Some(known) = KNOWN.iter().find(|known| known.fingerprint.sha256 == sha256) {
        return known.named(1.0);
    }
    match by_fingerprint(&normalized) {
        named @ (Detection::License { .. } | Detection::Incorporated { .. }) => named,
        likeness @ (Detection::Modified { .. } | Detection::Unknown) => better(likeness, by_spdx(text)),
    }
}

fn by_fingerprint(text: &NormalizedText) -> Detection {
    let shingles = text.shingles();
    let sample = fingerprint::sample(&shingles);
    let all: BTreeSet<u32> = shingles.iter().map(|hash| fingerprint::shorten(*hash)).collect();
    let nearest = KNOWN
        .iter()
        .map(|known| (known, fingerprint::similarity(&known.shingles, &sample), known.discriminator_share(&all)))
        .max_by(|left, right| (left.1, left.2).partial_cmp(&(right.1, right.2)).unwrap_or(std::cmp::Ordering::Equal));
    nearest.map_or(Detection::Unknown, |(known, score, discriminators)| {
        let difference = known.shingles.symmetric_difference(&sample).count();
        if difference <= MAX_DIFFERENCE && discriminators >= LEAST_DISCRIMINATORS {
            known.named(score)
        } else if score >= MODIFIED {
            Detection::Modified { nearest: known.fingerprint.id.clone(), score }
        } else {
            Detection::Unknown
        }
    })
}

/// A name beats a likeness, a likeness beats nothing, and of two likenesses the closer counts.
fn better(ours: Detection, spdx: Detection) -> Detection {
    match (&ours, &spdx) {
        (_, Detection::License { .. }) | (Detection::Unknown, _) => spdx,
        (Detection::Modified { score: ours_score, .. }, Detection::Modified { score, .. }) if score > ours_score => {
            spdx
        }
        _ => ours,
    }
}

/// The texts of SPDX's list. `None` if the crate's built-in cache cannot be read, in which
/// case SPDX texts stay unknown and so lead to a review.
static SPDX_TEXTS: LazyLock<Option<Store>> = LazyLock::new(|| Store::load_inline().ok());

/// The nearest text that is the same license, else the nearest one. The nearest alone would
/// not do: a copy of Apache-2.0 without its appendix is closer to a license made from it.
fn by_spdx(text: &str) -> Detection {
    let Some(store) = SPDX_TEXTS.as_ref() else { return Detection::Unknown };
    let text = TextData::new(text);
    let mut near: Vec<(f64, &str, &TextData)> = store
        .iter()
        .flat_map(|(id, entry)| {
            std::iter::once(&entry.original).chain(&entry.alternates).map(|data| (id.as_str(), data))
        })
        .map(|(id, data)| (f64::from(data.match_score(&text)), id, data))
        .filter(|(score, ..)| *score >= SPDX_MODIFIED)
        .collect();
    near.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
    let same = near.iter().find(|(.., data)| is_same_license(text.lines(), data.lines()));
    match (same, near.first()) {
        (Some((score, id, _)), _) => Detection::License { id: (*id).to_owned(), score: *score },
        (None, Some((score, id, _))) => Detection::Modified { nearest: (*id).to_owned(), score: *score },
        (None, None) => Detection::Unknown,
    }
}

/// Whether `text` is `original` but for names and titles. One sentence added to a long license
/// leaves similarity near 1 and may turn its meaning round, so the words are compared.
fn is_same_license(text: &[String], original: &[String]) -> bool {
    let text = NormalizedText::new(&text.join("\n"));
    let original = NormalizedText::new(&original.join("\n"));
    let original_words = without_appendix(original.words(), text.words());
    let added = surplus(text.words(), original_words);
    added.len() <= MAX_CHANGED_WORDS
        && surplus(original_words, text.words()).len() <= MAX_CHANGED_WORDS
        && !added.iter().any(|word| RESTRICTIVE_WORDS.contains(word))
}

/// Apache and GNU licenses end with advice on how to apply them, which copies often leave out.
fn without_appendix<'w>(original: &'w [String], text: &[String]) -> &'w [String] {
    const END: [&str; 5] = ["end", "of", "terms", "and", "conditions"];
    let end = original.windows(END.len()).position(|words| words == END).map(|start| start + END.len());
    match end {
        Some(end) if text.ends_with(&END.map(str::to_owned)) => &original[..end],
        _ => original,
    }
}

/// The words that `left` has more often than `right`, each as often.
fn surplus<'w>(left: &'w [String], right: &[String]) -> Vec<&'w str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in right {
        *counts.entry(word).or_default() += 1;
    }
    let mut take =
        |word: &str| counts.get_mut(word).is_some_and(|count| count.checked_sub(1).map(|left| *count = left).is_some());
    left.iter().map(String::as_str).filter(|word| !take(word)).collect()
}

/// Parsed once; a test asserts that the built-in data parses.
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("../../data/license-fingerprints.json")).unwrap_or_default();
    file.fingerprints.into_iter().filter_map(Known::decode).collect()
});

#[derive(Default, Deserialize)]
struct File {
    fingerprints: Vec<Fingerprint>,
}

struct Known {
    fingerprint: Fingerprint,
    shingles: BTreeSet<u32>,
    discriminators: BTreeSet<u32>,
}

impl Known {
    fn decode(fingerprint: Fingerprint) -> Option<Self> {
        let shingles = decode_hashes(&fingerprint.shingles)?;
        let discriminators = decode_hashes(&fingerprint.discriminators)?;
        Some(Self { fingerprint, shingles, discriminators })
    }

    fn named(&self, score: f64) -> Detection {
        let id = self.fingerprint.id.clone();
        if self.fingerprint.kind == "license" {
            Detection::License { id, score }
        } else {
            Detection::Incorporated { id, score }
        }
    }

    fn discriminator_share(&self, text: &BTreeSet<u32>) -> f64 {
        if self.discriminators.is_empty() {
            return 0.0;
        }
        let found = self.discriminators.intersection(text).count();
        fingerprint::share(found, self.discriminators.len())
    }
}

fn decode_hashes(text: &str) -> Option<BTreeSet<u32>> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(bytes.chunks_exact(4).filter_map(|chunk| chunk.try_into().ok()).map(u32::from_be_bytes).collect())
}
