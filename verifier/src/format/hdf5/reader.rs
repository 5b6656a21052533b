//! The file as a whole: its superblock, its addresses, and what reading may cost.

use super::super::pages::Pages;
use super::checksum;
use super::cursor::Cursor;
use super::error::Hdf5Error;

pub(super) const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// Bytes of structure that are looked at in one file.
pub(super) const MAX_STRUCTURE_BYTES: u64 = 64 * 1024 * 1024;
/// How often a byte may be looked at on average: structures refer to each other, and a small
/// file must not have one of them read for each of the others.
const READS_OF_A_BYTE: u64 = 3;
const SPARE_BYTES: u64 = 64 * 1024;
/// Groups and datasets of one file.
pub(super) const MAX_OBJECTS: usize = 100_000;
/// Messages in one object header.
pub(super) const MAX_HEADER_MESSAGES: usize = 65_536;
/// Where a superblock may lie when it is not at the start: 512 bytes, and any doubling of it.
const FIRST_USER_BLOCK: u64 = 512;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// Access to the structures of one file.
pub(super) struct Reader<'a> {
    pages: Pages<'a>,
    /// Where the file's addresses count from.
    base: u64,
    offset_width: usize,
    length_width: usize,
    left: u64,
}

/// What the superblock tells.
pub(super) struct Superblock {
    /// Bytes in front of the HDF5 file proper.
    pub(super) user_block: u64,
    /// Where the file's data end, from the start of the file.
    pub(super) end: u64,
    /// Header of the root group.
    pub(super) root: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn open(pages: Pages<'a>) -> Result<(Self, Superblock)> {
        let left = SPARE_BYTES.saturating_add(pages.size().saturating_mul(READS_OF_A_BYTE)).min(MAX_STRUCTURE_BYTES);
        let mut reader = Self { pages, base: 0, offset_width: 8, length_width: 8, left };
        reader.base = reader.find_signature()?;
        let version = reader.bytes(reader.base + 8, 1)?[0];
        let superblock = match version {
            0 | 1 => reader.old_superblock(version),
            2 | 3 => reader.new_superblock(),
            version => Err(Hdf5Error::Version { what: "the superblock", version }),
        }?;
        if superblock.end > reader.size() {
            return Err(Hdf5Error::FileTruncated(superblock.end));
        }
        Ok((reader, superblock))
    }

    pub(super) fn size(&self) -> u64 {
        self.pages.size()
    }

    pub(super) const fn offset_width(&self) -> usize {
        self.offset_width
    }

    pub(super) const fn length_width(&self) -> usize {
        self.length_width
    }

    /// `length` bytes from the position `at` of the file.
    pub(super) fn bytes(&mut self, at: u64, length: usize) -> Result<Vec<u8>> {
        self.left = self.left.checked_sub(length as u64).ok_or(Hdf5Error::TooLarge)?;
        Ok(self.pages.bytes(at, length)?)
    }

    /// The bytes from `at` up to a zero byte, which must come within `limit` bytes.
    pub(super) fn text(&mut self, at: u64, limit: u64) -> Result<String> {
        let mut bytes = Vec::new();
        loop {
            if bytes.len() as u64 >= limit {
                return Err(Hdf5Error::Invalid("a name in a heap"));
            }
            match self.pages.byte(at + bytes.len() as u64)? {
                0 => break,
                byte => bytes.push(byte),
            }
        }
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Hdf5Error::TooLarge)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a structure that begins with `signature`.
    pub(super) fn signed(&mut self, at: u64, length: usize, signature: [u8; 4], what: &'static str) -> Result<Vec<u8>> {
        let bytes = self.bytes(at, length)?;
        if bytes.starts_with(&signature) { Ok(bytes) } else { Err(Hdf5Error::Signature { what, at }) }
    }

    /// An address, or none where it is the undefined one.
    pub(super) fn address(&self, cursor: &mut Cursor<'_>) -> Result<Option<u64>> {
        let address = cursor.number(self.offset_width)?;
        let undefined = u64::MAX >> (64 - 8 * self.offset_width);
        if address == undefined {
            return Ok(None);
        }
        self.base.checked_add(address).map(Some).ok_or(Hdf5Error::Invalid("an address"))
    }

    /// An address that must be there.
    pub(super) fn defined(&self, cursor: &mut Cursor<'_>) -> Result<u64> {
        self.address(cursor)?.ok_or(Hdf5Error::Invalid("an address"))
    }

    pub(super) fn length(&self, cursor: &mut Cursor<'_>) -> Result<u64> {
        cursor.number(self.length_width)
    }

    fn find_signature(&mut self) -> Result<u64> {
        let mut at = 0;
        while at + 8 <= self.size() {
            if self.bytes(at, 8)? == SIGNATURE {
                return Ok(at);
            }
            at = if at == 0 { FIRST_USER_BLOCK } else { at * 2 };
        }
        Err(Hdf5Error::Signature { what: "the file", at: 0 })
    }

    fn set_widths(&mut self, offset: u8, length: u8) -> Result<()> {
        for width in [offset, length] {
            if !matches!(width, 2 | 4 | 8) {
                return Err(Hdf5Error::Invalid("the width of addresses or lengths"));
            }
        }
        self.offset_width = usize::from(offset);
        self.length_width = usize::from(length);
        Ok(())
    }

    /// Versions 0 and 1: the root group stands as an entry of a symbol table.
    fn old_superblock(&mut self, version: u8) -> Result<Superblock> {
        let length = (self.size() - self.base).min(128);
        let bytes = self.bytes(self.base, usize::try_from(length).unwrap_or_default())?;
        let mut cursor = Cursor::new(&bytes, "the superblock");
        cursor.skip(13)?;
        let widths = (cursor.u8()?, cursor.u8()?);
        self.set_widths(widths.0, widths.1)?;
        // Padding, the ranks of two trees, flags; version 1 adds the rank of a third tree.
        cursor.skip(if version == 0 { 9 } else { 13 })?;
        cursor.skip(2 * self.offset_width)?;
        let end = cursor.number(self.offset_width)?;
        cursor.skip(2 * self.offset_width)?;
        let root = self.defined(&mut cursor)?;
        Ok(Superblock { user_block: self.base, end, root })
    }

    /// Versions 2 and 3.
    fn new_superblock(&mut self) -> Result<Superblock> {
        let head = self.bytes(self.base, 12)?;
        self.set_widths(head[9], head[10])?;
        let length = 12 + 4 * self.offset_width;
        let bytes = self.bytes(self.base, length + 4)?;
        checksum::check(&bytes, "the superblock", self.base)?;
        let mut cursor = Cursor::new(&bytes[12..], "the superblock");
        cursor.skip(2 * self.offset_width)?;
        let end = cursor.number(self.offset_width)?;
        let root = self.defined(&mut cursor)?;
        Ok(Superblock { user_block: self.base, end, root })
    }
}
