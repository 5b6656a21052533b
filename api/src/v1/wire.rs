//! The documents of `/v1`. The server renders them and the command line reads them, so the
//! contract is one set of types. Fields are only ever added.

use registry_core as core;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use verifier::evidence::{Evidence, ProbeReport, Stage, Status};
use verifier::number::{optional_whole_number, whole_number};
use verifier::policy::Use;

use super::syntax::{ExpectedCommit, FilePath, QualifiedName, RefName, Segment, Sha256, Subject};

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give this as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    pub fn from_core<S>(page: core::Page<S>, convert: impl FnMut(S) -> T) -> Self {
        let page = page.map(convert);
        Self { items: page.items, next: page.next }
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Rows on the page; 50 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u64>,
    /// `next` of the page before.
    #[param(max_length = 2048)]
    pub cursor: Option<String>,
}

impl PageQuery {
    pub fn parse(self) -> core::Result<core::PageRequest> {
        core::PageRequest::new(self.limit, self.cursor)
    }
}

/// A model to be created.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateModel {
    #[schema(value_type = QualifiedName)]
    pub name: String,
    #[serde(default = "default_kind")]
    pub kind: core::ModelKind,
    #[serde(default = "default_visibility")]
    pub visibility: core::Visibility,
    /// For a reference: what is known of the model that is not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<core::NewReference>,
}

const fn default_kind() -> core::ModelKind {
    core::ModelKind::Model
}

const fn default_visibility() -> core::Visibility {
    core::Visibility::Private
}

/// A change of a model; absent fields stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeModel {
    /// The new name. The old one keeps leading to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<QualifiedName>)]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<core::Visibility>,
}

/// A model.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Never changes.
    pub id: String,
    /// `namespace/name`, current.
    pub name: String,
    pub kind: core::ModelKind,
    pub visibility: core::Visibility,
    /// RFC 3339.
    pub created_at: String,
}

impl From<core::ModelInfo> for Model {
    fn from(info: core::ModelInfo) -> Self {
        Self {
            id: info.id,
            name: info.name.to_string(),
            kind: info.kind,
            visibility: info.visibility,
            created_at: core::rfc3339(info.created_at),
        }
    }
}

/// A model with everything a first look needs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ModelDetail {
    #[serde(flatten)]
    pub model: Model,
    /// Every name it had, newest first.
    pub names: Vec<NamePeriod>,
    pub refs: Vec<Ref>,
}

/// A name and when it was the model's.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamePeriod {
    pub name: String,
    pub valid_from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
}

impl From<core::NamePeriod> for NamePeriod {
    fn from(period: core::NamePeriod) -> Self {
        Self {
            name: period.name.to_string(),
            valid_from: core::rfc3339(period.valid_from),
            valid_to: period.valid_to.map(core::rfc3339),
        }
    }
}

/// What to look for in the catalog.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct CatalogParams {
    /// Words; each must begin some part of the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Concluded license, such as `Apache-2.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Class on the openness spectrum, such as `open-weight-permissive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openness: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// `allowed`, `denied` or `pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^(allowed|denied|pending)$")]
    pub verdict: Option<String>,
    /// The environment of the verdicts; the caller's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// `name`, the order when absent, or `updated`: the last changed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^(name|updated)$")]
    pub order: Option<String>,
    /// Rows on the page; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u64>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(max_length = 2048)]
    pub cursor: Option<String>,
}

/// A model in the catalog.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CatalogItem {
    pub id: String,
    pub name: String,
    pub kind: core::ModelKind,
    pub visibility: core::Visibility,
    /// Head of the main branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    pub updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openness: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Bytes of the main branch's files.
    pub size: u64,
    /// `allowed`, `denied` or `pending`.
    pub verdict: String,
}

impl From<core::CatalogItem> for CatalogItem {
    fn from(item: core::CatalogItem) -> Self {
        Self {
            id: item.id,
            name: item.name.to_string(),
            kind: item.kind,
            visibility: item.visibility,
            commit: item.commit.map(|commit| commit.to_string()),
            updated_at: core::rfc3339(item.updated_at),
            license: item.license,
            openness: item.openness,
            format: item.format,
            architecture: item.architecture,
            quantization: item.quantization,
            parameters: item.parameters,
            size: item.size,
            verdict: item.verdict,
        }
    }
}

/// One file as its author declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[schema(value_type = FilePath)]
    pub path: String,
    #[schema(value_type = Sha256)]
    pub sha256: String,
    /// Bytes.
    #[serde(deserialize_with = "whole_number")]
    pub size: u64,
}

impl File {
    pub fn parse(self) -> core::Result<core::FileSpec> {
        Ok(core::FileSpec { path: self.path, sha256: self.sha256.parse()?, size: self.size })
    }
}

impl From<core::FileSpec> for File {
    fn from(file: core::FileSpec) -> Self {
        Self { path: file.path, sha256: file.sha256.to_string(), size: file.size }
    }
}

/// Files that will be committed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclareUploads {
    #[schema(max_items = 100_000)]
    pub files: Vec<File>,
}

/// What to send, one entry per distinct digest.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeclaredUploads {
    pub uploads: Vec<DeclaredUpload>,
}

/// Whether one digest has to be sent, and where.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeclaredUpload {
    pub sha256: String,
    pub size: u64,
    /// `present` or `upload`.
    pub status: String,
    /// The session to `PUT` the bytes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Bytes that the server has already.
    pub offset: u64,
}

impl From<core::FileUpload> for DeclaredUpload {
    fn from(upload: core::FileUpload) -> Self {
        let status = match upload.status {
            core::UploadStatus::Present => "present",
            core::UploadStatus::Upload => "upload",
        };
        Self {
            sha256: upload.sha256.to_string(),
            size: upload.size,
            status: status.to_owned(),
            session: upload.session,
            offset: upload.offset,
        }
    }
}

/// Where an upload stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    pub id: String,
    pub sha256: String,
    pub size: u64,
    /// Continue from this byte.
    pub offset: u64,
    /// The bytes are complete and verified.
    pub complete: bool,
}

impl From<core::UploadState> for Upload {
    fn from(state: core::UploadState) -> Self {
        Self {
            id: state.id,
            sha256: state.sha256.to_string(),
            size: state.size,
            offset: state.offset,
            complete: state.complete,
        }
    }
}

/// From which byte the body of an upload goes on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadParams {
    /// The upload's present `offset`.
    #[serde(default)]
    pub offset: u64,
}

/// How the bytes of a file shall come.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DownloadParams {
    /// Redirect to the store where it can serve the bytes itself.
    #[serde(default)]
    pub redirect: bool,
}

/// A set of files to become a branch's head.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitRequest {
    #[serde(default = "main_branch")]
    #[schema(value_type = RefName)]
    pub branch: String,
    /// Where the branch must be; absent for anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ExpectedCommit>)]
    pub parent: Option<String>,
    /// At most 65,536 bytes.
    #[serde(default)]
    #[schema(max_length = 65536)]
    pub message: String,
    /// The whole content, not a difference.
    #[schema(max_items = 100_000)]
    pub files: Vec<File>,
}

fn main_branch() -> String {
    core::MAIN_BRANCH.to_owned()
}

/// Reads a compare-and-swap condition.
pub fn parse_expected(parent: Option<&str>) -> core::Result<core::Expected> {
    Ok(match parent {
        None => core::Expected::Any,
        Some("none") => core::Expected::Absent,
        Some(commit) => core::Expected::At(commit.parse()?),
    })
}

impl CommitRequest {
    pub fn parse(self) -> core::Result<core::Commit> {
        Ok(core::Commit {
            expected: parse_expected(self.parent.as_deref())?,
            branch: self.branch,
            message: self.message,
            files: self.files.into_iter().map(File::parse).collect::<core::Result<_>>()?,
        })
    }
}

/// A revision without its files.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    pub commit: String,
    /// SHA-256 over the paths and digests of all files.
    pub content_digest: String,
    pub parents: Vec<String>,
    pub author: String,
    pub message: String,
    pub created_at: String,
}

impl From<core::Revision> for Revision {
    fn from(revision: core::Revision) -> Self {
        Self {
            commit: revision.commit.to_string(),
            content_digest: revision.content_digest.to_string(),
            parents: revision.parents.iter().map(ToString::to_string).collect(),
            author: revision.author,
            message: revision.message,
            created_at: core::rfc3339(revision.created_at),
        }
    }
}

/// A revision with its files and what is known of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RevisionDetail {
    #[serde(flatten)]
    pub revision: Revision,
    /// `namespace/name`, current.
    pub model: String,
    pub files: Vec<File>,
    pub stages: Vec<StageStatus>,
    /// Whether every stage has come to its end.
    pub settled: bool,
}

/// One stage of a revision.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StageStatus {
    pub stage: Stage,
    pub state: core::StageState,
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// How far a running probe has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<core::StageProgress>,
    /// `queued` or `running` where new evidence is being made; what stands here counts until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<core::JobState>,
}

impl From<core::StageView> for StageStatus {
    fn from(view: core::StageView) -> Self {
        Self {
            stage: view.stage,
            state: view.state,
            status: view.status,
            evidence_key: view.evidence_key,
            recorded_at: view.recorded_at.map(core::rfc3339),
            evidence: view.evidence,
            progress: view.progress,
            renewal: view.renewal,
        }
    }
}

/// What a commit led to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Committed {
    #[serde(flatten)]
    pub revision: Revision,
    pub model: String,
    /// False when the same content was committed there before.
    pub created: bool,
    /// The model's page.
    pub url: String,
}

/// A branch or tag.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Ref {
    pub kind: core::RefKind,
    pub name: String,
    pub commit: String,
    pub content_digest: String,
    pub updated_at: String,
}

impl From<core::Ref> for Ref {
    fn from(reference: core::Ref) -> Self {
        Self {
            kind: reference.kind,
            name: reference.name,
            commit: reference.commit.to_string(),
            content_digest: reference.content_digest.to_string(),
            updated_at: core::rfc3339(reference.updated_at),
        }
    }
}

/// Where a ref shall point.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRef {
    /// A commit, branch or tag.
    pub revision: String,
    /// Where the ref must be; absent for anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ExpectedCommit>)]
    pub expected: Option<String>,
}

/// One movement of a ref.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Movement {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub moved_by: String,
    pub moved_at: String,
}

impl From<core::Movement> for Movement {
    fn from(movement: core::Movement) -> Self {
        Self {
            from: movement.from.map(|commit| commit.to_string()),
            to: movement.to.map(|commit| commit.to_string()),
            moved_by: movement.moved_by,
            moved_at: core::rfc3339(movement.moved_at),
        }
    }
}

/// A stored signature.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AttachedSignature {
    /// SHA-256 of the bundle.
    pub sha256: String,
    pub content_digest: String,
}

/// May this be used here?
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GateRequest {
    /// `namespace/name` or `namespace/name@revision`; or give `content_digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// SHA-256 of the content; every model that holds it is judged, and the strictest answer counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Sha256>)]
    pub content_digest: Option<String>,
    /// The caller's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Facts about the use, over the environment's default.
    #[serde(default)]
    pub r#use: Use,
}

/// The gate's answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GateAnswer {
    /// Whether every decision below allows.
    pub allowed: bool,
    pub environment: String,
    pub decisions: Vec<core::Decision>,
}

/// A token to be issued.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub label: String,
    /// Whose token; the caller's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Subject>)]
    pub subject: Option<String>,
    pub scope: core::Role,
    /// Only these namespaces; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Segment>>)]
    pub namespaces: Option<Vec<String>>,
    /// The environment whose decisions bind the token; the server's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Seconds until it ends; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "optional_whole_number")]
    #[schema(minimum = 1, maximum = 6_307_200_000_u64)]
    pub expires_in_seconds: Option<u64>,
}

/// A token without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub id: String,
    pub label: String,
    /// The last four characters.
    pub hint: String,
    pub subject: String,
    pub scope: core::Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

impl From<core::TokenInfo> for Token {
    fn from(info: core::TokenInfo) -> Self {
        Self {
            id: info.id,
            label: info.label,
            hint: info.hint,
            subject: info.subject,
            scope: info.scope,
            namespaces: info.namespaces,
            environment: info.environment,
            created_at: core::rfc3339(info.created_at),
            expires_at: info.expires_at.map(core::rfc3339),
            revoked_at: info.revoked_at.map(core::rfc3339),
        }
    }
}

/// A token just issued.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    #[serde(flatten)]
    pub token: Token,
    /// Shown this once.
    pub secret: String,
}

/// Who the caller is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<core::Role>,
    pub environment: String,
}

/// A subject's role in a namespace.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Member {
    pub subject: String,
    pub role: core::Role,
    pub since: String,
}

impl From<core::Member> for Member {
    fn from(member: core::Member) -> Self {
        Self { subject: member.subject, role: member.role, since: core::rfc3339(member.since) }
    }
}

/// The role a subject shall have.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMember {
    pub role: core::Role,
}

/// A job of the pipeline.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Job {
    pub id: String,
    /// The stage, or `decide`.
    pub kind: String,
    pub state: String,
    pub attempts: i64,
    pub run_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    pub created_at: String,
}

impl From<core::JobInfo> for Job {
    fn from(job: core::JobInfo) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            state: job.state,
            attempts: job.attempts,
            run_at: core::rfc3339(job.run_at),
            last_error: job.last_error,
            created_at: core::rfc3339(job.created_at),
        }
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobParams {
    /// `dead` when absent.
    pub state: Option<core::JobState>,
    /// Rows on the page; 50 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u64>,
    /// `next` of the page before.
    #[param(max_length = 2048)]
    pub cursor: Option<String>,
}

/// An event of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    pub id: String,
    pub occurred_at: String,
    pub kind: String,
    #[schema(value_type = Object)]
    pub details: std::collections::BTreeMap<String, serde_json::Value>,
    /// Names, or salted hashes where they were erased.
    pub people: std::collections::BTreeMap<String, String>,
    /// Whether the event has its place in the signed tree.
    pub sequenced: bool,
}

impl From<core::AuditEntry> for AuditEvent {
    fn from(entry: core::AuditEntry) -> Self {
        Self {
            id: entry.id,
            occurred_at: core::rfc3339(entry.occurred_at),
            kind: entry.kind,
            details: entry.details,
            people: entry.people,
            sequenced: entry.sequenced,
        }
    }
}

/// The newest signed head of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    pub tree_size: u64,
    pub root_hash: String,
    /// C2SP signed note.
    pub note: String,
    pub created_at: String,
    /// The log's public key in the text form of signed notes.
    pub verifier: String,
}

/// Between which sizes of the log a proof is wanted.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConsistencyQuery {
    /// Leaves of the earlier log.
    pub from: u64,
    /// Leaves of the later log, of which there must be a signed head; the newest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// A public key of the registry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegistryKey {
    /// 16 hex digits of SHA-256 over the DER.
    pub id: String,
    /// `checkpoint` or `statement`.
    pub purpose: String,
    /// PEM.
    pub public_key: String,
    /// A checkpoint key in the text form of signed notes.
    pub note_verifier: Option<String>,
    pub valid_from: String,
    /// Absent for the key in force.
    pub valid_to: Option<String>,
    /// How the key before it named this one.
    pub rotation: Option<KeyRotation>,
}

/// What a key signed to name its successor.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyRotation {
    pub text: String,
    /// Base64: Ed25519, or ECDSA P-256 with SHA-256 in DER.
    pub signature: String,
}

impl RegistryKey {
    pub fn list(keys: Vec<core::KeyInfo>) -> Vec<Self> {
        let rotations: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(place, key)| KeyRotation::of(place.checked_sub(1).map(|before| &keys[before]), key))
            .collect();
        keys.into_iter()
            .zip(rotations)
            .map(|(key, rotation)| Self {
                purpose: key.purpose.as_str().to_owned(),
                public_key: key.pem(),
                note_verifier: key.note_verifier().ok().map(|verifier| verifier.to_string()),
                valid_from: core::rfc3339(key.valid_from),
                valid_to: key.valid_to.map(core::rfc3339),
                id: key.id,
                rotation,
            })
            .collect()
    }
}

impl KeyRotation {
    fn of(before: Option<&core::KeyInfo>, key: &core::KeyInfo) -> Option<Self> {
        let text = key.rotation_text(before?);
        key.rotation_signature.clone().map(|signature| Self { text, signature })
    }
}

/// Checkpoints kept outside of the server, to be held against its log.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyAudit {
    /// C2SP signed notes.
    pub known_checkpoints: Vec<String>,
}

/// The result of verifying the audit log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditVerification {
    pub intact: bool,
    pub leaves: u64,
    pub checkpoints: u64,
    pub unsequenced: u64,
    pub problem_count: u64,
    pub problems: Vec<AuditProblem>,
}

/// Something in the log that is not as it was.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditProblem {
    pub code: String,
    pub detail: String,
}

impl From<core::AuditReport> for AuditVerification {
    fn from(report: core::AuditReport) -> Self {
        let problem = |problem: core::Problem| AuditProblem { code: problem.code.to_owned(), detail: problem.detail };
        Self {
            intact: report.is_intact(),
            leaves: report.leaves,
            checkpoints: report.checkpoints,
            unsequenced: report.unsequenced,
            problem_count: report.problem_count,
            problems: report.problems.into_iter().map(problem).collect(),
        }
    }
}

/// Server and release.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Server {
    pub version: String,
    pub environments: Vec<String>,
    pub default_environment: String,
    pub policy: String,
    pub policy_digest: String,
}

/// A probe that somebody asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProbeRequested {
    pub model: String,
    pub commit: String,
    /// `queued`, `running`, or `done` where the same request has been fulfilled.
    pub state: core::JobState,
}

/// One report about a revision's files.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProbeRecord {
    pub evidence_key: String,
    /// RFC 3339.
    pub recorded_at: String,
    /// Version of the probe's code.
    pub tool_version: String,
    /// Whether this is the report that counts for the revision.
    pub selected: bool,
    pub report: ProbeReport,
}

impl From<core::ProbeRecord> for ProbeRecord {
    fn from(record: core::ProbeRecord) -> Self {
        Self {
            evidence_key: record.evidence_key,
            recorded_at: core::rfc3339(record.recorded_at),
            tool_version: record.tool_version,
            selected: record.is_selected,
            report: record.report,
        }
    }
}
