//! The audit log from outside: what a third party notes, fetches and proves, and how a registry's
//! keys give way to others.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use weighhouse_tests::server::{self, Folder, Server, eventually, exits, text};

#[track_caller]
fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap()
}

/// A registry's log and what someone keeps of it.
struct Kept {
    server: Server,
    folder: Folder,
}

impl Kept {
    /// A log with a head, the head and the key noted.
    fn new() -> Self {
        let kept = Self { server: Server::start(&[]).unwrap(), folder: Folder::new().unwrap() };
        kept.grow("acme/first");
        kept.note("old.checkpoint");
        let head = json(&exits(0, &kept.server.run(["audit", "checkpoint", "--json"]).unwrap()));
        kept.folder.write("log.key", format!("{}\n", head["verifier"].as_str().unwrap()).as_bytes()).unwrap();
        kept
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Adds an event and waits until it is in the log.
    fn grow(&self, model: &str) {
        exits(0, &self.server.run(["model", "create", model]).unwrap());
        let event = format!("/v1/audit/events/{}/proof", self.event("model.created"));
        let is_sequenced = || self.server.request("GET", &event, "").unwrap().0 == 200;
        eventually("the event is sequenced", || is_sequenced().then_some(()));
    }

    fn note(&self, name: &str) {
        exits(0, &self.server.run(["audit", "checkpoint", "--out", &self.path(name)]).unwrap());
    }

    /// The id of the newest event of a kind.
    fn event(&self, kind: &str) -> String {
        let (_, body) = self.server.request("GET", "/v1/audit/events", "").unwrap();
        let events = json(&body);
        let found = events["items"].as_array().unwrap().iter().find(|event| event["kind"] == kind).unwrap();
        found["id"].as_str().unwrap().to_owned()
    }

    /// Changes one character in the middle of a line of a file.
    fn tamper(&self, name: &str, line: usize) -> String {
        let content = fs::read_to_string(self.path(name)).unwrap();
        let mut lines: Vec<String> = content.lines().map(str::to_owned).collect();
        let middle = lines[line].len() / 2;
        let other = if lines[line].as_bytes()[middle] == b'A' { "B" } else { "A" };
        lines[line].replace_range(middle..=middle, other);
        let changed = format!("{name}.changed");
        self.folder.write(&changed, format!("{}\n", lines.join("\n")).as_bytes()).unwrap();
        self.path(&changed)
    }
}

#[test]
fn an_event_is_proven_offline_and_a_changed_proof_leaf_or_key_is_not() {
    let kept = Kept::new();
    let (proof, leaf) = (kept.path("event.tlog-proof"), kept.path("event.leaf"));
    let event = kept.event("model.created");
    exits(0, &kept.server.run(["audit", "proof", &event, "--out", &proof, "--leaf-out", &leaf]).unwrap());
    let check = |proof: &str, leaf: &str, key: &str| {
        server::run(["audit", "check-proof", proof, "--leaf", leaf, "--log-key", key, "--json"]).unwrap()
    };
    let key = kept.path("log.key");
    let proven = json(&exits(0, &check(&proof, &leaf, &key)));
    assert_eq!((&proven["proven"], &proven["reason"]), (&Value::Bool(true), &Value::Null));
    assert!(exits(0, &check(&proof, &leaf, fs::read_to_string(&key).unwrap().trim())).contains("\"proven\": true"));

    let hash = kept.tamper("event.tlog-proof", 2);
    let refused = json(&exits(1, &check(&hash, &leaf, &key)));
    assert!(refused["reason"].as_str().unwrap().contains("does not lead to the root"), "{refused}");
    exits(1, &check(&proof, &kept.tamper("event.leaf", 0), &key));
    exits(2, &check(&leaf, &leaf, &key));
    exits(2, &check(&proof, &leaf, &leaf));
    exits(2, &check(&kept.path("missing"), &leaf, &key));
    let stranger = Kept::new();
    exits(1, &check(&proof, &leaf, &stranger.path("log.key")));
}

#[test]
fn a_log_that_grew_is_proven_from_an_old_head_with_and_without_a_server() {
    let kept = Kept::new();
    kept.grow("acme/second");
    let (old, key, growth) = (kept.path("old.checkpoint"), kept.path("log.key"), kept.path("growth.json"));
    let online = kept.server.run(["audit", "verify", "--from", &old, "--json"]).unwrap();
    let proven = json(&exits(0, &online));
    assert!(proven["tree_size"].as_u64() > proven["from"].as_u64(), "{proven}");
    exits(0, &kept.server.run(["audit", "verify", "--from", &old, "--log-key", &key]).unwrap());
    exits(0, &kept.server.run(["audit", "consistency", "--from", &old, "--out", &growth]).unwrap());
    let offline = |old: &str, growth: &str, key: &str| {
        server::run(["audit", "verify", "--from", old, "--consistency", growth, "--log-key", key]).unwrap()
    };
    exits(0, &offline(&old, &growth, &key));
    exits(1, &offline(&kept.tamper("old.checkpoint", 2), &growth, &key));
    exits(2, &offline(&old, &old, &key));
    exits(2, &server::run(["audit", "verify", "--from", &old, "--consistency", &growth]).unwrap());

    let stranger = Kept::new();
    stranger.grow("acme/second");
    stranger.grow("acme/third");
    exits(1, &stranger.server.run(["audit", "verify", "--from", &old]).unwrap());
}

#[test]
fn tiles_heads_and_keys_are_public_and_leaves_are_not() {
    let kept = Kept::new();
    let anyone = |path: &str| kept.server.ask("GET", path, &[], "");
    let head = anyone("/log/checkpoint").unwrap();
    assert_eq!((head.status, head.headers["content-type"].as_str()), (200, "text/plain; charset=utf-8"));
    let root = json(&anyone("/log/trusted_root.json").unwrap().body);
    assert_eq!(root["tlogs"][0]["publicKey"]["keyDetails"], "PKIX_ED25519");
    assert_eq!(anyone("/log/tile/0/000").unwrap().status, 404, "no tile is full yet");
    assert_eq!(anyone("/log/tile/0/000.p/255").unwrap().status, 404);
    assert_eq!(anyone("/log/tile/0/0").unwrap().status, 404);
    assert!(matches!(anyone("/log/tile/entries/000.p/1").unwrap().status, 401 | 403));
    let (status, entry) = kept.server.request("GET", "/log/tile/entries/000.p/1", "").unwrap();
    assert!(status == 200 && entry.contains("\"kind\":"), "{status} {entry}");
}

/// The private keys that lie in a key folder.
fn key_files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn keys_give_way_to_others_and_what_was_noted_goes_on_leading_to_the_log() {
    let mut kept = Kept::new();
    let data = kept.server.data().join("data");
    let data_dir = format!("data_dir={}", data.display());
    let offline = |words: &[&str]| server::run(words.iter().copied().chain(["--set", &data_dir])).unwrap();
    kept.server.terminate().unwrap();
    eventually("the server ends", || kept.server.ended().unwrap());
    for purpose in ["checkpoint", "statement"] {
        let keys = json(&exits(0, &offline(&["keys", "rotate", purpose, "--json"])));
        let of_purpose = keys.as_array().unwrap().iter().filter(|key| key["purpose"] == purpose);
        assert_eq!(of_purpose.count(), 2, "{keys}");
    }
    assert_eq!(key_files(&data.join("keys")).len(), 5, "{:?}", key_files(&data.join("keys")));
    assert!(exits(0, &offline(&["keys", "show"])).contains("in force"));

    kept.server.start_again(&[]).unwrap();
    kept.grow("acme/second");
    let (old, key) = (kept.path("old.checkpoint"), kept.path("log.key"));
    exits(0, &kept.server.run(["audit", "verify", "--from", &old, "--log-key", &key]).unwrap());
    exits(0, &kept.server.run(["audit", "verify", "--from", &old]).unwrap());
    assert!(exits(0, &kept.server.run(["audit", "verify", "--checkpoint", &old]).unwrap()).contains("is intact"));
}

#[test]
fn a_rotation_that_broke_off_before_or_after_the_database_knew_is_ended() {
    let mut kept = Kept::new();
    let data = kept.server.data().join("data");
    let keys: PathBuf = data.join("keys");
    let data_dir = format!("data_dir={}", data.display());
    let offline = |words: &[&str]| server::run(words.iter().copied().chain(["--set", &data_dir])).unwrap();
    kept.server.terminate().unwrap();
    eventually("the server ends", || kept.server.ended().unwrap());

    // After: the old key is back in its place, the new one beside it.
    let old = fs::read(keys.join("checkpoint.pk8")).unwrap();
    exits(0, &offline(&["keys", "rotate", "checkpoint"]));
    fs::rename(keys.join("checkpoint.pk8"), keys.join("checkpoint.next.pk8")).unwrap();
    fs::write(keys.join("checkpoint.pk8"), &old).unwrap();
    exits(0, &offline(&["keys", "show"]));
    assert!(!keys.join("checkpoint.next.pk8").exists());
    assert_ne!(fs::read(keys.join("checkpoint.pk8")).unwrap(), old);

    // Before: a new key was written that nobody knows.
    let statement = fs::read(keys.join("statement.pk8")).unwrap();
    exits(0, &offline(&["keys", "rotate", "statement"]));
    let unknown = fs::read(keys.join("statement.pk8")).unwrap();
    fs::write(keys.join("statement.next.pk8"), &statement).unwrap();
    exits(0, &offline(&["keys", "show"]));
    assert_eq!(fs::read(keys.join("statement.pk8")).unwrap(), unknown, "what is in force stays");

    // A process with the ended key alone does not start.
    let current = fs::read(keys.join("checkpoint.pk8")).unwrap();
    fs::write(keys.join("checkpoint.pk8"), &old).unwrap();
    let refused = offline(&["keys", "show"]);
    exits(2, &refused);
    assert!(text(&refused.stderr).contains("the configured key is"), "{}", text(&refused.stderr));
    fs::write(keys.join("checkpoint.pk8"), current).unwrap();
    kept.server.start_again(&[]).unwrap();
    kept.grow("acme/second");
}
