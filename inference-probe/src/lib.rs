//! Does this model really load and generate?
//!
//! [`run`] starts a confined child process over a model's open files and turns what the
//! child reports, or how it dies, into a [`verifier::evidence::ProbeReport`]. The child is
//! any program whose `main` calls [`worker_main`] first: the server re-executes itself with
//! a hidden verb. Neither side knows a database or HTTP, so `weighhouse probe FILE` is the
//! same code as the pipeline's stage.

mod chat_template;
mod checkpoint;
mod checks;
mod engine;
mod plan;
mod protocol;
mod sandbox;
mod tokenizer;
mod worker;

pub use protocol::Confinement;
pub use sandbox::confine;
pub use sandbox::parent::run;
pub use sandbox::{Limits, ProbeFile, ProbeRequest, Progress};
pub use worker::worker_main;

/// Version of the probe's conclusions: raised whenever they may change, so that evidence
/// made by older code is not taken for evidence made by this.
pub const VERSION: &str = "probe-2";
