//! Attestations held against a revision.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use verifier::DigestedFile;
use verifier::evidence::{Relation, Severity, SignatureState};
use verifier::provenance::TrustMaterial;
use verifier::provenance::attestation::{AttestationCheck, check};
use verifier::provenance::oms::{SignedFile, SigningKey, TrustedKey};
use verifier::provenance::statement::{self, Revision};

static NO_BYTES: Vec<u8> = Vec::new();

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn trust(keys: &[&SigningKey]) -> TrustMaterial {
    let keys = keys.iter().map(|key| TrustedKey::from_pem("builder", &key.public_key_pem()).unwrap());
    TrustMaterial { keys: keys.collect(), ..TrustMaterial::default() }
}

fn statement(predicate_type: &str, predicate: &Value, subjects: &[(&str, &str)]) -> Value {
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|(name, content)| json!({ "name": name, "digest": { "sha256": digest(content) } }))
        .collect();
    json!({ "_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": predicate_type, "predicate": predicate })
}

/// Signs any text as a statement, as a careless or hostile issuer would.
fn signed(payload: &str, key: &SigningKey) -> Value {
    let mut message = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()).into_bytes();
    message.extend_from_slice(payload.as_bytes());
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": hex::encode(Sha256::digest(key.public_key_pem())) }, "tlogEntries": [] },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload), "payloadType": "application/vnd.in-toto+json",
            "signatures": [{ "sig": STANDARD.encode(key.sign(&message).unwrap()), "keyid": "" }],
        },
    })
}

/// Holds a bundle against a revision of two weight files of one content and a card.
fn held(bundle: &Value, trust: &TrustMaterial) -> AttestationCheck {
    let (weights, card) = (digest("weights"), digest("card"));
    let file = |path, digest| DigestedFile { path, digest, source: &NO_BYTES };
    let files = [file("README.md", &card), file("a.gguf", &weights), file("b.gguf", &weights)];
    check(bundle.to_string().as_bytes(), &digest("content"), &files, trust)
}

/// Signs and holds a statement by a trusted key.
fn stated(value: &Value) -> AttestationCheck {
    let key = SigningKey::generate().unwrap();
    held(&signed(&value.to_string(), &key), &trust(&[&key]))
}

fn codes(check: &AttestationCheck) -> Vec<&str> {
    check.findings.iter().map(|finding| finding.code.as_str()).collect()
}

const UNKNOWN_TYPE: &str = "https://example.org/predicate/v1";

#[test]
fn subjects_are_found_by_content_and_by_file_whatever_they_are_called() {
    let subjects = [("acme/tiny@1", "content"), ("weights", "weights"), ("elsewhere", "other"), ("again", "weights")];
    let found = stated(&statement(UNKNOWN_TYPE, &json!({ "fact": 1 }), &subjects));
    assert_eq!((found.facts.signature.state, codes(&found)), (SignatureState::Trusted, vec![]));
    let subjects: Vec<(&str, Option<&str>)> =
        found.facts.subjects.iter().map(|subject| (subject.name.as_str(), subject.path.as_deref())).collect();
    assert_eq!(subjects, [("acme/tiny@1", None), ("weights", Some("a.gguf")), ("weights", Some("b.gguf"))]);
    assert_eq!((found.facts.predicate_type.as_str(), &found.facts.predicate), (UNKNOWN_TYPE, &json!({ "fact": 1 })));
    assert_eq!(found.facts.signature.signer.as_deref(), Some("builder"));
}

#[test]
fn a_statement_about_something_else_is_refused_and_says_what_it_speaks_of() {
    let found = stated(&statement(UNKNOWN_TYPE, &json!({ "fact": 1 }), &[("acme/other@2", "other content")]));
    assert_eq!(
        (found.facts.signature.state, codes(&found)),
        (SignatureState::Invalid, vec!["ATTESTATION_SUBJECT_MISMATCH"])
    );
    assert!(found.findings[0].detail.contains("acme/other@2"), "{}", found.findings[0].detail);
    assert_eq!(found.facts.predicate, Value::Null);
}

#[test]
fn a_digest_of_another_algorithm_does_not_match() {
    let mut value = statement(UNKNOWN_TYPE, &json!({}), &[("x", "content")]);
    value["subject"][0]["digest"] = json!({ "sha3_256": digest("content") });
    assert_eq!(codes(&stated(&value)), ["ATTESTATION_SUBJECT_MISMATCH"]);
}

#[test]
fn what_no_trusted_key_signed_is_read_and_not_trusted() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let bundle = signed(&statement(UNKNOWN_TYPE, &json!({ "fact": 1 }), &[("x", "content")]).to_string(), &key);
    let unknown = held(&bundle, &trust(&[&other]));
    assert_eq!(
        (unknown.facts.signature.state, codes(&unknown)),
        (SignatureState::Unverified, vec!["SIGNATURE_KEY_UNKNOWN"])
    );
    assert_eq!(unknown.facts.subjects.len(), 1);
    let mut changed = bundle;
    let payload = statement(UNKNOWN_TYPE, &json!({ "fact": 2 }), &[("x", "content")]).to_string();
    changed["dsseEnvelope"]["payload"] = json!(STANDARD.encode(payload));
    let tampered = held(&changed, &trust(&[&key]));
    assert_eq!(
        (tampered.facts.signature.state, codes(&tampered)),
        (SignatureState::Invalid, vec!["SIGNATURE_INVALID"])
    );
    assert_eq!(tampered.facts.predicate, Value::Null, "what nobody signed is not repeated");
}

#[test]
fn a_flip_of_any_byte_of_statement_or_signature_is_refused() {
    let key = SigningKey::generate().unwrap();
    let bundle = signed(&statement(UNKNOWN_TYPE, &json!({ "fact": 1 }), &[("x", "content")]).to_string(), &key);
    for place in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
        let whole = STANDARD.decode(bundle.pointer(place).unwrap().as_str().unwrap()).unwrap();
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            let mut changed = bundle.clone();
            *changed.pointer_mut(place).unwrap() = json!(STANDARD.encode(flipped));
            let found = held(&changed, &trust(&[&key]));
            assert_eq!(found.facts.signature.state, SignatureState::Invalid, "{place} {position}");
        }
    }
}

#[test]
fn a_malformed_predicate_of_a_known_type_is_refused_whole() {
    let half = json!({ "reviewer": { "id": "x" }, "decision": "APPROVED", "concluded": "MIT" });
    let found = stated(&statement("urn:weighhouse:predicate:license-review:v1", &half, &[("x", "content")]));
    let expected = (SignatureState::Invalid, vec!["ATTESTATION_LICENSE_REVIEW_INVALID"]);
    assert_eq!((found.facts.signature.state, codes(&found)), expected);
    assert!(found.findings[0].detail.contains("reviewedOn"), "{}", found.findings[0].detail);
    assert_eq!(found.facts.predicate, Value::Null, "no rule may find APPROVED in it");
}

#[test]
fn a_large_predicate_is_not_kept_and_its_statement_stands() {
    let found = stated(&statement(UNKNOWN_TYPE, &json!({ "text": "x".repeat(70_000) }), &[("x", "content")]));
    assert_eq!((found.facts.signature.state, &found.facts.predicate), (SignatureState::Trusted, &Value::Null));
}

fn provenance(build_type: &str, dependencies: &Value) -> Value {
    let predicate = json!({
        "buildDefinition": { "buildType": build_type, "externalParameters": {}, "resolvedDependencies": dependencies },
        "runDetails": { "builder": { "id": "https://builder.example/v1" } },
    });
    statement("https://slsa.dev/provenance/v1", &predicate, &[("acme/tiny-q4@1", "content")])
}

#[test]
fn a_quantization_names_its_base_by_digest() {
    let base =
        json!({ "name": "base-model", "uri": "weighhouse://acme/tiny@9", "digest": { "sha256": digest("base") } });
    let found = stated(&provenance("urn:weighhouse:buildtype:quantize:v1", &json!([base])));
    assert_eq!(codes(&found), [""; 0]);
    let [base] = found.facts.bases.as_slice() else { panic!("{:?}", found.facts.bases) };
    assert_eq!((base.name.as_str(), &base.sha256, base.relation), ("base-model", &digest("base"), Relation::Quantized));
    assert_eq!(base.uri.as_deref(), Some("weighhouse://acme/tiny@9"));
}

#[test]
fn a_base_that_makes_no_edge_is_told() {
    let git = json!([{ "name": "base-model", "digest": { "gitCommit": "0".repeat(40) } }]);
    let found = stated(&provenance("urn:weighhouse:buildtype:quantize:v1", &git));
    assert_eq!((codes(&found), found.facts.bases.len()), (vec!["ATTESTATION_BASE_WITHOUT_DIGEST"], 0));
    let base = json!([{ "name": "base-model", "digest": { "sha256": digest("base") } }]);
    let found = stated(&provenance("https://builder.example/build/v1", &base));
    assert_eq!((codes(&found), found.facts.bases.len()), (vec!["ATTESTATION_BASE_WITHOUT_RELATION"], 0));
    assert_eq!(found.findings[0].severity, Severity::Info);
    assert_eq!(found.facts.signature.state, SignatureState::Trusted);
}

#[test]
fn hostile_payloads_are_refused_by_name() {
    let key = SigningKey::generate().unwrap();
    let trust = trust(&[&key]);
    let good = statement(UNKNOWN_TYPE, &json!({ "fact": 1 }), &[("x", "content")]).to_string();
    let cases = [
        ("[".repeat(1_000_000), "ATTESTATION_INVALID_JSON"),
        (" ".repeat(5_000_000), "ATTESTATION_TOO_LARGE"),
        (good.replace("\"fact\":1", "\"fact\":1,\"fact\":2"), "ATTESTATION_DUPLICATE_KEY"),
        (good.replace("\"fact\":1", "\"fact\":1e999"), "ATTESTATION_INVALID_JSON"),
        (good.replace("Statement/v1", "Statement/v9"), "ATTESTATION_STATEMENT_TYPE"),
        ("null".to_owned(), "ATTESTATION_INVALID_STATEMENT"),
    ];
    for (payload, code) in cases {
        let found = held(&signed(&payload, &key), &trust);
        assert_eq!((found.facts.signature.state, codes(&found)), (SignatureState::Invalid, vec![code]));
    }
    let mut wrong_type = signed(&good, &key);
    wrong_type["dsseEnvelope"]["payloadType"] = json!("text/plain");
    assert_eq!(codes(&held(&wrong_type, &trust)), ["BUNDLE_PAYLOAD_TYPE"]);
    let mut truncated = signed(&good, &key);
    truncated["dsseEnvelope"]["payload"] = json!("e30=e");
    assert_eq!(codes(&held(&truncated, &trust)), ["BUNDLE_INVALID_BASE64"]);
}

#[test]
fn what_this_registry_signs_is_trusted_by_whoever_trusts_its_key() {
    let key = SigningKey::generate().unwrap();
    let (content, weights, commit) = (digest("content"), digest("weights"), "0".repeat(40));
    let files = [SignedFile { path: "a.gguf", sha256: &weights }];
    let revision = Revision { model: "acme/tiny", commit: &commit, content_digest: &content, weight_files: &files };
    let decision = statement::gate_decision(&statement::GateDecision {
        revision,
        verifier: "urn:weighhouse:registry:example",
        verifier_version: "0.1.0",
        decision: "d1",
        allowed: true,
        environment: "production",
        intended_use: &verifier::policy::Use::default(),
        policy_name: "standard",
        policy_digest: &digest("policy"),
        input_digest: &digest("input"),
        input_attestations: &[],
        levels: &[],
        reasons: &[],
        waived: &[],
        decided_at: "2026-11-24T11:01:00Z",
        valid_until: None,
    });
    let bundle = statement::sign(&decision.unwrap(), &key).unwrap();
    let found = held(&serde_json::from_slice(&bundle).unwrap(), &trust(&[&key]));
    assert_eq!((found.facts.signature.state, codes(&found)), (SignatureState::Trusted, vec![]));
    assert_eq!(found.facts.predicate["verificationResult"], "PASSED");
    assert_eq!(found.facts.subjects.len(), 3, "the content and both files of these weights");
}
