//! Where a model stands between closed and fully open.
//!
//! A deterministic algorithm over components and their licenses: the Model Openness
//! Framework 1.0 as its tool computes it, OSAID 1.0 over the same components, and one word
//! for people. Same input, same answer.

use super::catalog::Catalog;
use super::expression;
use super::terms::{self, State};
use crate::evidence::Openness;

/// What is known of a model's release.
#[derive(Debug, Clone, Default)]
pub struct OpennessInput {
    /// Whether the model can be used through an interface.
    pub api_access: bool,
    pub data_information: DataInformation,
    pub components: Vec<Component>,
}

/// How much is published about the training data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DataInformation {
    #[default]
    None,
    Partial,
    /// The data sets are public, without a full description.
    DatasetsPublic,
    Complete,
}

impl DataInformation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::DatasetsPublic => "datasets-public",
            Self::Complete => "complete",
        }
    }

    /// The inverse of [`DataInformation::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        [Self::None, Self::Partial, Self::DatasetsPublic, Self::Complete].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One component of a release, such as `params_final`.
#[derive(Debug, Clone)]
pub struct Component {
    /// Name in the Model Openness Framework's vocabulary.
    pub name: String,
    pub present: bool,
    /// License expression or the words of a card.
    pub license: Option<String>,
    /// Whether the component could be fetched and its digest matched.
    pub verified: bool,
}

impl Component {
    pub fn present(name: &str, license: Option<&str>) -> Self {
        Self { name: name.to_owned(), present: true, license: license.map(str::to_owned), verified: true }
    }
}

/// What a registry knows of a release: its files, and what people recorded beside them.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    pub has_weights: bool,
    pub has_card: bool,
    /// The license of what the release itself holds.
    pub concluded: Option<&'a str>,
    /// Published elsewhere; each stands in for what the files do not hold.
    pub components: &'a [Component],
    pub data_information: DataInformation,
    pub api_access: bool,
}

impl Release<'_> {
    /// Code, data and papers live elsewhere, so files alone never reach a class of the framework.
    pub fn input(&self) -> OpennessInput {
        let mut components = Vec::new();
        for (name, held) in [("params_final", self.has_weights), ("model_card", self.has_card)] {
            components.extend(held.then(|| Component::present(name, self.concluded)));
        }
        let elsewhere = self.components.iter().filter(|known| !components.iter().any(|own| own.name == known.name));
        let elsewhere: Vec<Component> = elsewhere.cloned().collect();
        components.extend(elsewhere);
        OpennessInput { api_access: self.api_access, data_information: self.data_information, components }
    }
}

/// Components of the framework's vocabulary that no class requires.
const OPTIONAL_COMPONENTS: [&str; 3] = ["sample_outputs", "supporting_libs", "model_metadata"];

/// Whether `name` is a component of the Model Openness Framework's vocabulary.
pub fn is_component(name: &str) -> bool {
    MOF_CLASSES.iter().any(|(_, required)| required.contains(&name)) || OPTIONAL_COMPONENTS.contains(&name)
}

/// Required components by class of the framework; a class needs its own and all below.
const MOF_CLASSES: [(u8, &[&str]); 3] = [
    (3, &["architecture", "params_final", "evaluation_results", "model_card", "data_card", "technical_report"]),
    (2, &["training_code", "inference_code", "evaluation_code", "evaluation_data"]),
    (1, &["datasets", "preprocessing_code", "params_intermediate", "research_paper"]),
];

/// Components that OSAID 1.0 asks for besides data, in the order they are reported.
const OSAID_COMPONENTS: [&str; 5] =
    ["architecture", "params_final", "training_code", "preprocessing_code", "inference_code"];

/// Classifies a release.
pub fn assess(catalog: &Catalog, input: &OpennessInput) -> Openness {
    let release = Judgement { catalog, input };
    let osaid = release.osaid();
    let access_class = if osaid == "conformant" { "fully-open" } else { release.access_class() };
    let (mof_class, mof_next_gap) = release.mof();
    Openness {
        access_class: access_class.to_owned(),
        mof_class,
        mof_next_gap,
        osaid: osaid.to_owned(),
        eu_art53_2_candidate: release.is_open("params_final")
            && (release.has("model_card") || release.has("technical_report")),
        reasons: release.reasons(osaid),
    }
}

struct Judgement<'a> {
    catalog: &'a Catalog,
    input: &'a OpennessInput,
}

impl Judgement<'_> {
    fn component(&self, name: &str) -> Option<&Component> {
        self.input.components.iter().find(|component| component.name == name && component.present && component.verified)
    }

    fn has(&self, name: &str) -> bool {
        self.component(name).is_some()
    }

    fn terms(&self, name: &str) -> Option<terms::Terms> {
        let license = self.component(name)?.license.as_deref().unwrap_or_default();
        let meaning = expression::meaning_of(self.catalog, license, None);
        let normalized = meaning.expression();
        Some(terms::of(self.catalog, if normalized == expression::NO_ASSERTION { license } else { normalized }))
    }

    fn is_open(&self, name: &str) -> bool {
        self.terms(name).is_some_and(|terms| terms.state == State::Open)
    }

    fn access_class(&self) -> &'static str {
        match self.terms("params_final") {
            None if self.input.api_access => "open-access",
            None => "closed",
            Some(terms) => match terms.state {
                State::Unlicensed | State::Unknown => "open-weight-unlicensed",
                State::Restricted => "open-weight-restricted",
                State::Open if terms.share_alike => "open-weight-copyleft",
                State::Open => "open-weight-permissive",
            },
        }
    }

    fn data_is_sufficient(&self) -> bool {
        self.input.data_information == DataInformation::Complete || self.is_open("datasets")
    }

    fn osaid(&self) -> &'static str {
        if !OSAID_COMPONENTS.iter().all(|name| self.is_open(name)) {
            return "not-conformant";
        }
        match self.input.data_information {
            _ if self.data_is_sufficient() => "conformant",
            DataInformation::Partial | DataInformation::DatasetsPublic => "undetermined",
            DataInformation::None | DataInformation::Complete => "not-conformant",
        }
    }

    /// The best class reached and what the next one lacks, sorted.
    fn mof(&self) -> (u8, Vec<String>) {
        let mut reached = 0;
        for (class, required) in MOF_CLASSES {
            let mut gap: Vec<String> =
                required.iter().filter(|name| !self.satisfies(name)).map(|name| (*name).to_owned()).collect();
            if !gap.is_empty() {
                gap.sort();
                return (reached, gap);
            }
            reached = class;
        }
        (reached, Vec::new())
    }

    /// A research paper stands in for the technical report.
    fn satisfies(&self, name: &str) -> bool {
        self.is_open(name) || (name == "technical_report" && self.is_open("research_paper"))
    }

    fn reasons(&self, osaid: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(self.parameter_reason());
        let missing: Vec<&str> = OSAID_COMPONENTS.into_iter().filter(|name| !self.has(name)).collect();
        if !missing.is_empty() {
            reasons.push(format!("missing: {}", missing.join(", ")));
        }
        if osaid != "conformant" && !self.data_is_sufficient() {
            reasons.push(format!("training data information: {}", self.input.data_information.as_str()));
        }
        reasons
    }

    fn parameter_reason(&self) -> Option<String> {
        let Some(parameters) = self.component("params_final") else {
            return Some("no verified final parameters".to_owned());
        };
        match (self.terms("params_final")?.state, parameters.license.as_deref()) {
            (State::Open, _) => None,
            (State::Restricted, Some(license)) => Some(format!("parameter license is not open terms: {license}")),
            _ => Some("parameter license is unknown".to_owned()),
        }
    }
}
