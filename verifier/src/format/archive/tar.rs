//! Reads tar archives header by header: POSIX ustar, pax and GNU names.
//!
//! Layout after POSIX.1-2024 (pax) and GNU tar's manual, "Basic Tar Format".

use std::io;

use super::names::{self, Names};
use super::{broken, member, suspicious, too_large};
use crate::format::content::Content;
use crate::format::findings;
use crate::format::found::{Found, shown};
use crate::format::section::Section;
use crate::read_at::ReadAt;

const BLOCK: u64 = 512;

/// One header.
type Block = [u8; 512];
/// Longest extended header read: names are far shorter.
const MAX_EXTENDED_BYTES: u64 = 64 * 1024;

/// Whether a file that begins with `prefix` is a tar archive.
pub(in crate::format) fn looks_like(prefix: &[u8]) -> bool {
    prefix.first_chunk().is_some_and(|block| prefix.get(257..262) == Some(b"ustar") || has_valid_sum(block))
}

/// What extended headers say about the next member.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

struct Header {
    name: String,
    link: String,
    kind: u8,
    size: u64,
}

enum Problem {
    Malformed(&'static str),
    Read(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    match scan_members(content, found) {
        Ok(()) => {}
        Err(Problem::Read(error)) => findings::unreadable(found, &error),
        Err(Problem::Malformed(reason)) => broken(found, "TAR_MALFORMED", format!("The tar archive {reason}.")),
    }
}

fn scan_members(content: &Content<'_>, found: &mut Found) -> Result<(), Problem> {
    let mut names = Names::default();
    let mut extended = Extended::default();
    let mut position = 0;
    loop {
        let mut block: Block = [0; 512];
        if content.source.size().saturating_sub(position) < BLOCK {
            return Err(Problem::Malformed("ends without its end mark"));
        }
        content.source.read_exact_at(position, &mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            check_end(position, content.source, found)?;
            return Ok(());
        }
        if !content.allowance.take_members(1) {
            too_large(found, "members");
            return Ok(());
        }
        let header = Header::parse(&block)?;
        let size = if is_extension(header.kind) { header.size } else { extended.size.unwrap_or(header.size) };
        let data = position + BLOCK;
        let end = data.checked_add(size).filter(|end| *end <= content.source.size());
        let end = end.ok_or(Problem::Malformed("has a member that reaches beyond its end"))?;
        let section = Section::new(content.source, data, size);
        if is_extension(header.kind) {
            extended.read(header.kind, &section)?;
        } else {
            let header = std::mem::take(&mut extended).apply(header);
            names.check(&header.name, found);
            scan_member(&header, &section, content, found);
        }
        position = end.next_multiple_of(BLOCK);
    }
}

const fn is_extension(kind: u8) -> bool {
    matches!(kind, b'x' | b'g' | b'L' | b'K')
}

fn scan_member(header: &Header, section: &Section<'_>, content: &Content<'_>, found: &mut Found) {
    match header.kind {
        b'0' | 0 | b'7' => {
            member::scan_stored(&header.name, section, content, found);
        }
        b'1' | b'2' => names::check_link(&header.name, &header.link, found),
        b'3' | b'4' | b'6' => names::special_file(&header.name, found),
        b'5' => {}
        kind => {
            let detail = format!("Member `{}` is of type {kind:#04x}, which is not known.", shown(&header.name));
            suspicious(found, "TAR_UNKNOWN_TYPE", detail);
            member::scan_stored(&header.name, section, content, found);
        }
    }
}

/// Two empty blocks and padding of zeros may follow the last member.
fn check_end(position: u64, source: &dyn ReadAt, found: &mut Found) -> io::Result<()> {
    let mut rest = vec![0; 64 * 1024];
    let length = usize::try_from(source.size() - position).unwrap_or(usize::MAX).min(rest.len());
    source.read_exact_at(position, &mut rest[..length])?;
    if rest.iter().any(|byte| *byte != 0) || source.size() - position > rest.len() as u64 {
        suspicious(found, "TAR_TRAILING_BYTES", "Bytes follow the end mark of the tar archive.".to_owned());
    }
    Ok(())
}

impl Header {
    fn parse(block: &Block) -> Result<Self, Problem> {
        if !has_valid_sum(block) {
            return Err(Problem::Malformed("has a header with a wrong checksum"));
        }
        let size = number(&block[124..136]).ok_or(Problem::Malformed("has a header with a size that is none"))?;
        let is_posix = &block[257..263] == b"ustar\0";
        let prefix = if is_posix { text(&block[345..500]) } else { String::new() };
        let name = text(&block[..100]);
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        Ok(Self { name, link: text(&block[157..257]), kind: block[156], size })
    }
}

impl Extended {
    fn read(&mut self, kind: u8, section: &Section<'_>) -> Result<(), Problem> {
        if section.size() > MAX_EXTENDED_BYTES {
            return Err(Problem::Malformed("has an extended header that is too long"));
        }
        let mut bytes = vec![0; usize::try_from(section.size()).unwrap_or(0)];
        section.read_exact_at(0, &mut bytes)?;
        match kind {
            b'L' => self.name = Some(text(&bytes)),
            b'K' => self.link = Some(text(&bytes)),
            _ => self.read_records(&bytes)?,
        }
        Ok(())
    }

    /// Records of pax: `<length> <key>=<value>\n`, the length counting itself.
    fn read_records(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        const BROKEN: Problem = Problem::Malformed("has an extended header that cannot be read");
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(BROKEN)?;
            let length = std::str::from_utf8(&rest[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let length = length.filter(|length| *length > space + 1 && *length <= rest.len()).ok_or(BROKEN)?;
            let record = String::from_utf8_lossy(&rest[space + 1..length - 1]).into_owned();
            let (key, value) = record.split_once('=').ok_or(BROKEN)?;
            match key {
                "path" => self.name = Some(value.to_owned()),
                "linkpath" => self.link = Some(value.to_owned()),
                "size" => self.size = Some(value.parse().map_err(|_| BROKEN)?),
                _ => {}
            }
            rest = &rest[length..];
        }
        Ok(())
    }

    fn apply(self, header: Header) -> Header {
        Header { name: self.name.unwrap_or(header.name), link: self.link.unwrap_or(header.link), ..header }
    }
}

/// The sum of a header's bytes, its own field counted as spaces.
fn has_valid_sum(block: &Block) -> bool {
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) })
        .sum();
    number(&block[148..156]) == Some(sum)
}

/// An octal number, or one in binary where its first bit is set (GNU).
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        return rest
            .iter()
            .try_fold(0_u64, |number, byte| number.checked_mul(256).map(|number| number + u64::from(*byte)));
    }
    let digits: Vec<u8> = field.iter().copied().skip_while(|byte| *byte == b' ').collect();
    let end = digits.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(digits.len());
    let is_ended = digits[end..].iter().all(|byte| [0, b' '].contains(byte));
    let text = std::str::from_utf8(&digits[..end]).ok().filter(|_| is_ended)?;
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// Text up to the first NUL.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}
