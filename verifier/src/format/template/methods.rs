//! The methods of Python's texts, lists and dictionaries that templates use.
//!
//! Methods that change a list or dictionary in place are refused as Jinja's immutable sandbox
//! does, in which the Transformers library renders.

use std::ops::Range;

use super::error::{Result, runtime, unsupported};
use super::evaluate::Arguments;
use super::machine::Machine;
use super::text::{Origin, Text, TextBuilder};
use super::value::{Dict, List, Taint, Value};

const TEXT_METHODS: [&str; 44] = [
    "strip",
    "lstrip",
    "rstrip",
    "split",
    "rsplit",
    "splitlines",
    "startswith",
    "endswith",
    "find",
    "rfind",
    "index",
    "rindex",
    "count",
    "replace",
    "join",
    "upper",
    "lower",
    "title",
    "capitalize",
    "swapcase",
    "casefold",
    "removeprefix",
    "removesuffix",
    "isdigit",
    "isalpha",
    "isalnum",
    "isspace",
    "isupper",
    "islower",
    "isnumeric",
    "isdecimal",
    "istitle",
    "zfill",
    "center",
    "ljust",
    "rjust",
    "format",
    "format_map",
    "partition",
    "rpartition",
    "encode",
    "translate",
    "expandtabs",
    "isascii",
];
const LIST_METHODS: [&str; 11] =
    ["index", "count", "append", "extend", "insert", "pop", "remove", "clear", "copy", "sort", "reverse"];
const DICT_METHODS: [&str; 9] = ["get", "items", "keys", "values", "copy", "update", "pop", "setdefault", "clear"];

/// Whether values of some type have the method.
pub(super) fn is_method(name: &str) -> bool {
    is_text_method(name) || is_list_method(name) || is_dict_method(name)
}

pub(super) fn is_text_method(name: &str) -> bool {
    TEXT_METHODS.contains(&name)
}

pub(super) fn is_list_method(name: &str) -> bool {
    LIST_METHODS.contains(&name)
}

pub(super) fn is_dict_method(name: &str) -> bool {
    DICT_METHODS.contains(&name)
}

impl Machine<'_> {
    pub(super) fn call_method(&mut self, object: &Value, name: &str, arguments: &Arguments) -> Result<Value> {
        match object {
            Value::Text(text) => {
                self.step(text.len() / 64 + 1)?;
                self.text_method(text, name, arguments)
            }
            Value::List(list) => self.list_method(list, name, arguments),
            Value::Dict(dict) => self.dict_method(dict, name, arguments),
            Value::Loop(number) => self.loop_method(*number, name, arguments),
            Value::Stateful(index) => self.stateful_method(*index, name),
            other => runtime(format!("'{}' object has no attribute '{name}'", other.type_name())),
        }
    }

    fn text_method(&mut self, text: &Text, name: &str, arguments: &Arguments) -> Result<Value> {
        match name {
            "strip" | "lstrip" | "rstrip" => self.strip(text, name, arguments.text(0, "chars")),
            "split" | "rsplit" => self.split(text, arguments, name == "rsplit"),
            "splitlines" => self.split_lines(text, arguments.flag(0, "keepends")),
            "startswith" | "endswith" => self.starts_or_ends(text, name == "startswith", arguments),
            "find" | "rfind" | "index" | "rindex" => self.find(text, name, arguments),
            "count" => self.count(text, arguments),
            "replace" => self.replace(text, arguments),
            "join" => match arguments.positional.first() {
                Some(items) => self.join(items, text),
                None => runtime("join() takes exactly one argument"),
            },
            "removeprefix" | "removesuffix" => self.remove_affix(text, name == "removeprefix", arguments),
            "partition" | "rpartition" => self.partition(text, name == "rpartition", arguments),
            "format" => self.format_braces(text, arguments),
            "zfill" | "center" | "ljust" | "rjust" => self.pad(text, name, arguments),
            "upper" | "lower" | "title" | "capitalize" | "swapcase" | "casefold" => self.change_case(text, name),
            _ => match is_class(text.as_str(), name) {
                Some(holds) => Ok(Value::Bool(holds, Taint::of_text(text))),
                None => unsupported(format!("the method `{name}` of texts")),
            },
        }
    }

    pub(super) fn change_case(&mut self, text: &Text, name: &str) -> Result<Value> {
        self.charge(text.len() * 2)?;
        Ok(Value::Text(match name {
            "upper" => text.map(str::to_uppercase),
            "lower" | "casefold" => text.map(str::to_lowercase),
            "title" => text.map(title),
            "capitalize" => {
                let first = text.as_str().chars().next().map_or(0, char::len_utf8);
                let mut builder = TextBuilder::new();
                builder.push(&text.slice(0..first).map(str::to_uppercase));
                builder.push(&text.slice(first..text.len()).map(str::to_lowercase));
                builder.finish()
            }
            _ => text.map(|part| part.chars().flat_map(swapped).collect()),
        }))
    }

    pub(super) fn strip(&mut self, text: &Text, name: &str, characters: Option<&Text>) -> Result<Value> {
        let set = characters.map(Text::as_str);
        if let Some(set) = set {
            self.step(text.len() / 16 * set.len() / 16)?;
        }
        let is_stripped = |character: char| match set {
            Some(set) => set.contains(character),
            None => is_python_space(character),
        };
        let whole = text.as_str();
        let start = if name == "rstrip" { 0 } else { whole.len() - whole.trim_start_matches(is_stripped).len() };
        let end = if name == "lstrip" { whole.len() } else { whole.trim_end_matches(is_stripped).len() };
        self.charge(end.saturating_sub(start))?;
        Ok(Value::Text(text.slice(start..end.max(start))))
    }

    fn split(&mut self, text: &Text, arguments: &Arguments, from_end: bool) -> Result<Value> {
        let most = arguments.get(1, "maxsplit").and_then(Value::as_int).and_then(|most| usize::try_from(most).ok());
        let ranges = match arguments.get(0, "sep") {
            None | Some(Value::None) => split_whitespace(text.as_str(), most, from_end),
            Some(Value::Text(separator)) if separator.len() == 0 => return runtime("empty separator"),
            Some(Value::Text(separator)) => {
                self.observe(text, separator);
                split_at(text.as_str(), separator.as_str(), most, from_end)
            }
            Some(other) => return runtime(format!("must be str or None, not {}", other.type_name())),
        };
        self.texts(text, ranges)
    }

    fn split_lines(&mut self, text: &Text, keep_ends: bool) -> Result<Value> {
        let mut ranges = Vec::new();
        let mut start = 0;
        for line in text.as_str().split_inclusive('\n') {
            let end = start + line.len();
            let bare = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
            ranges.push(start..if keep_ends { end } else { start + bare.len() });
            start = end;
        }
        self.texts(text, ranges)
    }

    /// The parts of `text` at `ranges`; how many there are depends on what it says.
    fn texts(&mut self, text: &Text, ranges: Vec<Range<usize>>) -> Result<Value> {
        self.charge(ranges.len() * size_of::<Value>() + text.len())?;
        self.step(ranges.len())?;
        let parts = ranges.into_iter().map(|range| Value::Text(text.slice(range))).collect();
        Value::tainted_list(parts, Taint::of_text(text))
    }

    fn starts_or_ends(&mut self, text: &Text, at_start: bool, arguments: &Arguments) -> Result<Value> {
        let needles = match arguments.positional.first() {
            Some(Value::Text(needle)) => vec![needle.clone()],
            Some(Value::List(list)) => {
                let texts =
                    list.items.iter().filter_map(|item| if let Value::Text(t) = item { Some(t.clone()) } else { None });
                texts.collect()
            }
            _ => return runtime("startswith first arg must be str or a tuple of str"),
        };
        self.step(needles.len())?;
        let mut taint = Taint::NONE;
        let mut holds = false;
        for needle in &needles {
            taint = taint.union(self.observe(text, needle));
            let (text, needle) = (text.as_str(), needle.as_str());
            holds = holds || if at_start { text.starts_with(needle) } else { text.ends_with(needle) };
        }
        Ok(Value::Bool(holds, taint))
    }

    fn find(&mut self, text: &Text, name: &str, arguments: &Arguments) -> Result<Value> {
        let Some(needle) = arguments.text(0, "sub") else { return runtime("must be str") };
        if arguments.positional.len() > 1 {
            return unsupported(format!("the method `{name}` with bounds"));
        }
        let taint = self.observe(text, needle);
        let (whole, needle) = (text.as_str(), needle.as_str());
        let found = if name.starts_with('r') { whole.rfind(needle) } else { whole.find(needle) };
        match found {
            Some(at) => Ok(Value::count(whole[..at].chars().count(), taint)),
            None if name.ends_with("index") => runtime("substring not found"),
            None => Ok(Value::Int(-1, taint)),
        }
    }

    fn count(&mut self, text: &Text, arguments: &Arguments) -> Result<Value> {
        let Some(needle) = arguments.text(0, "sub") else { return runtime("must be str") };
        let taint = self.observe(text, needle);
        let count = match needle.len() {
            0 => text.as_str().chars().count() + 1,
            _ => text.as_str().matches(needle.as_str()).count(),
        };
        Ok(Value::count(count, taint))
    }

    pub(super) fn replace(&mut self, text: &Text, arguments: &Arguments) -> Result<Value> {
        let (Some(old), Some(new)) = (arguments.text(0, "old"), arguments.text(1, "new")) else {
            return runtime("replace() argument must be str");
        };
        self.observe(text, old);
        let most = arguments.get(2, "count").and_then(Value::as_int).and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(usize::MAX);
        let places: Vec<usize> = text.as_str().match_indices(old.as_str()).take(most).map(|(at, _)| at).collect();
        let grown = places.len().saturating_mul(new.len() + size_of::<usize>());
        self.charge(text.len().saturating_add(grown))?;
        self.step(places.len() / 4)?;
        let mut builder = TextBuilder::new();
        let mut end = 0;
        for place in places {
            builder.push_range(text, end..place);
            builder.push(new);
            end = place + old.len();
        }
        builder.push_range(text, end..text.len());
        Ok(Value::Text(builder.finish()))
    }

    pub(super) fn join(&mut self, items: &Value, separator: &Text) -> Result<Value> {
        let items = self.iterate(items)?;
        self.step(items.items.len())?;
        let mut builder = TextBuilder::new();
        for (index, item) in items.items.iter().enumerate() {
            let Value::Text(item) = item else {
                return runtime(format!("sequence item {index}: expected str instance, {} found", item.type_name()));
            };
            self.charge(item.len() + separator.len())?;
            if index > 0 {
                builder.push(separator);
            }
            builder.push(item);
        }
        Ok(Value::Text(builder.finish()))
    }

    fn remove_affix(&mut self, text: &Text, at_start: bool, arguments: &Arguments) -> Result<Value> {
        let Some(affix) = arguments.text(0, "prefix") else { return runtime("must be str") };
        self.observe(text, affix);
        self.charge(text.len())?;
        let (whole, part) = (text.as_str(), affix.as_str());
        Ok(Value::Text(match at_start {
            true if whole.starts_with(part) => text.slice(part.len()..whole.len()),
            false if whole.ends_with(part) => text.slice(0..whole.len() - part.len()),
            _ => text.clone(),
        }))
    }

    fn partition(&mut self, text: &Text, from_end: bool, arguments: &Arguments) -> Result<Value> {
        let Some(separator) = arguments.text(0, "sep").filter(|separator| separator.len() > 0) else {
            return runtime("empty separator");
        };
        self.observe(text, separator);
        let (whole, part) = (text.as_str(), separator.as_str());
        let found = if from_end { whole.rfind(part) } else { whole.find(part) };
        let (first, second) = match found {
            Some(at) => (at, at + part.len()),
            None if from_end => (0, 0),
            None => (whole.len(), whole.len()),
        };
        self.texts(text, vec![0..first, first..second, second..whole.len()])
    }

    fn pad(&mut self, text: &Text, name: &str, arguments: &Arguments) -> Result<Value> {
        let Some(width) = arguments.positional.first().and_then(Value::as_int) else {
            return runtime("a width must be an integer");
        };
        let length = text.as_str().chars().count();
        let missing = usize::try_from(width).unwrap_or(0).saturating_sub(length);
        self.charge(text.len().saturating_add(missing.saturating_mul(4)))?;
        let fill = match (name, arguments.text(1, "fillchar")) {
            ("zfill", _) => '0',
            (_, fill) => fill.and_then(|fill| fill.as_str().chars().next()).unwrap_or(' '),
        };
        let before = match name {
            "zfill" | "rjust" => missing,
            "ljust" => 0,
            _ => missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1),
        };
        let signed = name == "zfill" && text.as_str().starts_with(['+', '-']);
        let sign = usize::from(signed);
        let mut builder = TextBuilder::new();
        builder.push_range(text, 0..sign);
        builder.push_str(&fill.to_string().repeat(before), Origin::Template);
        builder.push_range(text, sign..text.len());
        builder.push_str(&fill.to_string().repeat(missing - before), Origin::Template);
        Ok(Value::Text(builder.finish()))
    }

    fn list_method(&mut self, list: &List, name: &str, arguments: &Arguments) -> Result<Value> {
        let wanted = arguments.positional.first();
        match (name, wanted) {
            ("index" | "count", Some(wanted)) => {
                let mut count = 0;
                for (index, item) in list.items.iter().enumerate() {
                    if self.equals(item, wanted)? {
                        if name == "index" {
                            return Ok(Value::count(index, list.taint));
                        }
                        count += 1;
                    }
                }
                if name == "index" { runtime("the value is not in the list") } else { Ok(Value::int(count)) }
            }
            ("copy", None) => Value::tainted_list(list.items.clone(), list.taint),
            _ => changes_in_place("list", name),
        }
    }

    fn dict_method(&mut self, dict: &Dict, name: &str, arguments: &Arguments) -> Result<Value> {
        let entries = &dict.entries;
        self.charge(entries.len() * 2 * size_of::<Value>())?;
        self.step(entries.len() / 8)?;
        match name {
            "get" => {
                let Some(key) = arguments.positional.first() else {
                    return runtime("get expected at least 1 argument");
                };
                self.observe_keys(dict, key);
                let found = dict.lookup(key).or_else(|| arguments.get(1, "default"));
                Ok(found.cloned().unwrap_or(Value::None))
            }
            "keys" => Value::list(entries.iter().map(|(key, _)| key.clone()).collect()),
            "values" => Value::list(entries.iter().map(|(_, value)| value.clone()).collect()),
            "items" => dict_items(dict),
            "copy" => Value::dict(entries.clone()),
            _ => changes_in_place("dict", name),
        }
    }
}

/// The entries of a dictionary as pairs.
pub(super) fn dict_items(dict: &Dict) -> Result<Value> {
    let pairs = dict.entries.iter().map(|(key, value)| Value::pair(key.clone(), value.clone()));
    Value::list(pairs.collect::<Result<_>>()?)
}

fn changes_in_place(kind: &str, name: &str) -> Result<Value> {
    runtime(format!("access to attribute '{name}' of '{kind}' object is unsafe"))
}

fn is_python_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

fn split_at(text: &str, separator: &str, most: Option<usize>, from_end: bool) -> Vec<Range<usize>> {
    let most = most.unwrap_or(usize::MAX);
    let mut places: Vec<usize> = if from_end {
        text.rmatch_indices(separator).take(most).map(|(at, _)| at).collect()
    } else {
        text.match_indices(separator).take(most).map(|(at, _)| at).collect()
    };
    if from_end {
        places.reverse();
    }
    let mut ranges = Vec::with_capacity(places.len() + 1);
    let mut start = 0;
    for place in places {
        ranges.push(start..place);
        start = place + separator.len();
    }
    ranges.push(start..text.len());
    ranges
}

fn split_whitespace(text: &str, most: Option<usize>, from_end: bool) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices() {
        match (is_python_space(character), start) {
            (true, Some(begin)) => {
                words.push(begin..at);
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    words.extend(start.map(|begin| begin..text.len()));
    let most = most.unwrap_or(usize::MAX);
    if words.len() <= most {
        return words;
    }
    if from_end {
        let split = words.len() - most;
        let head = 0..words[split - 1].end;
        return std::iter::once(head).chain(words.drain(split..)).collect();
    }
    let rest = words[most].start..text.len();
    words.truncate(most);
    words.push(rest);
    words
}

fn title(text: &str) -> String {
    let mut after_letter = false;
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if after_letter {
            result.extend(character.to_lowercase());
        } else {
            result.extend(character.to_uppercase());
        }
        after_letter = character.is_alphabetic();
    }
    result
}

fn swapped(character: char) -> Vec<char> {
    if character.is_uppercase() { character.to_lowercase().collect() } else { character.to_uppercase().collect() }
}

/// The answer of a method that asks what kind of characters a text is made of.
fn is_class(text: &str, name: &str) -> Option<bool> {
    let all = |holds: fn(char) -> bool| !text.is_empty() && text.chars().all(holds);
    let cased =
        |wanted: fn(char) -> bool, other: fn(char) -> bool| text.chars().any(wanted) && !text.chars().any(other);
    Some(match name {
        "isdigit" | "isdecimal" | "isnumeric" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(is_python_space),
        "isupper" => cased(char::is_uppercase, char::is_lowercase),
        "islower" => cased(char::is_lowercase, char::is_uppercase),
        "istitle" => text.chars().any(char::is_alphabetic) && title(text) == text,
        "isascii" => text.is_ascii(),
        _ => return None,
    })
}
