//! Branches and tags.

use actix_web::{HttpResponse, web};
use registry_core::{Error, Expected, MAIN_BRANCH, ModelInfo, RefKind, Revision};
use serde::Deserialize;
use serde_json::json;

use super::refusal::{Answer, Refusal, Sought};
use super::{Data, find_model, find_revision, read_json};
use crate::server::State;
use crate::server::access::Actor;

const MAX_BODY: usize = 64 << 10;

/// A ref in a path: a new branch, a tag to delete, or the revision to tag.
#[derive(Debug, Deserialize)]
pub(super) struct RefPath {
    namespace: String,
    name: String,
    r#ref: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewBranch {
    starting_point: Option<String>,
}

#[derive(Debug, Deserialize)]
struct NewTag {
    tag: String,
}

pub(super) async fn create_branch(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RefPath>,
    body: web::Payload,
) -> Answer {
    let body = super::read_body(body, MAX_BODY).await?;
    let asked: NewBranch = if body.is_empty() { NewBranch::default() } else { super::parse_json(&body)? };
    let model = find_model(&state, &caller, &super::name(&path.namespace, &path.name)?).await?;
    let start = find_revision(&state, &model, asked.starting_point.as_deref().unwrap_or(MAIN_BRANCH)).await?;
    check_absent(&state, &model, RefKind::Branch, &path.r#ref).await?;
    state.registry.set_ref(&caller, &model, RefKind::Branch, &path.r#ref, &start, &Expected::Absent).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// The ref in the path is the revision; the tag's name is in the body.
pub(super) async fn create_tag(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RefPath>,
    body: web::Payload,
) -> Answer {
    let asked: NewTag = read_json(body, MAX_BODY).await?;
    let model = find_model(&state, &caller, &super::name(&path.namespace, &path.name)?).await?;
    let revision: Revision = find_revision(&state, &model, &path.r#ref).await?;
    check_absent(&state, &model, RefKind::Tag, &asked.tag).await?;
    state.registry.set_ref(&caller, &model, RefKind::Tag, &asked.tag, &revision, &Expected::Absent).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// Clients that allow an existing ref ask for this conflict, also where it is the same.
async fn check_absent(state: &State, model: &ModelInfo, kind: RefKind, name: &str) -> Answer<()> {
    match state.registry.find_ref(model, kind, name).await? {
        Some(_) => Err(Error::Exists(format!("{} {name}", kind.as_str())).into()),
        None => Ok(()),
    }
}

pub(super) async fn delete_branch(state: Data, actor: Actor, path: web::Path<RefPath>) -> Answer {
    remove(state, actor, path, RefKind::Branch).await
}

pub(super) async fn delete_tag(state: Data, actor: Actor, path: web::Path<RefPath>) -> Answer {
    remove(state, actor, path, RefKind::Tag).await
}

async fn remove(state: Data, Actor(caller): Actor, path: web::Path<RefPath>, kind: RefKind) -> Answer {
    let model = find_model(&state, &caller, &super::name(&path.namespace, &path.name)?).await?;
    let removed = state.registry.delete_ref(&caller, &model, kind, &path.r#ref).await;
    removed.map_err(|error| Refusal::from(error).sought(Sought::Revision))?;
    Ok(HttpResponse::Ok().json(json!({})))
}
