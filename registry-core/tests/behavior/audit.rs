//! The audit log: complete, and every tampering is found.

use registry_core::{Access, Role};
use verifier::evidence::ProbeVerdict;

use crate::support::{World, first_page, on_both_databases, tiny_model};

/// A log with a few events of every sort, sequenced in two batches.
async fn log(world: &World) -> String {
    let model = world.model("acme/tiny").await;
    let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
    world.member("zoe@example.org", "acme", Role::Writer).await;
    world.registry.sequence_audit_log("test").await.unwrap();
    world.run_jobs(ProbeVerdict::Passed).await;
    for outcome in ["allowed", "denied"] {
        let access = Access { action: "download", model: &model, revision: &revision, sha256: None, outcome };
        world.registry.record_access(&world.admin, access).await.unwrap();
    }
    world.registry.flush_access_log().await.unwrap();
    world.registry.sequence_audit_log("test").await.unwrap();
    world.registry.latest_checkpoint().await.unwrap().unwrap().note
}

async fn codes(world: &World) -> Vec<&'static str> {
    let report = world.registry.verify_audit_log(&[]).await.unwrap();
    let mut codes: Vec<_> = report.problems.iter().map(|problem| problem.code).collect();
    codes.dedup();
    codes
}

on_both_databases! {
    async fn an_untouched_log_is_intact(world: World) {
        log(&world).await;
        let report = world.registry.verify_audit_log(&[]).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert!(report.leaves > 10 && report.checkpoints == 2 && report.unsequenced == 0);
    }

    async fn events_that_are_not_sequenced_yet_are_reported(world: World) {
        log(&world).await;
        world.model("acme/other").await;
        let report = world.registry.verify_audit_log(&[]).await.unwrap();
        assert!(report.is_intact());
        assert_eq!(report.unsequenced, 1);
    }

    async fn changed_missing_and_reordered_rows_are_found(world: World) {
        log(&world).await;
        let last = world.count("SELECT MAX(leaf_index) FROM audit_leaf").await;
        for (change, undo, expected) in [
            (
                "UPDATE audit_event SET body = REPLACE(body, 'blob.uploaded', 'blob.uploadee')".to_owned(),
                "UPDATE audit_event SET body = REPLACE(body, 'blob.uploadee', 'blob.uploaded')".to_owned(),
                "EVENT_CHANGED",
            ),
            (
                "UPDATE audit_event SET kind = 'x' WHERE kind = 'model.created'".to_owned(),
                "UPDATE audit_event SET kind = 'model.created' WHERE kind = 'x'".to_owned(),
                "EVENT_CHANGED",
            ),
            (
                "UPDATE audit_leaf SET leaf_index = 1000000 WHERE leaf_index = 0".to_owned(),
                "UPDATE audit_leaf SET leaf_index = 0 WHERE leaf_index = 1000000".to_owned(),
                "LEAF_MISSING",
            ),
            (
                "UPDATE audit_person SET subject = 'mallory' WHERE subject = 'zoe@example.org'".to_owned(),
                "UPDATE audit_person SET subject = 'zoe@example.org' WHERE subject = 'mallory'".to_owned(),
                "PERSON_CHANGED",
            ),
            (
                "UPDATE access_entry SET outcome = 'allowee' WHERE outcome = 'allowed'".to_owned(),
                "UPDATE access_entry SET outcome = 'allowed' WHERE outcome = 'allowee'".to_owned(),
                "ACCESS_CHANGED",
            ),
            (
                "UPDATE audit_checkpoint SET root_hash = REPLACE(root_hash, 'a', 'b')".to_owned(),
                String::new(),
                "CHECKPOINT_CHANGED",
            ),
            (
                format!("DELETE FROM audit_leaf WHERE leaf_index = {last}"),
                String::new(),
                "LOG_TRUNCATED",
            ),
        ] {
            world.execute(&change).await;
            let found = codes(&world).await;
            assert!(found.contains(&expected), "{change}: {found:?}");
            if !undo.is_empty() {
                world.execute(&undo).await;
                assert!(codes(&world).await.is_empty(), "{undo}");
            }
        }
    }

    async fn swapped_leaves_are_found(world: World) {
        log(&world).await;
        for (from, to) in [(0, -1), (1, 0), (-1, 1)] {
            world.execute(&format!("UPDATE audit_leaf SET leaf_index = {to} WHERE leaf_index = {from}")).await;
        }
        assert!(codes(&world).await.contains(&"ROOT_MISMATCH"));
    }

    async fn a_log_that_was_cut_off_with_its_heads_is_found_by_a_checkpoint_kept_elsewhere(world: World) {
        let kept = log(&world).await;
        let cut = world.count("SELECT MIN(tree_size) FROM audit_checkpoint").await;
        world.execute(&format!("DELETE FROM audit_checkpoint WHERE tree_size > {cut}")).await;
        world.execute(&format!("DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_leaf WHERE leaf_index >= {cut})")).await;
        world.execute(&format!("DELETE FROM audit_leaf WHERE leaf_index >= {cut}")).await;
        assert!(codes(&world).await.is_empty());
        let report = world.registry.verify_audit_log(&[kept]).await.unwrap();
        assert_eq!(report.problems[0].code, "LOG_TRUNCATED");
    }

    async fn a_name_can_be_erased_without_breaking_the_log(world: World) {
        log(&world).await;
        assert!(world.count("SELECT COUNT(*) FROM audit_event WHERE body LIKE '%zoe@example.org%'").await == 0);
        world.execute("DELETE FROM audit_person WHERE subject = 'zoe@example.org'").await;
        assert!(codes(&world).await.is_empty());
    }

    async fn two_sequencers_never_append_the_same_event_twice(world: World) {
        for number in 0..30 {
            world.model(&format!("acme/m{number}")).await;
        }
        let other = world.reopened().await;
        let (one, two) = tokio::join!(
            world.registry.sequence_audit_log("one"), other.sequence_audit_log("two"));
        let appended = one.unwrap_or_default() + two.unwrap_or_default();
        let report = world.registry.verify_audit_log(&[]).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.leaves, appended);
    }

    async fn events_of_a_model_are_for_its_maintainers_and_all_events_for_administrators(world: World) {
        let model = world.model("acme/m").await;
        let events = world.registry.audit_events(&world.admin, Some(&model.id), &first_page()).await.unwrap();
        assert_eq!(events.items[0].kind, "model.created");
        assert_eq!(events.items[0].people["actor"], "admin");
        let ada = world.member("zoe", "acme", Role::Admin).await;
        assert!(world.registry.audit_events(&ada, None, &first_page()).await.is_err());
    }
}
