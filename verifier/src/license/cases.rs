//! Documents of cases: what a compliance team keeps beside ours, and asks again with each release.
//!
//! The form is that of `propagation-cases.json` and `openness-cases.json`, schema 0.1: one case,
//! a list of them, or `{"cases": […]}`. Each answer has the form of a case's `expected` block.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::catalog::Catalog;
use super::openness::{self, Component, DataInformation, OpennessInput};
use super::propagation::{self, Assessment, Edge, IntendedUse, Node, Satisfied};
use crate::evidence::{Openness, Relation};

/// Most cases of one document.
pub const MAX_CASES: usize = 10_000;

/// A document that holds no cases.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("the document is not JSON: {0}")]
    Json(serde_json::Error),
    #[error("{case}: {reason}")]
    Case { case: String, reason: String },
    #[error("the document has more than {MAX_CASES} cases")]
    TooMany,
    #[error("the document is neither a case nor a list of cases")]
    Shape,
}

/// What a document asked, answered.
#[derive(Debug)]
pub struct Answers {
    /// Whether the document was one bare case.
    single: bool,
    pub answers: Vec<Answer>,
}

/// The answer to one case.
#[derive(Debug, Serialize)]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In the form of a case's `expected` block.
    pub result: Value,
    /// Whether the result is what the case expects; absent where it expects nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_expected: Option<bool>,
}

impl Answers {
    /// One bare case is answered by its bare result.
    pub fn document(&self) -> Value {
        match self.answers.as_slice() {
            [only] if self.single => only.result.clone(),
            answers => json!({ "cases": answers }),
        }
    }

    /// Answers that differ from what their cases expect.
    pub fn unexpected(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.as_expected == Some(false))
    }
}

/// Answers a document of uses of models with parents.
pub fn evaluate(catalog: &Catalog, document: &[u8]) -> Result<Answers, CaseError> {
    answer(document, |case: &PropagationCase| {
        let nodes: Vec<Node> = case.chain.iter().map(CaseNode::node).collect();
        let assessment = propagation::assess(catalog, &nodes, &case.target, &case.r#use.intended());
        Ok(result_of(&assessment.map_err(|error| error.to_string())?))
    })
}

/// Answers a document of releases to be placed on the openness spectrum.
pub fn classify(catalog: &Catalog, document: &[u8]) -> Result<Answers, CaseError> {
    answer(document, |case: &OpennessCase| {
        let mut openness = openness::assess(catalog, &case.input()?);
        spell_as_schema(&mut openness);
        serde_json::to_value(openness).map_err(|error| error.to_string())
    })
}

fn answer<C: for<'de> Deserialize<'de>>(
    document: &[u8],
    judge: impl Fn(&C) -> Result<Value, String>,
) -> Result<Answers, CaseError> {
    let document: Value = serde_json::from_slice(document).map_err(CaseError::Json)?;
    let (single, cases) = match document {
        Value::Array(cases) => (false, cases),
        Value::Object(mut object) => match object.remove("cases") {
            Some(Value::Array(cases)) => (false, cases),
            Some(_) => return Err(CaseError::Shape),
            None => (true, vec![Value::Object(object)]),
        },
        _ => return Err(CaseError::Shape),
    };
    if cases.len() > MAX_CASES {
        return Err(CaseError::TooMany);
    }
    let answers = cases.into_iter().enumerate().map(|(index, case)| answer_case(index, case, &judge));
    Ok(Answers { single, answers: answers.collect::<Result<_, _>>()? })
}

fn answer_case<C: for<'de> Deserialize<'de>>(
    index: usize,
    case: Value,
    judge: impl Fn(&C) -> Result<Value, String>,
) -> Result<Answer, CaseError> {
    let text = |key: &str| case.get(key).and_then(Value::as_str).map(str::to_owned);
    let (id, name) = (text("id"), text("name").or_else(|| text("title")));
    let expected = case.get("expected").cloned();
    let label = id.clone().or_else(|| name.clone()).unwrap_or_else(|| format!("case {}", index + 1));
    let failed = |reason: String| CaseError::Case { case: label.clone(), reason };
    let case: C = serde_json::from_value(case).map_err(|error| failed(error.to_string()))?;
    let result = judge(&case).map_err(failed)?;
    let as_expected = expected.map(|expected| expected == result);
    Ok(Answer { id, name, result, as_expected })
}

#[derive(Deserialize)]
struct PropagationCase {
    chain: Vec<CaseNode>,
    target: String,
    r#use: CaseUse,
}

#[derive(Deserialize)]
struct CaseNode {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    relation: Option<CaseRelation>,
    #[serde(default)]
    declared: Option<String>,
    #[serde(default)]
    detected: Option<String>,
    #[serde(default)]
    concluded: Option<String>,
    #[serde(default)]
    parents: Vec<CaseParent>,
    #[serde(default)]
    multimodal: Option<bool>,
    #[serde(default)]
    flow_down: bool,
    #[serde(default)]
    artifacts: CaseArtifacts,
}

/// A parent by its id, or with a relation of its own.
#[derive(Deserialize)]
#[serde(untagged)]
enum CaseParent {
    Id(String),
    Edge { id: String, relation: Relation },
}

/// `base` says that the node has no parents.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum CaseRelation {
    Made(Relation),
    Base(Base),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Base {
    Base,
}

/// What a model carries that satisfies duties.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CaseArtifacts {
    license_files: Vec<String>,
    states_changes: bool,
    #[serde(alias = "notice", alias = "notice_text", alias = "notice_texts", alias = "notice_files")]
    notices: Shown,
    #[serde(alias = "badge", alias = "badge_shown", alias = "displays_badge")]
    badges: Shown,
    #[serde(alias = "registration")]
    registered: Shown,
    #[serde(alias = "aup_accepted", alias = "use_policy")]
    aup: Shown,
}

/// For every license, for these, or by the words themselves.
#[derive(Deserialize)]
#[serde(untagged)]
enum Shown {
    All(bool),
    These(Vec<String>),
    One(String),
}

impl Default for Shown {
    fn default() -> Self {
        Self::All(false)
    }
}

impl CaseNode {
    fn node(&self) -> Node {
        let parents = self.parents.iter().map(|parent| match parent {
            CaseParent::Id(id) => Edge { parent: id.clone(), relation: self.relation() },
            CaseParent::Edge { id, relation } => Edge { parent: id.clone(), relation: *relation },
        });
        Node {
            id: self.id.clone(),
            name: self.name.clone().unwrap_or_else(|| self.id.clone()),
            declared: self.declared.clone(),
            detected: self.detected.clone(),
            concluded: self.concluded.clone(),
            parents: parents.collect(),
            multimodal: self.multimodal,
            satisfied: self.satisfied(),
        }
    }

    /// Where nothing is said, a model with parents was made from their weights.
    fn relation(&self) -> Relation {
        match self.relation {
            Some(CaseRelation::Made(relation)) => relation,
            Some(CaseRelation::Base(Base::Base)) | None => Relation::Finetune,
        }
    }

    fn satisfied(&self) -> Vec<Satisfied> {
        let done = |code: &str, license: Option<&str>| Satisfied {
            code: code.to_owned(),
            license: license.map(str::to_owned),
        };
        let artifacts = &self.artifacts;
        let mut satisfied: Vec<Satisfied> =
            artifacts.license_files.iter().map(|id| done("LICENSE_COPY_MISSING", Some(id))).collect();
        satisfied.extend(artifacts.states_changes.then(|| done("STATE_CHANGES_REQUIRED", None)));
        satisfied.extend(self.flow_down.then(|| done("FLOW_DOWN_REQUIRED", None)));
        for (code, shown) in [
            ("NOTICE_MISSING", &artifacts.notices),
            ("BADGE_REQUIRED", &artifacts.badges),
            ("REGISTRATION_REQUIRED", &artifacts.registered),
            ("AUP_APPLIES", &artifacts.aup),
        ] {
            match shown {
                Shown::All(all) => satisfied.extend(all.then(|| done(code, None))),
                Shown::These(licenses) => satisfied.extend(licenses.iter().map(|id| shown_for(code, id))),
                Shown::One(words) => satisfied.push(shown_for(code, words)),
            }
        }
        satisfied
    }
}

/// `words` is a license's id, or the words that the license asks to show.
fn shown_for(code: &str, words: &str) -> Satisfied {
    let is_id = words.starts_with("LicenseRef-") || spdx::license_id(words).is_some();
    Satisfied { code: code.to_owned(), license: is_id.then(|| words.to_owned()) }
}

#[derive(Deserialize)]
struct CaseUse {
    #[serde(default)]
    purpose: Option<String>,
    #[serde(default)]
    deployment: Option<String>,
    #[serde(default)]
    output_training: bool,
    #[serde(default)]
    territory: Option<String>,
    #[serde(default)]
    mau: Option<u64>,
    #[serde(default)]
    dau: Option<u64>,
    #[serde(default)]
    monthly_visits: Option<u64>,
    #[serde(default)]
    annual_revenue_usd: Option<u64>,
    #[serde(default)]
    monthly_revenue_usd: Option<u64>,
}

impl CaseUse {
    /// A purpose that is not stated is taken for the one that licenses restrict.
    fn intended(&self) -> IntendedUse {
        let deployment = self.deployment.as_deref().unwrap_or("internal");
        IntendedUse {
            commercial: self.purpose.as_deref().is_none_or(|purpose| purpose == "commercial"),
            distribution: matches!(deployment, "distribute" | "distribution"),
            hosting: matches!(deployment, "hosted" | "hosting"),
            output_training: self.output_training,
            territory: self.territory.clone(),
            mau: self.mau,
            dau: self.dau,
            monthly_visits: self.monthly_visits,
            annual_revenue_usd: self.annual_revenue_usd,
            monthly_revenue_usd: self.monthly_revenue_usd,
        }
    }
}

/// Findings about outputs say which parent they came through; others name it in their path.
fn result_of(assessment: &Assessment) -> Value {
    let findings = assessment.findings.iter().map(|finding| {
        let mut value = json!({
            "code": finding.code,
            "severity": finding.severity,
            "node": finding.node,
            "license": finding.license,
        });
        let through = finding.via.as_ref().filter(|_| finding.code.starts_with("OUTPUT_TRAINING"));
        if let (Some(via), Some(object)) = (through, value.as_object_mut()) {
            object.insert("via".to_owned(), json!(via));
        }
        value
    });
    json!({
        "verdict": assessment.verdict,
        "effective_licenses": assessment.effective_licenses,
        "findings": findings.collect::<Vec<_>>(),
    })
}

#[derive(Deserialize)]
struct OpennessCase {
    #[serde(default)]
    api_access: bool,
    #[serde(default)]
    data_information: Option<String>,
    components: Vec<CaseComponent>,
}

#[derive(Deserialize)]
struct CaseComponent {
    component: String,
    #[serde(default = "yes")]
    present: bool,
    #[serde(default)]
    license: Option<String>,
    #[serde(default = "yes")]
    verified: bool,
}

const fn yes() -> bool {
    true
}

impl OpennessCase {
    fn input(&self) -> Result<OpennessInput, String> {
        let words = self.data_information.as_deref().unwrap_or("none");
        let data_information = DataInformation::parse(words)
            .ok_or_else(|| format!("data_information is none, partial, datasets-public or complete, not {words:?}"))?;
        let components = self.components.iter().map(|component| Component {
            name: component.component.clone(),
            present: component.present,
            license: component.license.clone(),
            verified: component.verified,
        });
        Ok(OpennessInput { api_access: self.api_access, data_information, components: components.collect() })
    }
}

/// Schema 0.1 of these documents spells its reasons in British English; answers are compared
/// with them word by word.
fn spell_as_schema(openness: &mut Openness) {
    for reason in &mut openness.reasons {
        *reason = reason.replace("parameter license", "parameter licence");
    }
}
