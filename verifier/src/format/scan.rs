//! Looks into one piece of content with the reader of its kind.

use std::io;

use super::content::Content;
use super::found::{Found, shown};
use super::kind::{self, FileKind, PREFIX_BYTES, Support};
use super::{
    archive, corruption, document, findings, gguf, hdf5, keras, numpy, onnx, pickle, safetensors, tensorflow, tokenizer,
};
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::read_at::ReadAt;

/// Adds to `found` what the content is and could do.
pub(crate) fn scan(content: &Content<'_>, found: &mut Found) {
    match content.kind {
        FileKind::Gguf => gguf::scan(content, found),
        FileKind::Safetensors => safetensors::scan(content, found),
        // A template may begin like JSON.
        FileKind::Text | FileKind::Json if kind::extension(content.path) == "jinja" => {
            tokenizer::scan_template(content, found);
        }
        FileKind::Json => scan_json(content, found),
        FileKind::Onnx => onnx::scan(content, found),
        FileKind::Tensorflow => tensorflow::scan(content, found),
        FileKind::TensorflowLite => tensorflow::scan_lite(content, found),
        FileKind::Hdf5 => hdf5::scan(content, found),
        FileKind::Text if kind::extension(content.path) == "pbtxt" => tensorflow::scan_text(content, found),
        FileKind::Pickle => pickle::scan(content, found),
        FileKind::Numpy => numpy::scan(content, found),
        FileKind::Archive | FileKind::Keras => archive::scan(content, found),
        FileKind::Text if ["yaml", "yml"].contains(&kind::extension(content.path).as_str()) => {
            tokenizer::scan_yaml(content, found);
        }
        FileKind::SentencePiece => tokenizer::scan_sentence_piece(content, found),
        FileKind::LfsPointer => found.add(InspectionVerdict::Malformed, lfs_pointer()),
        FileKind::Executable => check_executable(content, found),
        FileKind::Unknown => found.add(InspectionVerdict::Unsupported, unknown()),
        FileKind::Text => check_program_text(content, found),
        kind => not_scanned(kind, found),
    }
    check_tail(content, found);
    check_name(content, found);
    if found.verdict == InspectionVerdict::Malformed && content.depth == 0 {
        corruption::check(content, found);
    }
}

/// JSON is told apart by its name and by what it holds; one document can be several things to
/// several loaders, and is judged as each of them.
fn scan_json(content: &Content<'_>, found: &mut Found) {
    if document::is_known(content.path) {
        document::scan(content, found);
    }
    if !document::is_index(content.path) {
        tokenizer::scan_json(content, found);
    }
    keras::scan(content, found);
}

/// A program is one under its own kind of name; under the name of data it is in disguise.
fn check_executable(content: &Content<'_>, found: &mut Found) {
    const PROGRAMS: [&str; 16] =
        ["", "so", "exe", "dll", "dylib", "o", "a", "lib", "node", "pyd", "sys", "wasm", "class", "elf", "out", "com"];
    let extension = kind::extension(content.path);
    let is_numbered_library = kind::file_name(content.path).contains(".so.");
    let remedy = "remove it; a model needs no programs to be loaded";
    if PROGRAMS.contains(&extension.as_str()) || is_numbered_library {
        let finding = Finding::new("EXECUTABLE_FILE", Severity::High, "The file is a program.", remedy);
        found.add(InspectionVerdict::Suspicious, finding);
    } else {
        let detail = format!("The file is a program, and its name ends in .{}.", shown(&extension));
        found.add(
            InspectionVerdict::Dangerous,
            Finding::new("DISGUISED_EXECUTABLE", Severity::Critical, detail, remedy),
        );
    }
}

/// What hides behind the content's own end. Readers that account for each byte of a sound file
/// have seen that nothing does.
fn check_tail(content: &Content<'_>, found: &mut Found) {
    let is_accounted_for = matches!(content.kind, FileKind::Gguf | FileKind::Safetensors);
    let is_sound = found.verdict < InspectionVerdict::Malformed;
    if found.facts.contains_key("attached_files") {
        // The format's own way to carry label files: a zip behind the model.
        return archive::attached(content, found);
    }
    if content.depth == 0 && !(is_accounted_for && is_sound) && !kind::is_zip(content.source) {
        archive::polyglot_tail(content, found);
    }
}

/// Program text beside weights is nobody's danger until somebody runs it, and was not judged.
fn check_program_text(content: &Content<'_>, found: &mut Found) {
    const EXTENSIONS: [&str; 8] = ["py", "sh", "bash", "js", "ps1", "bat", "rb", "pl"];
    if content.depth > 0 || !EXTENSIONS.contains(&kind::extension(content.path).as_str()) {
        return;
    }
    if content.path.split('/').rev().nth(1) == Some("custom_generate") {
        found.add(InspectionVerdict::Suspicious, document::remote_code(&[content.path.to_owned()]));
    } else {
        found.add(InspectionVerdict::Ok, program_text());
    }
}

/// The kind of `source` by its first bytes, the name deciding only where bytes cannot.
pub(crate) fn recognize(path: &str, source: &dyn ReadAt) -> io::Result<FileKind> {
    let size = source.size();
    let length = usize::try_from(size).unwrap_or(PREFIX_BYTES).min(PREFIX_BYTES);
    let mut prefix = vec![0; length];
    source.read_exact_at(0, &mut prefix)?;
    let kind = FileKind::recognize(path, &prefix, size);
    Ok(match kind {
        kind if kind::is_zip(source) => archive::zip_kind(source, kind),
        FileKind::Text | FileKind::ModelCard | FileKind::License | FileKind::Unknown
            if pickle::leads_somewhere(source) =>
        {
            FileKind::Pickle
        }
        kind => kind,
    })
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
        let is_page = kind == FileKind::Text && is_web_page(content.source);
        let what =
            if is_page { "a web page, such as an error that was saved in place of the file" } else { kind.name() };
        let detail = format!("The name ends in .{extension}, and the content is {what}.");
        let finding = Finding::new("EXTENSION_MISMATCH", Severity::High, detail, "rename or remove the file");
        found.add(InspectionVerdict::Malformed, finding);
    }
}

fn is_web_page(source: &dyn ReadAt) -> bool {
    let mut start = [0; 64];
    let length = source.read_at(0, &mut start).unwrap_or(0);
    let start = start[..length].trim_ascii_start().to_ascii_lowercase();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

fn program_text() -> Finding {
    Finding::new(
        "PROGRAM_TEXT",
        Severity::Info,
        "The file is a program's text, which was not judged.",
        "read it before you run it",
    )
}

fn lfs_pointer() -> Finding {
    Finding::new(
        "LFS_POINTER",
        Severity::High,
        "The file is a Git LFS pointer instead of the content it stands for.",
        "run `git lfs pull` before the push",
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
