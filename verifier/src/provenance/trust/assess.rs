//! The policy's word over the facts of one revision.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::candidate::{self, Candidate};
use super::document::{Mode, Policy, Requirement, RequirementKind, TrustPolicy};
use super::result::{RequirementResult, TrustAssessment, TrustVerdict};
use crate::evidence::{ProvenanceFacts, SignatureState};
use crate::provenance::revocation::{self, NamedCrl, SignedRevocationList};

/// When a bundle came here. Its own times are claims; this one is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub at: Timestamp,
    /// Index of the leaf in the audit log that says so; none until it is sequenced.
    pub log_index: Option<u64>,
}

/// What an assessment reads beside the policy.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub policy: &'a TrustPolicy,
    /// `namespace/name`.
    pub model: &'a str,
    pub environment: &'a str,
    /// The revision as statements call it: `weighhouse://namespace/name@commit`.
    pub resource: &'a str,
    pub content_digest: &'a str,
    pub facts: &'a ProvenanceFacts,
    /// By the bundle's hex SHA-256. A bundle without one is taken as received now.
    pub receipts: &'a BTreeMap<String, Receipt>,
    pub revocations: Option<&'a SignedRevocationList>,
    /// Lists of certificate authorities.
    pub crls: &'a [NamedCrl],
    /// Origin of the audit log that receipts have their places in.
    pub log_origin: &'a str,
    /// As of when each trust root is, by name.
    pub roots: &'a BTreeMap<String, Timestamp>,
    pub now: Timestamp,
}

impl<'a> Context<'a> {
    /// A bundle's receipt as revocations ask for it.
    pub(super) fn receipt(&self, bundle: &str) -> Option<revocation::Receipt<'a>> {
        let receipt = self.receipts.get(bundle)?;
        let (log_index, received_at) = (receipt.log_index, receipt.at);
        Some(revocation::Receipt { log_origin: self.log_origin, log_index, received_at })
    }

    pub(super) fn received_at(&self, bundle: &str) -> Timestamp {
        self.receipts.get(bundle).map_or(self.now, |receipt| receipt.at)
    }
}

/// Judges a revision under the policy that applies to it. Nothing applies: nothing is trusted.
pub fn assess(context: &Context<'_>) -> TrustAssessment {
    let mut answer = TrustAssessment {
        verdict: without_policy(context.facts),
        policy: None,
        policy_digest: context.policy.digest().to_owned(),
        requirements: Vec::new(),
        codes: Vec::new(),
        notes: Vec::new(),
        valid_until: None,
    };
    if let Some(policy) = context.policy.applying(context.model, context.environment) {
        apply(context, policy, &mut answer);
    } else {
        answer.codes.push("NO_TRUST_POLICY".to_owned());
        answer.notes.push(format!("No trust policy has {} in its scope.", context.model));
    }
    revoke(context, &mut answer);
    answer
}

/// Content that was revoked is not trusted, whoever signed it.
fn revoke(context: &Context<'_>, answer: &mut TrustAssessment) {
    let Some(list) = context.revocations else { return };
    let Some(entry) = list.content(context.content_digest) else { return };
    answer.verdict = TrustVerdict::Revoked;
    answer.codes.insert(0, "CONTENT_REVOKED".to_owned());
    answer.notes.insert(0, format!("List {} revokes this content: {}", list.list().number, entry.reason));
}

/// What is left where no requirement can be met.
fn without_policy(facts: &ProvenanceFacts) -> TrustVerdict {
    if facts.signatures.is_empty() && facts.attestations.is_empty() {
        TrustVerdict::Unsigned
    } else if facts.signatures.iter().any(|signature| signature.state == SignatureState::Invalid) {
        TrustVerdict::Invalid
    } else {
        TrustVerdict::Untrusted
    }
}

fn apply(context: &Context<'_>, policy: &Policy, answer: &mut TrustAssessment) {
    answer.policy = Some(policy.name.clone());
    let mut ends = Vec::new();
    for requirement in &policy.require {
        let (result, end) = judge(context, policy, requirement);
        ends.extend(end.filter(|_| result.mode == Mode::Enforce));
        answer.requirements.push(result);
    }
    let counted = answer.requirements.iter().filter(|result| !result.met && result.mode != Mode::Skip);
    for result in counted {
        answer.codes.extend(result.code.clone());
        answer.notes.push(format!("{}: {}", result.id, result.detail));
    }
    if answer.requirements.iter().all(|result| result.met || result.mode != Mode::Enforce) {
        answer.verdict = TrustVerdict::Trusted;
        answer.valid_until = ends.into_iter().min().map(|end| end.to_string());
    }
}

/// One requirement over every bundle that could meet it.
fn judge(context: &Context<'_>, policy: &Policy, requirement: &Requirement) -> (RequirementResult, Option<Timestamp>) {
    let candidates = candidates(context, policy, requirement);
    // A signer counts once, with the bundle that lasts longest.
    let mut signers: BTreeMap<String, Timestamp> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.counts()) {
        let end = candidate.ends.unwrap_or(Timestamp::MAX);
        signers.entry(candidate.signer.clone()).and_modify(|known| *known = end.max(*known)).or_insert(end);
    }
    let met = signers.len() >= requirement.threshold;
    let mut ends: Vec<Timestamp> = signers.values().copied().collect();
    ends.sort_unstable_by(|one, other| other.cmp(one));
    let end = ends.get(requirement.threshold - 1).copied().filter(|end| *end != Timestamp::MAX);
    let (code, detail) = if met { (None, met_by(&signers)) } else { unmet(requirement, &candidates, signers.len()) };
    let result = RequirementResult {
        id: requirement.id.clone(),
        mode: requirement.mode,
        met,
        signers: signers.into_keys().collect(),
        threshold: requirement.threshold,
        code,
        detail,
        checks: candidates.into_iter().flat_map(|candidate| candidate.checks).collect(),
    };
    (result, end)
}

fn candidates(context: &Context<'_>, policy: &Policy, requirement: &Requirement) -> Vec<Candidate> {
    let facts = context.facts;
    match requirement.kind() {
        RequirementKind::Signature => {
            let each = facts.signatures.iter();
            each.map(|signature| candidate::judge(context, policy, requirement, signature, None)).collect()
        }
        RequirementKind::Attestation(predicate_type) => {
            let each = facts.attestations.iter().filter(|found| found.predicate_type == predicate_type);
            each.map(|found| candidate::judge(context, policy, requirement, &found.signature, Some(found))).collect()
        }
    }
}

fn met_by(signers: &BTreeMap<String, Timestamp>) -> String {
    let names: BTreeSet<&str> = signers.keys().map(String::as_str).collect();
    format!("Met by {}.", names.into_iter().collect::<Vec<_>>().join(", "))
}

/// Why a requirement is not met: the word of the bundle that came closest.
fn unmet(requirement: &Requirement, candidates: &[Candidate], signers: usize) -> (Option<String>, String) {
    let closest = candidates.iter().filter_map(Candidate::first_failure).max_by_key(|(position, _)| *position);
    let (code, detail) = match (requirement.kind(), closest) {
        _ if signers > 0 => {
            let detail = format!("{signers} signers count, and {} are asked for.", requirement.threshold);
            ("THRESHOLD_NOT_MET".to_owned(), detail)
        }
        (_, Some((_, check))) => (check.code.clone().unwrap_or_default(), check.detail.clone()),
        (RequirementKind::Signature, None) => ("NO_SIGNATURE".to_owned(), "Nobody signed the files.".to_owned()),
        (RequirementKind::Attestation(kind), None) => {
            ("NO_ATTESTATION".to_owned(), format!("There is no attestation of the type {kind}."))
        }
    };
    (Some(code), detail)
}
