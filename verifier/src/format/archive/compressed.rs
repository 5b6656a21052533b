//! Single compressed files: gzip, zlib, bzip2, xz, Zstandard and LZ4, as joblib and others write them.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use super::member::{self, Packed};
use super::{PUSH_MEMBERS, broken};
use crate::format::content::Content;
use crate::format::findings;
use crate::format::found::{Found, shown};
use crate::format::section::Stream;
use crate::read_at::ReadAt;

/// Memory that a decoder may take for its dictionary or window: 16 MiB.
const MAX_DICTIONARY_KIB: u32 = 16 * 1024;

/// A way to compress one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::format) enum Compression {
    Gzip,
    Zlib,
    Bzip2,
    Xz,
    Lzma,
    Zstandard,
    Lz4,
}

impl Compression {
    /// By the first bytes of the file.
    pub(in crate::format) fn of(prefix: &[u8]) -> Option<Self> {
        match prefix {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // Properties of liblzma's presets, and a dictionary of a power of two.
            [0x5d, 0, 0, 0..=0x80, 0..=4, ..] => Some(Self::Lzma),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstandard),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            // RFC 1950: the first two bytes are a multiple of 31; these are what zlib writes.
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Some(Self::Zlib),
            _ => None,
        }
    }

    /// What unpacks such data; it takes no more than 16 MiB for its dictionary.
    pub(super) fn decoder<'a>(self, stream: Stream<'a>) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
            Self::Zlib => Box::new(flate2::read::ZlibDecoder::new(stream)),
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(stream)),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(stream, true, MAX_DICTIONARY_KIB)),
            Self::Lzma => Box::new(
                lzma_rust2::LzmaReader::new_mem_limit(stream, MAX_DICTIONARY_KIB, None).map_err(io::Error::other)?,
            ),
            Self::Zstandard => {
                let window = u64::from(MAX_DICTIONARY_KIB) * 1024;
                Box::new(
                    ruzstd::decoding::StreamingDecoder::new_with_max_window_size(stream, window)
                        .map_err(io::Error::other)?,
                )
            }
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(stream)),
        })
    }
}

pub(super) fn scan(compression: Compression, content: &Content<'_>, found: &mut Found) {
    if !content.allowance.take_members(1) {
        super::too_large(found, "members");
        return;
    }
    let inner_name = inner_name(content.path);
    let taken = AtomicU64::new(0);
    let packed = Packed { name: inner_name, stored: content.source.size(), size: None, taken: Some(&taken) };
    let counted = Counted { source: content.source, taken: &taken };
    let result = compression
        .decoder(Stream::new(&counted))
        .and_then(|mut decoder| member::scan_packed(&packed, &mut decoder, content, found));
    if let Err(error) = result {
        failed(&error, found);
    }
}

/// Counts the packed bytes that a decoder has asked for.
struct Counted<'a> {
    source: &'a dyn ReadAt,
    taken: &'a AtomicU64,
}

impl ReadAt for Counted<'_> {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(offset, buffer)?;
        self.taken.fetch_max(offset + read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A decoder that gives up for want of memory says nothing about the file.
pub(super) fn failed(error: &io::Error, found: &mut Found) {
    let text = shown(&error.to_string());
    if error.kind() == io::ErrorKind::OutOfMemory || text.contains("window") || text.contains("memory") {
        let reason = format!("the file needs more memory to be unpacked than it is given ({text})");
        findings::unscannable(found, "ARCHIVE_TOO_LARGE", &reason, PUSH_MEMBERS);
    } else {
        broken(found, "ARCHIVE_CORRUPT", format!("The packed data cannot be unpacked: {text}."));
    }
}

/// The name without the part that says how the file is packed: `a.tar.gz` holds `a.tar`.
fn inner_name(path: &str) -> &str {
    const SUFFIXES: [&str; 9] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".tgz", ".z", ".zlib", ".lzma"];
    let name = crate::format::kind::file_name(path);
    let suffix = SUFFIXES.iter().find(|suffix| name.to_ascii_lowercase().ends_with(*suffix));
    suffix.and_then(|suffix| name.get(..name.len() - suffix.len())).filter(|name| !name.is_empty()).unwrap_or(name)
}
