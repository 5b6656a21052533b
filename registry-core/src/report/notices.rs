//! The texts that travel with models, from the models' own files.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::{AttributionFile, LicenseReport};
use crate::blob::ByteRange;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;

/// Longest text of a notice bundle, in bytes; the longest license in use has 120,000.
pub const MAX_NOTICE_BYTES: u64 = 256 << 10;
/// Most bytes of texts in a notice bundle.
pub const MAX_NOTICES_BYTES: u64 = 32 << 20;

/// One file of a notice bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeText {
    Text(String),
    /// Longer than [`MAX_NOTICE_BYTES`].
    TooLong,
    /// Not UTF-8.
    NotText,
}

impl NoticeText {
    /// Reads a file's bytes as text.
    pub fn of(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or(Self::NotText, Self::Text)
    }
}

impl LicenseReport {
    /// Every file that travels with the models, each content once.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond [`MAX_NOTICES_BYTES`] of texts.
    pub fn notice_files(&self) -> Result<BTreeMap<&str, &AttributionFile>> {
        let attributions = self.rows.iter().map(|row| &row.attribution);
        let files = attributions.flat_map(|found| found.license_texts.iter().chain(&found.notices));
        let files: BTreeMap<&str, &AttributionFile> = files.map(|file| (file.sha256.as_str(), file)).collect();
        let bytes: u64 = files.values().map(|file| file.size).filter(|size| *size <= MAX_NOTICE_BYTES).sum();
        if bytes > MAX_NOTICES_BYTES {
            return Err(Error::TooLarge { what: "the bundle of notices".into(), limit: MAX_NOTICES_BYTES });
        }
        Ok(files)
    }
}

impl Registry {
    /// The texts that a report's models carry, by hex SHA-256. The report says what its reader may
    /// see, so it has to be one that this registry made for the caller.
    pub async fn notice_texts(&self, report: &LicenseReport) -> Result<BTreeMap<String, NoticeText>> {
        let mut texts = BTreeMap::new();
        for (digest, file) in report.notice_files()? {
            let text = if file.size > MAX_NOTICE_BYTES {
                NoticeText::TooLong
            } else {
                NoticeText::of(self.whole_blob(&digest.parse()?, file.size).await?)
            };
            texts.insert(digest.to_owned(), text);
        }
        Ok(texts)
    }

    async fn whole_blob(&self, digest: &Sha256Digest, size: u64) -> Result<Vec<u8>> {
        let chunks = self.stream_blob(digest, ByteRange { start: 0, end: size }).await?;
        let whole = chunks.try_fold(Vec::new(), |mut whole, chunk| async move {
            whole.extend_from_slice(&chunk);
            Ok(whole)
        });
        Ok(whole.await?)
    }
}
