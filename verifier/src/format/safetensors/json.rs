//! The JSON of a safetensors header, read without trusting it.
//!
//! Repeated keys must be seen, and memory must stay bounded while a hostile header is
//! decoded, so the object is walked key by key instead of being turned into a map. What was
//! wrong is kept beside serde's own error, which can carry a sentence only.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Dtype, SafetensorsError, TensorInfo};

const METADATA_KEY: &str = "__metadata__";
/// Longest tensor name or metadata key in bytes.
const MAX_NAME_BYTES: usize = 4096;
/// Most dimensions of a tensor; frameworks stop at 8 to 64, models at 5.
const MAX_DIMENSIONS: usize = 16;
/// Memory for everything decoded from the header; see [`super::MAX_HEADER_BYTES`].
const MAX_MEMORY_BYTES: usize = 24 * 1024 * 1024;

/// The parts of a header, with offsets still relative to the start of tensor data.
pub(super) struct Parsed {
    pub(super) metadata: Vec<(String, String)>,
    pub(super) tensors: Vec<TensorInfo>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, SafetensorsError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SafetensorsError::InvalidUtf8)?;
    if !text.starts_with('{') {
        return Err(SafetensorsError::InvalidJson("it does not start with `{`".to_owned()));
    }
    let mut parser = Parser::with_capacity_for(text)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = Root(&mut parser).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (outcome, parser.failure.take()) {
        (Ok(()), _) => {}
        (Err(_), Some(failure)) => return Err(failure),
        (Err(error), None) => return Err(SafetensorsError::InvalidJson(error.to_string())),
    }
    parser.check_unique_names()?;
    Ok(Parsed { metadata: parser.metadata, tensors: parser.tensors })
}

struct Parser {
    metadata: Vec<(String, String)>,
    tensors: Vec<TensorInfo>,
    has_metadata: bool,
    memory_left: usize,
    failure: Option<SafetensorsError>,
}

impl Parser {
    /// Counts the keys first, so that entries are allocated once and at their exact number.
    fn with_capacity_for(text: &str) -> Result<Self, SafetensorsError> {
        let Count(keys) =
            serde_json::from_str(text).map_err(|error| SafetensorsError::InvalidJson(error.to_string()))?;
        let entry_bytes = size_of::<TensorInfo>() + INDEX_ENTRY_BYTES;
        let memory_left = keys
            .checked_mul(entry_bytes)
            .and_then(|wanted| MAX_MEMORY_BYTES.checked_sub(wanted))
            .ok_or(SafetensorsError::HeaderTooComplex)?;
        Ok(Self {
            metadata: Vec::new(),
            tensors: Vec::with_capacity(keys),
            has_metadata: false,
            memory_left,
            failure: None,
        })
    }

    fn charge<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        match self.memory_left.checked_sub(bytes) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => Err(self.fail(SafetensorsError::HeaderTooComplex)),
        }
    }

    /// Keeps the first failure and gives serde something to unwind with.
    fn fail<E: serde::de::Error>(&mut self, failure: SafetensorsError) -> E {
        let message = failure.to_string();
        self.failure.get_or_insert(failure);
        E::custom(message)
    }

    fn add_tensor<E: serde::de::Error>(&mut self, name: String, entry: Entry) -> Result<(), E> {
        let [start, end] = entry.data_offsets;
        let Some(byte_length) = end.checked_sub(start) else {
            return Err(self.fail(SafetensorsError::ReversedOffsets(name)));
        };
        let dtype = match entry.dtype {
            DtypeName::Known(dtype) => dtype,
            DtypeName::Unknown(dtype) => return Err(self.fail(SafetensorsError::UnknownDtype { name, dtype })),
        };
        self.charge(entry.shape.len() * size_of::<u64>())?;
        self.tensors.push(TensorInfo { name, dtype, shape: entry.shape, offset: start, byte_length });
        Ok(())
    }

    fn check_unique_names(&self) -> Result<(), SafetensorsError> {
        let mut seen = HashSet::with_capacity(self.tensors.len());
        match self.tensors.iter().find(|tensor| !seen.insert(tensor.name.as_str())) {
            Some(tensor) => Err(SafetensorsError::DuplicateKey(tensor.name.clone())),
            None => self.check_unique_metadata(),
        }
    }

    fn check_unique_metadata(&self) -> Result<(), SafetensorsError> {
        let mut seen = HashSet::with_capacity(self.metadata.len());
        match self.metadata.iter().find(|(key, _)| !seen.insert(key.as_str())) {
            Some((key, _)) => Err(SafetensorsError::DuplicateMetadataKey(key.clone())),
            None => Ok(()),
        }
    }
}

/// Memory of one entry in the set that finds duplicates and in the order by offset.
const INDEX_ENTRY_BYTES: usize = 56;

/// Number of keys of the outermost object.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl<'de> Visitor<'de> for CountVisitor {
            type Value = Count;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
                let mut keys = 0;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    keys += 1;
                }
                Ok(Count(keys))
            }
        }
        deserializer.deserialize_map(CountVisitor)
    }
}

struct Root<'p>(&'p mut Parser);

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let parser = self.0;
        while let Some(name) = map.next_key_seed(Text { parser, is_name: true })? {
            if name == METADATA_KEY {
                read_metadata(parser, &mut map)?;
                continue;
            }
            let entry = map.next_value::<Entry>().map_err(|error| {
                parser.fail(SafetensorsError::InvalidEntry { name: name.clone(), reason: error.to_string() })
            })?;
            parser.add_tensor(name, entry)?;
        }
        Ok(())
    }
}

fn read_metadata<'de, A: MapAccess<'de>>(parser: &mut Parser, map: &mut A) -> Result<(), A::Error> {
    if parser.has_metadata {
        return Err(parser.fail(SafetensorsError::DuplicateKey(METADATA_KEY.to_owned())));
    }
    parser.has_metadata = true;
    map.next_value_seed(Metadata(parser))
        .map_err(|error: A::Error| parser.fail(SafetensorsError::InvalidMetadata(error.to_string())))
}

struct Metadata<'p>(&'p mut Parser);

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let parser = self.0;
        while let Some(key) = map.next_key_seed(Text { parser, is_name: true })? {
            let value = map.next_value_seed(Text { parser, is_name: false })?;
            // The vector grows by doubling: old and new together hold at most three times the pairs.
            parser.charge(3 * size_of::<(String, String)>() + INDEX_ENTRY_BYTES)?;
            parser.metadata.push((key, value));
        }
        Ok(())
    }
}

/// A string that is checked and paid for before it is copied.
struct Text<'p> {
    parser: &'p mut Parser,
    is_name: bool,
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = String;
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        if self.is_name && !is_acceptable_name(text) {
            let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
            return Err(self.parser.fail(SafetensorsError::InvalidName(shown)));
        }
        self.parser.charge(text.len())?;
        Ok(text.to_owned())
    }
}

fn is_acceptable_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(deserialize_with = "read_dtype")]
    dtype: DtypeName,
    #[serde(deserialize_with = "read_shape")]
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

enum DtypeName {
    Known(Dtype),
    /// Shortened to 32 characters.
    Unknown(String),
}

fn read_dtype<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DtypeName, D::Error> {
    struct DtypeVisitor;
    impl Visitor<'_> for DtypeVisitor {
        type Value = DtypeName;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("the name of an element type")
        }
        fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<DtypeName, E> {
            let unknown = || DtypeName::Unknown(name.chars().take(32).flat_map(char::escape_default).collect());
            Ok(Dtype::from_name(name).map_or_else(unknown, DtypeName::Known))
        }
    }
    deserializer.deserialize_str(DtypeVisitor)
}

fn read_shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    struct ShapeVisitor;
    impl<'de> Visitor<'de> for ShapeVisitor {
        type Value = Vec<u64>;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an array of dimensions")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u64>, A::Error> {
            let mut shape = [0; MAX_DIMENSIONS];
            let mut rank = 0;
            while let Some(dimension) = sequence.next_element()? {
                *shape.get_mut(rank).ok_or_else(|| A::Error::custom("more than 16 dimensions"))? = dimension;
                rank += 1;
            }
            Ok(shape[..rank].to_vec())
        }
    }
    deserializer.deserialize_seq(ShapeVisitor)
}
