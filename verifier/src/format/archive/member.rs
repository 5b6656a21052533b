//! Judges one member of an archive: recognized by its first bytes, unpacked no further than needed.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{dangerous, too_large};
use crate::format::content::Content;
use crate::format::found::{Found, Weights, shown};
use crate::format::kind::{FileKind, PREFIX_BYTES};
use crate::format::{findings, numpy, pickle, scan};
use crate::read_at::ReadAt;

/// Most bytes unpacked of one member of a small file, at the first depth; each depth halves it, so
/// that all depths together stay below twice as much.
const SMALL_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// The same for a file of 1 MiB and more.
const LARGE_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// What deflate can make of a byte at most; room for so much is kept where no size is stated.
const MAX_RATIO: u64 = 1032;
/// Bytes of one member per packed byte from which on what cannot be unpacked counts as a bomb.
pub(super) const BOMB_RATIO: u64 = 100;
/// The same for a beginning of 16 MiB and more, whatever follows it.
const BEGINNING_RATIO: u64 = 200;

/// Scans the member called `name`, whose bytes are `source`, and returns the weights it holds.
pub(super) fn scan_stored(
    name: &str,
    source: &dyn ReadAt,
    content: &Content<'_>,
    found: &mut Found,
) -> Option<Weights> {
    found.inside(name, |found| match scan::recognize(name, source) {
        Ok(kind) => scan_as(kind, name, source, content, found),
        Err(error) => {
            findings::unreadable(found, &error);
            None
        }
    })
}

/// What a member says of itself is not said by the archive around it, so it is kept apart.
fn scan_as(
    kind: FileKind,
    name: &str,
    source: &dyn ReadAt,
    content: &Content<'_>,
    found: &mut Found,
) -> Option<Weights> {
    let facts = std::mem::take(&mut found.facts);
    let (document, tokenizer) = (found.document.take(), std::mem::take(&mut found.tokenizer));
    let weights = found.weights.take();
    scan::scan(&Content { path: name, kind, source, depth: content.depth + 1, ..*content }, found);
    found.facts = facts;
    (found.document, found.tokenizer) = (document, tokenizer);
    std::mem::replace(&mut found.weights, weights)
}

/// A packed member.
pub(super) struct Packed<'a> {
    pub(super) name: &'a str,
    /// Bytes in the archive.
    pub(super) stored: u64,
    /// Bytes when unpacked, where the archive says so.
    pub(super) size: Option<u64>,
    /// Packed bytes that were taken so far, where it is counted.
    pub(super) taken: Option<&'a AtomicU64>,
}

/// How far a member was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// To its end.
    Whole { crc: u32, bytes: u64 },
    /// As far as was needed, or possible.
    Part,
}

/// Unpacks from `stream` what must be seen of the member, scans it, and returns the weights it holds.
pub(super) fn scan_packed(
    member: &Packed<'_>,
    stream: &mut dyn Read,
    content: &Content<'_>,
    found: &mut Found,
) -> io::Result<(Extent, Option<Weights>)> {
    let mut bytes = Vec::new();
    read_up_to(stream, &mut bytes, PREFIX_BYTES as u64)?;
    if !content.allowance.take_bytes(bytes.len() as u64) {
        too_large(found, "bytes");
        return Ok((Extent::Part, None));
    }
    let mut beginning = Beginning::new(bytes, PREFIX_BYTES as u64, member.size);
    let mut kind = scan::recognize(member.name, &beginning)?;
    if beginning.is_cut() && needs_more(kind, &beginning) {
        beginning = unpack_more(member, stream, beginning, content, found)?;
        // A pickle without a mark of its own may be told from other content only now.
        kind = scan::recognize(member.name, &beginning)?;
    } else if beginning.is_cut() && member.size.is_none() {
        measure(member, stream, content, found)?;
    }
    let weights = found.inside(member.name, |found| scan_as(kind, member.name, &beginning, content, found));
    Ok((beginning.extent(), weights))
}

/// Whether a look at more than the first bytes can change the judgement.
fn needs_more(kind: FileKind, beginning: &Beginning) -> bool {
    match kind {
        FileKind::Executable | FileKind::Image | FileKind::Media | FileKind::SentencePiece => false,
        FileKind::Unknown => pickle::goes_on(beginning),
        FileKind::Numpy => numpy::may_hold_objects(&beginning.bytes),
        _ => true,
    }
}

fn unpack_more(
    member: &Packed<'_>,
    stream: &mut dyn Read,
    beginning: Beginning,
    content: &Content<'_>,
    found: &mut Found,
) -> io::Result<Beginning> {
    let limit = limit(content);
    let mut bytes = beginning.bytes;
    let before = bytes.len();
    let at_most = member.size.unwrap_or_else(|| member.stored.saturating_mul(MAX_RATIO)).min(limit);
    let expected = usize::try_from(at_most).unwrap_or(0);
    bytes.reserve_exact(expected.saturating_sub(before));
    read_up_to(stream, &mut bytes, limit)?;
    if !content.allowance.take_bytes((bytes.len() - before) as u64) {
        too_large(found, "bytes");
    }
    if bytes.len() as u64 >= limit {
        check_ratio(member, limit, found);
    }
    Ok(Beginning::new(bytes, limit, member.size))
}

/// Unpacks without keeping anything, where nothing says how much there is.
fn measure(member: &Packed<'_>, stream: &mut dyn Read, content: &Content<'_>, found: &mut Found) -> io::Result<()> {
    let limit = limit(content);
    let unpacked = io::copy(&mut stream.take(limit), &mut io::sink())?;
    if unpacked >= limit {
        check_ratio(member, limit, found);
    }
    Ok(())
}

fn check_ratio(member: &Packed<'_>, unpacked: u64, found: &mut Found) {
    let is_bomb_on_the_whole = unpacked.max(member.size.unwrap_or(0)) / member.stored.max(1) >= BOMB_RATIO;
    // Most of a bomb is not unpacked: what was seen of it has to tell.
    let taken = member.taken.map(|taken| taken.load(Ordering::Relaxed).max(1));
    if is_bomb_on_the_whole || taken.is_some_and(|taken| unpacked / taken >= BEGINNING_RATIO) {
        let detail = format!("`{}` unpacks to far more than it seems to hold.", shown(member.name));
        dangerous(found, "ARCHIVE_BOMB", detail);
    }
}

/// Bytes unpacked of one member at most.
pub(super) fn limit(content: &Content<'_>) -> u64 {
    let limit = if content.source.size() < 1 << 20 || content.depth > 0 { SMALL_FILE_BYTES } else { LARGE_FILE_BYTES };
    limit >> content.depth
}

fn read_up_to(stream: &mut dyn Read, bytes: &mut Vec<u8>, limit: u64) -> io::Result<()> {
    let left = limit.saturating_sub(bytes.len() as u64);
    stream.take(left).read_to_end(bytes).map(drop)
}

/// The first bytes of something that was perhaps not unpacked further.
struct Beginning {
    bytes: Vec<u8>,
    size: u64,
}

impl Beginning {
    /// What was had when up to `limit` bytes were asked for.
    fn new(bytes: Vec<u8>, limit: u64, stated: Option<u64>) -> Self {
        let length = bytes.len() as u64;
        let size = if length < limit { length } else { stated.unwrap_or(u64::MAX >> 1).max(length) };
        Self { bytes, size }
    }

    const fn is_cut(&self) -> bool {
        self.size > self.bytes.len() as u64
    }

    fn extent(&self) -> Extent {
        if self.is_cut() {
            return Extent::Part;
        }
        let mut crc = flate2::Crc::new();
        crc.update(&self.bytes);
        Extent::Whole { crc: crc.sum(), bytes: self.size }
    }
}

impl ReadAt for Beginning {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read_at(offset, buffer)?;
        if read == 0 && offset < self.size && !buffer.is_empty() {
            return Err(io::Error::other("it is larger than what is unpacked of it"));
        }
        Ok(read)
    }
}
