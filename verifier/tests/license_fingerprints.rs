//! The committed fingerprints are those of the published license texts.
//!
//! `cargo test -p verifier --test license_fingerprints -- --ignored` computes them anew from
//! the texts under `$WEIGHHOUSE_VECTORS/license-texts`, which are not part of this repository.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use verifier::license::Catalog;
use verifier::license::fingerprint::{self, Fingerprint, NormalizedText};
use verifier::license::paragraphs::{self, ParagraphHashes};
use weighhouse_tests::environment;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/license-fingerprints.json");
/// Enough to tell versions apart where a word or two of them were changed.
const MAX_DISCRIMINATORS: usize = 24;

struct Text {
    id: String,
    kind: &'static str,
    normalized: NormalizedText,
    shingles: BTreeSet<u64>,
    paragraphs: ParagraphHashes,
}

fn read_texts(folder: &Path) -> Vec<Text> {
    let mut paths: Vec<_> = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| read_text(path)).collect()
}

fn read_text(path: &Path) -> Text {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (id, kind) = match name.strip_suffix(".use-policy") {
        Some(id) => (id, "use-policy"),
        None => (name, "license"),
    };
    let text = fs_err::read_to_string(path).unwrap();
    let normalized = NormalizedText::new(&text);
    let shingles = normalized.shingles();
    let paragraphs = ParagraphHashes::of(&paragraphs::split(&text));
    Text { id: id.to_owned(), kind, normalized, shingles, paragraphs }
}

fn fingerprints(texts: &[Text]) -> Vec<Fingerprint> {
    let mut occurrences: BTreeMap<u64, usize> = BTreeMap::new();
    for shingle in texts.iter().flat_map(|text| &text.shingles) {
        *occurrences.entry(*shingle).or_default() += 1;
    }
    texts.iter().map(|text| fingerprint_of(text, &occurrences)).collect()
}

fn fingerprint_of(text: &Text, occurrences: &BTreeMap<u64, usize>) -> Fingerprint {
    let own: Vec<u64> = text.shingles.iter().copied().filter(|shingle| occurrences[shingle] == 1).collect();
    let step = own.len().div_ceil(MAX_DISCRIMINATORS).max(1);
    let discriminators = own.into_iter().step_by(step).map(fingerprint::shorten).collect();
    Fingerprint {
        id: text.id.clone(),
        kind: text.kind.to_owned(),
        words: text.normalized.words().len(),
        sha256: text.normalized.sha256(),
        shingles: encode(&fingerprint::sample(&text.shingles)),
        discriminators: encode(&discriminators),
        clauses: encode(&text.paragraphs.clauses),
        headings: encode(&text.paragraphs.headings),
    }
}

fn encode(hashes: &BTreeSet<u32>) -> String {
    STANDARD.encode(hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect::<Vec<u8>>())
}

fn document(texts: &[Text]) -> String {
    let document = json!({
        "note": "Hashes of license texts, computed by tests/license_fingerprints.rs. The texts belong to their licensors and are not part of this repository.",
        "fingerprints": fingerprints(texts),
    });
    let mut json = serde_json::to_string_pretty(&document).unwrap();
    json.push('\n');
    json
}

#[test]
fn the_catalog_knows_use_policies_by_the_digests_of_their_texts() {
    let committed: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(COMMITTED).unwrap()).unwrap();
    let entries: Vec<Fingerprint> = serde_json::from_value(committed["fingerprints"].clone()).unwrap();
    let policies: Vec<_> = entries.iter().filter(|entry| entry.kind == "use-policy").collect();
    assert_eq!(policies.len(), 6);
    for policy in policies {
        let row = Catalog::built_in().find(&policy.id).unwrap();
        assert_eq!(row.incorporated_documents[0].sha256.as_deref(), Some(policy.sha256.as_str()), "{}", policy.id);
    }
}

#[test]
fn committed_fingerprints_are_those_of_the_texts() {
    let Some(vectors) = environment::vectors() else { return };
    let committed = fs_err::read_to_string(COMMITTED).unwrap();
    assert!(document(&read_texts(&vectors.join("license-texts"))) == committed, "regenerate {COMMITTED}");
}

#[test]
#[ignore = "writes data/license-fingerprints.json"]
fn write_fingerprints() {
    let Some(vectors) = environment::vectors() else { return };
    fs_err::write(COMMITTED, document(&read_texts(&vectors.join("license-texts")))).unwrap();
}
