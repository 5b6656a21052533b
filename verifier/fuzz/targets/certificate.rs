//! A signer's certificate. The seeds hold the key that the template's signature is by, so a
//! change of anything else reaches the chain.

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use verifier::provenance::{TrustMaterial, TrustRoot, verify_envelope};

static TEMPLATE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(include_bytes!("../seeds/template.json")).expect("JSON"));
static TRUST: LazyLock<TrustMaterial> = LazyLock::new(|| TrustMaterial {
    keys: Vec::new(),
    roots: vec![TrustRoot::parse("seeds", include_bytes!("../seeds/root.pem")).expect("certificates")],
});

fuzz_target!(|certificate: &[u8]| {
    let base64 = STANDARD.encode(certificate);
    let mut bundle = TEMPLATE.clone();
    let raw = json!({ "rawBytes": base64 });
    bundle["verificationMaterial"] = json!({ "x509CertificateChain": { "certificates": [raw, raw] } });
    let _ = verify_envelope(bundle.to_string().as_bytes(), &TRUST);
    bundle["verificationMaterial"] = json!({ "certificate": raw, "tlogEntries": [] });
    let _ = verify_envelope(bundle.to_string().as_bytes(), &TRUST);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
    let _ = TrustRoot::parse("fuzzed", pem.as_bytes());
});
