//! Looks into one piece of content with the reader of its kind.

use std::io;

use super::content::Content;
use super::found::Found;
use super::kind::{self, FileKind, PREFIX_BYTES, Support};
use super::{config, findings, gguf, safetensors, tokenizer};
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::read_at::ReadAt;

/// Adds to `found` what the content is and could do.
pub(crate) fn scan(content: &Content<'_>, found: &mut Found) {
    match content.kind {
        FileKind::Gguf => gguf::scan(content, found),
        FileKind::Safetensors => safetensors::scan(content, found),
        FileKind::Json if kind::file_name(content.path) == "config.json" => config::scan(content, found),
        // A template may begin like JSON.
        FileKind::Text | FileKind::Json if kind::extension(content.path) == "jinja" => {
            tokenizer::scan_template(content, found);
        }
        FileKind::Json => tokenizer::scan_json(content, found),
        FileKind::Text if ["yaml", "yml"].contains(&kind::extension(content.path).as_str()) => {
            tokenizer::scan_yaml(content, found);
        }
        FileKind::SentencePiece => tokenizer::scan_sentence_piece(content, found),
        FileKind::LfsPointer => found.add(InspectionVerdict::Malformed, lfs_pointer()),
        FileKind::Executable => found.add(InspectionVerdict::Suspicious, executable()),
        FileKind::Unknown => found.add(InspectionVerdict::Unsupported, unknown()),
        kind => not_scanned(kind, found),
    }
    check_name(content, found);
}

/// The kind of `source` by its first bytes, the name deciding only where bytes cannot.
pub(crate) fn recognize(path: &str, source: &dyn ReadAt) -> io::Result<FileKind> {
    let size = source.size();
    let length = usize::try_from(size).unwrap_or(PREFIX_BYTES).min(PREFIX_BYTES);
    let mut prefix = vec![0; length];
    source.read_exact_at(0, &mut prefix)?;
    Ok(FileKind::recognize(path, &prefix, size))
}

/// The whole of `source`, or none where it is longer than `limit` bytes.
pub(crate) fn read_bounded(source: &dyn ReadAt, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = Some(source.size()).filter(|size| *size <= limit).and_then(|size| usize::try_from(size).ok())
    else {
        return Ok(None);
    };
    let mut bytes = vec![0; length];
    source.read_exact_at(0, &mut bytes)?;
    Ok(Some(bytes))
}

fn not_scanned(kind: FileKind, found: &mut Found) {
    if let Support::NotScanned { code, hint } = kind.support() {
        let detail = format!("the file is of format {}, which this release cannot look into", kind.name());
        findings::unscannable(found, code, &detail, &format!("{hint}, and remove the file"));
    }
}

/// A name is what loaders go by: one that promises weights over other content is how such
/// content gets loaded.
fn check_name(content: &Content<'_>, found: &mut Found) {
    let kind = content.kind;
    if kind == FileKind::LfsPointer {
        return;
    }
    let extension = kind::extension(content.path);
    let keeps_promise = match extension.as_str() {
        "gguf" => kind == FileKind::Gguf,
        "safetensors" => kind == FileKind::Safetensors,
        name if kind::is_weight_extension(name) => kind.holds_weights() || kind == FileKind::Archive,
        _ => true,
    };
    if !keeps_promise {
        let detail = format!("The name ends in .{extension}, and the content is {}.", kind.name());
        let finding = Finding::new("EXTENSION_MISMATCH", Severity::High, detail, "rename or remove the file");
        found.add(InspectionVerdict::Malformed, finding);
    }
}

fn lfs_pointer() -> Finding {
    Finding::new(
        "LFS_POINTER",
        Severity::High,
        "The file is a Git LFS pointer instead of the content it stands for.",
        "run `git lfs pull` before the push",
    )
}

fn executable() -> Finding {
    Finding::new(
        "EXECUTABLE_FILE",
        Severity::High,
        "The file is a program.",
        "remove it; a model needs no programs to be loaded",
    )
}

fn unknown() -> Finding {
    Finding::new(
        "UNKNOWN_FORMAT",
        Severity::Medium,
        "The file is of a format that this release does not know.",
        "remove the file if the model does not need it",
    )
}
