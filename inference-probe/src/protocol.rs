//! What the parent and the probe child say to each other.
//!
//! The parent writes one [`Assignment`] to the child's standard input and closes it. The
//! child answers with one JSON document per line on standard output. The child works on
//! hostile files and may be taken over by one, so the parent believes none of its lines
//! before `sandbox::stream` and `sandbox::transcript` have bounded and checked them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use verifier::evidence::{
    Adapter, Calibration, Conformance, Embedding, Finding, Generation, ProbeLevel, ProbeVerdict, Status,
};

/// Version of the line format; both sides are the same release, so another one is an error.
pub(crate) const VERSION: u32 = 1;

/// The child's work order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) v: u32,
    pub(crate) files: Vec<AssignedFile>,
    /// Of the model that an adapter changes.
    pub(crate) base: Vec<AssignedFile>,
    /// Resident memory the probe may take, in bytes.
    pub(crate) memory_limit_bytes: u64,
    pub(crate) wall_limit_seconds: u64,
    /// Most threads the engine may use.
    pub(crate) threads: u32,
}

/// A model file that the child inherits as an open, read-only descriptor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AssignedFile {
    pub(crate) name: String,
    pub(crate) descriptor: i32,
}

/// One step of a probe, from the header to generation. A level runs only when those before it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Level {
    /// The header is well formed.
    L0,
    /// Every tensor that the architecture needs is present with the right shape.
    L1,
    /// Every weight is a finite number.
    L2,
    /// The tokenizer and the chat template work.
    L3,
    /// The model runs, and its output looks like that of a trained language model.
    L4,
}

impl Level {
    pub(crate) const ALL: [Self; 5] = [Self::L0, Self::L1, Self::L2, Self::L3, Self::L4];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::L4 => "L4",
        }
    }

    /// What the level does, for messages about a probe that ended within it.
    pub(crate) const fn activity(self) -> &'static str {
        match self {
            Self::L0 => "reading the header",
            Self::L1 => "checking the tensors",
            Self::L2 => "scanning the weights",
            Self::L3 => "checking the tokenizer",
            Self::L4 => "running the model",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

/// One line of the child's output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) v: u32,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What a line tells. Order: `start`, then for each level `stage`, its `finding`s and `level`, then `result`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The child is confined and begins.
    Start(Start),
    /// A level begins.
    Stage { level: Level },
    /// How much of the open level is done; never less than said before.
    Progress { percent: u8 },
    /// Something was found in the level that is open.
    Finding(Finding),
    /// The open level ends.
    Level(ProbeLevel),
    /// The probe ends; the last line.
    Result(Box<Outcome>),
}

/// The child's first words: what runs, and how far it is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) engine: String,
    pub(crate) engine_version: String,
    pub(crate) device: String,
    pub(crate) confinement: Confinement,
}

/// How far the kernel enforces the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// `full`, `partial` or `none`.
    pub landlock: String,
    /// Whether the system call filter is installed.
    pub seccomp: bool,
    /// Names of resource limits that the kernel refused, such as `RLIMIT_AS`.
    pub missing_limits: Vec<String>,
}

impl Confinement {
    /// What the kernel does not enforce, in words; empty when the sandbox is whole.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let landlock = (self.landlock != "full").then(|| format!("landlock ({})", self.landlock));
        let seccomp = (!self.seccomp).then(|| "the system call filter".to_owned());
        landlock.into_iter().chain(seccomp).chain(self.missing_limits.iter().cloned()).collect()
    }
}

/// What was measured, and the verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) verdict: ProbeVerdict,
    pub(crate) reason: String,
    pub(crate) measured: Measurements,
}

/// Numbers and text from the engine; absent where the probe did not get that far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measurements {
    /// Threads the engine used.
    pub(crate) threads: u32,
    pub(crate) architecture: Option<String>,
    pub(crate) conformance: Option<Conformance>,
    pub(crate) load_milliseconds: Option<u64>,
    pub(crate) generation: Option<Generation>,
    pub(crate) calibration: Option<Calibration>,
    pub(crate) embedding: Option<Embedding>,
    pub(crate) adapter: Option<Adapter>,
}

/// The one rule from level results to a verdict, used by both sides.
///
/// Any level that did not pass decides; a probe that ended before its last level without
/// such a level is inconclusive.
pub(crate) fn verdict(levels: &[ProbeLevel]) -> ProbeVerdict {
    let any = |status: Status| levels.iter().any(|level| level.status == status);
    if any(Status::Failed) {
        ProbeVerdict::Failed
    } else if any(Status::Unsupported) {
        ProbeVerdict::Unsupported
    } else if levels.len() < Level::ALL.len() || any(Status::Inconclusive) {
        ProbeVerdict::Inconclusive
    } else if any(Status::Warned) {
        ProbeVerdict::PassedWithWarnings
    } else {
        ProbeVerdict::Passed
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(statuses: &[Status]) -> Vec<ProbeLevel> {
        let level = |(level, status): (Level, &Status)| ProbeLevel {
            level: level.as_str().to_owned(),
            status: *status,
            milliseconds: 1,
            detail: None,
        };
        Level::ALL.into_iter().zip(statuses).map(level).collect()
    }

    #[test]
    fn each_thing_that_the_kernel_does_not_enforce_is_a_gap() {
        let whole = Confinement { landlock: "full".to_owned(), seccomp: true, missing_limits: Vec::new() };
        assert!(whole.gaps().is_empty());
        let limits = vec!["RLIMIT_AS".to_owned()];
        let weak = Confinement { landlock: "partial".to_owned(), seccomp: false, missing_limits: limits };
        assert_eq!(weak.gaps(), ["landlock (partial)", "the system call filter", "RLIMIT_AS"]);
    }

    #[test]
    fn all_levels_passed_is_passed_and_one_warning_is_passed_with_warnings() {
        assert_eq!(verdict(&levels(&[Status::Passed; 5])), ProbeVerdict::Passed);
        let mut statuses = [Status::Passed; 5];
        statuses[3] = Status::Warned;
        assert_eq!(verdict(&levels(&statuses)), ProbeVerdict::PassedWithWarnings);
    }

    #[test]
    fn the_level_that_did_not_pass_decides() {
        for (status, expected) in [
            (Status::Failed, ProbeVerdict::Failed),
            (Status::Unsupported, ProbeVerdict::Unsupported),
            (Status::Inconclusive, ProbeVerdict::Inconclusive),
        ] {
            assert_eq!(verdict(&levels(&[Status::Passed, status])), expected);
        }
    }

    #[test]
    fn a_probe_that_ended_early_is_inconclusive() {
        assert_eq!(verdict(&levels(&[Status::Passed; 4])), ProbeVerdict::Inconclusive);
        assert_eq!(verdict(&[]), ProbeVerdict::Inconclusive);
    }
}
