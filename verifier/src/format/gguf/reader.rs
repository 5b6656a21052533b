//! Bounded primitives under the GGUF header parser.
//!
//! A length in the file is only a claim: before anything is allocated it is checked against
//! the bytes that are left, and its memory is drawn from one budget for the whole header.

use super::error::GgufError;
use super::value::{Array, Value};
use crate::read_at::ReadAt;

/// Longest metadata key, after the GGUF specification (2^16 - 1).
pub(super) const MAX_KEY_BYTES: u64 = 65_535;
/// Longest tensor name; ggml accepts 63 bytes and its forks 127.
pub(super) const MAX_TENSOR_NAME_BYTES: u64 = 255;
/// Deepest nesting of arrays; the specification's own keys use 1.
pub(super) const MAX_NESTING: usize = 4;
/// Memory one header may take. It leaves room under the 64 MiB promised for a header as a
/// whole, and holds the largest vocabularies in use (Gemma's 514,847 merges take about 25 MiB).
pub(super) const MAX_MEMORY_BYTES: u64 = 48 * 1024 * 1024;

const CHUNK_BYTES: usize = 256 * 1024;

/// A forward reader over a file of known size.
pub(super) struct Cursor<'a> {
    source: &'a dyn ReadAt,
    size: u64,
    /// File offset of the next unread byte.
    position: u64,
    chunk: Vec<u8>,
    /// Index of the next unread byte in `chunk`.
    next: usize,
    memory_left: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a dyn ReadAt) -> Self {
        let size = source.size();
        Self { source, size, position: 0, chunk: Vec::new(), next: 0, memory_left: MAX_MEMORY_BYTES }
    }

    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    pub(super) const fn remaining(&self) -> u64 {
        self.size - self.position
    }

    /// Draws `count` items of `bytes` each from the memory budget.
    pub(super) fn charge(&mut self, count: u64, bytes: u64) -> Result<(), GgufError> {
        let wanted = count.checked_mul(bytes).ok_or(GgufError::HeaderTooLarge)?;
        self.memory_left = self.memory_left.checked_sub(wanted).ok_or(GgufError::HeaderTooLarge)?;
        Ok(())
    }

    pub(super) fn fill(&mut self, mut target: &mut [u8]) -> Result<(), GgufError> {
        if (target.len() as u64) > self.remaining() {
            return Err(GgufError::Truncated { offset: self.size, size: self.size });
        }
        while !target.is_empty() {
            if self.next == self.chunk.len() {
                self.load_chunk()?;
            }
            let available = &self.chunk[self.next..];
            let length = available.len().min(target.len());
            target[..length].copy_from_slice(&available[..length]);
            self.next += length;
            self.position += length as u64;
            target = &mut target[length..];
        }
        Ok(())
    }

    fn load_chunk(&mut self) -> Result<(), GgufError> {
        let length = usize::try_from(self.remaining()).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        self.chunk.resize(length, 0);
        self.next = 0;
        self.source.read_exact_at(self.position, &mut self.chunk)?;
        Ok(())
    }

    pub(super) fn array_of<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array_of().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array_of().map(u64::from_le_bytes)
    }

    /// A length-prefixed string of at most `limit` bytes; `too_long` names the limit, `what` the string.
    pub(super) fn string(
        &mut self,
        limit: u64,
        too_long: impl Fn(u64) -> GgufError,
        what: impl Fn() -> String,
    ) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > limit || length > self.remaining() {
            return Err(too_long(length));
        }
        self.charge(1, length)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| too_long(length))?];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| GgufError::InvalidUtf8 { what: what() })
    }

    /// The value of `key`, its type id included.
    pub(super) fn value(&mut self, key: &str) -> Result<Value, GgufError> {
        let id = self.u32()?;
        Ok(match id {
            0 => Value::U8(self.array_of().map(u8::from_le_bytes)?),
            1 => Value::I8(self.array_of().map(i8::from_le_bytes)?),
            2 => Value::U16(self.array_of().map(u16::from_le_bytes)?),
            3 => Value::I16(self.array_of().map(i16::from_le_bytes)?),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(self.array_of().map(i32::from_le_bytes)?),
            6 => Value::F32(self.array_of().map(f32::from_le_bytes)?),
            7 => Value::Bool(decode_bool(self.array_of()?, key)?),
            8 => Value::String(self.text(key)?),
            9 => Value::Array(self.array(key, 1)?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(self.array_of().map(i64::from_le_bytes)?),
            12 => Value::F64(self.array_of().map(f64::from_le_bytes)?),
            _ => return Err(GgufError::UnknownValueType { key: key.to_owned(), id }),
        })
    }

    fn array(&mut self, key: &str, depth: usize) -> Result<Array, GgufError> {
        if depth > MAX_NESTING {
            return Err(GgufError::NestedTooDeep(key.to_owned()));
        }
        let id = self.u32()?;
        let length = self.u64()?;
        Ok(match id {
            0 => Array::U8(self.numbers(key, length, u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(key, length, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(key, length, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(key, length, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(key, length, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(key, length, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(key, length, f32::from_le_bytes)?),
            7 => Array::Bool(self.collect(key, length, 1, |cursor| decode_bool(cursor.array_of()?, key))?),
            8 => Array::Strings(self.collect(key, length, 8, |cursor| cursor.text(key))?),
            9 => Array::Nested(self.collect(key, length, 12, |cursor| cursor.array(key, depth + 1))?),
            10 => Array::U64(self.numbers(key, length, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(key, length, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(key, length, f64::from_le_bytes)?),
            _ => return Err(GgufError::UnknownValueType { key: key.to_owned(), id }),
        })
    }

    fn numbers<T, const N: usize>(
        &mut self,
        key: &str,
        length: u64,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, GgufError> {
        self.collect(key, length, N as u64, |cursor| cursor.array_of().map(decode))
    }

    /// `length` elements that take at least `least` bytes each in the file.
    fn collect<T>(
        &mut self,
        key: &str,
        length: u64,
        least: u64,
        mut element: impl FnMut(&mut Self) -> Result<T, GgufError>,
    ) -> Result<Vec<T>, GgufError> {
        let out_of_bounds = || GgufError::ArrayOutOfBounds { key: key.to_owned(), length };
        let bytes = length.checked_mul(least).ok_or_else(out_of_bounds)?;
        if bytes > self.remaining() {
            return Err(out_of_bounds());
        }
        self.charge(length, size_of::<T>() as u64)?;
        let mut elements = Vec::with_capacity(usize::try_from(length).map_err(|_| out_of_bounds())?);
        for _ in 0..length {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// A string value; only the file and the memory budget limit its length.
    fn text(&mut self, key: &str) -> Result<String, GgufError> {
        let what = || format!("the value of `{key}`");
        self.string(MAX_MEMORY_BYTES, |length| GgufError::LengthOutOfBounds { what: what(), length }, what)
    }
}

fn decode_bool(byte: [u8; 1], key: &str) -> Result<bool, GgufError> {
    match byte[0] {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(GgufError::InvalidBool { key: key.to_owned(), value }),
    }
}
