//! One file on its way to the server, over as many connections as it takes.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use registry_core::{FileSpec, ModelName};
use reqwest::Body;
use tokio::sync::mpsc;

use super::client::{Backoff, Client, SILENCE, is_transient};
use super::folder::LocalFile;
use super::output::{CliError, note};
use super::progress::Progress;
use super::target::model_path;
use crate::v1::wire::{self, DeclareUploads, DeclaredUpload, DeclaredUploads, File, UploadParams};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_AHEAD: usize = 4;
/// Problems after which the server knows where to go on.
const RESUMABLE: [&str; 3] = ["offset-mismatch", "upload-busy", "interrupted"];

pub(super) struct Upload<'a> {
    pub(super) client: &'a Client,
    pub(super) model: &'a ModelName,
    pub(super) file: &'a LocalFile,
    pub(super) spec: &'a FileSpec,
    pub(super) progress: &'a Progress,
}

impl Upload<'_> {
    /// Sends what `declared` lacks; returns the number of bytes that were sent.
    pub(super) async fn run(&self, mut declared: DeclaredUpload) -> Result<u64, CliError> {
        let mut backoff = Backoff::patient();
        let mut sent = 0;
        self.progress.add(declared.offset);
        while let Some(session) = declared.session.clone() {
            let offset = declared.offset;
            let moved = Arc::new(AtomicU64::new(0));
            let outcome = self.send(&session, offset, &moved).await;
            let moved = moved.load(Ordering::Relaxed);
            self.progress.add(moved);
            sent += moved;
            match outcome {
                Ok(upload) if upload.complete => break,
                Ok(_) => {}
                Err(error) => self.consider(error)?,
            }
            if !backoff.pause().await {
                return Err(self.given_up(offset));
            }
            self.progress.take_back(offset + moved);
            declared = self.declare_again().await?;
            self.progress.add(declared.offset);
            if declared.offset > offset {
                backoff = Backoff::patient();
            }
        }
        Ok(sent)
    }

    /// Passes what will not get better by trying again.
    fn consider(&self, error: CliError) -> Result<(), CliError> {
        self.file.check_unchanged()?;
        match error {
            CliError::Server(problem) if RESUMABLE.contains(&problem.code.as_str()) => Ok(()),
            // The server forgot the session; asking again opens another.
            CliError::Server(problem) if problem.code == "not-found" => Ok(()),
            CliError::Server(problem) if problem.code == "digest-mismatch" => Err(self.file.changed()),
            error if is_transient(&error) => {
                note(&format!("{}: the connection broke; going on where the server is", self.spec.path));
                Ok(())
            }
            error => Err(error),
        }
    }

    fn given_up(&self, offset: u64) -> CliError {
        let broken = "the connection broke again and again without getting further";
        CliError::Protocol(format!(
            "{} could not be sent: {broken} than {offset} bytes; push again to go on",
            self.spec.path
        ))
    }

    /// Learns where the server is. Declaring finds the open session, and also the bytes of one
    /// that ended although its last answer was lost.
    async fn declare_again(&self) -> Result<DeclaredUpload, CliError> {
        let body = DeclareUploads { files: vec![File::from(self.spec.clone())] };
        let declared: DeclaredUploads = self.client.post(&model_path(self.model, &["uploads"]), &body).await?;
        let declared = declared.uploads.into_iter().next();
        declared.ok_or_else(|| CliError::Protocol("the server did not answer for a declared file".into()))
    }

    async fn send(&self, session: &str, offset: u64, moved: &Arc<AtomicU64>) -> Result<wire::Upload, CliError> {
        self.file.check_unchanged()?;
        let (path, query) = (["uploads", session], UploadParams { offset });
        let length = self.spec.size.saturating_sub(offset);
        let body = self.body(offset, length, moved.clone()).await?;
        tokio::select! {
            answer = self.client.send_body(&path, &query, length, body) => answer,
            () = silence(moved) => {
                Err(CliError::Io("the server takes no more bytes".into(), io::ErrorKind::TimedOut.into()))
            }
        }
    }

    async fn body(&self, offset: u64, length: u64, moved: Arc<AtomicU64>) -> Result<Body, CliError> {
        let location = self.file.location.clone();
        let file = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let mut file = fs_err::File::open(location)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file.take(length))
        });
        let file = file.await.map_err(io::Error::from)??;
        Ok(Body::wrap_stream(chunks(file).inspect_ok(move |chunk| {
            moved.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        })))
    }
}

/// Reads on a thread of its own, a few chunks ahead of the network.
fn chunks(mut file: impl Read + Send + 'static) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = match file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk) {
                Ok(0) => break,
                Ok(_) => Ok(Bytes::from(chunk)),
                Err(error) => Err(error),
            };
            let is_last = read.is_err();
            // Nobody listens when the connection has ended.
            if sender.blocking_send(read).is_err() || is_last {
                break;
            }
        }
    });
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// Ends when nothing has moved for a while.
async fn silence(moved: &AtomicU64) {
    let mut before = None;
    loop {
        let now = moved.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(SILENCE).await;
    }
}
