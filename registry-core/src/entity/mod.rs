//! Table rows. Private to this crate: other crates see domain types only.

#![expect(unreachable_pub, reason = "the derive macros need public items in a private module")]
#![expect(clippy::struct_field_names, reason = "fields are named as their columns")]

pub mod access_entry;
pub mod api_token;
pub mod audit_checkpoint;
pub mod audit_event;
pub mod audit_leaf;
pub mod audit_node;
pub mod audit_person;
pub mod blob;
pub mod blob_digest;
pub mod blob_grant;
pub mod blob_tensor;
pub mod blob_term;
pub mod blob_weights;
pub mod catalog_entry;
pub mod catalog_term;
pub mod catalog_verdict;
pub mod decision;
pub mod evidence;
pub mod git_blob;
pub mod job;
pub mod license_record;
pub mod lineage_edge;
pub mod live_decision;
pub mod model;
pub mod model_name;
pub mod policy_version;
pub mod ref_movement;
pub mod reference;
pub mod revision;
pub mod revision_file;
pub mod revision_stage;
pub mod revision_weights;
pub mod revocation_list;
pub mod role_assignment;
pub mod shared_weights;
pub mod signature;
pub mod signing_key;
pub mod statement;
pub mod trust_policy_version;
pub mod trust_root;
pub mod trust_state;
pub mod upload_session;
pub mod xet_file;
pub mod xorb;
pub mod xorb_grant;
pub mod xorb_staging;
