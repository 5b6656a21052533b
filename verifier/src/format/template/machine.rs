//! The state of one rendering: scopes, budgets, and what was observed on the way.
//!
//! A template is a program by a stranger. Every step and every byte it computes is paid for
//! from a budget, nothing reaches outside, and recursion is measured, so a rendering ends
//! soon whatever the template says.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use jiff::civil::DateTime;

use super::error::{Resource, Result, TemplateError, runtime};
use super::text::{Origin, Text, TextBuilder};
use super::tree::{For, Macro, SiteId, Tree};
use super::value::{List, Taint, Value};

/// Most steps of one rendering: nodes of the tree walked and items handled.
pub(super) const MAX_STEPS: u64 = 200_000;
/// Most bytes that one rendering may compute, counted without what was freed again.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Longest prompt in bytes.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;
/// Deepest nesting of evaluation, calls of macros included.
const MAX_DEPTH: u16 = 400;
/// Constants kept of those that content was compared with, and the longest in bytes.
const MAX_CONSTANTS: usize = 256;
const MAX_CONSTANT_BYTES: usize = 256;

/// How a rendering is led away from the way it would take by itself.
#[derive(Debug, Default, Clone)]
pub(super) struct Steering {
    /// Decisions that are taken whatever their condition says.
    pub(super) forced: BTreeMap<SiteId, bool>,
    /// Whether what is undefined or unknown evaluates to undefined instead of an error.
    pub(super) lenient: bool,
}

/// What one decision of the template was seen to do.
#[derive(Debug, Default, Clone)]
pub(super) struct Decision {
    /// What its condition was computed from.
    pub(super) taint: Taint,
    /// Whether it went the way of false, and that of true.
    pub(super) ways: [bool; 2],
    /// Constants that content was compared with in its condition.
    pub(super) constants: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Observations {
    /// Constants that content was compared with, searched for or cut at.
    pub(super) constants: BTreeSet<String>,
    pub(super) decisions: BTreeMap<SiteId, Decision>,
    /// Numbers that the length of content or the number of messages was compared with.
    pub(super) numbers: BTreeSet<i64>,
    /// Whether the present time was asked for.
    pub(super) asks_time: bool,
    /// Names by which the template reached for Python's internals.
    pub(super) forbidden: BTreeSet<String>,
    /// Constants in the order they were met, for the condition being evaluated.
    recent: Vec<Rc<str>>,
}

pub(super) struct Scope {
    pub(super) variables: Vec<(Arc<str>, Value)>,
    pub(super) parent: Option<usize>,
    /// Tells a scope from a later one at the same index.
    pub(super) serial: u64,
}

#[derive(Clone)]
pub(super) struct MacroValue<'t> {
    pub(super) node: &'t Macro,
    /// Index and serial of the scope it was declared in.
    pub(super) scope: (usize, u64),
}

pub(super) struct LoopState<'t> {
    pub(super) node: &'t For,
    pub(super) items: Rc<List>,
    pub(super) index: usize,
    pub(super) depth: usize,
    pub(super) taint: Taint,
    pub(super) changed: Option<Vec<Value>>,
}

/// A cycler or a joiner.
pub(super) enum Stateful {
    Cycler { items: Vec<Value>, next: usize },
    Joiner { separator: Value, used: bool },
}

pub(super) struct Machine<'t> {
    pub(super) steering: &'t Steering,
    pub(super) now: DateTime,
    pub(super) scopes: Vec<Scope>,
    /// Index of the innermost scope.
    pub(super) current: usize,
    pub(super) namespaces: Vec<Vec<(Rc<str>, Value)>>,
    pub(super) macros: Vec<MacroValue<'t>>,
    pub(super) loops: Vec<LoopState<'t>>,
    pub(super) stateful: Vec<Stateful>,
    /// What is being written, the innermost capture last.
    pub(super) outputs: Vec<TextBuilder>,
    pub(super) observations: Observations,
    pub(super) steps_left: u64,
    bytes_left: usize,
    depth: u16,
    serial: u64,
}

impl<'t> Machine<'t> {
    pub(super) fn new(variables: Vec<(Arc<str>, Value)>, now: DateTime, steering: &'t Steering) -> Self {
        Self {
            steering,
            now,
            scopes: vec![Scope { variables, parent: None, serial: 0 }],
            current: 0,
            namespaces: Vec::new(),
            macros: Vec::new(),
            loops: Vec::new(),
            stateful: Vec::new(),
            outputs: vec![TextBuilder::new()],
            observations: Observations::default(),
            steps_left: MAX_STEPS,
            bytes_left: MAX_BYTES,
            depth: 0,
            serial: 0,
        }
    }

    /// A machine for one expression: 2,000 steps and 64 KiB.
    pub(super) fn small(steering: &'t Steering) -> Self {
        let machine = Self::new(Vec::new(), DateTime::default(), steering);
        Self { steps_left: 2000, bytes_left: 64 * 1024, ..machine }
    }

    /// Renders `tree`; what was observed stays in the machine, also after an error.
    pub(super) fn render(&mut self, tree: &'t Tree) -> Result<TextBuilder> {
        // A scope of its own, so that what the template sets does not hide the context's names from macros.
        self.push_scope(Some(0))?;
        self.execute_all(&tree.body)?;
        Ok(self.outputs.pop().unwrap_or_default())
    }

    pub(super) fn steps_used(&self) -> u64 {
        MAX_STEPS - self.steps_left
    }

    /// Pays for `count` steps.
    pub(super) fn step(&mut self, count: usize) -> Result<()> {
        let left = self.steps_left.checked_sub(count as u64);
        self.steps_left = left.ok_or(TemplateError::Exhausted(Resource::Steps))?;
        Ok(())
    }

    /// Pays for `bytes` of memory, also where it is freed again later.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<()> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or(TemplateError::Exhausted(Resource::Memory))?;
        // Time to copy: a step for each 256 bytes.
        self.step(bytes / 256)
    }

    /// Runs `work` one level deeper.
    pub(super) fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.step(1)?;
        if self.depth >= MAX_DEPTH {
            return Err(TemplateError::Exhausted(Resource::Depth));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    pub(super) fn write(&mut self, text: &Text) -> Result<()> {
        self.charge(text.len())?;
        let Some(output) = self.outputs.last_mut() else { return Ok(()) };
        output.push(text);
        if output.len() > MAX_OUTPUT_BYTES { Err(TemplateError::Exhausted(Resource::Output)) } else { Ok(()) }
    }

    /// What `work` writes, as a text.
    pub(super) fn capture<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<Text> {
        self.outputs.push(TextBuilder::new());
        let result = work(self);
        let output = self.outputs.pop().unwrap_or_default();
        result?;
        Ok(output.finish())
    }

    /// Runs `work` in a scope under `parent`, with `variables`.
    pub(super) fn scoped<T>(&mut self, parent: usize, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (outer, length) = (self.current, self.scopes.len());
        self.push_scope(Some(parent))?;
        let result = work(self);
        self.scopes.truncate(length);
        self.current = outer;
        result
    }

    fn push_scope(&mut self, parent: Option<usize>) -> Result<()> {
        self.charge(size_of::<Scope>())?;
        self.serial += 1;
        self.scopes.push(Scope { variables: Vec::new(), parent, serial: self.serial });
        self.current = self.scopes.len() - 1;
        Ok(())
    }

    pub(super) fn set(&mut self, name: &Arc<str>, value: Value) -> Result<()> {
        self.charge(size_of::<Value>())?;
        let Some(scope) = self.scopes.get_mut(self.current) else { return runtime("no scope") };
        let count = scope.variables.len() / 8;
        match scope.variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => scope.variables.push((name.clone(), value)),
        }
        self.step(count)
    }

    pub(super) fn lookup(&mut self, name: &str) -> Result<Option<Value>> {
        let mut at = Some(self.current);
        while let Some(scope) = at.and_then(|index| self.scopes.get(index)) {
            if let Some((_, value)) = scope.variables.iter().find(|(known, _)| **known == *name) {
                return Ok(Some(value.clone()));
            }
            at = scope.parent;
            let count = scope.variables.len() / 8 + 1;
            self.step(count)?;
        }
        Ok(None)
    }

    /// Takes the way of a decision, and keeps what it depended on.
    pub(super) fn decide(&mut self, site: SiteId, condition: &Value, since: usize) -> bool {
        let way = self.steering.forced.get(&site).copied().unwrap_or_else(|| condition.is_true());
        let recent = self.observations.recent.get(since..).unwrap_or_default();
        let constants: Vec<String> = recent.iter().map(|constant| (**constant).to_owned()).collect();
        let decision = self.observations.decisions.entry(site).or_default();
        decision.taint = decision.taint.union(condition.taint());
        decision.ways[usize::from(way)] = true;
        if decision.constants.len() < MAX_CONSTANTS {
            decision.constants.extend(constants);
        }
        self.observations.recent.truncate(since);
        way
    }

    /// Where the constants of the condition about to be evaluated begin.
    pub(super) fn mark_constants(&self) -> usize {
        self.observations.recent.len()
    }

    /// Notes that a text of one origin met another, and returns what the outcome depends on.
    pub(super) fn observe(&mut self, subject: &Text, other: &Text) -> Taint {
        let taint = Taint::of_text(subject).union(Taint::of_text(other));
        match (subject.has(Origin::Content), other.has(Origin::Content)) {
            (true, false) => self.note_constant(other.as_str()),
            (false, true) => self.note_constant(subject.as_str()),
            _ => {}
        }
        taint
    }

    pub(super) fn note_constant(&mut self, constant: &str) {
        let observations = &mut self.observations;
        if constant.is_empty() || constant.len() > MAX_CONSTANT_BYTES {
            return;
        }
        if observations.recent.len() < MAX_CONSTANTS {
            observations.recent.push(constant.into());
        }
        if observations.constants.len() < MAX_CONSTANTS && !observations.constants.contains(constant) {
            observations.constants.insert(constant.to_owned());
        }
    }

    pub(super) fn note_number(&mut self, number: i64) {
        if self.observations.numbers.len() < MAX_CONSTANTS {
            self.observations.numbers.insert(number);
        }
    }

    /// Refuses names by which templates reach Python's internals.
    pub(super) fn check_name(&mut self, name: &str) -> Result<()> {
        if super::names::is_internal(name) {
            self.observations.forbidden.insert(name.chars().take(64).collect());
            if !self.steering.lenient {
                return Err(TemplateError::Forbidden(name.chars().take(64).collect()));
            }
        }
        Ok(())
    }

    /// An error, or undefined where the rendering only explores.
    pub(super) fn missing(&self, error: TemplateError) -> Result<Value> {
        if self.steering.lenient && !matches!(error, TemplateError::Exhausted(_)) {
            Ok(Value::undefined("?"))
        } else {
            Err(error)
        }
    }

    pub(super) fn new_text(&mut self, builder: TextBuilder) -> Result<Value> {
        self.charge(builder.len())?;
        Ok(Value::Text(builder.finish()))
    }

    pub(super) fn equals(&mut self, left: &Value, right: &Value) -> Result<bool> {
        left.equals(right, &mut self.steps_left)
    }
}
