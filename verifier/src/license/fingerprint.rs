//! Fingerprints of license texts.
//!
//! The texts of AI licenses belong to their licensors, so the product carries hashes of them
//! and never a text. Siblings differ in a name and a date only (the Llama texts are 98 %
//! alike), so each fingerprint also holds hashes that occur in that text and in no other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

/// Words per shingle.
const SHINGLE_WORDS: usize = 5;
/// One shingle of this many is kept for similarity.
const SAMPLE: u64 = 4;

/// The words of a text without case, punctuation and layout.
#[derive(Debug, Clone)]
pub struct NormalizedText {
    words: Vec<String>,
}

impl NormalizedText {
    pub fn new(text: &str) -> Self {
        let folded: String = text.nfkc().flat_map(char::to_lowercase).collect();
        let words = folded
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        Self { words }
    }

    /// In lower case and in the order of the text.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    pub(super) fn into_words(self) -> Vec<String> {
        self.words
    }

    /// Hex SHA-256 of the words, joined by single spaces.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.words.join(" ")))
    }

    /// Hashes of all runs of five words.
    pub fn shingles(&self) -> BTreeSet<u64> {
        self.words.windows(SHINGLE_WORDS).map(hash_words).collect()
    }
}

/// FNV-1a, 64 bits: stable over releases and machines, which is all that is asked of it here.
fn hash_words(words: &[String]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = words.iter().flat_map(|word| word.bytes().chain(std::iter::once(b' ')));
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// Short hash of all `words`, as paragraphs are known by.
pub(super) fn hash_of(words: &[String]) -> u32 {
    shorten(hash_words(words))
}

/// The part of `shingles` that is kept for comparison: a quarter, chosen by hash, so that
/// the same shingle is kept or dropped in every text.
pub fn sample(shingles: &BTreeSet<u64>) -> BTreeSet<u32> {
    shingles.iter().filter(|hash| *hash % SAMPLE == 0).map(|hash| shorten(*hash)).collect()
}

/// The upper half of a shingle's hash, as fingerprints store it.
pub const fn shorten(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Sørensen–Dice similarity in 0..=1.
pub(super) fn similarity(left: &BTreeSet<u32>, right: &BTreeSet<u32>) -> f64 {
    let total = left.len() + right.len();
    if total == 0 { 0.0 } else { 2.0 * share(left.intersection(right).count(), total) }
}

#[expect(clippy::cast_precision_loss, reason = "counts of shingles are far below 2^52")]
pub(super) fn share(part: usize, total: usize) -> f64 {
    part as f64 / total as f64
}

/// What is kept of one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// SPDX id or `LicenseRef-…` of the license the text belongs to.
    pub id: String,
    /// `license`, or `use-policy` for a document that a license incorporates.
    pub kind: String,
    /// Number of words of the text.
    pub words: usize,
    /// See [`NormalizedText::sha256`].
    pub sha256: String,
    /// Base64 of the sampled shingles, each four bytes big-endian, ascending.
    pub shingles: String,
    /// Base64 of shingles that occur in no other text, in the same encoding.
    pub discriminators: String,
    /// Base64 of the hashes of the text's clauses, in the same encoding.
    pub clauses: String,
    /// Base64 of the hashes of its headings and copyright lines, in the same encoding.
    pub headings: String,
}
