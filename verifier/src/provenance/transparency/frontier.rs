//! The right edge of a growing tree: all that is needed to append a leaf and know the new
//! root, without reading anything older.

use serde::{Deserialize, Serialize};

use super::merkle::{Hash, Node, empty_root, node_hash};

/// The complete subtrees that a tree of `size` leaves consists of, largest first: one for
/// each set bit of the size.
///
/// Serializes as `{"size": 5, "subtrees": ["<hex>", "<hex>"]}`; a document whose number of
/// subtrees does not fit its size is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

/// Why stored bytes are no frontier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    #[error("a tree of {size} leaves has {} complete subtrees, not {found}", size.count_ones())]
    Count { size: u64, found: usize },
    #[error("a subtree's hash is not 64 hexadecimal digits")]
    Hash,
    #[error("the tree is full")]
    Full,
}

#[derive(Serialize, Deserialize)]
struct Document {
    size: u64,
    subtrees: Vec<String>,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of a tree with these complete subtrees, largest first.
    pub fn from_subtrees(size: u64, subtrees: Vec<Hash>) -> Result<Self, FrontierError> {
        if subtrees.len() == size.count_ones() as usize {
            Ok(Self { size, subtrees })
        } else {
            Err(FrontierError::Count { size, found: subtrees.len() })
        }
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The complete subtrees with their places, largest first.
    pub fn nodes(&self) -> Vec<(Node, Hash)> {
        let mut start = 0;
        let levels = (0..64_u8).rev().filter(|level| self.size >> level & 1 == 1);
        let place = |(level, hash): (u8, &Hash)| {
            let node = Node { level, index: start >> level };
            start += 1 << level;
            (node, *hash)
        };
        levels.zip(&self.subtrees).map(place).collect()
    }

    /// Appends a leaf's hash in O(log n). Returns the subtrees that became complete, the leaf
    /// itself first: stored by place, they are what proofs look up later.
    pub fn append(&mut self, leaf: Hash) -> Result<Vec<(Node, Hash)>, FrontierError> {
        let index = self.size;
        self.size = index.checked_add(1).ok_or(FrontierError::Full)?;
        let mut hash = leaf;
        let mut completed = vec![(Node { level: 0, index }, hash)];
        // Each trailing one of the old size is a subtree as large as what was just completed.
        for level in 1..=index.trailing_ones().to_le_bytes()[0] {
            let Some(left) = self.subtrees.pop() else { break };
            hash = node_hash(&left, &hash);
            completed.push((Node { level, index: index >> level }, hash));
        }
        self.subtrees.push(hash);
        Ok(completed)
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let from_the_right = self.subtrees.iter().rev().copied();
        from_the_right.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

impl TryFrom<Document> for Frontier {
    type Error = FrontierError;

    fn try_from(document: Document) -> Result<Self, FrontierError> {
        let parse = |text: &String| {
            let mut hash = Hash::default();
            hex::decode_to_slice(text, &mut hash).map_err(|_| FrontierError::Hash)?;
            Ok(hash)
        };
        let subtrees = document.subtrees.iter().map(parse).collect::<Result<_, _>>()?;
        Self::from_subtrees(document.size, subtrees)
    }
}

impl From<Frontier> for Document {
    fn from(frontier: Frontier) -> Self {
        Self { size: frontier.size, subtrees: frontier.subtrees.iter().map(hex::encode).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::merkle::tests::numbered_leaves;
    use super::super::merkle::{inclusion_proof, root, verify_inclusion};
    use super::*;

    #[test]
    fn root_after_each_append_is_the_root_over_all_leaves() {
        let leaves = numbered_leaves(70);
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root(), root(&[]));
        for (index, leaf) in leaves.iter().enumerate() {
            frontier.append(*leaf).unwrap();
            assert_eq!(frontier.size(), index as u64 + 1);
            assert_eq!(frontier.root(), root(&leaves[..=index]), "{index}");
        }
    }

    #[test]
    fn completed_subtrees_are_all_that_proofs_look_up() {
        let leaves = numbered_leaves(70);
        let mut frontier = Frontier::new();
        let mut stored = BTreeMap::new();
        for (index, leaf) in (0..).zip(&leaves) {
            stored.extend(frontier.append(*leaf).unwrap());
            let proof = inclusion_proof(index / 2, index + 1, |node| stored.get(&node).copied().ok_or(node)).unwrap();
            let earlier = &leaves[usize::try_from(index / 2).unwrap()];
            assert_eq!(verify_inclusion(earlier, index / 2, index + 1, &proof, &frontier.root()), Ok(()));
        }
        for (node, hash) in frontier.nodes() {
            assert_eq!(stored[&node], hash);
        }
    }

    #[test]
    fn stored_frontier_goes_on_where_it_stopped() {
        let leaves = numbered_leaves(11);
        let mut frontier = Frontier::new();
        for leaf in &leaves[..7] {
            frontier.append(*leaf).unwrap();
        }
        let stored = serde_json::to_string(&frontier).unwrap();
        let mut restored: Frontier = serde_json::from_str(&stored).unwrap();
        for leaf in &leaves[7..] {
            restored.append(*leaf).unwrap();
        }
        assert_eq!(restored.root(), root(&leaves));
    }

    #[test]
    fn frontier_that_does_not_fit_its_size_is_refused() {
        assert_eq!(Frontier::from_subtrees(5, vec![[0; 32]]), Err(FrontierError::Count { size: 5, found: 1 }));
        assert!(serde_json::from_str::<Frontier>(r#"{"size":1,"subtrees":["abc"]}"#).is_err());
    }

    #[test]
    fn full_tree_takes_no_leaf() {
        let mut frontier = Frontier::from_subtrees(u64::MAX, vec![[0; 32]; 64]).unwrap();
        assert_eq!(frontier.append([0; 32]), Err(FrontierError::Full));
    }
}
