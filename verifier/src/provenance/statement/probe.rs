//! That a model was loaded and generated, as an in-toto test result.

use serde_json::{Value, json};

use super::build::{digest, rfc3339};
use super::{BuildError, PredicateType, Revision, Statement};
use crate::evidence::{ProbeReport, ProbeVerdict, Status};

/// Name of the field that holds what the predicate has no field for.
const EXTENSION: &str = "urn:weighhouse:extension:probe:v1";

/// A finished probe.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRun<'a> {
    pub revision: Revision<'a>,
    pub report: &'a ProbeReport,
    /// Hex SHA-256 of the stored report.
    pub report_digest: &'a str,
    /// Version of the probe, as its evidence says.
    pub tool_version: &'a str,
    /// Hex SHA-256 of the probe's configuration, as its evidence says.
    pub configuration_digest: &'a str,
    /// Milliseconds since 1970.
    pub finished_at: i64,
    /// A page that shows the report.
    pub url: Option<&'a str>,
}

/// The result of a probe (in-toto, Test Result v0.1).
///
/// A probe that could not be run or did not finish is no test that failed or passed, so there is
/// nothing to attest. The prompt and the text that was generated stay out of the statement, which
/// travels further than the report may.
pub fn probe_result(run: &ProbeRun<'_>) -> Result<Statement, BuildError> {
    let names = |status| -> Vec<&str> {
        run.report.levels.iter().filter(|level| level.status == status).map(|level| level.level.as_str()).collect()
    };
    let configuration = json!({
        "name": format!("weighhouse-probe {}", run.tool_version),
        "digest": digest(run.configuration_digest),
    });
    let mut predicate = json!({
        "result": result(run.report)?,
        "configuration": [configuration],
        "passedTests": names(Status::Passed),
        "warnedTests": names(Status::Warned),
        "failedTests": names(Status::Failed),
        EXTENSION: extension(run)?,
    });
    if let Some(url) = run.url {
        predicate["url"] = json!(url);
    }
    run.revision.statement(PredicateType::TestResult.uri(), predicate)
}

fn result(report: &ProbeReport) -> Result<&'static str, BuildError> {
    match report.verdict {
        ProbeVerdict::Passed => Ok("PASSED"),
        ProbeVerdict::PassedWithWarnings => Ok("WARNED"),
        ProbeVerdict::Failed => Ok("FAILED"),
        ProbeVerdict::Unsupported | ProbeVerdict::Inconclusive => Err(BuildError::NoResult(report.reason.clone())),
    }
}

fn extension(run: &ProbeRun<'_>) -> Result<Value, BuildError> {
    let report = run.report;
    let levels: Vec<Value> =
        report.levels.iter().map(|level| json!({ "level": level.level, "status": level.status })).collect();
    let mut extension = json!({
        "reason": report.reason,
        "engine": report.engine,
        "engineVersion": report.engine_version,
        "device": report.device,
        "threads": report.threads,
        "levels": levels,
        "findings": report.findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(),
        "report": { "digest": digest(run.report_digest) },
        "finishedOn": rfc3339(run.finished_at)?,
    });
    if let Some(generation) = &report.generation {
        extension["output"] = json!({
            "digest": digest(&generation.token_digest),
            "generatedTokens": generation.generated_tokens,
            "deterministic": generation.deterministic,
        });
    }
    Ok(extension)
}
