//! CycloneDX 1.7: the only version where one component carries a declared and a concluded
//! license side by side.

use serde_json::{Map, Value, json};

use super::described::{Described, Metric};
use super::identity::{hub_url, purl, timestamp, uuid};
use super::{
    Ancestor, CustomLicense, File, MAX_FILES, MAX_LIST, NO_ASSERTION, Subject, TOOL, TOOL_VERSION, bounded,
    completeness, terms, word,
};

/// How the model is referred to inside the document.
const MODEL: &str = "model";

/// The bill of materials of `subject` as CycloneDX 1.7.
pub fn cyclonedx(subject: &Subject) -> Value {
    let time = timestamp(subject.created_at);
    let aggregate = if subject.files.len() > MAX_FILES { "incomplete" } else { "complete" };
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": format!("urn:uuid:{}", uuid(subject)),
        "version": 1,
        "metadata": {
            "timestamp": time,
            "lifecycles": [{ "phase": "post-build" }],
            "tools": { "components": [tool()] },
            "component": model(subject),
            "properties": completeness_properties(subject),
        },
        "compositions": [{ "aggregate": aggregate, "assemblies": [MODEL] }],
        "annotations": annotations(subject, &time),
    })
}

fn tool() -> Value {
    json!({ "type": "application", "name": TOOL, "version": TOOL_VERSION })
}

fn model(subject: &Subject) -> Value {
    let described = subject.described();
    let mut model = json!({
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": bounded(&subject.name),
        "version": subject.version(),
        "hashes": [sha256(&subject.content_digest)],
        "licenses": licenses(subject),
        "modelCard": card(subject, &described),
        "properties": properties(subject),
        "components": subject.listed_files().iter().map(file).collect::<Vec<_>>(),
    });
    let optional = [
        ("group", subject.namespace.as_deref().map(|namespace| json!(bounded(namespace)))),
        ("supplier", subject.supplier.as_deref().map(|supplier| json!({ "name": bounded(supplier) }))),
        ("purl", registered_purl(subject).map(Value::from)),
        ("pedigree", pedigree(subject)),
        ("evidence", detected(subject)),
        ("externalReferences", references(subject)),
    ];
    insert(&mut model, optional);
    model
}

/// Adds the fields that are there.
fn insert<const N: usize>(object: &mut Value, fields: [(&str, Option<Value>); N]) {
    if let Value::Object(object) = object {
        object.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
}

fn registered_purl(subject: &Subject) -> Option<String> {
    subject.namespace.as_ref()?;
    purl(&subject.full_name(), Some(subject.commit.as_deref()?))
}

fn sha256(digest: &str) -> Value {
    json!({ "alg": "SHA-256", "content": digest })
}

fn file(file: &File) -> Value {
    json!({
        "type": "file",
        "bom-ref": format!("file:{}", file.path),
        "name": file.path,
        "hashes": [sha256(&file.sha256)],
        "properties": [property("weighhouse:size", &file.size)],
    })
}

fn property(name: &str, value: &(impl ToString + ?Sized)) -> Value {
    json!({ "name": name, "value": value.to_string() })
}

fn licenses(subject: &Subject) -> Value {
    let custom = &subject.terms.custom;
    let declared = match subject.declared() {
        // The words are a fact also where they name no license.
        expression if expression == NO_ASSERTION => named(&declared_words(subject), "declared"),
        expression => acknowledged(&expression, "declared", custom),
    };
    json!([declared, acknowledged(subject.concluded(), "concluded", custom)])
}

fn declared_words(subject: &Subject) -> String {
    let words = subject.license.declared.first().map(|statement| bounded(&statement.text));
    words.filter(|words| !words.is_empty()).unwrap_or_else(|| NO_ASSERTION.to_owned())
}

fn named(name: &str, acknowledgement: &str) -> Value {
    json!({ "license": { "name": name, "acknowledgement": acknowledgement } })
}

fn acknowledged(expression: &str, acknowledgement: &str, custom: &[CustomLicense]) -> Value {
    if expression == NO_ASSERTION {
        return named(NO_ASSERTION, acknowledgement);
    }
    let mut value = expressed(expression, custom);
    value["acknowledgement"] = json!(acknowledgement);
    value
}

fn expressed(expression: &str, custom: &[CustomLicense]) -> Value {
    let mut value = json!({ "expression": expression });
    let mentioned = custom.iter().filter(|license| terms::ids(expression).any(|id| id == license.id));
    let details: Vec<Value> = mentioned.map(expression_detail).collect();
    if !details.is_empty() {
        value["expressionDetails"] = Value::Array(details);
    }
    value
}

fn expression_detail(license: &CustomLicense) -> Value {
    let mut detail = json!({ "licenseIdentifier": license.id });
    let text = license.text.as_ref().map(|text| json!({ "contentType": "text/plain", "content": text }));
    insert(&mut detail, [("url", license.url.clone().map(Value::from)), ("text", text)]);
    detail
}

/// Licenses whose texts were found are evidence, neither declared nor concluded.
fn detected(subject: &Subject) -> Option<Value> {
    let mut expressions: Vec<&str> =
        subject.license.detected.iter().map(|statement| statement.expression.as_str()).collect();
    expressions.retain(|expression| *expression != NO_ASSERTION);
    expressions.sort_unstable();
    expressions.dedup();
    expressions.truncate(MAX_LIST);
    let licenses: Vec<Value> = expressions.iter().map(|one| expressed(one, &subject.terms.custom)).collect();
    (!licenses.is_empty()).then(|| json!({ "licenses": licenses }))
}

fn pedigree(subject: &Subject) -> Option<Value> {
    let ancestors: Vec<Value> = subject.listed_ancestors().iter().enumerate().map(ancestor).collect();
    (!ancestors.is_empty()).then(|| json!({ "ancestors": ancestors }))
}

fn ancestor((index, ancestor): (usize, &Ancestor)) -> Value {
    let name = bounded(&ancestor.name);
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": format!("ancestor:{}", index + 1),
        "name": name,
        "properties": [property("weighhouse:relation", ancestor.relation.as_str())],
    });
    let license = ancestor.license.as_deref().map(|license| json!([acknowledged(license, "concluded", &[])]));
    let hashes = ancestor.content_digest.as_deref().map(|digest| json!([sha256(digest)]));
    insert(&mut component, [("purl", purl(&name, None).map(Value::from)), ("licenses", license), ("hashes", hashes)]);
    component
}

fn references(subject: &Subject) -> Option<Value> {
    let mut references = Vec::new();
    if let Some(url) = &subject.download_location {
        references.push(json!({ "type": "distribution", "url": url }));
    }
    let policies = subject.terms.documents.iter().take(MAX_LIST);
    references.extend(
        policies.map(|document| json!({ "type": "documentation", "url": document.url, "comment": document.title })),
    );
    (!references.is_empty()).then_some(Value::Array(references))
}

fn card(subject: &Subject, described: &Described) -> Value {
    let mut parameters = json!({});
    let architecture = subject.inspection.as_ref().and_then(|inspection| inspection.architecture.as_deref());
    let datasets: Vec<Value> = described.datasets.iter().enumerate().map(dataset).collect();
    let (inputs, outputs) = described.modalities().unzip();
    let formats = |format: &str| format.split(", ").map(|one| json!({ "format": one })).collect::<Value>();
    insert(
        &mut parameters,
        [
            ("task", described.task.clone().map(Value::from)),
            ("architectureFamily", architecture.map(|name| json!(bounded(name)))),
            ("modelArchitecture", architecture.map(|name| json!(bounded(name)))),
            ("datasets", (!datasets.is_empty()).then_some(Value::Array(datasets))),
            ("inputs", inputs.map(formats)),
            ("outputs", outputs.map(formats)),
        ],
    );
    let mut card = json!({ "modelParameters": parameters });
    let metrics: Vec<Value> = described.metrics.iter().map(metric).collect();
    let analysis = (!metrics.is_empty()).then(|| json!({ "performanceMetrics": metrics }));
    insert(&mut card, [("quantitativeAnalysis", analysis), ("properties", card_properties(described))]);
    card
}

fn dataset((index, name): (usize, &String)) -> Value {
    let mut dataset = json!({ "type": "dataset", "bom-ref": format!("dataset:{}", index + 1), "name": name });
    insert(&mut dataset, [("contents", hub_url("datasets/", name).map(|url| json!({ "url": url })))]);
    dataset
}

fn metric(metric: &Metric) -> Value {
    let mut value = json!({ "type": metric.kind, "value": metric.value });
    insert(&mut value, [("slice", metric.dataset.clone().map(Value::from))]);
    value
}

fn card_properties(described: &Described) -> Option<Value> {
    let one = |name: &str, value: &Option<String>| value.as_ref().map(|value| property(name, value));
    let mut properties: Vec<Value> =
        described.languages.iter().map(|language| property("weighhouse:card:language", language)).collect();
    properties.extend(one("weighhouse:card:library", &described.library));
    properties.extend(one("weighhouse:card:co2_eq_emissions", &described.emissions));
    properties.extend(one("weighhouse:card:hardware_used", &described.hardware));
    (!properties.is_empty()).then_some(Value::Array(properties))
}

fn properties(subject: &Subject) -> Value {
    let license = &subject.license;
    let openness = &license.openness;
    let mut properties = vec![
        property("weighhouse:content-digest", &subject.content_digest),
        property("weighhouse:license:verdict", &word(&license.verdict)),
        property("weighhouse:openness:access-class", &openness.access_class),
        property("weighhouse:openness:mof-class", &openness.mof_class),
        property("weighhouse:openness:osaid", &openness.osaid),
        property("weighhouse:openness:eu-art53-2-candidate", &openness.eu_art53_2_candidate),
    ];
    properties.extend(license.license_class.as_ref().map(|class| property("weighhouse:license:class", class)));
    properties.extend(inspected(subject));
    let obligations = subject.terms.obligations.iter().take(MAX_LIST);
    properties.extend(obligations.map(|line| property("weighhouse:obligation", &bounded(line))));
    properties.extend(subject.findings().iter().map(|line| property("weighhouse:finding", line)));
    Value::Array(properties)
}

fn inspected(subject: &Subject) -> Vec<Value> {
    let Some(inspection) = &subject.inspection else { return Vec::new() };
    let facts: Map<String, Value> = [
        ("verdict", Some(json!(word(&inspection.verdict)))),
        ("format", inspection.format.as_deref().map(|format| json!(bounded(format)))),
        ("parameters", inspection.parameters.map(|count| json!(count.to_string()))),
        ("quantization", inspection.quantization.as_deref().map(|name| json!(bounded(name)))),
        ("bits-per-weight", inspection.bits_per_weight.map(|bits| json!(format!("{bits:.2}")))),
        ("context-length", inspection.context_length.map(|tokens| json!(tokens.to_string()))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((format!("weighhouse:inspection:{name}"), value?)))
    .collect();
    facts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn completeness_properties(subject: &Subject) -> Value {
    let completeness = completeness(subject);
    let mut properties = vec![property("weighhouse:completeness:score", &completeness.score)];
    properties.extend(
        completeness
            .clusters
            .iter()
            .map(|cluster| property(&format!("weighhouse:completeness:{}", cluster.name), &cluster.summary())),
    );
    Value::Array(properties)
}

fn annotations(subject: &Subject, time: &str) -> Value {
    let annotation = |text: String| json!({ "subjects": [MODEL], "annotator": { "component": tool() }, "timestamp": time, "text": text });
    json!([annotation(subject.verdict()), annotation(completeness(subject).sentence())])
}
