//! The command line against a real server: what scripts rely on, and what happens when
//! something breaks in the middle.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use weighhouse_tests::environment;
use weighhouse_tests::gguf::TinyLlama;
use weighhouse_tests::proxy::Proxy;
use weighhouse_tests::random::Random;
use weighhouse_tests::server::{self, Folder, Server, eventually, exits, text};

const MEBIBYTE: usize = 1 << 20;
/// Requests before the body of the first upload take less.
const PREAMBLE: u64 = 64 << 10;

/// A pair of keys that was made for these tests and signs nothing else.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4xYkBqDMcETvo3Wg
bbfnQVmU0Y3kob6Rs+xYZweocmKhRANCAASrro0lKenSXj0Fdz/AP2hpyVdBX4wI
feHZ52PdhQ6SRE2UGy1rvCv7nvBZrzEyfCpgpRV2tixzkUq0O4I8PKRY
-----END PRIVATE KEY-----
";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEq66NJSnp0l49BXc/wD9oaclXQV+M
CH3h2edj3YUOkkRNlBsta7wr+57wWa8xMnwqYKUVdrYsc5FKtDuCPDykWA==
-----END PUBLIC KEY-----
";

/// Asserts that a run succeeded and printed one JSON document and nothing else.
#[track_caller]
fn document(output: &Output) -> Value {
    serde_json::from_str(&exits(0, output)).unwrap()
}

/// Runs a verb of a server whose words are separated by spaces.
#[track_caller]
fn run(server: &Server, words: &str) -> Output {
    server.run(words.split(' ')).unwrap()
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(|| random.next_u64().to_le_bytes()).flatten().take(length).collect()
}

/// A folder with a model that runs, its card and a file in a folder.
fn tiny_model() -> Folder {
    let folder = Folder::new().unwrap();
    folder.write("model.gguf", &TinyLlama::fluent().build()).unwrap();
    folder.write("README.md", b"---\nlicense: apache-2.0\n---\n# Tiny\n").unwrap();
    folder.write("docs/notes é.txt", b"notes").unwrap();
    folder
}

#[track_caller]
fn push(server: &Server, folder: &Path, target: &str) -> Value {
    let words = ["push", folder.to_str().unwrap(), target, "--json", "--visibility", "public"];
    document(&server.run(words).unwrap())
}

#[track_caller]
fn pull(server: &Server, target: &str, folder: &Path) -> Output {
    server.run(["pull", target, folder.to_str().unwrap(), "--json"]).unwrap()
}

/// Paths and contents of all files below a folder.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(
                contents(&path)
                    .into_iter()
                    .map(|(inner, content)| (PathBuf::from(path.file_name().unwrap()).join(inner), content)),
            );
        } else {
            found.push((path.file_name().unwrap().into(), fs_err::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Bytes that the server has of a file that is being uploaded to `demo/big`.
fn offset(server: &Server, file: &Value) -> u64 {
    let (status, body) =
        server.request("POST", "/v1/models/demo/big/uploads", &json!({ "files": [file] }).to_string()).unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["uploads"][0]["offset"].as_u64().unwrap()
}

/// How the API names a local file.
fn declared(folder: &Path, path: &str) -> Value {
    let location = folder.join(path);
    let output = Command::new("sha256sum").arg(&location).output().unwrap();
    let digest = &exits(0, &output)[..64];
    json!({ "path": path, "sha256": digest, "size": fs_err::metadata(&location).unwrap().len() })
}

#[test]
fn pushed_folder_comes_back_identical_and_pushing_it_again_sends_nothing() {
    let server = Server::start(&[]).unwrap();
    let (model, copy) = (tiny_model(), Folder::new().unwrap());
    let first = push(&server, model.path(), "demo/tiny");
    assert_eq!((&first["created"], &first["model"], &first["files"]), (&json!(true), &json!("demo/tiny"), &json!(3)));
    assert_eq!(first["sent"], first["size"]);
    let again = push(&server, model.path(), "demo/tiny");
    assert_eq!((&again["created"], &again["sent"], &again["commit"]), (&json!(false), &json!(0), &first["commit"]));
    let elsewhere = push(&server, model.path(), "demo/other@feature/x");
    assert_eq!((&elsewhere["sent"], &elsewhere["content_digest"]), (&json!(0), &first["content_digest"]));

    let pulled = document(&pull(&server, "demo/tiny", copy.path()));
    assert_eq!(pulled["content_digest"], first["content_digest"]);
    assert_eq!(contents(copy.path()), contents(model.path()));
    copy.write("model.gguf", b"damaged").unwrap();
    let repaired = document(&pull(&server, "demo/tiny@main", copy.path()));
    let fetched = |file: &Value| file["fetched"].as_bool().unwrap();
    assert_eq!(repaired["files"].as_array().unwrap().iter().filter(|file| fetched(file)).count(), 1);
    assert_eq!(contents(copy.path()), contents(model.path()));
    assert_eq!(document(&pull(&server, "demo/other@feature/x", copy.path()))["received"], 0);
}

#[test]
fn push_of_a_killed_client_goes_on_where_the_server_is() {
    let server = Server::start(&[]).unwrap();
    let folder = Folder::new().unwrap();
    folder.write("weights.bin", &bytes(1, 8 * MEBIBYTE)).unwrap();
    exits(0, &run(&server, "model create demo/big"));
    let proxy = Proxy::start(&server.address, PREAMBLE + 4 * MEBIBYTE as u64).unwrap();
    let words = ["push", folder.path().to_str().unwrap(), "demo/big"];
    let mut command = server.command(words);
    let mut client = command.env("WEIGHHOUSE_URL", proxy.url()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the upload stands still", || (proxy.passed() == PREAMBLE + 4 * MEBIBYTE as u64).then_some(()));
    client.kill().unwrap();
    client.wait().unwrap();
    proxy.cut();

    let file = declared(folder.path(), "weights.bin");
    let kept = eventually("the server has noticed", || Some(offset(&server, &file)).filter(|offset| *offset > 0));
    assert!(kept >= 3 * MEBIBYTE as u64, "{kept}");
    let pushed = push(&server, folder.path(), "demo/big");
    assert_eq!(pushed["sent"], 8 * MEBIBYTE as u64 - kept);
    let copy = Folder::new().unwrap();
    exits(0, &pull(&server, "demo/big", copy.path()));
    assert_eq!(contents(copy.path()), contents(folder.path()));
}

#[test]
fn push_survives_a_server_that_is_killed_and_comes_back() {
    let mut server = Server::start(&[]).unwrap();
    let folder = Folder::new().unwrap();
    let size = 96 * MEBIBYTE;
    folder.write("weights.bin", &bytes(2, size)).unwrap();
    let file = declared(folder.path(), "weights.bin");
    exits(0, &run(&server, "model create demo/big"));
    let proxy = Proxy::start(&server.address, PREAMBLE + 64 * MEBIBYTE as u64).unwrap();
    let words = ["push", folder.path().to_str().unwrap(), "demo/big", "--json"];
    let mut command = server.command(words);
    command.env("WEIGHHOUSE_URL", proxy.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = command.spawn().unwrap();
    // The server writes down how far it is while bytes arrive, so some more have to.
    let kept = eventually("a part of the upload is durable", || {
        if proxy.passed() < size as u64 - 8 * MEBIBYTE as u64 {
            proxy.allow(PREAMBLE);
        }
        Some(offset(&server, &file)).filter(|offset| *offset > 0)
    });
    server.kill().unwrap();
    server.start_again(&[]).unwrap();
    let before = proxy.passed();
    proxy.open();
    let pushed = document(&client.wait_with_output().unwrap());
    assert_eq!(pushed["size"], size as u64);
    let after = proxy.passed() - before;
    assert!(after < size as u64 - kept + 16 * PREAMBLE, "{after} bytes after the restart, {kept} before it");
    let copy = Folder::new().unwrap();
    exits(0, &pull(&server, "demo/big", copy.path()));
    assert_eq!(contents(copy.path()), contents(folder.path()));
}

#[test]
fn push_that_lost_a_race_changes_nothing_and_says_where_the_branch_is() {
    let server = Server::start(&[]).unwrap();
    let (slow, fast) = (Folder::new().unwrap(), tiny_model());
    slow.write("weights.bin", &bytes(3, 2 * MEBIBYTE)).unwrap();
    exits(0, &run(&server, "model create demo/big"));
    let proxy = Proxy::start(&server.address, PREAMBLE + MEBIBYTE as u64).unwrap();
    let mut command = server.command(["push", slow.path().to_str().unwrap(), "demo/big"]);
    command.env("WEIGHHOUSE_URL", proxy.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = command.spawn().unwrap();
    eventually("the upload stands still", || (proxy.passed() == PREAMBLE + MEBIBYTE as u64).then_some(()));
    let winner = push(&server, fast.path(), "demo/big");
    proxy.open();
    let lost = client.wait_with_output().unwrap();
    exits(1, &lost);
    let message = text(&lost.stderr);
    assert!(message.contains("moved while this push ran"), "{message}");
    assert!(message.contains(winner["commit"].as_str().unwrap()), "{message}");
    let shown = document(&run(&server, "model show demo/big --json"));
    assert_eq!(shown["refs"][0]["commit"], winner["commit"]);
}

#[test]
fn file_that_changes_while_it_is_pushed_is_named() {
    let server = Server::start(&[]).unwrap();
    let folder = Folder::new().unwrap();
    folder.write("weights.bin", &bytes(4, 64 * MEBIBYTE)).unwrap();
    let proxy = Proxy::start(&server.address, PREAMBLE + MEBIBYTE as u64).unwrap();
    let mut command = server.command(["push", folder.path().to_str().unwrap(), "demo/big"]);
    command.env("WEIGHHOUSE_URL", proxy.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = command.spawn().unwrap();
    eventually("the upload stands still", || (proxy.passed() == PREAMBLE + MEBIBYTE as u64).then_some(()));
    folder.write("weights.bin", &bytes(5, 64 * MEBIBYTE)).unwrap();
    proxy.open();
    let output = client.wait_with_output().unwrap();
    exits(2, &output);
    assert!(text(&output.stderr).contains("weights.bin changed while it was read"), "{}", text(&output.stderr));
    let shown = document(&run(&server, "model show demo/big --json"));
    assert_eq!(shown["refs"], json!([]));
}

#[test]
fn links_and_missing_models_are_refused_before_anything_is_sent() {
    let server = Server::start(&[]).unwrap();
    let folder = tiny_model();
    let path = folder.path().to_str().unwrap().to_owned();
    let refused = server.run(["push", &path, "demo/tiny", "--no-create"]).unwrap();
    exits(2, &refused);
    assert!(text(&refused.stderr).contains("demo/tiny"), "{}", text(&refused.stderr));
    fs_err::os::unix::fs::symlink("README.md", folder.join("link.md")).unwrap();
    let refused = server.run(["push", &path, "demo/tiny"]).unwrap();
    exits(2, &refused);
    assert!(text(&refused.stderr).contains("link.md is a symbolic link"), "{}", text(&refused.stderr));
    let pushed = document(
        &server.run(["push", &path, "demo/tiny", "--json", "--ignore", "link.md", "--ignore", "docs"]).unwrap(),
    );
    assert_eq!(pushed["files"], 2);
}

#[test]
fn corrupt_download_is_detected_and_leaves_no_file() {
    let server = Server::start(&[]).unwrap();
    let (folder, copy) = (Folder::new().unwrap(), Folder::new().unwrap());
    let content = bytes(6, 3 * MEBIBYTE + 1);
    folder.write("weights.bin", &content).unwrap();
    push(&server, folder.path(), "demo/big");
    let stored =
        |folder: &Path| contents(folder).into_iter().find(|(_, found)| *found == content).map(|(path, _)| path);
    let object = server.data().join(stored(server.data()).unwrap());
    let mut damaged = content.clone();
    damaged[2 * MEBIBYTE] ^= 1;
    fs_err::set_permissions(&object, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs_err::write(&object, &damaged).unwrap();
    let pulled = pull(&server, "demo/big", copy.path());
    exits(2, &pulled);
    assert!(text(&pulled.stderr).contains("weights.bin is corrupt"), "{}", text(&pulled.stderr));
    assert_eq!(contents(copy.path()), []);
    // What is right again is pulled again.
    fs_err::write(&object, &content).unwrap();
    exits(0, &pull(&server, "demo/big", copy.path()));
    assert_eq!(contents(copy.path()), contents(folder.path()));
}

#[test]
fn pull_goes_on_with_what_an_earlier_one_left() {
    let server = Server::start(&[]).unwrap();
    let (folder, copy) = (Folder::new().unwrap(), Folder::new().unwrap());
    let content = bytes(7, 3 * MEBIBYTE);
    folder.write("weights.bin", &content).unwrap();
    push(&server, folder.path(), "demo/big");
    let digest = declared(folder.path(), "weights.bin")["sha256"].as_str().unwrap().to_owned();
    // The name of an unfinished file is that of its content and of its path's digest.
    let names = Folder::new().unwrap();
    names.write("path", b"weights.bin").unwrap();
    let path = declared(names.path(), "path")["sha256"].as_str().unwrap()[..16].to_owned();
    let partial = format!(".weighhouse-partial/{digest}-{path}.part");
    copy.write(&partial, &content[..MEBIBYTE]).unwrap();
    assert_eq!(document(&pull(&server, "demo/big", copy.path()))["received"], 2 * MEBIBYTE as u64);
    assert_eq!(contents(copy.path()), contents(folder.path()));
    // Damage in it costs another transfer and nothing else.
    fs_err::remove_file(copy.join("weights.bin")).unwrap();
    copy.write(&partial, &vec![0; MEBIBYTE]).unwrap();
    assert_eq!(document(&pull(&server, "demo/big", copy.path()))["received"], 5 * MEBIBYTE as u64);
    assert_eq!(contents(copy.path()), contents(folder.path()));
}

#[test]
fn waiting_push_tells_what_was_found_and_the_gate_answers_by_exit_code() {
    let server = Server::start(&[]).unwrap();
    let folder = tiny_model();
    let path = folder.path().to_str().unwrap().to_owned();
    let report =
        document(&server.run(["push", &path, "demo/tiny", "--visibility", "public", "--wait", "--json"]).unwrap());
    let revision = &report["judgement"]["revision"];
    assert_eq!(revision["settled"], true);
    assert_eq!(revision["stages"][0]["evidence"]["format"], "gguf");
    let probed = &revision["stages"][3]["evidence"];
    assert!(probed["verdict"].as_str().unwrap().starts_with("passed"), "{probed}");
    let waited = server.run(["push", &path, "demo/tiny", "--wait"]).unwrap();
    let summary = exits(0, &waited);
    for part in [
        "What it is",
        "  architecture      llama",
        "  declared          Apache-2.0 in the",
        "Where it may be used",
        "  development       allowed",
        "  production        denied",
        "NO_TRUSTED_SIGNATURE",
        "/models/demo/tiny",
    ] {
        assert!(summary.contains(part), "{part} is not in\n{summary}");
    }
    assert!(summary.lines().all(|line| line.chars().count() <= 100), "{summary}");

    let digest = report["content_digest"].as_str().unwrap();
    for subject in
        ["demo/tiny", &format!("demo/tiny@{}", report["commit"].as_str().unwrap()), &format!("sha256:{digest}"), &path]
    {
        exits(0, &server.run(["gate", subject, "--environment", "development"]).unwrap());
        exits(1, &server.run(["gate", subject, "--environment", "production"]).unwrap());
    }
    for undecidable in [
        "demo/none --environment production",
        "demo/tiny --environment mars",
        "demo/tiny --environment production --use color=red",
        "sha256:00 --environment production",
    ] {
        exits(2, &run(&server, &format!("gate {undecidable}")));
    }
    exits(
        2,
        &server::command(["gate", "demo/tiny", "--environment", "production", "--url", "http://127.0.0.1:1"])
            .output()
            .unwrap(),
    );
    let denied = run(&server, "gate demo/tiny --environment production --json");
    let answer: Value = serde_json::from_str(&exits(1, &denied)).unwrap();
    assert_eq!((&answer["verdict"], &answer["decisions"][0]["allowed"]), (&json!("denied"), &json!(false)));
    let sarif: Value =
        serde_json::from_str(&exits(1, &run(&server, "gate demo/tiny --environment production --format sarif")))
            .unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "NO_TRUSTED_SIGNATURE");
    let junit = exits(1, &run(&server, "gate demo/tiny --environment production --format junit"));
    assert!(junit.contains("<failure type=\"NO_TRUSTED_SIGNATURE\""), "{junit}");
}

#[test]
fn content_in_several_models_gets_the_strictest_answer() {
    let server = Server::start(&[]).unwrap();
    let folder = tiny_model();
    let path = folder.path().to_str().unwrap().to_owned();
    for model in ["demo/one", "demo/two"] {
        exits(0, &server.run(["push", &path, model, "--visibility", "public", "--wait"]).unwrap());
    }
    let answer: Value =
        serde_json::from_str(&exits(1, &server.run(["gate", &path, "--environment", "production", "--json"]).unwrap()))
            .unwrap();
    let mut models: Vec<&str> =
        answer["decisions"].as_array().unwrap().iter().map(|decision| decision["model"].as_str().unwrap()).collect();
    models.sort_unstable();
    assert_eq!(models, ["demo/one", "demo/two"]);
}

#[test]
fn question_before_the_pipeline_is_done_has_no_answer_yet() {
    let server = Server::start(&["worker.enabled=false"]).unwrap();
    let folder = tiny_model();
    push(&server, folder.path(), "demo/tiny");
    let pending = run(&server, "gate demo/tiny --environment production --wait 1 --json");
    let answer: Value = serde_json::from_str(&exits(2, &pending)).unwrap();
    assert_eq!(answer["verdict"], "undecided");
    let waiting =
        server.run(["push", folder.path().to_str().unwrap(), "demo/tiny", "--wait", "--wait-limit", "1"]).unwrap();
    exits(2, &waiting);
    assert!(text(&waiting.stderr).contains("is not judged after 1 s"), "{}", text(&waiting.stderr));
}

#[test]
fn denied_reader_is_told_why_and_gets_no_bytes() {
    let server = Server::start(&[]).unwrap();
    let (folder, copy) = (tiny_model(), Folder::new().unwrap());
    let path = folder.path().to_str().unwrap();
    exits(0, &server.run(["push", path, "demo/tiny", "--visibility", "public", "--wait"]).unwrap());
    let words = "token create --scope reader --subject ada --environment production --json";
    let secret = document(&run(&server, words))["secret"].as_str().unwrap().to_owned();
    let mut command = server.command(["pull", "demo/tiny", copy.path().to_str().unwrap()]);
    let denied = command.env("WEIGHHOUSE_TOKEN", secret).output().unwrap();
    exits(1, &denied);
    let message = text(&denied.stderr);
    assert!(message.contains("NO_TRUSTED_SIGNATURE") && message.contains("remedy: Sign"), "{message}");
    assert_eq!(contents(copy.path()), []);
}

#[test]
fn token_works_within_its_scope_until_it_is_revoked() {
    let server = Server::start(&["server.anonymous_read=false"]).unwrap();
    let issued =
        document(&run(&server, "token create --scope reader --label ci --namespace demo --expires-in 1h --json"));
    let secret = issued["secret"].as_str().unwrap();
    let with = |words: &str| server.command(words.split(' ')).env("WEIGHHOUSE_TOKEN", secret).output().unwrap();
    exits(0, &with("model list"));
    let refused = with("model create demo/x");
    exits(2, &refused);
    assert!(text(&refused.stderr).contains("scope writer"), "{}", text(&refused.stderr));
    let listed = document(&run(&server, "token list --json"));
    let tokens = listed["items"].as_array().unwrap();
    assert!(tokens.iter().any(|token| token["label"] == "ci" && token["expires_at"].is_string()), "{listed}");
    assert!(!listed.to_string().contains(secret));
    let table = exits(0, &run(&server, "token list"));
    assert!(table.starts_with("ID ") && table.contains(" ci"), "{table}");
    assert_eq!(
        document(&server.run(["token", "revoke", issued["id"].as_str().unwrap(), "--json"]).unwrap())["revoked"],
        true
    );
    exits(2, &with("model list"));
    exits(2, &server::command(["model", "list", "--url", &server.url()]).output().unwrap());
}

#[test]
fn model_lives_from_creation_to_deletion() {
    let server = Server::start(&[]).unwrap();
    let created = document(&run(&server, "model create demo/first --visibility internal --json"));
    exits(1, &run(&server, "model create demo/first"));
    for number in 0..3 {
        exits(0, &run(&server, &format!("model create other/m{number}")));
    }
    let names = |words: &str| -> Vec<String> {
        let page = document(&run(&server, words));
        page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("model list --namespace other --json --all"), ["other/m0", "other/m1", "other/m2"]);
    assert_eq!(names("model list --json --limit 2").len(), 2);
    assert_eq!(names("model list fir --json"), ["demo/first"]);
    exits(0, &run(&server, "model rename demo/first demo/second"));
    let shown = document(&run(&server, "model show demo/first --json"));
    assert_eq!((&shown["id"], &shown["name"]), (&created["id"], &json!("demo/second")));
    assert_eq!(document(&run(&server, "model visibility demo/second public --json"))["visibility"], "public");
    exits(2, &run(&server, "model delete demo/second"));
    exits(0, &run(&server, "model delete demo/second --yes"));
    let gone = run(&server, "model show demo/second");
    exits(2, &gone);
    assert!(text(&gone.stderr).contains("was deleted"), "{}", text(&gone.stderr));
}

#[test]
fn members_are_set_listed_and_removed() {
    let server = Server::start(&[]).unwrap();
    exits(0, &run(&server, "model members set demo ada maintainer"));
    let listed = document(&run(&server, "model members list demo --json"));
    assert_eq!((&listed["items"][0]["subject"], &listed["items"][0]["role"]), (&json!("ada"), &json!("maintainer")));
    exits(0, &run(&server, "model members remove demo ada"));
    assert_eq!(document(&run(&server, "model members list demo --json"))["items"], json!([]));
    exits(2, &run(&server, "model members set demo ada emperor"));
}

#[test]
fn audit_log_is_verified_against_a_head_that_was_kept_elsewhere() {
    let server = Server::start(&[]).unwrap();
    let folder = Folder::new().unwrap();
    exits(0, &run(&server, "model create demo/first"));
    let kept = folder.join("checkpoint");
    let keep = ["audit", "checkpoint", "--out", kept.to_str().unwrap()];
    eventually("there is a signed head", || server.run(keep).unwrap().status.success().then_some(()));
    let verified =
        document(&server.run(["audit", "verify", "--json", "--checkpoint", kept.to_str().unwrap()]).unwrap());
    assert_eq!((&verified["intact"], &verified["problem_count"]), (&json!(true), &json!(0)));
    // A head that this log never signed says that something was cut off or replaced.
    let foreign = text(&fs_err::read(&kept).unwrap()).replacen('\n', "\n9", 1);
    let foreign = folder.write("foreign", foreign.as_bytes()).unwrap();
    let problems = exits(1, &server.run(["audit", "verify", "--checkpoint", foreign.to_str().unwrap()]).unwrap());
    assert!(problems.contains("NOT intact"), "{problems}");
    exits(2, &server.run(["audit", "verify", "--checkpoint", "/nowhere"]).unwrap());
    exits(2, &server::command(["audit", "verify", "--url", &server.url()]).output().unwrap());
}

#[test]
fn offline_verbs_judge_without_a_server() {
    let folder = tiny_model();
    let path = folder.path().to_str().unwrap().to_owned();
    let inspected = document(&server::run(["inspect", &path, "--json"]).unwrap());
    assert_eq!((&inspected["verdict"], inspected["files"].as_array().unwrap().len()), (&json!("ok"), 3));
    assert_eq!(inspected["findings"], json!([]));
    let licensed: Value =
        serde_json::from_str(&text(&server::run(["license", "check", &path, "--json"]).unwrap().stdout)).unwrap();
    assert_eq!(licensed["concluded"], "Apache-2.0");
    let probed = document(&server::run(["probe", &path, "--json", "--threads", "1"]).unwrap());
    assert!(probed["verdict"].as_str().unwrap().starts_with("passed"), "{probed}");
    exits(2, &server::run(["probe", &path, "--device", "cuda"]).unwrap());
    let broken = folder.write("broken/model.gguf", &TinyLlama::new().build()[..1000]).unwrap();
    exits(1, &server::run(["inspect", broken.to_str().unwrap()]).unwrap());
    exits(2, &server::run(["inspect", "/nowhere"]).unwrap());
}

#[test]
fn inspection_lists_digests_and_estimates_what_it_is_asked_for() {
    let folder = tiny_model();
    let path = folder.path().to_str().unwrap().to_owned();
    let inspect =
        |more: &[&str]| document(&server::run([&["inspect", path.as_str(), "--json"], more].concat()).unwrap());
    let plain = inspect(&[]);
    assert!(plain["tensors"].is_null() && plain["weights_digest"].is_null());
    assert_eq!(plain["memory"]["weights"], plain["weight_bytes"]);
    let longer = inspect(&["--context", "100000"]);
    assert!(longer["memory"]["total"].as_u64() > plain["memory"]["total"].as_u64());
    let found = inspect(&["--digests", "--tensors", "ATTN_Q"]);
    assert_eq!(found["weights_digest"].as_str().unwrap().len(), 64);
    let tensors = found["tensors"].as_array().unwrap();
    assert!(!tensors.is_empty());
    for tensor in tensors {
        assert!(tensor["name"].as_str().unwrap().contains("attn_q"));
        assert_eq!(tensor["sha256"].as_str().unwrap().len(), 64);
    }
    exits(2, &server::run(["inspect", &path, "--context", "0"]).unwrap());
}

#[test]
fn inspection_follows_the_links_of_a_download_cache() {
    let folder = tiny_model();
    let cache = Folder::new().unwrap();
    for entry in fs_err::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::os::unix::fs::symlink(entry.path(), cache.path().join(entry.file_name())).unwrap();
        }
    }
    let found = document(&server::run(["inspect", cache.path().to_str().unwrap(), "--json"]).unwrap());
    assert_eq!((&found["verdict"], &found["format"]), (&json!("ok"), &json!("gguf")));
}

#[test]
fn probe_that_reaches_a_limit_comes_to_no_conclusion() {
    let folder = tiny_model();
    let words = ["probe", folder.path().to_str().unwrap(), "--memory-limit", "1MiB", "--json"];
    let output = server::run(words).unwrap();
    let report: Value = serde_json::from_str(&exits(2, &output)).unwrap();
    assert_eq!(report["verdict"], "inconclusive", "{report}");
}

#[test]
fn signature_is_never_verified_without_a_key() {
    let folder = tiny_model();
    folder.write("model.sig", b"{}").unwrap();
    let path = folder.path().to_str().unwrap();
    let refused = server::run(["verify", path]).unwrap();
    exits(2, &refused);
    assert!(text(&refused.stderr).contains("--key"), "{}", text(&refused.stderr));
    exits(2, &server::run(["verify", path, "--key", "/nowhere"]).unwrap());
}

#[test]
fn signed_folder_verifies_until_a_byte_of_it_changes() {
    let keys = Folder::new().unwrap();
    let private = keys.write("release.pem", PRIVATE_KEY.as_bytes()).unwrap();
    let public = keys.write("release.pub", PUBLIC_KEY.as_bytes()).unwrap();
    let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
    let folder = tiny_model();
    folder.write("notes/draft.txt", b"later").unwrap();
    let path = folder.path().to_str().unwrap();
    let signed = document(&server::run(["sign", path, "--key", private, "--ignore", "notes", "--json"]).unwrap());
    assert_eq!(signed["ignored"], json!(["model.sig", "notes"]));
    let verified = document(&server::run(["verify", path, "--key", public, "--json"]).unwrap());
    assert_eq!(verified["answer"], "verified", "{verified}");
    assert_eq!(verified["signatures"][0]["coverage"]["ignored"], json!(["notes/draft.txt"]));
    // A signature beside the model does not change what is signed.
    exits(0, &server::run(["sign", path, "--key", private, "--ignore", "notes"]).unwrap());
    folder.write("new.bin", b"not signed").unwrap();
    exits(1, &server::run(["verify", path, "--key", public]).unwrap());
    exits(2, &server::run(["sign", path, "--key", public]).unwrap());
    exits(2, &server::run(["sign", "/nowhere", "--key", private]).unwrap());
}

#[test]
fn conformance_protocol_answers_by_its_exit_status() {
    let Some(vectors) = environment::vectors() else { return };
    let folder = vectors.join("sigstore-conformance/bundle-verify");
    let file = |path: &str| folder.join(path).to_str().unwrap().to_owned();
    let verify = |case: &str, artifact: &str| {
        let (bundle, key) = (file(&format!("{case}/bundle.sigstore.json")), file(&format!("{case}/key.pub")));
        server::run(["conformance", "verify-bundle", "--bundle", &bundle, "--key", &key, artifact]).unwrap()
    };
    let artifact = vectors.join("sigstore-conformance/a.txt");
    exits(0, &verify("managed-key-happy-path", artifact.to_str().unwrap()));
    exits(1, &verify("managed-key-wrong-key_fail", artifact.to_str().unwrap()));
    exits(1, &verify("managed-key-happy-path", &format!("sha256:{}", "0".repeat(64))));
    exits(2, &verify("managed-key-no-key_fail", artifact.to_str().unwrap()));
}

#[test]
fn published_signatures_are_verified_refused_or_not_checked() {
    let Some(vectors) = environment::vectors() else { return };
    let releases = vectors.join("oms-releases");
    let key = releases.join("keys/signing-key-pub.pem").to_str().unwrap().to_owned();
    let verify = |folder: &Path, more: &[&str]| {
        let words = [&["verify", folder.to_str().unwrap(), "--key", &key, "--json"], more].concat();
        server::run(words).unwrap()
    };
    let folder = releases.join("v1.0.1-elliptic-key");
    // The signature does not speak of this file at all.
    exits(1, &verify(&folder, &[]));
    assert_eq!(document(&verify(&folder, &["--ignore", "ignore-me"]))["answer"], "verified");
    // This one says that its signer left the file out.
    let leaves_out = vectors.join("oms-spec/test-vectors/v1.0/valid/key.bundle.json");
    let verified = document(&verify(&folder, &["--signature", leaves_out.to_str().unwrap()]));
    assert_eq!(verified["signatures"][0]["coverage"]["ignored"], json!(["ignore-me"]));
    // Its signer has the certificate of an authority, which is refused whatever one trusts.
    exits(1, &verify(&releases.join("v1.0.1-certificate"), &[]));
    // No key can check what was signed without one.
    exits(2, &verify(&releases.join("v0.3.1-sigstore"), &[]));
    let person = ["verify", "", "--identity", "stefanb@*.com", "--issuer", "https://sigstore.verify.ibm.com/oauth2"];
    let keyless = |release: &str, identity: &str| {
        let folder = releases.join(release);
        let mut words = person;
        (words[1], words[3]) = (folder.to_str().unwrap(), identity);
        server::run(words.iter().chain(&["--ignore", "ignore-me"])).unwrap()
    };
    exits(0, &keyless("v1.0.1-sigstore", "stefanb@*.com"));
    let stranger = keyless("v1.0.1-sigstore", "*@ibm.com");
    assert!(exits(1, &stranger).contains("stefanb@us.ibm.com"), "{}", text(&stranger.stdout));
    exits(2, &keyless("v1.0.1-elliptic-key", "stefanb@*.com"));

    let copy = Folder::new().unwrap();
    for (path, content) in contents(&releases.join("v0.3.1-elliptic-key")) {
        copy.write(path.to_str().unwrap(), &content).unwrap();
    }
    exits(0, &verify(copy.path(), &[]));
    copy.write("signme-1", b"changed").unwrap();
    exits(1, &verify(copy.path(), &[]));
}
