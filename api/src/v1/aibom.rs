//! The bill of materials of a revision.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::aibom::{self, Documentation};

use super::{Data, RevisionPath};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

/// How a bill of materials is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[schema(as = AibomFormat)]
pub(crate) enum Format {
    /// CycloneDX 1.7, as JSON
    #[default]
    Cyclonedx,
    /// SPDX 3.0.1 with its AI and Dataset profiles, as JSON-LD
    Spdx,
    /// A draft of the technical documentation that the EU AI Act asks for
    Documentation,
}

impl Format {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Cyclonedx => "application/vnd.cyclonedx+json; version=1.7",
            Self::Spdx => "application/spdx+json",
            Self::Documentation => "application/json",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AibomParams {
    #[serde(default)]
    #[param(inline)]
    pub(crate) format: Format,
}

/// The bill of materials of a revision, once its license has been judged. The same evidence gives
/// the same bytes.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/aibom", tag = "revisions",
    operation_id = "aibom", params(RevisionPath, AibomParams),
    responses(
        (status = 200, content(
            (Object = "application/vnd.cyclonedx+json"),
            (Object = "application/spdx+json"),
            (Documentation = "application/json"))),
        (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, description = "The license has not been judged yet, or a value is not valid", body = Problem)))]
pub(crate) async fn show(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    query: web::Query<AibomParams>,
) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let location = format!("{}/models/{}", state.public_url, model.name);
    let subject = state.registry.aibom_subject(&caller, &model, &revision, location).await?;
    let mut response = HttpResponse::Ok();
    response.content_type(query.format.content_type());
    Ok(match query.format {
        Format::Cyclonedx => response.json(aibom::cyclonedx(&subject)),
        Format::Spdx => response.json(aibom::spdx(&subject)),
        Format::Documentation => response.json(aibom::technical_documentation(&subject)),
    })
}
