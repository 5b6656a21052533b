//! A worker that tries to break out, floods, lies, hangs or dies gets nowhere, and the report says what it did.

use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inference_probe::{Limits, ProbeRequest, run};
use verifier::evidence::{ProbeReport, ProbeVerdict, Status};

const ESCAPE: &str = env!("CARGO_BIN_EXE_sandbox-escape");
const REFUSED: Option<i32> = Some(0);
const ESCAPED: Option<i32> = Some(1);

/// Runs one attempt below one layer; its exit status and what it printed.
fn attempt(layer: &str, attempt: &str) -> (ExitStatus, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(ESCAPE).args(["try", layer, attempt]).current_dir(folder.path()).output().unwrap();
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
}

fn assert_refused(layer: &str, attempts: &[&str]) {
    for name in attempts {
        let (status, said) = attempt(layer, name);
        assert_eq!(status.code(), REFUSED, "{name} below {layer}: {status} {said}");
    }
}

#[test]
fn network_is_out_of_reach() {
    assert_refused("all", &["udp", "tcp", "unix-socket", "unix-pair"]);
}

#[test]
fn files_are_out_of_reach() {
    assert_refused("all", &["read-passwd", "read-environment", "list-root", "write-file", "write-here", "remove-file"]);
}

#[test]
fn other_processes_are_out_of_reach() {
    assert_refused(
        "all",
        &["start-program", "fork", "ptrace", "kill-parent", "signal-parent-thread", "read-parent-memory"],
    );
}

#[test]
fn kernel_interfaces_are_out_of_reach() {
    assert_refused(
        "all",
        &["unshare", "mount", "memfd", "io-uring", "bpf", "perf", "keyctl", "userfaultfd", "ioctl", "dumpable"],
    );
    assert_refused("all", &["raise-limit", "executable-memory", "x32-getpid"]);
}

#[test]
fn threads_fall_back_to_the_call_whose_flags_are_checked() {
    let (status, said) = attempt("all", "clone3");
    assert_eq!(status.code(), REFUSED);
    assert!(said.contains("os error 38"), "{said}");
}

#[test]
fn landlock_alone_hides_files_and_ports() {
    assert_refused("landlock", &["read-passwd", "list-root", "write-file", "write-here", "tcp"]);
}

#[test]
fn the_system_call_filter_alone_hides_files_network_and_processes() {
    assert_refused("seccomp", &["read-passwd", "write-file", "udp", "tcp", "fork", "ptrace", "kill-parent"]);
}

#[test]
fn resource_limits_alone_bound_memory_and_files() {
    assert_refused("limits", &["allocate", "big-file"]);
}

/// Without this the other tests could pass because an attempt never works.
#[test]
fn attempts_work_without_a_sandbox() {
    for name in ["udp", "tcp", "unix-pair", "read-passwd", "list-root", "write-here", "start-program", "fork"] {
        assert_eq!(attempt("none", name).0.code(), ESCAPED, "{name}");
    }
    for name in ["allocate", "big-file", "memfd", "executable-memory", "dumpable"] {
        assert_eq!(attempt("none", name).0.code(), ESCAPED, "{name}");
    }
}

fn request(misdeed: &str, limits: Limits) -> ProbeRequest {
    ProbeRequest {
        executable: ESCAPE.into(),
        arguments: vec!["worker".into(), misdeed.into()],
        files: Vec::new(),
        limits,
        base: Vec::new(),
        cancelled: None,
        progress: None,
    }
}

fn limits() -> Limits {
    Limits { memory_bytes: 256 << 20, wall: Duration::from_mins(1), threads: 1 }
}

/// The report on a worker that commits `misdeed`, which has to be inconclusive for `code`.
fn assert_inconclusive(request: &ProbeRequest, code: &str) -> ProbeReport {
    let started = Instant::now();
    let report = run(request);
    assert_eq!(report.verdict, ProbeVerdict::Inconclusive, "{report:?}");
    assert_eq!(report.findings.last().map(|finding| finding.code.as_str()), Some(code), "{report:?}");
    assert!(started.elapsed() < Duration::from_secs(30), "the worker was not stopped in time");
    report
}

#[test]
fn a_worker_that_floods_its_output_is_stopped() {
    for misdeed in ["flood-lines", "flood-without-line-feed"] {
        assert_inconclusive(&request(misdeed, limits()), "WORKER_MISBEHAVED");
    }
}

#[test]
fn a_worker_that_claims_a_verdict_it_did_not_earn_is_not_believed() {
    assert_inconclusive(&request("lie", limits()), "WORKER_MISBEHAVED");
}

#[test]
fn a_worker_that_closes_its_output_and_goes_on_is_stopped() {
    assert_inconclusive(&request("close-output", limits()), "WORKER_MISBEHAVED");
}

#[test]
fn a_worker_that_does_not_end_is_stopped_at_the_wall_limit() {
    for misdeed in ["spin", "sleep", "flood-errors"] {
        let limits = Limits { wall: Duration::from_secs(1), ..limits() };
        let report = assert_inconclusive(&request(misdeed, limits), "TIMEOUT");
        assert_eq!(report.levels[0].status, Status::Inconclusive);
        assert!(report.reason.contains("reading the header"), "{}", report.reason);
    }
}

#[test]
fn a_worker_that_takes_too_much_memory_is_stopped() {
    for misdeed in ["take-memory", "take-memory-at-once"] {
        assert_inconclusive(&request(misdeed, limits()), "OUT_OF_MEMORY_LIMIT");
    }
}

#[test]
fn memory_is_watched_from_outside_too() {
    // The worker has set itself 256 MiB; the parent allows less.
    let limits = Limits { memory_bytes: 64 << 20, ..limits() };
    assert_inconclusive(&request("take-memory", limits), "OUT_OF_MEMORY_LIMIT");
}

#[test]
fn a_crash_is_reported_with_its_stage_and_cannot_steer_a_terminal() {
    for (misdeed, trace) in [("panic", "panicked"), ("abort", "signal 6"), ("silence", "exit code 0")] {
        let report = assert_inconclusive(&request(misdeed, limits()), "ENGINE_CRASH");
        assert!(report.reason.contains(trace), "{}", report.reason);
        assert!(report.reason.contains("reading the header"), "{}", report.reason);
        assert!(!report.reason.contains('\u{1b}'));
    }
}

#[test]
fn a_cancelled_probe_stops_at_once() {
    let cancelled = Arc::new(AtomicBool::new(false));
    let request = ProbeRequest { cancelled: Some(Arc::clone(&cancelled)), ..request("sleep", limits()) };
    let probe = std::thread::spawn(move || assert_inconclusive(&request, "CANCELLED"));
    cancelled.store(true, Ordering::Relaxed);
    probe.join().unwrap();
}

#[test]
fn a_program_that_cannot_be_started_is_reported() {
    let request = ProbeRequest { executable: "/no/such/program".into(), ..request("spin", limits()) };
    let report = assert_inconclusive(&request, "WORKER_NOT_STARTED");
    assert!(report.levels.is_empty());
}
