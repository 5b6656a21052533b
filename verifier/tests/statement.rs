//! in-toto statements: what is read, what is refused, and what this registry states itself.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use verifier::evidence::{Finding, Generation, ProbeLevel, ProbeReport, ProbeVerdict, Relation, Severity, Status};
use verifier::license::record::{Body, Record};
use verifier::policy::{Use, UseValue};
use verifier::provenance::oms::{SignedFile, SigningKey};
use verifier::provenance::statement::{
    BuildError, GateDecision, LicenseReview, MAX_STATEMENT_BYTES, MAX_SUBJECTS, PredicateType, ProbeRun,
    ResourceDescriptor, ReviewerId, Revision, Statement, StatementError, gate_decision, license_review, materials,
    probe_result, sign,
};

const COMMIT: &str = "0123456789012345678901234567890123456789";

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn document() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "acme/tiny@1", "digest": { "sha256": digest("content") } }],
        "predicateType": "https://example.org/predicate/v1",
        "predicate": { "fact": true },
    })
}

fn parse(value: &Value) -> Result<Statement, StatementError> {
    Statement::parse(value.to_string().as_bytes())
}

fn refusal(change: impl Fn(&mut Value)) -> &'static str {
    let mut changed = document();
    change(&mut changed);
    parse(&changed).unwrap_err().code()
}

#[test]
fn a_statement_is_read_and_its_unknown_fields_are_ignored() {
    let mut value = document();
    value["comment"] = json!("unknown");
    value["subject"][0]["mediaType"] = json!("text/plain");
    let statement = parse(&value).unwrap();
    assert_eq!(statement.predicate_type(), "https://example.org/predicate/v1");
    assert_eq!(statement.subjects(), [ResourceDescriptor::sha256("acme/tiny@1", &digest("content"))]);
    assert_eq!(statement.predicate(), &json!({ "fact": true }));
    assert_eq!(statement.checked_predicate(), Ok(None), "an unknown type says nothing");
    assert_eq!(Statement::parse(&statement.to_json()).unwrap(), statement);
}

#[test]
fn statements_of_the_older_type_are_read_as_cosign_writes_them() {
    let mut value = document();
    value["_type"] = json!("https://in-toto.io/Statement/v0.1");
    assert!(parse(&value).is_ok());
}

#[test]
fn a_predicate_that_is_not_set_is_an_empty_one() {
    for value in [Value::Null, json!({})] {
        let mut changed = document();
        changed["predicate"] = value;
        assert_eq!(parse(&changed).unwrap().predicate(), &json!({}));
    }
    assert_eq!(refusal(|it| it["predicate"] = json!("text")), "ATTESTATION_INVALID_STATEMENT");
}

#[test]
fn subjects_need_digests_of_the_form_of_their_algorithm() {
    let with = |digest: Value| {
        let mut changed = document();
        changed["subject"][0]["digest"] = digest;
        parse(&changed).map(|_| ()).map_err(|error| error.code())
    };
    let hex = digest("x");
    for good in [json!({ "sha512": hex.repeat(2) }), json!({ "gitCommit": COMMIT }), json!({ "dirHash": "h1:abc=" })] {
        assert_eq!(with(good.clone()), Ok(()), "{good}");
    }
    let upper = hex.to_uppercase();
    for bad in [
        json!({ "sha256": upper }),
        json!({ "sha256": hex[1..] }),
        json!({ "gitCommit": hex[..39] }),
        json!({ "": "x" }),
        json!({ "other": "" }),
    ] {
        assert_eq!(with(bad.clone()), Err("ATTESTATION_INVALID_DIGEST"), "{bad}");
    }
    assert_eq!(with(json!({})), Err("ATTESTATION_SUBJECT_WITHOUT_DIGEST"));
    assert_eq!(with(json!({ "sha256": 1 })), Err("ATTESTATION_INVALID_STATEMENT"));
    assert_eq!(refusal(|it| it["subject"] = json!([])), "ATTESTATION_NO_SUBJECT");
    assert_eq!(refusal(|it| it["subject"] = Value::Null), "ATTESTATION_NO_SUBJECT");
    let many = |it: &mut Value| it["subject"] = json!(vec![it["subject"][0].clone(); MAX_SUBJECTS + 1]);
    assert_eq!(refusal(many), "ATTESTATION_TOO_MANY_SUBJECTS");
}

#[test]
fn hostile_statements_are_refused_by_name() {
    let code = |text: &str| Statement::parse(text.as_bytes()).unwrap_err().code();
    assert_eq!(code(&"[".repeat(1_000_000)), "ATTESTATION_INVALID_JSON");
    assert_eq!(code(&" ".repeat(MAX_STATEMENT_BYTES + 1)), "ATTESTATION_TOO_LARGE");
    assert_eq!(code("[]"), "ATTESTATION_INVALID_STATEMENT");
    let good = document().to_string();
    assert_eq!(code(&good[..good.len() - 1]), "ATTESTATION_INVALID_JSON");
    assert_eq!(code(&good.replace("true", "1e999")), "ATTESTATION_INVALID_JSON");
    assert_eq!(code(&good.replace("\"fact\":true", "\"fact\":true,\"fact\":false")), "ATTESTATION_DUPLICATE_KEY");
    assert_eq!(refusal(|it| it["_type"] = json!("https://in-toto.io/Statement/v2")), "ATTESTATION_STATEMENT_TYPE");
    for bad in ["", "no uri", "https://example.org/a b", "1:2"] {
        assert_eq!(refusal(|it| it["predicateType"] = json!(bad)), "ATTESTATION_PREDICATE_TYPE", "{bad}");
    }
    let long = format!("urn:{}", "x".repeat(2000));
    assert_eq!(refusal(|it| it["predicateType"] = json!(long)), "ATTESTATION_PREDICATE_TYPE");
}

/// A complete predicate of each known type.
fn known_predicates() -> Vec<(PredicateType, Value)> {
    let (hex, at) = (digest("x"), "2026-11-01T00:00:00Z");
    let resource = json!({ "name": "r", "digest": { "sha256": hex } });
    vec![
        (
            PredicateType::SlsaProvenance,
            json!({ "buildDefinition": { "buildType": "urn:x:y", "externalParameters": {} }, "runDetails": { "builder": { "id": "urn:x:b" } } }),
        ),
        (PredicateType::TestResult, json!({ "result": "PASSED", "configuration": [resource] })),
        (
            PredicateType::Vulnerabilities,
            json!({ "scanner": { "uri": "urn:x:s", "db": { "lastUpdate": at }, "result": [{ "id": "CVE-1", "severity": [{ "method": "nvd", "score": "high" }] }] },
                    "metadata": { "scanStartedOn": at, "scanFinishedOn": at } }),
        ),
        (PredicateType::Spdx2, json!({ "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT" })),
        (PredicateType::Spdx3, json!({ "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [] })),
        (
            PredicateType::VerificationSummary,
            json!({ "verifier": { "id": "urn:x:v" }, "resourceUri": "pkg:x/y", "policy": { "uri": "urn:x:p" }, "verificationResult": "PASSED", "verifiedLevels": ["X"] }),
        ),
        (
            PredicateType::SimpleVerificationResult,
            json!({ "verifier": { "id": "urn:x:v", "policies": [] }, "timeCreated": at, "properties": ["X"] }),
        ),
        (PredicateType::AttributeReport, json!({ "attributes": [{ "attribute": "X" }] })),
        (PredicateType::Reference, json!({ "attester": { "id": "urn:x:a" }, "references": [resource] })),
        (
            PredicateType::LicenseReview,
            json!({ "reviewer": { "id": "x" }, "reviewedOn": at, "decision": "APPROVED", "concluded": "MIT" }),
        ),
    ]
}

fn stated(predicate_type: &str, predicate: &Value) -> Statement {
    let mut value = document();
    value["predicateType"] = json!(predicate_type);
    value["predicate"] = predicate.clone();
    parse(&value).unwrap()
}

#[test]
fn predicates_of_known_types_need_every_field_that_their_type_requires() {
    for (predicate_type, predicate) in known_predicates() {
        let uri = predicate_type.uri();
        assert_eq!(stated(uri, &predicate).checked_predicate(), Ok(Some(predicate_type)), "{uri}");
        let mut more = predicate.clone();
        more["urn:x:extension"] = json!({});
        assert_eq!(stated(uri, &more).checked_predicate(), Ok(Some(predicate_type)), "{uri} ignores extensions");
        for field in predicate.as_object().unwrap().keys() {
            let mut less = predicate.clone();
            less.as_object_mut().unwrap().remove(field);
            let refused = stated(uri, &less).checked_predicate().unwrap_err();
            assert_eq!(refused.code(), predicate_type.invalid_code(), "{uri} without {field}");
        }
    }
}

#[test]
fn values_outside_a_predicates_type_are_refused() {
    let cases = [
        (PredicateType::TestResult, "/result", json!("passed")),
        (PredicateType::TestResult, "/configuration/0/digest/sha256", json!("AA")),
        (PredicateType::Vulnerabilities, "/metadata/scanStartedOn", json!("yesterday")),
        (PredicateType::Vulnerabilities, "/scanner/uri", json!("no uri")),
        (PredicateType::Spdx2, "/spdxVersion", json!("SPDX-3.0")),
        (PredicateType::VerificationSummary, "/verificationResult", json!("MAYBE")),
        (PredicateType::AttributeReport, "/attributes", json!([])),
        (PredicateType::LicenseReview, "/decision", json!("DENIED")),
    ];
    let known = known_predicates();
    for (predicate_type, place, value) in cases {
        let (_, mut predicate) = known.iter().find(|(known, _)| *known == predicate_type).unwrap().clone();
        *predicate.pointer_mut(place).unwrap() = value;
        assert!(stated(predicate_type.uri(), &predicate).checked_predicate().is_err(), "{place}");
    }
}

fn provenance(build_type: &str, parameters: &Value, dependencies: &Value) -> Statement {
    let predicate = json!({
        "buildDefinition": { "buildType": build_type, "externalParameters": parameters, "resolvedDependencies": dependencies },
        "runDetails": { "builder": { "id": "https://builder.example/v1" } },
    });
    stated("https://slsa.dev/provenance/v1", &predicate)
}

/// Name and relation of each base.
fn bases(build_type: &str, parameters: &Value, dependencies: &Value) -> Vec<(String, Relation)> {
    let found = materials(&provenance(build_type, parameters, dependencies)).unwrap().unwrap();
    found.bases.into_iter().map(|base| (base.name, base.relation)).collect()
}

#[test]
fn a_builds_models_are_told_from_its_data_code_and_tools() {
    let hex = digest("base");
    let material = |name: &str, uri: &str| json!({ "name": name, "uri": uri, "digest": { "sha256": hex } });
    let dependencies = json!([
        material("base-model", "weighhouse://acme/tiny-7b@9"),
        material("calibration-data", "weighhouse-data://acme/calib@2"),
        material("tool", "pkg:pypi/gptq-tool@1.2.0"),
        material("dataset", "hf://datasets/acme/corpus"),
        material("code", "https://huggingface.co/spaces/acme/train"),
        material("second", "https://huggingface.co/acme/other"),
    ]);
    let found = bases("urn:weighhouse:buildtype:quantize:v1", &json!({}), &dependencies);
    assert_eq!(found, [("base-model".to_owned(), Relation::Quantized), ("second".to_owned(), Relation::Quantized)]);
    let read = materials(&provenance("urn:weighhouse:buildtype:quantize:v1", &json!({}), &dependencies));
    let read = read.unwrap().unwrap();
    assert_eq!((read.builder.as_str(), read.bases[0].sha256.as_str()), ("https://builder.example/v1", hex.as_str()));
    assert_eq!(read.bases[0].uri.as_deref(), Some("weighhouse://acme/tiny-7b@9"));
}

#[test]
fn the_relation_follows_from_the_build_and_from_the_role() {
    let named = |name: &str| json!([{ "name": name, "digest": { "sha256": digest("base") } }]);
    let relation = |build: &str, parameters: Value, name: &str| {
        bases(&format!("urn:weighhouse:buildtype:{build}:v1"), &parameters, &named(name))[0].1
    };
    assert_eq!(relation("quantize", json!({}), "base-model"), Relation::Quantized);
    assert_eq!(relation("convert", json!({}), "model"), Relation::Quantized);
    assert_eq!(relation("finetune", json!({}), "base"), Relation::Finetune);
    assert_eq!(relation("train", json!({}), "parent"), Relation::Finetune);
    assert_eq!(relation("merge", json!({}), "adapter"), Relation::Merge);
    assert_eq!(relation("train", json!({}), "teacher"), Relation::Distilled);
    assert_eq!(relation("finetune", json!({ "output": "adapter" }), "base-model"), Relation::Adapter);
    assert_eq!(relation("quantize", json!({ "output": "adapter" }), "base-model"), Relation::Quantized);
}

#[test]
fn an_annotation_says_the_relation_in_any_build_and_a_foreign_build_says_none_itself() {
    let hex = digest("base");
    let annotated = |relation: &str| json!([{ "name": "judge", "digest": { "sha256": hex }, "annotations": { "urn:weighhouse:relation": relation } }]);
    let foreign = "https://builder.example/build/v1";
    let found = bases(foreign, &json!({}), &annotated("trained-on-outputs"));
    assert_eq!(found, [("judge".to_owned(), Relation::TrainedOnOutputs)]);
    assert!(materials(&provenance(foreign, &json!({}), &annotated("cousin"))).is_err());
    let silent =
        json!([{ "name": "base-model", "digest": { "sha256": hex } }, { "name": "code", "digest": { "sha256": hex } }]);
    let read = materials(&provenance(foreign, &json!({}), &silent)).unwrap().unwrap();
    assert_eq!((read.bases.len(), read.without_relation), (0, vec!["base-model".to_owned()]));
}

#[test]
fn a_base_without_sha256_and_too_many_bases_are_told() {
    let quantize = "urn:weighhouse:buildtype:quantize:v1";
    let git = json!([{ "name": "base-model", "digest": { "gitCommit": COMMIT } }]);
    let read = materials(&provenance(quantize, &json!({}), &git)).unwrap().unwrap();
    assert_eq!((read.bases.len(), read.without_digest), (0, vec!["base-model".to_owned()]));
    let many = json!(vec![json!({ "name": "base-model", "digest": { "sha256": digest("base") } }); 257]);
    assert!(materials(&provenance(quantize, &json!({}), &many)).is_err());
    assert_eq!(materials(&stated("https://example.org/other/v1", &json!({}))), Ok(None));
}

fn report(verdict: ProbeVerdict) -> ProbeReport {
    let level = |name: &str, status| ProbeLevel { level: name.to_owned(), status, milliseconds: 1, detail: None };
    ProbeReport {
        schema_version: 1,
        verdict,
        reason: "it generates".to_owned(),
        engine: "candle".to_owned(),
        engine_version: "0.9".to_owned(),
        device: "cpu".to_owned(),
        threads: 2,
        architecture: None,
        conformance: None,
        levels: vec![
            level("L0", Status::Passed),
            level("L1", Status::Warned),
            level("L2", Status::Failed),
            level("L3", Status::NotApplicable),
        ],
        load_milliseconds: None,
        peak_memory_bytes: None,
        generation: Some(Generation {
            prompt: "secret prompt".to_owned(),
            text: "secret text".to_owned(),
            prompt_tokens: 3,
            generated_tokens: 16,
            prompt_tokens_per_second: 1.0,
            tokens_per_second: 1.0,
            token_digest: digest("tokens"),
            deterministic: true,
        }),
        calibration: None,
        embedding: None,
        adapter: None,
        sandbox: None,
        findings: vec![Finding::new("SLOW", Severity::Low, "slow", "wait")],
    }
}

fn probe(verdict: ProbeVerdict) -> Result<Statement, BuildError> {
    let (report, weights) = (report(verdict), digest("weights"));
    let files = [SignedFile { path: "model.gguf", sha256: &weights }];
    probe_result(&ProbeRun {
        revision: Revision {
            model: "acme/tiny",
            commit: COMMIT,
            content_digest: &digest("content"),
            weight_files: &files,
        },
        report: &report,
        report_digest: &digest("report"),
        tool_version: "3",
        configuration_digest: &digest("configuration"),
        finished_at: 1_795_000_000_000,
        url: Some("https://registry.example/acme/tiny/probe"),
    })
}

#[test]
fn a_probe_is_attested_with_its_levels_and_without_what_was_generated() {
    let statement = probe(ProbeVerdict::PassedWithWarnings).unwrap();
    assert_eq!(statement.checked_predicate(), Ok(Some(PredicateType::TestResult)));
    let names: Vec<_> = statement.subjects().iter().map(ResourceDescriptor::label).collect();
    assert_eq!(names, [format!("acme/tiny@{COMMIT}"), "model.gguf".to_owned()]);
    assert_eq!(statement.subjects()[1].digest["sha256"], digest("weights"));
    let predicate = statement.predicate();
    assert_eq!(predicate["result"], "WARNED");
    let tests = [&predicate["passedTests"], &predicate["warnedTests"], &predicate["failedTests"]];
    assert_eq!(tests, [&json!(["L0"]), &json!(["L1"]), &json!(["L2"])]);
    let extension = &predicate["urn:weighhouse:extension:probe:v1"];
    assert_eq!(extension["output"]["digest"]["sha256"], json!(digest("tokens")));
    assert_eq!(extension["finishedOn"], "2026-11-18T11:06:40Z");
    assert!(!String::from_utf8(statement.to_json()).unwrap().contains("secret"));
}

#[test]
fn a_probe_without_a_result_is_not_attested() {
    for verdict in [ProbeVerdict::Unsupported, ProbeVerdict::Inconclusive] {
        assert_eq!(probe(verdict), Err(BuildError::NoResult("it generates".to_owned())));
    }
    assert_eq!(probe(ProbeVerdict::Failed).unwrap().predicate()["result"], "FAILED");
}

fn record(body: Body) -> Record {
    Record {
        id: "r1".to_owned(),
        body,
        facts_digest: digest("facts"),
        recorded_by: "ada@example.org".to_owned(),
        recorded_at: 1_795_000_000_000,
        expires_at: Some(1_826_000_000_000),
        ended_at: None,
    }
}

fn review(record: &Record, reviewer: ReviewerId<'_>) -> Result<Statement, BuildError> {
    license_review(&LicenseReview {
        revision: Revision {
            model: "acme/tiny",
            commit: COMMIT,
            content_digest: &digest("content"),
            weight_files: &[],
        },
        record,
        reviewer,
        people: 2,
        declared: Some("apache-2.0"),
        conditions: &["NOTICE_REQUIRED".to_owned()],
        evidence: &[ResourceDescriptor::sha256("LICENSE", &digest("license"))],
    })
}

fn conclusion() -> Record {
    record(Body::Conclusion { expression: "Apache-2.0".to_owned(), reason: "Bob from legal said so".to_owned() })
}

#[test]
fn a_license_review_names_the_person_only_where_it_is_told_to() {
    let salted = review(&conclusion(), ReviewerId::Salted("salt")).unwrap();
    let text = String::from_utf8(salted.to_json()).unwrap();
    assert!(!text.contains("ada") && !text.contains("Bob"), "{text}");
    let id = format!("urn:weighhouse:person:sha256:{}", digest("salt\0ada@example.org"));
    assert_eq!(salted.predicate()["reviewer"]["id"], json!(id));
    let opaque = review(&conclusion(), ReviewerId::Opaque("17")).unwrap();
    assert_eq!(opaque.predicate()["reviewer"]["id"], "urn:weighhouse:person:17");
    let named = review(&conclusion(), ReviewerId::Named).unwrap();
    assert_eq!(named.predicate()["reviewer"]["id"], "ada@example.org");
}

#[test]
fn a_license_review_says_what_was_concluded_from_what_and_until_when() {
    let statement = review(&conclusion(), ReviewerId::Opaque("17")).unwrap();
    assert_eq!(statement.checked_predicate(), Ok(Some(PredicateType::LicenseReview)));
    let predicate = statement.predicate();
    assert_eq!((&predicate["decision"], &predicate["concluded"]), (&json!("APPROVED"), &json!("Apache-2.0")));
    assert_eq!(predicate["expires"], "2027-11-12T06:13:20Z");
    assert_eq!(predicate["evidence"][0]["digest"]["sha256"], json!(digest("license")));
    let mut ended = conclusion();
    ended.ended_at = Some(1_795_000_000_001);
    let ended = review(&ended, ReviewerId::Opaque("17")).unwrap();
    assert_eq!(
        ended.predicate()["expires"],
        "2026-11-18T11:06:40.001Z",
        "a record that ended does not last until its expiry"
    );
    let other = record(Body::Approval { of: "r0".to_owned(), reason: None });
    assert_eq!(review(&other, ReviewerId::Named), Err(BuildError::NotAConclusion("approval")));
}

static LEVELS: LazyLock<Vec<String>> = LazyLock::new(|| vec!["WEIGHHOUSE_LICENSE_CONCLUDED".to_owned()]);
static USE: LazyLock<Use> = LazyLock::new(|| Use(BTreeMap::from([("commercial".to_owned(), UseValue::Flag(true))])));
static DIGESTS: LazyLock<[String; 3]> = LazyLock::new(|| ["content", "policy", "input"].map(digest));

fn decision() -> GateDecision<'static> {
    let [content, policy, input] = &*DIGESTS;
    GateDecision {
        revision: Revision { model: "acme/tiny", commit: COMMIT, content_digest: content, weight_files: &[] },
        verifier: "urn:weighhouse:registry:example",
        verifier_version: "0.1.0",
        decision: "d1",
        allowed: true,
        environment: "pre production",
        intended_use: &USE,
        policy_name: "standard",
        policy_digest: policy,
        input_digest: input,
        input_attestations: &[],
        levels: &LEVELS,
        reasons: &[],
        waived: &[],
        decided_at: "2026-11-24T11:01:00Z",
        valid_until: Some("2026-12-24T11:01:00Z"),
    }
}

#[test]
fn an_allowance_is_bound_to_its_environment_and_use_in_fields_that_every_reader_knows() {
    let statement = gate_decision(&decision()).unwrap();
    assert_eq!(statement.checked_predicate(), Ok(Some(PredicateType::VerificationSummary)));
    let predicate = statement.predicate();
    assert_eq!(predicate["verificationResult"], "PASSED");
    let levels = json!([
        "SLSA_BUILD_LEVEL_UNEVALUATED",
        "WEIGHHOUSE_ALLOWED_IN_pre%20production",
        "WEIGHHOUSE_LICENSE_CONCLUDED"
    ]);
    assert_eq!(predicate["verifiedLevels"], levels);
    let uri = "urn:weighhouse:policy:standard?environment=pre%20production&commercial=true";
    assert_eq!(predicate["policy"], json!({ "uri": uri, "digest": { "sha256": digest("policy") } }));
    assert_eq!(predicate["resourceUri"], json!(format!("weighhouse://acme/tiny@{COMMIT}")));
    let extension = &predicate["urn:weighhouse:extension:gate:v1"];
    assert_eq!((&extension["environment"], &extension["use"]["commercial"]), (&json!("pre production"), &json!(true)));
    assert_eq!(extension["validUntil"], "2026-12-24T11:01:00Z");
}

#[test]
fn a_denial_has_no_level_beside_failed() {
    let reasons = ["NO_SIGNATURE".to_owned()];
    let statement = gate_decision(&GateDecision { allowed: false, reasons: &reasons, ..decision() }).unwrap();
    let predicate = statement.predicate();
    assert_eq!(
        (&predicate["verificationResult"], &predicate["verifiedLevels"]),
        (&json!("FAILED"), &json!(["FAILED"]))
    );
    assert_eq!(predicate["urn:weighhouse:extension:gate:v1"]["reasons"], json!(["NO_SIGNATURE"]));
}

#[test]
fn levels_of_slsa_and_texts_that_are_no_time_are_not_stated() {
    for level in ["SLSA_BUILD_LEVEL_3", "FAILED", "", "lower"] {
        let levels = [level.to_owned()];
        let refused = gate_decision(&GateDecision { levels: &levels, ..decision() });
        assert_eq!(refused, Err(BuildError::InvalidLevel(level.to_owned())));
    }
    let refused = gate_decision(&GateDecision { decided_at: "now", ..decision() });
    assert_eq!(refused, Err(BuildError::InvalidTime("now".to_owned())));
}

#[test]
fn a_signed_statement_is_a_bundle_with_one_signature_and_a_key_hint() {
    let key = SigningKey::generate().unwrap();
    let statement = gate_decision(&decision()).unwrap();
    let bundle: Value = serde_json::from_slice(&sign(&statement, &key).unwrap()).unwrap();
    assert_eq!(bundle["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    let hint = hex::encode(Sha256::digest(key.public_key_pem()));
    assert_eq!(bundle["verificationMaterial"], json!({ "publicKey": { "hint": hint }, "tlogEntries": [] }));
    let envelope = &bundle["dsseEnvelope"];
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    assert_eq!(envelope["signatures"].as_array().unwrap().len(), 1);
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    assert_eq!(Statement::parse(&payload).unwrap(), statement);
}
