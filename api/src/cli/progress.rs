//! How far something long has come: a bar on a terminal, else a line now and then, on
//! standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::units::bytes;

const REPAINT: Duration = Duration::from_millis(100);
/// Pause between lines where nobody looks at a terminal.
const LINE_PAUSE: Duration = Duration::from_secs(10);
const BAR_WIDTH: u64 = 30;
/// Goes to the start of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

/// A running display of bytes done.
#[derive(Debug)]
pub(super) struct Progress {
    state: Arc<State>,
    painter: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    label: &'static str,
    total: u64,
    done: AtomicU64,
    ended: AtomicBool,
    started: Instant,
}

impl Progress {
    /// Shows `label` and how much of `total` bytes is done, until [`Progress::finish`].
    pub(super) fn start(label: &'static str, total: u64) -> Self {
        let state =
            State { label, total, done: AtomicU64::new(0), ended: AtomicBool::new(false), started: Instant::now() };
        let state = Arc::new(state);
        let painted = state.clone();
        let painter = std::thread::Builder::new().name("progress".into()).spawn(move || painted.paint());
        // Without a painter the work goes on unseen.
        Self { state, painter: painter.ok() }
    }

    /// `count` bytes more are done.
    pub(super) fn add(&self, count: u64) {
        self.state.done.fetch_add(count, Ordering::Relaxed);
    }

    /// `count` bytes have to be done again.
    pub(super) fn take_back(&self, count: u64) {
        self.state.done.fetch_sub(count, Ordering::Relaxed);
    }

    /// Ends the display and removes the bar.
    pub(super) fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        if let Some(painter) = self.painter.take() {
            painter.thread().unpark();
            let _ = painter.join();
        }
    }
}

impl State {
    fn paint(&self) {
        let is_terminal = io::stderr().is_terminal();
        let pause = if is_terminal { REPAINT } else { LINE_PAUSE };
        let mut painted = false;
        loop {
            std::thread::park_timeout(pause);
            if self.ended.load(Ordering::Acquire) {
                break;
            }
            painted = true;
            let (before, after) = if is_terminal { (CLEAR_LINE, "") } else { ("", "\n") };
            show(&format!("{before}{}{after}", self.line(is_terminal)));
        }
        if painted && is_terminal {
            show(CLEAR_LINE);
        }
    }

    fn line(&self, with_bar: bool) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let elapsed = self.started.elapsed().as_millis().max(1);
        let rate = u64::try_from(u128::from(done) * 1000 / elapsed).unwrap_or(u64::MAX);
        let amounts = format!("{} of {}, {}/s", bytes(done), bytes(self.total), bytes(rate));
        let percent = share(done, self.total, 100);
        if with_bar {
            return format!("{} {} {percent:3} %  {amounts}", self.label, bar(done, self.total));
        }
        format!("{}: {percent} % ({amounts})", self.label)
    }
}

/// One line on a terminal that tells what is going on elsewhere; elsewhere than on a terminal, nothing.
#[derive(Debug, Default)]
pub(super) struct StatusLine {
    shown: String,
}

impl StatusLine {
    /// Shows `label` and a bar of `percent`.
    pub(super) fn show(&mut self, label: &str, percent: u8) {
        let line = format!("{label} {} {percent:3} %", bar(percent.into(), 100));
        if line != self.shown && io::stderr().is_terminal() {
            show(&format!("{CLEAR_LINE}{line}"));
            self.shown = line;
        }
    }

    /// Makes room for other lines.
    pub(super) fn clear(&mut self) {
        if !std::mem::take(&mut self.shown).is_empty() {
            show(CLEAR_LINE);
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Prints on standard error; a display that nobody reads must not stop the work.
fn show(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn bar(done: u64, total: u64) -> String {
    let filled = usize::try_from(share(done, total, BAR_WIDTH)).unwrap_or(0);
    let width = usize::try_from(BAR_WIDTH).unwrap_or(0);
    format!("[{:-<width$}]", "#".repeat(filled))
}

/// `done` of `total` in `parts`, rounded down and never above `parts`.
fn share(done: u64, total: u64, parts: u64) -> u64 {
    match total {
        0 => parts,
        total => u64::try_from(u128::from(done) * u128::from(parts) / u128::from(total)).unwrap_or(parts).min(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_fills_from_empty_to_full() {
        assert_eq!(bar(0, 10), format!("[{}]", "-".repeat(30)));
        assert_eq!(bar(5, 10), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!(bar(99, 10), format!("[{}]", "#".repeat(30)));
        assert_eq!(bar(0, 0), format!("[{}]", "#".repeat(30)));
    }

    #[test]
    fn line_tells_share_and_amounts() {
        let progress = Progress::start("sending", 4_000_000);
        progress.add(3_000_000);
        progress.take_back(2_000_000);
        let line = progress.state.line(false);
        assert!(line.starts_with("sending: 25 % (1.0 MB of 4.0 MB, "), "{line}");
    }
}
