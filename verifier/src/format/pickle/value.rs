//! The values a pickle builds, as far as they must be known to judge it.
//!
//! Values that can decide nothing (floats, raw bytes, long texts) are all the same one. Containers
//! live in one list and refer to each other by number, so that no nesting, however deep, and no
//! cycle needs recursion.

use std::rc::Rc;

/// Containers kept; further ones are taken for opaque.
const MAX_NODES: usize = 250_000;
/// Members kept over all containers.
const MAX_MEMBERS: usize = 700_000;

/// Longest text kept, in bytes. Names that are imported and keys of tensors are shorter.
pub(super) const MAX_TEXT_BYTES: usize = 256;

/// Anything that can be on the stack.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// What decides nothing.
    Opaque,
    /// A long constant that begins like a pickle and is looked into.
    Suspect,
    None,
    Bool(bool),
    Int(i64),
    /// At most [`MAX_TEXT_BYTES`] long.
    Text(Rc<str>),
    /// The number that opens PyTorch's file format of before 1.6.
    TorchMagic,
    /// Index into the imported names.
    Global(u32),
    /// Index into [`Nodes`].
    Node(u32),
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn whole_number(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

/// A value with parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Tuple(Box<[Value]>),
    List(Vec<Value>),
    Dictionary(Vec<(Value, Value)>),
    /// Boxed, because lists and tuples are many and smaller.
    Object(Box<Object>),
    Persistent(Value),
}

/// What a call made, with the state that `BUILD` gave it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) class: Value,
    pub(super) arguments: Value,
    pub(super) state: Value,
}

/// All containers of one pickle.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    list: Vec<Node>,
    members: usize,
    /// Whether the limits left something out, so that the values are not the whole story.
    pub(super) is_incomplete: bool,
}

impl Nodes {
    pub(super) fn add(&mut self, node: Node) -> Value {
        let members = match &node {
            Node::Tuple(values) => values.len(),
            Node::List(values) => values.len(),
            Node::Dictionary(pairs) => 2 * pairs.len(),
            Node::Object(_) | Node::Persistent(_) => 3,
        };
        let Some(index) = u32::try_from(self.list.len()).ok().filter(|_| self.list.len() < MAX_NODES) else {
            self.is_incomplete = true;
            return Value::Opaque;
        };
        if !self.pay(members) {
            return Value::Opaque;
        }
        self.list.push(node);
        Value::Node(index)
    }

    /// What the persistent ids of the pickle name.
    pub(super) fn persistent(&self) -> impl Iterator<Item = &Value> {
        self.list.iter().filter_map(|node| match node {
            Node::Persistent(identifier) => Some(identifier),
            _ => None,
        })
    }

    pub(super) fn get(&self, value: &Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.list.get(usize::try_from(*index).ok()?),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, value: &Value) -> Option<&[Value]> {
        match self.get(value)? {
            Node::Tuple(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn list(&self, value: &Value) -> Option<&[Value]> {
        match self.get(value)? {
            Node::List(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn dictionary(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match self.get(value)? {
            Node::Dictionary(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value under `key` in a dictionary; the last of several, as Python has it.
    pub(super) fn entry(&self, dictionary: &Value, key: &str) -> Option<&Value> {
        let pairs = self.dictionary(dictionary)?;
        pairs.iter().rev().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    pub(super) fn object(&self, value: &Value) -> Option<&Object> {
        match self.get(value)? {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Adds what calling `class` with `arguments` makes.
    pub(super) fn add_object(&mut self, class: Value, arguments: Value) -> Value {
        self.add(Node::Object(Box::new(Object { class, arguments, state: Value::None })))
    }

    pub(super) fn append(&mut self, list: &Value, values: impl ExactSizeIterator<Item = Value>) {
        if self.pay(values.len())
            && let Some(Node::List(members)) = self.get_mut(list)
        {
            members.extend(values);
        }
    }

    pub(super) fn insert(&mut self, dictionary: &Value, pairs: impl ExactSizeIterator<Item = (Value, Value)>) {
        if self.pay(2 * pairs.len())
            && let Some(Node::Dictionary(members)) = self.get_mut(dictionary)
        {
            members.extend(pairs);
        }
    }

    pub(super) fn set_state(&mut self, object: &Value, new: Value) {
        if let Some(Node::Object(object)) = self.get_mut(object) {
            object.state = new;
        }
    }

    fn get_mut(&mut self, value: &Value) -> Option<&mut Node> {
        match value {
            Value::Node(index) => self.list.get_mut(usize::try_from(*index).ok()?),
            _ => None,
        }
    }

    fn pay(&mut self, members: usize) -> bool {
        self.members += members;
        let fits = self.members <= MAX_MEMBERS;
        self.is_incomplete |= !fits;
        fits
    }
}
