//! The child's `main`: take the assignment, confine this process, run the plan.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::process::ExitCode;

use verifier::FileReader;

use crate::checks::ModelFile;
use crate::engine;
use crate::plan::{self, Bounds, Model, Recorder};
use crate::protocol::{self, AssignedFile, Assignment, Event, Start};
use crate::sandbox::confine::{self, ConfineError, ResourceBounds};
use crate::sandbox::system;

/// `EX_SOFTWARE` of sysexits.h: the worker could not begin.
const EXIT_NOT_BEGUN: u8 = 70;
const MAX_ASSIGNMENT_BYTES: u64 = 1 << 20;
const STANDARD_ERROR: RawFd = 2;

/// Why the worker could not do its work.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("the assignment could not be read: {0}")]
    Assignment(#[from] serde_json::Error),
    #[error("the assignment is for version {0} of the protocol")]
    Version(u32),
    #[error("the assignment names a descriptor twice or a standard stream")]
    Descriptors,
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    #[error("the worker could not confine itself: {0}")]
    Confine(#[from] ConfineError),
}

/// Runs one probe as the child of [`crate::run`].
///
/// Must be called before the process starts a thread. Reads the assignment from standard
/// input, gives up every right it does not need, and reports on standard output.
pub fn worker_main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the only place left to say it.
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::from(EXIT_NOT_BEGUN)
        }
    }
}

fn work() -> Result<(), WorkerError> {
    let assignment = read_assignment()?;
    let (files, base) = adopt_files(&assignment)?;
    let confinement = confine::enter(ResourceBounds {
        memory_bytes: assignment.memory_limit_bytes,
        wall_seconds: assignment.wall_limit_seconds,
        threads: assignment.threads,
    })?;
    let mut recorder = Recorder::new(io::stdout());
    recorder.emit(Event::Start(Start {
        engine: engine::NAME.to_owned(),
        engine_version: engine::VERSION.to_owned(),
        device: engine::DEVICE.to_owned(),
        confinement,
    }))?;
    let bounds = Bounds { memory_bytes: assignment.memory_limit_bytes, threads: assignment.threads };
    Ok(plan::execute(Model { files: &files, base: &base }, bounds, &mut recorder)?)
}

fn read_assignment() -> Result<Assignment, WorkerError> {
    let mut document = Vec::new();
    io::stdin().lock().take(MAX_ASSIGNMENT_BYTES).read_to_end(&mut document)?;
    let assignment: Assignment = serde_json::from_slice(&document)?;
    if assignment.v == protocol::VERSION { Ok(assignment) } else { Err(WorkerError::Version(assignment.v)) }
}

/// Takes over the model's files and closes everything else that may have been inherited.
fn adopt_files(assignment: &Assignment) -> Result<(Vec<ModelFile>, Vec<ModelFile>), WorkerError> {
    let assigned = assignment.files.iter().chain(&assignment.base);
    let descriptors: Vec<RawFd> = assigned.map(|file| file.descriptor).collect();
    let distinct: HashSet<&RawFd> = descriptors.iter().filter(|descriptor| **descriptor > STANDARD_ERROR).collect();
    if distinct.len() != descriptors.len() {
        return Err(WorkerError::Descriptors);
    }
    system::close_all_except(&descriptors)?;
    let adopt = |file: &AssignedFile| {
        let reader = Box::new(FileReader::from_file(system::adopt(file.descriptor)?)?);
        Ok(ModelFile { name: file.name.clone(), reader })
    };
    let adopt_all = |files: &[AssignedFile]| files.iter().map(adopt).collect::<Result<Vec<_>, WorkerError>>();
    Ok((adopt_all(&assignment.files)?, adopt_all(&assignment.base)?))
}
