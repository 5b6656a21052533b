//! SentencePiece models: a walk over the protobuf's outermost fields.
//!
//! The layout is that of `sentencepiece_model.proto`: pieces in field 1, the trainer's settings
//! in 2, the normalizer in 3, tests in 4, the denormalizer in 5.

use std::io::{self, BufReader, Read};

use serde_json::json;

use super::super::content::Content;
use super::super::findings;
use super::super::found::{Found, shown};
use super::guard::SourceReader;
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Longest piece that is looked at, and the longest other field in bytes.
const MAX_PIECE_BYTES: u64 = 64 * 1024;
const MAX_FIELD_BYTES: u64 = 16 * 1024 * 1024;
/// Most pieces; the largest vocabularies in use have 262,144.
const MAX_PIECES: u64 = 4_000_000;

#[derive(Debug, thiserror::Error)]
enum ModelError {
    #[error("the model ends inside of a field")]
    Truncated,
    #[error("the model has a field of {0} bytes")]
    FieldTooLong(u64),
    #[error("the model has a field with the number {0} and wire type {1}, which the format does not know")]
    UnknownField(u64, u64),
    #[error("the model has more than {MAX_PIECES} pieces")]
    TooManyPieces,
    #[error("a number in the model has more than 64 bits")]
    LongNumber,
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ModelError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

#[derive(Debug, Default)]
struct Model {
    pieces: u64,
    normalizer: Option<String>,
    /// The first piece that is no UTF-8.
    broken_piece: Option<u64>,
}

/// Adds what a SentencePiece model says.
pub(crate) fn scan(content: &Content<'_>, found: &mut Found) {
    let reader = BufReader::with_capacity(64 * 1024, SourceReader::new(content.source));
    match read_model(reader, content.source.size()) {
        Ok(model) => {
            found.tokenizer.insert("model".to_owned(), json!("SentencePiece"));
            found.tokenizer.insert("vocabulary_size".to_owned(), json!(model.pieces));
            if let Some(name) = &model.normalizer {
                found.tokenizer.insert("normalizer".to_owned(), json!(shown(name)));
            }
            if let Some(piece) = model.broken_piece {
                let detail = format!("The piece {piece} is no UTF-8 text.");
                let finding = Finding::new("TOKENIZER_INVALID", Severity::High, detail, "obtain the file again");
                found.add(InspectionVerdict::Malformed, finding);
            }
        }
        Err(ModelError::Io(error)) => findings::unreadable(found, &error),
        Err(error) => findings::malformed(found, "TOKENIZER_INVALID", &error),
    }
}

fn read_model(mut reader: impl Read, size: u64) -> Result<Model, ModelError> {
    let mut model = Model::default();
    let mut left = size;
    while left > 0 {
        let tag = read_number(&mut reader, &mut left)?;
        match (tag >> 3, tag & 7) {
            (field @ (1..=5 | 200..), 2) => {
                let length = read_number(&mut reader, &mut left)?;
                let limit = if field == 1 { MAX_PIECE_BYTES } else { MAX_FIELD_BYTES };
                if length > limit {
                    return Err(ModelError::FieldTooLong(length));
                }
                let bytes = read_bytes(&mut reader, &mut left, length)?;
                model.take(field, &bytes)?;
            }
            (field, wire) => return Err(ModelError::UnknownField(field, wire)),
        }
    }
    Ok(model)
}

impl Model {
    fn take(&mut self, field: u64, bytes: &[u8]) -> Result<(), ModelError> {
        match field {
            1 => {
                self.pieces += 1;
                if self.pieces > MAX_PIECES {
                    return Err(ModelError::TooManyPieces);
                }
                let text = first_text(bytes)?;
                if text.is_none_or(|text| std::str::from_utf8(text).is_err()) {
                    self.broken_piece.get_or_insert(self.pieces - 1);
                }
            }
            3 => self.normalizer = first_text(bytes)?.map(|name| String::from_utf8_lossy(name).into_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// The text in field 1 of a message that starts with it.
fn first_text(mut bytes: &[u8]) -> Result<Option<&[u8]>, ModelError> {
    let mut left = bytes.len() as u64;
    if bytes.first() != Some(&0x0a) {
        return Ok(None);
    }
    bytes = &bytes[1..];
    left -= 1;
    let length = read_number(&mut bytes, &mut left)?;
    let length = usize::try_from(length).map_err(|_| ModelError::Truncated)?;
    bytes.get(..length).map(Some).ok_or(ModelError::Truncated)
}

fn read_number(reader: &mut impl Read, left: &mut u64) -> Result<u64, ModelError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        *left = left.checked_sub(1).ok_or(ModelError::Truncated)?;
        reader.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(number);
        }
    }
    Err(ModelError::LongNumber)
}

fn read_bytes(reader: &mut impl Read, left: &mut u64, length: u64) -> Result<Vec<u8>, ModelError> {
    *left = left.checked_sub(length).ok_or(ModelError::Truncated)?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| ModelError::Truncated)?];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Model, ModelError> {
        read_model(bytes, bytes.len() as u64)
    }

    #[test]
    fn pieces_are_counted_and_the_normalizer_is_named() {
        let mut model = field(1, b"\x0a\x05<unk>\x15\0\0\0\0");
        model.extend(field(1, b"\x0a\x03<s>"));
        model.extend(field(3, b"\x0a\x08identity"));
        let model = read(&model).unwrap();
        assert_eq!((model.pieces, model.normalizer.as_deref()), (2, Some("identity")));
        assert!(model.broken_piece.is_none());
    }

    #[test]
    fn a_model_that_breaks_off_or_claims_too_much_is_refused() {
        let model = field(1, b"\x0a\x05<unk>");
        assert!(matches!(read(&model[..4]), Err(ModelError::Truncated)));
        assert!(matches!(read(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Err(ModelError::FieldTooLong(_))));
        assert!(matches!(read(&[0x8a; 12]), Err(ModelError::LongNumber)));
        assert!(matches!(read(b"\x0d\0\0\0\0"), Err(ModelError::UnknownField(1, 5))));
    }
}
