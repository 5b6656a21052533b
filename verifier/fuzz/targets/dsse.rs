//! A signed envelope inside a bundle that is otherwise in order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use verifier::provenance::{DigestCache, Subject, TrustMaterial, judge};

fuzz_target!(|envelope: &[u8]| {
    let mut bundle = br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"00"},"tlogEntries":[]},"dsseEnvelope":"#.to_vec();
    bundle.extend_from_slice(envelope);
    bundle.push(b'}');
    let attached = [bundle];
    let subject = Subject { files: &[], content_digest: "", attached: &attached };
    let _ = judge(subject, &TrustMaterial::default(), &DigestCache::new());
});
