//! Writes one model for each way of computing into a folder, for the reference engine.
//!
//! `weighhouse-architectures FOLDER` makes `NAME.gguf` for each case, and prints a line for each: name,
//! architecture, and the tokens that its logits are wanted for, separated by tabs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use weighhouse_tests::gguf::architectures::{Case, cases};

#[expect(clippy::print_stderr, reason = "a program for scripts")]
fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: weighhouse-architectures FOLDER");
        return ExitCode::from(2);
    };
    match cases().iter().try_for_each(|case| write(&folder, case)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this crate has no dependencies, and the caller names the path")]
fn write(folder: &Path, case: &Case) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{}.gguf", case.name)), (case.build)())?;
    let tokens: Vec<String> = case.tokens().iter().map(u32::to_string).collect();
    writeln!(io::stdout(), "{}\t{}\t{}", case.name, case.architecture, tokens.join(" "))
}
