//! Walks an ONNX model: what its graphs compute, what they need from outside, what they weigh.
//!
//! The messages and field numbers are those of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.
//! A model is data, yet a runtime that loads it opens the files its tensors name and looks for
//! the libraries its operators come from; both are judged here.

mod external;
mod operators;
mod standard;
mod tensor;
mod value_info;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use self::operators::Operators;
use self::tensor::TensorReader;
use super::content::Content;
use super::found::{Found, Weights, shown};
use super::pages::Pages;
use super::protobuf::{ProtobufError, Span, Walker, each_field};
use super::reports::Reports;
use super::tensor::Tensor;
use super::{findings, metadata};

/// Tensors described in one file.
const MAX_TENSORS: usize = 100_000;
/// Inputs, outputs, opsets, external files and metadata entries that are kept as facts.
const MAX_FACTS: usize = 32;
/// Longest text kept as a fact, in bytes.
const MAX_FACT_BYTES: u64 = 512;

type Result<T> = std::result::Result<T, ProtobufError>;

/// Adds to `found` what the model is and needs.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    let (walker, model) = Walker::new(Pages::new(content.source));
    let mut scanner = Scanner::new(walker, found);
    match scanner.model(model) {
        Ok(()) => scanner.finish(),
        Err(error) => error.report(found),
    }
}

/// What the walk has seen.
struct Scanner<'a, 'f> {
    walker: Walker<'a>,
    found: &'f mut Found,
    operators: Operators,
    tensors: Vec<Tensor>,
    facts: Map<String, Value>,
    opsets: BTreeMap<String, u64>,
    /// Version of the operators that every runtime has.
    default_opset: u64,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    external_files: BTreeSet<String>,
    reports: Reports,
    has_graph: bool,
    training: bool,
}

impl<'a, 'f> Scanner<'a, 'f> {
    fn new(walker: Walker<'a>, found: &'f mut Found) -> Self {
        Self {
            walker,
            found,
            operators: Operators::default(),
            tensors: Vec::new(),
            facts: Map::new(),
            opsets: BTreeMap::new(),
            default_opset: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            external_files: BTreeSet::new(),
            reports: Reports::default(),
            has_graph: false,
            training: false,
        }
    }

    /// ModelProto.
    fn model(&mut self, mut message: Span) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 => drop(self.facts.insert("ir_version".to_owned(), json!(field.varint()?))),
                2 => self.text_fact("producer", field.span()?)?,
                3 => self.text_fact("producer_version", field.span()?)?,
                4 => self.text_fact("domain", field.span()?)?,
                5 => drop(self.facts.insert("model_version".to_owned(), json!(field.varint()?))),
                7 => self.main_graph(field.span()?)?,
                8 => self.opset(field.span()?)?,
                14 => self.metadata(field.span()?)?,
                20 => self.training(field.span()?)?,
                25 => self.function(field.span()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn main_graph(&mut self, graph: Span) -> Result<()> {
        self.has_graph = true;
        self.values(graph)?;
        self.graph(graph)
    }

    /// Inputs and outputs of the main graph.
    fn values(&mut self, graph: Span) -> Result<()> {
        let (inputs, outputs) = (&mut self.inputs, &mut self.outputs);
        each_field(&mut self.walker, graph, |walker, field| {
            let list = match field.number {
                11 => &mut *inputs,
                12 => &mut *outputs,
                _ => return Ok(()),
            };
            let span = field.span()?;
            if list.len() < MAX_FACTS {
                list.push(value_info::read(walker, span)?);
            }
            Ok(())
        })
    }

    /// TrainingInfoProto.
    fn training(&mut self, mut message: Span) -> Result<()> {
        self.training = true;
        while let Some(field) = message.next(&mut self.walker)? {
            if matches!(field.number, 1 | 2) {
                self.graph(field.span()?)?;
            }
        }
        Ok(())
    }

    /// GraphProto; the depth of messages bounds how deep graphs nest.
    fn graph(&mut self, mut message: Span) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 => self.node(field.span()?)?,
                5 => self.tensor(field.span()?)?,
                15 => self.sparse_tensor(field.span()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// FunctionProto: an operator that the model itself defines.
    fn function(&mut self, mut message: Span) -> Result<()> {
        let (mut name, mut domain) = (String::new(), String::new());
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 => name = self.walker.name(field.span()?)?,
                10 => domain = self.walker.name(field.span()?)?,
                7 => self.node(field.span()?)?,
                11 => self.attribute(field.span()?, None)?,
                _ => {}
            }
        }
        self.operators.define(domain, name);
        Ok(())
    }

    /// NodeProto, in two passes: what its attributes mean depends on the operator.
    fn node(&mut self, node: Span) -> Result<()> {
        let (mut operator, mut domain, mut output) = (String::new(), String::new(), None);
        let mut attributes = false;
        each_field(&mut self.walker, node, |walker, field| {
            match field.number {
                2 if output.is_none() => output = Some(field.span()?),
                4 => operator = walker.name(field.span()?)?,
                5 => attributes = true,
                7 => domain = walker.name(field.span()?)?,
                _ => {}
            }
            Ok(())
        })?;
        if operator.is_empty() {
            return Err(node.missing(4));
        }
        let constant = (operator == "Constant" && operators::is_default_domain(&domain)).then_some(output).flatten();
        self.operators.use_one(domain, operator);
        if !attributes {
            return Ok(());
        }
        let mut message = node;
        while let Some(field) = message.next(&mut self.walker)? {
            if field.number == 5 {
                self.attribute(field.span()?, constant)?;
            }
        }
        Ok(())
    }

    /// AttributeProto; `constant` is the name of the value that a Constant node gives.
    fn attribute(&mut self, mut message: Span, constant: Option<Span>) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                5 | 10 => self.attribute_tensor(field.span()?, constant)?,
                6 | 11 => self.graph(field.span()?)?,
                22 | 23 => self.sparse_tensor(field.span()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn attribute_tensor(&mut self, message: Span, constant: Option<Span>) -> Result<()> {
        let read = self.read_tensor(message)?;
        // Constants of integers are shapes and axes; those of other types hold weights in some exports.
        if let (Some(mut tensor), Some(name)) = (read, constant)
            && tensor::is_float(&tensor.element_type)
        {
            tensor.name = self.walker.name(name)?;
            self.keep(tensor)?;
        }
        Ok(())
    }

    fn sparse_tensor(&mut self, mut message: Span) -> Result<()> {
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 => self.tensor(field.span()?)?,
                2 => drop(self.read_tensor(field.span()?)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn tensor(&mut self, message: Span) -> Result<()> {
        match self.read_tensor(message)? {
            Some(tensor) => self.keep(tensor),
            None => Ok(()),
        }
    }

    fn keep(&mut self, tensor: Tensor) -> Result<()> {
        if self.tensors.len() == MAX_TENSORS {
            return Err(ProtobufError::TooLarge);
        }
        self.tensors.push(tensor);
        Ok(())
    }

    /// TensorProto, or none where it breaks a rule that was reported.
    fn read_tensor(&mut self, message: Span) -> Result<Option<Tensor>> {
        let proto = TensorReader::read(&mut self.walker, message)?;
        if !proto.external.is_empty() {
            let location = external::judge(&proto, &mut self.reports, self.found);
            if let Some(location) = location
                && self.external_files.len() < MAX_FACTS
            {
                self.external_files.insert(location);
            }
        }
        if !proto.has_type() {
            return Err(message.missing(2));
        }
        match proto.check() {
            Ok(tensor) => Ok(Some(tensor)),
            Err(error) => {
                if self.reports.wants(error.code()) {
                    findings::malformed(self.found, error.code(), &error);
                }
                Ok(None)
            }
        }
    }

    fn opset(&mut self, mut message: Span) -> Result<()> {
        let (mut domain, mut version) = ("ai.onnx".to_owned(), 0);
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 if field.span()?.length() > 0 => domain = self.walker.name(field.span()?)?,
                2 => version = field.varint()?,
                _ => {}
            }
        }
        if operators::is_default_domain(&domain) {
            self.default_opset = self.default_opset.max(version);
        }
        if self.opsets.len() < MAX_FACTS {
            self.opsets.insert(shown(&domain), version);
        }
        Ok(())
    }

    /// StringStringEntryProto.
    fn metadata(&mut self, mut message: Span) -> Result<()> {
        let (mut key, mut value) = (String::new(), None);
        while let Some(field) = message.next(&mut self.walker)? {
            match field.number {
                1 => key = self.walker.name(field.span()?)?,
                2 => value = Some(field.span()?),
                _ => {}
            }
        }
        match value {
            Some(value) if self.facts.len() < 2 * MAX_FACTS => {
                self.text_fact(&format!("metadata.{}", shown(&key)), value)
            }
            _ => Ok(()),
        }
    }

    fn text_fact(&mut self, key: &str, value: Span) -> Result<()> {
        let text = self.walker.prefix(value, MAX_FACT_BYTES)?;
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if value.length() > MAX_FACT_BYTES {
            text.push('…');
        }
        if !text.is_empty() {
            self.facts.insert(key.to_owned(), json!(text));
        }
        Ok(())
    }

    fn finish(mut self) {
        if !self.has_graph {
            findings::malformed(self.found, "ONNX_NO_GRAPH", &"the model holds no graph");
        }
        self.operators.judge(self.default_opset, self.found);
        self.facts.insert("opsets".to_owned(), json!(self.opsets));
        self.facts.insert("inputs".to_owned(), json!(self.inputs));
        self.facts.insert("outputs".to_owned(), json!(self.outputs));
        self.facts.insert("operators".to_owned(), self.operators.histogram());
        if !self.external_files.is_empty() {
            self.facts.insert("external_data".to_owned(), json!(self.external_files));
        }
        if self.training {
            self.facts.insert("training".to_owned(), json!(true));
        }
        self.found.facts = self.facts;
        metadata::check_scripts(self.found);
        self.found.weights = Some(Weights { tensors: self.tensors, ..Weights::default() });
    }
}
