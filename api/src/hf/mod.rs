//! The Hugging Face Hub's API, as its stock clients use it.
//!
//! A thin dialect over the core: what a request means here is what it means at `/v1`. The
//! shapes follow the clients' sources, not a specification, because there is none.

mod refusal;
mod xet;

pub(crate) use refusal::Refusal;

use crate::server::routes::RouteTable;

pub(crate) fn routes(table: &mut RouteTable) {
    xet::routes(table);
}
