//! How much of a large file inspection reads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use verifier::ReadAt;
use verifier::evidence::InspectionVerdict;
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::gguf::{Builder, Tensor};

const SIZE: u64 = 40 << 30;
const BLOCK_BYTES: u64 = 1 << 20;

/// A file of zeros behind a header, read in blocks as an object in a store is.
struct Sparse {
    header: Vec<u8>,
    size: u64,
    bytes: AtomicU64,
    /// Start of the block that was fetched last, plus one.
    block: AtomicU64,
    fetched: AtomicU64,
}

impl ReadAt for Sparse {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        for (place, byte) in (offset..).zip(&mut buffer[..length]) {
            *byte = usize::try_from(place).ok().and_then(|place| self.header.get(place)).copied().unwrap_or(0);
        }
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        for block in offset / BLOCK_BYTES..(offset + length as u64).div_ceil(BLOCK_BYTES) {
            if self.block.swap(block + 1, Ordering::Relaxed) != block + 1 {
                self.fetched.fetch_add(BLOCK_BYTES, Ordering::Relaxed);
            }
        }
        Ok(length)
    }
}

#[test]
fn the_header_of_a_gguf_file_of_40_gigabytes_takes_no_more_than_a_mebibyte() {
    let rows = (SIZE / 2) / (1 << 20);
    let tensor = Tensor::new("blk.0.ffn_up.weight", &[1 << 20, rows], 1, Vec::new());
    let header = Builder::minimal().tensor(tensor).header();
    let before = 32 * 4;
    let source = Sparse {
        size: (header.len() as u64).next_multiple_of(32) + before + SIZE,
        header,
        bytes: AtomicU64::new(0),
        block: AtomicU64::new(0),
        fetched: AtomicU64::new(0),
    };
    let found = inspect(&[FileEntry { path: "model.gguf", source: &source }]);
    assert_eq!(found.verdict, InspectionVerdict::Ok, "{:?}", found.findings);
    assert!(found.parameters.is_some_and(|count| count >= SIZE / 2));
    assert!(source.bytes.load(Ordering::Relaxed) <= 1 << 20);
    assert!(source.fetched.load(Ordering::Relaxed) <= 1 << 20, "{}", source.fetched.load(Ordering::Relaxed));
}
