//! Where a path inside a model would lead on the machine that loads it.

/// How `path` leaves the folder of the file that names it, on any system; none where it stays inside.
pub(super) fn escape(path: &str) -> Option<&'static str> {
    let bytes = path.as_bytes();
    let is_drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    if path.contains('\0') {
        Some("is cut short by a zero byte")
    } else if path.contains("://") {
        Some("is a network address")
    } else if path.starts_with(['/', '\\', '~']) || is_drive {
        Some("is an absolute path")
    } else if path.split(['/', '\\']).any(|part| part.trim_end_matches([' ', '.']).is_empty() && part.contains("..")) {
        Some("leads out of its folder")
    } else if path.contains('\\') {
        Some("has a separator that only some systems know")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_the_folder_are_left_alone() {
        for path in ["weights.bin", "data/model.onnx.data", "./a..b", "a.b...c", "..data", "model..bin", "ä"] {
            assert_eq!(escape(path), None, "{path}");
        }
    }

    #[test]
    fn paths_that_leave_the_folder_are_told() {
        for path in [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "..",
            "C:x",
            "c:\\x",
            "\\\\host\\x",
            "a\\x",
            "file:///x",
            "a\0b",
            "~/x",
            ".. /x",
        ] {
            assert!(escape(path).is_some(), "{path}");
        }
    }
}
