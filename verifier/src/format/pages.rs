//! Random access to a large source, page by page.
//!
//! Formats whose structure lies scattered between the weights are read in pages that are
//! kept for a while: few requests where the source is an object in a store, and neither
//! memory nor reading grows with what the file claims.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use crate::read_at::ReadAt;

/// Bytes fetched at once.
const PAGE_BYTES: u64 = 64 * 1024;
/// Pages kept: 8 MiB.
const MAX_PAGES: usize = 128;
/// Bytes fetched from one source over all; structure, as opposed to weights, is far below it.
const MAX_FETCHED_BYTES: u64 = 512 * 1024 * 1024;

/// Why bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("the file could not be read: {0}")]
    Io(#[from] io::Error),
    #[error("bytes {start} to {end} lie outside the file of {size} bytes")]
    OutOfBounds { start: u64, end: u64, size: u64 },
    #[error("more than {MAX_FETCHED_BYTES} bytes of the file would have to be read")]
    TooMuch,
}

/// A source with its pages read lately.
pub(super) struct Pages<'a> {
    source: &'a dyn ReadAt,
    kept: BTreeMap<u64, Vec<u8>>,
    /// Page numbers in the order they were read.
    order: VecDeque<u64>,
    /// The page read last, taken out of `kept`.
    current: (u64, Vec<u8>),
    fetched: u64,
}

impl<'a> Pages<'a> {
    pub(super) const fn new(source: &'a dyn ReadAt) -> Self {
        let current = (u64::MAX, Vec::new());
        Self { source, kept: BTreeMap::new(), order: VecDeque::new(), current, fetched: 0 }
    }

    pub(super) fn size(&self) -> u64 {
        self.source.size()
    }

    /// The byte at `at`.
    pub(super) fn byte(&mut self, at: u64) -> Result<u8, PageError> {
        let rest = self.rest_of_page(at)?;
        rest.first().copied().ok_or_else(|| self.out_of_bounds(at, 1))
    }

    /// Fills `buffer` from `at`.
    pub(super) fn fill(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), PageError> {
        let length = buffer.len() as u64;
        if at.checked_add(length).is_none_or(|end| end > self.size()) {
            return Err(self.out_of_bounds(at, length));
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = self.rest_of_page(at + filled as u64)?;
            let taken = rest.len().min(buffer.len() - filled);
            if taken == 0 {
                return Err(PageError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            buffer[filled..filled + taken].copy_from_slice(&rest[..taken]);
            filled += taken;
        }
        Ok(())
    }

    /// `length` bytes from `at`; who calls bounds the length.
    pub(super) fn bytes(&mut self, at: u64, length: usize) -> Result<Vec<u8>, PageError> {
        if at.checked_add(length as u64).is_none_or(|end| end > self.size()) {
            return Err(self.out_of_bounds(at, length as u64));
        }
        let mut bytes = vec![0; length];
        self.fill(at, &mut bytes)?;
        Ok(bytes)
    }

    fn rest_of_page(&mut self, at: u64) -> Result<&[u8], PageError> {
        if at >= self.size() {
            return Err(self.out_of_bounds(at, 1));
        }
        let number = at / PAGE_BYTES;
        if number != self.current.0 {
            self.turn_to(number)?;
        }
        let offset = usize::try_from(at % PAGE_BYTES).unwrap_or(usize::MAX);
        Ok(self.current.1.get(offset..).unwrap_or_default())
    }

    fn turn_to(&mut self, number: u64) -> Result<(), PageError> {
        let page = match self.kept.remove(&number) {
            Some(page) => page,
            None => self.fetch(number)?,
        };
        let (left, bytes) = std::mem::replace(&mut self.current, (number, page));
        if left != u64::MAX {
            self.kept.insert(left, bytes);
        }
        Ok(())
    }

    fn fetch(&mut self, number: u64) -> Result<Vec<u8>, PageError> {
        let start = number * PAGE_BYTES;
        let length = PAGE_BYTES.min(self.size() - start);
        self.fetched += length;
        if self.fetched > MAX_FETCHED_BYTES {
            return Err(PageError::TooMuch);
        }
        let mut page = vec![0; usize::try_from(length).unwrap_or_default()];
        self.source.read_exact_at(start, &mut page)?;
        self.order.push_back(number);
        if self.order.len() > MAX_PAGES
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        Ok(page)
    }

    fn out_of_bounds(&self, start: u64, length: u64) -> PageError {
        PageError::OutOfBounds { start, end: start.saturating_add(length), size: self.size() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A source of 1 GiB whose bytes tell their place.
    struct Counted(AtomicU64);

    impl ReadAt for Counted {
        fn size(&self) -> u64 {
            (1 << 30) + 5
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            for (index, byte) in buffer.iter_mut().enumerate() {
                *byte = u8::try_from((offset + index as u64) % 251).unwrap_or_default();
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn bytes_across_pages_come_in_order_and_are_read_once() {
        let source = Counted(AtomicU64::new(0));
        let mut pages = Pages::new(&source);
        let start = PAGE_BYTES - 3;
        for _ in 0..10 {
            let expected: Vec<u8> = (start..start + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
            assert_eq!(pages.bytes(start, 7).unwrap(), expected);
        }
        assert_eq!(source.0.load(Ordering::Relaxed), 2 * PAGE_BYTES);
    }

    #[test]
    fn reading_ends_at_its_limit_and_at_the_end_of_the_file() {
        let source = Counted(AtomicU64::new(0));
        let mut pages = Pages::new(&source);
        assert!(pages.byte((1 << 30) + 4).is_ok());
        assert!(matches!(pages.byte((1 << 30) + 5), Err(PageError::OutOfBounds { .. })));
        assert!(matches!(pages.bytes(u64::MAX, 2), Err(PageError::OutOfBounds { .. })));
        let outcome = (0..(1 << 30) / PAGE_BYTES).try_for_each(|page| pages.byte(page * PAGE_BYTES).map(drop));
        assert!(matches!(outcome, Err(PageError::TooMuch)));
        assert!(source.0.load(Ordering::Relaxed) <= MAX_FETCHED_BYTES);
        assert!(pages.kept.len() <= MAX_PAGES);
    }
}
