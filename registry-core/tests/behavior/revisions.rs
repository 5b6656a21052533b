//! Commits and refs: idempotent, compare-and-swap, never forgotten.

use registry_core::{Commit, Error, Expected, RefKind, Role};

use crate::support::{World, commit, first_page, on_both_databases, spec};

on_both_databases! {
    async fn a_repeated_commit_returns_the_existing_revision(world: World) {
        let model = world.model("acme/m").await;
        let files = world.upload(&world.admin, "acme", &[("a", b"a")]).await;
        let first = Commit { expected: Expected::Absent, ..commit(files) };
        let one = world.registry.commit(&world.admin, &model, first.clone()).await.unwrap();
        let two = world.registry.commit(&world.admin, &model, first.clone()).await.unwrap();
        assert!(one.created && !two.created);
        assert_eq!(one.revision, two.revision);
        // Also after the branch has moved on.
        let files = world.upload(&world.admin, "acme", &[("a", b"b")]).await;
        let next = Commit { expected: Expected::At(one.revision.commit.clone()), ..commit(files) };
        let three = world.registry.commit(&world.admin, &model, next.clone()).await.unwrap();
        assert_eq!(three.revision.parents, std::slice::from_ref(&one.revision.commit));
        assert_eq!(world.registry.commit(&world.admin, &model, first).await.unwrap().revision, one.revision);
        assert_eq!(world.registry.commit(&world.admin, &model, next).await.unwrap().revision, three.revision);
        assert_eq!(world.count("SELECT COUNT(*) FROM revision").await, 2);
    }

    async fn a_commit_on_a_stale_head_is_refused_with_the_current_one(world: World) {
        let model = world.model("acme/m").await;
        let one = world.push(&model, &[("a", b"a")]).await.revision.commit;
        let two = world.push(&model, &[("a", b"b")]).await.revision.commit;
        let files = world.upload(&world.admin, "acme", &[("a", b"c")]).await;
        for expected in [Expected::At(one), Expected::Absent] {
            let stale = Commit { expected, ..commit(files.clone()) };
            match world.registry.commit(&world.admin, &model, stale).await {
                Err(Error::RefMoved { current, .. }) => assert_eq!(current.as_ref(), Some(&two)),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn of_concurrent_commits_on_one_head_exactly_one_wins(world: World) {
        let model = world.model("acme/m").await;
        let head = world.push(&model, &[("a", b"start")]).await.revision.commit;
        let mut attempts = Vec::new();
        for number in 0..8_u8 {
            let files = world.upload(&world.admin, "acme", &[("a", &[number])]).await;
            let commit = Commit { expected: Expected::At(head.clone()), ..commit(files) };
            let (registry, admin, model) = (world.registry.clone(), world.admin.clone(), model.clone());
            attempts.push(tokio::spawn(async move { registry.commit(&admin, &model, commit).await }));
        }
        let mut won = 0;
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(_) => won += 1,
                Err(Error::RefMoved { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won, 1);
        assert_eq!(world.registry.list_revisions(&model, &first_page()).await.unwrap().items.len(), 2);
    }

    async fn bad_paths_are_refused_by_name_before_anything_is_written(world: World) {
        let model = world.model("acme/m").await;
        world.upload(&world.admin, "acme", &[("a", b"a")]).await;
        for path in ["../a", "/a", "a//b", "A\0"] {
            match world.registry.commit(&world.admin, &model, commit(vec![spec(path, b"a")])).await {
                Err(Error::Path { path: named, .. }) => assert_eq!(named, path),
                other => panic!("{other:?}"),
            }
        }
        let colliding = commit(vec![spec("README.md", b"a"), spec("readme.md", b"a")]);
        assert!(matches!(world.registry.commit(&world.admin, &model, colliding).await, Err(Error::Path { .. })));
        assert_eq!(world.count("SELECT COUNT(*) FROM revision").await, 0);
    }

    async fn a_declared_size_must_be_the_real_one(world: World) {
        let model = world.model("acme/m").await;
        let mut files = world.upload(&world.admin, "acme", &[("a", b"four")]).await;
        files[0].size = 5;
        assert!(matches!(world.registry.commit(&world.admin, &model, commit(files)).await, Err(Error::Path { .. })));
    }

    async fn a_tag_is_fixed_even_over_its_deletion(world: World) {
        let model = world.model("acme/m").await;
        let one = world.push(&model, &[("a", b"a")]).await.revision;
        let two = world.push(&model, &[("a", b"b")]).await.revision;
        let tag = |to: registry_core::Revision| {
            let (registry, admin, model) = (world.registry.clone(), world.admin.clone(), model.clone());
            async move { registry.set_ref(&admin, &model, RefKind::Tag, "v1", &to, &Expected::Any).await }
        };
        tag(one.clone()).await.unwrap();
        assert!(matches!(tag(two.clone()).await, Err(Error::TagReused(_))));
        world.registry.delete_ref(&world.admin, &model, RefKind::Tag, "v1").await.unwrap();
        assert!(world.registry.find_revision(&model, "v1").await.is_err());
        assert!(matches!(tag(two).await, Err(Error::TagReused(_))));
        tag(one.clone()).await.unwrap();
        assert_eq!(world.registry.find_revision(&model, "v1").await.unwrap(), one);
        let history = world.registry.ref_history(&model, RefKind::Tag, "v1", &first_page()).await.unwrap();
        assert_eq!(history.items.len(), 3);
        assert!(history.items[1].to.is_none());
    }

    async fn a_branch_moves_back_and_its_history_tells(world: World) {
        let model = world.model("acme/m").await;
        let one = world.push(&model, &[("a", b"a")]).await.revision;
        let two = world.push(&model, &[("a", b"b")]).await.revision;
        let stale = Expected::At(one.commit.clone());
        let refused = world.registry.set_ref(&world.admin, &model, RefKind::Branch, "main", &one, &stale).await;
        assert!(matches!(refused, Err(Error::RefMoved { current: Some(current), .. }) if current == two.commit));
        let expected = Expected::At(two.commit.clone());
        world.registry.set_ref(&world.admin, &model, RefKind::Branch, "main", &one, &expected).await.unwrap();
        let history = world.registry.ref_history(&model, RefKind::Branch, "main", &first_page()).await.unwrap();
        assert_eq!(history.items[0].to.as_ref(), Some(&one.commit));
        assert_eq!(world.registry.find_revision(&model, "main").await.unwrap(), one);
    }

    async fn readers_cannot_commit_or_move_refs(world: World) {
        let model = world.model("acme/m").await;
        let revision = world.push(&model, &[("a", b"a")]).await.revision;
        let reader = world.member("rea", "acme", Role::Reader).await;
        let forbidden = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Forbidden(_))));
        forbidden(world.registry.commit(&reader, &model, commit(vec![])).await.map(|_| ()));
        forbidden(world.registry.set_ref(&reader, &model, RefKind::Branch, "x", &revision, &Expected::Any).await);
        let writer = world.member("wri", "acme", Role::Writer).await;
        forbidden(world.registry.delete_ref(&writer, &model, RefKind::Branch, "x").await);
        forbidden(world.registry.delete_model(&writer, &model.name).await);
    }

    async fn lists_page_without_gaps_or_repeats(world: World) {
        let model = world.model("acme/m").await;
        for number in 0..5_u8 {
            world.push(&model, &[("a", &[number])]).await;
        }
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let request = registry_core::PageRequest::new(Some(2), cursor).unwrap();
            let page = world.registry.list_revisions(&model, &request).await.unwrap();
            seen.extend(page.items.into_iter().map(|revision| revision.commit));
            cursor = page.next;
            if cursor.is_none() { break }
        }
        assert_eq!(seen.len(), 5);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }
}
