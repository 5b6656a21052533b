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

/// Bytes of a tensor that are held at once.
const BUFFER_BYTES: u64 = 1 << 20;
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
    let allowance = Allowance::new();
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
    let digest = |tensor: &Tensor| match tensor.offset {
        Some(offset) => digest_range(source, offset, tensor.byte_length, read).map(Some),
        None => Ok(None),
    };
    tensors.par_iter().map(digest).collect()
}

fn digest_range(
    source: &dyn ReadAt,
    offset: u64,
    length: u64,
    read: &(dyn Fn(u64) + Sync),
) -> io::Result<TensorDigest> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; usize::try_from(length.min(BUFFER_BYTES)).map_err(io::Error::other)?];
    let mut pattern = Pattern::default();
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from((length - done).min(BUFFER_BYTES)).map_err(io::Error::other)?;
        let chunk = &mut buffer[..wanted];
        source.read_exact_at(offset + done, chunk)?;
        context.update(chunk);
        pattern.see(chunk);
        done += wanted as u64;
        read(wanted as u64);
    }
    Ok(TensorDigest { sha256: hex::encode(context.finish()), constant: pattern.is_constant() })
}

/// Whether bytes so far repeat their first eight.
#[derive(Default)]
struct Pattern {
    first: Option<[u8; PATTERN_BYTES]>,
    differs: bool,
}

impl Pattern {
    /// Takes the next bytes. All but the last have a length that is a multiple of the pattern's.
    fn see(&mut self, bytes: &[u8]) {
        if self.differs {
            return;
        }
        let Some(first) = self.first.or_else(|| bytes.first_chunk().copied()) else { return };
        self.first = Some(first);
        let (whole, rest) = bytes.as_chunks::<PATTERN_BYTES>();
        self.differs = whole.iter().any(|chunk| *chunk != first) || rest != &first[..rest.len()];
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
