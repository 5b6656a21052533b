//! The registry's own keys, and the refusal to run with foreign ones.
//!
//! The private halves come from files or a configured secret and are shared by all
//! processes of one registry. The database holds the public halves with their validity; the
//! log's origin is fixed at first start, and a process with another key does not start.

use aws_lc_rs::{hkdf, hmac};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, Set};

use verifier::provenance::transparency::{NoteSigner, NoteVerifier};

use crate::database::now_ms;
use crate::entity::signing_key;
use crate::error::{Error, Result};

/// The purpose of the key that signs checkpoints.
const CHECKPOINT: &str = "checkpoint";

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
    capability: hmac::Key,
}

impl InstanceKeys {
    /// Takes the PKCS #8 document of the checkpoint key and the log's origin, the name it signs with.
    pub fn new(checkpoint_pkcs8: &[u8], origin: &str) -> Result<Self> {
        let invalid = |error| Error::invalid("checkpoint key", format!("{error}"));
        let signer = NoteSigner::from_pkcs8(origin, checkpoint_pkcs8).map_err(invalid)?;
        let verifier = signer.verifier().map_err(invalid)?;
        Ok(Self { signer, verifier, capability: derive_capability_key(checkpoint_pkcs8)? })
    }

    /// A fresh checkpoint key as a PKCS #8 document.
    pub fn generate() -> Result<Vec<u8>> {
        NoteSigner::generate_pkcs8().map_err(|error| Error::Internal(error.to_string()))
    }

    /// Signs what clients carry in place of their token.
    pub(crate) const fn capability_key(&self) -> &hmac::Key {
        &self.capability
    }

    pub(crate) const fn signer(&self) -> &NoteSigner {
        &self.signer
    }

    /// The public half, which verifies checkpoints.
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// Records the public half at first start; afterwards refuses any other.
    pub(crate) async fn register(&self, db: &DatabaseConnection) -> Result<()> {
        let ours = hex::encode(self.verifier.public_key());
        let known = signing_key::Entity::find()
            .filter(signing_key::Column::Purpose.eq(CHECKPOINT))
            .filter(signing_key::Column::ValidTo.is_null())
            .one(db)
            .await?;
        match known {
            Some(row) if row.public_key == ours && row.origin == self.origin() => Ok(()),
            Some(row) => Err(Error::ForeignKey {
                expected: format!("{} (key {:.16})", row.origin, row.public_key),
                actual: format!("{} (key {})", self.origin(), &ours[..16]),
            }),
            None => self.record(db, ours).await,
        }
    }

    async fn record(&self, db: &DatabaseConnection, public_key: String) -> Result<()> {
        let row = signing_key::ActiveModel {
            purpose: Set(CHECKPOINT.to_owned()),
            public_key: Set(public_key),
            origin: Set(self.origin().to_owned()),
            valid_from: Set(now_ms()),
            valid_to: Set(None),
        };
        row.insert(db).await?;
        Ok(())
    }
}
