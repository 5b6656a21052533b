//! A disk that is full: the one who filled it is told, nobody else loses anything, and what
//! did not fit leaves no trace.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use weighhouse_tests::random::Random;
use weighhouse_tests::server::{Folder, eventually};

use crate::actors::{create_model, send_file};
use crate::content::{self, File, sha256};
use crate::http::{Answer, Api};
use crate::start_command;

const MODEL: &str = "full/model";
const DISK_BYTES: u64 = 48 << 20;

struct World {
    server: Child,
    api: Api,
    _folder: Folder,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A server whose database and objects lie on a small disk in memory. The mount is seen by the
/// server alone and ends with it.
fn world() -> World {
    let folder = Folder::new().unwrap();
    let data = folder.join("data");
    fs_err::create_dir_all(&data).unwrap();
    let mut server = on_small_disk(&data, &start_command(folder.path())).spawn().unwrap();
    let lines: Vec<String> =
        BufReader::new(server.stdout.take().unwrap()).lines().take(2).map(Result::unwrap).collect();
    let last_word = |line: &String| line.rsplit(' ').next().unwrap_or_default().to_owned();
    assert_eq!(lines.len(), 2, "the server did not start: {lines:?}");
    let address = last_word(&lines[1]).trim_start_matches("http://").to_owned();
    World { server, api: Api { address, token: last_word(&lines[0]) }, _folder: folder }
}

fn on_small_disk(data: &Path, serve: &Command) -> Command {
    let script = format!("mount -t tmpfs -o size={DISK_BYTES} none \"$0\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(data);
    command.arg(serve.get_program()).args(serve.get_args()).args(["--set", "log.level=error"]);
    for (name, _) in serve.get_envs() {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn text_file(path: &str, seed: u64, size: u64) -> File {
    content::file(path, content::letters(&mut Random::new(seed), size))
}

fn commit(api: &Api, files: &[&File]) -> Answer {
    let specs: Vec<_> = files.iter().map(|file| file.spec.json()).collect();
    api.call("POST", &format!("/v1/models/{MODEL}/commits"), &json!({ "files": specs })).unwrap()
}

fn is_whole(api: &Api, file: &File) -> bool {
    let answer = api.get(&format!("/v1/models/{MODEL}/revisions/main/files/{}", file.spec.path)).unwrap();
    sha256(&answer.body) == file.spec.sha256
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_keeps_everything_else() {
    let world = world();
    let api = &world.api;
    create_model(api, MODEL).unwrap();
    let (fits, too_large) = (text_file("fits.txt", 1, 8 << 20), text_file("too-large.txt", 2, DISK_BYTES));
    send_file(api, MODEL, &fits).unwrap();
    commit(api, &[&fits]).expect_json("a commit before the disk is full");

    for _ in 0..2 {
        let refusal = send_file(api, MODEL, &too_large).unwrap_err().to_string();
        assert!(refusal.contains("507") && refusal.contains("storage-full"), "{refusal}");
    }
    let refused = commit(api, &[&fits, &too_large]);
    assert_eq!(refused.code(), "bytes-missing", "what did not fit is visible: {}", refused.json());
    assert!(is_whole(api, &fits));

    let after = text_file("after.txt", 3, 4 << 20);
    send_file(api, MODEL, &after).unwrap();
    commit(api, &[&fits, &after]).expect_json("a commit after the disk was full");
    assert!(is_whole(api, &fits) && is_whole(api, &after));
    eventually("the pipeline has come to rest", || {
        let detail = api.get(&format!("/v1/models/{MODEL}/revisions/main")).unwrap().json();
        (detail["settled"] == true).then_some(())
    });
}
