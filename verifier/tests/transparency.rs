//! Whether verifiers that others wrote find a statement in our log, and only what is in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its log has failed")]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sigstore_trust_root::TrustedRoot;
use sigstore_types::{Bundle, DerPublicKey, Sha256Hash};
use sigstore_verify::{PublicKeyVerificationPolicy, Verifier};
use verifier::provenance::oms::SigningKey;
use verifier::provenance::transparency::merkle::{self, Hash, Node};
use verifier::provenance::transparency::trusted_root::log_entry;
use verifier::provenance::transparency::{
    Checkpoint, Frontier, LogKey, NoteSigner, StatementEntry, canonical_json, trusted_root,
};

const ORIGIN: &str = "weighhouse/0b8f6f0a-3c1d-4a53-9f0c-6f2f7f0f8f11";
const SUBJECT: [u8; 32] = [0xaa; 32];
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A log with a signed statement among other leaves.
struct Log {
    signer: NoteSigner,
    statement_key: SigningKey,
    bundle: Value,
    root: Value,
}

fn signer() -> NoteSigner {
    NoteSigner::from_pkcs8(ORIGIN, &NoteSigner::generate_pkcs8().unwrap()).unwrap()
}

fn key(signer: &NoteSigner, valid_to: Option<&str>) -> LogKey {
    LogKey {
        verifier: signer.verifier().unwrap(),
        valid_from: "2026-01-01T00:00:00Z".to_owned(),
        valid_to: valid_to.map(str::to_owned),
    }
}

impl Log {
    fn new() -> Self {
        let (signer, statement_key) = (signer(), SigningKey::generate().unwrap());
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "acme/tiny@1", "digest": { "sha256": hex::encode(SUBJECT) } }],
            "predicateType": "https://slsa.dev/verification_summary/v1",
            "predicate": {},
        });
        let payload = canonical_json(&statement).unwrap();
        let signed =
            [format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).as_bytes(), &payload].concat();
        let signature = statement_key.sign(&signed).unwrap();
        let body = StatementEntry::new(&signed, &signature, &statement_key.public_key_der()).body().unwrap();
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "publicKey": { "hint": "statement" },
                "tlogEntries": [Self::entry(&signer, &body)],
            },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{ "sig": STANDARD.encode(&signature), "keyid": "" }],
            },
        });
        let root = trusted_root(&[key(&signer, None)]);
        Self { signer, statement_key, bundle, root }
    }

    fn entry(signer: &NoteSigner, body: &str) -> Value {
        let leaves = [b"a".as_slice(), b"b", b"c", body.as_bytes(), b"e"].map(merkle::leaf_hash);
        let mut frontier = Frontier::new();
        let nodes: BTreeMap<Node, Hash> = leaves.into_iter().flat_map(|leaf| frontier.append(leaf).unwrap()).collect();
        let head = Checkpoint { origin: ORIGIN.to_owned(), size: frontier.size(), root: frontier.root() };
        let hashes = merkle::inclusion_proof(3, head.size, |node| nodes.get(&node).copied().ok_or(node)).unwrap();
        let note = head.sign(signer).unwrap().to_string();
        log_entry(body, 3, &hashes, (&head, &note), &signer.verifier().unwrap())
    }

    /// What sigstore's verifier says under the policy that a log entry is required.
    fn verify(&self, bundle: &Value, root: &Value) -> Result<(), String> {
        let root = TrustedRoot::from_json(&root.to_string()).map_err(|error| error.to_string())?;
        let bundle = Bundle::from_json(&bundle.to_string()).map_err(|error| error.to_string())?;
        let policy =
            PublicKeyVerificationPolicy::new(DerPublicKey::from_pem(&self.statement_key.public_key_pem()).unwrap());
        let verifier = Verifier::new(&root).map_err(|error| error.to_string())?;
        let found = verifier.verify(Sha256Hash::new(SUBJECT), &bundle, &policy);
        let found = found.map_err(|error| error.to_string())?;
        if found.tlog_verified() { Ok(()) } else { Err("no log was asked".to_owned()) }
    }
}

/// The same text with one base64 digit in the middle changed.
fn flipped(text: &Value) -> Value {
    let mut bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    json!(STANDARD.encode(bytes))
}

#[test]
fn sigstores_verifier_finds_a_statement_in_our_log() {
    let log = Log::new();
    assert_eq!(log.verify(&log.bundle, &log.root), Ok(()));
}

#[test]
fn sigstores_verifier_refuses_every_changed_part_of_the_proof() {
    let log = Log::new();
    let entry = "/verificationMaterial/tlogEntries/0";
    for place in ["/inclusionProof/hashes/0", "/inclusionProof/hashes/2", "/canonicalizedBody"] {
        let mut changed = log.bundle.clone();
        let value = changed.pointer_mut(&format!("{entry}{place}")).unwrap();
        *value = flipped(value);
        assert!(log.verify(&changed, &log.root).is_err(), "{place}");
    }
    let mut changed = log.bundle.clone();
    *changed.pointer_mut(&format!("{entry}/logIndex")).unwrap() = json!("2");
    assert!(log.verify(&changed, &log.root).is_err(), "another place");
    let mut changed = log.bundle.clone();
    let note = changed.pointer_mut(&format!("{entry}/inclusionProof/checkpoint/envelope")).unwrap();
    *note = json!(note.as_str().unwrap().replace("\n5\n", "\n6\n"));
    assert!(log.verify(&changed, &log.root).is_err(), "another size");
}

#[test]
fn sigstores_verifier_refuses_a_head_of_another_key() {
    let log = Log::new();
    let foreign = trusted_root(&[key(&signer(), None)]);
    assert!(log.verify(&log.bundle, &foreign).is_err());
}

#[test]
fn sigstores_verifier_goes_on_accepting_heads_of_a_key_that_ended() {
    let log = Log::new();
    let rotated = trusted_root(&[key(&log.signer, Some("2026-02-01T00:00:00Z")), key(&signer(), None)]);
    assert_eq!(log.verify(&log.bundle, &rotated), Ok(()));
}
