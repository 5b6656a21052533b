//! What a trust policy makes of a revision's signatures and attestations.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use verifier::evidence::{
    AttestationFacts, CertificateFacts, Coverage, LogPosition, ProvenanceFacts, ProvenanceVerdict, SignatureFacts,
    SignatureState, TimeEvidence, TimeSource,
};
use verifier::provenance::TrustRoot;
use verifier::provenance::revocation::{Crl, NamedCrl, SignedRevocationList};
use verifier::provenance::trust::{
    CheckKind, CheckOutcome, Context, Receipt, TrustAssessment, TrustPolicy, TrustVerdict, assess,
};

const NOW: &str = "2026-11-24T12:00:00Z";
const MODEL: &str = "acme/tiny";
const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OTHER_KEY: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const ROOT_DIGEST: &str = "3333333333333333333333333333333333333333333333333333333333333333";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn by_key(key: &str, name: &str) -> SignatureFacts {
    SignatureFacts {
        state: SignatureState::Trusted,
        method: "key".into(),
        key: Some(key.into()),
        signer: Some(name.into()),
        coverage: Coverage { signed: vec!["model.gguf".into()], ..Coverage::default() },
        ..SignatureFacts::unproven(format!("b{}", &key[1..]), [])
    }
}

fn keyless(identity: &str) -> SignatureFacts {
    SignatureFacts {
        state: SignatureState::Untrusted,
        method: "keyless".into(),
        certificate: Some(CertificateFacts {
            sha256: KEY.into(),
            serial: "1a".into(),
            subject: String::new(),
            identity: Some(identity.into()),
            issuer: Some("https://issuer.example".into()),
            issued_by: "CN=Issuing".into(),
            valid_from: "2026-11-01T00:00:00Z".into(),
            valid_until: "2026-11-01T00:10:00Z".into(),
        }),
        root: Some("public-good".into()),
        root_digest: Some(ROOT_DIGEST.into()),
        times: vec![TimeEvidence { source: TimeSource::TransparencyLog, at: "2026-11-01T00:05:00Z".into() }],
        log_positions: vec![LogPosition { log: "rekor.example".into(), index: 7 }],
        coverage: Coverage { signed: vec!["model.gguf".into()], ..Coverage::default() },
        ..SignatureFacts::unproven("c".repeat(64), [])
    }
}

fn by_certificate(subject: &str) -> SignatureFacts {
    let mut signature = keyless("release@acme.example");
    signature.state = SignatureState::Trusted;
    signature.method = "certificate".into();
    signature.root = Some("acme-ca".into());
    signature.times.clear();
    signature.log_positions.clear();
    signature.digest = "d".repeat(64);
    let certificate = signature.certificate.as_mut().unwrap();
    certificate.subject = subject.into();
    certificate.issuer = None;
    signature
}

fn attestation(predicate_type: &str, predicate: Value, signature: SignatureFacts) -> AttestationFacts {
    AttestationFacts {
        predicate_type: predicate_type.into(),
        subjects: Vec::new(),
        predicate,
        bases: Vec::new(),
        signature,
    }
}

fn facts(signatures: Vec<SignatureFacts>, attestations: Vec<AttestationFacts>) -> ProvenanceFacts {
    ProvenanceFacts {
        schema_version: 1,
        verdict: ProvenanceVerdict::Trusted,
        signatures,
        attestations,
        weight_files: vec!["model.gguf".into()],
        documents: vec!["README.md".into()],
        findings: Vec::new(),
    }
}

/// What surrounds a question; tests change what they are about.
struct Asked {
    policy: TrustPolicy,
    model: &'static str,
    environment: &'static str,
    receipts: BTreeMap<String, Receipt>,
    revocations: Option<SignedRevocationList>,
    crls: Vec<NamedCrl>,
    roots: BTreeMap<String, Timestamp>,
    now: Timestamp,
}

impl Asked {
    fn under(policy: &str) -> Self {
        Self::with(TrustPolicy::parse(policy).unwrap())
    }

    fn with(policy: TrustPolicy) -> Self {
        Self {
            policy,
            model: MODEL,
            environment: "production",
            receipts: BTreeMap::new(),
            revocations: None,
            crls: Vec::new(),
            roots: BTreeMap::new(),
            now: time(NOW),
        }
    }

    fn received(mut self, bundle: &str, at: &str, log_index: Option<u64>) -> Self {
        self.receipts.insert(bundle.into(), Receipt { at: time(at), log_index });
        self
    }

    fn about(&self, facts: &ProvenanceFacts) -> TrustAssessment {
        assess(&Context {
            policy: &self.policy,
            model: self.model,
            environment: self.environment,
            resource: "weighhouse://acme/tiny@0123",
            content_digest: &"9".repeat(64),
            facts,
            receipts: &self.receipts,
            revocations: self.revocations.as_ref(),
            crls: &self.crls,
            log_origin: "weighhouse/test",
            roots: &self.roots,
            now: self.now,
        })
    }
}

fn policy(requirement: &str) -> String {
    format!(
        "schema_version: 1\npolicies:\n  - name: prod\n    scope: ['acme/**']\n    require:\n      - {}\n",
        requirement.replace('\n', "\n        ")
    )
}

fn outcome(found: &TrustAssessment, kind: CheckKind) -> (CheckOutcome, Option<String>) {
    let check = found.requirements[0].checks.iter().find(|check| check.check == kind).unwrap();
    (check.outcome, check.code.clone())
}

#[test]
fn without_a_policy_any_configured_signer_over_everything_that_matters_is_trusted() {
    let asked = Asked::with(TrustPolicy::of_configured_signers());
    let mut signed = by_key(KEY, "release");
    signed.coverage.unsigned = vec!["README.md".into()];
    assert_eq!(asked.about(&facts(vec![signed.clone()], vec![])).verdict, TrustVerdict::Trusted);
    signed.coverage.ignored = vec!["model.gguf".into()];
    let found = asked.about(&facts(vec![signed], vec![]));
    assert_eq!((found.verdict, found.codes), (TrustVerdict::Untrusted, vec!["UNSIGNED_WEIGHTS".to_owned()]));
    assert_eq!(asked.about(&facts(vec![keyless("a@b")], vec![])).verdict, TrustVerdict::Untrusted);
    assert_eq!(asked.about(&facts(vec![], vec![])).verdict, TrustVerdict::Unsigned);
}

#[test]
fn a_model_outside_of_every_scope_is_not_trusted() {
    let mut asked = Asked::under(&policy("id: s\nany_of: [{method: key}]"));
    asked.model = "other/tiny";
    let found = asked.about(&facts(vec![by_key(KEY, "release")], vec![]));
    assert_eq!((found.verdict, found.codes), (TrustVerdict::Untrusted, vec!["NO_TRUST_POLICY".to_owned()]));
}

#[test]
fn the_narrowest_scope_applies_and_environments_choose() {
    let text = "
schema_version: 1
policies:
  - {name: all, scope: ['**'], require: [{id: s, any_of: [{method: key, keys: [all]}]}]}
  - {name: acme, scope: ['acme/*'], require: [{id: s, any_of: [{method: key, keys: [acme]}]}]}
  - {name: tiny, scope: ['acme/tiny'], environments: [staging], require: [{id: s, any_of: [{method: key}]}]}
";
    let asked = Asked::under(text);
    let name = |model, environment| asked.policy.applying(model, environment).map(|policy| policy.name.clone());
    assert_eq!(name("acme/tiny", "production").as_deref(), Some("acme"));
    assert_eq!(name("acme/tiny", "staging").as_deref(), Some("tiny"));
    assert_eq!(name("x/y", "staging").as_deref(), Some("all"));
}

#[test]
fn a_named_key_is_really_asked_for() {
    let asked = Asked::under(&policy(&format!("id: s\nany_of: [{{method: key, keys: ['sha256:{KEY}']}}]")));
    assert_eq!(asked.about(&facts(vec![by_key(KEY, "release")], vec![])).verdict, TrustVerdict::Trusted);
    let found = asked.about(&facts(vec![by_key(OTHER_KEY, "release")], vec![]));
    assert_eq!(found.verdict, TrustVerdict::Untrusted);
    assert_eq!(outcome(&found, CheckKind::Signer), (CheckOutcome::Failed, Some("SIGNER_NOT_ALLOWED".into())));
}

#[test]
fn a_threshold_counts_different_signers_and_not_signatures() {
    let asked = Asked::under(&policy("id: s\nthreshold: 2\nany_of: [{method: key}]"));
    let mut again = by_key(KEY, "release");
    again.digest = "e".repeat(64);
    let found = asked.about(&facts(vec![by_key(KEY, "release"), again], vec![]));
    assert_eq!((found.verdict, found.codes), (TrustVerdict::Untrusted, vec!["THRESHOLD_NOT_MET".to_owned()]));
    let both = facts(vec![by_key(KEY, "release"), by_key(OTHER_KEY, "security")], vec![]);
    assert_eq!(asked.about(&both).verdict, TrustVerdict::Trusted);
}

#[test]
fn a_key_counts_for_what_was_received_while_it_was_valid() {
    let asked = Asked::under(&policy("id: s\nany_of: [{method: key, not_after: 2026-06-01T00:00:00Z}]"));
    let signed = by_key(KEY, "release");
    let bundle = signed.digest.clone();
    let facts = facts(vec![signed], vec![]);
    let asked = asked.received(&bundle, "2026-05-31T00:00:00Z", Some(1));
    assert_eq!(asked.about(&facts).verdict, TrustVerdict::Trusted);
    let asked = asked.received(&bundle, "2026-06-02T00:00:00Z", Some(9));
    assert_eq!(asked.about(&facts).codes, ["KEY_EXPIRED"]);
}

#[test]
fn an_expired_certificate_counts_at_receipt_and_not_strictly() {
    let rule = |validity: &str| {
        policy(&format!(
            "id: s\nany_of: [{{method: certificate, root: acme-ca, subject: 'CN=Release', validity: {validity}}}]"
        ))
    };
    let signed = by_certificate("O=Acme,CN=Release");
    let bundle = signed.digest.clone();
    let facts = facts(vec![signed], vec![]);
    let at_receipt = Asked::under(&rule("at-receipt")).received(&bundle, "2026-11-01T00:01:00Z", None);
    assert_eq!(at_receipt.about(&facts).verdict, TrustVerdict::Trusted);
    assert_eq!(Asked::under(&rule("at-receipt")).about(&facts).codes, ["CERTIFICATE_EXPIRED"]);
    let mut strict = Asked::under(&rule("strict-now")).received(&bundle, "2026-11-01T00:01:00Z", None);
    assert_eq!(strict.about(&facts).codes, ["CERTIFICATE_EXPIRED"]);
    strict.now = time("2026-11-01T00:09:00Z");
    let found = strict.about(&facts);
    assert_eq!(found.verdict, TrustVerdict::Trusted);
    assert_eq!(found.valid_until.as_deref(), Some("2026-11-01T00:10:00Z"));
}

#[test]
fn parts_of_a_subject_are_compared_whole() {
    let asked = Asked::under(&policy("id: s\nany_of: [{method: certificate, subject: 'CN=Release'}]"));
    let judged = |subject: &str| {
        let signed = by_certificate(subject);
        let asked = Asked::with(asked.policy.clone()).received(&signed.digest, "2026-11-01T00:01:00Z", None);
        asked.about(&facts(vec![signed], vec![])).verdict
    };
    assert_eq!(judged("CN=Release,O=Acme"), TrustVerdict::Trusted);
    assert_eq!(judged("CN=Release Candidate"), TrustVerdict::Untrusted);
    assert_eq!(judged("O=x\\,CN=Release"), TrustVerdict::Untrusted);
}

#[test]
fn an_identity_is_trusted_only_with_its_issuer_its_root_and_a_time() {
    let rule = "id: s\nany_of: [{method: sigstore, root: public-good, issuer: 'https://issuer.example', identity: '*@acme.example'}]";
    let asked = Asked::under(&policy(rule));
    let judged = |signature: SignatureFacts| asked.about(&facts(vec![signature], vec![]));
    assert_eq!(judged(keyless("release@acme.example")).verdict, TrustVerdict::Trusted);
    assert_eq!(judged(keyless("release@acme.example.evil")).codes, ["SIGNER_NOT_ALLOWED"]);
    let mut other_issuer = keyless("release@acme.example");
    other_issuer.certificate.as_mut().unwrap().issuer = Some("https://issuer.example/".into());
    assert_eq!(judged(other_issuer).codes, ["SIGNER_NOT_ALLOWED"]);
    let mut other_root = keyless("release@acme.example");
    other_root.root = Some("private".into());
    assert_eq!(judged(other_root).codes, ["SIGNER_NOT_ALLOWED"]);
    let mut timeless = keyless("release@acme.example");
    timeless.times.clear();
    let found = judged(timeless);
    assert_eq!(outcome(&found, CheckKind::Timestamp), (CheckOutcome::Failed, Some("NO_TIME_EVIDENCE".into())));
}

#[test]
fn each_check_is_enforced_warned_about_or_skipped() {
    let with = |mode: &str| {
        let rule = policy("id: s\nany_of: [{method: key}]");
        Asked::under(&format!("{rule}    checks: {{log: {mode}}}\n"))
    };
    let facts = facts(vec![by_key(KEY, "release")], vec![]);
    let judged = |mode: &str| {
        let found = with(mode).about(&facts);
        (found.verdict, outcome(&found, CheckKind::Log))
    };
    let code = Some("NOT_IN_LOG".to_owned());
    assert_eq!(judged("enforce"), (TrustVerdict::Untrusted, (CheckOutcome::Failed, code.clone())));
    assert_eq!(judged("warn"), (TrustVerdict::Trusted, (CheckOutcome::Warned, code)));
    assert_eq!(judged("skip"), (TrustVerdict::Trusted, (CheckOutcome::Skipped, None)));
}

#[test]
fn pinned_roots_and_their_age_are_checked() {
    let rule =
        "id: s\nany_of: [{method: sigstore, root: public-good, issuer: 'https://issuer.example', identity: '**@**'}]";
    let with = |more: &str| Asked::under(&format!("{}    {more}\n", policy(rule)));
    let facts = facts(vec![keyless("a@b")], vec![]);
    let pinned = with(&format!("trust_roots: {{public-good: 'sha256:{ROOT_DIGEST}'}}"));
    assert_eq!(pinned.about(&facts).verdict, TrustVerdict::Trusted);
    let foreign = with(&format!("trust_roots: {{public-good: 'sha256:{KEY}'}}"));
    assert_eq!(foreign.about(&facts).codes, ["ROOT_NOT_PINNED"]);
    let mut aging = with("max_root_age_days: 90");
    aging.roots.insert("public-good".into(), time("2026-10-01T00:00:00Z"));
    assert_eq!(aging.about(&facts).valid_until.as_deref(), Some("2026-12-30T00:00:00Z"));
    aging.roots.insert("public-good".into(), time("2026-08-01T00:00:00Z"));
    assert_eq!(aging.about(&facts).codes, ["ROOT_TOO_OLD"]);
}

#[test]
fn an_attestation_must_come_from_a_named_signer_and_say_what_is_asked() {
    let review = "urn:weighhouse:predicate:license-review:v1";
    let rule = format!(
        "id: license\npredicate: '{review}'\nany_of: [{{method: key, keys: [legal]}}]\nwhere: {{decision: APPROVED, not_expired: true}}"
    );
    let asked = Asked::under(&policy(&rule));
    let judged = |predicate: Value, signer: &str| {
        asked.about(&facts(vec![], vec![attestation(review, predicate, by_key(KEY, signer))]))
    };
    let approved = json!({"decision": "APPROVED", "expires": "2027-01-01T00:00:00Z"});
    let found = judged(approved.clone(), "legal");
    assert_eq!(found.verdict, TrustVerdict::Trusted);
    assert_eq!(found.valid_until.as_deref(), Some("2027-01-01T00:00:00Z"));
    assert_eq!(judged(approved, "intern").codes, ["SIGNER_NOT_ALLOWED"]);
    assert_eq!(judged(json!({"decision": "REJECTED"}), "legal").codes, ["PREDICATE_CONDITION"]);
    let expired = json!({"decision": "APPROVED", "expires": "2026-11-24T11:59:59Z"});
    assert_eq!(judged(expired, "legal").codes, ["ATTESTATION_EXPIRED"]);
    assert_eq!(judged(Value::Null, "legal").codes, ["PREDICATE_TOO_LARGE"]);
    assert_eq!(asked.about(&facts(vec![by_key(KEY, "legal")], vec![])).codes, ["NO_ATTESTATION"]);
}

#[test]
fn a_verification_summary_counts_only_for_its_verifier_its_resource_and_when_it_passed() {
    let summary = "https://slsa.dev/verification_summary/v1";
    let nameless = policy(&format!("id: vsa\npredicate: '{summary}'\nany_of: [{{method: key}}]"));
    assert!(TrustPolicy::parse(&nameless).unwrap_err().to_string().contains("verifier.id"));
    let asked = Asked::under(&policy(&format!(
        "id: vsa\npredicate: '{summary}'\nany_of: [{{method: key}}]\nwhere: {{verifier.id: 'https://v.example'}}"
    )));
    let judged = |resource: &str, result: &str, verifier: &str| {
        let said = json!({"resourceUri": resource, "verificationResult": result, "verifier": {"id": verifier}});
        asked.about(&facts(vec![], vec![attestation(summary, said, by_key(KEY, "gate"))])).verdict
    };
    let ours = "weighhouse://acme/tiny@0123";
    assert_eq!(judged(ours, "PASSED", "https://v.example"), TrustVerdict::Trusted);
    assert_eq!(judged("weighhouse://acme/other@0123", "PASSED", "https://v.example"), TrustVerdict::Untrusted);
    assert_eq!(judged(ours, "FAILED", "https://v.example"), TrustVerdict::Untrusted);
    assert_eq!(judged(ours, "PASSED", "https://w.example"), TrustVerdict::Untrusted);
}

#[test]
fn a_builder_is_matched_anchored() {
    let provenance = "https://slsa.dev/provenance/v1";
    let asked = Asked::under(&policy(&format!(
        "id: base\npredicate: '{provenance}'\nany_of: [{{method: key}}]\nbuilder: 'https://weighhouse.example/workers/*'"
    )));
    let judged = |builder: &str| {
        let said = json!({"runDetails": {"builder": {"id": builder}}});
        asked.about(&facts(vec![], vec![attestation(provenance, said, by_key(KEY, "quant"))])).codes
    };
    assert!(judged("https://weighhouse.example/workers/quant").is_empty());
    assert_eq!(judged("https://weighhouse.example/workers/quant/evil"), ["BUILDER_NOT_ALLOWED"]);
}

#[test]
fn an_invalid_signature_beside_a_good_one_changes_nothing_and_alone_is_named() {
    let asked = Asked::with(TrustPolicy::of_configured_signers());
    let mut broken = by_key(OTHER_KEY, "release");
    broken.state = SignatureState::Invalid;
    assert_eq!(asked.about(&facts(vec![broken.clone()], vec![])).verdict, TrustVerdict::Invalid);
    assert_eq!(asked.about(&facts(vec![broken, by_key(KEY, "x")], vec![])).verdict, TrustVerdict::Trusted);
}

#[test]
fn a_requirement_that_only_warns_is_told_and_denies_nothing() {
    let text = policy("id: s\nany_of: [{method: key}]")
        + "      - {id: base, mode: warn, predicate: 'https://slsa.dev/provenance/v1', any_of: [{method: key}]}\n";
    let found = Asked::under(&text).about(&facts(vec![by_key(KEY, "release")], vec![]));
    assert_eq!(found.verdict, TrustVerdict::Trusted);
    assert_eq!(found.codes, ["NO_ATTESTATION"]);
}

#[test]
fn the_same_facts_give_the_same_assessment_at_another_time() {
    let mut asked = Asked::with(TrustPolicy::of_configured_signers());
    let signed = by_key(KEY, "release");
    asked = asked.received(&signed.digest.clone(), "2026-11-01T00:00:00Z", Some(3));
    let facts = facts(vec![signed], vec![]);
    let first = asked.about(&facts);
    asked.now = time("2027-11-24T12:00:00Z");
    assert_eq!(asked.about(&facts), first);
}

#[test]
fn documents_that_say_less_than_their_author_thinks_are_refused() {
    let refused = |text: &str| TrustPolicy::parse(text).unwrap_err().to_string();
    let cases = [
        ("schema_version: 2\npolicies: []", "version 1"),
        (&*policy("id: s"), "names no signers"),
        (&*policy("id: s\nany_of: [{method: key}]\nthreshold: 0"), "threshold"),
        (&*policy("id: s\nany_off: [{method: key}]"), "unknown field"),
        (&*policy("id: s\nany_of: [{method: key, kyes: [a]}]"), "unknown field"),
        (&*policy("id: s\nof: [legal]"), "no signers called legal"),
        (&*policy("id: s\nmode: warn\nany_of: [{method: key}]"), "none of its requirements is enforced"),
        (&*policy("id: s\nany_of: [{method: key}]\nwhere: {a: b}"), "go with `predicate`"),
        (&*policy("id: s\nany_of: [{method: key}]\npredicate: p\nwhere: {not_expired: false}"), "only `true`"),
        (&*policy("id: s\nany_of: [{method: key}]\npredicate: p\ncoverage: {}"), "not with `predicate`"),
        (
            "schema_version: 1\npolicies: [{name: p, scope: ['**'], trust_roots: {r: md5}, require: [{id: s, any_of: [{method: key}]}]}]",
            "sha256:",
        ),
        ("[", "does not parse"),
    ];
    for (text, words) in cases {
        let reason = refused(text);
        assert!(reason.contains(words), "{text}\n{reason}");
    }
    let deep = "[".repeat(100_000);
    assert!(refused(&deep).contains("does not parse"));
}

#[test]
fn keys_and_roots_that_nobody_configured_are_found() {
    let text = policy("id: s\nany_of: [{method: key, keys: [release, typo]}, {method: certificate, root: acme-ca}]");
    let policy = TrustPolicy::parse(&text).unwrap();
    assert_eq!(policy.unknown_keys(|key| key == "release").into_iter().collect::<Vec<_>>(), ["typo"]);
    assert_eq!(policy.unknown_roots(|_| false).into_iter().collect::<Vec<_>>(), ["acme-ca"]);
}

#[test]
fn a_policy_is_identified_by_what_it_says_and_not_by_its_layout() {
    let one = TrustPolicy::parse(&policy("id: s\nany_of: [{method: key}]")).unwrap();
    let json = TrustPolicy::parse(&one.to_json()).unwrap();
    assert_eq!(one.digest(), json.digest());
    let other = TrustPolicy::parse(&policy("id: s\nany_of: [{method: key, keys: [a]}]")).unwrap();
    assert_ne!(one.digest(), other.digest());
}

const AUTHORITY: &[u8] = include_bytes!("data/crl/ca.pem");
const AUTHORITY_NAME: &str = "CN=Example Model CA,O=Example Organization";
const BY_AUTHORITY: &str = "id: s\nany_of: [{method: certificate, root: acme-ca}]";

/// The list of the example authority, which names the serial numbers A2 and A3.
fn authority_list() -> NamedCrl {
    let root = TrustRoot::parse("acme-ca", AUTHORITY).unwrap();
    let list = Crl::verify(include_bytes!("data/crl/crl.pem"), &root.certificates()).unwrap();
    NamedCrl { name: "acme-ca-list".into(), list }
}

/// What the policy says of a certificate with this serial number, and of its revocation.
fn under_authority_list(asked: &Asked, issuer: &str, serial: &str) -> (TrustVerdict, Option<String>, String) {
    let mut signature = by_certificate("CN=Release");
    let certificate = signature.certificate.as_mut().unwrap();
    certificate.issued_by = issuer.into();
    certificate.serial = serial.into();
    certificate.valid_until = "2027-11-01T00:00:00Z".into();
    let answer = asked.about(&facts(vec![signature], vec![]));
    let mut checks = answer.requirements[0].checks.iter();
    let check = checks.find(|check| check.check == CheckKind::Revocation).unwrap();
    (answer.verdict, check.code.clone(), check.detail.clone())
}

#[test]
fn certificate_that_its_authority_revoked_does_not_count() {
    let asked = Asked { crls: vec![authority_list()], ..Asked::under(&policy(BY_AUTHORITY)) };
    let (verdict, code, detail) = under_authority_list(&asked, AUTHORITY_NAME, "a2");
    assert_eq!((verdict, code.as_deref()), (TrustVerdict::Untrusted, Some("CERTIFICATE_REVOKED")));
    assert!(detail.contains("(KeyCompromise)") && detail.contains("acme-ca-list"), "{detail}");
    let (verdict, code, detail) = under_authority_list(&asked, AUTHORITY_NAME, "a1");
    assert_eq!((verdict, code), (TrustVerdict::Trusted, None), "{detail}");
    assert!(detail.contains("acme-ca-list does not name"), "{detail}");
    let (verdict, _, detail) = under_authority_list(&asked, "CN=Another CA", "a2");
    assert_eq!(verdict, TrustVerdict::Trusted, "serial numbers count per issuer: {detail}");
}

#[test]
fn revocation_by_an_authority_is_warned_about_where_the_policy_says_so() {
    let warned = format!("{}    checks: {{revocation: warn}}\n", policy(BY_AUTHORITY));
    let asked = Asked { crls: vec![authority_list()], ..Asked::under(&warned) };
    let (verdict, code, _) = under_authority_list(&asked, AUTHORITY_NAME, "a3");
    assert_eq!((verdict, code.as_deref()), (TrustVerdict::Trusted, Some("CERTIFICATE_REVOKED")));
}

#[test]
fn authority_list_past_its_next_update_still_revokes_and_says_that_it_is_old() {
    let list = authority_list();
    let later = list.list.next_update.checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
    let asked = Asked { crls: vec![list], now: later, ..Asked::under(&policy(BY_AUTHORITY)) };
    let asked = asked.received(&"d".repeat(64), NOW, None);
    let (verdict, _, detail) = under_authority_list(&asked, AUTHORITY_NAME, "a1");
    assert_eq!(verdict, TrustVerdict::Trusted, "{detail}");
    assert!(detail.contains("out of date"), "{detail}");
    assert_eq!(under_authority_list(&asked, AUTHORITY_NAME, "a2").1.as_deref(), Some("CERTIFICATE_REVOKED"));
}
