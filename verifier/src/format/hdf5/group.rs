//! The links of a group, however they are stored.

use std::collections::BTreeSet;

use super::cursor::Cursor;
use super::error::Hdf5Error;
use super::header::Message;
use super::reader::{MAX_OBJECTS, Reader};

const LINK_INFO: u16 = 0x02;
const LINK: u16 = 0x06;
const SYMBOL_TABLE: u16 = 0x11;
/// Longest name of a link, in bytes.
const MAX_NAME_BYTES: u64 = 4096;
/// Cache type of a symbolic link in a symbol table.
const SYMBOLIC: u32 = 2;
const EXTERNAL: u8 = 64;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// Where a link leads.
#[derive(Debug)]
pub(super) enum Target {
    /// An object header of this file.
    Object(u64),
    /// A path in this file, which may lead nowhere.
    Path,
    /// A path in another file.
    File(String),
    /// A place that only a plug-in knows.
    UserDefined(u8),
}

/// One entry of a group.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) target: Target,
}

/// Whether an object with these messages is a group.
pub(super) fn is_group(messages: &[Message]) -> bool {
    messages.iter().any(|message| matches!(message.kind, LINK_INFO | LINK | SYMBOL_TABLE))
}

/// All links of the group.
pub(super) fn links(reader: &mut Reader<'_>, messages: &[Message]) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for message in messages {
        if matches!(message.kind, LINK_INFO | LINK | SYMBOL_TABLE) && message.is_shared {
            return Err(Hdf5Error::NotRead("shared messages in a group"));
        }
        match message.kind {
            LINK => links.push(link(reader, &message.body)?),
            SYMBOL_TABLE => symbol_table(reader, &message.body, &mut links)?,
            _ => {}
        }
    }
    Ok(links)
}

fn link(reader: &Reader<'_>, body: &[u8]) -> Result<Link> {
    let mut cursor = Cursor::new(body, "a link message");
    let (version, flags) = (cursor.u8()?, cursor.u8()?);
    if version != 1 {
        return Err(Hdf5Error::Version { what: "a link message", version });
    }
    let kind = if flags & 8 == 0 { 0 } else { cursor.u8()? };
    cursor.skip(if flags & 4 == 0 { 0 } else { 8 })?;
    cursor.skip(usize::from(flags & 0x10 != 0))?;
    let length = cursor.number(1 << (flags & 3))?;
    let length = usize::try_from(length).map_err(|_| Hdf5Error::Invalid("the name of a link"))?;
    let name = String::from_utf8_lossy(cursor.take(length)?).into_owned();
    let target = match kind {
        0 => Target::Object(reader.defined(&mut cursor)?),
        1 => Target::Path,
        EXTERNAL => Target::File(external_file(&mut cursor)?),
        kind => Target::UserDefined(kind),
    };
    Ok(Link { name, target })
}

/// The value of an external link: its length, flags, the name of a file, the path of an object.
fn external_file(cursor: &mut Cursor<'_>) -> Result<String> {
    let length = usize::from(cursor.u16()?);
    let value = cursor.take(length)?;
    let file = value.get(1..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(file).into_owned())
}

/// The older layout: a tree of tables, and names in a heap.
fn symbol_table(reader: &mut Reader<'_>, body: &[u8], links: &mut Vec<Link>) -> Result<()> {
    let mut cursor = Cursor::new(body, "a symbol table message");
    let (tree, heap) = (reader.defined(&mut cursor)?, reader.defined(&mut cursor)?);
    let heap = Heap::open(reader, heap)?;
    let mut seen = BTreeSet::new();
    let mut pending = vec![(tree, None)];
    while let Some((at, level)) = pending.pop() {
        if !seen.insert(at) {
            return Err(Hdf5Error::Cycle);
        }
        if level == Some(0) {
            symbols(reader, at, &heap, links)?;
        } else {
            tree_node(reader, at, level, &mut pending)?;
        }
        if links.len() > MAX_OBJECTS || pending.len() > MAX_OBJECTS {
            return Err(Hdf5Error::TooLarge);
        }
    }
    Ok(())
}

/// Adds a node's children with their height: tables have height 0, and nodes one more than their children.
fn tree_node(reader: &mut Reader<'_>, at: u64, height: Option<u8>, pending: &mut Vec<(u64, Option<u8>)>) -> Result<()> {
    let fixed = 8 + 2 * reader.offset_width();
    let head = reader.signed(at, fixed, *b"TREE", "a group's tree")?;
    let (kind, level, entries) = (head[4], head[5], usize::from(u16::from_le_bytes([head[6], head[7]])));
    if kind != 0 || height.is_some_and(|height| height != level + 1) || level == u8::MAX {
        return Err(Hdf5Error::Invalid("a group's tree"));
    }
    let entry = reader.length_width() + reader.offset_width();
    let bytes = reader.bytes(at + fixed as u64, entries * entry)?;
    let mut cursor = Cursor::new(&bytes, "a group's tree");
    for _ in 0..entries {
        cursor.skip(reader.length_width())?;
        pending.push((reader.defined(&mut cursor)?, Some(level)));
    }
    Ok(())
}

fn symbols(reader: &mut Reader<'_>, at: u64, heap: &Heap, links: &mut Vec<Link>) -> Result<()> {
    let head = reader.signed(at, 8, *b"SNOD", "a symbol table")?;
    let entries = usize::from(u16::from_le_bytes([head[6], head[7]]));
    let entry = 2 * reader.offset_width() + 24;
    let bytes = reader.bytes(at + 8, entries * entry)?;
    let mut cursor = Cursor::new(&bytes, "a symbol table");
    for _ in 0..entries {
        let name_offset = cursor.number(reader.offset_width())?;
        let object = reader.address(&mut cursor)?;
        let cache = cursor.u32()?;
        cursor.skip(20)?;
        let target = match object {
            _ if cache == SYMBOLIC => Target::Path,
            Some(object) => Target::Object(object),
            None => return Err(Hdf5Error::Invalid("a symbol table")),
        };
        links.push(Link { name: heap.name(reader, name_offset)?, target });
    }
    Ok(())
}

/// The names of one group.
struct Heap {
    data: u64,
    length: u64,
}

impl Heap {
    fn open(reader: &mut Reader<'_>, at: u64) -> Result<Self> {
        let fixed = 8 + 2 * reader.length_width() + reader.offset_width();
        let bytes = reader.signed(at, fixed, *b"HEAP", "a group's heap")?;
        let mut cursor = Cursor::new(&bytes[8..], "a group's heap");
        let length = reader.length(&mut cursor)?;
        cursor.skip(reader.length_width())?;
        Ok(Self { data: reader.defined(&mut cursor)?, length })
    }

    fn name(&self, reader: &mut Reader<'_>, offset: u64) -> Result<String> {
        let limit = self.length.checked_sub(offset).ok_or(Hdf5Error::Invalid("a name in a heap"))?;
        let at = self.data.checked_add(offset).ok_or(Hdf5Error::Invalid("a name in a heap"))?;
        reader.text(at, limit.min(MAX_NAME_BYTES))
    }
}
