//! SPDX 3.0.1 as JSON-LD, with the AI and Dataset profiles.
//!
//! The prose of the profiles demands more than their schemas check: a version, a supplier, and
//! exactly one declared and one concluded license of every AI and dataset package. `check_spdx`
//! holds that. Where a fact is not known, what the specification has for it is written: the
//! individual `NoAssertionLicense`, an agent or a text `NOASSERTION`. A time has no such form;
//! that of the model is written then, with a comment, because what it was made from is no younger.

use serde_json::{Value, json};

use super::described::Described;
use super::identity::{escaped, hub_url, purl, timestamp, uuid};
use super::{
    Ancestor, CustomLicense, MAX_LIST, NO_ASSERTION, Subject, TOOL, TOOL_VERSION, bounded, completeness, terms,
};
use crate::evidence::Relation;

/// The one blank node: who made the document, and when.
const CREATION: &str = "_:creation";
/// The individual that stands for an unknown license.
pub(super) const NO_ASSERTION_LICENSE: &str = "expandedlicensing_NoAssertionLicense";
const PROFILES: [&str; 6] = ["core", "software", "ai", "dataset", "simpleLicensing", "expandedLicensing"];
const UNKNOWN_TIME: &str = "The time is not known. The one given is that of the model made from it, which is no older.";

/// The bill of materials of `subject` as SPDX 3.0.1.
pub fn spdx(subject: &Subject) -> Value {
    let mut graph = Graph::new(subject);
    graph.add_document();
    let model = graph.add_model();
    graph.add_files(&model);
    graph.add_ancestors(&model);
    graph.add_datasets(&model);
    graph.add_annotations(&model);
    json!({ "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": graph.elements })
}

/// The elements so far. Every id begins with the revision's own URN.
struct Graph<'a> {
    subject: &'a Subject,
    described: Described,
    base: String,
    time: String,
    elements: Vec<Value>,
    relationships: usize,
}

impl<'a> Graph<'a> {
    fn new(subject: &'a Subject) -> Self {
        Self {
            subject,
            described: subject.described(),
            base: format!("urn:weighhouse:aibom:{}", uuid(subject)),
            time: timestamp(subject.created_at),
            elements: Vec::new(),
            relationships: 0,
        }
    }

    fn id(&self, name: &str) -> String {
        format!("{}:{name}", self.base)
    }

    /// Adds an element once and returns its id.
    fn add(&mut self, kind: &str, name: &str, fields: Value) -> String {
        let id = self.id(name);
        if self.elements.iter().all(|element| element["spdxId"] != id.as_str()) {
            let element = json!({ "type": kind, "spdxId": id, "creationInfo": CREATION });
            self.elements.push(merged(element, fields));
        }
        id
    }

    fn relate(&mut self, from: &str, kind: &str, to: &[String], comment: Option<String>) {
        if to.is_empty() {
            return;
        }
        self.relationships += 1;
        let mut fields = json!({ "from": from, "relationshipType": kind, "to": to });
        if let Some(comment) = comment {
            fields["comment"] = json!(comment);
        }
        let id = format!("{}:relationship:{}", self.base, self.relationships);
        let element = json!({ "type": "Relationship", "spdxId": id, "creationInfo": CREATION });
        self.elements.push(merged(element, fields));
    }

    fn agent(&mut self, name: Option<&str>) -> String {
        let name = name.map_or_else(|| NO_ASSERTION.to_owned(), bounded);
        let kind = if name == NO_ASSERTION { "Agent" } else { "Organization" };
        self.add(kind, &format!("agent:{}", escaped(&name)), json!({ "name": name }))
    }

    fn add_document(&mut self) {
        let tool = self.id("tool");
        self.elements.push(json!({
            "type": "CreationInfo", "@id": CREATION, "specVersion": "3.0.1",
            "created": self.time, "createdBy": [tool],
        }));
        self.add("SoftwareAgent", "tool", json!({ "name": format!("{TOOL} {TOOL_VERSION}") }));
        let name = format!("{} AIBOM", self.subject.full_name());
        let (bill, model) = (self.id("bill"), self.id("model"));
        let document = json!({ "name": name, "profileConformance": PROFILES, "rootElement": [bill] });
        self.add("SpdxDocument", "document", document);
        let bill = json!({
            "profileConformance": PROFILES, "rootElement": [model], "software_sbomType": ["analyzed"],
        });
        self.add("software_Sbom", "bill", bill);
    }

    fn add_model(&mut self) -> String {
        let subject = self.subject;
        let supplier = self.agent(subject.supplier.as_deref());
        let mut fields = json!({
            "name": subject.full_name(),
            "releaseTime": self.time,
            "suppliedBy": supplier,
            "software_downloadLocation": subject.download_location.as_deref().unwrap_or(NO_ASSERTION),
            "software_packageVersion": subject.version(),
            "software_primaryPurpose": "model",
            "verifiedUsing": [hash(&subject.content_digest)],
        });
        for (name, value) in self.model_facts() {
            fields[name] = value;
        }
        let model = self.add("ai_AIPackage", "model", fields);
        let (declared, concluded) = (subject.declared(), subject.concluded().to_owned());
        self.license(&model, &declared, &concluded);
        model
    }

    fn model_facts(&self) -> Vec<(&'static str, Value)> {
        let subject = self.subject;
        let mut facts = Vec::new();
        if let (Some(_), Some(commit)) = (&subject.namespace, subject.commit.as_deref()) {
            let purl = purl(&subject.full_name(), Some(commit));
            facts.extend(purl.map(|purl| ("software_packageUrl", json!(purl))));
        }
        let inspection = subject.inspection.as_ref();
        let architecture = inspection.and_then(|inspection| inspection.architecture.as_deref());
        facts.extend(architecture.map(|name| ("ai_typeOfModel", json!([bounded(name)]))));
        facts.extend(self.described.task.as_ref().map(|task| ("ai_domain", json!([task]))));
        facts.extend(listed("ai_hyperparameter", hyperparameters(subject)));
        let metrics = self.described.metrics.iter();
        let metrics = metrics.map(|metric| match &metric.dataset {
            Some(dataset) => entry(&format!("{} on {dataset}", metric.kind), &metric.value),
            None => entry(&metric.kind, &metric.value),
        });
        facts.extend(listed("ai_metric", metrics.collect()));
        let policies: Vec<Value> = subject.terms.documents.iter().take(MAX_LIST).map(reference).collect();
        let titles: Vec<String> = subject.terms.documents.iter().take(MAX_LIST).map(|one| one.title.clone()).collect();
        facts.extend(listed("externalRef", policies));
        if !titles.is_empty() {
            facts.push(("ai_informationAboutApplication", json!(format!("Bound by: {}.", titles.join("; ")))));
        }
        facts
    }

    fn add_files(&mut self, model: &str) {
        let mut ids = Vec::new();
        for (index, file) in self.subject.listed_files().iter().enumerate() {
            // Ids by position: asking for each whether it is new would take the square of them.
            let id = self.id(&format!("file:{}", index + 1));
            self.elements.push(json!({
                "type": "software_File", "spdxId": id, "creationInfo": CREATION,
                "name": file.path, "verifiedUsing": [hash(&file.sha256)],
            }));
            ids.push(id);
        }
        self.relate(model, "contains", &ids, None);
    }

    fn add_ancestors(&mut self, model: &str) {
        for ancestor in self.subject.listed_ancestors() {
            let id = self.add_ancestor(ancestor);
            let kind = match ancestor.relation {
                Relation::TrainedOnOutputs => "trainedOn",
                Relation::Finetune
                | Relation::Adapter
                | Relation::Quantized
                | Relation::Merge
                | Relation::Distilled => "descendantOf",
            };
            let comment = format!("weighhouse:relation={}", ancestor.relation.as_str());
            self.relate(model, kind, &[id], Some(comment));
        }
    }

    fn add_ancestor(&mut self, ancestor: &Ancestor) -> String {
        let name = bounded(&ancestor.name);
        let supplier = self.agent(owner(&name));
        let mut fields = json!({
            "name": name,
            "comment": UNKNOWN_TIME,
            "releaseTime": self.time,
            "suppliedBy": supplier,
            "software_downloadLocation": hub_url("", &name).unwrap_or_else(|| NO_ASSERTION.to_owned()),
            "software_packageVersion": NO_ASSERTION,
            "software_primaryPurpose": "model",
        });
        if let Some(digest) = &ancestor.content_digest {
            fields["software_packageVersion"] = json!(format!("sha256:{digest}"));
            fields["verifiedUsing"] = json!([hash(digest)]);
        }
        if let Some(purl) = purl(&name, None) {
            fields["software_packageUrl"] = json!(purl);
        }
        let (element, is_new) = self.add_package("ai_AIPackage", &format!("ancestor:{}", escaped(&name)), fields);
        if is_new {
            let concluded = ancestor.license.as_deref().unwrap_or(NO_ASSERTION);
            self.license(&element, NO_ASSERTION, concluded);
        }
        element
    }

    fn add_datasets(&mut self, model: &str) {
        let mut ids = Vec::new();
        for name in self.described.datasets.clone() {
            let originator = self.agent(owner(&name));
            let fields = json!({
                "name": name,
                "comment": UNKNOWN_TIME,
                "builtTime": self.time,
                "releaseTime": self.time,
                "originatedBy": [originator],
                "software_downloadLocation": hub_url("datasets/", &name).unwrap_or_else(|| NO_ASSERTION.to_owned()),
                "software_primaryPurpose": "data",
                "dataset_datasetType": ["noAssertion"],
            });
            let (id, is_new) =
                self.add_package("dataset_DatasetPackage", &format!("dataset:{}", escaped(&name)), fields);
            if is_new {
                self.license(&id, NO_ASSERTION, NO_ASSERTION);
            }
            ids.push(id);
        }
        self.relate(model, "trainedOn", &ids, None);
    }

    /// A package, and whether it was not there before.
    fn add_package(&mut self, kind: &str, name: &str, fields: Value) -> (String, bool) {
        let before = self.elements.len();
        let id = self.add(kind, name, fields);
        (id, self.elements.len() > before)
    }

    fn license(&mut self, package: &str, declared: &str, concluded: &str) {
        for (kind, expression) in [("hasDeclaredLicense", declared), ("hasConcludedLicense", concluded)] {
            let license = self.expression(expression);
            self.relate(package, kind, &[license], None);
        }
    }

    fn expression(&mut self, expression: &str) -> String {
        if expression == NO_ASSERTION {
            return NO_ASSERTION_LICENSE.to_owned();
        }
        let mut fields = json!({ "simplelicensing_licenseExpression": expression });
        let mut texts = Vec::new();
        for id in terms::ids(expression).filter(|id| id.starts_with("LicenseRef-")) {
            texts.push(entry(id, &self.licensing_text(id)));
        }
        if !texts.is_empty() {
            fields["simplelicensing_customIdToUri"] = Value::Array(texts);
        }
        self.add("simplelicensing_LicenseExpression", &format!("license:{}", escaped(expression)), fields)
    }

    fn licensing_text(&mut self, id: &str) -> String {
        let known = self.subject.terms.custom.iter().find(|license| license.id == id);
        let text = known.map_or_else(|| format!("The text of {id} is not known here."), licensing_text);
        let name = known.map_or(id, |license| license.name.as_str()).to_owned();
        let fields = json!({ "name": name, "simplelicensing_licenseText": text });
        self.add("simplelicensing_SimpleLicensingText", &format!("text:{}", escaped(id)), fields)
    }

    fn add_annotations(&mut self, model: &str) {
        let completeness = completeness(self.subject);
        let mut statements = vec![self.subject.verdict(), completeness.sentence()];
        statements
            .extend(completeness.clusters.iter().map(|cluster| format!("{}: {}", cluster.name, cluster.summary())));
        let obligations = self.subject.terms.obligations.iter().take(MAX_LIST);
        statements.extend(obligations.map(|line| format!("Obligation: {}", bounded(line))));
        statements.extend(self.subject.findings().iter().map(|line| format!("Finding: {line}")));
        for (index, statement) in statements.into_iter().enumerate() {
            let fields = json!({ "annotationType": "other", "subject": model, "statement": statement });
            self.add("Annotation", &format!("annotation:{}", index + 1), fields);
        }
    }
}

fn merged(mut element: Value, fields: Value) -> Value {
    if let (Value::Object(element), Value::Object(fields)) = (&mut element, fields) {
        element.extend(fields);
    }
    element
}

fn listed(name: &'static str, values: Vec<Value>) -> Option<(&'static str, Value)> {
    (!values.is_empty()).then_some((name, Value::Array(values)))
}

fn hash(digest: &str) -> Value {
    json!({ "type": "Hash", "algorithm": "sha256", "hashValue": digest })
}

fn entry(key: &str, value: &str) -> Value {
    json!({ "type": "DictionaryEntry", "key": key, "value": value })
}

fn reference(document: &super::Document) -> Value {
    json!({
        "type": "ExternalRef", "externalRefType": "documentation",
        "locator": [document.url], "comment": document.title,
    })
}

fn hyperparameters(subject: &Subject) -> Vec<Value> {
    let Some(inspection) = &subject.inspection else { return Vec::new() };
    let facts = [
        ("parameters", inspection.parameters.map(|count| count.to_string())),
        ("context_length", inspection.context_length.map(|tokens| tokens.to_string())),
        ("quantization", inspection.quantization.as_deref().map(bounded)),
    ];
    facts.into_iter().filter_map(|(key, value)| Some(entry(key, &value?))).collect()
}

/// The first half of `owner/name`.
fn owner(name: &str) -> Option<&str> {
    name.split_once('/').map(|(owner, _)| owner).filter(|owner| !owner.is_empty())
}

fn licensing_text(license: &CustomLicense) -> String {
    match (&license.text, &license.url) {
        (Some(text), _) => text.clone(),
        (None, Some(url)) => format!("The text of {} is at {url}.", license.name),
        (None, None) => format!("The text of {} is not at hand.", license.name),
    }
}
