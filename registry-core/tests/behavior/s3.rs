//! The same uploads and reads on an S3 server.
//!
//! The server is an emulator. It shows the protocol: multipart resume, abort, presigned
//! reads. It does not show what only the real service has: checksum enforcement on parts,
//! throttling, eventual listing, expiry of presigned URLs and lifecycle rules.

use futures::{StreamExt, TryStreamExt};
use registry_core::{ByteRange, Error, Sha256Digest};
use verifier::evidence::{ProbeVerdict, Status};

use crate::support::{World, body, broken_body, spec, tiny_model};

/// Larger than one part of 16 MiB.
const LARGE: usize = (17 << 20) + 5;

fn large() -> Vec<u8> {
    (0..LARGE).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

async fn read(world: &World, digest: &Sha256Digest, start: u64, end: u64) -> Vec<u8> {
    let stream = world.registry.stream_blob(digest, ByteRange { start, end }).await.unwrap();
    stream.map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_upload_resumes_at_the_last_whole_part() {
    let Some(world) = World::s3().await else { return };
    let bytes = large();
    let file = spec("w.bin", &bytes);
    let declare = || world.registry.declare_uploads(&world.admin, "acme", std::slice::from_ref(&file));
    let id = declare().await.unwrap()[0].session.clone().unwrap();
    let broken = world.registry.write_upload(&world.admin, &id, 0, broken_body(&bytes[..(16 << 20) + 1000])).await;
    assert!(matches!(broken, Err(Error::Interrupted(16_777_216))), "{broken:?}");
    assert_eq!(declare().await.unwrap()[0].offset, 16 << 20);
    let done = world.registry.write_upload(&world.admin, &id, 16 << 20, body(&bytes[16 << 20..])).await.unwrap();
    assert!(done.complete);
    assert_eq!(read(&world, &file.sha256, 0, file.size).await, bytes);
    assert_eq!(read(&world, &file.sha256, 16_777_210, 16_777_220).await, &bytes[16_777_210..16_777_220]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_multipart_upload_leaves_nothing_to_continue() {
    let Some(world) = World::s3().await else { return };
    let bytes = large();
    let file = spec("w.bin", &bytes);
    let declared = world.registry.declare_uploads(&world.admin, "acme", &[file]).await.unwrap();
    let id = declared[0].session.clone().unwrap();
    let broken = world.registry.write_upload(&world.admin, &id, 0, broken_body(&bytes[..16 << 20])).await;
    assert!(matches!(broken, Err(Error::Interrupted(_))));
    world.registry.abort_upload(&world.admin, &id).await.unwrap();
    let refused = world.registry.write_upload(&world.admin, &id, 16 << 20, body(&bytes[16 << 20..])).await;
    assert!(matches!(refused, Err(Error::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_deleted_from_the_bucket() {
    let Some(world) = World::s3().await else { return };
    let file = spec("a", b"hello");
    let declared = world.registry.declare_uploads(&world.admin, "acme", &[file]).await.unwrap();
    let id = declared[0].session.clone().unwrap();
    let refused = world.registry.write_upload(&world.admin, &id, 0, body(b"jello")).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
    assert_eq!(world.count("SELECT COUNT(*) FROM blob").await, 0);
    assert_eq!(world.count("SELECT COUNT(*) FROM upload_session").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_server_left_at_the_key_is_replaced_not_trusted() {
    let Some(world) = World::s3().await else { return };
    let file = spec("a", b"hello");
    let declared = world.registry.declare_uploads(&world.admin, "acme", std::slice::from_ref(&file)).await.unwrap();
    let id = declared[0].session.clone().unwrap();
    // Another upload's finished object, moved under this one's key in the database.
    let other = world.upload(&world.admin, "acme", &[("b", b"jello")]).await;
    let key = format!("(SELECT storage_key FROM blob WHERE sha256 = '{}')", other[0].sha256);
    world.execute(&format!("UPDATE upload_session SET storage_key = {key} WHERE id = '{id}'")).await;
    world.execute("UPDATE blob SET storage_key = 'elsewhere'").await;
    assert!(world.registry.write_upload(&world.admin, &id, 0, body(b"hello")).await.unwrap().complete);
    assert_eq!(read(&world, &file.sha256, 0, 5).await, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_serves_the_bytes_without_this_server() {
    let Some(world) = World::s3().await else { return };
    let files = world.upload(&world.admin, "acme", &[("a", b"presigned")]).await;
    let url = world.registry.presigned_blob(&files[0].sha256, 60).await.unwrap().unwrap();
    let served = reqwest::get(&url).await.unwrap();
    assert_eq!(served.status(), 200);
    assert_eq!(served.bytes().await.unwrap().as_ref(), b"presigned");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_reads_headers_from_the_bucket() {
    let Some(world) = World::s3().await else { return };
    let model = world.model("acme/tiny").await;
    let revision = world.push(&model, &[("w.gguf", &tiny_model())]).await.revision;
    world.run_jobs(ProbeVerdict::Passed).await;
    let stages = world.registry.stages(&revision).await.unwrap();
    assert_eq!(stages[0].status, Status::Passed, "{:?}", stages[0].evidence);
    world.registry.check_ready().await.unwrap();
}

#[tokio::test]
async fn a_local_store_presigns_nothing() {
    let world = World::sqlite().await;
    let files = world.upload(&world.admin, "acme", &[("a", b"local")]).await;
    assert!(world.registry.presigned_blob(&files[0].sha256, 60).await.unwrap().is_none());
    let all: Vec<_> =
        world.registry.stream_blob(&files[0].sha256, ByteRange { start: 1, end: 3 }).await.unwrap().collect().await;
    assert_eq!(all.len(), 1);
}
