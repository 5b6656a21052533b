//! A whole bundle from a stranger, read by everything that reads bundles.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use verifier::provenance::sigstore::{Artifact, Signer, verify};
use verifier::provenance::{DigestCache, Subject, TrustMaterial, TrustRoot, judge};

static TRUST: LazyLock<TrustMaterial> = LazyLock::new(|| TrustMaterial {
    keys: Vec::new(),
    roots: vec![TrustRoot::public_good().expect("the root that is built in")],
});

fuzz_target!(|bundle: &[u8]| {
    let attached = [bundle.to_vec()];
    let subject = Subject { files: &[], content_digest: "", attached: &attached };
    let _ = judge(subject, &TRUST, &DigestCache::new());
    let signer = Signer::Identity { identity: "a@example.com", issuer: "https://example.com" };
    let _ = verify(bundle, Artifact::Sha256([0; 32]), signer, &TRUST.roots[0]);
});
