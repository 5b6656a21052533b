//! The probe as its users see it: a real child process over real files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod folders;
mod models;
mod sandbox;
mod smollm2;
mod support;
