//! Trust roots: what is one, what it is known by, and that merging loses nothing.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use verifier::provenance::{RootError, RootKind, TrustMaterial, TrustRoot};

fn public_good() -> Value {
    serde_json::from_slice(TrustRoot::public_good().unwrap().document()).unwrap()
}

fn parse(document: &Value) -> Result<TrustRoot, RootError> {
    TrustRoot::parse("public", document.to_string().as_bytes())
}

fn certificate() -> String {
    let der = CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
    let base64 = STANDARD.encode(der.der());
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}

#[test]
fn a_root_is_recognized_by_its_content_and_known_by_its_digest() {
    let root = TrustRoot::public_good().unwrap();
    assert_eq!((root.name(), root.kind(), root.is_without_log()), ("public-good", RootKind::Sigstore, false));
    assert_eq!(root.digest(), hex::encode(Sha256::digest(root.document())));
    assert!(root.newest().unwrap().starts_with("202"));
    let configuration = json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": public_good(),
        "signingConfig": {},
    });
    assert_eq!(parse(&configuration).unwrap().newest(), root.newest());
    let pem = certificate();
    let own = TrustRoot::parse("own", pem.as_bytes()).unwrap();
    assert_eq!((own.kind(), own.kind().as_str()), (RootKind::Certificates, "certificates"));
    assert_eq!(own.digest(), hex::encode(Sha256::digest(pem)));
}

#[test]
fn documents_that_are_no_roots_are_refused_by_name() {
    let parse_bytes = |bytes: &[u8]| TrustRoot::parse("x", bytes).unwrap_err();
    assert_eq!(parse_bytes(b"hello"), RootError::Unrecognized);
    assert_eq!(parse_bytes(b"\xff"), RootError::Unrecognized);
    assert_eq!(parse_bytes(b"{}"), RootError::Unrecognized);
    assert!(matches!(parse_bytes(b"{"), RootError::InvalidJson(_)));
    assert_eq!(parse_bytes(&vec![b' '; (1 << 20) + 1]), RootError::TooLarge);
    let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(parse_bytes(empty), RootError::Certificate(_)));
    assert_eq!(parse_bytes(certificate().repeat(65).as_bytes()), RootError::TooManyCertificates);
    let mut crowded = public_good();
    crowded["tlogs"] = json!(vec![crowded["tlogs"][0].clone(); 65]);
    assert_eq!(parse(&crowded).unwrap_err(), RootError::TooManyEntries("tlogs"));
    let mut twice = public_good();
    twice["tlogs"] = json!(vec![twice["tlogs"][0].clone(); 2]);
    assert!(matches!(parse(&twice).unwrap_err(), RootError::Sigstore(_)));
}

#[test]
fn merging_adds_what_is_new_and_drops_nothing() {
    let whole = public_good();
    let (mut older, mut newer) = (whole.clone(), whole.clone());
    older["tlogs"] = json!([whole["tlogs"][0]]);
    newer["tlogs"] = json!([whole["tlogs"][1]]);
    newer["certificateAuthorities"] = json!([]);
    newer.as_object_mut().unwrap().remove("timestampAuthorities");
    let merged = parse(&older).unwrap().without_log().merged(newer.to_string().as_bytes()).unwrap();
    assert!(merged.is_without_log());
    let document: Value = serde_json::from_slice(merged.document()).unwrap();
    assert_eq!(document["tlogs"], json!([whole["tlogs"][1], whole["tlogs"][0]]));
    assert_eq!(document["certificateAuthorities"], whole["certificateAuthorities"]);
    assert_eq!(document["timestampAuthorities"], whole["timestampAuthorities"]);
    let again = merged.merged(merged.document()).unwrap();
    assert_eq!(again.digest(), merged.digest());
}

#[test]
fn a_stale_document_neither_reopens_nor_shortens_a_window() {
    let mut older = public_good();
    older["tlogs"] = json!([older["tlogs"][0]]);
    let mut closed = older.clone();
    closed["tlogs"][0]["publicKey"]["validFor"] =
        json!({ "start": "2022-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z" });
    older["tlogs"][0]["publicKey"]["validFor"] = json!({ "start": "2021-01-12T11:53:27Z" });
    let expected = json!({ "start": "2021-01-12T11:53:27Z", "end": "2026-01-01T00:00:00Z" });
    for (one, other) in [(&older, &closed), (&closed, &older)] {
        let merged = parse(one).unwrap().merged(other.to_string().as_bytes()).unwrap();
        let document: Value = serde_json::from_slice(merged.document()).unwrap();
        assert_eq!(document["tlogs"][0]["publicKey"]["validFor"], expected);
    }
}

#[test]
fn documents_that_do_not_belong_together_are_not_merged() {
    let root = TrustRoot::public_good().unwrap();
    assert_eq!(root.merged(certificate().as_bytes()).unwrap_err(), RootError::KindMismatch);
    let mut other = public_good();
    other["tlogs"][0]["publicKey"]["rawBytes"] = other["tlogs"][1]["publicKey"]["rawBytes"].clone();
    assert!(matches!(root.merged(other.to_string().as_bytes()).unwrap_err(), RootError::Conflict(_)));
    let (one, two) = (certificate(), certificate());
    let merged = TrustRoot::parse("own", one.as_bytes()).unwrap().merged((two.clone() + &one).as_bytes()).unwrap();
    assert_eq!(String::from_utf8_lossy(merged.document()).matches("BEGIN CERTIFICATE").count(), 2);
}

#[test]
fn the_materials_digest_follows_names_documents_and_the_log() {
    let material = |roots: Vec<TrustRoot>| TrustMaterial { keys: Vec::new(), roots }.digest();
    let root = TrustRoot::public_good().unwrap();
    let renamed = TrustRoot::parse("other", root.document()).unwrap();
    let digests = [
        material(Vec::new()),
        material(vec![root.clone()]),
        material(vec![root.without_log()]),
        material(vec![renamed]),
    ];
    let distinct: std::collections::BTreeSet<&String> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
}
