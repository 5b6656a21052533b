//! Pickles and archives inside a pickle's constants, bare or as base64 or hexadecimal text.
//!
//! Loading the outer pickle does not run them, and what the outer one builds may load them later.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::machine::Constant;
use super::{follow_paid, report};
use crate::evidence::InspectionVerdict;
use crate::format::content::Content;
use crate::format::found::Found;
use crate::format::section::Section;
use crate::format::{findings, kind, scan};
use crate::read_at::ReadAt;

/// Longest encoded constant that is decoded, in bytes.
const MAX_DECODED_BYTES: u64 = 1024 * 1024;
/// Bytes of a constant's start that decide whether it is looked into.
const PREFIX_BYTES: usize = 256;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Raw,
    /// Bytes as Latin-1 characters in UTF-8, as protocols below 3 hold them.
    Characters,
    Base64,
    Hexadecimal,
}

/// Whether a constant that starts with `prefix` begins like a pickle or a container.
pub(super) fn is_suspect(prefix: &[u8]) -> bool {
    coding(&prefix[..prefix.len().min(PREFIX_BYTES)]).is_some()
}

fn coding(prefix: &[u8]) -> Option<Coding> {
    const LEAST: usize = 16;
    if prefix.len() < LEAST {
        return None;
    }
    if begins_content(prefix) {
        return Some(Coding::Raw);
    }
    if prefix.starts_with(b"\xc2\x80") {
        return Some(Coding::Characters);
    }
    let start = &prefix[..prefix.len().min(128) / 4 * 4];
    let is_hexadecimal = start.iter().all(u8::is_ascii_hexdigit);
    if is_hexadecimal && hex::decode(start).is_ok_and(|bytes| begins_content(&bytes)) {
        return Some(Coding::Hexadecimal);
    }
    let text = start.strip_suffix(b"==").or_else(|| start.strip_suffix(b"=")).unwrap_or(start);
    BASE64.decode(text).is_ok_and(|bytes| begins_content(&bytes)).then_some(Coding::Base64)
}

fn begins_content(bytes: &[u8]) -> bool {
    kind::is_pickle(bytes) || kind::is_archive(bytes) || kind::is_zip_prefix(bytes)
}

/// Adds what the constant of `content` at `position` holds.
pub(super) fn look(position: u64, constant: &Constant, content: &Content<'_>, found: &mut Found) {
    let (bytes, section);
    let source: &dyn ReadAt = match constant {
        Constant::Decoded(text) => text,
        Constant::Stored { offset, length } => {
            section = Section::new(content.source, *offset, *length);
            &section
        }
    };
    let mut prefix = [0; PREFIX_BYTES];
    let length = source.read_at(0, &mut prefix).unwrap_or(0);
    let decoded: &dyn ReadAt = match coding(&prefix[..length]) {
        None => return,
        Some(Coding::Raw) => source,
        Some(coding) => match decode(coding, source) {
            Some(decoded) => {
                bytes = decoded;
                &bytes
            }
            None => return,
        },
    };
    let name = format!("constant at byte {position}");
    found.inside(&name, |found| look_into(&name, decoded, content, found));
}

fn look_into(name: &str, source: &dyn ReadAt, content: &Content<'_>, found: &mut Found) {
    if content.is_deepest() {
        let reason = "the constant may hold a pickle or an archive, and lies too deep to be looked into";
        findings::unscannable(found, "PICKLE_NESTED_TOO_DEEP", &reason, "obtain the weights as safetensors");
        return;
    }
    let Ok(kind) = scan::recognize(name, source) else { return };
    let inner = Content { path: name, kind, source, depth: content.depth + 1, ..*content };
    if kind == kind::FileKind::Pickle && !kind::is_zip(source) {
        look_into_pickle(&inner, found);
    } else {
        let mut seen = Found::new();
        scan::scan(&inner, &mut seen);
        // What only looked like an archive is no archive; what holds danger is.
        if seen.verdict == InspectionVerdict::Dangerous || seen.verdict == InspectionVerdict::Unscannable {
            scan::scan(&inner, found);
        }
    }
}

/// A constant counts as a pickle where it is one from start to end and imports something, or where
/// it breaks off only after a dangerous call: any text may begin like a pickle.
fn look_into_pickle(inner: &Content<'_>, found: &mut Found) {
    let outcome = follow_paid(inner, false);
    if (outcome.is_whole() && !outcome.machine.imports.is_empty()) || outcome.machine.imports.is_armed() {
        report(&outcome, inner, found);
    }
}

fn decode(coding: Coding, source: &dyn ReadAt) -> Option<Vec<u8>> {
    let length = source.size().min(MAX_DECODED_BYTES);
    let mut text = vec![0; usize::try_from(length).ok()?];
    source.read_exact_at(0, &mut text).ok()?;
    match coding {
        Coding::Raw => Some(text),
        Coding::Characters => {
            let valid = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            valid.chars().map_while(|character| u8::try_from(u32::from(character)).ok()).collect::<Vec<u8>>().into()
        }
        Coding::Hexadecimal => {
            text.truncate(text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() / 2 * 2);
            hex::decode(text).ok()
        }
        Coding::Base64 => {
            text.retain(|byte| !byte.is_ascii_whitespace());
            let is_digit = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
            text.truncate(text.iter().take_while(is_digit).count());
            // One digit more than a multiple of four encodes nothing.
            if text.len() % 4 == 1 {
                text.pop();
            }
            BASE64.decode(text).ok()
        }
    }
}
