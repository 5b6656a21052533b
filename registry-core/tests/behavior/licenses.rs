//! What people conclude about licenses, and what follows over lineage.

use registry_core::{
    Caller, Error, LicenseView, ModelInfo, NewLicenseRecord, NewReference, Revision, Role, Visibility, now_ms,
};
use verifier::evidence::{ProbeVerdict, Relation};
use verifier::license::propagation::Verdict;
use verifier::license::record::Body;
use verifier::policy::Use;

use crate::support::{World, on_both_databases, tiny_model};

/// Not what the weights say.
const UNCLEAR: &[u8] = b"---\nlicense: gpl\n---\n# Tiny\n";

fn conclusion(expression: &str) -> Body {
    Body::Conclusion { expression: expression.into(), reason: "read the terms".into() }
}

impl World {
    async fn card(&self, name: &str, visibility: Visibility, card: &[u8]) -> (ModelInfo, Revision) {
        let model = self.model_seen_by(name, visibility).await;
        let revision = self.push(&model, &[("w.gguf", &tiny_model()), ("README.md", card)]).await.revision;
        self.run_jobs(ProbeVerdict::Passed).await;
        (model, revision)
    }

    async fn record_by(&self, by: &Caller, of: &(ModelInfo, Revision), body: Body) -> Result<String, Error> {
        let new = NewLicenseRecord { body, expires_at: None };
        let made = self.registry.add_license_record(by, &of.0, &of.1, new).await?;
        self.run_jobs(ProbeVerdict::Passed).await;
        Ok(made.id)
    }

    async fn view(&self, of: &(ModelInfo, Revision), environment: &str, stated: &str) -> LicenseView {
        let stated: Use = stated.parse().unwrap();
        self.registry.license_view(&of.0, &of.1, environment, &stated).await.unwrap()
    }

    async fn denials(&self, model: &ModelInfo, environment: &str) -> Vec<String> {
        let decision = self.decision(model, environment).await.unwrap();
        decision.reasons.into_iter().map(|reason| reason.code).collect()
    }
}

on_both_databases! {
    async fn a_conclusion_counts_where_enough_people_stand_behind_it(world: World) {
        let of = world.card("acme/tiny", Visibility::Internal, UNCLEAR).await;
        let (ada, bob) = (world.member("ada", "acme", Role::Maintainer).await, world.member("bob", "acme", Role::Maintainer).await);
        let denials = world.denials(&of.0, "production").await;
        assert!(denials.contains(&"LICENSE_REVIEW".to_owned()), "{denials:?}");
        let record = world.record_by(&ada, &of, conclusion("Apache-2.0")).await.unwrap();
        assert_eq!(world.view(&of, "development", "").await.conclusion.unwrap().expression, "Apache-2.0");
        let view = world.view(&of, "production", "").await;
        assert_eq!((view.conclusion, view.awaiting_approval), (None, vec![record.clone()]));
        let own = world.record_by(&ada, &of, Body::Approval { of: record.clone(), reason: None }).await;
        assert!(matches!(own, Err(Error::Forbidden(_))));
        world.record_by(&bob, &of, Body::Approval { of: record.clone(), reason: None }).await.unwrap();
        let view = world.view(&of, "production", "").await;
        assert_eq!((view.conclusion.unwrap().people, view.assessment.verdict), (2, Verdict::Allow));
        let denials = world.denials(&of.0, "production").await;
        assert!(!denials.contains(&"LICENSE_REVIEW".to_owned()), "{denials:?}");

        world.registry.end_license_record(&bob, &of.0, &of.1, &record).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        let denials = world.denials(&of.0, "production").await;
        assert!(denials.contains(&"LICENSE_REVIEW".to_owned()), "{denials:?}");
    }

    async fn prose_may_change_under_a_conclusion_and_a_license_file_may_not(world: World) {
        let of = world.card("acme/tiny", Visibility::Internal, UNCLEAR).await;
        world.record_by(&world.admin, &of, conclusion("MIT")).await.unwrap();
        let prose = [UNCLEAR, b"\nMore about the model.\n".as_slice()].concat();
        let weights = tiny_model();
        let later = world.push(&of.0, &[("w.gguf", &weights), ("README.md", &prose)]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        let view = world.view(&(of.0.clone(), later), "development", "").await;
        assert_eq!(view.conclusion.unwrap().expression, "MIT");

        let files: [(&str, &[u8]); 3] = [("w.gguf", &weights), ("README.md", &prose), ("LICENSE", b"No use on Sundays.")];
        let changed = world.push(&of.0, &files).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        let view = world.view(&(of.0.clone(), changed), "development", "").await;
        assert_eq!((view.conclusion, view.reopened.len()), (None, 1));
        assert!(!view.records[0].facts_unchanged);
    }

    async fn a_duty_shown_as_done_is_no_reason_any_more(world: World) {
        let of = world.card("acme/tiny", Visibility::Internal, b"---\nlicense: llama3.1\n---\n").await;
        let stated = "commercial=true,monthly_users=10";
        assert_eq!(world.view(&of, "production", stated).await.assessment.verdict, Verdict::AllowWithObligations);
        let done = Body::Obligation { code: "AUP_APPLIES".into(), license: None, evidence: "ticket 12".into() };
        world.record_by(&world.admin, &of, done).await.unwrap();
        let view = world.view(&of, "production", stated).await;
        assert_eq!(view.assessment.verdict, Verdict::Allow);
        assert!(view.assessment.obligations[0].satisfied);
    }

    async fn a_model_is_judged_again_when_its_parent_comes_or_changes(world: World) {
        let card = b"---\nlicense: apache-2.0\nbase_model: acme/base\nbase_model_relation: finetune\n---\n";
        let child = world.card("acme/child", Visibility::Internal, card).await;
        let view = world.view(&child, "development", "").await;
        assert_eq!(view.assessment.findings[0].code, "UNKNOWN_LICENSE");
        assert_eq!(view.lineage[1].kind, None);

        let about = NewReference { license: "cc-by-nc-4.0".into(), ..NewReference::default() };
        let name = "acme/base".parse().unwrap();
        world.registry.create_reference(&world.admin, &name, Visibility::Internal, &about).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        let denials = world.denials(&child.0, "production").await;
        for code in ["NONCOMMERCIAL_UPSTREAM", "RELICENSE_CONFLICT"] {
            assert!(denials.contains(&code.to_owned()), "{denials:?}");
        }
        let view = world.view(&child, "production", "").await;
        assert_eq!(view.assessment.effective_licenses, ["Apache-2.0", "CC-BY-NC-4.0"]);
    }

    async fn a_decision_lasts_no_longer_than_what_a_parent_was_concluded_for(world: World) {
        let parent = world.card("acme/base", Visibility::Internal, UNCLEAR).await;
        let end = now_ms() + 86_400_000;
        let new = NewLicenseRecord { body: conclusion("Apache-2.0"), expires_at: Some(end) };
        world.registry.add_license_record(&world.admin, &parent.0, &parent.1, new).await.unwrap();
        let card = b"---\nlicense: apache-2.0\nbase_model: acme/base\n---\n";
        let child = world.card("acme/child", Visibility::Internal, card).await;
        let decision = world.decision(&child.0, "development").await.unwrap();
        assert_eq!(decision.valid_until, Some(registry_core::rfc3339(end)));
    }

    async fn a_private_parent_of_others_tells_nothing(world: World) {
        let card = b"---\nlicense: apache-2.0\nbase_model: secret/base\n---\n";
        let secret = world.card("secret/base", Visibility::Private, b"---\nlicense: cc-by-nc-4.0\n---\n").await;
        for (name, visibility) in
            [("acme/a", Visibility::Public), ("acme/b", Visibility::Internal), ("acme/c", Visibility::Private)]
        {
            let child = world.card(name, visibility, card).await;
            let view = world.view(&child, "development", "").await;
            assert_eq!(view.assessment.effective_licenses, ["Apache-2.0"], "{name}");
            assert_eq!(view.lineage[1].license, None, "{name}");
        }
        let own = world.card("secret/child", Visibility::Private, card).await;
        assert_eq!(world.view(&own, "development", "").await.assessment.effective_licenses, ["Apache-2.0", "CC-BY-NC-4.0"]);
        drop(secret);
    }

    async fn what_an_organization_uses_behind_an_interface_is_in_the_catalog(world: World) {
        let about = NewReference { license: "LicenseRef-openai-tou".into(), api_access: true, ..NewReference::default() };
        let name = "openai/gpt-4o".parse().unwrap();
        let model = world.registry.create_reference(&world.admin, &name, Visibility::Internal, &about).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        let revision = world.registry.find_revision(&model, "main").await.unwrap();
        let view = world.view(&(model.clone(), revision.clone()), "development", "").await;
        assert_eq!(view.openness.access_class, "open-access");

        let student = world.card("acme/student", Visibility::Internal, b"---\nlicense: mit\n---\n").await;
        let learned = Body::Lineage { parent: "openai/gpt-4o".into(), relation: Relation::TrainedOnOutputs };
        world.record_by(&world.admin, &student, learned).await.unwrap();
        let view = world.view(&student, "production", "commercial=true").await;
        assert_eq!(view.assessment.findings[0].code, "OUTPUT_TRAINING_REVIEW");
    }

    async fn components_published_elsewhere_raise_the_openness(world: World) {
        let of = world.card("acme/open", Visibility::Internal, b"---\nlicense: apache-2.0\n---\n").await;
        assert_eq!(world.view(&of, "development", "").await.openness.access_class, "open-weight-permissive");
        for component in ["architecture", "training_code", "preprocessing_code", "inference_code", "datasets"] {
            let location = "https://code.example.org".to_owned();
            let body = Body::Component { component: component.into(), license: Some("apache-2.0".into()), location, sha256: None };
            world.record_by(&world.admin, &of, body).await.unwrap();
        }
        let openness = world.view(&of, "development", "").await.openness;
        assert_eq!((openness.access_class.as_str(), openness.osaid.as_str()), ("fully-open", "conformant"));
    }

    async fn a_bill_of_materials_says_what_people_concluded_and_recorded(world: World) {
        let of = world.card("acme/tiny", Visibility::Internal, UNCLEAR).await;
        world.record_by(&world.admin, &of, conclusion("MIT")).await.unwrap();
        let made = Body::Lineage { parent: "acme/base".into(), relation: Relation::Finetune };
        world.record_by(&world.admin, &of, made).await.unwrap();
        let place = "https://registry.example.org".to_owned();
        let subject = world.registry.aibom_subject(&world.admin, &of.0, &of.1, place).await.unwrap();
        assert_eq!(subject.license.concluded, "MIT");
        assert_eq!(subject.ancestors[0].name, "acme/base");
    }

    async fn records_are_bounded_checked_and_for_maintainers(world: World) {
        let of = world.card("acme/tiny", Visibility::Internal, UNCLEAR).await;
        let writer = world.member("wri", "acme", Role::Writer).await;
        assert!(matches!(world.record_by(&writer, &of, conclusion("MIT")).await, Err(Error::Forbidden(_))));
        for body in [
            conclusion("free for all"),
            Body::Conclusion { expression: "MIT".into(), reason: String::new() },
            Body::Conclusion { expression: "MIT".into(), reason: "x".repeat(2001) },
            Body::Obligation { code: "badge".into(), license: None, evidence: "here".into() },
            Body::Component { component: "soul".into(), license: None, location: "x".into(), sha256: None },
            Body::Release { data_information: Some("all".into()), api_access: false },
            Body::Lineage { parent: "nobody".into(), relation: Relation::Merge },
        ] {
            assert!(world.record_by(&world.admin, &of, body.clone()).await.is_err(), "{body:?}");
        }
        let past = NewLicenseRecord { body: conclusion("MIT"), expires_at: Some(now_ms() - 1) };
        assert!(world.registry.add_license_record(&world.admin, &of.0, &of.1, past).await.is_err());
        let strange = Body::Approval { of: "nothing".into(), reason: None };
        assert!(matches!(world.record_by(&world.admin, &of, strange).await, Err(Error::NotFound(_))));
    }
}
