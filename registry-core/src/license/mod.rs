//! Licenses of stored models: what people recorded, what models descend from, and what follows.
//!
//! The verifier judges; here are the rows it judges over. A record or a parent's new facts change
//! what follows for everything made from the model, so whatever writes here also asks the gate
//! again for the descendants.

mod lineage;
mod records;
mod reference;
mod view;

pub(crate) use lineage::{may_be_told, project_edges, redecide_descendants};
pub use records::{LicenseRecord, NewLicenseRecord};
pub(crate) use records::{MAX_RECORDS, record};
pub use reference::NewReference;
pub(crate) use view::{Basis, duty_shown_by, facts_digest_of};
pub use view::{LicenseView, LineageNode};
