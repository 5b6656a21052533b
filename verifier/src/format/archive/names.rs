//! Where unpacking a member would write, and whether two members would meet there.

use std::collections::HashMap;

use super::{broken, dangerous, suspicious};
use crate::format::found::{Found, shown};

/// The names of one archive.
#[derive(Default)]
pub(super) struct Names {
    /// Lower-case names, with the name as it was written.
    seen: HashMap<String, String>,
}

impl Names {
    /// Takes the next member's name and adds what is wrong with it.
    pub(super) fn check(&mut self, name: &str, found: &mut Found) {
        check_name(name, found);
        let plain = name.trim_end_matches('/').to_owned();
        let folded = plain.to_lowercase();
        match self.seen.get(&folded) {
            Some(other) if *other == plain => {
                let detail =
                    format!("Two members are called `{}`, and loaders differ in which one counts.", shown(name));
                broken(found, "ARCHIVE_DUPLICATE_NAME", detail);
            }
            Some(other) => {
                let detail =
                    format!("`{}` and `{}` are one file where case does not count.", shown(other), shown(name));
                suspicious(found, "ARCHIVE_CASE_COLLISION", detail);
            }
            None => {
                self.seen.insert(folded, plain);
            }
        }
    }
}

fn check_name(name: &str, found: &mut Found) {
    let name_shown = shown(name);
    if leaves_folder(name) {
        let detail = format!("Unpacking `{name_shown}` writes outside of the folder that is unpacked into.");
        dangerous(found, "ARCHIVE_PATH_TRAVERSAL", detail);
    } else if is_absolute(name) {
        let detail = format!("Unpacking `{name_shown}` writes to a fixed place of the machine.");
        dangerous(found, "ARCHIVE_ABSOLUTE_PATH", detail);
    } else if name.is_empty() || name.contains('\0') {
        let detail =
            format!("The name `{name_shown}` of a member is empty or holds a NUL, where names end for some programs.");
        broken(found, "ARCHIVE_NAME_INVALID", detail);
    } else if name.contains('\\') {
        let detail =
            format!("The name `{name_shown}` holds a backslash, which separates folders for some programs only.");
        suspicious(found, "ARCHIVE_NAME_AMBIGUOUS", detail);
    }
}

/// Whether a path has a `..` part, by either separator.
pub(super) fn leaves_folder(path: &str) -> bool {
    path.split(['/', '\\']).any(|part| part == "..")
}

/// Whether a path starts at a root or a drive.
pub(super) fn is_absolute(path: &str) -> bool {
    let has_drive = matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    has_drive || path.starts_with(['/', '\\'])
}

/// A symbolic or hard link called `name` that points to `target`.
pub(super) fn check_link(name: &str, target: &str, found: &mut Found) {
    let (name, shown_target) = (shown(name), shown(target));
    if leaves_folder(target) || is_absolute(target) {
        let detail = format!("`{name}` is a link to `{shown_target}`, outside of the folder that is unpacked into.");
        dangerous(found, "ARCHIVE_LINK_OUTSIDE", detail);
    } else {
        suspicious(found, "ARCHIVE_LINK", format!("`{name}` is a link to `{shown_target}`."));
    }
}

pub(super) fn special_file(name: &str, found: &mut Found) {
    let detail = format!("`{}` is a device or another special file.", shown(name));
    dangerous(found, "ARCHIVE_SPECIAL_FILE", detail);
}
