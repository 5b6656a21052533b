//! Keys of signers: ECDSA over the three NIST curves that OMS allows.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1,
    EcdsaKeyPair, EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::der::{self, Curve};

const PUBLIC_KEY_LABEL: &str = "PUBLIC KEY";
const PRIVATE_KEY_LABEL: &str = "PRIVATE KEY";

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the text is not PEM")]
    NotPem,
    #[error("the PEM block is a `{0}`, not a public key")]
    NotPublicKey(String),
    #[error("the PEM block is a `{0}`, not an unencrypted private key")]
    NotPrivateKey(String),
    #[error("the key is not an elliptic-curve key on P-256, P-384 or P-521 with an uncompressed point")]
    UnsupportedKey,
    #[error("the key is not a P-256 key, the only kind that this release signs with")]
    UnsupportedSigningKey,
    #[error("a new key could not be generated")]
    Generation,
}

/// A public key with the name an operator gave it.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    name: String,
    public_key: PublicKey,
}

impl TrustedKey {
    /// Reads a public key in PEM (`BEGIN PUBLIC KEY`).
    pub fn from_pem(name: &str, pem: &str) -> Result<Self, KeyError> {
        let (label, der) = der::parse_pem(pem).ok_or(KeyError::NotPem)?;
        if label != PUBLIC_KEY_LABEL {
            return Err(KeyError::NotPublicKey(label.chars().take(50).collect()));
        }
        Ok(Self { name: name.to_owned(), public_key: PublicKey::from_der(&der)? })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hex SHA-256 of the DER `SubjectPublicKeyInfo`.
    pub fn digest(&self) -> &str {
        &self.public_key.digest
    }

    pub(super) const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// A public key that is known to lie on its curve.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    parsed: ParsedPublicKey,
    der: Vec<u8>,
    digest: String,
}

impl PublicKey {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let (curve, point) = Curve::split_spki(der).ok_or(KeyError::UnsupportedKey)?;
        let parsed = ParsedPublicKey::new(algorithm(curve), point).map_err(|_| KeyError::UnsupportedKey)?;
        Ok(Self { parsed, der: der.to_vec(), digest: hex::encode(Sha256::digest(der)) })
    }

    /// A key embedded in an old bundle, in PEM or DER.
    pub(super) fn from_embedded(bytes: &[u8]) -> Result<Self, KeyError> {
        let pem = std::str::from_utf8(bytes).ok().and_then(der::parse_pem);
        match pem {
            Some((PUBLIC_KEY_LABEL, der)) => Self::from_der(&der),
            Some((label, _)) => Err(KeyError::NotPublicKey(label.chars().take(50).collect())),
            None => Self::from_der(bytes),
        }
    }

    /// Whether `signature`, in DER, is this key's over `message`; the hash follows the curve.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// Hex SHA-256 of the DER `SubjectPublicKeyInfo`.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The hint that OMS signers write: hex SHA-256 of the PEM text.
    pub(super) fn hint(&self) -> String {
        hex::encode(Sha256::digest(der::write_pem(PUBLIC_KEY_LABEL, &self.der)))
    }

    /// Whether `hint` means this key, in the form of OMS or in that of cosign (base64 SHA-256 of the DER).
    pub(super) fn matches_hint(&self, hint: &str) -> bool {
        hint == self.hint() || hint == self.digest || hint == STANDARD.encode(Sha256::digest(&self.der))
    }
}

fn algorithm(curve: Curve) -> &'static EcdsaVerificationAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1,
    }
}

/// A private P-256 key: the one curve that every OMS tool accepts.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    /// A new random key.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError::Generation)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Generation)?.as_ref().to_vec();
        Ok(Self { pair, pkcs8 })
    }

    /// Reads an unencrypted private key in PEM, PKCS #8 or OpenSSL's older `EC PRIVATE KEY`.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        // OpenSSL writes the curve's parameters as a block of their own before the key.
        let pem = pem.split_once("-----END EC PARAMETERS-----").map_or(pem, |(_, rest)| rest);
        let (label, der) = der::parse_pem(pem).ok_or(KeyError::NotPem)?;
        let pair = match label {
            PRIVATE_KEY_LABEL => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der),
            "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &der),
            other => return Err(KeyError::NotPrivateKey(other.chars().take(50).collect())),
        }
        .map_err(|_| KeyError::UnsupportedSigningKey)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::UnsupportedSigningKey)?.as_ref().to_vec();
        Ok(Self { pair, pkcs8 })
    }

    /// Reads an unencrypted private key in PKCS #8 DER.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document)
            .map_err(|_| KeyError::UnsupportedSigningKey)?;
        Ok(Self { pair, pkcs8: document.to_vec() })
    }

    /// The private key in PKCS #8 DER. Whoever has it can sign.
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The private key as PKCS #8 in PEM. Whoever has it can sign.
    pub fn to_pem(&self) -> String {
        der::write_pem(PRIVATE_KEY_LABEL, &self.pkcs8)
    }

    pub fn public_key_pem(&self) -> String {
        der::write_pem(PUBLIC_KEY_LABEL, &self.public_key_der())
    }

    /// The public half as a DER `SubjectPublicKeyInfo`.
    pub fn public_key_der(&self) -> Vec<u8> {
        [Curve::P256.spki_prefix(), self.pair.public_key().as_ref()].concat()
    }

    /// The hint that tells verifiers which key to take.
    pub(super) fn hint(&self) -> String {
        hex::encode(Sha256::digest(self.public_key_pem()))
    }

    /// A DER signature over the SHA-256 of `message`; `None` if the system has no randomness.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SigningKey").field("hint", &self.hint()).finish_non_exhaustive()
    }
}
