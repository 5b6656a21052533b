//! What a client must send, and how, before it sends anything.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use registry_core::{ModelInfo, check_path, git};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::files;
use super::query::Query;
use super::refusal::{Answer, Refusal};
use super::{Data, RevisionPath, find_model, find_revision, read_json};
use crate::server::State;
use crate::server::access::Actor;

/// Largest body, in bytes: 256 files with 512 bytes of each fit many times.
const MAX_BODY: usize = 4 << 20;
const MAX_FILES: usize = 1000;
const MAX_GITIGNORE: usize = 64 << 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    files: Vec<AskedFile>,
    git_ignore: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AskedFile {
    path: String,
    size: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    path: String,
    upload_mode: &'static str,
    should_ignore: bool,
    /// What the revision has at the path, in the kind of id that the mode uses; the client
    /// leaves out what has not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    oid: Option<String>,
}

pub(super) async fn preupload(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    request: HttpRequest,
    body: web::Payload,
) -> Answer {
    super::refuse_pull_requests(&Query::of(&request)?)?;
    let asked: Asked = read_json(body, MAX_BODY).await?;
    if asked.files.len() > MAX_FILES {
        return Err(Refusal::bad_request(format!("At most {MAX_FILES} files can be asked about at once.")));
    }
    let model = find_model(&state, &caller, &path.name()?).await?;
    caller.require_writer(&model.name.namespace)?;
    let present = present_ids(&state, &model, &path.revision).await?;
    let ignored = ignored(asked.git_ignore.as_deref())?;
    let files = asked.files.into_iter().map(|file| tell(file, &present, &ignored));
    Ok(HttpResponse::Ok().json(json!({ "files": files.collect::<Answer<Vec<Told>>>()? })))
}

fn tell(file: AskedFile, present: &HashMap<String, (bool, String)>, ignored: &Gitignore) -> Answer<Told> {
    check_path(&file.path)?;
    let ordinary = git::is_ordinary(&file.path, file.size);
    let oid = present.get(&file.path).filter(|(was_ordinary, _)| *was_ordinary == ordinary);
    Ok(Told {
        upload_mode: if ordinary { "regular" } else { "lfs" },
        should_ignore: ignored.matched_path_or_any_parents(&file.path, false).is_ignore(),
        oid: oid.map(|(_, oid)| oid.clone()),
        path: file.path,
    })
}

/// By path: whether the file is an ordinary one, and its id. Nothing on a new branch.
async fn present_ids(state: &State, model: &ModelInfo, revision: &str) -> Answer<HashMap<String, (bool, String)>> {
    let revision = match find_revision(state, model, revision).await {
        Err(refusal) if refusal.is_not_found() => return Ok(HashMap::new()),
        found => found?,
    };
    let files = state.registry.git_files(&revision).await?;
    let named = files.into_iter().map(|(file, id)| {
        let etag = files::etag(&file, id.as_ref());
        (file.path, (id.is_some(), etag))
    });
    Ok(named.collect())
}

fn ignored(text: Option<&str>) -> Answer<Gitignore> {
    let Some(text) = text else { return Ok(Gitignore::empty()) };
    if text.len() > MAX_GITIGNORE {
        return Err(Refusal::bad_request("The .gitignore file is too large."));
    }
    let invalid = |error: ignore::Error| Refusal::bad_request(format!("The .gitignore file is not valid: {error}."));
    let mut builder = GitignoreBuilder::new("");
    for line in text.lines() {
        builder.add_line(None, line).map_err(invalid)?;
    }
    builder.build().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_files_are_those_that_git_ignores() {
        let ignored = ignored(Some("*.log\n/build/\n!keep.log\n")).unwrap();
        let tell = |path: &str| tell(AskedFile { path: path.into(), size: 1 }, &HashMap::new(), &ignored).unwrap();
        for (path, expected) in
            [("a.log", true), ("d/a.log", true), ("build/x", true), ("keep.log", false), ("a", false)]
        {
            assert_eq!(tell(path).should_ignore, expected, "{path}");
        }
    }
}
