//! Writes synthetic models, for the reference engine and for measurements.
//!
//! `weighhouse-architectures FOLDER` makes `NAME.gguf` for each way of computing, and prints a line
//! for each: name, architecture, what llama.cpp shall compute, and the tokens, separated by tabs.
//! `weighhouse-architectures --byte-pairs FOLDER` makes `byte-pairs-NAME.gguf` for each manner of splitting
//! texts, and prints the names.
//! `weighhouse-architectures --large-vocabulary FILE` makes one model of 250 MB.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use weighhouse_tests::gguf::architectures::{Case, SPLITTINGS, byte_pairs, cases, encoders, large_vocabulary};

#[expect(clippy::print_stderr, reason = "a program for scripts")]
fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let written = match arguments.as_slice() {
        [flag, file] if flag == "--large-vocabulary" => write(Path::new(file), &large_vocabulary()),
        [flag, folder] if flag == "--byte-pairs" => write_splittings(Path::new(folder)),
        [folder] => write_all(Path::new(folder)),
        _ => {
            eprintln!("usage: weighhouse-architectures FOLDER | --byte-pairs FOLDER | --large-vocabulary FILE");
            return ExitCode::from(2);
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    cases().iter().try_for_each(|case| write_case(folder, case, "logits"))?;
    encoders().iter().try_for_each(|case| write_case(folder, case, "embedding"))
}

fn write_case(folder: &Path, case: &Case, wanted: &str) -> io::Result<()> {
    write(&folder.join(format!("{}.gguf", case.name)), &(case.build)())?;
    let tokens: Vec<String> = case.tokens().iter().map(u32::to_string).collect();
    writeln!(io::stdout(), "{}\t{}\t{wanted}\t{}", case.name, case.architecture, tokens.join(" "))
}

fn write_splittings(folder: &Path) -> io::Result<()> {
    for splitting in SPLITTINGS {
        write(&folder.join(format!("byte-pairs-{splitting}.gguf")), &byte_pairs(splitting))?;
        writeln!(io::stdout(), "{splitting}")?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this crate has no dependencies, and the caller names the path")]
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, bytes)
}
