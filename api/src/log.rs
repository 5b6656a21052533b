//! The audit log as the static files of C2SP `tlog-tiles`, for monitors, witnesses and mirrors.
//!
//! Hashes, heads and keys are public: they say nothing about anyone, and a log that only its
//! operator can see is no witness. The entries say who did what, so they are not.

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};
use registry_core::{Error, Role};
use verifier::provenance::transparency::{self, Tile};

use crate::server::State;
use crate::server::access::{Actor, Permission};
use crate::server::problem::{Answer, Problem};
use crate::server::routes::RouteTable;

/// What is below a place in an append-only log never changes.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// For entries: the same, but not for caches that serve others.
const FOREVER_PRIVATE: &str = "private, max-age=31536000, immutable";
/// Partial tiles give way to full ones.
const A_MINUTE: &str = "public, max-age=60";
const NEVER: &str = "no-store";

pub(crate) fn routes(table: &mut RouteTable) {
    table.add(Method::GET, "/log/checkpoint", Permission::Public, checkpoint);
    table.add(Method::GET, "/log/trusted_root.json", Permission::Public, trusted_root);
    table.add(Method::GET, "/log/tile/{level}/{path:.*}", Permission::Public, tile);
    table.add(Method::GET, "/log/tile/entries/{path:.*}", Permission::Scope(Role::Admin), entries);
}

/// The newest signed head of the log, a C2SP checkpoint.
#[utoipa::path(get, path = "/log/checkpoint", tag = "log", security(()),
    responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = Problem)))]
pub(crate) async fn checkpoint(state: web::Data<State>) -> Answer {
    let newest = state.registry.latest_checkpoint().await?;
    let head = newest.ok_or_else(|| Error::NotFound("a checkpoint".into()))?;
    let mut response = HttpResponse::Ok();
    response.content_type("text/plain; charset=utf-8").insert_header((header::CACHE_CONTROL, NEVER));
    Ok(response.body(head.note))
}

/// The log's keys as a sigstore trusted root: with it, stock verifiers check that a statement is
/// in this log.
#[utoipa::path(get, path = "/log/trusted_root.json", tag = "log", security(()),
    responses((status = 200, body = std::collections::BTreeMap<String, serde_json::Value>)))]
pub(crate) async fn trusted_root(state: web::Data<State>) -> Answer {
    let root = state.registry.log_trusted_root().await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, NEVER)).json(root))
}

/// Hashes of one level of the tree: 256, or as many as a partial tile's address says.
#[utoipa::path(get, path = "/log/tile/{level}/{path}", tag = "log", security(()),
    params(("level" = String, Path, description = "0 for hashes of leaves"),
        ("path" = String, Path, description = "Such as `x001/x234/067` or `000.p/12`")),
    responses((status = 200, content_type = "application/octet-stream", body = String),
        (status = 404, body = Problem)))]
pub(crate) async fn tile(state: web::Data<State>, path: web::Path<(String, String)>) -> Answer {
    let (level, path) = path.into_inner();
    let tile = Tile::parse(&level, &path).ok_or_else(|| Error::NotFound("this tile".into()))?;
    let hashes = state.registry.log_tile(tile).await?;
    Ok(bytes(hashes, if is_full(tile) { FOREVER } else { A_MINUTE }))
}

/// Leaves of the tree, each behind its length in two bytes. For site administrators.
#[utoipa::path(get, path = "/log/tile/entries/{path}", tag = "log",
    params(("path" = String, Path, description = "Such as `x001/x234/067` or `000.p/12`")),
    responses((status = 200, content_type = "application/octet-stream", body = String),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn entries(state: web::Data<State>, Actor(caller): Actor, path: web::Path<String>) -> Answer {
    let tile = Tile::parse_entries(&path).ok_or_else(|| Error::NotFound("these entries".into()))?;
    let bundle = state.registry.log_entries(&caller, tile).await?;
    Ok(bytes(bundle, if is_full(tile) { FOREVER_PRIVATE } else { NEVER }))
}

const fn is_full(tile: Tile) -> bool {
    tile.width == transparency::tile::WIDTH
}

fn bytes(body: Vec<u8>, caching: &'static str) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type("application/octet-stream").insert_header((header::CACHE_CONTROL, caching));
    response.body(body)
}
