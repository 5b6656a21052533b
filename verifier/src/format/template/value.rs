//! The values that a template computes with.
//!
//! Values are immutable but for namespaces, which live in the machine and are named by number:
//! so no value can hold itself, and dropping one ends within its measured depth.

use std::rc::Rc;

use super::error::{Resource, Result, TemplateError};
use super::text::{Origin, Text};

/// Deepest nesting of lists and dictionaries.
const MAX_NESTING: u16 = 100;

/// What a truth value or number was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Taint(u8);

impl Taint {
    pub(super) const NONE: Self = Self(0);
    /// The content of a message.
    pub(super) const CONTENT: Self = Self(1);
    /// The present time.
    pub(super) const CLOCK: Self = Self(2);
    /// The number of messages or the place of one among them.
    pub(super) const COUNT: Self = Self(4);

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn of_text(text: &Text) -> Self {
        let content = if text.has(Origin::Content) { Self::CONTENT } else { Self::NONE };
        let clock = if text.has(Origin::Clock) { Self::CLOCK } else { Self::NONE };
        content.union(clock)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What a name without a value stands for; holds the name for messages.
    Undefined(Rc<str>),
    None,
    Bool(bool, Taint),
    Int(i64, Taint),
    Float(f64),
    Text(Text),
    List(Rc<List>),
    Dict(Rc<Dict>),
    /// Index into the machine's namespaces.
    Namespace(usize),
    /// Index into the machine's macros.
    Macro(usize),
    /// Index into the machine's running loops.
    Loop(usize),
    /// Index into the machine's cyclers and joiners.
    Stateful(usize),
    Function(Function),
    Method(Rc<Method>),
}

/// Functions that every template can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Range,
    Dict,
    Namespace,
    RaiseException,
    StrftimeNow,
    Cycler,
    Joiner,
}

#[derive(Debug)]
pub(super) struct Method {
    pub(super) object: Value,
    pub(super) name: Rc<str>,
}

#[derive(Debug)]
pub(super) struct List {
    pub(super) items: Vec<Value>,
    /// What the number of items depends on.
    pub(super) taint: Taint,
    /// Whether Python has a tuple here, which is written with parentheses.
    pub(super) is_tuple: bool,
    depth: u16,
}

/// A dictionary in order of insertion.
#[derive(Debug)]
pub(super) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    depth: u16,
}

impl Dict {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| matches!(name, Value::Text(text) if text.as_str() == key)).map(|(_, v)| v)
    }

    pub(super) fn lookup(&self, key: &Value) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| name.equals_scalar(key)).map(|(_, value)| value)
    }
}

impl Value {
    pub(super) fn text(text: impl Into<Rc<str>>, origin: Origin) -> Self {
        Self::Text(Text::new(text, origin))
    }

    pub(super) fn constant(text: impl Into<Rc<str>>) -> Self {
        Self::text(text, Origin::Template)
    }

    pub(super) const fn bool(flag: bool) -> Self {
        Self::Bool(flag, Taint::NONE)
    }

    pub(super) const fn int(number: i64) -> Self {
        Self::Int(number, Taint::NONE)
    }

    pub(super) fn count(number: usize, taint: Taint) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX), taint)
    }

    pub(super) fn undefined(name: &str) -> Self {
        Self::Undefined(name.into())
    }

    pub(super) fn list(items: Vec<Self>) -> Result<Self> {
        Self::tainted_list(items, Taint::NONE)
    }

    pub(super) fn tainted_list(items: Vec<Self>, taint: Taint) -> Result<Self> {
        let depth = depth_over(items.iter())?;
        Ok(Self::List(Rc::new(List { items, taint, is_tuple: false, depth })))
    }

    pub(super) fn pair(first: Self, second: Self) -> Result<Self> {
        let items = vec![first, second];
        let depth = depth_over(items.iter())?;
        Ok(Self::List(Rc::new(List { items, taint: Taint::NONE, is_tuple: true, depth })))
    }

    pub(super) fn dict(entries: Vec<(Self, Self)>) -> Result<Self> {
        let depth = depth_over(entries.iter().map(|(_, value)| value))?;
        Ok(Self::Dict(Rc::new(Dict { entries, depth })))
    }

    fn depth(&self) -> u16 {
        match self {
            Self::List(list) => list.depth,
            Self::Dict(dict) => dict.depth,
            Self::Method(method) => method.object.depth() + 1,
            _ => 0,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(flag, _) => *flag,
            Self::Int(number, _) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.as_str().is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Dict(dict) => !dict.entries.is_empty(),
            _ => true,
        }
    }

    /// What the truth of this value depends on, beyond a text being there at all.
    pub(super) fn taint(&self) -> Taint {
        match self {
            Self::Bool(_, taint) | Self::Int(_, taint) => *taint,
            Self::List(list) => list.taint,
            _ => Taint::NONE,
        }
    }

    pub(super) fn with_taint(self, more: Taint) -> Self {
        match self {
            Self::Bool(flag, taint) => Self::Bool(flag, taint.union(more)),
            Self::Int(number, taint) => Self::Int(number, taint.union(more)),
            other => other,
        }
    }

    pub(super) const fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    /// The number, truth values counting as 0 and 1 as in Python.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number, _) => Some(*number),
            Self::Bool(flag, _) => Some(i64::from(*flag)),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "Python rounds in the same way")]
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            other => other.as_int().map(|number| number as f64),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.as_str()) } else { None }
    }

    /// Equality as Python has it, for a step of `fuel` per pair of values: values that share
    /// their parts can be exponentially larger than the memory they take.
    pub(super) fn equals(&self, other: &Self, fuel: &mut u64) -> Result<bool> {
        *fuel = fuel.checked_sub(1).ok_or(TemplateError::Exhausted(Resource::Steps))?;
        match (self, other) {
            (Self::List(a), Self::List(b)) => {
                let mut pairs = a.items.iter().zip(&b.items);
                Ok(a.items.len() == b.items.len() && all(&mut pairs, |(a, b)| a.equals(b, fuel))?)
            }
            (Self::Dict(a), Self::Dict(b)) => {
                let mut entries = a.entries.iter();
                let same = |(key, value): &(Self, Self)| match b.lookup(key) {
                    Some(other) => value.equals(other, fuel),
                    None => Ok(false),
                };
                Ok(a.entries.len() == b.entries.len() && all(&mut entries, same)?)
            }
            _ => Ok(self.equals_scalar(other)),
        }
    }

    /// Equality of values that hold no others; lists and dictionaries are never equal here.
    #[expect(clippy::float_cmp, reason = "Python compares in the same way")]
    pub(super) fn equals_scalar(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => a.as_str() == b.as_str(),
            (Self::Namespace(a), Self::Namespace(b))
            | (Self::Macro(a), Self::Macro(b))
            | (Self::Loop(a), Self::Loop(b)) => a == b,
            (Self::Function(a), Self::Function(b)) => a == b,
            _ => match (self.as_int(), other.as_int()) {
                (Some(a), Some(b)) => a == b,
                _ => matches!((self.as_float(), other.as_float()), (Some(a), Some(b)) if a == b),
            },
        }
    }

    /// What Python calls the type, for messages.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "undefined",
            Self::None => "None",
            Self::Bool(..) => "bool",
            Self::Int(..) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
            Self::Namespace(_) => "namespace",
            Self::Macro(_) => "macro",
            Self::Loop(_) => "loop",
            Self::Stateful(_) | Self::Function(_) | Self::Method(_) => "function",
        }
    }
}

fn all<T>(items: &mut impl Iterator<Item = T>, mut holds: impl FnMut(T) -> Result<bool>) -> Result<bool> {
    for item in items {
        if !holds(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn depth_over<'v>(values: impl Iterator<Item = &'v Value>) -> Result<u16> {
    let depth = values.map(Value::depth).max().unwrap_or(0) + 1;
    if depth > MAX_NESTING { Err(TemplateError::Exhausted(Resource::Depth)) } else { Ok(depth) }
}
