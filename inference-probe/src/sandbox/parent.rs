//! Starts the probe child, watches its limits and turns what happened into a report.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use verifier::evidence::{Finding, ProbeReport, ProbeVerdict, SCHEMA_VERSION, SandboxReport, Severity};

use super::stream::{self, Output};
use super::transcript::{Transcript, clean};
use super::{ProbeFile, ProbeRequest, system};
use crate::engine;
use crate::protocol::{self, AssignedFile, Assignment, Confinement};

/// How often limits are checked.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// How long the parent waits for the pipes of a child that has ended.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// What the allocator prints before it aborts, in Rust's standard library.
const ALLOCATION_FAILED: &str = "memory allocation of";
const PANIC_EXIT_CODE: i32 = 101;

/// Why a child ended other than by finishing its work.
#[derive(Debug)]
enum Interruption {
    NotStarted(io::Error),
    Cancelled,
    WallLimit,
    MemoryLimit,
    Protocol(&'static str),
    /// Ended by itself without a result.
    Died(ExitStatus),
}

/// What is known of a child that has ended.
struct Ended {
    transcript: Transcript,
    interruption: Option<Interruption>,
    /// Standard error, bounded.
    errors: String,
    peak_memory_bytes: Option<u64>,
}

/// Probes a model in a confined child process and reports what happened.
///
/// Blocks until the child has ended, at most `limits.wall` and a few seconds. Never fails:
/// whatever prevents a probe makes it `inconclusive`, with a finding that says why.
pub fn run(request: &ProbeRequest) -> ProbeReport {
    let ended = match start(request) {
        Ok(child) => watch(request, child),
        Err(error) => Ended {
            transcript: Transcript::default(),
            interruption: Some(Interruption::NotStarted(error)),
            errors: String::new(),
            peak_memory_bytes: None,
        },
    };
    report(request, ended)
}

fn start(request: &ProbeRequest) -> io::Result<Child> {
    // Removed when this function returns: the child then stands in a folder where nothing can be created.
    let empty = tempfile::tempdir()?;
    let descriptors: Vec<RawFd> = request.files.iter().chain(&request.base).map(|file| file.file.as_raw_fd()).collect();
    let mut command = Command::new(std::path::absolute(&request.executable)?);
    command
        .args(&request.arguments)
        .env_clear()
        .current_dir(empty.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    system::inherit(&mut command, descriptors);
    let mut child = command.spawn()?;
    if let Err(error) = assign(request, &mut child) {
        stop(&mut child);
        return Err(error);
    }
    Ok(child)
}

fn assign(request: &ProbeRequest, child: &mut Child) -> io::Result<()> {
    let assignment = Assignment {
        v: protocol::VERSION,
        files: assigned(&request.files),
        base: assigned(&request.base),
        memory_limit_bytes: request.limits.memory_bytes,
        wall_limit_seconds: request.limits.wall.as_secs().max(1),
        threads: request.limits.threads.max(1),
    };
    let document = serde_json::to_vec(&assignment)?;
    // Dropping the pipe afterwards ends the child's input.
    let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    match input.write_all(&document) {
        // A child that has already died is reported by how it died.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn assigned(files: &[ProbeFile]) -> Vec<AssignedFile> {
    files.iter().map(|file| AssignedFile { name: file.name.clone(), descriptor: file.file.as_raw_fd() }).collect()
}

/// Follows the child until it ends or a limit is reached; the child is gone afterwards.
fn watch(request: &ProbeRequest, mut child: Child) -> Ended {
    let deadline = Instant::now() + request.limits.wall;
    let output = lines_of(child.stdout.take());
    let errors = child.stderr.take().map(stream::head);
    let mut transcript = Transcript::default();
    let mut peak = PeakMemory::default();
    let interruption = loop {
        peak.update(child.id());
        let limit = reached_limit(request, deadline, &peak);
        match limit.map_or_else(|| step(output.as_ref(), &mut transcript), Err) {
            Ok(true) => show_progress(request, &transcript),
            Ok(false) => break None,
            Err(interruption) => break Some(interruption),
        }
    };
    let (interruption, exit) = settle(interruption, &mut child);
    let interruption = interruption.or_else(|| died(&transcript, exit));
    let errors = errors.and_then(|errors| errors.recv_timeout(DRAIN_TIME).ok()).unwrap_or_default();
    Ended { transcript, interruption, errors, peak_memory_bytes: peak.bytes }
}

fn lines_of(stdout: Option<impl Read + Send + 'static>) -> Option<Receiver<Output>> {
    stdout.map(stream::lines)
}

fn reached_limit(request: &ProbeRequest, deadline: Instant, peak: &PeakMemory) -> Option<Interruption> {
    if request.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
        Some(Interruption::Cancelled)
    } else if Instant::now() >= deadline {
        Some(Interruption::WallLimit)
    } else if peak.bytes.is_some_and(|bytes| bytes > request.limits.memory_bytes) {
        Some(Interruption::MemoryLimit)
    } else {
        None
    }
}

fn show_progress(request: &ProbeRequest, transcript: &Transcript) {
    if let (Some(shown), Some((level, percent))) = (&request.progress, transcript.progress()) {
        shown.set(level, percent);
    }
}

/// Takes one line, or waits for one watch interval; false when the output has ended.
fn step(output: Option<&Receiver<Output>>, transcript: &mut Transcript) -> Result<bool, Interruption> {
    let Some(output) = output else { return Ok(false) };
    match output.recv_timeout(WATCH_INTERVAL) {
        Ok(Output::Line(line)) => transcript.add(&line).map(|()| true).map_err(Interruption::Protocol),
        Ok(Output::Flood(what)) => Err(Interruption::Protocol(what)),
        Err(RecvTimeoutError::Timeout) => Ok(true),
        Ok(Output::End) | Err(RecvTimeoutError::Disconnected) => Ok(false),
    }
}

/// Ends the child. One that has closed its output gets a moment to end by itself.
fn settle(interruption: Option<Interruption>, child: &mut Child) -> (Option<Interruption>, Option<ExitStatus>) {
    if interruption.is_some() {
        stop(child);
        return (interruption, None);
    }
    let deadline = Instant::now() + DRAIN_TIME;
    while Instant::now() < deadline {
        if let Ok(Some(exit)) = child.try_wait() {
            return (None, Some(exit));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    stop(child);
    (Some(Interruption::Protocol("the worker closed its output and went on")), None)
}

fn stop(child: &mut Child) {
    system::kill_group(child.id());
    // Nothing can be done about a child that cannot be waited for.
    child.wait().ok();
}

fn died(transcript: &Transcript, exit: Option<ExitStatus>) -> Option<Interruption> {
    let exit = exit?;
    let orderly = transcript.conclusion.is_some() && exit.success();
    (!orderly).then_some(Interruption::Died(exit))
}

/// The most memory the child has had resident, by the kernel's own high-water mark.
#[derive(Default)]
struct PeakMemory {
    bytes: Option<u64>,
}

impl PeakMemory {
    fn update(&mut self, process: u32) {
        let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = mark.and_then(|mark| mark.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        self.bytes = self.bytes.max(kibibytes.map(|kibibytes| kibibytes * 1024));
    }
}

fn report(request: &ProbeRequest, ended: Ended) -> ProbeReport {
    let Ended { mut transcript, interruption, errors, peak_memory_bytes } = ended;
    let (verdict, reason) = match interruption {
        Some(interruption) => {
            let finding = explain(request, &interruption, &errors, &mut transcript);
            let reason = finding.detail.clone();
            transcript.findings.push(finding);
            (ProbeVerdict::Inconclusive, reason)
        }
        None => transcript.conclusion.take().unwrap_or((ProbeVerdict::Inconclusive, "no result".to_owned())),
    };
    transcript.findings.extend(transcript.start.as_ref().and_then(|start| incomplete(&start.confinement)));
    let sandbox = transcript.start.as_ref().map(|start| sandbox_report(request, &start.confinement));
    let (engine, engine_version, device) = transcript.start.map_or_else(
        || (engine::NAME.to_owned(), engine::VERSION.to_owned(), engine::DEVICE.to_owned()),
        |start| (start.engine, start.engine_version, start.device),
    );
    ProbeReport {
        schema_version: SCHEMA_VERSION,
        verdict,
        reason,
        engine,
        engine_version,
        device,
        threads: transcript.measured.threads,
        architecture: transcript.measured.architecture,
        conformance: transcript.measured.conformance,
        levels: transcript.levels,
        load_milliseconds: transcript.measured.load_milliseconds,
        peak_memory_bytes,
        generation: transcript.measured.generation,
        calibration: transcript.measured.calibration,
        embedding: transcript.measured.embedding,
        adapter: transcript.measured.adapter,
        sandbox,
        findings: transcript.findings,
    }
}

fn sandbox_report(request: &ProbeRequest, confinement: &Confinement) -> SandboxReport {
    SandboxReport {
        profile: "strict".to_owned(),
        landlock: confinement.landlock.clone(),
        seccomp: confinement.seccomp,
        memory_limit_bytes: request.limits.memory_bytes,
        wall_limit_seconds: request.limits.wall.as_secs(),
        gaps: confinement.gaps(),
    }
}

/// Says what the kernel did not enforce.
fn incomplete(confinement: &Confinement) -> Option<Finding> {
    let gaps = confinement.gaps();
    (!gaps.is_empty()).then(|| {
        Finding::new(
            "SANDBOX_INCOMPLETE",
            Severity::Low,
            format!("this kernel did not fully enforce {}", gaps.join(", ")),
            "Probe untrusted models on Linux 6.12 or later, where the whole sandbox is available.",
        )
    })
}

/// Turns an interruption into a finding and closes the level it happened in.
fn explain(request: &ProbeRequest, why: &Interruption, errors: &str, transcript: &mut Transcript) -> Finding {
    let (code, severity, cause, remedy) = describe(request, why, errors);
    let place = transcript.interrupt(&cause).map_or("before the first level", |level| level.activity());
    let separator = if place.starts_with("before") { " " } else { " while " };
    Finding::new(code, severity, format!("{cause}{separator}{place}"), remedy)
}

fn describe(
    request: &ProbeRequest,
    why: &Interruption,
    errors: &str,
) -> (&'static str, Severity, String, &'static str) {
    match why {
        Interruption::NotStarted(error) => (
            "WORKER_NOT_STARTED",
            Severity::Medium,
            format!("the probe worker could not be started ({error})"),
            "Check that the program file is present and executable, then probe again.",
        ),
        Interruption::Cancelled => {
            ("CANCELLED", Severity::Info, "the probe was cancelled".to_owned(), "Probe the model again.")
        }
        Interruption::WallLimit => (
            "TIMEOUT",
            Severity::Medium,
            format!("the limit of {} seconds was reached", request.limits.wall.as_secs_f64()),
            "Raise the probe's time limit or probe on a faster machine.",
        ),
        Interruption::MemoryLimit => out_of_memory(request),
        Interruption::Protocol(what) => (
            "WORKER_MISBEHAVED",
            Severity::High,
            format!("the worker was stopped because {what}"),
            "Treat the file as hostile until the cause is known; report it to the maintainers of the engine.",
        ),
        Interruption::Died(_) if errors.contains(ALLOCATION_FAILED) => out_of_memory(request),
        // Not by us: the kernel ends processes so when the machine or a control group has no memory left.
        Interruption::Died(exit) if exit.signal() == Some(libc::SIGKILL) => (
            "OUT_OF_MEMORY_LIMIT",
            Severity::Medium,
            "the system ended the worker, as it does when there is no memory left,".to_owned(),
            "Probe on a machine with more free memory.",
        ),
        Interruption::Died(exit) if exit.signal() == Some(libc::SIGXCPU) => (
            "TIMEOUT",
            Severity::Medium,
            "the limit of processor time was reached".to_owned(),
            "Raise the probe's time limit or probe on a faster machine.",
        ),
        Interruption::Died(exit) => (
            "ENGINE_CRASH",
            Severity::High,
            format!("the worker {}", death(*exit, errors)),
            "A crash on crafted input may be an attack on the engine: treat the file as hostile until the cause is known.",
        ),
    }
}

fn out_of_memory(request: &ProbeRequest) -> (&'static str, Severity, String, &'static str) {
    (
        "OUT_OF_MEMORY_LIMIT",
        Severity::Medium,
        format!("the limit of {} MiB of memory was reached", request.limits.memory_bytes >> 20),
        "Raise the probe's memory limit or probe on a larger machine.",
    )
}

fn death(exit: ExitStatus, errors: &str) -> String {
    let last_words = clean(last_words(errors), 200);
    match (exit.signal(), exit.code()) {
        (Some(signal), _) => format!("was ended by signal {signal} ({last_words})"),
        (None, Some(PANIC_EXIT_CODE)) => format!("panicked ({last_words})"),
        (None, Some(code)) => format!("ended with exit code {code} and no result ({last_words})"),
        (None, None) => "ended for an unknown reason".to_owned(),
    }
}

/// The message of a panic, which follows the line with its place, or else the last line.
fn last_words(errors: &str) -> &str {
    let mut lines = errors.lines().skip_while(|line| !line.contains(" panicked at ")).skip(1);
    let message = lines.next().or_else(|| errors.lines().rev().find(|line| !line.trim().is_empty()));
    message.unwrap_or("no message")
}
