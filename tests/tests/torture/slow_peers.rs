//! Peers that stop in the middle: others are served meanwhile, and the server does not wait
//! for ever.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use weighhouse_tests::random::Random;
use weighhouse_tests::server::{Server, eventually};

use crate::actors::{create_model, send_file};
use crate::content::{self, File, sha256};
use crate::http::{Api, read_answer};

/// More than the threads that one server process keeps for reading and writing files.
const PEERS: usize = 300;
const MODEL: &str = "slow/model";
/// A server that waits as long as it may: whoever waited for the silent ones would never end.
const FOR_EVER: Duration = Duration::from_hours(1);
/// Short, but longer than a busy machine keeps a peer from going on.
const A_MOMENT: Duration = Duration::from_secs(8);

struct World {
    _server: Server,
    api: Api,
    file: File,
    path: String,
}

/// One serving thread, so that all peers meet in it, and a file larger than what sockets hold.
fn world(silence: Duration) -> World {
    let silence = format!("server.silence_seconds={}", silence.as_secs());
    let server = Server::start(&["server.workers=1", "worker.enabled=false", "log.level=warn", &silence]).unwrap();
    let api = Api { address: server.address.clone(), token: server.token.clone() };
    create_model(&api, MODEL).unwrap();
    let file = text_file("large.txt", 1, 16 << 20);
    let path = commit(&api, &file);
    World { _server: server, api, file, path }
}

fn text_file(path: &str, seed: u64, size: u64) -> File {
    content::file(path, content::letters(&mut Random::new(seed), size))
}

/// Pushes one file; returns its address.
fn commit(api: &Api, file: &File) -> String {
    send_file(api, MODEL, file).unwrap();
    let body = json!({ "message": "slow", "files": [file.spec.json()] });
    let committed = api.call("POST", &format!("/v1/models/{MODEL}/commits"), &body).unwrap().expect_json("a commit");
    format!("/v1/models/{MODEL}/revisions/{}/files/{}", committed["commit"].as_str().unwrap(), file.spec.path)
}

#[test]
fn silent_peers_of_either_direction_hold_up_nobody() {
    let world = world(FOR_EVER);
    let _downloads: Vec<TcpStream> = (0..PEERS).map(|_| silent_download(&world)).collect();
    let _uploads: Vec<TcpStream> = stalled_files().iter().map(|file| stalled_upload(&world.api, file)).collect();
    assert_eq!(sha256(&world.api.get(&world.path).unwrap().body), world.file.spec.sha256);
    commit(&world.api, &text_file("other.txt", 2, 2 << 20));
}

#[test]
fn downloads_that_nobody_reads_are_dropped() {
    let world = world(A_MOMENT);
    let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| silent_download(&world)).collect();
    eventually("the server has dropped those who take nothing", || {
        (connections(&world.api.address) == 0).then_some(())
    });
    for peer in &mut peers {
        let mut received = Vec::new();
        let ended = peer.read_to_end(&mut received);
        assert!(ended.is_err() || received.len() < world.file.bytes.len(), "a silent download was kept to its end");
    }
}

/// The server's open connections, by the kernel's own list.
fn connections(address: &str) -> usize {
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
    let (local, established) = (format!(":{port:04X}"), "01");
    let list = fs_err::read_to_string("/proc/net/tcp").unwrap();
    let columns = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns
        .filter(|columns| columns.get(1).is_some_and(|at| at.ends_with(&local)) && columns.get(3) == Some(&established))
        .count()
}

fn silent_download(world: &World) -> TcpStream {
    let mut peer = world.api.connect().unwrap();
    peer.write_all(world.api.head("GET", &world.path, 0).as_bytes()).unwrap();
    peer
}

#[test]
fn uploads_that_stop_are_ended_and_go_on_later() {
    let world = world(A_MOMENT);
    let files = stalled_files();
    let mut peers: Vec<TcpStream> = files.iter().map(|file| stalled_upload(&world.api, file)).collect();
    for (file, peer) in files.iter().zip(peers.drain(..)) {
        let answer = read_answer(peer).unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "interrupted"), "{}", answer.json());
        let state = declare(&world.api, file);
        assert_eq!(state["offset"], 1, "the byte that came is not kept: {state}");
    }
    commit(&world.api, &files[0]);
}

fn stalled_files() -> Vec<File> {
    (0..PEERS as u64).map(|seed| text_file("stalled.txt", 100 + seed, 5000)).collect()
}

/// An upload whose peer sends one byte and then nothing.
fn stalled_upload(api: &Api, file: &File) -> TcpStream {
    let session = declare(api, file)["session"].as_str().unwrap().to_owned();
    let mut peer = api.connect().unwrap();
    let mut request = api.head("PUT", &format!("/v1/uploads/{session}?offset=0"), file.bytes.len()).into_bytes();
    request.push(file.bytes[0]);
    peer.write_all(&request).unwrap();
    peer
}

fn declare(api: &Api, file: &File) -> serde_json::Value {
    let body = json!({ "files": [file.spec.json()] });
    let answer = api.call("POST", &format!("/v1/models/{MODEL}/uploads"), &body).unwrap();
    answer.expect_json("a declaration")["uploads"][0].clone()
}
