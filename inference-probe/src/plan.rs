//! The order of a probe: five levels, each more expensive than the one before.
//!
//! A level runs only when all earlier ones passed, so that a broken file costs little and
//! the reason in the report is the first thing that is wrong.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use verifier::evidence::{Conformance, Finding, ProbeLevel, Status};

use crate::checkpoint::{Checkpoint, adapter};
use crate::checks::embedding::Kind;
use crate::checks::run::Prepared;
use crate::checks::{self, ModelFile, Passed, Progress, Stop};
use crate::engine::encoder::{Family, Pooling};
use crate::engine::weights::Adapter;
use crate::engine::{self, conformance};
use crate::protocol::{self, Event, Level, Measurements, Message, Outcome};
use crate::sandbox::system;

/// Writes a probe's events as they happen.
pub(crate) struct Recorder<W> {
    /// Threads that scan weights tell of their progress at the same time.
    output: Mutex<W>,
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
#[derive(Clone, Copy)]
pub(crate) struct Model<'a> {
    pub(crate) files: &'a [ModelFile],
    /// Of the model that an adapter changes; empty for every other model.
    pub(crate) base: &'a [ModelFile],
}

/// Runs all levels over `model` and records the result.
pub(crate) fn execute<W: Write + Send>(model: Model<'_>, bounds: Bounds, recorder: &mut Recorder<W>) -> io::Result<()> {
    let measured = Measurements { threads: 1, ..Measurements::default() };
    let mut run = Run { recorder, bounds, measured };
    run.levels(model)?;
    let Run { recorder, measured, .. } = run;
    recorder.conclude(measured)
}

/// A probe under way.
struct Run<'r, W> {
    recorder: &'r mut Recorder<W>,
    bounds: Bounds,
    measured: Measurements,
}

/// Goes on with a level's value, or ends the plan where the level ended the probe.
macro_rules! passed {
    ($level:expr) => {
        match $level? {
            Some(value) => value,
            None => return Ok(()),
        }
    };
}

impl<W: Write + Send> Run<'_, W> {
    /// The levels in order; returns at the first that stops the probe.
    fn levels(&mut self, model: Model<'_>) -> io::Result<()> {
        if adapter::is_adapter(model.files) {
            return self.adapter(model);
        }
        let checkpoint = passed!(self.recorder.level(Level::L0, |_| checks::header::check(model.files)));
        self.begin(&checkpoint, checkpoint.header.parameters());
        match checkpoint.header.architecture().and_then(Family::find) {
            Some(family) => self.encoder(&checkpoint, family),
            None => match checks::embedding::pooling_of_decoder(&checkpoint.header) {
                Some(pooling) => self.embedding_decoder(&checkpoint, pooling),
                None => self.decoder(&checkpoint),
            },
        }
    }

    /// Chooses the number of threads, before the first of them starts.
    fn begin(&mut self, checkpoint: &Checkpoint<'_>, parameters: u64) {
        self.measured.threads = engine::threads(parameters, self.bounds.threads);
        self.measured.architecture = checkpoint.header.architecture().map(ToOwned::to_owned);
        system::set_engine_threads(self.measured.threads);
    }

    fn decoder(&mut self, checkpoint: &Checkpoint<'_>) -> io::Result<()> {
        let (memory, threads) = (self.bounds.memory_bytes, self.measured.threads);
        let structure = passed!(self.recorder.level(Level::L1, |_| checks::structure::check(checkpoint, memory)));
        self.measured.conformance = Some(structure.conformance);
        passed!(self.recorder.level(Level::L2, |progress| checks::weights::check(&[checkpoint], threads, progress)));
        let (vocabulary, context) = (structure.sizes.vocabulary_size, structure.sizes.context_length);
        let language =
            passed!(self.recorder.level(Level::L3, |_| checks::language::check(checkpoint, vocabulary, context)));
        let model = Prepared { checkpoint, structure: &structure, language: &language, adapter: None };
        self.generate(model)
    }

    /// An adapter is checked by itself, and its base with it.
    fn adapter(&mut self, model: Model<'_>) -> io::Result<()> {
        let opened = self.recorder.level(Level::L0, |_| checks::adapter::open(model.files, model.base));
        let (base, adapter) = passed!(opened);
        self.begin(&base, base.header.parameters());
        let (memory, threads) = (self.bounds.memory_bytes, self.measured.threads);
        let checked = self.recorder.level(Level::L1, |_| checks::adapter::check(&base, &adapter, memory));
        let (structure, deltas) = passed!(checked);
        self.measured.conformance = Some(structure.conformance);
        passed!(self.recorder.level(Level::L2, |progress| checks::weights::check(
            &[&base, &adapter],
            threads,
            progress
        )));
        let (vocabulary, context) = (structure.sizes.vocabulary_size, structure.sizes.context_length);
        let language = passed!(self.recorder.level(Level::L3, |_| checks::language::check(&base, vocabulary, context)));
        let adapter = Adapter { checkpoint: &adapter, deltas: &deltas };
        let model = Prepared { checkpoint: &base, structure: &structure, language: &language, adapter: Some(&adapter) };
        self.generate(model)
    }

    fn generate(&mut self, model: Prepared<'_>) -> io::Result<()> {
        let measured = &mut self.measured;
        // On a thread of the pool, so that handing work to the others needs no sleeping and waking.
        let run = |progress: Progress<'_>| rayon::scope(|_| checks::run::check(model, measured, progress));
        self.recorder.level(Level::L4, run).map(|_| ())
    }

    fn encoder(&mut self, checkpoint: &Checkpoint<'_>, family: &'static Family) -> io::Result<()> {
        let memory = self.bounds.memory_bytes;
        let checked = self.recorder.level(Level::L1, |_| checks::embedding::structure(checkpoint, family, memory));
        let sizes = passed!(checked);
        let unknown = conformance::unknown_names(checkpoint.model_type);
        self.measured.conformance =
            Some(if unknown.is_none() { Conformance::Verified } else { Conformance::Unverified });
        self.embed(checkpoint, Kind::Encoder(family, &sizes))
    }

    /// A model of the decoder's families that was trained to embed.
    fn embedding_decoder(&mut self, checkpoint: &Checkpoint<'_>, pooling: Pooling) -> io::Result<()> {
        let memory = self.bounds.memory_bytes;
        let structure = passed!(self.recorder.level(Level::L1, |_| checks::structure::check(checkpoint, memory)));
        self.measured.conformance = Some(structure.conformance);
        self.embed(checkpoint, Kind::Decoder(&structure, pooling))
    }

    fn embed(&mut self, checkpoint: &Checkpoint<'_>, kind: Kind<'_>) -> io::Result<()> {
        let (threads, vocabulary) = (self.measured.threads, kind.vocabulary());
        passed!(self.recorder.level(Level::L2, |progress| checks::weights::check(&[checkpoint], threads, progress)));
        let checked = self.recorder.level(Level::L3, |_| checks::embedding::tokenizer(checkpoint, vocabulary));
        let tokenizer = passed!(checked);
        let model = checks::embedding::Prepared { checkpoint, kind, tokenizer: &tokenizer };
        let measured = &mut self.measured;
        let run = |progress: Progress<'_>| rayon::scope(|_| checks::embedding::run(model, measured, progress));
        self.recorder.level(Level::L4, run).map(|_| ())
    }
}

impl<W: Write + Send> Recorder<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output: Mutex::new(output), levels: Vec::new(), findings: Vec::new() }
    }

    /// Writes one line.
    pub(crate) fn emit(&self, event: Event) -> io::Result<()> {
        write_line(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner), event)
    }

    /// Runs one level between its two lines; gives its value when the probe goes on.
    fn level<T>(
        &mut self,
        level: Level,
        work: impl FnOnce(Progress<'_>) -> Result<Passed<T>, Stop>,
    ) -> io::Result<Option<T>> {
        self.emit(Event::Stage { level })?;
        let started = Instant::now();
        let shown = AtomicU8::new(0);
        let result = work(&|done, whole| self.advance(&shown, done, whole));
        let milliseconds = protocol::milliseconds(started.elapsed());
        let (status, detail, findings, value) = match result {
            Ok(passed) => (passed.status(), Some(passed.detail), passed.warnings, Some(passed.value)),
            Err(stop) => {
                (stop.status, stop.findings.first().map(|finding| finding.detail.clone()), stop.findings, None)
            }
        };
        for finding in findings {
            self.emit(Event::Finding(finding.clone()))?;
            self.findings.push(finding);
        }
        let record = ProbeLevel { level: level.as_str().to_owned(), status, milliseconds, detail };
        self.emit(Event::Level(record.clone()))?;
        self.levels.push(record);
        Ok(value)
    }

    /// Tells of progress, each percent once. Output that fails fails again at the level's end.
    fn advance(&self, shown: &AtomicU8, done: u64, whole: u64) {
        let percent = u8::try_from(done.min(whole) * 100 / whole.max(1)).unwrap_or(100);
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a lower number is never written after a higher one.
        if shown.fetch_max(percent, Ordering::Relaxed) < percent {
            write_line(&mut *output, Event::Progress { percent }).ok();
        }
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

fn write_line(output: &mut impl Write, event: Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Message { v: protocol::VERSION, event })?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
