//! Certificates of signers, judged without a clock.
//!
//! No trusted time comes with a certificate bundle, and what was valid yesterday must be found
//! valid tomorrow. So a chain is verified at a moment at which all of it was valid, and its
//! window goes into the facts: whether receipt or use fell into it is for the trust policy to say.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage as Purpose, VerifiedPath, anchor_from_trusted_cert};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};

use crate::evidence::CertificateFacts;

/// `id-kp-codeSigning` (RFC 5280, 4.2.1.12).
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// Largest certificate, in bytes.
const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// Why a certificate or its chain is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    #[error("the signer's certificate is that of a certificate authority, which may not sign models")]
    IsAuthority,
    #[error("the signer's certificate allows neither digital signatures nor code signing")]
    NotForSigning,
    #[error("the signer's certificate holds no elliptic-curve key on P-256, P-384 or P-521")]
    UnsupportedKey,
    #[error("there is no moment at which the signer's certificate and all above it are valid")]
    NeverValid,
    #[error("the signer's certificate does not lead to the root: {0}")]
    Chain(String),
}

impl CertificateError {
    /// The finding code; stable, because waivers name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "CERTIFICATE_MALFORMED",
            Self::IsAuthority => "CERTIFICATE_IS_AUTHORITY",
            Self::NotForSigning => "CERTIFICATE_NOT_FOR_SIGNING",
            Self::UnsupportedKey => "CERTIFICATE_KEY_UNSUPPORTED",
            Self::NeverValid => "CERTIFICATE_NEVER_VALID",
            Self::Chain(_) => "CERTIFICATE_CHAIN_INVALID",
        }
    }
}

/// A span of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Window {
    fn contains(self, time: Timestamp) -> bool {
        self.from <= time && time <= self.until
    }

    fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }
}

/// One parsed certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    der: CertificateDer<'static>,
    parsed: x509_cert::Certificate,
    window: Window,
}

impl Certificate {
    pub(super) fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::Malformed(format!("it exceeds {MAX_CERTIFICATE_BYTES} bytes")));
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(|error| malformed(&error))?;
        let validity = parsed.tbs_certificate.validity;
        let window = Window { from: timestamp(validity.not_before)?, until: timestamp(validity.not_after)? };
        Ok(Self { der: CertificateDer::from(der.to_vec()), parsed, window })
    }

    pub(super) const fn window(&self) -> Window {
        self.window
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn public_key(&self) -> Result<Vec<u8>, CertificateError> {
        self.parsed.tbs_certificate.subject_public_key_info.to_der().map_err(|error| malformed(&error))
    }

    /// Refuses a certificate that its authority did not issue for signing.
    ///
    /// A key usage that is present must allow digital signatures (RFC 5280, 4.2.1.3); where none
    /// is, the extended usage has to name code signing.
    pub(super) fn check_usage(&self) -> Result<(), CertificateError> {
        if self.extension::<BasicConstraints>()?.is_some_and(|constraints| constraints.ca) {
            return Err(CertificateError::IsAuthority);
        }
        let allowed = match self.extension::<KeyUsage>()? {
            Some(usage) => usage.digital_signature(),
            None => self.extension::<ExtendedKeyUsage>()?.is_some_and(|usage| usage.0.contains(&CODE_SIGNING)),
        };
        if allowed { Ok(()) } else { Err(CertificateError::NotForSigning) }
    }

    /// What is known of it, with the window of its whole chain.
    pub(super) fn facts(&self, window: Window, issuer: Option<String>) -> CertificateFacts {
        let serial = hex::encode(self.parsed.tbs_certificate.serial_number.as_bytes());
        let significant = serial.trim_start_matches('0');
        CertificateFacts {
            sha256: hex::encode(Sha256::digest(&self.der)),
            serial: if significant.is_empty() { "0" } else { significant }.to_owned(),
            subject: self.parsed.tbs_certificate.subject.to_string(),
            identity: self.identity(),
            issuer,
            issued_by: self.parsed.tbs_certificate.issuer.to_string(),
            valid_from: window.from.to_string(),
            valid_until: window.until.to_string(),
        }
    }

    /// The first mail address or URI among the subject's alternative names.
    fn identity(&self) -> Option<String> {
        let names = self.extension::<SubjectAltName>().ok()??;
        names.0.iter().find_map(|name| match name {
            GeneralName::Rfc822Name(mail) => Some(mail.to_string()),
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
            _ => None,
        })
    }

    /// Whether this names `other` as its issuer, by name or by key identifier.
    fn names_as_issuer(&self, other: &Self) -> bool {
        let by_name = self.parsed.tbs_certificate.issuer == other.parsed.tbs_certificate.subject;
        by_name || self.issuer_key_id().is_some_and(|id| other.key_id() == Some(id))
    }

    fn issuer_key_id(&self) -> Option<Vec<u8>> {
        let id = self.extension::<AuthorityKeyIdentifier>().ok()??.key_identifier?;
        Some(id.as_bytes().to_vec())
    }

    fn key_id(&self) -> Option<Vec<u8>> {
        Some(self.extension::<SubjectKeyIdentifier>().ok()??.0.as_bytes().to_vec())
    }

    fn is_self_issued(&self) -> bool {
        self.parsed.tbs_certificate.issuer == self.parsed.tbs_certificate.subject
    }

    fn extension<'a, T>(&'a self) -> Result<Option<T>, CertificateError>
    where
        T: Decode<'a> + x509_cert::der::oid::AssociatedOid,
    {
        let found = self.parsed.tbs_certificate.get::<T>().map_err(|error| malformed(&error))?;
        Ok(found.map(|(_, extension)| extension))
    }
}

fn malformed(error: &x509_cert::der::Error) -> CertificateError {
    CertificateError::Malformed(error.to_string())
}

fn timestamp(time: x509_cert::time::Time) -> Result<Timestamp, CertificateError> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.ok_or_else(|| CertificateError::Malformed("its validity is not a time".to_owned()))
}

/// Certificates that an operator trusts to lead to.
#[derive(Debug, Clone)]
pub(super) struct Authorities {
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
}

impl Authorities {
    /// A certificate that stands beside its own root only completes chains; one that stands alone is itself trusted.
    pub(super) fn new(certificates: Vec<Certificate>) -> Self {
        let (anchors, intermediates): (Vec<_>, Vec<_>) =
            certificates.into_iter().partition(Certificate::is_self_issued);
        if anchors.is_empty() {
            return Self { anchors: intermediates, intermediates: Vec::new() };
        }
        Self { anchors, intermediates }
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().chain(&self.intermediates)
    }

    /// Whether one of `chain` names one of these as its issuer, so that a failure to verify is a refusal.
    pub(super) fn may_have_issued(&self, chain: &[Certificate]) -> bool {
        chain.iter().any(|certificate| self.certificates().any(|authority| certificate.names_as_issuer(authority)))
    }

    /// Verifies `leaf` with what was `sent` beside it; gives the window in which all of the chain is valid.
    pub(super) fn verify(&self, leaf: &Certificate, sent: &[Certificate]) -> Result<Window, CertificateError> {
        let mut refusal = CertificateError::NeverValid;
        for time in self.moments(leaf, sent) {
            match self.verify_at(leaf, sent, time) {
                Ok(window) => return Ok(window),
                Err(error) if refusal == CertificateError::NeverValid => refusal = error,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// A chain's window opens when its youngest certificate becomes valid, so that no other moment needs a try.
    fn moments(&self, leaf: &Certificate, sent: &[Certificate]) -> BTreeSet<Timestamp> {
        let others = sent.iter().chain(self.certificates()).map(|certificate| certificate.window.from);
        others.filter(|time| leaf.window.contains(*time)).chain([leaf.window.from]).collect()
    }

    fn verify_at(&self, leaf: &Certificate, sent: &[Certificate], time: Timestamp) -> Result<Window, CertificateError> {
        let mut anchors: Vec<(TrustAnchor<'_>, Window)> = Vec::new();
        for certificate in self.anchors.iter().filter(|certificate| certificate.window.contains(time)) {
            let anchor = anchor_from_trusted_cert(&certificate.der).map_err(|error| refused(&error))?;
            anchors.push((anchor, certificate.window));
        }
        let trusted: Vec<TrustAnchor<'_>> = anchors.iter().map(|(anchor, _)| anchor.clone()).collect();
        let between: Vec<&Certificate> = sent.iter().chain(&self.intermediates).collect();
        let between_der: Vec<CertificateDer<'_>> = between.iter().map(|it| it.der.clone()).collect();
        let end = EndEntityCert::try_from(&leaf.der).map_err(|error| refused(&error))?;
        let path = end
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &trusted,
                &between_der,
                UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))),
                Purpose::required_if_present(CODE_SIGNING.as_bytes()),
                None,
                None,
            )
            .map_err(|error| refused(&error))?;
        Ok(window_of(&path, leaf, &between, &anchors))
    }
}

fn window_of(
    path: &VerifiedPath<'_>,
    leaf: &Certificate,
    between: &[&Certificate],
    anchors: &[(TrustAnchor<'_>, Window)],
) -> Window {
    let above = path.intermediate_certificates().filter_map(|link| {
        let der = link.der();
        between.iter().find(|certificate| certificate.der == der).map(|certificate| certificate.window)
    });
    let root = anchors.iter().find(|(anchor, _)| anchor == path.anchor()).map(|(_, window)| *window);
    above.chain(root).fold(leaf.window, Window::and)
}

fn refused(error: &webpki::Error) -> CertificateError {
    match error {
        webpki::Error::CaUsedAsEndEntity => CertificateError::IsAuthority,
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => CertificateError::NeverValid,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::NotForSigning,
        webpki::Error::UnknownIssuer => CertificateError::Chain("no certificate of its issuer is known".to_owned()),
        webpki::Error::InvalidSignatureForPublicKey => {
            CertificateError::Chain("a certificate's signature does not verify".to_owned())
        }
        other => CertificateError::Chain(format!("{other:?}")),
    }
}
