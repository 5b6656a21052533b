//! One bundle held against one requirement: every check on its own.

use jiff::Timestamp;

use super::assess::Context;
use super::conditions;
use super::coverage;
use super::document::{Mode, Policy, Requirement, SignerRule, Validity, names_key};
use super::result::{Check, CheckKind, CheckOutcome};
use crate::evidence::{AttestationFacts, CertificateFacts, SignatureFacts, SignatureState};
use crate::provenance::revocation::{NamedCrl, SignedRevocationList};

const CERTIFICATE_REVOKED: &str = "CERTIFICATE_REVOKED";

/// How one bundle stands to one requirement.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) checks: Vec<Check>,
    /// Whose signature it is, told apart by key or identity.
    pub(super) signer: String,
    /// When it stops to count, where that is known.
    pub(super) ends: Option<Timestamp>,
}

impl Candidate {
    pub(super) fn counts(&self) -> bool {
        self.first_failure().is_none()
    }

    /// The check that stands against it, with how far it came before.
    pub(super) fn first_failure(&self) -> Option<(usize, &Check)> {
        self.checks.iter().enumerate().find(|(_, check)| check.outcome == CheckOutcome::Failed)
    }
}

/// What a check found: passed or not, a code for the latter, and words.
struct Found {
    passed: bool,
    code: &'static str,
    detail: String,
}

impl Found {
    fn passed(detail: impl Into<String>) -> Self {
        Self { passed: true, code: "", detail: detail.into() }
    }

    fn failed(code: &'static str, detail: impl Into<String>) -> Self {
        Self { passed: false, code, detail: detail.into() }
    }
}

/// Judges a bundle; `attestation` is what it signs where that is not the list of files.
pub(super) fn judge(
    context: &Context<'_>,
    policy: &Policy,
    requirement: &Requirement,
    signature: &SignatureFacts,
    attestation: Option<&AttestationFacts>,
) -> Candidate {
    let mut judged = Judged { bundle: &signature.digest, checks: Vec::new(), ends: None };
    if judged.add(CheckKind::Integrity, Mode::Enforce, integrity(signature)) {
        let (signer, expiry) = signer_and_expiry(context, requirement, signature);
        judged.add(CheckKind::Signer, Mode::Enforce, signer);
        if let Some((expiry, ends)) = expiry {
            judged.add(CheckKind::Expiry, policy.checks.expiry, expiry);
            judged.end(ends);
        }
        judged.add_if_any(CheckKind::Timestamp, policy.checks.timestamp, timestamp(signature));
        judged.add(CheckKind::Log, policy.checks.log, log(signature));
        judged.add(CheckKind::Revocation, policy.checks.revocation, revocation(context, signature));
        let root = root(context, policy, signature);
        judged.end(root.as_ref().and_then(|(_, ends)| *ends));
        judged.add_if_any(CheckKind::Root, policy.checks.root, root.map(|(found, _)| found));
        match attestation {
            None => {
                judged.add(CheckKind::Coverage, Mode::Enforce, covers(context, requirement, signature));
            }
            Some(attestation) => judged.predicate(context, requirement, attestation),
        }
    }
    Candidate { checks: judged.checks, signer: signer_name(signature), ends: judged.ends }
}

struct Judged<'a> {
    bundle: &'a str,
    checks: Vec<Check>,
    ends: Option<Timestamp>,
}

impl Judged<'_> {
    /// Records a check; says whether the next ones make sense.
    fn add(&mut self, check: CheckKind, mode: Mode, found: Found) -> bool {
        let outcome = match (mode, found.passed) {
            (Mode::Skip, _) => CheckOutcome::Skipped,
            (_, true) => CheckOutcome::Passed,
            (Mode::Warn, false) => CheckOutcome::Warned,
            (Mode::Enforce, false) => CheckOutcome::Failed,
        };
        let told = matches!(outcome, CheckOutcome::Warned | CheckOutcome::Failed);
        let code = told.then(|| found.code.to_owned());
        let detail = if mode == Mode::Skip { "The policy does not ask.".to_owned() } else { found.detail };
        self.checks.push(Check { check, outcome, code, detail, bundle: self.bundle.to_owned() });
        outcome != CheckOutcome::Failed
    }

    fn add_if_any(&mut self, check: CheckKind, mode: Mode, found: Option<Found>) {
        if let Some(found) = found {
            self.add(check, mode, found);
            return;
        }
        let detail = "This method has none.".to_owned();
        let outcome = CheckOutcome::NotApplicable;
        self.checks.push(Check { check, outcome, code: None, detail, bundle: self.bundle.to_owned() });
    }

    fn end(&mut self, ends: Option<Timestamp>) {
        self.ends = self.ends.into_iter().chain(ends).min();
    }

    fn predicate(&mut self, context: &Context<'_>, requirement: &Requirement, attestation: &AttestationFacts) {
        let found = match conditions::judge(requirement, attestation, context) {
            Ok(ends) => {
                self.end(ends);
                Found::passed("It says what is asked for.")
            }
            Err(unmet) => Found::failed(unmet.code, unmet.detail),
        };
        self.add(CheckKind::Predicate, Mode::Enforce, found);
    }
}

fn integrity(signature: &SignatureFacts) -> Found {
    match signature.state {
        SignatureState::Trusted | SignatureState::Untrusted => {
            Found::passed("The signature is valid and its digests are those stored here.")
        }
        SignatureState::Invalid => Found::failed("INVALID_SIGNATURE", "It is refused; the findings say why."),
        SignatureState::Unverified => {
            Found::failed("SIGNER_UNKNOWN", "No configured key or root could check the signature.")
        }
        SignatureState::Unsupported => {
            Found::failed("UNSUPPORTED_SIGNATURE", "It is of a kind that this release cannot check.")
        }
    }
}

/// The rule that fits best: one whose validity holds as well, before one that only names the signer.
fn signer_and_expiry(
    context: &Context<'_>,
    requirement: &Requirement,
    signature: &SignatureFacts,
) -> (Found, Option<(Found, Option<Timestamp>)>) {
    let name = signer_name(signature);
    let fitting = context.policy.signers(requirement).filter(|rule| names(rule, signature));
    let expiries: Vec<_> = fitting.map(|rule| expiry(context, rule, signature)).collect();
    let best = expiries.into_iter().reduce(|best, next| if best.0.passed { best } else { next });
    match best {
        Some(best) => (Found::passed(format!("{name} is named.")), Some(best)),
        None => (Found::failed("SIGNER_NOT_ALLOWED", format!("The requirement does not name {name}.")), None),
    }
}

fn names(rule: &SignerRule, signature: &SignatureFacts) -> bool {
    let is_trusted = signature.state == SignatureState::Trusted;
    match rule {
        SignerRule::Key { keys, .. } => {
            is_trusted
                && signature.method == "key"
                && (keys.is_empty()
                    || keys.iter().any(|key| names_key(key, signature.signer.as_deref(), signature.key.as_deref())))
        }
        SignerRule::Certificate { root, subject, identity, .. } => {
            let certificate =
                signature.certificate.as_ref().filter(|_| is_trusted && signature.method == "certificate");
            certificate.is_some_and(|certificate| {
                root.as_ref().is_none_or(|root| signature.root.as_ref() == Some(root))
                    && subject.as_ref().is_none_or(|subject| has_subject(&certificate.subject, subject))
                    && identity.as_ref().is_none_or(|pattern| {
                        certificate.identity.as_ref().is_some_and(|identity| pattern.matches(identity))
                    })
            })
        }
        SignerRule::Sigstore { root, issuer, identity } => {
            let certificate = signature.certificate.as_ref().filter(|_| signature.method == "keyless");
            certificate.is_some_and(|certificate| {
                signature.root.as_ref() == Some(root)
                    && certificate.issuer.as_ref() == Some(issuer)
                    && certificate.identity.as_ref().is_some_and(|found| identity.matches(found))
            })
        }
    }
}

/// Whether every part of `wanted` is a part of the distinguished name, in any order. Parts are
/// compared whole: `CN=Release` is not found in `CN=Release Candidate`.
fn has_subject(name: &str, wanted: &str) -> bool {
    let parts = || split_name(name);
    split_name(wanted).filter(|part| *part != "*").all(|wanted| parts().any(|part| part == wanted))
}

/// The parts of a distinguished name (RFC 4514); an escaped comma separates nothing.
fn split_name(name: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    let separates = move |character: char| {
        let is_separator = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        is_separator
    };
    name.split(separates).map(str::trim).filter(|part| !part.is_empty())
}

fn expiry(context: &Context<'_>, rule: &SignerRule, signature: &SignatureFacts) -> (Found, Option<Timestamp>) {
    let received = context.received_at(&signature.digest);
    match (rule, &signature.certificate) {
        (SignerRule::Key { not_before, not_after, .. }, _) => {
            (within(Moment::Past(received), *not_before, *not_after, "KEY_EXPIRED", "The key counts"), None)
        }
        (SignerRule::Certificate { validity: Validity::StrictNow, .. }, Some(certificate)) => {
            let (from, until) = window(certificate);
            (within(Moment::Now(context.now), from, until, "CERTIFICATE_EXPIRED", "The certificate is valid"), until)
        }
        (SignerRule::Certificate { .. }, Some(certificate)) => {
            let (from, until) = window(certificate);
            (within(Moment::Past(received), from, until, "CERTIFICATE_EXPIRED", "The certificate was valid"), None)
        }
        (SignerRule::Sigstore { .. }, Some(certificate)) => {
            let (from, until) = window(certificate);
            let signed = signature.times.iter().filter_map(|time| time.at.parse().ok()).min();
            let signed = signed.unwrap_or(received);
            (within(Moment::Past(signed), from, until, "CERTIFICATE_EXPIRED", "The certificate was valid"), None)
        }
        (_, None) => (Found::failed("CERTIFICATE_MISSING", "There is no certificate to look at."), None),
    }
}

fn window(certificate: &CertificateFacts) -> (Option<Timestamp>, Option<Timestamp>) {
    (certificate.valid_from.parse().ok(), certificate.valid_until.parse().ok())
}

/// What a validity is held against. The present is not put into words: the same facts must give
/// the same assessment while nothing changes.
#[derive(Clone, Copy)]
enum Moment {
    Past(Timestamp),
    Now(Timestamp),
}

fn within(moment: Moment, from: Option<Timestamp>, until: Option<Timestamp>, code: &'static str, what: &str) -> Found {
    let shown = |bound: Option<Timestamp>| bound.map_or_else(|| "…".to_owned(), |bound| bound.to_string());
    let (at, held) = match moment {
        Moment::Past(at) => (at, at.to_string()),
        Moment::Now(at) => (at, "the present".to_owned()),
    };
    let detail = match (from, until) {
        (None, None) => format!("{what} at any time."),
        _ => format!("{what} from {} to {}; it is held against {held}.", shown(from), shown(until)),
    };
    if from.is_none_or(|from| from <= at) && until.is_none_or(|until| at <= until) {
        Found::passed(detail)
    } else {
        Found::failed(code, detail)
    }
}

fn timestamp(signature: &SignatureFacts) -> Option<Found> {
    if signature.method != "keyless" {
        return None;
    }
    Some(match signature.times.first() {
        Some(time) => Found::passed(format!("It existed at {}.", time.at)),
        None => Found::failed("NO_TIME_EVIDENCE", "Nothing that was verified says when it was signed."),
    })
}

fn log(signature: &SignatureFacts) -> Found {
    match signature.log_positions.first() {
        Some(position) => Found::passed(format!("It is entry {} of {}.", position.index, position.log)),
        None => Found::failed("NOT_IN_LOG", "No transparency log holds it, as far as the bundle shows."),
    }
}

fn revocation(context: &Context<'_>, signature: &SignatureFacts) -> Found {
    let mut asked: Vec<Found> = context.revocations.iter().map(|list| on_list(context, list, signature)).collect();
    if let Some(certificate) = &signature.certificate {
        let of_issuer = context.crls.iter().filter(|crl| crl.list.issuer == certificate.issued_by);
        asked.extend(of_issuer.map(|crl| on_crl(context, crl, certificate)));
    }
    match asked.iter().find(|found| !found.passed) {
        Some(revoked) => Found::failed(revoked.code, revoked.detail.clone()),
        None if asked.is_empty() => Found::passed("Nothing was revoked: there is no list."),
        None => Found::passed(asked.iter().map(|found| found.detail.as_str()).collect::<Vec<_>>().join(" ")),
    }
}

fn on_list(context: &Context<'_>, list: &SignedRevocationList, signature: &SignatureFacts) -> Found {
    let receipt = context.receipt(&signature.digest);
    let number = list.list().number;
    let key = signature.key.as_deref().and_then(|key| list.key(key)).map(|entry| ("KEY_REVOKED", "The key", entry));
    let certificate = signature.certificate.as_ref().and_then(|certificate| {
        let entry = list.certificate(&certificate.sha256, &certificate.issued_by, &certificate.serial)?;
        Some((CERTIFICATE_REVOKED, "The certificate", entry))
    });
    let bundle = list.bundle(&signature.digest).map(|entry| ("BUNDLE_REVOKED", "The signature itself", entry));
    let revoked = [key, certificate, bundle].into_iter().flatten().find(|(_, _, entry)| entry.covers(receipt.as_ref()));
    match revoked {
        Some((code, what, entry)) => {
            Found::failed(code, format!("{what} was revoked by list {number}: {}", entry.reason))
        }
        None => Found::passed(format!("List {number} does not name it.")),
    }
}

/// No time inside a signature by certificate can be believed, so what its authority revoked does
/// not count, whenever it signed.
fn on_crl(context: &Context<'_>, crl: &NamedCrl, certificate: &CertificateFacts) -> Found {
    let NamedCrl { name, list } = crl;
    let overdue = if list.next_update < context.now {
        format!(" It is out of date: a newer one was due at {}.", list.next_update)
    } else {
        String::new()
    };
    match list.find(&certificate.issued_by, &certificate.serial) {
        Some(entry) => {
            let reason = entry.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let revoked_at = entry.revoked_at;
            let detail = format!("The certificate was revoked at {revoked_at}{reason} by the authority's list {name}.");
            Found::failed(CERTIFICATE_REVOKED, detail)
        }
        None => Found::passed(format!("The authority's list {name} does not name the certificate.{overdue}")),
    }
}

fn root(context: &Context<'_>, policy: &Policy, signature: &SignatureFacts) -> Option<(Found, Option<Timestamp>)> {
    let name = signature.root.as_ref()?;
    let digest = signature.root_digest.as_deref().unwrap_or_default();
    if let Some(pin) = policy.trust_roots.get(name).filter(|pin| pin.strip_prefix("sha256:") != Some(digest)) {
        let detail = format!("The root {name} is sha256:{digest}, and the policy pins {pin}.");
        return Some((Found::failed("ROOT_NOT_PINNED", detail), None));
    }
    let known = context.roots.get(name);
    let ends = policy.max_root_age_days.zip(known).map(|(days, since)| end_after(*since, days));
    Some(match (ends, known) {
        (Some(end), _) if end <= context.now => {
            (Found::failed("ROOT_TOO_OLD", format!("The root {name} counted until {end}; import a newer one.")), None)
        }
        (_, Some(since)) => (Found::passed(format!("The root {name} is as of {since}.")), ends),
        (_, None) => (Found::passed(format!("The root {name} was used.")), None),
    })
}

fn end_after(since: Timestamp, days: u32) -> Timestamp {
    let age = jiff::SignedDuration::from_hours(i64::from(days) * 24);
    since.checked_add(age).unwrap_or(Timestamp::MAX)
}

fn covers(context: &Context<'_>, requirement: &Requirement, signature: &SignatureFacts) -> Found {
    let rules = requirement.coverage.unwrap_or_default();
    match coverage::gap(&signature.coverage, context.facts, rules) {
        Some(gap) => Found::failed(gap.code, gap.detail),
        None => Found::passed(coverage::summary(&signature.coverage)),
    }
}

/// What a signer is called and told apart by.
fn signer_name(signature: &SignatureFacts) -> String {
    let of_certificate = signature.certificate.as_ref().map(|certificate| {
        let identity = certificate.identity.as_deref().unwrap_or(&certificate.subject);
        certificate.issuer.as_ref().map_or_else(|| identity.to_owned(), |issuer| format!("{identity} ({issuer})"))
    });
    let of_key = || signature.key.as_ref().map(|key| format!("key sha256:{key}"));
    let named = signature.signer.clone().or(of_certificate).or_else(of_key);
    named.unwrap_or_else(|| "an unknown signer".to_owned())
}
