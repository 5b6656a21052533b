//! Whether the same weights are still computed to the same numbers.
//!
//! An engine, a driver or a machine that changes what comes out of unchanged weights changes the
//! product without anybody having released one. A report is compared with the last one over the
//! same files; what is compared allows for rounding, because other instruction sets and thread
//! counts add numbers in another order.

use super::{Calibration, Finding, ProbeReport, Severity};

/// How far the perplexity may move, as a share of what it was.
pub const PERPLEXITY_TOLERANCE: f64 = 0.05;
/// How far one logit may move. The reference engine and llama.cpp differ by less over the same weights.
pub const LOGIT_TOLERANCE: f32 = 0.3;
/// The finding for values beyond the tolerances.
pub const FINGERPRINT_DRIFT: &str = "FINGERPRINT_DRIFT";
/// The finding for another digest of values within them.
pub const FINGERPRINT_CHANGED: &str = "FINGERPRINT_CHANGED";

/// Compares a report with an earlier one over the same files; none where nothing has moved or where
/// one of the two did not get as far as the calibration.
///
/// `recorded_at` is when the earlier one was stored, RFC 3339.
pub fn compare(report: &ProbeReport, earlier: &ProbeReport, recorded_at: &str) -> Option<Finding> {
    let (new, old) = (report.calibration.as_ref()?, earlier.calibration.as_ref()?);
    if !is_comparable(new, old) {
        return None;
    }
    let moved = moved(new, old);
    if moved.is_empty() {
        return changed(report, new, earlier, old, recorded_at);
    }
    let detail = format!(
        "the same weights gave other numbers in the report of {recorded_at}: {}; {}",
        moved.join(", "),
        between(report, earlier)
    );
    let remedy = "Find out what changed between the two runs (engine, device, threads, memory) and probe again; do not \
                  rely on answers of this engine before it is known.";
    Some(Finding::new(FINGERPRINT_DRIFT, Severity::Medium, detail, remedy))
}

/// Whether a report can be compared with an earlier one at all: both read the same text to its end.
pub fn is_comparable(new: &Calibration, old: &Calibration) -> bool {
    new.tokens == old.tokens
}

/// What is beyond the tolerances, in words.
fn moved(new: &Calibration, old: &Calibration) -> Vec<String> {
    let mut moved = Vec::new();
    let shift = (new.perplexity / old.perplexity - 1.0).abs();
    // A number that is none is beyond every tolerance.
    if shift.is_nan() || shift > PERPLEXITY_TOLERANCE {
        moved.push(format!("the perplexity is {:.3} and was {:.3}", new.perplexity, old.perplexity));
    }
    let top = largest(top_differences(&new.top_logits, &old.top_logits));
    if top > LOGIT_TOLERANCE {
        moved.push(format!("a logit of the five most likely tokens moved by {top:.2}"));
    }
    let sampled = largest(sample_differences(new, old));
    if sampled > LOGIT_TOLERANCE {
        moved.push(format!("a logit of the sample moved by {sampled:.2}"));
    }
    moved
}

/// How far each of the new top tokens moved. One that was not among the old ones had at most the
/// lowest logit of these, so it moved at least by the difference.
fn top_differences(new: &[(u32, f32)], old: &[(u32, f32)]) -> Vec<f32> {
    let lowest = old.iter().map(|(_, logit)| *logit).reduce(f32::min);
    let known = |token: u32| old.iter().find(|(other, _)| *other == token).map(|(_, logit)| *logit);
    let difference = |(token, logit): &(u32, f32)| match known(*token) {
        Some(before) => (logit - before).abs(),
        None => lowest.map_or(0.0, |lowest| (logit - lowest).max(0.0)),
    };
    new.iter().map(difference).collect()
}

fn sample_differences(new: &Calibration, old: &Calibration) -> Vec<f32> {
    let (Some(new), Some(old)) = (&new.fingerprint, &old.fingerprint) else { return Vec::new() };
    // Samples of another length stand for other tokens.
    if new.sample.len() != old.sample.len() {
        return Vec::new();
    }
    new.sample.iter().zip(&old.sample).map(|(new, old)| (new - old).abs()).collect()
}

/// The largest difference; infinity where one is no number.
fn largest(differences: Vec<f32>) -> f32 {
    let worse = |worst: f32, next: f32| if next.is_nan() { f32::INFINITY } else { worst.max(next) };
    differences.into_iter().fold(0.0, worse)
}

/// Another digest on the very same engine, device and threads. Elsewhere it says nothing.
fn changed(
    report: &ProbeReport,
    new: &Calibration,
    earlier: &ProbeReport,
    old: &Calibration,
    recorded_at: &str,
) -> Option<Finding> {
    let (new, old) = (new.fingerprint.as_ref()?, old.fingerprint.as_ref()?);
    if new.digest == old.digest || place(report) != place(earlier) || report.threads != earlier.threads {
        return None;
    }
    let detail = format!("the fingerprint differs from the one in the report of {recorded_at}, within the tolerances");
    let remedy = "Nothing has to be done; another processor adds numbers in another order.";
    Some(Finding::new(FINGERPRINT_CHANGED, Severity::Info, detail, remedy))
}

fn between(report: &ProbeReport, earlier: &ProbeReport) -> String {
    let (now, then) = (place(report), place(earlier));
    if now == then { format!("both ran on {now}") } else { format!("it ran on {now}, and on {then} then") }
}

/// What computed a report.
fn place(report: &ProbeReport) -> String {
    format!("{} {} ({})", report.engine, report.engine_version, report.device)
}

#[cfg(test)]
mod tests {
    use super::super::{Fingerprint, ProbeVerdict, SCHEMA_VERSION};
    use super::*;

    const THEN: &str = "2026-10-01T00:00:00Z";

    fn report() -> ProbeReport {
        ProbeReport {
            schema_version: SCHEMA_VERSION,
            verdict: ProbeVerdict::Passed,
            reason: "it runs".into(),
            engine: "candle".into(),
            engine_version: "1".into(),
            device: "cpu".into(),
            threads: 2,
            architecture: None,
            conformance: None,
            levels: Vec::new(),
            load_milliseconds: None,
            peak_memory_bytes: None,
            generation: None,
            calibration: Some(Calibration {
                tokens: 60,
                perplexity: 20.0,
                mean_entropy: 2.0,
                top_logits: vec![(1, 10.0), (2, 9.0), (3, 8.0), (4, 7.0), (5, 6.0)],
                fingerprint: Some(Fingerprint { digest: "a".repeat(64), sample: vec![1.0, -2.0, 3.0] }),
            }),
            embedding: None,
            adapter: None,
            sandbox: None,
            findings: Vec::new(),
        }
    }

    fn changed_by(change: impl FnOnce(&mut Calibration)) -> ProbeReport {
        let mut report = report();
        change(report.calibration.as_mut().unwrap());
        report
    }

    #[track_caller]
    fn drifts(report: &ProbeReport) -> String {
        let finding = compare(report, &self::report(), THEN).unwrap();
        assert_eq!((finding.code.as_str(), finding.severity), (FINGERPRINT_DRIFT, Severity::Medium));
        finding.detail
    }

    #[test]
    fn same_numbers_say_nothing() {
        assert_eq!(compare(&report(), &report(), THEN), None);
    }

    #[test]
    fn perplexity_may_move_by_a_twentieth_and_no_further() {
        assert_eq!(compare(&changed_by(|found| found.perplexity = 20.9), &report(), THEN), None);
        assert!(drifts(&changed_by(|found| found.perplexity = 21.1)).contains("21.100 and was 20.000"));
        drifts(&changed_by(|found| found.perplexity = 18.9));
        drifts(&changed_by(|found| found.perplexity = f64::NAN));
    }

    #[test]
    fn logits_may_move_by_three_tenths_and_no_further() {
        assert_eq!(compare(&changed_by(|found| found.top_logits[0].1 = 10.25), &report(), THEN), None);
        assert!(drifts(&changed_by(|found| found.top_logits[0].1 = 9.5)).contains("moved by 0.50"));
        let sampled = |value: f32| {
            changed_by(|found| {
                found.fingerprint = Some(Fingerprint { digest: "b".repeat(64), sample: vec![1.0, value, 3.0] });
            })
        };
        assert!(drifts(&sampled(-1.5)).contains("a logit of the sample"));
        drifts(&sampled(f32::NAN));
    }

    #[test]
    fn token_that_was_not_among_the_five_is_held_to_the_lowest_of_them() {
        assert_eq!(compare(&changed_by(|found| found.top_logits[4] = (9, 6.2)), &report(), THEN), None);
        assert!(drifts(&changed_by(|found| found.top_logits[4] = (9, 6.5))).contains("moved by 0.50"));
    }

    #[test]
    fn finding_names_both_engines_and_devices() {
        let mut other = changed_by(|found| found.perplexity = 40.0);
        other.engine_version = "2".into();
        other.device = "cuda".into();
        assert!(drifts(&other).ends_with("it ran on candle 2 (cuda), and on candle 1 (cpu) then"));
        assert!(drifts(&changed_by(|found| found.perplexity = 40.0)).ends_with("both ran on candle 1 (cpu)"));
    }

    #[test]
    fn other_digest_is_worth_a_note_only_where_it_should_be_the_same() {
        let mut other = changed_by(|found| found.fingerprint.as_mut().unwrap().digest = "b".repeat(64));
        let finding = compare(&other, &report(), THEN).unwrap();
        assert_eq!((finding.code.as_str(), finding.severity), (FINGERPRINT_CHANGED, Severity::Info));
        other.threads = 1;
        assert_eq!(compare(&other, &report(), THEN), None);
    }

    #[test]
    fn reports_that_measured_something_else_are_not_compared() {
        assert_eq!(compare(&changed_by(|found| (found.tokens, found.perplexity) = (61, 99.0)), &report(), THEN), None);
        let mut short = report();
        short.calibration = None;
        assert_eq!(compare(&short, &report(), THEN), None);
        assert_eq!(compare(&report(), &short, THEN), None);
    }
}
