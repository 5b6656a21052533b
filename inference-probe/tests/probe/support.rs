//! Probing bytes with the real worker.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use inference_probe::{Limits, ProbeFile, ProbeRequest, run};
use verifier::evidence::ProbeReport;

pub(crate) const LIMITS: Limits = Limits { memory_bytes: 2 << 30, wall: Duration::from_mins(5), threads: 2 };

/// Probes one file below `limits`.
pub(crate) fn probe_file(path: &Path, limits: Limits) -> ProbeReport {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    probe(vec![ProbeFile { name, file: fs_err::File::open(path).unwrap().into_file() }], limits)
}

/// Probes a file with the given content.
pub(crate) fn probe_bytes(name: &str, bytes: &[u8]) -> ProbeReport {
    probe(vec![open(name, bytes)], LIMITS)
}

/// A file with the given content.
pub(crate) fn open(name: &str, bytes: &[u8]) -> ProbeFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    ProbeFile { name: name.to_owned(), file: file.reopen().unwrap() }
}

pub(crate) fn probe(files: Vec<ProbeFile>, limits: Limits) -> ProbeReport {
    let executable = env!("CARGO_BIN_EXE_probe-worker").into();
    run(&ProbeRequest {
        executable,
        arguments: Vec::new(),
        files,
        limits,
        base: Vec::new(),
        cancelled: None,
        progress: None,
    })
}

/// Probes an adapter on its base.
pub(crate) fn probe_adapter(files: Vec<ProbeFile>, base: Vec<ProbeFile>) -> ProbeReport {
    let executable = env!("CARGO_BIN_EXE_probe-worker").into();
    let request = ProbeRequest {
        executable,
        arguments: Vec::new(),
        files,
        base,
        limits: LIMITS,
        cancelled: None,
        progress: None,
    };
    run(&request)
}

pub(crate) fn codes(report: &ProbeReport) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}
