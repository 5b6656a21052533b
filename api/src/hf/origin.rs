//! Under which address the client reached this server.
//!
//! Stock clients refuse an answer whose URLs are not under the endpoint they used, after the
//! change was made. So every URL is built from the request itself. What a proxy says about the
//! client's request counts only where the operator trusts that proxy.

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpMessage, HttpRequest};

use crate::server::State;
use crate::server::mount::Mounted;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Scheme, host and path prefix of the client's endpoint, without a slash at the end.
pub(super) fn origin(request: &HttpRequest, state: &State) -> String {
    let trusted = request.peer_addr().is_some_and(|peer| state.trusts_proxy(peer.ip()));
    let forwarded = |name| if trusted { first(request, &name) } else { None };
    let host = forwarded(FORWARDED_HOST).or_else(|| first(request, &header::HOST)).filter(|host| is_authority(host));
    let Some(host) = host else { return state.public_url.clone() };
    let scheme = forwarded(FORWARDED_PROTO).filter(|scheme| matches!(scheme.as_str(), "http" | "https"));
    let scheme = scheme.unwrap_or_else(|| own_scheme(state, &host).to_owned());
    let mounted = request.extensions().get::<Mounted>().map(|mounted| mounted.0.clone()).unwrap_or_default();
    let prefix = forwarded(FORWARDED_PREFIX).filter(|prefix| is_prefix(prefix)).unwrap_or_default();
    format!("{scheme}://{host}{}{mounted}", prefix.trim_end_matches('/'))
}

/// TLS ends at a proxy: the public URL says whether clients of that host use it.
fn own_scheme(state: &State, host: &str) -> &'static str {
    let secure = state.public_url.strip_prefix("https://");
    if secure.is_some_and(|rest| rest.split('/').next() == Some(host)) { "https" } else { "http" }
}

/// The first of the values that proxies have gathered: the client's own request.
fn first(request: &HttpRequest, name: &HeaderName) -> Option<String> {
    let value = request.headers().get(name)?.to_str().ok()?;
    value.split(',').next().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn is_authority(text: &str) -> bool {
    text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

fn is_prefix(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte))
}
