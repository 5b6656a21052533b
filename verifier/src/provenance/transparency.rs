//! A log whose past cannot be changed unseen.
//!
//! The audit log of a registry is worth what an outsider can check: here a Merkle tree after
//! RFC 6962 over canonical JSON leaves, whose root is signed as a C2SP checkpoint. Whoever
//! keeps an old checkpoint can prove offline that today's log still holds everything it held
//! then. The code is our own because the tree is two hundred lines, the published crates for
//! it bring storage or key formats of their own, and stock tools can check the result.

pub mod canonical_json;
pub mod entry;
pub mod frontier;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod rotation;
pub mod tile;
pub mod trusted_root;

pub use canonical_json::canonical_json;
pub use entry::{EntryError, StatementEntry};
pub use frontier::Frontier;
pub use merkle::{Hash, Node};
pub use note::{Checkpoint, NoteSigner, NoteVerifier, SignedNote};
pub use proof::InclusionProof;
pub use rotation::Rotation;
pub use tile::Tile;
pub use trusted_root::{LogKey, trusted_root};
