//! `WordPiece`, the vocabulary of BERT, from a GGUF header or from `vocab.txt`.

use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, Tokenizer as Inner};
use verifier::format::gguf::Header;

use super::{TokenizerError, gguf};
use crate::checkpoint::Checkpoint;

/// What GGUF puts before a piece that begins a word.
const WORD_BEGIN: char = '▁';
/// What BERT puts before one that continues a word.
const CONTINUATION: &str = "##";
const MAX_VOCABULARY_BYTES: u64 = 16 << 20;
const UNKNOWN: &str = "[UNK]";

pub(super) struct WordPieceTokenizer {
    inner: Inner,
    size: usize,
    /// Put before and after a document.
    frame: (u32, u32),
}

impl WordPieceTokenizer {
    pub(super) fn from_header(header: &Header) -> Result<Self, TokenizerError> {
        let pieces: Vec<String> = gguf::tokens(header).iter().map(|piece| from_gguf(piece)).collect();
        let id = |names: [&str; 2], usual: &str| {
            let given = names.iter().find_map(|name| gguf::special_id(header, name));
            given.or_else(|| position(&pieces, usual))
        };
        // llama.cpp spells its key for the separator so.
        let frame = (id(["cls", "bos"], "[CLS]"), id(["seperator", "eos"], "[SEP]"));
        Self::new(&pieces, frame, true)
    }

    /// From `vocab.txt`, or none where there is none.
    pub(super) fn open(checkpoint: &Checkpoint<'_>, lowercase: bool) -> Result<Option<Self>, TokenizerError> {
        let bytes = checkpoint.document("vocab.txt", MAX_VOCABULARY_BYTES)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| TokenizerError::Broken("`vocab.txt` is not UTF-8".to_owned()))?;
        let pieces: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        let frame = (position(&pieces, "[CLS]"), position(&pieces, "[SEP]"));
        Self::new(&pieces, frame, lowercase).map(Some)
    }

    fn new(pieces: &[String], frame: (Option<u32>, Option<u32>), lowercase: bool) -> Result<Self, TokenizerError> {
        let missing = |what: &str| TokenizerError::Broken(format!("the vocabulary has no {what}"));
        let (Some(begin), Some(end)) = frame else { return Err(missing("tokens that begin and end a text")) };
        let vocabulary: Vocab = pieces.iter().cloned().zip(0..).collect();
        let model = WordPiece::builder().vocab(vocabulary).unk_token(UNKNOWN.to_owned());
        let model = model.continuing_subword_prefix(CONTINUATION.to_owned()).build().map_err(broken)?;
        let mut inner = Inner::new(model);
        inner.with_normalizer(Some(BertNormalizer::new(true, true, None, lowercase))).map_err(broken)?;
        inner.with_pre_tokenizer(Some(BertPreTokenizer));
        let special = pieces.iter().filter(|piece| piece.starts_with('[') && piece.ends_with(']') && piece.len() > 2);
        let special: Vec<AddedToken> = special.map(|piece| AddedToken::from(piece.as_str(), true)).collect();
        inner.add_special_tokens(special).map_err(broken)?;
        Ok(Self { inner, size: pieces.len(), frame: (begin, end) })
    }

    pub(super) fn vocabulary_size(&self) -> usize {
        self.size
    }

    pub(super) fn ends(&self) -> &[u32] {
        std::slice::from_ref(&self.frame.1)
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.inner.encode_fast(text, false).map_err(broken)?.get_ids().to_vec())
    }

    pub(super) fn encode_document(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let (begin, end) = self.frame;
        let inner = self.encode(text)?;
        Ok([begin].into_iter().chain(inner).chain([end]).collect())
    }

    pub(super) fn encode_chat(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_document(text)
    }

    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(broken)
    }
}

fn position(pieces: &[String], wanted: &str) -> Option<u32> {
    pieces.iter().position(|piece| piece == wanted).and_then(|position| u32::try_from(position).ok())
}

/// A piece as BERT writes it.
fn from_gguf(piece: &str) -> String {
    let is_special = piece.starts_with('[') && piece.ends_with(']') && piece.len() > 2;
    match piece.strip_prefix(WORD_BEGIN) {
        Some(beginning) => beginning.to_owned(),
        None if is_special => piece.to_owned(),
        None => format!("{CONTINUATION}{piece}"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Broken(error.to_string())
}
