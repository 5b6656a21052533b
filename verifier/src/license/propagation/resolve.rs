//! From the words of a node to the licenses that bind it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use spdx::expression::{ExprNode, Operator};
use spdx::{LicenseItem, LicenseReq};

use super::super::catalog::{
    Acceptance, Catalog, CommercialUse, Confidence, Derivatives, HubTag, License, Outputs, PatentGrant, Propagation,
    Redistribution, Termination, TrainOther,
};
use super::super::expression::{self, Meaning, NO_ASSERTION};
use super::super::terms;

/// Most alternatives of an expression that are looked at.
const MAX_ALTERNATIVES: usize = 64;

/// The licenses one statement stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// As findings name it: an expression, or the words themselves.
    pub(super) expression: String,
    /// All of these apply. Empty where the words name no license.
    pub(super) licenses: BTreeSet<String>,
    pub(super) doubt: Option<Doubt>,
    /// Every expression the words can mean.
    candidates: Vec<String>,
}

impl Resolved {
    /// Whether two statements can be about one license.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.expression == other.expression || self.candidates.iter().any(|one| other.candidates.contains(one))
    }

    /// Whether who follows this license follows the other as well.
    pub(super) fn covers(&self, license: &str) -> bool {
        let base = |id: &str| id.trim_end_matches("-only").trim_end_matches("-or-later").to_owned();
        self.licenses.iter().any(|own| base(own) == base(license)) || self.candidates.iter().any(|own| own == license)
    }
}

/// Why the words need a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// They name no license known here.
    Unknown,
    /// They name several.
    Ambiguous,
}

/// Looks words and ids up once each, because graphs repeat them.
pub(super) struct Resolver<'c> {
    pub(super) catalog: &'c Catalog,
    known: RefCell<HashMap<String, Rc<Resolved>>>,
    rows: RefCell<HashMap<String, Option<Rc<Cow<'c, License>>>>>,
}

impl<'c> Resolver<'c> {
    pub(super) fn new(catalog: &'c Catalog) -> Self {
        Self { catalog, known: RefCell::default(), rows: RefCell::default() }
    }

    /// What `words` stand for.
    pub(super) fn resolve(&self, words: &str) -> Rc<Resolved> {
        if let Some(known) = self.known.borrow().get(words) {
            return Rc::clone(known);
        }
        let resolved = Rc::new(self.read(words));
        self.known.borrow_mut().insert(words.to_owned(), Rc::clone(&resolved));
        resolved
    }

    fn read(&self, words: &str) -> Resolved {
        let meaning = expression::meaning_of(self.catalog, words, None);
        let unknown = |doubt| Resolved {
            expression: if words.trim().is_empty() { NO_ASSERTION.to_owned() } else { words.trim().to_owned() },
            licenses: BTreeSet::new(),
            doubt: Some(doubt),
            candidates: Vec::new(),
        };
        match meaning {
            Meaning::Family(_) => unknown(Doubt::Ambiguous),
            Meaning::Elsewhere | Meaning::Unrecognized => unknown(Doubt::Unknown),
            Meaning::OneOf(candidates) => {
                let several = candidates.iter().filter(|id| id.starts_with("LicenseRef-")).count() > 1;
                let Some(first) = candidates.first().cloned() else { return unknown(Doubt::Unknown) };
                let licenses = self.freest(&first);
                let undescribed = licenses.is_empty() || licenses.iter().any(|id| self.row(id).is_none());
                let doubt = match (undescribed, several) {
                    (true, _) => Some(Doubt::Unknown),
                    (false, true) => Some(Doubt::Ambiguous),
                    (false, false) => None,
                };
                Resolved { expression: first, licenses, doubt, candidates }
            }
        }
    }

    /// The alternative of an expression that binds least: `OR` gives a choice.
    fn freest(&self, expression: &str) -> BTreeSet<String> {
        let alternatives = alternatives(expression).unwrap_or_default();
        let rank = |licenses: &BTreeSet<String>| {
            let joined = licenses.iter().cloned().collect::<Vec<_>>().join(" AND ");
            terms::of(self.catalog, &joined).rank()
        };
        alternatives.into_iter().min_by_key(rank).unwrap_or_default()
    }

    /// What is known of a license: the catalog's row, or what its place on SPDX's list tells.
    pub(super) fn row(&self, id: &str) -> Option<Rc<Cow<'c, License>>> {
        if let Some(known) = self.rows.borrow().get(id) {
            return known.clone();
        }
        let row = self.find_row(id).map(Rc::new);
        self.rows.borrow_mut().insert(id.to_owned(), row.clone());
        row
    }

    fn find_row(&self, id: &str) -> Option<Cow<'c, License>> {
        let sibling = || {
            let base = id.strip_suffix("-or-later").map(|base| format!("{base}-only"));
            base.or_else(|| id.strip_suffix("-only").map(|base| format!("{base}-or-later")))
        };
        let row = self.catalog.find(id).or_else(|| sibling().and_then(|sibling| self.catalog.find(&sibling)));
        row.map(Cow::Borrowed).or_else(|| listed(id).map(Cow::Owned))
    }
}

/// Every way to satisfy an expression, each a set of licenses that apply together.
fn alternatives(text: &str) -> Option<Vec<BTreeSet<String>>> {
    let parsed = expression::parse(text)?;
    let mut stack: Vec<Vec<BTreeSet<String>>> = Vec::new();
    for node in parsed.iter() {
        let next = match node {
            ExprNode::Req(requirement) => vec![ids(&requirement.req)],
            ExprNode::Op(operator) => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                combine(*operator, left, &right)
            }
        };
        if next.len() > MAX_ALTERNATIVES {
            return None;
        }
        stack.push(next);
    }
    stack.pop()
}

fn combine(operator: Operator, left: Vec<BTreeSet<String>>, right: &[BTreeSet<String>]) -> Vec<BTreeSet<String>> {
    match operator {
        Operator::Or => left.into_iter().chain(right.iter().cloned()).collect(),
        Operator::And => {
            let with = |one: &BTreeSet<String>| {
                right.iter().map(|other| one.union(other).cloned().collect()).collect::<Vec<BTreeSet<String>>>()
            };
            left.iter().flat_map(with).collect()
        }
    }
}

/// A license and the addition it comes with are two sets of terms.
fn ids(requirement: &LicenseReq) -> BTreeSet<String> {
    let license = match &requirement.license {
        LicenseItem::Spdx { id, or_later } if *or_later && !id.is_gnu() => format!("{}+", id.name),
        LicenseItem::Spdx { id, .. } => id.name.to_owned(),
        LicenseItem::Other(reference) => reference.to_string(),
    };
    let addition = requirement.addition.as_ref().map(ToString::to_string);
    // Exceptions of SPDX's list only permit more.
    let addition = addition.filter(|id| id.starts_with("AdditionRef-"));
    std::iter::once(license).chain(addition).collect()
}

/// A license of SPDX's list that is approved as open or free has terms that follow from its kind.
fn listed(id: &str) -> Option<License> {
    let id = spdx::license_id(id)?;
    if !id.is_osi_approved() && !id.is_fsf_free_libre() {
        return None;
    }
    let share_alike = id.is_copyleft();
    Some(License {
        id: id.name.to_owned(),
        name: id.full_name.to_owned(),
        family: "standard".to_owned(),
        class: if share_alike { "copyleft" } else { "permissive" }.to_owned(),
        spdx_listed: true,
        hf: HubTag::default(),
        scancode_key: None,
        aliases: Vec::new(),
        osi_approved: id.is_osi_approved(),
        fsf_libre: id.is_fsf_free_libre(),
        open_terms: true,
        commercial_use: CommercialUse::Allowed,
        thresholds: Vec::new(),
        territory: None,
        aup: None,
        outputs: Outputs { licensor_claims: false, train_other_models: TrainOther::Unrestricted, note: None },
        derivatives: Derivatives { name_prefix: None, badge: None, covers_distillation: None },
        redistribution: Redistribution {
            allowed: "yes".to_owned(),
            license_copy: true,
            notice_text: None,
            state_changes: share_alike,
            keep_notices: true,
            flow_down_restrictions: false,
            hosted_service_counts: None,
        },
        propagation: if share_alike { Propagation::SameLicense } else { Propagation::NoticeOnly },
        patent_grant: PatentGrant::NoneExpress,
        termination: Termination {
            on_breach: true,
            on_litigation: None,
            revocable: false,
            remote_restriction: false,
            unilateral_update: false,
        },
        acceptance: Acceptance::None,
        registration: None,
        gated_on_hf: None,
        confidence: Confidence::B,
        sources: vec!["SPDX license list 3.29.0".to_owned()],
        notes: None,
        incorporated_documents: Vec::new(),
        effective_from: None,
        reviewed_by: None,
        reviewed_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(words: &str) -> Rc<Resolved> {
        Resolver::new(Catalog::built_in()).resolve(words)
    }

    fn licenses(words: &str) -> Vec<String> {
        resolve(words).licenses.iter().cloned().collect()
    }

    #[test]
    fn a_choice_takes_the_freer_side_and_a_conjunction_both() {
        assert_eq!(licenses("CC-BY-NC-4.0 OR Apache-2.0"), ["Apache-2.0"]);
        assert_eq!(licenses("Apache-2.0 AND LicenseRef-llama3.1"), ["Apache-2.0", "LicenseRef-llama3.1"]);
        assert_eq!(licenses("(MIT OR GPL-3.0-only) AND CC-BY-4.0"), ["CC-BY-4.0", "MIT"]);
        let gpt_oss = licenses("Apache-2.0 WITH AdditionRef-gpt-oss-usage-policy");
        assert_eq!(gpt_oss, ["AdditionRef-gpt-oss-usage-policy", "Apache-2.0"]);
    }

    #[test]
    fn words_without_one_license_are_in_doubt() {
        assert_eq!(resolve("openrail").doubt, Some(Doubt::Ambiguous));
        assert_eq!(resolve("gemma").doubt, Some(Doubt::Ambiguous));
        for words in ["", "NOASSERTION", "other", "my terms", "LicenseRef-nobody-knows", "JSON"] {
            assert_eq!(resolve(words).doubt, Some(Doubt::Unknown), "{words}");
        }
        assert_eq!(resolve("MPL-2.0").doubt, None);
    }
}
