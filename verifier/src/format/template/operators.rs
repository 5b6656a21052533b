//! Arithmetic, comparison, slices and Python's texts of values.

use super::error::{Result, runtime, unsupported};
use super::machine::Machine;
use super::text::{Origin, Text, TextBuilder};
use super::tree::{Comparison, Expression, Operator};
use super::value::{Dict, Taint, Value};

impl<'t> Machine<'t> {
    pub(super) fn binary(&mut self, operator: Operator, left: &Value, right: &Value) -> Result<Value> {
        if operator == Operator::Concatenate {
            let mut builder = TextBuilder::new();
            builder.push(&self.display(left)?);
            builder.push(&self.display(right)?);
            return self.new_text(builder);
        }
        match (operator, left, right) {
            (Operator::Add, Value::Text(first), Value::Text(second)) => {
                self.charge(first.len() + second.len())?;
                let mut builder = TextBuilder::new();
                builder.push(first);
                builder.push(second);
                Ok(Value::Text(builder.finish()))
            }
            (Operator::Add, Value::List(first), Value::List(second)) => {
                self.charge((first.items.len() + second.items.len()) * size_of::<Value>())?;
                let items = first.items.iter().chain(&second.items).cloned().collect();
                Value::tainted_list(items, first.taint.union(second.taint))
            }
            (Operator::Multiply, sequence @ (Value::Text(_) | Value::List(_)), _) if right.as_int().is_some() => {
                self.repeat(sequence, right.as_int().unwrap_or(0))
            }
            (Operator::Multiply, _, sequence @ (Value::Text(_) | Value::List(_))) if left.as_int().is_some() => {
                self.repeat(sequence, left.as_int().unwrap_or(0))
            }
            (Operator::Remainder, Value::Text(format), _) => self.format_printf(format, right),
            _ => arithmetic(operator, left, right),
        }
    }

    fn repeat(&mut self, sequence: &Value, count: i64) -> Result<Value> {
        let count = usize::try_from(count).unwrap_or(0);
        match sequence {
            Value::Text(text) => {
                self.charge(text.len().saturating_mul(count))?;
                self.step(if text.len() == 0 { 0 } else { count / 8 })?;
                let mut builder = TextBuilder::new();
                for _ in 0..if text.len() == 0 { 0 } else { count } {
                    builder.push(text);
                }
                Ok(Value::Text(builder.finish()))
            }
            Value::List(list) => {
                self.charge(list.items.len().saturating_mul(count).saturating_mul(size_of::<Value>()))?;
                let count = if list.items.is_empty() { 0 } else { count };
                let items = (0..count).flat_map(|_| list.items.iter().cloned()).collect();
                Value::tainted_list(items, list.taint)
            }
            other => runtime(format!("'{}' cannot be repeated", other.type_name())),
        }
    }

    pub(super) fn compare_chain(
        &mut self,
        first: &'t Expression,
        rest: &'t [(Comparison, Expression)],
    ) -> Result<Value> {
        let mut left = self.evaluate(first)?;
        let mut taint = Taint::NONE;
        for (comparison, operand) in rest {
            let right = self.evaluate(operand)?;
            let outcome = match self.compare(*comparison, &left, &right) {
                Err(error) => self.missing(error)?,
                Ok(outcome) => outcome,
            };
            taint = taint.union(outcome.taint());
            if !outcome.is_true() {
                return Ok(Value::Bool(false, taint));
            }
            left = right;
        }
        Ok(Value::Bool(true, taint))
    }

    /// One comparison, with what its outcome depends on.
    pub(super) fn compare(&mut self, comparison: Comparison, left: &Value, right: &Value) -> Result<Value> {
        let taint = self.observe_comparison(comparison, left, right)?;
        let holds = match comparison {
            Comparison::Equal => self.equals(left, right)?,
            Comparison::NotEqual => !self.equals(left, right)?,
            Comparison::In => self.contains(right, left)?,
            Comparison::NotIn => !self.contains(right, left)?,
            _ => self.order(comparison, left, right)?,
        };
        Ok(Value::Bool(holds, taint))
    }

    fn order(&mut self, comparison: Comparison, left: &Value, right: &Value) -> Result<bool> {
        let Some(ordering) = self.ordering(left, right)? else {
            let (left, right) = (left.type_name(), right.type_name());
            return runtime(format!("'<' not supported between instances of '{left}' and '{right}'"));
        };
        Ok(match comparison {
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            _ => ordering.is_ge(),
        })
    }

    /// The order of two values, where they have one.
    pub(super) fn ordering(&mut self, left: &Value, right: &Value) -> Result<Option<std::cmp::Ordering>> {
        self.step(1)?;
        if let (Value::List(left), Value::List(right)) = (left, right) {
            for (left, right) in left.items.iter().zip(&right.items) {
                match self.nested(|machine| machine.ordering(left, right))? {
                    Some(std::cmp::Ordering::Equal) => {}
                    other => return Ok(other),
                }
            }
            return Ok(Some(left.items.len().cmp(&right.items.len())));
        }
        Ok(match (left, right) {
            (Value::Text(left), Value::Text(right)) => Some(left.as_str().cmp(right.as_str())),
            _ => match (left.as_int(), right.as_int()) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                _ => left.as_float().zip(right.as_float()).and_then(|(left, right)| left.partial_cmp(&right)),
            },
        })
    }

    fn observe_comparison(&mut self, comparison: Comparison, left: &Value, right: &Value) -> Result<Taint> {
        let is_membership = matches!(comparison, Comparison::In | Comparison::NotIn);
        let taint = match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                self.step((left.len() + right.len()) / 64)?;
                let is_emptiness = !is_membership && (left.len() == 0 || right.len() == 0);
                let taint = self.observe(left, right);
                if is_emptiness { Taint::NONE } else { taint }
            }
            (Value::Text(text), Value::List(list)) if is_membership => {
                let texts: Vec<Text> = list.items.iter().filter_map(text_of).collect();
                self.step(texts.len())?;
                texts.iter().fold(Taint::NONE, |taint, item| taint.union(self.observe(text, item)))
            }
            (_, Value::Dict(dict)) if is_membership => self.observe_keys(dict, left),
            (Value::Int(..), _) | (_, Value::Int(..)) => self.observe_numbers(left, right),
            (Value::List(left), Value::List(right)) => left.taint.union(right.taint),
            _ => left.taint().union(right.taint()),
        };
        Ok(taint)
    }

    /// Whether there is anything at all is no property of what content says.
    fn observe_numbers(&mut self, left: &Value, right: &Value) -> Taint {
        let taint = left.taint().union(right.taint());
        for number in [left, right].into_iter().filter(|value| value.taint().is_none()).filter_map(Value::as_int) {
            if !taint.is_none() {
                self.note_number(number);
            }
            if number == 0 && !taint.has(Taint::CLOCK) {
                return Taint::NONE;
            }
        }
        taint
    }

    /// Looking content up in a dictionary compares it with every key.
    pub(super) fn observe_keys(&mut self, dict: &Dict, key: &Value) -> Taint {
        let Value::Text(key) = key else { return Taint::NONE };
        let taint = Taint::of_text(key);
        if !taint.is_none() {
            for (name, _) in &dict.entries {
                if let Some(name) = name.as_str() {
                    self.note_constant(name);
                }
            }
        }
        taint
    }

    pub(super) fn contains(&mut self, container: &Value, item: &Value) -> Result<bool> {
        match (container, item) {
            (Value::Undefined(_), _) => Ok(false),
            (Value::Text(text), Value::Text(part)) => Ok(text.as_str().contains(part.as_str())),
            (Value::List(list), _) => {
                for candidate in &list.items {
                    if self.equals(candidate, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Value::Dict(dict), _) => {
                self.step(dict.entries.len() / 8)?;
                Ok(dict.lookup(item).is_some())
            }
            (Value::Text(_), other) => {
                runtime(format!("'in <string>' requires string as left operand, not {}", other.type_name()))
            }
            (other, _) => runtime(format!("argument of type '{}' is not iterable", other.type_name())),
        }
    }

    /// `object[start:stop:step]` as in Python.
    pub(super) fn slice(&mut self, object: &Value, [start, stop, step]: [Option<i64>; 3]) -> Result<Value> {
        let step = step.unwrap_or(1);
        if step == 0 {
            return runtime("slice step cannot be zero");
        }
        match object {
            Value::List(list) => {
                let places = slice_places(list.items.len(), start, stop, step);
                self.charge(places.len() * size_of::<Value>())?;
                self.step(places.len() / 8)?;
                let items = places.into_iter().filter_map(|place| list.items.get(place).cloned()).collect();
                Value::tainted_list(items, list.taint)
            }
            Value::Text(text) => {
                self.charge(text.len() * size_of::<usize>())?;
                let starts: Vec<usize> = text.as_str().char_indices().map(|(at, _)| at).collect();
                let end_of = |place: usize| starts.get(place + 1).copied().unwrap_or(text.len());
                let places = slice_places(starts.len(), start, stop, step);
                if step == 1 {
                    let range = places.first().zip(places.last());
                    let range = range.map_or(0..0, |(first, last)| starts[*first]..end_of(*last));
                    return Ok(Value::Text(text.slice(range)));
                }
                self.step(places.len() / 8)?;
                let mut builder = TextBuilder::new();
                for place in places {
                    builder.push_range(text, starts[place]..end_of(place));
                }
                self.new_text(builder)
            }
            Value::Undefined(name) => {
                let error = super::error::TemplateError::Runtime(format!("'{name}' is undefined"));
                self.missing(error)
            }
            other => runtime(format!("'{}' object is not subscriptable", other.type_name())),
        }
    }

    /// A value as it stands in the output.
    pub(super) fn display(&mut self, value: &Value) -> Result<Text> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            Value::Undefined(_) => Ok(Text::new("", Origin::Template)),
            _ => {
                let mut builder = TextBuilder::new();
                self.represent(value, &mut builder)?;
                Ok(builder.finish())
            }
        }
    }

    /// Python's `repr`; texts in lists keep where they came from.
    pub(super) fn represent(&mut self, value: &Value, builder: &mut TextBuilder) -> Result<()> {
        self.step(1)?;
        self.charge(16)?;
        let constant = |builder: &mut TextBuilder, text: &str| builder.push_str(text, Origin::Template);
        match value {
            Value::Text(text) => self.represent_text(text, builder)?,
            Value::List(list) => {
                constant(builder, if list.is_tuple { "(" } else { "[" });
                for (index, item) in list.items.iter().enumerate() {
                    constant(builder, if index == 0 { "" } else { ", " });
                    self.represent(item, builder)?;
                }
                constant(builder, if list.is_tuple { ")" } else { "]" });
            }
            Value::Dict(dict) => {
                constant(builder, "{");
                for (index, (key, value)) in dict.entries.iter().enumerate() {
                    constant(builder, if index == 0 { "" } else { ", " });
                    self.represent(key, builder)?;
                    constant(builder, ": ");
                    self.represent(value, builder)?;
                }
                constant(builder, "}");
            }
            other => constant(builder, &scalar_text(other)),
        }
        Ok(())
    }

    fn represent_text(&mut self, text: &Text, builder: &mut TextBuilder) -> Result<()> {
        self.charge(text.len())?;
        let quote = if text.as_str().contains('\'') && !text.as_str().contains('"') { '"' } else { '\'' };
        let escape = |part: &str| {
            let mut escaped = String::with_capacity(part.len());
            for character in part.chars() {
                match character {
                    '\n' => escaped.push_str("\\n"),
                    '\r' => escaped.push_str("\\r"),
                    '\t' => escaped.push_str("\\t"),
                    '\\' => escaped.push_str("\\\\"),
                    other if other == quote => escaped.extend(['\\', other]),
                    other if other.is_ascii_control() => escaped.extend(format!("\\x{:02x}", u32::from(other)).chars()),
                    other => escaped.push(other),
                }
            }
            escaped
        };
        let mut mark = [0; 4];
        let mark = quote.encode_utf8(&mut mark);
        builder.push_str(mark, Origin::Template);
        builder.push(&text.map(escape));
        builder.push_str(mark, Origin::Template);
        Ok(())
    }
}

pub(super) fn negate(value: &Value) -> Result<Value> {
    match (value, value.as_int()) {
        (_, Some(number)) => match number.checked_neg() {
            Some(negated) => Ok(Value::Int(negated, value.taint())),
            None => unsupported("a number beyond 64 bits"),
        },
        (Value::Float(number), _) => Ok(Value::Float(-number)),
        _ => runtime(format!("bad operand type for unary -: '{}'", value.type_name())),
    }
}

fn text_of(value: &Value) -> Option<Text> {
    if let Value::Text(text) = value { Some(text.clone()) } else { None }
}

/// A value without parts as Python writes it.
pub(super) fn scalar_text(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(flag, _) => (if *flag { "True" } else { "False" }).to_owned(),
        Value::Int(number, _) => number.to_string(),
        Value::Float(number) => float_text(*number),
        Value::Undefined(_) => "Undefined".to_owned(),
        Value::Namespace(_) => "<Namespace>".to_owned(),
        Value::Macro(_) => "<Macro>".to_owned(),
        Value::Loop(_) => "<LoopContext>".to_owned(),
        Value::Text(text) => text.as_str().to_owned(),
        _ => "<function>".to_owned(),
    }
}

/// Python's shortest text of a float.
pub(super) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return (if number > 0.0 { "inf" } else { "-inf" }).to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{number:e}");
        let Some((mantissa, exponent)) = text.split_once('e') else { return text };
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    let text = number.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value> {
    let taint = left.taint().union(right.taint());
    if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
        let result = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::FloorDivide | Operator::Remainder | Operator::Divide if b == 0 => {
                return runtime("division by zero");
            }
            Operator::FloorDivide => a.checked_div(b).map(|quotient| quotient - i64::from(has_remainder_below(a, b))),
            Operator::Remainder => {
                a.checked_rem(b).map(|remainder| if has_remainder_below(a, b) { remainder + b } else { remainder })
            }
            Operator::Power if b >= 0 => u32::try_from(b).ok().and_then(|exponent| a.checked_pow(exponent)),
            _ => return float_arithmetic(operator, left, right),
        };
        return match result {
            Some(number) => Ok(Value::Int(number, taint)),
            None => unsupported("a number beyond 64 bits"),
        };
    }
    float_arithmetic(operator, left, right)
}

/// Whether the quotient is not whole and rounds up, where Python rounds down.
const fn has_remainder_below(a: i64, b: i64) -> bool {
    a.wrapping_rem(b) != 0 && (a < 0) != (b < 0)
}

fn float_arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value> {
    let (Some(a), Some(b)) = (left.as_float(), right.as_float()) else {
        if let Some(Value::Undefined(name)) = [left, right].into_iter().find(|value| value.is_undefined()) {
            return runtime(format!("'{name}' is undefined"));
        }
        let (left, right) = (left.type_name(), right.type_name());
        return runtime(format!("unsupported operand types: '{left}' and '{right}'"));
    };
    let divides = matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder);
    if divides && b == 0.0 {
        return runtime("division by zero");
    }
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::FloorDivide => (a / b).floor(),
        Operator::Remainder => a - b * (a / b).floor(),
        Operator::Power => a.powf(b),
        Operator::Concatenate => return runtime("not a number"),
    }))
}

/// The places that a Python slice takes from a sequence of `length` items.
fn slice_places(length: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> Vec<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |bound: i64| if bound < 0 { (bound.saturating_add(length)).max(low) } else { bound.min(high) };
    let mut at = start.map_or(if step > 0 { low } else { high }, clamp);
    let stop = stop.map_or(if step > 0 { high } else { low }, clamp);
    let mut places = Vec::new();
    while if step > 0 { at < stop } else { at > stop } {
        places.extend(usize::try_from(at));
        at = at.saturating_add(step);
    }
    places
}
