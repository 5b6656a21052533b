//! Pieces of several files, one after the other.

use std::io;
use std::sync::Arc;

use verifier::ReadAt;

/// Where bytes come from.
#[derive(Clone)]
pub(crate) enum Source<'a> {
    File(&'a dyn ReadAt),
    /// Made from a configuration.
    Memory(Arc<Vec<u8>>),
}

/// A run of bytes of one source.
#[derive(Clone)]
pub(crate) struct Extent<'a> {
    pub(crate) source: Source<'a>,
    /// In the source.
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Extents in a row, read as if they were one file.
#[derive(Default)]
pub(crate) struct AddressSpace<'a> {
    /// Each with the address of its first byte, in ascending order.
    extents: Vec<(u64, Extent<'a>)>,
    size: u64,
}

impl<'a> AddressSpace<'a> {
    /// Adds bytes at the end; gives their address.
    pub(super) fn add(&mut self, extent: Extent<'a>) -> u64 {
        let start = self.size;
        self.size = self.size.saturating_add(extent.length);
        self.extents.push((start, extent));
        start
    }

    /// The extent that holds `address`, with its first address.
    fn find(&self, address: u64) -> Option<(u64, &Extent<'a>)> {
        let after = self.extents.partition_point(|(start, _)| *start <= address);
        let (start, extent) = self.extents.get(after.checked_sub(1)?)?;
        (address - start < extent.length).then_some((*start, extent))
    }
}

impl ReadAt for AddressSpace<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((start, extent)) = self.find(address) else { return Ok(0) };
        let left = usize::try_from(extent.length - (address - start)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let source = match &extent.source {
            Source::File(file) => *file,
            Source::Memory(bytes) => bytes.as_ref(),
        };
        source.read_at(extent.offset + (address - start), &mut buffer[..wanted])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_runs_on_from_one_extent_into_the_next() {
        let (first, second) = (b"..abc..".to_vec(), b"defgh".to_vec());
        let mut space = AddressSpace::default();
        assert_eq!(space.add(Extent { source: Source::File(&first), offset: 2, length: 3 }), 0);
        assert_eq!(space.add(Extent { source: Source::File(&second), offset: 0, length: 5 }), 3);
        let mut buffer = [0; 4];
        space.read_exact_at(1, &mut buffer).unwrap();
        assert_eq!(&buffer, b"bcde");
        assert_eq!(space.size(), 8);
    }

    #[test]
    fn beyond_the_last_extent_there_is_nothing() {
        let bytes = b"abc".to_vec();
        let mut space = AddressSpace::default();
        space.add(Extent { source: Source::File(&bytes), offset: 0, length: 3 });
        assert_eq!(space.read_at(3, &mut [0; 2]).unwrap(), 0);
        assert!(space.read_exact_at(2, &mut [0; 2]).is_err());
    }
}
