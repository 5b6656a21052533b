//! What must be true after a restart, and once the registry has come to rest.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::content::{Spec, sha256};
use crate::http::Api;
use crate::ledger::{Ledger, Revision};

/// Leases of killed workers end after five seconds and failed attempts wait; compilers may run beside.
const REST: Duration = Duration::from_mins(4);

/// Every ref is where it was acknowledged, or where the request in flight wanted it, and leads
/// to a revision.
pub(crate) fn refs(api: &Api, ledger: &Ledger) {
    for (name, places) in ledger.refs() {
        let (model, kind, reference) = &name;
        let found =
            list_refs(api, model).into_iter().find(|found| found["kind"] == **kind && found["name"] == **reference);
        let at = found.as_ref().and_then(|found| found["commit"].as_str()).map(str::to_owned);
        assert!(places.contains(&at), "{name:?} is at {at:?}, not at one of {places:?}");
        ledger.moved(&name, at);
    }
    let models: BTreeSet<String> = ledger.revisions().into_iter().map(|revision| revision.model).collect();
    for model in models {
        for found in list_refs(api, &model) {
            let commit = found["commit"].as_str().unwrap_or_default();
            let answer = api.get(&format!("/v1/models/{model}/revisions/{commit}")).unwrap();
            assert!(answer.is_success(), "{found} of {model} dangles");
        }
    }
}

fn list_refs(api: &Api, model: &str) -> Vec<Value> {
    let answer = api.get(&format!("/v1/models/{model}/refs")).unwrap();
    answer.expect_json("refs").as_array().cloned().unwrap_or_default()
}

/// The revision has the files that were committed, and their bytes are the ones that were sent.
pub(crate) fn revision(api: &Api, ledger: &Ledger, revision: &Revision) {
    let path = format!("/v1/models/{}/revisions/{}", revision.model, revision.commit);
    let detail = api.get(&path).unwrap().expect_json("an acknowledged revision");
    let files: Vec<Spec> = detail["files"].as_array().into_iter().flatten().map(Spec::from_json).collect();
    assert_eq!(files, revision.files, "{path}");
    ledger.observe(&revision.commit, &detail);
    for file in files {
        let answer = api.get(&format!("{path}/files/{}", file.path)).unwrap();
        assert!(answer.is_success(), "{path}/{}: {}", file.path, answer.json());
        assert_eq!(sha256(&answer.body), file.sha256, "{path}/{}", file.path);
    }
}

pub(crate) fn audit_log(api: &Api) {
    let report = api.call("POST", "/v1/audit/verify", &json!({})).unwrap().expect_json("the audit log");
    assert_eq!(report["intact"], true, "{report}");
}

/// Waits until no job is left and every stage has come to its end; returns how many jobs had
/// been dead-lettered, because their workers were killed each time, and were retried.
pub(crate) fn rest(api: &Api, ledger: &Ledger) -> usize {
    let limit = Instant::now() + REST;
    let mut retried = 0;
    loop {
        for job in jobs(api, "dead") {
            let path = format!("/v1/jobs/{}/retry", job["id"].as_str().unwrap_or_default());
            assert!(api.call("POST", &path, &Value::Null).unwrap().is_success(), "{job}");
            retried += 1;
        }
        let left: Vec<Value> = ["queued", "running"].iter().flat_map(|state| jobs(api, state)).collect();
        if left.is_empty() && jobs(api, "dead").is_empty() {
            break;
        }
        assert!(Instant::now() < limit, "jobs do not end: {left:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    for revision in ledger.revisions() {
        settled(api, ledger, &revision);
    }
    retried
}

fn jobs(api: &Api, state: &str) -> Vec<Value> {
    let answer = api.get(&format!("/v1/jobs?limit=500&state={state}")).unwrap();
    answer.expect_json("jobs")["items"].as_array().cloned().unwrap_or_default()
}

/// No stage was lost: each has a result, but for a probe that nothing pointed to any more.
fn settled(api: &Api, ledger: &Ledger, revision: &Revision) {
    let path = format!("/v1/models/{}/revisions/{}", revision.model, revision.commit);
    let detail = api.get(&path).unwrap().expect_json("a revision");
    assert_eq!(detail["settled"], true, "a job of {path} is lost: {}", detail["stages"]);
    ledger.observe(&revision.commit, &detail);
    for stage in detail["stages"].as_array().into_iter().flatten() {
        let superseded = stage["stage"] == "probe" && stage["state"] == "superseded";
        assert!(stage["state"] == "done" || superseded, "{path}: {stage}");
    }
}

/// What a ref points to was probed and decided about.
pub(crate) fn heads(api: &Api, ledger: &Ledger) {
    let models: BTreeSet<String> = ledger.revisions().into_iter().map(|revision| revision.model).collect();
    for model in models {
        for found in list_refs(api, &model) {
            let at = format!("{model}@{}", found["commit"].as_str().unwrap_or_default());
            let question = json!({ "model": at, "environment": "development" });
            let answer = api.call("POST", "/v1/gate", &question).unwrap().expect_json("a decision");
            assert_eq!(answer["allowed"], true, "{at}: {answer}");
        }
    }
}
