//! A statement that a trusted key signed, whatever it says.

#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use verifier::DigestedFile;
use verifier::provenance::{DigestCache, SigningKey, Subject, TrustMaterial, TrustedKey, judge};

/// The files that the seeds' manifests list.
const NAMES: [&str; 3] = ["signme-1", "signme-2", "ignore-me"];
const DIGEST: &str = "bc9a717db6064a32cbe9eae6fc40651dd6d36ef1757183f590eff2b1765d7ebc";

static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| vec![7; 4500]);
static KEY: LazyLock<(EcdsaKeyPair, TrustMaterial)> = LazyLock::new(|| {
    let key = SigningKey::generate().expect("randomness");
    let trusted = TrustedKey::from_pem("fuzz", &key.public_key_pem()).expect("a public key");
    let base64: String = key.to_pem().lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).expect("base64");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).expect("a private key");
    (pair, TrustMaterial { keys: vec![trusted], roots: Vec::new() })
});

fuzz_target!(|payload: &[u8]| {
    let mut message = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()).into_bytes();
    message.extend_from_slice(payload);
    let signature = KEY.0.sign(&SystemRandom::new(), &message).expect("a signature");
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": {}, "tlogEntries": [] },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{ "sig": STANDARD.encode(signature.as_ref()) }],
        },
    });
    let files = NAMES.map(|path| DigestedFile { path, digest: DIGEST, source: &*CONTENT });
    let attached = [bundle.to_string().into_bytes()];
    let subject = Subject { files: &files, content_digest: DIGEST, attached: &attached };
    let _ = judge(subject, &KEY.1, &DigestCache::new());
});
