//! Samples of what released versions have stored (`tests/compat`): the present code still reads
//! each, writes no field less, and comes to the same digests.

use std::path::{Path, PathBuf};

use registry_core::{Decision, Work};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use verifier::evidence::{Evidence, EvidenceKey, Stage};
use verifier::policy::{EvidenceDocuments, PolicyInput};
use verifier::provenance::transparency::{Checkpoint, Frontier, NoteVerifier, merkle};

use crate::support::{World, body, first_page, on_both_databases};

fn releases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/compat");
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let releases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(!releases.is_empty());
    releases
}

fn sample(release: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs_err::read(release.join(format!("{name}.json"))).unwrap()).unwrap()
}

/// Reads a stored document as the code does and holds that nothing in it is lost.
#[track_caller]
fn kept<T: Serialize + DeserializeOwned>(stored: &Value) -> T {
    let read: T = serde_json::from_str(&stored.to_string()).unwrap();
    // As text, because that is how it is stored: a value widens numbers of 32 bits.
    let written: Value = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
    assert_kept(stored, &written, "");
    read
}

/// New members may appear beside the old ones; none may go or change.
#[track_caller]
fn assert_kept(old: &Value, new: &Value, place: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                let kept = new.get(name).unwrap_or_else(|| panic!("{place}/{name} is lost"));
                assert_kept(value, kept, &format!("{place}/{name}"));
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                assert_kept(old, new, &format!("{place}/{index}"));
            }
        }
        _ => assert_eq!(old, new, "{place}"),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[test]
fn stored_evidence_of_every_stage_is_read_whole() {
    for release in releases() {
        for stage in Stage::ALL {
            let evidence: Evidence = kept(&sample(&release, &format!("evidence-{}", stage.as_str())));
            assert_eq!(evidence.stage(), stage);
        }
    }
}

#[test]
fn stored_evidence_is_found_again_under_its_key() {
    for release in releases() {
        for stage in Stage::ALL {
            let stored = sample(&release, &format!("evidence-key-{}", stage.as_str()));
            let key: EvidenceKey = kept(&stored["key_document"]);
            assert_eq!((key.stage, key.digest().as_str()), (stage, text(&stored, "evidence_key")));
        }
    }
}

#[test]
fn stored_decision_is_read_whole_and_found_again_by_its_input() {
    for release in releases() {
        for environment in ["development", "production"] {
            let decision: Decision = kept(&sample(&release, &format!("decision-{environment}")));
            let mut input: PolicyInput = kept(&sample(&release, &format!("policy-input-{environment}")));
            assert_eq!((decision.environment.as_str(), decision.schema_version), (environment, 1));
            // The gate makes its input from evidence, which widens numbers of 32 bits.
            let EvidenceDocuments { inspect, license, provenance, probe } = &mut input.evidence;
            for state in [inspect, license, provenance, probe] {
                state.document = serde_json::to_value(kept::<Evidence>(&state.document)).unwrap();
            }
            assert_eq!(input.digest().unwrap(), decision.input_digest);
        }
    }
}

#[test]
fn stored_jobs_are_read_whole() {
    for release in releases() {
        let probe: Work = kept(&sample(&release, "job-probe"));
        assert!(matches!(probe, Work::Stage { stage: Stage::Probe, .. }));
        let decide: Work = kept(&sample(&release, "job-decide"));
        assert!(matches!(decide, Work::Decide { .. }));
    }
}

#[test]
fn stored_checkpoint_still_proves_the_log_that_it_signed() {
    for release in releases() {
        let stored = sample(&release, "audit-checkpoint");
        let public_key = hex::decode(text(&stored["key"], "public_key")).unwrap();
        let verifier = NoteVerifier::new(text(&stored["key"], "origin"), &public_key).unwrap();
        let head = Checkpoint::open(text(&stored, "note"), &verifier).unwrap();
        assert_eq!(
            (stored["tree_size"].as_u64(), hex::encode(head.root).as_str()),
            (Some(head.size), text(&stored, "root_hash"))
        );
        let frontier: Frontier = serde_json::from_str(text(&stored, "frontier")).unwrap();
        assert_eq!((frontier.size(), frontier.root()), (head.size, head.root));
        assert_eq!(serde_json::to_string(&frontier).unwrap(), text(&stored, "frontier"));

        let events = sample(&release, "audit-events");
        let leaves = events.as_array().unwrap().iter().map(|event| {
            let leaf = merkle::leaf_hash(text(event, "body").as_bytes());
            assert_eq!(hex::encode(leaf), text(event, "leaf_hash"));
            leaf
        });
        let leaves: Vec<_> = leaves.take(usize::try_from(head.size).unwrap()).collect();
        assert_eq!(merkle::root(&leaves), head.root);
    }
}

on_both_databases! {
    async fn stored_events_are_shown_and_their_log_is_intact(world: World) {
        for release in releases() {
            let events = sample(&release, "audit-events");
            let events = events.as_array().unwrap();
            for event in events {
                let [id, kind, body] = ["id", "kind", "body"].map(|name| text(event, name).replace('\'', "''"));
                let model = event["model_id"].as_str().map_or("NULL".to_owned(), |model| format!("'{model}'"));
                let values = format!("'{id}', {}, '{kind}', {model}, '{body}', FALSE", event["occurred_at"]);
                let columns = "id, occurred_at, kind, model_id, body, sequenced";
                world.execute(&format!("INSERT INTO audit_event ({columns}) VALUES ({values})")).await;
            }
            world.registry.sequence_audit_log("test").await.unwrap();
            let shown = world.registry.audit_events(&world.admin, None, &first_page()).await.unwrap().items;
            for event in events {
                let shown = shown.iter().find(|entry| entry.id == text(event, "id")).unwrap();
                let leaf: Value = serde_json::from_str(text(event, "body")).unwrap();
                assert_eq!(serde_json::to_value(&shown.details).unwrap(), leaf["details"]);
                assert_eq!(serde_json::to_value(&shown.people).unwrap(), leaf["people"]);
                assert!(shown.sequenced && shown.kind == text(event, "kind"));
            }
            let report = world.registry.verify_audit_log(&[]).await.unwrap();
            assert!(report.is_intact(), "{report:?}");
        }
    }

    async fn stored_upload_goes_on_where_it_was(world: World) {
        for release in releases() {
            let session = sample(&release, "upload-session");
            let [id, key, state] = ["id", "storage_key", "hasher_state"].map(|name| text(&session, name));
            let received = session["received"].as_u64().unwrap();
            let size = usize::try_from(session["size"].as_u64().unwrap()).unwrap();
            insert_session(&world, &session, state).await;
            let content: Vec<u8> = (0..=250_u8).cycle().take(size).collect();
            let (sent, rest) = content.split_at(usize::try_from(received).unwrap());
            let object = world.folder.path().join("objects").join(key);
            fs_err::create_dir_all(object.parent().unwrap()).unwrap();
            fs_err::write(&object, sent).unwrap();
            let state = world.registry.write_upload(&world.admin, id, received, body(rest)).await.unwrap();
            assert!(state.complete);
        }
    }
}

/// The row as it was, but for its end, which lies in the past.
async fn insert_session(world: &World, session: &Value, hasher_state: &str) {
    let bytes = if world.database_url.starts_with("sqlite") {
        format!("X'{hasher_state}'")
    } else {
        format!("decode('{hasher_state}', 'hex')")
    };
    let quoted = |name: &str| format!("'{}'", text(session, name));
    let [id, namespace, sha256, key, parts] = ["id", "namespace", "sha256", "storage_key", "parts"].map(quoted);
    let [size, received, created] = ["size", "received", "created_at"].map(|name| session[name].as_i64().unwrap());
    let (writer, creator) = (quoted("writer"), world.admin.subject());
    let expires = registry_core::now_ms() + 3_600_000;
    let columns = "id, namespace, sha256, size, storage_key, multipart_id, parts, received, hasher_state, writer, \
                   created_by, created_at, expires_at";
    let values = format!(
        "{id}, {namespace}, {sha256}, {size}, {key}, NULL, {parts}, {received}, {bytes}, {writer}, \
         '{creator}', {created}, {expires}"
    );
    world.execute(&format!("INSERT INTO upload_session ({columns}) VALUES ({values})")).await;
}
