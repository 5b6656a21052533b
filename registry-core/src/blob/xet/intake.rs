//! A xorb on its way in: cut into whole chunks, which are hashed on a thread while the next
//! ones arrive.

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};
use xet_core_structures::merklehash::xorb_hash;

use super::chunk::{
    Chunk, ChunkIndex, HEADER_BYTES, Header, MAX_CHUNKS, MAX_CONTENT_BYTES, MAX_PACKED_BYTES, hash_all,
};
use super::{Malformed, XetHash};

/// Whole chunks that are hashed at once; two batches bound the memory of an arriving xorb.
const BATCH_BYTES: usize = 512 << 10;

/// What arrived of a xorb.
#[derive(Default)]
pub(super) struct Intake {
    pending: BytesMut,
    /// Bytes of whole chunks at the front of `pending`.
    whole: usize,
    /// Chunks that were found, hashed or not, and bytes of their content.
    found: usize,
    content_bytes: u64,
    /// Where the next batch begins in the object.
    start: u32,
    hashed: Vec<Chunk>,
    hashing: Option<JoinHandle<Result<Vec<Chunk>, Malformed>>>,
}

impl Intake {
    /// Takes the next bytes. Returns whole chunks to be stored when enough have arrived.
    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<Option<Bytes>, Malformed> {
        self.pending.extend_from_slice(bytes);
        self.find_chunks()?;
        if self.whole < BATCH_BYTES {
            return Ok(None);
        }
        self.hash_whole().await.map(Some)
    }

    /// Ends the xorb and compares its hash. Returns the last chunks to be stored, and the index.
    pub(super) async fn finish(mut self, expected: XetHash) -> Result<(Bytes, ChunkIndex), Malformed> {
        if self.whole != self.pending.len() {
            return Err(Malformed::Truncated);
        }
        let last = self.hash_whole().await?;
        self.settle().await?;
        if self.hashed.is_empty() {
            return Err(Malformed::NoChunks);
        }
        let index = ChunkIndex::new(self.hashed);
        let actual = XetHash(xorb_hash(&index.leaves()));
        if actual == expected { Ok((last, index)) } else { Err(Malformed::Hash(actual)) }
    }

    fn find_chunks(&mut self) -> Result<(), Malformed> {
        while let Some(header) = self.pending[self.whole..].first_chunk::<HEADER_BYTES>() {
            let header = Header::parse(*header, self.found)?;
            let end = self.whole + HEADER_BYTES + header.packed;
            if self.pending.len() < end {
                break;
            }
            self.whole = end;
            self.found += 1;
            self.content_bytes += u64::from(header.unpacked);
            if self.found > MAX_CHUNKS {
                return Err(Malformed::TooManyChunks(MAX_CHUNKS));
            }
            if self.content_bytes > MAX_CONTENT_BYTES {
                return Err(Malformed::TooLong(MAX_CONTENT_BYTES));
            }
        }
        Ok(())
    }

    async fn hash_whole(&mut self) -> Result<Bytes, Malformed> {
        self.settle().await?;
        let batch = self.pending.split_to(self.whole).freeze();
        self.pending.reserve(BATCH_BYTES + MAX_PACKED_BYTES);
        self.whole = 0;
        let (bytes, start) = (batch.clone(), self.start);
        self.hashing = Some(spawn_blocking(move || hash_all(&bytes, start)));
        #[expect(clippy::cast_possible_truncation, reason = "a xorb's length is bounded far below 4 GiB")]
        let length = batch.len() as u32;
        self.start += length;
        Ok(batch)
    }

    async fn settle(&mut self) -> Result<(), Malformed> {
        if let Some(hashing) = self.hashing.take() {
            let chunks = hashing.await.map_err(|error| Malformed::Background(error.to_string()))??;
            self.hashed.extend(chunks);
        }
        Ok(())
    }
}
