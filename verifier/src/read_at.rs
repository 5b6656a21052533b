//! Positioned reads without an async runtime, so that the offline verbs and the
//! pipeline judge the same bytes with the same code.
//!
//! Two implementations exist: [`FileReader`] here, and the reader over an object in the
//! store that `registry-core` bridges onto a blocking thread.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Random access to an immutable sequence of bytes whose length is known.
pub trait ReadAt: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Reads at most `buffer.len()` bytes from `offset`; 0 means the end was reached.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Fills `buffer` from `offset` or fails with [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(offset + filled as u64, &mut buffer[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(())
    }
}

/// A regular file opened read-only.
#[derive(Debug)]
pub struct FileReader {
    file: std::fs::File,
    size: u64,
}

impl FileReader {
    /// Opens `path`; the error names it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (file, _) = fs_err::File::open(path)?.into_parts();
        Self::from_file(file)
    }

    /// Takes an already open descriptor, as the sandboxed probe does.
    pub fn from_file(file: std::fs::File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for FileReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let available = &self[start..];
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        Ok(length)
    }
}
