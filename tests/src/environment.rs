//! What a test needs from outside the process, found through environment variables.
//!
//! A variable that is not set means "not on this machine": the test says so on one line and
//! passes. Where `CI` is set it means that the set-up broke, and the test fails, so that a
//! green run has really run everything.

use std::path::PathBuf;

/// Where the S3 server of the tests listens and the bucket that exists there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// Such as `http://127.0.0.1:9000`; any credentials are accepted.
    pub endpoint: String,
    pub bucket: String,
}

/// Folder of published test vectors of other projects.
#[track_caller]
pub fn vectors() -> Option<PathBuf> {
    variable("WEIGHHOUSE_VECTORS").map(PathBuf::from)
}

/// Folder with `SmolLM2-135M-Instruct.Q4_1.gguf`.
#[track_caller]
pub fn models() -> Option<PathBuf> {
    variable("WEIGHHOUSE_MODELS").map(PathBuf::from)
}

/// A PostgreSQL whose user may create databases; give each test one of its own.
#[track_caller]
pub fn postgres_url() -> Option<String> {
    variable("WEIGHHOUSE_TEST_POSTGRES_URL")
}

/// An S3 server; give each test a key prefix of its own.
#[track_caller]
pub fn s3() -> Option<S3> {
    let endpoint = variable("WEIGHHOUSE_TEST_S3_ENDPOINT")?;
    let bucket = variable("WEIGHHOUSE_TEST_S3_BUCKET")?;
    Some(S3 { endpoint, bucket })
}

/// How many times the torture test kills a server; none for its own choice.
pub fn torture_rounds() -> Option<u64> {
    number("WEIGHHOUSE_TORTURE_ROUNDS")
}

/// What the torture test's choices come from; new for each run, or that of a run to be repeated.
pub fn torture_seed() -> u64 {
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    number("WEIGHHOUSE_TORTURE_SEED").unwrap_or_else(|| clock().map_or(1, |time| time.as_secs()))
}

#[expect(clippy::disallowed_methods, reason = "the one place where tests read their environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place where tests read their environment")]
fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        report_missing(name, std::env::var_os("CI").is_some());
    }
    value
}

#[track_caller]
#[expect(clippy::print_stderr, reason = "a skipped test must show in the run's output")]
fn report_missing(name: &str, required: bool) {
    assert!(!required, "{name} is not set, and CI must run every test");
    eprintln!("skipped: {name} is not set");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "CI must run every test")]
    fn missing_variable_fails_the_test_where_everything_is_required() {
        report_missing("WEIGHHOUSE_EXAMPLE", true);
    }

    #[test]
    fn missing_variable_is_reported_and_tolerated_elsewhere() {
        report_missing("WEIGHHOUSE_EXAMPLE", false);
    }
}
