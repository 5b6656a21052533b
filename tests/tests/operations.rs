//! What an operator relies on: health and readiness, metrics, logs that can be followed from an
//! answer, an orderly end, and several processes on one database and store.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use weighhouse_tests::environment;
use weighhouse_tests::gguf::TinyLlama;
use weighhouse_tests::random::Random;
use weighhouse_tests::server::{Answer, Folder, Server, command, eventually, exits};

const MEBIBYTE: usize = 1 << 20;

/// A problem's or any other JSON document.
#[track_caller]
fn document(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

/// Asks as the administrator and expects a JSON document.
#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let (status, body) = server.request("GET", path, "").unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[track_caller]
fn post(server: &Server, path: &str, body: &Value) -> Value {
    let (status, answer) = server.request("POST", path, &body.to_string()).unwrap();
    assert!((200..300).contains(&status), "{path}: {answer}");
    serde_json::from_str(&answer).unwrap()
}

fn status(server: &Server, path: &str) -> u16 {
    server.ask("GET", path, &[], "").unwrap().status
}

fn authorization(server: &Server) -> String {
    format!("Authorization: Bearer {}", server.token)
}

fn named(path: &str, content: &[u8]) -> Value {
    json!({ "path": path, "sha256": hex::encode(Sha256::digest(content)), "size": content.len() })
}

/// Declares one file and returns the path that takes its bytes.
#[track_caller]
fn declare(server: &Server, model: &str, path: &str, content: &[u8]) -> String {
    let declared = post(server, &format!("/v1/models/{model}/uploads"), &json!({ "files": [named(path, content)] }));
    format!("/v1/uploads/{}?offset=0", declared["uploads"][0]["session"].as_str().unwrap())
}

#[track_caller]
fn upload(server: &Server, model: &str, path: &str, content: &[u8]) {
    let place = declare(server, model, path, content);
    let mut connection = server.open_request("PUT", &place, &[&authorization(server)], content.len()).unwrap();
    connection.write_all(content).unwrap();
    let answer = Answer::read(connection).unwrap();
    assert_eq!((answer.status, &document(&answer)["complete"]), (200, &json!(true)), "{}", answer.body);
}

fn create_model(server: &Server, name: &str) {
    post(server, "/v1/models", &json!({ "name": name, "visibility": "public" }));
}

/// A model that runs, with a card.
fn tiny_model(seed: u64) -> [(&'static str, Vec<u8>); 2] {
    let card = format!("---\nlicense: apache-2.0\n---\n# Tiny {seed}\n").into_bytes();
    [("model.gguf", TinyLlama::fluent().seed(seed).build()), ("README.md", card)]
}

fn commit(server: &Server, model: &str, files: &[(&str, Vec<u8>)]) -> Value {
    let files: Vec<Value> = files.iter().map(|(path, content)| named(path, content)).collect();
    post(server, &format!("/v1/models/{model}/commits"), &json!({ "branch": "main", "message": "", "files": files }))
}

fn push(server: &Server, model: &str, files: &[(&str, Vec<u8>)]) {
    create_model(server, model);
    for (path, content) in files {
        upload(server, model, path, content);
    }
    commit(server, model, files);
}

fn wait_until_judged(server: &Server, model: &str) {
    let path = format!("/v1/models/{model}/revisions/main");
    eventually(&format!("{model} is judged"), || (get(server, &path)["settled"] == true).then_some(()));
}

/// The value of one time series; none while it does not exist.
#[track_caller]
fn metric(server: &Server, series: &str) -> Option<f64> {
    let answer = server.ask("GET", "/metrics", &[&authorization(server)], "").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let value = answer.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

/// Runs one statement on the PostgreSQL of the tests.
fn administer(postgres: &str, statement: &str) {
    let done = Command::new("psql").args([postgres, "-q", "-o", "/dev/null", "-c", statement]).status().unwrap();
    assert!(done.success(), "{statement}");
}

/// Name and URL of a database of the caller's own.
fn new_database(postgres: &str) -> (String, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("operations_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    administer(postgres, &format!("CREATE DATABASE {name}"));
    let (base, _) = postgres.rsplit_once('/').unwrap();
    let url = format!("{base}/{name}");
    (name, url)
}

/// The server's log, which has to be JSON in every line.
fn log(server: &Server) -> Vec<Value> {
    server.log().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Ends the server as a service manager does and holds that it ends well.
fn end(server: &mut Server) {
    server.terminate().unwrap();
    let ending = eventually("the server has ended", || server.ended().unwrap());
    assert!(ending.success(), "{ending}");
}

#[test]
fn server_without_its_store_lives_and_is_not_ready() {
    let server = Server::start(&[]).unwrap();
    assert_eq!((status(&server, "/healthz"), status(&server, "/readyz")), (200, 200));
    let (store, elsewhere) = (server.data().join("data/objects"), server.data().join("elsewhere"));
    fs_err::rename(&store, &elsewhere).unwrap();
    let refused = server.ask("GET", "/readyz", &[], "").unwrap();
    assert_eq!((refused.status, &document(&refused)["status"]), (503, &json!("unavailable")));
    assert_eq!(status(&server, "/healthz"), 200);
    assert!(!refused.body.contains("objects"), "strangers learn nothing about the machine: {}", refused.body);
    // Something in its place that is no folder does not help.
    fs_err::write(&store, b"").unwrap();
    assert_eq!(status(&server, "/readyz"), 503);
    fs_err::remove_file(&store).unwrap();
    fs_err::rename(&elsewhere, &store).unwrap();
    assert_eq!(status(&server, "/readyz"), 200);
}

#[test]
fn server_without_its_bucket_is_not_ready() {
    let Some(s3) = environment::s3() else { return };
    let mut settings = s3_settings(&s3, "readiness");
    let server = Server::start(&references(&settings)).unwrap();
    assert_eq!(status(&server, "/readyz"), 200);
    settings[1] = "storage.bucket=weighhouse-missing".to_owned();
    let server = Server::start(&references(&settings)).unwrap();
    assert_eq!((status(&server, "/healthz"), status(&server, "/readyz")), (200, 503));
}

#[test]
fn server_without_its_database_lives_and_is_not_ready_until_it_is_back() {
    let Some(postgres) = environment::postgres_url() else { return };
    let (name, url) = new_database(&postgres);
    let server = Server::start(&[&format!("database.url={url}"), "worker.enabled=false"]).unwrap();
    assert_eq!(status(&server, "/readyz"), 200);
    administer(&postgres, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"));
    administer(&postgres, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
    assert_eq!((status(&server, "/readyz"), status(&server, "/healthz")), (503, 200));
    administer(&postgres, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"));
    eventually("the server is ready again", || (status(&server, "/readyz") == 200).then_some(()));
}

#[test]
fn metrics_are_for_readers_and_count_requests_and_jobs() {
    let server = Server::start(&["server.anonymous_read=false", "worker.poll_milliseconds=20"]).unwrap();
    assert_eq!(status(&server, "/metrics"), 401);
    let series = r#"weighhouse_http_requests_total{method="GET",route="/healthz",status="200"}"#;
    let before = metric(&server, series).unwrap_or_default();
    for _ in 0..3 {
        assert_eq!(status(&server, "/healthz"), 200);
    }
    assert_eq!(metric(&server, series), Some(before + 3.0));
    let refusals = r#"weighhouse_http_requests_total{method="GET",route="/metrics",status="401"}"#;
    assert_eq!(metric(&server, refusals), Some(1.0));
    // A route's pattern, never its path: the number of series must not grow with the models.
    assert_eq!(server.request("GET", "/v1/models/demo/none", "").unwrap().0, 404);
    let unknown = r#"weighhouse_http_requests_total{method="GET",route="/v1/models/{namespace}/{name}",status="404"}"#;
    assert_eq!(metric(&server, unknown), Some(1.0));

    push(&server, "demo/tiny", &tiny_model(1));
    let waiting = r#"weighhouse_jobs{state="queued"}"#;
    assert!(metric(&server, waiting).is_some());
    wait_until_judged(&server, "demo/tiny");
    let done = r#"weighhouse_jobs_total{result="done"}"#;
    eventually("six jobs are counted", || (metric(&server, done) == Some(6.0)).then_some(()));
    // What waited before waits no longer.
    assert_eq!(metric(&server, waiting), Some(0.0));
    assert_eq!(metric(&server, r#"weighhouse_jobs{state="dead"}"#), Some(0.0));
}

#[test]
fn log_leads_from_an_answer_to_what_happened() {
    let server = Server::start(&["log.format=json", "worker.enabled=false"]).unwrap();
    let own = server.ask("GET", "/healthz", &["X-Request-Id: build-17.step_3"], "").unwrap();
    assert_eq!(own.headers["x-request-id"], "build-17.step_3");
    for harmful in [&"x".repeat(129), "a b", "a\"b", "a/b"] {
        let answer = server.ask("GET", "/healthz", &[&format!("X-Request-Id: {harmful}")], "").unwrap();
        assert_ne!(answer.headers["x-request-id"], *harmful);
    }
    let refused = server.ask("GET", "/v1/models/demo/none", &[], "").unwrap();
    assert_eq!((refused.status, &document(&refused)["code"]), (404, &json!("not-found")));

    create_model(&server, "demo/tiny");
    let place = declare(&server, "demo/tiny", "README.md", b"text");
    // Where the store's folder should be is a file, so nothing can be written below it.
    fs_err::rename(server.data().join("data/objects"), server.data().join("elsewhere")).unwrap();
    fs_err::write(server.data().join("data/objects"), b"").unwrap();
    let failed = server.ask("PUT", &place, &[&authorization(&server)], "text").unwrap();
    assert_eq!((failed.status, &document(&failed)["code"]), (500, &json!("internal")));

    let log = log(&server);
    let of = |answer: &Answer| -> Vec<&Value> {
        let id = json!(answer.headers["x-request-id"]);
        log.iter().filter(|line| line["span"]["request_id"] == id).collect()
    };
    let answered = |answer: &Answer| of(answer).into_iter().find(|line| line["message"] == "answered").unwrap();
    assert_eq!(answered(&own)["span"]["path"], "/healthz");
    for (answer, level) in [(&refused, "INFO"), (&failed, "ERROR")] {
        assert_eq!(answered(answer)["status"], answer.status);
        let error_id = &document(answer)["error_id"];
        let line = of(answer).into_iter().find(|line| line["error_id"] == *error_id).unwrap();
        assert_eq!(line["level"], level);
    }
    let told = failed.body.contains("objects") || failed.body.contains("directory");
    assert!(!told, "the log has the details, the client does not: {}", failed.body);
    assert!(!server.log().unwrap().contains(&server.token), "the log holds a token");
}

#[test]
fn server_that_is_told_to_stop_finishes_what_runs_and_takes_nothing_new() {
    let mut server = Server::start(&["server.shutdown_grace_seconds=100", "worker.enabled=false"]).unwrap();
    let content = Random::new(1).bytes(2 * MEBIBYTE);
    create_model(&server, "demo/big");
    let place = declare(&server, "demo/big", "weights.bin", &content);
    let idle = TcpStream::connect(&server.address).unwrap();
    let mut running = server.open_request("PUT", &place, &[&authorization(&server)], content.len()).unwrap();
    running.write_all(&content[..MEBIBYTE]).unwrap();
    server.terminate().unwrap();
    eventually("the server takes nothing new", || TcpStream::connect(&server.address).is_err().then_some(()));
    assert!(server.ended().unwrap().is_none(), "the server ended although a request was running");
    running.write_all(&content[MEBIBYTE..]).unwrap();
    let answer = Answer::read(running).unwrap();
    assert_eq!((answer.status, &document(&answer)["complete"]), (200, &json!(true)), "{}", answer.body);
    let told = std::time::Instant::now();
    let ending = eventually("the server has ended", || server.ended().unwrap());
    assert!(ending.success(), "{ending}");
    assert!(told.elapsed().as_secs() < 60, "a connection without a request held the server up");
    drop(idle);

    server.start_again(&["worker.enabled=false"]).unwrap();
    assert_eq!(commit(&server, "demo/big", &[("weights.bin", content)])["created"], true);
    end(&mut server);
}

/// The one probe job in a state, if there is one.
fn probe_job(server: &Server, state: &str) -> Option<Value> {
    let jobs = get(server, &format!("/v1/jobs?state={state}"));
    jobs["items"].as_array().unwrap().iter().find(|job| job["kind"] == "probe").cloned()
}

#[test]
fn probe_of_a_server_that_is_told_to_stop_is_given_back_and_done_by_the_next_one() {
    let Some(models) = environment::models() else { return };
    let model = fs_err::read(models.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    // With such a lease, a job that is not given back does not run again within this test.
    let settings = ["worker.lease_seconds=3600", "worker.poll_milliseconds=20", "probe.threads=1"];
    let mut server = Server::start(&settings).unwrap();
    push(&server, "demo/real", &[("model.gguf", model)]);
    let running = eventually("the probe runs", || probe_job(&server, "running"));
    end(&mut server);

    server.start_again(&["worker.enabled=false"]).unwrap();
    let waiting = probe_job(&server, "queued").unwrap();
    assert_eq!((&waiting["id"], &waiting["attempts"]), (&running["id"], &json!(0)));
    end(&mut server);

    server.start_again(&settings).unwrap();
    wait_until_judged(&server, "demo/real");
    let stages = get(&server, "/v1/models/demo/real/revisions/main")["stages"].clone();
    let probe = stages.as_array().unwrap().iter().find(|stage| stage["stage"] == "probe").unwrap();
    assert_eq!(probe["status"], "passed", "{probe}");
    assert_eq!(probe_job(&server, "done").unwrap()["attempts"], 1);
    end(&mut server);
}

fn s3_settings(s3: &environment::S3, prefix: &str) -> Vec<String> {
    vec![
        "storage.kind=s3".to_owned(),
        format!("storage.bucket={}", s3.bucket),
        format!("storage.endpoint={}", s3.endpoint),
        "storage.access_key_id=test".to_owned(),
        "storage.secret_access_key=test".to_owned(),
        "storage.allow_http=true".to_owned(),
        format!("storage.prefix={prefix}"),
    ]
}

fn references(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// Every job that was done, over all pages.
fn done_jobs(server: &Server) -> Vec<Value> {
    let page = get(server, "/v1/jobs?state=done&limit=500");
    assert!(page["next"].is_null());
    page["items"].as_array().unwrap().clone()
}

/// Whether no job waits or runs.
fn is_idle(server: &Server) -> bool {
    let none = |state: &str| get(server, &format!("/v1/jobs?state={state}"))["items"] == json!([]);
    none("queued") && none("running") && none("queued")
}

/// How often a decision was made, by environment.
fn decisions(server: &Server, environment: &str) -> usize {
    let events = get(server, "/v1/audit/events?limit=500");
    assert!(events["next"].is_null());
    let made = |event: &&Value| event["kind"] == "decision.made" && event["details"]["environment"] == environment;
    events["items"].as_array().unwrap().iter().filter(made).count()
}

#[track_caller]
fn pulled(server: &Server, model: &str, files: &[(&str, Vec<u8>)]) {
    let copy = Folder::new().unwrap();
    let output = server.run(["pull", model, copy.path().to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (path, content) in files {
        assert_eq!(&fs_err::read(copy.join(path)).unwrap(), content, "{path}");
    }
}

#[test]
fn two_servers_on_one_database_and_store_are_one_registry() {
    const MODELS: u64 = 4;
    let (Some(postgres), Some(s3)) = (environment::postgres_url(), environment::s3()) else { return };
    let (name, url) = new_database(&postgres);
    let keys = Folder::new().unwrap();
    let mut settings = s3_settings(&s3, &name);
    settings.extend([format!("database.url={url}"), format!("keys.dir={}", keys.path().display())]);
    settings.push("worker.poll_milliseconds=20".to_owned());
    let first = Server::start(&references(&settings)).unwrap();
    let second = first.start_beside(&references(&settings)).unwrap();

    for number in 0..MODELS {
        let (model, files) = (format!("demo/tiny-{number}"), tiny_model(number + 1));
        create_model(&first, &model);
        for (path, content) in &files {
            upload(&first, &model, path, content);
        }
        commit(&second, &model, &files);
        wait_until_judged(&first, &model);
        pulled(&second, &model, &files);
    }
    // These models share tensors, which the gate hears of when they were read.
    eventually("nothing is left to do", || is_idle(&first).then_some(()));
    let before = (decisions(&first, "development"), decisions(&second, "production"));
    // Both are asked something new at the same time, and store one answer.
    let question = json!({ "model": "demo/tiny-0", "environment": "production", "use": { "commercial": false } });
    let ask = |server: &Server| post(server, "/v1/gate", &question)["decisions"][0]["id"].clone();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = [&first, &second, &first, &second].map(|server| scope.spawn(move || ask(server))).into();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|id| *id == answers[0]), "{answers:?}");
    let models = usize::try_from(MODELS).unwrap();
    assert_eq!((decisions(&first, "development"), decisions(&second, "production")), (before.0, before.1 + 1));

    let jobs = done_jobs(&first);
    assert!(jobs.len() >= 6 * models && jobs.iter().all(|job| job["attempts"] == 1), "{jobs:?}");
    let count = |result: &str| -> f64 {
        let series = format!("weighhouse_jobs_total{{result=\"{result}\"}}");
        [&first, &second].iter().filter_map(|server| metric(server, &series)).sum()
    };
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let done = jobs.len() as f64;
    eventually("every job is counted", || (count("done") >= done).then_some(()));
    assert!([count("done") - done, count("lost"), count("failed")].iter().all(|extra| *extra == 0.0));
    assert_eq!(post(&second, "/v1/audit/verify", &json!({}))["intact"], true);
}

/// The probe's stage of a revision, as the API tells it.
fn probe_stage(server: &Server, model: &str) -> Value {
    let detail = get(server, &format!("/v1/models/{model}/revisions/main"));
    let stages = detail["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["stage"] == "probe").unwrap().clone()
}

/// A process that ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn probes_scale_out_to_workers_that_run_nothing_else() {
    let server = Server::start(&["worker.jobs=no-probe", "worker.poll_milliseconds=20"]).unwrap();
    push(&server, "acme/tiny", &tiny_model(1));
    eventually("the license is judged", || {
        let detail = get(&server, "/v1/models/acme/tiny/revisions/main");
        detail["stages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|stage| stage["state"] == "done" || stage["stage"] == "probe")
            .then_some(())
    });
    assert_eq!(probe_stage(&server, "acme/tiny")["state"], "pending");
    let data = format!("data_dir={}", server.data().join("data").display());
    let words = ["worker", "--probe", "--set", &data, "--set", "worker.poll_milliseconds=20"];
    let _worker = Killed(command(words).stderr(Stdio::null()).spawn().unwrap());
    wait_until_judged(&server, "acme/tiny");
    let first = probe_stage(&server, "acme/tiny");
    assert_eq!(first["state"], "done");

    // One more on demand: the first report counts until the second is there.
    let said = exits(0, &server.run(["model", "probe", "acme/tiny", "--json"]).unwrap());
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["state"], "queued");
    assert_eq!(probe_stage(&server, "acme/tiny")["status"], first["status"]);
    eventually("both reports are there", || {
        let history = get(&server, "/v1/models/acme/tiny/revisions/main/probes");
        (history["items"].as_array().unwrap().len() == 2).then_some(())
    });
    assert_eq!(probe_stage(&server, "acme/tiny").get("renewal"), None);
}
