//! Walks TensorFlow's graphs: SavedModel, MetaGraphDef, frozen GraphDef, and Keras metadata.
//!
//! A graph is a program, and among its operations are some that read and write files, run
//! Python, or talk to other machines. The messages and field numbers are those of
//! <https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/protobuf> and
//! `core/framework`.

mod checkpoint;
mod graph;
mod lite;
mod objects;
mod operators;
mod text;
mod types;

use serde_json::json;

pub(super) use self::checkpoint::is_checkpoint;
use self::graph::GraphWalk;
pub(super) use self::lite::scan as scan_lite;
pub(super) use self::operators::{judge as judge_operator, judge_in_text as judge_operators_in_text};
pub(super) use self::text::scan as scan_text;
use super::content::Content;
use super::found::{Found, Weights, shown};
use super::pages::Pages;
use super::protobuf::{ProtobufError, Span, Walker, each_field};
use super::{findings, kind, paths};
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Assets and tags kept as facts.
const MAX_FACTS: usize = 32;

type Result<T> = std::result::Result<T, ProtobufError>;

/// Which message a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Document {
    SavedModel,
    MetaGraph,
    Graph,
    KerasMetadata,
    /// A message with numbers where all of these have messages: digests of a SavedModel's parts,
    /// or a tensor that ONNX tests are fed with.
    WithoutGraph,
}

/// Adds to `found` what the graph does.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    if checkpoint::is_data(content.path) {
        return;
    }
    if checkpoint::is_index(content.source) {
        return checkpoint::scan(content, found);
    }
    let (walker, message) = Walker::new(Pages::new(content.source));
    let mut walk = GraphWalk::new(walker, found);
    match walk_document(&mut walk, message, content) {
        Ok(true) => walk.finish(),
        Ok(false) => walk.finish_without_graph(),
        Err(error) => error.report(found),
    }
}

/// Walks the file as what it is; whether that was a graph.
fn walk_document(walk: &mut GraphWalk<'_, '_>, message: Span, content: &Content<'_>) -> Result<bool> {
    let document = recognize(&mut walk.walker, message, content.path)?;
    match document {
        Document::SavedModel => saved_model(walk, message)?,
        Document::MetaGraph => meta_graph(walk, message)?,
        Document::Graph => walk.graph(message)?,
        Document::KerasMetadata => objects::keras_metadata(walk, message)?,
        Document::WithoutGraph => {}
    }
    Ok(matches!(document, Document::SavedModel | Document::MetaGraph | Document::Graph))
}

/// Tells the messages apart by the types of their fields.
///
/// A MetaGraphDef is told by its name alone: whatever else passed for one could hide a graph
/// that loaders see. The walk of each message refuses fields of the others.
fn recognize(walker: &mut Walker<'_>, mut message: Span, path: &str) -> Result<Document> {
    if kind::extension(path) == "meta" {
        return Ok(Document::MetaGraph);
    }
    let Some(first) = message.next(walker)? else { return Ok(Document::Graph) };
    if first.number == 1 && first.is_varint() {
        let mut only_numbers = true;
        while let Some(field) = message.next(walker)? {
            only_numbers &= field.is_varint() || field.number > 2;
        }
        return Ok(if only_numbers { Document::WithoutGraph } else { Document::SavedModel });
    }
    let is_metadata = first.number == 1 && objects::is_keras_metadata(walker, first.span()?)?;
    Ok(if is_metadata { Document::KerasMetadata } else { Document::Graph })
}

/// SavedModel.
fn saved_model(walk: &mut GraphWalk<'_, '_>, mut message: Span) -> Result<()> {
    while let Some(field) = message.next(&mut walk.walker)? {
        match field.number {
            1 => walk.fact("saved_model_schema_version", json!(field.varint()?)),
            2 => meta_graph(walk, field.span()?)?,
            _ => return Err(field.unknown()),
        }
    }
    Ok(())
}

/// MetaGraphDef.
fn meta_graph(walk: &mut GraphWalk<'_, '_>, mut message: Span) -> Result<()> {
    while let Some(field) = message.next(&mut walk.walker)? {
        match field.number {
            1 => meta_info(walk, field.span()?)?,
            2 => walk.graph(field.span()?)?,
            // How the graph is saved, collections and signatures refer to nodes by name.
            3..=5 => drop(field.span()?),
            6 => asset_file(walk, field.span()?)?,
            7 => objects::object_graph(walk, field.span()?)?,
            _ => return Err(field.unknown()),
        }
    }
    Ok(())
}

/// MetaInfoDef. Its list of operations is walked only to be sure that it is one: a graph whose
/// first node stands in this place must not go unseen.
fn meta_info(walk: &mut GraphWalk<'_, '_>, mut message: Span) -> Result<()> {
    let mut tags = Vec::new();
    while let Some(field) = message.next(&mut walk.walker)? {
        match field.number {
            2 => each_field(&mut walk.walker, field.span()?, |_, field| field.span().map(drop))?,
            4 if tags.len() < MAX_FACTS => tags.push(shown(&walk.walker.name(field.span()?)?)),
            5 => {
                let version = walk.walker.name(field.span()?)?;
                walk.fact("tensorflow_version", json!(shown(&version)));
            }
            _ => {}
        }
    }
    if !tags.is_empty() {
        walk.fact("tags", json!(tags));
    }
    Ok(())
}

/// AssetFileDef: a file beside the model, called by its name in the folder of assets.
fn asset_file(walk: &mut GraphWalk<'_, '_>, mut message: Span) -> Result<()> {
    while let Some(field) = message.next(&mut walk.walker)? {
        if field.number == 2 {
            let name = walk.walker.name(field.span()?)?;
            if let Some(how) = paths::escape(&name) {
                walk.found.add(InspectionVerdict::Dangerous, asset_path(&name, how));
            }
        }
    }
    Ok(())
}

fn asset_path(name: &str, how: &str) -> Finding {
    Finding::new(
        "TENSORFLOW_ASSET_PATH",
        Severity::Critical,
        format!("The model takes an asset from `{}`, which {how}.", shown(name)),
        "do not load the model; assets belong into its own folder",
    )
}

/// Adds that a graph, or a list of weights, is too broken to be read.
fn malformed(found: &mut Found, code: &str, reason: &str) {
    findings::malformed(found, code, &reason);
}

/// Weights without more being known of the model.
fn weights(tensors: Vec<super::tensor::Tensor>) -> Weights {
    Weights { tensors, ..Weights::default() }
}
