//! The client side of `/v1`: addresses, tokens, retries and problem documents.
//!
//! Servers restart and connections break, so whatever can be repeated without harm is
//! repeated, with growing pauses. A request that might take effect twice is repeated only
//! when it cannot have reached the server.

use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RANGE};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Remote;
use super::output::CliError;
use crate::server::problem::Problem;
use crate::v1::IDEMPOTENCY_KEY;
use crate::v1::wire::Page;

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The longest silence between two pieces of an answer.
pub(super) const SILENCE: Duration = Duration::from_mins(2);
/// Time for an answer that is one document.
const ANSWER_TIME: Duration = Duration::from_mins(10);
/// Largest document that is taken from the server: a revision of 100,000 files fits.
const MAX_DOCUMENT_BYTES: usize = 256 << 20;
/// How much of an answer that nobody understands is shown.
const SHOWN_CHARACTERS: usize = 200;

/// Growing pauses, and an end to them.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
    left: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    /// Two seconds altogether: nobody wants to wait longer to hear that there is no server.
    const FEW: u32 = 4;
    /// About half a minute altogether: a server that restarts is back by then.
    const MANY: u32 = 12;

    const fn short() -> Self {
        Self { next: Self::FIRST, left: Self::FEW }
    }

    /// For work that is under way.
    pub(super) const fn patient() -> Self {
        Self { next: Self::FIRST, left: Self::MANY }
    }

    /// Pauses before the next attempt; false when there shall be none.
    pub(super) async fn pause(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(Self::LONGEST);
        true
    }
}

/// Whether a request may be sent again when its fate is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Always,
    OnlyUnsent,
}

/// A server and who talks to it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
    backoff: Backoff,
}

impl Client {
    pub(super) fn new(remote: &Remote) -> Result<Self, CliError> {
        let base = parse_base(&remote.url)?;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("weighhouse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME)
            .tcp_keepalive(Duration::from_secs(30));
        // A proxy of the surroundings cannot reach this machine's own addresses.
        let builder = if is_loopback(&base) { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|source| CliError::Transport { url: remote.url.clone(), source })?;
        let authorization = remote.token.as_deref().map(authorization).transpose()?;
        Ok(Self { http, base, authorization, backoff: Backoff::short() })
    }

    /// The same for work that is under way and worth waiting for a server that restarts.
    pub(super) fn patient(&self) -> Self {
        Self { backoff: Backoff::patient(), ..self.clone() }
    }

    /// The server's address, for people.
    pub(super) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, CliError> {
        self.document(self.request(Method::GET, self.url(path)), Repeat::Always).await
    }

    pub(super) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<T, CliError> {
        let mut url = self.url(path);
        let query = serde_urlencoded::to_string(query).map_err(|error| CliError::Usage(error.to_string()))?;
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        self.document(self.request(Method::GET, url), Repeat::Always).await
    }

    /// An answer that is text.
    pub(super) async fn get_text(&self, path: &[&str], query: &impl Serialize) -> Result<String, CliError> {
        let mut url = self.url(path);
        let query = serde_urlencoded::to_string(query).map_err(|error| CliError::Usage(error.to_string()))?;
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        let body = read_bounded(self.answer(self.request(Method::GET, url), Repeat::Always).await?).await?;
        String::from_utf8(body).map_err(|_| CliError::Protocol("the server's answer is no text".to_owned()))
    }

    /// A request whose repetition leads to the same result.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, CliError> {
        self.document(self.request(Method::POST, self.url(path)).json(body), Repeat::Always).await
    }

    /// Bytes whose repetition leads to the same result.
    pub(super) async fn post_bytes<T: DeserializeOwned>(&self, path: &[&str], body: Vec<u8>) -> Result<T, CliError> {
        self.document(self.request(Method::POST, self.url(path)).body(body), Repeat::Always).await
    }

    /// A request that makes something new once: the server knows a repeat by its key.
    pub(super) async fn create_once<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let key = uuid::Uuid::now_v7().to_string();
        let request = self.request(Method::POST, self.url(path)).header(IDEMPOTENCY_KEY, key).json(body);
        self.document(request, Repeat::Always).await
    }

    /// A request that makes something new each time.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        self.document(self.request(Method::POST, self.url(path)).json(body), Repeat::OnlyUnsent).await
    }

    pub(super) async fn patch<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, CliError> {
        self.document(self.request(Method::PATCH, self.url(path)).json(body), Repeat::OnlyUnsent).await
    }

    pub(super) async fn put(&self, path: &[&str], body: &impl Serialize) -> Result<(), CliError> {
        self.answer(self.request(Method::PUT, self.url(path)).json(body), Repeat::Always).await.map(drop)
    }

    pub(super) async fn delete(&self, path: &[&str]) -> Result<(), CliError> {
        self.answer(self.request(Method::DELETE, self.url(path)), Repeat::OnlyUnsent).await.map(drop)
    }

    /// Sends a body of `length` bytes once; continuing is the caller's business.
    pub(super) async fn send_body<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
        length: u64,
        body: Body,
    ) -> Result<T, CliError> {
        let mut url = self.url(path);
        let query = serde_urlencoded::to_string(query).map_err(|error| CliError::Usage(error.to_string()))?;
        url.set_query(Some(&query));
        let request = self.request(Method::PUT, url).header(reqwest::header::CONTENT_LENGTH, length).body(body);
        read_document(self.accepted(self.sent(request).await?).await?).await
    }

    /// Opens a file from byte `start` on; one attempt.
    pub(super) async fn open(&self, path: &[&str], start: u64) -> Result<Response, CliError> {
        let mut request = self.request(Method::GET, self.url(path));
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        self.accepted(self.sent(request).await?).await
    }

    /// All pages of a list, or as many items as wanted.
    pub(super) async fn list<T: DeserializeOwned, Q: Serialize>(
        &self,
        path: &[&str],
        query: impl Fn(Option<String>, u64) -> Q,
        wanted: Option<u64>,
    ) -> Result<Page<T>, CliError> {
        let mut items = Vec::new();
        let mut next = None;
        loop {
            let left = wanted.map_or(registry_core::MAX_LIMIT, |wanted| wanted - items.len() as u64);
            let page: Page<T> = self.get_with(path, &query(next, left.min(registry_core::MAX_LIMIT))).await?;
            items.extend(page.items);
            next = page.next;
            if next.is_none() || wanted.is_some_and(|wanted| items.len() as u64 >= wanted) {
                return Ok(Page { items, next });
            }
        }
    }

    /// The address of `path` below the server's own, each segment escaped.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Only addresses that cannot be a base refuse segments, and `parse_base` refuses those.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url).header(ACCEPT, "application/json");
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    async fn document<T: DeserializeOwned>(&self, request: RequestBuilder, repeat: Repeat) -> Result<T, CliError> {
        read_document(self.answer(request, repeat).await?).await
    }

    async fn answer(&self, request: RequestBuilder, repeat: Repeat) -> Result<Response, CliError> {
        let request = request.timeout(ANSWER_TIME);
        let mut backoff = self.backoff.clone();
        loop {
            let Some(attempt) = request.try_clone() else { return self.accepted(self.sent(request).await?).await };
            let failure = match self.sent(attempt).await {
                Ok(response) => match self.accepted(response).await {
                    Ok(response) => return Ok(response),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if !is_worth_repeating(&failure, repeat) || !backoff.pause().await {
                return Err(failure);
            }
        }
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, CliError> {
        request.send().await.map_err(|source| self.unreachable(source))
    }

    fn unreachable(&self, source: reqwest::Error) -> CliError {
        CliError::Transport { url: self.address().to_owned(), source: source.without_url() }
    }

    /// Turns an answer that is not a success into the problem it describes.
    async fn accepted(&self, response: Response) -> Result<Response, CliError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = read_bounded(response).await?;
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(CliError::Server(Box::new(problem))),
            Err(_) if is_passing(status) => Err(CliError::Server(Box::new(unavailable(status)))),
            Err(_) => Err(CliError::Protocol(not_understood(status, &body))),
        }
    }
}

/// Answers of a server, or of a proxy before it, that is there but not ready.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// A proxy's answer in our form.
fn unavailable(status: StatusCode) -> Problem {
    Problem {
        r#type: "about:blank".to_owned(),
        title: "The server is not available".to_owned(),
        status: status.as_u16(),
        code: "unavailable".to_owned(),
        detail: format!("the answer was {status}"),
        error_id: String::new(),
        path: None,
        current: None,
        reasons: Vec::new(),
    }
}

/// Whether a failure may pass by itself.
pub(super) fn is_transient(failure: &CliError) -> bool {
    match failure {
        CliError::Transport { source, .. } => !source.is_builder(),
        CliError::Server(problem) => StatusCode::from_u16(problem.status).is_ok_and(is_passing),
        CliError::Io(_, source) => source.kind() == std::io::ErrorKind::TimedOut,
        _ => false,
    }
}

fn is_worth_repeating(failure: &CliError, repeat: Repeat) -> bool {
    match repeat {
        Repeat::Always => is_transient(failure),
        Repeat::OnlyUnsent => matches!(failure, CliError::Transport { source, .. } if source.is_connect()),
    }
}

fn not_understood(status: StatusCode, body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(SHOWN_CHARACTERS).collect();
    format!("the server answered {status}, which Weighhouse does not: {text}")
}

async fn read_document<T: DeserializeOwned>(response: Response) -> Result<T, CliError> {
    let status = response.status();
    let body = read_bounded(response).await?;
    serde_json::from_slice(&body)
        .map_err(|error| CliError::Protocol(format!("{} ({error})", not_understood(status, &body))))
}

async fn read_bounded(response: Response) -> Result<Vec<u8>, CliError> {
    let url = response.url().origin().ascii_serialization();
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|source| CliError::Transport { url: url.clone(), source: source.without_url() })?;
        if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(CliError::Protocol(format!("the server's answer is larger than {MAX_DOCUMENT_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse_base(text: &str) -> Result<Url, CliError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url =
        url.ok_or_else(|| CliError::Usage(format!("the server's address must be an http or https URL, not {text:?}")))?;
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authorization(token: &str) -> Result<HeaderValue, CliError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut value = value.map_err(|_| CliError::Usage("the token has characters that no token has".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, CliError> {
        Client::new(&Remote { url: url.into(), token: Some("hf_x".into()) })
    }

    #[test]
    fn segments_are_escaped_below_the_path_of_the_server() {
        for base in ["http://h/weigh/house", "http://h/weigh/house/"] {
            let url = client(base).unwrap().url(&["models", "a", "b", "revisions", "feature/x", "files", "é ?.txt"]);
            let expected = "http://h/weigh/house/v1/models/a/b/revisions/feature%2Fx/files/%C3%A9%20%3F.txt";
            assert_eq!(url.as_str(), expected);
        }
        assert_eq!(client("http://h").unwrap().url(&["server"]).as_str(), "http://h/v1/server");
    }

    #[test]
    fn what_is_not_a_web_address_is_refused() {
        for base in ["h:80", "ftp://h", "http://", "/v1", ""] {
            assert!(matches!(client(base), Err(CliError::Usage(_))), "{base}");
        }
    }

    #[test]
    fn token_with_a_line_break_is_refused_and_none_is_shown() {
        let remote = Remote { url: "http://h".into(), token: Some("hf_secret\nX: y".into()) };
        assert!(matches!(Client::new(&remote), Err(CliError::Usage(_))));
        assert!(!format!("{:?}", client("http://h").unwrap()).contains("hf_x"));
    }

    #[test]
    fn own_addresses_are_known() {
        for (url, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
