//! Decisions: stored, in force, and asked by every read.

use registry_core::{Claim, Error, Question, Role, Visibility};
use verifier::evidence::ProbeVerdict;
use verifier::policy::{Policy, Use};
use verifier::provenance::oms::SigningKey;
use verifier::provenance::statement::{self, Statement};

use crate::support::{World, on_both_databases, tiny_model};

fn question(environment: &str, stated: &str) -> Question {
    Question { environment: environment.into(), stated_use: stated.parse::<Use>().unwrap() }
}

on_both_databases! {
    async fn readers_get_what_the_gate_allows_and_writers_what_they_made(world: World) {
        let model = world.model_seen_by("acme/tiny", Visibility::Internal).await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        let reader = world.member("rea", "acme", Role::Reader).await;
        let writer = world.member("wri", "acme", Role::Writer).await;
        let pending = world.registry.authorize_read(&reader, &model, &revision).await;
        assert!(matches!(pending, Err(Error::Denied { pending: true, .. })));
        world.registry.authorize_read(&writer, &model, &revision).await.unwrap();
        world.run_jobs(ProbeVerdict::Failed).await;
        match world.registry.authorize_read(&reader, &model, &revision).await {
            Err(Error::Denied { pending: false, reasons, .. }) => assert_eq!(reasons[0].code, "EVIDENCE_PROBE_FAILED"),
            other => panic!("{other:?}"),
        }
        world.registry.authorize_read(&writer, &model, &revision).await.unwrap();
    }

    async fn the_same_question_asked_by_many_at_once_has_one_answer(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        let asked = (0..8).map(|_| {
            let (registry, model, revision) = (world.registry.clone(), model.clone(), revision.clone());
            tokio::spawn(async move { registry.decide(&model, &revision, &question("production", "commercial=true")).await })
        });
        let mut answers = std::collections::BTreeSet::new();
        for answer in asked.collect::<Vec<_>>() {
            answers.insert(answer.await.unwrap().unwrap().id);
        }
        assert_eq!(answers.len(), 1);
    }

    async fn the_same_question_gets_the_same_stored_decision(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        let ask = question("production", "commercial=true");
        let one = world.registry.decide(&model, &revision, &ask).await.unwrap();
        let two = world.registry.decide(&model, &revision, &ask).await.unwrap();
        assert_eq!(one, two);
        assert!(!one.would_pass_if.is_empty());
        let other = world.registry.decide(&model, &revision, &question("production", "commercial=false")).await.unwrap();
        assert_ne!(one.id, other.id);
        assert_eq!(world.registry.find_decision(&world.admin, &one.id).await.unwrap(), one);
        let stranger = world.caller("eve", Role::Admin).await;
        assert!(matches!(world.registry.find_decision(&stranger, &one.id).await, Err(Error::NotFound(_))));
    }

    async fn unknown_environments_and_uses_cannot_be_decided(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("a", b"a")]).await.revision;
        let unknown = world.registry.decide(&model, &revision, &question("staging", "")).await;
        assert!(matches!(unknown, Err(Error::Invalid(..))));
        assert!("colour=blue".parse::<Use>().is_err());
    }

    async fn another_policy_has_everything_decided_anew(world: World) {
        let model = world.model_seen_by("acme/tiny", Visibility::Internal).await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        assert!(world.decision(&model, "development").await.unwrap().allowed);

        let strict = "package weighhouse.gate\nimport rego.v1\ndeny contains {\"code\": \"NOTHING_GOES\", \"msg\": \"no\"}";
        let mut opening = world.opening();
        opening.policy = Policy::compile(strict, Policy::standard().unwrap().data_text()).unwrap();
        let registry = registry_core::Registry::open(opening).await.unwrap();
        // Until it is decided anew, nothing is in force: closed, not open.
        assert!(registry.live_decision(&model, &revision, "development").await.unwrap().is_none());
        while let Some(lease) = registry.claim_job(Claim::default()).await.unwrap() {
            registry.run_job(&lease).await.unwrap();
        }
        let decision = registry.live_decision(&model, &revision, "development").await.unwrap().unwrap();
        assert_eq!(decision.reasons[0].code, "NOTHING_GOES");
        assert_eq!(world.count("SELECT COUNT(*) FROM policy_version").await, 2);
    }

    async fn evidence_that_grew_old_expires_the_decision(world: World) {
        let data = Policy::standard().unwrap().data_text().replace(
            "\"required_evidence\": [\"inspect\", \"probe\"],",
            "\"required_evidence\": [\"inspect\", \"probe\"], \"evidence_max_age_days\": 30,");
        let mut opening = world.opening();
        opening.policy = Policy::compile(Policy::standard().unwrap().rego(), &data).unwrap();
        let world = World { registry: registry_core::Registry::open(opening).await.unwrap(), ..world };
        let model = world.model("acme/tiny").await;
        world.push(&model, &[("w.gguf", &tiny_model())]).await;
        world.run_jobs(ProbeVerdict::Passed).await;
        let decision = world.decision(&model, "development").await.unwrap();
        assert!(decision.allowed && decision.valid_until.is_some());

        world.execute("UPDATE evidence SET created_at = 1000").await;
        world.execute("UPDATE decision SET valid_until = 1000 WHERE valid_until IS NOT NULL").await;
        assert!(world.decision(&model, "development").await.is_none());
        assert_eq!(world.registry.renew_expired_decisions().await.unwrap(), 1);
        world.run_jobs(ProbeVerdict::Passed).await;
        let decision = world.decision(&model, "development").await.unwrap();
        assert_eq!(decision.reasons[0].code, "EVIDENCE_INSPECT_STALE");
    }

    async fn a_signature_that_arrives_later_is_judged_and_decided(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        let before = world.decision(&model, "production").await.unwrap();
        assert_eq!(before.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>(), ["NO_TRUSTED_SIGNATURE"]);
        let stranger = SigningKey::generate().unwrap();
        let listless = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "tiny", "digest": { "sha256": "0".repeat(64) } }],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {},
        });
        let bundle = statement::sign(&Statement::parse(listless.to_string().as_bytes()).unwrap(), &stranger).unwrap();
        world.registry.attach_signature(&world.admin, &model, &revision, &bundle).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        let after = world.decision(&model, "production").await.unwrap();
        assert_ne!(before.id, after.id);
        assert!(after.reasons.iter().any(|reason| reason.code == "INVALID_SIGNATURE"));
    }
}
