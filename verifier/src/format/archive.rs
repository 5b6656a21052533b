//! Looks into archives and compressed files, so that nothing hides by being packed.
//!
//! Every member is recognized by its own content and judged by the reader of its kind. How deep,
//! how many and how much is bounded by the allowance of the file that is read.

mod compressed;
mod member;
mod names;
mod seven_zip;
mod tar;
mod torch;
mod zip;

pub(super) use compressed::Compression;
pub(super) use tar::looks_like as is_tar;
pub(super) use zip::{attached, kind as zip_kind, polyglot_tail};

use super::content::Content;
use super::findings;
use super::found::Found;
use crate::evidence::{Finding, InspectionVerdict, Severity};

const PUSH_MEMBERS: &str = "unpack the archive yourself and push the files it holds";

/// Adds what the members of the archive are and could do.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    let mut prefix = [0; 512];
    let length = content.source.read_at(0, &mut prefix).unwrap_or(0);
    let prefix = &prefix[..length];
    if content.is_deepest() {
        too_deep(found);
    } else if super::kind::is_zip(content.source) {
        zip::scan(content, found);
    } else if prefix.starts_with(seven_zip::MAGIC) {
        seven_zip::scan(content, found);
    } else if let Some(compression) = Compression::of(prefix) {
        compressed::scan(compression, content, found);
    } else if tar::looks_like(prefix) {
        tar::scan(content, found);
    } else {
        let reason = "the archive is of a format that this release cannot unpack";
        findings::unscannable(found, "ARCHIVE_NOT_SCANNED", &reason, PUSH_MEMBERS);
    }
}

/// The same for content that is known to be a zip, whatever its kind is called.
pub(super) fn scan_zip(content: &Content<'_>, found: &mut Found) {
    if content.is_deepest() { too_deep(found) } else { zip::scan(content, found) }
}

fn too_deep(found: &mut Found) {
    let reason = "the archive lies too deep in other archives to be looked into";
    findings::unscannable(found, "ARCHIVE_TOO_DEEP", &reason, PUSH_MEMBERS);
}

fn broken(found: &mut Found, code: &'static str, detail: String) {
    let remedy = "obtain the archive again from its publisher, or pack it anew";
    found.add(InspectionVerdict::Malformed, Finding::new(code, Severity::High, detail, remedy));
}

fn suspicious(found: &mut Found, code: &'static str, detail: String) {
    found.add(InspectionVerdict::Suspicious, Finding::new(code, Severity::Medium, detail, PUSH_MEMBERS));
}

fn dangerous(found: &mut Found, code: &'static str, detail: String) {
    found
        .add(InspectionVerdict::Dangerous, Finding::new(code, Severity::Critical, detail, "do not unpack the archive"));
}

/// More members or more bytes than one file may cost.
fn too_large(found: &mut Found, what: &str) {
    let reason = format!("the archive holds more {what} than are looked into");
    findings::unscannable(found, "ARCHIVE_TOO_LARGE", &reason, PUSH_MEMBERS);
}
