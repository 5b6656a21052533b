//! Probes at work: who runs which, how far they have come, when they run again, what is compared.

use registry_core::{
    Claim, Error, IdempotencyKey, JobKinds, JobOutcome, JobState, Lease, ModelInfo, PageRequest, ProbeRecord,
    ProbeTask, Registry, Renewal, Revision, Role, StageState, StageView, Visibility, Work,
};
use verifier::evidence::{Calibration, Finding, Fingerprint, ProbeReport, ProbeVerdict, Severity, Stage, Status};

use crate::support::{World, first_page, on_both_databases, report, tiny_model};

const PROBES: Claim = Claim { kinds: JobKinds::Probes, namespace_probes: 0 };
const OTHERS: Claim = Claim { kinds: JobKinds::AllButProbes, namespace_probes: 0 };

/// The card of an adapter of `acme/base`.
const ADAPTER: &[u8] = b"---\nlicense: apache-2.0\nbase_model: acme/base\nbase_model_relation: adapter\n---\n# A\n";
const REQUESTS: &str = "SELECT COUNT(*) FROM audit_event WHERE kind = 'probe.requested'";

/// A report that got as far as the calibration.
fn measured(perplexity: f64) -> ProbeReport {
    let fingerprint = Some(Fingerprint { digest: "a".repeat(64), sample: vec![1.0, 2.0] });
    let top_logits = vec![(1, 9.0), (2, 8.0)];
    let calibration = Some(Calibration { tokens: 60, perplexity, mean_entropy: 2.0, top_logits, fingerprint });
    ProbeReport { calibration, ..report(ProbeVerdict::Passed) }
}

impl World {
    async fn claim(&self, claim: Claim) -> Option<Lease> {
        self.registry.claim_job(claim).await.unwrap()
    }

    /// Everything but probes.
    async fn run_others(&self) {
        while let Some(lease) = self.claim(OTHERS).await {
            self.run_job(&lease, ProbeVerdict::Passed).await;
        }
    }

    /// The next probe that really has to run; those that are settled without an engine are.
    async fn next_probe(&self) -> Option<(Lease, ProbeTask)> {
        while let Some(lease) = self.claim(PROBES).await {
            if let JobOutcome::Probe(task) = self.registry.run_job(&lease).await.unwrap() {
                return Some((lease, *task));
            }
        }
        None
    }

    /// Runs the probes that wait, each with this report; says how many really ran.
    async fn probe(&self, report: &ProbeReport) -> u32 {
        let mut ran = 0;
        while let Some((lease, task)) = self.next_probe().await {
            self.registry.finish_probe(&lease, &task, report.clone()).await.unwrap();
            ran += 1;
        }
        self.run_others().await;
        ran
    }

    async fn pushed(&self, name: &str, files: &[(&str, &[u8])]) -> (ModelInfo, Revision) {
        let model = self.model(name).await;
        let revision = self.push(&model, files).await.revision;
        self.run_others().await;
        (model, revision)
    }

    async fn probed(&self, name: &str) -> (ModelInfo, Revision) {
        let of = self.pushed(name, &[("w.gguf", &tiny_model())]).await;
        assert_eq!(self.probe(&measured(20.0)).await, 1);
        of
    }

    async fn probe_view(&self, revision: &Revision) -> StageView {
        self.registry.stages(revision).await.unwrap().remove(3)
    }

    async fn ask(&self, of: &(ModelInfo, Revision)) -> JobState {
        self.registry.request_probe(&self.admin, &of.0, &of.1, None).await.unwrap()
    }

    async fn history(&self, of: &(ModelInfo, Revision)) -> Vec<ProbeRecord> {
        self.registry.probe_history(&of.1, &first_page()).await.unwrap().items
    }

    /// Further branches of the same model, each with a head of its own that was probed like this one.
    async fn copy_head(&self, revision: &Revision, times: u32) {
        let id = format!("(SELECT id FROM revision WHERE commit_id = '{}')", revision.commit);
        let copies = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})");
        for insert in [
            format!(
                "INSERT INTO revision (id, model_id, commit_id, content_digest, parents, author, message, created_at) \
                 SELECT id || '-' || i, model_id, substr(commit_id, 1, 36) || (1000 + i), content_digest, parents, author, message, \
                 created_at FROM n, revision WHERE id = {id}"
            ),
            format!(
                "INSERT INTO ref (model_id, kind, name, revision_id, updated_at) \
                 SELECT model_id, kind, 'copy-' || i, revision_id || '-' || i, updated_at FROM n, ref \
                 WHERE revision_id = {id}"
            ),
            format!(
                "INSERT INTO lineage_edge (revision_id, parent, relation, confidence) \
                 SELECT revision_id || '-' || i, parent, relation, confidence FROM n, lineage_edge \
                 WHERE revision_id = {id}"
            ),
            format!(
                "INSERT INTO revision_stage (revision_id, stage, state, evidence_key, updated_at) \
                 SELECT revision_id || '-' || i, stage, state, evidence_key, updated_at FROM n, revision_stage \
                 WHERE revision_id = {id} AND stage = 'probe'"
            ),
        ] {
            self.execute(&format!("{copies} {insert}")).await;
        }
    }

    /// The same registry after its engine was replaced.
    async fn upgraded(&self, version: &str) -> Registry {
        let mut opening = self.opening();
        opening.settings.probe_version = version.into();
        Registry::open(opening).await.unwrap()
    }
}

fn perplexities(history: &[ProbeRecord]) -> Vec<f64> {
    history.iter().map(|record| record.report.calibration.as_ref().unwrap().perplexity).collect()
}

fn codes(report: &ProbeReport) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}

on_both_databases! {
    async fn workers_take_the_kinds_of_jobs_that_they_are_for(world: World) {
        world.pushed("acme/tiny", &[("w.gguf", &tiny_model())]).await;
        assert!(world.claim(OTHERS).await.is_none());
        let lease = world.claim(PROBES).await.unwrap();
        assert!(matches!(lease.work, Work::Stage { stage: Stage::Probe, .. }));
        world.push(&world.model("acme/other").await, &[("a", b"a")]).await;
        assert!(world.claim(PROBES).await.is_none());
        let other = world.claim(OTHERS).await.unwrap();
        assert!(matches!(other.work, Work::Stage { stage: Stage::Inspect, .. }));
    }

    async fn namespace_with_all_its_probes_running_waits_and_others_go_on(world: World) {
        for name in ["greedy/a", "greedy/b", "greedy/c", "modest/a"] {
            world.pushed(name, &[("w.gguf", name.as_bytes())]).await;
        }
        let limited = Claim { kinds: JobKinds::All, namespace_probes: 2 };
        let first = world.claim(limited).await.unwrap();
        world.claim(limited).await.unwrap();
        let third = world.claim(limited).await.unwrap();
        let Work::Stage { revision, .. } = &third.work else { panic!("{third:?}") };
        let namespace = format!("SELECT COUNT(*) FROM revision r JOIN model_name n ON n.model_id = r.model_id \
                                 WHERE r.id = '{revision}' AND n.namespace = 'modest'");
        assert_eq!(world.count(&namespace).await, 1);
        assert!(world.claim(limited).await.is_none());
        world.registry.release_job(&first).await.unwrap();
        assert_eq!(world.claim(limited).await.unwrap().job_id, first.job_id);
        assert!(world.claim(limited).await.is_none());
        // Without a limit the last one goes as well.
        assert!(world.claim(PROBES).await.is_some());
    }

    async fn limit_of_a_namespace_holds_for_workers_that_claim_at_once(world: World) {
        for number in 0..6_u8 {
            world.pushed(&format!("greedy/m{number}"), &[("w.gguf", &[number])]).await;
        }
        let claim = Claim { kinds: JobKinds::Probes, namespace_probes: 2 };
        let claims = (0..6).map(|_| {
            let registry = world.registry.clone();
            tokio::spawn(async move { registry.claim_job(claim).await.unwrap() })
        });
        let mut taken = 0;
        for claimed in claims.collect::<Vec<_>>() {
            taken += u32::from(claimed.await.unwrap().is_some());
        }
        assert_eq!(taken, 2);
    }

    async fn probe_that_is_given_back_keeps_its_place_and_its_attempts(world: World) {
        world.pushed("acme/a", &[("w.gguf", b"a")]).await;
        world.pushed("acme/b", &[("w.gguf", b"b")]).await;
        let lease = world.claim(PROBES).await.unwrap();
        world.registry.release_job(&lease).await.unwrap();
        let again = world.claim(PROBES).await.unwrap();
        assert_eq!((again.job_id, again.attempt), (lease.job_id, 1));
    }

    async fn progress_is_shown_while_the_lease_lives_and_gone_afterwards(world: World) {
        let (_, revision) = world.pushed("acme/tiny", &[("w.gguf", &tiny_model())]).await;
        let (lease, task) = world.next_probe().await.unwrap();
        assert_eq!(world.probe_view(&revision).await.progress, None);
        world.registry.renew_lease(&lease, Some(("L2", 40))).await.unwrap();
        let view = world.probe_view(&revision).await;
        assert_eq!(view.progress.map(|shown| (shown.level, shown.percent)), Some(("L2".into(), 40)));
        // What a worker says that lost its lease does not count.
        world.execute("UPDATE job SET lease_until = 1 WHERE state = 'running'").await;
        let other = world.claim(PROBES).await.unwrap();
        assert!(matches!(world.registry.renew_lease(&lease, Some(("L4", 99))).await, Err(Error::LeaseLost)));
        assert_eq!(world.probe_view(&revision).await.progress, None);
        world.registry.renew_lease(&other, Some(("L1", 5))).await.unwrap();
        world.registry.finish_probe(&other, &task, report(ProbeVerdict::Passed)).await.unwrap();
        assert_eq!(world.probe_view(&revision).await.progress, None);
        assert_eq!(world.count("SELECT COUNT(*) FROM job WHERE progress_level IS NOT NULL").await, 0);
    }

    async fn probe_on_demand_keeps_both_reports_and_the_old_one_counts_meanwhile(world: World) {
        let of = world.probed("acme/tiny").await;
        assert_eq!(world.ask(&of).await, JobState::Queued);
        assert_eq!(world.ask(&of).await, JobState::Queued);
        let view = world.probe_view(&of.1).await;
        assert_eq!((view.state, view.status, view.renewal), (StageState::Done, Status::Passed, Some(JobState::Queued)));
        let (lease, task) = world.next_probe().await.unwrap();
        assert!(matches!(lease.work, Work::Reprobe { cause: Renewal::Requested(_), .. }));
        assert_eq!(world.ask(&of).await, JobState::Running);
        world.registry.renew_lease(&lease, Some(("L3", 10))).await.unwrap();
        let view = world.probe_view(&of.1).await;
        assert_eq!((view.status, view.renewal, view.progress.is_some()), (Status::Passed, Some(JobState::Running), true));
        world.registry.finish_probe(&lease, &task, measured(20.1)).await.unwrap();
        assert!(world.next_probe().await.is_none());
        let history = world.history(&of).await;
        assert_eq!(perplexities(&history), [20.1, 20.0]);
        assert_eq!(history.iter().map(|record| record.is_selected).collect::<Vec<_>>(), [true, false]);
        assert_eq!(world.probe_view(&of.1).await.renewal, None);
        assert_eq!(world.count(REQUESTS).await, 1);
    }

    async fn request_under_the_same_key_is_the_same_request(world: World) {
        let of = world.probed("acme/tiny").await;
        let key = IdempotencyKey::new("once", b"acme/tiny").unwrap();
        let ask = |key: IdempotencyKey| {
            let (registry, admin, of) = (world.registry.clone(), world.admin.clone(), of.clone());
            async move { registry.request_probe(&admin, &of.0, &of.1, Some(&key)).await.unwrap() }
        };
        assert_eq!(ask(key.clone()).await, JobState::Queued);
        assert_eq!(world.probe(&measured(20.0)).await, 1);
        assert_eq!(ask(key).await, JobState::Done);
        assert_eq!(world.probe(&measured(20.0)).await, 0);
        assert_eq!(ask(IdempotencyKey::new("twice", b"acme/tiny").unwrap()).await, JobState::Queued);
        assert_eq!(world.probe(&measured(20.0)).await, 1);
    }

    async fn only_writers_have_a_revision_probed_again(world: World) {
        let of = world.probed("acme/tiny").await;
        let reader = world.member("rea", "acme", Role::Reader).await;
        let refused = world.registry.request_probe(&reader, &of.0, &of.1, None).await;
        assert!(matches!(refused, Err(Error::Forbidden(_))));
        assert!(world.next_probe().await.is_none());
    }

    async fn revision_that_no_ref_points_to_is_probed_only_on_demand(world: World) {
        let of = world.probed("acme/tiny").await;
        world.push(&of.0, &[("w.gguf", b"GGUF other")]).await;
        world.run_others().await;
        world.probe(&measured(20.0)).await;
        world.ask(&of).await;
        assert_eq!(world.probe(&measured(20.2)).await, 1);
        assert_eq!(perplexities(&world.history(&of).await), [20.2, 20.0]);
    }

    async fn request_is_not_lost_in_a_probe_that_will_be_dropped(world: World) {
        let (model, left) = world.pushed("acme/tiny", &[("w.gguf", b"GGUF first")]).await;
        world.push(&model, &[("w.gguf", b"GGUF second")]).await;
        world.run_others().await;
        let of = (model, left);
        assert_eq!(world.ask(&of).await, JobState::Queued);
        assert_eq!(world.count(REQUESTS).await, 1);
        assert_eq!(world.probe(&measured(20.0)).await, 2);
        assert_eq!(perplexities(&world.history(&of).await), [20.0]);
    }

    async fn request_is_not_lost_in_a_renewal_that_finds_the_report_again(world: World) {
        let files: [(&str, &[u8]); 2] = [("w.gguf", &tiny_model()), ("README.md", ADAPTER)];
        let (base, _) = world.pushed("acme/base", &[("base.gguf", b"GGUF of a base")]).await;
        let adapter = world.pushed("acme/adapter", &files).await;
        assert_eq!(world.probe(&measured(20.0)).await, 2);
        world.push(&base, &[("base.gguf", b"GGUF of a base"), ("README.md", b"# Base\n")]).await;
        world.run_others().await;
        assert_eq!(world.probe_view(&adapter.1).await.renewal, Some(JobState::Queued));
        assert_eq!(world.ask(&adapter).await, JobState::Queued);
        assert_eq!(world.ask(&adapter).await, JobState::Queued);
        assert_eq!(world.count(REQUESTS).await, 1);
        assert_eq!(world.probe(&measured(20.1)).await, 1);
        assert_eq!(perplexities(&world.history(&adapter).await), [20.1, 20.0]);
    }

    async fn next_revision_with_the_same_weights_gets_the_newest_report(world: World) {
        let of = world.probed("acme/tiny").await;
        world.ask(&of).await;
        world.probe(&measured(20.4)).await;
        let next = world.push(&of.0, &[("w.gguf", &tiny_model()), ("README.md", b"# Tiny\n")]).await.revision;
        world.run_others().await;
        assert_eq!(world.probe(&measured(99.0)).await, 0);
        let history = world.history(&(of.0, next)).await;
        assert_eq!(perplexities(&history), [20.4, 20.0]);
        assert!(history[0].is_selected);
    }

    async fn numbers_that_moved_are_a_finding_which_the_gate_sees(world: World) {
        let of = world.probed("acme/tiny").await;
        world.ask(&of).await;
        world.probe(&measured(20.5)).await;
        world.ask(&of).await;
        world.probe(&measured(30.0)).await;
        let history = world.history(&of).await;
        assert_eq!(history.iter().map(|record| codes(&record.report)).collect::<Vec<_>>(),
            [vec!["FINGERPRINT_DRIFT"], vec![], vec![]]);
        let evidence = world.probe_view(&of.1).await.evidence.unwrap();
        assert_eq!(evidence.findings()[0].code, "FINGERPRINT_DRIFT");
        assert!(evidence.findings()[0].detail.contains("30.000 and was 20.500"));
    }

    async fn numbers_that_moved_are_no_finding_of_another_model_with_the_same_weights(world: World) {
        let of = world.probed("acme/tiny").await;
        world.ask(&of).await;
        world.probe(&measured(30.0)).await;
        let copy = world.pushed("other/copy", &[("w.gguf", &tiny_model())]).await;
        assert_eq!(world.probe(&measured(99.0)).await, 0);
        let findings = async |of: &(ModelInfo, Revision)| {
            let evidence = world.probe_view(&of.1).await.evidence.unwrap();
            evidence.findings().iter().map(|finding| finding.code.clone()).collect::<Vec<_>>()
        };
        assert_eq!(findings(&of).await, ["FINGERPRINT_DRIFT"]);
        assert!(findings(&copy).await.is_empty());
        let history = world.history(&copy).await;
        assert_eq!((perplexities(&history), codes(&history[0].report)), (vec![30.0], vec![]));
        assert_eq!(world.count("SELECT COUNT(*) FROM evidence WHERE document LIKE '%FINGERPRINT_DRIFT%'").await, 0);
        // And what moves there afterwards moved there.
        world.ask(&copy).await;
        world.probe(&measured(20.0)).await;
        assert_eq!(findings(&copy).await, ["FINGERPRINT_DRIFT"]);
        assert_eq!(perplexities(&world.history(&of).await), [30.0, 20.0]);
    }

    async fn report_without_a_result_stands_for_no_other_run(world: World) {
        let first = world.pushed("acme/tiny", &[("w.gguf", &tiny_model())]).await;
        assert_eq!(world.probe(&report(ProbeVerdict::Inconclusive)).await, 1);
        let copy = world.pushed("other/copy", &[("w.gguf", &tiny_model())]).await;
        assert_eq!(world.probe(&measured(20.0)).await, 1);
        assert_eq!(world.probe_view(&copy.1).await.status, Status::Passed);
        assert_eq!(world.probe_view(&first.1).await.status, Status::Inconclusive);
        // The result does stand for others.
        world.pushed("third/copy", &[("w.gguf", &tiny_model())]).await;
        assert_eq!(world.probe(&measured(99.0)).await, 0);
    }

    async fn limit_that_was_too_low_is_not_tried_again_for_the_same_bytes(world: World) {
        world.pushed("acme/tiny", &[("w.gguf", &tiny_model())]).await;
        let finding = Finding::new("MEMORY_LIMIT_TOO_LOW", Severity::Medium, "2 MiB of 1 MiB", "Raise it.");
        let refused = ProbeReport { findings: vec![finding], ..report(ProbeVerdict::Inconclusive) };
        assert_eq!(world.probe(&refused).await, 1);
        let copy = world.pushed("other/copy", &[("w.gguf", &tiny_model())]).await;
        assert_eq!(world.probe(&measured(20.0)).await, 0);
        assert_eq!(world.probe_view(&copy.1).await.status, Status::Inconclusive);
    }

    async fn history_is_paged_and_knows_its_own_cursors(world: World) {
        let of = world.probed("acme/tiny").await;
        for perplexity in [20.1, 20.2] {
            world.ask(&of).await;
            world.probe(&measured(perplexity)).await;
        }
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = PageRequest::new(Some(1), cursor).unwrap();
            let page = world.registry.probe_history(&of.1, &page).await.unwrap();
            seen.extend(perplexities(&page.items));
            cursor = page.next;
            if cursor.is_none() { break }
        }
        assert_eq!(seen, [20.2, 20.1, 20.0]);
        for foreign in ["x", "1:x", ":", "-1"] {
            let page = PageRequest::new(None, Some(foreign.into())).unwrap();
            assert!(matches!(world.registry.probe_history(&of.1, &page).await, Err(Error::Invalid(..))), "{foreign}");
        }
    }

    async fn history_tells_nothing_of_other_models_with_the_same_weights(world: World) {
        let of = world.probed("acme/tiny").await;
        let copy = world.pushed("other/copy", &[("w.gguf", &tiny_model())]).await;
        assert_eq!(world.probe(&measured(99.0)).await, 0);
        world.ask(&of).await;
        world.probe(&measured(20.3)).await;
        assert_eq!(perplexities(&world.history(&copy).await), [20.0]);
        assert_eq!(perplexities(&world.history(&of).await), [20.3, 20.0]);
    }

    async fn heads_are_probed_again_once_by_a_new_engine_and_behind_uploads(world: World) {
        let of = world.probed("acme/tiny").await;
        let (left, _) = world.pushed("acme/left", &[("w.gguf", b"GGUF first")]).await;
        world.probe(&measured(20.0)).await;
        world.push(&left, &[("w.gguf", b"GGUF second")]).await;
        world.run_others().await;
        world.probe(&measured(20.0)).await;
        assert_eq!(world.registry.renew_outdated_probes().await.unwrap(), 0);
        let upgraded = world.upgraded("test-probe-2").await;
        assert_eq!(upgraded.renew_outdated_probes().await.unwrap(), 2);
        assert_eq!(upgraded.renew_outdated_probes().await.unwrap(), 0);
        // A worker of the old release leaves them alone.
        assert!(world.next_probe().await.is_none());
        world.execute("UPDATE job SET run_at = 0 WHERE state = 'queued'").await;
        let (_, new) = world.pushed("acme/new", &[("w.gguf", b"GGUF new")]).await;
        let mut order = Vec::new();
        while let Some(lease) = upgraded.claim_job(PROBES).await.unwrap() {
            let JobOutcome::Probe(task) = upgraded.run_job(&lease).await.unwrap() else { panic!("{lease:?}") };
            order.push(task.revision.clone());
            upgraded.finish_probe(&lease, &task, measured(20.0)).await.unwrap();
        }
        assert_eq!((order.len(), &order[0]), (3, &new));
        let versions: Vec<String> = world.history(&of).await.into_iter().map(|record| record.tool_version).collect();
        assert_eq!(versions, ["test-probe-2", "test-probe"]);
        assert_eq!(upgraded.renew_outdated_probes().await.unwrap(), 0);
    }

    async fn adapter_is_probed_on_its_base_as_soon_as_that_is_here(world: World) {
        let files: [(&str, &[u8]); 2] = [("w.gguf", &tiny_model()), ("README.md", ADAPTER)];
        let adapter = world.pushed("acme/adapter", &files).await;
        let (lease, task) = world.next_probe().await.unwrap();
        assert_eq!((task.files.len(), task.base.len()), (1, 0));
        world.registry.finish_probe(&lease, &task, report(ProbeVerdict::Inconclusive)).await.unwrap();
        assert!(world.next_probe().await.is_none());

        let (base, _) = world.pushed("acme/base", &[("base.gguf", b"GGUF of a base")]).await;
        let mut found = Vec::new();
        while let Some((lease, task)) = world.next_probe().await {
            if task.revision == adapter.1 {
                found.extend(task.base.iter().map(|file| file.path.clone()));
            }
            world.registry.finish_probe(&lease, &task, report(ProbeVerdict::Passed)).await.unwrap();
        }
        assert_eq!(found, ["base.gguf"]);
        assert_eq!(world.probe_view(&adapter.1).await.status, Status::Passed);

        // A base that only documents itself better is the same base.
        world.push(&base, &[("base.gguf", b"GGUF of a base"), ("README.md", b"# Base\n")]).await;
        world.run_others().await;
        assert_eq!(world.probe(&report(ProbeVerdict::Failed)).await, 0);
        world.push(&base, &[("base.gguf", b"GGUF of another base")]).await;
        world.run_others().await;
        assert_eq!(world.probe(&report(ProbeVerdict::Failed)).await, 2);
        assert_eq!(world.probe_view(&adapter.1).await.status, Status::Failed);
    }

    async fn change_of_a_base_reaches_all_adapters_however_many(world: World) {
        let files: [(&str, &[u8]); 2] = [("w.gguf", &tiny_model()), ("README.md", ADAPTER)];
        let (base, _) = world.pushed("acme/base", &[("base.gguf", b"GGUF of a base")]).await;
        let (_, adapter) = world.pushed("acme/adapter", &files).await;
        world.probe(&measured(20.0)).await;
        world.copy_head(&adapter, 1_100).await;
        world.push(&base, &[("base.gguf", b"GGUF of another base")]).await;
        world.run_others().await;
        let waiting = "SELECT COUNT(*) FROM job WHERE dedup_key LIKE 'reprobe:%:base' AND state = 'queued'";
        assert_eq!(world.count(waiting).await, 1_101);
    }

    async fn adapter_never_reads_a_private_base_of_another_namespace(world: World) {
        const CARD: &[u8] = b"---\nbase_model: secret/base\nbase_model_relation: adapter\n---\n# A\n";
        world.pushed("secret/base", &[("base.gguf", b"GGUF of a base")]).await;
        world.probe(&report(ProbeVerdict::Passed)).await;
        for (name, visibility, bases) in [
            ("acme/public", Visibility::Public, 0),
            ("acme/internal", Visibility::Internal, 0),
            ("acme/private", Visibility::Private, 0),
            ("secret/private", Visibility::Private, 1),
        ] {
            let adapter = world.model_seen_by(name, visibility).await;
            // Other bytes for each, so that no report is there before.
            world.push(&adapter, &[("w.gguf", format!("GGUF of {name}").as_bytes()), ("README.md", CARD)]).await;
            world.run_others().await;
            let (lease, task) = world.next_probe().await.unwrap();
            assert_eq!(task.base.len(), bases, "{name}");
            world.registry.finish_probe(&lease, &task, report(ProbeVerdict::Passed)).await.unwrap();
        }
    }

    async fn adapter_reads_a_base_of_another_namespace_that_is_as_visible(world: World) {
        const CARD: &[u8] = b"---\nbase_model: other/base\nbase_model_relation: adapter\n---\n# A\n";
        let base = world.model_seen_by("other/base", Visibility::Internal).await;
        world.push(&base, &[("base.gguf", b"GGUF of a base")]).await;
        world.run_others().await;
        world.probe(&report(ProbeVerdict::Passed)).await;
        for (name, visibility, bases) in
            [("acme/private", Visibility::Private, 1), ("acme/internal", Visibility::Internal, 1), ("acme/public", Visibility::Public, 0)]
        {
            let adapter = world.model_seen_by(name, visibility).await;
            world.push(&adapter, &[("w.gguf", format!("GGUF of {name}").as_bytes()), ("README.md", CARD)]).await;
            world.run_others().await;
            let (lease, task) = world.next_probe().await.unwrap();
            assert_eq!(task.base.len(), bases, "{name}");
            world.registry.finish_probe(&lease, &task, report(ProbeVerdict::Passed)).await.unwrap();
        }
    }

    async fn reports_of_earlier_releases_are_found_by_their_files(world: World) {
        let of = world.probed("acme/tiny").await;
        world.execute("UPDATE evidence SET subject = NULL, tool_version = NULL").await;
        assert!(world.history(&of).await.is_empty());
        let reopened = world.reopened().await;
        let history = reopened.probe_history(&of.1, &first_page()).await.unwrap().items;
        assert_eq!((history.len(), history[0].tool_version.as_str()), (1, "test-probe"));
    }
}
