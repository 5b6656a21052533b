//! Jinja's filters.

use std::cmp::Ordering;

use super::error::{Result, runtime, unsupported};
use super::evaluate::Arguments;
use super::machine::Machine;
use super::methods::dict_items;
use super::text::{Origin, Text, TextBuilder};
use super::tree::Operator;
use super::value::{Taint, Value};

impl Machine<'_> {
    pub(super) fn filter(&mut self, name: &str, value: &Value, arguments: &Arguments) -> Result<Value> {
        if let Value::Text(text) = value {
            self.step(text.len() / 64)?;
        }
        match name {
            "tojson" => self.tojson(value, arguments),
            "length" | "count" => length(value),
            "default" | "d" => Ok(default(value, arguments)),
            "string" => Ok(Value::Text(self.display(value)?)),
            "safe" => Ok(value.clone()),
            "int" | "float" | "abs" | "round" => number_filter(name, value, arguments),
            "list" => Ok(Value::List(self.iterate(value)?)),
            "first" | "last" => {
                let items = self.iterate(value)?;
                let item = if name == "first" { items.items.first() } else { items.items.last() };
                Ok(item.cloned().unwrap_or_else(|| Value::undefined("an item of an empty sequence")))
            }
            "items" | "dictsort" => self.dict_filter(name, value, arguments),
            "join" => self.join_filter(value, arguments),
            "map" => self.map(value, arguments),
            "select" | "reject" => self.select(value, arguments, name == "select", false),
            "selectattr" | "rejectattr" => self.select(value, arguments, name == "selectattr", true),
            "reverse" => self.reversed(value),
            "sort" => self.sort(value, arguments),
            "unique" => self.unique(value, arguments),
            "min" | "max" | "sum" => self.fold(name, value, arguments),
            "batch" | "slice" => self.groups(name, value, arguments),
            "attr" => match arguments.text(0, "name") {
                Some(attribute) => self.attribute(value, attribute.as_str()),
                None => runtime("attr needs a name"),
            },
            "format" => match value {
                Value::Text(format) => {
                    let values = Value::list(arguments.positional.clone())?;
                    self.format_printf(format, &values)
                }
                _ => runtime("format needs a text"),
            },
            _ => {
                let text = self.display(value)?;
                self.text_filter(name, &text, arguments)
            }
        }
    }

    /// Filters that take anything as its text.
    fn text_filter(&mut self, name: &str, text: &Text, arguments: &Arguments) -> Result<Value> {
        match name {
            "trim" => self.strip(text, "strip", arguments.text(0, "chars")),
            "upper" | "lower" | "capitalize" => self.change_case(text, name),
            "title" => self.title_words(text),
            "replace" => self.replace(text, arguments),
            "escape" | "e" | "forceescape" => {
                self.charge(text.len() * 6)?;
                Ok(Value::Text(text.map(escape_html)))
            }
            "indent" => self.indent(text, arguments),
            "wordcount" => {
                let count = text.as_str().split_whitespace().count();
                Ok(Value::count(count, Taint::of_text(text)))
            }
            "striptags" | "truncate" | "wordwrap" | "urlencode" | "urlize" | "center" | "filesizeformat"
            | "groupby" | "pprint" | "random" | "xmlattr" => unsupported(format!("the filter `{name}`")),
            _ => unsupported(format!("the unknown filter `{name}`")),
        }
    }

    /// Words begin behind spaces and opening brackets, as Jinja's own `title` has it.
    fn title_words(&mut self, text: &Text) -> Result<Value> {
        self.charge(text.len() * 2)?;
        Ok(Value::Text(text.map(|part| {
            let mut starts = true;
            let mut result = String::with_capacity(part.len());
            for character in part.chars() {
                if starts {
                    result.extend(character.to_uppercase());
                } else {
                    result.extend(character.to_lowercase());
                }
                starts = character.is_whitespace() || "-({[<".contains(character);
            }
            result
        })))
    }

    fn dict_filter(&mut self, name: &str, value: &Value, arguments: &Arguments) -> Result<Value> {
        let dict = match value {
            Value::Dict(dict) => dict,
            Value::Undefined(_) if name == "items" => return Value::list(Vec::new()),
            _ => return runtime("Can only get item pairs from a mapping."),
        };
        self.charge(dict.entries.len() * 4 * size_of::<Value>())?;
        self.step(dict.entries.len())?;
        if name == "items" {
            return dict_items(dict);
        }
        let by_value = arguments.get(1, "by").and_then(Value::as_str) == Some("value");
        let sensitive = arguments.flag(0, "case_sensitive");
        let mut entries = dict.entries.clone();
        self.sort_by(&mut entries, sensitive, |(key, value)| if by_value { value.clone() } else { key.clone() })?;
        if arguments.flag(2, "reverse") {
            entries.reverse();
        }
        let pairs = entries.into_iter().map(|(key, value)| Value::pair(key, value));
        Value::list(pairs.collect::<Result<_>>()?)
    }

    fn join_filter(&mut self, value: &Value, arguments: &Arguments) -> Result<Value> {
        let separator = match arguments.get(0, "d") {
            Some(separator) => self.display(separator)?,
            None => Text::new("", Origin::Template),
        };
        let items = self.iterate(value)?;
        let attribute = arguments.get(1, "attribute").cloned();
        let mut builder = TextBuilder::new();
        for (index, item) in items.items.iter().enumerate() {
            let item = match &attribute {
                Some(attribute) => self.path(item, attribute)?,
                None => item.clone(),
            };
            let text = self.display(&item)?;
            self.charge(text.len() + separator.len())?;
            self.step(1)?;
            if index > 0 {
                builder.push(&separator);
            }
            builder.push(&text);
        }
        Ok(Value::Text(builder.finish()))
    }

    /// An attribute as filters take it: a number, or names joined by dots.
    fn path(&mut self, item: &Value, attribute: &Value) -> Result<Value> {
        self.step(1)?;
        let Value::Text(path) = attribute else { return self.item(item, attribute) };
        let mut value = item.clone();
        for part in path.as_str().split('.') {
            let key = part.parse().map_or_else(|_| Value::constant(part), Value::int);
            value = self.item(&value, &key)?;
        }
        Ok(value)
    }

    fn map(&mut self, value: &Value, arguments: &Arguments) -> Result<Value> {
        let items = self.iterate(value)?;
        let mut results = Vec::with_capacity(items.items.len());
        self.charge(items.items.len() * size_of::<Value>())?;
        let attribute = arguments.named("attribute").cloned();
        for item in &items.items {
            self.step(1)?;
            results.push(if let Some(attribute) = &attribute {
                let found = self.path(item, attribute)?;
                match (found.is_undefined(), arguments.named("default")) {
                    (true, Some(default)) => default.clone(),
                    _ => found,
                }
            } else {
                let Some(name) = arguments.text(0, "filter") else { return runtime("map requires a filter argument") };
                let rest = rest_of(arguments, 1);
                self.filter(name.as_str(), item, &rest)?
            });
        }
        Value::tainted_list(results, items.taint)
    }

    fn select(&mut self, value: &Value, arguments: &Arguments, keeps: bool, by_attribute: bool) -> Result<Value> {
        let items = self.iterate(value)?;
        self.charge(items.items.len() * size_of::<Value>())?;
        let skipped = usize::from(by_attribute);
        let attribute = arguments.positional.first();
        let test = arguments.text(skipped, "").map(|name| name.as_str().to_owned());
        let rest = rest_of(arguments, skipped + 1);
        let mut kept = Vec::new();
        let mut taint = items.taint;
        for item in &items.items {
            self.step(1)?;
            let subject = match (by_attribute, attribute) {
                (true, Some(attribute)) => self.path(item, attribute)?,
                (true, None) => return runtime("Missing parameter for attribute name"),
                (false, _) => item.clone(),
            };
            let outcome = match &test {
                Some(test) => self.test(test, &subject, &rest)?,
                None => Value::Bool(subject.is_true(), subject.taint()),
            };
            taint = taint.union(outcome.taint());
            if outcome.is_true() == keeps {
                kept.push(item.clone());
            }
        }
        Value::tainted_list(kept, taint)
    }

    fn reversed(&mut self, value: &Value) -> Result<Value> {
        if let Value::Text(_) = value {
            return self.slice(value, [None, None, Some(-1)]);
        }
        let list = Value::List(self.iterate(value)?);
        self.slice(&list, [None, None, Some(-1)])
    }

    fn sort(&mut self, value: &Value, arguments: &Arguments) -> Result<Value> {
        let items = self.iterate(value)?;
        self.charge(items.items.len() * 2 * size_of::<Value>())?;
        let attribute = arguments.get(2, "attribute").cloned();
        let mut keyed = Vec::with_capacity(items.items.len());
        for item in &items.items {
            let key = match &attribute {
                Some(attribute) => self.path(item, attribute)?,
                None => item.clone(),
            };
            keyed.push((key, item.clone()));
        }
        self.sort_by(&mut keyed, arguments.flag(1, "case_sensitive"), |(key, _)| key.clone())?;
        if arguments.flag(0, "reverse") {
            keyed.reverse();
            // Python keeps the order of equal items also where it sorts downwards.
            self.restore_ties(&mut keyed)?;
        }
        Value::tainted_list(keyed.into_iter().map(|(_, item)| item).collect(), items.taint)
    }

    fn restore_ties(&mut self, keyed: &mut [(Value, Value)]) -> Result<()> {
        let mut start = 0;
        for end in 1..=keyed.len() {
            let continues = match keyed.get(end) {
                Some((key, _)) => self.ordering(&keyed[start].0, key)? == Some(Ordering::Equal),
                None => false,
            };
            if !continues {
                keyed[start..end].reverse();
                start = end;
            }
        }
        Ok(())
    }

    /// A stable sort that pays for its comparisons and fails where two values have no order.
    fn sort_by<T>(&mut self, items: &mut [T], case_sensitive: bool, key: impl Fn(&T) -> Value) -> Result<()> {
        let folded = |value: Value| match (&value, case_sensitive) {
            (Value::Text(text), false) => Value::Text(text.map(str::to_lowercase)),
            _ => value,
        };
        let mut failure = None;
        items.sort_by(|a, b| match self.ordering(&folded(key(a)), &folded(key(b))) {
            Ok(Some(ordering)) => ordering,
            Ok(None) => {
                failure =
                    failure.take().or(Some(super::error::TemplateError::Runtime("values without order".to_owned())));
                Ordering::Equal
            }
            Err(error) => {
                failure = failure.take().or(Some(error));
                Ordering::Equal
            }
        });
        failure.map_or(Ok(()), Err)
    }

    fn unique(&mut self, value: &Value, arguments: &Arguments) -> Result<Value> {
        let items = self.iterate(value)?;
        let attribute = arguments.get(1, "attribute").cloned();
        let sensitive = arguments.flag(0, "case_sensitive");
        let mut keys: Vec<Value> = Vec::new();
        let mut kept = Vec::new();
        for item in &items.items {
            let mut key = match &attribute {
                Some(attribute) => self.path(item, attribute)?,
                None => item.clone(),
            };
            if let (Value::Text(text), false) = (&key, sensitive) {
                key = Value::Text(text.map(str::to_lowercase));
            }
            let mut is_new = true;
            for known in &keys {
                is_new = is_new && !self.equals(known, &key)?;
            }
            if is_new {
                keys.push(key);
                kept.push(item.clone());
            }
        }
        Value::tainted_list(kept, items.taint)
    }

    fn fold(&mut self, name: &str, value: &Value, arguments: &Arguments) -> Result<Value> {
        let items = self.iterate(value)?;
        let attribute = arguments.named("attribute").or_else(|| arguments.positional.first().filter(|_| name == "sum"));
        let attribute = attribute.cloned();
        let mut result = (name == "sum").then(|| arguments.get(1, "start").cloned().unwrap_or_else(|| Value::int(0)));
        for item in &items.items {
            let item = match &attribute {
                Some(attribute) => self.path(item, attribute)?,
                None => item.clone(),
            };
            result = Some(match result {
                None => item,
                Some(sum) if name == "sum" => self.binary(Operator::Add, &sum, &item)?,
                Some(best) => {
                    let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
                    if self.ordering(&item, &best)? == Some(wanted) { item } else { best }
                }
            });
        }
        Ok(result.unwrap_or_else(|| Value::undefined("an item of an empty sequence")))
    }

    /// `batch` in rows of a length, `slice` in a number of columns.
    fn groups(&mut self, name: &str, value: &Value, arguments: &Arguments) -> Result<Value> {
        let items = self.iterate(value)?;
        let count = arguments.positional.first().and_then(Value::as_int).and_then(|count| usize::try_from(count).ok());
        let Some(count) = count.filter(|count| (1..=1000).contains(count)) else {
            return runtime("a count of items must be a positive integer");
        };
        self.charge((items.items.len() + count) * 2 * size_of::<Value>())?;
        let filling = arguments.get(1, "fill_with");
        let mut rest = items.items.as_slice();
        let mut groups = Vec::new();
        if name == "batch" {
            for row in rest.chunks(count) {
                let mut row = row.to_vec();
                row.resize_with(if filling.is_some() { count } else { row.len() }, || {
                    filling.cloned().unwrap_or(Value::None)
                });
                groups.push(Value::list(row)?);
            }
            return Value::list(groups);
        }
        let (least, longer) = (rest.len() / count, rest.len() % count);
        for column in 0..count {
            let (head, tail) = rest.split_at(least + usize::from(column < longer));
            let mut head = head.to_vec();
            if let Some(filling) = filling.filter(|_| column >= longer && longer > 0) {
                head.push(filling.clone());
            }
            groups.push(Value::list(head)?);
            rest = tail;
        }
        Value::list(groups)
    }

    fn indent(&mut self, text: &Text, arguments: &Arguments) -> Result<Value> {
        let indentation = match arguments.get(0, "width") {
            Some(Value::Text(width)) => width.as_str().to_owned(),
            Some(width) => " ".repeat(usize::try_from(width.as_int().unwrap_or(4)).unwrap_or(0).min(1024)),
            None => " ".repeat(4),
        };
        let lines = text.as_str().matches('\n').count() + 1;
        self.charge(text.len().saturating_add(lines.saturating_mul(indentation.len() + 1)))?;
        let (first, blank) = (arguments.flag(1, "first"), arguments.flag(2, "blank"));
        let mut builder = TextBuilder::new();
        let mut at = 0;
        for (index, line) in text.as_str().split('\n').enumerate() {
            if index > 0 {
                builder.push_range(text, at - 1..at);
            }
            if (index > 0 && (blank || !line.is_empty())) || (index == 0 && first) {
                builder.push_str(&indentation, Origin::Template);
            }
            builder.push_range(text, at..at + line.len());
            at += line.len() + 1;
        }
        Ok(Value::Text(builder.finish()))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, and Jinja's own bound is memory")]
fn number_filter(name: &str, value: &Value, arguments: &Arguments) -> Result<Value> {
    match name {
        "int" => {
            let fallback = arguments.get(0, "default").cloned().unwrap_or_else(|| Value::int(0));
            Ok(match value {
                Value::Text(text) => {
                    let (taint, text) = (Taint::of_text(text), text.as_str().trim());
                    let parsed = text.parse::<i64>().ok().or_else(|| text.parse::<f64>().ok().map(|n| n as i64));
                    parsed.map_or(fallback, |number| Value::Int(number, taint))
                }
                Value::Float(number) => Value::int(*number as i64),
                other => other.as_int().map_or(fallback, |number| Value::Int(number, value.taint())),
            })
        }
        "float" => {
            let fallback = arguments.get(0, "default").cloned().unwrap_or(Value::Float(0.0));
            let parsed = match value {
                Value::Text(text) => text.as_str().trim().parse::<f64>().ok(),
                other => other.as_float(),
            };
            Ok(parsed.map_or(fallback, Value::Float))
        }
        "abs" => match (value.as_int(), value) {
            (Some(number), _) => Ok(Value::Int(number.saturating_abs(), value.taint())),
            (None, Value::Float(number)) => Ok(Value::Float(number.abs())),
            _ => runtime("bad operand type for abs()"),
        },
        _ => round(value, arguments),
    }
}

fn length(value: &Value) -> Result<Value> {
    Ok(match value {
        Value::Undefined(_) => Value::int(0),
        Value::Text(text) => Value::count(text.as_str().chars().count(), Taint::of_text(text)),
        Value::List(list) => Value::count(list.items.len(), list.taint),
        Value::Dict(dict) => Value::count(dict.entries.len(), Taint::NONE),
        other => return runtime(format!("object of type '{}' has no len()", other.type_name())),
    })
}

fn default(value: &Value, arguments: &Arguments) -> Value {
    let replaces = value.is_undefined() || (arguments.flag(1, "boolean") && !value.is_true());
    if replaces {
        arguments.get(0, "default_value").cloned().unwrap_or_else(|| Value::constant(""))
    } else {
        value.clone()
    }
}

/// The arguments behind the first `count`.
fn rest_of(arguments: &Arguments, count: usize) -> Arguments {
    Arguments {
        positional: arguments.positional.get(count..).unwrap_or_default().to_vec(),
        named: arguments.named.clone(),
    }
}

fn round(value: &Value, arguments: &Arguments) -> Result<Value> {
    let Some(number) = value.as_float() else { return runtime("must be real number") };
    let precision = arguments.get(0, "precision").and_then(Value::as_int).unwrap_or(0);
    let Some(precision) = i32::try_from(precision).ok().filter(|precision| precision.abs() <= 300) else {
        return unsupported("a precision this large");
    };
    let factor = 10f64.powi(precision);
    Ok(Value::Float(match arguments.get(1, "method").and_then(Value::as_str).unwrap_or("common") {
        "common" if precision >= 0 => {
            let digits = usize::try_from(precision).unwrap_or(0);
            format!("{number:.digits$}").parse().unwrap_or(number)
        }
        "common" => (number * factor).round() / factor,
        "ceil" => (number * factor).ceil() / factor,
        "floor" => (number * factor).floor() / factor,
        other => return runtime(format!("method must be common, ceil or floor, not {other}")),
    }))
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
