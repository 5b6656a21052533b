//! What a model was made from, as SLSA provenance tells it.
//!
//! Provenance lists everything that went into a build: data, code, tools and models. Only models
//! become lineage, and only where the statement says how they were used: a model that generated
//! calibration text or judged the result is no ancestor of the weights.

use serde::Deserialize;
use serde_json::Value;

use super::schema::{Provenance, Resource};
use super::{PredicateError, PredicateType, ResourceDescriptor, Statement, shorten};
use crate::evidence::{AttestedBase, Relation};

/// Most bases that are taken from one statement; the largest published merges have dozens.
const MAX_BASES: usize = 256;

/// The annotation by which a material says what it is to the result.
const RELATION: &str = "urn:weighhouse:relation";
/// Names of materials that are models in builds of ours.
const ROLES: [&str; 7] = ["adapter", "base", "base-model", "model", "parent", "parent-model", "teacher"];
/// Where models are kept; what stands behind the prefix is the model's name.
const MODEL_URIS: [&str; 6] =
    ["weighhouse://", "hf://", "https://hf.co/", "https://huggingface.co/", "pkg:huggingface/", "pkg:mlflow/"];
/// Parts of the Hub that hold no models.
const NOT_MODELS: [&str; 4] = ["buckets/", "datasets/", "docs/", "spaces/"];

/// The builds that are understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildType {
    /// Weights of another encoding.
    Convert,
    Finetune,
    Merge,
    /// Weights of fewer bits.
    Quantize,
    Train,
}

impl BuildType {
    const ALL: [Self; 5] = [Self::Convert, Self::Finetune, Self::Merge, Self::Quantize, Self::Train];

    pub const fn uri(self) -> &'static str {
        match self {
            Self::Convert => "urn:weighhouse:buildtype:convert:v1",
            Self::Finetune => "urn:weighhouse:buildtype:finetune:v1",
            Self::Merge => "urn:weighhouse:buildtype:merge:v1",
            Self::Quantize => "urn:weighhouse:buildtype:quantize:v1",
            Self::Train => "urn:weighhouse:buildtype:train:v1",
        }
    }

    /// The inverse of [`BuildType::uri`]; none for a build that is not known here.
    pub fn parse(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.uri() == uri)
    }

    /// What a model that went into the build is to the result.
    ///
    /// The Hub has no word for a change of encoding and files it under quantizations.
    const fn relation(self) -> Relation {
        match self {
            Self::Convert | Self::Quantize => Relation::Quantized,
            Self::Finetune | Self::Train => Relation::Finetune,
            Self::Merge => Relation::Merge,
        }
    }
}

/// The models among a build's materials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Materials {
    /// URI of the build's type.
    pub build_type: String,
    /// URI of who ran the build, by the statement's word.
    pub builder: String,
    pub bases: Vec<AttestedBase>,
    /// Models without a SHA-256 digest, by what the statement calls them.
    pub without_digest: Vec<String>,
    /// Materials that are called a base model in a build of unknown type.
    pub without_relation: Vec<String>,
}

/// Reads SLSA provenance v1; none for another predicate.
///
/// A material is a model
/// 1. in any build, if its annotation `urn:weighhouse:relation` names a relation, which then holds;
/// 2. in a build of a known type, if it has one of the names `base-model`, `base`, `parent-model`,
///    `parent`, `model`, `adapter` and `teacher`, or if its URI is that of a model
///    (`weighhouse:`, `hf:`, `pkg:huggingface`, `pkg:mlflow`, or an address on the Hub). The
///    relation follows from the build's type, except that a `teacher` was distilled, and that a
///    fine-tune whose parameter `output` is `adapter` is an adapter of its base.
pub fn materials(statement: &Statement) -> Result<Option<Materials>, PredicateError> {
    if PredicateType::parse(&statement.predicate_type) != Some(PredicateType::SlsaProvenance) {
        return Ok(None);
    }
    let refuse = |reason| PredicateError { predicate_type: PredicateType::SlsaProvenance, reason };
    let provenance =
        Provenance::deserialize(&statement.predicate).map_err(|error| refuse(shorten(&error.to_string())))?;
    let build = Build::of(&provenance);
    let mut found = Materials {
        build_type: provenance.build_definition.build_type.clone(),
        builder: provenance.run_details.builder.id.clone(),
        ..Materials::default()
    };
    for Resource(material) in provenance.build_definition.resolved_dependencies.iter().flatten() {
        build.sort(material, &mut found).map_err(refuse)?;
    }
    if found.bases.len() > MAX_BASES {
        return Err(refuse(format!("it names {} models, more than {MAX_BASES}", found.bases.len())));
    }
    Ok(Some(found))
}

/// What decides how a material was used.
struct Build {
    build_type: Option<BuildType>,
    makes_adapter: bool,
}

impl Build {
    fn of(provenance: &Provenance) -> Self {
        let definition = &provenance.build_definition;
        let output = definition.external_parameters.get("output").and_then(Value::as_str);
        Self { build_type: BuildType::parse(&definition.build_type), makes_adapter: output == Some("adapter") }
    }

    fn sort(&self, material: &ResourceDescriptor, found: &mut Materials) -> Result<(), String> {
        match self.relation(material)? {
            Some(relation) => match material.digest.get("sha256") {
                Some(sha256) => found.bases.push(base(material, sha256, relation)),
                None => found.without_digest.push(material.label()),
            },
            None if self.build_type.is_none() && has_role(material) => found.without_relation.push(material.label()),
            None => {}
        }
        Ok(())
    }

    /// What a material is to the result; none if it is no model or nobody can tell.
    fn relation(&self, material: &ResourceDescriptor) -> Result<Option<Relation>, String> {
        if let Some(stated) = material.annotations.get(RELATION) {
            let known = stated.as_str().and_then(Relation::parse);
            return known.map(Some).ok_or_else(|| format!("`{}` has no known {RELATION}", material.label()));
        }
        let Some(build_type) = self.build_type.filter(|_| has_role(material) || has_model_uri(material)) else {
            return Ok(None);
        };
        let is_tuned = matches!(build_type, BuildType::Finetune | BuildType::Train);
        Ok(Some(match material.name.as_deref() {
            Some("teacher") => Relation::Distilled,
            _ if is_tuned && self.makes_adapter => Relation::Adapter,
            _ => build_type.relation(),
        }))
    }
}

fn base(material: &ResourceDescriptor, sha256: &str, relation: Relation) -> AttestedBase {
    AttestedBase { name: material.label(), uri: material.uri.clone(), sha256: sha256.to_owned(), relation }
}

fn has_role(material: &ResourceDescriptor) -> bool {
    material.name.as_deref().is_some_and(|name| ROLES.contains(&name))
}

fn has_model_uri(material: &ResourceDescriptor) -> bool {
    let Some(uri) = material.uri.as_deref() else { return false };
    let names = MODEL_URIS.iter().filter_map(|prefix| uri.strip_prefix(prefix));
    names.into_iter().any(|name| !name.is_empty() && !NOT_MODELS.iter().any(|part| name.starts_with(part)))
}
