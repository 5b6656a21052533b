//! What a model card says about the model, in bounded texts.
//!
//! Cards hold anything. Only the shapes that the Hub documents are read; everything else is left
//! out without a word, because the license stage has the findings about cards.

use serde_json::{Map, Value};

use super::{MAX_LIST, bounded};

/// Deepest list within a list that is read.
const MAX_DEPTH: usize = 3;

/// A card's fields that the documents use.
#[derive(Debug, Clone, Default)]
pub(super) struct Described {
    /// The Hub's `pipeline_tag`.
    pub(super) task: Option<String>,
    pub(super) languages: Vec<String>,
    pub(super) datasets: Vec<String>,
    pub(super) library: Option<String>,
    pub(super) metrics: Vec<Metric>,
    /// What the card says of its `co2_eq_emissions`, such as grams.
    pub(super) emissions: Option<String>,
    pub(super) hardware: Option<String>,
}

/// One result of an evaluation, from `model-index`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) kind: String,
    pub(super) value: String,
    /// What it was measured on.
    pub(super) dataset: Option<String>,
}

impl Described {
    pub(super) fn of(card: &Map<String, Value>) -> Self {
        let first = |name: &str| texts(card.get(name)).into_iter().next();
        let emissions = card.get("co2_eq_emissions");
        let grams = emissions.map(|value| value.get("emissions").unwrap_or(value));
        Self {
            task: first("pipeline_tag"),
            languages: texts(card.get("language")),
            datasets: texts(card.get("datasets")),
            library: first("library_name"),
            metrics: metrics(card.get("model-index")),
            emissions: texts(grams).into_iter().next(),
            hardware: texts(emissions.and_then(|value| value.get("hardware_used"))).into_iter().next(),
        }
    }

    /// What goes in and what comes out, where the task says so.
    pub(super) fn modalities(&self) -> Option<(&'static str, &'static str)> {
        let modalities = match self.task.as_deref()? {
            "text-generation"
            | "text2text-generation"
            | "translation"
            | "summarization"
            | "question-answering"
            | "fill-mask" => ("text", "text"),
            "text-classification" | "token-classification" | "zero-shot-classification" => ("text", "labels"),
            "feature-extraction" | "sentence-similarity" | "text-ranking" => ("text", "numbers"),
            "image-text-to-text" | "visual-question-answering" | "document-question-answering" => {
                ("image, text", "text")
            }
            "audio-text-to-text" => ("audio, text", "text"),
            "any-to-any" => ("any", "any"),
            "image-to-text" => ("image", "text"),
            "image-classification" | "object-detection" | "image-segmentation" => ("image", "labels"),
            "image-to-image" => ("image", "image"),
            "text-to-image" => ("text", "image"),
            "text-to-video" => ("text", "video"),
            "text-to-speech" | "text-to-audio" => ("text", "audio"),
            "automatic-speech-recognition" => ("audio", "text"),
            "audio-classification" => ("audio", "labels"),
            _ => return None,
        };
        Some(modalities)
    }
}

/// Scalars of a value: itself, or those of a list.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(value) = value {
        collect(value, MAX_DEPTH, &mut found);
    }
    found
}

fn collect(value: &Value, depth: usize, found: &mut Vec<String>) {
    if found.len() == MAX_LIST {
        return;
    }
    let text = match value {
        Value::String(text) => bounded(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Array(list) if depth > 0 => return list.iter().for_each(|entry| collect(entry, depth - 1, found)),
        Value::Array(_) | Value::Null | Value::Object(_) => return,
    };
    if !text.trim().is_empty() && !found.contains(&text) {
        found.push(text);
    }
}

fn metrics(index: Option<&Value>) -> Vec<Metric> {
    let results = list(index).flat_map(|model| list(model.get("results")));
    let measured = results.flat_map(|result| list(result.get("metrics")).map(move |metric| (result, metric)));
    measured.filter_map(|(result, metric)| self::metric(result, metric)).take(MAX_LIST).collect()
}

fn metric(result: &Value, metric: &Value) -> Option<Metric> {
    let scalar = |value: Option<&Value>| texts(value).into_iter().next();
    let dataset = result.get("dataset");
    Some(Metric {
        kind: scalar(metric.get("type")).or_else(|| scalar(metric.get("name")))?,
        value: scalar(metric.get("value"))?,
        dataset: dataset.and_then(|dataset| scalar(dataset.get("name")).or_else(|| scalar(dataset.get("type")))),
    })
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten().take(MAX_LIST)
}
