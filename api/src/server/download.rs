//! Sending a file of a revision: the gate, validators and ranges, the same on every façade.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use registry_core::{Access, ByteRange, Caller, Error, FileSpec, ModelInfo, Revision};

use super::State;
use super::problem::{Answer, Failure};

/// A file that a caller asks for.
pub(crate) struct Download<'a> {
    pub(crate) state: &'a State,
    pub(crate) request: &'a HttpRequest,
    pub(crate) caller: &'a Caller,
    pub(crate) model: &'a ModelInfo,
    pub(crate) revision: &'a Revision,
    pub(crate) file: &'a FileSpec,
    /// What the façade's clients compare, without quotes.
    pub(crate) etag: &'a str,
}

impl Download<'_> {
    /// Asks the gate and notes the read, allowed or not.
    pub(crate) async fn admit(&self) -> Result<(), Error> {
        let registry = &self.state.registry;
        let admitted = registry.authorize_read(self.caller, self.model, self.revision).await;
        let access = Access {
            action: if self.request.method() == Method::HEAD { "head" } else { "download" },
            model: self.model,
            revision: self.revision,
            sha256: Some(&self.file.sha256),
            outcome: if admitted.is_ok() { "allowed" } else { "denied" },
        };
        registry.record_access(self.caller, access).await?;
        admitted
    }

    /// Whether the client says that it has these bytes.
    pub(crate) fn is_known(&self) -> bool {
        let tags = self.header(&header::IF_NONE_MATCH);
        tags.is_some_and(|tags| tags.split(',').any(|tag| matches!(tag.trim(), "*") || self.matches(tag)))
    }

    pub(crate) fn not_modified(&self) -> HttpResponse {
        self.headers(StatusCode::NOT_MODIFIED).finish()
    }

    /// The file or the range of it that is asked for. For HEAD no stream is opened; actix keeps
    /// the length and drops the body.
    pub(crate) async fn send(&self) -> Answer {
        let requested = self.requested_range()?;
        let range = requested.unwrap_or(ByteRange { start: 0, end: self.file.size });
        let status = if requested.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut response = self.headers(status);
        response.insert_header((header::CONTENT_DISPOSITION, "attachment")).content_type("application/octet-stream");
        if requested.is_some() {
            let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, self.file.size);
            response.insert_header((header::CONTENT_RANGE, content_range));
        }
        let body = if self.request.method() == Method::HEAD {
            Box::pin(futures::stream::empty())
        } else {
            self.state.registry.stream_blob(&self.file.sha256, range).await?
        };
        Ok(response.body(actix_web::body::SizedStream::new(range.end - range.start, body)))
    }

    fn headers(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(status);
        response
            .insert_header((header::ETAG, format!("\"{}\"", self.etag)))
            .insert_header((header::ACCEPT_RANGES, "bytes"))
            .insert_header(("X-Repo-Commit", self.revision.commit.as_str()));
        response
    }

    fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    fn matches(&self, tag: &str) -> bool {
        tag.trim().trim_matches('"') == self.etag
    }

    /// The one range asked for, if it is still about these bytes. Several ranges are answered
    /// with the whole file, as RFC 9110 allows.
    fn requested_range(&self) -> Answer<Option<ByteRange>> {
        if self.header(&header::IF_RANGE).is_some_and(|tag| !self.matches(tag)) {
            return Ok(None);
        }
        let spec = self.header(&header::RANGE).and_then(|range| range.strip_prefix("bytes="));
        let Some(spec) = spec.filter(|spec| !spec.contains(',')) else { return Ok(None) };
        parse_range(spec, self.file.size).map(Some).ok_or(Failure::Range(self.file.size))
    }
}

/// Reads `first-last`, `first-` or `-length` (RFC 9110, section 14.1.2); `None` where no byte
/// of a file of `size` bytes lies in it.
pub(crate) fn parse_range(spec: &str, size: u64) -> Option<ByteRange> {
    let (first, last) = spec.split_once('-')?;
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => {
            let length: u64 = suffix.parse().ok()?;
            ByteRange { start: size.saturating_sub(length), end: size }
        }
        (first, "") => ByteRange { start: first.parse().ok()?, end: size },
        (first, last) => {
            ByteRange { start: first.parse().ok()?, end: last.parse::<u64>().ok()?.saturating_add(1).min(size) }
        }
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(spec: &str) -> Option<(u64, u64)> {
        parse_range(spec, 10).map(|range| (range.start, range.end))
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        assert_eq!(range("0-0"), Some((0, 1)));
        assert_eq!(range("2-"), Some((2, 10)));
        assert_eq!(range("-3"), Some((7, 10)));
        assert_eq!(range("-30"), Some((0, 10)));
        assert_eq!(range("5-99"), Some((5, 10)));
        for unsatisfiable in ["10-", "3-2", "-0", "x-1", "1", ""] {
            assert_eq!(range(unsatisfiable), None, "{unsatisfiable}");
        }
    }
}
