//! The native API. A handler parses, calls the core once and renders.

pub(crate) mod aibom;
pub(crate) mod audit;
pub(crate) mod files;
pub(crate) mod governance;
pub(crate) mod identity;
pub(crate) mod license;
pub(crate) mod models;
pub(crate) mod probes;
pub(crate) mod refs;
pub(crate) mod reports;
pub(crate) mod revisions;
pub mod syntax;
pub(crate) mod trust;
pub(crate) mod uploads;
pub(crate) mod weights;
pub mod wire;

use actix_web::http::Method;
use actix_web::{HttpRequest, web};
use registry_core::{Caller, Error, IdempotencyKey, ModelInfo, ModelName, Revision, Role};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::server::access::Permission;
use crate::server::routes::RouteTable;

const READ: Permission = Permission::Read;
const WRITE: Permission = Permission::Scope(Role::Writer);
const MAINTAIN: Permission = Permission::Scope(Role::Maintainer);
const ADMINISTER: Permission = Permission::Scope(Role::Admin);
const ANY_TOKEN: Permission = Permission::Scope(Role::Reader);

pub(crate) fn routes(table: &mut RouteTable) {
    let (get, post, put, patch, delete) = (Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    table.add(get.clone(), "/v1/server", READ, identity::server);
    table.add(get.clone(), "/v1/whoami", READ, identity::whoami);
    table.add(get.clone(), "/v1/models", READ, models::list);
    table.add(post.clone(), "/v1/models", WRITE, models::create);
    table.add(get.clone(), "/v1/models/{namespace}/{name}", READ, models::show);
    table.add(patch, "/v1/models/{namespace}/{name}", MAINTAIN, models::change);
    table.add(delete.clone(), "/v1/models/{namespace}/{name}", MAINTAIN, models::remove);
    table.add(post.clone(), "/v1/models/{namespace}/{name}/uploads", WRITE, uploads::declare);
    table.add(get.clone(), "/v1/uploads/{id}", WRITE, uploads::show);
    table.add(put.clone(), "/v1/uploads/{id}", WRITE, uploads::send);
    table.add(delete.clone(), "/v1/uploads/{id}", WRITE, uploads::abort);
    table.add(post.clone(), "/v1/models/{namespace}/{name}/commits", WRITE, revisions::commit);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/revisions", READ, revisions::list);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/revisions/{revision}", READ, revisions::show);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/revisions/{revision}/aibom", READ, aibom::show);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/revisions/{revision}/tensors", READ, weights::tensors);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/revisions/{revision}/weights", READ, weights::show);
    table.add(get.clone(), "/v1/reports/license", READ, reports::license);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/revisions/{revision}/probes", READ, probes::list);
    table.add(post.clone(), "/v1/models/{namespace}/{name}/revisions/{revision}/probe", WRITE, probes::request);
    let signatures = "/v1/models/{namespace}/{name}/revisions/{revision}/signatures";
    table.add(post.clone(), signatures, WRITE, revisions::attach_signature);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/revisions/{revision}/provenance", READ, trust::view);
    let attestation = "/v1/models/{namespace}/{name}/revisions/{revision}/attestations/{sha256}";
    table.add(get.clone(), attestation, READ, trust::bundle);
    let countersignature = "/v1/models/{namespace}/{name}/revisions/{revision}/countersignature";
    table.add(post.clone(), countersignature, MAINTAIN, trust::countersign);
    table.add(get.clone(), "/v1/trust/policy", READ, trust::policy);
    table.add(post.clone(), "/v1/trust/dry-run", ADMINISTER, trust::dry_run);
    table.add(get.clone(), "/v1/trust/roots", READ, trust::roots);
    table.add(post.clone(), "/v1/trust/roots", ADMINISTER, trust::import_root);
    table.add(get.clone(), "/v1/trust/revocations", READ, trust::revocations);
    table.add(post.clone(), "/v1/trust/revocations", ADMINISTER, trust::import_revocations);
    let file = "/v1/models/{namespace}/{name}/revisions/{revision}/files/{path:.*}";
    table.add(get.clone(), file, READ, files::download);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/refs", READ, refs::list);
    table.add(put.clone(), "/v1/models/{namespace}/{name}/refs/{kind}/{ref}", WRITE, refs::set);
    table.add(delete.clone(), "/v1/models/{namespace}/{name}/refs/{kind}/{ref}", MAINTAIN, refs::remove);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/refs/{kind}/{ref}/history", READ, refs::history);
    table.add(get.clone(), "/v1/licenses", READ, license::list);
    table.add(get.clone(), "/v1/licenses/{id}", READ, license::show);
    let license = "/v1/models/{namespace}/{name}/revisions/{revision}/license";
    table.add(get.clone(), license, READ, license::view);
    let records = "/v1/models/{namespace}/{name}/revisions/{revision}/license/records";
    table.add(post.clone(), records, MAINTAIN, license::record);
    let record = "/v1/models/{namespace}/{name}/revisions/{revision}/license/records/{id}";
    table.add(delete.clone(), record, MAINTAIN, license::end_record);
    table.add(get.clone(), "/v1/models/{namespace}/{name}/events", MAINTAIN, audit::model_events);
    // An answer is stored, so a stranger may not ask: every other use would leave a row.
    table.add(post.clone(), "/v1/gate", ANY_TOKEN, governance::gate);
    table.add(get.clone(), "/v1/decisions/{id}", READ, governance::decision);
    table.add(get.clone(), "/v1/jobs", ADMINISTER, governance::jobs);
    table.add(post.clone(), "/v1/jobs/{id}/retry", ADMINISTER, governance::retry);
    table.add(get.clone(), "/v1/audit/events", ADMINISTER, audit::events);
    table.add(get.clone(), "/v1/audit/checkpoint", READ, audit::checkpoint);
    table.add(post.clone(), "/v1/audit/verify", ADMINISTER, audit::verify);
    table.add(get.clone(), "/v1/audit/events/{id}/proof", READ, audit::proof);
    table.add(get.clone(), "/v1/audit/events/{id}/leaf", ANY_TOKEN, audit::leaf);
    table.add(get.clone(), "/v1/audit/consistency", READ, audit::consistency);
    table.add(get.clone(), "/v1/audit/keys", READ, audit::keys);
    table.add(get.clone(), "/v1/tokens", ANY_TOKEN, identity::tokens);
    table.add(post, "/v1/tokens", ANY_TOKEN, identity::issue);
    table.add(delete.clone(), "/v1/tokens/{id}", ANY_TOKEN, identity::revoke);
    table.add(get, "/v1/namespaces/{namespace}/members", ADMINISTER, identity::members);
    table.add(put, "/v1/namespaces/{namespace}/members/{subject}", ADMINISTER, identity::set_member);
    table.add(delete, "/v1/namespaces/{namespace}/members/{subject}", ADMINISTER, identity::remove_member);
}

/// The model in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ModelPath {
    #[param(value_type = syntax::Segment)]
    pub(crate) namespace: String,
    #[param(value_type = syntax::Segment)]
    pub(crate) name: String,
}

impl ModelPath {
    pub(crate) fn name(&self) -> registry_core::Result<ModelName> {
        format!("{}/{}", self.namespace, self.name).parse()
    }
}

/// A model's revision in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RevisionPath {
    #[param(value_type = syntax::Segment)]
    pub(crate) namespace: String,
    #[param(value_type = syntax::Segment)]
    pub(crate) name: String,
    /// A commit, branch or tag.
    pub(crate) revision: String,
}

impl RevisionPath {
    pub(crate) fn name(&self) -> registry_core::Result<ModelName> {
        format!("{}/{}", self.namespace, self.name).parse()
    }

    /// The model and its revision, where the caller may see them.
    pub(crate) async fn find(&self, state: &Data, caller: &Caller) -> registry_core::Result<(ModelInfo, Revision)> {
        let model = state.registry.find_model(caller, &self.name()?).await?;
        let revision = state.registry.find_revision(&model, &self.revision).await?;
        Ok((model, revision))
    }
}

/// The header that names a request, so that a repeat is known as one.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The request is compared as it was understood, so that spaces and the order of fields make no difference.
fn idempotency_key(request: &HttpRequest, meaning: &impl Serialize) -> registry_core::Result<Option<IdempotencyKey>> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().map_err(|_| Error::invalid("Idempotency-Key", "must be ASCII"))?;
    IdempotencyKey::new(key, &serde_json::to_vec(meaning)?).map(Some)
}

/// A body of at most `limit` bytes; `what` names it where it is larger.
async fn read_body(body: web::Payload, what: &str, limit: usize) -> registry_core::Result<web::Bytes> {
    let too_large = |_| Error::TooLarge { what: what.into(), limit: limit as u64 };
    body.to_bytes_limited(limit).await.map_err(too_large)?.map_err(|_| Error::Interrupted(0))
}

type Data = web::Data<crate::server::State>;
