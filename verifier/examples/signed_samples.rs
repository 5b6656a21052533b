//! Writes a small model with our signature and one of each of our statements into a folder, for
//! verifiers that are not ours.
//!
//! `signed_samples FOLDER` makes `key.pem` (the public key), `model/`, `model.sig` (OMS), and
//! `probe`, `license-review` and `decision` as `.sigstore.json`, with the subject's file as
//! `model/model.gguf`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use verifier::evidence::{ProbeLevel, ProbeReport, ProbeVerdict, Status};
use verifier::license::record::{Body, Record};
use verifier::policy::{Use, UseValue};
use verifier::provenance::oms::{self, SignedFile, SigningKey};
use verifier::provenance::statement::{
    self, GateDecision, LicenseReview, ProbeRun, ResourceDescriptor, ReviewerId, Revision, Statement,
};

/// Names whose order differs between code points and path components.
const FILES: [(&str, &str); 4] = [("a-b", "one"), ("a.txt", "two"), ("a/b", "three"), ("model.gguf", "weights")];
/// Milliseconds since 1970.
const AT: i64 = 1_795_000_000_000;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("usage: signed_samples FOLDER")?;
    let key = SigningKey::generate()?;
    fs_err::create_dir_all(&folder)?;
    fs_err::write(folder.join("key.pem"), key.public_key_pem())?;
    write_model(&folder, &key)?;
    let weights = digest("weights");
    let files = [SignedFile { path: "model.gguf", sha256: &weights }];
    let (commit, content) = ("0123456789".repeat(4), digest("content"));
    let revision = Revision { model: "acme/tiny", commit: &commit, content_digest: &content, weight_files: &files };
    for (name, made) in
        [("probe", probe(revision)?), ("license-review", review(revision)?), ("decision", decision(revision)?)]
    {
        fs_err::write(folder.join(format!("{name}.sigstore.json")), statement::sign(&made, &key)?)?;
    }
    Ok(())
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn write_model(folder: &Path, key: &SigningKey) -> Result<()> {
    let digests: Vec<(&str, String)> = FILES.iter().map(|(path, content)| (*path, digest(content))).collect();
    for (path, content) in FILES {
        let path = folder.join("model").join(path);
        fs_err::create_dir_all(path.parent().context("every file lies in a folder")?)?;
        fs_err::write(path, content)?;
    }
    let files: Vec<_> = digests.iter().map(|(path, sha256)| SignedFile { path, sha256 }).collect();
    fs_err::write(folder.join("model.sig"), oms::sign("model", &files, key)?)?;
    Ok(())
}

fn probe(revision: Revision<'_>) -> Result<Statement> {
    let level =
        |level: &str| ProbeLevel { level: level.to_owned(), status: Status::Passed, milliseconds: 1, detail: None };
    let report = ProbeReport {
        schema_version: 1,
        verdict: ProbeVerdict::Passed,
        reason: "it loads and generates".to_owned(),
        engine: "candle".to_owned(),
        engine_version: "0.11".to_owned(),
        device: "cpu".to_owned(),
        threads: 2,
        architecture: None,
        conformance: None,
        levels: vec![level("L0"), level("L4")],
        load_milliseconds: None,
        peak_memory_bytes: None,
        generation: None,
        calibration: None,
        embedding: None,
        adapter: None,
        sandbox: None,
        findings: Vec::new(),
    };
    Ok(statement::probe_result(&ProbeRun {
        revision,
        report: &report,
        report_digest: &digest("report"),
        tool_version: "1",
        configuration_digest: &digest("configuration"),
        finished_at: AT,
        url: Some("https://registry.example/acme/tiny/probe"),
    })?)
}

fn review(revision: Revision<'_>) -> Result<Statement> {
    let record = Record {
        id: "r1".to_owned(),
        body: Body::Conclusion { expression: "Apache-2.0".to_owned(), reason: "the text is exact".to_owned() },
        facts_digest: digest("facts"),
        recorded_by: "ada@example.org".to_owned(),
        recorded_at: AT,
        expires_at: Some(AT + 1),
        ended_at: None,
    };
    Ok(statement::license_review(&LicenseReview {
        revision,
        record: &record,
        reviewer: ReviewerId::Salted("salt"),
        people: 1,
        declared: Some("apache-2.0"),
        conditions: &["NOTICE_REQUIRED".to_owned()],
        evidence: &[ResourceDescriptor::sha256("LICENSE", &digest("license"))],
    })?)
}

fn decision(revision: Revision<'_>) -> Result<Statement> {
    Ok(statement::gate_decision(&GateDecision {
        revision,
        verifier: "urn:weighhouse:registry:example",
        verifier_version: env!("CARGO_PKG_VERSION"),
        decision: "d1",
        allowed: true,
        environment: "production",
        intended_use: &Use(BTreeMap::from([("commercial".to_owned(), UseValue::Flag(true))])),
        policy_name: "standard",
        policy_digest: &digest("policy"),
        input_digest: &digest("input"),
        input_attestations: &[],
        levels: &["WEIGHHOUSE_LICENSE_CONCLUDED".to_owned()],
        reasons: &[],
        waived: &[],
        decided_at: "2026-11-24T11:01:00Z",
        valid_until: None,
    })?)
}
