//! Reads instructions and their arguments through a window, so that constants of many
//! gigabytes are passed over without being read.

use super::error::PickleError;
use crate::read_at::ReadAt;

/// Bytes read at once, and the longest piece that [`Reader::take`] gives out.
const WINDOW_BYTES: usize = 64 * 1024;
/// Longest text argument kept of a line; the rest of a longer line is passed over.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// A position in a pickle.
pub(super) struct Reader<'a> {
    source: &'a dyn ReadAt,
    window: Vec<u8>,
    /// Where the window's first byte stands in the source.
    window_start: u64,
    position: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn ReadAt) -> Self {
        Self { source, window: Vec::new(), window_start: 0, position: 0 }
    }

    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn remaining(&self) -> u64 {
        self.source.size().saturating_sub(self.position)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    /// The next `length` bytes, at most 64 KiB.
    pub(super) fn take(&mut self, length: usize) -> Result<&[u8], PickleError> {
        debug_assert!(length <= WINDOW_BYTES);
        let at = self.fill(length)?;
        self.position += length as u64;
        Ok(&self.window[at..at + length])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let position = self.position;
        self.take(N)?.try_into().map_err(|_| PickleError::Truncated(position))
    }

    /// Up to `length` bytes that come next, without moving on.
    pub(super) fn peek(&mut self, length: usize) -> Result<&[u8], PickleError> {
        let length = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(length);
        let at = self.fill(length)?;
        Ok(&self.window[at..at + length])
    }

    pub(super) fn skip(&mut self, length: u64) -> Result<(), PickleError> {
        if length > self.remaining() {
            return Err(PickleError::Truncated(self.position));
        }
        self.position += length;
        Ok(())
    }

    /// The bytes up to the next line feed, which is passed as well; cut at 64 KiB.
    pub(super) fn line(&mut self) -> Result<Vec<u8>, PickleError> {
        let mut line = Vec::new();
        loop {
            let piece = self.peek(4096)?;
            if piece.is_empty() {
                return Err(PickleError::Truncated(self.position));
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let length = end.unwrap_or(piece.len());
            let kept = length.min(MAX_LINE_BYTES - line.len());
            line.extend_from_slice(&piece[..kept]);
            self.position += length as u64;
            if end.is_some() {
                self.position += 1;
                return Ok(line);
            }
        }
    }

    /// Makes `length` bytes at the position available and says where in the window they start.
    fn fill(&mut self, length: usize) -> Result<usize, PickleError> {
        if length as u64 > self.remaining() {
            return Err(PickleError::Truncated(self.position));
        }
        let window_end = self.window_start + self.window.len() as u64;
        if self.position < self.window_start || self.position + length as u64 > window_end {
            let available = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            self.window.resize(available, 0);
            self.window_start = self.position;
            self.source.read_exact_at(self.position, &mut self.window)?;
        }
        usize::try_from(self.position - self.window_start).map_err(|_| PickleError::Truncated(self.position))
    }
}
