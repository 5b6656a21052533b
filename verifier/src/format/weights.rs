//! Which weights a model has, whatever files they are in.
//!
//! Each tensor's bytes have a digest, and all tensors together have one that does not know of
//! files: the same weights in other shards, in another order or under other metadata keep it.
//! So two models that share weights are recognized, and a model without a declared base that
//! has another one's weights is found.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::content::{Allowance, Content};
use super::found::Found;
use super::inspect::FileEntry;
use super::scan;
use super::tensor::Tensor;
use crate::read_at::ReadAt;

/// Bytes of a tensor that are held at once; they stay in the cache of one core while they are hashed.
const BUFFER_BYTES: u64 = 256 << 10;
/// Bytes of a pattern that a constant tensor repeats: the widest element, or one block of none.
const PATTERN_BYTES: usize = 8;

/// What a tensor's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TensorDigest {
    /// Hex SHA-256 of the stored bytes.
    pub sha256: String,
    /// Whether the bytes repeat one pattern of eight: zeros and ones are in models that share nothing.
    pub constant: bool,
}

/// The tensors of a weight file in the order of its header; empty for a file whose tensors cannot
/// be told. Reads the header alone.
pub fn tensors(entry: &FileEntry<'_>) -> io::Result<Vec<Tensor>> {
    let kind = scan::recognize(entry.path, entry.source)?;
    if !kind.holds_weights() {
        return Ok(Vec::new());
    }
    let mut found = Found::new();
    let allowance = Allowance::new(entry.source.size());
    scan::scan(&Content { path: entry.path, kind, source: entry.source, allowance: &allowance, depth: 0 }, &mut found);
    Ok(found.weights.map(|weights| weights.tensors).unwrap_or_default())
}

/// The digest of each of `tensors`, in their order; none for one that is not at a place of its own
/// in the file. Reads each of them once, several at a time, and tells `read` how many bytes were read.
pub fn digest_tensors(
    source: &dyn ReadAt,
    tensors: &[Tensor],
    read: &(dyn Fn(u64) + Sync),
) -> io::Result<Vec<Option<TensorDigest>>> {
    let plan = Plan::new(tensors, source.size());
    let digests: Vec<TensorDigest> =
        plan.places.par_iter().map(|place| digest_place(source, *place, read)).collect::<io::Result<_>>()?;
    Ok(plan.assign(&digests))
}

fn digest_place(source: &dyn ReadAt, place: Place, read: &(dyn Fn(u64) + Sync)) -> io::Result<TensorDigest> {
    let length = place.end - place.start;
    let mut running = Running::new(place);
    let mut buffer = vec![0; usize::try_from(length.min(BUFFER_BYTES)).map_err(io::Error::other)?];
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from((length - done).min(BUFFER_BYTES)).map_err(io::Error::other)?;
        source.read_exact_at(place.start + done, &mut buffer[..wanted])?;
        running.update(&buffer[..wanted]);
        done += wanted as u64;
        read(wanted as u64);
    }
    Ok(running.finish())
}

/// Digests tensors from the bytes of their file as they come: one pass, for stores that stream.
pub struct TensorStream {
    plan: Plan,
    /// Places that have begun and are not complete.
    open: Vec<(usize, Running)>,
    /// Index of the first place that has not begun.
    next: usize,
    digests: Vec<Option<TensorDigest>>,
    position: u64,
}

impl TensorStream {
    /// Prepares for the tensors of a file of `size` bytes.
    pub fn new(tensors: &[Tensor], size: u64) -> Self {
        let plan = Plan::new(tensors, size);
        Self { digests: vec![None; plan.places.len()], open: Vec::new(), next: 0, position: 0, plan }
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len() as u64;
        while let Some(place) = self.plan.places.get(self.next).filter(|place| place.start < end) {
            self.open.push((self.next, Running::new(*place)));
            self.next += 1;
        }
        let position = self.position;
        for (index, running) in &mut self.open {
            let (start, stop) = (running.place.start.max(position), running.place.end.min(end));
            running.update(slice(bytes, start.saturating_sub(position), stop.saturating_sub(position)));
            if running.place.end <= end {
                self.digests[*index] = Some(running.clone().finish());
            }
        }
        self.open.retain(|(_, running)| running.place.end > end);
        self.position = end;
    }

    /// The digests in the order of the tensors; none for one whose bytes did not all come.
    pub fn finish(self) -> Vec<Option<TensorDigest>> {
        self.plan.at.into_iter().map(|at| self.digests.get(at?).cloned().flatten()).collect()
    }
}

fn slice(bytes: &[u8], start: u64, end: u64) -> &[u8] {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(index(start)..index(end)).unwrap_or_default()
}

/// Where a tensor's bytes are in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    start: u64,
    end: u64,
}

/// Each place once, in the order of the file, and which one each tensor has.
///
/// Checkpoints may let many tensors share bytes. Such places are read once, and places that overlap
/// without being equal are read for as much as twice the file; a file cannot ask for more.
struct Plan {
    places: Vec<Place>,
    at: Vec<Option<usize>>,
}

impl Plan {
    fn new(tensors: &[Tensor], size: u64) -> Self {
        let place = |tensor: &Tensor| {
            let start = tensor.offset?;
            let end = start.checked_add(tensor.byte_length).filter(|end| *end <= size)?;
            Some(Place { start, end })
        };
        let wanted: Vec<Option<Place>> = tensors.iter().map(place).collect();
        let mut places: Vec<Place> = wanted.iter().flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let mut left = size.saturating_mul(2);
        places.retain(|place| match left.checked_sub(place.end - place.start) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        });
        let at = wanted.iter().map(|place| places.binary_search(place.as_ref()?).ok()).collect();
        Self { places, at }
    }

    fn assign(self, digests: &[TensorDigest]) -> Vec<Option<TensorDigest>> {
        self.at.into_iter().map(|at| digests.get(at?).cloned()).collect()
    }
}

/// A tensor whose bytes are coming.
#[derive(Clone)]
struct Running {
    place: Place,
    context: Context,
    pattern: Pattern,
}

impl Running {
    fn new(place: Place) -> Self {
        Self { place, context: Context::new(&SHA256), pattern: Pattern::default() }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.pattern.see(bytes);
    }

    fn finish(self) -> TensorDigest {
        TensorDigest { sha256: hex::encode(self.context.finish()), constant: self.pattern.is_constant() }
    }
}

/// Whether bytes so far repeat their first eight.
#[derive(Default, Clone)]
struct Pattern {
    first: Vec<u8>,
    /// Bytes seen, by the pattern's length.
    phase: usize,
    differs: bool,
}

impl Pattern {
    fn see(&mut self, bytes: &[u8]) {
        if self.differs {
            return;
        }
        let missing = PATTERN_BYTES - self.first.len();
        let (start, bytes) = bytes.split_at(missing.min(bytes.len()));
        self.first.extend_from_slice(start);
        let mut turned = self.first.clone();
        let turn = self.phase % turned.len().max(1);
        turned.rotate_left(turn);
        self.differs = bytes.chunks(PATTERN_BYTES).any(|chunk| chunk != &turned[..chunk.len()]);
        self.phase = (self.phase + bytes.len()) % PATTERN_BYTES;
    }

    const fn is_constant(&self) -> bool {
        !self.differs
    }
}

/// The digest of all weights: SHA-256 over `weighhouse-weights-v1\n` and a line for each tensor,
/// `<sha256>  <element type> <dimensions joined by x> <name>\n`, sorted by bytes. A scalar's
/// dimensions are `scalar`.
///
/// `None` where a tensor has no digest: a part of the weights is nobody's identity.
pub fn weights_digest<'t>(tensors: impl IntoIterator<Item = (&'t Tensor, Option<&'t str>)>) -> Option<String> {
    let mut lines = Vec::new();
    for (tensor, sha256) in tensors {
        lines.push(format!("{}  {} {} {}\n", sha256?, tensor.element_type, dimensions(&tensor.shape), tensor.name));
    }
    if lines.is_empty() {
        return None;
    }
    lines.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(b"weighhouse-weights-v1\n");
    for line in &lines {
        hasher.update(line);
    }
    Some(hex::encode(hasher.finalize()))
}

/// `4096x1024`, or `scalar`.
pub fn dimensions(shape: &[u64]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}

/// The inverse of [`dimensions`].
pub fn parse_dimensions(text: &str) -> Option<Vec<u64>> {
    if text == "scalar" {
        return Some(Vec::new());
    }
    text.split('x').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, offset: u64, byte_length: u64) -> Tensor {
        Tensor {
            name: name.to_owned(),
            element_type: "F32".into(),
            shape: vec![byte_length / 4],
            byte_length,
            offset: Some(offset),
        }
    }

    #[test]
    fn a_tensor_is_digested_by_its_own_bytes() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        let length = (2 << 20) + 4;
        let found = digest_tensors(&bytes, &[tensor("a", 8, length)], &|_| {}).unwrap();
        let expected = hex::encode(Sha256::digest(&bytes[8..8 + usize::try_from(length).unwrap()]));
        assert_eq!(found[0], Some(TensorDigest { sha256: expected, constant: false }));
    }

    #[test]
    fn dimensions_are_read_as_they_are_written() {
        for shape in [vec![], vec![7], vec![4096, 1024]] {
            assert_eq!(parse_dimensions(&dimensions(&shape)), Some(shape));
        }
        assert_eq!(parse_dimensions("4xx"), None);
    }

    #[test]
    fn constant_tensors_are_marked() {
        let mut bytes = [1.0_f32.to_le_bytes(); 1024].concat();
        let of = |bytes: &Vec<u8>| digest_tensors(bytes, &[tensor("a", 0, 4096)], &|_| {}).unwrap()[0].clone().unwrap();
        assert!(of(&bytes).constant);
        bytes[4095] = 0;
        assert!(!of(&bytes).constant);
    }

    #[test]
    fn bytes_that_come_in_pieces_give_the_same_digests() {
        let mut bytes: Vec<u8> = (0..=250).cycle().take(10_000).collect();
        bytes[4000..5000].fill(7);
        let mut tensors =
            vec![tensor("a", 16, 1000), tensor("b", 4003, 900), tensor("tied", 16, 1000), tensor("c", 9996, 4)];
        tensors.push(tensor("view", 500, 1000));
        tensors.push(tensor("beyond", 9_999, 4));
        let expected = digest_tensors(&bytes, &tensors, &|_| {}).unwrap();
        assert_eq!(expected[0], expected[2]);
        assert!(expected[1].as_ref().unwrap().constant && !expected[0].as_ref().unwrap().constant);
        assert_eq!(expected[5], None);
        for size in [1, 3, 8, 777, 10_000] {
            let mut stream = TensorStream::new(&tensors, bytes.len() as u64);
            bytes.chunks(size).for_each(|piece| stream.update(piece));
            assert_eq!(stream.finish(), expected, "{size}");
        }
    }

    #[test]
    fn places_that_overlap_are_not_read_without_end() {
        let bytes = vec![1; 1000];
        let tensors: Vec<Tensor> = (0..100).map(|number| tensor("view", number, 900)).collect();
        let digests = digest_tensors(&bytes, &tensors, &|_| {}).unwrap();
        assert_eq!(digests.iter().flatten().count(), 2);
    }

    #[test]
    fn the_digest_of_all_weights_knows_names_and_shapes_but_no_order() {
        let (a, b) = (tensor("a", 0, 4), tensor("b", 4, 4));
        let both = weights_digest([(&a, Some("00")), (&b, Some("11"))]);
        assert_eq!(both, weights_digest([(&b, Some("11")), (&a, Some("00"))]));
        assert_ne!(both, weights_digest([(&a, Some("11")), (&b, Some("00"))]));
        assert_eq!(weights_digest([(&a, Some("00")), (&b, None)]), None);
        assert_eq!(weights_digest([]), None);
        let known = "weighhouse-weights-v1\n00  F32 1 a\n11  F32 1 b\n";
        assert_eq!(both, Some(hex::encode(Sha256::digest(known))));
    }
}
