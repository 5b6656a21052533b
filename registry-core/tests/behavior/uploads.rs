//! Uploads: resumable, verified, granted.

use bytes::Bytes;
use registry_core::{Error, Role, UploadStatus, Visibility};
use verifier::evidence::ProbeVerdict;

use crate::support::{World, body, broken_body, commit, on_both_databases, spec};

on_both_databases! {
    async fn a_broken_upload_continues_where_it_stopped(world: World) {
        let bytes = vec![7_u8; 300_000];
        let files = [spec("weights.bin", &bytes)];
        let declared = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap();
        let id = declared[0].session.clone().unwrap();
        let broken = world.registry.write_upload(&world.admin, &id, 0, broken_body(&bytes[..123_456])).await;
        assert!(matches!(broken, Err(Error::Interrupted(123_456))), "{broken:?}");

        // Another process finds the session, as after a restart of the server.
        let other = world.reopened().await;
        let declared = other.declare_uploads(&world.admin, "acme", &files).await.unwrap();
        assert_eq!((declared[0].session.as_deref(), declared[0].offset), (Some(id.as_str()), 123_456));
        let done = other.write_upload(&world.admin, &id, 123_456, body(&bytes[123_456..])).await.unwrap();
        assert!(done.complete);
        assert_eq!(world.objects().len(), 1);
    }

    async fn bytes_at_a_wrong_offset_are_refused_with_the_right_one(world: World) {
        let files = [spec("a", b"hello")];
        let id = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap()[0].session.clone().unwrap();
        let refused = world.registry.write_upload(&world.admin, &id, 3, body(b"lo")).await;
        assert!(matches!(refused, Err(Error::OffsetMismatch { current: 0, requested: 3 })));
    }

    async fn wrong_bytes_never_become_a_blob(world: World) {
        let files = [spec("a", b"hello")];
        let id = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap()[0].session.clone().unwrap();
        let refused = world.registry.write_upload(&world.admin, &id, 0, body(b"jello")).await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
        assert_eq!(world.count("SELECT COUNT(*) FROM blob").await, 0);
        assert!(world.objects().is_empty());
        let model = world.model("acme/m").await;
        let refused = world.registry.commit(&world.admin, &model, commit(files.to_vec())).await;
        assert!(matches!(refused, Err(Error::BlobMissing(_))));
    }

    async fn more_bytes_than_declared_are_refused(world: World) {
        let files = [spec("a", b"hello")];
        let id = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap()[0].session.clone().unwrap();
        let refused = world.registry.write_upload(&world.admin, &id, 0, body(b"hello, world")).await;
        assert!(matches!(refused, Err(Error::TooLong(5))));
    }

    async fn empty_files_are_files(world: World) {
        let model = world.model("acme/m").await;
        let committed = world.push(&model, &[("empty", b"")]).await;
        let files = world.registry.revision_files(&committed.revision).await.unwrap();
        assert_eq!(files[0].size, 0);
    }

    async fn equal_files_are_sent_and_stored_once(world: World) {
        let files = [spec("a", b"same"), spec("b", b"same")];
        let declared = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap();
        assert_eq!(declared.len(), 1);
        let model = world.model("acme/m").await;
        world.push(&model, &[("a", b"same"), ("b", b"same")]).await;
        assert_eq!(world.objects().len(), 1);
    }

    async fn knowing_a_digest_gives_no_right_to_its_bytes(world: World) {
        let secret = b"weights of a competitor";
        let model = world.model("rival/secret").await;
        world.push(&model, &[("w", secret)]).await;
        let spy = world.member("spy", "spies", Role::Writer).await;

        // Declaring: the bytes are asked for although the store has them.
        let declared = world.registry.declare_uploads(&spy, "spies", &[spec("w", secret)]).await.unwrap();
        assert_eq!(declared[0].status, UploadStatus::Upload);
        // Committing: refused without a grant.
        let own = world.registry
            .create_model(&spy, &"spies/copy".parse().unwrap(), registry_core::ModelKind::Model, Visibility::Private)
            .await.unwrap();
        let refused = world.registry.commit(&spy, &own, commit(vec![spec("w", secret)])).await;
        assert!(matches!(refused, Err(Error::BlobMissing(_))));
        // Sending the bytes proves possession; the second copy is dropped.
        let id = declared[0].session.clone().unwrap();
        assert!(world.registry.write_upload(&spy, &id, 0, body(secret)).await.unwrap().complete);
        assert_eq!(world.objects().len(), 1);
        world.registry.commit(&spy, &own, commit(vec![spec("w", secret)])).await.unwrap();
    }

    async fn a_revision_that_may_be_read_grants_its_bytes(world: World) {
        let model = world.model_seen_by("acme/shared", Visibility::Internal).await;
        let weights = crate::support::tiny_model();
        world.push(&model, &[("w.gguf", &weights)]).await;
        let reader = world.member("ada", "lab", Role::Writer).await;
        let files = [spec("w.gguf", &weights)];
        // Pending: the reader may not read it yet, so it grants nothing.
        let declared = world.registry.declare_uploads(&reader, "lab", &files).await.unwrap();
        assert_eq!(declared[0].status, UploadStatus::Upload);
        world.run_jobs(ProbeVerdict::Passed).await;
        assert!(world.decision(&model, "development").await.unwrap().allowed);
        let declared = world.registry.declare_uploads(&reader, "lab", &files).await.unwrap();
        assert_eq!(declared[0].status, UploadStatus::Present);
    }

    async fn a_session_belongs_to_its_creator(world: World) {
        let files = [spec("a", b"hello")];
        let id = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap()[0].session.clone().unwrap();
        let other = world.member("eve", "acme", Role::Writer).await;
        for refused in [
            world.registry.upload_state(&other, &id).await.err(),
            world.registry.write_upload(&other, &id, 0, body(b"hello")).await.err(),
            world.registry.abort_upload(&other, &id).await.err(),
        ] {
            assert!(matches!(refused, Some(Error::NotFound(_))));
        }
    }

    async fn a_session_that_ends_while_its_file_is_declared_again_is_not_begun_anew(world: World) {
        for seed in 0..30_u8 {
            let bytes = [seed; 2000];
            let files = [spec("shared", &bytes)];
            let declare = || world.registry.declare_uploads(&world.admin, "acme", &files);
            // Who declare at the same time may get a session each.
            let (first, _) = tokio::join!(declare(), declare());
            let id = first.unwrap()[0].session.clone().unwrap();
            world.registry.write_upload(&world.admin, &id, 0, body(&bytes[..1000])).await.unwrap();
            let (registry, caller) = (world.registry.clone(), world.admin.clone());
            let rest =
                tokio::spawn(async move { registry.write_upload(&caller, &id, 1000, body(&bytes[1000..])).await });
            loop {
                let declared = declare().await.unwrap().remove(0);
                if declared.status == UploadStatus::Present {
                    break;
                }
                assert_eq!(declared.offset, 1000, "acknowledged bytes are asked for again");
            }
            assert!(rest.await.unwrap().unwrap().complete);
        }
    }

    async fn two_connections_cannot_write_one_upload(world: World) {
        let bytes = vec![1_u8; 5000];
        let files = [spec("a", &bytes)];
        let id = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap()[0].session.clone().unwrap();
        let (first_sender, first_body) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(1);
        let first_body = futures::stream::unfold(first_body, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        let (registry, caller, session) = (world.registry.clone(), world.admin.clone(), id.clone());
        let first = tokio::spawn(async move { registry.write_upload(&caller, &session, 0, first_body).await });
        first_sender.send(Ok(Bytes::copy_from_slice(&bytes[..2500]))).await.unwrap();
        first_sender.send(Ok(Bytes::copy_from_slice(&bytes[2500..2501]))).await.unwrap();
        let second = world.registry.write_upload(&world.admin, &id, 0, body(&vec![2_u8; 5000])).await;
        assert!(matches!(second, Err(Error::UploadBusy)), "{second:?}");
        first_sender.send(Ok(Bytes::copy_from_slice(&bytes[2501..]))).await.unwrap();
        drop(first_sender);
        assert!(first.await.unwrap().unwrap().complete);
    }

    async fn the_sweeper_removes_expired_sessions_and_nothing_else(world: World) {
        let model = world.model("acme/m").await;
        world.push(&model, &[("kept", b"kept")]).await;
        let files = [spec("a", b"never finished"), spec("b", b"still running")];
        let declared = world.registry.declare_uploads(&world.admin, "acme", &files).await.unwrap();
        for upload in &declared {
            let id = upload.session.as_deref().unwrap();
            let broken = world.registry.write_upload(&world.admin, id, 0, broken_body(b"part")).await;
            assert!(matches!(broken, Err(Error::Interrupted(4))));
        }
        assert_eq!(world.objects().len(), 3);
        let old = declared[0].session.as_deref().unwrap();
        world.execute(&format!("UPDATE upload_session SET expires_at = 1 WHERE id = '{old}'")).await;
        let report = world.registry.sweep_uploads().await.unwrap();
        assert_eq!((report.sessions_removed, report.failures), (1, 0));
        assert_eq!(world.objects().len(), 2);
        assert!(world.registry.upload_state(&world.admin, old).await.is_err());
    }
}
