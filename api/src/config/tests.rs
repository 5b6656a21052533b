use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;

use serde_json::json;

use super::*;

fn arguments(assignments: &[&str]) -> ConfigArguments {
    ConfigArguments { file: None, assignments: assignments.iter().map(ToString::to_string).collect() }
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn read(assignments: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Loaded::read_from(&arguments(assignments), environment(variables))
}

fn read_file(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let arguments = ConfigArguments { file: Some(file.path().to_owned()), assignments: Vec::new() };
    Loaded::read_from(&arguments, environment(variables))
}

fn setting(loaded: &Loaded, key: &str) -> Setting {
    loaded.settings.iter().find(|setting| setting.key == key).unwrap().clone()
}

#[test]
fn nothing_configured_gives_the_embedded_default() {
    let loaded = read(&[], &[]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.database.url.expose(), "sqlite://./weighhouse-data/weighhouse.db?mode=rwc");
    assert_eq!(config.storage, Storage::Local);
    assert_eq!(config.server.listen, "127.0.0.1:8086".parse().unwrap());
    assert_eq!(config.server.public_url, "http://127.0.0.1:8086");
    assert_eq!(config.server.environment, "development");
    assert!(config.server.anonymous_read && config.worker.enabled);
    assert_eq!(config.keys.dir, PathBuf::from("./weighhouse-data/keys"));
    assert_eq!(config.gate, Gate { policy_dir: None, trusted_keys: Vec::new() });
    assert!(loaded.settings.iter().all(|setting| setting.origin.kind == OriginKind::Default));
}

#[test]
fn later_layers_win_and_each_value_knows_its_origin() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\nenvironment = \"file\"\nworkers = 3\n";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let arguments = ConfigArguments {
        file: Some(file.path().to_owned()),
        assignments: vec!["server.listen=127.0.0.1:3".to_owned()],
    };
    let variables = [("WEIGHHOUSE_SERVER__LISTEN", "127.0.0.1:2"), ("WEIGHHOUSE_SERVER__ENVIRONMENT", "variable")];
    let loaded = Loaded::read_from(&arguments, environment(&variables)).unwrap();
    assert_eq!(loaded.config.server.listen.port(), 3);
    assert_eq!(loaded.config.server.environment, "variable");
    assert_eq!(loaded.config.server.workers, 3);
    let origin = |key| setting(&loaded, key).origin.to_string();
    assert_eq!(origin("server.listen"), "command line --set server.listen");
    assert_eq!(origin("server.environment"), "environment WEIGHHOUSE_SERVER__ENVIRONMENT");
    assert_eq!(origin("server.workers"), format!("file {}", file.path().display()));
    assert_eq!(origin("server.public_url"), "default");
}

#[test]
fn file_named_by_the_environment_is_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"data_dir = \"elsewhere\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let loaded = read(&[], &[("WEIGHHOUSE_CONFIG", path)]).unwrap();
    assert_eq!(loaded.config.database.url.expose(), "sqlite://elsewhere/weighhouse.db?mode=rwc");
}

#[test]
fn data_folder_with_url_characters_stays_one_path() {
    let loaded = read(&["data_dir=/a?b#c%"], &[]).unwrap();
    assert_eq!(loaded.config.database.url.expose(), "sqlite:///a%3Fb%23c%25/weighhouse.db?mode=rwc");
}

#[test]
fn anonymous_reading_is_off_by_default_where_others_can_connect() {
    assert!(!read(&["server.listen=0.0.0.0:80"], &[]).unwrap().config.server.anonymous_read);
    assert!(read(&["server.listen=[::1]:80"], &[]).unwrap().config.server.anonymous_read);
    assert!(
        read(&["server.listen=0.0.0.0:80", "server.anonymous_read=true"], &[]).unwrap().config.server.anonymous_read
    );
}

#[test]
fn unknown_keys_are_named_with_their_origin() {
    let message = |result: Result<Loaded, ConfigError>| result.unwrap_err().to_string();
    let misspelled = message(read_file("[upload]\nmax_file_byte = 1\n", &[]));
    assert!(misspelled.contains("`upload.max_file_byte` in file "), "{misspelled}");
    let section = message(read_file("[uploads]\n", &[]));
    assert!(section.contains("`uploads`"), "{section}");
    let nested = message(read_file("[server.listen]\nport = 1\n", &[]));
    assert!(nested.contains("server.listen"), "{nested}");
    let variable = message(read(&[], &[("WEIGHHOUSE_SERVER__PORT", "1")]));
    assert!(variable.contains("`server.port` in environment WEIGHHOUSE_SERVER__PORT"), "{variable}");
    let argument = message(read(&["server.port=1"], &[]));
    assert!(argument.contains("`server.port` in command line"), "{argument}");
}

#[test]
fn variables_of_the_client_and_of_orchestrators_are_not_configuration() {
    let variables = [
        ("WEIGHHOUSE_TOKEN", "hf_secret"),
        ("WEIGHHOUSE_URL", "http://127.0.0.1:8086"),
        ("WEIGHHOUSE_PORT_8086_TCP", "tcp://10.0.0.1:8086"),
        ("WEIGHHOUSE_SERVER__LISTEN", ""),
    ];
    assert_eq!(read(&[], &variables).unwrap().config, read(&[], &[]).unwrap().config);
}

#[test]
fn wrong_values_are_refused_with_key_origin_and_what_is_expected() {
    let cases = [
        ("server.listen=here", "server.listen"),
        ("server.workers=many", "an integer from 1 to 1024"),
        ("server.workers=0", "an integer from 1 to 1024"),
        ("upload.max_file_bytes=-1", "an integer from 1 to"),
        ("worker.enabled=yes", "true or false"),
        ("log.format=xml", "one of: text, json"),
        ("log.level=nonsense=loud", "`log.level` must be"),
        ("storage.kind=ftp", "one of: local, s3"),
        ("server.public_url=https://example.org/", "not end with a slash"),
        ("server.environment=Pro duction", "`server.environment` must be"),
        ("gate.trusted_keys=release.pem", "NAME=PATH"),
        ("gate.trusted_keys=a=x,a=y", "same name"),
        ("trust.crls=list.pem", "NAME=PATH"),
        ("trust.crls=a=x,a=y", "same name"),
    ];
    for (assignment, expected) in cases {
        let message = read(&[assignment], &[]).unwrap_err().to_string();
        assert!(message.contains(expected), "{assignment}: {message}");
    }
    assert!(matches!(read(&["server.listen"], &[]), Err(ConfigError::Assignment(_))));
}

#[test]
fn values_of_the_wrong_type_in_a_file_are_refused() {
    let message = read_file("[worker]\nconcurrency = \"two\"\n", &[]).unwrap_err().to_string();
    assert!(message.starts_with("`worker.concurrency` in file "), "{message}");
    assert!(message.ends_with("an integer from 1 to 256"), "{message}");
}

#[test]
fn s3_needs_a_bucket_and_whole_credentials() {
    let message = |assignments: &[&str]| read(assignments, &[]).unwrap_err().to_string();
    assert!(message(&["storage.kind=s3"]).contains("`storage.bucket` must be set"));
    let half = message(&["storage.kind=s3", "storage.bucket=b", "storage.access_key_id=a"]);
    assert!(half.contains("only of use together"), "{half}");
    let plain = message(&["storage.kind=s3", "storage.bucket=b", "storage.endpoint=http://127.0.0.1:9"]);
    assert!(plain.contains("`storage.allow_http`"), "{plain}");
    let whole = read(&["storage.kind=s3", "storage.bucket=b", "storage.prefix=p"], &[]).unwrap().config.storage;
    let Storage::S3(s3) = whole else { panic!("{whole:?}") };
    assert_eq!((s3.bucket.as_str(), s3.prefix.as_str(), s3.credentials), ("b", "p", None));
}

#[test]
fn trusted_keys_are_read_from_file_and_text() {
    let file = "[[gate.trusted_keys]]\nname = \"release\"\npath = \"r.pem\"\n";
    let from_file = read_file(file, &[]).unwrap().config;
    assert_eq!(from_file, read(&["gate.trusted_keys=release=r.pem"], &[]).unwrap().config);
}

#[test]
fn revocation_lists_of_authorities_are_read_from_file_and_text() {
    let file = "[[trust.crls]]\nname = \"acme-ca\"\npath = \"acme.crl\"\n";
    let from_file = read_file(file, &[]).unwrap().config;
    assert_eq!(from_file.trust.crls.len(), 1);
    assert_eq!(from_file, read(&["trust.crls=acme-ca=acme.crl"], &[]).unwrap().config);
}

#[test]
fn secrets_are_shown_nowhere() {
    let variables = [
        ("WEIGHHOUSE_DATABASE__URL", "postgres://weigh:swordfish@db/w"),
        ("WEIGHHOUSE_STORAGE__SECRET_ACCESS_KEY", "swordfish"),
        ("WEIGHHOUSE_STORAGE__ACCESS_KEY_ID", "id"),
        ("WEIGHHOUSE_STORAGE__KIND", "s3"),
        ("WEIGHHOUSE_STORAGE__BUCKET", "b"),
    ];
    let loaded = read(&[], &variables).unwrap();
    assert_eq!(loaded.config.database.url.expose(), "postgres://weigh:swordfish@db/w");
    let shown =
        [format!("{loaded:?}"), render_text(&loaded.settings), serde_json::to_string(&loaded.settings).unwrap()];
    for text in shown {
        assert!(!text.contains("swordfish"), "{text}");
    }
    let url = setting(&loaded, "database.url");
    assert_eq!((url.value, url.hidden), (json!("postgres://weigh:***@db/w"), true));
}

#[test]
fn errors_do_not_quote_secrets() {
    let texts = [
        "[storage]\nsecret_access_key = swordfish\n",
        "[storage]\nsecret_access_key = [\"swordfish\"]\n",
        "[database]\nurl = { password = \"swordfish\" }\n",
    ];
    for text in texts {
        let error = read_file(text, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("swordfish"), "{error:?}");
    }
}

#[test]
fn shown_text_can_be_used_as_a_file() {
    let loaded = read(&["log.level=debug", "gate.trusted_keys=a=b.pem"], &[]).unwrap();
    let again = read_file(&render_text(&loaded.settings), &[]).unwrap();
    assert_eq!(again.config, loaded.config);
}

#[test]
fn every_key_is_described_and_read_and_nothing_else_is_read() {
    let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), KEYS.len());
    assert!(KEYS.iter().all(|key| key.description.ends_with('.')));
    // All keys together make a configuration, and `deny_unknown_fields` refuses any other.
    assert_eq!(read(&[], &[]).unwrap().settings.len(), KEYS.len());
    assert_eq!(Key::find("server.listen").unwrap().variable(), "WEIGHHOUSE_SERVER__LISTEN");
}

#[test]
fn huge_file_is_refused() {
    let text = format!("# {}\n", "x".repeat(1 << 20));
    assert!(matches!(read_file(&text, &[]), Err(ConfigError::FileTooLarge { .. })));
}
