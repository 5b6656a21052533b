//! What `deploy/` promises, held against the binary: configurations are read, verbs and flags
//! exist, metrics are really there, the example policy decides.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weighhouse_tests::gguf::TinyLlama;
use weighhouse_tests::server::{self, Folder, Server};

/// Metrics that Prometheus makes itself are named without it.
const METRIC_PREFIX: &str = "weighhouse_";
const CONTAINERS: [&str; 2] = ["container/Containerfile", "container/compose.yaml"];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(path)
}

fn read(path: &str) -> String {
    fs_err::read_to_string(deploy(path)).unwrap()
}

/// Files of a folder of `deploy/` whose names end like this.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(deploy(folder)).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

/// The configuration that the binary reads, given these words.
#[track_caller]
fn shown(words: &[&str]) -> Vec<Value> {
    let output = server::run([&["config", "show", "--json"], words].concat()).unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn words_with<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character| !is_part(character)).filter(|word| word.starts_with(prefix)).collect()
}

#[test]
fn example_configurations_are_read_and_set_what_they_name() {
    for path in files("examples", ".toml") {
        let text = fs_err::read_to_string(&path).unwrap();
        let assigned = |line: &&str| !line.starts_with('#') && line.contains('=');
        let expected = text.lines().filter(assigned).count();
        let settings = shown(&["--config", path.to_str().unwrap()]);
        let from_file = settings.iter().filter(|setting| setting["origin"]["kind"] == "file").count();
        assert_eq!(from_file, expected, "{}", path.display());
        let is_secret = |setting: &&Value| setting["hidden"] == true && setting["origin"]["kind"] == "file";
        assert!(!settings.iter().any(|setting| is_secret(&setting)), "{} holds a secret", path.display());
    }
}

#[test]
fn environment_variables_in_deploy_are_ones_that_the_binary_reads() {
    let settings = shown(&[]);
    let known: BTreeSet<&str> = settings.iter().map(|setting| setting["variable"].as_str().unwrap()).collect();
    let mut named = 0;
    let texts = files("systemd", ".service").into_iter().chain(files("examples", ".toml"));
    for path in texts.chain(CONTAINERS.map(deploy)).chain([deploy("README.md")]) {
        let text = fs_err::read_to_string(&path).unwrap();
        for variable in words_with(&text, "WEIGHHOUSE_") {
            assert!(known.contains(variable), "{} names {variable}", path.display());
            named += 1;
        }
    }
    assert!(named > 10, "only {named} variables were found");
}

/// Asserts that a command line without its program is one that the binary takes.
#[track_caller]
fn assert_understood(words: &[&str]) {
    let help = server::run([words[0], "--help"]).unwrap();
    assert!(help.status.success(), "`weighhouse {}` does not exist", words[0]);
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<&str> = help.split(|at: char| at.is_whitespace() || at == ',').collect();
    for flag in words.iter().filter(|word| word.starts_with('-')) {
        assert!(known.contains(flag), "`weighhouse {}` has no {flag}", words[0]);
    }
}

#[test]
fn units_and_containers_start_verbs_that_exist() {
    for path in files("systemd", ".service") {
        let text = fs_err::read_to_string(&path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/weighhouse ")).unwrap();
        assert_understood(&line.split(' ').collect::<Vec<_>>());
    }
    for path in CONTAINERS {
        let text = read(path);
        let commands = text.lines().filter_map(|line| {
            let list = line.trim_start().strip_prefix("command: [").or_else(|| line.strip_prefix("CMD ["))?;
            list.strip_suffix(']').filter(|list| !list.contains(' '))
        });
        let commands: Vec<_> = commands.map(|verb| verb.trim_matches('"')).collect();
        assert!(!commands.is_empty(), "{path}");
        for verb in commands {
            assert_understood(&[verb]);
        }
    }
}

#[test]
fn verbs_and_flags_in_the_readmes_exist() {
    let mut lines = 0;
    for path in ["README.md", "examples/policy/README.md"] {
        let text = read(path);
        for line in text.lines().filter_map(|line| line.strip_prefix("weighhouse ")) {
            assert_understood(&line.split(' ').collect::<Vec<_>>());
            lines += 1;
        }
    }
    assert!(lines > 2, "only {lines} command lines were found");
}

/// systemd's own opinion of the units, where it is installed. The programs they start and the
/// account they run as are not on this machine.
#[test]
fn units_are_ones_that_systemd_accepts() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    let folder = Folder::new().unwrap();
    for path in files("systemd", ".service") {
        let text = fs_err::read_to_string(&path).unwrap();
        let text = text.replace("/usr/bin/weighhouse", &server::binary().display().to_string());
        let name = path.file_name().unwrap().to_str().unwrap();
        let unit = folder.write(name, text.as_bytes()).unwrap();
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        let complaints = String::from_utf8(output.stderr).unwrap();
        let about_us: Vec<&str> = complaints.lines().filter(|line| line.contains(name)).collect();
        assert!(about_us.is_empty(), "{about_us:#?}");
    }
}

fn tiny_model() -> Folder {
    let folder = Folder::new().unwrap();
    folder.write("model.gguf", &TinyLlama::fluent().build()).unwrap();
    folder.write("README.md", b"---\nlicense: apache-2.0\n---\n# Tiny\n").unwrap();
    folder
}

#[track_caller]
fn push(server: &Server, model: &str) {
    let folder = tiny_model();
    let words = ["push", folder.path().to_str().unwrap(), model, "--visibility", "public", "--wait"];
    let output = server.run(words).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every query of the dashboard, wherever it stands.
fn queries(document: &Value, found: &mut Vec<String>) {
    match document {
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| queries(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_and_labels_that_exist() {
    let server = Server::start(&[]).unwrap();
    push(&server, "demo/tiny");
    let (status, metrics) = server.request("GET", "/metrics", "").unwrap();
    assert_eq!(status, 200);
    let samples: Vec<&str> = metrics.lines().filter(|line| line.starts_with(METRIC_PREFIX)).collect();
    let exists = |name: &str| samples.iter().any(|line| line.split(['{', ' ']).next() == Some(name));

    let mut asked = Vec::new();
    queries(&serde_json::from_str(&read("monitoring/grafana-dashboard.json")).unwrap(), &mut asked);
    assert!(asked.len() > 5, "{asked:?}");
    let alerts = read("monitoring/weighhouse-alerts.yaml");
    assert!(alerts.matches("- alert: ").count() > 5);
    for text in asked.iter().map(String::as_str).chain([alerts.as_str()]) {
        for name in words_with(text, METRIC_PREFIX) {
            assert!(exists(name), "{name} is not in /metrics: {text}");
        }
        // Values that a query compares a label with, such as state="dead".
        for (at, _) in text.match_indices("state=\"") {
            let state = text[at + 7..].split('"').next().unwrap();
            assert!(samples.iter().any(|line| line.contains(&format!("state=\"{state}\""))), "{state}: {text}");
        }
        for (at, _) in text.match_indices("route=\"") {
            let route = text[at + 7..].split('"').next().unwrap();
            assert_eq!(server.request("GET", route, "").unwrap().0, 200, "{route}");
        }
    }
    let used = format!("{asked:?}{alerts}");
    for line in &samples {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(used.contains(name), "neither dashboard nor alerts look at {name}");
    }
}

#[test]
fn example_policy_decides_in_its_own_environments() {
    let policy = format!("gate.policy_dir={}", deploy("examples/policy").display());
    let server = Server::start(&[&policy]).unwrap();
    push(&server, "demo/tiny");
    let ask = |environment: &str| -> Value {
        let output = server.run(["gate", "demo/tiny", "--environment", environment, "--json"]).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let staging = ask("staging");
    assert_eq!(
        (&staging["verdict"], &staging["decisions"][0]["warnings"][0]["code"]),
        (&"allowed".into(), &"NO_TRUSTED_SIGNATURE".into())
    );
    assert!(staging["decisions"][0]["valid_until"].is_string(), "evidence of this policy expires: {staging}");
    assert_eq!(ask("production")["verdict"], "denied");
    let development = ask("development");
    assert_eq!(development["verdict"], "allowed");
    assert!(!development.to_string().contains("NO_TRUSTED_SIGNATURE"), "this policy ignores it: {development}");
}

/// A folder as the demo leaves it, with a model that nobody has to fetch.
fn leave_demo(server: &Server) {
    let folder = server.data();
    fs_err::create_dir(folder.join("model")).unwrap();
    fs_err::write(folder.join("model/model.gguf"), TinyLlama::fluent().build()).unwrap();
    let [private, public] = ["publisher.key", "publisher.pem"].map(|name| folder.join(name).display().to_string());
    let openssl =
        |words: &[&str]| assert!(Command::new("openssl").args(words).status().unwrap().success(), "{words:?}");
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private]);
    openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
    let model = folder.join("model").display().to_string();
    for words in [&["sign", &model, "--key", &private][..], &["push", &model, "demo/tiny", "--wait"]] {
        let output = server.run(words).unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs_err::write(folder.join("token"), &server.token).unwrap();
}

fn tamper(server: &Server) -> std::process::Output {
    Command::new(deploy("scripts/demo-tamper")).arg(server.data()).arg(server::binary()).output().unwrap()
}

#[test]
fn tampering_with_a_weight_the_signature_or_the_log_of_the_demo_is_caught() {
    let server = Server::start(&[]).unwrap();
    leave_demo(&server);
    let output = tamper(&server);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for caught in ["OMS_DIGEST_MISMATCH", "SIGNATURE_INVALID", "NOT intact", "Each change was caught."] {
        assert!(text.contains(caught), "{caught}: {text}");
    }
    let intact = server.run(["audit", "verify"]).unwrap();
    assert!(intact.status.success(), "the demo itself was touched");
    let left: Vec<_> = fs_err::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("tamper.")), "{left:?}");
}

#[test]
fn tampering_script_fails_where_a_change_would_not_be_caught() {
    let server = Server::start(&[]).unwrap();
    leave_demo(&server);
    fs_err::write(server.data().join("publisher.pem"), "no key").unwrap();
    assert!(!tamper(&server).status.success());
}
