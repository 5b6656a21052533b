//! The cases of the sigstore conformance suite, each with the name of the reason it is refused for.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use verifier::evidence::TimeSource;
use verifier::provenance::TrustRoot;
use verifier::provenance::sigstore::{Artifact, Signer, SigstoreError, Verified, verify};
use weighhouse_tests::environment;

/// Whom the suite's cases are signed by, unless they say otherwise.
const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Names of cases that must fail, by the code they fail with.
const REFUSALS: [(&str, &str); 40] = [
    ("bundle-from-wrong-instance", "LOG_PROMISE_INVALID"),
    ("bundle-invalid-base64-signature", "BUNDLE_MALFORMED"),
    ("bundle-malformed-json", "BUNDLE_MALFORMED"),
    ("bundle-negative-log-index", "BUNDLE_MALFORMED"),
    ("bundle-unknown-version", "BUNDLE_MALFORMED"),
    ("bundle-with-root-cert", "LOG_CHECKPOINT_INVALID"),
    ("checkpoint-bad-keyhint", "LOG_CHECKPOINT_INVALID"),
    ("dsse-invalid-sig", "SIGNATURE_INVALID"),
    ("dsse-mismatch-sig", "LOG_ENTRY_MISMATCH"),
    ("inclusion-proof-corrupted-hash", "LOG_INCLUSION_PROOF_INVALID"),
    ("incorrect-public-key", "LOG_PROMISE_INVALID"),
    ("integrated-time-in-future", "SIGNED_AFTER_CERTIFICATE"),
    ("intoto-expired-certificate", "SIGNED_BEFORE_CERTIFICATE"),
    ("intoto-log-entry-mismatch", "LOG_ENTRY_MALFORMED"),
    ("intoto-missing-inclusion-proof", "LOG_INCLUSION_PROOF_INVALID"),
    ("intoto-tsa-timestamp-outside-cert-validity", "SIGNED_AFTER_CERTIFICATE"),
    ("invalid-checkpoint-signature", "LOG_CHECKPOINT_INVALID"),
    ("invalid-ct-key", "CERTIFICATE_NOT_LOGGED"),
    ("invalid-inclusion-proof", "LOG_CHECKPOINT_INVALID"),
    ("managed-key-no-key", "BUNDLE_MALFORMED"),
    ("managed-key-wrong-key", "SIGNATURE_KEY_UNSUPPORTED"),
    ("message-digest-mismatch", "ARTIFACT_MISMATCH"),
    ("rekor2-checkpoint-missing-log-signature", "BUNDLE_MALFORMED"),
    ("rekor2-checkpoint-missing-origin", "BUNDLE_MALFORMED"),
    ("rekor2-checkpoint-missing-root-hash", "BUNDLE_MALFORMED"),
    ("rekor2-checkpoint-no-matching-signature", "LOG_CHECKPOINT_INVALID"),
    ("rekor2-dsse-invalid-sig", "SIGNATURE_INVALID"),
    ("rekor2-dsse-mismatch-envelope", "ARTIFACT_MISMATCH"),
    ("rekor2-dsse-mismatch-sig", "LOG_ENTRY_MISMATCH"),
    ("rekor2-no-inclusion-proof", "LOG_INCLUSION_PROOF_INVALID"),
    ("rekor2-no-timestamp", "SIGNING_TIME_MISSING"),
    ("rekor2-timestamp-outside-trust-root-tsa-validity", "TIMESTAMP_OUTSIDE_AUTHORITY"),
    ("rekor2-timestamp-outside-tsa-cert-validity", "TIMESTAMP_INVALID"),
    ("rekor2-timestamp-untrusted-tsa-with-embedded-cert", "TIMESTAMP_INVALID"),
    ("rekor2-timestamp-untrusted-tsa-without-embedded-cert", "TIMESTAMP_INVALID"),
    ("rekor2-timestamp-with-incorrect-time", "BUNDLE_MALFORMED"),
    ("signature-mismatch", "SIGNATURE_INVALID"),
    ("trust-root-tlog-missing-validity-start", "TRUST_ROOT_UNUSABLE"),
    ("wrong-hashedrekord-artifact", "ARTIFACT_MISMATCH"),
    ("wrong-hashedrekord-entry", "ARTIFACT_MISMATCH"),
];

struct Case {
    folder: PathBuf,
    name: String,
}

impl Case {
    fn all(vectors: &Path) -> Vec<Self> {
        let folder = vectors.join("sigstore-conformance/bundle-verify");
        let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let folders = entries.filter(|entry| entry.path().is_dir());
        folders
            .map(|entry| Self { folder: entry.path().clone(), name: entry.file_name().into_string().unwrap() })
            .collect()
    }

    fn read(&self, file: &str) -> Option<Vec<u8>> {
        fs_err::read(self.folder.join(file)).ok()
    }

    fn text(&self, file: &str) -> Option<String> {
        self.read(file).map(|bytes| String::from_utf8(bytes).unwrap().trim().to_owned())
    }

    fn artifact(&self) -> Vec<u8> {
        self.read("artifact").or_else(|| self.read("../../a.txt")).unwrap()
    }

    fn run(&self, by_digest: bool) -> Result<Verified, SigstoreError> {
        let root = match self.read("trusted_root.json") {
            Some(document) => {
                TrustRoot::parse("case", &document).map_err(|error| SigstoreError::Root(error.to_string()))?
            }
            None => TrustRoot::public_good().unwrap(),
        };
        let (identity, issuer) = (self.text("identity"), self.text("issuer"));
        let key = self.text("key.pub");
        let signer = match &key {
            Some(pem) => Signer::Key { pem },
            None => Signer::Identity {
                identity: identity.as_deref().unwrap_or(IDENTITY),
                issuer: issuer.as_deref().unwrap_or(ISSUER),
            },
        };
        let bundle = self.read("bundle.sigstore.json").unwrap();
        let content = self.artifact();
        let mut reader = Cursor::new(&content);
        let artifact =
            if by_digest { Artifact::Sha256(Sha256::digest(&content).into()) } else { Artifact::Reader(&mut reader) };
        verify(&bundle, artifact, signer, &root)
    }
}

#[test]
fn every_conformance_case_is_judged_rightly_by_path_and_by_digest() {
    let Some(vectors) = environment::vectors() else { return };
    let cases = Case::all(&vectors);
    assert_eq!(cases.len(), 56);
    for by_digest in [false, true] {
        let mut refused = BTreeMap::new();
        for case in &cases {
            let result = case.run(by_digest);
            assert_eq!(result.is_err(), case.name.ends_with("_fail"), "{}: {result:?}", case.name);
            if let Err(error) = result {
                refused.insert(case.name.trim_end_matches("_fail"), error.code());
            }
        }
        assert_eq!(refused, BTreeMap::from(REFUSALS));
    }
}

#[test]
fn evidence_names_who_signed_when_and_where_it_was_logged() {
    let Some(vectors) = environment::vectors() else { return };
    let cases = Case::all(&vectors);
    let run = |name: &str| cases.iter().find(|case| case.name == name).unwrap().run(true).unwrap();
    let first = run("happy-path-v0.3");
    assert_eq!((first.identity.as_deref(), first.issuer.as_deref()), (Some(IDENTITY), Some(ISSUER)));
    assert_eq!(first.times.iter().map(|time| time.source).collect::<Vec<_>>(), [TimeSource::TransparencyLog]);
    assert_eq!(first.log_positions.len(), 1);
    assert!(first.log_positions[0].log.starts_with("rekor.sigstore.dev"), "{first:?}");
    let second = run("rekor2-happy-path");
    assert_eq!(second.times.iter().map(|time| time.source).collect::<Vec<_>>(), [TimeSource::TimestampAuthority]);
    let by_key = run("managed-key-happy-path");
    assert_eq!((by_key.identity, by_key.log_positions.len()), (None, 1));
}
