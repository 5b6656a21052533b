//! How a key names its successor, so that whoever trusts the old one can come to trust the new
//! one without asking anybody.

use super::note::NoteVerifier;
use crate::provenance::der::write_pem;
use crate::provenance::key::PublicKey;

/// First line of what is signed. It is no log's name, so that no rotation is ever taken for a
/// checkpoint.
const HEADER: &str = "weighhouse-key-rotation-v1";

/// A DER `SubjectPublicKeyInfo` as PEM.
pub fn public_key_pem(der: &[u8]) -> String {
    write_pem("PUBLIC KEY", der)
}

/// One key takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation<'a> {
    /// `checkpoint` or `statement`.
    pub purpose: &'a str,
    /// The registry's log, whose name stays.
    pub origin: &'a str,
    /// Hex DER `SubjectPublicKeyInfo` of the key that ends and signs this.
    pub from: &'a str,
    /// The same of the key that begins.
    pub to: &'a str,
    /// Milliseconds since 1970, UTC.
    pub at: i64,
}

impl Rotation<'_> {
    /// What the old key signs.
    pub fn text(&self) -> String {
        let Self { purpose, origin, from, to, at } = self;
        format!("{HEADER}\n{purpose}\n{origin}\n{from}\n{to}\n{at}\n")
    }

    /// Whether `signature`, Ed25519 or ECDSA in DER, is the old key's.
    pub fn is_signed_by_the_old_key(&self, signature: &[u8]) -> bool {
        let Ok(der) = hex::decode(self.from) else { return false };
        let text = self.text();
        if let Ok(key) = NoteVerifier::from_der(self.origin, &der) {
            return key.verifies_bytes(text.as_bytes(), signature);
        }
        PublicKey::from_der(&der).is_ok_and(|key| key.verifies(text.as_bytes(), signature))
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::NoteSigner;
    use super::*;
    use crate::provenance::oms::SigningKey;

    const ORIGIN: &str = "registry.example.org/audit";

    fn rotation(from: &str) -> Rotation<'_> {
        Rotation { purpose: "checkpoint", origin: ORIGIN, from, to: "00ff", at: 1_764_288_000_000 }
    }

    #[test]
    fn old_keys_of_both_kinds_name_their_successors() {
        let signer = NoteSigner::from_pkcs8(ORIGIN, &NoteSigner::generate_pkcs8().unwrap()).unwrap();
        let key = hex::encode(signer.verifier().unwrap().public_key_der());
        let named = rotation(&key);
        assert!(named.is_signed_by_the_old_key(&signer.sign_bytes(named.text().as_bytes())));

        let signer = SigningKey::generate().unwrap();
        let key = hex::encode(signer.public_key_der());
        let named = rotation(&key);
        assert!(named.is_signed_by_the_old_key(&signer.sign(named.text().as_bytes()).unwrap()));
    }

    #[test]
    fn every_part_of_a_rotation_is_signed() {
        let signer = NoteSigner::from_pkcs8(ORIGIN, &NoteSigner::generate_pkcs8().unwrap()).unwrap();
        let key = hex::encode(signer.verifier().unwrap().public_key_der());
        let named = rotation(&key);
        let signature = signer.sign_bytes(named.text().as_bytes());
        for other in [
            Rotation { purpose: "statement", ..named },
            Rotation { origin: "other.example.org/audit", ..named },
            Rotation { to: "00fe", ..named },
            Rotation { at: 1, ..named },
            Rotation { from: "zz", ..named },
        ] {
            assert!(!other.is_signed_by_the_old_key(&signature), "{other:?}");
        }
    }

    #[test]
    fn rotation_is_never_a_checkpoint() {
        assert!(super::super::note::Checkpoint::parse(&rotation("00").text()).is_err());
    }
}
