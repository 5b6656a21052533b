//! The Hugging Face Hub's API, as its stock clients use it.
//!
//! A thin dialect over the core: what a request means here is what it means at `/v1`. The
//! shapes follow the clients' sources, not a specification, because there is none.

mod commit;
mod files;
mod lfs;
mod list;
mod ndjson;
mod origin;
mod pages;
mod preupload;
mod query;
mod read;
mod refs;
mod refusal;
mod repositories;
mod resolve;
mod xet;

pub(crate) use refusal::Refusal;

use actix_web::http::Method;
use actix_web::web;
use bytes::BytesMut;
use futures::StreamExt;
use registry_core::{Caller, CommitId, Error, ModelInfo, ModelName, Revision, Role, Visibility};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use self::query::Query;
use self::refusal::{Answer, Sought};
use crate::server::State;
use crate::server::access::Permission;
use crate::server::routes::RouteTable;
use crate::v1::{ModelPath, RevisionPath};

type Data = web::Data<State>;

const READ: Permission = Permission::Read;
const WRITE: Permission = Permission::Scope(Role::Writer);
const MAINTAIN: Permission = Permission::Scope(Role::Maintainer);
const ANY_TOKEN: Permission = Permission::Scope(Role::Reader);

pub(crate) fn routes(table: &mut RouteTable) {
    read_routes(table);
    write_routes(table);
    lfs::routes(table);
    xet::routes(table);
    pages::routes(table);
}

fn read_routes(table: &mut RouteTable) {
    let (get, post) = (Method::GET, Method::POST);
    table.add(get.clone(), "/api/agent-harnesses", Permission::Public, list::agent_harnesses);
    table.add(get.clone(), "/api/whoami-v2", ANY_TOKEN, list::whoami);
    table.add(get.clone(), "/api/models", READ, list::models);
    table.add(get.clone(), "/api/models/{namespace}/{name}", READ, read::model);
    table.add(get.clone(), "/api/models/{namespace}/{name}/revision/{revision}", READ, read::model_at);
    table.add(get.clone(), "/api/models/{namespace}/{name}/tree/{revision}", READ, read::tree);
    table.add(get.clone(), "/api/models/{namespace}/{name}/tree/{revision}/{path:.*}", READ, read::tree);
    table.add(post, "/api/models/{namespace}/{name}/paths-info/{revision}", READ, read::paths_info);
    table.add(get.clone(), "/api/models/{namespace}/{name}/refs", READ, read::refs);
    table.add(get.clone(), "/api/models/{namespace}/{name}/commits/{revision}", READ, read::commits);
    table.add(get.clone(), "/api/models/{namespace}/{name}/auth-check", READ, read::check_read);
    table.add(get.clone(), "/api/models/{namespace}/{name}/auth-check/write", WRITE, read::check_write);
    table.add(get.clone(), "/{namespace}/{name}/resolve/{revision}/{path:.*}", READ, resolve::resolve);
    table.add(get, "/{namespace}/{name}/raw/{revision}/{path:.*}", READ, resolve::raw);
}

fn write_routes(table: &mut RouteTable) {
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    table.add(post.clone(), "/api/repos/create", WRITE, repositories::create);
    table.add(delete.clone(), "/api/repos/delete", MAINTAIN, repositories::remove);
    table.add(post.clone(), "/api/repos/move", MAINTAIN, repositories::rename);
    table.add(put, "/api/models/{namespace}/{name}/settings", MAINTAIN, repositories::settings);
    table.add(post.clone(), "/api/validate-yaml", READ, repositories::validate_card);
    table.add(post.clone(), "/api/models/{namespace}/{name}/preupload/{revision}", WRITE, preupload::preupload);
    table.add(post.clone(), "/api/models/{namespace}/{name}/commit/{revision}", WRITE, commit::commit);
    table.add(post.clone(), "/api/models/{namespace}/{name}/branch/{ref}", WRITE, refs::create_branch);
    table.add(delete.clone(), "/api/models/{namespace}/{name}/branch/{ref}", MAINTAIN, refs::delete_branch);
    table.add(post, "/api/models/{namespace}/{name}/tag/{ref}", WRITE, refs::create_tag);
    table.add(delete, "/api/models/{namespace}/{name}/tag/{ref}", MAINTAIN, refs::delete_tag);
}

fn name(namespace: &str, name: &str) -> Answer<ModelName> {
    Ok(format!("{namespace}/{name}").parse()?)
}

async fn find_model(state: &State, caller: &Caller, name: &ModelName) -> Answer<ModelInfo> {
    let found = state.registry.find_model(caller, name).await;
    found.map_err(|error| Refusal::from(error).sought(Sought::Repository))
}

async fn find_revision(state: &State, model: &ModelInfo, name: &str) -> Answer<Revision> {
    // Clients name branches as git does, too, and the main one `HEAD`.
    let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).unwrap_or(name);
    let short = if short == "HEAD" { registry_core::MAIN_BRANCH } else { short };
    let found = state.registry.find_revision(model, short).await;
    found.map_err(|error| Refusal::from(error).sought(Sought::Revision))
}

/// What every description of a model begins with.
fn model_document(name: &ModelName, visibility: Visibility, commit: Option<&CommitId>) -> Value {
    json!({
        "_id": name.to_string(),
        "id": name.to_string(),
        "modelId": name.to_string(),
        "author": name.namespace,
        "sha": commit.map(CommitId::as_str),
        "private": visibility != Visibility::Public,
        "gated": false,
        "disabled": false,
        "downloads": 0,
        "likes": 0,
        "tags": [],
    })
}

/// What the model card says, where clients look for it.
fn add_card(document: &mut Value, card: Map<String, Value>) {
    let mut tags: Vec<Value> = Vec::new();
    for (key, prefix) in [("tags", ""), ("library_name", ""), ("pipeline_tag", ""), ("license", "license:")] {
        let values = match card.get(key) {
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        tags.extend(values.iter().filter_map(Value::as_str).map(|value| format!("{prefix}{value}").into()));
    }
    document["tags"] = tags.into();
    for key in ["library_name", "pipeline_tag"] {
        if let Some(value) = card.get(key).filter(|value| value.is_string()) {
            document[key] = value.clone();
        }
    }
    document["cardData"] = card.into();
}

/// A body of at most `limit` bytes.
async fn read_body(mut body: web::Payload, limit: usize) -> Answer<bytes::Bytes> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Refusal::bad_request(format!("The body ended early: {error}.")))?;
        if whole.len() + chunk.len() > limit {
            return Err(Error::TooLarge { what: "the body".into(), limit: limit as u64 }.into());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// A JSON body, whatever media type the client gives it.
async fn read_json<T: DeserializeOwned>(body: web::Payload, limit: usize) -> Answer<T> {
    parse_json(&read_body(body, limit).await?)
}

fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Answer<T> {
    serde_json::from_slice(text).map_err(|error| Refusal::bad_request(format!("The body does not parse: {error}.")))
}

fn refuse_pull_requests(query: &Query) -> Answer<()> {
    if query.flag("create_pr") {
        return Err(Refusal::bad_request("This registry has no pull requests; commit to a branch instead."));
    }
    Ok(())
}
