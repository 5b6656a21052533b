//! Object headers: the messages that describe a group or a dataset.

use super::checksum;
use super::cursor::Cursor;
use super::error::Hdf5Error;
use super::reader::{MAX_HEADER_MESSAGES, Reader};

const CONTINUATION: u16 = 0x10;
/// Parts over which one header may be spread.
const MAX_CHUNKS: usize = 4096;
/// Largest part, in bytes.
const MAX_CHUNK_BYTES: u64 = 16 * 1024 * 1024;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// One message of an object header.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: u16,
    /// Whether the body is a reference to a message kept elsewhere.
    pub(super) is_shared: bool,
    pub(super) body: Vec<u8>,
}

/// Reads all messages of the header at `at`.
pub(super) fn read(reader: &mut Reader<'_>, at: u64) -> Result<Vec<Message>> {
    let start = reader.bytes(at, 16)?;
    let mut header = Header { messages: Vec::new(), chunks: Vec::new(), tracks_order: None };
    if start.starts_with(b"OHDR") {
        header.begin_new(reader, at)?;
    } else if start[0] == 1 {
        header.begin_old(reader, at, &start)?;
    } else {
        return Err(Hdf5Error::Signature { what: "an object header", at });
    }
    let mut next = 0;
    while let Some(chunk) = header.chunks.get(next).copied() {
        header.continue_at(reader, chunk)?;
        next += 1;
        if next == MAX_CHUNKS {
            return Err(Hdf5Error::HeaderTooLarge);
        }
    }
    Ok(header.messages)
}

struct Header {
    messages: Vec<Message>,
    /// Address and length of the parts that follow.
    chunks: Vec<(u64, u64)>,
    /// In headers of version 2: whether messages carry their creation order.
    tracks_order: Option<bool>,
}

impl Header {
    fn begin_old(&mut self, reader: &mut Reader<'_>, at: u64, start: &[u8]) -> Result<()> {
        let mut cursor = Cursor::new(start, "an object header");
        cursor.skip(8)?;
        let length = u64::from(cursor.u32()?);
        let bytes = reader.bytes(at + 16, bounded(length)?)?;
        self.messages(reader, &bytes)
    }

    fn begin_new(&mut self, reader: &mut Reader<'_>, at: u64) -> Result<()> {
        let head = reader.bytes(at, 6)?;
        let (version, flags) = (head[4], head[5]);
        if version != 2 {
            return Err(Hdf5Error::Version { what: "an object header", version });
        }
        // Four times, then the limits for compact attributes, then the length of this part.
        let times = if flags & 0x20 == 0 { 0 } else { 16 };
        let limits = if flags & 0x10 == 0 { 0 } else { 4 };
        let width = 1 << (flags & 3);
        let prefix = 6 + times + limits + width;
        let bytes = reader.bytes(at, prefix)?;
        let length = Cursor::new(&bytes[prefix - width..], "an object header").number(width)?;
        let bytes = reader.bytes(at, prefix + bounded(length)? + 4)?;
        checksum::check(&bytes, "an object header", at)?;
        self.tracks_order = Some(flags & 4 != 0);
        self.messages(reader, &bytes[prefix..bytes.len() - 4])
    }

    fn continue_at(&mut self, reader: &mut Reader<'_>, (at, length): (u64, u64)) -> Result<()> {
        let length = bounded(length)?;
        if self.tracks_order.is_none() {
            let bytes = reader.bytes(at, length)?;
            return self.messages(reader, &bytes);
        }
        let bytes = reader.signed(at, length, *b"OCHK", "the continuation of an object header")?;
        checksum::check(&bytes, "the continuation of an object header", at)?;
        match bytes.get(4..bytes.len() - 4) {
            Some(messages) => self.messages(reader, messages),
            None => Err(Hdf5Error::Truncated("the continuation of an object header")),
        }
    }

    fn messages(&mut self, reader: &Reader<'_>, bytes: &[u8]) -> Result<()> {
        let mut cursor = Cursor::new(bytes, "an object header");
        let least = match self.tracks_order {
            None => 8,
            Some(false) => 4,
            Some(true) => 6,
        };
        // What is left over is a gap too small for a message.
        while cursor.remaining() >= least {
            let message = self.message(&mut cursor)?;
            if message.kind == CONTINUATION {
                let mut body = Cursor::new(&message.body, "a continuation message");
                self.chunks.push((reader.defined(&mut body)?, reader.length(&mut body)?));
            } else if message.kind != 0 {
                self.messages.push(message);
            }
            if self.messages.len() + self.chunks.len() > MAX_HEADER_MESSAGES {
                return Err(Hdf5Error::HeaderTooLarge);
            }
        }
        Ok(())
    }

    fn message(&self, cursor: &mut Cursor<'_>) -> Result<Message> {
        let kind = if self.tracks_order.is_none() { cursor.u16()? } else { u16::from(cursor.u8()?) };
        let length = usize::from(cursor.u16()?);
        let flags = cursor.u8()?;
        match self.tracks_order {
            None => cursor.skip(3)?,
            Some(true) => cursor.skip(2)?,
            Some(false) => {}
        }
        Ok(Message { kind, is_shared: flags & 2 != 0, body: cursor.take(length)?.to_vec() })
    }
}

fn bounded(length: u64) -> Result<usize> {
    let length = Some(length).filter(|length| *length <= MAX_CHUNK_BYTES).ok_or(Hdf5Error::HeaderTooLarge)?;
    usize::try_from(length).map_err(|_| Hdf5Error::HeaderTooLarge)
}
