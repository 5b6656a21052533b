//! Evaluating expressions.

use std::sync::Arc;

use super::error::{Result, TemplateError, runtime, unsupported};
use super::machine::{LoopState, Machine, MacroValue, Stateful};
use super::operators;
use super::text::{Origin, Text};
use super::tree::{Argument, Constant, Expression, Slice};
use super::value::{Function, Method, Taint, Value};

/// The arguments of a call, evaluated.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Arc<str>, Value)>,
}

impl Arguments {
    /// The argument at `index`, or called `name`.
    pub(super) fn get(&self, index: usize, name: &str) -> Option<&Value> {
        self.positional.get(index).or_else(|| self.named(name))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, index: usize, name: &str) -> Option<&Text> {
        if let Some(Value::Text(text)) = self.get(index, name) { Some(text) } else { None }
    }

    pub(super) fn flag(&self, index: usize, name: &str) -> bool {
        self.get(index, name).is_some_and(Value::is_true)
    }
}

impl<'t> Machine<'t> {
    pub(super) fn evaluate(&mut self, expression: &'t Expression) -> Result<Value> {
        self.nested(|machine| machine.evaluate_here(expression))
    }

    fn evaluate_here(&mut self, expression: &'t Expression) -> Result<Value> {
        match expression {
            Expression::Variable(name) => self.variable(name),
            Expression::Constant(constant) => Ok(constant_value(constant)),
            Expression::List(items) => {
                let values = items.iter().map(|item| self.evaluate(item)).collect::<Result<Vec<_>>>()?;
                self.charge(values.len() * size_of::<Value>())?;
                Value::list(values)
            }
            Expression::Dict(entries) => self.dict_literal(entries),
            Expression::Slice(slice) => self.evaluate_slice(slice),
            Expression::Not(operand) => {
                let value = self.evaluate(operand)?;
                Ok(Value::Bool(!value.is_true(), value.taint()))
            }
            Expression::Negate(operand) => {
                let value = self.evaluate(operand)?;
                operators::negate(&value)
            }
            Expression::And(operands) => self.logical(operands, false),
            Expression::Or(operands) => self.logical(operands, true),
            Expression::Binary(operator, operands) => {
                let left = self.evaluate(&operands.0)?;
                let right = self.evaluate(&operands.1)?;
                match self.binary(*operator, &left, &right) {
                    Err(error) => self.missing(error),
                    value => value,
                }
            }
            Expression::Compare(first, rest) => self.compare_chain(first, rest),
            Expression::Conditional { site, parts } => {
                let since = self.mark_constants();
                let condition = self.evaluate(&parts.0)?;
                match (self.decide(*site, &condition, since), &parts.2) {
                    (true, _) => self.evaluate(&parts.1),
                    (false, Some(otherwise)) => self.evaluate(otherwise),
                    (false, None) => Ok(Value::undefined("an inline if without else")),
                }
            }
            Expression::Filter { name, subject, arguments } => {
                let Some(subject) = subject else { return runtime("a filter without a subject") };
                let value = self.evaluate(subject)?;
                self.filter_expression(name, &value, arguments)
            }
            Expression::Test { name, subject, arguments } => {
                let value = self.evaluate(subject)?;
                let arguments = self.arguments(arguments)?;
                match self.test(name, &value, &arguments) {
                    Err(error) => self.missing(error),
                    value => value,
                }
            }
            Expression::Attribute { object, name } => {
                let object = self.evaluate(object)?;
                self.attribute(&object, name)
            }
            Expression::Item(parts) => {
                let object = self.evaluate(&parts.0)?;
                let key = self.evaluate(&parts.1)?;
                self.item(&object, &key)
            }
            Expression::Call { .. } => self.evaluate_call(expression, None),
        }
    }

    fn filter_expression(&mut self, name: &str, value: &Value, arguments: &'t [Argument]) -> Result<Value> {
        let arguments = self.arguments(arguments)?;
        match self.filter(name, value, &arguments) {
            Err(error) => self.missing(error),
            value => value,
        }
    }

    /// Applies the filters of a `filter` block to the text it captured.
    pub(super) fn filter_captured(&mut self, filter: &'t Expression, text: Value) -> Result<Value> {
        let Expression::Filter { name, subject, arguments } = filter else {
            return runtime("a block without a filter");
        };
        let value = match subject {
            Some(inner) => self.nested(|machine| machine.filter_captured(inner, text))?,
            None => text,
        };
        self.filter_expression(name, &value, arguments)
    }

    fn variable(&mut self, name: &str) -> Result<Value> {
        if let Some(value) = self.lookup(name)? {
            return Ok(value);
        }
        self.check_name(name)?;
        Ok(match name {
            "range" => Value::Function(Function::Range),
            "dict" => Value::Function(Function::Dict),
            "namespace" => Value::Function(Function::Namespace),
            "raise_exception" => Value::Function(Function::RaiseException),
            "strftime_now" => Value::Function(Function::StrftimeNow),
            "cycler" => Value::Function(Function::Cycler),
            "joiner" => Value::Function(Function::Joiner),
            _ => Value::undefined(name),
        })
    }

    fn dict_literal(&mut self, entries: &'t [(Expression, Expression)]) -> Result<Value> {
        let mut pairs: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
        self.charge(entries.len() * 2 * size_of::<Value>())?;
        for (key, value) in entries {
            let key = self.evaluate(key)?;
            let value = self.evaluate(value)?;
            self.insert(&mut pairs, key, value)?;
        }
        Value::dict(pairs)
    }

    /// Sets an entry as Python does: a key keeps its first place and takes the last value.
    pub(super) fn insert(&mut self, pairs: &mut Vec<(Value, Value)>, key: Value, value: Value) -> Result<()> {
        if matches!(key, Value::List(_) | Value::Dict(_)) {
            return runtime(format!("unhashable type: '{}'", key.type_name()));
        }
        self.step(pairs.len() / 8)?;
        match pairs.iter_mut().find(|(known, _)| known.equals_scalar(&key)) {
            Some((_, slot)) => *slot = value,
            None => pairs.push((key, value)),
        }
        Ok(())
    }

    /// `and` and `or` return one of their operands; what decided it taints the result.
    fn logical(&mut self, operands: &'t (Expression, Expression), stops_at: bool) -> Result<Value> {
        let left = self.evaluate(&operands.0)?;
        if left.is_true() == stops_at {
            return Ok(left);
        }
        let taint = left.taint();
        let right = self.evaluate(&operands.1)?;
        Ok(right.with_taint(taint))
    }

    fn evaluate_slice(&mut self, slice: &'t Slice) -> Result<Value> {
        let object = self.evaluate(&slice.object)?;
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip([&slice.start, &slice.stop, &slice.step]) {
            if let Some(part) = part {
                let value = self.evaluate(part)?;
                *bound = match (&value, value.as_int()) {
                    (Value::None, _) => None,
                    (_, Some(number)) => Some(number),
                    _ => return runtime("slice indices must be integers or None"),
                };
            }
        }
        self.slice(&object, bounds)
    }

    /// What `object.name` is: a method or property, or else the entry of that name.
    pub(super) fn attribute(&mut self, object: &Value, name: &str) -> Result<Value> {
        self.check_name(name)?;
        if let Some(value) = self.property(object, name)? {
            return Ok(value);
        }
        if has_method(object, name) {
            let method = Method { object: object.clone(), name: name.into() };
            return Ok(Value::Method(method.into()));
        }
        match object {
            Value::Undefined(missing) => {
                let error = TemplateError::Runtime(format!("'{missing}' is undefined"));
                self.missing(error)
            }
            Value::Dict(dict) => Ok(dict.get(name).cloned().unwrap_or_else(|| Value::undefined(name))),
            _ => Ok(Value::undefined(name)),
        }
    }

    /// What `object[key]` is: the entry, or else the attribute of that name.
    pub(super) fn item(&mut self, object: &Value, key: &Value) -> Result<Value> {
        if let Value::Text(name) = key {
            self.check_name(name.as_str())?;
        }
        match (object, key) {
            (Value::Undefined(missing), _) => {
                let error = TemplateError::Runtime(format!("'{missing}' is undefined"));
                self.missing(error)
            }
            (Value::Dict(dict), _) => {
                self.step(dict.entries.len() / 8)?;
                self.observe_keys(dict, key);
                match (dict.lookup(key), key) {
                    (Some(value), _) => Ok(value.clone()),
                    (None, Value::Text(name)) => self.attribute(object, name.as_str()),
                    (None, _) => Ok(Value::undefined("an entry")),
                }
            }
            (Value::List(list), _) if key.as_int().is_some() => {
                let index = place(key.as_int().unwrap_or(0), list.items.len());
                Ok(index
                    .and_then(|index| list.items.get(index).cloned())
                    .unwrap_or_else(|| Value::undefined("an item")))
            }
            (Value::Text(text), _) if key.as_int().is_some() => {
                self.step(text.len() / 64)?;
                let index = place(key.as_int().unwrap_or(0), text.as_str().chars().count());
                let found = index.and_then(|index| text.as_str().char_indices().nth(index));
                Ok(found.map_or_else(
                    || Value::undefined("a character"),
                    |(at, character)| Value::Text(text.slice(at..at + character.len_utf8())),
                ))
            }
            (_, Value::Text(name)) => self.attribute(object, name.as_str()),
            _ => Ok(Value::undefined("an item")),
        }
    }

    /// Properties that are no methods: of loops, namespaces and macros.
    fn property(&mut self, object: &Value, name: &str) -> Result<Option<Value>> {
        match object {
            Value::Loop(number) => self.loop_property(*number, name),
            Value::Namespace(index) => {
                let namespace = self.namespaces.get(*index);
                let found = namespace.and_then(|entries| entries.iter().find(|(known, _)| **known == *name));
                Ok(found.map(|(_, value)| value.clone()))
            }
            Value::Macro(index) if name == "name" => {
                Ok(self.macros.get(*index).map(|declared| Value::constant(&*declared.node.name)))
            }
            Value::Stateful(index) if name == "current" => match self.stateful.get(*index) {
                Some(Stateful::Cycler { items, next }) => Ok(items.get(next % items.len().max(1)).cloned()),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn loop_property(&self, number: usize, name: &str) -> Result<Option<Value>> {
        let Some(state) = self.loops.get(number) else { return runtime("the loop has ended") };
        let length = state.items.items.len();
        let neighbor = |index: Option<usize>, what: &str| {
            index.and_then(|index| state.items.items.get(index).cloned()).unwrap_or_else(|| Value::undefined(what))
        };
        let count = |number: usize| Value::count(number, state.taint);
        Ok(Some(match name {
            "index" => count(state.index + 1),
            "index0" => count(state.index),
            "revindex" => count(length - state.index),
            "revindex0" => count(length - state.index - 1),
            "first" => Value::bool(state.index == 0),
            "last" => Value::bool(state.index + 1 == length),
            "length" => count(length),
            "depth" => Value::count(state.depth + 1, Taint::NONE),
            "depth0" => Value::count(state.depth, Taint::NONE),
            "previtem" => neighbor(state.index.checked_sub(1), "there is no previous item"),
            "nextitem" => neighbor(state.index.checked_add(1), "there is no next item"),
            _ => return Ok(None),
        }))
    }

    pub(super) fn evaluate_call(&mut self, call: &'t Expression, caller: Option<usize>) -> Result<Value> {
        let Expression::Call { callee, arguments } = call else { return runtime("not a call") };
        let target = self.evaluate(callee)?;
        let arguments = self.arguments(arguments)?;
        match self.call(&target, &arguments, caller) {
            Err(TemplateError::Runtime(_)) if target.is_undefined() => {
                let error = match &**callee {
                    Expression::Variable(name) => TemplateError::Unsupported(format!("the function `{name}`")),
                    Expression::Attribute { name, .. } if !super::methods::is_method(name) => {
                        TemplateError::Unsupported(format!("the method `{name}`"))
                    }
                    _ => TemplateError::Runtime("what is called is undefined".to_owned()),
                };
                self.missing(error)
            }
            Err(error @ TemplateError::Refused(_)) => Err(error),
            Err(error) => self.missing(error),
            value => value,
        }
    }

    /// Calls a function, macro or method.
    pub(super) fn call(&mut self, target: &Value, arguments: &Arguments, caller: Option<usize>) -> Result<Value> {
        match target {
            Value::Function(function) => self.call_function(*function, arguments),
            Value::Method(method) => {
                let name = method.name.clone();
                self.call_method(&method.object, &name, arguments)
            }
            Value::Macro(index) => self.nested(|machine| machine.call_macro(*index, arguments, caller)),
            Value::Loop(number) => self.nested(|machine| machine.call_loop(*number, arguments)),
            Value::Stateful(index) => self.call_stateful(*index),
            other => runtime(format!("'{}' object is not callable", other.type_name())),
        }
    }

    fn arguments(&mut self, arguments: &'t [Argument]) -> Result<Arguments> {
        let mut result = Arguments::default();
        for argument in arguments {
            let value = self.evaluate(argument.expression())?;
            match argument {
                Argument::Positional(_) => result.positional.push(value),
                Argument::Named(name, _) => result.named.push((name.clone(), value)),
                Argument::Spread(_) => result.positional.extend(self.iterate(&value)?.items.iter().cloned()),
                Argument::SpreadNamed(_) => {
                    let Value::Dict(dict) = &value else { return runtime("argument after ** must be a mapping") };
                    let named = dict.entries.iter();
                    result.named.extend(named.filter_map(|(key, value)| Some((key.as_str()?.into(), value.clone()))));
                }
            }
        }
        self.charge((result.positional.len() + result.named.len()) * size_of::<Value>())?;
        Ok(result)
    }

    fn call_macro(&mut self, index: usize, arguments: &Arguments, caller: Option<usize>) -> Result<Value> {
        let Some(MacroValue { node, scope: (scope, serial) }) = self.macros.get(index).cloned() else {
            return runtime("no macro");
        };
        if self.scopes.get(scope).is_none_or(|known| known.serial != serial) {
            return unsupported("a macro outside of the block that declares it");
        }
        if arguments.positional.len() > node.parameters.len() {
            let (name, count) = (&node.name, node.parameters.len());
            return runtime(format!("macro '{name}' takes not more than {count} argument(s)"));
        }
        for (name, _) in &arguments.named {
            if !node.parameters.contains(name) && **name != *"caller" {
                return runtime(format!("macro '{}' takes no keyword argument '{name}'", node.name));
            }
        }
        let text = self.capture(|machine| {
            machine.scoped(scope, |machine| {
                if let Some(caller) = caller {
                    machine.set(&"caller".into(), Value::Macro(caller))?;
                }
                let required = node.parameters.len() - node.defaults.len();
                for (index, parameter) in node.parameters.iter().enumerate() {
                    let given = arguments.get(index, parameter).cloned();
                    let value = match (given, index.checked_sub(required).and_then(|at| node.defaults.get(at))) {
                        (Some(value), _) => value,
                        (None, Some(default)) => machine.evaluate(default)?,
                        (None, None) => Value::undefined(parameter),
                    };
                    machine.set(parameter, value)?;
                }
                machine.execute_all(&node.body)
            })
        })?;
        Ok(Value::Text(text))
    }

    fn call_loop(&mut self, number: usize, arguments: &Arguments) -> Result<Value> {
        let Some(LoopState { node, depth, .. }) = self.loops.get(number) else {
            return runtime("the loop has ended");
        };
        let (node, depth) = (*node, *depth);
        let (true, Some(sequence)) = (node.recursive, arguments.positional.first()) else {
            return runtime("the loop is not recursive");
        };
        let text = self.capture(|machine| machine.run_loop(node, sequence, depth + 1))?;
        Ok(Value::Text(text))
    }
}

/// The place that a Python index means in a sequence of `length` items.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index.checked_add(length)? } else { index }).ok()
}

fn constant_value(constant: &Constant) -> Value {
    match constant {
        Constant::None => Value::None,
        Constant::Bool(flag) => Value::bool(*flag),
        Constant::Int(number) => Value::int(*number),
        Constant::Float(number) => Value::Float(*number),
        Constant::Text(text) => Value::text(&**text, Origin::Template),
    }
}

fn has_method(object: &Value, name: &str) -> bool {
    match object {
        Value::Text(_) => super::methods::is_text_method(name),
        Value::List(_) => super::methods::is_list_method(name),
        Value::Dict(_) => super::methods::is_dict_method(name),
        Value::Loop(_) => ["cycle", "changed"].contains(&name),
        Value::Stateful(_) => ["next", "reset"].contains(&name),
        _ => false,
    }
}
