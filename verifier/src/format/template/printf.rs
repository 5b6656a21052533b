//! The two ways in which Python fills texts with values: `%` and `format`.

use super::error::{Result, runtime, unsupported};
use super::evaluate::Arguments;
use super::machine::Machine;
use super::text::{Origin, Text, TextBuilder};
use super::value::Value;

/// Widest field that is filled.
const MAX_WIDTH: usize = 256;

impl Machine<'_> {
    /// `format % values`.
    pub(super) fn format_printf(&mut self, format: &Text, values: &Value) -> Result<Value> {
        let values = match values {
            Value::List(list) => list.items.clone(),
            single => vec![single.clone()],
        };
        let mut values = values.into_iter();
        let mut builder = TextBuilder::new();
        let mut rest = 0..format.len();
        while let Some(at) = format.as_str()[rest.clone()].find('%') {
            let at = rest.start + at;
            builder.push_range(format, rest.start..at);
            let directive = &format.as_str()[at + 1..];
            let length = directive.find(|character: char| character.is_ascii_alphabetic() || character == '%');
            let Some(length) = length else { return runtime("incomplete format") };
            let (flags, conversion) = (&directive[..length], directive.as_bytes()[length]);
            rest.start = at + 2 + length;
            if conversion == b'%' {
                builder.push_str("%", Origin::Template);
                continue;
            }
            let Some(value) = values.next() else { return runtime("not enough arguments for format string") };
            let text = self.convert(conversion, flags, &value)?;
            self.charge(text.len())?;
            builder.push(&text);
        }
        builder.push_range(format, rest);
        self.new_text(builder)
    }

    fn convert(&mut self, conversion: u8, flags: &str, value: &Value) -> Result<Text> {
        let number = |radix: fn(i64) -> String| match value.as_int() {
            Some(number) => Ok(Text::new(radix(number), Origin::Template)),
            None => runtime("a number is required"),
        };
        let text = match conversion {
            b's' => self.display(value)?,
            b'r' => {
                let mut builder = TextBuilder::new();
                self.represent(value, &mut builder)?;
                builder.finish()
            }
            b'd' | b'i' => number(|number| number.to_string())?,
            b'x' => number(|number| format!("{number:x}"))?,
            b'X' => number(|number| format!("{number:X}"))?,
            b'o' => number(|number| format!("{number:o}"))?,
            b'c' => character(value)?,
            b'f' => {
                let Some(number) = value.as_float() else { return runtime("must be real number") };
                let precision = flags.split_once('.').map_or(Ok(6), |(_, digits)| digits.parse::<usize>());
                let precision = precision.unwrap_or(6).min(MAX_WIDTH);
                return Ok(Text::new(format!("{number:.precision$}"), Origin::Template));
            }
            other => return unsupported(format!("the format `%{}`", char::from(other))),
        };
        fill(&text, flags)
    }

    /// `format.format(…)`, with attributes and items of fields, as far as templates use it.
    pub(super) fn format_braces(&mut self, format: &Text, arguments: &Arguments) -> Result<Value> {
        let mut builder = TextBuilder::new();
        let mut at = 0;
        let mut next = 0;
        let whole = format.as_str();
        while let Some(found) = whole[at..].find(['{', '}']) {
            let brace = at + found;
            builder.push_range(format, at..brace);
            let rest = &whole[brace..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                builder.push_range(format, brace..brace + 1);
                at = brace + 2;
                continue;
            }
            let Some(length) = rest.find('}').filter(|length| *length > 0) else {
                return runtime("Single '}' encountered in format string");
            };
            let value = self.field(&rest[1..length], &mut next, arguments)?;
            let text = self.display(&value)?;
            self.charge(text.len())?;
            builder.push(&text);
            at = brace + length + 1;
        }
        builder.push_range(format, at..whole.len());
        self.new_text(builder)
    }

    fn field(&mut self, field: &str, next: &mut usize, arguments: &Arguments) -> Result<Value> {
        if field.contains([':', '!']) {
            return unsupported("a format with a specification");
        }
        let end = field.find(['.', '[']).unwrap_or(field.len());
        let (name, path) = field.split_at(end);
        let index = if name.is_empty() {
            *next += 1;
            Some(*next - 1)
        } else {
            name.parse().ok()
        };
        let found = index.map_or_else(|| arguments.named(name), |index| arguments.positional.get(index));
        let Some(mut value) = found.cloned() else { return runtime("a replacement index out of range") };
        for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
            self.step(1)?;
            let key = part.parse().map_or_else(|_| Value::constant(part), Value::int);
            value = self.item(&value, &key)?;
        }
        Ok(value)
    }
}

fn character(value: &Value) -> Result<Text> {
    match (value, value.as_int()) {
        (Value::Text(text), _) => Ok(text.clone()),
        (_, Some(code)) => match u32::try_from(code).ok().and_then(char::from_u32) {
            Some(character) => Ok(Text::new(character.to_string(), Origin::Template)),
            None => runtime("%c arg not in range(0x110000)"),
        },
        _ => runtime("%c requires int or char"),
    }
}

fn fill(text: &Text, flags: &str) -> Result<Text> {
    let digits = flags.trim_start_matches(['-', '0', '+', ' ', '#']);
    let width = digits.split('.').next().unwrap_or_default();
    let width: usize = if width.is_empty() { 0 } else { width.parse().unwrap_or(MAX_WIDTH + 1) };
    if width > MAX_WIDTH {
        return unsupported("a field this wide");
    }
    let missing = width.saturating_sub(text.as_str().chars().count());
    let padding = (if flags.starts_with('0') { "0" } else { " " }).repeat(missing);
    let mut builder = TextBuilder::new();
    if flags.contains('-') {
        builder.push(text);
        builder.push_str(&padding, Origin::Template);
    } else {
        builder.push_str(&padding, Origin::Template);
        builder.push(text);
    }
    Ok(builder.finish())
}
