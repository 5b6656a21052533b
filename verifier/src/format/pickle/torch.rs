//! Reads from a PyTorch checkpoint which tensors it holds, without reading their data.
//!
//! After `torch/serialization.py` and `torch/_utils.py`: a tensor is a call of a rebuild function
//! on a storage, which the pickle names by a persistent id `('storage', type, key, device, count)`.

use std::collections::{HashMap, HashSet};

use super::machine::Machine;
use super::value::{Node, Object, Value};
use crate::format::findings;
use crate::format::found::{Found, shown};
use crate::format::tensor::Tensor;
use crate::read_at::ReadAt;

const MAX_TENSORS: usize = 150_000;
/// Longest name of a tensor, in bytes; names are keys joined by dots.
const MAX_NAME_BYTES: usize = 512;

/// Where a storage's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::format) struct Place {
    /// In bytes from the start of the file; none where the data is packed.
    pub(in crate::format) offset: Option<u64>,
    pub(in crate::format) length: u64,
}

/// What a checkpoint holds, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    list: Vec<Tensor>,
    problem: Option<(&'static str, String)>,
    is_incomplete: bool,
}

/// A storage as a persistent id names it.
struct Storage<'a> {
    key: &'a str,
    /// PyTorch's name and the bytes of an element.
    element: (&'static str, u64),
    bytes: u64,
}

/// The part of a storage that a tensor is.
struct View<'a> {
    key: &'a str,
    element_type: &'static str,
    element_bytes: u64,
    storage_bytes: u64,
    /// In elements.
    offset: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
}

/// Reads the tensors of `root`, whose storages lie at `places`.
pub(super) fn read(machine: &Machine, root: &Value, places: &dyn Fn(&str) -> Option<Place>) -> Tensors {
    if is_optimizer(machine, root) {
        return Tensors::default();
    }
    let mut tensors = Tensors { is_incomplete: machine.nodes.is_incomplete, ..Tensors::default() };
    let mut seen = HashSet::new();
    let mut views = HashSet::new();
    let mut pending = vec![(root, String::new())];
    while let Some((value, name)) = pending.pop() {
        let Value::Node(index) = value else { continue };
        if !seen.insert(*index) {
            continue;
        }
        match view(machine, value) {
            Some(view) => {
                // Tied weights are one tensor under two names.
                if views.insert((view.key, view.offset, view.shape.clone())) {
                    tensors.add(name, &view, places);
                }
            }
            None => push_parts(machine, value, &name, &mut pending),
        }
        if tensors.list.len() > MAX_TENSORS {
            tensors.is_incomplete = true;
            break;
        }
    }
    tensors
}

/// Whether the file is what an optimizer remembers, which holds no parameters of the model.
fn is_optimizer(machine: &Machine, root: &Value) -> bool {
    ["state", "param_groups"].iter().all(|key| machine.nodes.entry(root, key).is_some())
}

/// Reads a file of PyTorch's old format: five pickles, then for each key the number of elements
/// and the data.
pub(super) fn read_legacy(machine: &Machine, roots: &[Value], data_start: u64, source: &dyn ReadAt) -> Tensors {
    let storages = storages(machine);
    let mut places = HashMap::new();
    let mut position = data_start;
    let mut problem = None;
    for key in machine.nodes.list(&roots[4]).unwrap_or_default().iter().filter_map(Value::text) {
        let mut count = [0; 8];
        let Some(bytes) = storages.get(key).copied() else {
            problem = Some(format!("the file lists storage `{}`, which no tensor names", shown(key)));
            break;
        };
        let end = position.checked_add(8).and_then(|start| start.checked_add(bytes));
        let Some(end) = end.filter(|end| *end <= source.size()) else {
            problem = Some(format!("storage `{}` reaches beyond the end of the file", shown(key)));
            break;
        };
        if source.read_exact_at(position, &mut count).is_err() {
            break;
        }
        places.insert(key, Place { offset: Some(position + 8), length: bytes });
        position = end;
    }
    if problem.is_none() && position < source.size() {
        problem = Some(format!("{} bytes at the end of the file belong to no storage", source.size() - position));
    }
    let mut tensors = read(machine, &roots[3], &|key| places.get(key).copied());
    tensors.problem = problem.map(|problem| ("TORCH_STORAGE_MISMATCH", problem)).or(tensors.problem);
    tensors
}

/// The parts of a container that may hold tensors, named.
fn push_parts<'a>(machine: &'a Machine, value: &'a Value, name: &str, pending: &mut Vec<(&'a Value, String)>) {
    let first = pending.len();
    match machine.nodes.get(value) {
        Some(Node::Dictionary(pairs)) => {
            for (key, part) in pairs {
                if let Some(name) = part_name(name, key) {
                    pending.push((part, name));
                }
            }
        }
        Some(Node::List(values)) => {
            pending.extend(values.iter().enumerate().map(|(index, part)| (part, join(name, &index.to_string()))));
        }
        Some(Node::Tuple(values)) => {
            pending.extend(values.iter().enumerate().map(|(index, part)| (part, join(name, &index.to_string()))));
        }
        Some(Node::Object(object)) => {
            pending.push((&object.arguments, name.to_owned()));
            pending.push((&object.state, name.to_owned()));
        }
        Some(Node::Persistent(_)) | None => {}
    }
    pending[first..].reverse();
}

/// The name of a dictionary's part; none for what holds no parameters of the model.
fn part_name(name: &str, key: &Value) -> Option<String> {
    let key = match key {
        Value::Text(key) => key.to_string(),
        Value::Int(key) => key.to_string(),
        _ => String::new(),
    };
    match key.as_str() {
        // A checkpoint of a training run holds the optimizer's memory beside the model.
        key if name.is_empty() && key.starts_with("optimizer") => None,
        // A whole module keeps its parts in dictionaries of these names.
        "_parameters" | "_buffers" | "_modules" => Some(name.to_owned()),
        key => Some(join(name, key)),
    }
}

fn join(name: &str, key: &str) -> String {
    let mut joined = if name.is_empty() || key.is_empty() { format!("{name}{key}") } else { format!("{name}.{key}") };
    let mut end = MAX_NAME_BYTES.min(joined.len());
    while !joined.is_char_boundary(end) {
        end -= 1;
    }
    joined.truncate(end);
    joined
}

/// The tensor that a call of a rebuild function stands for.
fn view<'a>(machine: &'a Machine, value: &Value) -> Option<View<'a>> {
    let Object { class, arguments, .. } = machine.nodes.object(value)?;
    let ("torch._utils", function) = machine.imports.name_of(class)? else { return None };
    let arguments = machine.nodes.tuple(arguments)?;
    if !matches!(function, "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" | "_rebuild_qtensor") {
        return None;
    }
    let [storage, offset, shape, strides, ..] = arguments else { return None };
    let dtype = if function == "_rebuild_tensor_v3" { arguments.get(6) } else { None };
    let Node::Persistent(identifier) = machine.nodes.get(storage)? else { return None };
    let storage = Storage::of(machine, identifier)?;
    let (element_type, element_bytes) = match dtype {
        Some(dtype) => element(machine.imports.name_of(dtype)?.1)?,
        None => storage.element,
    };
    Some(View {
        key: storage.key,
        element_type,
        element_bytes,
        storage_bytes: storage.bytes,
        offset: offset.whole_number()?,
        shape: whole_numbers(machine, shape)?,
        strides: whole_numbers(machine, strides)?,
    })
}

impl<'a> Storage<'a> {
    fn of(machine: &'a Machine, identifier: &Value) -> Option<Self> {
        let [kind, class, key, _, count, ..] = machine.nodes.tuple(identifier)? else { return None };
        let element = element(machine.imports.name_of(class)?.1).filter(|_| kind.text() == Some("storage"))?;
        Some(Self { key: key.text()?, element, bytes: count.whole_number()?.checked_mul(element.1)? })
    }
}

/// Keys of all storages that the pickle names, with their bytes.
pub(super) fn storages(machine: &Machine) -> HashMap<String, u64> {
    let named = machine.nodes.persistent().filter_map(|identifier| Storage::of(machine, identifier));
    named.map(|storage| (storage.key.to_owned(), storage.bytes)).collect()
}

fn whole_numbers(machine: &Machine, value: &Value) -> Option<Vec<u64>> {
    machine.nodes.tuple(value)?.iter().map(Value::whole_number).collect()
}

/// PyTorch's name and the bytes of an element of a storage class or `dtype`.
fn element(name: &str) -> Option<(&'static str, u64)> {
    Some(match name {
        "FloatStorage" | "float32" | "float" => ("float32", 4),
        "DoubleStorage" | "float64" | "double" => ("float64", 8),
        "HalfStorage" | "float16" | "half" => ("float16", 2),
        "BFloat16Storage" | "bfloat16" => ("bfloat16", 2),
        "LongStorage" | "int64" | "long" => ("int64", 8),
        "IntStorage" | "int32" | "int" => ("int32", 4),
        "ShortStorage" | "int16" | "short" => ("int16", 2),
        "CharStorage" | "int8" => ("int8", 1),
        "ByteStorage" | "uint8" | "UntypedStorage" | "_UntypedStorage" => ("uint8", 1),
        "BoolStorage" | "bool" => ("bool", 1),
        "ComplexFloatStorage" | "complex64" | "cfloat" => ("complex64", 8),
        "ComplexDoubleStorage" | "complex128" | "cdouble" => ("complex128", 16),
        "QInt8Storage" | "qint8" => ("qint8", 1),
        "QUInt8Storage" | "quint8" => ("quint8", 1),
        "QInt32Storage" | "qint32" => ("qint32", 4),
        "uint16" => ("uint16", 2),
        "uint32" => ("uint32", 4),
        "uint64" => ("uint64", 8),
        "float8_e4m3fn" => ("float8_e4m3fn", 1),
        "float8_e5m2" => ("float8_e5m2", 1),
        "float8_e4m3fnuz" => ("float8_e4m3fnuz", 1),
        "float8_e5m2fnuz" => ("float8_e5m2fnuz", 1),
        "float8_e8m0fnu" => ("float8_e8m0fnu", 1),
        _ => return None,
    })
}

impl View<'_> {
    /// Bytes of all elements, and the byte in the storage behind the last one.
    fn extent(&self) -> Option<(u64, u64)> {
        let elements = self.shape.iter().try_fold(1_u64, |product, dimension| product.checked_mul(*dimension))?;
        let bytes = elements.checked_mul(self.element_bytes)?;
        if self.shape.len() != self.strides.len() {
            return None;
        }
        let mut last = self.offset;
        for (dimension, stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add(dimension.saturating_sub(1).checked_mul(*stride)?)?;
        }
        let end = if elements == 0 { 0 } else { last.checked_add(1)?.checked_mul(self.element_bytes)? };
        Some((bytes, end))
    }

    /// Whether the elements follow each other as their shape says.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1_u64;
        for (dimension, stride) in self.shape.iter().zip(&self.strides).rev() {
            if *dimension != 1 && *stride != expected {
                return false;
            }
            expected = expected.saturating_mul(*dimension);
        }
        true
    }
}

impl Tensors {
    fn add(&mut self, name: String, view: &View<'_>, places: &dyn Fn(&str) -> Option<Place>) {
        let place = places(view.key);
        let extent = view.extent().filter(|(_, end)| *end <= view.storage_bytes);
        let Some((byte_length, _)) = extent else {
            let problem = format!("tensor `{}` reaches beyond its storage", shown(&name));
            self.problem.get_or_insert(("TORCH_TENSOR_OUT_OF_BOUNDS", problem));
            return;
        };
        if place.is_some_and(|place| place.length != view.storage_bytes) {
            let problem = format!("storage `{}` is not of the size that its tensors state", shown(view.key));
            self.problem.get_or_insert(("TORCH_STORAGE_MISMATCH", problem));
        }
        let start = place.and_then(|place| place.offset).filter(|_| view.is_contiguous());
        self.list.push(Tensor {
            name,
            element_type: view.element_type.into(),
            shape: view.shape.clone(),
            byte_length,
            offset: start.map(|start| start.saturating_add(view.offset.saturating_mul(view.element_bytes))),
        });
    }

    /// Adds the tensors.
    pub(super) fn report(self, found: &mut Found) {
        if let Some((code, problem)) = &self.problem {
            findings::malformed(found, code, problem);
        }
        if !self.list.is_empty() && !self.is_incomplete {
            let weights = found.weights.get_or_insert_default();
            weights.tensors.extend(self.list);
        }
    }
}
