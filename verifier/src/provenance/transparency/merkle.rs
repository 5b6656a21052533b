//! The Merkle tree of RFC 6962, section 2.1: hashes, roots, and the proofs that a leaf is in
//! a tree and that one tree is the beginning of another.
//!
//! Proofs are made over a closure that looks up the roots of complete subtrees, so that the
//! tree can stand in a database, in tiles or in memory.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// A complete subtree: level 0 are leaves, level `l` covers `2^l` leaves. The leaves of node
/// `index` at `level` start at `index << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Node {
    pub level: u8,
    pub index: u64,
}

/// Why there is no proof.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    #[error("leaf {index} is not in a tree of {size} leaves")]
    LeafOutside { index: u64, size: u64 },
    #[error("a tree of {from} leaves is not the beginning of a tree of {to}")]
    SizesReversed { from: u64, to: u64 },
    #[error("the hash of a subtree could not be read")]
    Lookup(#[source] E),
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerificationError {
    #[error("the proof has the wrong number of hashes for these sizes")]
    Length,
    #[error("the proof does not lead to the root")]
    Root,
}

/// The hash of a leaf's bytes.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The hash of two subtrees, told apart from a leaf by its first byte.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root over leaf hashes in memory.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// Size of the left subtree: the largest power of two below `count`, which is at least 2.
const fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// Size of the left subtree, for sizes of any tree.
const fn split_u64(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// Proves that leaf `index` is in the tree of the first `size` leaves: the hashes of the
/// subtrees beside the path, from the leaf up. `lookup` gives the hash of a complete subtree.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    lookup: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProofError<E>> {
    if index >= size {
        return Err(ProofError::LeafOutside { index, size });
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split_u64(end - start);
        if index < middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
        }
    }
    range_roots(ranges, lookup)
}

/// Proves that the tree of the first `from` leaves is the beginning of the tree of the first
/// `to` leaves (RFC 6962, 2.1.2). Empty when both are the same tree or `from` is 0.
pub fn consistency_proof<E>(
    from: u64,
    to: u64,
    lookup: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProofError<E>> {
    if from > to {
        return Err(ProofError::SizesReversed { from, to });
    }
    if from == 0 || from == to {
        return Ok(Vec::new());
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, to);
    while from < end {
        let middle = start + split_u64(end - start);
        if from <= middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
        }
    }
    // The old root itself is known to the verifier when it is one of the new tree's subtrees.
    if start > 0 {
        ranges.push((start, end));
    }
    range_roots(ranges, lookup)
}

/// The roots of ranges that were collected from the top down, in proof order: bottom up.
fn range_roots<E>(
    ranges: Vec<(u64, u64)>,
    mut lookup: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProofError<E>> {
    ranges
        .into_iter()
        .rev()
        .map(|(start, end)| range_root(start, end, &mut lookup).map_err(ProofError::Lookup))
        .collect()
}

/// The root of leaves `start..end`, where `start` is a multiple of a power of two that is at
/// least as large as the range. Only the right edge of a tree is not complete, so this walks
/// its complete subtrees from the right.
fn range_root<E>(start: u64, end: u64, lookup: &mut impl FnMut(Node) -> Result<Hash, E>) -> Result<Hash, E> {
    let mut remaining = end - start;
    let mut position = end;
    let mut hash = None;
    while remaining > 0 {
        let level = remaining.trailing_zeros();
        position -= 1 << level;
        remaining -= 1 << level;
        // A level is below 64, so it always fits.
        let subtree = lookup(Node { level: level.to_le_bytes()[0], index: position >> level })?;
        hash = Some(hash.map_or(subtree, |right| node_hash(&subtree, &right)));
    }
    Ok(hash.unwrap_or_else(empty_root))
}

/// Checks that `leaf` is leaf `index` of the tree of `size` leaves with this root
/// (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), VerificationError> {
    if index >= size {
        return Err(VerificationError::Length);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(VerificationError::Length);
        }
        if node % 2 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            skip_missing_levels(&mut node, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        node /= 2;
        last /= 2;
    }
    check(last == 0, VerificationError::Length)?;
    check(hash == *root, VerificationError::Root)
}

/// Checks that the tree with `old_root` is the beginning of the tree with `new_root`
/// (RFC 9162, 2.1.4.2). The empty tree is the beginning of every tree.
pub fn verify_consistency(
    from: u64,
    to: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), VerificationError> {
    if from == 0 || from >= to {
        check(proof.is_empty() && from <= to, VerificationError::Length)?;
        let is_known = (from > 0 || *old_root == empty_root()) && (from < to || old_root == new_root);
        return check(is_known, VerificationError::Root);
    }
    let (mut node, mut last) = (from - 1, to - 1);
    while node % 2 == 1 {
        node /= 2;
        last /= 2;
    }
    // An old tree that is one complete subtree starts the proof itself.
    let (start, rest) = if from.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(VerificationError::Length)?;
        (*first, rest)
    };
    let (mut old, mut new) = (start, start);
    for hash in rest {
        if last == 0 {
            return Err(VerificationError::Length);
        }
        if node % 2 == 1 || node == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            skip_missing_levels(&mut node, &mut last);
        } else {
            new = node_hash(&new, hash);
        }
        node /= 2;
        last /= 2;
    }
    check(last == 0, VerificationError::Length)?;
    check(old == *old_root && new == *new_root, VerificationError::Root)
}

/// On the right edge a node without a sibling moves up unchanged.
const fn skip_missing_levels(node: &mut u64, last: &mut u64) {
    while node.is_multiple_of(2) && *node != 0 {
        *node /= 2;
        *last /= 2;
    }
}

const fn check(holds: bool, error: VerificationError) -> Result<(), VerificationError> {
    if holds { Ok(()) } else { Err(error) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The leaves of the tree that RFC 6962 implementations share as their test.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn known_leaves() -> Vec<Hash> {
        LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect()
    }

    pub(crate) fn numbered_leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    fn lookup(leaves: &[Hash]) -> impl FnMut(Node) -> Result<Hash, Infallible> {
        |node| {
            let start = usize::try_from(node.index << node.level).unwrap();
            Ok(root(&leaves[start..start + (1 << node.level)]))
        }
    }

    fn hexes(hashes: &[Hash]) -> Vec<String> {
        hashes.iter().map(hex::encode).collect()
    }

    #[test]
    fn roots_are_those_of_the_shared_test_tree() {
        let leaves = known_leaves();
        assert_eq!(hex::encode(root(&[])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (index, expected) in ROOTS.iter().enumerate() {
            assert_eq!(hex::encode(root(&leaves[..=index])), *expected, "{} leaves", index + 1);
        }
    }

    #[test]
    fn proofs_are_those_of_the_shared_test_tree() {
        let leaves = known_leaves();
        let first = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        assert_eq!(hexes(&inclusion_proof(0, 8, lookup(&leaves)).unwrap()), first);
        assert_eq!(hexes(&consistency_proof(1, 8, lookup(&leaves)).unwrap()), first);
        let six_to_eight = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(hexes(&consistency_proof(6, 8, lookup(&leaves)).unwrap()), six_to_eight);
        let two_to_five = [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ];
        assert_eq!(hexes(&consistency_proof(2, 5, lookup(&leaves)).unwrap()), two_to_five);
    }

    #[test]
    fn every_leaf_of_every_tree_is_proven_and_only_at_its_place() {
        for size in 1..=70 {
            let leaves = numbered_leaves(size);
            let tree = root(&leaves);
            for (index, leaf) in (0..size).zip(&leaves) {
                let proof = inclusion_proof(index, size, lookup(&leaves)).unwrap();
                assert_eq!(verify_inclusion(leaf, index, size, &proof, &tree), Ok(()), "{index} of {size}");
                let neighbor = (index + 1) % size;
                if neighbor != index {
                    assert!(verify_inclusion(leaf, neighbor, size, &proof, &tree).is_err(), "{neighbor} of {size}");
                }
            }
        }
    }

    #[test]
    fn every_tree_is_proven_to_be_the_beginning_of_every_later_one() {
        let leaves = numbered_leaves(70);
        let roots: Vec<Hash> = (0..=leaves.len()).map(|size| root(&leaves[..size])).collect();
        for to in 0..=70 {
            for from in 0..=to {
                let proof = consistency_proof(from, to, lookup(&leaves)).unwrap();
                let (old, new) = (&roots[usize::try_from(from).unwrap()], &roots[usize::try_from(to).unwrap()]);
                assert_eq!(verify_consistency(from, to, &proof, old, new), Ok(()), "{from} to {to}");
            }
        }
    }

    #[test]
    fn changed_shortened_and_lengthened_inclusion_proofs_are_refused() {
        let leaves = numbered_leaves(37);
        let tree = root(&leaves);
        let proof = inclusion_proof(20, 37, lookup(&leaves)).unwrap();
        let verify = |proof: &[Hash]| verify_inclusion(&leaves[20], 20, 37, proof, &tree);
        for index in 0..proof.len() {
            let mut changed = proof.clone();
            changed[index][0] ^= 1;
            assert_eq!(verify(&changed), Err(VerificationError::Root));
        }
        assert_eq!(verify(&proof[1..]), Err(VerificationError::Length));
        assert_eq!(verify(&[proof.clone(), vec![tree]].concat()), Err(VerificationError::Length));
        assert_eq!(verify_inclusion(&leaves[20], 37, 37, &proof, &tree), Err(VerificationError::Length));
    }

    #[test]
    fn rewritten_history_has_no_consistency_proof() {
        let leaves = numbered_leaves(37);
        let old = root(&leaves[..23]);
        let mut rewritten = leaves.clone();
        rewritten[5] = leaf_hash(b"another past");
        let new = root(&rewritten);
        let proof = consistency_proof(23, 37, lookup(&rewritten)).unwrap();
        assert_eq!(verify_consistency(23, 37, &proof, &old, &new), Err(VerificationError::Root));
        assert_eq!(verify_consistency(23, 37, &[], &old, &new), Err(VerificationError::Length));
        assert_eq!(verify_consistency(37, 23, &[], &new, &old), Err(VerificationError::Length));
        assert_eq!(verify_consistency(37, 37, &[], &old, &new), Err(VerificationError::Root));
    }

    #[test]
    fn proofs_of_what_is_not_there_are_refused() {
        let leaves = numbered_leaves(4);
        let outside = ProofError::LeafOutside { index: 4, size: 4 };
        assert_eq!(inclusion_proof(4, 4, lookup(&leaves)), Err(outside));
        assert_eq!(consistency_proof(5, 4, lookup(&leaves)), Err(ProofError::SizesReversed { from: 5, to: 4 }));
        let failing = inclusion_proof(0, 2, |_| Err("gone"));
        assert_eq!(failing, Err(ProofError::Lookup("gone")));
    }
}
