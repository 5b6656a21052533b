//! Judges the members of a zip, those of a PyTorch archive in the light of its pickle.

use std::collections::HashMap;
use std::io::{self, Read};

use flate2::read::DeflateDecoder;

use super::super::compressed::Compression;
use super::super::member::{self, Packed};
use super::super::names::{self, Names};
use super::super::{PUSH_MEMBERS, broken, dangerous, suspicious, too_large, torch};
use super::directory::{Directory, Entry, ZipError};
use super::layout::{self, Extent, Layout};
use crate::format::content::Content;
use crate::format::found::{Found, Weights, shown};
use crate::format::section::{Section, Stream};
use crate::format::tensor::Tensor;
use crate::format::{findings, kind, pickle, scan};

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Bit 0, and the bits of patches and of strong encryption, by which scanners were made to give up.
const ENCRYPTED: u16 = 1;
const PATCHED: u16 = 1 << 5;
const STRONGLY_ENCRYPTED: u16 = 1 << 6;
/// Stored members up to this size are read to compare their checksum.
const MAX_CHECKED_BYTES: u64 = 1024 * 1024;
/// TorchScript source that is read of one member.
const MAX_CODE_BYTES: u64 = 4 * 1024 * 1024;
const MAX_LINK_BYTES: u64 = 4096;
/// Unpacked size up to which an archive is no bomb, however well it is packed.
const MAX_HARMLESS_BYTES: u64 = 1 << 30;

/// Adds what the members are and could do.
pub(in super::super) fn scan(content: &Content<'_>, found: &mut Found) {
    let directory = match Directory::read(content.source) {
        Ok(directory) => directory,
        Err(ZipError::Read(error)) => return findings::unreadable(found, &error),
        Err(ZipError::TooLarge) => return too_large(found, "members"),
        Err(error) => return findings::malformed(found, "ZIP_MALFORMED", &error),
    };
    if !content.allowance.take_members(directory.entries.len() as u64) {
        return too_large(found, "members");
    }
    check_bomb(&directory, content.source.size(), found);
    let mut names = Names::default();
    for entry in &directory.entries {
        names.check(&entry.name, found);
    }
    match layout::check(&directory, content.source, found) {
        Ok(layout) => Archive { directory: &directory, layout: &layout, content }.scan(found),
        Err(error) => findings::unreadable(found, &error),
    }
}

struct Archive<'a> {
    directory: &'a Directory,
    layout: &'a Layout,
    content: &'a Content<'a>,
}

impl Archive<'_> {
    fn scan(&self, found: &mut Found) {
        let layout =
            torch::Layout::of(&self.directory.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>());
        let storages = match &layout {
            Some(layout) => self.scan_torch_pickles(layout, found),
            None => HashMap::new(),
        };
        let mut tensors = Vec::new();
        for (entry, extent) in self.members() {
            let is_storage = storages.get(&entry.name) == Some(&entry.size) && entry.method == STORED;
            let is_done = is_storage || layout.as_ref().is_some_and(|layout| layout.is_pickle(&entry.name));
            if entry.is_folder() || is_done {
                continue;
            }
            match extent {
                Some(extent) => tensors.extend(self.scan_member(entry, extent, layout.as_ref(), found)),
                None => not_read(entry, found),
            }
        }
        for (entry, extent) in &self.layout.hidden {
            if !self.content.allowance.take_members(1) {
                return too_large(found, "members");
            }
            self.scan_member(entry, *extent, None, found);
        }
        if self.content.kind == kind::FileKind::Numpy && !tensors.is_empty() {
            found.weights = Some(Weights { tensors, ..Weights::default() });
        }
        self.check_name(layout.is_some(), found);
    }

    fn members(&self) -> impl Iterator<Item = (&Entry, Option<Extent>)> {
        self.directory.entries.iter().zip(self.layout.extents.iter().copied())
    }

    /// A name that promises weights of PyTorch over an archive that holds none.
    fn check_name(&self, is_torch: bool, found: &mut Found) {
        let extension = kind::extension(self.content.path);
        if !is_torch && ["bin", "pt", "pth", "ckpt", "pkl"].contains(&extension.as_str()) {
            let detail = format!("The name ends in .{extension}, and the archive holds no data.pkl.");
            suspicious(found, "TORCH_PICKLE_MISSING", detail);
        }
    }

    /// Scans the pickles that name the archive's storages. Returns those by member name, with their bytes.
    fn scan_torch_pickles(&self, layout: &torch::Layout, found: &mut Found) -> HashMap<String, u64> {
        let places: HashMap<&str, pickle::Place> = self
            .members()
            .map(|(entry, extent)| {
                let is_in_file = entry.method == STORED && self.content.depth == 0;
                let offset = extent.map(|extent| extent.data).filter(|_| is_in_file);
                (entry.name.as_str(), pickle::Place { offset, length: entry.size })
            })
            .collect();
        let mut storages = HashMap::new();
        for (entry, extent) in self.members().filter(|(entry, _)| layout.is_pickle(&entry.name)) {
            let folder = torch::storage_folder(&entry.name);
            let place = |key: &str| places.get(format!("{folder}{key}").as_str()).copied();
            let bytes = extent.and_then(|extent| self.unpack(entry, extent, found));
            let Some(bytes) = bytes else {
                not_read(entry, found);
                continue;
            };
            let content = Content {
                path: self.content.path,
                kind: kind::FileKind::Pickle,
                source: &bytes,
                depth: self.content.depth + 1,
                ..*self.content
            };
            let named = found.inside(&entry.name, |found| {
                pickle::scan_torch_member(&content, layout.is_torch_script, &place, found)
            });
            storages.extend(named.into_iter().map(|(key, bytes)| (format!("{folder}{key}"), bytes)));
        }
        storages
    }

    /// The whole of a member that must be held in memory.
    fn unpack(&self, entry: &Entry, extent: Extent, found: &mut Found) -> Option<Vec<u8>> {
        let limit = member::limit(self.content);
        if entry.size > limit || !self.content.allowance.take_bytes(entry.size) {
            too_large(found, "bytes");
            return None;
        }
        let section = Section::new(self.content.source, extent.data, entry.packed);
        let bytes = unpack(entry, &section).ok()?;
        check_content(entry, crc(&bytes), bytes.len() as u64, found);
        Some(bytes)
    }

    /// Scans one member, and returns the tensors it holds.
    fn scan_member(
        &self,
        entry: &Entry,
        extent: Extent,
        layout: Option<&torch::Layout>,
        found: &mut Found,
    ) -> Vec<Tensor> {
        let section = Section::new(self.content.source, extent.data, entry.packed);
        if entry.mode & 0o170_000 == 0o120_000 {
            let target = unpack_beginning(entry, &section, MAX_LINK_BYTES);
            names::check_link(&entry.name, &String::from_utf8_lossy(&target), found);
        } else if [0o020_000, 0o060_000, 0o010_000, 0o140_000].contains(&(entry.mode & 0o170_000)) {
            names::special_file(&entry.name, found);
        }
        if self.is_encrypted(entry, &section, found) {
            return Vec::new();
        }
        if layout.is_some() && is_raw_data(entry, &section) {
            return Vec::new();
        }
        if layout.is_some_and(|layout| layout.is_code(&entry.name)) {
            torch::check_code(&entry.name, &unpack_beginning(entry, &section, MAX_CODE_BYTES), found);
        }
        match entry.method {
            STORED => self.scan_stored(entry, &section, found),
            method => {
                if let Ok(mut stream) = decoder(method, Stream::new(&section)) {
                    return self.scan_packed(entry, &mut stream, found);
                }
                let name = shown(&entry.name);
                let reason = format!("member `{name}` is packed by method {method}, which is not read");
                findings::unscannable(found, "ARCHIVE_NOT_SCANNED", &reason, PUSH_MEMBERS);
                Vec::new()
            }
        }
    }

    fn scan_stored(&self, entry: &Entry, section: &Section<'_>, found: &mut Found) -> Vec<Tensor> {
        if entry.size != entry.packed {
            let detail = format!("Member `{}` is not packed, and yet has two sizes.", shown(&entry.name));
            broken(found, "ZIP_SIZE_MISMATCH", detail);
        } else if entry.size <= MAX_CHECKED_BYTES
            && let Ok(bytes) = unpack(entry, section)
        {
            check_content(entry, crc(&bytes), bytes.len() as u64, found);
        }
        tensors(entry, member::scan_stored(&entry.name, section, self.content, found))
    }

    fn scan_packed(&self, entry: &Entry, stream: &mut dyn Read, found: &mut Found) -> Vec<Tensor> {
        let packed = Packed { name: &entry.name, stored: entry.packed, size: Some(entry.size), taken: None };
        match member::scan_packed(&packed, stream, self.content, found) {
            Ok((member::Extent::Whole { crc, bytes }, weights)) => {
                check_content(entry, crc, bytes, found);
                tensors(entry, weights)
            }
            Ok((member::Extent::Part, weights)) => tensors(entry, weights),
            Err(error) => {
                let text = shown(&error.to_string());
                broken(
                    found,
                    "ARCHIVE_CORRUPT",
                    format!("Member `{}` cannot be unpacked: {text}.", shown(&entry.name)),
                );
                Vec::new()
            }
        }
    }

    /// Whether a member cannot be read for its encryption. Flags alone do not make it so: they were
    /// set on plain members to turn scanners away, and loaders ignore them.
    fn is_encrypted(&self, entry: &Entry, section: &Section<'_>, found: &mut Found) -> bool {
        if entry.flags & (ENCRYPTED | PATCHED | STRONGLY_ENCRYPTED) == 0 {
            return false;
        }
        let is_plain = || {
            let fits = entry.size <= member::limit(self.content) && self.content.allowance.take_bytes(entry.size);
            fits && unpack(entry, section)
                .is_ok_and(|bytes| bytes.len() as u64 == entry.size && crc(&bytes) == entry.crc)
        };
        if entry.flags & ENCRYPTED != 0 && !is_plain() {
            let reason = format!("member `{}` is encrypted", shown(&entry.name));
            findings::unscannable(found, "ARCHIVE_ENCRYPTED", &reason, PUSH_MEMBERS);
            return true;
        }
        let detail = format!("Member `{}` is marked as encrypted or as a patch, and is plain.", shown(&entry.name));
        broken(found, "ZIP_FALSE_FLAGS", detail);
        false
    }
}

/// Whether a member of a PyTorch archive lies among the storages and is of no known format, as data is.
fn is_raw_data(entry: &Entry, section: &Section<'_>) -> bool {
    let mut folders = entry.name.rsplit('/').skip(1);
    let is_among_storages = folders.next().is_some_and(|folder| ["data", "constants"].contains(&folder));
    is_among_storages
        && entry.method == STORED
        && scan::recognize(&entry.name, section).is_ok_and(|kind| kind == kind::FileKind::Unknown)
}

/// The tensors of a member, named after it where it holds but one array.
fn tensors(entry: &Entry, weights: Option<Weights>) -> Vec<Tensor> {
    let mut tensors = weights.map(|weights| weights.tensors).unwrap_or_default();
    if let [tensor] = tensors.as_mut_slice()
        && let Some(name) = entry.name.strip_suffix(".npy")
    {
        name.clone_into(&mut tensor.name);
        tensor.offset = None;
    }
    tensors
}

/// The content of a member of a size that the caller has bounded.
fn unpack(entry: &Entry, section: &Section<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let stream = decoder(entry.method, Stream::new(section))?;
    stream.take(entry.size.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As much of the content as can be had, up to `limit` bytes.
fn unpack_beginning(entry: &Entry, section: &Section<'_>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was unpacked before an error is looked at all the same.
    let _result =
        decoder(entry.method, Stream::new(section)).and_then(|stream| stream.take(limit).read_to_end(&mut bytes));
    bytes
}

/// What unpacks a member, by APPNOTE.TXT 4.4.5.
fn decoder<'a>(method: u16, stream: Stream<'a>) -> io::Result<Box<dyn Read + 'a>> {
    match method {
        STORED => Ok(Box::new(stream)),
        DEFLATED => Ok(Box::new(DeflateDecoder::new(stream))),
        12 => Compression::Bzip2.decoder(stream),
        93 => Compression::Zstandard.decoder(stream),
        95 => Compression::Xz.decoder(stream),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn check_content(entry: &Entry, crc: u32, bytes: u64, found: &mut Found) {
    if bytes != entry.size {
        let detail = format!("Member `{}` unpacks to {bytes} bytes in place of {}.", shown(&entry.name), entry.size);
        broken(found, "ZIP_SIZE_MISMATCH", detail);
    } else if crc != entry.crc {
        let detail = format!("The content of member `{}` does not match its checksum.", shown(&entry.name));
        broken(found, "ZIP_CHECKSUM_MISMATCH", detail);
    }
}

fn not_read(entry: &Entry, found: &mut Found) {
    let reason = format!("member `{}` cannot be found in the archive", shown(&entry.name));
    findings::unscannable(found, "ARCHIVE_MEMBER_UNREADABLE", &reason, PUSH_MEMBERS);
}

/// Members that together unpack to far more than any model of this size would.
fn check_bomb(directory: &Directory, size: u64, found: &mut Found) {
    let total = directory.entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
    if total > MAX_HARMLESS_BYTES && total / size.max(1) >= member::BOMB_RATIO {
        dangerous(found, "ARCHIVE_BOMB", format!("The archive of {size} bytes says that it unpacks to {total} bytes."));
    }
}
