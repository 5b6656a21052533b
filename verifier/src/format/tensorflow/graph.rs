//! GraphDef: nodes, functions, and the constants that hold the weights of a frozen graph.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::found::{Found, shown};
use super::super::protobuf::{ProtobufError, Span, Walker, each_field};
use super::super::tensor::Tensor;
use super::{operators, types};

/// Kinds of operations that are told apart.
const MAX_KINDS: usize = 8192;
/// Entries of the histogram of operations.
const MAX_FACTS: usize = 64;
/// Tensors described in one file.
const MAX_TENSORS: usize = 100_000;
/// Dimensions of a tensor.
const MAX_DIMENSIONS: usize = 254;

type Result<T> = std::result::Result<T, ProtobufError>;

/// A walk over one file's graphs.
pub(super) struct GraphWalk<'a, 'f> {
    pub(super) walker: Walker<'a>,
    pub(super) found: &'f mut Found,
    operators: BTreeMap<String, u64>,
    functions: BTreeSet<String>,
    /// Weights of a SavedModel.
    variables: Vec<Tensor>,
    /// Weights of a frozen graph; in a SavedModel, numbers that every copy of a function repeats.
    constants: Vec<Tensor>,
    facts: Map<String, Value>,
    nodes: u64,
}

impl<'a, 'f> GraphWalk<'a, 'f> {
    pub(super) fn new(walker: Walker<'a>, found: &'f mut Found) -> Self {
        Self {
            walker,
            found,
            operators: BTreeMap::new(),
            functions: BTreeSet::new(),
            variables: Vec::new(),
            constants: Vec::new(),
            facts: Map::new(),
            nodes: 0,
        }
    }

    pub(super) fn fact(&mut self, key: &str, value: Value) {
        self.facts.insert(key.to_owned(), value);
    }

    /// GraphDef.
    pub(super) fn graph(&mut self, mut message: Span) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 => self.node(field.span()?)?,
                2 => self.library(field.span()?)?,
                3 => drop(field.varint()?),
                4 | 5 => drop(field.span()?),
                _ => return Err(field.unknown()),
            }
        }
        Ok(())
    }

    pub(super) fn keep_variable(&mut self, tensor: Tensor) -> Result<()> {
        keep(&mut self.variables, tensor)
    }

    /// FunctionDefLibrary.
    fn library(&mut self, mut message: Span) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            if field.number == 1 {
                self.function(field.span()?)?;
            }
        }
        Ok(())
    }

    /// FunctionDef.
    fn function(&mut self, mut message: Span) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 => self.signature(field.span()?)?,
                3 => self.node(field.span()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// OpDef of a function: its name, by which nodes may call it.
    fn signature(&mut self, mut message: Span) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            if field.number == 1 {
                let name = self.walker.name(field.span()?)?;
                self.functions.insert(name);
            }
        }
        Ok(())
    }

    /// NodeDef.
    fn node(&mut self, node: Span) -> Result<()> {
        self.nodes += 1;
        let (mut name, mut operator) = (None, String::new());
        each_field(&mut self.walker, node, |walker, field| {
            match field.number {
                1 => name = Some(field.span()?),
                2 => operator = walker.name(field.span()?)?,
                _ => {}
            }
            Ok(())
        })?;
        if operator.is_empty() {
            return Err(node.missing(2));
        }
        if operator == "Const" {
            self.constant(node, name)?;
        } else if operators::prints(&operator) {
            self.print(node)?;
        }
        if self.operators.len() < MAX_KINDS || self.operators.contains_key(&operator) {
            *self.operators.entry(operator).or_default() += 1;
            return Ok(());
        }
        Err(ProtobufError::TooLarge)
    }

    /// The value of a constant, kept where its type is that of weights.
    fn constant(&mut self, node: Span, name: Option<Span>) -> Result<()> {
        let Some(value) = self.attribute(node, b"value", 8)? else { return Ok(()) };
        let Some(mut tensor) = types::tensor(&mut self.walker, value, self.found)? else { return Ok(()) };
        if types::is_float(&tensor.element_type) && !tensor.shape.is_empty() {
            tensor.name = name.map(|name| self.walker.name(name)).transpose()?.unwrap_or_default();
            keep(&mut self.constants, tensor)?;
        }
        Ok(())
    }

    fn print(&mut self, node: Span) -> Result<()> {
        if let Some(stream) = self.attribute(node, b"output_stream", 2)? {
            let stream = self.walker.name(stream)?;
            operators::judge_stream(&stream, self.found);
        }
        Ok(())
    }

    /// The value of an attribute as the field `kind` of AttrValue.
    fn attribute(&mut self, mut node: Span, wanted: &[u8], kind: u32) -> Result<Option<Span>> {
        let mut value = None;
        while let Some(field) = node.next(&mut self.walker)? {
            if field.number != 5 {
                continue;
            }
            let (mut is_wanted, mut entry) = (false, None);
            each_field(&mut self.walker, field.span()?, |walker, field| {
                match field.number {
                    1 => is_wanted = walker.prefix(field.span()?, 64)? == wanted,
                    2 => entry = Some(field.span()?),
                    _ => {}
                }
                Ok(())
            })?;
            if let Some(mut entry) = entry.filter(|_| is_wanted) {
                while let Some(field) = entry.next(&mut self.walker)? {
                    if field.number == kind {
                        value = Some(field.span()?);
                    }
                }
            }
        }
        Ok(value)
    }

    /// Judges the operations, and gives what was seen.
    pub(super) fn finish(mut self) {
        if self.nodes == 0 {
            super::malformed(self.found, "TENSORFLOW_NO_GRAPH", "the file holds no graph");
        }
        for operator in self.operators.keys().filter(|operator| !self.functions.contains(*operator)) {
            operators::judge(operator, self.found);
        }
        let mut counts: Vec<(&String, &u64)> = self.operators.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let histogram: Map<String, Value> =
            counts.into_iter().take(MAX_FACTS).map(|(name, count)| (shown(name), json!(count))).collect();
        self.facts.insert("operators".to_owned(), histogram.into());
        self.found.facts.extend(self.facts);
        let tensors = if self.variables.is_empty() { self.constants } else { self.variables };
        self.found.weights = Some(super::weights(tensors));
    }

    /// For files that describe a model and hold no graph.
    pub(super) fn finish_without_graph(self) {
        self.found.facts.extend(self.facts);
    }
}

fn keep(tensors: &mut Vec<Tensor>, tensor: Tensor) -> Result<()> {
    if tensors.len() == MAX_TENSORS {
        return Err(ProtobufError::TooLarge);
    }
    tensors.push(tensor);
    Ok(())
}

/// Dimensions of a TensorShapeProto; unknown ones are given as none.
pub(super) fn shape(walker: &mut Walker<'_>, message: Span) -> Result<Option<Vec<u64>>> {
    let mut shape = Some(Vec::new());
    each_field(walker, message, |walker, field| {
        match field.number {
            2 => {
                let mut size = 0;
                each_field(walker, field.span()?, |_, field| {
                    if field.number == 1 {
                        size = field.varint()?;
                    }
                    Ok(())
                })?;
                match &mut shape {
                    Some(dimensions) if dimensions.len() >= MAX_DIMENSIONS => return Err(field.unknown()),
                    Some(dimensions) if size.cast_signed() >= 0 => dimensions.push(size),
                    _ => shape = None,
                }
            }
            3 if field.varint()? != 0 => shape = None,
            _ => {}
        }
        Ok(())
    })?;
    Ok(shape)
}
