//! Generators for the files that tests judge, servers that tests talk to, and the way to what
//! tests need from outside.
//!
//! Models are megabytes to gigabytes, carry licenses of their own and cannot be edited by
//! hand, so no test keeps one in the tree: it asks this crate for the smallest file that
//! shows the behavior. Everything is deterministic, so a digest seen in one run is the
//! digest of every run. The crate has no dependencies: every other crate may use it in
//! tests without a cycle.

pub mod environment;
pub mod flatbuffer;
pub mod gguf;
pub mod hdf5;
pub mod memory;
pub mod pickle;
pub mod protobuf;
pub mod proxy;
pub mod random;
pub mod safetensors;
pub mod server;
pub mod zip;
