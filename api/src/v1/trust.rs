//! Provenance: what is proven of a revision, whom the registry trusts, and what was revoked.

use actix_web::{HttpResponse, web};
use registry_core::{
    DryRunPage, Error, NewTrustRoot, PageRequest, RevocationListInfo, Sha256Digest, TrustRootInfo, TrustView,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::number::optional_whole_number;
use verifier::provenance::trust::TrustPolicy;

use super::wire::AttachedSignature;
use super::{Data, RevisionPath, read_body, syntax};
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Largest signed revocation list, in bytes.
const MAX_LIST_BYTES: usize = 2 << 20;

/// For which environment the trust policy is asked.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvironmentParams {
    /// Default: the caller's environment.
    environment: Option<String>,
}

/// What is proven of a revision, and what the trust policy makes of it, check by check.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/provenance", tag = "provenance",
    params(RevisionPath, EnvironmentParams),
    responses((status = 200, body = TrustView), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn view(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    query: web::Query<EnvironmentParams>,
) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let environment = query.environment.as_deref().unwrap_or_else(|| caller.environment());
    Ok(HttpResponse::Ok().json(state.registry.trust_view(&model, &revision, environment).await?))
}

/// An attestation in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AttestationPath {
    #[param(value_type = syntax::Segment)]
    namespace: String,
    #[param(value_type = syntax::Segment)]
    name: String,
    /// A commit, branch or tag.
    revision: String,
    #[param(value_type = syntax::Sha256)]
    sha256: String,
}

/// A signature or attestation as the sigstore bundle that foreign verifiers take.
///
/// What this registry signed comes with its place in the registry's log, once it has one.
#[utoipa::path(get, path = "/v1/models/{namespace}/{name}/revisions/{revision}/attestations/{sha256}",
    tag = "provenance", params(AttestationPath),
    responses((status = 200, content_type = "application/vnd.dev.sigstore.bundle.v0.3+json", body = Vec<u8>),
        (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn bundle(state: Data, Actor(caller): Actor, path: web::Path<AttestationPath>) -> Answer {
    let name = format!("{}/{}", path.namespace, path.name).parse()?;
    let model = state.registry.find_model(&caller, &name).await?;
    let revision = state.registry.find_revision(&model, &path.revision).await?;
    let sha256: Sha256Digest = path.sha256.parse()?;
    let bundle = state.registry.attestation_bundle(&model, &revision, &sha256).await?;
    Ok(HttpResponse::Ok().content_type(BUNDLE).body(bundle))
}

/// Signs a trusted revision's files with the registry's own key.
#[utoipa::path(post, path = "/v1/models/{namespace}/{name}/revisions/{revision}/countersignature",
    tag = "provenance", params(RevisionPath, EnvironmentParams),
    responses((status = 200, body = AttachedSignature), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn countersign(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    query: web::Query<EnvironmentParams>,
) -> Answer {
    let (model, revision) = path.find(&state, &caller).await?;
    let environment = query.environment.as_deref().unwrap_or_else(|| caller.environment());
    let digest = state.registry.countersign(&caller, &model, &revision, environment).await?;
    Ok(HttpResponse::Ok()
        .json(AttachedSignature { sha256: digest.to_string(), content_digest: revision.content_digest.to_string() }))
}

/// The trust policy in force.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrustPolicyView {
    /// Hex SHA-256 of the document.
    pub(crate) digest: String,
    /// The document in its JSON form; YAML is the same.
    pub(crate) document: String,
}

/// The trust policy in force.
#[utoipa::path(get, path = "/v1/trust/policy", tag = "provenance",
    responses((status = 200, body = TrustPolicyView), (status = 401, body = Problem)))]
pub(crate) async fn policy(state: Data, Actor(_caller): Actor) -> Answer {
    let policy = &state.registry.settings().trust.policy;
    let view = TrustPolicyView { digest: policy.digest().to_owned(), document: policy.to_json() };
    Ok(HttpResponse::Ok().json(view))
}

/// A trust policy to be tried.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DryRun {
    /// The document, in YAML or JSON.
    pub(crate) policy: String,
    /// Default: the caller's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    /// Models on a page.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_whole_number")]
    #[schema(minimum = 1, maximum = 500)]
    pub(crate) limit: Option<u64>,
    /// The previous page's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// Holds a trust policy against the catalog, a page at a time: which models would it deny? Nothing
/// is stored.
#[utoipa::path(post, path = "/v1/trust/dry-run", tag = "provenance", request_body = DryRun,
    responses((status = 200, body = DryRunPage), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn dry_run(state: Data, Actor(caller): Actor, body: web::Json<DryRun>) -> Answer {
    let body = body.into_inner();
    caller.require_site_admin()?;
    let policy = TrustPolicy::parse(&body.policy).map_err(|error| Error::invalid("policy", error.to_string()))?;
    let environment = body.environment.as_deref().unwrap_or_else(|| caller.environment());
    let page = PageRequest::new(body.limit, body.cursor)?;
    Ok(HttpResponse::Ok().json(state.registry.trust_dry_run(&caller, &policy, environment, &page).await?))
}

/// Every trust root in force.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrustRoots {
    pub(crate) items: Vec<TrustRootInfo>,
}

/// The trust roots in force, with their age.
#[utoipa::path(get, path = "/v1/trust/roots", tag = "provenance",
    responses((status = 200, body = TrustRoots), (status = 401, body = Problem)))]
pub(crate) async fn roots(state: Data, Actor(_caller): Actor) -> Answer {
    Ok(HttpResponse::Ok().json(TrustRoots { items: state.registry.trust_roots().await? }))
}

/// A trust root to be imported.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRoot {
    /// The name that trust policies call it by.
    #[schema(value_type = syntax::Segment)]
    pub(crate) name: String,
    /// sigstore's `trusted_root.json`, a client trust configuration, or certificates in PEM.
    pub(crate) document: String,
    /// The digest of the document, learned over another way than the document itself.
    #[schema(value_type = syntax::Sha256)]
    pub(crate) sha256: String,
    /// Forget what older documents of this name held, rather than add to it.
    #[serde(default)]
    pub(crate) replace: bool,
    /// A private sigstore instance that runs no transparency log.
    #[serde(default)]
    pub(crate) without_log: bool,
}

/// Imports a trust root whose digest is confirmed. What older documents of the name held stays.
#[utoipa::path(post, path = "/v1/trust/roots", tag = "provenance", request_body = ImportRoot,
    responses((status = 201, body = TrustRootInfo), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn import_root(state: Data, Actor(caller): Actor, body: web::Json<ImportRoot>) -> Answer {
    let body = body.into_inner();
    let new = NewTrustRoot {
        name: body.name,
        document: body.document.into_bytes(),
        sha256: body.sha256.parse()?,
        replace: body.replace,
        without_log: body.without_log,
    };
    Ok(HttpResponse::Created().json(state.registry.import_trust_root(&caller, new).await?))
}

/// The revocation list in force.
#[utoipa::path(get, path = "/v1/trust/revocations", tag = "provenance",
    responses((status = 200, body = RevocationListInfo), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn revocations(state: Data, Actor(_caller): Actor) -> Answer {
    let list = state.registry.revocation_list().await?.ok_or_else(|| Error::NotFound("a revocation list".into()))?;
    Ok(HttpResponse::Ok().json(list))
}

/// Imports a signed revocation list. A list with a lower number than the one in force is refused.
#[utoipa::path(post, path = "/v1/trust/revocations", tag = "provenance",
    request_body(content = Vec<u8>, content_type = "application/json"),
    responses((status = 201, body = RevocationListInfo), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn import_revocations(state: Data, Actor(caller): Actor, body: web::Payload) -> Answer {
    caller.require_site_admin()?;
    let list = read_body(body, "the revocation list", MAX_LIST_BYTES).await?;
    Ok(HttpResponse::Created().json(state.registry.import_revocation_list(&caller, &list).await?))
}
