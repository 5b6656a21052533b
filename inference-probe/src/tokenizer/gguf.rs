//! The tokenizer of a GGUF header: a vocabulary of one of two kinds, and the tokens that begin and
//! end a text.

use verifier::format::gguf::{Header, Value};

use super::byte_pair::BytePairs;
use super::sentence_piece::SentencePiece;
use super::{END_OF_TURN_TEXTS, TokenizerError};

pub(super) struct GgufTokenizer {
    pieces: Pieces,
    size: usize,
    begin: Option<String>,
    end: Option<String>,
    ends: Vec<u32>,
    /// The tokens put before and after a document.
    frame: (Option<u32>, Option<u32>),
}

/// How a text becomes tokens.
enum Pieces {
    Sentence(Box<SentencePiece>),
    Bytes(Box<BytePairs>),
}

impl Pieces {
    fn id(&self, text: &str) -> Option<u32> {
        match self {
            Self::Sentence(pieces) => pieces.id(text),
            Self::Bytes(pieces) => pieces.id(text),
        }
    }
}

impl GgufTokenizer {
    pub(super) fn from_header(header: &Header) -> Result<Self, TokenizerError> {
        let flag = |key: &str| header.get(&format!("tokenizer.ggml.{key}")).and_then(Value::as_bool);
        let (pieces, begins) = match header.get("tokenizer.ggml.model").and_then(Value::as_str) {
            Some("llama") => (Pieces::Sentence(Box::new(SentencePiece::from_header(header)?)), true),
            Some("gpt2") => {
                let pairs = BytePairs::from_header(header)?;
                let begins = pairs.begins();
                (Pieces::Bytes(Box::new(pairs)), begins)
            }
            Some(other) => return Err(TokenizerError::Unsupported(format!("`{other}`"))),
            None => return Err(TokenizerError::Broken("`tokenizer.ggml.model` is missing".to_owned())),
        };
        let begin = special_id(header, "bos").filter(|_| flag("add_bos_token").unwrap_or(begins));
        let end = special_id(header, "eos").filter(|_| flag("add_eos_token").unwrap_or(false));
        let text = |name: &str| Some(tokens(header).get(special_id(header, name)? as usize)?.clone());
        Ok(Self {
            size: tokens(header).len(),
            begin: text("bos"),
            end: text("eos"),
            ends: ends(header, &pieces),
            frame: (begin, end),
            pieces,
        })
    }

    /// What no golden of llama.cpp covers of the tokenizer, in words.
    pub(super) fn unverified(&self) -> Option<String> {
        match &self.pieces {
            Pieces::Sentence(_) => None,
            Pieces::Bytes(pieces) => pieces.unverified(),
        }
    }

    /// The number of entries of the vocabulary.
    pub(super) fn vocabulary_size(&self) -> usize {
        self.size
    }

    /// Tokens after which a turn or text is over.
    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The text of the token that begins a text, for chat templates.
    pub(super) fn begin_text(&self) -> Option<&str> {
        self.begin.as_deref()
    }

    /// The text of the token that ends a text, for chat templates.
    pub(super) fn end_text(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// Plain text, without special tokens.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, false, false)
    }

    /// Plain text with the tokens that the model wants at its beginning and end.
    pub(super) fn encode_document(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, true, false)
    }

    /// A rendered chat, in which the texts of special tokens stand for those tokens. The beginning
    /// is added only where the template did not write it.
    pub(super) fn encode_chat(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let begun = self.begin.as_ref().is_some_and(|begin| !begin.is_empty() && text.starts_with(begin));
        self.encode_with(text, !begun, true)
    }

    fn encode_with(&self, text: &str, add_special: bool, finds_control: bool) -> Result<Vec<u32>, TokenizerError> {
        let tokens = match &self.pieces {
            Pieces::Sentence(pieces) => pieces.encode(text, finds_control)?,
            Pieces::Bytes(pieces) => pieces.encode(text, finds_control)?,
        };
        let (begin, end) = if add_special { self.frame } else { (None, None) };
        Ok(begin.into_iter().chain(tokens).chain(end).collect())
    }

    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        match &self.pieces {
            Pieces::Sentence(pieces) => pieces.decode(tokens),
            Pieces::Bytes(pieces) => pieces.decode(tokens),
        }
    }
}

/// Tokens after which a turn or text is over.
fn ends(header: &Header, pieces: &Pieces) -> Vec<u32> {
    let mut ends: Vec<u32> = ["eos", "eot", "eom"].iter().filter_map(|name| special_id(header, name)).collect();
    ends.extend(END_OF_TURN_TEXTS.iter().filter_map(|text| pieces.id(text)));
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// The texts of the vocabulary, empty where the header has none.
pub(crate) fn tokens(header: &Header) -> &[String] {
    header.get("tokenizer.ggml.tokens").and_then(|value| value.as_array()?.as_strings()).unwrap_or_default()
}

/// The id that `tokenizer.ggml.NAME_token_id` gives.
pub(crate) fn special_id(header: &Header, name: &str) -> Option<u32> {
    header.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use weighhouse_tests::gguf::architectures;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::checks::run::CALIBRATION_TEXT;
    use crate::engine::test_models::file;
    use crate::tokenizer::Tokenizer;

    /// SmolLM2's tokenizer, or none where the model is not on this machine.
    fn smollm2() -> Option<GgufTokenizer> {
        let folder = weighhouse_tests::environment::models()?;
        let path = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
        let source = verifier::FileReader::open(&path).unwrap();
        let header = verifier::format::gguf::read_header(&source).unwrap();
        Some(GgufTokenizer::from_header(&header).unwrap())
    }

    /// The ids that llama.cpp gives: digits one by one, no space put before the first word, runs of spaces kept.
    #[test]
    fn ids_are_those_of_llama_cpp() {
        let Some(tokenizer) = smollm2() else { return };
        assert_eq!(tokenizer.encode("system").unwrap(), [9690]);
        assert_eq!(tokenizer.encode("  2024 café").unwrap(), [256, 34, 32, 34, 36, 37366]);
        let calibration = tokenizer.encode_document(CALIBRATION_TEXT).unwrap();
        assert_eq!(calibration.len(), 77);
        assert_eq!(calibration[..8], [12615, 314, 1895, 327, 1029, 335, 2591, 30]);
    }

    #[test]
    fn texts_of_special_tokens_are_tokens_in_a_chat_and_text_elsewhere() {
        let Some(tokenizer) = smollm2() else { return };
        assert_eq!(tokenizer.encode_chat("<|im_end|>").unwrap(), [2]);
        assert!(tokenizer.encode("<|im_end|>").unwrap().len() > 1);
        assert!(tokenizer.ends().contains(&2));
    }

    #[derive(serde::Deserialize)]
    struct Sample {
        text: String,
        plain: Vec<u32>,
        document: Vec<u32>,
        /// Where control tokens are found.
        control: Vec<u32>,
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        texts: Vec<Sample>,
    }

    #[derive(serde::Deserialize)]
    struct Splittings {
        texts: Vec<String>,
        splittings: Vec<Splitting>,
    }

    #[derive(serde::Deserialize)]
    struct Splitting {
        name: String,
        empty_document: Vec<u32>,
        plain: Vec<Vec<u32>>,
    }

    fn golden<T: serde::de::DeserializeOwned>(name: &str) -> T {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/tokenizers");
        serde_json::from_slice(&fs_err::read(format!("{folder}/{name}.json")).unwrap()).unwrap()
    }

    /// llama.cpp takes a combining accent for a word of its own and keeps an invisible space; the
    /// library takes both away, as BERT's own tokenizer does.
    const OWN_WAYS_OF_WORD_PIECE: [&str; 2] = ["decomposed: cafe\u{301}", "no\u{a0}break zero\u{200b}width"];

    #[test]
    fn every_kind_of_vocabulary_gives_the_ids_of_llama_cpp() {
        for (name, case) in [("byte-level", "llama"), ("sentence-piece", "gemma"), ("word-piece", "bert")] {
            let cases = [architectures::cases(), architectures::encoders()].concat();
            let case = cases.iter().find(|known| known.name == case).unwrap();
            let files = [file("model.gguf", &(case.build)())];
            let tokenizer = Tokenizer::open(&Checkpoint::open(&files).unwrap()).unwrap();
            for Sample { text, plain, document, .. } in golden::<Golden>(name).texts {
                if name == "word-piece" && OWN_WAYS_OF_WORD_PIECE.contains(&text.as_str()) {
                    continue;
                }
                assert_eq!(tokenizer.encode(&text).unwrap(), plain, "{name}: {text:?}");
                assert_eq!(tokenizer.encode_document(&text).unwrap(), document, "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn smollm2_gives_the_ids_of_llama_cpp_in_plain_texts_documents_and_chats() {
        let Some(tokenizer) = smollm2() else { return };
        for Sample { text, plain, document, control } in golden::<Golden>("../smollm2").texts {
            assert_eq!(tokenizer.encode(&text).unwrap(), plain, "{text:?}");
            assert_eq!(tokenizer.encode_document(&text).unwrap(), document, "{text:?}");
            assert_eq!(tokenizer.encode_chat(&text).unwrap(), control, "{text:?}");
        }
    }

    /// What of the goldens no splitting computes.
    const UNSUPPORTED: &str = "kimi-k2";

    #[test]
    fn every_manner_of_splitting_gives_the_ids_of_llama_cpp() {
        let golden: Splittings = golden("byte-pairs");
        assert_eq!(golden.splittings.len(), architectures::SPLITTINGS.len());
        for splitting in golden.splittings.iter().filter(|splitting| splitting.name != UNSUPPORTED) {
            let name = splitting.name.as_str();
            let known = architectures::SPLITTINGS.iter().find(|known| **known == name).unwrap();
            let header = verifier::format::gguf::read_header(&architectures::byte_pairs(known)).unwrap();
            let tokenizer = GgufTokenizer::from_header(&header).unwrap();
            assert_eq!(tokenizer.encode_document("").unwrap(), splitting.empty_document, "{name}");
            assert_eq!(tokenizer.unverified(), None, "{name}");
            for (text, ids) in golden.texts.iter().zip(&splitting.plain) {
                assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
            }
        }
    }
}
