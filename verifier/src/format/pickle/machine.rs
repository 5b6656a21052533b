//! Follows a pickle's instructions as an unpickler would, without importing or calling anything.
//!
//! Where loaders differ (what may stand where), this machine goes on and takes note: code has run
//! by the time a loader gives up, so what was seen before the break counts.
//!
//! Instructions after Python's `Lib/pickletools.py`, protocols 0 to 5.

use std::collections::HashMap;

use super::error::PickleError;
use super::imports::{Imports, Simple, Use};
use super::opcode as op;
use super::reader::Reader;
use super::text;
use super::value::{MAX_TEXT_BYTES, Node, Nodes, Value};

/// Instructions followed in one file.
const MAX_INSTRUCTIONS: u64 = 40_000_000;
/// Picklers write lists in batches of a thousand, so that only tuples fill the stack.
const MAX_STACK: usize = 600_000;
const MAX_MEMO: usize = 1_000_000;
/// Memo entries whose numbers leave gaps; a dense list holds the others.
const MAX_SPARSE_MEMO: usize = 1 << 16;

/// A constant that may hold another pickle.
#[derive(Debug, Clone)]
pub(super) enum Constant {
    /// Bytes of the source.
    Stored { offset: u64, length: u64 },
    /// A text of protocol 0, decoded.
    Decoded(Vec<u8>),
}

/// What running one pickle to its end left.
pub(super) struct Machine {
    pub(super) imports: Imports,
    pub(super) nodes: Nodes,
    /// Constants that begin like a pickle or a container of one.
    pub(super) suspects: Vec<(u64, Constant)>,
    /// Whether what is followed stands in the stream in place of an array's data, as joblib writes
    /// it; a plain unpickler reads it, which knows of no arrays in the stream.
    is_inner: bool,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Value>,
    sparse_memo: HashMap<u32, Value>,
    instructions_left: u64,
}

enum Step {
    Next,
    Done(Value),
}

impl Machine {
    /// A machine that follows at most `instructions`.
    pub(super) fn new(allows_torch_script: bool, instructions: u64) -> Self {
        Self {
            imports: Imports::new(allows_torch_script),
            nodes: Nodes::default(),
            suspects: Vec::new(),
            is_inner: false,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            sparse_memo: HashMap::new(),
            instructions_left: instructions.min(MAX_INSTRUCTIONS),
        }
    }

    /// Instructions that are left of those it may follow.
    pub(super) const fn instructions_left(&self) -> u64 {
        self.instructions_left
    }

    /// Follows one pickle from the reader's position to its `STOP` and returns what it made.
    pub(super) fn run(&mut self, reader: &mut Reader<'_>) -> Result<Value, PickleError> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        self.sparse_memo.clear();
        loop {
            self.instructions_left =
                self.instructions_left.checked_sub(1).ok_or(PickleError::TooComplex("instructions"))?;
            if let Step::Done(value) = self.step(reader)? {
                return Ok(value);
            }
            if self.stack.len() > MAX_STACK || self.marks.len() > MAX_STACK {
                return Err(PickleError::TooComplex("values on the stack"));
            }
        }
    }

    fn step(&mut self, reader: &mut Reader<'_>) -> Result<Step, PickleError> {
        let at = reader.position();
        let opcode = reader.byte()?;
        match opcode {
            op::STOP => return Ok(Step::Done(self.pop(at)?)),
            op::PROTO => check_protocol(reader.byte()?)?,
            op::FRAME => check_frame(u64::from_le_bytes(reader.array()?), reader)?,
            op::MARK => self.marks.push(self.stack.len()),
            op::POP => self.discard(at)?,
            op::POP_MARK => drop(self.pop_to_mark(at)?),
            op::DUP => {
                let top = self.top(at)?.clone();
                self.stack.push(top);
            }
            op::NEXT_BUFFER => self.stack.push(Value::Opaque),
            op::READONLY_BUFFER => drop(self.top(at)?),
            opcode => {
                let known = self.constant(opcode, reader)?
                    || self.memory(opcode, at, reader)?
                    || self.container(opcode, at)?
                    || self.import(opcode, at, reader)?
                    || self.construct(opcode, at, reader)?;
                if !known {
                    return Err(PickleError::UnknownOpcode { opcode, position: at });
                }
            }
        }
        Ok(Step::Next)
    }

    /// Instructions that push a constant.
    fn constant(&mut self, opcode: u8, reader: &mut Reader<'_>) -> Result<bool, PickleError> {
        let at = reader.position();
        let value = match opcode {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::INT => decimal_number(&reader.line()?, at)?,
            op::LONG => decimal_long(&reader.line()?),
            op::BININT => Value::Int(i32::from_le_bytes(reader.array()?).into()),
            op::BININT1 => Value::Int(reader.byte()?.into()),
            op::BININT2 => Value::Int(u16::from_le_bytes(reader.array()?).into()),
            op::LONG1 => {
                let length = u64::from(reader.byte()?);
                long(length, reader)?
            }
            op::LONG4 => {
                let length = length_of_32_bits(reader, at)?;
                long(length, reader)?
            }
            op::FLOAT => {
                reader.line()?;
                Value::Opaque
            }
            op::BINFLOAT => {
                reader.skip(8)?;
                Value::Opaque
            }
            op::STRING => {
                let line = reader.line()?;
                let decoded = text::unquote(&line).ok_or(PickleError::BadArgument(at))?;
                self.decoded_text(at, decoded)
            }
            op::UNICODE => {
                let line = reader.line()?;
                self.decoded_text(at, text::raw_unicode(&line).into_bytes())
            }
            opcode => match stored_length(opcode, reader, at)? {
                Some(length) => self.stored_text(length, reader)?,
                None => return Ok(false),
            },
        };
        self.stack.push(value);
        Ok(true)
    }

    /// A text or bytes of `length` that come next: short ones are kept, long ones passed over.
    fn stored_text(&mut self, length: u64, reader: &mut Reader<'_>) -> Result<Value, PickleError> {
        let offset = reader.position();
        if length > reader.remaining() {
            return Err(PickleError::Truncated(offset));
        }
        let prefix_length = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_TEXT_BYTES);
        let prefix = reader.peek(prefix_length)?;
        let is_suspect = super::nested::is_suspect(prefix);
        let kept = (length <= MAX_TEXT_BYTES as u64).then(|| String::from_utf8_lossy(prefix).into());
        reader.skip(length)?;
        if is_suspect {
            self.suspects.push((offset, Constant::Stored { offset, length }));
            if kept.is_none() {
                return Ok(Value::Suspect);
            }
        }
        Ok(kept.map_or(Value::Opaque, Value::Text))
    }

    fn decoded_text(&mut self, at: u64, text: Vec<u8>) -> Value {
        let value = if text.len() <= MAX_TEXT_BYTES {
            Value::Text(String::from_utf8_lossy(&text).into())
        } else {
            Value::Opaque
        };
        if super::nested::is_suspect(&text) {
            self.suspects.push((at, Constant::Decoded(text)));
        }
        value
    }

    /// Instructions that store into the memo and load from it.
    fn memory(&mut self, opcode: u8, at: u64, reader: &mut Reader<'_>) -> Result<bool, PickleError> {
        match opcode {
            op::PUT => {
                let index = memo_index(&reader.line()?, at)?;
                self.store(index, at)?;
            }
            op::BINPUT => {
                let index = reader.byte()?;
                self.store(index.into(), at)?;
            }
            op::LONG_BINPUT => {
                let index = u32::from_le_bytes(reader.array()?);
                self.store(index, at)?;
            }
            op::MEMOIZE => {
                let index = self.memo.len() + self.sparse_memo.len();
                self.store(u32::try_from(index).unwrap_or(u32::MAX), at)?;
            }
            op::GET => {
                let index = memo_index(&reader.line()?, at)?;
                self.load(index, at)?;
            }
            op::BINGET => {
                let index = reader.byte()?;
                self.load(index.into(), at)?;
            }
            op::LONG_BINGET => {
                let index = u32::from_le_bytes(reader.array()?);
                self.load(index, at)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn store(&mut self, index: u32, at: u64) -> Result<(), PickleError> {
        let value = self.top(at)?.clone();
        let dense = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(place) = self.memo.get_mut(dense) {
            *place = value;
        } else if dense == self.memo.len() && !self.sparse_memo.contains_key(&index) {
            self.memo.push(value);
        } else {
            self.sparse_memo.insert(index, value);
        }
        if self.memo.len() > MAX_MEMO || self.sparse_memo.len() > MAX_SPARSE_MEMO {
            return Err(PickleError::TooComplex("remembered values"));
        }
        Ok(())
    }

    fn load(&mut self, index: u32, at: u64) -> Result<(), PickleError> {
        let dense = usize::try_from(index).ok().and_then(|index| self.memo.get(index));
        let value = dense.or_else(|| self.sparse_memo.get(&index)).ok_or(PickleError::NoSuchMemo(at))?;
        self.stack.push(value.clone());
        Ok(())
    }

    /// Instructions that make and fill tuples, lists, dictionaries and sets.
    fn container(&mut self, opcode: u8, at: u64) -> Result<bool, PickleError> {
        let node = match opcode {
            op::EMPTY_TUPLE => Node::Tuple(Box::default()),
            op::EMPTY_LIST | op::EMPTY_SET => Node::List(Vec::new()),
            op::EMPTY_DICT => Node::Dictionary(Vec::new()),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let count = usize::from(opcode - op::TUPLE1) + 1;
                Node::Tuple(self.pop_many(count, at)?.into())
            }
            op::TUPLE => Node::Tuple(self.pop_to_mark(at)?.into()),
            op::LIST | op::FROZENSET => Node::List(self.pop_to_mark(at)?),
            op::DICT => Node::Dictionary(pairs(self.pop_to_mark(at)?).collect()),
            opcode => return self.fill(opcode, at),
        };
        let value = self.nodes.add(node);
        self.stack.push(value);
        Ok(true)
    }

    fn fill(&mut self, opcode: u8, at: u64) -> Result<bool, PickleError> {
        let members = match opcode {
            op::APPEND => self.pop_many(1, at)?,
            op::SETITEM => self.pop_many(2, at)?,
            op::APPENDS | op::SETITEMS | op::ADDITEMS => self.pop_to_mark(at)?,
            _ => return Ok(false),
        };
        let target = self.top(at)?.clone();
        if let Value::Global(index) = target {
            self.imports.note(index, Use::Overwritten);
        } else if matches!(opcode, op::SETITEM | op::SETITEMS) {
            self.nodes.insert(&target, pairs(members));
        } else {
            self.nodes.append(&target, members.into_iter());
        }
        Ok(true)
    }

    /// Instructions that import by name, or ask the loader for an object.
    fn import(&mut self, opcode: u8, at: u64, reader: &mut Reader<'_>) -> Result<bool, PickleError> {
        let value = match opcode {
            op::GLOBAL => {
                let (module, name) = (name_line(reader)?, name_line(reader)?);
                self.imports.add(&module, &name)?
            }
            op::STACK_GLOBAL => {
                let names = self.pop_many(2, at)?;
                match (&names[0], &names[1]) {
                    (Value::Text(module), Value::Text(name)) => self.imports.add(module, name)?,
                    _ => self.imports.add_computed()?,
                }
            }
            op::EXT1 => {
                let code = reader.byte()?;
                self.imports.add_extension(code.into())?
            }
            op::EXT2 => {
                let code = u16::from_le_bytes(reader.array()?);
                self.imports.add_extension(code.into())?
            }
            op::EXT4 => {
                let code = u32::from_le_bytes(reader.array()?);
                self.imports.add_extension(code)?
            }
            op::PERSID => {
                reader.line()?;
                Value::Opaque
            }
            op::BINPERSID => {
                let identifier = self.pop(at)?;
                self.nodes.add(Node::Persistent(identifier))
            }
            _ => return Ok(false),
        };
        self.stack.push(value);
        Ok(true)
    }

    /// Instructions that call something.
    fn construct(&mut self, opcode: u8, at: u64, reader: &mut Reader<'_>) -> Result<bool, PickleError> {
        let (class, arguments) = match opcode {
            op::REDUCE | op::NEWOBJ => {
                let arguments = self.pop(at)?;
                (self.pop(at)?, arguments)
            }
            op::NEWOBJ_EX => {
                drop(self.pop(at)?);
                let arguments = self.pop(at)?;
                (self.pop(at)?, arguments)
            }
            op::INST => {
                let (module, name) = (name_line(reader)?, name_line(reader)?);
                let arguments = self.pop_to_mark(at)?.into();
                (self.imports.add(&module, &name)?, self.nodes.add(Node::Tuple(arguments)))
            }
            op::OBJ => {
                let mut values = self.pop_to_mark(at)?.into_iter();
                let class = values.next().ok_or(PickleError::StackUnderflow(at))?;
                (class, self.nodes.add(Node::Tuple(values.collect())))
            }
            op::BUILD => {
                self.build(at, reader)?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        let value = self.call(&class, &arguments);
        self.stack.push(value);
        Ok(true)
    }

    /// What a call makes, as far as it matters.
    fn call(&mut self, class: &Value, arguments: &Value) -> Value {
        match class {
            Value::Global(index) => {
                let harmless = self.imports.is_harmless_call(class, self.nodes.tuple(arguments).unwrap_or_default());
                self.imports.note(*index, if harmless { Use::CalledHarmlessly } else { Use::Called });
                if !harmless {
                    self.note_arguments(*index, arguments);
                }
            }
            // What a call returned is called in turn.
            Value::Node(_) => self.imports.has_computed_call = true,
            _ => {}
        }
        let first = self.nodes.tuple(arguments).and_then(<[Value]>::first).cloned();
        match self.imports.simple_kind(class) {
            Some(Simple::Dictionary) => {
                let pairs = first.map(|list| self.listed_pairs(&list)).unwrap_or_default();
                self.nodes.add(Node::Dictionary(pairs))
            }
            Some(Simple::FirstArgument) => first.unwrap_or(Value::Opaque),
            Some(Simple::Forward) => self.forwarded(arguments),
            None => self.nodes.add_object(class.clone(), arguments.clone()),
        }
    }

    /// The pairs of `OrderedDict([[key, value], …])`.
    fn listed_pairs(&self, list: &Value) -> Vec<(Value, Value)> {
        let items = self.nodes.list(list).unwrap_or_default();
        let pair = |item| match self.nodes.list(item).or_else(|| self.nodes.tuple(item)) {
            Some([key, value]) => Some((key.clone(), value.clone())),
            _ => None,
        };
        items.iter().filter_map(pair).collect()
    }

    /// `_rebuild_from_type_v2(function, type, arguments, state)` calls `function(*arguments)`.
    fn forwarded(&mut self, arguments: &Value) -> Value {
        match self.nodes.tuple(arguments) {
            Some([class, _, arguments, ..]) => {
                let (class, arguments) = (class.clone(), arguments.clone());
                self.nodes.add_object(class, arguments)
            }
            _ => Value::Opaque,
        }
    }

    /// Functions that rebuild objects call what they are given; a `defaultdict` does so much later.
    fn note_arguments(&mut self, function: u32, arguments: &Value) {
        if self.imports.simple_kind(&Value::Global(function)) == Some(Simple::Dictionary) {
            return;
        }
        let callable: Vec<u32> = self.nodes.tuple(arguments).into_iter().flatten().filter_map(global_index).collect();
        for index in callable {
            self.imports.note(index, Use::Called);
        }
    }

    fn build(&mut self, at: u64, reader: &mut Reader<'_>) -> Result<(), PickleError> {
        let state = self.pop(at)?;
        let target = self.top(at)?.clone();
        if let Value::Global(index) = target {
            self.imports.note(index, Use::Overwritten);
            return Ok(());
        }
        let object = self.nodes.object(&target);
        let is_array =
            object.is_some_and(|object| self.imports.is(&object.class, "joblib.numpy_pickle", "NumpyArrayWrapper"));
        self.nodes.set_state(&target, state.clone());
        if is_array && !self.is_inner { self.pass_array(&state, reader) } else { Ok(()) }
    }

    /// joblib writes an array's data into the stream right behind the object that describes it.
    fn pass_array(&mut self, state: &Value, reader: &mut Reader<'_>) -> Result<(), PickleError> {
        let position = reader.position();
        let data = super::joblib::array_data(&self.nodes, &self.imports, state);
        match data.ok_or(PickleError::BadArgument(position))? {
            super::joblib::ArrayData::Raw { length, is_padded } => {
                if is_padded {
                    let padding = reader.byte()?;
                    reader.skip(padding.into())?;
                }
                reader.skip(length)
            }
            super::joblib::ArrayData::Pickled => self.run_inner(reader),
        }
    }

    /// Follows a pickle that stands in the stream; it has a stack and a memo of its own.
    fn run_inner(&mut self, reader: &mut Reader<'_>) -> Result<(), PickleError> {
        let stack = std::mem::take(&mut self.stack);
        let marks = std::mem::take(&mut self.marks);
        let memo = std::mem::take(&mut self.memo);
        let sparse_memo = std::mem::take(&mut self.sparse_memo);
        self.is_inner = true;
        let result = self.run(reader);
        self.is_inner = false;
        self.stack = stack;
        self.marks = marks;
        self.memo = memo;
        self.sparse_memo = sparse_memo;
        result.map(drop)
    }

    fn top(&mut self, at: u64) -> Result<&Value, PickleError> {
        let fence = self.marks.last().copied().unwrap_or(0);
        self.stack.get(fence..).and_then(<[Value]>::last).ok_or(PickleError::StackUnderflow(at))
    }

    fn pop(&mut self, at: u64) -> Result<Value, PickleError> {
        self.top(at)?;
        self.stack.pop().ok_or(PickleError::StackUnderflow(at))
    }

    /// `POP` takes the topmost value, or the mark where that is on top.
    fn discard(&mut self, at: u64) -> Result<(), PickleError> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop(at).map(drop)
    }

    fn pop_many(&mut self, count: usize, at: u64) -> Result<Vec<Value>, PickleError> {
        let fence = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= fence);
        Ok(self.stack.split_off(start.ok_or(PickleError::StackUnderflow(at))?))
    }

    fn pop_to_mark(&mut self, at: u64) -> Result<Vec<Value>, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::StackUnderflow(at))?;
        if mark > self.stack.len() {
            return Err(PickleError::StackUnderflow(at));
        }
        Ok(self.stack.split_off(mark))
    }
}

fn pairs(values: Vec<Value>) -> impl ExactSizeIterator<Item = (Value, Value)> {
    let count = values.len() / 2;
    let mut values = values.into_iter();
    (0..count).map(move |_| (values.next().unwrap_or(Value::None), values.next().unwrap_or(Value::None)))
}

const fn global_index(value: &Value) -> Option<u32> {
    match value {
        Value::Global(index) => Some(*index),
        _ => None,
    }
}

const fn check_protocol(protocol: u8) -> Result<(), PickleError> {
    if protocol <= 5 { Ok(()) } else { Err(PickleError::UnknownProtocol(protocol)) }
}

/// A frame says how many bytes can be read ahead; it must end within the file.
fn check_frame(length: u64, reader: &Reader<'_>) -> Result<(), PickleError> {
    if length <= reader.remaining() { Ok(()) } else { Err(PickleError::Truncated(reader.position())) }
}

/// The length of a text or of bytes that are stored with their length; none for other instructions.
fn stored_length(opcode: u8, reader: &mut Reader<'_>, at: u64) -> Result<Option<u64>, PickleError> {
    let length = match opcode {
        op::SHORT_BINSTRING | op::SHORT_BINBYTES | op::SHORT_BINUNICODE => reader.byte()?.into(),
        op::BINSTRING => length_of_32_bits(reader, at)?,
        op::BINBYTES | op::BINUNICODE => u32::from_le_bytes(reader.array()?).into(),
        op::BINBYTES8 | op::BINUNICODE8 | op::BYTEARRAY8 => u64::from_le_bytes(reader.array()?),
        _ => return Ok(None),
    };
    Ok(Some(length))
}

/// A signed length, which must not be negative.
fn length_of_32_bits(reader: &mut Reader<'_>, at: u64) -> Result<u64, PickleError> {
    u64::try_from(i32::from_le_bytes(reader.array()?)).map_err(|_| PickleError::BadArgument(at))
}

/// A little-endian number in two's complement of `length` bytes.
fn long(length: u64, reader: &mut Reader<'_>) -> Result<Value, PickleError> {
    if length > 10 {
        reader.skip(length)?;
        return Ok(Value::Opaque);
    }
    let bytes = reader.take(usize::try_from(length).unwrap_or(0))?;
    if bytes == super::TORCH_MAGIC {
        return Ok(Value::TorchMagic);
    }
    if bytes.len() > 8 {
        return Ok(Value::Opaque);
    }
    let sign = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
    let mut number = [sign; 8];
    number[..bytes.len()].copy_from_slice(bytes);
    Ok(Value::Int(i64::from_le_bytes(number)))
}

/// `INT`: a decimal number, or `00` and `01` for the truth values.
fn decimal_number(line: &[u8], at: u64) -> Result<Value, PickleError> {
    match line {
        b"00" => Ok(Value::Bool(false)),
        b"01" => Ok(Value::Bool(true)),
        line if is_decimal(line) => Ok(decimal_long(line)),
        _ => Err(PickleError::BadArgument(at)),
    }
}

fn is_decimal(line: &[u8]) -> bool {
    let digits = line.trim_ascii();
    let digits = digits.strip_prefix(b"-").unwrap_or(digits);
    let digits = digits.strip_suffix(b"L").unwrap_or(digits);
    !digits.is_empty() && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn decimal_long(line: &[u8]) -> Value {
    let text = String::from_utf8_lossy(line);
    let digits = text.trim();
    digits.strip_suffix('L').unwrap_or(digits).parse().map_or(Value::Opaque, Value::Int)
}

fn memo_index(line: &[u8], at: u64) -> Result<u32, PickleError> {
    let text = std::str::from_utf8(line).map_err(|_| PickleError::BadArgument(at))?;
    text.trim().parse().map_err(|_| PickleError::BadArgument(at))
}

/// One half of the argument of `GLOBAL` and `INST`.
fn name_line(reader: &mut Reader<'_>) -> Result<String, PickleError> {
    let at = reader.position();
    String::from_utf8(reader.line()?).map_err(|_| PickleError::BadArgument(at))
}
