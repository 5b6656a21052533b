//! The order of a probe: five levels, each more expensive than the one before.
//!
//! A level runs only when all earlier ones passed, so that a broken file costs little and
//! the reason in the report is the first thing that is wrong.

use std::io::{self, Write};
use std::time::Instant;

use verifier::evidence::{Finding, ProbeLevel, Status};

use crate::checks::{self, ModelFile, Passed, Stop};
use crate::engine;
use crate::protocol::{self, Event, Level, Measurements, Message, Outcome};
use crate::sandbox::system;

/// Writes a probe's events as they happen.
pub(crate) struct Recorder<W> {
    output: W,
    levels: Vec<ProbeLevel>,
    findings: Vec<Finding>,
}

/// What bounds the plan itself; everything else is bounded by the sandbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes: u64,
    pub(crate) threads: u32,
}

/// The files of a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model<'a> {
    pub(crate) files: &'a [ModelFile],
    /// Of the model that an adapter changes; empty for every other model.
    #[expect(dead_code, reason = "adapters are loaded in the next step")]
    pub(crate) base: &'a [ModelFile],
}

/// Runs all levels over `model` and records the result.
pub(crate) fn execute<W: Write>(model: Model<'_>, bounds: Bounds, recorder: &mut Recorder<W>) -> io::Result<()> {
    let mut measured = Measurements { threads: 1, ..Measurements::default() };
    run_levels(model.files, bounds, recorder, &mut measured)?;
    recorder.conclude(measured)
}

/// The levels in order; returns early, without a value, at the first that stops the probe.
fn run_levels<W: Write>(
    files: &[ModelFile],
    bounds: Bounds,
    recorder: &mut Recorder<W>,
    measured: &mut Measurements,
) -> io::Result<Option<()>> {
    let Some((file, header)) = recorder.level(Level::L0, || checks::header::check(files))? else { return Ok(None) };
    measured.threads = engine::threads(header.parameters(), bounds.threads);
    system::set_engine_threads(measured.threads);
    let (name, reader, threads) = (file.name.as_str(), &file.reader, measured.threads);
    let structure = recorder.level(Level::L1, || checks::structure::check(name, &header, bounds.memory_bytes))?;
    let Some(structure) = structure else { return Ok(None) };
    let weights = recorder.level(Level::L2, || checks::weights::check(name, &header, reader, threads, &|_, _| ()))?;
    let Some(()) = weights else { return Ok(None) };
    let Some(language) = recorder.level(Level::L3, || checks::language::check(name, &header))? else { return Ok(None) };
    // On a thread of the pool, so that handing work to the others needs no sleeping and waking.
    let run = || rayon::scope(|_| checks::run::check(name, &header, reader, &structure, &language, measured));
    recorder.level(Level::L4, run)
}

impl<W: Write> Recorder<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output, levels: Vec::new(), findings: Vec::new() }
    }

    /// Writes one line.
    pub(crate) fn emit(&mut self, event: Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Message { v: protocol::VERSION, event })?;
        line.push(b'\n');
        self.output.write_all(&line)?;
        self.output.flush()
    }

    /// Runs one level between its two lines; gives its value when the probe goes on.
    fn level<T>(&mut self, level: Level, work: impl FnOnce() -> Result<Passed<T>, Stop>) -> io::Result<Option<T>> {
        self.emit(Event::Stage { level })?;
        let started = Instant::now();
        let (status, detail, findings, value) = match work() {
            Ok(passed) => (passed.status(), Some(passed.detail), passed.warnings, Some(passed.value)),
            Err(stop) => {
                (stop.status, stop.findings.first().map(|finding| finding.detail.clone()), stop.findings, None)
            }
        };
        let milliseconds = protocol::milliseconds(started.elapsed());
        for finding in findings {
            self.emit(Event::Finding(finding.clone()))?;
            self.findings.push(finding);
        }
        let record = ProbeLevel { level: level.as_str().to_owned(), status, milliseconds, detail };
        self.emit(Event::Level(record.clone()))?;
        self.levels.push(record);
        Ok(value)
    }

    fn conclude(&mut self, measured: Measurements) -> io::Result<()> {
        let outcome = Outcome { verdict: protocol::verdict(&self.levels), reason: self.reason(), measured };
        self.emit(Event::Result(Box::new(outcome)))
    }

    /// One sentence: what stopped the probe, or that nothing did.
    fn reason(&self) -> String {
        let last = self.levels.last();
        if let Some(stopped) = last.filter(|level| !matches!(level.status, Status::Passed | Status::Warned)) {
            return stopped.detail.clone().unwrap_or_default();
        }
        let warned = self.levels.iter().any(|level| level.status == Status::Warned);
        let warning = self.findings.iter().max_by_key(|finding| finding.severity).filter(|_| warned);
        warning.map_or_else(
            || "the model loads, predicts plain text and generates the same answer twice".to_owned(),
            |finding| format!("the model runs, but {}", finding.detail),
        )
    }
}
