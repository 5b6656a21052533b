//! The stock Rust clients of the Hub against Weighhouse: `hf-hub` 1.0 and, as candle's examples
//! use it, 0.5.

#![cfg(test)]

use std::path::Path;

use futures::TryStreamExt;
use hf_hub::repository::{AddSource, CommitOperation, HFRepository, RepoTypeModel};
use hf_hub::{HFClient, HFError};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("run this through with_server.py: {name} is not set"))
}

/// Bytes that do not compress, the same for the same seed.
fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// A new repository, through the client with a cache of its own.
async fn repository(name: &str, cache: &Path) -> HFRepository<RepoTypeModel> {
    let client = HFClient::builder()
        .endpoint(variable("WEIGHHOUSE_URL"))
        .token(variable("WEIGHHOUSE_TOKEN"))
        .cache_dir(cache)
        .build()
        .unwrap();
    let id = format!("acme/{name}");
    client.create_repository().repo_id(&id).repo_type(RepoTypeModel).exist_ok(true).send().await.unwrap();
    client.model("acme", name)
}

async fn add(repository: &HFRepository<RepoTypeModel>, files: &[(&str, &[u8])]) -> String {
    let operations = files.iter().map(|(path, bytes)| CommitOperation::add_bytes(*path, bytes.to_vec())).collect();
    let made = repository.create_commit().operations(operations).commit_message("add files").send().await.unwrap();
    made.commit_oid.unwrap()
}

#[tokio::test]
async fn version_1_sends_files_and_reads_them_back() {
    let cache = tempfile::tempdir().unwrap();
    let repository = repository("rust-1", cache.path()).await;
    let weights = random_bytes(9 << 20, 1);
    let commit = add(&repository, &[("config.json", b"{}"), ("sub/model.safetensors", &weights)]).await;
    let info = repository.info().send().await.unwrap();
    assert_eq!(info.sha.as_deref(), Some(commit.as_str()));
    let entries: Vec<_> = repository.list_tree().recursive(true).send().unwrap().try_collect().await.unwrap();
    assert_eq!(entries.len(), 3);
    let snapshot = repository.snapshot_download().send().await.unwrap();
    assert_eq!(std::fs::read(snapshot.join("sub/model.safetensors")).unwrap(), weights);
    // Asked again, with the tag of what it has.
    let file = repository.download_file().filename("sub/model.safetensors").send().await.unwrap();
    assert_eq!(std::fs::read(file).unwrap(), weights);
}

#[tokio::test]
async fn version_1_changes_and_deletes() {
    let cache = tempfile::tempdir().unwrap();
    let repository = repository("rust-2", cache.path()).await;
    let first = add(&repository, &[("a.txt", b"1"), ("b.txt", b"1")]).await;
    repository.upload_file().source(AddSource::bytes("2")).path_in_repo("a.txt").send().await.unwrap();
    repository.delete_file().path_in_repo("b.txt").send().await.unwrap();
    let now = repository.download_file_to_bytes().filename("a.txt").send().await.unwrap();
    assert_eq!(now.as_ref(), b"2");
    let before = repository.download_file_to_bytes().filename("b.txt").revision(first).send().await.unwrap();
    assert_eq!(before.as_ref(), b"1");
    let gone = repository.download_file().filename("b.txt").send().await;
    assert!(matches!(gone, Err(HFError::EntryNotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn version_0_5_reads_what_candle_examples_read() {
    let cache = tempfile::tempdir().unwrap();
    let weights = random_bytes(9 << 20, 2);
    add(&repository("rust-05", cache.path()).await, &[("config.json", b"{}"), ("model.safetensors", &weights)]).await;
    let folder = cache.path().join("old");
    let read = move || {
        let api = hf_hub_05::api::sync::ApiBuilder::from_cache(hf_hub_05::Cache::new(folder))
            .with_endpoint(variable("WEIGHHOUSE_URL"))
            .with_token(Some(variable("WEIGHHOUSE_TOKEN")))
            .with_progress(false)
            .build()
            .unwrap();
        let repository = api.model("acme/rust-05".into());
        let names: Vec<_> = repository.info().unwrap().siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        assert_eq!(names, ["config.json", "model.safetensors"]);
        std::fs::read(repository.get("model.safetensors").unwrap()).unwrap()
    };
    assert_eq!(tokio::task::spawn_blocking(read).await.unwrap(), weights);
}

#[tokio::test]
async fn version_1_describes_a_model() {
    let cache = tempfile::tempdir().unwrap();
    let repository = repository("rust-3", cache.path()).await;
    add(&repository, &[("README.md", b"---\nlicense: mit\n---\n")]).await;
    let info = repository.info().send().await.unwrap();
    assert_eq!(info.id, "acme/rust-3");
    assert!(info.tags.unwrap_or_default().contains(&"license:mit".to_owned()));
}
