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

/// The first bytes of a number, the least significant in front.
fn little<const N: usize>(number: usize) -> [u8; N] {
    std::array::from_fn(|index| number.to_le_bytes()[index])
}
