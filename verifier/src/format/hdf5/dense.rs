//! Links and attributes of objects that have many: they lie in a heap, found through a tree.
//!
//! Both are of the format's second generation ("fractal heap", "version 2 B-tree"). Objects
//! too large for a heap's blocks and heaps of several levels of blocks are not read.

use super::checksum;
use super::cursor::Cursor;
use super::error::Hdf5Error;
use super::header::Message;
use super::reader::{MAX_OBJECTS, Reader};

const LINK_INFO: u16 = 0x02;
const LINK: u16 = 0x06;
const ATTRIBUTE: u16 = 0x0c;
const ATTRIBUTE_INFO: u16 = 0x15;
/// Kinds of tree records that hold the heap's name of an object, and where in the record.
const LINK_BY_NAME: u8 = 5;
const ATTRIBUTE_BY_NAME: u8 = 8;
/// Signature, version and kind in front of a tree node's records, and the checksum behind them.
const NODE_HEAD: usize = 6;
const NODE_OVERHEAD: u64 = 10;
const MAX_DEPTH: u16 = 16;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// Adds the messages that an object keeps outside of its header.
pub(super) fn expand(reader: &mut Reader<'_>, messages: &mut Vec<Message>) -> Result<()> {
    let mut stored = Vec::new();
    for message in messages.iter() {
        let (kind, index_width) = match message.kind {
            LINK_INFO => (LINK, 8),
            ATTRIBUTE_INFO => (ATTRIBUTE, 2),
            _ => continue,
        };
        if message.is_shared {
            return Err(Hdf5Error::NotRead("shared messages about storage"));
        }
        let mut cursor = Cursor::new(&message.body, "a message about dense storage");
        let (_, flags) = (cursor.u8()?, cursor.u8()?);
        cursor.skip(if flags & 1 == 0 { 0 } else { index_width })?;
        let (heap, tree) = (reader.address(&mut cursor)?, reader.address(&mut cursor)?);
        if let (Some(heap), Some(tree)) = (heap, tree) {
            let bodies = objects(reader, heap, tree)?;
            stored.extend(bodies.into_iter().map(|body| Message { kind, is_shared: false, body }));
        }
    }
    messages.extend(stored);
    Ok(())
}

/// All objects of a heap that the tree lists.
fn objects(reader: &mut Reader<'_>, heap: u64, tree: u64) -> Result<Vec<Vec<u8>>> {
    let heap = Heap::open(reader, heap)?;
    let records = Tree::open(reader, tree)?.records(reader)?;
    records.iter().map(|record| heap.object(reader, record)).collect()
}

/// A heap of one block, or of a table of blocks.
struct Heap {
    /// Bytes of an object's place in its name.
    offset_width: usize,
    /// Blocks in one row of the table.
    columns: u64,
    /// Size of the blocks of the first two rows; each further row doubles it.
    first_block: u64,
    largest_block: u64,
    /// None where all objects are large ones.
    root: Option<u64>,
    /// Rows of the table; 0 where the root is a block itself.
    rows: u16,
}

impl Heap {
    fn open(reader: &mut Reader<'_>, at: u64) -> Result<Self> {
        let (offset, length) = (reader.offset_width(), reader.length_width());
        let size = 22 + 12 * length + 3 * offset + 4;
        let bytes = reader.signed(at, size, *b"FRHP", "a heap")?;
        let mut cursor = Cursor::new(&bytes[7..], "a heap");
        if cursor.u16()? != 0 {
            return Err(Hdf5Error::NotRead("filtered heaps"));
        }
        checksum::check(&bytes, "a heap", at)?;
        // Flags, the largest object, then twelve counts and addresses of its bookkeeping.
        cursor.skip(5 + 10 * length + 2 * offset)?;
        let columns = u64::from(cursor.u16()?);
        let (first_block, largest_block) = (reader.length(&mut cursor)?, reader.length(&mut cursor)?);
        let offset_width = usize::from(cursor.u16()?.div_ceil(8));
        cursor.skip(2)?;
        let (root, rows) = (reader.address(&mut cursor)?, cursor.u16()?);
        let is_sound = columns > 0 && first_block.is_power_of_two() && largest_block.is_power_of_two();
        if !is_sound || largest_block < first_block || !(1..=8).contains(&offset_width) {
            return Err(Hdf5Error::Invalid("a heap"));
        }
        Ok(Self { offset_width, columns, first_block, largest_block, root, rows })
    }

    /// The object of this name: flags, its place in the heap, its length.
    fn object(&self, reader: &mut Reader<'_>, name: &[u8]) -> Result<Vec<u8>> {
        let mut cursor = Cursor::new(name, "the name of an object in a heap");
        if cursor.u8()? & 0x30 != 0 {
            return Err(Hdf5Error::NotRead("large objects outside of a heap's blocks"));
        }
        let place = cursor.number(self.offset_width)?;
        let length = cursor.number(cursor.remaining().min(8))?;
        let (block, offset) = self.block(reader, place)?;
        let is_inside = length <= self.largest_block && offset <= self.largest_block;
        let length = Some(length).filter(|_| is_inside).and_then(|length| usize::try_from(length).ok());
        reader.bytes(block.saturating_add(offset), length.ok_or(Hdf5Error::Invalid("an object in a heap"))?)
    }

    /// The block that holds a place of the heap, and where in it the place is.
    fn block(&self, reader: &mut Reader<'_>, place: u64) -> Result<(u64, u64)> {
        let root = self.root.ok_or(Hdf5Error::Invalid("a heap"))?;
        if self.rows == 0 {
            return Ok((root, place));
        }
        let row_bytes = self.columns.checked_mul(self.first_block).ok_or(Hdf5Error::Invalid("a heap"))?;
        // Rows 0 and 1 have blocks of one size, so that every row from 1 on begins at a doubling.
        let row = (place / row_bytes).checked_ilog2().map_or(0, |row| row + 1);
        let doublings = row.saturating_sub(1);
        let block_bytes = self.first_block << doublings.min(63 - self.first_block.ilog2());
        if row >= u32::from(self.rows) || block_bytes > self.largest_block {
            return Err(Hdf5Error::NotRead("heaps of several levels"));
        }
        let start = if row == 0 { 0 } else { row_bytes << doublings };
        let (column, offset) = ((place - start) / block_bytes, (place - start) % block_bytes);
        let entry = u64::from(row) * self.columns + column;
        let head = 5 + reader.offset_width() + self.offset_width;
        let address = head as u64 + entry * reader.offset_width() as u64;
        let bytes = reader.bytes(root.saturating_add(address), reader.offset_width())?;
        Ok((reader.defined(&mut Cursor::new(&bytes, "a heap"))?, offset))
    }
}

/// A tree of records, each of which names an object of a heap.
struct Tree {
    kind: u8,
    node_bytes: u64,
    record_bytes: u64,
    depth: u16,
    root: Option<(u64, u64)>,
}

/// A node still to be read.
struct Node {
    at: u64,
    records: u64,
    depth: u16,
}

impl Tree {
    fn open(reader: &mut Reader<'_>, at: u64) -> Result<Self> {
        let size = 18 + reader.offset_width() + reader.length_width() + 4;
        let bytes = reader.signed(at, size, *b"BTHD", "a tree")?;
        checksum::check(&bytes, "a tree", at)?;
        let kind = bytes[5];
        let mut cursor = Cursor::new(&bytes[6..], "a tree");
        let (node_bytes, record_bytes, depth) = (u64::from(cursor.u32()?), u64::from(cursor.u16()?), cursor.u16()?);
        cursor.skip(2)?;
        let (root, records) = (reader.address(&mut cursor)?, u64::from(cursor.u16()?));
        let is_sound = node_bytes > NODE_OVERHEAD + record_bytes && record_bytes > 8 && depth <= MAX_DEPTH;
        if !is_sound || !matches!(kind, LINK_BY_NAME | ATTRIBUTE_BY_NAME) {
            return Err(Hdf5Error::Invalid("a tree"));
        }
        Ok(Self { kind, node_bytes, record_bytes, depth, root: root.map(|root| (root, records)) })
    }

    /// The names of objects in all records.
    fn records(&self, reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        let mut pending = Vec::new();
        pending.extend(self.root.map(|(at, records)| Node { at, records, depth: self.depth }));
        while let Some(node) = pending.pop() {
            self.node(reader, &node, &mut names, &mut pending)?;
            if names.len() + pending.len() > MAX_OBJECTS {
                return Err(Hdf5Error::TooLarge);
            }
        }
        Ok(names)
    }

    fn node(
        &self,
        reader: &mut Reader<'_>,
        node: &Node,
        names: &mut Vec<Vec<u8>>,
        pending: &mut Vec<Node>,
    ) -> Result<()> {
        let (count_width, total_width) = self.widths(node.depth, reader.offset_width() as u64);
        let pointer = reader.offset_width() + count_width + total_width;
        let pointers = if node.depth == 0 { 0 } else { (node.records + 1) * pointer as u64 };
        let length = NODE_OVERHEAD + node.records * self.record_bytes + pointers;
        let length = Some(length).filter(|length| *length <= self.node_bytes).ok_or(Hdf5Error::Invalid("a tree"))?;
        let signature = if node.depth == 0 { *b"BTLF" } else { *b"BTIN" };
        let bytes = reader.signed(node.at, usize::try_from(length).unwrap_or_default(), signature, "a tree's node")?;
        checksum::check(&bytes, "a tree's node", node.at)?;
        let mut cursor = Cursor::new(&bytes[NODE_HEAD..], "a tree's node");
        for _ in 0..node.records {
            let record = cursor.take(usize::try_from(self.record_bytes).unwrap_or_default())?;
            let name = if self.kind == LINK_BY_NAME { &record[4..] } else { &record[..8] };
            names.push(name.to_vec());
        }
        for _ in 0..if node.depth == 0 { 0 } else { node.records + 1 } {
            let (at, records) = (reader.defined(&mut cursor)?, cursor.number(count_width)?);
            cursor.skip(total_width)?;
            pending.push(Node { at, records, depth: node.depth - 1 });
        }
        Ok(())
    }

    /// Bytes of the two counts beside the address of a child: its records, and those of all below it.
    fn widths(&self, depth: u16, address: u64) -> (usize, usize) {
        let leaf = (self.node_bytes - NODE_OVERHEAD) / self.record_bytes;
        let count_width = width_of(leaf);
        let (mut below, mut total_width) = (leaf, 0);
        for _ in 1..depth {
            let pointer = address + (count_width + total_width) as u64;
            let most = self.node_bytes.saturating_sub(NODE_OVERHEAD + pointer) / (self.record_bytes + pointer);
            below = most.saturating_add(1).saturating_mul(below).saturating_add(most);
            total_width = width_of(below);
        }
        (count_width, total_width)
    }
}

/// Bytes that hold any number up to `limit`.
fn width_of(limit: u64) -> usize {
    limit.checked_ilog2().map_or(1, |bits| usize::try_from(bits / 8 + 1).unwrap_or(8))
}
