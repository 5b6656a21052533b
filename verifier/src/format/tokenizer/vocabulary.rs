//! The tokens of a vocabulary and its merges, kept as hashes.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most tokens or merges that are kept; the largest vocabularies in use have 262,144 tokens and 600,000 merges.
const MAX_ENTRIES: usize = 1_200_000;
/// Most merges kept until the vocabulary is known, where a file lists them first.
const MAX_KEPT_MERGES: usize = 400_000;
/// Highest number of a token that is kept track of.
const MAX_ID: u64 = 16 * 1024 * 1024;

/// What is known of a vocabulary.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    pub(super) count: usize,
    hashes: HashSet<u64>,
    hasher: RandomState,
    /// A bit for each number in use.
    ids: Vec<u64>,
    pub(super) highest: Option<u64>,
    /// The first token that is listed twice, number used twice, and number that is none.
    pub(super) repeated_token: Option<String>,
    pub(super) repeated_id: Option<u64>,
    pub(super) wrong_id: Option<String>,
    is_complete: bool,
    /// Merges that came before the vocabulary.
    kept_merges: Vec<[u64; 3]>,
    pub(super) merge_count: usize,
    /// Merges of tokens that the vocabulary lacks, and those that only make such.
    lacking_parts: usize,
    lacking_whole: usize,
    pub(super) is_too_large: bool,
}

impl Vocabulary {
    fn add<E: serde::de::Error>(&mut self, token: &str, id: Option<u64>) -> Result<(), E> {
        self.count += 1;
        if self.count > MAX_ENTRIES {
            self.is_too_large = true;
            return Err(E::custom("too many tokens"));
        }
        if !self.hashes.insert(self.hasher.hash_one(token)) {
            self.repeated_token.get_or_insert_with(|| token.to_owned());
        }
        match id {
            Some(id) if id < MAX_ID => self.take_id(id),
            _ => {
                self.wrong_id.get_or_insert_with(|| token.to_owned());
            }
        }
        Ok(())
    }

    fn take_id(&mut self, id: u64) {
        let (word, bit) = (usize::try_from(id / 64).unwrap_or(0), 1 << (id % 64));
        if self.ids.len() <= word {
            self.ids.resize(word + 1, 0);
        }
        if self.ids[word] & bit != 0 {
            self.repeated_id.get_or_insert(id);
        }
        self.ids[word] |= bit;
        self.highest = self.highest.max(Some(id));
    }

    fn add_merge<E: serde::de::Error>(&mut self, first: &str, second: &str) -> Result<(), E> {
        self.merge_count += 1;
        if self.merge_count > MAX_ENTRIES {
            self.is_too_large = true;
            return Err(E::custom("too many merges"));
        }
        let whole = [first, second].concat();
        let merge = [first, second, &whole].map(|part| self.hasher.hash_one(part));
        if self.is_complete {
            self.judge_merge(merge);
        } else if self.kept_merges.len() < MAX_KEPT_MERGES {
            self.kept_merges.push(merge);
        } else {
            self.is_too_large = true;
            return Err(E::custom("too many merges before the vocabulary"));
        }
        Ok(())
    }

    fn judge_merge(&mut self, [first, second, whole]: [u64; 3]) {
        if !self.hashes.contains(&first) || !self.hashes.contains(&second) {
            self.lacking_parts += 1;
        } else if !self.hashes.contains(&whole) {
            self.lacking_whole += 1;
        }
    }

    fn complete(&mut self) {
        self.is_complete = true;
        for merge in std::mem::take(&mut self.kept_merges) {
            self.judge_merge(merge);
        }
    }

    /// How many merges join or make tokens that the vocabulary lacks.
    pub(super) const fn missing_merges(&self, joins_plainly: bool) -> usize {
        if joins_plainly { self.lacking_parts + self.lacking_whole } else { self.lacking_parts }
    }
}

/// `{token: number}`, or for Unigram models `[[token, score]]`.
pub(super) struct Tokens<'v>(pub(super) &'v mut Vocabulary);

impl<'de> DeserializeSeed<'de> for Tokens<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tokens<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a vocabulary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(token) = map.next_key::<String>()? {
            let id =
                map.next_value::<serde_json::Number>().map_err(|_| A::Error::custom("a token without a number"))?;
            self.0.add(&token, id.as_u64())?;
        }
        self.0.complete();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some((token, _)) = sequence.next_element::<(String, IgnoredAny)>()? {
            let id = self.0.count as u64;
            self.0.add(&token, Some(id))?;
        }
        self.0.complete();
        Ok(())
    }
}

/// `["a b"]` or `[["a", "b"]]`.
pub(super) struct Merges<'v>(pub(super) &'v mut Vocabulary);

impl<'de> DeserializeSeed<'de> for Merges<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Merges<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Merge {
            Line(String),
            Pair(String, String),
        }
        while let Some(merge) = sequence.next_element::<Merge>()? {
            match merge {
                Merge::Line(line) => match line.split_once(' ') {
                    Some((first, second)) => self.0.add_merge(first, second)?,
                    None => return Err(A::Error::custom("a merge of one token")),
                },
                Merge::Pair(first, second) => self.0.add_merge(&first, &second)?,
            }
        }
        Ok(())
    }
}
