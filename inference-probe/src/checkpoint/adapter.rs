//! An adapter of low rank, as the GGUF file that llama.cpp's converter would make of it.
//!
//! It holds two small matrices for each matrix of its base that it changes, `NAME.lora_a` and
//! `NAME.lora_b`, and the key `adapter.lora.alpha`. PEFT stores the same under the names of
//! Transformers, with its factors in `adapter_config.json`.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use verifier::format::gguf::{Header, TensorInfo, Value};
use verifier::format::safetensors;

use super::space::Source;
use super::transformers::{Family, Place, Sizes, is_safetensors, read_object, tensor_type};
use super::{AddressSpace, Checkpoint, CheckpointError, Extent};
use crate::checks::ModelFile;

const CONFIG: &str = "adapter_config.json";
const MAX_RANK: u64 = 1 << 16;
const ALPHA: &str = "adapter.lora.alpha";

/// Whether `files` are an adapter rather than a model.
pub(crate) fn is_adapter(files: &[ModelFile]) -> bool {
    let is_gguf_adapter = |file: &ModelFile| {
        let header = super::gguf::is_gguf(file).then(|| verifier::format::gguf::read_header(file.reader.as_ref()));
        header.is_some_and(|header| header.is_ok_and(|header| is_adapter_header(&header)))
    };
    files.iter().any(|file| file.name == CONFIG) || files.iter().any(is_gguf_adapter)
}

fn is_adapter_header(header: &Header) -> bool {
    header.get("general.type").and_then(Value::as_str) == Some("adapter")
}

/// Reads an adapter for `base`.
pub(crate) fn open<'a>(files: &'a [ModelFile], base: &Checkpoint<'_>) -> Result<Checkpoint<'a>, CheckpointError> {
    let Some(config) = files.iter().find(|file| file.name == CONFIG) else { return open_gguf(files, base) };
    let others = files.iter().filter(|file| super::gguf::is_gguf(file)).count();
    if others > 0 {
        return Err(CheckpointError::SeveralModels(others + 1));
    }
    let config = Config::read(config)?;
    let family = Family::of_architecture(base.header.architecture().unwrap_or_default())?;
    let sizes = Sizes::of_header(&base.header).ok_or_else(|| invalid("the base gives no sizes"))?;
    let mut space = AddressSpace::default();
    let mut tensors = Vec::new();
    let weights: Vec<&ModelFile> = files.iter().filter(|file| is_safetensors(file)).collect();
    let Some(first) = weights.first() else { return Err(CheckpointError::NoWeights) };
    for file in &weights {
        let refused = |error| CheckpointError::Safetensors { file: file.name.clone(), error };
        for info in safetensors::read_header(file.reader.as_ref()).map_err(refused)?.tensors {
            let tensor = place(file, &info, family, &sizes, &mut space)?;
            if tensors.iter().any(|other: &TensorInfo| other.name == tensor.name) {
                return Err(CheckpointError::RepeatedTensor { file: file.name.clone(), tensor: info.name });
            }
            if tensor.name.ends_with(".lora_a") && tensor.dimensions.get(1) != Some(&config.rank) {
                let detail = format!("does not have the rank {} of the configuration", config.rank);
                return Err(CheckpointError::Tensor { file: file.name.clone(), tensor: info.name, detail });
            }
            tensors.push(tensor);
        }
    }
    let metadata = vec![
        ("general.type".to_owned(), Value::String("adapter".to_owned())),
        (ALPHA.to_owned(), Value::F64(config.alpha)),
    ];
    let header = Header { version: 3, alignment: 1, data_offset: 0, metadata, tensors };
    Ok(Checkpoint::new(files, first.name.clone(), "an adapter of low rank".to_owned(), header, space))
}

/// An adapter that is a GGUF file already.
fn open_gguf<'a>(files: &'a [ModelFile], base: &Checkpoint<'_>) -> Result<Checkpoint<'a>, CheckpointError> {
    let adapter = super::gguf::open(files)?;
    let unsupported = |key: &str, value: &str| {
        Err(CheckpointError::ConfigUnsupported { key: key.to_owned(), value: value.to_owned() })
    };
    match adapter.header.get("adapter.type").and_then(Value::as_str) {
        None | Some("lora") => {}
        Some(_) => return unsupported("adapter.type", "not `lora`"),
    }
    if adapter.header.get("adapter.alora.invocation_tokens").is_some() {
        return unsupported("adapter.alora.invocation_tokens", "set");
    }
    match adapter.header.architecture() {
        Some(architecture) if Some(architecture) != base.header.architecture() => {
            Err(invalid("the adapter is for another architecture than the base"))
        }
        _ => Ok(adapter),
    }
}

fn place<'a>(
    file: &'a ModelFile,
    info: &safetensors::TensorInfo,
    family: &Family,
    sizes: &Sizes,
    space: &mut AddressSpace<'a>,
) -> Result<TensorInfo, CheckpointError> {
    let refused =
        |detail: String| CheckpointError::Tensor { file: file.name.clone(), tensor: info.name.clone(), detail };
    let (target, side) = target(&info.name).ok_or_else(|| refused("is not a part of low rank".to_owned()))?;
    let Some(Place::Tensor { name, number: 0 }) = family.place(&format!("{target}.weight")) else {
        return Err(refused("changes something that the base does not have".to_owned()));
    };
    let rows = match info.shape[..] {
        [rows, columns] if rows > 0 && columns > 0 => rows,
        _ => return Err(refused("is not a matrix".to_owned())),
    };
    let row_bytes = info.byte_length / rows.max(1);
    let runs = match side {
        "lora_b" => family.order(&name, sizes).runs(rows).map_err(refused)?,
        _ => vec![(0, rows)],
    };
    let offset = verifier::ReadAt::size(space);
    for (start, count) in runs {
        let source = Source::File(file.reader.as_ref());
        space.add(Extent { source, offset: info.offset + start * row_bytes, length: count * row_bytes });
    }
    Ok(TensorInfo {
        name: format!("{name}.{side}"),
        dimensions: info.shape.iter().rev().copied().collect(),
        tensor_type: tensor_type(info.dtype).map_err(|kind| refused(format!("is encoded as {kind}")))?,
        offset,
        byte_length: info.byte_length,
    })
}

/// What a tensor of PEFT changes, and which of the two matrices it is.
fn target(name: &str) -> Option<(&str, &'static str)> {
    let stem = name.strip_suffix(".weight")?;
    let stem = stem.strip_suffix(".default").unwrap_or(stem);
    let (target, side) = match stem.strip_suffix(".lora_A") {
        Some(target) => (target, "lora_a"),
        None => (stem.strip_suffix(".lora_B")?, "lora_b"),
    };
    Some((target.strip_prefix("base_model.model.").unwrap_or(target), side))
}

fn invalid(detail: impl Into<String>) -> CheckpointError {
    CheckpointError::Config { file: CONFIG.to_owned(), detail: detail.into() }
}

/// What of `adapter_config.json` decides the computation.
struct Config {
    rank: u64,
    /// What the rank divides, as llama.cpp has it.
    alpha: f64,
}

impl Config {
    fn read(file: &ModelFile) -> Result<Self, CheckpointError> {
        let document = read_object(file)?;
        refuse_what_is_not_computed(&document)?;
        let number = |key: &str| document.get(key).and_then(Json::as_f64).filter(|number| *number > 0.0);
        let rank = document.get("r").and_then(Json::as_u64).filter(|rank| (1..=MAX_RANK).contains(rank));
        let rank = rank.ok_or_else(|| invalid("`r` is missing or not a rank"))?;
        let alpha = number("lora_alpha").ok_or_else(|| invalid("`lora_alpha` is missing or not positive"))?;
        // Rank-stabilized adapters are scaled by the root of the rank.
        let by_root = document.get("use_rslora").and_then(Json::as_bool) == Some(true);
        #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
        let root = (rank as f64).sqrt();
        Ok(Self { rank, alpha: if by_root { alpha * root } else { alpha } })
    }
}

fn refuse_what_is_not_computed(document: &Map<String, Json>) -> Result<(), CheckpointError> {
    let unsupported = |key: &str, value: &Json| {
        let value = value.to_string().chars().take(64).collect();
        Err(CheckpointError::ConfigUnsupported { key: key.to_owned(), value })
    };
    if let Some(kind) = document.get("peft_type").filter(|kind| *kind != "LORA") {
        return unsupported("peft_type", kind);
    }
    if let Some(bias) = document.get("bias").filter(|bias| *bias != "none") {
        return unsupported("bias", bias);
    }
    for key in ["use_dora", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication"] {
        let is_set = |value: &&Json| match value {
            Json::Null | Json::Bool(false) => false,
            Json::Array(list) => !list.is_empty(),
            Json::Object(map) => !map.is_empty(),
            _ => true,
        };
        if let Some(value) = document.get(key).filter(is_set) {
            return unsupported(key, value);
        }
    }
    Ok(())
}

/// The two matrices for one matrix of the base, and what their product is multiplied with.
pub(crate) struct Delta<'a> {
    pub(crate) target: &'a str,
    pub(crate) down: &'a TensorInfo,
    pub(crate) up: &'a TensorInfo,
    pub(crate) scale: f64,
}

/// The pairs of an adapter's tensors, or the name of one without its other.
pub(crate) fn deltas<'a>(adapter: &'a Checkpoint<'_>) -> Result<Vec<Delta<'a>>, &'a str> {
    let alpha = adapter.header.get(ALPHA).and_then(Value::as_f64).unwrap_or(0.0);
    let mut pairs: HashMap<&str, (Option<&TensorInfo>, Option<&TensorInfo>)> = HashMap::new();
    for tensor in &adapter.header.tensors {
        if let Some(target) = tensor.name.strip_suffix(".lora_a") {
            pairs.entry(target).or_default().0 = Some(tensor);
        } else if let Some(target) = tensor.name.strip_suffix(".lora_b") {
            pairs.entry(target).or_default().1 = Some(tensor);
        } else {
            return Err(&tensor.name);
        }
    }
    let mut found = Vec::with_capacity(pairs.len());
    for (target, (down, up)) in pairs {
        let (Some(down), Some(up)) = (down, up) else { return Err(target) };
        #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
        let rank = down.dimensions.get(1).copied().unwrap_or(1).max(1) as f64;
        let scale = if alpha == 0.0 { 1.0 } else { alpha / rank };
        found.push(Delta { target, down, up, scale });
    }
    found.sort_by_key(|delta| delta.target);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_peft_tell_the_target_and_the_side() {
        let name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
        assert_eq!(target(name), Some(("model.layers.0.mlp.up_proj", "lora_a")));
        assert_eq!(
            target("model.layers.0.mlp.up_proj.lora_B.default.weight"),
            Some(("model.layers.0.mlp.up_proj", "lora_b"))
        );
        assert_eq!(target("base_model.model.lm_head.weight"), None);
        assert_eq!(target("base_model.model.model.embed_tokens.lora_embedding_A"), None);
    }
}
