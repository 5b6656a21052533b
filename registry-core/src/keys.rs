//! The registry's own keys, and the refusal to run with foreign ones.
//!
//! The private halves come from files or a configured secret and are shared by all
//! processes of one registry. The database holds the public halves with their validity; the
//! log's origin is fixed at first start, and a process with another key does not start.

use aws_lc_rs::{hkdf, hmac};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QuerySelect, Set};
use verifier::provenance::oms::{KeyError, SigningKey};
use verifier::provenance::transparency::{NoteSigner, NoteVerifier};

use crate::database::now_ms;
use crate::entity::signing_key;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Heads of the audit log, with Ed25519.
    Checkpoint,
    /// Statements of this registry, with ECDSA P-256.
    Statement,
}

impl KeyPurpose {
    pub const ALL: [Self; 2] = [Self::Checkpoint, Self::Statement];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Statement => "statement",
        }
    }

    /// A fresh private key as a PKCS #8 document.
    pub fn generate(self) -> Result<Vec<u8>> {
        let failed = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
        match self {
            Self::Checkpoint => NoteSigner::generate_pkcs8().map_err(|error| failed(&error)),
            Self::Statement => Ok(SigningKey::generate().map_err(|error| failed(&error))?.to_pkcs8().to_vec()),
        }
    }
}

/// Private keys as PKCS #8 documents.
#[derive(Clone)]
pub struct KeyDocuments {
    pub checkpoint: Vec<u8>,
    pub statement: Vec<u8>,
}

impl KeyDocuments {
    /// Fresh keys for a registry of its own.
    pub fn generate() -> Result<Self> {
        Ok(Self { checkpoint: KeyPurpose::Checkpoint.generate()?, statement: KeyPurpose::Statement.generate()? })
    }
}

/// One secret serves all processes, so there is no second key to hand out and to lose. HKDF
/// keeps what is derived from telling anything of it.
fn derive_capability_key(secret: &[u8]) -> Result<hmac::Key> {
    let failed = |_| Error::Internal("the capability key cannot be derived".into());
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"weighhouse-capability-v1").extract(secret);
    let expanded = extracted.expand(&[b"hmac-sha256"], hkdf::HKDF_SHA256).map_err(failed)?;
    let mut key = [0; 32];
    expanded.fill(&mut key).map_err(failed)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// The keys of one registry.
#[derive(Debug)]
pub struct InstanceKeys {
    signer: NoteSigner,
    verifier: NoteVerifier,
    statement: SigningKey,
    capability: hmac::Key,
}

impl InstanceKeys {
    /// Takes the private keys and the log's origin, the name that checkpoints are signed with.
    pub fn new(documents: &KeyDocuments, origin: &str) -> Result<Self> {
        let invalid = |error| Error::invalid("checkpoint key", format!("{error}"));
        let signer = NoteSigner::from_pkcs8(origin, &documents.checkpoint).map_err(invalid)?;
        let verifier = signer.verifier().map_err(invalid)?;
        let invalid = |error: KeyError| Error::invalid("statement key", error.to_string());
        let statement = SigningKey::from_pkcs8(&documents.statement).map_err(invalid)?;
        Ok(Self { signer, verifier, statement, capability: derive_capability_key(&documents.checkpoint)? })
    }

    /// Signs what clients carry in place of their token.
    pub(crate) const fn capability_key(&self) -> &hmac::Key {
        &self.capability
    }

    pub(crate) const fn signer(&self) -> &NoteSigner {
        &self.signer
    }

    /// Signs statements; each has to be recorded, which also refuses a key that has ended.
    pub(crate) const fn statement(&self) -> &SigningKey {
        &self.statement
    }

    /// The public half, which verifies checkpoints.
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// A public half as the database holds it: hex of the key's 32 bytes, or of the DER.
    fn public_key(&self, purpose: KeyPurpose) -> String {
        match purpose {
            KeyPurpose::Checkpoint => hex::encode(self.verifier.public_key()),
            KeyPurpose::Statement => hex::encode(self.statement.public_key_der()),
        }
    }

    /// Records the public halves at first start; afterwards refuses any others.
    pub(crate) async fn register(&self, db: &DatabaseConnection) -> Result<()> {
        for purpose in KeyPurpose::ALL {
            if current(db, purpose).await?.is_none() {
                self.record(db, purpose).await?;
            }
            self.require_current(db, purpose).await?;
        }
        Ok(())
    }

    /// Refuses to go on with a key that is not the registry's. In a transaction, the key stays
    /// what it is until the end of it.
    pub(crate) async fn require_current(&self, connection: &impl ConnectionTrait, purpose: KeyPurpose) -> Result<()> {
        let ours = self.public_key(purpose);
        let described = |origin: &str, key: &str| format!("{origin} ({} key {})", purpose.as_str(), short_id(key));
        match current(connection, purpose).await? {
            Some(row) if row.public_key == ours && row.origin == self.origin() => Ok(()),
            row => Err(Error::ForeignKey {
                expected: row.map_or_else(|| "no key".to_owned(), |row| described(&row.origin, &row.public_key)),
                actual: described(self.origin(), &ours),
            }),
        }
    }

    /// Where two processes start at once, the first one's key stands.
    async fn record(&self, db: &DatabaseConnection, purpose: KeyPurpose) -> Result<()> {
        let row = signing_key::ActiveModel {
            purpose: Set(purpose.as_str().to_owned()),
            public_key: Set(self.public_key(purpose)),
            origin: Set(self.origin().to_owned()),
            valid_from: Set(now_ms()),
            valid_to: Set(None),
            rotation_signature: Set(None),
        };
        let nothing = OnConflict::new().do_nothing().to_owned();
        signing_key::Entity::insert(row).on_conflict(nothing).exec_without_returning(db).await?;
        Ok(())
    }
}

/// The key that is in force, locked against a rotation until the end of the transaction.
async fn current(connection: &impl ConnectionTrait, purpose: KeyPurpose) -> Result<Option<signing_key::Model>> {
    Ok(signing_key::Entity::find()
        .filter(signing_key::Column::Purpose.eq(purpose.as_str()))
        .filter(signing_key::Column::ValidTo.is_null())
        .lock_shared()
        .one(connection)
        .await?)
}

/// Enough of a key's hash to tell it from others: 16 hex digits.
fn short_id(public_key: &str) -> String {
    let bytes = hex::decode(public_key).unwrap_or_default();
    Sha256Digest::of(&bytes).to_string().chars().take(16).collect()
}
