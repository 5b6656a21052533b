//! How long functions are. A function that fits on a screen can be read; the limit is a
//! test because length creeps in one harmless line at a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::path::{Path, PathBuf};

const LONGEST: usize = 80;

struct Function {
    file: PathBuf,
    line: usize,
    name: String,
    lines: usize,
}

/// All Rust files below the workspace's crates, generated output and hidden folders left out.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                rust_files(&entry.path(), found);
            }
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            found.push(entry.path());
        }
    }
}

/// The functions of one file. The code is formatted by rustfmt, so a body ends at the first
/// line that is a closing brace in the column where the function's first line starts.
fn functions(file: &Path, text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        if let Some(length) = lines[index..].iter().position(|other| *other == end) {
            found.push(Function { file: file.to_owned(), line: index + 1, name, lines: length + 1 });
        }
    }
    found
}

/// The name in a line that starts a function with a body; none for other lines, calls and
/// one-line functions.
fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\"", "default"].contains(word)
    });
    let declared = words.next() == Some("fn") && !line.ends_with(['}', ';']);
    let name = words.next().filter(|_| declared)?;
    Some(name.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect())
}

fn all_functions() -> Vec<Function> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    rust_files(root, &mut files);
    files.iter().flat_map(|file| functions(file, &fs_err::read_to_string(file).unwrap())).collect()
}

#[test]
fn no_function_is_longer_than_eighty_lines() {
    let all = all_functions();
    assert!(all.len() > 100, "the walk found only {} functions", all.len());
    let long: Vec<_> = all
        .iter()
        .filter(|function| function.lines > LONGEST)
        .map(|function| {
            format!("{}:{} {} has {} lines", function.file.display(), function.line, function.name, function.lines)
        })
        .collect();
    assert!(long.is_empty(), "functions over {LONGEST} lines:\n{}", long.join("\n"));
}

#[test]
fn length_is_counted_from_the_signature_to_the_closing_brace() {
    let text = "impl X {\n    pub(crate) async fn a(\n        b: u8,\n    ) {\n        if b {\n        }\n    }\n}\nfn c() {}\n";
    let found = functions(Path::new("x.rs"), text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].line, found[0].lines), ("a", 2, 6));
}
