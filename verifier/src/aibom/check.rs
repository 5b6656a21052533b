//! What SPDX 3.0.1 demands in prose and its validators do not ask for.
//!
//! The published shapes and schemas accept an AI package without a version and without a
//! concluded license. A document that lacks them is no AI bill of materials, so this is part of
//! making one, and holds documents of others too.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::spdx::NO_ASSERTION_LICENSE;
use super::terms::ids;

/// Required of an `ai_AIPackage` by the AI profile.
const AI_PACKAGE: [&str; 7] = [
    "name",
    "creationInfo",
    "releaseTime",
    "suppliedBy",
    "software_downloadLocation",
    "software_packageVersion",
    "software_primaryPurpose",
];
/// Required of a `dataset_DatasetPackage` by the Dataset profile.
const DATASET_PACKAGE: [&str; 8] = [
    "name",
    "creationInfo",
    "builtTime",
    "originatedBy",
    "releaseTime",
    "software_downloadLocation",
    "software_primaryPurpose",
    "dataset_datasetType",
];
const LICENSE_RELATIONSHIPS: [&str; 2] = ["hasDeclaredLicense", "hasConcludedLicense"];
/// Elements that the specification itself defines.
const INDIVIDUALS: [&str; 4] =
    [NO_ASSERTION_LICENSE, "expandedlicensing_NoneLicense", "NoAssertionElement", "NoneElement"];

/// What is wrong with an SPDX 3.0.1 document, one sentence each; empty where nothing is.
pub fn check_spdx(document: &Value) -> Vec<String> {
    let Some(graph) = document["@graph"].as_array() else { return vec!["The document has no @graph.".to_owned()] };
    let index = Index::of(graph);
    let mut problems = index.duplicates.clone();
    if graph.iter().filter(|element| kind(element) == "SpdxDocument").count() != 1 {
        problems.push("There is not exactly one SpdxDocument.".to_owned());
    }
    for element in graph {
        match kind(element) {
            "ai_AIPackage" => problems.extend(package_problems(element, &AI_PACKAGE, &index)),
            "dataset_DatasetPackage" => problems.extend(package_problems(element, &DATASET_PACKAGE, &index)),
            "simplelicensing_LicenseExpression" => problems.extend(expression_problems(element, &index)),
            "Relationship" => problems.extend(dangling(element, &index)),
            _ => {}
        }
    }
    problems
}

struct Index<'a> {
    kinds: HashMap<&'a str, &'a str>,
    /// How many targets each element has by license relationship.
    licenses: HashMap<(&'a str, &'a str), usize>,
    duplicates: Vec<String>,
}

impl<'a> Index<'a> {
    fn of(graph: &'a [Value]) -> Self {
        let mut index = Self { kinds: HashMap::new(), licenses: HashMap::new(), duplicates: Vec::new() };
        for element in graph {
            if let Some(id) = element["spdxId"].as_str().or_else(|| element["@id"].as_str())
                && index.kinds.insert(id, kind(element)).is_some()
            {
                index.duplicates.push(format!("{id} is there twice."));
            }
            if let (Some(from), Some(relation)) = (element["from"].as_str(), element["relationshipType"].as_str()) {
                *index.licenses.entry((from, relation)).or_default() += targets(element).count();
            }
        }
        index
    }

    fn knows(&self, id: &str) -> bool {
        self.kinds.contains_key(id) || INDIVIDUALS.contains(&id)
    }
}

fn kind(element: &Value) -> &str {
    element["type"].as_str().unwrap_or_default()
}

fn name(element: &Value) -> &str {
    element["spdxId"].as_str().unwrap_or("an element without id")
}

fn targets(relationship: &Value) -> impl Iterator<Item = &str> {
    relationship["to"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn package_problems(package: &Value, required: &[&str], index: &Index<'_>) -> Vec<String> {
    let id = name(package);
    let absent = required.iter().filter(|field| is_empty(&package[**field]));
    let mut problems: Vec<String> = absent.map(|field| format!("{id} has no {field}.")).collect();
    if kind(package) == "ai_AIPackage" && package["software_primaryPurpose"] != "model" {
        problems.push(format!("{id} has another purpose than `model`."));
    }
    if package["originatedBy"].as_array().is_some_and(|agents| agents.len() > 1) {
        problems.push(format!("{id} has several originators."));
    }
    for relation in LICENSE_RELATIONSHIPS {
        match index.licenses.get(&(id, relation)) {
            Some(1) => {}
            Some(count) => problems.push(format!("{id} has {count} licenses by {relation}, not one.")),
            None => problems.push(format!("{id} has no {relation}.")),
        }
    }
    problems
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn expression_problems(element: &Value, index: &Index<'_>) -> Vec<String> {
    let id = name(element);
    let Some(expression) = element["simplelicensing_licenseExpression"].as_str() else {
        return vec![format!("{id} has no license expression.")];
    };
    let entries = element["simplelicensing_customIdToUri"].as_array().into_iter().flatten();
    let texts: HashMap<&str, &str> =
        entries.filter_map(|entry| Some((entry["key"].as_str()?, entry["value"].as_str()?))).collect();
    let custom: HashSet<&str> = ids(expression).filter(|word| word.starts_with("LicenseRef-")).collect();
    let mut without: Vec<&str> = custom
        .into_iter()
        .filter(|word| {
            let text = texts.get(word).and_then(|uri| index.kinds.get(uri));
            text.is_none_or(|kind| *kind != "simplelicensing_SimpleLicensingText")
        })
        .collect();
    without.sort_unstable();
    without.into_iter().map(|word| format!("{id} leads to no text of {word}.")).collect()
}

fn dangling(relationship: &Value, index: &Index<'_>) -> Vec<String> {
    let ends = relationship["from"].as_str().into_iter().chain(targets(relationship));
    let unknown = ends.filter(|end| !index.knows(end));
    unknown.map(|end| format!("{} leads to {end}, which is not there.", name(relationship))).collect()
}
