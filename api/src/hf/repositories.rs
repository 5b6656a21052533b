//! Creating, renaming, hiding and deleting models, and checking a card before its upload.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use registry_core::{Error, ModelChange, ModelKind, ModelName, Visibility};
use serde::Deserialize;
use serde_json::{Value, json};
use verifier::policy::Reason;

use super::origin::origin;
use super::refusal::{Answer, Refusal, Sought};
use super::{Data, ModelPath, read_json};
use crate::server::access::Actor;

/// Largest body of these requests, in bytes; a model card is the largest thing in them.
const MAX_BODY: usize = 2 << 20;

/// A repository in a body: the Hub splits its name, and not every client does.
#[derive(Debug, Deserialize)]
struct Repository {
    name: String,
    organization: Option<String>,
    r#type: Option<String>,
    visibility: Option<String>,
    private: Option<bool>,
}

impl Repository {
    /// The model's name. A name without a namespace is the caller's own, as on the Hub.
    fn model(&self, subject: &str) -> Answer<ModelName> {
        check_type(self.r#type.as_deref())?;
        match (&self.organization, self.name.split_once('/')) {
            (Some(namespace), None) => super::name(namespace, &self.name),
            (None, Some((namespace, name))) => super::name(namespace, name),
            (None, None) => super::name(subject, &self.name),
            (Some(_), Some(_)) => Err(Refusal::bad_request("The repository is named with two namespaces.")),
        }
    }
}

fn check_type(kind: Option<&str>) -> Answer<()> {
    match kind {
        None | Some("model") => Ok(()),
        Some(other) => {
            Err(Refusal::bad_request(format!("This registry keeps models; it has no repositories of type {other}.")))
        }
    }
}

/// `private` is what older clients say.
fn visibility(visibility: Option<&str>, private: Option<bool>) -> Answer<Option<Visibility>> {
    match (visibility, private) {
        (Some("private"), _) | (None, Some(true)) => Ok(Some(Visibility::Private)),
        (Some("public"), _) | (None, Some(false)) => Ok(Some(Visibility::Public)),
        // Seen by everyone who belongs here.
        (Some("protected" | "internal"), _) => Ok(Some(Visibility::Internal)),
        (Some(other), _) => {
            Err(Refusal::bad_request(format!("{other} is not a visibility: use private, internal or public.")))
        }
        (None, None) => Ok(None),
    }
}

/// Creates a model. One that is there is a conflict that names its URL.
pub(super) async fn create(state: Data, Actor(caller): Actor, request: HttpRequest, body: web::Payload) -> Answer {
    let asked: Repository = read_json(body, MAX_BODY).await?;
    let name = asked.model(caller.subject())?;
    let visibility = visibility(asked.visibility.as_deref(), asked.private)?.unwrap_or(Visibility::Private);
    let document = |error: Option<&str>| {
        let url = format!("{}/{name}", origin(&request, &state));
        let mut document = json!({ "url": url, "name": name.to_string(), "id": name.to_string() });
        if let Some(error) = error {
            document["error"] = error.into();
        }
        document
    };
    match state.registry.create_model(&caller, &name, ModelKind::Model, visibility).await {
        Ok(_) => Ok(HttpResponse::Ok().json(document(None))),
        Err(Error::Exists(_)) => {
            // Whoever may not see it learns no more than that the name is taken.
            let message = "You already created this model repo";
            Ok(HttpResponse::Conflict().insert_header(("X-Error-Message", message)).json(document(Some(message))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes a model. Its name stays reserved.
pub(super) async fn remove(state: Data, Actor(caller): Actor, body: web::Payload) -> Answer {
    let asked: Repository = read_json(body, MAX_BODY).await?;
    let name = asked.model(caller.subject())?;
    let deleted = state.registry.delete_model(&caller, &name).await;
    deleted.map_err(|error| Refusal::from(error).sought(Sought::Repository))?;
    Ok(HttpResponse::Ok().json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    from_repo: String,
    to_repo: String,
    r#type: Option<String>,
}

/// Renames a model. The old name keeps leading to it.
pub(super) async fn rename(state: Data, Actor(caller): Actor, request: HttpRequest, body: web::Payload) -> Answer {
    let asked: Move = read_json(body, MAX_BODY).await?;
    check_type(asked.r#type.as_deref())?;
    let (from, to): (ModelName, ModelName) = (asked.from_repo.parse()?, asked.to_repo.parse()?);
    let change = ModelChange { name: Some(to), visibility: None };
    let model = state.registry.change_model(&caller, &from, change).await;
    let model = model.map_err(|error| Refusal::from(error).sought(Sought::Repository))?;
    Ok(HttpResponse::Ok().json(json!({ "url": format!("{}/{}", origin(&request, &state), model.name) })))
}

#[derive(Debug, Deserialize)]
struct Settings {
    visibility: Option<String>,
    private: Option<bool>,
    gated: Option<Value>,
}

/// Changes who sees a model.
pub(super) async fn settings(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<ModelPath>,
    body: web::Payload,
) -> Answer {
    let asked: Settings = read_json(body, MAX_BODY).await?;
    if asked.gated.is_some_and(|gated| gated != Value::Bool(false)) {
        return Err(Refusal::bad_request(
            "Access requests are not part of this registry: roles and the gate's policy decide who reads a model.",
        ));
    }
    let visibility = visibility(asked.visibility.as_deref(), asked.private)?;
    let change = ModelChange { name: None, visibility };
    let model = state.registry.change_model(&caller, &path.name()?, change).await;
    let model = model.map_err(|error| Refusal::from(error).sought(Sought::Repository))?;
    Ok(HttpResponse::Ok().json(json!({ "visibility": model.visibility.as_str() })))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CardCheck {
    content: String,
    repo_type: Option<String>,
}

/// Says what the gate will say of a card's license, before any byte of the model moves.
pub(super) async fn validate_card(state: Data, Actor(caller): Actor, body: web::Payload) -> Answer {
    let asked: CardCheck = read_json(body, MAX_BODY).await?;
    check_type(asked.repo_type.as_deref())?;
    let opinion = state.registry.judge_card(caller.environment(), &asked.content)?;
    let document = json!({ "errors": messages(&opinion.errors), "warnings": messages(&opinion.warnings) });
    let status = if opinion.errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok(HttpResponse::build(status).json(document))
}

fn messages(reasons: &[Reason]) -> Vec<Value> {
    let text = |reason: &Reason| format!("{} {}", reason.msg, reason.remedy.as_deref().unwrap_or_default());
    reasons.iter().map(|reason| json!({ "message": text(reason).trim_end(), "code": reason.code })).collect()
}
