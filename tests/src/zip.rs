//! Zip archives: good ones, and ones whose two halves say different things.

/// One member; every field of its two headers can be made to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub content: Vec<u8>,
    /// The content as deflate packs it; stored where there is none.
    pub deflated: Option<Vec<u8>>,
    pub flags: u16,
    /// Name in the header before the data.
    pub local_name: Option<String>,
    /// Checksum in both headers.
    pub crc: Option<u32>,
    /// Unpacked size in both headers.
    pub size: Option<u32>,
    /// Where the directory says that the member starts.
    pub offset: Option<u32>,
    /// Unix file type and permissions.
    pub mode: u32,
    /// Whether the directory leaves the member out.
    pub is_hidden: bool,
}

impl Member {
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            content: content.into(),
            deflated: None,
            flags: 0,
            local_name: None,
            crc: None,
            size: None,
            offset: None,
            mode: 0o100_644,
            is_hidden: false,
        }
    }

    /// The same member with its content packed.
    #[must_use]
    pub fn deflated(mut self, packed: Vec<u8>) -> Self {
        self.deflated = Some(packed);
        self
    }

    /// A symbolic link to `target`.
    pub fn link(name: &str, target: &str) -> Self {
        Self { mode: 0o120_777, ..Self::new(name, target) }
    }

    fn packed(&self) -> &[u8] {
        self.deflated.as_ref().unwrap_or(&self.content)
    }

    /// The fields that both headers share, from the flags on.
    fn common(&self, packed: usize, name: &str) -> Vec<u8> {
        let size = self.size.unwrap_or_else(|| short(self.content.len()));
        let mut bytes = Vec::new();
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(if self.deflated.is_some() { 8_u16 } else { 0 }.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.crc.unwrap_or_else(|| crc(&self.content)).to_le_bytes());
        bytes.extend(short(packed).to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}

/// An archive in the making. Nothing is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zip {
    pub members: Vec<Member>,
    /// Written before the first member, without moving the offsets.
    pub prefix: Vec<u8>,
    /// Written between the last member and the directory.
    pub gap: Vec<u8>,
    pub comment: Vec<u8>,
    /// Written after the end record.
    pub trailer: Vec<u8>,
    /// Number of members in the end record.
    pub count: Option<u16>,
}

impl Zip {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn member(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// A stored member.
    #[must_use]
    pub fn file(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.member(Member::new(name, content))
    }

    pub fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut directory = Vec::new();
        let mut count = 0_u16;
        for member in &self.members {
            let offset = member.offset.unwrap_or_else(|| short(bytes.len()));
            let packed = member.packed();
            let local_name = member.local_name.as_ref().unwrap_or(&member.name);
            bytes.extend(b"PK\x03\x04\x14\0");
            bytes.extend(member.common(packed.len(), local_name));
            bytes.extend(local_name.as_bytes());
            bytes.extend(packed);
            if !member.is_hidden {
                count += 1;
                directory.extend(b"PK\x01\x02\x14\x03\x14\0");
                directory.extend(member.common(packed.len(), &member.name));
                directory.extend([0; 6]);
                directory.extend((member.mode << 16).to_le_bytes());
                directory.extend(offset.to_le_bytes());
                directory.extend(member.name.as_bytes());
            }
        }
        bytes.extend(&self.gap);
        let start = short(bytes.len());
        let length = short(directory.len());
        bytes.extend(directory);
        let count = self.count.unwrap_or(count).to_le_bytes();
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([count, count].concat());
        bytes.extend(length.to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend(u16::try_from(self.comment.len()).unwrap_or(u16::MAX).to_le_bytes());
        [&self.prefix, &bytes, &self.comment, &self.trailer].into_iter().flatten().copied().collect()
    }
}

fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The checksum of zip: CRC-32 with the reversed polynomial 0xedb88320.
pub fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
