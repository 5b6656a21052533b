//! Licenses: the catalog, what is known and concluded about a revision, and what people record.

use actix_web::{HttpResponse, web};
use registry_core::{Error, LicenseRecord, LicenseView, NewLicenseRecord, now_ms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::license::explain::{Explained, explain};
use verifier::license::record::Body;
use verifier::number::optional_whole_number;
use verifier::policy::Use;

use super::{Data, RevisionPath, syntax};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// Every license of the catalog, explained.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Licenses<'a> {
    /// Names the data that was asked.
    catalog_version: String,
    items: Vec<Explained<'a>>,
}

/// The licenses that are known here.
#[utoipa::path(get, path = "/v1/licenses", tag = "licenses",
    responses((status = 200, body = Licenses), (status = 401, body = Problem)))]
pub(crate) async fn list(state: Data, Actor(_caller): Actor) -> Answer {
    let catalog = &state.registry.settings().catalog;
    let items = catalog.licenses().iter().map(explain).collect();
    Ok(HttpResponse::Ok().json(Licenses { catalog_version: catalog.version().to_owned(), items }))
}

/// A license by its id or by the one name that the Hub gives it, explained in plain words.
#[utoipa::path(get, path = "/v1/licenses/{id}", tag = "licenses", params(("id" = String, Path)),
    responses((status = 200, body = Explained), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn show(state: Data, Actor(_caller): Actor, id: web::Path<String>) -> Answer {
    let rows = state.registry.settings().catalog.named(&id);
    let [row] = rows.as_slice() else { return Err(Error::NotFound(format!("license {id}")).into()) };
    Ok(HttpResponse::Ok().json(explain(row)))
}

/// Which use to judge.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct UseParams {
    /// Default: the caller's environment.
    environment: Option<String>,
    /// `key=value,key=value`, put over the environment's default use.
    r#use: Option<String>,
}

/// What is known and concluded about a revision's licenses, and what follows for a use.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/license", tag = "licenses",
    params(RevisionPath, UseParams),
    responses((status = 200, body = LicenseView), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn view(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    query: web::Query<UseParams>,
) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let environment = query.environment.as_deref().unwrap_or_else(|| caller.environment());
    let stated: Result<Use, _> = query.r#use.as_deref().unwrap_or_default().parse();
    let stated = stated.map_err(|error| Error::invalid("use", error.to_string()))?;
    Ok(HttpResponse::Ok().json(state.registry.license_view(&model, &revision, environment, &stated).await?))
}

/// A record to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MakeRecord {
    #[serde(flatten)]
    pub(crate) body: Body,
    /// Days until it ends; without it there is no end.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_whole_number")]
    #[schema(minimum = 1, maximum = 36500)]
    pub(crate) expires_in_days: Option<u64>,
}

/// Records a conclusion, an approval, a duty that was done, a component or a parent.
///
/// It holds while the facts it was made from stay as they are.
#[utoipa::path(post, path = "/v1/models/{namespace}/{name}/revisions/{revision}/license/records", tag = "licenses",
    params(RevisionPath), request_body = MakeRecord,
    responses((status = 201, body = LicenseRecord), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 410, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn record(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    body: web::Json<MakeRecord>,
) -> Answer {
    let body = body.into_inner();
    let (model, revision) = path.find(&state, &caller).await?;
    let new = NewLicenseRecord { body: body.body, expires_at: body.expires_in_days.map(end).transpose()? };
    let made = state.registry.add_license_record(&caller, &model, &revision, new).await?;
    Ok(HttpResponse::Created().json(made))
}

fn end(days: u64) -> Result<i64, Error> {
    let milliseconds = i64::try_from(days).ok().filter(|days| (1..=36_500).contains(days));
    let milliseconds = milliseconds.map(|days| days * 86_400_000);
    milliseconds
        .map(|end| now_ms() + end)
        .ok_or_else(|| Error::invalid("expires_in_days", "must be between 1 and 36500"))
}

/// A record in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RecordPath {
    #[param(value_type = syntax::Segment)]
    namespace: String,
    #[param(value_type = syntax::Segment)]
    name: String,
    /// A commit, branch or tag.
    revision: String,
    id: String,
}

/// Ends a record; what followed from it is judged again.
#[utoipa::path(delete, path = "/v1/models/{namespace}/{name}/revisions/{revision}/license/records/{id}",
    tag = "licenses", params(RecordPath),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn end_record(state: Data, Actor(caller): Actor, path: web::Path<RecordPath>) -> Answer {
    let name = format!("{}/{}", path.namespace, path.name).parse()?;
    let model = state.registry.find_model(&caller, &name).await?;
    let revision = state.registry.find_revision(&model, &path.revision).await?;
    state.registry.end_license_record(&caller, &model, &revision, &path.id).await?;
    Ok(HttpResponse::NoContent().finish())
}
