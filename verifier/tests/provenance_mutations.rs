//! One flipped bit anywhere in a real bundle: refused with a reason, or proven to change nothing.
//!
//! What no signature or proof covers is listed here by its place in the JSON. A change there may
//! pass, and then everything that is reported of the bundle must stay the same.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use sha2::{Digest, Sha256};
use verifier::DigestedFile;
use verifier::evidence::{SignatureFacts, SignatureState};
use verifier::provenance::oms::{self, TrustedKey};
use verifier::provenance::sigstore::{self, Artifact, Signer};
use verifier::provenance::{DigestCache, TrustMaterial, TrustRoot, verify_envelope};
use weighhouse_tests::environment;

/// Most bytes that are changed in one value of a bundle, spread over it.
const SAMPLES: usize = 48;

/// Places that nothing authenticates, all bundles together, and why that is harmless.
const UNAUTHENTICATED: [&str; 10] = [
    // The digest of a message is computed; this only says by what.
    "/messageSignature/messageDigest/algorithm",
    // What came with the signature to find its key; the key is one that was configured.
    "/verificationMaterial/publicKey/hint",
    "/verificationMaterial/publicKey/keyDetails",
    "/verificationMaterial/publicKey/rawBytes",
    // A timestamp token's certificates and unsigned attributes: the authority's are in the root.
    "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/*/signedTimestamp",
    // The names and witnesses' signatures below a checkpoint.
    "/verificationMaterial/tlogEntries/*/inclusionProof/checkpoint/envelope",
    // Rekor v2 repeats here what its checkpoint and entry say, and only these are read.
    "/verificationMaterial/tlogEntries/*/inclusionProof/logIndex",
    "/verificationMaterial/tlogEntries/*/inclusionProof/rootHash",
    "/verificationMaterial/tlogEntries/*/inclusionProof/treeSize",
    // Which log it was, where the checkpoint's signature says so.
    "/verificationMaterial/tlogEntries/*/logId/keyId",
];

/// A bundle with what it is verified by.
struct Real {
    name: String,
    bundle: Vec<u8>,
    trust: TrustMaterial,
    kind: Kind,
}

enum Kind {
    /// A model signature over files, by path and digest.
    Model(Vec<(String, String)>),
    /// A statement about something that is not at hand.
    Statement,
    /// A sigstore signature over a message of this digest, by a key or by anyone.
    Message { digest: [u8; 32], identity: String, issuer: String, key: Option<String> },
}

static NOTHING: Vec<u8> = Vec::new();

impl Real {
    /// Everything that is reported of the bundle but its own digest; the code of its refusal otherwise.
    fn judge(&self, bundle: &[u8]) -> Result<String, String> {
        match &self.kind {
            Kind::Model(files) => {
                let content: Vec<DigestedFile<'_>> =
                    files.iter().map(|(path, digest)| DigestedFile { path, digest, source: &NOTHING }).collect();
                let files = oms::Files { content: &content, signatures: &[] };
                let check = oms::verify(bundle, files, &self.trust, &DigestCache::new());
                report(check.facts, check.findings.first().map(|finding| finding.code.clone()))
            }
            Kind::Statement => {
                let check = verify_envelope(bundle, &self.trust);
                report(check.facts, check.findings.first().map(|finding| finding.code.clone()))
            }
            Kind::Message { digest, identity, issuer, key } => {
                let signer = match key {
                    Some(pem) => Signer::Key { pem },
                    None => Signer::Identity { identity, issuer },
                };
                let verified = sigstore::verify(bundle, Artifact::Sha256(*digest), signer, &self.trust.roots[0]);
                verified.map(|verified| format!("{verified:?}")).map_err(|error| error.code().to_owned())
            }
        }
    }
}

fn report(mut facts: SignatureFacts, code: Option<String>) -> Result<String, String> {
    facts.digest.clear();
    if matches!(facts.state, SignatureState::Trusted | SignatureState::Untrusted) {
        return Ok(format!("{facts:?}"));
    }
    Err(code.unwrap())
}

fn real_bundles(vectors: &Path) -> Vec<Real> {
    let mut bundles = conformance(&vectors.join("sigstore-conformance"));
    bundles.extend(models(vectors));
    bundles
}

fn conformance(folder: &Path) -> Vec<Real> {
    let entries = fs_err::read_dir(folder.join("bundle-verify")).unwrap().map(|entry| entry.unwrap());
    let good = entries.filter(|entry| entry.path().is_dir() && !entry.file_name().to_string_lossy().ends_with("_fail"));
    good.map(|entry| {
        let text = |file: &str| fs_err::read_to_string(entry.path().join(file)).ok();
        let artifact = fs_err::read(entry.path().join("artifact")).or_else(|_| fs_err::read(folder.join("a.txt")));
        let root = match text("trusted_root.json") {
            Some(document) => TrustRoot::parse("case", document.as_bytes()).unwrap(),
            None => TrustRoot::public_good().unwrap(),
        };
        let bundle = fs_err::read(entry.path().join("bundle.sigstore.json")).unwrap();
        let is_statement = String::from_utf8_lossy(&bundle).contains("dsseEnvelope");
        let kind = if is_statement {
            Kind::Statement
        } else {
            Kind::Message {
                digest: Sha256::digest(artifact.unwrap()).into(),
                identity: "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main".to_owned(),
                issuer: "https://token.actions.githubusercontent.com".to_owned(),
                key: text("key.pub"),
            }
        };
        let trust = TrustMaterial { keys: Vec::new(), roots: vec![root] };
        Real { name: entry.file_name().into_string().unwrap(), bundle, trust, kind }
    })
    .collect()
}

fn models(vectors: &Path) -> Vec<Real> {
    let releases = vectors.join("oms-releases");
    let key = fs_err::read_to_string(releases.join("keys/signing-key-pub.pem")).unwrap();
    let key = TrustedKey::from_pem("releases", &key).unwrap();
    let trust = TrustMaterial { keys: vec![key], roots: vec![TrustRoot::public_good().unwrap()] };
    let spec = vectors.join("oms-spec/test-vectors/v1.0/valid");
    let model = |name: &str, release: &str, bundle: &Path| {
        let folder = releases.join(release);
        let names = ["ignore-me", "signme-1", "signme-2"].into_iter().filter(|name| folder.join(name).exists());
        let digest = |name: &str| hex::encode(Sha256::digest(fs_err::read(folder.join(name)).unwrap()));
        let files = names.map(|name| (name.to_owned(), digest(name))).collect();
        let bundle = fs_err::read(bundle).unwrap();
        Real { name: name.to_owned(), bundle, trust: trust.clone(), kind: Kind::Model(files) }
    };
    let released = ["v0.3.1-elliptic-key", "v1.0.1-elliptic-key", "v0.3.1-sigstore", "v1.0.1-sigstore"];
    let mut all: Vec<Real> =
        released.map(|name| model(name, name, &releases.join(name).join("model.sig"))).into_iter().collect();
    all.push(model("spec-key", "v1.0.1-elliptic-key", &spec.join("key.bundle.json")));
    all.push(model("spec-sigstore", "v1.0.1-sigstore", &spec.join("sigstore.bundle.json")));
    all
}

/// A value's place in a JSON text, or a piece of the text around the values.
struct Place {
    path: String,
    range: Range<usize>,
}

/// Splits a JSON text into its scalar values and what stands between them.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    places: Vec<Place>,
}

impl<'a> Scanner<'a> {
    fn places(text: &'a [u8]) -> Vec<Place> {
        let mut scanner = Self { text, at: 0, places: Vec::new() };
        scanner.value("");
        let mut end = 0;
        let mut gaps = Vec::new();
        for place in &scanner.places {
            gaps.push(Place { path: "(structure)".to_owned(), range: end..place.range.start });
            end = place.range.end;
        }
        gaps.push(Place { path: "(structure)".to_owned(), range: end..text.len() });
        scanner.places.extend(gaps.into_iter().filter(|gap| !gap.range.is_empty()));
        scanner.places
    }

    fn skip(&mut self, skipped: &[u8]) {
        while self.at < self.text.len() && skipped.contains(&self.text[self.at]) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Range<usize> {
        let start = self.at + 1;
        self.at = start;
        while self.text[self.at] != b'"' {
            self.at += if self.text[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        start..self.at - 1
    }

    fn value(&mut self, path: &str) {
        self.skip(b" \n\r\t");
        match self.text[self.at] {
            b'{' => self.members(path),
            b'[' => self.elements(path),
            b'"' => {
                let range = self.string();
                self.places.push(Place { path: path.to_owned(), range });
            }
            _ => {
                let start = self.at;
                while !b",]} \n\r\t".contains(&self.text[self.at]) {
                    self.at += 1;
                }
                self.places.push(Place { path: path.to_owned(), range: start..self.at });
            }
        }
    }

    fn members(&mut self, path: &str) {
        self.at += 1;
        self.skip(b" \n\r\t");
        while self.text[self.at] != b'}' {
            let name = String::from_utf8(self.text[self.string()].to_vec()).unwrap();
            self.skip(b": \n\r\t");
            self.value(&format!("{path}/{name}"));
            self.skip(b", \n\r\t");
        }
        self.at += 1;
    }

    fn elements(&mut self, path: &str) {
        self.at += 1;
        self.skip(b" \n\r\t");
        while self.text[self.at] != b']' {
            self.value(&format!("{path}/*"));
            self.skip(b", \n\r\t");
        }
        self.at += 1;
    }
}

/// Positions spread over a range, its ends among them.
fn samples(range: &Range<usize>, most: usize) -> BTreeSet<usize> {
    let length = range.len();
    let count = length.min(most);
    let spread = (0..count).map(|index| range.start + index * (length - 1) / (count - 1).max(1));
    spread.collect()
}

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing_that_is_reported() {
    let Some(vectors) = environment::vectors() else { return };
    let bundles = real_bundles(&vectors);
    assert!(bundles.len() >= 20, "{}", bundles.len());
    let passed: BTreeSet<String> = bundles.into_par_iter().flat_map_iter(|real| flips_that_pass(&real)).collect();
    let expected: BTreeSet<String> = UNAUTHENTICATED.into_iter().map(str::to_owned).collect();
    assert_eq!(passed, expected);
}

/// The places of one bundle where a change passes; it changes nothing else there.
fn flips_that_pass(real: &Real) -> BTreeSet<String> {
    let untouched = real.judge(&real.bundle);
    assert!(untouched.is_ok(), "{}: {untouched:?}", real.name);
    let mut passed = BTreeSet::new();
    for place in Scanner::places(&real.bundle) {
        if place.range.is_empty() {
            continue;
        }
        for at in samples(&place.range, SAMPLES) {
            let mut bundle = real.bundle.clone();
            bundle[at] ^= 1 << (at % 7);
            if let Ok(report) = real.judge(&bundle) {
                assert_eq!(Ok(&report), untouched.as_ref(), "{} at {} of {}", place.path, at, real.name);
                passed.insert(place.path.clone());
            }
        }
    }
    passed
}
