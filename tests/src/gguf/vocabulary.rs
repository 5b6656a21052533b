//! The vocabularies of generated models: what llama.cpp's loader demands, and no more.

use super::{Value, pair};
use crate::safetensors::quote;

/// One token for each byte, in byte order, and five control tokens after them.
pub const VOCABULARY_SIZE: usize = 256 + CONTROL_TOKENS.len();

const CONTROL_TOKENS: [&str; 5] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<|unk|>"];
pub(super) const END_OF_TEXT: u32 = 256;
const IM_START: u32 = 257;
pub(super) const IM_END: u32 = 258;
const PAD: u32 = 259;
const UNKNOWN: u32 = 260;

const NORMAL: i32 = 1;
const UNKNOWN_TYPE: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// The metadata of a byte-level vocabulary without merges, of `token_count` tokens.
pub(super) fn byte_level(token_count: usize) -> Vec<(Vec<u8>, Value)> {
    let tokens: Vec<String> = (0..token_count).map(token).collect();
    let types = (0..token_count).map(|id| Value::I32(if id < 256 { NORMAL } else { CONTROL })).collect();
    vec![
        pair("tokenizer.ggml.model", Value::string("gpt2")),
        pair("tokenizer.ggml.pre", Value::string("gpt-2")),
        pair("tokenizer.ggml.tokens", Value::strings(tokens)),
        pair("tokenizer.ggml.token_type", Value::Array(types)),
        pair("tokenizer.ggml.merges", Value::Array(Vec::new())),
        pair("tokenizer.ggml.bos_token_id", Value::U32(IM_START)),
        pair("tokenizer.ggml.eos_token_id", Value::U32(IM_END)),
        pair("tokenizer.ggml.unknown_token_id", Value::U32(UNKNOWN)),
        pair("tokenizer.ggml.padding_token_id", Value::U32(PAD)),
        pair("tokenizer.ggml.add_bos_token", Value::Bool(false)),
        pair("tokenizer.ggml.add_space_prefix", Value::Bool(false)),
    ]
}

/// What a vocabulary of byte pairs merges, best first, in GPT-2's stand-ins (`Ġ` is a space, `Ċ` a line feed, `č` a
/// carriage return). Many join what one way of splitting text into words keeps apart and another does not.
const MERGES: [&str; 75] = [
    "1 2",
    "12 3",
    "3 4",
    "34 5",
    "5 6",
    "6 7",
    "67 8",
    "8 9",
    "0 0",
    "00 0",
    "2 0",
    "20 2",
    "Ġ Ġ",
    "ĠĠ ĠĠ",
    "Ġ t",
    "Ġ a",
    "Ġa n",
    "Ġan d",
    "h e",
    "Ġt he",
    "he l",
    "l o",
    "hel lo",
    "Ġ w",
    "a t",
    "Ġw at",
    "e r",
    "Ġwat er",
    "r e",
    "i n",
    "Ġ 1",
    "Ġ 2",
    "Ġ !",
    "! !",
    "Ċ Ċ",
    "ĊĊ Ċ",
    "Ġ Ċ",
    "č Ċ",
    "ĉ a",
    "' t",
    "' s",
    "' l",
    "'l l",
    "' T",
    "n 't",
    "' R",
    "'R E",
    "E '",
    "Ġ (",
    "( a",
    ") :",
    "* *",
    ". 1",
    "1 .",
    ", Ġ",
    "o ,",
    "s 1",
    "e _",
    "_ c",
    "l C",
    "e l",
    "C a",
    "Ã ©",
    "Ì ģ",
    "Ð ¸",
    "Ø §",
    "æ °",
    "æ° ´",
    "ã ģ",
    "ì ķ",
    "ð Ł",
    "Ġ ðŁ",
    "ĠĠ Ġ",
    "): Ċ",
    "e Ìģ",
];

/// A token that no merges make: only who takes whole words as they are finds it.
const WHOLE_WORD: &str = "Ġworld";

/// The metadata of a vocabulary of byte pairs whose texts are split in the manner called `splitting`.
pub(super) fn byte_pairs(splitting: &str) -> Vec<(Vec<u8>, Value)> {
    let merged = MERGES.iter().map(|merge| merge.replace(' ', ""));
    let plain = (0..256).map(token).chain(merged).chain([WHOLE_WORD.to_owned()]);
    let tokens: Vec<(String, i32)> = plain.map(|text| (text, NORMAL)).collect();
    let control = CONTROL_TOKENS.iter().map(|text| (text.to_string(), CONTROL));
    let tokens: Vec<(String, i32)> = tokens.into_iter().chain(control).collect();
    let end = u32::try_from(tokens.len() - CONTROL_TOKENS.len()).unwrap_or(0);
    vec![
        pair("tokenizer.ggml.model", Value::string("gpt2")),
        pair("tokenizer.ggml.pre", Value::string(splitting)),
        pair("tokenizer.ggml.tokens", Value::strings(tokens.iter().map(|token| token.0.as_str()))),
        pair("tokenizer.ggml.token_type", Value::Array(tokens.iter().map(|token| Value::I32(token.1)).collect())),
        pair("tokenizer.ggml.merges", Value::strings(MERGES)),
        pair("tokenizer.ggml.bos_token_id", Value::U32(end)),
        pair("tokenizer.ggml.eos_token_id", Value::U32(end)),
    ]
}

/// Tokens of [`byte_pairs`].
pub(super) const BYTE_PAIRS_SIZE: usize = VOCABULARY_SIZE + MERGES.len() + 1;

/// The byte-level vocabulary as a `tokenizer.json`.
pub(super) fn byte_level_tokenizer() -> String {
    let entry = |id: usize| format!("{}:{id}", quote(&token(id)));
    let vocabulary: Vec<String> = (0..VOCABULARY_SIZE).map(entry).collect();
    let added = |id: usize| {
        let content = quote(&token(id));
        format!(
            r#"{{"id":{id},"content":{content},"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}}"#
        )
    };
    let added: Vec<String> = (256..VOCABULARY_SIZE).map(added).collect();
    let bytes = r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#;
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{}],"normalizer":null,"pre_tokenizer":{bytes},"post_processor":null,"decoder":{bytes},"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{{{}}},"merges":[]}}}}"#,
        added.join(","),
        vocabulary.join(",")
    )
}

/// The text of token `id`: bytes by GPT-2's printable stand-ins, then the control tokens,
/// then names for ids that no embedding row exists for.
fn token(id: usize) -> String {
    match u8::try_from(id) {
        Ok(byte) => byte_token(byte).to_string(),
        Err(_) => CONTROL_TOKENS.get(id - 256).map_or_else(|| format!("<|extra_{id}|>"), ToString::to_string),
    }
}

/// GPT-2 shows printable bytes as themselves and moves the others, in order, to U+0100
/// and up, so that no token holds a space or a control character.
fn byte_token(byte: u8) -> char {
    if is_printable(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|other| !is_printable(*other)).count();
    u32::try_from(0x100 + rank).ok().and_then(char::from_u32).unwrap_or('?')
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The pieces of the sentence-piece vocabulary after its bytes, best first. `▁` stands for a
/// space; the score of a piece is its rank.
const PIECES: [&str; 48] = [
    "▁t", "he", "▁a", "in", "▁the", "re", "on", "er", "▁w", "at", "or", "▁c", "en", "▁wat", "▁water", "is", "it", "▁o",
    "al", "▁b", "el", "▁s", "ll", "lo", "▁h", "ello", "▁hello", "12", "00", "▁20", "é", "ü", "▁", "e", "t", "a", "o",
    "i", "n", "s", "r", "h", "l", "d", "w", "c", "b", "水",
];

/// Tokens of a sentence-piece vocabulary without fillers.
pub(super) const SENTENCE_PIECE_SIZE: usize = SENTENCE_PIECE_CONTROL.len() + 256 + PIECES.len();

const SENTENCE_PIECE_CONTROL: [&str; 5] = ["<unk>", "<s>", "</s>", "<start_of_turn>", "<end_of_turn>"];

/// The metadata of a sentence-piece vocabulary with byte fallback, which begins each text
/// with `<s>` and a space. Tokens beyond [`SENTENCE_PIECE_SIZE`] are pieces that no text has.
pub(super) fn sentence_piece(token_count: usize) -> Vec<(Vec<u8>, Value)> {
    let control = SENTENCE_PIECE_CONTROL.iter().map(|text| (text.to_string(), 0.0, CONTROL));
    let bytes = (0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, BYTE));
    let fillers = (SENTENCE_PIECE_SIZE..token_count).map(|id| format!("\u{E000}{id}"));
    let pieces = PIECES.iter().map(ToString::to_string).chain(fillers).enumerate();
    #[expect(clippy::cast_precision_loss, reason = "ranks are below 2^24")]
    let pieces = pieces.map(|(rank, text)| (text, -(rank as f32), NORMAL));
    let mut tokens: Vec<(String, f32, i32)> = control.chain(bytes).chain(pieces).collect();
    tokens[0].2 = UNKNOWN_TYPE;
    vec![
        pair("tokenizer.ggml.model", Value::string("llama")),
        pair("tokenizer.ggml.pre", Value::string("default")),
        pair("tokenizer.ggml.tokens", Value::strings(tokens.iter().map(|token| token.0.as_str()))),
        pair("tokenizer.ggml.scores", Value::Array(tokens.iter().map(|token| Value::F32(token.1)).collect())),
        pair("tokenizer.ggml.token_type", Value::Array(tokens.iter().map(|token| Value::I32(token.2)).collect())),
        pair("tokenizer.ggml.bos_token_id", Value::U32(1)),
        pair("tokenizer.ggml.eos_token_id", Value::U32(2)),
        pair("tokenizer.ggml.unknown_token_id", Value::U32(0)),
        pair("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        pair("tokenizer.ggml.add_eos_token", Value::Bool(false)),
        pair("tokenizer.ggml.add_space_prefix", Value::Bool(true)),
    ]
}

/// Words and parts of words; `▁` marks the beginning of a word, as converters write it.
const WORD_PIECES: [&str; 25] = [
    "▁water", "▁the", "▁and", "▁hello", "▁un", "▁cafe", "▁two", "▁1", "▁2", "▁.", "▁,", "▁!", "▁水", "▁'", "▁=", "ed",
    "ing", "able", "0", "1", "2", "3", "world", "is", "re",
];

/// Tokens of [`word_piece`].
pub(super) const WORD_PIECE_SIZE: usize = 300;

const WORD_PIECE_CONTROL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Some words, each letter at the beginning of a word and in its middle, and fillers that no text has.
fn word_piece_tokens() -> Vec<String> {
    let control = WORD_PIECE_CONTROL.iter().map(ToString::to_string);
    let letters = ('a'..='z').flat_map(|letter| [format!("▁{letter}"), letter.to_string()]);
    let words = WORD_PIECES.iter().map(ToString::to_string);
    let fillers = (0..).map(|id| format!("\u{E000}{id}"));
    control.chain(words).chain(letters).chain(fillers).take(WORD_PIECE_SIZE).collect()
}

/// The same vocabulary as the `vocab.txt` that BERT was published with: `##` marks the middle of a word.
pub(super) fn word_piece_text() -> String {
    let line = |(id, token): (usize, String)| match token.strip_prefix('▁') {
        Some(word) => format!("{word}\n"),
        None if id < WORD_PIECE_CONTROL.len() => format!("{token}\n"),
        None => format!("##{token}\n"),
    };
    word_piece_tokens().into_iter().enumerate().map(line).collect()
}

/// The metadata of the word-piece vocabulary.
pub(super) fn word_piece() -> Vec<(Vec<u8>, Value)> {
    let tokens = word_piece_tokens();
    let is_control = |id| id < WORD_PIECE_CONTROL.len();
    let types = (0..tokens.len()).map(|id| Value::I32(if is_control(id) { CONTROL } else { NORMAL })).collect();
    vec![
        pair("tokenizer.ggml.model", Value::string("bert")),
        pair("tokenizer.ggml.pre", Value::string("default")),
        pair("tokenizer.ggml.token_type_count", Value::U32(2)),
        pair("tokenizer.ggml.tokens", Value::strings(tokens)),
        pair("tokenizer.ggml.token_type", Value::Array(types)),
        pair("tokenizer.ggml.padding_token_id", Value::U32(0)),
        pair("tokenizer.ggml.unknown_token_id", Value::U32(1)),
        pair("tokenizer.ggml.bos_token_id", Value::U32(2)),
        pair("tokenizer.ggml.seperator_token_id", Value::U32(3)),
        pair("tokenizer.ggml.mask_token_id", Value::U32(4)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_tokens_are_the_ones_of_gpt2() {
        let expected = [(b'A', 'A'), (b' ', 'Ġ'), (b'\n', 'Ċ'), (0, 'Ā'), (0xAD, 'Ń'), (0xFF, 'ÿ')];
        for (byte, token) in expected {
            assert_eq!(byte_token(byte), token, "{byte}");
        }
        let distinct: std::collections::BTreeSet<char> = (0..=255).map(byte_token).collect();
        assert_eq!(distinct.len(), 256);
    }

    #[test]
    fn pieces_are_distinct() {
        let distinct: std::collections::BTreeSet<&str> = PIECES.into_iter().collect();
        assert_eq!(distinct.len(), PIECES.len());
        let words: std::collections::BTreeSet<String> = tokens(&word_piece());
        assert_eq!(words.len(), WORD_PIECE_SIZE);
    }

    fn tokens(metadata: &[(Vec<u8>, Value)]) -> std::collections::BTreeSet<String> {
        let key = b"tokenizer.ggml.tokens";
        let Some((_, Value::Array(tokens))) = metadata.iter().find(|(name, _)| name == key) else { unreachable!() };
        let text = |token: &Value| match token {
            Value::String(text) => String::from_utf8(text.clone()).unwrap(),
            _ => unreachable!(),
        };
        tokens.iter().map(text).collect()
    }
}
