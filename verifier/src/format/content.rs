//! A piece of content to look into: a file, or a member of an archive, with what looking may cost.

use std::cell::Cell;

use super::kind::FileKind;
use crate::read_at::ReadAt;

/// Containers in containers that are followed.
const MAX_DEPTH: u8 = 4;
/// Members looked at in one file, over all depths.
const MAX_MEMBERS: u64 = 100_000;
/// Files below this size are to be judged at once.
const SMALL_FILE_BYTES: u64 = 1024 * 1024;
/// Bytes unpacked from one file, over all members and depths.
const MAX_UNPACKED_BYTES: u64 = 256 * 1024 * 1024;
const MAX_UNPACKED_OF_SMALL: u64 = 24 * 1024 * 1024;
/// Instructions of pickles followed in one file, over all members and depths.
const MAX_INSTRUCTIONS: u64 = 80_000_000;
const MAX_INSTRUCTIONS_OF_SMALL: u64 = 2_000_000;

/// What is being read.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    /// Path inside the revision, or the member's name.
    pub(crate) path: &'a str,
    pub(crate) kind: FileKind,
    pub(crate) source: &'a dyn ReadAt,
    pub(crate) allowance: &'a Allowance,
    /// Number of containers around this content.
    pub(crate) depth: u8,
}

impl Content<'_> {
    /// Whether a container inside this one would be one too many.
    pub(crate) const fn is_deepest(&self) -> bool {
        self.depth >= MAX_DEPTH
    }
}

/// What looking into one file of a revision may still cost; shared by all its members.
#[derive(Debug)]
pub(crate) struct Allowance {
    members: Cell<u64>,
    unpacked_bytes: Cell<u64>,
    /// Instructions of pickles.
    instructions: Cell<u64>,
}

impl Allowance {
    /// For a file of `size` bytes: a small file must not take long, whatever it unpacks to.
    pub(crate) const fn new(size: u64) -> Self {
        let (bytes, instructions) = if size < SMALL_FILE_BYTES {
            (MAX_UNPACKED_OF_SMALL, MAX_INSTRUCTIONS_OF_SMALL)
        } else {
            (MAX_UNPACKED_BYTES, MAX_INSTRUCTIONS)
        };
        Self {
            members: Cell::new(MAX_MEMBERS),
            unpacked_bytes: Cell::new(bytes),
            instructions: Cell::new(instructions),
        }
    }

    /// Pays for `count` members; false where the allowance does not hold that many.
    pub(crate) fn take_members(&self, count: u64) -> bool {
        take(&self.members, count)
    }

    /// Pays for `bytes` of unpacked content; false where the allowance does not hold that many.
    pub(crate) fn take_bytes(&self, bytes: u64) -> bool {
        take(&self.unpacked_bytes, bytes)
    }

    pub(crate) const fn instructions_left(&self) -> u64 {
        self.instructions.get()
    }

    /// Says how many instructions are left after some were followed.
    pub(crate) fn leave_instructions(&self, left: u64) {
        self.instructions.set(left.min(self.instructions.get()));
    }
}

fn take(left: &Cell<u64>, wanted: u64) -> bool {
    match left.get().checked_sub(wanted) {
        Some(rest) => {
            left.set(rest);
            true
        }
        None => false,
    }
}
