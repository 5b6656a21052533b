//! The HTTP server: state, routes, limits and life cycle.

pub(crate) mod access;
pub(crate) mod download;
pub(crate) mod mount;
pub(crate) mod operations;
mod patience;
pub(crate) mod problem;
pub(crate) mod routes;
mod telemetry;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpServer, web};
use registry_core::Registry;

pub(crate) use telemetry::init_metrics;

use self::problem::Failure;
use crate::config::{Config, Network};

/// Largest JSON document, in bytes: a commit of 100,000 files fits.
const MAX_JSON_BYTES: usize = 64 << 20;
const MAX_FORM_BYTES: usize = 64 << 10;

/// What handlers share.
pub(crate) struct State {
    pub(crate) registry: Registry,
    pub(crate) anonymous_read: bool,
    /// Without a slash at its end.
    pub(crate) public_url: String,
    /// Whose word about the client's own request counts.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Larger files are taken in parts of this many bytes from clients that offer it.
    pub(crate) multipart_bytes: u64,
    /// From this size on, files in chunks are offered through Xet as well.
    pub(crate) xet_download_bytes: u64,
    pub(crate) metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// How long a peer may send or take nothing in the middle of a request.
    pub(crate) silence: Duration,
}

/// What handlers share, for what runs before a handler.
pub(crate) fn state(request: &HttpRequest) -> Result<&web::Data<State>, Failure> {
    let missing = || Failure::Core(registry_core::Error::Internal("no state".into()));
    request.app_data::<web::Data<State>>().ok_or_else(missing)
}

impl State {
    pub(crate) fn trusts_proxy(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(peer))
    }
}

/// Serves until the returned handle is told to stop.
pub(crate) fn start(
    config: &Config,
    state: web::Data<State>,
    listener: TcpListener,
) -> std::io::Result<actix_web::dev::Server> {
    patience::drop_deaf_peers(&listener, state.silence)?;
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new()
            .wrap(from_fn(mount::cut_prefix))
            .wrap(from_fn(patience::limit_silence))
            .wrap(from_fn(telemetry::observe))
            .configure(move |config| configure(config, state))
    })
    .workers(config.server.workers)
    .shutdown_timeout(config.server.shutdown_grace_seconds)
    .client_request_timeout(Duration::from_secs(30))
    .disable_signals();
    Ok(server.listen(listener)?.run())
}

/// Everything behind the outermost wrapper: state, limits and every route.
fn configure(config: &mut web::ServiceConfig, state: web::Data<State>) {
    config
        .app_data(state)
        .app_data(json_config())
        .app_data(query_config())
        .app_data(path_config())
        .app_data(web::FormConfig::default().limit(MAX_FORM_BYTES));
    // Before the routes of the Hub, whose paths begin with any two names.
    operations::swagger(config);
    routes::all().configure(config);
    config.default_service(web::route().to(not_found));
}

async fn not_found() -> Result<actix_web::HttpResponse, Failure> {
    Err(Failure::Request(StatusCode::NOT_FOUND, "no-such-route", "No route has this path.".into()))
}

fn json_config() -> web::JsonConfig {
    web::JsonConfig::default().limit(MAX_JSON_BYTES).error_handler(|error, _| match error {
        JsonPayloadError::ContentType => {
            let detail = "The body must be JSON, with the header Content-Type: application/json.".to_owned();
            Failure::Request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail).into()
        }
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
            let limit = MAX_JSON_BYTES as u64;
            Failure::Core(registry_core::Error::TooLarge { what: "the JSON document".into(), limit }).into()
        }
        error => bad_request("invalid-json", &error),
    })
}

fn query_config() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| bad_request("invalid-query", &error))
}

fn path_config() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, _| bad_request("invalid-path-parameter", &error))
}

fn bad_request(code: &'static str, error: &impl ToString) -> actix_web::Error {
    Failure::Request(StatusCode::BAD_REQUEST, code, error.to_string()).into()
}
