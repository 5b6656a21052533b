//! L2: is every weight a finite number, and does every tensor hold something?
//!
//! A model with one broken scale writes fluent text, so only looking at each value finds
//! it. Tensors are inspected in small pieces on all threads; nothing is kept.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use verifier::ReadAt;
use verifier::evidence::{Finding, Severity};
use verifier::format::gguf::TensorInfo;

use super::run::engine_refused;
use super::{Passed, Progress, Stop};
use crate::checkpoint::Checkpoint;
use crate::engine::decoder::EngineError;
use crate::engine::matrix::{self, Content};

/// Elements decoded at once: a multiple of every block size, and small enough for the second-level cache.
const PIECE_ELEMENTS: u64 = 64 << 10;
const MAX_FINDINGS: usize = 16;
const REMEDY: &str = "Obtain the file again from its publisher and compare the digest; the quantization may be broken.";

/// A part of one tensor.
#[derive(Debug, Clone, Copy)]
struct Piece {
    tensor: usize,
    /// In bytes from the start of the file.
    offset: u64,
    bytes: u64,
}

/// Looks at every value of all checkpoints, those of tensors that nothing is computed with too.
pub(crate) fn check(checkpoints: &[&Checkpoint<'_>], threads: u32, progress: Progress<'_>) -> Result<Passed<()>, Stop> {
    let bytes = |checkpoint: &&Checkpoint<'_>| tensors(checkpoint).map(|tensor| tensor.byte_length).sum::<u64>();
    let total = checkpoints.iter().map(bytes).sum();
    let (mut before, mut values, mut count, mut warnings) = (0, 0, 0, Vec::new());
    for checkpoint in checkpoints {
        let report = |done: u64| progress(before + done, total);
        warnings.extend(check_one(checkpoint, threads, &report)?);
        before += bytes(checkpoint);
        values += tensors(checkpoint).map(TensorInfo::elements).sum::<u64>();
        count += tensors(checkpoint).count();
    }
    Ok(Passed::new((), format!("all {values} values of {count} tensors are finite"), warnings))
}

fn tensors<'a>(checkpoint: &'a Checkpoint<'_>) -> impl Iterator<Item = &'a TensorInfo> {
    checkpoint.header.tensors.iter().chain(&checkpoint.unused)
}

fn check_one(checkpoint: &Checkpoint<'_>, threads: u32, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Finding>, Stop> {
    let file = checkpoint.name.as_str();
    let tensors: Vec<&TensorInfo> = tensors(checkpoint).collect();
    let contents = scan(&tensors, checkpoint, threads, progress);
    let contents = contents.map_err(|error| engine_refused(file, error))?;
    let seen = || tensors.iter().zip(&contents);
    let broken = seen().filter_map(|(tensor, content)| not_finite(tensor, *content));
    // What nothing is computed with may be empty.
    let used = seen().take(checkpoint.header.tensors.len());
    let empty = used.filter_map(|(tensor, content)| all_zero(tensor, *content));
    let findings = broken.chain(empty).take(MAX_FINDINGS).map(|finding| finding.at(file));
    let (fatal, warnings): (Vec<_>, Vec<_>) = findings.partition(|finding| finding.severity >= Severity::High);
    if fatal.is_empty() { Ok(warnings) } else { Err(Stop::failed(fatal)) }
}

fn not_finite(tensor: &TensorInfo, content: Content) -> Option<Finding> {
    (content.not_finite > 0).then(|| {
        let detail = format!("{} values of `{}` are not finite numbers", content.not_finite, tensor.name);
        Finding::new("NON_FINITE_WEIGHTS", Severity::High, detail, REMEDY)
    })
}

/// A matrix of zeros disables a layer; a vector of zeros may be a bias that was never trained.
fn all_zero(tensor: &TensorInfo, content: Content) -> Option<Finding> {
    let is_bias = tensor.name.rsplit('.').next() == Some("bias");
    let is_matrix = tensor.dimensions.len() > 1 && !is_bias;
    let severity = if is_matrix { Severity::High } else { Severity::Medium };
    let detail = || format!("every value of `{}` is zero", tensor.name);
    (!content.any_nonzero).then(|| Finding::new("ALL_ZERO_TENSOR", severity, detail(), REMEDY))
}

fn scan(
    tensors: &[&TensorInfo],
    source: &dyn ReadAt,
    threads: u32,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Content>, EngineError> {
    let pieces: Vec<Piece> = tensors.iter().enumerate().flat_map(|(index, tensor)| cut(index, tensor)).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let report = |bytes| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
    let work = || scan_pieces(tensors, source, &pieces, &next, &report);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut contents = work()?;
        for other in others {
            let seen = other.join().map_err(|_| io::Error::other("a scanning thread panicked"))??;
            merge(&mut contents, &seen);
        }
        Ok(contents)
    })
}

fn merge(contents: &mut [Content], others: &[Content]) {
    for (content, other) in contents.iter_mut().zip(others) {
        content.merge(*other);
    }
}

/// The pieces of one tensor. The header's reader has checked that rows are whole blocks and
/// that the tensor lies within the file.
fn cut(index: usize, tensor: &TensorInfo) -> impl Iterator<Item = Piece> + use<> {
    let (block_size, type_size) = (tensor.tensor_type.block_size(), tensor.tensor_type.type_size());
    let (elements, offset) = (tensor.elements(), tensor.offset);
    let bytes = move |elements: u64| elements / block_size * type_size;
    (0..elements.div_ceil(PIECE_ELEMENTS)).map(move |number| {
        let first = number * PIECE_ELEMENTS;
        let count = PIECE_ELEMENTS.min(elements - first);
        Piece { tensor: index, offset: offset + bytes(first), bytes: bytes(count) }
    })
}

/// Takes pieces until none are left.
fn scan_pieces(
    tensors: &[&TensorInfo],
    source: &dyn ReadAt,
    pieces: &[Piece],
    next: &AtomicUsize,
    report: &impl Fn(u64),
) -> Result<Vec<Content>, EngineError> {
    let mut contents = vec![Content::default(); tensors.len()];
    let mut buffer = Vec::new();
    while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
        let tensor = tensors[piece.tensor];
        let too_large = |_| EngineError::TooLarge(tensor.name.clone());
        buffer.resize(usize::try_from(piece.bytes).map_err(too_large)?, 0);
        source.read_exact_at(piece.offset, &mut buffer)?;
        contents[piece.tensor].merge(matrix::inspect(tensor.tensor_type, &buffer));
        report(piece.bytes);
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use weighhouse_tests::gguf::{TensorType, TinyLlama};

    use super::*;
    use crate::engine::test_models::file;

    #[test]
    fn progress_grows_to_the_bytes_of_all_tensors() {
        let bytes = TinyLlama::new().tensor_type(TensorType::Q8_0).build();
        let files = [file("model.gguf", &bytes)];
        let checkpoint = Checkpoint::open(&files).unwrap();
        let header = &checkpoint.header;
        let seen = Mutex::new(Vec::new());
        let passed = check(&[&checkpoint], 2, &|done, total| seen.lock().unwrap().push((done, total)));
        assert!(passed.is_ok());
        let mut seen = seen.into_inner().unwrap();
        let total = header.tensors.iter().map(|tensor| tensor.byte_length).sum::<u64>();
        assert!(seen.iter().all(|(_, of)| *of == total));
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(seen.last(), Some(&(total, total)));
    }
}
