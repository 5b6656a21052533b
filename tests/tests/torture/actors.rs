//! Those who work with the registry while it is killed: pushers and one who moves refs.
//!
//! An actor stops at the first broken connection and goes on, after the restart, with what it
//! was doing. It never forgets an acknowledgement.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use weighhouse_tests::random::Random;

use crate::content::{self, File, Spec};
use crate::http::{Answer, Api};
use crate::ledger::{Ledger, RefName, Revision};

/// What an upload meets when two pushers have a file in common.
const MEETINGS: [&str; 3] = ["offset-mismatch", "upload-busy", "not-found"];

/// What all actors of a round share.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) api: Api,
    pub(crate) ledger: &'a Ledger,
    /// Set just before the server is killed.
    pub(crate) killed: &'a AtomicBool,
}

impl Stage<'_> {
    /// Runs `act` until the connection breaks, which only the kill may cause.
    pub(crate) fn until_killed(&self, mut act: impl FnMut(&Self) -> io::Result<()>) {
        let error = loop {
            if let Err(error) = act(self) {
                break error;
            }
            if self.killed.load(Ordering::SeqCst) {
                return;
            }
        };
        std::thread::sleep(Duration::from_millis(500));
        assert!(self.killed.load(Ordering::SeqCst), "the connection broke although nobody killed the server: {error}");
    }
}

/// Pushes one revision after the other to the main branch of a model of its own.
#[derive(Debug)]
pub(crate) struct Pusher {
    model: String,
    random: Random,
    created: bool,
    head: Option<String>,
    pending: Option<Vec<File>>,
}

impl Pusher {
    pub(crate) fn new(model: &str, seed: u64) -> Self {
        Self { model: model.to_owned(), random: Random::new(seed), created: false, head: None, pending: None }
    }

    /// One push, or the rest of one that a kill broke off.
    pub(crate) fn push(&mut self, stage: &Stage<'_>) -> io::Result<()> {
        if !self.created {
            create_model(&stage.api, &self.model)?;
            self.created = true;
        }
        let random = &mut self.random;
        let files = self.pending.get_or_insert_with(|| content::folder(random));
        let seed = self.random.next_u64();
        send_all(stage, &self.model, files, seed)?;
        self.commit(stage)
    }

    fn commit(&mut self, stage: &Stage<'_>) -> io::Result<()> {
        let Some(files) = &self.pending else { return Ok(()) };
        let specs = content::specs(files);
        let body = json!({
            "branch": "main",
            "parent": self.head.as_deref().unwrap_or("none"),
            "message": "torture",
            "files": specs.iter().map(Spec::json).collect::<Vec<_>>(),
        });
        let answer = stage.api.call("POST", &format!("/v1/models/{}/commits", self.model), &body)?;
        let commit = text(&answer.expect_json("a commit")["commit"]);
        stage.ledger.committed(Revision { model: self.model.clone(), commit: commit.clone(), files: specs });
        self.head = Some(commit);
        self.pending = None;
        Ok(())
    }

    /// After a restart the main branch is where it was acknowledged, or at the push in flight.
    pub(crate) fn check(&self, api: &Api) -> io::Result<()> {
        let answer = api.get(&format!("/v1/models/{}/revisions/main", self.model))?;
        if answer.status == 404 {
            assert!(self.head.is_none(), "the main branch of {} is lost", self.model);
            return Ok(());
        }
        let found = answer.expect_json("the main branch");
        if found["commit"].as_str() == self.head.as_deref() {
            return Ok(());
        }
        let files: Vec<Spec> = found["files"].as_array().into_iter().flatten().map(Spec::from_json).collect();
        let pending = self.pending.as_deref().map(content::specs);
        assert_eq!(Some(files), pending, "{} is at a revision that nobody pushed", self.model);
        Ok(())
    }
}

pub(crate) fn create_model(api: &Api, model: &str) -> io::Result<()> {
    let answer = api.call("POST", "/v1/models", &json!({ "name": model, "visibility": "public" }))?;
    assert!(answer.is_success() || answer.code() == "exists", "{model}: {}", answer.json());
    Ok(())
}

/// Sends what is missing, all files at once.
fn send_all(stage: &Stage<'_>, model: &str, files: &[File], seed: u64) -> io::Result<()> {
    let outcomes: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let send =
            |(number, file)| scope.spawn(move || send(stage, model, file, &mut Random::new(seed.wrapping_add(number))));
        let threads: Vec<_> = (0..).zip(files).map(send).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    outcomes.into_iter().collect()
}

/// Sends one file at once; an answer that is no success is an error.
pub(crate) fn send_file(api: &Api, model: &str, file: &File) -> io::Result<()> {
    let declaration = json!({ "files": [file.spec.json()] });
    let answer = api.call("POST", &format!("/v1/models/{model}/uploads"), &declaration)?;
    let upload = answer.expect_json("a declaration")["uploads"][0].clone();
    if upload["status"] == "present" {
        return Ok(());
    }
    let offset = upload["offset"].as_u64().unwrap_or_default();
    let path = format!("/v1/uploads/{}?offset={offset}", text(&upload["session"]));
    let rest = usize::try_from(offset).ok().and_then(|offset| file.bytes.get(offset..)).unwrap_or_default();
    let answer = api.send("PUT", &path, rest, || {})?;
    if answer.is_success() { Ok(()) } else { Err(io::Error::other(problem(&answer))) }
}

/// Sends one file in one to three requests, each from where the registry says it is.
fn send(stage: &Stage<'_>, model: &str, file: &File, random: &mut Random) -> io::Result<()> {
    let declaration = json!({ "files": [file.spec.json()] });
    loop {
        let known = stage.ledger.offset(&file.spec.sha256);
        let answer = stage.api.call("POST", &format!("/v1/models/{model}/uploads"), &declaration)?;
        let upload = answer.expect_json("a declaration")["uploads"][0].clone();
        if upload["status"] == "present" {
            return Ok(());
        }
        let offset = upload["offset"].as_u64().unwrap_or_default();
        assert!(offset >= known, "{known} bytes of {} were acknowledged, {offset} are left", file.spec.sha256);
        let path = format!("/v1/uploads/{}?offset={offset}", text(&upload["session"]));
        let answer = stage.api.send("PUT", &path, piece(&file.bytes, offset, random), || pause(random))?;
        if answer.is_success() {
            stage.ledger.holds(&file.spec.sha256, answer.json()["offset"].as_u64().unwrap_or_default());
        } else {
            assert!(MEETINGS.contains(&answer.code().as_str()), "{}: {}", file.spec.path, answer.json());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The rest of the file, or two times of three only a part of it.
fn piece<'a>(bytes: &'a [u8], offset: u64, random: &mut Random) -> &'a [u8] {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let part = usize::try_from(random.below(rest.len() as u64)).unwrap_or_default();
    if random.below(3) == 0 || part == 0 { rest } else { &rest[..part] }
}

fn pause(random: &mut Random) {
    if random.below(4) == 0 {
        std::thread::sleep(Duration::from_millis(random.below(8)));
    }
}

/// Moves branches and sets tags of what others pushed, and looks at evidence meanwhile.
#[derive(Debug)]
pub(crate) struct Mover {
    random: Random,
    tags: u64,
}

impl Mover {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), tags: 0 }
    }

    pub(crate) fn step(&mut self, stage: &Stage<'_>) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.random.below(20)));
        let revisions = stage.ledger.revisions();
        let chosen = usize::try_from(self.random.below(revisions.len() as u64)).unwrap_or_default();
        let Some(revision) = revisions.get(chosen) else { return Ok(()) };
        match self.random.below(6) {
            0 => {
                self.tags += 1;
                set(stage, &(revision.model.clone(), "tag", format!("t{}", self.tags)), &revision.commit)
            }
            1 => remove(stage, &(revision.model.clone(), "branch", "moving".to_owned())),
            2 | 3 => observe(stage, revision),
            _ => set(stage, &(revision.model.clone(), "branch", "moving".to_owned()), &revision.commit),
        }
    }
}

fn observe(stage: &Stage<'_>, revision: &Revision) -> io::Result<()> {
    let answer = stage.api.get(&format!("/v1/models/{}/revisions/{}", revision.model, revision.commit))?;
    stage.ledger.observe(&revision.commit, &answer.expect_json("a revision"));
    Ok(())
}

fn set(stage: &Stage<'_>, name: &RefName, commit: &str) -> io::Result<()> {
    stage.ledger.moving(name, Some(commit.to_owned()));
    let answer = stage.api.call("PUT", &ref_path(name), &json!({ "revision": commit }))?;
    assert!(answer.is_success(), "{name:?}: {}", problem(&answer));
    stage.ledger.moved(name, Some(commit.to_owned()));
    Ok(())
}

fn remove(stage: &Stage<'_>, name: &RefName) -> io::Result<()> {
    stage.ledger.moving(name, None);
    let answer = stage.api.call("DELETE", &ref_path(name), &Value::Null)?;
    assert!(answer.is_success() || answer.status == 404, "{name:?}: {}", problem(&answer));
    stage.ledger.moved(name, None);
    Ok(())
}

fn ref_path((model, kind, name): &RefName) -> String {
    format!("/v1/models/{model}/refs/{kind}/{name}")
}

fn problem(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
