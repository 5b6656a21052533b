//! The queue: nothing is lost, nothing is done twice, failures stay visible.

use registry_core::{Claim, Error, JobOutcome, JobState, StageState, Work};
use sea_orm::{ConnectionTrait, TransactionTrait};
use verifier::evidence::{ProbeVerdict, Stage, Status};

use crate::support::{World, first_page, on_both_databases, report, tiny_model};

on_both_databases! {
    async fn a_push_runs_through_every_stage_to_a_decision(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        // inspect, license, provenance, probe, weights, decide
        assert_eq!(world.run_jobs(ProbeVerdict::Passed).await, 6);
        let stages = world.registry.stages(&revision).await.unwrap();
        assert!(stages.iter().all(|view| view.state == StageState::Done && view.evidence.is_some()));
        assert!(world.decision(&model, "development").await.unwrap().allowed);
        assert!(!world.decision(&model, "production").await.unwrap().allowed);
    }

    async fn unchanged_weights_are_not_probed_again(world: World) {
        let model = world.model("acme/tiny").await;
        let weights = tiny_model();
        world.push(&model, &[("w.gguf", &weights)]).await;
        world.run_jobs(ProbeVerdict::Passed).await;
        let second = world.push(&model, &[("w.gguf", &weights), ("README.md", b"# Tiny\n")]).await.revision;
        let mut probes = 0;
        while let Some(lease) = world.registry.claim_job(Claim::default()).await.unwrap() {
            if let JobOutcome::Probe(_) = world.registry.run_job(&lease).await.unwrap() {
                probes += 1;
            }
        }
        assert_eq!(probes, 0);
        let stages = world.registry.stages(&second).await.unwrap();
        assert_eq!(stages[3].status, Status::Passed);
    }

    async fn a_revision_that_is_no_head_is_not_probed_until_a_ref_returns(world: World) {
        let model = world.model("acme/tiny").await;
        let first = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        let other = weighhouse_tests::gguf::TinyLlama::fluent().build();
        let second = world.push(&model, &[("w.gguf", &other)]).await.revision;
        world.run_jobs(ProbeVerdict::Passed).await;
        let state = |stages: Vec<registry_core::StageView>| stages[3].state;
        assert_eq!(state(world.registry.stages(&first).await.unwrap()), StageState::Superseded);
        assert_eq!(state(world.registry.stages(&second).await.unwrap()), StageState::Done);
        let tag = world.registry.set_ref(
            &world.admin, &model, registry_core::RefKind::Tag, "v0", &first, &registry_core::Expected::Any);
        tag.await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(state(world.registry.stages(&first).await.unwrap()), StageState::Done);
    }

    async fn many_workers_take_each_job_once(world: World) {
        for number in 0..20_u8 {
            let model = world.model(&format!("acme/m{number}")).await;
            world.push(&model, &[("a", &[number])]).await;
        }
        let mut workers = Vec::new();
        for _ in 0..6 {
            let registry = world.registry.clone();
            workers.push(tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Some(lease) = registry.claim_job(Claim::default()).await.unwrap() {
                    taken.push(lease.job_id);
                }
                taken
            }));
        }
        let mut taken = Vec::new();
        for worker in workers {
            taken.extend(worker.await.unwrap());
        }
        assert_eq!(taken.len(), 20);
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 20);
    }

    async fn a_dead_workers_job_goes_to_another_and_its_late_result_is_refused(world: World) {
        let model = world.model("acme/tiny").await;
        world.push(&model, &[("w.gguf", &tiny_model())]).await;
        let first = world.registry.claim_job(Claim::default()).await.unwrap().unwrap();
        assert!(world.registry.claim_job(Claim::default()).await.unwrap().is_none());
        world.execute("UPDATE job SET lease_until = 1 WHERE state = 'running'").await;
        let second = world.registry.claim_job(Claim::default()).await.unwrap().unwrap();
        assert_eq!((second.job_id.as_str(), second.attempt), (first.job_id.as_str(), 2));
        assert!(matches!(world.registry.renew_lease(&first, None).await, Err(Error::LeaseLost)));
        assert!(matches!(world.registry.run_job(&first).await, Err(Error::LeaseLost)));
        world.run_job(&second, ProbeVerdict::Passed).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM evidence WHERE stage = 'inspect'").await, 1);
    }

    async fn a_released_job_is_taken_again_at_once_without_costing_an_attempt(world: World) {
        let model = world.model("acme/m").await;
        world.push(&model, &[("a", b"a")]).await;
        let lease = world.registry.claim_job(Claim::default()).await.unwrap().unwrap();
        world.registry.release_job(&lease).await.unwrap();
        let again = world.registry.claim_job(Claim::default()).await.unwrap().unwrap();
        assert_eq!((again.job_id, again.attempt), (lease.job_id, 1));
    }

    async fn a_failing_stage_is_retried_then_dead_and_blocks_no_other(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        let mut attempts = 0;
        loop {
            world.execute("UPDATE job SET run_at = 0 WHERE state = 'queued'").await;
            let Some(lease) = world.registry.claim_job(Claim::default()).await.unwrap() else { break };
            if matches!(lease.work, Work::Stage { stage: Stage::License, .. }) {
                attempts += 1;
                world.registry.fail_job(&lease, "the license reader broke").await.unwrap();
            } else {
                world.run_job(&lease, ProbeVerdict::Passed).await;
            }
        }
        assert_eq!(attempts, 5);
        let stages = world.registry.stages(&revision).await.unwrap();
        assert_eq!(stages[1].state, StageState::Dead);
        assert!(stages.iter().filter(|view| view.state == StageState::Done).count() == 3);
        // The gate decided all the same: the evidence is missing.
        let decision = world.decision(&model, "production").await.unwrap();
        assert!(decision.reasons.iter().any(|reason| reason.code == "EVIDENCE_LICENSE_MISSING"));

        let dead = world.registry.list_jobs(&world.admin, JobState::Dead, &first_page()).await.unwrap().items;
        assert_eq!((dead.len(), dead[0].last_error.as_deref()), (1, Some("the license reader broke")));
        world.registry.retry_job(&world.admin, &dead[0].id).await.unwrap();
        world.run_jobs(ProbeVerdict::Passed).await;
        let stages = world.registry.stages(&revision).await.unwrap();
        assert_eq!(stages[1].state, StageState::Done);
        let decision = world.decision(&model, "production").await.unwrap();
        assert!(!decision.reasons.iter().any(|reason| reason.code == "EVIDENCE_LICENSE_MISSING"));
    }

    async fn a_job_whose_workers_always_die_ends_dead(world: World) {
        let model = world.model("acme/m").await;
        world.push(&model, &[("a", b"a")]).await;
        let mut claims = 0;
        for _ in 0..10 {
            // The decision that a dead inspection leads to is another job.
            let claimed = world.registry.claim_job(Claim::default()).await.unwrap();
            if claimed.is_some_and(|lease| matches!(lease.work, Work::Stage { .. })) { claims += 1 }
            world.execute("UPDATE job SET lease_until = 1 WHERE state = 'running'").await;
        }
        assert_eq!(claims, 5);
        assert_eq!(world.count("SELECT COUNT(*) FROM job WHERE state = 'dead' AND kind = 'inspect'").await, 1);
    }

    async fn the_first_of_two_results_wins(world: World) {
        let model = world.model("acme/tiny").await;
        let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
        let mut probe = None;
        while let Some(lease) = world.registry.claim_job(Claim::default()).await.unwrap() {
            if let JobOutcome::Probe(task) = world.registry.run_job(&lease).await.unwrap() {
                probe = Some((lease, task));
            }
        }
        let (slow, task) = probe.unwrap();
        world.execute("UPDATE job SET lease_until = 1 WHERE state = 'running'").await;
        let fast = world.registry.claim_job(Claim::default()).await.unwrap().unwrap();
        let JobOutcome::Probe(same) = world.registry.run_job(&fast).await.unwrap() else { panic!("no probe") };
        world.registry.finish_probe(&fast, &same, report(ProbeVerdict::Passed)).await.unwrap();
        let late = world.registry.finish_probe(&slow, &task, report(ProbeVerdict::Failed)).await;
        assert!(matches!(late, Err(Error::LeaseLost)));
        let stages = world.registry.stages(&revision).await.unwrap();
        assert_eq!(stages[3].status, Status::Passed);
    }
}

/// PostgreSQL locks rows, and two transactions that take them in different orders stop each other.
#[tokio::test]
async fn a_decision_takes_its_locks_in_the_order_of_a_commit() {
    let Some(world) = World::postgres().await else { return };
    let model = world.model("acme/tiny").await;
    world.push(&model, &[("w.gguf", &tiny_model())]).await;
    let decide = loop {
        let lease = world.registry.claim_job(Claim::default()).await.unwrap().unwrap();
        if matches!(lease.work, Work::Decide { .. }) {
            break lease;
        }
        world.run_job(&lease, ProbeVerdict::Passed).await;
    };
    let database = world.database().await;
    let commit = database.begin().await.unwrap();
    commit.execute_unprepared("SELECT id FROM model FOR UPDATE").await.unwrap();
    let rest_of_commit = async {
        while world.count("SELECT COUNT(*) FROM pg_locks WHERE NOT granted").await == 0 {
            tokio::task::yield_now().await;
        }
        commit.execute_unprepared("UPDATE catalog_entry SET updated_at = updated_at").await.unwrap();
        commit.commit().await.unwrap();
    };
    futures::join!(world.run_job(&decide, ProbeVerdict::Passed), rest_of_commit);
}
