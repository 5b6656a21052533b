//! Table rows. Private to this crate: other crates see domain types only.

#![expect(unreachable_pub, reason = "the derive macros need public items in a private module")]

pub mod model;
pub mod model_name;
pub mod blob;
pub mod blob_grant;
pub mod upload_session;
pub mod revision;
pub mod revision_file;
pub mod reference;
pub mod ref_movement;
pub mod evidence;
pub mod revision_stage;
pub mod signature;
pub mod job;
pub mod policy_version;
pub mod decision;
pub mod live_decision;
pub mod catalog_entry;
pub mod catalog_term;
pub mod catalog_verdict;
pub mod role_assignment;
pub mod api_token;
pub mod audit_event;
pub mod audit_person;
pub mod audit_leaf;
pub mod audit_checkpoint;
pub mod access_entry;
pub mod lease;
pub mod signing_key;
pub mod idempotency_key;
