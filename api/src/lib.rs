//! The `weighhouse` binary: HTTP, pages, command line and worker.
//!
//! A handler parses, calls the core once and renders. No SQL and no judgement lives here.

pub mod cli;
pub mod config;
mod hf;
mod log;
pub mod openapi;
mod server;
mod ui;
pub mod v1;
pub mod worker;
