//! Model signatures by certificates of an ordinary authority, made here.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use verifier::DigestedFile;
use verifier::evidence::SignatureState;
use verifier::provenance::oms::{self, SignatureCheck, SignedFile, SigningKey};
use verifier::provenance::{DigestCache, TrustMaterial, TrustRoot};

static NOTHING: Vec<u8> = Vec::new();

fn years(params: &mut CertificateParams, from: i32, until: i32) {
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
}

fn authority(name: &str, from: i32, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    years(&mut params, from, until);
    params
}

fn signer(from: i32, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Acme");
    params.distinguished_name.push(DnType::CommonName, "Model Release");
    params.subject_alt_names = vec![SanType::Rfc822Name("release@acme.example".try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    years(&mut params, from, until);
    params
}

/// A root, an authority below it and a signer.
struct Chain {
    root: Certificate,
    between: Certificate,
    leaf: Certificate,
    key: KeyPair,
}

impl Chain {
    fn new(leaf: &CertificateParams) -> Self {
        Self::with(&authority("Acme Intermediate", 2023, 2030), leaf)
    }

    fn with(between: &CertificateParams, leaf: &CertificateParams) -> Self {
        let (root_key, between_key, key) =
            (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root_params = authority("Acme Root", 2020, 2040);
        let root = root_params.self_signed(&root_key).unwrap();
        let by_root = Issuer::from_params(&root_params, &root_key);
        let between_certificate = between.signed_by(&between_key, &by_root).unwrap();
        let by_between = Issuer::from_params(between, &between_key);
        let leaf = leaf.signed_by(&key, &by_between).unwrap();
        Self { root, between: between_certificate, leaf, key }
    }

    fn trust(&self) -> TrustMaterial {
        trust(&self.root)
    }

    fn bundle(&self) -> Value {
        bundle(&self.key, &[&self.leaf, &self.between])
    }

    fn check(&self) -> SignatureCheck {
        check(&self.bundle(), &self.trust())
    }
}

fn trust(root: &Certificate) -> TrustMaterial {
    let root = TrustRoot::parse("acme", pem(root.der()).as_bytes()).unwrap();
    TrustMaterial { keys: Vec::new(), roots: vec![root] }
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

fn digest() -> String {
    hex::encode(Sha256::digest("weights"))
}

/// A signed bundle whose key is replaced by that of a certificate.
fn bundle(key: &KeyPair, chain: &[&Certificate]) -> Value {
    let files = [SignedFile { path: "model.gguf", sha256: &digest() }];
    let unsigned = oms::sign("model", &files, &SigningKey::generate().unwrap()).unwrap();
    let mut bundle: Value = serde_json::from_slice(&unsigned).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let mut message = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()).into_bytes();
    message.extend_from_slice(&payload);
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(signature.as_ref()));
    let certificates: Vec<Value> =
        chain.iter().map(|certificate| json!({ "rawBytes": STANDARD.encode(certificate.der()) })).collect();
    bundle["verificationMaterial"] = json!({ "x509CertificateChain": { "certificates": certificates } });
    bundle
}

fn check(bundle: &Value, trust: &TrustMaterial) -> SignatureCheck {
    let content = [DigestedFile { path: "model.gguf", digest: &digest(), source: &NOTHING }];
    let files = oms::Files { content: &content, signatures: &[] };
    oms::verify(bundle.to_string().as_bytes(), files, trust, &DigestCache::new())
}

fn codes(check: &SignatureCheck) -> Vec<&str> {
    check.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn a_chain_to_a_configured_root_is_trusted_with_the_window_of_all_its_certificates() {
    let chain = Chain::new(&signer(2022, 2027));
    let check = chain.check();
    assert_eq!(check.facts.state, SignatureState::Trusted, "{:?}", check.findings);
    let certificate = check.facts.certificate.unwrap();
    assert_eq!((check.facts.method.as_str(), check.facts.root.as_deref()), ("certificate", Some("acme")));
    assert_eq!(check.facts.root_digest.as_deref(), Some(chain.trust().roots[0].digest()));
    assert_eq!(certificate.sha256, hex::encode(Sha256::digest(chain.leaf.der())));
    assert_eq!(certificate.identity.as_deref(), Some("release@acme.example"));
    assert_eq!(certificate.subject, "CN=Model Release,O=Acme");
    assert_eq!(certificate.valid_from, "2023-01-01T00:00:00Z");
    assert_eq!(certificate.valid_until, "2027-01-01T00:00:00Z");
    assert_eq!(check.facts.coverage.signed, ["model.gguf"]);
}

#[test]
fn an_expired_signer_is_judged_as_on_the_day_it_signed_and_its_facts_say_until_when() {
    let check = Chain::new(&signer(2023, 2024)).check();
    assert_eq!(check.facts.state, SignatureState::Trusted, "{:?}", check.findings);
    assert_eq!(check.facts.certificate.unwrap().valid_until, "2024-01-01T00:00:00Z");
}

#[test]
fn certificates_that_were_never_valid_together_are_refused() {
    let check = Chain::with(&authority("Acme Intermediate", 2028, 2030), &signer(2022, 2024)).check();
    assert_eq!((check.facts.state, codes(&check)), (SignatureState::Invalid, vec!["CERTIFICATE_NEVER_VALID"]));
}

#[test]
fn certificates_that_are_not_for_signing_are_refused() {
    let mut encipherment = signer(2023, 2030);
    encipherment.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let mut no_usage = signer(2023, 2030);
    no_usage.key_usages = Vec::new();
    let mut web_server = signer(2023, 2030);
    web_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for params in [encipherment, no_usage, web_server] {
        let check = Chain::new(&params).check();
        assert_eq!((check.facts.state, codes(&check)), (SignatureState::Invalid, vec!["CERTIFICATE_NOT_FOR_SIGNING"]));
    }
    let mut code_signing = signer(2023, 2030);
    code_signing.key_usages = Vec::new();
    code_signing.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    assert_eq!(Chain::new(&code_signing).check().facts.state, SignatureState::Trusted);
}

#[test]
fn an_authority_does_not_sign_models_itself() {
    let mut params = signer(2023, 2030);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let check = Chain::new(&params).check();
    assert_eq!((check.facts.state, codes(&check)), (SignatureState::Invalid, vec!["CERTIFICATE_IS_AUTHORITY"]));
}

#[test]
fn a_foreign_root_vouches_for_nobody_and_an_impostor_is_refused() {
    let chain = Chain::new(&signer(2023, 2030));
    let key = KeyPair::generate().unwrap();
    let foreign = authority("Other Root", 2020, 2040).self_signed(&key).unwrap();
    let unknown = check(&chain.bundle(), &trust(&foreign));
    assert_eq!((unknown.facts.state, codes(&unknown)), (SignatureState::Unverified, vec!["SIGNATURE_ROOT_UNKNOWN"]));
    assert!(unknown.facts.certificate.is_none() && unknown.facts.coverage.signed.is_empty());
    assert_eq!(check(&chain.bundle(), &TrustMaterial::default()).facts.state, SignatureState::Unverified);
    let impostor = authority("Acme Root", 2020, 2040).self_signed(&key).unwrap();
    let refused = check(&chain.bundle(), &trust(&impostor));
    assert_eq!((refused.facts.state, codes(&refused)), (SignatureState::Invalid, vec!["CERTIFICATE_CHAIN_INVALID"]));
}

#[test]
fn a_signature_by_another_key_than_the_certificates_is_refused() {
    let chain = Chain::new(&signer(2023, 2030));
    let stolen = bundle(&KeyPair::generate().unwrap(), &[&chain.leaf, &chain.between]);
    let refused = check(&stolen, &chain.trust());
    assert_eq!((refused.facts.state, codes(&refused)), (SignatureState::Invalid, vec!["SIGNATURE_INVALID"]));
    let incomplete = check(&bundle(&chain.key, &[&chain.leaf]), &chain.trust());
    assert_eq!(incomplete.facts.state, SignatureState::Unverified);
    let whole = pem(chain.root.der()) + &pem(chain.between.der());
    let roots = vec![TrustRoot::parse("acme", whole.as_bytes()).unwrap()];
    let completed = check(&bundle(&chain.key, &[&chain.leaf]), &TrustMaterial { keys: Vec::new(), roots });
    assert_eq!(completed.facts.state, SignatureState::Trusted, "{:?}", completed.findings);
}

#[test]
fn keys_that_model_signatures_do_not_use_are_unsupported() {
    let mut chain = Chain::new(&signer(2023, 2030));
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = authority("Acme Root", 2020, 2040);
    let root_key = KeyPair::generate().unwrap();
    chain.leaf = signer(2023, 2030).signed_by(&key, &Issuer::from_params(&params, &root_key)).unwrap();
    let check = chain.check();
    assert_eq!((check.facts.state, codes(&check)), (SignatureState::Unsupported, vec!["CERTIFICATE_KEY_UNSUPPORTED"]));
}
