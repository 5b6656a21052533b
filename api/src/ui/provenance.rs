//! The provenance of a model's revision: who signed, when, over what, and what the trust policy
//! makes of each.

use maud::{Markup, html};
use registry_core::{AttestationInfo, AttestationOrigin, ModelInfo, Revision, TrustView};
use verifier::evidence::{
    AttestationFacts, CertificateFacts, ProvenanceFacts, SignatureFacts, SignatureState, TimeSource,
};
use verifier::provenance::trust::{Check, CheckKind, CheckOutcome, RequirementResult, TrustAssessment, TrustVerdict};

use super::components::{badge, findings, sentence, things, time};

/// Attestations that the page lists; the API lists all.
const ATTESTATIONS_SHOWN: usize = 50;
/// Digits of a digest that people compare.
const DIGITS_SHOWN: usize = 16;

/// Everything about who vouches for a revision.
pub(super) fn panel(model: &ModelInfo, revision: &Revision, view: &TrustView) -> Markup {
    html! {
        @if let Some(found) = &view.assessment { (assessment(&view.environment, found)) }
        @if let Some(facts) = &view.facts { (signatures(facts)) (attested(&facts.attestations)) (findings(&facts.findings)) }
        (bundles(model, revision, &view.attestations))
    }
}

fn assessment(environment: &str, found: &TrustAssessment) -> Markup {
    html! {
        h3 { "What the trust policy says in " (environment) " " (verdict(found.verdict)) }
        dl.facts {
            dt { "Policy" } dd { @match &found.policy { Some(name) => (name), None => "none has this model in its scope" } }
            dt { "Its digest" } dd { code { (short(&found.policy_digest)) } }
            @if let Some(until) = &found.valid_until { dt { "Holds until" } dd { (time(until)) } }
        }
        @if !found.notes.is_empty() { ul.reasons { @for note in &found.notes { li { (sentence(note)) } } } }
        @for requirement in &found.requirements { (checks(requirement)) }
    }
}

fn verdict(verdict: TrustVerdict) -> Markup {
    let (class, icon) = match verdict {
        TrustVerdict::Trusted => ("good", "✓"),
        TrustVerdict::Untrusted | TrustVerdict::Unsigned => ("warn", "!"),
        TrustVerdict::Invalid | TrustVerdict::Revoked => ("bad", "✕"),
    };
    badge(class, icon, verdict.as_str())
}

fn checks(requirement: &RequirementResult) -> Markup {
    let met = if requirement.met { "met" } else { "not met" };
    html! {
        @if requirement.checks.is_empty() {
            p { "The requirement " code { (requirement.id) } " is " (met) ": " (sentence(&requirement.detail)) }
        } @else {
            div.scroll {
                table {
                    caption { "Requirement " code { (requirement.id) } ": " (met) }
                    thead { tr { th scope="col" { "Check" } th scope="col" { "Outcome" } th scope="col" { "What was found" } th scope="col" { "Bundle" } } }
                    tbody { @for check in &requirement.checks { (check_row(check)) } }
                }
            }
        }
    }
}

fn check_row(check: &Check) -> Markup {
    html! {
        tr {
            td { (check_name(check.check)) }
            td { (outcome(check.outcome)) }
            td { @if let Some(code) = &check.code { code { (code) } br; } (sentence(&check.detail)) }
            td { code { (short(&check.bundle)) } }
        }
    }
}

const fn check_name(check: CheckKind) -> &'static str {
    match check {
        CheckKind::Integrity => "Integrity",
        CheckKind::Signer => "Signer",
        CheckKind::Expiry => "Expiry",
        CheckKind::Timestamp => "Time",
        CheckKind::Log => "Transparency log",
        CheckKind::Revocation => "Revocation",
        CheckKind::Coverage => "Coverage",
        CheckKind::Predicate => "Statement",
        CheckKind::Root => "Trust root",
    }
}

fn outcome(outcome: CheckOutcome) -> Markup {
    let (class, icon, word) = match outcome {
        CheckOutcome::Passed => ("good", "✓", "passed"),
        CheckOutcome::Warned => ("warn", "!", "warned"),
        CheckOutcome::Failed => ("bad", "✕", "failed"),
        CheckOutcome::Skipped => ("open", "–", "not asked"),
        CheckOutcome::NotApplicable => ("open", "–", "not applicable"),
    };
    badge(class, icon, word)
}

fn signatures(facts: &ProvenanceFacts) -> Markup {
    html! {
        h3 { "Signatures over the files" }
        @if facts.signatures.is_empty() { p { "No signature is attached to this revision." } }
        @for signature in &facts.signatures {
            dl.facts {
                (signed(signature))
                dt { "Covers" } dd {
                    (things(signature.coverage.signed.len(), "file")) " signed, " (signature.coverage.ignored.len()) " ignored, "
                    (signature.coverage.unsigned.len()) " unsigned"
                }
            }
        }
    }
}

/// Who signed, with which proof, and when.
fn signed(signature: &SignatureFacts) -> Markup {
    html! {
        dt { "Method" } dd { (signature.method) ", " (state(signature)) }
        @if let Some(signer) = &signature.signer { dt { "Signer" } dd { (signer) } }
        @if let Some(certificate) = &signature.certificate { (identity(certificate)) }
        @if let Some(key) = &signature.key { dt { "Key" } dd { code { "sha256:" (key) } } }
        @if let Some(root) = &signature.root { dt { "Trust root" } dd { (root) } }
        dt { "Time" } dd {
            @if signature.times.is_empty() { "none that anybody vouches for; counted from when it came here" }
            @for (position, found) in signature.times.iter().enumerate() {
                @if position > 0 { ", " }
                (time(&found.at)) " by " (source(found.source))
            }
        }
        @for position in &signature.log_positions { dt { "Transparency log" } dd { "entry " (position.index) " of " (position.log) } }
        dt { "Bundle" } dd { code { (short(&signature.digest)) } }
    }
}

const fn state(signature: &SignatureFacts) -> &'static str {
    match signature.state {
        SignatureState::Trusted => "valid, by a signer that is configured here",
        SignatureState::Untrusted if signature.root.is_some() => "valid, by an identity that a trust root vouches for",
        SignatureState::Untrusted => "valid, by a key that nobody here vouches for",
        SignatureState::Unverified => "not verified: no configured key or root could check it",
        SignatureState::Invalid => "invalid",
        SignatureState::Unsupported => "of a kind that this release cannot check",
    }
}

fn identity(certificate: &CertificateFacts) -> Markup {
    html! {
        @if let Some(identity) = &certificate.identity { dt { "Identity" } dd { (identity) } }
        @if let Some(issuer) = &certificate.issuer { dt { "Confirmed by" } dd { (issuer) } }
        @if !certificate.subject.is_empty() { dt { "Certificate of" } dd { (certificate.subject) } }
        dt { "Certificate valid" } dd { (time(&certificate.valid_from)) " to " (time(&certificate.valid_until)) }
    }
}

const fn source(source: TimeSource) -> &'static str {
    match source {
        TimeSource::TimestampAuthority => "a timestamp authority",
        TimeSource::TransparencyLog => "a transparency log",
    }
}

fn attested(attestations: &[AttestationFacts]) -> Markup {
    html! {
        @if !attestations.is_empty() {
            h3 { "What others state about it" }
            @for found in attestations {
                dl.facts {
                    dt { "States" } dd { code { (found.predicate_type) } }
                    (signed(&found.signature))
                    @for base in &found.bases {
                        dt { "Made from" } dd { (base.name) " (" (base.relation.as_str()) ") " code { "sha256:" (short(&base.sha256)) } }
                    }
                }
            }
        }
    }
}

fn bundles(model: &ModelInfo, revision: &Revision, list: &[AttestationInfo]) -> Markup {
    let more = list.len().saturating_sub(ATTESTATIONS_SHOWN);
    html! {
        @if !list.is_empty() {
            div.scroll {
                table {
                    caption { "Bundles to take along" }
                    thead { tr { th scope="col" { "States" } th scope="col" { "From" } th scope="col" { "At" } th scope="col" { "Place in the log" } th scope="col" { "Bundle" } } }
                    tbody { @for found in list.iter().skip(more) { (bundle_row(model, revision, found)) } }
                }
            }
            @if more > 0 { p.quiet { (things(more, "older bundle")) " are listed by the API." } }
        }
    }
}

fn bundle_row(model: &ModelInfo, revision: &Revision, found: &AttestationInfo) -> Markup {
    let link = format!("/v1/models/{}/revisions/{}/attestations/{}", model.name, revision.commit, found.sha256);
    html! {
        tr {
            td { @match &found.predicate_type { Some(kind) => code { (kind) }, None => "the files" } }
            td { @match found.origin { AttestationOrigin::Received => "received", AttestationOrigin::Registry => "this registry" } }
            td { (time(&found.at)) }
            td { @match found.log_index { Some(index) => (index), None => "–" } }
            td { a href=(link) download { code { (short(&found.sha256)) } } }
        }
    }
}

fn short(digest: &str) -> &str {
    digest.get(..DIGITS_SHOWN).unwrap_or(digest)
}
