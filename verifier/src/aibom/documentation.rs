//! A draft of the technical documentation that the EU AI Act asks of providers of
//! general-purpose AI models (Annexes XI and XII).
//!
//! Each field either holds what evidence tells, with its source named, or says what the provider
//! has to supply. Nothing is guessed: a draft that looked finished would be worse than none.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::Described;
use super::identity::timestamp;
use super::{Completeness, MAX_LIST, NO_ASSERTION, Subject, bounded, completeness};

const CARD: &str = "model card (README.md)";
const INSPECTION: &str = "inspection of the files";
const LICENSE: &str = "license judgement";
const CATALOG: &str = "license catalog";
const REGISTRY: &str = "registry";

/// The draft for one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TechnicalDocumentation)]
pub struct Documentation {
    pub schema_version: u32,
    pub model: String,
    /// The commit, or the content digest of files that have none.
    pub version: String,
    pub content_digest: String,
    /// RFC 3339.
    pub created: String,
    pub notice: String,
    /// Whether the evidence allows the relief of Article 53(2) for open-source models.
    pub eu_art53_2_candidate: bool,
    pub sections: Vec<Section>,
    pub completeness: Completeness,
}

/// One part of the annexes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TechnicalDocumentationSection)]
pub struct Section {
    pub title: String,
    pub fields: Vec<Field>,
}

/// One thing that the annexes ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TechnicalDocumentationField)]
pub struct Field {
    /// Where the annexes ask for it, such as `XI.1.1(a)`.
    pub reference: String,
    pub title: String,
    /// What evidence tells; empty where it tells nothing.
    pub values: Vec<String>,
    /// Where the values were read.
    pub sources: Vec<String>,
    /// What is left for the provider; none where the values answer the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_supplies: Option<String>,
}

/// Drafts the documentation of `subject`.
pub fn technical_documentation(subject: &Subject) -> Documentation {
    let described = subject.described();
    Documentation {
        schema_version: 1,
        model: subject.full_name(),
        version: subject.version(),
        content_digest: subject.content_digest.clone(),
        created: timestamp(subject.created_at),
        notice: "A draft from stored evidence, not legal advice. Cards are the publisher's own words.".to_owned(),
        eu_art53_2_candidate: subject.license.openness.eu_art53_2_candidate,
        sections: vec![
            general(subject, &described),
            development(subject, &described),
            integration(subject, &described),
        ],
        completeness: completeness(subject),
    }
}

fn field(reference: &str, title: &str, facts: Vec<(&str, String)>, supplies: &str) -> Field {
    let mut sources: Vec<String> = facts.iter().map(|(source, _)| (*source).to_owned()).collect();
    sources.sort();
    sources.dedup();
    Field {
        reference: reference.to_owned(),
        title: title.to_owned(),
        values: facts.into_iter().map(|(_, value)| value).collect(),
        sources,
        provider_supplies: Some(supplies.to_owned()),
    }
}

/// A field that any value answers.
fn answered(reference: &str, title: &str, facts: Vec<(&str, String)>, supplies: &str) -> Field {
    let mut field = field(reference, title, facts, supplies);
    if !field.values.is_empty() {
        field.provider_supplies = None;
    }
    field
}

fn general(subject: &Subject, described: &Described) -> Section {
    let tasks = described.task.iter().map(|task| (CARD, task.clone())).collect();
    let fields = vec![
        field("XI.1.1(a), XII.1(a)", "Tasks and systems it can be integrated in", tasks, "the kinds of AI systems"),
        answered(
            "XI.1.1(b), XII.1(b)",
            "Acceptable use policies",
            policies(subject),
            "the policies, or that there are none",
        ),
        answered("XI.1.1(c), XII.1(c)", "Date of release and ways of distribution", release(subject), "date and ways"),
        answered("XI.1.1(d), XII.1(f)", "Architecture and number of parameters", shape(subject), "both"),
        answered("XI.1.1(e), XII.1(g)", "Modality and format of inputs and outputs", modality(described), "both"),
        answered("XI.1.1(f), XII.1(h)", "License", licenses(subject), "the license"),
    ];
    Section { title: "General description".to_owned(), fields }
}

fn policies(subject: &Subject) -> Vec<(&'static str, String)> {
    let documents = subject.terms.documents.iter().take(MAX_LIST);
    documents.map(|document| (CATALOG, format!("{}: {}", document.title, document.url))).collect()
}

fn release(subject: &Subject) -> Vec<(&'static str, String)> {
    let Some(location) = &subject.download_location else { return Vec::new() };
    vec![(REGISTRY, format!("registered {}", timestamp(subject.created_at))), (REGISTRY, location.clone())]
}

fn shape(subject: &Subject) -> Vec<(&'static str, String)> {
    let Some(inspection) = &subject.inspection else { return Vec::new() };
    let facts = [
        inspection.architecture.as_deref().map(|name| format!("architecture: {}", bounded(name))),
        inspection.parameters.map(|count| format!("parameters: {count}")),
        inspection.quantization.as_deref().map(|name| format!("tensor type: {}", bounded(name))),
    ];
    facts.into_iter().flatten().map(|fact| (INSPECTION, fact)).collect()
}

fn modality(described: &Described) -> Vec<(&'static str, String)> {
    let Some((inputs, outputs)) = described.modalities() else { return Vec::new() };
    vec![(CARD, format!("inputs: {inputs}")), (CARD, format!("outputs: {outputs}"))]
}

fn licenses(subject: &Subject) -> Vec<(&'static str, String)> {
    let known = [("declared", subject.declared()), ("concluded", subject.concluded().to_owned())];
    let known = known.into_iter().filter(|(_, expression)| expression != NO_ASSERTION);
    known.map(|(word, expression)| (LICENSE, format!("{word}: {expression}"))).collect()
}

fn development(subject: &Subject, described: &Described) -> Section {
    let emissions = described.emissions.iter().map(|grams| (CARD, format!("CO2 equivalent: {grams}"))).collect();
    let hardware = described.hardware.iter().map(|hardware| (CARD, format!("hardware: {hardware}"))).collect();
    let metrics = described.metrics.iter().map(|metric| {
        let dataset = metric.dataset.as_deref().map(|dataset| format!(" on {dataset}")).unwrap_or_default();
        (CARD, format!("{}{dataset}: {}", metric.kind, metric.value))
    });
    let fields = vec![
        field(
            "XI.1.2(b)",
            "Design, training process, choices and what is optimized",
            lineage(subject),
            "methods, key choices with their reasons, and the optimization target",
        ),
        field(
            "XI.1.2(c), XII.2(c)",
            "Data: type, provenance and curation",
            data(described),
            "type, provenance and curation, number of data points, scope, selection, and measures against bias",
        ),
        field("XI.1.2(d)", "Computational resources of training", hardware, "compute used and training time"),
        field("XI.1.2(e)", "Energy consumption", emissions, "energy used, known or estimated"),
        field("XI.2", "Evaluation", metrics.collect(), "strategy, criteria and limits (systemic risk only)"),
    ];
    Section { title: "Development".to_owned(), fields }
}

fn lineage(subject: &Subject) -> Vec<(&'static str, String)> {
    let ancestors = subject.listed_ancestors().iter();
    ancestors.map(|one| (LICENSE, format!("{} of {}", one.relation.as_str(), bounded(&one.name)))).collect()
}

fn data(described: &Described) -> Vec<(&'static str, String)> {
    described.datasets.iter().map(|name| (CARD, format!("data set {name}"))).collect()
}

fn integration(subject: &Subject, described: &Described) -> Section {
    let inspection = subject.inspection.as_ref();
    let format = inspection.and_then(|inspection| inspection.format.as_deref());
    let technical = format.map(|format| (INSPECTION, format!("weights as {}", bounded(format)))).into_iter().collect();
    let library = described.library.iter().map(|library| (CARD, library.clone())).collect();
    let context = inspection.and_then(|inspection| inspection.context_length);
    let context = context.map(|tokens| (INSPECTION, format!("context length: {tokens} tokens"))).into_iter().collect();
    let fields = vec![
        field("XII.1(d)", "Interaction with hardware or software", Vec::new(), "what it interacts with, where it does"),
        field("XII.1(e)", "Versions of relevant software", library, "the versions"),
        field(
            "XI.1.2(a), XII.2(a)",
            "Technical means of integration",
            technical,
            "instructions, infrastructure, tools",
        ),
        answered("XII.2(b)", "Greatest size of inputs and outputs", context, "the context window"),
    ];
    Section { title: "Integration".to_owned(), fields }
}

impl Documentation {
    /// The draft as Markdown. Texts of strangers are escaped.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Technical documentation of {} (draft)\n\n", escaped(&self.model));
        let candidate = if self.eu_art53_2_candidate { "yes" } else { "no" };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{}\n\n- Version: `{}`\n- Content digest: `{}`\n- Date: {}\n- Candidate for Article 53(2): {candidate}\n",
            self.notice, self.version, self.content_digest, self.created
        );
        for section in &self.sections {
            let _ = write!(text, "\n## {}\n", section.title);
            section.fields.iter().for_each(|field| write_field(&mut text, field));
        }
        let _ = write!(text, "\n## Completeness\n\n{}\n\n", self.completeness.sentence());
        for cluster in &self.completeness.clusters {
            let _ = writeln!(text, "- {}: {}", cluster.name, cluster.summary());
        }
        text
    }
}

fn write_field(text: &mut String, field: &Field) {
    let _ = write!(text, "\n### {} ({})\n\n", field.title, field.reference);
    for value in &field.values {
        let _ = writeln!(text, "- {}", escaped(value));
    }
    if !field.sources.is_empty() {
        let _ = writeln!(text, "- Source: {}", field.sources.join("; "));
    }
    if let Some(supplies) = &field.provider_supplies {
        let _ = writeln!(text, "- **The provider supplies:** {supplies}");
    }
}

/// `text` on one line, with nothing in it that Markdown would act upon.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars().filter(|character| !character.is_control()) {
        if "\\`*_[]<>#|!&~".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
