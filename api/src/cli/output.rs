//! What verbs print, and what their failures say and exit with.
//!
//! Standard output is a contract: one document with `--json`, else the answer and nothing
//! more. Everything else goes to standard error. Names, reasons and generated texts come from
//! strangers, so nothing of theirs reaches a terminal before [`clean`] has taken the control
//! characters out of it.

use std::error::Error as _;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use verifier::policy::Reason;

use crate::config::ConfigError;
use crate::server::problem::Problem;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The request itself cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// What was to be done, and what the system said.
    #[error("{0}")]
    Io(String, #[source] io::Error),
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Core(#[from] registry_core::Error),
    /// The server's answer to a request that it did not fulfill.
    #[error("{}: {}", .0.title, .0.detail)]
    Server(Box<Problem>),
    #[error("cannot reach the server at {url}")]
    Transport { url: String, source: reqwest::Error },
    /// Something answered, but not as Weighhouse does.
    #[error("{0}")]
    Protocol(String),
    /// A file is not what it was when the verb began.
    #[error("{0}")]
    Changed(String),
    /// Another push was faster.
    #[error("{0}")]
    Moved(String),
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        // The crate's file functions name the path in the error itself.
        Self::Io("input or output failed".into(), error)
    }
}

/// Problems that say "no" to a request that was understood.
const REFUSALS: [&str; 5] = ["denied", "exists", "name-retired", "ref-moved", "tag-fixed"];

impl CliError {
    /// 1 when the answer is no, 2 when there is no answer.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Server(problem) if REFUSALS.contains(&problem.code.as_str()) => ExitCode::from(1),
            Self::Moved(_) => ExitCode::from(1),
            _ => ExitCode::from(2),
        }
    }

    /// Whether the server said that nothing is there.
    pub(super) fn is(&self, code: &str) -> bool {
        matches!(self, Self::Server(problem) if problem.code == code)
    }
}

/// Writes `document` to standard output.
pub(super) fn json(document: &impl Serialize) -> Result<ExitCode, CliError> {
    let mut text = serde_json::to_string_pretty(document).map_err(|error| CliError::Protocol(error.to_string()))?;
    text.push('\n');
    self::text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Says that something is done: `line` for a person, or `document`.
pub(super) fn done(line: &str, document: Option<&serde_json::Value>) -> Result<ExitCode, CliError> {
    if let Some(document) = document {
        return json(document);
    }
    note(line);
    Ok(ExitCode::SUCCESS)
}

/// Writes `text` to standard output as it is. A reader that has seen enough is not an error.
pub(super) fn text(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::Io("cannot write to standard output".into(), error))
        }
        _ => Ok(()),
    }
}

/// Writes a document to a file, else to standard output.
pub(super) fn deliver(document: &str, file: Option<&Path>) -> Result<(), CliError> {
    let Some(file) = file else { return text(document) };
    fs_err::write(file, document)?;
    note(&format!("wrote {}", file.display()));
    Ok(())
}

/// Writes a line for people to standard error. Where that is closed, nobody waits for it.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", clean(line));
}

/// Tells a person why the verb failed.
pub(super) fn report(error: &CliError) {
    let mut lines = vec![format!("error: {}", causes(error))];
    if let CliError::Server(problem) = error {
        lines.extend(problem.reasons.iter().flat_map(reason_lines));
        if problem.status >= 500 {
            lines.push(format!("  error id in the server's log: {}", problem.error_id));
        }
    }
    for line in lines {
        note(&line);
    }
}

/// The error and what lies under it, without repeating what was said already.
fn causes(error: &CliError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn reason_lines(reason: &Reason) -> Vec<String> {
    let mut lines = vec![format!("  {}: {}", reason.code, reason.msg)];
    lines.extend(reason.remedy.as_ref().map(|remedy| format!("    remedy: {remedy}")));
    lines
}

/// `text` without control characters and the marks that reorder what follows them, so that
/// no name or generated text can speak to the terminal.
pub(super) fn clean(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

/// Reads a file that is expected to have at most `limit` bytes.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let file = fs_err::File::open(path).map_err(|error| CliError::Io("cannot read a file".into(), error))?;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(CliError::Usage(format!("{} is larger than {limit} bytes", path.display())));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: &str) -> CliError {
        CliError::Server(Box::new(Problem {
            r#type: String::new(),
            title: "Title".into(),
            status: 403,
            code: code.into(),
            detail: "detail".into(),
            error_id: String::new(),
            path: None,
            current: None,
            reasons: Vec::new(),
        }))
    }

    #[test]
    fn only_an_answer_of_no_exits_with_1() {
        let code = |error: CliError| format!("{:?}", error.exit_code());
        let expected = |code: u8| format!("{:?}", ExitCode::from(code));
        for refusal in REFUSALS {
            assert_eq!(code(problem(refusal)), expected(1), "{refusal}");
        }
        for other in ["not-found", "unauthenticated", "decision-pending", "internal"] {
            assert_eq!(code(problem(other)), expected(2), "{other}");
        }
        assert_eq!(code(CliError::Usage(String::new())), expected(2));
    }

    #[test]
    fn causes_are_told_once() {
        let inner = io::Error::other("disk on fire");
        assert_eq!(causes(&CliError::Io("cannot write".into(), inner)), "cannot write: disk on fire");
        let repeated = io::Error::other("cannot write");
        assert_eq!(causes(&CliError::Io("cannot write".into(), repeated)), "cannot write");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\rc\u{202e}d"), "a [2Jb c d");
        assert_eq!(clean("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn file_over_the_limit_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"12345").unwrap();
        assert_eq!(read_small(file.path(), 5).unwrap(), b"12345");
        assert!(matches!(read_small(file.path(), 4), Err(CliError::Usage(_))));
    }
}
