//! Where each member's bytes are, and whether headers, directory and file agree on it.

use std::io;

use super::super::{broken, dangerous, suspicious};
use super::directory::{Directory, Entry, LargeFields, u16_at, u32_at};
use crate::format::found::{Found, shown};
use crate::read_at::ReadAt;

const HEADER_BYTES: usize = 30;
/// Bytes read at once of a header: itself, its name, and the padding that PyTorch puts there.
const HEADER_READ_BYTES: usize = 512;
/// Bit 3: sizes and checksum stand behind the data.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// Bits that both headers must agree on: encryption, descriptor, UTF-8 names.
const COMMON_FLAGS: u16 = 1 | HAS_DESCRIPTOR | 1 << 6 | 1 << 11;

/// Where a member's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where the packed data starts.
    pub(super) data: u64,
    /// Where the member ends, its descriptor included.
    pub(super) end: u64,
}

/// Where everything is.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// By the directory's order; none for members that cannot be read.
    pub(super) extents: Vec<Option<Extent>>,
    /// Members that the directory leaves out, and programs that read from the front find.
    pub(super) hidden: Vec<(Entry, Extent)>,
}

/// Finds every member's bytes.
pub(super) fn check(directory: &Directory, source: &dyn ReadAt, found: &mut Found) -> io::Result<Layout> {
    check_end(directory, found);
    let mut extents = Vec::with_capacity(directory.entries.len());
    for entry in &directory.entries {
        let extent = locate(entry, directory, source)?;
        if let Err(disagreement) = extent {
            let detail =
                format!("The header of member `{}` and the directory disagree: {disagreement}.", shown(&entry.name));
            broken(found, "ZIP_HEADERS_DISAGREE", detail);
        }
        // A member whose name alone is different can still be read, and must be.
        extents.push(match extent {
            Ok(extent) => Some(extent),
            Err(_) => locate_data(entry, directory, source)?,
        });
    }
    let mut layout = Layout { extents, hidden: Vec::new() };
    for (start, end) in gaps(directory, &mut layout.extents, found) {
        layout.hidden.extend(look_into_gap(start, end, source, found)?);
    }
    Ok(layout)
}

fn check_end(directory: &Directory, found: &mut Found) {
    let end = &directory.end;
    if directory.miscounts || end.contradicts {
        broken(found, "ZIP_END_DISAGREES", "The archive's end record and its directory disagree.".to_owned());
    }
    if end.is_ambiguous {
        broken(found, "ZIP_AMBIGUOUS_END", "Two records of the archive could be its end.".to_owned());
    }
    if end.trailing > 0 {
        broken(found, "ZIP_TRAILING_BYTES", format!("{} bytes follow the end of the archive.", end.trailing));
    }
    if directory.shift > 0 {
        broken(found, "ZIP_PREFIXED_BYTES", format!("{} bytes stand before the archive.", directory.shift));
    }
    let is_text =
        std::str::from_utf8(&end.comment).is_ok_and(|text| !text.chars().any(|c| c.is_control() && !c.is_whitespace()));
    if !is_text {
        suspicious(
            found,
            "ZIP_BINARY_COMMENT",
            format!("The archive's comment of {} bytes is no text.", end.comment.len()),
        );
    }
}

/// The extent of a member whose two headers agree.
fn locate(entry: &Entry, directory: &Directory, source: &dyn ReadAt) -> io::Result<Result<Extent, &'static str>> {
    let Some(header) = read_header(entry.offset, source)? else {
        return Ok(Err("there is no header where it should be"));
    };
    let (name_bytes, extra_bytes) = (usize::from(u16_at(&header, 26)), usize::from(u16_at(&header, 28)));
    if header.get(HEADER_BYTES..HEADER_BYTES + name_bytes) != Some(&entry.raw_name) {
        return Ok(Err("the names differ"));
    }
    if u16_at(&header, 8) != entry.method {
        return Ok(Err("the methods of compression differ"));
    }
    let flags = u16_at(&header, 6);
    if (flags ^ entry.flags) & COMMON_FLAGS != 0 {
        return Ok(Err("the flags differ"));
    }
    let extra = header.get(HEADER_BYTES + name_bytes..HEADER_BYTES + name_bytes + extra_bytes).unwrap_or_default();
    if !sizes_agree(&header, extra, entry, flags) {
        return Ok(Err("the sizes or checksums differ"));
    }
    let data = entry.offset + (HEADER_BYTES + name_bytes + extra_bytes) as u64;
    let Some(data_end) = data.checked_add(entry.packed).filter(|end| *end <= directory.start) else {
        return Ok(Err("the member reaches into the directory"));
    };
    if flags & HAS_DESCRIPTOR == 0 {
        return Ok(Ok(Extent { data, end: data_end }));
    }
    let descriptor = descriptor_bytes(entry, data_end, directory, source)?;
    Ok(descriptor.map(|bytes| Extent { data, end: data_end + bytes }).ok_or("the descriptor differs"))
}

/// Where the data is by the header alone, whatever else it says.
fn locate_data(entry: &Entry, directory: &Directory, source: &dyn ReadAt) -> io::Result<Option<Extent>> {
    let Some(header) = read_header(entry.offset, source)? else { return Ok(None) };
    let data = entry.offset + (HEADER_BYTES as u64) + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
    let end = data.checked_add(entry.packed).filter(|end| *end <= directory.start);
    Ok(end.map(|end| Extent { data, end }))
}

/// The local header with its name and extra fields; none where there is none.
fn read_header(offset: u64, source: &dyn ReadAt) -> io::Result<Option<Vec<u8>>> {
    let available = source.size().saturating_sub(offset);
    let mut length = HEADER_READ_BYTES;
    loop {
        let wanted = usize::try_from(available).unwrap_or(usize::MAX).min(length);
        let mut header = vec![0; wanted];
        source.read_exact_at(offset, &mut header)?;
        if wanted < HEADER_BYTES || !header.starts_with(b"PK\x03\x04") {
            return Ok(None);
        }
        let whole = HEADER_BYTES + usize::from(u16_at(&header, 26)) + usize::from(u16_at(&header, 28));
        if whole <= wanted {
            return Ok(Some(header));
        }
        if length >= whole || wanted < length {
            return Ok(None);
        }
        length = whole;
    }
}

/// Fields that are left to the descriptor are zero; a 64-bit extra field stands for all ones.
fn sizes_agree(header: &[u8], extra: &[u8], entry: &Entry, flags: u16) -> bool {
    let mut large = LargeFields::of(extra);
    let (Ok(size), Ok(packed)) = (large.or_next(u32_at(header, 22)), large.or_next(u32_at(header, 18))) else {
        return false;
    };
    let is_left = |number: u64| flags & HAS_DESCRIPTOR != 0 && number == 0;
    let crc = u32_at(header, 14);
    (size == entry.size || is_left(size))
        && (packed == entry.packed || is_left(packed))
        && (crc == entry.crc || is_left(crc.into()))
}

/// The length of the descriptor behind the data, if it says what the directory says.
fn descriptor_bytes(entry: &Entry, at: u64, directory: &Directory, source: &dyn ReadAt) -> io::Result<Option<u64>> {
    let mut bytes = [0; 24];
    let available = usize::try_from(directory.start.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
    source.read_exact_at(at, &mut bytes[..available])?;
    let signed = bytes.starts_with(b"PK\x07\x08");
    let short: Vec<u8> = [entry.packed, entry.size].iter().flat_map(|n| n.to_le_bytes()[..4].to_vec()).collect();
    let long: Vec<u8> = [entry.packed, entry.size].iter().flat_map(|n| n.to_le_bytes()).collect();
    for start in [4, 0] {
        let body = &bytes[start..available.max(start)];
        let Some(sizes) = body.strip_prefix(&entry.crc.to_le_bytes()) else { continue };
        if start == 4 && !signed {
            continue;
        }
        if sizes.starts_with(&long) {
            return Ok(Some((start + 20) as u64));
        }
        if sizes.starts_with(&short) {
            return Ok(Some((start + 12) as u64));
        }
    }
    Ok(None)
}

/// Members must not share bytes, and no bytes may lie between them: a program that reads from the
/// front would see other members there.
fn gaps(directory: &Directory, extents: &mut [Option<Extent>], found: &mut Found) -> Vec<(u64, u64)> {
    let mut order: Vec<usize> = (0..extents.len()).filter(|index| extents[*index].is_some()).collect();
    order.sort_by_key(|index| directory.entries[*index].offset);
    let mut gaps = Vec::new();
    let mut end = directory.shift;
    for index in order {
        let Some(extent) = extents[index] else { continue };
        let (name, start) = (&directory.entries[index].name, directory.entries[index].offset);
        if start < end {
            let detail = format!("Member `{}` shares bytes with another one.", shown(name));
            dangerous(found, "ZIP_OVERLAPPING_MEMBERS", detail);
            extents[index] = None;
        } else if start > end {
            gaps.push((end, start));
        }
        end = end.max(extent.end);
    }
    if end < directory.start && extents.iter().all(Option::is_some) {
        gaps.push((end, directory.start));
    }
    gaps
}

/// Adds what the bytes of no member are, and returns the members among them.
fn look_into_gap(start: u64, end: u64, source: &dyn ReadAt, found: &mut Found) -> io::Result<Vec<(Entry, Extent)>> {
    let mut hidden = Vec::new();
    let mut position = start;
    while let Some((entry, extent)) = hidden_member(position, end, source)? {
        let detail = format!("Member `{}` at byte {position} is not in the archive's directory.", shown(&entry.name));
        broken(found, "ZIP_HIDDEN_MEMBER", detail);
        position = extent.end;
        hidden.push((entry, extent));
    }
    let mut prefix = [0; 4096];
    let bytes = end - position;
    let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(prefix.len());
    source.read_exact_at(position, &mut prefix[..length])?;
    if prefix[..length].iter().any(|byte| *byte != 0) || bytes > prefix.len() as u64 {
        suspicious(found, "ZIP_HIDDEN_BYTES", format!("{bytes} bytes at byte {position} belong to no member."));
    }
    Ok(hidden)
}

/// A member by its own header; one that leaves its sizes to a descriptor is taken to reach to `end`.
fn hidden_member(start: u64, end: u64, source: &dyn ReadAt) -> io::Result<Option<(Entry, Extent)>> {
    let Some(header) = read_header(start, source)? else { return Ok(None) };
    let (name_bytes, extra_bytes) = (u16_at(&header, 26), u16_at(&header, 28));
    let data = start + HEADER_BYTES as u64 + u64::from(name_bytes) + u64::from(extra_bytes);
    let raw_name = header.get(HEADER_BYTES..HEADER_BYTES + usize::from(name_bytes)).unwrap_or_default().to_vec();
    let stated = u64::from(u32_at(&header, 18));
    let left = end.saturating_sub(data);
    let packed = if stated == 0 || stated > left { left } else { stated };
    let entry = Entry {
        name: String::from_utf8_lossy(&raw_name).into_owned(),
        raw_name,
        flags: u16_at(&header, 6),
        method: u16_at(&header, 8),
        crc: u32_at(&header, 14),
        packed,
        size: if stated == 0 { packed } else { u32_at(&header, 22).into() },
        offset: start,
        mode: 0,
    };
    Ok((data <= end).then_some((entry, Extent { data, end: data + packed })))
}
