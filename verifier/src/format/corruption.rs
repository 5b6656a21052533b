//! Weights that something on their way took for text.
//!
//! Transfers in text mode turn line feeds into pairs, and careless decoders replace what is no
//! UTF-8 by U+FFFD. Neither can be undone, and loaders report it as something else; so a
//! damaged file is told from a forged one by its traces.

use super::content::Content;
use super::found::Found;
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::read_at::ReadAt;

/// Bytes that are looked at.
const SAMPLE_BYTES: usize = 128 * 1024;
/// Traces below this number are chance.
const LEAST_TRACES: usize = 8;

/// Says what a file that breaks the rules of its format was passed through.
pub(crate) fn check(content: &Content<'_>, found: &mut Found) {
    let Some(sample) = sample(content.source) else { return };
    let cause = if sample.starts_with(b"\xff\xfe") || sample.starts_with(b"\xfe\xff") {
        "was written as UTF-16 text, as a shell's redirection can do"
    } else if replacements(&sample) >= LEAST_TRACES {
        "was decoded as text: bytes that are no UTF-8 were replaced"
    } else if has_text_line_ends(&sample) {
        "was transferred in text mode: line feeds became pairs of carriage return and line feed"
    } else {
        return;
    };
    let finding = Finding::new(
        "TEXT_MODE_CORRUPTION",
        Severity::High,
        format!("The file {cause}."),
        "transfer the file again in binary mode; the damage cannot be undone",
    );
    found.add(InspectionVerdict::Malformed, finding);
}

fn sample(source: &dyn ReadAt) -> Option<Vec<u8>> {
    let length = usize::try_from(source.size()).unwrap_or(SAMPLE_BYTES).min(SAMPLE_BYTES);
    let mut sample = vec![0; length];
    source.read_exact_at(0, &mut sample).ok()?;
    Some(sample)
}

fn replacements(sample: &[u8]) -> usize {
    sample.windows(3).filter(|window| *window == b"\xef\xbf\xbd").count()
}

/// In binary data one line feed of 256 follows a carriage return; after a transfer in text mode all do.
fn has_text_line_ends(sample: &[u8]) -> bool {
    let is_binary = sample.contains(&0);
    let pairs = sample.windows(2).filter(|window| *window == b"\r\n").count();
    let has_single = sample.windows(2).any(|window| window[1] == b'\n' && window[0] != b'\r');
    is_binary && pairs >= LEAST_TRACES && !has_single
}
