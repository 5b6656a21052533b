//! Pure judgement over bytes and JSON.
//!
//! Nothing in this crate knows a database, HTTP, an async runtime or a clock: the server's
//! pipeline and the offline verbs call the same functions, so a verdict can be repeated
//! anywhere from the same bytes.

pub mod aibom;
mod digested_file;
pub mod evidence;
pub mod format;
pub mod license;
pub mod number;
pub mod policy;
pub mod provenance;
pub mod read_at;
mod words;

pub use digested_file::DigestedFile;
pub use read_at::{FileReader, ReadAt};
