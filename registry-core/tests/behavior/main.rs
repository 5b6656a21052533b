//! The registry's behavior, each case on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a failed step of a test must end it")]

mod access;
mod audit;
mod catalog;
mod changes;
mod gate;
mod identity;
mod jobs;
mod licenses;
mod probes;
mod reports;
mod revisions;
mod s3;
mod stored_documents;
mod support;
mod transparency;
mod trust;
mod uploads;
mod weights;
mod xet;
