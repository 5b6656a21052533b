//! What the audit log proves to someone who believes nobody, and its keys' succession.

use std::collections::BTreeSet;

use registry_core::{Error, InstanceKeys, KeyDocuments, KeyInfo, KeyPurpose, Opening, Registry, Role, is_key_in_force};
use verifier::evidence::ProbeVerdict;
use verifier::provenance::transparency::merkle::leaf_hash;
use verifier::provenance::transparency::{Checkpoint, NoteVerifier, StatementEntry, Tile, merkle};

use crate::support::{ORIGIN, World, first_page, on_both_databases, tiny_model};

/// Adds events until the log has this many leaves.
async fn grow(world: &World, size: u64) {
    world.registry.sequence_audit_log("test").await.unwrap();
    let have = world.registry.latest_checkpoint().await.unwrap().map_or(0, |head| head.tree_size);
    let rows: Vec<String> = (have..size)
        .map(|number| {
            let id = format!("filler-{number:06}");
            let body =
                format!(r#"{{"at":1,"details":{{}},"id":"{id}","kind":"filler","model":null,"people":{{}},"v":1}}"#);
            format!("('{id}', 1, 'filler', NULL, '{body}', FALSE)")
        })
        .collect();
    for rows in rows.chunks(200) {
        let columns = "id, occurred_at, kind, model_id, body, sequenced";
        world.execute(&format!("INSERT INTO audit_event ({columns}) VALUES {}", rows.join(","))).await;
    }
    while world.registry.sequence_audit_log("test").await.unwrap() > 0 {}
    assert_eq!(world.registry.latest_checkpoint().await.unwrap().unwrap().tree_size, size);
}

fn log_key(registry: &Registry) -> NoteVerifier {
    NoteVerifier::parse(&registry.log_verifier()).unwrap()
}

async fn problems(registry: &Registry) -> BTreeSet<&'static str> {
    let report = registry.verify_audit_log(&[]).await.unwrap();
    report.problems.iter().map(|problem| problem.code).collect()
}

/// The registry with another key in the place of one.
async fn opened_with(world: &World, keys: &KeyDocuments) -> Result<Registry, Error> {
    let keys = InstanceKeys::new(keys, ORIGIN).unwrap();
    Registry::open(Opening { keys, ..world.opening() }).await
}

/// A statement that the registry signed, with the id of its event.
async fn statement(world: &World) -> String {
    let model = world.model("acme/tiny").await;
    world.push(&model, &[("w.gguf", &tiny_model())]).await;
    world.run_jobs(ProbeVerdict::Passed).await;
    let events = world.registry.audit_events(&world.admin, Some(&model.id), &first_page()).await.unwrap();
    events.items.into_iter().find(|event| event.kind == "statement.signed").unwrap().id
}

on_both_databases! {
    async fn every_event_is_proven_with_the_logs_key_alone(world: World) {
        statement(&world).await;
        world.registry.sequence_audit_log("test").await.unwrap();
        let key = [log_key(&world.registry)];
        let events = world.registry.audit_events(&world.admin, None, &first_page()).await.unwrap().items;
        assert!(events.len() > 5);
        for event in events {
            let proof = world.registry.log_proof(&event.id).await.unwrap();
            let leaf = world.registry.audit_leaf(&world.admin, &event.id).await.unwrap();
            let head = proof.verify(leaf.as_bytes(), &key).unwrap();
            assert_eq!(head.origin, ORIGIN);
            assert!(proof.verify(format!("{leaf} ").as_bytes(), &key).is_err());
        }
    }

    async fn an_event_has_a_proof_once_it_is_sequenced_and_others_have_none(world: World) {
        let model = world.model("acme/m").await;
        let event = world.registry.audit_events(&world.admin, Some(&model.id), &first_page()).await.unwrap().items.remove(0);
        assert!(matches!(world.registry.log_proof(&event.id).await, Err(Error::NotFound(_))));
        world.registry.sequence_audit_log("test").await.unwrap();
        assert!(world.registry.log_proof(&event.id).await.is_ok());
        assert!(world.registry.log_entry(&event.id).await.unwrap().is_none(), "it is no statement");
        assert!(matches!(world.registry.log_proof("none").await, Err(Error::NotFound(_))));
        assert!(world.registry.log_entry("none").await.unwrap().is_none());
    }

    async fn a_long_log_is_proven_from_its_tiles_and_from_old_heads(world: World) {
        grow(&world, 3).await;
        let first = world.registry.latest_checkpoint().await.unwrap().unwrap();
        grow(&world, 700).await;
        let key = [log_key(&world.registry)];
        for number in [3, 255, 256, 511, 512, 699] {
            let id = format!("filler-{number:06}");
            let proof = world.registry.log_proof(&id).await.unwrap();
            assert_eq!(proof.index, number);
            let leaf = world.registry.audit_leaf(&world.admin, &id).await.unwrap();
            assert_eq!(proof.verify(leaf.as_bytes(), &key).unwrap().size, 700);
        }
        let old = Checkpoint::open(&first.note, &key[0]).unwrap();
        let growth = world.registry.log_consistency(3, None).await.unwrap();
        assert_eq!(growth.verify(&old, &key).unwrap().size, 700);
        assert_eq!(growth.from_checkpoint, Some(first.note));
        let rewritten = Checkpoint { root: [7; 32], ..old };
        assert!(growth.verify(&rewritten, &key).is_err());
        for size in [0, 1, 257, 700] {
            assert!(world.registry.log_consistency(size, None).await.is_ok(), "{size}");
        }
        assert!(matches!(world.registry.log_consistency(701, None).await, Err(Error::Invalid(..))));
        assert!(matches!(world.registry.log_consistency(1, Some(2)).await, Err(Error::NotFound(_))));
    }

    async fn tiles_and_entries_lead_to_the_signed_root(world: World) {
        grow(&world, 700).await;
        let tile = |level, path: &str| Tile::parse(level, path).unwrap();
        let mut leaves = Vec::new();
        for path in ["000", "001", "002.p/188"] {
            let hashes = world.registry.log_tile(tile("0", path)).await.unwrap();
            leaves.extend(hashes.chunks(32).map(|hash| <[u8; 32]>::try_from(hash).unwrap()));
            let entries = world.registry.log_entries(&world.admin, tile("0", path)).await.unwrap();
            let mut rest = entries.as_slice();
            let mut hashed = Vec::new();
            while let Some((length, more)) = rest.split_first_chunk::<2>() {
                let (entry, more) = more.split_at(u16::from_be_bytes(*length).into());
                hashed.extend(leaf_hash(entry));
                rest = more;
            }
            assert_eq!(hashed, hashes, "{path}");
        }
        let head = world.registry.latest_checkpoint().await.unwrap().unwrap();
        assert_eq!(hex::encode(merkle::root(&leaves)), head.root_hash);
        let above = world.registry.log_tile(tile("1", "000.p/2")).await.unwrap();
        assert_eq!(above, [merkle::root(&leaves[..256]), merkle::root(&leaves[256..512])].concat());
        for (level, path) in [("0", "002"), ("0", "002.p/189"), ("0", "003"), ("1", "000"), ("1", "000.p/3"), ("2", "000.p/1")] {
            assert!(matches!(world.registry.log_tile(tile(level, path)).await, Err(Error::NotFound(_))), "{level}/{path}");
        }
        let stranger = world.caller("eve", Role::Reader).await;
        assert!(matches!(world.registry.log_entries(&stranger, tile("0", "000")).await, Err(Error::Forbidden(_))));
    }

    async fn a_log_of_an_older_release_is_filled_in_when_it_is_opened(world: World) {
        grow(&world, 600).await;
        world.execute("DELETE FROM audit_node").await;
        assert_eq!(problems(&world.registry).await, ["NODE_MISSING"].into());
        assert!(matches!(world.registry.log_proof("filler-000003").await, Err(Error::Corrupt(_))));
        let reopened = world.reopened().await;
        assert!(problems(&reopened).await.is_empty());
        let leaf = reopened.audit_leaf(&world.admin, "filler-000500").await.unwrap();
        let proof = reopened.log_proof("filler-000500").await.unwrap();
        assert!(proof.verify(leaf.as_bytes(), &[log_key(&reopened)]).is_ok());
    }

    async fn a_changed_or_invented_hash_of_the_tree_is_found(world: World) {
        grow(&world, 600).await;
        assert!(problems(&world.registry).await.is_empty());
        world.execute("UPDATE audit_node SET hash = REPLACE(REPLACE(hash, 'a', 'b'), '1', '2') WHERE node_index = 1").await;
        assert_eq!(problems(&world.registry).await, ["NODE_CHANGED"].into());
        world.execute("DELETE FROM audit_node WHERE node_index = 1").await;
        assert_eq!(problems(&world.registry).await, ["NODE_MISSING"].into());
        world.reopened().await;
        world.execute(&format!("INSERT INTO audit_node (level, node_index, hash) VALUES (2, 0, '{}')", "0".repeat(64))).await;
        assert_eq!(problems(&world.registry).await, ["NODE_CHANGED"].into());
    }

    async fn a_signed_statement_has_an_entry_that_proves_it(world: World) {
        let event = statement(&world).await;
        assert!(world.registry.log_entry(&event).await.unwrap().is_none(), "it is not sequenced yet");
        world.registry.sequence_audit_log("test").await.unwrap();
        let entry = world.registry.log_entry(&event).await.unwrap().unwrap();
        let leaf = world.registry.audit_leaf(&world.admin, &event).await.unwrap();
        let stated = StatementEntry::parse(&leaf).unwrap();
        let keys = world.registry.keys().await.unwrap();
        let signer = keys.iter().find(|key| key.purpose == KeyPurpose::Statement).unwrap();
        assert_eq!(stated.public_key, signer.public_key);
        assert_eq!(signer.pem(), world.registry.statement_verifier());
        let proof = world.registry.log_proof(&event).await.unwrap();
        assert_eq!(entry["logIndex"], proof.index.to_string());
        assert_eq!(entry["inclusionProof"]["checkpoint"]["envelope"], proof.checkpoint);
        assert!(proof.verify(leaf.as_bytes(), &[log_key(&world.registry)]).is_ok());
        let report = world.registry.verify_audit_log(&[]).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
    }

    async fn a_changed_statement_is_found(world: World) {
        statement(&world).await;
        world.registry.sequence_audit_log("test").await.unwrap();
        world.execute("UPDATE audit_event SET kind = 'statement.signed' WHERE kind = 'model.created'").await;
        assert!(problems(&world.registry).await.contains("EVENT_UNREADABLE"));
        world.execute("UPDATE audit_event SET kind = 'model.created' WHERE body LIKE '%model.created%'").await;
        assert!(problems(&world.registry).await.is_empty());
        world.execute("UPDATE audit_event SET body = REPLACE(body, 'SHA2_256', 'SHA2_257') WHERE kind = 'statement.signed'").await;
        assert!(problems(&world.registry).await.is_superset(&["EVENT_CHANGED", "EVENT_UNREADABLE"].into()));
    }

    async fn a_leaf_is_for_maintainers_of_its_model_and_for_administrators(world: World) {
        let model = world.model("acme/m").await;
        let event = world.registry.audit_events(&world.admin, Some(&model.id), &first_page()).await.unwrap().items.remove(0);
        let maintainer = world.member("mia", "acme", Role::Maintainer).await;
        let writer = world.member("wes", "acme", Role::Writer).await;
        assert!(world.registry.audit_leaf(&world.admin, &event.id).await.is_ok());
        assert!(world.registry.audit_leaf(&maintainer, &event.id).await.is_ok());
        assert!(matches!(world.registry.audit_leaf(&writer, &event.id).await, Err(Error::NotFound(_))));
        let about_nobodys_model = world.registry.audit_events(&world.admin, None, &first_page()).await.unwrap().items.remove(0);
        assert_eq!(about_nobodys_model.kind, "token.issued");
        assert!(matches!(world.registry.audit_leaf(&maintainer, &about_nobodys_model.id).await, Err(Error::NotFound(_))));
    }

    async fn a_key_gives_way_to_another_and_what_it_signed_stays_proven(world: World) {
        let old_event = statement(&world).await;
        world.registry.sequence_audit_log("test").await.unwrap();
        let (old_key, old_head) = (log_key(&world.registry), world.registry.latest_checkpoint().await.unwrap().unwrap());
        let fresh = KeyDocuments::generate().unwrap();
        world.registry.rotate_key(KeyPurpose::Checkpoint, &fresh.checkpoint).await.unwrap();
        world.registry.rotate_key(KeyPurpose::Statement, &fresh.statement).await.unwrap();

        let registry = opened_with(&world, &fresh).await.unwrap();
        registry.sequence_audit_log("test").await.unwrap();
        let new_key = log_key(&registry);
        assert_ne!(new_key, old_key);
        assert_eq!(new_key.name(), old_key.name(), "the log's name stays");
        let report = registry.verify_audit_log(std::slice::from_ref(&old_head.note)).await.unwrap();
        assert!(report.is_intact(), "{report:?}");

        let keys = registry.keys().await.unwrap();
        for purpose in KeyPurpose::ALL {
            let of_purpose: Vec<&KeyInfo> = keys.iter().filter(|key| key.purpose == purpose).collect();
            let [before, key] = of_purpose[..] else { panic!("{of_purpose:?}") };
            assert!(key.succeeds(before) && !before.succeeds(key));
            assert_eq!((before.valid_to, key.valid_to), (Some(key.valid_from), None));
        }
        let old = Checkpoint::open(&old_head.note, &old_key).unwrap();
        let growth = registry.log_consistency(old.size, None).await.unwrap();
        assert!(growth.verify(&old, &[old_key.clone(), new_key.clone()]).is_ok());
        assert!(growth.verify(&old, std::slice::from_ref(&old_key)).is_err(), "the new head is the new key's");
        let entry = registry.log_entry(&old_event).await.unwrap().unwrap();
        let root = registry.log_trusted_root().await.unwrap();
        assert_eq!(root["tlogs"].as_array().unwrap().len(), 2);
        assert_eq!(root["tlogs"][1]["logId"], entry["logId"]);
        assert_eq!(root["tlogs"][0]["publicKey"]["validFor"]["end"], root["tlogs"][1]["publicKey"]["validFor"]["start"]);
        assert_eq!(world.count("SELECT COUNT(*) FROM audit_event WHERE kind = 'key.rotated'").await, 2);
    }

    async fn a_process_with_an_ended_key_signs_nothing_and_does_not_start(world: World) {
        let fresh = KeyDocuments::generate().unwrap();
        for (purpose, successor) in [(KeyPurpose::Checkpoint, &fresh.checkpoint), (KeyPurpose::Statement, &fresh.statement)] {
            world.registry.rotate_key(purpose, successor).await.unwrap();
            let again = world.registry.rotate_key(purpose, successor).await;
            assert!(matches!(again, Err(Error::ForeignKey { .. })), "an ended key names nobody");
        }
        assert!(matches!(world.registry.sequence_audit_log("test").await, Err(Error::ForeignKey { .. })));
        assert!(world.registry.latest_checkpoint().await.unwrap().is_none());
        assert!(matches!(Registry::open(world.opening()).await, Err(Error::ForeignKey { .. })));
        let model = world.model("acme/tiny").await;
        world.push(&model, &[("w.gguf", &tiny_model())]).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM audit_event WHERE kind = 'statement.signed'").await, 0);
    }

    async fn a_rotation_that_broke_off_is_known_by_the_key_in_force(world: World) {
        let db = world.database().await;
        let successor = KeyPurpose::Statement.generate().unwrap();
        let in_force = |document: Vec<u8>| {
            let db = &db;
            async move { is_key_in_force(db, KeyPurpose::Statement, &document).await.unwrap() }
        };
        assert!(in_force(world.keys.statement.clone()).await && !in_force(successor.clone()).await);
        world.registry.rotate_key(KeyPurpose::Statement, &successor).await.unwrap();
        assert!(!in_force(world.keys.statement.clone()).await && in_force(successor.clone()).await);
    }

    async fn a_head_by_a_key_that_had_ended_is_found(world: World) {
        grow(&world, 3).await;
        let fresh = KeyDocuments { statement: world.keys.statement.clone(), ..KeyDocuments::generate().unwrap() };
        world.registry.rotate_key(KeyPurpose::Checkpoint, &fresh.checkpoint).await.unwrap();
        let registry = opened_with(&world, &fresh).await.unwrap();
        registry.sequence_audit_log("test").await.unwrap();
        let head = registry.latest_checkpoint().await.unwrap().unwrap();
        let stolen = verifier::provenance::transparency::NoteSigner::from_pkcs8(ORIGIN, &world.keys.checkpoint).unwrap();
        let forged = Checkpoint::open(&head.note, &log_key(&registry)).unwrap().sign(&stolen).unwrap().to_string();
        let report = registry.verify_audit_log(&[forged]).await.unwrap();
        assert_eq!(report.problems[0].code, "CHECKPOINT_KEY");
    }

    async fn a_key_that_nobody_named_is_found(world: World) {
        let fresh = KeyDocuments { statement: world.keys.statement.clone(), ..KeyDocuments::generate().unwrap() };
        world.registry.rotate_key(KeyPurpose::Checkpoint, &fresh.checkpoint).await.unwrap();
        let registry = opened_with(&world, &fresh).await.unwrap();
        assert!(problems(&registry).await.is_empty());
        world.execute("UPDATE signing_key SET rotation_signature = NULL").await;
        assert_eq!(problems(&registry).await, ["KEY_CHANGED"].into());
    }
}

/// Every fact that an event can put into a leaf. A new one is added here by someone who looked
/// whether it can ever hold a person's name, an address or free text; such a thing goes into
/// `person`, or stays outside of the log.
const REVIEWED: [&str; 34] = [
    "allowed",
    "commit",
    "content_digest",
    "decision",
    "digest",
    "entries",
    "environment",
    "evidence",
    "facts_digest",
    "files",
    "from",
    "imported_sha256",
    "job",
    "kind",
    "name",
    "namespace",
    "number",
    "purpose",
    "record",
    "replaced",
    "role",
    "root",
    "scope",
    "sha256",
    "signature",
    "size",
    "stage",
    "status",
    "stored_already",
    "to",
    "token",
    "trust",
    "visibility",
    "withdrawn",
];

#[test]
fn leaves_hold_only_reviewed_facts() {
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs_err::read_to_string(path).unwrap();
            for call in source.split(".detail(").skip(1) {
                let name = call.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
                found.insert(name.unwrap().0.to_owned());
            }
        }
    }
    let reviewed: BTreeSet<String> = REVIEWED.into_iter().map(str::to_owned).collect();
    assert_eq!(found, reviewed);
}
