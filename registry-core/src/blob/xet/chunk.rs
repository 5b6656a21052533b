//! Chunks: their header, unpacking them, and the index of a xorb's chunks.
//!
//! Lengths are checked against the format's limits before anything is unpacked, and unpacking
//! stops one byte after the length that the header declares: a small chunk cannot become a
//! large one.

use std::io::Read;
use std::ops::Range;

use lz4_flex::frame::FrameDecoder;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::byte_grouping::bg4::bg4_regroup;
use xet_core_structures::xorb_object::{CompressionScheme, parse_chunk_header};

use super::Malformed;
use crate::error::{Error, Result};

/// Bytes of a chunk's header.
pub(super) const HEADER_BYTES: usize = 8;
/// Most chunks in a xorb, by the format.
pub(super) const MAX_CHUNKS: usize = 8 << 10;
/// Most bytes of a chunk in a xorb, header included; the format allows for twice a chunk's content.
pub(super) const MAX_PACKED_BYTES: usize = HEADER_BYTES + (256 << 10);
/// Most bytes of a xorb's chunks, unpacked or packed without headers, by the format.
pub(super) const MAX_CONTENT_BYTES: u64 = 64 << 20;
/// Most bytes of a xorb as it is sent.
pub(super) const MAX_XORB_BYTES: u64 = MAX_CONTENT_BYTES + (MAX_CHUNKS * HEADER_BYTES) as u64;

/// How an LZ4 frame begins.
const LZ4_MAGIC: &[u8] = &[0x04, 0x22, 0x4D, 0x18];
/// Version 1, independent blocks, no checksums, no length, no dictionary.
const PLAIN_FLAGS: u8 = 0b0110_0000;
const RESERVED_FLAG: u8 = 0b0000_0010;
/// Set in the length of a block that was not compressed.
const STORED_BLOCK: u32 = 1 << 31;

/// What stands before a chunk's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    scheme: CompressionScheme,
    /// Bytes that follow the header.
    pub(super) packed: usize,
    pub(super) unpacked: u32,
}

impl Header {
    /// Parses the header of chunk number `number`; lengths are within the format's limits.
    pub(super) fn parse(bytes: [u8; HEADER_BYTES], number: usize) -> Result<Self, Malformed> {
        let invalid = |error: &dyn ToString| Malformed::Header(number, error.to_string());
        let header = parse_chunk_header(bytes).map_err(|error| invalid(&error))?;
        let scheme = header.get_compression_scheme().map_err(|error| invalid(&error))?;
        if scheme == CompressionScheme::Auto {
            return Err(invalid(&"its compression is not a concrete one"));
        }
        if header.get_uncompressed_length() == 0 {
            return Err(Malformed::EmptyChunk(number));
        }
        let packed = header.get_compressed_length() as usize;
        Ok(Self { scheme, packed, unpacked: header.get_uncompressed_length() })
    }

    /// Appends the chunk's content to `out`.
    fn unpack(self, packed: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let before = out.len();
        match self.scheme {
            CompressionScheme::None => out.extend_from_slice(packed),
            CompressionScheme::LZ4 => inflate(packed, self.unpacked, out)?,
            CompressionScheme::ByteGrouping4LZ4 => {
                let mut groups = Vec::with_capacity(self.unpacked as usize + 1);
                inflate(packed, self.unpacked, &mut groups)?;
                out.extend_from_slice(&bg4_regroup(&groups));
            }
            CompressionScheme::Auto => return Err(Malformed::Length),
        }
        if out.len() - before == self.unpacked as usize { Ok(()) } else { Err(Malformed::Length) }
    }
}

fn inflate(packed: &[u8], unpacked: u32, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let before = out.len();
    out.resize(before + unpacked as usize, 0);
    if inflate_plain_frame(packed, &mut out[before..]) == Some(unpacked as usize) {
        return Ok(());
    }
    // Another kind of frame than clients write, or a broken one.
    out.truncate(before);
    let limit = u64::from(unpacked) + 1;
    FrameDecoder::new(packed).take(limit).read_to_end(out).map_err(Malformed::Packing)?;
    Ok(())
}

/// Unpacks an LZ4 frame of independent blocks without checksums, which is what clients write,
/// straight to its place: several times as fast as the general decoder. Returns the number of
/// bytes; none for any other frame and for one that does not fit into `out`.
fn inflate_plain_frame(packed: &[u8], out: &mut [u8]) -> Option<usize> {
    let (head, mut rest) = packed.split_first_chunk::<7>()?;
    let (magic, flags) = (&head[..4], head[4]);
    if magic != LZ4_MAGIC || flags & !RESERVED_FLAG != PLAIN_FLAGS {
        return None;
    }
    let mut written = 0;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            return Some(written);
        }
        let (block, after) = after.split_at_checked((length & !STORED_BLOCK) as usize)?;
        let place = out.get_mut(written..)?;
        if length & STORED_BLOCK == 0 {
            written += lz4_flex::block::decompress_into(block, place).ok()?;
        } else {
            place.get_mut(..block.len())?.copy_from_slice(block);
            written += block.len();
        }
        rest = after;
    }
}

/// Calls `take` with the content of each chunk in `bytes`, which are whole chunks.
fn for_each_chunk(
    mut bytes: &[u8],
    out: &mut Vec<u8>,
    mut take: impl FnMut(Header, &mut Vec<u8>),
) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::Truncated)?;
        let header = Header::parse(*header, 0)?;
        let (packed, rest) = rest.split_at_checked(header.packed).ok_or(Malformed::Truncated)?;
        header.unpack(packed, out)?;
        take(header, out);
        bytes = rest;
    }
    Ok(())
}

/// The content of whole chunks that were verified when they arrived, together.
pub(super) fn unpack_all(bytes: &[u8], unpacked: usize) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(unpacked);
    for_each_chunk(bytes, &mut out, |_, _| {})?;
    if out.len() == unpacked { Ok(out) } else { Err(Malformed::Length) }
}

/// Unpacks and hashes whole chunks, the first of which begins at `start` in its xorb.
pub(super) fn hash_all(bytes: &[u8], start: u32) -> Result<Vec<Chunk>, Malformed> {
    let (mut chunks, mut end, mut content) = (Vec::new(), start, Vec::new());
    for_each_chunk(bytes, &mut content, |header, content| {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the format's limit of a xorb")]
        let length = (HEADER_BYTES + header.packed) as u32;
        end += length;
        chunks.push(Chunk { hash: compute_data_hash(content), end, length: header.unpacked });
        content.clear();
    })?;
    Ok(chunks)
}

/// One chunk of a xorb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) hash: MerkleHash,
    /// Where it ends in the xorb's object.
    end: u32,
    /// Bytes of its content.
    pub(super) length: u32,
}

/// The chunks of a xorb in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkIndex(Vec<Chunk>);

/// Bytes of a stored chunk: hash, end, length.
const STORED_BYTES: usize = 40;

impl ChunkIndex {
    pub(super) fn new(chunks: Vec<Chunk>) -> Self {
        Self(chunks)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * STORED_BYTES);
        for chunk in &self.0 {
            bytes.extend_from_slice(chunk.hash.as_bytes());
            bytes.extend_from_slice(&chunk.end.to_le_bytes());
            bytes.extend_from_slice(&chunk.length.to_le_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (stored, rest) = bytes.as_chunks::<STORED_BYTES>();
        if !rest.is_empty() {
            return Err(Error::Corrupt("the chunk index of a xorb has a wrong length".into()));
        }
        let corrupt = || Error::Corrupt("the chunk index of a xorb does not load".into());
        let load = |bytes: &[u8; STORED_BYTES]| {
            let (hash, rest) = bytes.split_first_chunk::<32>()?;
            let (end, length) = rest.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(length.try_into().ok()?);
            Some(Chunk { hash: MerkleHash::from(hash), end: u32::from_le_bytes(*end), length })
        };
        stored.iter().map(|bytes| load(bytes).ok_or_else(corrupt)).collect::<Result<_>>().map(Self)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Some of the chunks; none if the xorb does not have them all.
    pub(super) fn get(&self, chunks: Range<u32>) -> Option<&[Chunk]> {
        self.0.get(chunks.start as usize..chunks.end as usize).filter(|chunks| !chunks.is_empty())
    }

    /// Where the chunk with this number begins in the object.
    pub(super) fn start(&self, number: u32) -> u64 {
        let before = number.checked_sub(1).and_then(|before| self.0.get(before as usize));
        before.map_or(0, |chunk| u64::from(chunk.end))
    }

    /// Bytes of the object.
    pub(super) fn object_bytes(&self) -> u64 {
        self.0.last().map_or(0, |chunk| u64::from(chunk.end))
    }

    /// Hash and length of each chunk, from which a xorb's hash is computed.
    pub(super) fn leaves(&self) -> Vec<(MerkleHash, u64)> {
        self.0.iter().map(|chunk| (chunk.hash, u64::from(chunk.length))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xet_core_structures::xorb_object::serialize_chunk;

    fn packed(content: &[u8], scheme: CompressionScheme) -> Vec<u8> {
        let mut bytes = Vec::new();
        serialize_chunk(content, &mut bytes, scheme).unwrap();
        bytes
    }

    #[test]
    fn every_compression_and_every_remainder_of_four_unpacks_to_the_same_bytes() {
        for scheme in [CompressionScheme::None, CompressionScheme::LZ4, CompressionScheme::ByteGrouping4LZ4] {
            for length in [400, 401, 402, 403, 128 << 10] {
                let content: Vec<u8> =
                    (0..length).map(|i| [7, u8::try_from(i / 64 % 256).unwrap_or_default(), 3, 9][i % 4]).collect();
                let unpacked = unpack_all(&packed(&content, scheme), length).unwrap();
                assert!(unpacked == content, "{scheme} {length}");
            }
        }
    }

    #[test]
    fn a_chunk_that_unpacks_to_more_than_it_says_is_refused_before_it_does() {
        let mut bomb = packed(&vec![0; 128 << 10], CompressionScheme::LZ4);
        bomb[5..8].copy_from_slice(&[16, 0, 0]);
        let mut out = Vec::new();
        assert!(for_each_chunk(&bomb, &mut out, |_, _| {}).is_err());
        assert!(out.capacity() < 1 << 10, "{}", out.capacity());
        assert!(matches!(Header::parse([0, 1, 0, 0, 1, 1, 0, 2], 3), Err(Malformed::Header(3, _))));
        assert!(matches!(Header::parse([0, 1, 0, 0, 1, 0, 0, 0], 0), Err(Malformed::EmptyChunk(0))));
        assert!(matches!(Header::parse([0, 1, 0, 0, 99, 1, 0, 0], 0), Err(Malformed::Header(0, _))));
    }

    #[test]
    fn an_index_survives_being_stored() {
        let bytes = [packed(b"hello", CompressionScheme::None), packed(b"world!", CompressionScheme::None)].concat();
        let index = ChunkIndex::new(hash_all(&bytes, 0).unwrap());
        assert_eq!(ChunkIndex::from_bytes(&index.to_bytes()).unwrap(), index);
        assert_eq!((index.start(0), index.start(1), index.object_bytes()), (0, 13, 27));
        assert!(index.get(1..3).is_none() && index.get(1..1).is_none());
        assert!(ChunkIndex::from_bytes(&index.to_bytes()[1..]).is_err());
    }
}
