//! The wall between untrusted weights and the server.
//!
//! Loading a model means running a large parser and numeric code over bytes that a
//! stranger chose. So each probe is a process of its own that holds the model's files as
//! read-only descriptors and nothing else: no environment, no paths, no network, no way to
//! start a program, bounded memory and time. [`parent`] starts and watches it, [`confine`]
//! is what the child does to itself before it reads the first byte, [`stream`] and
//! [`transcript`] treat what it prints as hostile.
//!
//! Linux only: landlock, seccomp and `/proc` are what the wall is built from.

pub mod confine;
pub(crate) mod parent;
mod stream;
pub(crate) mod system;
mod transcript;

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::protocol::Level;

/// Everything a probe needs to know.
#[derive(Debug)]
pub struct ProbeRequest {
    /// The program to start as the child; its `main` must call [`crate::worker_main`]
    /// before it starts a thread.
    pub executable: PathBuf,
    /// Arguments that make `executable` do so, such as a hidden verb.
    pub arguments: Vec<OsString>,
    /// The model's files.
    pub files: Vec<ProbeFile>,
    /// The files of the model that an adapter changes; empty for every other model.
    pub base: Vec<ProbeFile>,
    pub limits: Limits,
    /// When it becomes true, the child is killed and the report is `inconclusive`
    /// with the finding `CANCELLED`.
    pub cancelled: Option<Arc<AtomicBool>>,
    /// Follows the probe while it runs.
    pub progress: Option<Arc<Progress>>,
}

/// How far a running probe has come; written by the probe, read by whoever shows it.
#[derive(Debug, Default)]
pub struct Progress(AtomicU32);

impl Progress {
    /// The level at work, `L0` to `L4`, and how much of it is done, in percent; none before the first.
    pub fn get(&self) -> Option<(&'static str, u8)> {
        let [percent, level, ..] = self.0.load(Ordering::Relaxed).to_le_bytes();
        let level = Level::ALL.get(usize::from(level).checked_sub(1)?)?;
        Some((level.as_str(), percent))
    }

    pub(crate) fn set(&self, level: Level, percent: u8) {
        let number = Level::ALL.iter().take_while(|other| **other <= level).count();
        let number = u8::try_from(number).unwrap_or(u8::MAX);
        self.0.store(u32::from_le_bytes([percent.min(100), number, 0, 0]), Ordering::Relaxed);
    }
}

/// One file of the model, open for reading. The path that it was opened by is not needed again.
#[derive(Debug)]
pub struct ProbeFile {
    /// The file's path in its revision, used in findings.
    pub name: String,
    pub file: File,
}

/// What a probe may use. Reaching a limit makes a probe `inconclusive`, never `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Time from start to end.
    pub wall: Duration,
    /// Most threads the engine may use; small models use one.
    pub threads: u32,
}

impl Default for Limits {
    /// 8 GiB, 15 minutes, all cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        Self { memory_bytes: 8 << 30, wall: Duration::from_mins(15), threads: cores }
    }
}
