//! `verify`: a signature over local files, by what the caller trusts and nothing else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use registry_core::MAX_SIGNATURE_BYTES;
use serde::Serialize;
use verifier::evidence::{
    CertificateFacts, Coverage, Finding, ProvenanceFacts, ProvenanceVerdict, Severity, SignatureFacts, SignatureState,
};
use verifier::format::FileKind;
use verifier::provenance::trust::IdentityPattern;
use verifier::provenance::{DigestCache, RootKind, Subject, TrustMaterial, TrustRoot, TrustedKey};
use verifier::{ReadAt, provenance};

use super::LocalPath;
use super::folder::{self, LocalFile};
use super::layout::Sheet;
use super::offline::digested;
use super::output::{self, CliError, read_small};
use super::summary;

/// The name that the OMS tool gives a signature inside the signed folder.
pub(super) const USUAL_SIGNATURE: &str = "model.sig";
/// Bytes that tell what a file is.
const PREFIX_BYTES: usize = 4096;
/// Largest public key, in bytes.
pub(super) const MAX_KEY_BYTES: u64 = 64 << 10;
/// Largest document of a trust root, in bytes.
const MAX_ROOT_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    path: LocalPath,
    /// The signature bundle [default: model.sig in the folder]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Leave out files of this name, or of this path where it has a slash; may be repeated
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<String>,
    /// A public key (PEM) that you trust; may be repeated
    #[arg(long = "key", value_name = "PEM")]
    keys: Vec<PathBuf>,
    /// Certificates (PEM) of authorities that you trust to name signers; may be repeated
    #[arg(long = "certificate-chain", value_name = "PEM")]
    chains: Vec<PathBuf>,
    /// The signer's mail address or URI in a sigstore certificate; `*` stands for any part without `/` and `@`
    #[arg(long, value_name = "GLOB", requires = "issuer")]
    identity: Option<IdentityPattern>,
    /// The URL of who confirmed that identity
    #[arg(long, value_name = "URL", requires = "identity")]
    issuer: Option<String>,
    /// The sigstore instance's trusted_root.json [default: that of the public instance]
    #[arg(long, value_name = "FILE", requires = "identity")]
    trusted_root: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `verify` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Verified,
    Refused,
    Unchecked,
}

/// The result of `verify` as `--json` prints it.
#[derive(Debug, Serialize)]
struct Verification<'a> {
    answer: Answer,
    #[serde(flatten)]
    facts: &'a ProvenanceFacts,
}

impl Verify {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let trust = self.trust()?;
        let signature = self.signature.clone().unwrap_or_else(|| self.path.path.join(USUAL_SIGNATURE));
        let bundle = read_small(&signature, MAX_SIGNATURE_BYTES as u64)?;
        let mut files = folder::walk(&self.path.path, &folder::ignored(&self.ignore)?)?;
        // No signature covers itself or another one beside it.
        files.retain(|file| !is_same_file(&file.location, &signature) && !is_signature(file));
        let specs = folder::specify(&files)?;
        let content = registry_core::content_digest(&specs);
        let files = digested(&files, &specs);
        let subject = Subject { files: &files, content_digest: content.as_str(), attached: &[bundle] };
        let mut facts = provenance::judge(subject, &trust, &DigestCache::new());
        self.judge_signers(&mut facts, Timestamp::now());
        let answer = self.answer(&facts);
        if self.json {
            output::json(&Verification { answer, facts: &facts })?;
        } else {
            output::text(&text(answer, &facts))?;
        }
        Ok(ExitCode::from(match answer {
            Answer::Verified => 0,
            Answer::Refused => 1,
            Answer::Unchecked => 2,
        }))
    }

    fn trust(&self) -> Result<TrustMaterial, CliError> {
        if self.keys.is_empty() && self.chains.is_empty() && self.identity.is_none() {
            let text = "nothing says whom to trust: name the signer's public key with --key, \
                        an authority with --certificate-chain, or a person with --identity and --issuer";
            return Err(CliError::Usage(text.to_owned()));
        }
        let keys = self.keys.iter().map(|path| trusted_key(path)).collect::<Result<_, _>>()?;
        let mut roots = Vec::new();
        for path in &self.chains {
            roots.push(trust_root(path, RootKind::Certificates)?);
        }
        if self.identity.is_some() {
            roots.push(match &self.trusted_root {
                Some(path) => trust_root(path, RootKind::Sigstore)?,
                None => TrustRoot::public_good().map_err(|error| CliError::Usage(error.to_string()))?,
            });
        }
        Ok(TrustMaterial { keys, roots })
    }

    /// Gives the caller's word on who was found to have signed: a sigstore identity counts once
    /// it is the one that was named, and a certificate only while it is valid, because nobody
    /// here knows when the signature was received.
    fn judge_signers(&self, facts: &mut ProvenanceFacts, now: Timestamp) {
        let mut findings = Vec::new();
        for signature in &mut facts.signatures {
            match (signature.state, signature.certificate.clone()) {
                (SignatureState::Untrusted, Some(certificate)) => {
                    if self.names(&certificate) {
                        signature.state = SignatureState::Trusted;
                        signature.signer = certificate.identity;
                    } else {
                        findings.push(other_identity(&certificate));
                    }
                }
                (SignatureState::Trusted, Some(certificate)) if !is_valid_at(&certificate, now) => {
                    signature.state = SignatureState::Untrusted;
                    findings.push(not_valid_now(&certificate));
                }
                _ => {}
            }
        }
        findings.extend(incomplete(facts));
        facts.verdict = match facts.verdict {
            _ if facts.signatures.iter().any(|signature| is_whole(signature, facts)) => ProvenanceVerdict::Trusted,
            ProvenanceVerdict::Trusted => ProvenanceVerdict::Untrusted,
            other => other,
        };
        facts.findings.extend(findings);
    }

    fn names(&self, certificate: &CertificateFacts) -> bool {
        let is_named = |identity: &String| self.identity.as_ref().is_some_and(|pattern| pattern.matches(identity));
        certificate.identity.as_ref().is_some_and(is_named) && certificate.issuer == self.issuer
    }

    fn answer(&self, facts: &ProvenanceFacts) -> Answer {
        if facts.signatures.iter().any(|signature| is_whole(signature, facts)) {
            return Answer::Verified;
        }
        let is_unchecked = |signature: &SignatureFacts| match signature.state {
            SignatureState::Unsupported => true,
            // A key that came with the signature is nobody's word where no key was asked for.
            SignatureState::Unverified | SignatureState::Untrusted => !self.trusts_by(&signature.method),
            _ => false,
        };
        if !facts.signatures.is_empty() && facts.signatures.iter().all(is_unchecked) {
            Answer::Unchecked
        } else {
            Answer::Refused
        }
    }

    /// Whether anything was given that could verify signatures of this method.
    fn trusts_by(&self, method: &str) -> bool {
        match method {
            "key" => !self.keys.is_empty(),
            "certificate" => !self.chains.is_empty(),
            "keyless" => self.identity.is_some(),
            _ => false,
        }
    }
}

/// Whether a trusted signature speaks for everything that is loaded.
///
/// A signer may leave files out, and says so in what is signed. A file that the signature does
/// not even name came later.
fn is_whole(signature: &SignatureFacts, facts: &ProvenanceFacts) -> bool {
    let Coverage { signed, ignored, unsigned } = &signature.coverage;
    let documents_alone = unsigned.iter().chain(ignored).all(|path| facts.documents.contains(path));
    let weights_are_signed = facts.weight_files.iter().all(|path| signed.contains(path));
    signature.state == SignatureState::Trusted && (documents_alone || (unsigned.is_empty() && weights_are_signed))
}

/// Says why a trusted signature is not enough, where the judgement did not say so already.
fn incomplete(facts: &ProvenanceFacts) -> Option<Finding> {
    let said = facts.findings.iter().any(|finding| finding.code.starts_with("UNSIGNED_"));
    let signature = facts.signatures.iter().find(|signature| signature.state == SignatureState::Trusted)?;
    if said || is_whole(signature, facts) {
        return None;
    }
    let left: Vec<&str> =
        signature.coverage.unsigned.iter().chain(&signature.coverage.ignored).map(String::as_str).take(10).collect();
    let detail = format!("The signature does not cover {}.", left.join(", "));
    Some(Finding::new("UNSIGNED_FILES", Severity::High, detail, "have the publisher sign all files"))
}

fn other_identity(certificate: &CertificateFacts) -> Finding {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "nobody".to_owned());
    let (identity, issuer) = (part(&certificate.identity), part(&certificate.issuer));
    let detail = format!("The signature is by {identity}, confirmed by {issuer}, who is not whom you named.");
    Finding::new("SIGNER_IDENTITY_MISMATCH", Severity::High, detail, "ask the publisher who signs")
}

fn not_valid_now(certificate: &CertificateFacts) -> Finding {
    let detail = format!(
        "The signer's certificate is valid from {} until {}, and not now; when the signature was made is not known.",
        certificate.valid_from, certificate.valid_until
    );
    Finding::new("CERTIFICATE_NOT_VALID_NOW", Severity::High, detail, "have the publisher sign anew")
}

fn is_valid_at(certificate: &CertificateFacts, now: Timestamp) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    time(&certificate.valid_from).is_some_and(|from| from <= now)
        && time(&certificate.valid_until).is_some_and(|until| now <= until)
}

fn trusted_key(path: &Path) -> Result<TrustedKey, CliError> {
    let pem = read_small(path, MAX_KEY_BYTES)?;
    let name = path.display().to_string();
    TrustedKey::from_pem(&name, &String::from_utf8_lossy(&pem))
        .map_err(|error| CliError::Usage(format!("the key {name} cannot be used: {error}")))
}

/// The root in a file, which has to be of the kind that its option takes.
pub(super) fn trust_root(path: &Path, kind: RootKind) -> Result<TrustRoot, CliError> {
    let name = path.display().to_string();
    let unusable = |reason: &str| CliError::Usage(format!("the trust root {name} cannot be used: {reason}"));
    let root = TrustRoot::parse(&name, &read_small(path, MAX_ROOT_BYTES)?);
    let root = root.map_err(|error| unusable(&error.to_string()))?;
    if root.kind() == kind { Ok(root) } else { Err(unusable(&format!("it is not of kind {}", kind.as_str()))) }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path| fs_err::canonicalize(path).ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

pub(super) fn is_signature(file: &LocalFile) -> bool {
    let mut prefix = vec![0; usize::try_from(file.size()).unwrap_or(PREFIX_BYTES).min(PREFIX_BYTES)];
    file.read_exact_at(0, &mut prefix).is_ok()
        && matches!(FileKind::recognize(&file.path, &prefix, file.size()), FileKind::Signature)
}

fn text(answer: Answer, facts: &ProvenanceFacts) -> String {
    let mut sheet = Sheet::default();
    sheet.heading(match answer {
        Answer::Verified => "Verified",
        Answer::Refused => "Refused",
        Answer::Unchecked => "Could not be checked",
    });
    summary::provenance(&mut sheet, facts);
    summary::findings(&mut sheet, facts.findings.iter());
    sheet.into_text()
}
