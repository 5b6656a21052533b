//! The OpenAPI document, generated from the handlers. No database or server is needed.

use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::server::operations;
use crate::v1::{files, governance, identity, models, refs, revisions, uploads};

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
        revisions::attach_signature,
        files::download,
        refs::list,
        refs::set,
        refs::remove,
        refs::history,
        governance::gate,
        governance::decision,
        governance::jobs,
        governance::retry,
        governance::model_events,
        governance::events,
        governance::checkpoint,
        governance::verify,
    ),
    security(("token" = []))
)]
struct Api;

/// Enums of answers that will grow: readers must expect values that they do not know. Every
/// other enum of an answer is closed for good. `openapi/README.md` has the rule.
const OPEN_ENUMS: [&str; 2] = ["LicenseSource", "ModelKind"];

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
    document
}
