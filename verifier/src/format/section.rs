//! A part of a source, as a source of its own: the stored member of an archive, the constant of a pickle.

use std::io;

use crate::read_at::ReadAt;

/// `length` bytes of `source` from `start`.
pub(super) struct Section<'a> {
    source: &'a dyn ReadAt,
    start: u64,
    length: u64,
}

impl<'a> Section<'a> {
    /// The part that begins at `start`, cut where `source` ends.
    pub(super) fn new(source: &'a dyn ReadAt, start: u64, length: u64) -> Self {
        Self { source, start, length: length.min(source.size().saturating_sub(start)) }
    }
}

impl ReadAt for Section<'_> {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        self.source.read_at(self.start + offset, &mut buffer[..length])
    }
}

/// Reads a source from its start, for decoders that take a stream.
pub(super) struct Stream<'a> {
    source: &'a dyn ReadAt,
    position: u64,
}

impl<'a> Stream<'a> {
    pub(super) const fn new(source: &'a dyn ReadAt) -> Self {
        Self { source, position: 0 }
    }
}

impl io::Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(self.position, buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl io::Seek for Stream<'_> {
    fn seek(&mut self, target: io::SeekFrom) -> io::Result<u64> {
        let (base, distance) = match target {
            io::SeekFrom::Start(position) => (position, 0),
            io::SeekFrom::End(distance) => (self.source.size(), distance),
            io::SeekFrom::Current(distance) => (self.position, distance),
        };
        self.position = base.checked_add_signed(distance).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom};

    use super::*;

    #[test]
    fn a_section_ends_where_it_was_cut() {
        let source = b"0123456789".to_vec();
        let section = Section::new(&source, 8, 5);
        let mut buffer = [0; 4];
        assert_eq!((section.size(), section.read_at(1, &mut buffer).unwrap()), (2, 1));
        assert_eq!(buffer[0], b'9');
        assert_eq!(Section::new(&source, 20, 5).size(), 0);
    }

    #[test]
    fn a_stream_reads_on_from_where_it_was_set() {
        let source = b"0123456789".to_vec();
        let mut stream = Stream::new(&source);
        assert_eq!(stream.seek(SeekFrom::End(-3)).unwrap(), 7);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "789");
        assert!(stream.seek(SeekFrom::Current(-11)).is_err());
    }
}
