//! What git's clients need: commits as changes, ids of blobs, uploads in pieces, capabilities.

use std::ops::Range;

use registry_core::{
    Caller, Change, ChangeSet, Committed, Error, Expected, FileSpec, ModelInfo, PageRequest, Role, Spool, git, now_ms,
};

use crate::support::{World, body, on_both_databases, spec};

fn set(changes: Vec<Change>, message: &str) -> ChangeSet {
    ChangeSet { branch: "main".into(), expected: Expected::Any, message: message.into(), changes, spool: None }
}

/// Changes that write files whose content comes with them.
fn written(files: &[(&str, &[u8])], message: &str) -> ChangeSet {
    let mut spool = Spool::new().unwrap();
    let changes =
        files.iter().map(|(path, bytes)| Change::Write(spool.add((*path).to_owned(), bytes).unwrap())).collect();
    ChangeSet { spool: Some(spool), ..set(changes, message) }
}

async fn commit(world: &World, model: &ModelInfo, set: ChangeSet) -> Result<Committed, Error> {
    world.registry.commit_changes(&world.admin, model, set).await
}

async fn paths(world: &World, model: &ModelInfo) -> Vec<String> {
    let head = world.registry.find_revision(model, "main").await.unwrap();
    world.registry.revision_files(&head).await.unwrap().into_iter().map(|file| file.path).collect()
}

async fn part(world: &World, file: &FileSpec, range: Range<u64>, bytes: &[u8]) -> Result<(), Error> {
    world.registry.receive_part(&world.admin, "acme", file, range, body(bytes)).await
}

on_both_databases! {
    async fn changes_apply_to_what_the_branch_holds(world: World) {
        let model = world.model("acme/m").await;
        commit(&world, &model, written(&[("a", b"1"), ("d/x", b"2"), ("d/y", b"3")], "start")).await.unwrap();
        let mut next = written(&[("b", b"4")], "next");
        next.changes.extend([Change::DeleteFolder("d".into()), Change::DeleteFile("a".into())]);
        commit(&world, &model, next).await.unwrap();
        assert_eq!(paths(&world, &model).await, ["b"]);
        let linked = Change::Link { path: "c".into(), sha256: spec("", b"4").sha256 };
        commit(&world, &model, set(vec![linked], "link")).await.unwrap();
        assert_eq!(paths(&world, &model).await, ["b", "c"]);
    }

    async fn changes_that_are_delivered_again_make_nothing_new(world: World) {
        let model = world.model("acme/m").await;
        let base = commit(&world, &model, written(&[("a", b"1"), ("b", b"1")], "start")).await.unwrap().revision.commit;
        for expected in [Expected::At(base), Expected::Any] {
            let delete = if expected == Expected::Any { "b" } else { "a" };
            let send = || ChangeSet { expected: expected.clone(), ..set(vec![Change::DeleteFile(delete.into()), Change::Link { path: "c".into(), sha256: spec("", b"1").sha256 }], delete) };
            let first = commit(&world, &model, send()).await.unwrap();
            let again = commit(&world, &model, send()).await.unwrap();
            assert!(first.created && !again.created);
            assert_eq!(first.revision, again.revision);
        }
        assert_eq!(world.count("SELECT COUNT(*) FROM revision").await, 3);
    }

    async fn changes_without_a_parent_find_their_place_among_others(world: World) {
        let model = world.model("acme/m").await;
        commit(&world, &model, written(&[("start", b"0")], "start")).await.unwrap();
        let mut attempts = Vec::new();
        for number in 0..5_u8 {
            let (registry, admin, model) = (world.registry.clone(), world.admin.clone(), model.clone());
            let changes = written(&[(&format!("f{number}"), &[number])], &format!("file {number}"));
            attempts.push(tokio::spawn(async move { registry.commit_changes(&admin, &model, changes).await }));
        }
        for attempt in attempts {
            attempt.await.unwrap().unwrap();
        }
        assert_eq!(paths(&world, &model).await, ["f0", "f1", "f2", "f3", "f4", "start"]);
    }

    async fn changes_that_are_refused_leave_no_bytes(world: World) {
        let model = world.model("acme/m").await;
        let head = commit(&world, &model, written(&[("a", b"1")], "start")).await.unwrap().revision.commit;
        commit(&world, &model, written(&[("a", b"2")], "next")).await.unwrap();
        let objects = world.objects().len();
        let foreign = Change::Add(spec("w.bin", b"never sent"));
        let refused = |more: Vec<Change>, expected: Expected| {
            let mut set = written(&[("new", b"must not be kept")], "refused");
            set.changes.extend(more);
            ChangeSet { expected, ..set }
        };
        let cases = [
            refused(vec![Change::DeleteFile("never".into())], Expected::Any),
            refused(vec![Change::DeleteFolder("never".into())], Expected::Any),
            refused(vec![foreign], Expected::Any),
            refused(vec![], Expected::At(head)),
            refused(vec![], Expected::At("0".repeat(40).parse().unwrap())),
            refused(vec![], Expected::Absent),
            written(&[("A", b"a name that differs in case only")], "refused"),
        ];
        for set in cases {
            let shown = format!("{set:?}");
            assert!(commit(&world, &model, set).await.is_err(), "{shown}");
        }
        assert_eq!(world.objects().len(), objects);
        assert_eq!(world.count("SELECT COUNT(*) FROM upload_session").await, 0);
        assert_eq!(world.count("SELECT COUNT(*) FROM revision").await, 2);
    }

    async fn thousands_of_small_files_share_objects_with_what_is_stored(world: World) {
        let model = world.model("acme/m").await;
        let contents: Vec<(String, Vec<u8>)> = (0..3000).map(|n| (format!("f{n}"), format!("{}", n % 2500).into_bytes())).collect();
        let files: Vec<(&str, &[u8])> = contents.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        commit(&world, &model, written(&files, "many")).await.unwrap();
        assert_eq!(world.objects().len(), 2500);
        commit(&world, &model, written(&[("again", b"7")], "again")).await.unwrap();
        assert_eq!(world.objects().len(), 2500);
        assert_eq!(world.count("SELECT COUNT(*) FROM blob_grant").await, 2500);
    }

    async fn history_follows_first_parents_page_by_page(world: World) {
        let model = world.model("acme/m").await;
        let mut commits = Vec::new();
        for number in 0..5_u8 {
            commits.push(commit(&world, &model, written(&[("a", &[number])], "step")).await.unwrap().revision.commit);
        }
        commits.reverse();
        let head = world.registry.find_revision(&model, "main").await.unwrap();
        let mut page = PageRequest { limit: 2, cursor: None };
        let mut seen = Vec::new();
        loop {
            let (revisions, next) = world.registry.history(&model, &head, &page).await.unwrap();
            seen.extend(revisions.into_iter().map(|revision| revision.commit));
            let Some(next) = next else { break };
            page.cursor = Some(next.to_string());
        }
        assert_eq!(seen, commits);
    }

    async fn ordinary_files_have_the_ids_of_git(world: World) {
        let model = world.model("acme/m").await;
        let files = [spec("a.txt", b"hello\n"), spec("m.bin", b"hello\n\n")];
        commit(&world, &model, written(&[("a.txt", b"hello\n"), ("m.bin", b"hello\n\n")], "s")).await.unwrap();
        let ids = world.registry.git_ids(&files).await.unwrap();
        assert_eq!(ids.len(), 1);
        assert_eq!(ids[&files[0].sha256], git::blob_id(b"hello\n"));
        assert_eq!(world.count("SELECT COUNT(*) FROM git_blob").await, 1);
    }

    async fn parts_come_in_their_order_and_may_come_again(world: World) {
        let file = spec("x", b"0123456789");
        part(&world, &file, 0..4, b"0123").await.unwrap();
        assert!(matches!(part(&world, &file, 8..10, b"89").await, Err(Error::OffsetMismatch { .. })));
        part(&world, &file, 0..4, b"0123").await.unwrap();
        assert!(matches!(part(&world, &file, 4..8, b"45").await, Err(Error::Interrupted(6))));
        part(&world, &file, 4..8, b"4567").await.unwrap();
        assert!(part(&world, &file, 8..10, b"89x").await.is_err());
        part(&world, &file, 8..10, b"89").await.unwrap();
        part(&world, &file, 0..4, b"0123").await.unwrap();
        assert!(world.registry.holds(&world.admin, "acme", &file).await.unwrap());
        assert_eq!(world.objects().len(), 1);
    }

    async fn a_file_in_one_piece_is_kept_whole_or_not_at_all(world: World) {
        let file = spec("x", b"0123456789");
        let send = |bytes: &'static [u8]| {
            let (registry, admin, file) = (world.registry.clone(), world.admin.clone(), file.clone());
            async move { registry.receive_whole(&admin, "acme", &file, body(bytes)).await }
        };
        for wrong in [&b"012345678"[..], b"01234567890", b"9876543210"] {
            assert!(send(wrong).await.is_err());
            assert_eq!(world.objects().len(), 0);
            assert_eq!(world.count("SELECT COUNT(*) FROM upload_session").await, 0);
        }
        send(b"0123456789").await.unwrap();
        send(b"0123456789").await.unwrap();
        assert_eq!(world.objects().len(), 1);
        let wrong_size = FileSpec { size: 9, ..file };
        assert!(world.registry.holds(&world.admin, "acme", &wrong_size).await.is_err());
    }

    async fn a_capability_serves_its_purpose_until_it_ends(world: World) {
        let registry = &world.registry;
        let text = registry.issue_capability(&world.admin, "upload", now_ms() + 60_000, &"claims").unwrap();
        assert_eq!(registry.open_capability::<String>("upload", &text).await.unwrap().1, "claims");
        assert_eq!(world.reopened().await.open_capability::<String>("upload", &text).await.unwrap().1, "claims");
        let expired = registry.issue_capability(&world.admin, "upload", now_ms(), &"claims").unwrap();
        let (document, tag) = text.split_once('.').unwrap();
        let forged = registry.issue_capability(&world.admin, "upload", now_ms() + 60_000, &"other").unwrap();
        let forged = format!("{}.{tag}", forged.split_once('.').unwrap().0);
        let long = "x".repeat(10_000);
        for (purpose, text) in [("download", text.as_str()), ("upload", &expired), ("upload", &forged), ("upload", document), ("upload", ""), ("upload", &long)] {
            let opened = registry.open_capability::<String>(purpose, text).await;
            assert!(matches!(opened, Err(Error::Capability(_))), "{purpose} {text}");
        }
    }

    async fn a_capability_ends_with_the_token_that_asked_for_it(world: World) {
        let ada = world.member("ada", "acme", Role::Writer).await;
        let issue = |caller: &Caller| world.registry.issue_capability(caller, "upload", now_ms() + 60_000, &"").unwrap();
        let open = |text: String| {
            let registry = world.registry.clone();
            async move { registry.open_capability::<String>("upload", &text).await.map(|(caller, _)| caller) }
        };
        let adas = issue(&ada);
        assert_eq!(open(adas.clone()).await.unwrap().subject(), "ada");
        assert!(open(issue(&Caller::anonymous("development"))).await.unwrap().is_anonymous());
        world.registry.revoke_token(&world.admin, ada.token_id().unwrap()).await.unwrap();
        assert!(matches!(open(adas).await, Err(Error::Capability(_))));
    }

    async fn a_card_is_judged_as_the_environment_will_judge_the_model(world: World) {
        let opinion = |environment: &str, text: &str| {
            let opinion = world.registry.judge_card(environment, text).unwrap();
            let codes = |reasons: Vec<verifier::policy::Reason>| reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>();
            (codes(opinion.errors), codes(opinion.warnings))
        };
        let none = Vec::<String>::new;
        let one = |code: &str| vec![code.to_owned()];
        assert_eq!(opinion("production", "---\nlicense: apache-2.0\n---\n"), (none(), none()));
        assert_eq!(opinion("development", "# Nothing\n"), (none(), one("NO_LICENSE")));
        assert_eq!(opinion("production", "# Nothing\n"), (one("NO_LICENSE"), none()));
        assert_eq!(opinion("production", "---\nlicense: cc-by-nc-4.0\n---\n").0, one("NONCOMMERCIAL_UPSTREAM"));
        assert_eq!(opinion("production", "---\nlicense: other\nlicense_name: ours\n---\n").0, none());
        assert_eq!(opinion("development", "---\nlicense: [\n---\n").0, one("CARD_INVALID"));
    }
}
