//! Strict reader of zip archives, the container of PyTorch, Keras and NumPy files.
//!
//! A zip says everything twice: in a header before each member and in the directory at its end.
//! Programs differ in which of the two they believe, so a file whose halves disagree shows one
//! content to a scanner and another one to a loader. This reader compares them all.
//!
//! Layout after PKWARE's APPNOTE.TXT 6.3.10.

mod directory;
mod layout;
mod scan;

pub(super) use scan::scan;

use directory::Directory;

use super::super::content::Content;
use super::super::found::Found;
use super::super::kind::{FileKind, extension};
use super::{broken, member};
use crate::format::section::Section;
use crate::read_at::ReadAt;

/// What a zip is, by the names of its members; `by_name` where they do not tell.
pub(in crate::format) fn kind(source: &dyn ReadAt, by_name: FileKind) -> FileKind {
    let Ok(directory) = Directory::read(source) else { return by_name };
    let names = || directory.entries.iter().map(|entry| entry.name.as_str());
    let holds = |wanted: &str| names().any(|name| name == wanted);
    if names().any(is_data_pickle) {
        FileKind::Pickle
    } else if holds("config.json") && (holds("model.weights.h5") || holds("metadata.json")) {
        FileKind::Keras
    } else if names().next().is_some() && names().all(|name| extension(name) == "npy") {
        FileKind::Numpy
    } else {
        by_name
    }
}

/// Whether the name is that of a PyTorch archive's pickle, in whatever folder.
fn is_data_pickle(name: &str) -> bool {
    name == "data.pkl" || name.ends_with("/data.pkl")
}

/// A zip at the end of a file of another kind: what opens the file as a zip sees only that one.
pub(in crate::format) fn polyglot_tail(content: &Content<'_>, found: &mut Found) {
    let Ok(directory) = Directory::read(content.source) else { return };
    if directory.entries.is_empty() {
        return;
    }
    let detail = format!(
        "The file is of format {}, and a zip archive with {} members stands at its end.",
        content.kind.name(),
        directory.entries.len()
    );
    broken(found, "POLYGLOT", detail);
    scan_tail(&directory, content, found);
}

/// A zip that belongs to the file's format: only its members are judged.
pub(in crate::format) fn attached(content: &Content<'_>, found: &mut Found) {
    if let Ok(directory) = Directory::read(content.source) {
        scan_tail(&directory, content, found);
    }
}

fn scan_tail(directory: &Directory, content: &Content<'_>, found: &mut Found) {
    let inner = Section::new(content.source, directory.shift, content.source.size() - directory.shift);
    member::scan_stored("archive at the end", &inner, content, found);
}
