//! Takes little-endian fields off the front of a structure.

use super::error::Hdf5Error;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// What is left of a structure called `what`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'b> {
    rest: &'b [u8],
    what: &'static str,
}

impl<'b> Cursor<'b> {
    pub(super) const fn new(rest: &'b [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Hdf5Error::Truncated(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, length: usize) -> Result<()> {
        self.take(length).map(drop)
    }

    /// An unsigned number of `width` bytes, at most 8.
    pub(super) fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}
