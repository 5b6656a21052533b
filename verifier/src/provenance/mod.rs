//! Who vouches for a revision, and what can be proven of that.

mod judge;
pub mod oms;
pub mod transparency;

pub use judge::judge;
