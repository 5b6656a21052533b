//! The registry's own keys, and the refusal to run with foreign ones.
//!
//! The private halves come from files or a configured secret and are shared by all
//! processes of one registry. The database holds the public halves with their validity; the
//! log's origin is fixed at first start, and a process with another key does not start.

use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
};
use verifier::provenance::oms::{KeyError, SigningKey};
use verifier::provenance::transparency::rotation::public_key_pem;
use verifier::provenance::transparency::{NoteSigner, NoteVerifier, Rotation};

use crate::audit::{self, Event};
use crate::database::{begin, now_ms};
use crate::entity::signing_key;
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;

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

    /// The public half of a private key, as the database holds it: hex of an Ed25519 key's 32
    /// bytes, or of a P-256 key's DER.
    fn public_key(self, document: &[u8]) -> Result<String> {
        let invalid = |error: String| Error::invalid(format!("{} key", self.as_str()), error);
        match self {
            Self::Checkpoint => {
                let signer = NoteSigner::from_pkcs8("key", document).and_then(|signer| signer.verifier());
                Ok(hex::encode(signer.map_err(|error| invalid(error.to_string()))?.public_key()))
            }
            Self::Statement => {
                let key = SigningKey::from_pkcs8(document).map_err(|error| invalid(error.to_string()))?;
                Ok(hex::encode(key.public_key_der()))
            }
        }
    }

    /// The DER `SubjectPublicKeyInfo` of what the database holds.
    fn der(self, public_key: &str) -> Vec<u8> {
        let bytes = hex::decode(public_key).unwrap_or_default();
        match self {
            Self::Checkpoint => NoteVerifier::new("key", &bytes).map_or(bytes, |key| key.public_key_der()),
            Self::Statement => bytes,
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

    fn sign_rotation(&self, purpose: KeyPurpose, rotation: &Rotation<'_>) -> Result<Vec<u8>> {
        let text = rotation.text();
        match purpose {
            KeyPurpose::Checkpoint => Ok(self.signer.sign_bytes(text.as_bytes())),
            KeyPurpose::Statement => {
                let signature = self.statement.sign(text.as_bytes());
                signature.ok_or_else(|| Error::Internal("the system gives no random numbers".into()))
            }
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
        let described =
            |origin: &str, key: &str| format!("{origin} ({} key {})", purpose.as_str(), key_id(&purpose.der(key)));
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

/// Enough of a key's hash to tell it from others: the first 16 hex digits over its DER.
fn key_id(der: &[u8]) -> String {
    Sha256Digest::of(der).to_string().chars().take(16).collect()
}

/// A public key of the registry, in force or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// 16 hex digits of SHA-256 over the DER `SubjectPublicKeyInfo`.
    pub id: String,
    pub purpose: KeyPurpose,
    /// The log's name.
    pub origin: String,
    /// DER `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    pub valid_from: i64,
    /// None for the key in force.
    pub valid_to: Option<i64>,
    /// Base64; by the key before it, over the text of the rotation. None for the first key.
    pub rotation_signature: Option<String>,
}

impl KeyInfo {
    fn of(row: signing_key::Model) -> Result<Self> {
        let purpose = KeyPurpose::ALL.into_iter().find(|purpose| purpose.as_str() == row.purpose);
        let purpose = purpose.ok_or_else(|| Error::Corrupt(format!("a key for {}", row.purpose)))?;
        let public_key = purpose.der(&row.public_key);
        Ok(Self {
            id: key_id(&public_key),
            purpose,
            origin: row.origin,
            public_key,
            valid_from: row.valid_from,
            valid_to: row.valid_to,
            rotation_signature: row.rotation_signature,
        })
    }

    /// The key as PEM.
    pub fn pem(&self) -> String {
        public_key_pem(&self.public_key)
    }

    /// A checkpoint key as the text form of signed notes knows it.
    pub fn note_verifier(&self) -> Result<NoteVerifier> {
        NoteVerifier::from_der(&self.origin, &self.public_key).map_err(|error| Error::Corrupt(error.to_string()))
    }

    /// What the key before it signed to name it as its successor.
    pub fn rotation_text(&self, before: &Self) -> String {
        let (from, to) = (hex::encode(&before.public_key), hex::encode(&self.public_key));
        self.rotation(&from, &to).text()
    }

    fn rotation<'a>(&'a self, from: &'a str, to: &'a str) -> Rotation<'a> {
        Rotation { purpose: self.purpose.as_str(), origin: &self.origin, from, to, at: self.valid_from }
    }

    /// Whether the key before it named it as its successor.
    pub fn succeeds(&self, before: &Self) -> bool {
        let signature = self.rotation_signature.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let (from, to) = (hex::encode(&before.public_key), hex::encode(&self.public_key));
        let rotation = self.rotation(&from, &to);
        self.origin == before.origin
            && self.purpose == before.purpose
            && signature.is_some_and(|signature| rotation.is_signed_by_the_old_key(&signature))
    }
}

/// Every key that the registry had, oldest first of each purpose.
pub(crate) async fn history(connection: &impl ConnectionTrait) -> Result<Vec<KeyInfo>> {
    let rows = signing_key::Entity::find()
        .order_by_asc(signing_key::Column::Purpose)
        .order_by_asc(signing_key::Column::ValidFrom);
    rows.all(connection).await?.into_iter().map(KeyInfo::of).collect()
}

/// Whether a private key is the one in force; without a registry around it, because a rotation
/// that broke off has to be ended before one can be opened.
pub async fn is_key_in_force(db: &DatabaseConnection, purpose: KeyPurpose, document: &[u8]) -> Result<bool> {
    let public_key = purpose.public_key(document)?;
    Ok(current(db, purpose).await?.is_some_and(|row| row.public_key == public_key))
}

impl Registry {
    /// Lets `successor`, a private key as a PKCS #8 document, take the place of the key in force,
    /// which signs that. What the old key signed goes on being verified with it; a process that
    /// still has it signs nothing more.
    pub async fn rotate_key(&self, purpose: KeyPurpose, successor: &[u8]) -> Result<()> {
        let to = purpose.public_key(successor)?;
        let txn = begin(&self.db).await?;
        self.keys.require_current(&txn, purpose).await?;
        let before = current(&txn, purpose).await?.ok_or_else(|| Error::Internal("no key is in force".into()))?;
        let at = now_ms().max(before.valid_from + 1);
        let ders = [&before.public_key, &to].map(|key| purpose.der(key));
        let [from_hex, to_hex] = ders.each_ref().map(hex::encode);
        let rotation = Rotation { purpose: purpose.as_str(), origin: &before.origin, from: &from_hex, to: &to_hex, at };
        let signature = self.keys.sign_rotation(purpose, &rotation)?;
        let next = signing_key::ActiveModel {
            purpose: Set(purpose.as_str().to_owned()),
            public_key: Set(to),
            origin: Set(before.origin.clone()),
            valid_from: Set(at),
            valid_to: Set(None),
            rotation_signature: Set(Some(STANDARD.encode(signature))),
        };
        signing_key::Entity::update(signing_key::ActiveModel { valid_to: Set(Some(at)), ..before.into() })
            .exec(&txn)
            .await?;
        signing_key::Entity::insert(next).exec_without_returning(&txn).await?;
        let event = Event::new("key.rotated", "weighhouse")
            .detail("purpose", purpose.as_str())
            .detail("from", key_id(&ders[0]))
            .detail("to", key_id(&ders[1]));
        audit::record(&txn, event).await?;
        Ok(txn.commit().await?)
    }
}
