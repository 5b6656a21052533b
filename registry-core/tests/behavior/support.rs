//! A registry of its own for each test, on either database.

use std::path::PathBuf;

use bytes::Bytes;
use registry_core::{
    Caller, Claim, Commit, Committed, Decision, Expected, FileSpec, InstanceKeys, JobOutcome, KeyDocuments, Lease,
    ModelInfo, ModelKind, NewToken, Opening, PageRequest, Registry, Role, S3Settings, Settings, Sha256Digest, Storage,
    UploadStatus, Visibility,
};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use verifier::evidence::{ProbeReport, ProbeVerdict, SCHEMA_VERSION};
use verifier::policy::Policy;

/// Runs each test twice: on SQLite and on PostgreSQL. Its body is compiled once.
macro_rules! on_both_databases {
    ($(async fn $name:ident($world:ident: World) $body:block)+) => {
        $(async fn $name($world: World) $body)+
        mod sqlite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    Box::pin(super::$name(World::sqlite().await)).await;
                }
            )+
        }
        mod postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let Some(world) = World::postgres().await else { return };
                    Box::pin(super::$name(world)).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_databases;

/// A registry and what a test needs around it.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) storage: Storage,
    pub(crate) database_url: String,
    pub(crate) admin: Caller,
    pub(crate) keys: KeyDocuments,
}

pub(crate) const ORIGIN: &str = "registry.example.org/audit";

impl World {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("registry.sqlite").display());
        Self::open(folder, url).await
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let server = weighhouse_tests::environment::postgres_url()?;
        let name = format!("weighhouse_{}", uuid::Uuid::new_v4().simple());
        let admin = Database::connect(&server).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        let url = with_database(&server, &name);
        Some(Self::open(tempfile::tempdir().unwrap(), url).await)
    }

    /// SQLite beside an S3 server, with a key prefix of its own.
    pub(crate) async fn s3() -> Option<Self> {
        let server = weighhouse_tests::environment::s3()?;
        let settings = S3Settings {
            bucket: server.bucket,
            region: "us-east-1".into(),
            endpoint: Some(server.endpoint),
            access_key_id: Some("test".into()),
            secret_access_key: Some("test".into()),
            allow_http: true,
            prefix: uuid::Uuid::new_v4().to_string(),
        };
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("registry.sqlite").display());
        Some(Self::open_on(folder, url, Storage::S3(settings)).await)
    }

    async fn open(folder: tempfile::TempDir, database_url: String) -> Self {
        let storage = Storage::Local(folder.path().join("objects"));
        Self::open_on(folder, database_url, storage).await
    }

    async fn open_on(folder: tempfile::TempDir, database_url: String, storage: Storage) -> Self {
        let keys = KeyDocuments::generate().unwrap();
        let registry = Registry::open(opening(&storage, &database_url, &keys)).await.unwrap();
        let token = registry.first_admin_token().await.unwrap().unwrap();
        let admin = registry.authenticate(&token.secret).await.unwrap().unwrap();
        Self { registry, folder, storage, database_url, admin, keys }
    }

    /// A second process on the same database and store.
    pub(crate) async fn reopened(&self) -> Registry {
        Registry::open(opening(&self.storage, &self.database_url, &self.keys)).await.unwrap()
    }

    pub(crate) fn opening(&self) -> Opening {
        opening(&self.storage, &self.database_url, &self.keys)
    }

    /// The database itself, for looking and for tampering.
    pub(crate) async fn database(&self) -> DatabaseConnection {
        registry_core::connect(&self.database_url).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.database().await.execute_unprepared(sql).await.unwrap();
    }

    pub(crate) async fn count(&self, query: &str) -> i64 {
        let db = self.database().await;
        let statement = sea_orm::Statement::from_string(db.get_database_backend(), query);
        db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
    }

    /// Someone with a role in a namespace.
    pub(crate) async fn member(&self, subject: &str, namespace: &str, role: Role) -> Caller {
        self.registry.assign_role(&self.admin, namespace, subject, Some(role)).await.unwrap();
        self.caller(subject, Role::Admin).await
    }

    /// Someone with a token of this scope, in the roles they have now.
    pub(crate) async fn caller(&self, subject: &str, scope: Role) -> Caller {
        let new = NewToken { subject: Some(subject.into()), scope, ..new_token() };
        let issued = self.registry.issue_token(&self.admin, new).await.unwrap();
        self.registry.authenticate(&issued.secret).await.unwrap().unwrap()
    }

    pub(crate) async fn model(&self, name: &str) -> ModelInfo {
        self.model_seen_by(name, Visibility::Private).await
    }

    pub(crate) async fn model_seen_by(&self, name: &str, visibility: Visibility) -> ModelInfo {
        let name = name.parse().unwrap();
        self.registry.create_model(&self.admin, &name, ModelKind::Model, visibility).await.unwrap()
    }

    /// Uploads files as `caller` into a namespace.
    pub(crate) async fn upload(&self, caller: &Caller, namespace: &str, files: &[(&str, &[u8])]) -> Vec<FileSpec> {
        let specs: Vec<FileSpec> = files.iter().map(|(path, bytes)| spec(path, bytes)).collect();
        for upload in self.registry.declare_uploads(caller, namespace, &specs).await.unwrap() {
            if upload.status == UploadStatus::Upload {
                let (_, bytes) = files.iter().find(|(_, bytes)| Sha256Digest::of(bytes) == upload.sha256).unwrap();
                let id = upload.session.unwrap();
                let state = self.registry.write_upload(caller, &id, 0, body(bytes)).await.unwrap();
                assert!(state.complete);
            }
        }
        specs
    }

    /// Uploads and commits to the main branch.
    pub(crate) async fn push(&self, model: &ModelInfo, files: &[(&str, &[u8])]) -> Committed {
        let files = self.upload(&self.admin, &model.name.namespace, files).await;
        self.registry.commit(&self.admin, model, commit(files)).await.unwrap()
    }

    /// Runs every job that is due; probes report `verdict`.
    pub(crate) async fn run_jobs(&self, verdict: ProbeVerdict) -> u32 {
        let mut ran = 0;
        while let Some(lease) = self.registry.claim_job(Claim::default()).await.unwrap() {
            self.run_job(&lease, verdict).await;
            ran += 1;
        }
        ran
    }

    pub(crate) async fn run_job(&self, lease: &Lease, verdict: ProbeVerdict) {
        if let JobOutcome::Probe(task) = self.registry.run_job(lease).await.unwrap() {
            self.registry.finish_probe(lease, &task, report(verdict)).await.unwrap();
        }
    }

    pub(crate) async fn decision(&self, model: &ModelInfo, environment: &str) -> Option<Decision> {
        let revision = self.registry.find_revision(model, "main").await.unwrap();
        self.registry.live_decision(model, &revision, environment).await.unwrap()
    }

    /// Paths of all objects in the local store.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("objects")];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }
}

fn opening(storage: &Storage, database_url: &str, keys: &KeyDocuments) -> Opening {
    Opening {
        database_url: database_url.to_owned(),
        storage: storage.clone(),
        keys: InstanceKeys::new(keys, ORIGIN).unwrap(),
        policy: Policy::standard().unwrap(),
        settings: settings(),
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        default_environment: "development".into(),
        max_file_bytes: 1 << 30,
        upload_session_ttl_ms: 3_600_000,
        xet_xorb_grace_ms: 3_600_000,
        lease_ms: 60_000,
        trust: registry_core::TrustSettings::default(),
        catalog: std::sync::Arc::new(verifier::license::Catalog::built_in().clone()),
        probe_version: "test-probe".into(),
        probe_configuration: "none".into(),
    }
}

fn with_database(server: &str, name: &str) -> String {
    let (address, query) = server.split_once('?').map_or((server, None), |(address, query)| (address, Some(query)));
    let (base, _) = address.rsplit_once('/').unwrap();
    query.map_or_else(|| format!("{base}/{name}"), |query| format!("{base}/{name}?{query}"))
}

pub(crate) fn new_token() -> NewToken {
    NewToken {
        label: "test".into(),
        subject: None,
        scope: Role::Admin,
        namespaces: None,
        environment: None,
        expires_at: None,
    }
}

pub(crate) fn spec(path: &str, bytes: &[u8]) -> FileSpec {
    FileSpec { path: path.into(), sha256: Sha256Digest::of(bytes), size: bytes.len() as u64 }
}

pub(crate) fn commit(files: Vec<FileSpec>) -> Commit {
    Commit { branch: "main".into(), expected: Expected::Any, message: "test".into(), files }
}

/// A request body in pieces of 1,000 bytes.
pub(crate) fn body(bytes: &[u8]) -> impl futures::Stream<Item = std::io::Result<Bytes>> + use<> {
    let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces)
}

/// A body whose connection breaks after `bytes`.
pub(crate) fn broken_body(bytes: &[u8]) -> impl futures::Stream<Item = std::io::Result<Bytes>> + use<> {
    let sent = Bytes::copy_from_slice(bytes);
    futures::stream::iter(vec![Ok(sent), Err(std::io::ErrorKind::ConnectionReset.into())])
}

pub(crate) fn first_page() -> PageRequest {
    PageRequest::new(None, None).unwrap()
}

pub(crate) fn report(verdict: ProbeVerdict) -> ProbeReport {
    ProbeReport {
        schema_version: SCHEMA_VERSION,
        verdict,
        reason: "a test said so".into(),
        engine: "none".into(),
        engine_version: "0".into(),
        device: "cpu".into(),
        threads: 1,
        architecture: None,
        conformance: None,
        levels: Vec::new(),
        load_milliseconds: None,
        peak_memory_bytes: None,
        generation: None,
        calibration: None,
        embedding: None,
        adapter: None,
        sandbox: None,
        findings: Vec::new(),
    }
}

/// A small model with a license that everyone agrees on.
pub(crate) fn tiny_model() -> Vec<u8> {
    weighhouse_tests::gguf::TinyLlama::new().build()
}
