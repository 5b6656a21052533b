//! The registry itself: models, blobs, evidence, decisions, jobs, access and the audit log.
//!
//! Nothing here knows HTTP, pages or engines. Every state change, its audit event and the
//! jobs it causes are one transaction; no object store is called inside one.

mod access;
mod aibom;
mod audit;
mod blob;
mod capability;
mod card;
mod catalog;
mod database;
mod entity;
mod error;
mod gate;
mod identity;
mod job;
mod keys;
mod license;
mod model;
mod page;
mod pipeline;
mod registry;
mod report;
mod revision;
mod trust;
mod weights;

pub use access::{Caller, EVERY_NAMESPACE, IdempotencyKey, IssuedToken, Member, NewToken, Role, TokenInfo, Visibility};
pub use audit::{Access, AuditEntry, AuditReport, Checkpoint, Problem};
pub use blob::git;
pub use blob::{
    ByteRange, FileUpload, Reconstruction, ReconstructionTerm, S3Settings, ShardOutcome, ShardProgress, Spool,
    SpooledFile, Storage, SweepReport, UploadState, UploadStatus, XetHash,
};
pub use card::CardOpinion;
pub use catalog::{CatalogItem, CatalogOrder, CatalogQuery};
pub use database::{connect, migrate, now_ms, pending_migrations, rfc3339};
pub use error::{Error, Result};
pub use gate::{Decision, Question};
pub use identity::{
    CommitId, FileSpec, MAX_FILES, ModelName, Sha256Digest, check_files, check_path, check_ref_name, content_digest,
};
pub use job::{Claim, JobInfo, JobKinds, JobState, Lease, Renewal, Work};
pub use keys::{InstanceKeys, KeyDocuments, KeyInfo, KeyPurpose, is_key_in_force};
pub use license::{LicenseRecord, LicenseView, LineageNode, NewLicenseRecord, NewReference};
pub use model::{ModelChange, ModelInfo, ModelKind, NamePeriod};
pub use page::{DEFAULT_LIMIT, MAX_LIMIT, Page, PageRequest};
pub use pipeline::{
    JobOutcome, MAX_SIGNATURE_BYTES, ProbeFile, ProbeRecord, ProbeTask, StageProgress, StageState, StageView,
    is_settled,
};
pub use registry::{Opening, Registry, Settings};
pub use report::{
    Attribution, AttributionFile, LicenseReport, MAX_NOTICE_BYTES, MAX_NOTICES_BYTES, MAX_REPORT_ROWS, NoticeText,
    ObligationEvidence, ObligationStatus, OpenConclusion, REPORT_SCHEMA_VERSION, ReportConclusion, ReportDecision,
    ReportObligation, ReportOpenness, ReportReads, ReportRow, ReportScope, ReportStatement, ReportTotals,
};
pub use revision::{Change, ChangeSet, Commit, Committed, Expected, MAIN_BRANCH, Movement, Ref, RefKind, Revision};
pub use trust::{
    AttestationInfo, AttestationOrigin, DryRunItem, DryRunPage, NewTrustRoot, Recheck, RevocationListInfo,
    TrustRootInfo, TrustSettings, TrustView,
};
pub use weights::{TensorQuery, TensorRow};
