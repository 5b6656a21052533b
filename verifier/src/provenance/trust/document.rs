//! The document that says whom to trust: declarative, and strict about its own words, because a
//! misspelled requirement that is ignored is a requirement that nobody checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::pattern::{IdentityPattern, ModelPattern};
use crate::license::yaml_value;

/// Largest document, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Most policies, requirements of one, or signers of one.
const MAX_ITEMS: usize = 1000;
pub(super) const VERIFICATION_SUMMARY: &str = "https://slsa.dev/verification_summary/v1";

/// Why a document is no trust policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustPolicyError {
    #[error("the trust policy is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the trust policy does not parse: {0}")]
    Syntax(String),
    #[error("this release knows version 1 of trust policies, not {0}")]
    Version(u32),
    #[error("more than {MAX_ITEMS} {0}")]
    TooMany(&'static str),
    #[error("{0} stands twice")]
    Duplicate(String),
    #[error("policy {policy}: {reason}")]
    Policy { policy: String, reason: String },
}

/// All trust policies of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    document: Document,
    digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema_version: u32,
    /// Named sets of signers, for `of`.
    #[serde(default)]
    signers: BTreeMap<String, Vec<SignerRule>>,
    policies: Vec<Policy>,
}

/// What must be proven of the models in its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub name: String,
    pub scope: Vec<ModelPattern>,
    /// Where it applies; everywhere where it names none.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Trust roots by name with `sha256:` and the digest of their document. A root that is not
    /// pinned counts as it is configured.
    #[serde(default)]
    pub trust_roots: BTreeMap<String, String>,
    /// Oldest trust root that counts, in days.
    #[serde(default)]
    pub max_root_age_days: Option<u32>,
    pub require: Vec<Requirement>,
    #[serde(default)]
    pub checks: CheckModes,
}

/// One thing that must be proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    pub id: String,
    #[serde(default)]
    pub mode: Mode,
    /// Signers of whom `threshold` different ones must have signed.
    #[serde(default)]
    pub any_of: Vec<SignerRule>,
    /// The same by names of sets.
    #[serde(default)]
    pub of: Vec<String>,
    #[serde(default = "one")]
    pub threshold: usize,
    /// Files that a signature may leave out; only for signatures over files.
    #[serde(default)]
    pub coverage: Option<CoverageRules>,
    /// Type of the attestation; without it a signature over the files is asked for.
    #[serde(default)]
    pub predicate: Option<String>,
    /// Who must have built it: a pattern for `runDetails.builder.id` of SLSA provenance.
    #[serde(default)]
    pub builder: Option<IdentityPattern>,
    /// What the predicate must say: a dotted path and the value, or a list of values. `not_expired`
    /// asks that the time at `expires` has not come.
    #[serde(default)]
    pub r#where: BTreeMap<String, Value>,
}

/// What a requirement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequirementKind<'a> {
    Signature,
    /// An attestation with this type of predicate.
    Attestation(&'a str),
}

impl Requirement {
    pub fn kind(&self) -> RequirementKind<'_> {
        self.predicate.as_deref().map_or(RequirementKind::Signature, RequirementKind::Attestation)
    }
}

const fn one() -> usize {
    1
}

/// One way to be a signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SignerRule {
    /// Holds the private half of a configured key.
    Key {
        /// `sha256:` and the hex digest of the DER public key, or the operator's name for it. An
        /// empty list means every configured key.
        #[serde(default)]
        keys: Vec<String>,
        /// Signatures received before count, later ones do not.
        #[serde(default)]
        not_after: Option<Timestamp>,
        /// Signatures received earlier do not count.
        #[serde(default)]
        not_before: Option<Timestamp>,
    },
    /// Has a certificate under a configured authority.
    Certificate {
        /// Name of the root; without it every configured authority counts.
        #[serde(default)]
        root: Option<String>,
        /// Parts of the subject's distinguished name that must be there, such as `CN=Release,O=Acme`.
        #[serde(default)]
        subject: Option<String>,
        /// A pattern for the subject alternative name.
        #[serde(default)]
        identity: Option<IdentityPattern>,
        #[serde(default)]
        validity: Validity,
    },
    /// Proved an identity to a sigstore instance.
    Sigstore {
        root: String,
        /// The OIDC issuer, exactly.
        issuer: String,
        identity: IdentityPattern,
    },
}

/// Whether a policy's word for a key, `sha256:` and a digest or an operator's name, means the key with
/// this name and this digest.
pub fn names_key(wanted: &str, name: Option<&str>, digest: Option<&str>) -> bool {
    wanted.strip_prefix("sha256:").map_or(name == Some(wanted), |wanted| digest == Some(wanted))
}

/// At which time a certificate must be valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// When the signature was first received here.
    #[default]
    AtReceipt,
    /// Now.
    StrictNow,
}

/// What becomes of files that a signature does not speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageRules {
    /// Files that came without a word of the signer.
    #[serde(default)]
    pub unsigned_files: CoverageRule,
    /// Files that the signer named as ignored.
    #[serde(default)]
    pub ignored_files: CoverageRule,
    /// Whether model cards, license texts and images may be left out either way.
    #[serde(default = "yes")]
    pub allow_documents: bool,
}

const fn yes() -> bool {
    true
}

impl Default for CoverageRules {
    fn default() -> Self {
        Self { unsigned_files: CoverageRule::Deny, ignored_files: CoverageRule::Deny, allow_documents: true }
    }
}

/// What becomes of one kind of file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoverageRule {
    /// The signature does not count.
    #[default]
    Deny,
    /// The signature counts, and the files are named.
    Report,
}

/// How strict a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrustMode)]
pub enum Mode {
    #[default]
    Enforce,
    Warn,
    Skip,
}

/// How strict each check is. A valid signature over the very files and a named signer are what
/// trust means, so these two cannot be turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckModes {
    pub expiry: Mode,
    /// Of signatures whose method has a time; keys and plain certificates have none.
    pub timestamp: Mode,
    /// Transparency log. Off unless asked for: signatures by key are in none.
    pub log: Mode,
    pub revocation: Mode,
    /// Pins and age of trust roots.
    pub root: Mode,
}

impl Default for CheckModes {
    fn default() -> Self {
        let enforce = Mode::Enforce;
        Self { expiry: enforce, timestamp: enforce, log: Mode::Skip, revocation: enforce, root: enforce }
    }
}

impl TrustPolicy {
    /// Reads a document in YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, TrustPolicyError> {
        if text.len() > MAX_BYTES {
            return Err(TrustPolicyError::TooLarge);
        }
        let value = yaml_value(text).map_err(|error| TrustPolicyError::Syntax(error.to_string()))?;
        let document = serde_json::from_value(value).map_err(|error| TrustPolicyError::Syntax(error.to_string()))?;
        Self::new(document)
    }

    /// What applies where an operator wrote no policy: one signature over everything that matters,
    /// by any configured key or under any configured authority.
    pub fn of_configured_signers() -> Self {
        let any_key = SignerRule::Key { keys: Vec::new(), not_after: None, not_before: None };
        let any_authority =
            SignerRule::Certificate { root: None, subject: None, identity: None, validity: Validity::AtReceipt };
        let signature = Requirement {
            id: "signature".to_owned(),
            mode: Mode::Enforce,
            any_of: vec![any_key, any_authority],
            of: Vec::new(),
            threshold: 1,
            coverage: Some(CoverageRules::default()),
            predicate: None,
            builder: None,
            r#where: BTreeMap::new(),
        };
        let policy = Policy {
            name: "configured-signers".to_owned(),
            scope: "**".parse().into_iter().collect(),
            environments: Vec::new(),
            trust_roots: BTreeMap::new(),
            max_root_age_days: None,
            require: vec![signature],
            checks: CheckModes::default(),
        };
        let document = Document { schema_version: 1, signers: BTreeMap::new(), policies: vec![policy] };
        let digest = digest(&document);
        Self { document, digest }
    }

    fn new(document: Document) -> Result<Self, TrustPolicyError> {
        document.check()?;
        let digest = digest(&document);
        Ok(Self { document, digest })
    }

    /// Hex SHA-256 of the document as [`TrustPolicy::to_json`] writes it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The document as JSON, by which it is identified: comments and layout change nothing.
    pub fn to_json(&self) -> String {
        json(&self.document)
    }

    pub fn policies(&self) -> &[Policy] {
        &self.document.policies
    }

    /// The policy with the narrowest scope that holds the model; of equally narrow ones the first.
    pub fn applying(&self, model: &str, environment: &str) -> Option<&Policy> {
        let rank = |policy: &Policy| {
            let applies = policy.environments.is_empty() || policy.environments.iter().any(|name| name == environment);
            let scopes = policy.scope.iter().filter(|pattern| applies && pattern.matches(model));
            scopes.map(|pattern| (pattern.specificity(), !policy.environments.is_empty())).max()
        };
        let ranked = self.policies().iter().filter_map(|policy| Some((rank(policy)?, policy)));
        // `max_by_key` would take the last of equals.
        ranked.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, policy)| policy)
    }

    /// The signers of a requirement, those of named sets included.
    pub fn signers<'a>(&'a self, requirement: &'a Requirement) -> impl Iterator<Item = &'a SignerRule> {
        let named = requirement.of.iter().filter_map(|name| self.document.signers.get(name)).flatten();
        requirement.any_of.iter().chain(named)
    }

    /// Names and digests of keys that policies ask for and `known` does not tell: a policy that
    /// waits for a key nobody configured would deny everything, or look as if it checked something.
    pub fn unknown_keys(&self, known: impl Fn(&str) -> bool) -> BTreeSet<&str> {
        let rules = self.document.policies.iter().flat_map(|policy| &policy.require);
        let rules = rules.flat_map(|requirement| self.signers(requirement));
        let keys = rules.filter_map(|rule| if let SignerRule::Key { keys, .. } = rule { Some(keys) } else { None });
        keys.flatten().map(String::as_str).filter(|key| !known(key)).collect()
    }

    /// Names of trust roots that policies ask for and `known` does not tell.
    pub fn unknown_roots(&self, known: impl Fn(&str) -> bool) -> BTreeSet<&str> {
        let policies = self.document.policies.iter();
        let pinned = policies.clone().flat_map(|policy| policy.trust_roots.keys());
        let requirements = policies.flat_map(|policy| &policy.require);
        let of_rules = requirements.flat_map(|requirement| self.signers(requirement)).filter_map(|rule| match rule {
            SignerRule::Certificate { root, .. } => root.as_ref(),
            SignerRule::Sigstore { root, .. } => Some(root),
            SignerRule::Key { .. } => None,
        });
        pinned.chain(of_rules).map(String::as_str).filter(|root| !known(root)).collect()
    }
}

impl fmt::Display for TrustPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.policies().iter().map(|policy| policy.name.as_str()).collect();
        formatter.write_str(&names.join(", "))
    }
}

fn json(document: &Document) -> String {
    // Maps of strings and enums of this module always have a JSON form.
    serde_json::to_string(document).unwrap_or_default()
}

fn digest(document: &Document) -> String {
    hex::encode(Sha256::digest(json(document)))
}

impl Document {
    fn check(&self) -> Result<(), TrustPolicyError> {
        if self.schema_version != 1 {
            return Err(TrustPolicyError::Version(self.schema_version));
        }
        if self.policies.len() > MAX_ITEMS {
            return Err(TrustPolicyError::TooMany("policies"));
        }
        if self.signers.values().any(|rules| rules.len() > MAX_ITEMS) || self.signers.len() > MAX_ITEMS {
            return Err(TrustPolicyError::TooMany("signers"));
        }
        let mut names = BTreeSet::new();
        for policy in &self.policies {
            if !names.insert(&policy.name) {
                return Err(TrustPolicyError::Duplicate(format!("the policy {}", policy.name)));
            }
            let reason = |reason| TrustPolicyError::Policy { policy: policy.name.clone(), reason };
            self.check_policy(policy).map_err(reason)?;
        }
        Ok(())
    }

    fn check_policy(&self, policy: &Policy) -> Result<(), String> {
        if policy.name.is_empty() || policy.scope.is_empty() || policy.require.is_empty() {
            return Err("it needs a name, a scope and at least one requirement".to_owned());
        }
        if policy.require.len() > MAX_ITEMS || policy.scope.len() > MAX_ITEMS {
            return Err(format!("it has more than {MAX_ITEMS} requirements or scopes"));
        }
        for (root, pin) in &policy.trust_roots {
            let digest = pin.strip_prefix("sha256:").filter(|digest| is_digest(digest));
            digest.ok_or_else(|| format!("the root {root} is pinned as `sha256:` and 64 hexadecimal digits"))?;
        }
        let mut ids = BTreeSet::new();
        for requirement in &policy.require {
            if !ids.insert(&requirement.id) {
                return Err(format!("the requirement {} stands twice", requirement.id));
            }
            self.check_requirement(requirement).map_err(|reason| format!("{}: {reason}", requirement.id))?;
        }
        if policy.require.iter().all(|requirement| requirement.mode != Mode::Enforce) {
            return Err("none of its requirements is enforced, so that everything would be trusted".to_owned());
        }
        Ok(())
    }

    fn check_requirement(&self, requirement: &Requirement) -> Result<(), String> {
        if let Some(name) = requirement.of.iter().find(|name| !self.signers.contains_key(*name)) {
            return Err(format!("there are no signers called {name}"));
        }
        let named = requirement.of.iter().map(|name| self.signers.get(name).map_or(0, Vec::len)).sum::<usize>();
        if requirement.any_of.len() + named == 0 {
            return Err("it names no signers".to_owned());
        }
        if requirement.threshold == 0 {
            return Err("its threshold is at least 1".to_owned());
        }
        match requirement.kind() {
            RequirementKind::Signature if requirement.builder.is_some() || !requirement.r#where.is_empty() => {
                Err("`where` and `builder` go with `predicate`".to_owned())
            }
            RequirementKind::Attestation(_) if requirement.coverage.is_some() => {
                Err("`coverage` goes with signatures over files, not with `predicate`".to_owned())
            }
            RequirementKind::Attestation(VERIFICATION_SUMMARY) if !requirement.r#where.contains_key("verifier.id") => {
                Err("a verification summary counts only from a named verifier: add `verifier.id` to `where`".to_owned())
            }
            _ => super::conditions::check(&requirement.r#where),
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
