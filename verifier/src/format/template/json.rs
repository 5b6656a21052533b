//! `tojson` as the Transformers library defines it: Python's `json.dumps`, without escapes for HTML.

use super::error::{Result, runtime};
use super::evaluate::Arguments;
use super::machine::Machine;
use super::operators::{float_text, scalar_text};
use super::text::{Origin, TextBuilder};
use super::value::Value;

/// Widest indentation of a level.
const MAX_INDENT: i64 = 64;

struct Style {
    indent: Option<usize>,
    item_separator: String,
    key_separator: String,
    sorted: bool,
    ascii: bool,
}

impl Machine<'_> {
    pub(super) fn tojson(&mut self, value: &Value, arguments: &Arguments) -> Result<Value> {
        let indent = match arguments.get(1, "indent").and_then(Value::as_int) {
            Some(width) if width > MAX_INDENT => return runtime("an indentation this wide"),
            width => width.and_then(|width| usize::try_from(width).ok()),
        };
        let mut style = Style {
            item_separator: (if indent.is_some() { "," } else { ", " }).to_owned(),
            key_separator: ": ".to_owned(),
            indent,
            sorted: arguments.flag(3, "sort_keys"),
            ascii: arguments.flag(0, "ensure_ascii"),
        };
        if let Some(Value::List(separators)) = arguments.get(2, "separators")
            && let [Value::Text(item), Value::Text(key)] = separators.items.as_slice()
        {
            item.as_str().clone_into(&mut style.item_separator);
            key.as_str().clone_into(&mut style.key_separator);
        }
        let mut builder = TextBuilder::new();
        self.dump(value, &style, 0, &mut builder)?;
        Ok(Value::Text(builder.finish()))
    }

    fn dump(&mut self, value: &Value, style: &Style, level: usize, builder: &mut TextBuilder) -> Result<()> {
        self.step(1)?;
        self.charge(16)?;
        match value {
            Value::Text(text) => {
                self.charge(text.len())?;
                builder.push_str("\"", Origin::Template);
                builder.push(&text.map(|part| escape(part, style.ascii)));
                builder.push_str("\"", Origin::Template);
            }
            Value::List(list) => {
                let items = list.items.iter().map(|item| (None, item));
                self.dump_items(items.collect(), ("[", "]"), style, level, builder)?;
            }
            Value::Dict(dict) => {
                let mut entries: Vec<_> = dict.entries.iter().map(|(key, value)| (Some(key), value)).collect();
                if style.sorted {
                    entries.sort_by_key(|(key, _)| key.map(scalar_text));
                }
                self.dump_items(entries, ("{", "}"), style, level, builder)?;
            }
            Value::None => builder.push_str("null", Origin::Template),
            Value::Bool(flag, _) => builder.push_str(if *flag { "true" } else { "false" }, Origin::Template),
            Value::Int(number, _) => builder.push_str(&number.to_string(), Origin::Template),
            Value::Float(number) => builder.push_str(&float_text(*number), Origin::Template),
            other => return runtime(format!("Object of type {} is not JSON serializable", other.type_name())),
        }
        Ok(())
    }

    fn dump_items(
        &mut self,
        items: Vec<(Option<&Value>, &Value)>,
        (open, close): (&str, &str),
        style: &Style,
        level: usize,
        builder: &mut TextBuilder,
    ) -> Result<()> {
        builder.push_str(open, Origin::Template);
        let is_empty = items.is_empty();
        for (index, (key, value)) in items.into_iter().enumerate() {
            self.charge(style.item_separator.len() + style.key_separator.len())?;
            builder.push_str(if index == 0 { "" } else { &style.item_separator }, Origin::Template);
            self.new_line(style, level + 1, builder)?;
            if let Some(key) = key {
                let key = match key {
                    Value::Text(_) => key.clone(),
                    Value::Bool(flag, _) => Value::constant(if *flag { "true" } else { "false" }),
                    Value::None => Value::constant("null"),
                    other => Value::constant(scalar_text(other)),
                };
                self.dump(&key, style, level, builder)?;
                builder.push_str(&style.key_separator, Origin::Template);
            }
            self.dump(value, style, level + 1, builder)?;
        }
        if !is_empty {
            self.new_line(style, level, builder)?;
        }
        builder.push_str(close, Origin::Template);
        Ok(())
    }

    fn new_line(&mut self, style: &Style, level: usize, builder: &mut TextBuilder) -> Result<()> {
        if let Some(width) = style.indent {
            self.charge(width * level + 1)?;
            builder.push_str("\n", Origin::Template);
            builder.push_str(&" ".repeat(width * level), Origin::Template);
        }
        Ok(())
    }
}

/// A text between JSON's quotes.
pub(super) fn escape(text: &str, ascii: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            other if other < ' ' => escaped.extend(format!("\\u{:04x}", u32::from(other)).chars()),
            other if ascii && !other.is_ascii() => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    escaped.extend(format!("\\u{unit:04x}").chars());
                }
            }
            other => escaped.push(other),
        }
    }
    escaped
}
