//! Arrays in joblib's files: their bytes stand in the middle of the pickle, right behind the
//! instruction that describes them (joblib, `numpy_pickle.py`).

use super::imports::Imports;
use super::value::{Nodes, Object, Value};
use crate::format::numpy::item_bytes;

/// What follows the description of an array.
pub(super) enum ArrayData {
    /// The array's bytes, behind one byte with the number of padding bytes where `is_padded`.
    Raw { length: u64, is_padded: bool },
    /// A pickle of a list of Python objects.
    Pickled,
}

/// Reads the state of a `NumpyArrayWrapper`; none where it says too little.
pub(super) fn array_data(nodes: &Nodes, imports: &Imports, state: &Value) -> Option<ArrayData> {
    let Item { bytes, holds_objects } = item(nodes, imports, nodes.entry(state, "dtype")?)?;
    if holds_objects {
        return Some(ArrayData::Pickled);
    }
    let mut length = bytes;
    for dimension in nodes.tuple(nodes.entry(state, "shape")?)? {
        length = length.checked_mul(dimension.whole_number()?)?;
    }
    let is_padded = nodes.entry(state, "numpy_array_alignment_bytes").is_some_and(|value| *value != Value::None);
    Some(ArrayData::Raw { length, is_padded })
}

struct Item {
    bytes: u64,
    holds_objects: bool,
}

/// The size of one element of `numpy.dtype(code, …)`; for records, of its state, which names it.
fn item(nodes: &Nodes, imports: &Imports, dtype: &Value) -> Option<Item> {
    let Object { class, arguments, state } = nodes.object(dtype)?;
    if !matches!(imports.name_of(class)?, ("numpy" | "numpy.core.multiarray" | "numpy._core.multiarray", "dtype")) {
        return None;
    }
    let code = nodes.tuple(arguments)?.first()?.text()?;
    if code.starts_with('O') {
        return Some(Item { bytes: 0, holds_objects: true });
    }
    // State: version, byte order, subarray, names, fields, element size, alignment, flags, …
    let state = nodes.tuple(state).unwrap_or_default();
    let holds_objects = state.get(7).and_then(Value::whole_number).is_some_and(|flags| flags & 1 != 0);
    let stated = state.get(5).and_then(Value::whole_number);
    let bytes = stated.or_else(|| item_bytes(code.trim_start_matches(['<', '>', '|', '='])))?;
    Some(Item { bytes, holds_objects })
}
