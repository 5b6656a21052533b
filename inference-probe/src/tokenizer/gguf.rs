//! The tokenizer of a GGUF header.
//!
//! shimmytok gives the token ids of llama.cpp, but it comes with a GGUF parser of its own
//! that is more lenient than ours and keeps every metadata value twice. It therefore never
//! sees the file: it is handed a small GGUF document with the tokenizer's keys alone, as our
//! strict reader understood them.

use shimmytok::{EncodeOptions, Tokenizer as Inner};
use verifier::format::gguf::{Array, Header, Value};

use super::{END_OF_TURN_TEXTS, TokenizerError};

/// Values of `tokenizer.ggml.pre` for which a golden holds the ids to those of llama.cpp. An unknown
/// one would silently be tokenized by the rules of another model.
const VERIFIED_SPLITTERS: &[&str] = &[
    "default",
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "smollm",
    "tekken",
    "gpt-4o",
    "llama4",
    "dbrx",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "deepseek-r1-qwen",
    "starcoder",
    "refact",
    "command-r",
    "stablelm2",
    "olmo",
    "phi-2",
    "mpt",
    "exaone",
    "exaone4",
    "chatglm-bpe",
    "glm4",
    "smaug-bpe",
];

/// Those whose rules are implemented, but not compared.
const UNVERIFIED_SPLITTERS: &[&str] = &[
    "llama3",
    "llama-v3",
    "codeshell",
    "minerva",
    "jina-es",
    "jina-de",
    "jais",
    "trillion",
    "granite-docling",
    "hunyuan",
    "megrez",
    "chatglm4",
];

/// Splitters whose rule leaves a line feed or tab between two words unmatched. shimmytok drops what a
/// single rule does not match, so such characters are handed to it on their own.
const SPLITTERS_WITH_GAPS: &[&str] =
    &["gpt-2", "phi-2", "jina-es", "jina-de", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"];

pub(super) struct GgufTokenizer {
    inner: Inner,
    begin: Option<String>,
    end: Option<String>,
    ends: Vec<u32>,
    has_gaps: bool,
    /// Whether a space is put before a text; where the text begins with one, too.
    adds_space: bool,
    unverified: Option<String>,
    /// The tokens put before and after a document.
    frame: (Vec<u32>, Vec<u32>),
}

impl GgufTokenizer {
    pub(super) fn from_header(header: &Header) -> Result<Self, TokenizerError> {
        check_kind(header)?;
        let document = tokenizer_document(header);
        let inner = Inner::from_bytes(&document).map_err(broken)?;
        let mut ends: Vec<u32> = ["eos", "eot", "eom"].iter().filter_map(|name| special_id(header, name)).collect();
        ends.extend(END_OF_TURN_TEXTS.iter().filter_map(|text| inner.get_token(text)));
        ends.sort_unstable();
        ends.dedup();
        let text = |name: &str| Some(tokens(header).get(special_id(header, name)? as usize)?.clone());
        let has_gaps = SPLITTERS_WITH_GAPS.contains(&splitter(header)) && model(header) == Some("gpt2");
        let frame = frame(&inner, special_id(header, "bos")).map_err(broken)?;
        let adds_space = model(header) == Some("llama")
            && header.get("tokenizer.ggml.add_space_prefix").and_then(Value::as_bool).unwrap_or(true);
        let splitter = splitter(header);
        let unverified = (model(header) == Some("gpt2") && !VERIFIED_SPLITTERS.contains(&splitter))
            .then(|| format!("splits texts as `{splitter}`"));
        Ok(Self { adds_space, unverified, begin: text("bos"), end: text("eos"), ends, has_gaps, frame, inner })
    }

    /// What no golden of llama.cpp covers of the tokenizer, in words.
    pub(super) fn unverified(&self) -> Option<String> {
        self.unverified.clone()
    }

    /// The number of entries of the vocabulary.
    pub(super) fn vocabulary_size(&self) -> usize {
        self.inner.vocab_size()
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

    fn encode_with(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let options = EncodeOptions::with_parse_special(false, parse_special);
        // shimmytok leaves the space out before a text that begins with one; llama.cpp does not.
        let spaced = (self.adds_space && text.starts_with(' ')).then(|| format!(" {text}"));
        let text = spaced.as_deref().unwrap_or(text);
        let pieces = if self.has_gaps { split_at_gaps(text) } else { vec![text] };
        let mut tokens = if add_special { self.frame.0.clone() } else { Vec::new() };
        for piece in pieces {
            tokens.extend(self.inner.encode_with_options(piece, &options).map_err(broken)?);
        }
        tokens.extend(self.frame.1.iter().filter(|_| add_special));
        Ok(tokens)
    }

    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(broken)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: shimmytok::Error) -> TokenizerError {
    TokenizerError::Broken(error.to_string())
}

/// What the tokenizer puts around an empty document, divided at the token that begins a text.
fn frame(inner: &Inner, begin: Option<u32>) -> Result<(Vec<u32>, Vec<u32>), shimmytok::Error> {
    let around = inner.encode("", true)?;
    let begins = usize::from(begin.is_some() && around.first().copied() == begin);
    Ok((around[..begins].to_vec(), around[begins..].to_vec()))
}

/// Cuts out each whitespace character, other than a space, that stands right before a word.
fn split_at_gaps(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for ((index, character), (next_index, next)) in text.char_indices().zip(text.char_indices().skip(1)) {
        if character.is_whitespace() && character != ' ' && !next.is_whitespace() {
            pieces.extend([&text[start..index], &text[index..next_index]]);
            start = next_index;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn model(header: &Header) -> Option<&str> {
    header.get("tokenizer.ggml.model").and_then(Value::as_str)
}

fn splitter(header: &Header) -> &str {
    header.get("tokenizer.ggml.pre").and_then(Value::as_str).unwrap_or("default")
}

fn is_known(splitter: &str) -> bool {
    VERIFIED_SPLITTERS.contains(&splitter) || UNVERIFIED_SPLITTERS.contains(&splitter)
}

fn check_kind(header: &Header) -> Result<(), TokenizerError> {
    let splitter = splitter(header);
    match model(header) {
        Some("llama") => Ok(()),
        Some("gpt2") if is_known(splitter) => Ok(()),
        Some("gpt2") => Err(TokenizerError::Unsupported(format!("`gpt2` with the splitter `{splitter}`"))),
        Some(other) => Err(TokenizerError::Unsupported(format!("`{other}`"))),
        None => Err(TokenizerError::Broken("`tokenizer.ggml.model` is missing".to_owned())),
    }
}

/// The texts of the vocabulary, empty where the header has none.
pub(crate) fn tokens(header: &Header) -> &[String] {
    header.get("tokenizer.ggml.tokens").and_then(|value| value.as_array()?.as_strings()).unwrap_or_default()
}

/// The id that `tokenizer.ggml.NAME_token_id` gives.
pub(crate) fn special_id(header: &Header, name: &str) -> Option<u32> {
    header.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?.try_into().ok()
}

const TYPE_U32: u32 = 4;
const TYPE_I32: u32 = 5;
const TYPE_F32: u32 = 6;
const TYPE_BOOL: u32 = 7;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// A GGUF document without tensors that holds the tokenizer's keys in the types shimmytok expects.
fn tokenizer_document(header: &Header) -> Vec<u8> {
    let is_used = |key: &str| key.starts_with("tokenizer.ggml.");
    let entries = header.metadata.iter().filter(|(key, _)| is_used(key)).filter_map(|(key, value)| entry(key, value));
    let entries: Vec<Vec<u8>> = entries.collect();
    let mut document = b"GGUF".to_vec();
    document.extend(3_u32.to_le_bytes());
    document.extend(0_u64.to_le_bytes());
    document.extend((entries.len() as u64).to_le_bytes());
    document.extend(entries.concat());
    document
}

fn entry(key: &str, value: &Value) -> Option<Vec<u8>> {
    let mut entry = string(key);
    match value {
        Value::String(text) => append(&mut entry, TYPE_STRING, &string(text)),
        Value::Bool(flag) => append(&mut entry, TYPE_BOOL, &[u8::from(*flag)]),
        Value::Array(Array::Strings(texts)) => {
            append_array(&mut entry, TYPE_STRING, texts.len(), texts.iter().flat_map(|text| string(text)));
        }
        Value::Array(Array::F32(values)) => {
            append_array(&mut entry, TYPE_F32, values.len(), values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Value::Array(Array::I32(values)) => {
            append_array(&mut entry, TYPE_I32, values.len(), values.iter().flat_map(|value| value.to_le_bytes()));
        }
        other => append(&mut entry, TYPE_U32, &u32::try_from(other.as_u64()?).ok()?.to_le_bytes()),
    }
    Some(entry)
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn append(entry: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    entry.extend(kind.to_le_bytes());
    entry.extend_from_slice(bytes);
}

fn append_array(entry: &mut Vec<u8>, kind: u32, length: usize, bytes: impl Iterator<Item = u8>) {
    append(entry, TYPE_ARRAY, &kind.to_le_bytes());
    entry.extend((length as u64).to_le_bytes());
    entry.extend(bytes);
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
    fn a_line_feed_before_a_word_is_cut_out_and_spaces_are_not() {
        assert_eq!(split_at_gaps("a\nb"), ["a", "\n", "b"]);
        assert_eq!(split_at_gaps("a \t\nb c\n"), ["a \t", "\n", "b c\n"]);
        assert_eq!(split_at_gaps("a  b"), ["a  b"]);
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
            for Sample { text, plain, document } in golden::<Golden>(name).texts {
                if name == "word-piece" && OWN_WAYS_OF_WORD_PIECE.contains(&text.as_str()) {
                    continue;
                }
                assert_eq!(tokenizer.encode(&text).unwrap(), plain, "{name}: {text:?}");
                assert_eq!(tokenizer.encode_document(&text).unwrap(), document, "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn every_verified_manner_of_splitting_gives_the_ids_of_llama_cpp() {
        let golden: Splittings = golden("byte-pairs");
        for name in VERIFIED_SPLITTERS {
            let splitting = golden.splittings.iter().find(|splitting| splitting.name == *name).unwrap();
            let known = architectures::SPLITTINGS.iter().find(|known| *known == name).unwrap();
            let header = verifier::format::gguf::read_header(&architectures::byte_pairs(known)).unwrap();
            let tokenizer = GgufTokenizer::from_header(&header).unwrap();
            for (text, ids) in golden.texts.iter().zip(&splitting.plain) {
                assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
            }
        }
    }
}
