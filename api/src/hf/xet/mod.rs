//! The Xet store: chunks, xorbs and shards, as `hf_xet` sends and reads them.
//!
//! A client gets a short-lived access token for one model and talks to the store with it. The
//! store's address is this server's own, with a name for each namespace: clients remember by
//! address what they have sent, and what one namespace was sent, another has no right to. Chunks
//! are not deduplicated across clients: to ask whether a chunk is stored is answered "no", so
//! that nobody learns what others have; each client remembers what it has sent itself.

mod actor;
mod read;
mod write;

use actix_web::http::Method;
use registry_core::XetHash;
use serde::Deserialize;

use super::refusal::{Answer, Refusal};
use super::{READ, WRITE};
use crate::server::access::Permission;
use crate::server::routes::RouteTable;

/// The one name space of hashes.
const PREFIX: &str = "default";

pub(super) fn routes(table: &mut RouteTable) {
    let (get, post, signed) = (Method::GET, Method::POST, Permission::Capability);
    table.add(get.clone(), "/api/models/{namespace}/{name}/xet-read-token/{revision}", READ, actor::read_token);
    table.add(get.clone(), "/api/models/{namespace}/{name}/xet-write-token/{revision}", WRITE, actor::write_token);
    table.add(get.clone(), "/xet/stores/{store}/v1/chunks/{prefix}/{hash}", signed, read::find_chunk);
    table.add(post.clone(), "/xet/stores/{store}/v1/xorb-grants/{prefix}/{hash}", signed, write::grant_upload);
    table.add(post.clone(), "/xet/stores/{store}/v1/xorbs/{prefix}/{hash}", signed, write::put_xorb);
    table.add(post.clone(), "/xet/stores/{store}/v1/shards", signed, write::put_shard);
    table.add(post, "/xet/stores/{store}/v2/shards", signed, write::put_shard_with_progress);
    table.add(get.clone(), "/xet/stores/{store}/v1/reconstructions/{file}", signed, read::reconstruct_v1);
    table.add(get.clone(), "/xet/stores/{store}/v2/reconstructions/{file}", signed, read::reconstruct_v2);
    table.add(get, "/xet/fetch/{capability}", signed, read::fetch);
}

/// A file's hash.
#[derive(Debug, Deserialize)]
struct FileHashPath {
    file: String,
}

/// A hash with its name space.
#[derive(Debug, Deserialize)]
struct HashPath {
    prefix: String,
    hash: String,
}

impl HashPath {
    fn hash(&self) -> Answer<XetHash> {
        if self.prefix != PREFIX {
            return Err(Refusal::bad_request(format!("Hashes are below {PREFIX}/.")));
        }
        Ok(self.hash.parse()?)
    }
}
