//! In progress.

pub mod transparency;
