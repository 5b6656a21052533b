//! Which crate may know which. `DESIGN.md`'s rooms stay apart only while something fails
//! when they do not.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The workspace's crates and, for each, the crates of ours it may use.
const ARROWS: [(&str, &[&str]); 6] = [
    ("api", &["registry-core", "verifier", "inference-probe", "migrations"]),
    ("registry-core", &["verifier", "migrations"]),
    ("inference-probe", &["verifier"]),
    ("verifier", &[]),
    ("migrations", &[]),
    ("weighhouse-tests", &[]),
];

/// What must not be anywhere below a crate in a build of that crate alone.
const NEVER_KNOWS: [(&str, &[&str]); 3] = [
    ("verifier", &["tokio", "sea-orm", "sqlx", "actix-web", "reqwest", "hyper", "object_store"]),
    ("inference-probe", &["sea-orm", "sqlx", "actix-web", "reqwest", "hyper", "object_store"]),
    ("registry-core", &["actix-web", "actix-http", "maud", "candle-core"]),
];

const DRAWERS: [&str; 8] = ["common", "utils", "util", "types", "error", "errors", "helpers", "shared"];

fn cargo(arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Name, and dependencies as (name, is for development only), of each crate in the workspace.
fn workspace() -> BTreeMap<String, Vec<(String, bool)>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked"])).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let dependency = |value: &Value| (text(&value["name"]), value["kind"] == "dev");
    let package = |value: &Value| {
        let dependencies = value["dependencies"].as_array().unwrap().iter().map(dependency).collect();
        (text(&value["name"]), dependencies)
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

/// Names of all crates that a build of `package` alone links, itself included.
fn normal_tree(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"];
    cargo(&arguments).lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_crate_of_the_workspace_has_its_arrows_written_down() {
    let known: BTreeSet<_> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(workspace().into_keys().collect::<BTreeSet<_>>(), known);
}

#[test]
fn crates_use_only_the_crates_that_the_design_allows() {
    let workspace = workspace();
    for (name, allowed) in ARROWS {
        let ours = workspace[name].iter().filter(|(dependency, _)| workspace.contains_key(dependency));
        for (dependency, development) in ours {
            let in_tests = *development && (name == "weighhouse-tests" || dependency == "weighhouse-tests");
            assert!(allowed.contains(&dependency.as_str()) || in_tests, "{name} must not use {dependency}");
        }
    }
}

#[test]
fn crates_do_not_reach_what_they_must_never_know() {
    for (name, forbidden) in NEVER_KNOWS {
        let tree = normal_tree(name);
        let reached: Vec<_> = forbidden.iter().filter(|other| tree.contains(**other)).collect();
        assert!(reached.is_empty(), "{name} reaches {reached:?}; see `cargo tree -p {name} -i CRATE -e normal`");
    }
}

#[test]
fn no_crate_is_a_drawer_for_everything() {
    for name in workspace().keys() {
        assert!(!DRAWERS.contains(&name.as_str()), "{name} says nothing about what is in it");
    }
}
