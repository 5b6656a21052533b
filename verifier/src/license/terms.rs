//! The terms that a license expression stands for.

use spdx::expression::{ExprNode, Operator};
use spdx::{LicenseItem, LicenseReq};

use super::catalog::{Catalog, License};
use super::expression;

/// How open terms are, after licensing's union of OSI, FSF, open data and OpenMDW.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Open,
    Restricted,
    Unknown,
    Unlicensed,
}

/// What judgement needs to know of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) state: State,
    /// Whether a derivative has to carry the same license.
    pub(super) share_alike: bool,
    /// The catalog's class, from [`CLASSES`].
    pub(super) class: Option<&'static str>,
    /// Whether a row of confidence C or D is involved.
    pub(super) provisional: bool,
}

/// Classes from the freest to the narrowest; a combination of licenses takes the narrowest.
const CLASSES: [&str; 13] = [
    "public-domain",
    "permissive",
    "permissive-with-naming",
    "permissive-with-threshold",
    "copyleft",
    "data-computational-use",
    "behavioural-use",
    "community-restricted",
    "non-commercial",
    "research-only",
    "api-terms",
    "addition",
    "ambiguous",
];

impl Terms {
    /// Orders terms from the freest to the narrowest.
    pub(super) fn rank(&self) -> (State, usize) {
        (self.state, class_rank(self.class))
    }
}

const UNLICENSED: Terms = Terms { state: State::Unlicensed, share_alike: false, class: None, provisional: false };
const UNKNOWN: Terms = Terms { state: State::Unknown, share_alike: false, class: None, provisional: false };

/// The terms of `text`. `AND` takes the narrower side, `OR` the freer one.
pub(super) fn of(catalog: &Catalog, text: &str) -> Terms {
    if matches!(text, "" | "NONE" | expression::NO_ASSERTION) {
        return UNLICENSED;
    }
    let Some(parsed) = expression::parse(text) else { return UNKNOWN };
    let mut stack: Vec<Terms> = Vec::new();
    for node in parsed.iter() {
        let terms = match node {
            ExprNode::Req(requirement) => of_license(catalog, &requirement.req),
            ExprNode::Op(operator) => match (stack.pop(), stack.pop()) {
                (Some(right), Some(left)) => combine(*operator, left, right),
                _ => UNKNOWN,
            },
        };
        stack.push(terms);
    }
    stack.pop().unwrap_or(UNKNOWN)
}

fn combine(operator: Operator, left: Terms, right: Terms) -> Terms {
    let left_is_freer = left.rank() <= right.rank();
    let (freer, narrower) = if left_is_freer { (left, right) } else { (right, left) };
    match operator {
        Operator::Or => freer,
        Operator::And => Terms {
            share_alike: left.share_alike || right.share_alike,
            provisional: left.provisional || right.provisional,
            ..narrower
        },
    }
}

/// Position in [`CLASSES`]; what has no class is the narrowest.
fn class_rank(class: Option<&str>) -> usize {
    CLASSES.iter().position(|known| Some(*known) == class).unwrap_or(CLASSES.len())
}

fn of_license(catalog: &Catalog, requirement: &LicenseReq) -> Terms {
    let id = match &requirement.license {
        LicenseItem::Spdx { id, or_later } => {
            let name = if *or_later && !id.is_gnu() { format!("{}+", id.name) } else { id.name.to_owned() };
            return catalog.find(&name).map_or_else(|| of_spdx(*id), of_row);
        }
        LicenseItem::Other(reference) => reference.to_string(),
    };
    catalog.find(&id).map_or(UNKNOWN, of_row)
}

fn of_row(row: &License) -> Terms {
    let class = CLASSES.iter().find(|class| **class == row.class).copied();
    Terms {
        state: if row.open_terms { State::Open } else { State::Restricted },
        share_alike: class == Some("copyleft"),
        class,
        provisional: row.is_provisional(),
    }
}

/// A license of SPDX's list that the catalog does not describe.
fn of_spdx(id: spdx::LicenseId) -> Terms {
    const OPEN_DATA: [&str; 8] = ["CC0-", "CC-BY-1", "CC-BY-2", "CC-BY-3", "CC-BY-4", "CC-BY-SA-", "CDLA-", "OpenMDW-"];
    const OPEN_DATABASES: [&str; 3] = ["ODC-By-", "ODbL-", "PDDL-"];
    let is_open_data = OPEN_DATA.iter().chain(&OPEN_DATABASES).any(|prefix| id.name.starts_with(prefix));
    let open = id.is_osi_approved() || id.is_fsf_free_libre() || is_open_data;
    let share_alike =
        id.is_copyleft() || ["CC-BY-SA-", "ODbL-", "CDLA-Sharing-"].iter().any(|p| id.name.starts_with(p));
    let class = match (open, share_alike) {
        (true, true) => Some("copyleft"),
        (true, false) => Some("permissive"),
        (false, _) if id.name.contains("-NC") => Some("non-commercial"),
        (false, _) => None,
    };
    Terms {
        state: if open { State::Open } else { State::Restricted },
        share_alike: open && share_alike,
        class,
        provisional: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Terms {
        super::of(Catalog::built_in(), text)
    }

    #[test]
    fn single_licenses_have_their_class() {
        assert_eq!(of("Apache-2.0").class, Some("permissive"));
        assert_eq!(of("MPL-2.0").class, Some("copyleft"));
        assert_eq!(of("CC-BY-NC-3.0").class, Some("non-commercial"));
        assert_eq!(of("LicenseRef-llama3").class, Some("community-restricted"));
        assert_eq!(of("LicenseRef-nobody-knows").state, State::Unknown);
        assert_eq!(of("NOASSERTION").state, State::Unlicensed);
    }

    #[test]
    fn conjunction_is_the_narrower_and_choice_the_freer() {
        assert_eq!(of("Apache-2.0 AND CC-BY-NC-4.0").class, Some("non-commercial"));
        assert_eq!(of("Apache-2.0 OR CC-BY-NC-4.0").class, Some("permissive"));
        assert_eq!(of("MIT AND LicenseRef-nobody-knows").state, State::Unknown);
        assert!(of("MIT AND GPL-3.0-only").share_alike);
    }

    #[test]
    fn every_class_of_the_catalog_is_known() {
        for id in ["LicenseRef-openai-tou", "LicenseRef-openrail-unspecified", "LicenseRef-upstage-solar"] {
            assert!(of(id).class.is_some(), "{id}");
        }
    }

    #[test]
    fn open_data_licenses_are_open() {
        for id in ["CC-BY-3.0", "ODC-By-1.0", "PDDL-1.0", "CDLA-Sharing-1.0", "OpenMDW-1.0"] {
            assert_eq!(of(id).state, State::Open, "{id}");
        }
        assert_eq!(of("CC-BY-ND-4.0").state, State::Restricted);
    }
}
