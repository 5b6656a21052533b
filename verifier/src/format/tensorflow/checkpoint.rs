//! Checkpoints beside a graph: an index of tensors, and files that are nothing but their bytes.
//!
//! The index is a sorted table as LevelDB writes it
//! (<https://github.com/google/leveldb/blob/main/doc/table_format.md>), with a BundleEntryProto
//! for each tensor.

use super::super::content::Content;
use super::super::found::{Found, Weights};
use super::super::kind;
use super::super::pages::Pages;
use super::super::protobuf::{ProtobufError, Span, Walker, each_field};
use super::super::tensor::Tensor;
use super::{graph, types};
use crate::read_at::ReadAt;

/// The last bytes of a table.
const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
const FOOTER_BYTES: u64 = 48;
/// Bytes behind a block: its compression and its checksum.
const TRAILER_BYTES: u64 = 5;
const MAX_TENSORS: usize = 100_000;
/// Entries looked at, over all blocks; blocks may be listed many times.
const MAX_ENTRIES: u64 = 300_000;
/// Longest name of a tensor, in bytes.
const MAX_NAME_BYTES: usize = 4096;
/// Bytes of names over all tensors.
const MAX_NAMES_BYTES: usize = 16 * 1024 * 1024;

/// Whether the name is that of a part of a checkpoint.
pub(in super::super) fn is_checkpoint(path: &str) -> bool {
    let name = kind::file_name(path);
    is_data(path) || name.strip_suffix(".index").is_some_and(|stem| stem == "variables" || stem.contains("ckpt"))
}

/// Whether the name is that of a file of weights: `variables.data-00000-of-00001`.
pub(super) fn is_data(path: &str) -> bool {
    let Some((_, part)) = kind::file_name(path).rsplit_once(".data-") else { return false };
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    part.split_once("-of-").is_some_and(|(part, parts)| is_number(part) && is_number(parts))
}

/// Whether the content ends as a sorted table.
pub(super) fn is_index(source: &dyn ReadAt) -> bool {
    let mut end = [0; 8];
    source.size() >= FOOTER_BYTES && source.read_exact_at(source.size() - 8, &mut end).is_ok() && end == MAGIC
}

/// Adds the tensors that the index lists.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    let (mut walker, whole) = Walker::new(Pages::new(content.source));
    match read(&mut walker, whole) {
        Ok(tensors) => found.weights = Some(Weights { tensors, ..Weights::default() }),
        Err(IndexError::Protobuf(error)) => error.report(found),
        Err(IndexError::Table) => super::malformed(found, "TENSORFLOW_INDEX", "the index of the checkpoint is broken"),
        Err(IndexError::Compressed) => super::super::findings::unscannable(
            found,
            "TENSORFLOW_INDEX_COMPRESSED",
            &"the index of the checkpoint is compressed",
            "write the checkpoint anew",
        ),
    }
}

#[derive(Debug, thiserror::Error)]
enum IndexError {
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    #[error("the table is broken")]
    Table,
    #[error("the table is compressed")]
    Compressed,
}

type Result<T> = std::result::Result<T, IndexError>;

fn read(walker: &mut Walker<'_>, whole: Span) -> Result<Vec<Tensor>> {
    let footer = whole.part(whole.length() - FOOTER_BYTES, FOOTER_BYTES).ok_or(IndexError::Table)?;
    let mut handles = footer;
    let _metaindex = handle(walker, &mut handles)?;
    let (at, length) = handle(walker, &mut handles)?;
    let mut blocks = Vec::new();
    let mut left = MAX_ENTRIES;
    entries(walker, whole, (at, length), &mut left, |walker, _, mut value| {
        blocks.push(handle(walker, &mut value)?);
        if blocks.len() > MAX_TENSORS { Err(ProtobufError::TooLarge.into()) } else { Ok(()) }
    })?;
    let mut tensors = Vec::new();
    let mut name_bytes = 0;
    for block in blocks {
        entries(walker, whole, block, &mut left, |walker, key, value| {
            // The entry without a name is the header of the bundle.
            if !key.is_empty() {
                name_bytes += key.len();
                tensors.extend(tensor(walker, key, value)?);
            }
            let is_too_large = tensors.len() > MAX_TENSORS || name_bytes > MAX_NAMES_BYTES;
            if is_too_large { Err(ProtobufError::TooLarge.into()) } else { Ok(()) }
        })?;
    }
    Ok(tensors)
}

/// BundleEntryProto; bookkeeping that is no number of a model is left out.
fn tensor(walker: &mut Walker<'_>, key: &[u8], value: Span) -> Result<Option<Tensor>> {
    let (mut data_type, mut shape) = (0, Some(Vec::new()));
    each_field(walker, value, |walker, field| {
        match field.number {
            1 => data_type = field.varint()?,
            2 => shape = graph::shape(walker, field.span()?)?,
            _ => {}
        }
        Ok(())
    })?;
    let tensor = types::described(data_type, shape.unwrap_or_default()).ok_or(IndexError::Table)?;
    let name = String::from_utf8_lossy(key).into_owned();
    let is_weight = types::is_float(&tensor.element_type) && !name.contains("/.OPTIMIZER_SLOT/");
    Ok(is_weight.then_some(Tensor { name, ..tensor }))
}

/// Offset and length of a block.
fn handle(walker: &mut Walker<'_>, span: &mut Span) -> Result<(u64, u64)> {
    Ok((span.varint(walker)?, span.varint(walker)?))
}

/// Calls `visit` with every key and value of a block.
fn entries(
    walker: &mut Walker<'_>,
    whole: Span,
    (at, length): (u64, u64),
    left: &mut u64,
    mut visit: impl FnMut(&mut Walker<'_>, &[u8], Span) -> Result<()>,
) -> Result<()> {
    let with_trailer = length.checked_add(TRAILER_BYTES).and_then(|length| whole.part(at, length));
    let trailer = with_trailer.and_then(|block| block.part(length, 1)).ok_or(IndexError::Table)?;
    if walker.prefix(trailer, 1)? != [0] {
        return Err(IndexError::Compressed);
    }
    let block = whole.part(at, length).ok_or(IndexError::Table)?;
    let restarts = length.checked_sub(4).and_then(|at| block.part(at, 4)).ok_or(IndexError::Table)?;
    let restarts = walker.prefix(restarts, 4)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let behind = length.checked_sub(4 + 4 * restarts).ok_or(IndexError::Table)?;
    let mut rest = block.part(0, behind).ok_or(IndexError::Table)?;
    let mut key = Vec::new();
    while rest.length() > 0 {
        *left = left.checked_sub(1).ok_or(ProtobufError::TooLarge)?;
        let (shared, own, value) = (rest.varint(walker)?, rest.varint(walker)?, rest.varint(walker)?);
        let shared = usize::try_from(shared).ok().filter(|shared| *shared <= key.len()).ok_or(IndexError::Table)?;
        key.truncate(shared);
        let own = rest.split(own).ok_or(IndexError::Table)?;
        if own.length() > MAX_NAME_BYTES as u64 {
            return Err(IndexError::Table);
        }
        key.extend(walker.prefix(own, own.length())?);
        if key.len() > MAX_NAME_BYTES {
            return Err(IndexError::Table);
        }
        visit(walker, &key, rest.split(value).ok_or(IndexError::Table)?)?;
    }
    Ok(())
}
