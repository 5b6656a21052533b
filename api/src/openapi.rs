//! The OpenAPI document, generated from the handlers. No database or server is needed.

use actix_web::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

use crate::log;
use crate::server::access::Permission;
use crate::server::{operations, problem, routes};
use crate::v1::syntax::Namespaces;
use crate::v1::{
    aibom, audit, files, governance, identity, license, models, probes, refs, reports, revisions, trust, uploads,
    weights,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weighhouse",
        description = "Registry and governance of open-weight models. Errors are RFC 9457 problem documents.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        operations::healthz,
        operations::readyz,
        operations::metrics_text,
        operations::openapi_json,
        identity::server,
        identity::whoami,
        identity::tokens,
        identity::issue,
        identity::revoke,
        identity::members,
        identity::set_member,
        identity::remove_member,
        models::list,
        models::create,
        models::show,
        models::change,
        models::remove,
        uploads::declare,
        uploads::show,
        uploads::send,
        uploads::abort,
        revisions::commit,
        revisions::list,
        revisions::show,
        weights::tensors,
        weights::show,
        probes::list,
        probes::request,
        revisions::attach_signature,
        aibom::show,
        files::download,
        refs::list,
        refs::set,
        refs::remove,
        refs::history,
        license::list,
        license::show,
        license::view,
        license::record,
        license::end_record,
        governance::gate,
        governance::decision,
        governance::jobs,
        governance::retry,
        audit::model_events,
        audit::events,
        audit::checkpoint,
        audit::verify,
        audit::proof,
        audit::leaf,
        audit::consistency,
        audit::keys,
        log::checkpoint,
        log::trusted_root,
        log::tile,
        log::entries,
        reports::license,
        trust::view,
        trust::bundle,
        trust::countersign,
        trust::policy,
        trust::dry_run,
        trust::roots,
        trust::import_root,
        trust::revocations,
        trust::import_revocations,
    ),
    // Only parameters use these, and the derive collects no schemas of parameters.
    components(schemas(registry_core::JobState, Namespaces)),
    security(("token" = []))
)]
struct Api;

const JSON: &str = "application/json";

/// Enums of answers that will grow: readers must expect values that they do not know. Every
/// other enum of an answer is closed for good. `openapi/README.md` has the rule.
const OPEN_ENUMS: [&str; 4] = ["LicenseSource", "LineageSource", "MatchKind", "ModelKind"];

/// The document of this release.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Api::openapi();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", bearer);
    for name in OPEN_ENUMS {
        if let Some(RefOr::T(Schema::Object(schema))) = components.schemas.get_mut(name) {
            schema.extensions.get_or_insert_default().insert("x-open-enum".to_owned(), true.into());
        }
    }
    open_reads(&mut document.paths);
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        add_refusals(operation);
        name_problems(operation);
    }
    document
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = path;
    [get, put, post, delete, patch].into_iter().filter_map(Option::as_mut)
}

/// What anyone may read where anonymous readers are allowed needs no token there.
fn open_reads(paths: &mut Paths) {
    let reads = routes::all().entries.into_iter().filter(|entry| entry.permission == Permission::Read);
    for entry in reads {
        let path = paths.paths.get_mut(&entry.path.replace(":.*}", "}"));
        if let Some(operation) = path.and_then(|path| path.get.as_mut()).filter(|_| entry.method == Method::GET) {
            let token = SecurityRequirement::new("token", [""; 0]);
            operation.security = Some(vec![SecurityRequirement::default(), token]);
        }
    }
}

/// What is answered before a handler runs, because a request does not parse.
fn add_refusals(operation: &mut Operation) {
    let json = matches!(&operation.request_body, Some(RefOr::T(body)) if body.content.contains_key(JSON));
    let parsed = json || operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    let refusals = [
        (parsed, "400", "The request does not parse"),
        (json, "413", "The body is larger than the limit"),
        (json, "415", "The body is not JSON"),
    ];
    for (_, status, description) in refusals.into_iter().filter(|(applies, ..)| *applies) {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let refusal = ResponseBuilder::new().description(description).content(JSON, content);
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| refusal.build().into());
    }
}

/// Problem documents have a media type of their own.
fn name_problems(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        if response.content.get(JSON).is_some_and(is_problem) {
            let problem = response.content.drain(..).map(|(_, content)| (problem::CONTENT_TYPE.to_owned(), content));
            response.content = problem.collect();
        }
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let problem = RefOr::from(Ref::from_schema_name("Problem"));
    matches!(content, RefOr::T(content) if content.schema.as_ref() == Some(&problem))
}
