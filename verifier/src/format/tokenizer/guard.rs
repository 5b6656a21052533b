//! Bounded reading of JSON from a source.

use std::io::{self, Read};

use crate::read_at::ReadAt;

/// Longest text in a file; the tables of SentencePiece normalizers have 400 KB.
const MAX_STRING_BYTES: usize = 2 * 1024 * 1024;

/// Reads a source from its start.
pub(super) struct SourceReader<'a> {
    source: &'a dyn ReadAt,
    position: u64,
}

impl<'a> SourceReader<'a> {
    pub(super) fn new(source: &'a dyn ReadAt) -> Self {
        Self { source, position: 0 }
    }
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size().saturating_sub(self.position);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.source.read_exact_at(self.position, &mut buffer[..length])?;
        self.position += length as u64;
        Ok(length)
    }
}

/// Fails once a text between quotes grows beyond [`MAX_STRING_BYTES`], before it is gathered in memory.
pub(super) struct GuardedReader<R> {
    inner: R,
    in_string: bool,
    escaped: bool,
    length: usize,
}

impl<R> GuardedReader<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { inner, in_string: false, escaped: false, length: 0 }
    }

    fn see(&mut self, byte: u8) {
        match (self.in_string, self.escaped, byte) {
            (false, _, b'"') => {
                self.in_string = true;
                self.length = 0;
            }
            (false, ..) => {}
            (true, true, _) => self.escaped = false,
            (true, false, b'\\') => self.escaped = true,
            (true, false, b'"') => self.in_string = false,
            (true, false, _) => self.length += 1,
        }
    }
}

impl<R: Read> Read for GuardedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        for byte in &buffer[..length] {
            self.see(*byte);
            if self.length > MAX_STRING_BYTES {
                return Err(io::Error::other(format!("a text has more than {MAX_STRING_BYTES} bytes")));
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_end_is_cut_off_before_it_fills_the_memory() {
        let endless = io::repeat(b'a');
        let mut reader = GuardedReader::new(b"[\"".chain(endless));
        let mut sink = Vec::new();
        assert!(reader.read_to_end(&mut sink).is_err());
        assert!(sink.len() <= 2 * MAX_STRING_BYTES);
    }

    #[test]
    fn quotes_behind_a_backslash_do_not_end_a_text() {
        let mut reader = GuardedReader::new(&b"\"a\\\"b\""[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert!(!reader.in_string);
    }
}
