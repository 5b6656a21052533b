//! The end record and the central directory.

use std::io;

use thiserror::Error;

use crate::read_at::ReadAt;

/// The end record with the longest comment.
const MAX_END_BYTES: u64 = 22 + 65_535;
/// Longest directory read.
const MAX_DIRECTORY_BYTES: u64 = 24 * 1024 * 1024;
const END_BYTES: usize = 22;
const ENTRY_BYTES: usize = 46;

/// Why a directory cannot be read.
#[derive(Debug, Error)]
pub(super) enum ZipError {
    #[error("the archive has no end record")]
    NoEnd,
    #[error("the archive's directory is larger than is read")]
    TooLarge,
    #[error("the archive's directory is broken: {0}")]
    Broken(&'static str),
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// The end of central directory record.
#[derive(Debug)]
pub(super) struct End {
    /// Where the record starts.
    pub(super) position: u64,
    pub(super) entries: u64,
    pub(super) directory_bytes: u64,
    pub(super) directory_offset: u64,
    pub(super) comment: Vec<u8>,
    /// Bytes of the file behind the record and its comment.
    pub(super) trailing: u64,
    /// Whether two records could be the end.
    pub(super) is_ambiguous: bool,
    /// Whether the 64-bit record contradicts the other one.
    pub(super) contradicts: bool,
}

/// One member as the directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) raw_name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    /// Where the local header starts, in bytes from the start of the file.
    pub(super) offset: u64,
    /// Unix file type and permissions, where the archive was made there.
    pub(super) mode: u32,
}

/// All members, and how the file is laid out.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) end: End,
    pub(super) entries: Vec<Entry>,
    /// Where the directory starts.
    pub(super) start: u64,
    /// Bytes before the archive, by which all its offsets are too small.
    pub(super) shift: u64,
    /// Whether the directory holds more or fewer entries than the end record says.
    pub(super) miscounts: bool,
}

impl End {
    pub(super) fn find(source: &dyn ReadAt) -> Result<Self, ZipError> {
        let size = source.size();
        let base = size.saturating_sub(MAX_END_BYTES);
        let mut tail = vec![0; usize::try_from(size - base).map_err(|_| ZipError::NoEnd)?];
        source.read_exact_at(base, &mut tail)?;
        let candidates: Vec<usize> = positions(&tail, b"PK\x05\x06")
            .filter(|at| comment_end(&tail, *at).is_some_and(|end| end <= tail.len()))
            .collect();
        let exact: Vec<usize> =
            candidates.iter().copied().filter(|at| comment_end(&tail, *at) == Some(tail.len())).collect();
        let at = *exact.last().or_else(|| candidates.last()).ok_or(ZipError::NoEnd)?;
        let record = &tail[at..];
        let end = comment_end(&tail, at).ok_or(ZipError::NoEnd)?;
        let mut found = Self {
            position: base + at as u64,
            entries: u16_at(record, 10).into(),
            directory_bytes: u32_at(record, 12).into(),
            directory_offset: u32_at(record, 16).into(),
            comment: tail[at + END_BYTES..end].to_vec(),
            trailing: (tail.len() - end) as u64,
            is_ambiguous: exact.len() > 1,
            contradicts: u16_at(record, 4) != u16_at(record, 6) || u16_at(record, 8) != u16_at(record, 10),
        };
        found.read_64(source)?;
        Ok(found)
    }

    /// Takes the 64-bit record, where a locator points to one.
    fn read_64(&mut self, source: &dyn ReadAt) -> Result<(), ZipError> {
        let Some(locator_at) = self.position.checked_sub(20) else { return Ok(()) };
        let mut locator = [0; 20];
        source.read_exact_at(locator_at, &mut locator)?;
        if !locator.starts_with(b"PK\x06\x07") {
            return Ok(());
        }
        let mut record = [0; 56];
        // Bytes before the archive shift the record, so it is looked for where it must stand as well.
        let stated = u64_at(&locator, 8);
        let places = [stated, locator_at.saturating_sub(56)];
        for place in places.into_iter().filter(|place| place.saturating_add(56) <= locator_at) {
            source.read_exact_at(place, &mut record)?;
            if record.starts_with(b"PK\x06\x06") {
                let (entries, bytes, offset) = (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48));
                self.contradicts |= disagrees(self.entries, entries, 0xffff)
                    || disagrees(self.directory_bytes, bytes, 0xffff_ffff)
                    || disagrees(self.directory_offset, offset, 0xffff_ffff);
                (self.entries, self.directory_bytes, self.directory_offset) = (entries, bytes, offset);
                self.position = place;
                return Ok(());
            }
        }
        Err(ZipError::Broken("its 64-bit end record is missing"))
    }
}

/// Whether a short field states another number than the long one; all ones say "see there".
const fn disagrees(short: u64, long: u64, all_ones: u64) -> bool {
    short != all_ones && short != long
}

impl Directory {
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self, ZipError> {
        let end = End::find(source)?;
        if end.directory_bytes > MAX_DIRECTORY_BYTES {
            return Err(ZipError::TooLarge);
        }
        let start = end.position.checked_sub(end.directory_bytes);
        let start = start.ok_or(ZipError::Broken("it starts before the file"))?;
        let shift = start.checked_sub(end.directory_offset);
        let shift = shift.ok_or(ZipError::Broken("it does not end where the end record starts"))?;
        let length = usize::try_from(end.directory_bytes).map_err(|_| ZipError::TooLarge)?;
        let mut bytes = vec![0; length];
        source.read_exact_at(start, &mut bytes)?;
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while rest.len() >= ENTRY_BYTES {
            let (entry, length) = Entry::parse(rest, shift)?;
            entries.push(entry);
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            return Err(ZipError::Broken("bytes are left at its end"));
        }
        let miscounts = entries.len() as u64 != end.entries;
        Ok(Self { end, entries, start, shift, miscounts })
    }
}

impl Entry {
    /// Reads one entry and says how many bytes it takes.
    fn parse(bytes: &[u8], shift: u64) -> Result<(Self, usize), ZipError> {
        if !bytes.starts_with(b"PK\x01\x02") {
            return Err(ZipError::Broken("an entry does not begin as entries do"));
        }
        let (name_bytes, extra_bytes) = (usize::from(u16_at(bytes, 28)), usize::from(u16_at(bytes, 30)));
        let length = ENTRY_BYTES + name_bytes + extra_bytes + usize::from(u16_at(bytes, 32));
        if length > bytes.len() {
            return Err(ZipError::Broken("an entry reaches beyond its end"));
        }
        let raw_name = bytes[ENTRY_BYTES..ENTRY_BYTES + name_bytes].to_vec();
        let extra = &bytes[ENTRY_BYTES + name_bytes..ENTRY_BYTES + name_bytes + extra_bytes];
        let mut large = LargeFields::of(extra);
        let size = large.or_next(u32_at(bytes, 24))?;
        let packed = large.or_next(u32_at(bytes, 20))?;
        let offset = large.or_next(u32_at(bytes, 42))?;
        let made_on_unix = u16_at(bytes, 4) >> 8 == 3;
        let entry = Self {
            name: String::from_utf8_lossy(&raw_name).into_owned(),
            raw_name,
            flags: u16_at(bytes, 8),
            method: u16_at(bytes, 10),
            crc: u32_at(bytes, 16),
            packed,
            size,
            offset: offset.checked_add(shift).ok_or(ZipError::Broken("an offset is too large"))?,
            mode: if made_on_unix { u32_at(bytes, 38) >> 16 } else { 0 },
        };
        Ok((entry, length))
    }

    pub(super) fn is_folder(&self) -> bool {
        self.raw_name.ends_with(b"/") && self.size == 0
    }
}

/// The 64-bit numbers of extra field 1, which stand for the fields that are all ones, in order.
pub(super) struct LargeFields<'a> {
    rest: &'a [u8],
}

impl<'a> LargeFields<'a> {
    pub(super) fn of(extra: &'a [u8]) -> Self {
        let mut rest = extra;
        while rest.len() >= 4 {
            let (kind, length) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
            let Some(field) = rest.get(4..4 + length) else { break };
            if kind == 1 {
                return Self { rest: field };
            }
            rest = &rest[4 + length..];
        }
        Self { rest: &[] }
    }

    pub(super) fn or_next(&mut self, short: u32) -> Result<u64, ZipError> {
        if short != u32::MAX {
            return Ok(short.into());
        }
        let (number, rest) =
            self.rest.split_first_chunk::<8>().ok_or(ZipError::Broken("a 64-bit number is missing"))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }
}

fn positions<'a>(bytes: &'a [u8], magic: &'static [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(magic.len()).enumerate().filter(move |(_, window)| *window == magic).map(|(at, _)| at)
}

/// Where the comment of the end record at `at` ends.
fn comment_end(bytes: &[u8], at: usize) -> Option<usize> {
    let record = bytes.get(at..at + END_BYTES)?;
    Some(at + END_BYTES + usize::from(u16_at(record, 20)))
}

/// Numbers at a place that the caller has checked; 0 beyond the end.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u16::from_le_bytes(*number))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u32::from_le_bytes(*number))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u64::from_le_bytes(*number))
}
