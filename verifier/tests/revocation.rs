//! Revocation lists: what they revoke, which may follow which, and every refusal.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use verifier::provenance::oms::{SigningKey, TrustedKey};
use verifier::provenance::revocation::{
    CompromisedFrom, Crl, CrlError, Entry, EntryError, MAX_LIST_BYTES, PAYLOAD_TYPE, Receipt, RevocationError,
    RevocationList, Revoked, SignedRevocationList, check_successor, sign, verify,
};

const ORIGIN: &str = "registry.example/log";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn entry(revoked: Revoked) -> Entry {
    let revoked_at = time("2026-11-01T00:00:00Z");
    Entry { revoked, reason: "stolen".to_owned(), revoked_at, compromised_from: None }
}

fn list(number: u64, entries: Vec<Entry>) -> RevocationList {
    RevocationList { number, issued_at: time("2026-11-02T03:04:05Z"), issuer: "Example security".to_owned(), entries }
}

fn trusted(key: &SigningKey) -> Vec<TrustedKey> {
    vec![TrustedKey::from_pem("security", &key.public_key_pem()).unwrap()]
}

fn signed(list: &RevocationList) -> SignedRevocationList {
    let key = SigningKey::generate().unwrap();
    verify(&sign(list, &key).unwrap(), &trusted(&key)).unwrap()
}

fn envelope(key: &SigningKey, payload: &[u8], payload_type: &str) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    let signature = STANDARD.encode(key.sign(&message).unwrap());
    let signatures = json!([{ "sig": signature }]);
    json!({ "payload": STANDARD.encode(payload), "payloadType": payload_type, "signatures": signatures })
        .to_string()
        .into_bytes()
}

/// What becomes of a signed document.
fn verdict(document: &[u8]) -> Result<SignedRevocationList, RevocationError> {
    let key = SigningKey::generate().unwrap();
    verify(&envelope(&key, document, PAYLOAD_TYPE), &trusted(&key))
}

fn document() -> Value {
    json!({
        "schema_version": 1, "number": 3, "issued_at": "2026-11-02T03:04:05Z", "issuer": "Example security",
        "entries": [{ "kind": "key", "sha256": digest('a'), "reason": "stolen", "revoked_at": "2026-11-01T00:00:00Z" }],
    })
}

fn refusal(change: impl Fn(&mut Value)) -> RevocationError {
    let mut changed = document();
    change(&mut changed);
    verdict(changed.to_string().as_bytes()).unwrap_err()
}

fn entry_refusal(change: impl Fn(&mut Value)) -> EntryError {
    match refusal(|document| change(&mut document["entries"][0])) {
        RevocationError::InvalidEntry { index: 0, reason } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_signed_list_is_read_back_and_found_by_everything_it_names() {
    let by_serial =
        Revoked::CertificateSerial { issuer: "CN=Example CA,O=Example".to_owned(), serial: "a2".to_owned() };
    let all = [
        Revoked::Key(digest('a')),
        Revoked::Certificate(digest('b')),
        by_serial,
        Revoked::Bundle(digest('c')),
        Revoked::Content(digest('d')),
    ];
    let mut written = list(7, all.into_iter().map(entry).collect());
    written.entries[0].compromised_from = Some(CompromisedFrom::log(ORIGIN, 12));
    written.entries[1].compromised_from = Some(CompromisedFrom::time(time("2026-10-01T00:00:00Z")));
    let read = signed(&written);
    assert_eq!(read.list(), &written);
    assert_eq!(read.key(&digest('a')), Some(&written.entries[0]));
    assert_eq!(read.certificate(&digest('b'), "", ""), Some(&written.entries[1]));
    assert_eq!(read.certificate(&digest('0'), "CN=Example CA,O=Example", "a2"), Some(&written.entries[2]));
    assert_eq!(read.bundle(&digest('c')), Some(&written.entries[3]));
    assert_eq!(read.content(&digest('d')), Some(&written.entries[4]));
    let others = [
        read.key(&digest('d')),
        read.bundle(&digest('a')),
        read.content(&digest('c')),
        read.certificate(&digest('a'), "CN=Example CA,O=Example", "a3"),
        read.certificate(&digest('a'), "CN=Another CA", "a2"),
    ];
    assert_eq!(others, [None; 5], "a digest of one kind revokes nothing of another");
}

#[test]
fn an_empty_list_is_a_list() {
    assert!(signed(&list(1, Vec::new())).list().entries.is_empty());
}

#[test]
fn what_was_logged_before_the_compromise_stands_and_nothing_else_does() {
    let received_at = time("2026-09-01T00:00:00Z");
    let receipt = |log_origin, log_index| Receipt { log_origin, log_index, received_at };
    let mut key = entry(Revoked::Key(digest('a')));
    assert!(key.covers(Some(&receipt(ORIGIN, Some(0)))), "without a moment of compromise nothing stands");
    key.compromised_from = Some(CompromisedFrom::log(ORIGIN, 12));
    assert!(!key.covers(Some(&receipt(ORIGIN, Some(11)))));
    assert!(key.covers(Some(&receipt(ORIGIN, Some(12)))));
    assert!(key.covers(Some(&receipt(ORIGIN, None))), "what the log does not hold yet came after");
    assert!(key.covers(Some(&receipt("another.example/log", Some(11)))), "another log counts otherwise");
    assert!(key.covers(None));
}

#[test]
fn what_was_received_before_a_time_of_compromise_stands() {
    let receipt = |at| Receipt { log_origin: ORIGIN, log_index: None, received_at: time(at) };
    let mut key = entry(Revoked::Key(digest('a')));
    key.compromised_from = Some(CompromisedFrom::time(time("2026-10-01T00:00:00Z")));
    assert!(!key.covers(Some(&receipt("2026-09-30T23:59:59Z"))));
    assert!(key.covers(Some(&receipt("2026-10-01T00:00:00Z"))));
    assert!(key.covers(None));
}

#[test]
fn a_list_may_follow_only_one_of_a_lower_number_and_the_same_issuer() {
    let seven = signed(&list(7, Vec::new()));
    let eight = signed(&list(8, Vec::new()));
    assert_eq!(check_successor(&seven, &eight), Ok(Vec::new()));
    assert_eq!(check_successor(&eight, &seven), Err(RevocationError::Rollback { held: 8, offered: 7 }));
    assert_eq!(check_successor(&seven, &signed(&list(7, Vec::new()))), Ok(Vec::new()), "signed twice, the same list");
    let other = signed(&list(7, vec![entry(Revoked::Key(digest('a')))]));
    assert_eq!(check_successor(&seven, &other), Err(RevocationError::NumberReused(7)));
    let mut foreign = list(9, Vec::new());
    foreign.issuer = "Somebody".to_owned();
    let refused = check_successor(&seven, &signed(&foreign)).unwrap_err();
    assert_eq!(refused.code(), "REVOCATION_LIST_OTHER_ISSUER");
}

#[test]
fn what_a_newer_list_takes_back_is_reported() {
    let mut key = entry(Revoked::Key(digest('a')));
    let old = signed(&list(1, vec![key.clone(), entry(Revoked::Content(digest('d')))]));
    key.compromised_from = Some(CompromisedFrom::log(ORIGIN, 5));
    let looser = signed(&list(2, vec![key.clone()]));
    let withdrawn = check_successor(&old, &looser).unwrap();
    let a = digest('a');
    assert_eq!(withdrawn, [format!("key {a}, before a later moment"), format!("content {}", digest('d'))]);
    key.compromised_from = Some(CompromisedFrom::log(ORIGIN, 4));
    assert_eq!(check_successor(&looser, &signed(&list(3, vec![key.clone()]))), Ok(Vec::new()), "stricter");
    key.compromised_from = Some(CompromisedFrom::log("another.example/log", 4));
    assert_eq!(check_successor(&looser, &signed(&list(3, vec![key]))).unwrap().len(), 1, "another log");
}

#[test]
fn only_a_trusted_key_speaks() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let bytes = sign(&list(1, Vec::new()), &key).unwrap();
    assert_eq!(verify(&bytes, &[]).unwrap_err(), RevocationError::NoTrustedKey);
    assert_eq!(verify(&bytes, &trusted(&other)).unwrap_err(), RevocationError::UnknownSigner);
    let both = [trusted(&other), trusted(&key)].concat();
    assert_eq!(verify(&bytes, &both).unwrap().signer(), trusted(&key)[0].digest());
    let mut changed: Value = serde_json::from_slice(&bytes).unwrap();
    changed["payload"] = json!(STANDARD.encode(document().to_string()));
    let refused = verify(changed.to_string().as_bytes(), &trusted(&key)).unwrap_err();
    assert_eq!(refused, RevocationError::BadSignature(trusted(&key)[0].digest().to_owned()));
}

#[test]
fn a_flip_of_any_byte_of_payload_or_signature_is_refused() {
    let key = SigningKey::generate().unwrap();
    let bytes = sign(&list(1, vec![entry(Revoked::Key(digest('a')))]), &key).unwrap();
    let envelope: Value = serde_json::from_slice(&bytes).unwrap();
    for place in ["/payload", "/signatures/0/sig"] {
        let whole = STANDARD.decode(envelope.pointer(place).unwrap().as_str().unwrap()).unwrap();
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            let mut changed = envelope.clone();
            *changed.pointer_mut(place).unwrap() = json!(STANDARD.encode(flipped));
            assert!(verify(changed.to_string().as_bytes(), &trusted(&key)).is_err(), "{place} {position}");
        }
    }
}

#[test]
fn an_envelope_around_something_else_is_refused() {
    let key = SigningKey::generate().unwrap();
    let payload = document().to_string().into_bytes();
    let in_toto = envelope(&key, &payload, "application/vnd.in-toto+json");
    let refused = verify(&in_toto, &trusted(&key)).unwrap_err();
    assert_eq!(refused, RevocationError::PayloadType("application/vnd.in-toto+json".to_owned()));
    let mut relabeled: Value = serde_json::from_slice(&in_toto).unwrap();
    relabeled["payloadType"] = json!(PAYLOAD_TYPE);
    let refused = verify(relabeled.to_string().as_bytes(), &trusted(&key)).unwrap_err();
    assert_eq!(refused, RevocationError::UnknownSigner, "the type is signed");
}

#[test]
fn hostile_envelopes_are_refused_by_name() {
    let key = SigningKey::generate().unwrap();
    let good = String::from_utf8(sign(&list(1, Vec::new()), &key).unwrap()).unwrap();
    let code = |text: &str| verify(text.as_bytes(), &trusted(&key)).unwrap_err().code();
    assert_eq!(code(&"[".repeat(1_000_000)), "REVOCATION_LIST_INVALID_JSON");
    assert_eq!(code(&" ".repeat(MAX_LIST_BYTES + 1)), "REVOCATION_LIST_TOO_LARGE");
    assert_eq!(code(&good[..good.len() / 2]), "REVOCATION_LIST_INVALID_JSON");
    assert_eq!(code("[]"), "REVOCATION_LIST_INVALID_ENVELOPE");
    assert_eq!(code(&good.replacen('{', "{\"payload\":\"\",", 1)), "REVOCATION_LIST_DUPLICATE_KEY");
    let change = |edit: &dyn Fn(&mut Value)| {
        let mut changed: Value = serde_json::from_str(&good).unwrap();
        edit(&mut changed);
        changed.to_string()
    };
    let truncated = change(&|it| {
        let payload = it["payload"].as_str().unwrap();
        it["payload"] = json!(payload[..payload.len() - 1]);
    });
    assert_eq!(code(&truncated), "REVOCATION_LIST_INVALID_BASE64");
    assert_eq!(code(&change(&|it| it["signatures"] = json!([]))), "REVOCATION_LIST_SIGNATURE_COUNT");
    let many = change(&|it| it["signatures"] = json!(vec![it["signatures"][0].clone(); 17]));
    assert_eq!(code(&many), "REVOCATION_LIST_SIGNATURE_COUNT");
}

#[test]
fn what_a_document_may_not_say_is_refused_by_name() {
    assert_eq!(verdict(document().to_string().as_bytes()).unwrap().list().number, 3);
    assert_eq!(refusal(|it| it["schema_version"] = json!(2)), RevocationError::SchemaVersion(2));
    assert_eq!(refusal(|it| it["issuer"] = json!("")), RevocationError::InvalidIssuer);
    for number in ["-1", "1.5", "18446744073709551616", "1e30", "\"1\""] {
        let text = document().to_string().replace("\"number\":3", &format!("\"number\":{number}"));
        assert_eq!(verdict(text.as_bytes()).unwrap_err().code(), "REVOCATION_LIST_INVALID_DOCUMENT", "{number}");
    }
    assert_eq!(refusal(|it| it["more"] = json!(1)).code(), "REVOCATION_LIST_INVALID_DOCUMENT");
    assert_eq!(refusal(|it| it["issued_at"] = json!("yesterday")).code(), "REVOCATION_LIST_INVALID_DOCUMENT");
    assert_eq!(refusal(|it| it["entries"] = json!(null)).code(), "REVOCATION_LIST_INVALID_DOCUMENT");
    let twice = |it: &mut Value| it["entries"] = json!([it["entries"][0], it["entries"][0]]);
    assert_eq!(refusal(twice), RevocationError::DuplicateEntry(1));
    let doubled = document().to_string().replace("\"number\":3", "\"number\":3,\"number\":4");
    assert_eq!(verdict(doubled.as_bytes()).unwrap_err(), RevocationError::DuplicateKey("number".to_owned()));
}

#[test]
fn what_an_entry_may_not_say_is_refused_by_name() {
    assert_eq!(entry_refusal(|it| it["kind"] = json!("model")), EntryError::UnknownKind("model".to_owned()));
    assert_eq!(entry_refusal(|it| it["sha256"] = json!(digest('A'))), EntryError::InvalidDigest);
    assert_eq!(entry_refusal(|it| it["sha256"] = json!("aa")), EntryError::InvalidDigest);
    assert_eq!(entry_refusal(|it| it["sha256"] = Value::Null), EntryError::MissingDigest);
    assert_eq!(entry_refusal(|it| it["serial"] = json!("a2")), EntryError::NotACertificate);
    assert_eq!(entry_refusal(|it| it["reason"] = json!("")), EntryError::InvalidText);
    assert_eq!(entry_refusal(|it| it["reason"] = json!("x".repeat(2000))), EntryError::InvalidText);
    let certificate = |it: &mut Value, serial: &str| {
        *it = json!({ "kind": "certificate", "issuer": "CN=CA", "serial": serial, "reason": "r", "revoked_at": "2026-11-01T00:00:00Z" });
    };
    assert_eq!(entry_refusal(|it| certificate(it, "0a")), EntryError::InvalidSerial);
    assert_eq!(entry_refusal(|it| certificate(it, "A2")), EntryError::InvalidSerial);
    let both = |it: &mut Value| {
        certificate(it, "a2");
        it["sha256"] = json!(digest('a'));
    };
    assert_eq!(entry_refusal(both), EntryError::AmbiguousCertificate);
    let content = |it: &mut Value| {
        it["kind"] = json!("content");
        it["compromised_from"] = json!({ "time": "2026-10-01T00:00:00Z" });
    };
    assert_eq!(entry_refusal(content), EntryError::CompromisedFromNotAllowed);
    let neither = |it: &mut Value| it["compromised_from"] = json!({ "log_index": 1 });
    let refused = refusal(|document| neither(&mut document["entries"][0]));
    assert_eq!(refused.code(), "REVOCATION_LIST_INVALID_DOCUMENT", "an index without its log");
}

#[test]
fn what_would_be_refused_is_not_signed() {
    let key = SigningKey::generate().unwrap();
    let bad = list(1, vec![entry(Revoked::Key("short".to_owned()))]);
    assert_eq!(sign(&bad, &key).unwrap_err().code(), "REVOCATION_LIST_INVALID_ENTRY");
    let many = (0..8000_u32).map(|n| entry(Revoked::Key(format!("{n:064x}")))).collect();
    assert_eq!(sign(&list(1, many), &key).unwrap_err(), RevocationError::TooLarge);
}

mod crl {
    use super::*;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    const LIST: &[u8] = include_bytes!("data/crl/crl.pem");
    const AUTHORITY: &[u8] = include_bytes!("data/crl/ca.pem");
    const SAME_NAME: &[u8] = include_bytes!("data/crl/same-name.pem");
    const MAY_NOT_SIGN_LISTS: &[u8] = include_bytes!("data/crl/may-not-sign-lists.pem");
    const OTHER: &[u8] = include_bytes!("data/crl/other.pem");
    const ISSUER: &str = "CN=Example Model CA,O=Example Organization";

    fn der(pem: &[u8]) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem).unwrap().to_vec()
    }

    fn list_der() -> Vec<u8> {
        rustls_pki_types::CertificateRevocationListDer::from_pem_slice(LIST).unwrap().as_ref().to_vec()
    }

    fn read(bytes: &[u8], authorities: &[&[u8]]) -> Result<Crl, CrlError> {
        let authorities: Vec<Vec<u8>> = authorities.iter().map(|pem| der(pem)).collect();
        let authorities: Vec<&[u8]> = authorities.iter().map(Vec::as_slice).collect();
        Crl::verify(bytes, &authorities)
    }

    #[test]
    fn a_list_in_pem_and_der_gives_the_same_revoked_serial_numbers() {
        let list = read(LIST, &[AUTHORITY]).unwrap();
        assert_eq!(list, read(&list_der(), &[AUTHORITY]).unwrap());
        assert_eq!((list.issuer.as_str(), list.len(), list.is_empty()), (ISSUER, 2, false));
        assert_eq!(list.find(ISSUER, "a2").unwrap().reason.as_deref(), Some("KeyCompromise"));
        assert_eq!(list.find(ISSUER, "a3").unwrap().reason, None);
        assert_eq!(list.find(ISSUER, "a1"), None);
        assert_eq!(list.find("CN=Another CA", "a2"), None, "serial numbers count per issuer");
        assert!(list.issued_at < list.next_update);
    }

    #[test]
    fn only_the_authority_itself_speaks() {
        assert_eq!(read(LIST, &[]).unwrap_err(), CrlError::UnknownIssuer(ISSUER.to_owned()));
        assert_eq!(read(LIST, &[OTHER]).unwrap_err(), CrlError::UnknownIssuer(ISSUER.to_owned()));
        assert_eq!(read(LIST, &[SAME_NAME]).unwrap_err(), CrlError::BadSignature(ISSUER.to_owned()));
        assert_eq!(read(LIST, &[MAY_NOT_SIGN_LISTS]).unwrap_err(), CrlError::NotAllowed(ISSUER.to_owned()));
        assert!(read(LIST, &[SAME_NAME, AUTHORITY]).is_ok(), "an authority that renewed its key has two certificates");
    }

    #[test]
    fn a_flip_of_any_byte_is_refused_and_never_a_panic() {
        let whole = list_der();
        let good = read(&whole, &[AUTHORITY]).unwrap();
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            let outcome = read(&flipped, &[AUTHORITY]);
            assert!(outcome.is_err(), "{position}: {outcome:?} for {good:?}");
            assert!(read(&whole[..position], &[AUTHORITY]).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_by_name() {
        assert_eq!(read(AUTHORITY, &[AUTHORITY]).unwrap_err().code(), "CRL_INVALID_PEM");
        assert_eq!(read(&der(AUTHORITY), &[AUTHORITY]).unwrap_err().code(), "CRL_MALFORMED");
        assert_eq!(read(b"", &[AUTHORITY]).unwrap_err().code(), "CRL_MALFORMED");
        assert_eq!(read(&vec![0x30; 5 * 1024 * 1024], &[AUTHORITY]).unwrap_err(), CrlError::TooLarge);
        let nested = [0x30, 0x80].repeat(100_000);
        assert_eq!(read(&nested, &[AUTHORITY]).unwrap_err().code(), "CRL_MALFORMED");
        let broken = Crl::verify(LIST, &[b"no certificate"]).unwrap_err();
        assert_eq!(broken.code(), "CRL_INVALID_ISSUER");
    }
}
