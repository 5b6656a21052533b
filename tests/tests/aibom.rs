//! Bills of materials from a real server, and the verb that asks for them.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use serde_json::Value;
use weighhouse_tests::gguf::TinyLlama;
use weighhouse_tests::server::{self, Folder, Server, eventually};

const CARD: &[u8] = b"---\nlicense: apache-2.0\npipeline_tag: text-generation\n---\n# Tiny\n";

fn model() -> Folder {
    let folder = Folder::new().unwrap();
    folder.write("model.gguf", &TinyLlama::fluent().build()).unwrap();
    folder.write("README.md", CARD).unwrap();
    folder
}

#[track_caller]
fn stdout(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_server_describes_a_model_once_its_license_is_judged() {
    let (server, folder) = (Server::start(&[]).unwrap(), model());
    let pushed = server.run(["push", folder.path().to_str().unwrap(), "demo/tiny", "--json"]).unwrap();
    let pushed: Value = serde_json::from_str(&stdout(&pushed)).unwrap();
    let ask = |format: &str| {
        let path = format!("/v1/models/demo/tiny/revisions/main/aibom?format={format}");
        server.request("GET", &path, "").unwrap()
    };
    eventually("the license is judged", || {
        let (status, body) = ask("cyclonedx");
        // Until then it says what it waits for.
        assert!(status == 200 || (status == 422 && body.contains("cannot-decide")), "{status} {body}");
        (status == 200).then_some(())
    });
    let document: Value = serde_json::from_str(&ask("cyclonedx").1).unwrap();
    let component = &document["metadata"]["component"];
    let commit = pushed["commit"].as_str().unwrap();
    assert_eq!(component["purl"], format!("pkg:huggingface/demo/tiny@{commit}"));
    assert_eq!(component["licenses"][1]["expression"], "Apache-2.0");
    let spdx: Value = serde_json::from_str(&ask("spdx").1).unwrap();
    assert!(spdx["@graph"].as_array().unwrap().iter().any(|element| element["type"] == "ai_AIPackage"));
    assert_eq!(ask("nonsense").0, 400);

    let printed = server.run(["aibom", "demo/tiny@main", "--format", "cyclonedx"]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&stdout(&printed)).unwrap(), document);
    let draft = stdout(&server.run(["aibom", "demo/tiny", "--format", "documentation"]).unwrap());
    assert!(draft.starts_with("# Technical documentation of demo/tiny (draft)"), "{draft}");
}

#[test]
fn a_folder_is_described_without_a_server() {
    let folder = model();
    let file = folder.path().with_extension("json");
    let words = ["aibom", folder.path().to_str().unwrap(), "--format", "spdx", "--output", file.to_str().unwrap()];
    assert_eq!(stdout(&server::run(words).unwrap()), "");
    let written: Value = serde_json::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap();
    fs_err::remove_file(&file).unwrap();
    let declared = written["@graph"].as_array().unwrap().iter();
    assert!(declared.clone().any(|element| element["simplelicensing_licenseExpression"] == "Apache-2.0"));
    assert!(server::run(["aibom", "nothing here"]).unwrap().status.code() == Some(2));
}
