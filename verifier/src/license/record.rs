//! What people recorded about a revision's licenses, and which of it counts.
//!
//! Files tell facts; a person concludes, shows a duty as done, or states a component that is
//! published elsewhere. Records are never changed: one ends, another begins. A conclusion holds
//! for the facts it was made from. When a license file, a card's words, a parent or the weights
//! change, it is open again.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::openness::{Component, DataInformation};
use super::propagation::Satisfied;
use crate::evidence::{LicenseFacts, LicenseSource, LineageEdge, Relation};

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schema(as = LicenseRecordBody)]
pub enum Body {
    /// Which license applies.
    Conclusion {
        /// SPDX expression or `LicenseRef-…`.
        expression: String,
        reason: String,
    },
    /// A second person agrees with a conclusion.
    Approval {
        /// Id of the conclusion's record.
        of: String,
        #[serde(default)]
        reason: Option<String>,
    },
    /// A duty was done.
    Obligation {
        /// The finding's code, such as `BADGE_REQUIRED`.
        code: String,
        /// The license that asks for it; none where this counts for all.
        #[serde(default)]
        license: Option<String>,
        /// Where it can be seen: a page, a file, a ticket.
        evidence: String,
    },
    /// A component of the release that is published elsewhere.
    Component {
        /// Name in the Model Openness Framework's vocabulary, such as `training_code`.
        component: String,
        #[serde(default)]
        license: Option<String>,
        /// Where it was found.
        location: String,
        /// Hex SHA-256 of what was found there.
        #[serde(default)]
        sha256: Option<String>,
    },
    /// What is published about the release as a whole.
    Release {
        /// `none`, `partial`, `datasets-public` or `complete`.
        #[serde(default)]
        data_information: Option<String>,
        /// Whether the model can be used through an interface.
        #[serde(default)]
        api_access: bool,
    },
    /// The model was made from another one, whatever its files say.
    Lineage {
        /// `owner/name`.
        parent: String,
        relation: Relation,
    },
}

impl Body {
    /// The name used in tables.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conclusion { .. } => "conclusion",
            Self::Approval { .. } => "approval",
            Self::Obligation { .. } => "obligation",
            Self::Component { .. } => "component",
            Self::Release { .. } => "release",
            Self::Lineage { .. } => "lineage",
        }
    }
}

/// One record with who made it and when it counts. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: String,
    pub body: Body,
    /// What the record was made from; see [`facts_digest`].
    pub facts_digest: String,
    pub recorded_by: String,
    pub recorded_at: i64,
    pub expires_at: Option<i64>,
    pub ended_at: Option<i64>,
}

impl Record {
    /// Whether the record counts at a time.
    pub fn counts_at(&self, at: i64) -> bool {
        self.recorded_at <= at && self.ended_at.is_none_or(|end| at < end) && self.expires_at.is_none_or(|end| at < end)
    }
}

/// A conclusion that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LicenseConclusion)]
pub struct Conclusion {
    /// Id of its record.
    pub record: String,
    pub expression: String,
    /// How many people stand behind it.
    pub people: usize,
    /// Milliseconds since 1970.
    pub expires_at: Option<i64>,
}

/// What a model's records come to at one time.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub conclusion: Option<Conclusion>,
    /// Conclusions that wait for another person.
    pub awaiting_approval: Vec<String>,
    /// Conclusions whose facts changed.
    pub reopened: Vec<String>,
    pub satisfied: Vec<Satisfied>,
    pub components: Vec<Component>,
    pub data_information: DataInformation,
    pub api_access: bool,
    /// Parents by name.
    pub parents: Vec<(String, Relation)>,
    /// When the first of the records that count ends, in milliseconds since 1970.
    pub valid_until: Option<i64>,
}

/// Reads `records` as they count at `at` for `facts`, where a conclusion needs `people` people.
pub fn standing(records: &[Record], facts: &str, at: i64, people: usize) -> Standing {
    let counting = records.iter().filter(|record| record.counts_at(at));
    let (current, stale): (Vec<&Record>, Vec<&Record>) = counting.partition(|record| record.facts_digest == facts);
    let is_conclusion = |record: &&&Record| matches!(record.body, Body::Conclusion { .. });
    let reopened = stale.iter().filter(is_conclusion).map(|record| record.id.clone()).collect();
    let mut standing = Standing { reopened, ..Standing::default() };
    for record in &current {
        standing.read(record, &current, people);
        standing.valid_until = [standing.valid_until, record.expires_at].into_iter().flatten().min();
    }
    standing
}

impl Standing {
    fn read(&mut self, record: &Record, current: &[&Record], people: usize) {
        match &record.body {
            Body::Conclusion { expression, .. } => {
                let behind = people_behind(record, current);
                if behind < people {
                    self.awaiting_approval.push(record.id.clone());
                    return;
                }
                // The latest one counts: records come in the order of their time.
                self.conclusion = Some(Conclusion {
                    record: record.id.clone(),
                    expression: expression.clone(),
                    people: behind,
                    expires_at: record.expires_at,
                });
            }
            Body::Approval { .. } => {}
            Body::Obligation { code, license, .. } => {
                self.satisfied.push(Satisfied { code: code.clone(), license: license.clone() });
            }
            Body::Component { component, license, .. } => {
                self.components.push(Component::present(component, license.as_deref()));
            }
            Body::Release { data_information, api_access } => {
                let known = data_information.as_deref().and_then(DataInformation::parse);
                self.data_information = known.unwrap_or(self.data_information);
                self.api_access |= *api_access;
            }
            Body::Lineage { parent, relation } => self.parents.push((parent.clone(), *relation)),
        }
    }
}

/// The one who concluded and everyone else who approved.
fn people_behind(conclusion: &Record, current: &[&Record]) -> usize {
    let approvals =
        current.iter().filter(|record| matches!(&record.body, Body::Approval { of, .. } if *of == conclusion.id));
    let mut people: Vec<&str> = approvals.map(|record| record.recorded_by.as_str()).collect();
    people.push(&conclusion.recorded_by);
    people.sort_unstable();
    people.dedup();
    people.len()
}

/// Hex SHA-256 over what a conclusion is made from: the statements, the texts, the parents and
/// the weights. A card's prose may change without opening the question again.
pub fn facts_digest<'a>(facts: &LicenseFacts, weights: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    #[derive(Serialize)]
    struct Facts<'a> {
        declared: Vec<(LicenseSource, &'a str, &'a str)>,
        detected: Vec<(&'a str, &'a str)>,
        lineage: Vec<(&'a str, &'static str)>,
        weights: Vec<(&'a str, &'a str)>,
    }
    let mut all = Facts {
        declared: facts.declared.iter().map(|s| (s.source, s.path.as_str(), s.text.as_str())).collect(),
        detected: facts.detected.iter().map(|s| (s.path.as_str(), s.digest.as_str())).collect(),
        lineage: facts
            .lineage
            .iter()
            .map(|edge: &LineageEdge| (edge.parent.as_str(), edge.relation.as_str()))
            .collect(),
        weights: weights.collect(),
    };
    all.declared.sort_unstable_by_key(|(_, path, text)| (*path, *text));
    all.detected.sort_unstable();
    all.lineage.sort_unstable();
    all.lineage.dedup();
    all.weights.sort_unstable();
    // Serializing tuples of texts cannot fail.
    hex::encode(Sha256::digest(serde_json::to_vec(&all).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: &str = "facts";

    fn record(id: &str, by: &str, at: i64, body: Body) -> Record {
        Record {
            id: id.into(),
            body,
            facts_digest: FACTS.into(),
            recorded_by: by.into(),
            recorded_at: at,
            expires_at: None,
            ended_at: None,
        }
    }

    fn conclusion(id: &str, by: &str, at: i64, facts: &str) -> Record {
        let body = Body::Conclusion { expression: "MIT".into(), reason: "read".into() };
        Record { facts_digest: facts.into(), ..record(id, by, at, body) }
    }

    fn approval(id: &str, by: &str, of: &str) -> Record {
        record(id, by, 2, Body::Approval { of: of.into(), reason: None })
    }

    #[test]
    fn a_conclusion_needs_as_many_people_as_the_environment_wants() {
        let alone = [conclusion("c", "ada", 1, FACTS)];
        assert!(standing(&alone, FACTS, 5, 1).conclusion.is_some());
        assert_eq!(standing(&alone, FACTS, 5, 2).awaiting_approval, ["c"]);
        let twice_the_same = [conclusion("c", "ada", 1, FACTS), approval("a", "ada", "c")];
        assert!(standing(&twice_the_same, FACTS, 5, 2).conclusion.is_none(), "one person is one person");
        let two = [conclusion("c", "ada", 1, FACTS), approval("a", "bob", "c")];
        assert_eq!(standing(&two, FACTS, 5, 2).conclusion.unwrap().people, 2);
    }

    #[test]
    fn changed_facts_open_a_conclusion_again() {
        let standing = standing(&[conclusion("c", "ada", 1, "other facts")], FACTS, 5, 1);
        assert_eq!((standing.conclusion, standing.reopened), (None, vec!["c".to_owned()]));
    }

    #[test]
    fn a_record_counts_from_its_time_until_it_ends_or_expires() {
        let mut one = conclusion("c", "ada", 10, FACTS);
        assert!(standing(std::slice::from_ref(&one), FACTS, 9, 1).conclusion.is_none());
        one.expires_at = Some(20);
        assert_eq!(standing(std::slice::from_ref(&one), FACTS, 19, 1).valid_until, Some(20));
        assert!(standing(std::slice::from_ref(&one), FACTS, 20, 1).conclusion.is_none());
        one.ended_at = Some(15);
        assert!(standing(&[one], FACTS, 15, 1).conclusion.is_none());
    }

    #[test]
    fn the_latest_conclusion_counts() {
        let mut later = conclusion("d", "bob", 2, FACTS);
        later.body = Body::Conclusion { expression: "Apache-2.0".into(), reason: "asked".into() };
        let found = standing(&[conclusion("c", "ada", 1, FACTS), later], FACTS, 5, 1);
        assert_eq!(found.conclusion.unwrap().expression, "Apache-2.0");
    }
}
