//! The registry: a database, a blob store, a gate and the settings that bind them.

use std::sync::Arc;

use sea_orm::DatabaseConnection;
use verifier::license::Catalog;
use verifier::policy::Policy;

use crate::audit::{self, AccessLog};
use crate::blob::{BlobStore, Storage};
use crate::database;
use crate::error::Result;
use crate::gate::Gate;
use crate::keys::InstanceKeys;
use crate::pipeline;
use crate::trust::{TrustCache, TrustSettings};

/// What an operator can choose about the registry's behavior.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Environment of callers whose token names none.
    pub default_environment: String,
    /// Largest file, in bytes.
    pub max_file_bytes: u64,
    /// How long an upload may rest before the sweeper removes it, in milliseconds.
    pub upload_session_ttl_ms: i64,
    /// How long a xorb that no blob refers to stays after its last use, in milliseconds. Clients
    /// remember what they sent for three weeks.
    pub xet_xorb_grace_ms: i64,
    /// How long a worker may be silent before its job is given to another, in milliseconds.
    pub lease_ms: i64,
    /// Whom the registry trusts for what.
    pub trust: TrustSettings,
    /// What is known of licenses; its version is part of the evidence key.
    pub catalog: Arc<Catalog>,
    /// Version of the probe's code; part of the evidence key.
    pub probe_version: String,
    /// The limits a probe runs under, as text; part of the evidence key.
    pub probe_configuration: String,
}

/// Everything needed to open a registry.
#[derive(Debug)]
pub struct Opening {
    pub database_url: String,
    pub storage: Storage,
    pub keys: InstanceKeys,
    pub policy: Policy,
    pub settings: Settings,
}

/// An open registry; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) db: DatabaseConnection,
    pub(crate) blobs: BlobStore,
    pub(crate) gate: Gate,
    pub(crate) keys: Arc<InstanceKeys>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) access_log: AccessLog,
    pub(crate) trust_cache: Arc<TrustCache>,
}

impl Registry {
    /// Opens database and store, brings the schema up to date and checks the keys.
    pub async fn open(opening: Opening) -> Result<Self> {
        let db = database::connect(&opening.database_url).await?;
        database::migrate(&db).await?;
        Box::pin(opening.keys.register(&db)).await?;
        audit::complete_stored(&db).await?;
        pipeline::complete_stored(&db).await?;
        let registry = Self {
            blobs: BlobStore::open(opening.storage)?,
            gate: Gate::new(opening.policy),
            keys: Arc::new(opening.keys),
            settings: Arc::new(opening.settings),
            access_log: AccessLog::new(),
            trust_cache: Arc::default(),
            db,
        };
        registry.gate.check_environment(&registry.settings.default_environment)?;
        Box::pin(registry.adopt_policy()).await?;
        Box::pin(registry.adopt_trust()).await?;
        Ok(registry)
    }

    /// Whether database and store answer and the schema is current.
    pub async fn check_ready(&self) -> Result<()> {
        let pending = database::pending_migrations(&self.db).await?;
        if let Some(step) = pending.first() {
            return Err(crate::Error::Internal(format!("the schema step {step} is not applied")));
        }
        self.blobs.check().await
    }

    /// Tells this registry from another one that had its address before: 16 hex digits of the
    /// checkpoint key's public half.
    pub fn instance_id(&self) -> String {
        hex::encode(self.keys.verifier().public_key()).chars().take(16).collect()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
