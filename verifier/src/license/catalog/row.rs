//! One license as typed facts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One license: what it allows, asks and ends at, where each fact was read and how surely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CatalogLicense)]
pub struct License {
    /// SPDX id, `LicenseRef-…` or `AdditionRef-…`.
    pub id: String,
    pub name: String,
    /// Texts of one origin, such as `llama`.
    pub family: String,
    /// `permissive`, `copyleft`, `behavioural-use`, `community-restricted`, `non-commercial`, …
    #[serde(rename = "license_class")]
    pub class: String,
    /// Whether the id stands on SPDX's list.
    pub spdx_listed: bool,
    pub hf: HubTag,
    /// The text's key in ScanCode's data.
    pub scancode_key: Option<String>,
    pub aliases: Vec<String>,
    pub osi_approved: bool,
    pub fsf_libre: bool,
    /// Whether the terms count as open: OSI, FSF, open data or OpenMDW.
    pub open_terms: bool,
    pub commercial_use: CommercialUse,
    pub thresholds: Vec<Threshold>,
    pub territory: Option<Territory>,
    /// Where the use policy is, or what it says in short.
    pub aup: Option<String>,
    pub outputs: Outputs,
    pub derivatives: Derivatives,
    pub redistribution: Redistribution,
    pub propagation: Propagation,
    pub patent_grant: PatentGrant,
    pub termination: Termination,
    pub acceptance: Acceptance,
    pub registration: Option<Registration>,
    /// Whether the Hub asks for consent before it gives the weights.
    pub gated_on_hf: Option<bool>,
    pub confidence: Confidence,
    pub sources: Vec<String>,
    pub notes: Option<String>,
    /// Documents outside the license's text that it makes binding.
    #[serde(default)]
    pub incorporated_documents: Vec<IncorporatedDocument>,
    /// Date of the text, ISO 8601.
    #[serde(default)]
    pub effective_from: Option<String>,
    /// Who read the row against the text; an operator's word, never this release's.
    #[serde(default)]
    pub reviewed_by: Option<String>,
    /// When, ISO 8601.
    #[serde(default)]
    pub reviewed_at: Option<String>,
}

impl License {
    /// Whether a person has to read the text before the row may lead to anything but a review.
    pub const fn is_provisional(&self) -> bool {
        matches!(self.confidence, Confidence::C | Confidence::D)
    }

    /// Whether the terms reach a model that was made from the model's outputs.
    pub fn reaches_outputs(&self) -> bool {
        self.outputs.train_other_models == TrainOther::Derivative || self.derivatives.covers_distillation == Some(true)
    }
}

/// What a card on the Hub calls it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HubTag {
    pub license: Option<String>,
    pub license_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CommercialUse {
    Allowed,
    Conditional,
    Prohibited,
}

/// A number at which the terms change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    pub metric: Metric,
    pub op: Comparison,
    pub value: u64,
    /// Whose number it is, and when it is taken.
    pub measured: String,
    pub effect: ThresholdEffect,
}

/// What a threshold counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Monthly active users.
    Mau,
    /// Daily active users.
    Dau,
    MonthlyVisits,
    AnnualRevenueUsd,
    MonthlyRevenueUsd,
}

impl Metric {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mau => "monthly active users",
            Self::Dau => "daily active users",
            Self::MonthlyVisits => "visits a month",
            Self::AnnualRevenueUsd => "US dollars of revenue a year",
            Self::MonthlyRevenueUsd => "US dollars of revenue a month",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Comparison {
    #[serde(rename = ">")]
    MoreThan,
    #[serde(rename = ">=")]
    AtLeast,
}

impl Comparison {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MoreThan => "more than",
            Self::AtLeast => "at least",
        }
    }

    pub const fn holds(self, fact: u64, bound: u64) -> bool {
        match self {
            Self::MoreThan => fact > bound,
            Self::AtLeast => fact >= bound,
        }
    }
}

/// What happens at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ThresholdEffect {
    /// No rights beyond it without a separate license.
    License,
    /// The license ends.
    Terminates,
    /// A display duty begins.
    Badge,
}

/// Where the license does not reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Territory {
    /// ISO 3166-1 alpha-2 codes and `EU`.
    pub excluded: Vec<String>,
    pub applies_to: String,
    /// Whether text-only models are outside the exclusion.
    #[serde(default)]
    pub multimodal_only: bool,
    pub basis: String,
    pub end_users_of_products_exempt: bool,
    pub located_in: String,
}

/// What the text says about what the model puts out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    pub licensor_claims: bool,
    pub train_other_models: TrainOther,
    pub note: Option<String>,
}

/// Whether outputs may train another model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrainOther {
    Unrestricted,
    /// With a name or badge duty.
    Conditional,
    /// The other model counts as a derivative.
    Derivative,
    /// Not to compete with the licensor.
    NoCompeting,
    Prohibited,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Derivatives {
    /// What a derivative's name must begin with.
    pub name_prefix: Option<String>,
    /// What must be displayed.
    pub badge: Option<String>,
    pub covers_distillation: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redistribution {
    /// `yes`, `no`, or what it is limited to.
    pub allowed: String,
    pub license_copy: bool,
    /// The exact line that a NOTICE file must hold.
    pub notice_text: Option<String>,
    pub state_changes: bool,
    pub keep_notices: bool,
    pub flow_down_restrictions: bool,
    /// Whether offering the model as a service counts as distribution.
    pub hosted_service_counts: Option<bool>,
}

/// What a derivative inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    None,
    NoticeOnly,
    /// The use restrictions must be an enforceable term of every derivative's license.
    Restrictions,
    /// The license keeps applying to the derivative as a whole.
    Full,
    SameLicense,
    /// Derivatives may not be shared.
    NoDerivativesDistribution,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatentGrant {
    Express,
    NoneExpress,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Termination {
    pub on_breach: bool,
    /// Kind of lawsuit that ends it, such as `patent` or `ip`.
    pub on_litigation: Option<String>,
    pub revocable: bool,
    pub remote_restriction: bool,
    pub unilateral_update: bool,
}

/// How the terms are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acceptance {
    None,
    Use,
    Click,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    pub required_for: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a row came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Confidence {
    /// The operative clauses were read, or the license stands on SPDX's list.
    A,
    /// Official list or metadata, text not read in full.
    B,
    /// Secondary source or quoted clauses.
    C,
    /// Recalled.
    D,
}

impl Confidence {
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::A => "the operative clauses were read in the text",
            Self::B => "an official list or page was read, not the whole text",
            Self::C => "from a secondary source; a person has to read the text",
            Self::D => "recalled, not read; a person has to read the text",
        }
    }
}

/// A document that is part of the terms though it stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IncorporatedDocument {
    pub title: String,
    pub url: Option<String>,
    /// SHA-256 of the document's words, as fingerprints are taken; none where no copy was read.
    pub sha256: Option<String>,
}
