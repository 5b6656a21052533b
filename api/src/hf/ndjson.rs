//! Lines of JSON from a body that may be larger than memory.

use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use registry_core::Error;

use super::refusal::{Answer, Refusal};

/// Splits a body into lines, each bounded and all of them together.
pub(super) struct Lines<S> {
    body: S,
    buffer: BytesMut,
    /// Bytes of the buffer in which no line break is.
    searched: usize,
    ended: bool,
    received: u64,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of one line.
    pub(super) line: usize,
    /// Bytes of the whole body.
    pub(super) body: u64,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Lines<S> {
    pub(super) fn new(body: S, limits: Limits) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, ended: false, received: 0, limits }
    }

    /// The next line that is not empty; none at the end.
    pub(super) async fn next(&mut self) -> Answer<Option<Bytes>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.ended {
                let rest = self.buffer.split().freeze();
                self.searched = 0;
                return Ok((!rest.trim_ascii().is_empty()).then_some(rest));
            }
            self.searched = self.buffer.len();
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Answer<()> {
        let Some(chunk) = self.body.next().await else {
            self.ended = true;
            return Ok(());
        };
        let chunk = chunk.map_err(|error| Refusal::bad_request(format!("The commit ended early: {error}.")))?;
        self.received += chunk.len() as u64;
        if self.received > self.limits.body {
            return Err(Error::TooLarge { what: "the commit".into(), limit: self.limits.body }.into());
        }
        self.buffer.extend_from_slice(&chunk);
        if self.buffer.len() > self.limits.line && !self.buffer[..self.limits.line].contains(&b'\n') {
            let what = "a file inside of a commit (larger ones go through Git LFS or Xet), in base64,";
            return Err(Error::TooLarge { what: what.into(), limit: self.limits.line as u64 }.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { line: 8, body: 40 };

    async fn read(chunks: &[&'static str]) -> Answer<Vec<String>> {
        let body = futures::stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))));
        let mut lines = Lines::new(body, LIMITS);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await? {
            read.push(String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned());
        }
        Ok(read)
    }

    #[actix_web::test]
    async fn lines_are_the_same_however_they_are_cut() {
        for chunks in [&["a\nbb\n\nc"][..], &["a", "\nb", "b\n", "\n", "c"], &["a\nb", "b\n\nc", ""]] {
            assert_eq!(read(chunks).await.unwrap(), ["a", "bb", "c"]);
        }
    }

    #[actix_web::test]
    async fn lines_and_bodies_beyond_their_limits_are_refused() {
        assert!(read(&["123456789"]).await.is_err());
        assert!(read(&["1234\n6789", "0123"]).await.is_ok());
        assert!(read(&["12345\n"; 7]).await.is_err());
        let broken = futures::stream::iter([Ok(Bytes::from_static(b"a\nb")), Err(PayloadError::Incomplete(None))]);
        let mut lines = Lines::new(broken, LIMITS);
        assert!(lines.next().await.unwrap().is_some());
        assert!(lines.next().await.is_err());
    }
}
