//! The functions that every template can call.

use super::error::{Resource, Result, TemplateError, runtime, unsupported};
use super::evaluate::Arguments;
use super::machine::{Machine, Stateful};
use super::text::Origin;
use super::value::{Function, Taint, Value};

/// Longest `range`; Jinja's sandbox stops at the same number.
const MAX_RANGE: i64 = 100_000;
/// Longest format of a date in bytes.
const MAX_FORMAT_BYTES: usize = 256;

impl Machine<'_> {
    pub(super) fn call_function(&mut self, function: Function, arguments: &Arguments) -> Result<Value> {
        match function {
            Function::Range => self.range(arguments),
            Function::Dict => {
                let mut pairs = Vec::new();
                if let Some(Value::Dict(dict)) = arguments.positional.first() {
                    self.charge(dict.entries.len() * 2 * size_of::<Value>())?;
                    pairs.clone_from(&dict.entries);
                }
                for (name, value) in &arguments.named {
                    self.insert(&mut pairs, Value::constant(&**name), value.clone())?;
                }
                Value::dict(pairs)
            }
            Function::Namespace => self.new_namespace(arguments),
            Function::RaiseException => {
                let message = match arguments.positional.first() {
                    Some(value) => self.display(value)?.as_str().chars().take(200).collect(),
                    None => String::new(),
                };
                Err(TemplateError::Refused(message))
            }
            Function::StrftimeNow => self.strftime_now(arguments),
            Function::Cycler => {
                if arguments.positional.is_empty() {
                    return runtime("at least one item has to be provided");
                }
                self.new_stateful(Stateful::Cycler { items: arguments.positional.clone(), next: 0 })
            }
            Function::Joiner => {
                let separator = arguments.get(0, "sep").cloned().unwrap_or_else(|| Value::constant(", "));
                self.new_stateful(Stateful::Joiner { separator, used: false })
            }
        }
    }

    fn range(&mut self, arguments: &Arguments) -> Result<Value> {
        let mut taint = Taint::NONE;
        let mut numbers = Vec::new();
        for value in &arguments.positional {
            taint = taint.union(value.taint());
            match value.as_int() {
                Some(number) => numbers.push(number),
                None => return runtime(format!("'{}' cannot be interpreted as an integer", value.type_name())),
            }
        }
        let (start, stop, step) = match numbers.as_slice() {
            [stop] => (0, *stop, 1),
            [start, stop] => (*start, *stop, 1),
            [start, stop, step] => (*start, *stop, *step),
            _ => return runtime("range expected 1 to 3 arguments"),
        };
        if step == 0 {
            return runtime("range() arg 3 must not be zero");
        }
        let span = stop.saturating_sub(start);
        let count = if (span > 0) == (step > 0) { span.saturating_abs() / step.saturating_abs() } else { 0 };
        if count > MAX_RANGE {
            return Err(TemplateError::Exhausted(Resource::Steps));
        }
        self.charge(usize::try_from(count).unwrap_or(0) * size_of::<Value>())?;
        let mut items = Vec::new();
        let mut at = start;
        while if step > 0 { at < stop } else { at > stop } {
            items.push(Value::Int(at, taint));
            at = at.saturating_add(step);
        }
        self.step(items.len() / 8)?;
        Value::tainted_list(items, taint)
    }

    fn new_namespace(&mut self, arguments: &Arguments) -> Result<Value> {
        self.charge(64)?;
        self.namespaces.push(Vec::new());
        let index = self.namespaces.len() - 1;
        if let Some(Value::Dict(dict)) = arguments.positional.first() {
            for (key, value) in &dict.entries {
                if let Some(name) = key.as_str() {
                    self.set_in_namespace(index, name, value.clone())?;
                }
            }
        }
        for (name, value) in &arguments.named {
            self.set_in_namespace(index, name, value.clone())?;
        }
        Ok(Value::Namespace(index))
    }

    fn strftime_now(&mut self, arguments: &Arguments) -> Result<Value> {
        let Some(format) = arguments.text(0, "format") else { return runtime("strftime_now needs a format") };
        if format.len() > MAX_FORMAT_BYTES {
            return unsupported("a long format of a date");
        }
        self.observations.asks_time = true;
        match jiff::fmt::strtime::format(format.as_str(), self.now) {
            Ok(text) => {
                self.charge(text.len())?;
                Ok(Value::text(text, Origin::Clock))
            }
            Err(_) => unsupported("this format of a date"),
        }
    }

    fn new_stateful(&mut self, stateful: Stateful) -> Result<Value> {
        self.charge(64)?;
        self.stateful.push(stateful);
        Ok(Value::Stateful(self.stateful.len() - 1))
    }

    /// A joiner is called itself, a cycler by its methods.
    pub(super) fn call_stateful(&mut self, index: usize) -> Result<Value> {
        match self.stateful.get_mut(index) {
            Some(Stateful::Joiner { separator, used }) => {
                let is_first = !std::mem::replace(used, true);
                Ok(if is_first { Value::constant("") } else { separator.clone() })
            }
            _ => runtime("'cycler' object is not callable"),
        }
    }

    pub(super) fn stateful_method(&mut self, index: usize, name: &str) -> Result<Value> {
        match (self.stateful.get_mut(index), name) {
            (Some(Stateful::Cycler { items, next }), "next") => {
                let item = items.get(*next % items.len().max(1)).cloned();
                *next = (*next + 1) % items.len().max(1);
                Ok(item.unwrap_or(Value::None))
            }
            (Some(Stateful::Cycler { next, .. }), "reset") => {
                *next = 0;
                Ok(Value::None)
            }
            _ => unsupported(format!("the method `{name}`")),
        }
    }

    pub(super) fn loop_method(&mut self, number: usize, name: &str, arguments: &Arguments) -> Result<Value> {
        let Some(state) = self.loops.get(number) else { return runtime("the loop has ended") };
        let items = &arguments.positional;
        match name {
            "cycle" if items.is_empty() => runtime("no items for cycling given"),
            "cycle" => Ok(items[state.index % items.len()].clone()),
            _ => {
                let before = state.changed.clone();
                let mut differs = before.as_ref().is_none_or(|before| before.len() != items.len());
                for (old, new) in before.iter().flatten().zip(items) {
                    differs = differs || !self.equals(old, new)?;
                }
                if let Some(state) = self.loops.get_mut(number).filter(|_| differs) {
                    state.changed = Some(items.clone());
                }
                Ok(Value::bool(differs))
            }
        }
    }
}
