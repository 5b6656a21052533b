//! One file on its way from the server, over as many connections as it takes.

use std::fs::Metadata;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use futures::StreamExt;
use registry_core::{FileSpec, ModelName, Sha256Digest};
use reqwest::{Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::task::block_in_place;

use super::client::{Backoff, Client, SILENCE, is_transient};
use super::folder::read_ahead;
use super::output::{CliError, note};
use super::progress::Progress;
use super::pull::{PARTIAL_FOLDER, prepare};
use super::target::model_path;

/// Bytes that are hashed and written at once.
const BATCH_BYTES: usize = 1 << 20;

pub(super) struct Download<'a> {
    pub(super) client: &'a Client,
    pub(super) model: &'a ModelName,
    pub(super) commit: &'a str,
    pub(super) file: &'a FileSpec,
    pub(super) folder: &'a Path,
    pub(super) progress: &'a Progress,
}

/// A file that is not complete, with the hash of what is there.
struct Partial {
    location: PathBuf,
    /// Opened for the first byte that comes: a refused download leaves nothing behind.
    file: Option<fs_err::File>,
    hasher: Sha256,
    length: u64,
}

impl Download<'_> {
    /// Brings the file; returns the bytes received, or none when the folder had it.
    pub(super) async fn run(&self) -> Result<Option<u64>, CliError> {
        let location = prepare(self.folder, &self.file.path)?;
        if block_in_place(|| self.is_there(&location))? {
            self.progress.add(self.file.size);
            return Ok(None);
        }
        let mut partial = block_in_place(|| self.open_partial())?;
        self.progress.add(partial.length);
        let kept = partial.length;
        let mut received = self.fill(&mut partial).await?;
        if partial.digest() != self.file.sha256 && kept > 0 {
            note(&format!("{}: what an earlier run left is damaged; fetching it again", self.file.path));
            self.progress.take_back(partial.length);
            partial.restart()?;
            received += self.fill(&mut partial).await?;
        }
        self.finish(partial, &location)?;
        Ok(Some(received))
    }

    /// Whether the file is in its place with the right content.
    fn is_there(&self, location: &Path) -> Result<bool, CliError> {
        match fs_err::symlink_metadata(location) {
            Ok(found) if found.is_dir() => {
                Err(CliError::Usage(format!("the folder {} stands where the revision has a file", location.display())))
            }
            Ok(found) if is_plain(&found, self.file.size) => {
                let mut hasher = Sha256::new();
                read_ahead(fs_err::File::open(location)?, |bytes| hasher.update(bytes))?;
                Ok(Sha256Digest::from_hasher(hasher) == self.file.sha256)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes up what an earlier run left, or begins anew.
    fn open_partial(&self) -> Result<Partial, CliError> {
        // Two paths may have the same content, so the path is part of the name.
        let path = Sha256Digest::of(self.file.path.as_bytes());
        let name = format!("{PARTIAL_FOLDER}/{}-{}.part", self.file.sha256, &path.as_str()[..16]);
        let location = prepare(self.folder, &name)?;
        if fs_err::symlink_metadata(&location).is_ok_and(|found| !found.is_file() || found.len() > self.file.size) {
            fs_err::remove_file(&location)?;
        }
        let (mut hasher, mut length) = (Sha256::new(), 0);
        match fs_err::File::open(&location) {
            Ok(file) => read_ahead(file, |bytes| {
                hasher.update(bytes);
                length += bytes.len() as u64;
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Partial { location, file: None, hasher, length })
    }

    /// Fetches until the length is right; returns the bytes received.
    async fn fill(&self, partial: &mut Partial) -> Result<u64, CliError> {
        let mut backoff = Backoff::patient();
        let mut received = 0;
        while partial.length < self.file.size {
            let before = partial.length;
            let outcome = self.fetch(partial).await;
            if partial.length == self.file.size {
                received += partial.length.saturating_sub(before);
                break;
            }
            if partial.length > before {
                received += partial.length - before;
                backoff = Backoff::patient();
            }
            self.consider(outcome, partial.length)?;
            if !backoff.pause().await {
                let broken = "the connection broke again and again; pull again to go on";
                return Err(CliError::Protocol(format!("{} could not be fetched: {broken}", self.file.path)));
            }
        }
        Ok(received)
    }

    /// Passes what will not get better by trying again.
    fn consider(&self, outcome: Result<(), CliError>, length: u64) -> Result<(), CliError> {
        match outcome {
            Err(error) if !is_transient(&error) => Err(error),
            _ => {
                note(&format!("{}: the connection broke; going on after {length} bytes", self.file.path));
                Ok(())
            }
        }
    }

    /// Takes the bytes of one connection.
    async fn fetch(&self, partial: &mut Partial) -> Result<(), CliError> {
        let segments: Vec<&str> = self.file.path.split('/').collect();
        let path = model_path(self.model, &[&["revisions", self.commit, "files"], segments.as_slice()].concat());
        let response = self.client.open(&path, partial.length).await?;
        if partial.length > 0 && !continues_at(&response, partial.length) {
            self.progress.take_back(partial.length);
            partial.restart()?;
        }
        let mut chunks = response.bytes_stream();
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        let outcome = loop {
            match tokio::time::timeout(SILENCE, chunks.next()).await {
                Err(_) => {
                    break Err(CliError::Io("the server sends no more bytes".into(), io::ErrorKind::TimedOut.into()));
                }
                Ok(None) => break Ok(()),
                Ok(Some(Err(source))) => {
                    let url = self.client.address().to_owned();
                    break Err(CliError::Transport { url, source: source.without_url() });
                }
                Ok(Some(Ok(chunk))) => batch.extend_from_slice(&chunk),
            }
            if batch.len() >= BATCH_BYTES {
                self.take(partial, &mut batch)?;
            }
        };
        self.take(partial, &mut batch)?;
        outcome
    }

    fn take(&self, partial: &mut Partial, batch: &mut Vec<u8>) -> Result<(), CliError> {
        block_in_place(|| partial.append(batch))?;
        self.progress.add(batch.len() as u64);
        batch.clear();
        if partial.length > self.file.size {
            partial.discard();
            return Err(self.corrupt("more bytes than it has"));
        }
        Ok(())
    }

    /// Gives the file its name, if it is the file that the revision has.
    fn finish(&self, mut partial: Partial, location: &Path) -> Result<(), CliError> {
        if partial.digest() != self.file.sha256 {
            partial.discard();
            return Err(self.corrupt("other bytes than it has"));
        }
        // An empty file has had no byte to be opened for.
        partial.file()?;
        Ok(fs_err::rename(&partial.location, location)?)
    }

    fn corrupt(&self, what: &str) -> CliError {
        let (path, sha256) = (&self.file.path, &self.file.sha256);
        CliError::Protocol(format!("{path} is corrupt: the server sent {what} (SHA-256 {sha256}); nothing was kept"))
    }
}

impl Partial {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.hasher = Sha256::new();
        self.length = 0;
        let file = self.file()?;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut fs_err::File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open_at(&self.location, self.length)?,
        };
        Ok(self.file.insert(file))
    }

    fn digest(&self) -> Sha256Digest {
        Sha256Digest::from_hasher(self.hasher.clone())
    }

    /// Removes what is of no use; where that fails, the next run finds and replaces it.
    fn discard(&self) {
        let _ = fs_err::remove_file(&self.location);
    }
}

fn open_at(location: &Path, length: u64) -> io::Result<fs_err::File> {
    let mut file = fs_err::OpenOptions::new().write(true).create(true).truncate(false).open(location)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(file)
}

fn is_plain(found: &Metadata, size: u64) -> bool {
    found.is_file() && found.len() == size
}

/// Whether the answer is the part of the file from `start` on.
fn continues_at(response: &Response, start: u64) -> bool {
    let range = response.headers().get(reqwest::header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}
