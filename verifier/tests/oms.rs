//! OMS signatures: the specification's vectors, released signers, our own, and every refusal.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::io;
use std::path::Path;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use verifier::evidence::{ProvenanceFacts, ProvenanceVerdict, SignatureState};
use verifier::provenance;
use verifier::provenance::oms::{self, KeyError, SignatureCheck, SignedFile, SigningKey, TrustedKey, sign};
use verifier::provenance::{DigestCache, Subject, TrustMaterial, TrustRoot};
use verifier::{DigestedFile, ReadAt};
use weighhouse_tests::environment;
use weighhouse_tests::gguf;

const FILES: [(&str, &str); 3] = [("a-b", "one"), ("a.txt", "two"), ("a/b", "three")];

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

static NOTHING: Vec<u8> = Vec::new();

/// An edit of a bundle or statement.
type Change<'a> = &'a dyn Fn(&mut Value);

/// Paths with their digests.
struct Files(Vec<(String, String)>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, content)| ((*path).to_owned(), sha256(content))).collect())
    }

    fn read(folder: &Path) -> Self {
        let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let names = entries.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != "model.sig");
        let mut files: Vec<_> =
            names.map(|name| (name.clone(), sha256(fs_err::read(folder.join(name)).unwrap()))).collect();
        files.sort();
        Self(files)
    }

    fn signed(&self) -> Vec<SignedFile<'_>> {
        self.0.iter().map(|(path, sha256)| SignedFile { path, sha256 }).collect()
    }

    /// As a registry has them: no content is needed where the stored digest is the signed one.
    fn stored(&self) -> Vec<DigestedFile<'_>> {
        self.0.iter().map(|(path, digest)| DigestedFile { path, digest, source: &NOTHING }).collect()
    }
}

fn trusted(key: &SigningKey) -> TrustedKey {
    TrustedKey::from_pem("release", &key.public_key_pem()).unwrap()
}

fn signed_bundle(key: &SigningKey) -> Value {
    serde_json::from_slice(&sign("model", &Files::new(&FILES).signed(), key).unwrap()).unwrap()
}

fn check(bundle: &Value, files: &Files, keys: &[TrustedKey]) -> SignatureCheck {
    verify(bundle.to_string().as_bytes(), files, &by_keys(keys))
}

fn verify(bundle: &[u8], files: &Files, trust: &TrustMaterial) -> SignatureCheck {
    let content = files.stored();
    oms::verify(bundle, oms::Files { content: &content, signatures: &[] }, trust, &DigestCache::new())
}

fn by_keys(keys: &[TrustedKey]) -> TrustMaterial {
    TrustMaterial { keys: keys.to_vec(), roots: Vec::new() }
}

fn codes(check: &SignatureCheck) -> Vec<&str> {
    check.findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// Changes the signed statement and signs it anew, as a hostile or careless signer would.
fn resigned(key: &Signer, change: impl Fn(&mut Value)) -> Value {
    let mut bundle = signed_bundle(&key.0);
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let mut statement: Value = serde_json::from_slice(&payload).unwrap();
    change(&mut statement);
    let mut root = Sha256::new();
    for resource in statement["predicate"]["resources"].as_array().unwrap() {
        root.update(hex::decode(resource["digest"].as_str().unwrap()).unwrap_or_default());
    }
    if let Some(digest) = statement["subject"][0]["digest"].get_mut("sha256").filter(|digest| *digest != "wrong") {
        *digest = json!(hex::encode(root.finalize()));
    }
    let payload = statement.to_string().into_bytes();
    bundle["dsseEnvelope"]["payload"] = json!(STANDARD.encode(&payload));
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(key.sign(&payload)));
    bundle
}

/// A key that signs any payload.
struct Signer(SigningKey);

impl Signer {
    fn new() -> Self {
        Self(SigningKey::generate().unwrap())
    }

    fn sign(&self, payload: &[u8]) -> Vec<u8> {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
        let pem = self.0.to_pem();
        let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).unwrap();
        let mut message = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()).into_bytes();
        message.extend_from_slice(payload);
        pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec()
    }

    fn trusted(&self) -> TrustedKey {
        trusted(&self.0)
    }
}

#[test]
fn our_own_signature_is_trusted_and_lists_what_it_covers() {
    let key = SigningKey::generate().unwrap();
    let mut files = Files::new(&FILES);
    files.0.push(("z".to_owned(), sha256("z")));
    let check = check(&signed_bundle(&key), &files, &[trusted(&key)]);
    assert_eq!(check.facts.state, SignatureState::Trusted, "{:?}", check.findings);
    assert_eq!(check.facts.signer.as_deref(), Some("release"));
    assert_eq!(check.facts.key.as_deref(), Some(trusted(&key).digest()));
    assert_eq!(check.facts.coverage.signed, ["a-b", "a.txt", "a/b"]);
    assert_eq!(check.facts.coverage.unsigned, ["z"]);
}

#[test]
fn resources_are_written_in_code_point_order_without_further_fields() {
    let bundle = signed_bundle(&SigningKey::generate().unwrap());
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    let names: Vec<&str> =
        statement["predicate"]["resources"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a-b", "a.txt", "a/b"]);
    assert_eq!(statement["predicate"].as_object().unwrap().len(), 2);
}

#[test]
fn a_key_survives_its_pem() {
    let key = SigningKey::generate().unwrap();
    let again = SigningKey::from_pem(&key.to_pem()).unwrap();
    assert_eq!(again.public_key_pem(), key.public_key_pem());
    assert_eq!(TrustedKey::from_pem("x", &key.to_pem()).unwrap_err(), KeyError::NotPublicKey("PRIVATE KEY".to_owned()));
    assert_eq!(TrustedKey::from_pem("x", "nothing").unwrap_err(), KeyError::NotPem);
    let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJB\n-----END PUBLIC KEY-----\n";
    assert_eq!(TrustedKey::from_pem("x", rsa).unwrap_err(), KeyError::UnsupportedKey);
}

#[test]
fn changed_and_missing_files_are_refused_by_name() {
    let key = SigningKey::generate().unwrap();
    let bundle = signed_bundle(&key);
    let changed =
        check(&bundle, &Files::new(&[("a-b", "one"), ("a.txt", "CHANGED"), ("a/b", "three")]), &[trusted(&key)]);
    assert_eq!((codes(&changed), changed.facts.state), (vec!["OMS_DIGEST_MISMATCH"], SignatureState::Invalid));
    assert!(changed.findings[0].detail.contains("a.txt"));
    let missing = check(&bundle, &Files::new(&FILES[..2]), &[trusted(&key)]);
    assert_eq!(codes(&missing), ["OMS_FILE_MISSING"]);
    let other_case =
        check(&bundle, &Files::new(&[("A-b", "one"), ("a.txt", "two"), ("a/b", "three")]), &[trusted(&key)]);
    assert_eq!(codes(&other_case), ["OMS_FILE_MISSING"]);
    assert!(changed.facts.coverage.signed.is_empty());
}

#[test]
fn keys_that_are_not_trusted_never_make_a_signature_trusted() {
    let key = SigningKey::generate().unwrap();
    let files = Files::new(&FILES);
    let mut bundle = signed_bundle(&key);
    let unknown = check(&bundle, &files, &[trusted(&SigningKey::generate().unwrap())]);
    assert_eq!((codes(&unknown), unknown.facts.state), (vec!["SIGNATURE_KEY_UNKNOWN"], SignatureState::Unverified));
    assert_eq!(check(&bundle, &files, &[]).facts.state, SignatureState::Unverified);
    bundle["verificationMaterial"]["publicKey"] = json!({ "rawBytes": STANDARD.encode(key.public_key_pem()) });
    let embedded = check(&bundle, &files, &[]);
    assert_eq!((codes(&embedded), embedded.facts.state), (vec!["SIGNATURE_KEY_UNTRUSTED"], SignatureState::Untrusted));
    assert_eq!(check(&bundle, &files, &[trusted(&key)]).facts.state, SignatureState::Trusted);
}

#[test]
fn envelopes_that_other_readers_could_take_differently_are_refused() {
    let key = SigningKey::generate().unwrap();
    let cases: [(&str, Change); 13] = [
        ("BUNDLE_MISSING_ENVELOPE", &|bundle| drop(bundle.as_object_mut().unwrap().remove("dsseEnvelope"))),
        ("BUNDLE_MISSING_VERIFICATION_MATERIAL", &|bundle| bundle["verificationMaterial"] = json!({})),
        // An old version asks for less, so it may not be claimed without a proof.
        ("BUNDLE_MISSING_INCLUSION_PROOF", &|bundle| {
            bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1");
        }),
        ("BUNDLE_PAYLOAD_TYPE", &|bundle| bundle["dsseEnvelope"]["payloadType"] = json!("text/plain")),
        ("BUNDLE_INVALID_BASE64", &|bundle| bundle["dsseEnvelope"]["payload"] = json!("!")),
        ("BUNDLE_SIGNATURE_COUNT", &|bundle| bundle["dsseEnvelope"]["signatures"] = json!([])),
        ("BUNDLE_SIGNATURE_COUNT", &|bundle| {
            let signature = bundle["dsseEnvelope"]["signatures"][0].clone();
            bundle["dsseEnvelope"]["signatures"] = json!([signature, { "sig": "AAAA" }]);
        }),
        ("SIGNATURE_INVALID", &|bundle| bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!("AAAA")),
        ("SIGNATURE_KEY_HINT_MISMATCH", &|bundle| bundle["verificationMaterial"]["publicKey"]["hint"] = json!("00")),
        ("BUNDLE_AMBIGUOUS_MATERIAL", &|bundle| {
            bundle["verificationMaterial"]["certificate"] = json!({ "rawBytes": "" });
        }),
        ("BUNDLE_INVALID_JSON", &|bundle| bundle["verificationMaterial"]["publicKeys"] = json!([])),
        ("BUNDLE_MEDIA_TYPE", &|bundle| bundle["mediaType"] = json!("text/plain")),
        ("BUNDLE_TOO_MANY_PARTS", &|bundle| {
            bundle["verificationMaterial"]["tlogEntries"] = json!(vec![json!({}); 17]);
        }),
    ];
    for (code, change) in cases {
        let mut bundle = signed_bundle(&key);
        change(&mut bundle);
        let check = check(&bundle, &Files::new(&FILES), &[trusted(&key)]);
        assert_eq!((codes(&check), check.facts.state), (vec![code], SignatureState::Invalid));
    }
    let check = verify(b"", &Files(Vec::new()), &by_keys(&[trusted(&key)]));
    assert_eq!(codes(&check), ["BUNDLE_INVALID_JSON"]);
    let check = verify(&vec![b' '; 17 << 20], &Files(Vec::new()), &by_keys(&[trusted(&key)]));
    assert_eq!(codes(&check), ["BUNDLE_TOO_LARGE"]);
}

#[test]
fn manifests_of_a_trusted_key_are_still_refused_for_what_they_say() {
    let key = Signer::new();
    let cases: [(&str, Change); 18] = [
        ("OMS_WRONG_PREDICATE", &|it| it["predicateType"] = json!("https://example.com/other")),
        ("OMS_V0_2_REFUSED", &|it| it["predicateType"] = json!("https://model_signing/Digests/v0.1")),
        ("OMS_INVALID_STATEMENT", &|it| it["_type"] = json!("https://in-toto.io/Statement/v0.1")),
        ("OMS_SUBJECT_COUNT", &|it| {
            let subject = it["subject"][0].clone();
            it["subject"].as_array_mut().unwrap().push(subject);
        }),
        ("OMS_ROOT_DIGEST_MISMATCH", &|it| it["subject"][0]["digest"]["sha256"] = json!("wrong")),
        ("OMS_EMPTY_MANIFEST", &|it| it["predicate"]["resources"] = json!([])),
        ("OMS_DUPLICATE_PATH", &|it| it["predicate"]["resources"][1]["name"] = json!("a-b")),
        ("OMS_INVALID_PATH", &|it| it["predicate"]["resources"][1]["name"] = json!("../key.pem")),
        ("OMS_INVALID_PATH", &|it| it["predicate"]["resources"][1]["name"] = json!("./a.txt")),
        ("OMS_INVALID_PATH", &|it| it["predicate"]["resources"][1]["name"] = json!("/a.txt")),
        ("OMS_INVALID_PATH", &|it| it["predicate"]["resources"][2]["name"] = json!("a//b")),
        ("OMS_INVALID_PATH", &|it| it["predicate"]["resources"][1]["name"] = json!("a.txt\0")),
        ("OMS_MIXED_ALGORITHMS", &|it| it["predicate"]["resources"][1]["algorithm"] = json!("blake3")),
        ("OMS_INVALID_DIGEST", &|it| it["predicate"]["resources"][1]["digest"] = json!("ABCD")),
        ("OMS_INVALID_DIGEST", &|it| {
            let digest = &mut it["predicate"]["resources"][1]["digest"];
            *digest = json!(digest.as_str().unwrap().to_uppercase());
        }),
        // The same name in both of Unicode's forms.
        ("OMS_DUPLICATE_PATH", &|it| {
            it["predicate"]["resources"][0]["name"] = json!("caf\u{e9}");
            it["predicate"]["resources"][1]["name"] = json!("cafe\u{301}");
        }),
        ("OMS_INVALID_SHARD_SIZE", &|it| {
            it["predicate"]["serialization"]["method"] = json!("shards");
            it["predicate"]["serialization"]["shard_size"] = json!(2000.5);
        }),
        ("OMS_INVALID_STATEMENT", &|it| it["predicate"]["serialization"]["method"] = json!("other")),
    ];
    for (code, change) in cases {
        let check = check(&resigned(&key, change), &Files::new(&FILES), &[key.trusted()]);
        assert_eq!((codes(&check), check.facts.state), (vec![code], SignatureState::Invalid));
    }
}

#[test]
fn a_hash_that_is_not_known_is_unsupported_and_covers_nothing() {
    let key = Signer::new();
    let bundle = resigned(&key, |it| {
        it["predicate"]["serialization"]["hash_type"] = json!("md6");
        for resource in it["predicate"]["resources"].as_array_mut().unwrap() {
            resource["algorithm"] = json!("md6");
        }
    });
    let check = check(&bundle, &Files::new(&FILES), &[key.trusted()]);
    assert_eq!((codes(&check), check.facts.state), (vec!["OMS_HASH_UNSUPPORTED"], SignatureState::Unsupported));
    assert!(check.facts.coverage.signed.is_empty());
}

/// A file that counts the bytes that were read of it.
struct Counted {
    content: Vec<u8>,
    read: AtomicUsize,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.content.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read_at(offset, buffer)?;
        self.read.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

const SHARD: usize = 2000;

/// Verifies a signature by an algorithm of its own over one file of 4,500 bytes.
fn check_digests(
    resources: &[(&str, String)],
    serialization: &Value,
    algorithm: &str,
    cache: &DigestCache,
) -> (SignatureCheck, usize) {
    let key = Signer::new();
    let listed: Vec<Value> = resources
        .iter()
        .map(|(name, digest)| json!({ "name": name, "algorithm": algorithm, "digest": digest }))
        .collect();
    let bundle = resigned(&key, |it| {
        it["predicate"]["resources"] = json!(listed);
        it["predicate"]["serialization"] = serialization.clone();
    });
    let file = Counted { content: weights(), read: AtomicUsize::new(0) };
    let digest = sha256(&file.content);
    let content = [DigestedFile { path: "model.bin", digest: &digest, source: &file }];
    let files = oms::Files { content: &content, signatures: &[] };
    let check = oms::verify(bundle.to_string().as_bytes(), files, &by_keys(&[key.trusted()]), cache);
    (check, file.read.into_inner())
}

fn weights() -> Vec<u8> {
    (0..4500_u32).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

fn sharded() -> (Vec<(&'static str, String)>, Value) {
    let names = ["model.bin:0:2000", "model.bin:2000:4000", "model.bin:4000:4500"];
    let content = weights();
    let resources = names.into_iter().zip(content.chunks(SHARD).map(sha256)).collect();
    // Released signers wrote the size as a floating-point number.
    (resources, json!({ "method": "shards", "hash_type": "sha256", "shard_size": 2000.0, "allow_symlinks": false }))
}

#[test]
fn shards_are_verified_in_one_pass_that_is_not_made_again() {
    let (resources, serialization) = sharded();
    let cache = DigestCache::new();
    for algorithm in ["sha256", "sha256-sharded-2000"] {
        let (check, _) = check_digests(&resources, &serialization, algorithm, &cache);
        assert_eq!(check.facts.state, SignatureState::Trusted, "{:?}", check.findings);
        assert_eq!(check.facts.coverage.signed, ["model.bin"]);
    }
    let computed = cache.take_computed();
    assert_eq!((computed.len(), computed[0].digests.len()), (1, 3));
    assert!(cache.take_computed().is_empty());
    let next = DigestCache::new();
    next.insert(serde_json::from_str(&serde_json::to_string(&computed[0]).unwrap()).unwrap());
    let (check, read) = check_digests(&resources, &serialization, "sha256", &next);
    assert_eq!((check.facts.state, read), (SignatureState::Trusted, 0));
    assert!(next.take_computed().is_empty());
    let (_, read) = check_digests(&resources, &serialization, "sha256", &DigestCache::new());
    assert_eq!(read, weights().len());
}

#[test]
fn shards_that_leave_a_byte_out_are_refused() {
    let (resources, serialization) = sharded();
    let refused = |resources: &[(&str, String)]| {
        let (check, read) = check_digests(resources, &serialization, "sha256", &DigestCache::new());
        assert_eq!((check.facts.state, check.facts.coverage.signed.len()), (SignatureState::Invalid, 0));
        (check.findings[0].code.clone(), read)
    };
    let invalid = ("OMS_INVALID_SHARDS".to_owned(), 0);
    assert_eq!(refused(&[resources[0].clone(), resources[2].clone()]), invalid);
    assert_eq!(refused(&resources[1..]), invalid);
    // A whole number of parts, and yet the file is longer: known without reading it.
    assert_eq!(refused(&resources[..2]), ("OMS_DIGEST_MISMATCH".to_owned(), 0));
    let renamed = |name: &'static str| {
        let mut renamed = resources.clone();
        renamed[1].0 = name;
        refused(&renamed)
    };
    assert_eq!(renamed("model.bin"), invalid);
    assert_eq!(renamed("model.bin:02000:4000"), invalid);
    assert_eq!(renamed("model.bin:2000:4001"), invalid);
    assert_eq!(renamed("model.bin:0:2000"), ("OMS_DUPLICATE_PATH".to_owned(), 0));
    assert_eq!(renamed("../model.bin:2000:4000"), ("OMS_INVALID_PATH".to_owned(), 0));
    let mut changed = resources.clone();
    changed[1].1 = sha256("other");
    assert_eq!(refused(&changed).0, "OMS_DIGEST_MISMATCH");
}

#[test]
fn blake_digests_are_computed_and_compared() {
    let blake2b = hex::encode(<blake2::Blake2b512 as blake2::Digest>::digest(weights()));
    let blake3 = blake3::hash(&weights()).to_hex().to_string();
    for (algorithm, digest) in [("blake2b", blake2b), ("blake3", blake3)] {
        let serialization = json!({ "method": "files", "hash_type": algorithm, "allow_symlinks": false });
        let check = |digest: &str| {
            check_digests(&[("model.bin", digest.to_owned())], &serialization, algorithm, &DigestCache::new()).0
        };
        let good = check(&digest);
        assert_eq!(good.facts.state, SignatureState::Trusted, "{algorithm}: {:?}", good.findings);
        let changed = digest.replace(['0', '1', '2'], "3");
        assert_eq!(codes(&check(&changed)), ["OMS_DIGEST_MISMATCH"], "{algorithm}");
        assert_eq!(codes(&check(&digest[2..])), ["OMS_INVALID_DIGEST"], "{algorithm}");
    }
}

#[test]
fn what_a_signer_ignored_is_listed_even_where_it_holds_weights() {
    let key = Signer::new();
    let bundle = resigned(&key, |it| {
        it["predicate"]["resources"].as_array_mut().unwrap().remove(2);
        it["predicate"]["serialization"]["ignore_paths"] = json!(["a"]);
        it["predicate"]["license"] = json!("a field that the specification does not have");
    });
    let check = check(&bundle, &Files::new(&FILES), &[key.trusted()]);
    assert_eq!(check.facts.state, SignatureState::Trusted, "{:?}", check.findings);
    assert_eq!((check.facts.coverage.signed.len(), check.facts.coverage.ignored), (2, vec!["a/b".to_owned()]));
}

#[test]
fn renaming_files_is_noticed_though_the_root_digest_stays_the_same() {
    let key = SigningKey::generate().unwrap();
    let renamed = Files::new(&[("a-b", "one"), ("b.bin", "two"), ("a/b", "three")]);
    assert_eq!(codes(&check(&signed_bundle(&key), &renamed, &[trusted(&key)])), ["OMS_FILE_MISSING"]);
}

#[test]
fn a_signed_signature_file_is_compared_and_an_unsigned_one_is_nobodys_gap() {
    let key = SigningKey::generate().unwrap();
    let mut files = Files::new(&FILES);
    files.0.push(("old.sig".to_owned(), sha256("old")));
    let bundle = sign("model", &files.signed(), &key).unwrap();
    let stored = files.stored();
    let verify = |signatures: &[DigestedFile<'_>]| {
        let files = oms::Files { content: &stored[..3], signatures };
        oms::verify(&bundle, files, &by_keys(&[trusted(&key)]), &DigestCache::new())
    };
    assert_eq!(verify(&stored[3..]).facts.state, SignatureState::Trusted);
    assert_eq!(codes(&verify(&[])), ["OMS_FILE_MISSING"]);
    let later = [stored[3], DigestedFile { path: "later.sig", ..stored[3] }];
    assert!(verify(&later).facts.coverage.unsigned.is_empty());
}

#[test]
fn listed_order_and_null_key_ids_are_accepted() {
    let key = Signer::new();
    let mut bundle = resigned(&key, |it| {
        // The reference implementation's order, by path components.
        let resources = it["predicate"]["resources"].as_array_mut().unwrap();
        resources.rotate_right(1);
    });
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = Value::Null;
    let check = check(&bundle, &Files::new(&FILES), &[key.trusted()]);
    assert_eq!(check.facts.state, SignatureState::Trusted, "{:?}", check.findings);
}

#[test]
fn every_curve_of_the_specification_is_verified() {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
        KeyPair as _,
    };
    let curves = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1_SIGNING];
    for curve in curves {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        let mut bundle = signed_bundle(&SigningKey::generate().unwrap());
        let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
        let mut message = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()).into_bytes();
        message.extend_from_slice(&payload);
        let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(signature.as_ref()));
        bundle["verificationMaterial"]["publicKey"] = json!({});
        let der = pair.public_key().as_der().unwrap();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()));
        let key = TrustedKey::from_pem("release", &pem).unwrap();
        let check = check(&bundle, &Files::new(&FILES), &[key]);
        assert_eq!(check.facts.state, SignatureState::Trusted, "{curve:?}: {:?}", check.findings);
    }
}

#[test]
fn vectors_of_the_specification_verify_as_their_folder_says() {
    let Some(vectors) = environment::vectors() else { return };
    let folder = vectors.join("oms-spec/test-vectors/v1.0");
    let read = |path: &str| fs_err::read(folder.join(path)).unwrap();
    let trust = release_trust(&vectors);
    let models = |release: &str| Files::read(&vectors.join("oms-releases").join(release));
    let (files, keyless_files) = (models("v1.0.1-elliptic-key"), models("v1.0.1-sigstore"));
    let cases = [
        ("valid/key", SignatureState::Trusted, &[] as &[&str]),
        ("valid/sigstore", SignatureState::Untrusted, &[]),
        // The vector's signer has the certificate of an authority, which is refused by name.
        ("valid/certificate", SignatureState::Invalid, &["CERTIFICATE_IS_AUTHORITY"]),
        ("invalid/empty", SignatureState::Invalid, &["BUNDLE_INVALID_JSON"]),
        ("invalid/missing-envelope", SignatureState::Invalid, &["BUNDLE_MISSING_ENVELOPE"]),
        ("invalid/missing-tlog-entries", SignatureState::Invalid, &["LOG_INCLUSION_PROOF_INVALID"]),
        ("invalid/missing-verification-material", SignatureState::Invalid, &["BUNDLE_MISSING_VERIFICATION_MATERIAL"]),
        ("invalid-payload/wrong-predicate", SignatureState::Invalid, &["SIGNATURE_INVALID", "OMS_WRONG_PREDICATE"]),
    ];
    for (name, state, expected) in cases {
        let files = if name.ends_with("sigstore") { &keyless_files } else { &files };
        let check = verify(&read(&format!("{name}.bundle.json")), files, &trust);
        assert_eq!((check.facts.state, codes(&check)), (state, expected.to_vec()), "{name}: {:?}", check.findings);
        let signed = matches!(state, SignatureState::Trusted | SignatureState::Untrusted);
        assert_eq!(check.facts.coverage.ignored == ["ignore-me"], signed, "{name}");
    }
}

#[test]
fn signatures_of_released_tools_verify() {
    let Some(vectors) = environment::vectors() else { return };
    let trust = release_trust(&vectors);
    let releases = [
        ("v0.3.1-elliptic-key", SignatureState::Trusted, "key"),
        ("v1.0.1-elliptic-key", SignatureState::Trusted, "key"),
        ("v0.3.1-certificate", SignatureState::Invalid, "certificate"),
        ("v1.0.1-certificate", SignatureState::Invalid, "certificate"),
        ("v0.3.1-sigstore", SignatureState::Untrusted, "keyless"),
        ("v1.0.1-sigstore", SignatureState::Untrusted, "keyless"),
    ];
    for (release, state, method) in releases {
        let folder = vectors.join("oms-releases").join(release);
        let files = Files::read(&folder);
        let check = verify(&fs_err::read(folder.join("model.sig")).unwrap(), &files, &trust);
        let found = (check.facts.state, check.facts.method.as_str());
        assert_eq!(found, (state, method), "{release}: {:?}", check.findings);
        if method == "certificate" {
            assert_eq!(codes(&check), ["CERTIFICATE_IS_AUTHORITY"], "{release}");
        }
        if method == "keyless" {
            assert_keyless(&check, release);
        }
    }
}

fn assert_keyless(check: &SignatureCheck, release: &str) {
    let facts = &check.facts;
    let certificate = facts.certificate.as_ref().unwrap();
    assert_eq!(certificate.identity.as_deref(), Some("stefanb@us.ibm.com"), "{release}");
    assert_eq!(certificate.issuer.as_deref(), Some("https://sigstore.verify.ibm.com/oauth2"), "{release}");
    assert_eq!((facts.root.as_deref(), certificate.subject.as_str()), (Some("public-good"), ""), "{release}");
    assert_eq!((facts.times.len(), facts.log_positions.len()), (1, 1), "{release}");
    assert!(certificate.valid_from <= facts.times[0].at && facts.times[0].at <= certificate.valid_until, "{release}");
    assert!(facts.log_positions[0].log.starts_with("rekor.sigstore.dev"), "{release}");
    assert_eq!((facts.signer.as_deref(), check.findings.len()), (None, 0), "{release}");
}

/// The key, certificate authority and sigstore instance that released tools signed with.
fn release_trust(vectors: &Path) -> TrustMaterial {
    let authority = fs_err::read(vectors.join("oms-releases/keys/ca-cert.pem")).unwrap();
    let roots = vec![TrustRoot::parse("releases", &authority).unwrap(), TrustRoot::public_good().unwrap()];
    TrustMaterial { keys: vec![release_key(vectors)], roots }
}

fn release_key(vectors: &Path) -> TrustedKey {
    let pem = fs_err::read_to_string(vectors.join("oms-releases/keys/signing-key-pub.pem")).unwrap();
    TrustedKey::from_pem("releases", &pem).unwrap()
}

/// Judges a revision of these files.
fn judge(files: &[(&str, Vec<u8>)], attached: &[Vec<u8>], keys: &[TrustedKey]) -> ProvenanceFacts {
    let digests: Vec<String> = files.iter().map(|(_, bytes)| sha256(bytes)).collect();
    let files: Vec<DigestedFile<'_>> = files
        .iter()
        .zip(&digests)
        .map(|((path, bytes), digest)| DigestedFile { path, digest, source: bytes })
        .collect();
    let subject = Subject { files: &files, content_digest: "", attached };
    provenance::judge(subject, &by_keys(keys), &DigestCache::new())
}

fn finding_codes(facts: &ProvenanceFacts) -> Vec<&str> {
    facts.findings.iter().map(|finding| finding.code.as_str()).collect()
}

fn model() -> Vec<(&'static str, Vec<u8>)> {
    vec![("README.md", b"# Model\n".to_vec()), ("model.gguf", gguf::Builder::minimal().build())]
}

fn bundle_over(files: &[(&str, Vec<u8>)], key: &SigningKey) -> Vec<u8> {
    let digests: Vec<String> = files.iter().map(|(_, bytes)| sha256(bytes)).collect();
    let signed: Vec<SignedFile<'_>> =
        files.iter().zip(&digests).map(|((path, _), sha256)| SignedFile { path, sha256 }).collect();
    sign("model", &signed, key).unwrap()
}

#[test]
fn a_revision_without_signatures_is_unsigned() {
    let facts = judge(&model(), &[], &[]);
    assert_eq!((facts.verdict, finding_codes(&facts)), (ProvenanceVerdict::Unsigned, vec!["NO_SIGNATURE"]));
}

#[test]
fn a_signature_inside_the_model_or_attached_to_it_is_found() {
    let key = SigningKey::generate().unwrap();
    let bundle = bundle_over(&model(), &key);
    let attached = judge(&model(), slice::from_ref(&bundle), &[trusted(&key)]);
    assert_eq!(attached.verdict, ProvenanceVerdict::Trusted, "{:?}", attached.findings);
    let mut inside = model();
    inside.push(("model.sig", bundle));
    let inside = judge(&inside, &[], &[trusted(&key)]);
    assert_eq!(inside.verdict, ProvenanceVerdict::Trusted, "{:?}", inside.findings);
    assert_eq!(inside.signatures[0].coverage.signed, ["README.md", "model.gguf"]);
}

#[test]
fn a_signature_that_leaves_weights_out_does_not_vouch_for_the_model() {
    let key = SigningKey::generate().unwrap();
    let bundle = bundle_over(&model()[..1], &key);
    let facts = judge(&model(), &[bundle], &[trusted(&key)]);
    assert_eq!((facts.verdict, finding_codes(&facts)), (ProvenanceVerdict::Untrusted, vec!["UNSIGNED_WEIGHTS"]));
}

#[test]
fn documents_may_be_unsigned_and_configuration_may_not() {
    let key = SigningKey::generate().unwrap();
    let bundle = bundle_over(&model()[1..], &key);
    let facts = judge(&model(), slice::from_ref(&bundle), &[trusted(&key)]);
    assert_eq!(facts.verdict, ProvenanceVerdict::Trusted);
    let mut configured = model();
    configured.push(("config.json", b"{}".to_vec()));
    configured.push(("license.gguf", gguf::Builder::minimal().build()));
    let facts = judge(&configured, &[bundle], &[trusted(&key)]);
    assert_eq!(facts.verdict, ProvenanceVerdict::Untrusted);
    assert_eq!(finding_codes(&facts), ["UNSIGNED_WEIGHTS", "UNSIGNED_FILES"]);
}

#[test]
fn a_foreign_signature_cannot_spoil_a_trusted_one() {
    let key = SigningKey::generate().unwrap();
    let facts = judge(&model(), &[bundle_over(&model(), &key), b"{}".to_vec()], &[trusted(&key)]);
    assert_eq!(facts.verdict, ProvenanceVerdict::Trusted);
    let facts = judge(&model(), &[b"{}".to_vec()], &[trusted(&key)]);
    assert_eq!(facts.verdict, ProvenanceVerdict::Invalid);
}
