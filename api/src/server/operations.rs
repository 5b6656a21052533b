//! Health, metrics and the API's own documentation.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use registry_core::{Error, JobState};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_swagger_ui::SwaggerUi;

use super::State;
use super::access::Permission;
use super::problem::{Answer, Problem};
use super::routes::RouteTable;
use crate::openapi;

/// How long database and store may take to answer. Balancers give up sooner than a pool of
/// connections does.
const READINESS_LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn routes(table: &mut RouteTable) {
    table.add(Method::GET, "/healthz", Permission::Public, healthz);
    table.add(Method::GET, "/readyz", Permission::Public, readyz);
    table.add(Method::GET, "/metrics", Permission::Read, metrics_text);
    table.add(Method::GET, "/openapi.json", Permission::Public, openapi_json);
}

/// Swagger UI out of the binary. Its files are static and say nothing about the registry.
pub(crate) fn swagger(config: &mut web::ServiceConfig) {
    let page = SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::from("/openapi.json"));
    config.service(page);
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok` or `unavailable`.
    status: &'static str,
    version: &'static str,
    /// The server's clock, RFC 3339: a wrong one makes certificates and tokens look expired.
    time: String,
    /// Names of trust roots that are older than the operator wants them to be: what was signed
    /// under newer keys of theirs cannot be verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aging_trust_roots: Vec<String>,
}

fn health(status: &'static str) -> Health {
    let time = registry_core::rfc3339(registry_core::now_ms());
    Health { status, version: env!("CARGO_PKG_VERSION"), time, aging_trust_roots: Vec::new() }
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(health("ok"))
}

/// Whether database and store answer and the schema is current.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn readyz(state: web::Data<State>) -> HttpResponse {
    let silent = || Err(Error::Internal(format!("no answer within {} s", READINESS_LIMIT.as_secs())));
    match tokio::time::timeout(READINESS_LIMIT, state.registry.check_ready()).await.unwrap_or_else(|_| silent()) {
        Ok(()) => {
            let roots = state.registry.trust_roots().await.unwrap_or_default();
            let aging = roots.into_iter().filter(|root| root.aging).map(|root| root.name);
            HttpResponse::Ok().json(Health { aging_trust_roots: aging.collect(), ..health("ok") })
        }
        Err(error) => {
            tracing::warn!(%error, "not ready");
            HttpResponse::ServiceUnavailable().json(health("unavailable"))
        }
    }
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, content_type = "text/plain", body = String), (status = 401, body = Problem)))]
pub(crate) async fn metrics_text(state: web::Data<State>) -> Answer {
    let counts = state.registry.job_counts().await?;
    // A state without jobs has to fall back to zero.
    for job_state in [JobState::Queued, JobState::Running, JobState::Dead].map(JobState::as_str) {
        let number = counts.iter().find(|(name, _)| name == job_state).map_or(0, |(_, number)| *number);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("weighhouse_jobs", "state" => job_state).set(number as f64);
    }
    for root in state.registry.trust_roots().await? {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let days = root.age_days.unwrap_or_default() as f64;
        metrics::gauge!("weighhouse_trust_root_age_days", "root" => root.name).set(days);
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.render()))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, body = BTreeMap<String, serde_json::Value>)))]
pub(crate) async fn openapi_json() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}
