//! What the child has said so far, checked line by line.
//!
//! A line is believed only in its place: `start` first and once, levels in order, findings
//! inside a level, `result` last and in agreement with the levels. Text is bounded and
//! stripped of control characters, because it ends on terminals, pages and in logs.

use std::time::Instant;

use verifier::evidence::{Finding, ProbeLevel, ProbeVerdict, Status};

use crate::protocol::{self, Event, Level, Measurements, Message, Outcome, Start};

const MAX_FINDINGS: usize = 256;
/// Longest text in findings, reasons and details, in characters.
const MAX_TEXT_CHARACTERS: usize = 2_000;
/// Longest prompt or generated text, in characters.
const MAX_GENERATION_CHARACTERS: usize = 64_000;
const MAX_CODE_CHARACTERS: usize = 64;
const MAX_MISSING_LIMITS: usize = 16;
const MAX_TOP_LOGITS: usize = 5;
const MAX_SAMPLE_LOGITS: usize = 16;

/// The checked sequence of the child's lines.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    pub(super) start: Option<Start>,
    pub(super) levels: Vec<ProbeLevel>,
    pub(super) findings: Vec<Finding>,
    pub(super) measured: Measurements,
    /// The verdict and its reason, once the child has ended the probe in good order.
    pub(super) conclusion: Option<(ProbeVerdict, String)>,
    open: Option<(Level, Instant)>,
    /// Of the open level.
    percent: u8,
}

impl Transcript {
    /// Adds one line, or says what is wrong with it.
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let message: Message = serde_json::from_slice(line).map_err(|_| "a line is not a known message")?;
        if message.v != protocol::VERSION {
            return Err("a line has another version");
        }
        if self.conclusion.is_some() {
            return Err("a line follows the result");
        }
        match message.event {
            Event::Start(start) => self.begin(start),
            Event::Stage { level } => self.open_level(level),
            Event::Progress { percent } => self.advance(percent),
            Event::Finding(finding) => self.add_finding(finding),
            Event::Level(level) => self.close_level(level),
            Event::Result(outcome) => self.conclude(*outcome),
        }
    }

    fn open_level(&mut self, level: Level) -> Result<(), &'static str> {
        let expected = Level::ALL.get(self.levels.len());
        if self.start.is_none() || self.open.is_some() || expected != Some(&level) {
            return Err("a level begins out of order");
        }
        self.open = Some((level, Instant::now()));
        self.percent = 0;
        Ok(())
    }

    fn advance(&mut self, percent: u8) -> Result<(), &'static str> {
        if self.open.is_none() || percent > 100 || percent < self.percent {
            return Err("progress is misplaced or goes back");
        }
        self.percent = percent;
        Ok(())
    }

    /// The level that is open and how much of it is done, in percent.
    pub(super) fn progress(&self) -> Option<(Level, u8)> {
        self.open.map(|(level, _)| (level, self.percent))
    }

    fn begin(&mut self, start: Start) -> Result<(), &'static str> {
        if self.start.is_some() {
            return Err("the probe starts twice");
        }
        if !matches!(start.confinement.landlock.as_str(), "full" | "partial" | "none") {
            return Err("the confinement is not one of the known words");
        }
        let mut confinement = start.confinement;
        confinement.missing_limits.truncate(MAX_MISSING_LIMITS);
        for name in &mut confinement.missing_limits {
            *name = clean(name, MAX_CODE_CHARACTERS);
        }
        self.start = Some(Start {
            engine: clean(&start.engine, MAX_CODE_CHARACTERS),
            engine_version: clean(&start.engine_version, MAX_CODE_CHARACTERS),
            device: clean(&start.device, MAX_CODE_CHARACTERS),
            confinement,
        });
        Ok(())
    }

    fn add_finding(&mut self, finding: Finding) -> Result<(), &'static str> {
        let code_is_name = finding.code.len() <= MAX_CODE_CHARACTERS
            && finding.code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        if self.open.is_none() || !code_is_name || self.findings.len() == MAX_FINDINGS {
            return Err("a finding is misplaced, misnamed or one too many");
        }
        self.findings.push(Finding {
            path: finding.path.map(|path| clean(&path, MAX_TEXT_CHARACTERS)),
            detail: clean(&finding.detail, MAX_TEXT_CHARACTERS),
            remedy: clean(&finding.remedy, MAX_TEXT_CHARACTERS),
            ..finding
        });
        Ok(())
    }

    fn close_level(&mut self, level: ProbeLevel) -> Result<(), &'static str> {
        let opened = self.open.take().map(|(opened, _)| opened);
        if opened.is_none() || opened != Level::parse(&level.level) {
            return Err("a level ends that is not open");
        }
        let judged = [Status::Passed, Status::Warned, Status::Failed, Status::Unsupported, Status::Inconclusive];
        if !judged.contains(&level.status) {
            return Err("a level has no result");
        }
        let detail = level.detail.map(|detail| clean(&detail, MAX_TEXT_CHARACTERS));
        self.levels.push(ProbeLevel { detail, ..level });
        Ok(())
    }

    fn conclude(&mut self, outcome: Outcome) -> Result<(), &'static str> {
        if self.start.is_none() || self.open.is_some() || outcome.verdict != protocol::verdict(&self.levels) {
            return Err("the result does not follow from the levels");
        }
        self.measured = checked(outcome.measured)?;
        self.conclusion = Some((outcome.verdict, clean(&outcome.reason, MAX_TEXT_CHARACTERS)));
        Ok(())
    }

    /// Ends the level that was open when the child was stopped or died, and names it.
    pub(super) fn interrupt(&mut self, why: &str) -> Option<Level> {
        let (level, since) = self.open.take()?;
        self.levels.push(ProbeLevel {
            level: level.as_str().to_owned(),
            status: Status::Inconclusive,
            milliseconds: protocol::milliseconds(since.elapsed()),
            detail: Some(why.to_owned()),
        });
        Some(level)
    }
}

fn checked(mut measured: Measurements) -> Result<Measurements, &'static str> {
    if let Some(generation) = &mut measured.generation {
        if !is_sha256(&generation.token_digest) {
            return Err("the token digest is not a SHA-256");
        }
        generation.prompt = clean(&generation.prompt, MAX_GENERATION_CHARACTERS);
        generation.text = clean(&generation.text, MAX_GENERATION_CHARACTERS);
    }
    if let Some(calibration) = &measured.calibration {
        let sample = calibration.fingerprint.as_ref().map_or(0, |fingerprint| fingerprint.sample.len());
        if calibration.top_logits.len() > MAX_TOP_LOGITS || sample > MAX_SAMPLE_LOGITS {
            return Err("more logits than asked for");
        }
        if calibration.fingerprint.as_ref().is_some_and(|fingerprint| !is_sha256(&fingerprint.digest)) {
            return Err("the fingerprint is not a SHA-256");
        }
    }
    measured.architecture = measured.architecture.map(|name| clean(&name, MAX_CODE_CHARACTERS));
    if let Some(embedding) = &mut measured.embedding {
        embedding.pooling = clean(&embedding.pooling, MAX_CODE_CHARACTERS);
    }
    Ok(measured)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// At most `limit` characters of `text`, with characters that steer terminals or reorder text replaced.
pub(super) fn clean(text: &str, limit: usize) -> String {
    let safe = |character: char| if steers_display(character) { char::REPLACEMENT_CHARACTER } else { character };
    text.chars().take(limit).map(safe).collect()
}

fn steers_display(character: char) -> bool {
    let layout = matches!(character, '\n' | '\t');
    let reorders = matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    (character.is_control() && !layout) || reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"v":1,"event":"start","engine":"e","engine_version":"1","device":"cpu","confinement":{"landlock":"full","seccomp":true,"missing_limits":[]}}"#;
    const RESULT: &str = r#"{"v":1,"event":"result","verdict":"failed","reason":"no","measured":{"threads":1}}"#;

    fn level(name: &str, status: &str) -> [String; 2] {
        [
            format!(r#"{{"v":1,"event":"stage","level":"{name}"}}"#),
            format!(r#"{{"v":1,"event":"level","level":"{name}","status":"{status}","milliseconds":1}}"#),
        ]
    }

    fn read(lines: &[&str]) -> Result<Transcript, &'static str> {
        let mut transcript = Transcript::default();
        lines.iter().try_for_each(|line| transcript.add(line.as_bytes()))?;
        Ok(transcript)
    }

    #[test]
    fn an_orderly_transcript_gives_its_verdict() {
        let [stage, end] = level("L0", "failed");
        let transcript = read(&[START, &stage, &end, RESULT]).unwrap();
        assert_eq!(transcript.conclusion, Some((ProbeVerdict::Failed, "no".to_owned())));
    }

    #[test]
    fn a_verdict_that_the_levels_do_not_carry_is_refused() {
        let [stage, end] = level("L0", "passed");
        let passed = RESULT.replace("failed", "passed");
        assert!(read(&[START, &stage, &end, &passed]).is_err());
        assert!(read(&[START, &stage, &end, RESULT]).is_err());
    }

    #[test]
    fn lines_out_of_order_are_refused() {
        let [stage0, end0] = level("L0", "passed");
        let [stage1, end1] = level("L1", "passed");
        for lines in [
            vec![stage0.as_str()],
            vec![START, START],
            vec![START, stage1.as_str()],
            vec![START, stage0.as_str(), end1.as_str()],
            vec![START, end0.as_str()],
            vec![START, stage0.as_str(), RESULT],
        ] {
            assert!(read(&lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn lines_that_are_no_messages_are_refused() {
        for line in ["", "{}", "not json", r#"{"v":1,"event":"exec"}"#, r#"{"v":2,"event":"stage","level":"L0"}"#] {
            assert!(read(&[line]).is_err(), "{line}");
        }
        let status = level("L0", "missing");
        assert!(read(&[START, &status[0], &status[1]]).is_err());
    }

    #[test]
    fn a_finding_with_a_code_that_is_no_name_is_refused() {
        let finding = |code: &str| {
            format!(
                r#"{{"v":1,"event":"finding","code":"{code}","severity":"low","detail":"d\u001b[2J","remedy":"r"}}"#
            )
        };
        let [stage, _] = level("L0", "passed");
        assert!(read(&[START, &stage, &finding("<script>")]).is_err());
        let transcript = read(&[START, &stage, &finding("GOOD_NAME")]).unwrap();
        assert_eq!(transcript.findings[0].detail, "d\u{FFFD}[2J");
    }

    #[test]
    fn the_open_level_becomes_inconclusive_when_the_child_is_stopped() {
        let [stage, _] = level("L0", "passed");
        let mut transcript = read(&[START, &stage]).unwrap();
        assert_eq!(transcript.interrupt("stopped"), Some(Level::L0));
        assert_eq!(transcript.levels[0].status, Status::Inconclusive);
    }

    #[test]
    fn text_is_bounded_and_cannot_steer_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\u{202E}c\n", 100), "a\u{FFFD}[31mb\u{FFFD}c\n");
        assert_eq!(clean("abcdef", 3), "abc");
    }
}
