//! Writes small models into a folder, for tests that are not written in Rust.
//!
//! `weighhouse-fixtures FOLDER` makes `tiny/` (a model that runs, with a card), and `broken/`
//! (weights that contradict themselves).

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use weighhouse_tests::gguf::TinyLlama;

const CARD: &str = "---\nlicense: apache-2.0\n---\n\n# Tiny\n\nA model for tests.\n";

#[expect(clippy::print_stderr, reason = "a program for scripts")]
fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: weighhouse-fixtures FOLDER");
        return ExitCode::from(2);
    };
    match write_all(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    let runs = TinyLlama::fluent().build();
    write(&folder.join("tiny"), &[("tiny.gguf", &runs), ("README.md", CARD.as_bytes())])?;
    write(&folder.join("broken"), &[("broken.gguf", &runs[..runs.len() / 2])])
}

#[expect(clippy::disallowed_methods, reason = "this crate has no dependencies, and the caller names the path")]
fn write(folder: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    files.iter().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes))
}
