//! Strict reader of GGUF headers.
//!
//! Loaders in the wild accept files that mean different things to different readers:
//! a key given twice, tensors that overlap, sizes that overflow, bytes that belong to
//! nothing. This reader refuses each of them by name, so that everything later may rely on
//! one meaning. It reads the header alone, in bounded pieces, and never touches weights.
//!
//! Layout after the GGUF specification (ggml/docs/gguf.md), versions 2 and 3, little-endian.

mod error;
mod reader;
mod scan;
mod tensor_type;
mod value;

use std::collections::HashSet;

pub use error::GgufError;
pub(super) use scan::scan;
pub use tensor_type::TensorType;
pub use value::{Array, Value};

use crate::read_at::ReadAt;
use reader::{Cursor, MAX_KEY_BYTES, MAX_TENSOR_NAME_BYTES};

/// The first four bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";

const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 65_536;
/// Smallest metadata entry: a key of one byte (9), its type (4), a value of one byte.
const LEAST_METADATA_BYTES: u64 = 14;
/// Smallest tensor entry: a name of one byte (9), dimension count (4), one dimension (8), type (4), offset (8).
const LEAST_TENSOR_BYTES: u64 = 33;
/// Memory of one entry in the sets that find duplicates, allowing for their growth.
const INDEX_ENTRY_BYTES: u64 = 48;

/// Everything a GGUF file says before its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub version: u32,
    /// Alignment of tensor data in bytes.
    pub alignment: u64,
    /// Where tensor data starts, in bytes from the start of the file.
    pub data_offset: u64,
    /// Entries in file order; keys are unique.
    pub metadata: Vec<(String, Value)>,
    /// Tensors in file order; names are unique.
    pub tensors: Vec<TensorInfo>,
}

/// One tensor's place and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// Number of elements per dimension in GGUF order, the fastest-varying first.
    pub dimensions: Vec<u64>,
    pub tensor_type: TensorType,
    /// In bytes from the start of the file.
    pub offset: u64,
    /// Length in bytes without padding.
    pub byte_length: u64,
}

impl TensorInfo {
    /// Number of elements. The reader has checked that the product does not overflow.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().fold(1, |product, dimension| product.saturating_mul(*dimension))
    }
}

impl Header {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// `general.architecture`, such as `llama`.
    pub fn architecture(&self) -> Option<&str> {
        self.get("general.architecture")?.as_str()
    }

    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Number of elements over all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.elements()))
    }
}

/// Reads and checks the header of `source`.
///
/// Takes at most 64 MiB of memory whatever the file claims.
pub fn read_header(source: &dyn ReadAt) -> Result<Header, GgufError> {
    let mut cursor = Cursor::new(source);
    let version = read_version(&mut cursor)?;
    let tensor_count = cursor.u64()?;
    let metadata_count = cursor.u64()?;
    check_counts(&cursor, metadata_count, tensor_count)?;
    let metadata = read_metadata(&mut cursor, metadata_count)?;
    check_well_known_types(&metadata)?;
    let alignment = read_alignment(&metadata)?;
    let mut tensors = read_tensors(&mut cursor, tensor_count)?;
    let data_offset = place_tensors(&mut tensors, cursor.position(), alignment, source)?;
    Ok(Header { version, alignment, data_offset, metadata, tensors })
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32, GgufError> {
    if cursor.remaining() < 4 {
        return Err(GgufError::BadMagic);
    }
    match &cursor.array_of::<4>()? {
        magic if *magic == MAGIC => {}
        b"FUGG" => return Err(GgufError::BigEndian),
        _ => return Err(GgufError::BadMagic),
    }
    match cursor.u32()? {
        version @ (2 | 3) => Ok(version),
        swapped if matches!(swapped.swap_bytes(), 1..=3) => Err(GgufError::BigEndian),
        version => Err(GgufError::UnsupportedVersion(version)),
    }
}

/// Refuses counts that the rest of the file cannot hold, before anything is allocated for them.
fn check_counts(cursor: &Cursor<'_>, metadata: u64, tensors: u64) -> Result<(), GgufError> {
    let size = cursor.remaining() + cursor.position();
    let least = metadata
        .checked_mul(LEAST_METADATA_BYTES)
        .zip(tensors.checked_mul(LEAST_TENSOR_BYTES))
        .and_then(|(metadata, tensors)| metadata.checked_add(tensors));
    match least {
        Some(least) if least <= cursor.remaining() => Ok(()),
        _ => Err(GgufError::CountsExceedFile { metadata, tensors, size }),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<(String, Value)>, GgufError> {
    cursor.charge(count, size_of::<(String, Value)>() as u64 + INDEX_ENTRY_BYTES)?;
    let mut entries = Vec::with_capacity(capacity(count)?);
    for _ in 0..count {
        let key = cursor.string(MAX_KEY_BYTES, GgufError::key_length, || "a key".to_owned())?;
        check_name(&key, "key")?;
        let value = cursor.value(&key)?;
        entries.push((key, value));
    }
    check_unique_keys(&entries)?;
    Ok(entries)
}

fn capacity(count: u64) -> Result<usize, GgufError> {
    usize::try_from(count).map_err(|_| GgufError::HeaderTooLarge)
}

/// Control characters would end or hide a name in other readers and in terminals.
fn check_name(name: &str, what: &str) -> Result<(), GgufError> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(GgufError::InvalidName { what: format!("the {what} `{}`", name.escape_default()) });
    }
    Ok(())
}

fn check_unique_keys(entries: &[(String, Value)]) -> Result<(), GgufError> {
    let mut seen = HashSet::with_capacity(entries.len());
    let repeated = entries.iter().map(|(key, _)| key.as_str()).filter(|key| !seen.insert(*key));
    // A file with several is named by the one that matters most: others must not hide it.
    match repeated.map(duplicate_key).min_by_key(|(rank, _)| *rank) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

fn duplicate_key(key: &str) -> (u8, GgufError) {
    if key.starts_with("general.license") {
        (0, GgufError::DuplicateLicenseKey(key.to_owned()))
    } else if key.starts_with("general.base_model") {
        (1, GgufError::DuplicateLineageKey(key.to_owned()))
    } else {
        (2, GgufError::DuplicateKey(key.to_owned()))
    }
}

/// The keys that later judgement relies on must have the type the specification gives them.
fn check_well_known_types(metadata: &[(String, Value)]) -> Result<(), GgufError> {
    const STRINGS: [&str; 7] = [
        "general.architecture",
        "general.name",
        "general.license",
        "general.license.name",
        "general.license.link",
        "tokenizer.ggml.model",
        "tokenizer.chat_template",
    ];
    for (key, value) in metadata {
        if STRINGS.contains(&key.as_str()) && value.as_str().is_none() {
            return Err(GgufError::WrongValueType { key: key.clone(), found: value.type_name(), expected: "string" });
        }
    }
    Ok(())
}

fn read_alignment(metadata: &[(String, Value)]) -> Result<u64, GgufError> {
    const KEY: &str = "general.alignment";
    let Some((_, value)) = metadata.iter().find(|(key, _)| key == KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let Value::U32(alignment) = value else {
        return Err(GgufError::WrongValueType { key: KEY.to_owned(), found: value.type_name(), expected: "uint32" });
    };
    let alignment = u64::from(*alignment);
    if alignment.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&alignment) {
        Ok(alignment)
    } else {
        Err(GgufError::InvalidAlignment(alignment))
    }
}

/// Tensors whose `offset` is still relative to the start of tensor data.
fn read_tensors(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<TensorInfo>, GgufError> {
    cursor.charge(count, size_of::<TensorInfo>() as u64 + INDEX_ENTRY_BYTES + 4 * 8)?;
    let mut tensors = Vec::with_capacity(capacity(count)?);
    for _ in 0..count {
        tensors.push(read_tensor(cursor)?);
    }
    let mut seen = HashSet::with_capacity(tensors.len());
    match tensors.iter().find(|tensor| !seen.insert(tensor.name.as_str())) {
        Some(tensor) => Err(GgufError::DuplicateTensor(tensor.name.clone())),
        None => Ok(tensors),
    }
}

fn read_tensor(cursor: &mut Cursor<'_>) -> Result<TensorInfo, GgufError> {
    let name = cursor.string(MAX_TENSOR_NAME_BYTES, GgufError::tensor_name_length, || "a tensor name".to_owned())?;
    check_name(&name, "tensor name")?;
    let dimensions = read_dimensions(cursor, &name)?;
    let id = cursor.u32()?;
    let offset = cursor.u64()?;
    let Some(tensor_type) = TensorType::from_id(id) else {
        return Err(GgufError::UnknownTensorType { name, id });
    };
    let byte_length = byte_length(&name, &dimensions, tensor_type)?;
    Ok(TensorInfo { name, dimensions, tensor_type, offset, byte_length })
}

fn read_dimensions(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<u64>, GgufError> {
    let count = cursor.u32()?;
    if !(1..=4).contains(&count) {
        return Err(GgufError::DimensionCount { name: name.to_owned(), dimensions: count });
    }
    let dimensions = (0..count).map(|_| cursor.u64()).collect::<Result<Vec<_>, _>>()?;
    if dimensions.contains(&0) {
        return Err(GgufError::ZeroDimension(name.to_owned()));
    }
    Ok(dimensions)
}

fn byte_length(name: &str, dimensions: &[u64], tensor_type: TensorType) -> Result<u64, GgufError> {
    let row = dimensions[0];
    let block = tensor_type.block_size();
    if !row.is_multiple_of(block) {
        return Err(GgufError::RowNotBlockAligned { name: name.to_owned(), row, block });
    }
    dimensions
        .iter()
        .try_fold(1_u64, |product, dimension| product.checked_mul(*dimension))
        .and_then(|elements| (elements / block).checked_mul(tensor_type.type_size()))
        .ok_or_else(|| GgufError::SizeOverflow(name.to_owned()))
}

/// Makes offsets absolute, checks that tensors tile the rest of the file and returns where data starts.
fn place_tensors(
    tensors: &mut [TensorInfo],
    header_end: u64,
    alignment: u64,
    source: &dyn ReadAt,
) -> Result<u64, GgufError> {
    let size = source.size();
    let data_offset = header_end.next_multiple_of(alignment);
    for tensor in tensors.iter_mut() {
        place_tensor(tensor, data_offset, alignment, size)?;
    }
    let data_end = check_tiling(tensors, data_offset, alignment)?;
    let end = if tensors.is_empty() { header_end } else { data_end };
    check_trailing(source, end, alignment)?;
    Ok(data_offset)
}

fn place_tensor(tensor: &mut TensorInfo, data_offset: u64, alignment: u64, size: u64) -> Result<(), GgufError> {
    if !tensor.offset.is_multiple_of(alignment) {
        let (name, offset) = (tensor.name.clone(), tensor.offset);
        return Err(GgufError::MisalignedTensor { name, offset, alignment });
    }
    let start = data_offset.checked_add(tensor.offset);
    let end = start.and_then(|start| start.checked_add(tensor.byte_length));
    let (Some(start), Some(end)) = (start, end) else {
        return Err(GgufError::SizeOverflow(tensor.name.clone()));
    };
    if end > size {
        return Err(GgufError::TensorOutOfBounds { name: tensor.name.clone(), end, size });
    }
    tensor.offset = start;
    Ok(())
}

/// Tensors must follow each other with nothing but alignment padding between them.
fn check_tiling(tensors: &[TensorInfo], data_offset: u64, alignment: u64) -> Result<u64, GgufError> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.offset);
    let mut end = data_offset;
    let mut previous: Option<&TensorInfo> = None;
    for tensor in order {
        match (tensor.offset.checked_sub(end), previous) {
            (None, Some(first)) => {
                return Err(GgufError::OverlappingTensors { first: first.name.clone(), second: tensor.name.clone() });
            }
            (Some(bytes), _) if bytes >= alignment => {
                return Err(GgufError::UnclaimedBytes { before: tensor.name.clone(), bytes });
            }
            _ => {}
        }
        end = tensor.offset + tensor.byte_length;
        previous = Some(tensor);
    }
    Ok(end)
}

/// Only zero padding up to the next aligned offset may follow; anything else could be a second file.
fn check_trailing(source: &dyn ReadAt, end: u64, alignment: u64) -> Result<(), GgufError> {
    let trailing = source.size().saturating_sub(end);
    if trailing >= alignment {
        return Err(GgufError::TrailingBytes(trailing));
    }
    let mut padding = vec![0; usize::try_from(trailing).map_err(|_| GgufError::TrailingBytes(trailing))?];
    source.read_exact_at(end, &mut padding)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(GgufError::TrailingBytes(trailing));
    }
    Ok(())
}
