//! One log line and two metrics per request, and the request id that ties them together.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing::Instrument;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;

/// Upper bounds of the latency histogram, in seconds.
const LATENCY_BUCKETS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Installs the recorder; call once per process.
pub(crate) fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS)?.install_recorder()
}

/// Wraps every request: id, log line, metrics and the headers that every answer carries.
pub(crate) async fn observe<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let id = request_id(&request);
    let method = request.method().to_string();
    let path = without_capability(request.path());
    let span = tracing::info_span!("request", request_id = %id, method, path);
    let started = Instant::now();
    let mut response = next.call(request).instrument(span.clone()).await?;
    let route = response.request().match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    span.in_scope(|| tracing::info!(status, milliseconds = seconds * 1000.0, "answered"));
    let labels = [("method", method), ("route", route), ("status", status.to_string())];
    metrics::counter!("weighhouse_http_requests_total", &labels).increment(1);
    metrics::histogram!("weighhouse_http_request_seconds", &labels).record(seconds);
    add_headers(&mut response, &id);
    Ok(response)
}

/// Below these paths a segment is a right for whoever holds it, and logs are read by many.
const CAPABILITIES: [&str; 3] = ["/lfs/upload/", "/lfs/download/", "/xet/fetch/"];

fn without_capability(path: &str) -> String {
    for prefix in CAPABILITIES {
        if let Some((before, rest)) = path.split_once(prefix) {
            let rest = rest.find('/').map_or("", |end| &rest[end..]);
            return format!("{before}{prefix}…{rest}");
        }
    }
    path.to_owned()
}

/// The caller's id if it is harmless, else a new one.
fn request_id(request: &ServiceRequest) -> String {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=LONGEST_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(harmless).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn add_headers<B>(response: &mut ServiceResponse<B>, id: &str) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_do_not_hold_what_opens_a_door() {
        assert_eq!(without_capability("/lfs/upload/secret.tag/parts/1"), "/lfs/upload/…/parts/1");
        assert_eq!(without_capability("/t1/hf/xet/fetch/secret.tag"), "/t1/hf/xet/fetch/…");
        assert_eq!(without_capability("/v1/models"), "/v1/models");
    }
}
