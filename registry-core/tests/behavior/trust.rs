//! Whom the registry trusts: the policy at the gate, roots, revocations, and its own statements.

use registry_core::{
    AttestationOrigin, Error, ModelInfo, NewLicenseRecord, NewTrustRoot, PageRequest, Registry, Revision, Role,
    Sha256Digest, TrustSettings, Visibility,
};
use serde_json::{Value, json};
use verifier::evidence::ProbeVerdict;
use verifier::license::record::Body;
use verifier::provenance::TrustMaterial;
use verifier::provenance::oms::{self, SignedFile, SigningKey, TrustedKey};
use verifier::provenance::revocation;
use verifier::provenance::statement::{self, Statement};
use verifier::provenance::trust::{CheckKind, CheckOutcome, TrustPolicy, TrustVerdict};

use crate::support::{ORIGIN, World, on_both_databases, tiny_model};

const TWO_SIGNERS: &str = "
schema_version: 1
policies:
  - name: two-signers
    scope: ['**']
    require:
      - {id: signature, threshold: 2, any_of: [{method: key}]}
";

fn trusted(name: &str, key: &SigningKey) -> TrustedKey {
    TrustedKey::from_pem(name, &key.public_key_pem()).unwrap()
}

/// A bundle over files as a publisher makes it.
fn signature(files: &[(&str, &[u8])], key: &SigningKey) -> Vec<u8> {
    let digests: Vec<String> = files.iter().map(|(_, bytes)| Sha256Digest::of(bytes).to_string()).collect();
    let signed: Vec<SignedFile<'_>> =
        files.iter().zip(&digests).map(|((path, _), sha256)| SignedFile { path, sha256 }).collect();
    oms::sign("tiny", &signed, key).unwrap()
}

/// A world that trusts one publisher, whose model was pushed with its signature beside it.
struct Trusting {
    world: World,
    publisher: SigningKey,
    model: ModelInfo,
    revision: Revision,
    signature: Vec<u8>,
}

impl Trusting {
    async fn new(world: World) -> Self {
        let publisher = SigningKey::generate().unwrap();
        let world = Box::pin(reopen(world, trusting(&[("publisher", &publisher)]))).await;
        let weights = tiny_model();
        let signature = signature(&[("w.gguf", &weights)], &publisher);
        let model = world.model_seen_by("acme/tiny", Visibility::Internal).await;
        let revision = world.push(&model, &[("w.gguf", &weights), ("model.sig", &signature)]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        Self { world, publisher, model, revision, signature }
    }

    async fn with(self, settings: TrustSettings) -> Self {
        let world = Box::pin(reopen(self.world, settings)).await;
        Self { world, ..self }
    }

    async fn verdict(&self) -> TrustVerdict {
        let decision = self.world.decision(&self.model, "production").await.unwrap();
        decision.trust_assessment.unwrap().verdict
    }

    async fn codes(&self) -> Vec<String> {
        self.world.decision(&self.model, "production").await.unwrap().trust_assessment.unwrap().codes
    }

    fn settings(&self) -> TrustSettings {
        TrustSettings { keys: vec![trusted("publisher", &self.publisher)], ..TrustSettings::default() }
    }
}

fn trusting(keys: &[(&str, &SigningKey)]) -> TrustSettings {
    let keys = keys.iter().map(|(name, key)| trusted(name, key)).collect();
    TrustSettings { keys, ..TrustSettings::default() }
}

async fn reopen(world: World, trust: TrustSettings) -> World {
    let mut opening = world.opening();
    opening.settings.trust = trust;
    World { registry: Registry::open(opening).await.unwrap(), ..world }
}

fn revocations(number: u64, entries: &Value, key: &SigningKey) -> Vec<u8> {
    let list = json!({
        "schema_version": 1, "number": number, "issued_at": "2026-11-20T00:00:00Z", "issuer": "acme security",
        "entries": entries,
    });
    revocation::sign_document(list.to_string().as_bytes(), key).unwrap()
}

fn revoked_key(key: &SigningKey) -> Value {
    let digest = trusted("x", key).digest().to_owned();
    json!({ "kind": "key", "sha256": digest, "reason": "stolen", "revoked_at": "2026-11-19T00:00:00Z" })
}

/// A signed statement that the model was quantized from something with this digest.
fn quantized_from(content: &str, base: &str, uri: &str, key: &SigningKey) -> Vec<u8> {
    let made = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "child", "digest": { "sha256": content } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:weighhouse:buildtype:quantize:v1",
                "externalParameters": {},
                "resolvedDependencies": [{ "name": "base-model", "uri": uri, "digest": { "sha256": base } }],
            },
            "runDetails": { "builder": { "id": "https://builder.example/quant" } },
        },
    });
    statement::sign(&Statement::parse(made.to_string().as_bytes()).unwrap(), key).unwrap()
}

async fn own_statements(world: &World, model: &ModelInfo, revision: &Revision) -> Vec<(String, String)> {
    let all = world.registry.attestations(model, revision).await.unwrap();
    let own = all.into_iter().filter(|found| found.origin == AttestationOrigin::Registry);
    own.map(|found| (found.predicate_type.unwrap(), found.sha256)).collect()
}

on_both_databases! {
    async fn a_signature_by_a_configured_key_is_trusted_and_every_check_is_told(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let decision = trusting.world.decision(&trusting.model, "production").await.unwrap();
        let assessment = decision.trust_assessment.unwrap();
        assert_eq!(assessment.verdict, TrustVerdict::Trusted);
        let outcome = |kind| {
            assessment.requirements[0].checks.iter().find(|check| check.check == kind).map(|check| check.outcome)
        };
        assert_eq!(outcome(CheckKind::Signer), Some(CheckOutcome::Passed));
        assert_eq!(outcome(CheckKind::Coverage), Some(CheckOutcome::Passed));
        assert_eq!(outcome(CheckKind::Timestamp), Some(CheckOutcome::NotApplicable));
        let page = PageRequest::new(None, None).unwrap();
        let events = trusting.world.registry.audit_events(&trusting.world.admin, Some(&trusting.model.id), &page).await.unwrap();
        let decided = events.items.iter().find(|event| event.kind == "decision.made").unwrap();
        assert_eq!(decided.details["trust"]["requirements"][0]["checks"][0]["check"], "integrity");
        assert!(!decided.details["trust"].to_string().contains("publisher"), "names stay out of the log");
    }

    async fn a_new_trust_policy_decides_anew_without_reading_a_model(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let policy = TrustPolicy::parse(TWO_SIGNERS).unwrap();
        let page = PageRequest::new(None, None).unwrap();
        let tried = trusting.world.registry.trust_dry_run(&trusting.world.admin, &policy, "production", &page).await.unwrap();
        let item = &tried.items[0];
        assert_eq!((item.now, item.then), (TrustVerdict::Trusted, TrustVerdict::Untrusted));
        assert_eq!(trusting.verdict().await, TrustVerdict::Trusted, "a dry run changes nothing");

        for object in trusting.world.objects() {
            fs_err::remove_file(object).unwrap();
        }
        let settings = TrustSettings { policy, ..trusting.settings() };
        let trusting = Box::pin(trusting.with(settings)).await;
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(trusting.codes().await, ["THRESHOLD_NOT_MET"]);
        assert_eq!(trusting.world.count("SELECT COUNT(*) FROM trust_policy_version").await, 2);
    }

    async fn dry_runs_and_imports_are_for_administrators_alone(world: World) {
        let owner = world.member("ida", "acme", Role::Admin).await;
        let policy = TrustPolicy::parse(TWO_SIGNERS).unwrap();
        let page = PageRequest::new(None, None).unwrap();
        let tried = world.registry.trust_dry_run(&owner, &policy, "production", &page).await;
        assert!(matches!(tried, Err(Error::Forbidden(_))));
        assert!(matches!(world.registry.import_revocation_list(&owner, b"{}").await, Err(Error::Forbidden(_))));
        let new = NewTrustRoot { name: "ca".into(), document: Vec::new(), sha256: Sha256Digest::of(b""), replace: false, without_log: false };
        assert!(matches!(world.registry.import_trust_root(&owner, new).await, Err(Error::Forbidden(_))));
    }

    async fn a_policy_that_names_an_unknown_key_keeps_the_registry_from_starting(world: World) {
        let text = TWO_SIGNERS.replace("method: key", "method: key, keys: [nobody]");
        let mut opening = world.opening();
        opening.settings.trust.policy = TrustPolicy::parse(&text).unwrap();
        let refused = Registry::open(opening).await.unwrap_err();
        assert!(refused.to_string().contains("nobody"), "{refused}");
    }

    async fn a_revoked_key_is_no_longer_trusted_and_an_older_list_is_refused(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let security = SigningKey::generate().unwrap();
        let settings = TrustSettings { revocation_keys: vec![trusted("security", &security)], ..trusting.settings() };
        let trusting = Box::pin(trusting.with(settings)).await;
        let (registry, admin) = (&trusting.world.registry, &trusting.world.admin);
        let forged = revocations(1, &json!([]), &trusting.publisher);
        assert!(matches!(registry.import_revocation_list(admin, &forged).await, Err(Error::Invalid(..))));

        let second = revocations(2, &json!([revoked_key(&trusting.publisher)]), &security);
        assert_eq!(registry.import_revocation_list(admin, &second).await.unwrap().entries, 1);
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(trusting.codes().await, ["KEY_REVOKED"]);

        let first = revocations(1, &json!([]), &security);
        let rollback = registry.import_revocation_list(admin, &first).await.unwrap_err();
        assert!(matches!(rollback, Error::Invalid(..)), "{rollback:?}");
        let third = revocations(3, &json!([]), &security);
        assert_eq!(registry.import_revocation_list(admin, &third).await.unwrap().withdrawn.len(), 1);
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(trusting.verdict().await, TrustVerdict::Trusted);
    }

    async fn what_came_before_a_compromise_by_our_own_log_stands(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let security = SigningKey::generate().unwrap();
        let settings = TrustSettings { revocation_keys: vec![trusted("security", &security)], ..trusting.settings() };
        let trusting = Box::pin(trusting.with(settings)).await;
        let (registry, admin) = (&trusting.world.registry, &trusting.world.admin);
        let compromised_from = |number: u64, index: u64| {
            let mut entry = revoked_key(&trusting.publisher);
            entry["compromised_from"] = json!({ "log_origin": ORIGIN, "log_index": index });
            revocations(number, &json!([entry]), &security)
        };
        // Not in the log yet: nothing shows that it came before.
        registry.import_revocation_list(admin, &compromised_from(1, 1_000_000)).await.unwrap();
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(trusting.codes().await, ["KEY_REVOKED"]);
        while registry.sequence_audit_log("test").await.unwrap() > 0 {}
        registry.import_revocation_list(admin, &compromised_from(2, 1_000_000)).await.unwrap();
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(trusting.verdict().await, TrustVerdict::Trusted);
        registry.import_revocation_list(admin, &compromised_from(3, 0)).await.unwrap();
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(trusting.codes().await, ["KEY_REVOKED"]);
    }

    async fn revoked_content_is_denied_everywhere(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let security = SigningKey::generate().unwrap();
        let settings = TrustSettings { revocation_keys: vec![trusted("security", &security)], ..trusting.settings() };
        let trusting = Box::pin(trusting.with(settings)).await;
        let content = trusting.revision.content_digest.as_str();
        let entry = json!({ "kind": "content", "sha256": content, "reason": "backdoor", "revoked_at": "2026-11-19T00:00:00Z" });
        let list = revocations(1, &json!([entry]), &security);
        trusting.world.registry.import_revocation_list(&trusting.world.admin, &list).await.unwrap();
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        let decision = trusting.world.decision(&trusting.model, "development").await.unwrap();
        assert_eq!(decision.reasons[0].code, "REVOKED");
        assert!(decision.reasons[0].msg.contains("backdoor"));
    }

    async fn a_root_is_imported_by_confirmed_digest_and_old_ones_are_kept(world: World) {
        let document = verifier::provenance::TrustRoot::public_good().unwrap().document().to_vec();
        let new = |sha256| NewTrustRoot {
            name: "public-good".into(), document: document.clone(), sha256, replace: false, without_log: false,
        };
        let wrong = world.registry.import_trust_root(&world.admin, new(Sha256Digest::of(b"something else"))).await;
        assert!(matches!(wrong, Err(Error::Invalid(..))));
        let root = world.registry.import_trust_root(&world.admin, new(Sha256Digest::of(&document))).await.unwrap();
        assert_eq!((root.kind.as_str(), root.versions, root.age_days, root.aging), ("sigstore", 1, Some(0), false));
        let again = world.registry.import_trust_root(&world.admin, new(Sha256Digest::of(&document))).await.unwrap();
        assert_eq!(again.versions, 2);
        assert_eq!(world.count("SELECT COUNT(*) FROM trust_root").await, 2);
        world.execute("UPDATE trust_root SET imported_at = 1700000000000").await;
        assert!(world.registry.trust_roots().await.unwrap()[0].aging);
    }

    async fn new_roots_have_signatures_proven_again(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let before = trusting.world.count("SELECT COUNT(*) FROM evidence WHERE stage = 'provenance'").await;
        let document = verifier::provenance::TrustRoot::public_good().unwrap().document().to_vec();
        let sha256 = Sha256Digest::of(&document);
        let new = NewTrustRoot { name: "public-good".into(), document, sha256, replace: false, without_log: false };
        trusting.world.registry.import_trust_root(&trusting.world.admin, new).await.unwrap();
        trusting.world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(trusting.world.count("SELECT COUNT(*) FROM evidence WHERE stage = 'provenance'").await, before + 1);
        assert_eq!(trusting.verdict().await, TrustVerdict::Trusted);
    }

    async fn a_base_that_is_attested_by_digest_is_linked_and_held_against_the_card(world: World) {
        let builder = SigningKey::generate().unwrap();
        let world = Box::pin(reopen(world, trusting(&[("builder", &builder)]))).await;
        let base = world.model_seen_by("acme/base", Visibility::Internal).await;
        let weights = tiny_model();
        world.push(&base, &[("b.gguf", &weights)]).await;
        let child = world.model_seen_by("acme/child", Visibility::Internal).await;
        let card = b"---\nlicense: mit\nbase_model: other/origin\n---\n# Child\n";
        let quantized = [weights.as_slice(), b"\0\0\0\0"].concat();
        let revision = world.push(&child, &[("w.gguf", &quantized), ("README.md", card)]).await.revision;
        let base_digest = Sha256Digest::of(&weights);
        let bundle = quantized_from(revision.content_digest.as_str(), base_digest.as_str(), "hf://wrong/name", &builder);
        world.registry.attach_signature(&world.admin, &child, &revision, &bundle).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        let view = world.registry.license_view(&child, &revision, "production", &verifier::policy::Use::default()).await.unwrap();
        let parents: Vec<&str> = view.lineage[0].parents.iter().map(|parent| parent.name.as_str()).collect();
        assert!(parents.contains(&"acme/base"), "the digest says more than the name: {parents:?}");
        let decision = world.decision(&child, "production").await.unwrap();
        assert!(decision.trust_assessment.unwrap().codes.contains(&"ATTESTED_BASE_DIFFERS".to_owned()));
    }

    async fn an_attested_digest_does_not_name_a_private_base_of_others(world: World) {
        let builder = SigningKey::generate().unwrap();
        let world = Box::pin(reopen(world, trusting(&[("builder", &builder)]))).await;
        let weights = tiny_model();
        world.push(&world.model("secret/base").await, &[("b.gguf", &weights)]).await;
        let child = world.model("acme/child").await;
        let revision = world.push(&child, &[("w.gguf", &[weights.as_slice(), b"\0\0\0\0"].concat())]).await.revision;
        let digest = Sha256Digest::of(&weights);
        let bundle = quantized_from(revision.content_digest.as_str(), digest.as_str(), "hf://claimed/name", &builder);
        world.registry.attach_signature(&world.admin, &child, &revision, &bundle).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM lineage_edge WHERE parent = 'claimed/name'").await, 1);
        assert_eq!(world.count("SELECT COUNT(*) FROM lineage_edge WHERE parent = 'secret/base'").await, 0);
    }

    async fn an_attestation_by_somebody_unknown_makes_no_parent(world: World) {
        let base = world.model("acme/base").await;
        let weights = tiny_model();
        world.push(&base, &[("b.gguf", &weights)]).await;
        let child = world.model("acme/child").await;
        let revision = world.push(&child, &[("w.gguf", &[weights.as_slice(), b"\0"].concat())]).await.revision;
        let stranger = SigningKey::generate().unwrap();
        let digest = Sha256Digest::of(&weights);
        let bundle = quantized_from(revision.content_digest.as_str(), digest.as_str(), "hf://acme/base", &stranger);
        world.registry.attach_signature(&world.admin, &child, &revision, &bundle).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM lineage_edge").await, 0);
    }

    async fn probe_review_and_decisions_are_attested_once_and_verify_with_the_registrys_key(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let (world, model, revision) = (&trusting.world, &trusting.model, &trusting.revision);
        let body = Body::Conclusion { expression: "MIT".into(), reason: "read".into() };
        world.registry.add_license_record(&world.admin, model, revision, NewLicenseRecord { body, expires_at: None }).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        let statements = own_statements(world, model, revision).await;
        let count = |kind: &str| statements.iter().filter(|(found, _)| found == kind).count();
        assert_eq!(count("https://in-toto.io/attestation/test-result/v0.1"), 1);
        assert_eq!(count("urn:weighhouse:predicate:license-review:v1"), 1);
        assert!(count("https://slsa.dev/verification_summary/v1") >= 2);
        let key = TrustedKey::from_pem("registry", &world.registry.statement_verifier()).unwrap();
        let trust = TrustMaterial { keys: vec![key], roots: Vec::new() };
        while world.registry.sequence_audit_log("test").await.unwrap() > 0 {}
        for (_, sha256) in &statements {
            let bundle = world.registry.attestation_bundle(model, revision, &sha256.parse().unwrap()).await.unwrap();
            let checked = verifier::provenance::verify_envelope(&bundle, &trust);
            assert_eq!(checked.facts.state, verifier::evidence::SignatureState::Trusted, "{:?}", checked.findings);
            let document: Value = serde_json::from_slice(&bundle).unwrap();
            assert_eq!(document["verificationMaterial"]["tlogEntries"].as_array().unwrap().len(), 1);
        }
        // Asked again, nothing changed, and nothing is signed.
        world.execute("UPDATE decision SET valid_until = 1000").await;
        world.registry.renew_expired_decisions().await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(own_statements(world, model, revision).await.len(), statements.len());
    }

    async fn the_registry_countersigns_only_what_it_trusts(world: World) {
        let trusting = Box::pin(Trusting::new(world)).await;
        let (world, model) = (&trusting.world, &trusting.model);
        let digest = world.registry.countersign(&world.admin, model, &trusting.revision, "production").await.unwrap();
        let bundle = world.registry.attestation_bundle(model, &trusting.revision, &digest).await.unwrap();
        assert_ne!(bundle, trusting.signature);
        let unsigned = world.model("acme/unsigned").await;
        let revision = world.push(&unsigned, &[("w.gguf", &tiny_model())]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        let refused = world.registry.countersign(&world.admin, &unsigned, &revision, "production").await;
        assert!(matches!(refused, Err(Error::Invalid(..))));
        let reader = world.member("rea", "acme", Role::Reader).await;
        let refused = world.registry.countersign(&reader, model, &trusting.revision, "production").await;
        assert!(matches!(refused, Err(Error::Forbidden(_))));
    }

    async fn what_is_no_bundle_cannot_be_attached(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        for bytes in [&b"{\"not\": \"a bundle\"}"[..], b"", b"\xff\xfe", &vec![b'['; 100_000]] {
            let refused = world.registry.attach_signature(&world.admin, &model, &revision, bytes).await;
            assert!(matches!(refused, Err(Error::Invalid(..))), "{refused:?}");
        }
    }
}
