//! Certificate revocation lists of ordinary authorities (RFC 5280).
//!
//! webpki reads the list and refuses what it does not understand (deltas, indirect lists,
//! critical extensions), but keeps its signature to itself, so that is checked here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{ALL_VERIFICATION_ALGS, BorrowedCertRevocationList, EndEntityCert};
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{Decode, Encode, Reader, Tag, Tagged};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;
use x509_cert::time::Time;

/// Largest list, in bytes: some 100,000 entries.
const MAX_CRL_BYTES: usize = 4 * 1024 * 1024;
const PEM_START: &[u8] = b"-----BEGIN ";

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    #[error("the certificate revocation list exceeds {MAX_CRL_BYTES} bytes")]
    TooLarge,
    #[error("the text is not a certificate revocation list in PEM: {0}")]
    InvalidPem(String),
    #[error("the bytes are not a certificate revocation list that is understood here: {0}")]
    Malformed(String),
    #[error("the certificate of the list's issuer cannot be read: {0}")]
    InvalidIssuer(String),
    #[error("the list is issued by `{0}`, for which no certificate is given")]
    UnknownIssuer(String),
    #[error("the certificate of `{0}` does not allow it to sign lists")]
    NotAllowed(String),
    #[error("the signature of the list by `{0}` does not verify")]
    BadSignature(String),
}

impl CrlError {
    /// A stable name for the way to fail.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "CRL_TOO_LARGE",
            Self::InvalidPem(_) => "CRL_INVALID_PEM",
            Self::Malformed(_) => "CRL_MALFORMED",
            Self::InvalidIssuer(_) => "CRL_INVALID_ISSUER",
            Self::UnknownIssuer(_) => "CRL_UNKNOWN_ISSUER",
            Self::NotAllowed(_) => "CRL_NOT_ALLOWED",
            Self::BadSignature(_) => "CRL_BAD_SIGNATURE",
        }
    }
}

/// One certificate that its authority revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlEntry {
    pub revoked_at: Timestamp,
    /// Name of the reason code (RFC 5280, 5.3.1), where one is given.
    pub reason: Option<String>,
}

/// A verified list of one authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    /// Hex SHA-256 of the DER list.
    pub sha256: String,
    /// The issuer's distinguished name (RFC 4514).
    pub issuer: String,
    pub issued_at: Timestamp,
    /// When the authority promised another list. An old list still revokes what it names.
    pub next_update: Timestamp,
    entries: BTreeMap<String, CrlEntry>,
}

/// A list under an operator's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCrl {
    pub name: String,
    pub list: Crl,
}

impl Crl {
    /// Reads a list in PEM or DER that one of `authorities`, DER certificates, signed.
    pub fn verify(bytes: &[u8], authorities: &[&[u8]]) -> Result<Self, CrlError> {
        if bytes.len() > MAX_CRL_BYTES {
            return Err(CrlError::TooLarge);
        }
        let der = to_der(bytes)?;
        let parts = Parts::split(&der).map_err(|error| CrlError::Malformed(error.to_string()))?;
        let list = BorrowedCertRevocationList::from_der(&der).map_err(|error| malformed(&error))?;
        let header = Header::of(&parts).map_err(|error| CrlError::Malformed(error.to_string()))?;
        check_signature(&parts, &header.issuer, authorities)?;
        Ok(Self {
            sha256: hex::encode(Sha256::digest(&der)),
            issuer: header.issuer.to_string(),
            issued_at: timestamp(header.this_update)?,
            next_update: timestamp(header.next_update)?,
            entries: entries(&list)?,
        })
    }

    /// The entry for a certificate of this list's issuer, by its serial number in hex without
    /// leading zeros. `issuer` is a distinguished name (RFC 4514).
    pub fn find(&self, issuer: &str, serial: &str) -> Option<&CrlEntry> {
        if issuer == self.issuer { self.entries.get(serial) } else { None }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn to_der(bytes: &[u8]) -> Result<Vec<u8>, CrlError> {
    if !bytes.windows(PEM_START.len()).take(PEM_START.len() * 100).any(|window| window == PEM_START) {
        return Ok(bytes.to_vec());
    }
    let der = CertificateRevocationListDer::from_pem_slice(bytes);
    der.map(|der| der.as_ref().to_vec()).map_err(|error| CrlError::InvalidPem(error.to_string()))
}

fn malformed(error: &webpki::Error) -> CrlError {
    CrlError::Malformed(error.to_string())
}

/// `CertificateList` taken apart without encoding anything anew: the signature is over the bytes
/// as they came.
struct Parts<'a> {
    signed: &'a [u8],
    /// Content of the `AlgorithmIdentifier`.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(der: &'a [u8]) -> x509_cert::der::Result<Self> {
        AnyRef::from_der(der)?.sequence(|reader| {
            let signed = reader.tlv_bytes()?;
            let algorithm = AnyRef::decode(reader)?;
            algorithm.tag().assert_eq(Tag::Sequence)?;
            let signature = BitStringRef::decode(reader)?;
            let signature = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;
            Ok(Self { signed, algorithm: algorithm.value(), signature })
        })
    }
}

/// The start of `TBSCertList`, which webpki has checked before.
struct Header {
    issuer: Name,
    this_update: Time,
    next_update: Time,
}

impl Header {
    fn of(parts: &Parts<'_>) -> x509_cert::der::Result<Self> {
        AnyRef::from_der(parts.signed)?.sequence(|reader| {
            let _version = reader.tlv_bytes()?;
            let _algorithm = reader.tlv_bytes()?;
            let header =
                Self { issuer: reader.decode()?, this_update: reader.decode()?, next_update: reader.decode()? };
            while !reader.is_finished() {
                reader.tlv_bytes()?;
            }
            Ok(header)
        })
    }
}

fn check_signature(parts: &Parts<'_>, issuer: &Name, authorities: &[&[u8]]) -> Result<(), CrlError> {
    let mut outcome = Err(CrlError::UnknownIssuer(issuer.to_string()));
    for der in authorities {
        let unreadable = |error: x509_cert::der::Error| CrlError::InvalidIssuer(error.to_string());
        let certificate = Certificate::from_der(der).map_err(unreadable)?;
        if !has_name(&certificate, issuer) {
            continue;
        }
        // An authority that renewed its key has two certificates of one name.
        match check_one(parts, issuer, der, &certificate) {
            Ok(()) => return Ok(()),
            error => outcome = error,
        }
    }
    outcome
}

fn has_name(certificate: &Certificate, name: &Name) -> bool {
    match (certificate.tbs_certificate.subject.to_der(), name.to_der()) {
        (Ok(subject), Ok(name)) => subject == name,
        _ => false,
    }
}

fn check_one(parts: &Parts<'_>, issuer: &Name, der: &[u8], certificate: &Certificate) -> Result<(), CrlError> {
    if !may_sign_lists(certificate) {
        return Err(CrlError::NotAllowed(issuer.to_string()));
    }
    let certificate = CertificateDer::from(der);
    let key = EndEntityCert::try_from(&certificate).map_err(|error| CrlError::InvalidIssuer(error.to_string()))?;
    let mut algorithms =
        ALL_VERIFICATION_ALGS.iter().filter(|algorithm| algorithm.signature_alg_id().as_ref() == parts.algorithm);
    if algorithms.any(|algorithm| key.verify_signature(*algorithm, parts.signed, parts.signature).is_ok()) {
        Ok(())
    } else {
        Err(CrlError::BadSignature(issuer.to_string()))
    }
}

/// RFC 5280, 4.2.1.3 and 4.2.1.9: an authority, which may sign lists where its key's usage is
/// restricted at all.
fn may_sign_lists(certificate: &Certificate) -> bool {
    let certificate = &certificate.tbs_certificate;
    let is_authority = certificate.get::<BasicConstraints>().is_ok_and(|found| found.is_some_and(|(_, it)| it.ca));
    is_authority && certificate.get::<KeyUsage>().is_ok_and(|found| found.is_none_or(|(_, usage)| usage.crl_sign()))
}

fn entries(list: &BorrowedCertRevocationList<'_>) -> Result<BTreeMap<String, CrlEntry>, CrlError> {
    let mut entries = BTreeMap::new();
    for certificate in list {
        let certificate = certificate.map_err(|error| malformed(&error))?;
        let reason = certificate.reason_code.map(|reason| format!("{reason:?}"));
        let entry = CrlEntry { revoked_at: unix_time(certificate.revocation_date)?, reason };
        entries.insert(serial(certificate.serial_number), entry);
    }
    Ok(entries)
}

fn serial(bytes: &[u8]) -> String {
    let hex = hex::encode(bytes);
    hex.trim_start_matches('0').to_owned()
}

fn timestamp(time: Time) -> Result<Timestamp, CrlError> {
    seconds(time.to_unix_duration().as_secs())
}

fn unix_time(time: UnixTime) -> Result<Timestamp, CrlError> {
    seconds(time.as_secs())
}

fn seconds(seconds: u64) -> Result<Timestamp, CrlError> {
    let out_of_range = || CrlError::Malformed("a time is out of range".to_owned());
    let seconds = i64::try_from(seconds).map_err(|_| out_of_range())?;
    Timestamp::from_second(seconds).map_err(|_| out_of_range())
}
