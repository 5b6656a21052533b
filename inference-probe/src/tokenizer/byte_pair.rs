//! Byte-pair vocabularies of GGUF headers, with the ids of llama.cpp.
//!
//! The header has the vocabulary and the merges, but only a name for the rule by which a text is
//! cut into words first, and no list of the tokens that are cut out of it before that.

mod splitting;

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Inner};
use verifier::format::gguf::{Array, Header, Value};

use super::gguf::{special_id, tokens};
use super::{END_OF_TURN_TEXTS, TokenizerError};
use splitting::Splitting;

/// Values of `tokenizer.ggml.token_type`.
const TYPE_UNKNOWN: i32 = 2;
const TYPE_CONTROL: i32 = 3;
const TYPE_USER_DEFINED: i32 = 4;

pub(super) struct BytePairs {
    inner: Inner,
    /// Longest first, the order in which llama.cpp looks for them.
    marks: Vec<Mark>,
    /// Merges that make no token, and so cannot be followed.
    lost_merges: usize,
    begins: bool,
}

/// A token that is found in a text before the text is cut into words.
struct Mark {
    text: String,
    id: u32,
    /// Whether it is also found in plain text.
    is_plain: bool,
}

/// A text in which marks have been found.
enum Piece<'t> {
    Text(&'t str),
    Mark(u32),
}

impl BytePairs {
    pub(super) fn from_header(header: &Header) -> Result<Self, TokenizerError> {
        let name = header.get("tokenizer.ggml.pre").and_then(Value::as_str).unwrap_or("default");
        let unsupported = || TokenizerError::Unsupported(format!("`gpt2` with the splitter `{name}`"));
        let splitting = splitting::find(name).ok_or_else(unsupported)?;
        let vocabulary: Vocab = tokens(header).iter().cloned().zip(0..).collect();
        let missing = || TokenizerError::Broken("`tokenizer.ggml.merges` is missing".to_owned());
        let lines = header.get("tokenizer.ggml.merges").ok_or_else(missing)?.as_array().and_then(Array::as_strings);
        let (merges, lost_merges) = merges(lines.unwrap_or_default(), &vocabulary);
        let marks = marks(header, &vocabulary);
        let model = BPE::builder().vocab_and_merges(vocabulary, merges).ignore_merges(splitting.keeps_whole_words);
        // What one probe tokenizes is too little for a cache to pay.
        let mut inner = Inner::new(model.cache_capacity(0).build().map_err(broken)?);
        inner.with_pre_tokenizer(Some(pre_tokenizer(splitting)?));
        inner.with_decoder(Some(ByteLevel::default()));
        Ok(Self { inner, marks, lost_merges, begins: splitting.begins })
    }

    /// Whether a document begins with a token where the header does not say.
    pub(super) fn begins(&self) -> bool {
        self.begins
    }

    /// What no golden of llama.cpp covers, in words.
    pub(super) fn unverified(&self) -> Option<String> {
        (self.lost_merges > 0).then(|| format!("has {} merges that make no token", self.lost_merges))
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// The tokens of a text; `finds_control` says whether texts of control tokens stand for those tokens.
    pub(super) fn encode(&self, text: &str, finds_control: bool) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        for piece in self.cut(text, finds_control) {
            match piece {
                Piece::Mark(id) => ids.push(id),
                Piece::Text(text) => {
                    ids.extend_from_slice(self.inner.encode_fast(text, false).map_err(broken)?.get_ids());
                }
            }
        }
        Ok(ids)
    }

    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(broken)
    }

    fn cut<'t>(&self, text: &'t str, finds_control: bool) -> Vec<Piece<'t>> {
        let mut pieces = vec![Piece::Text(text)];
        let wanted = self.marks.iter().filter(|mark| mark.is_plain || finds_control);
        for mark in wanted.filter(|mark| text.contains(&mark.text)) {
            pieces = pieces.into_iter().flat_map(|piece| piece.cut(mark)).collect();
        }
        pieces
    }
}

impl Piece<'_> {
    fn cut(self, mark: &Mark) -> Vec<Self> {
        let Piece::Text(text) = self else { return vec![self] };
        let mut pieces = Vec::new();
        for (number, text) in text.split(mark.text.as_str()).enumerate() {
            pieces.extend((number > 0).then_some(Piece::Mark(mark.id)));
            pieces.extend((!text.is_empty()).then_some(Piece::Text(text)));
        }
        pieces
    }
}

fn pre_tokenizer(splitting: &Splitting) -> Result<Sequence, TokenizerError> {
    let split = |rule: &&str| {
        Split::new(SplitPattern::Regex((*rule).to_owned()), SplitDelimiterBehavior::Isolated, false).map(Into::into)
    };
    let rules: Result<Vec<PreTokenizerWrapper>, _> = splitting.rules.iter().map(split).collect();
    let mut steps = rules.map_err(broken)?;
    steps.push(ByteLevel::new(false, false, false).into());
    Ok(Sequence::new(steps))
}

/// The merges, without those that the vocabulary does not allow, and the number of these.
fn merges(lines: &[String], vocabulary: &Vocab) -> (Merges, usize) {
    let mut merged = String::new();
    let mut is_possible = |left: &str, right: &str| {
        merged.clear();
        merged.extend([left, right]);
        [left, right, &merged].iter().all(|text| vocabulary.contains_key(*text))
    };
    let pairs = lines.iter().filter_map(|line| pair(line)).filter(|(left, right)| is_possible(left, right));
    let merges: Merges = pairs.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
    let lost = lines.len() - merges.len();
    (merges, lost)
}

/// A merge is two texts with a space between them; neither is empty.
fn pair(line: &str) -> Option<(&str, &str)> {
    let second = line.chars().next()?.len_utf8();
    let space = second + line[second..].find(' ')?;
    Some((&line[..space], &line[space + 1..]))
}

fn marks(header: &Header, vocabulary: &Vocab) -> Vec<Mark> {
    let types = match header.get("tokenizer.ggml.token_type").and_then(Value::as_array) {
        Some(Array::I32(types)) => types.as_slice(),
        _ => &[],
    };
    let by_type = tokens(header).iter().zip(types).zip(0..).filter_map(|((text, kind), id)| {
        let is_mark = matches!(*kind, TYPE_UNKNOWN | TYPE_CONTROL | TYPE_USER_DEFINED);
        is_mark.then(|| Mark { text: text.clone(), id, is_plain: *kind == TYPE_USER_DEFINED })
    });
    // Some files do not mark even the tokens that they name.
    let text_of = |name: &&str| tokens(header).get(special_id(header, name)? as usize);
    let named = ["bos", "eos", "eot", "eom"].iter().filter_map(text_of).map(String::as_str);
    let known = named.chain(END_OF_TURN_TEXTS.iter().copied());
    let known =
        known.filter_map(|text| Some(Mark { text: text.to_owned(), id: *vocabulary.get(text)?, is_plain: false }));
    let mut marks: Vec<Mark> = by_type.chain(known).filter(|mark| !mark.text.is_empty()).collect();
    let mut seen = HashSet::new();
    marks.retain(|mark| seen.insert(mark.text.clone()));
    marks.sort_by_key(|mark| std::cmp::Reverse(mark.text.len()));
    marks
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use weighhouse_tests::gguf::architectures;

    use super::*;

    fn header(splitting: &str) -> Header {
        let known = architectures::SPLITTINGS.iter().find(|known| **known == splitting).unwrap();
        verifier::format::gguf::read_header(&architectures::byte_pairs(known)).unwrap()
    }

    #[test]
    fn every_name_of_a_splitting_has_a_golden() {
        let names: HashSet<&str> = splitting::SPLITTINGS.iter().flat_map(|known| known.names).copied().collect();
        let held: HashSet<&str> = architectures::SPLITTINGS.iter().copied().collect();
        assert_eq!(held.difference(&names).collect::<Vec<_>>(), [&"kimi-k2"]);
        assert_eq!(names.difference(&held).count(), 0);
    }

    #[test]
    fn a_name_that_is_not_known_is_unsupported() {
        assert!(matches!(BytePairs::from_header(&header("kimi-k2")), Err(TokenizerError::Unsupported(_))));
    }

    #[test]
    fn a_header_without_merges_is_broken_and_one_with_unknown_merges_not_verified() {
        let mut header = header("gpt-2");
        let number = header.metadata.iter().position(|(key, _)| key == "tokenizer.ggml.merges").unwrap();
        header.metadata[number].1 = Value::Array(Array::Strings(vec!["h e".to_owned(), "he z".to_owned()]));
        assert_eq!(BytePairs::from_header(&header).unwrap().unverified().unwrap(), "has 1 merges that make no token");
        header.metadata.remove(number);
        assert!(matches!(BytePairs::from_header(&header), Err(TokenizerError::Broken(_))));
    }

    #[test]
    fn a_merge_is_cut_at_the_space_between_its_parts() {
        assert_eq!(pair("Ġt he"), Some(("Ġt", "he")));
        assert_eq!(pair("  b"), Some((" ", "b")));
        assert_eq!((pair("ab"), pair("")), (None, None));
    }

    #[test]
    fn the_longest_mark_is_cut_out_first_and_control_tokens_only_in_chats() {
        let mark = |text: &str, id, is_plain| Mark { text: text.to_owned(), id, is_plain };
        let mut pairs = BytePairs::from_header(&header("gpt-2")).unwrap();
        pairs.marks = vec![mark("<a><b>", 901, false), mark("  ", 902, true), mark("<a>", 903, false)];
        let ids = |text: &str, finds_control| pairs.encode(text, finds_control).unwrap();
        assert_eq!(ids("<a><a><b>", true), [903, 901]);
        assert_eq!(ids("<a>  ", false).last(), Some(&902));
        assert!(ids("<a>", false).iter().all(|id| *id < 900));
        assert_eq!(ids("", true), [0_u32; 0]);
    }
}
