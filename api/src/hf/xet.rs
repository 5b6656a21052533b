//! The Xet store: chunks, xorbs and shards, as `hf_xet` sends and reads them.

use crate::server::routes::RouteTable;

pub(super) fn routes(_table: &mut RouteTable) {}
