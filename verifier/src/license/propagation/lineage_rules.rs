//! R1 to R6 and R11: what each model inherits, and whether it was free to change it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::super::catalog::{License, Propagation, TrainOther};
use super::super::expression::NO_ASSERTION;
use super::graph::Order;
use super::resolve::{Doubt, Resolved, Resolver};
use super::{Edge, Finding, Findings, IntendedUse, Node, Weight};
use crate::evidence::Relation;

/// Licenses that bind a model, each with the parent it came through; none for its own.
type Effective = BTreeMap<String, Option<usize>>;

/// The judged graph.
pub(super) struct Lineage<'n> {
    nodes: &'n [Node],
    target: usize,
    effective: HashMap<usize, Effective>,
    /// Licenses of models whose outputs trained the model, with a duty that follows it.
    output_duties: HashMap<usize, Effective>,
}

impl<'n> Lineage<'n> {
    pub(super) fn target(&self) -> Option<&'n Node> {
        self.nodes.get(self.target)
    }

    /// The licenses whose terms reach the target.
    pub(super) fn licenses(&self) -> impl Iterator<Item = &str> {
        self.effective.get(&self.target).into_iter().flatten().map(|(id, _)| id.as_str())
    }

    pub(super) fn output_duties(&self) -> impl Iterator<Item = &str> {
        self.output_duties.get(&self.target).into_iter().flatten().map(|(id, _)| id.as_str())
    }

    pub(super) fn effective_licenses(&self) -> Vec<String> {
        self.licenses().map(str::to_owned).collect()
    }

    /// Whether the target was made from another model's weights.
    pub(super) fn is_derivative(&self) -> bool {
        self.target().is_some_and(|node| node.parents.iter().any(|edge| is_derivation(edge.relation)))
    }

    /// Whether the target, or what it was made from, is multimodal; none where nobody says.
    pub(super) fn is_multimodal(&self) -> Option<bool> {
        let target = self.target()?;
        let of_parents = || {
            let known: Vec<bool> =
                self.effective.keys().filter_map(|position| self.nodes.get(*position)?.multimodal).collect();
            (!known.is_empty()).then(|| known.contains(&true))
        };
        target.multimodal.or_else(of_parents)
    }

    /// Names from the target to the model whose license it is.
    pub(super) fn path_to(&self, license: &str) -> Vec<String> {
        self.path_from(self.target, license)
    }

    fn path_from(&self, node: usize, license: &str) -> Vec<String> {
        const LONGEST: usize = 64;
        let mut path = Vec::new();
        let mut next = Some(node);
        while let Some(position) = next.filter(|_| path.len() < LONGEST) {
            path.extend(self.nodes.get(position).map(|node| node.name.clone()));
            let through = self.effective.get(&position).and_then(|effective| effective.get(license));
            next = through.or_else(|| self.output_duties.get(&position)?.get(license)).copied().flatten();
        }
        path
    }
}

/// Whether the child carries the parent's weights in some form.
pub(super) const fn is_derivation(relation: Relation) -> bool {
    matches!(relation, Relation::Finetune | Relation::Adapter | Relation::Quantized | Relation::Merge)
}

/// Judges every ancestor, parents first.
pub(super) fn apply<'n>(
    resolver: &Resolver<'_>,
    nodes: &'n [Node],
    order: &Order,
    intended: &IntendedUse,
    findings: &mut Findings,
) -> Lineage<'n> {
    let target = order.positions.last().copied().unwrap_or_default();
    let lineage = Lineage { nodes, target, effective: HashMap::new(), output_duties: HashMap::new() };
    let mut rules = Rules { resolver, order, intended, findings, lineage };
    for position in &order.positions {
        rules.judge(*position);
    }
    rules.lineage
}

struct Rules<'r, 'c, 'n> {
    resolver: &'r Resolver<'c>,
    order: &'r Order,
    intended: &'r IntendedUse,
    findings: &'r mut Findings,
    lineage: Lineage<'n>,
}

/// What reaches a node through its parents.
#[derive(Default)]
struct Inherited {
    licenses: BTreeMap<String, usize>,
    output_duties: Effective,
}

impl Rules<'_, '_, '_> {
    fn judge(&mut self, position: usize) {
        let Some(node) = self.lineage.nodes.get(position) else { return };
        let mut inherited = Inherited::default();
        for edge in &node.parents {
            self.inherit(position, node, edge, &mut inherited);
        }
        let own = self.own(node);
        self.judge_relicensing(node, own.as_ref(), &inherited.licenses);
        let mut effective: Effective =
            inherited.licenses.into_iter().map(|(license, through)| (license, Some(through))).collect();
        match own.as_ref().map(|own| &own.licenses).filter(|licenses| !licenses.is_empty()) {
            Some(licenses) => effective.extend(licenses.iter().map(|license| (license.clone(), None))),
            None => drop(effective.insert(NO_ASSERTION.to_owned(), None)),
        }
        self.lineage.effective.insert(position, effective);
        self.lineage.output_duties.insert(position, inherited.output_duties);
    }

    /// R1 and R6.
    fn inherit(&mut self, position: usize, node: &Node, edge: &Edge, inherited: &mut Inherited) {
        let Some(parent) = self.order.index.get(&edge.parent).copied() else {
            self.findings.add(unresolved_parent(node, edge));
            return;
        };
        if self.order.closes_cycle(position, parent) {
            self.findings.add(cycle(node, edge));
            return;
        }
        let of_parent = self.lineage.effective.get(&parent).cloned().unwrap_or_default();
        if is_derivation(edge.relation) {
            let duties = self.lineage.output_duties.get(&parent).cloned().unwrap_or_default();
            inherited.output_duties.extend(duties.into_keys().map(|license| (license, Some(parent))));
            for license in of_parent.into_keys() {
                inherited.licenses.entry(license).or_insert(parent);
            }
            return;
        }
        for license in of_parent.into_keys() {
            self.learn_from_outputs(node, edge, parent, license, inherited);
        }
    }

    fn learn_from_outputs(
        &mut self,
        node: &Node,
        edge: &Edge,
        parent: usize,
        license: String,
        inherited: &mut Inherited,
    ) {
        let Some(row) = self.resolver.row(&license) else { return };
        let outputs = row.outputs.train_other_models;
        let path = || {
            let origin = self.lineage.path_from(parent, &license);
            std::iter::once(node.name.clone()).chain(origin).collect()
        };
        match outputs {
            TrainOther::Prohibited => self.findings.add(Finding {
                code: "OUTPUT_TRAINING_PROHIBITED".to_owned(),
                severity: deny(&row),
                node: node.id.clone(),
                via: Some(edge.parent.clone()),
                path: path(),
                clause: "Outputs may not train or improve another model.".to_owned(),
                remedy: "Train without these outputs, or obtain the licensor's permission.".to_owned(),
                license,
            }),
            _ if row.reaches_outputs() => {
                inherited.licenses.entry(license).or_insert(parent);
            }
            TrainOther::Conditional => {
                inherited.output_duties.insert(license, Some(parent));
            }
            TrainOther::NoCompeting if self.intended.commercial => self.findings.add(Finding {
                code: "OUTPUT_TRAINING_REVIEW".to_owned(),
                severity: Weight::Review,
                node: node.id.clone(),
                via: Some(edge.parent.clone()),
                path: path(),
                clause: "Outputs may not be used to develop models that compete with the licensor.".to_owned(),
                remedy: "Have a person judge whether the model competes.".to_owned(),
                license,
            }),
            TrainOther::NoCompeting | TrainOther::Unrestricted | TrainOther::Derivative => {}
        }
    }

    /// The node's own license, with R11's doubts about it.
    fn own(&mut self, node: &Node) -> Option<Rc<Resolved>> {
        let read = |words: &Option<String>| words.as_deref().map(|words| self.resolver.resolve(words));
        let (declared, detected, concluded) = (read(&node.declared), read(&node.detected), read(&node.concluded));
        if let (None, Some(declared), Some(detected)) = (&concluded, &declared, &detected)
            && !declared.agrees_with(detected)
        {
            self.findings.add(mismatch(node, declared, detected));
        }
        let own = concluded.or(detected).or(declared);
        let doubt = own.as_ref().map_or(Some(Doubt::Unknown), |own| own.doubt);
        if let Some(doubt) = doubt {
            let words = own.as_ref().map_or(NO_ASSERTION, |own| own.expression.as_str());
            self.findings.add(doubtful(node, doubt, words));
        }
        own
    }

    /// R2, R3 and R4.
    fn judge_relicensing(&mut self, node: &Node, own: Option<&Rc<Resolved>>, inherited: &BTreeMap<String, usize>) {
        for (license, through) in inherited {
            let Some(row) = self.resolver.row(license) else { continue };
            if row.propagation == Propagation::SameLicense {
                self.judge_merge(node, &row, inherited);
            }
            let Some(own) = own.filter(|own| !own.covers(license)) else { continue };
            let (code, clause, remedy) = match row.propagation {
                Propagation::Full => (
                    "RELICENSE_CONFLICT",
                    "The license keeps applying to derivatives as a whole.",
                    "Put the derivative under the license of what it was made from.",
                ),
                Propagation::SameLicense => (
                    "SHARE_ALIKE_VIOLATED",
                    "A derivative has to carry the same license.",
                    "Put the derivative under that license.",
                ),
                Propagation::Restrictions if !has_flow_down(node, license) => (
                    "RESTRICTIONS_DROPPED",
                    "The use restrictions have to be an enforceable term of every derivative's license.",
                    "Add the restrictions to the derivative's terms and record that as evidence.",
                ),
                _ => continue,
            };
            // Nobody reads a path that is not kept.
            let full = self.findings.is_full_for(&node.id);
            let origin = if full { Vec::new() } else { self.lineage.path_from(*through, license) };
            self.findings.add(Finding {
                code: code.to_owned(),
                severity: deny(&row),
                node: node.id.clone(),
                license: format!("{} over {license}", own.expression),
                via: self.lineage.nodes.get(*through).map(|parent| parent.id.clone()),
                path: std::iter::once(node.name.clone()).chain(origin).collect(),
                clause: clause.to_owned(),
                remedy: remedy.to_owned(),
            });
        }
    }

    fn judge_merge(&mut self, node: &Node, same: &License, inherited: &BTreeMap<String, usize>) {
        let others: BTreeSet<&String> = inherited.keys().filter(|other| **other != same.id).collect();
        for other in others {
            let Some(row) = self.resolver.row(other) else { continue };
            if !matches!(row.propagation, Propagation::Full | Propagation::Restrictions) {
                continue;
            }
            let severity = deny(same).min(deny(&row));
            self.findings.add(Finding {
                code: "MERGE_INCOMPATIBLE".to_owned(),
                severity,
                node: node.id.clone(),
                license: format!("{} + {other}", same.id),
                via: None,
                path: vec![node.name.clone()],
                clause: "One license must be the derivative's only one, and the other keeps applying beside it."
                    .to_owned(),
                remedy: "Make the model from parents whose licenses allow each other.".to_owned(),
            });
        }
    }
}

/// A refusal, or a review where nobody read the license's text.
pub(super) const fn deny(row: &License) -> Weight {
    if row.is_provisional() { Weight::Review } else { Weight::Deny }
}

fn has_flow_down(node: &Node, license: &str) -> bool {
    node.satisfied.iter().any(|evidence| {
        evidence.code == "FLOW_DOWN_REQUIRED" && evidence.license.as_deref().is_none_or(|known| known == license)
    })
}

fn unresolved_parent(node: &Node, edge: &Edge) -> Finding {
    Finding {
        code: "UNKNOWN_LICENSE".to_owned(),
        severity: Weight::Review,
        node: edge.parent.clone(),
        license: NO_ASSERTION.to_owned(),
        via: None,
        path: vec![node.name.clone(), edge.parent.clone()],
        clause: "The model was made from one that this registry knows nothing of.".to_owned(),
        remedy: "Push the parent, or register it as a reference with its license.".to_owned(),
    }
}

fn cycle(node: &Node, edge: &Edge) -> Finding {
    Finding {
        code: "LINEAGE_CYCLE".to_owned(),
        severity: Weight::Review,
        node: node.id.clone(),
        license: NO_ASSERTION.to_owned(),
        via: Some(edge.parent.clone()),
        path: vec![node.name.clone(), edge.parent.clone(), node.name.clone()],
        clause: "The model is said to descend from itself, so what it inherits cannot be known.".to_owned(),
        remedy: "Correct the base model that a card or metadata names.".to_owned(),
    }
}

fn mismatch(node: &Node, declared: &Resolved, detected: &Resolved) -> Finding {
    Finding {
        code: "DECLARED_DETECTED_MISMATCH".to_owned(),
        severity: Weight::Review,
        node: node.id.clone(),
        license: format!("{} vs {}", declared.expression, detected.expression),
        via: None,
        path: vec![node.name.clone()],
        clause: "The model declares one license and holds the text of another.".to_owned(),
        remedy: "Ask the publisher which applies, and record the conclusion.".to_owned(),
    }
}

fn doubtful(node: &Node, doubt: Doubt, words: &str) -> Finding {
    let (code, clause) = match doubt {
        Doubt::Unknown => ("UNKNOWN_LICENSE", "Nothing names a license that is known here."),
        Doubt::Ambiguous => ("LICENSE_AMBIGUOUS", "The words name a family of licenses and no one of them."),
    };
    Finding {
        code: code.to_owned(),
        severity: Weight::Review,
        node: node.id.clone(),
        license: words.to_owned(),
        via: None,
        path: vec![node.name.clone()],
        clause: clause.to_owned(),
        remedy: "Read the model's terms and record a conclusion.".to_owned(),
    }
}
