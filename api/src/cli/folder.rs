//! A local file or folder as the files of a revision.
//!
//! Push, gate and the offline verbs see the same files under the same paths, so that what
//! was judged on a desk is what arrives. Links are refused by name: following them would
//! publish what lies outside, leaving them out would publish less than was meant.

use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use aws_lc_rs::digest::{Context, SHA256};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use registry_core::{FileSpec, MAX_FILES, Sha256Digest};
use verifier::ReadAt;

use super::output::CliError;
use super::progress::Progress;

/// Folders that hold tools' own data and never a part of a model.
const SKIPPED_FOLDERS: [&str; 2] = [".git", super::pull::PARTIAL_FOLDER];
/// Large enough that the hash, not the system call, is what takes time.
const READ_BYTES: usize = 1 << 20;
/// Bytes that stay in the cache of one core between reading and hashing them.
const CACHED_BYTES: usize = 256 << 10;

/// One file on disk.
#[derive(Debug, Clone)]
pub(super) struct LocalFile {
    /// Path inside the revision, with `/` between folders.
    pub(super) path: String,
    pub(super) location: PathBuf,
    stamp: Stamp,
}

/// What changes when a file's content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()), inode: metadata.ino() }
    }
}

impl LocalFile {
    /// Bytes.
    pub(super) const fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Fails, naming the file, when it is not the file that was found at first.
    pub(super) fn check_unchanged(&self) -> Result<(), CliError> {
        match fs_err::symlink_metadata(&self.location) {
            Ok(metadata) if metadata.is_file() && Stamp::of(&metadata) == self.stamp => Ok(()),
            _ => Err(self.changed()),
        }
    }

    pub(super) fn changed(&self) -> CliError {
        CliError::Changed(format!("{} changed while it was read; try again when nothing writes to it", self.path))
    }

    fn hash(&self, alone: bool, progress: &Progress) -> Result<Sha256Digest, CliError> {
        // Some seven percent faster than the crate that the rest of the code hashes small things with.
        let mut hasher = Context::new(&SHA256);
        let mut length = 0;
        let mut file = fs_err::File::open(&self.location)?;
        let take = |bytes: &[u8]| {
            hasher.update(bytes);
            length += bytes.len() as u64;
            progress.add(bytes.len() as u64);
        };
        // Where each core has a file of its own, a thread that reads ahead only takes its time.
        if alone {
            read_ahead(file, take)?;
        } else {
            read_rest(&mut file, &mut vec![0; CACHED_BYTES], take)?;
        }
        self.check_unchanged()?;
        if length != self.stamp.size {
            return Err(self.changed());
        }
        Ok(hex::encode(hasher.finish()).parse()?)
    }
}

/// Gives the bytes of `file` to `take`. Those of a large file are read beside what `take` does
/// with them, because copying them is a fifth of the time that hashing takes.
pub(super) fn read_ahead(mut file: fs_err::File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut first = vec![0; READ_BYTES];
    let length = file.read(&mut first)?;
    take(&first[..length]);
    if length < READ_BYTES {
        return read_rest(&mut file, &mut first, take);
    }
    // Two buffers go around: one is filled while the other is taken.
    let (filled, incoming) = mpsc::sync_channel::<io::Result<(Vec<u8>, usize)>>(1);
    let (used, empty) = mpsc::channel();
    let _ = used.send(first);
    let _ = used.send(vec![0; READ_BYTES]);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for mut buffer in empty {
                let read = file.read(&mut buffer);
                let is_last = !matches!(read, Ok(1..));
                // Nobody listens when `take` has panicked.
                if filled.send(read.map(|length| (buffer, length))).is_err() || is_last {
                    break;
                }
            }
        });
        for read in incoming {
            let (buffer, length) = read?;
            take(&buffer[..length]);
            // The reader has ended when it met the end.
            let _ = used.send(buffer);
        }
        Ok(())
    })
}

fn read_rest(file: &mut fs_err::File, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        match file.read(buffer)? {
            0 => return Ok(()),
            length => take(&buffer[..length]),
        }
    }
}

/// Opens the file for each read, so that a folder may hold more files than a process may.
impl ReadAt for LocalFile {
    fn size(&self) -> u64 {
        self.stamp.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        use fs_err::os::unix::fs::FileExt;
        fs_err::File::open(&self.location)?.read_at(buffer, offset)
    }
}

/// Patterns of paths, or of names at any depth, that are left out.
pub(super) fn ignored(patterns: &[String]) -> Result<GlobSet, CliError> {
    let invalid = |error: globset::Error| CliError::Usage(format!("--ignore: {error}"));
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let anywhere =
            if pattern.contains('/') { pattern.trim_matches('/').to_owned() } else { format!("**/{pattern}") };
        set.add(GlobBuilder::new(&anywhere).literal_separator(true).build().map_err(invalid)?);
    }
    set.build().map_err(invalid)
}

/// All files below `root`, or `root` itself when it is a file, in the order of their paths.
pub(super) fn walk(root: &Path, ignored: &GlobSet) -> Result<Vec<LocalFile>, CliError> {
    walk_with_left_out(root, ignored).map(|(files, _)| files)
}

/// The files, and the paths of files and folders that were left out because they are `ignored`.
pub(super) fn walk_with_left_out(root: &Path, ignored: &GlobSet) -> Result<(Vec<LocalFile>, Vec<String>), CliError> {
    Walk { ignored, follows_links: false, files: Vec::new(), left_out: Vec::new() }.run(root)
}

/// The files for a look at them alone. Links to files are followed: the cache of the Hub's client
/// holds nothing else.
pub(super) fn walk_for_reading(root: &Path) -> Result<Vec<LocalFile>, CliError> {
    let ignored = GlobSet::empty();
    let walk = Walk { ignored: &ignored, follows_links: true, files: Vec::new(), left_out: Vec::new() };
    walk.run(root).map(|(files, _)| files)
}

struct Walk<'a> {
    ignored: &'a GlobSet,
    follows_links: bool,
    files: Vec<LocalFile>,
    left_out: Vec<String>,
}

impl Walk<'_> {
    fn run(mut self, root: &Path) -> Result<(Vec<LocalFile>, Vec<String>), CliError> {
        let metadata = fs_err::metadata(root)?;
        if metadata.is_dir() {
            self.folder(root, "")?;
        } else {
            let name = root.file_name().map_or(root, Path::new);
            self.take(utf8(name)?.to_owned(), root, &metadata)?;
        }
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((self.files, self.left_out))
    }

    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<(), CliError> {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let location = entry.path();
            let path = format!("{prefix}{}", utf8(Path::new(&entry.file_name()))?);
            if self.ignored.is_match(&path) {
                self.left_out.push(path);
                continue;
            }
            let mut metadata = fs_err::symlink_metadata(&location)?;
            if self.follows_links && metadata.is_symlink() && fs_err::metadata(&location)?.is_file() {
                metadata = fs_err::metadata(&location)?;
            }
            if !metadata.is_dir() {
                self.take(path, &location, &metadata)?;
            } else if !SKIPPED_FOLDERS.iter().any(|skipped| entry.file_name() == *skipped) {
                self.folder(&location, &format!("{path}/"))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: String, location: &Path, metadata: &Metadata) -> Result<(), CliError> {
        if metadata.is_symlink() {
            let advice = "links are not followed; replace it by the file, or leave it out";
            return Err(CliError::Usage(format!("{} is a symbolic link: {advice}", location.display())));
        }
        if !metadata.is_file() {
            return Err(CliError::Usage(format!("{} is neither a file nor a folder", location.display())));
        }
        if self.files.len() == MAX_FILES {
            return Err(CliError::Usage(format!("there are more than {MAX_FILES} files")));
        }
        self.files.push(LocalFile { path, location: location.to_owned(), stamp: Stamp::of(metadata) });
        Ok(())
    }
}

fn utf8(name: &Path) -> Result<&str, CliError> {
    name.to_str().ok_or_else(|| CliError::Usage(format!("the name {} is not UTF-8", name.display())))
}

/// Bytes of all files.
pub(super) fn total_size(files: &[LocalFile]) -> u64 {
    files.iter().map(LocalFile::size).sum()
}

/// The files with their digests and by the rules for paths, in the order of `files`, which is
/// that of a content digest.
pub(super) fn specify(files: &[LocalFile]) -> Result<Vec<FileSpec>, CliError> {
    let progress = Progress::start("hashing", total_size(files));
    let digests = hash_all(files, &progress);
    progress.finish();
    let mut specs: Vec<FileSpec> = files
        .iter()
        .zip(digests?)
        .map(|(file, sha256)| FileSpec { path: file.path.clone(), sha256, size: file.size() })
        .collect();
    registry_core::check_files(&mut specs)?;
    Ok(specs)
}

/// Hashes on all cores, large files first, so that the last one does not keep one core alone.
fn hash_all(files: &[LocalFile], progress: &Progress) -> Result<Vec<Sha256Digest>, CliError> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(files[index].size()));
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut hashed = Vec::new();
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            match files[index].hash(files.len() < cores, progress) {
                Ok(digest) => hashed.push((index, digest)),
                Err(error) => {
                    // The others need not go on.
                    next.store(order.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(hashed)
    };
    let mut hashed = std::thread::scope(|scope| -> Result<Vec<_>, CliError> {
        let workers: Vec<_> = (0..cores.min(files.len())).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(files.len());
        for worker in workers {
            all.extend(worker.join().map_err(|_| CliError::Usage("a hashing thread ended badly".into()))??);
        }
        Ok(all)
    })?;
    hashed.sort_by_key(|(index, _)| *index);
    Ok(hashed.into_iter().map(|(_, digest)| digest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(paths: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let location = folder.path().join(path);
            fs_err::create_dir_all(location.parent().unwrap()).unwrap();
            fs_err::write(location, path).unwrap();
        }
        folder
    }

    fn found(folder: &Path, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let files = walk(folder, &ignored(&patterns).unwrap()).unwrap();
        files.into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn files_are_found_at_any_depth_and_tools_folders_are_not() {
        let folder = folder(&["b.txt", "a/c.txt", "a.txt", ".git/HEAD", "a/.git/HEAD", ".gitattributes"]);
        assert_eq!(found(folder.path(), &[]), [".gitattributes", "a.txt", "a/c.txt", "b.txt"]);
    }

    #[test]
    fn pattern_without_a_slash_matches_names_and_one_with_a_slash_matches_paths() {
        let folder = folder(&["a.tmp", "x/b.tmp", "x/c.txt", "x/y/d.txt", "e.txt"]);
        assert_eq!(found(folder.path(), &["*.tmp"]), ["e.txt", "x/c.txt", "x/y/d.txt"]);
        assert_eq!(found(folder.path(), &["x/*.txt"]), ["a.tmp", "e.txt", "x/b.tmp", "x/y/d.txt"]);
        assert_eq!(found(folder.path(), &["x/**/*.txt"]), ["a.tmp", "e.txt", "x/b.tmp"]);
        assert_eq!(found(folder.path(), &["y", "/e.txt"]), ["a.tmp", "x/b.tmp", "x/c.txt"]);
        assert!(ignored(&["[".to_owned()]).is_err());
    }

    #[test]
    fn link_is_refused_by_name() {
        let folder = folder(&["a.txt"]);
        std::os::unix::fs::symlink("a.txt", folder.path().join("link.txt")).unwrap();
        let error = walk(folder.path(), &GlobSet::empty()).unwrap_err().to_string();
        assert!(error.contains("link.txt is a symbolic link"), "{error}");
        assert_eq!(found(folder.path(), &["link.txt"]), ["a.txt"]);
    }

    #[test]
    fn single_file_is_a_revision_of_its_own() {
        let folder = folder(&["x/model.gguf"]);
        assert_eq!(found(&folder.path().join("x/model.gguf"), &[]), ["model.gguf"]);
    }

    #[test]
    fn digests_are_those_of_the_contents_in_the_order_of_paths() {
        let names: Vec<String> = (0..50).map(|number| format!("{number}.txt")).collect();
        let folder = folder(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let files = walk(folder.path(), &GlobSet::empty()).unwrap();
        let specs = specify(&files).unwrap();
        assert_eq!(specs.len(), 50);
        for (file, spec) in files.iter().zip(&specs) {
            assert_eq!(
                spec,
                &FileSpec {
                    path: file.path.clone(),
                    sha256: Sha256Digest::of(file.path.as_bytes()),
                    size: file.size()
                }
            );
        }
    }

    #[test]
    fn large_file_is_read_ahead_without_losing_a_byte() {
        for length in [READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES, 5 * READ_BYTES + 7] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut file = tempfile::NamedTempFile::new().unwrap();
            io::Write::write_all(&mut file, &content).unwrap();
            let mut read = Vec::new();
            read_ahead(fs_err::File::open(file.path()).unwrap(), |bytes| read.extend_from_slice(bytes)).unwrap();
            assert!(read == content, "{length}");
        }
    }

    #[test]
    fn changed_file_is_named() {
        let folder = folder(&["a.txt", "b.txt"]);
        let files = walk(folder.path(), &GlobSet::empty()).unwrap();
        fs_err::write(folder.path().join("b.txt"), "longer than before").unwrap();
        let error = specify(&files).unwrap_err();
        assert!(matches!(&error, CliError::Changed(text) if text.starts_with("b.txt ")), "{error}");
        files[0].check_unchanged().unwrap();
    }

    #[test]
    fn paths_that_no_revision_may_have_are_refused() {
        let folder = folder(&["a.txt", "A.txt"]);
        let files = walk(folder.path(), &GlobSet::empty()).unwrap();
        assert!(matches!(specify(&files), Err(CliError::Core(registry_core::Error::Path { .. }))));
    }
}
