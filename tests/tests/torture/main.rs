//! `kill -9` of the real server, again and again, while everything happens at once.
//!
//! What the registry has acknowledged must be there after each restart, byte for byte; what it
//! has not may be there or not, but whole. `WEIGHHOUSE_TORTURE_ROUNDS` sets the number of
//! kills and `WEIGHHOUSE_TORTURE_SEED` repeats a run's choices, though not its timing.

#![expect(clippy::unwrap_used, reason = "a server that does not answer has failed the test")]
#![expect(clippy::print_stderr, reason = "a run of minutes says where it is")]

mod actors;
mod check;
mod content;
mod full_disk;
mod http;
mod ledger;
mod slow_peers;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use weighhouse_tests::environment;
use weighhouse_tests::random::Random;
use weighhouse_tests::server::{Folder, Server, command, eventually};

use crate::actors::{Mover, Pusher, Stage};
use crate::content::Spec;
use crate::http::Api;
use crate::ledger::{Ledger, Revision};

const DEFAULT_ROUNDS: u64 = 12;
/// So many that some of them meet a running probe.
const MANY_ROUNDS: u64 = 50;
/// Longest time between a start and its kill.
const LONGEST_ROUND_MS: u64 = 1500;
/// Old revisions that are read again after each restart, beside all new ones.
const SAMPLE: u64 = 4;
const PUSHED_BY_COMMAND: &str = "torture/command-line";

#[test]
fn a_server_killed_at_any_moment_keeps_what_it_acknowledged_on_sqlite() {
    torture("SQLite", &[]);
}

#[test]
fn a_server_killed_at_any_moment_keeps_what_it_acknowledged_on_postgresql() {
    let Some(url) = environment::postgres_url() else { return };
    torture("PostgreSQL", &[&format!("database.url={}", new_database(&url))]);
}

#[test]
fn a_server_killed_at_its_first_start_starts_again() {
    let mut random = Random::new(environment::torture_seed());
    for _ in 0..environment::torture_rounds().unwrap_or(DEFAULT_ROUNDS) / 2 {
        let data = Folder::new().unwrap();
        let mut first = start_command(data.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moment = random.below(120);
        std::thread::sleep(Duration::from_millis(moment));
        first.kill().unwrap();
        first.wait().unwrap();
        assert!(serves(data.path()), "killed after {moment} ms, the next start failed");
    }
}

fn start_command(data: &Path) -> Command {
    let mut serve = command(["serve", "--set", "server.listen=127.0.0.1:0"]);
    serve.arg("--set").arg(format!("data_dir={}", data.join("data").display()));
    serve
}

/// Whether a server starts there and is ready.
fn serves(data: &Path) -> bool {
    let mut server = start_command(data).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.split_once("listens on http://").map(|(_, at)| at.to_owned()));
    let ready = address.is_some_and(|address| {
        Api { address, token: String::new() }.get("/readyz").is_ok_and(|answer| answer.is_success())
    });
    server.kill().unwrap();
    server.wait().unwrap();
    ready
}

/// A database of this test's own.
fn new_database(server: &str) -> String {
    let name = format!("torture_{}", std::process::id());
    let created = Command::new("psql").args([server, "-q", "-c", &format!("CREATE DATABASE {name}")]).status().unwrap();
    assert!(created.success(), "the database was not created");
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

/// A registry and those who use it.
struct World {
    server: Server,
    settings: Vec<String>,
    ledger: Ledger,
    pushers: Vec<Pusher>,
    mover: Mover,
    random: Random,
    folder: Folder,
    checked: usize,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    kills_during_probe: u64,
    pushes_that_outlived_a_kill: u64,
    retried_jobs: usize,
    slowest_start: Duration,
}

fn torture(database: &str, settings: &[&str]) {
    let (rounds, seed) = (environment::torture_rounds().unwrap_or(DEFAULT_ROUNDS), environment::torture_seed());
    eprintln!("{database}: {rounds} kills, WEIGHHOUSE_TORTURE_SEED={seed}");
    let mut world = World::new(seed, settings);
    let started = Instant::now();
    for round in 1..=rounds {
        world.round();
        if round % 25 == 0 || round == rounds {
            world.counts.retried_jobs += check::rest(&world.api(), &world.ledger);
            check::audit_log(&world.api());
            let (revisions, seconds) = (world.ledger.revisions().len(), started.elapsed().as_secs());
            eprintln!("{database}: {round} kills, {revisions} revisions acknowledged, {seconds} s");
        }
    }
    let (api, ledger) = (world.api(), &world.ledger);
    ledger.revisions().iter().for_each(|revision| check::revision(&api, ledger, revision));
    check::heads(&api, ledger);
    let revisions = ledger.revisions().len() as u64;
    eprintln!(
        "{database}: all {revisions} revisions are whole, {} pieces of evidence, {:?}",
        ledger.evidence_count(),
        world.counts
    );
    assert!(revisions > rounds / 2, "too little happened for the kills to mean anything");
    let expected = u64::from(rounds >= MANY_ROUNDS);
    assert!(world.counts.kills_during_probe >= expected, "no kill met a running probe");
}

impl World {
    fn new(seed: u64, settings: &[&str]) -> Self {
        let settings: Vec<String> =
            ["worker.lease_seconds=5", "worker.poll_milliseconds=50", "probe.threads=1", "log.level=warn"]
                .iter()
                .chain(settings)
                .map(ToString::to_string)
                .collect();
        let server = Server::start(&settings.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let pushers =
            (0..3).map(|number| Pusher::new(&format!("torture/model-{number}"), seed + 10 + number)).collect();
        Self {
            server,
            settings,
            ledger: Ledger::default(),
            pushers,
            mover: Mover::new(seed + 1),
            random: Random::new(seed),
            folder: Folder::new().unwrap(),
            checked: 0,
            counts: Counts::default(),
        }
    }

    fn api(&self) -> Api {
        Api { address: self.server.address.clone(), token: self.server.token.clone() }
    }

    /// Work, a kill in the middle of it, a restart, and a look at what is left.
    fn round(&mut self) {
        let files = self.write_folder();
        let client = self.push_command().spawn().unwrap();
        self.work_until_killed();
        self.check_orphans();
        self.restart();
        self.finish_command(client.wait_with_output().unwrap(), files);
        self.check();
    }

    fn work_until_killed(&mut self) {
        let moment = Duration::from_millis(20 + self.random.below(LONGEST_ROUND_MS));
        let (killed, api) = (AtomicBool::new(false), self.api());
        let stage = Stage { api, ledger: &self.ledger, killed: &killed };
        let (server, counts) = (&mut self.server, &mut self.counts);
        let (pushers, mover) = (&mut self.pushers, &mut self.mover);
        std::thread::scope(|scope| {
            for pusher in pushers {
                scope.spawn(|| stage.until_killed(|stage| pusher.push(stage)));
            }
            scope.spawn(|| stage.until_killed(|stage| mover.step(stage)));
            std::thread::sleep(moment);
            counts.kills_during_probe += u64::from(!probes(server.data()).is_empty());
            killed.store(true, Ordering::SeqCst);
            server.kill().unwrap();
        });
    }

    /// A killed server leaves no child behind.
    fn check_orphans(&self) {
        eventually("the probes of the killed server are gone", || probes(self.server.data()).is_empty().then_some(()));
    }

    fn restart(&mut self) {
        let started = Instant::now();
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        self.server.start_again(&settings).unwrap();
        let api = self.api();
        eventually("the server is ready", || api.get("/readyz").ok().filter(http::Answer::is_success));
        self.counts.slowest_start = self.counts.slowest_start.max(started.elapsed());
    }

    fn check(&mut self) {
        let api = self.api();
        check::refs(&api, &self.ledger);
        self.pushers.iter().for_each(|pusher| pusher.check(&api).unwrap());
        let revisions = self.ledger.revisions();
        revisions[self.checked..].iter().for_each(|revision| check::revision(&api, &self.ledger, revision));
        for _ in 0..SAMPLE.min(self.checked as u64) {
            let chosen = usize::try_from(self.random.below(self.checked as u64)).unwrap();
            check::revision(&api, &self.ledger, &revisions[chosen]);
        }
        self.checked = revisions.len();
    }

    /// The files of the round's push by the command line.
    fn write_folder(&mut self) -> Vec<Spec> {
        let files = content::folder(&mut self.random);
        let folder = self.folder.join("push");
        if folder.exists() {
            fs_err::remove_dir_all(&folder).unwrap();
        }
        for file in &files {
            self.folder.write(&format!("push/{}", file.spec.path), &file.bytes).unwrap();
        }
        content::specs(&files)
    }

    fn push_command(&self) -> Command {
        let folder = self.folder.join("push").display().to_string();
        let mut command = self.server.command(["push", &folder, PUSHED_BY_COMMAND, "--visibility", "public", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The push lives through the restart. One that had not yet met the server may give up at
    /// once, and then works when it is typed again.
    fn finish_command(&mut self, first: Output, files: Vec<Spec>) {
        let output = if first.status.success() {
            self.counts.pushes_that_outlived_a_kill += 1;
            first
        } else {
            self.push_command().output().unwrap()
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "push: {errors}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let commit = report["commit"].as_str().unwrap().to_owned();
        self.ledger.committed(Revision { model: PUSHED_BY_COMMAND.to_owned(), commit, files });
    }
}

/// Probe children that hold files of this data folder.
fn probes(data: &Path) -> Vec<String> {
    let processes = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
    let is_ours = |process: &fs_err::DirEntry| {
        let words = fs_err::read(process.path().join("cmdline")).unwrap_or_default();
        let holds =
            |file: fs_err::DirEntry| fs_err::read_link(file.path()).is_ok_and(|target| target.starts_with(data));
        String::from_utf8_lossy(&words).contains("probe-worker")
            && fs_err::read_dir(process.path().join("fd"))
                .is_ok_and(|mut files| files.any(|file| file.is_ok_and(holds)))
    };
    processes.filter(is_ours).map(|process| process.path().display().to_string()).collect()
}
