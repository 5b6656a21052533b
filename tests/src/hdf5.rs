//! Writes HDF5 files of the oldest layout, structure by structure, so that tests can write
//! what the library would not.

const UNDEFINED: u64 = u64::MAX;

/// One message of an object header.
pub type Message = (u16, Vec<u8>);

/// A file under construction; structures are appended and referred to by their address.
#[derive(Debug, Clone)]
pub struct Builder(Vec<u8>);

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    pub fn new() -> Self {
        Self(vec![0; 96])
    }

    /// Appends bytes and gives their address.
    pub fn place(&mut self, bytes: &[u8]) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let address = self.0.len() as u64;
        self.0.extend(bytes);
        address
    }

    /// An object header of version 1.
    pub fn object(&mut self, messages: &[Message]) -> u64 {
        let mut body = Vec::new();
        for (kind, content) in messages {
            let length = content.len().next_multiple_of(8);
            body.extend(kind.to_le_bytes());
            body.extend(little::<2>(length));
            body.extend([0; 4]);
            body.extend(content);
            body.resize(body.len().next_multiple_of(8), 0);
        }
        let mut header = vec![1, 0];
        header.extend(little::<2>(messages.len()));
        header.extend(1_u32.to_le_bytes());
        header.extend(little::<4>(body.len()));
        header.extend([0; 4]);
        header.extend(body);
        self.place(&header)
    }

    /// A group of hard links, with further messages.
    pub fn group(&mut self, links: &[(&str, u64)], messages: &[Message]) -> u64 {
        let mut names = vec![0; 8];
        let mut symbols = b"SNOD\x01\0".to_vec();
        symbols.extend(little::<2>(links.len()));
        for (name, object) in links {
            symbols.extend((names.len() as u64).to_le_bytes());
            symbols.extend(object.to_le_bytes());
            symbols.extend([0; 24]);
            names.extend(name.as_bytes());
            names.push(0);
            names.resize(names.len().next_multiple_of(8), 0);
        }
        let data = self.place(&names);
        let heap = [b"HEAP\0\0\0\0".to_vec(), words(&[names.len() as u64, UNDEFINED, data])].concat();
        let heap = self.place(&heap);
        let symbols = self.place(&symbols);
        let tree = [b"TREE\0\0\x01\0".to_vec(), words(&[UNDEFINED, UNDEFINED, 0, symbols, 8])].concat();
        let tree = self.place(&tree);
        let mut messages = messages.to_vec();
        messages.insert(0, (0x11, words(&[tree, heap])));
        self.object(&messages)
    }

    /// A group whose links lie in a heap of their own, by the format's second generation.
    pub fn dense_group(&mut self, links: &[Message]) -> u64 {
        let mut block = vec![0; 22];
        let mut node = b"BTLF\0\x05".to_vec();
        for (_, body) in links {
            node.extend([0; 5]);
            node.extend(little::<4>(block.len()));
            node.extend(little::<2>(body.len()));
            block.extend(body);
        }
        let block = self.place(&block);
        let node = self.place(&checked(node));
        let mut heap = b"FRHP\0\x07\0\0\0\0\0\0\0\0".to_vec();
        heap.extend(words(&[0; 12]));
        heap.extend(little::<2>(4));
        heap.extend(words(&[512, 65_536]));
        heap.extend([32, 0, 1, 0]);
        heap.extend(words(&[block]));
        heap.extend([0, 0]);
        let heap = self.place(&checked(heap));
        let mut tree = b"BTHD\0\x05\0\x02\0\0\x0b\0\0\0\0\0".to_vec();
        tree.extend(words(&[node]));
        tree.extend(little::<2>(links.len()));
        tree.extend(words(&[links.len() as u64]));
        let tree = self.place(&checked(tree));
        self.object(&[(0x02, [vec![0, 0], words(&[heap, tree])].concat())])
    }

    /// A dataset of float32 in one run.
    pub fn dataset(&mut self, shape: &[u64]) -> u64 {
        let length = 4 * shape.iter().product::<u64>();
        let data = self.place(&[]);
        self.0.extend((0..length).map(|_| 0));
        self.object(&[dataspace(shape), float32(), contiguous(data, length)])
    }

    /// An attribute whose text lies in a global heap.
    pub fn text_attribute(&mut self, name: &str, text: &str) -> Message {
        let size = 16 + 16 + text.len().next_multiple_of(8);
        let mut heap = [b"GCOL\x01\0\0\0".to_vec(), words(&[size as u64]), vec![1, 0, 1, 0, 0, 0, 0, 0]].concat();
        heap.extend((text.len() as u64).to_le_bytes());
        heap.extend(text.as_bytes());
        heap.resize(size, 0);
        let heap = self.place(&heap);
        let mut value = little::<4>(text.len()).to_vec();
        value.extend(heap.to_le_bytes());
        value.extend(1_u32.to_le_bytes());
        let datatype = [vec![0x19, 1, 0, 0, 16, 0, 0, 0], vec![0x10, 0, 0, 0, 1, 0, 0, 0]].concat();
        attribute(name, &datatype, &value)
    }

    /// The file whose root group has its header at `root`.
    pub fn build(mut self, root: u64) -> Vec<u8> {
        let mut head = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0".to_vec();
        head.extend(words(&[0, UNDEFINED, self.0.len() as u64, UNDEFINED, 0, root]));
        head.extend([0; 24]);
        self.0[..96].copy_from_slice(&head);
        self.0
    }
}

/// An attribute whose text stands in the header.
pub fn fixed_attribute(name: &str, text: &str) -> Message {
    let mut datatype = vec![0x13, 0, 0, 0];
    datatype.extend(little::<4>(text.len()));
    attribute(name, &datatype, text.as_bytes())
}

pub fn dataspace(shape: &[u64]) -> Message {
    let rank = little::<1>(shape.len())[0];
    (0x01, [vec![1, rank, 0, 0, 0, 0, 0, 0], words(shape)].concat())
}

pub fn float32() -> Message {
    let properties = [0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
    (0x03, [&[0x11, 0x20, 0x1f, 0, 4, 0, 0, 0], &properties[..]].concat())
}

pub fn contiguous(address: u64, length: u64) -> Message {
    (0x08, [vec![3, 1], words(&[address, length])].concat())
}

/// The data lie in other files.
pub fn external_files() -> Message {
    (0x07, [vec![1, 0, 0, 0, 1, 0, 1, 0], words(&[0, 0, 0, 4])].concat())
}

/// A link to an object of this file.
pub fn hard_link(name: &str, object: u64) -> Message {
    let mut body = vec![1, 0, little::<1>(name.len())[0]];
    body.extend(name.as_bytes());
    body.extend(object.to_le_bytes());
    (0x06, body)
}

/// A link into another file.
pub fn external_link(name: &str, file: &str) -> Message {
    let value = [b"\0", file.as_bytes(), b"\0/a\0"].concat();
    let mut body = vec![1, 8, 64, little::<1>(name.len())[0]];
    body.extend(name.as_bytes());
    body.extend(little::<2>(value.len()));
    body.extend(value);
    (0x06, body)
}

fn attribute(name: &str, datatype: &[u8], value: &[u8]) -> Message {
    let space = dataspace(&[]).1;
    let name = [name.as_bytes(), b"\0"].concat();
    let mut body = vec![1, 0];
    for part in [&name[..], datatype, &space] {
        body.extend(little::<2>(part.len()));
    }
    for part in [&name[..], datatype, &space] {
        body.extend(part);
        body.resize(body.len() + part.len().next_multiple_of(8) - part.len(), 0);
    }
    body.extend(value);
    (0x0c, body)
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A structure with its checksum behind it.
fn checked(mut structure: Vec<u8>) -> Vec<u8> {
    let checksum = lookup3(&structure);
    structure.extend(checksum.to_le_bytes());
    structure
}

/// Bob Jenkins' hash of fewer than 2^32 bytes: words of four bytes, three at a time.
fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(u32::from_le_bytes(little(bytes.len())));
    let (mut a, mut b, mut c) = (start, start, start);
    let blocks: Vec<&[u8]> = bytes.chunks(12).collect();
    for (number, block) in blocks.iter().enumerate() {
        let mut padded = [0; 12];
        padded[..block.len()].copy_from_slice(block);
        let word = |at: usize| u32::from_le_bytes([padded[at], padded[at + 1], padded[at + 2], padded[at + 3]]);
        a = a.wrapping_add(word(0));
        b = b.wrapping_add(word(4));
        c = c.wrapping_add(word(8));
        if number + 1 < blocks.len() {
            for turns in [[4, 6, 8], [16, 19, 4]] {
                a = a.wrapping_sub(c) ^ c.rotate_left(turns[0]);
                c = c.wrapping_add(b);
                b = b.wrapping_sub(a) ^ a.rotate_left(turns[1]);
                a = a.wrapping_add(c);
                c = c.wrapping_sub(b) ^ b.rotate_left(turns[2]);
                b = b.wrapping_add(a);
            }
        } else {
            c = (c ^ b).wrapping_sub(b.rotate_left(14));
            a = (a ^ c).wrapping_sub(c.rotate_left(11));
            b = (b ^ a).wrapping_sub(a.rotate_left(25));
            c = (c ^ b).wrapping_sub(b.rotate_left(16));
            a = (a ^ c).wrapping_sub(c.rotate_left(4));
            b = (b ^ a).wrapping_sub(a.rotate_left(14));
            c = (c ^ b).wrapping_sub(b.rotate_left(24));
        }
    }
    c
}

/// The first bytes of a number, the least significant in front.
fn little<const N: usize>(number: usize) -> [u8; N] {
    std::array::from_fn(|index| number.to_le_bytes()[index])
}
