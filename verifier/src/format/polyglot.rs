//! A file that is also another file: one program sees weights, another unpacks an archive.

use super::findings;
use super::found::Found;
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::read_at::ReadAt;

/// Longest end of a zip archive: its last record and a comment.
const ZIP_END_BYTES: u64 = 22 + 65_535;

/// Reports a file that is no zip archive by its start and one by its end.
pub(super) fn check_end(source: &dyn ReadAt, found: &mut Found) {
    match ends_as_zip(source) {
        Ok(false) => {}
        Ok(true) => found.add(InspectionVerdict::Malformed, zip_behind()),
        Err(error) => findings::unreadable(found, &error),
    }
}

/// Whether zip readers, which search from the end, would find an archive.
pub(super) fn ends_as_zip(source: &dyn ReadAt) -> std::io::Result<bool> {
    let length = source.size().min(ZIP_END_BYTES);
    let mut end = vec![0; usize::try_from(length).unwrap_or_default()];
    source.read_exact_at(source.size() - length, &mut end)?;
    Ok(end
        .windows(4)
        .enumerate()
        .any(|(at, magic)| magic == b"PK\x05\x06" && is_last_record(&end[at..], source.size())))
}

/// The record's comment must end with the file, and its directory lie before it.
fn is_last_record(record: &[u8], size: u64) -> bool {
    let number = |at: usize, width: usize| {
        record
            .get(at..at + width)
            .map(|bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (Some(directory), Some(comment)) = (number(12, 4), number(20, 2)) else { return false };
    let is_zip64 = directory == u64::from(u32::MAX);
    22 + comment == record.len() as u64 && (is_zip64 || directory + record.len() as u64 <= size)
}

fn zip_behind() -> Finding {
    Finding::new(
        "POLYGLOT",
        Severity::High,
        "The file ends in a zip archive that its own format knows nothing of.",
        "remove the file, or write it anew without what is appended to it",
    )
}
