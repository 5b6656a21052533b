//! Looks into 7z archives, in which malicious checkpoints were hidden from scanners.

use std::io;

use sevenz_rust2::{ArchiveEntry, ArchiveReader, EntryDecision, Error, Password};

use super::member::{self, Packed};
use super::names::Names;
use super::{PUSH_MEMBERS, broken, dangerous, too_large};
use crate::format::content::Content;
use crate::format::findings;
use crate::format::found::{Found, shown};
use crate::format::section::Stream;

pub(super) const MAGIC: &[u8] = b"7z\xbc\xaf\x27\x1c";

/// Memory for dictionaries, in KiB: what 7-Zip's usual level needs, and its highest for large files.
const SMALL_FILE_MEMORY_KIB: usize = 36 * 1024;
const LARGE_FILE_MEMORY_KIB: usize = 96 * 1024;
/// Unpacked size up to which an archive is no bomb, however well it is packed.
const MAX_HARMLESS_BYTES: u64 = 64 * 1024 * 1024;

pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    let size = content.source.size();
    let memory = if size < 1 << 20 { SMALL_FILE_MEMORY_KIB } else { LARGE_FILE_MEMORY_KIB };
    let opened = ArchiveReader::new_with_memory_limit(Stream::new(content.source), Password::empty(), memory);
    let result = opened.and_then(|mut reader| {
        reader.set_thread_count(1);
        if is_within_bounds(&reader.archive().files, content, found) {
            scan_members(&mut reader, content, found)
        } else {
            Ok(())
        }
    });
    if let Err(error) = result {
        report(&error, found);
    }
}

fn is_within_bounds(files: &[ArchiveEntry], content: &Content<'_>, found: &mut Found) -> bool {
    let total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    if total > MAX_HARMLESS_BYTES && total / content.source.size().max(1) >= member::BOMB_RATIO {
        let detail = format!("The archive of {} bytes says that it unpacks to {total} bytes.", content.source.size());
        dangerous(found, "ARCHIVE_BOMB", detail);
        return false;
    }
    if !content.allowance.take_members(files.len() as u64) {
        too_large(found, "members");
        return false;
    }
    true
}

fn scan_members(reader: &mut ArchiveReader<Stream<'_>>, content: &Content<'_>, found: &mut Found) -> Result<(), Error> {
    let mut names = Names::default();
    reader.for_each_entries_with_decision(|entry, stream| {
        names.check(&entry.name, found);
        if entry.is_directory || entry.is_anti_item {
            return Ok(EntryDecision::Continue);
        }
        // What is not read of a member must be unpacked all the same to reach the next one.
        if !content.allowance.take_bytes(entry.size) {
            too_large(found, "bytes");
            return Ok(EntryDecision::Stop);
        }
        let packed = Packed { name: &entry.name, stored: content.source.size(), size: Some(entry.size), taken: None };
        member::scan_packed(&packed, stream, content, found)?;
        Ok(EntryDecision::Continue)
    })
}

fn report(error: &Error, found: &mut Found) {
    let text = shown(&error.to_string());
    let is_encrypted = match error {
        Error::PasswordRequired | Error::MaybeBadPassword(_) => true,
        Error::UnsupportedCompressionMethod(method) => method.contains("AES"),
        _ => false,
    };
    if is_encrypted {
        return findings::unscannable(found, "ARCHIVE_ENCRYPTED", &"the archive is encrypted", PUSH_MEMBERS);
    }
    let reason = match error {
        Error::MaxMemLimited { .. } => {
            format!("the archive needs more memory to be unpacked than it is given ({text})")
        }
        Error::UnsupportedCompressionMethod(_) | Error::ExternalUnsupported | Error::UnsupportedVersion { .. } => {
            format!("the archive is packed in a way that is not read ({text})")
        }
        Error::Io(error, _) if error.kind() == io::ErrorKind::OutOfMemory => {
            format!("the archive needs too much memory ({text})")
        }
        _ => {
            broken(found, "ARCHIVE_CORRUPT", format!("The archive cannot be unpacked: {text}."));
            return;
        }
    };
    findings::unscannable(found, "ARCHIVE_NOT_SCANNED", &reason, PUSH_MEMBERS);
}
