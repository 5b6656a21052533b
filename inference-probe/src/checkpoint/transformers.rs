//! A folder as the Transformers library writes it: safetensors with `config.json` beside them.
//!
//! It is read as the GGUF file that llama.cpp's converter would make of it: names, keys, the
//! order of rows. So the engine has one kind of model, and nothing is converted on disk.

mod config;
mod family;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use verifier::ReadAt;
use verifier::format::gguf::{Header, TensorInfo, TensorType};
use verifier::format::safetensors::{self, Dtype};

use super::space::Source;
use super::{AddressSpace, Change, Checkpoint, CheckpointError, Extent};
use crate::checks::ModelFile;
use config::Config;
pub(super) use config::Sizes;
pub(super) use family::{Family, Place};
use rows::Order;

const CONFIG: &str = "config.json";
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A tensor where a file has it.
struct Stored<'a> {
    file: &'a ModelFile,
    info: safetensors::TensorInfo,
}

/// Whether `files` are such a folder.
pub(super) fn is_folder(files: &[ModelFile]) -> bool {
    files.iter().any(is_safetensors) && files.iter().any(|file| file.name == CONFIG)
}

pub(super) fn is_safetensors(file: &ModelFile) -> bool {
    std::path::Path::new(&file.name).extension().is_some_and(|extension| extension == "safetensors")
}

pub(super) fn open(files: &[ModelFile]) -> Result<Checkpoint<'_>, CheckpointError> {
    let config = read_config(files)?;
    let family = Family::find(&config)?;
    let mut stored = read_tensors(files)?;
    let name = files.iter().find(|file| is_safetensors(file)).map_or_else(String::new, |file| file.name.clone());
    let sizes = config.sizes(family)?;
    check_modules(files)?;
    let mut builder = Builder {
        family,
        sizes: &sizes,
        space: AddressSpace::default(),
        tensors: Vec::new(),
        unused: Vec::new(),
        changes: HashMap::new(),
    };
    let mut grouped: BTreeMap<String, Vec<(u64, Stored<'_>)>> = BTreeMap::new();
    for (tensor_name, tensor) in stored.drain() {
        match family.place(&tensor_name) {
            Some(Place::Ignored) => builder.add_unused(tensor_name, &tensor),
            Some(Place::Tensor { name, .. }) if sizes.ties_embeddings && name == "output.weight" => {
                builder.add_unused(tensor_name, &tensor);
            }
            Some(Place::Tensor { name, number }) => grouped.entry(name).or_default().push((number, tensor)),
            None => return Err(CheckpointError::UnknownTensor { file: tensor.file.name.clone(), tensor: tensor_name }),
        }
    }
    for (name, parts) in grouped {
        builder.add(name, parts)?;
    }
    for (name, values) in config.factors(&sizes)? {
        builder.add_floats(&name, &values);
    }
    let rows = builder.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
    let rows = rows.and_then(|tensor| tensor.dimensions.get(1).copied());
    let metadata = config.metadata(family, &sizes, rows, pooling(files)?)?;
    let header = Header { version: 3, alignment: 1, data_offset: 0, metadata, tensors: builder.tensors };
    let container = format!("safetensors of `{}`", family.model_type);
    let mut checkpoint = Checkpoint::new(files, name, container, header, builder.space);
    checkpoint.changes = builder.changes;
    checkpoint.unused = builder.unused;
    checkpoint.skipped = super::other_weights(files, |file| is_part(files, file));
    if config.has("auto_map") {
        checkpoint.doubts.push("code of its own (`auto_map`)".to_owned());
    }
    checkpoint.model_type = Some(family.model_type);
    Ok(checkpoint)
}

fn read_config(files: &[ModelFile]) -> Result<Config, CheckpointError> {
    let Some(file) = files.iter().find(|file| file.name == CONFIG) else { return Err(CheckpointError::NoWeights) };
    read_object(file).map(Config::new)
}

/// How sentence-transformers makes one vector of all, in the numbers of GGUF's key.
fn pooling(files: &[ModelFile]) -> Result<Option<u64>, CheckpointError> {
    let Some(file) = files.iter().find(|file| file.name.ends_with("_Pooling/config.json")) else { return Ok(None) };
    let document = read_object(file)?;
    let is_set = |mode: &str| document.get(&format!("pooling_mode_{mode}")).and_then(Json::as_bool) == Some(true);
    let modes = [("mean_tokens", 1), ("cls_token", 2), ("lasttoken", 3)];
    let unsupported =
        || CheckpointError::ConfigUnsupported { key: "pooling_mode".to_owned(), value: "another".to_owned() };
    let wanted: Vec<&String> = document.keys().filter(|key| key.starts_with("pooling_mode_")).collect();
    let set = wanted.into_iter().filter(|key| document.get(*key).and_then(Json::as_bool) == Some(true)).count();
    let found = modes.into_iter().find(|(mode, _)| is_set(mode)).filter(|_| set == 1);
    found.map(|(_, number)| Some(number)).ok_or_else(unsupported)
}

/// What sentence-transformers does after the model; anything but pooling and scaling to length one
/// would be another vector.
fn check_modules(files: &[ModelFile]) -> Result<(), CheckpointError> {
    let Some(file) = files.iter().find(|file| file.name == "modules.json") else { return Ok(()) };
    let invalid = |detail: String| CheckpointError::Config { file: file.name.clone(), detail };
    let bytes = super::read_document(file, MAX_CONFIG_BYTES)?;
    let modules: Vec<Json> = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    let kind = |module: &Json| module.get("type").and_then(Json::as_str).unwrap_or("").to_owned();
    let is_known = |kind: &String| ["Transformer", "Pooling", "Normalize"].iter().any(|known| kind.ends_with(known));
    match modules.iter().map(kind).find(|kind| !is_known(kind)) {
        Some(kind) => Err(Config::unsupported("modules.json", &kind)),
        None => Ok(()),
    }
}

/// A small JSON document that holds an object.
pub(super) fn read_object(file: &ModelFile) -> Result<Map<String, Json>, CheckpointError> {
    let bytes = super::read_document(file, MAX_CONFIG_BYTES)?;
    let invalid =
        |error: serde_json::Error| CheckpointError::Config { file: file.name.clone(), detail: error.to_string() };
    serde_json::from_slice(&bytes).map_err(invalid)
}

/// Whether a file holds a part of the weights. Some publishers put the same weights beside: in their
/// own names and in one file, or in another precision.
fn is_part(files: &[ModelFile], file: &ModelFile) -> bool {
    const WHOLE: &str = "model.safetensors";
    let is_usual = |file: &ModelFile| is_safetensors(file) && file.name.starts_with("model");
    if files.iter().any(|file| file.name == WHOLE) {
        file.name == WHOLE
    } else if files.iter().any(is_usual) {
        is_usual(file)
    } else {
        is_safetensors(file)
    }
}

fn read_tensors(files: &[ModelFile]) -> Result<HashMap<String, Stored<'_>>, CheckpointError> {
    let mut stored = HashMap::new();
    for file in files.iter().filter(|file| is_part(files, file)) {
        let refused = |error| CheckpointError::Safetensors { file: file.name.clone(), error };
        let header = safetensors::read_header(file.reader.as_ref()).map_err(refused)?;
        for info in header.tensors {
            let name = info.name.clone();
            if stored.insert(name.clone(), Stored { file, info }).is_some() {
                return Err(CheckpointError::RepeatedTensor { file: file.name.clone(), tensor: name });
            }
        }
    }
    Ok(stored)
}

/// The tensors of the model under GGUF's names, one after the other.
struct Builder<'a, 'b> {
    family: &'static Family,
    sizes: &'b Sizes,
    space: AddressSpace<'a>,
    tensors: Vec<TensorInfo>,
    unused: Vec<TensorInfo>,
    changes: HashMap<String, Change>,
}

impl<'a> Builder<'a, '_> {
    /// Adds the tensor `name`, which is one of the files' tensors or several that are stacked.
    fn add(&mut self, name: String, mut parts: Vec<(u64, Stored<'a>)>) -> Result<(), CheckpointError> {
        parts.sort_by_key(|(number, _)| *number);
        let Some((_, first)) = parts.first() else { return Ok(()) };
        let refused = |detail: String| CheckpointError::Tensor {
            file: first.file.name.clone(),
            tensor: first.info.name.clone(),
            detail,
        };
        let tensor_type = tensor_type(first.info.dtype).map_err(|kind| refused(format!("is encoded as {kind}")))?;
        let alike =
            parts.iter().all(|(_, part)| (&part.info.shape, part.info.dtype) == (&first.info.shape, first.info.dtype));
        let in_order = parts.iter().zip(0..).all(|((number, _), expected)| *number == expected);
        if !alike || !in_order {
            return Err(refused("does not fit the others that it stands beside".to_owned()));
        }
        let stacked = self.family.is_stacked(&name);
        let mut shape = first.info.shape.clone();
        // Without bytes a shape could claim any number of rows.
        if shape.len() > 2 || shape.is_empty() || first.info.byte_length == 0 {
            return Err(refused(format!("has {} dimensions and {} bytes", shape.len(), first.info.byte_length)));
        }
        if stacked {
            shape.insert(0, parts.len() as u64);
        } else if parts.len() > 1 {
            return Err(refused("is there several times".to_owned()));
        }
        let order = self.family.order(&name, self.sizes);
        let offset = self.space.size();
        for (_, part) in &parts {
            self.add_rows(part, order).map_err(refused)?;
        }
        let byte_length = self.space.size() - offset;
        let change = self.family.change(&name);
        if change == Change::Transposed {
            shape.reverse();
        }
        if change != Change::None {
            self.changes.insert(name.clone(), change);
        }
        shape.reverse();
        self.tensors.push(TensorInfo { name, dimensions: shape, tensor_type, offset, byte_length });
        Ok(())
    }

    /// Keeps a tensor that nothing is computed with, so that its values are looked at nevertheless.
    fn add_unused(&mut self, name: String, part: &Stored<'a>) {
        if let Ok(tensor_type) = tensor_type(part.info.dtype) {
            let source = Source::File(part.file.reader.as_ref());
            let (offset, byte_length) = (part.info.offset, part.info.byte_length);
            let offset = self.space.add(Extent { source, offset, length: byte_length });
            let dimensions = part.info.shape.iter().rev().copied().collect();
            self.unused.push(TensorInfo { name, dimensions, tensor_type, offset, byte_length });
        }
    }

    /// Adds one tensor's bytes, its rows in the wanted order.
    fn add_rows(&mut self, part: &Stored<'a>, order: Order) -> Result<(), String> {
        let rows = part.info.shape.first().copied().unwrap_or(1);
        let row_bytes = part.info.byte_length / rows.max(1);
        for (start, count) in order.runs(rows)? {
            let offset = part.info.offset + start * row_bytes;
            self.space.add(Extent {
                source: Source::File(part.file.reader.as_ref()),
                offset,
                length: count * row_bytes,
            });
        }
        Ok(())
    }

    /// Adds a vector that the configuration gives.
    fn add_floats(&mut self, name: &str, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let byte_length = bytes.len() as u64;
        let offset = self.space.add(Extent { source: Source::Memory(Arc::new(bytes)), offset: 0, length: byte_length });
        self.tensors.push(TensorInfo {
            name: name.to_owned(),
            dimensions: vec![values.len() as u64],
            tensor_type: TensorType::F32,
            offset,
            byte_length,
        });
    }
}

pub(super) fn tensor_type(dtype: Dtype) -> Result<TensorType, &'static str> {
    match dtype {
        Dtype::F32 => Ok(TensorType::F32),
        Dtype::F16 => Ok(TensorType::F16),
        Dtype::BF16 => Ok(TensorType::BF16),
        other => Err(other.name()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weighhouse_tests::gguf::architectures::{File, checkpoints, encoder_checkpoints};

    use super::*;
    use crate::engine::architecture::Architecture;
    use crate::engine::hyperparameters::Hyperparameters;
    use crate::engine::test_models::file;

    fn hostile_values() -> Vec<Json> {
        vec![
            json!(0),
            json!(1),
            json!(u64::MAX),
            json!(-1),
            json!(1e308),
            json!("text"),
            json!([]),
            json!({}),
            json!(true),
        ]
    }

    fn changed(files: &[File], change: impl Fn(&mut Map<String, Json>)) -> Vec<File> {
        let mut files = files.to_vec();
        for (_, bytes) in files.iter_mut().filter(|(name, _)| name == CONFIG) {
            let mut document: Map<String, Json> = serde_json::from_slice(bytes).unwrap();
            change(&mut document);
            *bytes = serde_json::to_vec(&document).unwrap();
        }
        files
    }

    /// Whatever comes of it, it comes soon and without a panic.
    fn open_all(files: &[File]) {
        let files: Vec<_> = files.iter().map(|(name, bytes)| file(name, bytes)).collect();
        let Ok(checkpoint) = Checkpoint::open(&files) else { return };
        if let Some(architecture) = checkpoint.header.architecture().and_then(Architecture::find) {
            let sizes = Hyperparameters::read(architecture, &checkpoint.header);
            sizes.map(|sizes| architecture.tensors(&sizes, &|name| checkpoint.has(name)).len()).ok();
        }
    }

    #[test]
    fn no_number_of_a_configuration_asks_for_endless_work() {
        let wanted = ["llama3", "phi3-long-factors", "qwen3-moe", "bert"];
        let folders = [checkpoints(), encoder_checkpoints()].concat();
        for folder in folders.iter().filter(|folder| wanted.contains(&folder.name)) {
            let files = folder.files();
            let (_, config) = files.iter().find(|(name, _)| name == "config.json").unwrap();
            let keys: Vec<String> =
                serde_json::from_slice::<Map<String, Json>>(config).unwrap().keys().cloned().collect();
            for (key, value) in keys.iter().flat_map(|key| hostile_values().into_iter().map(move |value| (key, value)))
            {
                open_all(&changed(&files, |document| {
                    document.insert(key.clone(), value.clone());
                }));
            }
        }
    }

    #[test]
    fn a_tensor_without_bytes_is_refused_whatever_its_shape() {
        let header =
            format!(r#"{{"model.norm.weight":{{"dtype":"F32","shape":[{},0],"data_offsets":[0,0]}}}}"#, u64::MAX >> 8);
        let weights = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        let mut files = checkpoints()[0].files();
        files.retain(|(name, _)| name == CONFIG);
        files.push(("model.safetensors".to_owned(), weights));
        let files: Vec<_> = files.iter().map(|(name, bytes)| file(name, bytes)).collect();
        assert!(Checkpoint::open(&files).is_err());
    }
}
