//! Reading models: what they are, which files they have, what they were.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use registry_core::{CommitId, Error, MAIN_BRANCH, ModelInfo, PageRequest, RefKind, Revision, rfc3339};
use serde::Deserialize;
use serde_json::{Value, json};

use super::files::{self, Entry};
use super::origin::origin;
use super::query::Query;
use super::refusal::{Answer, Refusal, Sought};
use super::{Data, ModelPath, RevisionPath, find_model, find_revision};
use crate::server::State;
use crate::server::access::Actor;

/// Entries on one page of a listing. llama.cpp reads one page only.
const LISTED: u64 = 10_000;
/// Most paths in one question about paths.
const MAX_PATHS: usize = 10_000;
const COMMITS: u64 = 100;
/// Largest body of a question about paths, in bytes.
const MAX_PATHS_BODY: usize = 4 << 20;

/// A model at its main branch, or at a revision.
pub(super) async fn model(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    request: HttpRequest,
) -> Answer {
    let model = find_model(&state, &caller, &path.name()?).await?;
    let head = state.registry.find_ref(&model, RefKind::Branch, MAIN_BRANCH).await?;
    describe(&state, &model, head, &Query::of(&request)?).await
}

pub(super) async fn model_at(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    request: HttpRequest,
) -> Answer {
    let model = find_model(&state, &caller, &path.name()?).await?;
    let revision = find_revision(&state, &model, &path.revision).await?;
    describe(&state, &model, Some(revision), &Query::of(&request)?).await
}

async fn describe(state: &State, model: &ModelInfo, revision: Option<Revision>, query: &Query) -> Answer {
    let card = match &revision {
        Some(revision) => state.registry.model_card(revision).await?,
        None => None,
    };
    let entries = match &revision {
        Some(revision) => entries(state, revision).await?,
        None => Vec::new(),
    };
    let blobs = query.flag("blobs");
    let mut document = super::model_document(&model.name, model.visibility, revision.as_ref().map(|r| &r.commit));
    let size: u64 = entries.iter().map(|entry| entry.size).sum();
    document["createdAt"] = rfc3339(model.created_at).into();
    document["lastModified"] = rfc3339(revision.map_or(model.created_at, |revision| revision.created_at)).into();
    document["siblings"] = entries.iter().map(|entry| sibling(entry, blobs)).collect::<Vec<_>>().into();
    document["usedStorage"] = size.into();
    if let Some(card) = card {
        super::add_card(&mut document, card);
    }
    Ok(HttpResponse::Ok().json(document))
}

fn sibling(entry: &Entry, blobs: bool) -> Value {
    let mut sibling = json!({ "rfilename": entry.path });
    if blobs {
        sibling["size"] = entry.size.into();
        sibling["blobId"] = entry.oid.clone().into();
        if let Some(lfs) = &entry.lfs {
            sibling["lfs"] = json!({ "size": lfs.size, "sha256": lfs.oid, "pointerSize": lfs.pointer_size });
        }
    }
    sibling
}

/// Whether the caller may read, or write with `/write`.
pub(super) async fn check_read(state: Data, Actor(caller): Actor, path: web::Path<ModelPath>) -> Answer {
    find_model(&state, &caller, &path.name()?).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

pub(super) async fn check_write(state: Data, Actor(caller): Actor, path: web::Path<ModelPath>) -> Answer {
    let model = find_model(&state, &caller, &path.name()?).await?;
    caller.require_writer(&model.name.namespace)?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// A folder in a path.
#[derive(Debug, Deserialize)]
pub(super) struct TreePath {
    namespace: String,
    name: String,
    revision: String,
    #[serde(default)]
    path: String,
}

/// The entries of a folder.
pub(super) async fn tree(state: Data, Actor(caller): Actor, path: web::Path<TreePath>, request: HttpRequest) -> Answer {
    let query = Query::of(&request)?;
    let model = find_model(&state, &caller, &super::name(&path.namespace, &path.name)?).await?;
    let Some(revision) = revision_or_nothing(&state, &model, &path.revision).await? else {
        return Ok(HttpResponse::Ok().json(json!([])));
    };
    let entries = entries(&state, &revision).await?;
    let found = files::listing(&entries, &path.path, query.flag("recursive")).ok_or_else(|| {
        let missing = Error::NotFound(format!("folder {:?} in revision {}", path.path, revision.commit));
        Refusal::from(missing).sought(Sought::Entry).at(&revision.commit)
    })?;
    let page = query.page(LISTED, LISTED)?;
    let after = page.cursor.as_deref();
    let skipped = after.and_then(|after| found.iter().position(|entry| entry.path == after)).map_or(0, |at| at + 1);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let rest = &found[skipped..];
    let shown = &rest[..limit.min(rest.len())];
    let next = (shown.len() < rest.len()).then(|| shown.last()).flatten().map(|entry| entry.path.as_str());
    Ok(with_next(&request, &state, &query, next, &json!(shown)))
}

/// A branch without commits is empty: clients list a repository that they have just made.
async fn revision_or_nothing(state: &State, model: &ModelInfo, name: &str) -> Answer<Option<Revision>> {
    match find_revision(state, model, name).await {
        Err(refusal) if name == MAIN_BRANCH && refusal.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

async fn entries(state: &State, revision: &Revision) -> Answer<Vec<Entry>> {
    let files = state.registry.git_files(revision).await?;
    Ok(files.iter().map(|(file, id)| files::file_entry(file, id.as_ref())).collect())
}

/// An answer with a link to its next page. Clients follow absolute links only.
pub(super) fn with_next(
    request: &HttpRequest,
    state: &State,
    query: &Query,
    next: Option<&str>,
    rows: &Value,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if let Some(next) = next {
        let url = format!("{}{}?{}", origin(request, state), request.uri().path(), query.with_cursor(next));
        response.insert_header((header::LINK, format!("<{url}>; rel=\"next\"")));
    }
    response.json(rows)
}

#[derive(Debug, Deserialize)]
struct Paths {
    paths: OneOrMany,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The entries at some paths; those that are not there are left out. Python sends a form, the
/// Rust client JSON.
pub(super) async fn paths_info(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    request: HttpRequest,
    body: web::Payload,
) -> Answer {
    let body = super::read_body(body, MAX_PATHS_BODY).await?;
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let paths = asked_paths(&body, is_json)?;
    let model = find_model(&state, &caller, &path.name()?).await?;
    let revision = find_revision(&state, &model, &path.revision).await?;
    let entries = entries(&state, &revision).await?;
    let mut all = files::listing(&entries, "", true).unwrap_or_default();
    all.retain(|entry| paths.contains(entry.path.as_str()));
    Ok(HttpResponse::Ok().json(all))
}

fn asked_paths(body: &[u8], is_json: bool) -> Answer<std::collections::HashSet<String>> {
    let paths = if is_json {
        let parsed: Paths = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad_request(format!("The body does not parse: {error}.")))?;
        match parsed.paths {
            OneOrMany::One(path) => vec![path],
            OneOrMany::Many(paths) => paths,
        }
    } else {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::bad_request("The body is not UTF-8."))?;
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(text)
            .map_err(|error| Refusal::bad_request(format!("The body does not parse: {error}.")))?;
        pairs.into_iter().filter(|(key, _)| key == "paths").map(|(_, path)| path).collect()
    };
    if paths.len() > MAX_PATHS {
        return Err(Error::TooLarge { what: "the list of paths".into(), limit: MAX_PATHS as u64 }.into());
    }
    Ok(paths.into_iter().map(|path| path.trim_end_matches('/').to_owned()).collect())
}

/// Branches and tags. `main` comes first: llama.cpp takes the first one.
pub(super) async fn refs(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    request: HttpRequest,
) -> Answer {
    let model = find_model(&state, &caller, &path.name()?).await?;
    let mut all = state.registry.list_refs(&model).await?;
    all.sort_by_key(|reference| reference.name != MAIN_BRANCH);
    let named = |kind: RefKind, prefix: &str| -> Vec<Value> {
        let of_kind = all.iter().filter(|reference| reference.kind == kind);
        of_kind
            .map(|reference| {
                json!({
                    "name": reference.name,
                    "ref": format!("{prefix}{}", reference.name),
                    "targetCommit": reference.commit.as_str(),
                })
            })
            .collect()
    };
    let mut document = json!({
        "branches": named(RefKind::Branch, "refs/heads/"),
        "tags": named(RefKind::Tag, "refs/tags/"),
        "converts": [],
    });
    if Query::of(&request)?.flag("include_prs") {
        document["pullRequests"] = json!([]);
    }
    Ok(HttpResponse::Ok().json(document))
}

/// A revision and its ancestors, newest first.
pub(super) async fn commits(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    request: HttpRequest,
) -> Answer {
    let query = Query::of(&request)?;
    let model = find_model(&state, &caller, &path.name()?).await?;
    let Some(revision) = revision_or_nothing(&state, &model, &path.revision).await? else {
        return Ok(HttpResponse::Ok().json(json!([])));
    };
    let page: PageRequest = query.page(COMMITS, COMMITS)?;
    let (revisions, next) = state.registry.history(&model, &revision, &page).await?;
    let rows: Vec<Value> = revisions.iter().map(commit_row).collect();
    Ok(with_next(&request, &state, &query, next.as_ref().map(CommitId::as_str), &json!(rows)))
}

fn commit_row(revision: &Revision) -> Value {
    let (title, message) = revision.message.split_once('\n').unwrap_or((&revision.message, ""));
    json!({
        "id": revision.commit.as_str(),
        "title": title,
        "message": message.trim_start(),
        "date": rfc3339(revision.created_at),
        "authors": [{ "user": revision.author }],
        "parents": revision.parents.iter().map(CommitId::as_str).collect::<Vec<_>>(),
    })
}
