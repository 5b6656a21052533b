//! License reports: of any date, the same whenever they are asked for.

use registry_core::{
    Access, Caller, Error, LicenseReport, ModelChange, ModelInfo, NewLicenseRecord, NewToken, NoticeText,
    ObligationEvidence, ObligationStatus, Question, ReportScope, Revision, Role, Visibility, now_ms,
};
use verifier::evidence::ProbeVerdict;
use verifier::license::record::Body;
use verifier::policy::Use;

use crate::support::{World, new_token, on_both_databases, tiny_model};

const MIT_CARD: &[u8] = b"---\nlicense: mit\n---\n# Tiny\n";
const OTHER_CARD: &[u8] = b"---\nlicense: apache-2.0\n---\n# Tiny\n";

fn of_model(name: &str) -> ReportScope {
    ReportScope::Model { name: name.parse().unwrap(), revision: None }
}

fn bytes(report: &LicenseReport) -> String {
    serde_json::to_string(report).unwrap()
}

/// The time now, when the next change can only come later.
async fn moment() -> i64 {
    let now = now_ms();
    while now_ms() == now {
        tokio::task::yield_now().await;
    }
    now
}

impl World {
    async fn judged(&self, name: &str, files: &[(&str, &[u8])]) -> (ModelInfo, Revision) {
        let model = self.model_seen_by(name, Visibility::Internal).await;
        let revision = self.push(&model, files).await.revision;
        self.run_jobs(ProbeVerdict::Passed).await;
        (model, revision)
    }

    async fn report(&self, caller: &Caller, scope: &ReportScope, as_of: i64) -> Result<LicenseReport, Error> {
        self.registry.license_report(caller, scope, "production", as_of).await
    }

    async fn record(&self, model: &ModelInfo, revision: &Revision, body: Body) -> String {
        let new = NewLicenseRecord { body, expires_at: None };
        let record = self.registry.add_license_record(&self.admin, model, revision, new).await.unwrap();
        self.run_jobs(ProbeVerdict::Passed).await;
        record.id
    }

    async fn token(&self, label: &str) -> Caller {
        let new = NewToken { label: label.into(), ..new_token() };
        let issued = self.registry.issue_token(&self.admin, new).await.unwrap();
        self.registry.authenticate(&issued.secret).await.unwrap().unwrap()
    }

    async fn read(&self, caller: &Caller, model: &ModelInfo, revision: &Revision, outcome: &'static str) {
        let access = Access { action: "download", model, revision, sha256: None, outcome };
        self.registry.record_access(caller, access).await.unwrap();
    }
}

fn text_was_added() -> Body {
    Body::Obligation { code: "LICENSE_COPY_MISSING".into(), license: Some("MIT".into()), evidence: "ticket 7".into() }
}

on_both_databases! {
    async fn a_past_date_has_the_same_report_after_everything_changed(world: World) {
        let weights = tiny_model();
        let (model, revision) = world.judged("acme/tiny", &[("w.gguf", &weights), ("README.md", MIT_CARD)]).await;
        let then = moment().await;
        let scopes = [of_model("acme/tiny"), ReportScope::Namespace("acme".into()), ReportScope::Environment];
        let mut before = Vec::new();
        for scope in &scopes {
            before.push(bytes(&world.report(&world.admin, scope, then).await.unwrap()));
        }
        assert!(before[0].contains(revision.commit.as_str()) && before[0].contains("MIT"), "{}", before[0]);

        let conclusion = Body::Conclusion { expression: "Apache-2.0".into(), reason: "asked the publisher".into() };
        world.record(&model, &revision, conclusion).await;
        world.record(&model, &revision, text_was_added()).await;
        world.push(&model, &[("w.gguf", &weights), ("README.md", OTHER_CARD)]).await;
        world.run_jobs(ProbeVerdict::Failed).await;
        world.judged("acme/later", &[("w.gguf", &weights)]).await;
        let renamed = ModelChange { name: Some("acme/renamed".parse().unwrap()), visibility: None };
        let renamed = world.registry.change_model(&world.admin, &model.name, renamed).await.unwrap();
        let now = bytes(&world.report(&world.admin, &of_model("acme/renamed"), now_ms()).await.unwrap());
        assert!(now.contains("Apache-2.0") && !now.contains(revision.commit.as_str()), "{now}");
        world.registry.delete_model(&world.admin, &renamed.name).await.unwrap();
        moment().await;

        for (scope, before) in scopes.iter().zip(&before) {
            assert_eq!(&bytes(&world.report(&world.admin, scope, then).await.unwrap()), before);
        }
        assert!(matches!(world.report(&world.admin, &scopes[0], now_ms()).await, Err(Error::NotFound(_))));
    }

    async fn a_conclusion_is_shown_with_who_made_it_while_its_facts_stay(world: World) {
        let weights = tiny_model();
        let (model, revision) = world.judged("acme/tiny", &[("w.gguf", &weights), ("README.md", MIT_CARD)]).await;
        let conclusion = Body::Conclusion { expression: "Apache-2.0".into(), reason: "asked the publisher".into() };
        let record = world.record(&model, &revision, conclusion).await;
        let report = world.registry.license_report(&world.admin, &of_model("acme/tiny"), "development", now_ms()).await;
        let row = report.unwrap().rows.remove(0);
        let found = row.conclusion.unwrap();
        assert_eq!((found.record, found.recorded_by.as_str()), (record.clone(), world.admin.subject()));
        assert_eq!((row.license.as_str(), row.open_conclusions.len()), ("Apache-2.0", 0));
        world.push(&model, &[("w.gguf", &weights), ("README.md", OTHER_CARD)]).await;
        world.run_jobs(ProbeVerdict::Passed).await;
        let row = world.report(&world.admin, &of_model("acme/tiny"), now_ms()).await.unwrap().rows.remove(0);
        assert_eq!((row.conclusion, row.open_conclusions.len()), (None, 1));
        assert!(row.open_conclusions[0].facts_changed);
        assert_eq!(row.open_conclusions[0].record, record);
    }

    async fn the_decision_of_before_counts_again_when_a_conclusion_ends(world: World) {
        let (model, revision) = world.judged("acme/tiny", &[("README.md", MIT_CARD)]).await;
        let shown = async || {
            let report = world.registry.license_report(&world.admin, &of_model("acme/tiny"), "development", now_ms()).await;
            report.unwrap().rows.remove(0).decision.unwrap().id
        };
        let first = shown().await;
        let conclusion = Body::Conclusion { expression: "Apache-2.0".into(), reason: "asked the publisher".into() };
        let record = world.record(&model, &revision, conclusion).await;
        assert_ne!(shown().await, first);
        world.registry.end_license_record(&world.admin, &model, &revision, &record).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(world.decision(&model, "development").await.unwrap().id, first);
        assert_eq!(shown().await, first);
    }

    async fn a_duty_is_open_until_a_record_shows_it_and_open_again_when_that_ends(world: World) {
        let (model, revision) = world.judged("acme/tiny", &[("README.md", MIT_CARD)]).await;
        let duty = async || {
            let row = world.report(&world.admin, &of_model("acme/tiny"), now_ms()).await.unwrap().rows.remove(0);
            assert!(row.attribution.license_text_missing);
            row.obligations.into_iter().find(|duty| duty.code == "LICENSE_COPY_MISSING").unwrap()
        };
        assert_eq!(duty().await.status, ObligationStatus::Open);
        let record = world.record(&model, &revision, text_was_added()).await;
        let shown = duty().await;
        assert_eq!(shown.status, ObligationStatus::Satisfied);
        let by = world.admin.subject().to_owned();
        let evidence = ObligationEvidence::Record { record: record.clone(), recorded_by: by, evidence: "ticket 7".into() };
        assert_eq!(shown.shown_by, [evidence]);
        world.registry.end_license_record(&world.admin, &model, &revision, &record).await.unwrap();
        assert_eq!(duty().await.status, ObligationStatus::Open);
    }

    async fn models_that_a_caller_may_not_see_are_in_no_report(world: World) {
        world.judged("acme/shown", &[("README.md", MIT_CARD)]).await;
        let hidden = world.model("acme/hidden").await;
        world.push(&hidden, &[("README.md", MIT_CARD)]).await;
        world.run_jobs(ProbeVerdict::Passed).await;
        let stranger = world.caller("eve", Role::Admin).await;
        for scope in [ReportScope::Namespace("acme".into()), ReportScope::Environment] {
            let names = |report: LicenseReport| report.rows.into_iter().map(|row| row.model).collect::<Vec<_>>();
            assert_eq!(names(world.report(&stranger, &scope, now_ms()).await.unwrap()), ["acme/shown"]);
            assert_eq!(names(world.report(&world.admin, &scope, now_ms()).await.unwrap()), ["acme/hidden", "acme/shown"]);
        }
        let refused = world.report(&stranger, &of_model("acme/hidden"), now_ms()).await;
        assert!(matches!(refused, Err(Error::NotFound(_))));
    }

    async fn a_token_groups_report_has_what_it_was_allowed_to_read_since_then(world: World) {
        let (old, before) = world.judged("acme/old", &[("README.md", MIT_CARD)]).await;
        let (taken, content) = world.judged("acme/taken", &[("w.gguf", &tiny_model()), ("README.md", MIT_CARD)]).await;
        let (ci, other) = (world.token("ci").await, world.token("desk").await);
        world.read(&ci, &old, &before, "allowed").await;
        let since = moment().await + 1;
        world.read(&ci, &taken, &content, "allowed").await;
        world.read(&ci, &taken, &content, "allowed").await;
        world.read(&ci, &old, &before, "denied").await;
        world.read(&other, &old, &before, "allowed").await;
        world.push(&taken, &[("README.md", OTHER_CARD)]).await;
        world.registry.delete_model(&world.admin, &taken.name).await.unwrap();
        let scope = ReportScope::TokenGroup { label: "ci".into(), since };
        let mut report = world.report(&world.admin, &scope, now_ms()).await.unwrap();
        let row = report.rows.remove(0);
        assert!(report.rows.is_empty());
        assert_eq!((row.model.as_str(), row.content_digest.as_deref()), ("acme/taken", Some(content.content_digest.as_str())));
        assert_eq!(row.reads.unwrap().number, 2);
        let maintainer = world.member("mai", "acme", Role::Maintainer).await;
        assert!(matches!(world.report(&maintainer, &scope, now_ms()).await, Err(Error::Forbidden(_))));
    }

    async fn times_to_come_and_environments_that_never_were_are_refused(world: World) {
        world.judged("acme/tiny", &[("README.md", MIT_CARD)]).await;
        let scope = of_model("acme/tiny");
        assert!(matches!(world.report(&world.admin, &scope, now_ms() + 60_000).await, Err(Error::Invalid(..))));
        let nowhere = world.registry.license_report(&world.admin, &scope, "nowhere", now_ms()).await;
        assert!(matches!(nowhere, Err(Error::Invalid(..))));
        assert!(matches!(world.report(&world.admin, &scope, 1).await, Err(Error::NotFound(_))));
        let unknown = ReportScope::Model { name: "acme/tiny".parse().unwrap(), revision: Some("v1".into()) };
        assert!(matches!(world.report(&world.admin, &unknown, now_ms()).await, Err(Error::NotFound(_))));
    }

    async fn the_decision_shown_is_that_for_the_use_which_the_environment_assumes(world: World) {
        let (model, revision) = world.judged("acme/tiny", &[("w.gguf", &tiny_model()), ("README.md", MIT_CARD)]).await;
        let assumed = world.decision(&model, "production").await.unwrap();
        moment().await;
        let stated = Question { environment: "production".into(), stated_use: "territory=DE".parse::<Use>().unwrap() };
        let other = world.registry.decide(&model, &revision, &stated).await.unwrap();
        assert_ne!(assumed.id, other.id);
        let row = world.report(&world.admin, &of_model("acme/tiny"), now_ms()).await.unwrap().rows.remove(0);
        assert_eq!(row.decision.unwrap().id, assumed.id);
    }

    async fn texts_come_from_the_models_own_files(world: World) {
        let files: &[(&str, &[u8])] =
            &[("README.md", MIT_CARD), ("LICENSE", b"Own words."), ("NOTICE", b"\xff\xfe"), ("parts/LICENSE.txt", b"Parts.")];
        world.judged("acme/tiny", files).await;
        let report = world.report(&world.admin, &of_model("acme/tiny"), now_ms()).await.unwrap();
        let row = &report.rows[0];
        assert!(!row.attribution.license_text_missing);
        let texts = world.registry.notice_texts(&report).await.unwrap();
        let of = |position: usize| &texts[&row.attribution.license_texts[position].sha256];
        assert_eq!((of(0), of(1)), (&NoticeText::Text("Own words.".into()), &NoticeText::Text("Parts.".into())));
        assert_eq!(texts[&row.attribution.notices[0].sha256], NoticeText::NotText);
    }
}
