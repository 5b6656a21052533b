//! What follows for a model from the licenses of everything it was made from.
//!
//! A fine-tune inherits the terms of its base whatever its own tag says, and most published
//! chains lose them on the way. So licenses are judged over the graph of parents: first what
//! each ancestor inherits and whether it was allowed to change it, then whether the use in
//! question is inside all terms that reach the model, and what it owes. Each rule reads fields
//! of the catalog; facts that are missing lead to a review and never to an allowance.

mod graph;
mod lineage_rules;
mod resolve;
mod territory;
mod use_rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::catalog::Catalog;
use crate::evidence::Relation;
use graph::Order;
use resolve::Resolver;

/// Most nodes of a graph; more than any published chain has.
pub const MAX_NODES: usize = 100_000;
/// Most findings about ancestors that are kept; those about the model itself are all kept.
pub const MAX_ANCESTOR_FINDINGS: usize = 500;

/// One model of a lineage graph.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Unique within the graph.
    pub id: String,
    /// `owner/name`.
    pub name: String,
    /// The words of the card or of metadata.
    pub declared: Option<String>,
    /// The license whose text was found.
    pub detected: Option<String>,
    /// What a person or a rule concluded; it settles the other two.
    pub concluded: Option<String>,
    pub parents: Vec<Edge>,
    /// Whether it takes or gives more than text; none where nobody said.
    pub multimodal: Option<bool>,
    /// Duties that recorded evidence shows as done.
    pub satisfied: Vec<Satisfied>,
}

/// From a model to one it was made from.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Id of the parent's node. A parent without a node is of unknown license.
    pub parent: String,
    pub relation: Relation,
}

/// A duty that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Satisfied {
    /// The finding's code, such as `LICENSE_COPY_MISSING`.
    pub code: String,
    /// The license; none where the evidence counts for all.
    pub license: Option<String>,
}

/// The use that is asked about. A number that is not known is none, not zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct IntendedUse {
    pub commercial: bool,
    /// Weights are given to others.
    pub distribution: bool,
    /// The model is offered as a service.
    pub hosting: bool,
    /// Outputs train or improve another model.
    pub output_training: bool,
    /// ISO 3166-1 alpha-2, or `EU`.
    pub territory: Option<String>,
    /// Monthly active users.
    pub mau: Option<u64>,
    pub dau: Option<u64>,
    pub monthly_visits: Option<u64>,
    pub annual_revenue_usd: Option<u64>,
    pub monthly_revenue_usd: Option<u64>,
}

/// The answer, from the freest to the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = UseVerdict)]
pub enum Verdict {
    Allow,
    AllowWithObligations,
    Review,
    Deny,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AllowWithObligations => "allow-with-obligations",
            Self::Review => "review",
            Self::Deny => "deny",
        }
    }
}

/// What a finding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    Info,
    Obligation,
    Review,
    Deny,
}

/// One rule that applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UseFinding)]
pub struct Finding {
    /// Stable name in UPPER_SNAKE; waivers and evidence refer to it.
    pub code: String,
    pub severity: Weight,
    /// Id of the model the finding is about.
    pub node: String,
    /// The license, or two of them as `A over B`, `A + B`, `A vs B`.
    pub license: String,
    /// Id of the parent the license came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Names from the model to the one whose license it is.
    pub path: Vec<String>,
    /// The term of the license, in our words.
    pub clause: String,
    pub remedy: String,
}

/// What is owed, and whether recorded evidence shows it as done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Obligation {
    pub code: String,
    pub license: String,
    pub clause: String,
    pub remedy: String,
    pub satisfied: bool,
}

/// What follows from the licenses for one use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UseAssessment)]
pub struct Assessment {
    pub verdict: Verdict,
    /// Everything whose terms reach the model, sorted.
    pub effective_licenses: Vec<String>,
    /// Sorted by code, node and license.
    pub findings: Vec<Finding>,
    /// Findings about ancestors beyond those kept; they count for the verdict.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted_findings: usize,
    /// Every duty of this use, done or not.
    pub obligations: Vec<Obligation>,
    /// Groups of models that descend from each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cycles: Vec<Vec<String>>,
    /// Models that are reached by several ways; they count once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diamonds: Vec<String>,
    /// Version of the catalog that was asked.
    pub catalog_version: String,
}

/// Why a graph cannot be judged.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GraphError {
    #[error("no node has the id {0:?}")]
    NoTarget(String),
    #[error("two nodes have the id {0:?}")]
    DuplicateNode(String),
    #[error("the graph has more than {MAX_NODES} nodes")]
    TooLarge,
}

/// Judges the use of `target` under everything it was made from.
pub fn assess(
    catalog: &Catalog,
    nodes: &[Node],
    target: &str,
    intended: &IntendedUse,
) -> Result<Assessment, GraphError> {
    if nodes.len() > MAX_NODES {
        return Err(GraphError::TooLarge);
    }
    let order = Order::of(nodes, target)?;
    let resolver = Resolver::new(catalog);
    let mut findings = Findings { target: target.to_owned(), ..Findings::default() };
    let lineage = lineage_rules::apply(&resolver, nodes, &order, intended, &mut findings);
    use_rules::apply(&resolver, &lineage, intended, &mut findings);
    Ok(findings.into_assessment(&lineage, &order, catalog))
}

/// Collected findings; the same one said twice counts once.
#[derive(Debug, Default)]
struct Findings {
    target: String,
    omitted: usize,
    worst_omitted: Option<Weight>,
    found: BTreeMap<(String, String, String), Finding>,
    satisfied: Vec<Finding>,
}

impl Findings {
    /// Whether a finding about `node` would only be counted.
    fn is_full_for(&self, node: &str) -> bool {
        self.found.len() >= MAX_ANCESTOR_FINDINGS && node != self.target
    }

    fn add(&mut self, finding: Finding) {
        if self.is_full_for(&finding.node) {
            self.omitted += 1;
            self.worst_omitted = self.worst_omitted.max(Some(finding.severity));
            return;
        }
        let key = (finding.code.clone(), finding.node.clone(), finding.license.clone());
        self.found.entry(key).or_insert(finding);
    }

    /// A duty of the target: open, or shown as done.
    fn add_duty(&mut self, node: &Node, finding: Finding) {
        let done = node.satisfied.iter().any(|evidence| {
            evidence.code == finding.code && evidence.license.as_ref().is_none_or(|license| *license == finding.license)
        });
        if done {
            self.satisfied.push(finding);
        } else {
            self.add(finding);
        }
    }

    fn into_assessment(self, lineage: &lineage_rules::Lineage<'_>, order: &Order, catalog: &Catalog) -> Assessment {
        let findings: Vec<Finding> = self.found.into_values().collect();
        let open = findings.iter().filter(|finding| finding.severity == Weight::Obligation).map(|f| duty(f, false));
        let mut obligations: Vec<Obligation> = open.chain(self.satisfied.iter().map(|f| duty(f, true))).collect();
        obligations.sort_by(|left, right| (&left.license, &left.code).cmp(&(&right.license, &right.code)));
        obligations.dedup();
        let weights = findings.iter().map(|finding| finding.severity).chain(self.worst_omitted);
        let verdict = weights.map(Weight::verdict).max().unwrap_or(Verdict::Allow);
        Assessment {
            verdict,
            effective_licenses: lineage.effective_licenses(),
            findings,
            omitted_findings: self.omitted,
            obligations,
            cycles: order.cycles.clone(),
            diamonds: order.diamonds.clone(),
            catalog_version: catalog.version().to_owned(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Weight {
    const fn verdict(self) -> Verdict {
        match self {
            Self::Info => Verdict::Allow,
            Self::Obligation => Verdict::AllowWithObligations,
            Self::Review => Verdict::Review,
            Self::Deny => Verdict::Deny,
        }
    }
}

fn duty(finding: &Finding, satisfied: bool) -> Obligation {
    Obligation {
        code: finding.code.clone(),
        license: finding.license.clone(),
        clause: finding.clause.clone(),
        remedy: finding.remedy.clone(),
        satisfied,
    }
}
