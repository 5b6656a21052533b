//! Bounded reading of what the child prints.
//!
//! A child that a file has taken over may print without end or without a line feed. Readers
//! run on threads of their own, so that the watching parent never blocks on a pipe.

use std::io::Read;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// Longest line on standard output, in bytes.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;
/// Most bytes on standard output over the whole probe.
pub(super) const MAX_OUTPUT_BYTES: usize = 8 << 20;
/// How much of standard error is kept for messages.
pub(super) const MAX_ERROR_BYTES: usize = 64 << 10;

const CHUNK_BYTES: usize = 16 << 10;
/// Lines that may wait for the parent before the reader stops reading.
const WAITING_LINES: usize = 16;

/// One thing seen on standard output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    Line(Vec<u8>),
    /// A limit was exceeded; nothing more is read.
    Flood(&'static str),
    End,
}

/// Reads lines from `source` on a thread until it ends or floods.
pub(super) fn lines(source: impl Read + Send + 'static) -> Receiver<Output> {
    let (sender, receiver) = mpsc::sync_channel(WAITING_LINES);
    thread::spawn(move || {
        let last = forward_lines(source, &sender);
        // The parent may have stopped listening, which is its right.
        sender.send(last).ok();
    });
    receiver
}

fn forward_lines(mut source: impl Read, sender: &SyncSender<Output>) -> Output {
    let mut pending = Vec::new();
    let mut total = 0;
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let read = match source.read(&mut chunk) {
            Ok(0) | Err(_) => return Output::End,
            Ok(read) => read,
        };
        total += read;
        if total > MAX_OUTPUT_BYTES {
            return Output::Flood("the worker printed more than 8 MiB");
        }
        pending.extend_from_slice(&chunk[..read]);
        if !send_complete_lines(&mut pending, sender) {
            return Output::End;
        }
        if pending.len() > MAX_LINE_BYTES {
            return Output::Flood("the worker printed a line of more than 1 MiB");
        }
    }
}

/// Sends each line that ends in `pending`; false when nobody listens.
fn send_complete_lines(pending: &mut Vec<u8>, sender: &SyncSender<Output>) -> bool {
    while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
        let rest = pending.split_off(end + 1);
        let mut line = std::mem::replace(pending, rest);
        line.pop();
        let output = if line.len() > MAX_LINE_BYTES {
            Output::Flood("the worker printed a line of more than 1 MiB")
        } else {
            Output::Line(line)
        };
        if sender.send(output).is_err() {
            return false;
        }
    }
    true
}

/// Keeps the first [`MAX_ERROR_BYTES`] of `source` and discards the rest; the text arrives when `source` ends.
pub(super) fn head(mut source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; CHUNK_BYTES];
        while let Ok(read @ 1..) = source.read(&mut chunk) {
            let room = MAX_ERROR_BYTES - kept.len();
            kept.extend_from_slice(&chunk[..read.min(room)]);
        }
        // The parent may have stopped listening, which is its right.
        sender.send(String::from_utf8_lossy(&kept).into_owned()).ok();
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: Vec<u8>) -> Vec<Output> {
        lines(std::io::Cursor::new(bytes)).into_iter().collect()
    }

    #[test]
    fn lines_arrive_in_order_and_an_unfinished_one_is_dropped() {
        let outputs = all(b"one\ntwo\nunfinished".to_vec());
        assert_eq!(outputs, [Output::Line(b"one".to_vec()), Output::Line(b"two".to_vec()), Output::End]);
    }

    #[test]
    fn a_line_without_end_is_a_flood() {
        let outputs = all(vec![b'x'; MAX_LINE_BYTES + CHUNK_BYTES]);
        assert!(matches!(outputs[..], [Output::Flood(_)]), "{outputs:?}");
    }

    #[test]
    fn many_lines_are_a_flood_once_they_exceed_the_total() {
        let line = [vec![b'x'; 1 << 16], vec![b'\n']].concat();
        let outputs = all(line.repeat(200));
        assert!(matches!(outputs.last(), Some(Output::Flood(_))));
        assert!(outputs.len() < 140, "{}", outputs.len());
    }

    #[test]
    fn only_the_head_of_standard_error_is_kept() {
        let kept = head(std::io::Cursor::new(vec![b'e'; MAX_ERROR_BYTES * 3])).recv().unwrap();
        assert_eq!(kept.len(), MAX_ERROR_BYTES);
    }
}
