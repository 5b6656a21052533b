//! Serving below a path prefix.
//!
//! Where `server.public_url` has a path, clients are given URLs below it. A proxy may cut the
//! path off or pass it on; both arrive at the same routes.

use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::middleware::Next;
use actix_web::web;

use super::State;

/// The prefix that was cut off the request's path.
pub(crate) struct Mounted(pub(crate) String);

/// Wraps every request.
pub(super) async fn cut_prefix<B: MessageBody>(
    state: web::Data<State>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let prefix = path_of(&state.public_url);
    if let Some(uri) = without(request.uri(), prefix) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
        request.extensions_mut().insert(Mounted(prefix.to_owned()));
    }
    next.call(request).await
}

/// The path of a URL without the slash at its end.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'))
}

fn without(uri: &Uri, prefix: &str) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let rest = whole.strip_prefix(prefix).filter(|rest| !prefix.is_empty() && rest.starts_with('/'))?;
    rest.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_segments_are_cut_off() {
        let cut = |path: &str| without(&path.parse().unwrap(), "/t1/hf").map(|uri| uri.to_string());
        assert_eq!(cut("/t1/hf/a%2Fb?x=1"), Some("/a%2Fb?x=1".to_owned()));
        assert_eq!(cut("/t1/hfx/a"), None);
        assert_eq!(cut("/a"), None);
        assert_eq!(path_of("https://host:1/t1/hf"), "/t1/hf");
        assert_eq!(path_of("https://host"), "");
        assert_eq!(without(&"/a".parse().unwrap(), ""), None);
    }
}
