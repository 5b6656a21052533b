//! Running statements.

use std::rc::Rc;

use super::error::{Result, TemplateError, runtime};
use super::machine::{LoopState, Machine, MacroValue};
use super::text::Text;
use super::tree::{Expression, For, Macro, Statement};
use super::value::{List, Taint, Value};

/// Where to go on after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

/// Most loops inside each other at one time, recursive ones included.
const MAX_LOOPS: usize = 100;

impl<'t> Machine<'t> {
    pub(super) fn execute_all(&mut self, statements: &'t [Statement]) -> Result<Flow> {
        for statement in statements {
            let flow = self.nested(|machine| machine.execute(statement))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn execute(&mut self, statement: &'t Statement) -> Result<Flow> {
        match statement {
            Statement::Raw(text) => self.write(&Text::new(&**text, super::text::Origin::Template))?,
            Statement::Emit(expression) => self.emit(expression)?,
            Statement::If { .. } => return self.execute_if(statement),
            Statement::For(node) => self.start_loop(node)?,
            Statement::With { assignments, body } => return self.execute_with(assignments, body),
            Statement::Set { target, value } => {
                let value = self.evaluate(value)?;
                self.assign(target, value)?;
            }
            Statement::SetBlock { target, filter, body } => self.execute_set_block(target, filter.as_ref(), body)?,
            Statement::FilterBlock { filter, body } => {
                let text = self.capture_scoped(body)?;
                let value = self.filter_captured(filter, Value::Text(text))?;
                let text = self.display(&value)?;
                self.write(&text)?;
            }
            Statement::Plain(body) => return self.execute_all(body),
            Statement::Macro(node) => self.declare(node)?,
            Statement::CallBlock { call, body } => self.execute_call_block(call, body)?,
            Statement::Do(expression) => {
                self.evaluate(expression)?;
            }
            Statement::Break => return Ok(Flow::Break),
            Statement::Continue => return Ok(Flow::Continue),
            Statement::Reference(keyword) => {
                return Err(TemplateError::Forbidden((*keyword).to_owned()));
            }
        }
        Ok(Flow::Next)
    }

    fn emit(&mut self, expression: &'t Expression) -> Result<()> {
        let value = self.evaluate(expression)?;
        let text = self.display(&value)?;
        self.write(&text)
    }

    /// Branches of `elif` are walked in a loop, since each stands inside the one before it.
    fn execute_if(&mut self, statement: &'t Statement) -> Result<Flow> {
        let mut next = statement;
        loop {
            let Statement::If { site, test, then, otherwise } = next else {
                return self.execute(next);
            };
            let since = self.mark_constants();
            let condition = self.evaluate(test)?;
            if self.decide(*site, &condition, since) {
                return self.execute_all(then);
            }
            match otherwise.as_slice() {
                [only @ Statement::If { .. }] => next = only,
                others => return self.execute_all(others),
            }
            self.step(1)?;
        }
    }

    fn execute_with(&mut self, assignments: &'t [(Expression, Expression)], body: &'t [Statement]) -> Result<Flow> {
        let mut values = Vec::with_capacity(assignments.len());
        for (target, value) in assignments {
            values.push((target, self.evaluate(value)?));
        }
        self.scoped(self.current, |machine| {
            for (target, value) in values {
                machine.assign(target, value)?;
            }
            machine.execute_all(body)
        })
    }

    fn execute_set_block(
        &mut self,
        target: &'t Expression,
        filter: Option<&'t Expression>,
        body: &'t [Statement],
    ) -> Result<()> {
        let mut value = Value::Text(self.capture_scoped(body)?);
        if let Some(filter) = filter {
            value = self.filter_captured(filter, value)?;
        }
        self.assign(target, value)
    }

    fn capture_scoped(&mut self, body: &'t [Statement]) -> Result<Text> {
        self.capture(|machine| machine.scoped(machine.current, |machine| machine.execute_all(body)))
    }

    fn execute_call_block(&mut self, call: &'t Expression, body: &'t Macro) -> Result<()> {
        let caller = self.new_macro(body)?;
        let value = self.evaluate_call(call, Some(caller))?;
        let text = self.display(&value)?;
        self.write(&text)
    }

    fn declare(&mut self, node: &'t Macro) -> Result<()> {
        let index = self.new_macro(node)?;
        self.set(&node.name, Value::Macro(index))
    }

    fn new_macro(&mut self, node: &'t Macro) -> Result<usize> {
        self.charge(size_of::<MacroValue<'_>>())?;
        let serial = self.scopes.get(self.current).map_or(0, |scope| scope.serial);
        self.macros.push(MacroValue { node, scope: (self.current, serial) });
        Ok(self.macros.len() - 1)
    }

    /// Assigns to a name, to names in parallel, or to an attribute of a namespace.
    pub(super) fn assign(&mut self, target: &'t Expression, value: Value) -> Result<()> {
        match target {
            Expression::Variable(name) => self.set(name, value),
            Expression::List(targets) => {
                let values = self.iterate(&value)?;
                if values.items.len() != targets.len() {
                    return runtime(format!("{} values for {} names", values.items.len(), targets.len()));
                }
                for (target, value) in targets.iter().zip(&values.items) {
                    self.assign(target, value.clone())?;
                }
                Ok(())
            }
            Expression::Attribute { object, name } => {
                let Value::Namespace(index) = self.evaluate(object)? else {
                    return runtime("cannot assign attribute on non-namespace object");
                };
                self.set_in_namespace(index, name, value)
            }
            _ => runtime("cannot assign to this"),
        }
    }

    pub(super) fn set_in_namespace(&mut self, index: usize, name: &str, value: Value) -> Result<()> {
        self.charge(size_of::<Value>())?;
        let Some(namespace) = self.namespaces.get_mut(index) else { return runtime("no namespace") };
        let count = namespace.len() / 8;
        match namespace.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, slot)) => *slot = value,
            None => namespace.push((name.into(), value)),
        }
        self.step(count)
    }

    fn start_loop(&mut self, node: &'t For) -> Result<()> {
        let sequence = self.evaluate(&node.sequence)?;
        self.run_loop(node, &sequence, 0)
    }

    /// Runs a loop over `sequence`; `depth` counts recursive calls around it.
    pub(super) fn run_loop(&mut self, node: &'t For, sequence: &Value, depth: usize) -> Result<()> {
        let mut items = self.iterate(sequence)?;
        if node.filter.is_some() {
            items = self.filter_items(node, &items)?;
        }
        if items.items.is_empty() {
            return self.scoped(self.current, |machine| machine.execute_all(&node.otherwise)).map(|_| ());
        }
        if self.loops.len() >= MAX_LOOPS {
            return Err(TemplateError::Exhausted(super::error::Resource::Depth));
        }
        let taint = items.taint;
        self.loops.push(LoopState { node, items: items.clone(), index: 0, depth, taint, changed: None });
        let result = self.run_iterations(node, &items);
        self.loops.pop();
        result
    }

    fn run_iterations(&mut self, node: &'t For, items: &List) -> Result<()> {
        let number = self.loops.len() - 1;
        for (index, item) in items.items.iter().enumerate() {
            if let Some(state) = self.loops.get_mut(number) {
                state.index = index;
            }
            let flow = self.scoped(self.current, |machine| {
                machine.set(&"loop".into(), Value::Loop(number))?;
                machine.assign(&node.target, item.clone())?;
                machine.execute_all(&node.body)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    fn filter_items(&mut self, node: &'t For, items: &List) -> Result<Rc<List>> {
        let Some((site, filter)) = &node.filter else { return runtime("no filter") };
        let mut kept = Vec::new();
        let mut taint = items.taint;
        for item in &items.items {
            let keep = self.scoped(self.current, |machine| {
                machine.assign(&node.target, item.clone())?;
                let since = machine.mark_constants();
                let condition = machine.evaluate(filter)?;
                taint = taint.union(condition.taint());
                Ok(machine.decide(*site, &condition, since))
            })?;
            if keep {
                kept.push(item.clone());
            }
        }
        match Value::tainted_list(kept, taint)? {
            Value::List(list) => Ok(list),
            _ => runtime("no list"),
        }
    }

    /// The items of anything that can be iterated.
    pub(super) fn iterate(&mut self, value: &Value) -> Result<Rc<List>> {
        if let Value::List(list) = value {
            return Ok(list.clone());
        }
        let (items, taint) = match value {
            Value::Undefined(_) => (Vec::new(), Taint::NONE),
            Value::Dict(dict) => (dict.entries.iter().map(|(key, _)| key.clone()).collect(), Taint::NONE),
            Value::Text(text) => {
                self.charge(text.len() * 4 * size_of::<Value>())?;
                let starts = text.as_str().char_indices();
                let items = starts.map(|(at, character)| Value::Text(text.slice(at..at + character.len_utf8())));
                (items.collect(), Taint::of_text(text))
            }
            other => return runtime(format!("'{}' object is not iterable", other.type_name())),
        };
        self.charge(items.len() * size_of::<Value>())?;
        self.step(items.len())?;
        match Value::tainted_list(items, taint)? {
            Value::List(list) => Ok(list),
            _ => runtime("no list"),
        }
    }
}
