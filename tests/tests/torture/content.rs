//! What is pushed: small models that a probe really runs, and a few megabytes of data.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use weighhouse_tests::gguf::TinyLlama;
use weighhouse_tests::random::Random;

/// Files that different pushes have in common, so that they meet in the store.
const SHARED_FILES: u64 = 6;

/// A file with its bytes.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) spec: Spec,
    pub(crate) bytes: Vec<u8>,
}

/// What the registry is told of a file, and what it has to give back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spec {
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

impl Spec {
    pub(crate) fn json(&self) -> Value {
        json!({ "path": self.path, "sha256": self.sha256, "size": self.size })
    }

    pub(crate) fn from_json(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self { path: text("path"), sha256: text("sha256"), size: value["size"].as_u64().unwrap_or_default() }
    }
}

/// Specifications of `files`, by path.
pub(crate) fn specs(files: &[File]) -> Vec<Spec> {
    let mut specs: Vec<Spec> = files.iter().map(|file| file.spec.clone()).collect();
    specs.sort();
    specs
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn file(path: &str, bytes: Vec<u8>) -> File {
    File { spec: Spec { path: path.to_owned(), sha256: sha256(&bytes), size: bytes.len() as u64 }, bytes }
}

/// The files of one push: a model, data of its own and shared data.
pub(crate) fn folder(random: &mut Random) -> Vec<File> {
    let readme = format!("---\nlicense: apache-2.0\n---\n# Model {:016x}\n", random.next_u64());
    let model = TinyLlama::fluent().seed(random.below(1000)).build();
    let shared = random.below(SHARED_FILES);
    let mut files = vec![
        file("README.md", readme.into_bytes()),
        file("model.gguf", model),
        file("data/shared.txt", letters(&mut Random::new(shared), 300_000 + shared * 200_000)),
    ];
    for part in 0..=random.below(2) {
        let size = 200_000 + random.below(3_000_000);
        files.push(file(&format!("data/part-{part}.txt"), letters(random, size)));
    }
    files
}

/// Text, because what the inspection does not know is not allowed in any environment.
pub(crate) fn letters(random: &mut Random, length: u64) -> Vec<u8> {
    let mut bytes = random.bytes(usize::try_from(length).unwrap_or_default());
    for byte in &mut bytes {
        *byte = b'a' + *byte % 26;
    }
    bytes
}
