//! What a model's tensors become in Hugging Face's libraries.

use std::fmt::Write;

use super::super::vocabulary::byte_level_tokenizer;
use super::super::{Builder, Tensor, TensorType, Value};
use super::layouts::{Layout, Order};
use super::model::{Model, Sizes, Vocabulary};
use crate::safetensors;

/// A file's name and bytes.
pub type File = (String, Vec<u8>);

/// The element type of all weights.
#[derive(Debug, Clone, Copy)]
pub(super) enum ElementType {
    F32,
    BF16,
    F16,
}

impl ElementType {
    /// The name in `config.json`.
    const fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::BF16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => TensorType::F32.encode(values),
            Self::F16 => TensorType::F16.encode(values),
            // The values are cut to what fits.
            Self::BF16 => values.iter().flat_map(|value| value.to_le_bytes()[2..].to_vec()).collect(),
        }
    }
}

impl Layout {
    /// The files of a model. `extra` is what the configuration says beyond sizes, beginning with a comma.
    pub(super) fn files(&self, model: Model, extra: &str, element_type: ElementType) -> Vec<File> {
        let (sizes, vocabulary) = (model.sizes, model.vocabulary_kind());
        let gguf = model.builder();
        let config = self.config(&gguf, &sizes, element_type, extra);
        let tensors = gguf.tensors.iter().flat_map(|tensor| self.tensors(tensor, &sizes, element_type));
        let tensors: Vec<safetensors::Tensor> = tensors.collect();
        let mut files = match self.shards {
            1 => vec![("model.safetensors".to_owned(), file(&tensors))],
            count => shard(&tensors, count),
        };
        files.push(("config.json".to_owned(), config.into_bytes()));
        if matches!(vocabulary, Vocabulary::ByteLevel) {
            files.push(("tokenizer.json".to_owned(), byte_level_tokenizer().into_bytes()));
        }
        files
    }

    fn config(&self, gguf: &Builder, sizes: &Sizes, element_type: ElementType, extra: &str) -> String {
        let tied = !gguf.tensors.iter().any(|tensor| tensor.name == b"output.weight");
        let base = number(gguf, "rope.freq_base").unwrap_or(10_000.0);
        let activation = match self.model_type {
            "gemma2" | "gemma3_text" => "hidden_activation",
            "gpt2" => "activation_function",
            _ => "hidden_act",
        };
        let mut config = format!(r#"{{"model_type":"{}","{activation}":"{}""#, self.model_type, self.activation);
        let lengths = [
            usize::try_from(gguf.tensors[0].dimensions[1]).unwrap_or(0),
            sizes.width,
            sizes.hidden,
            sizes.blocks,
            sizes.heads,
            sizes.key_value_heads,
            sizes.head_length,
            256,
        ];
        for (key, length) in self.lengths.iter().zip(lengths).filter(|(key, _)| !key.is_empty()) {
            // Writing to a string does not fail.
            let _ = write!(config, r#","{key}":{length}"#);
        }
        let element_type = element_type.torch_name();
        let _ = write!(config, r#","{}":1e-05,"rope_theta":{base:?},"tie_word_embeddings":{tied}"#, self.epsilon);
        let _ = write!(config, r#","torch_dtype":"{element_type}"{extra}}}"#);
        config
    }

    /// What one tensor of the GGUF file becomes; none where the configuration says it.
    fn tensors(&self, tensor: &Tensor, sizes: &Sizes, element_type: ElementType) -> Vec<safetensors::Tensor> {
        let name = String::from_utf8_lossy(&tensor.name).into_owned();
        let values = self.values(tensor, &name, sizes);
        let shape = self.shape(tensor, &name);
        let dtype = format!("{element_type:?}");
        let stored = |name: &str, shape: &[u64], values: &[f32]| {
            safetensors::Tensor::new(name, &dtype, shape, element_type.encode(values))
        };
        if let Some(name) = self.name(&name) {
            return vec![stored(&name, &shape, &values)];
        }
        let Some(pattern) = self.stack_name(&name) else { return Vec::new() };
        let each = shape[1..].iter().product::<u64>();
        let parts = values.chunks(usize::try_from(each).unwrap_or(1)).enumerate();
        parts.map(|(number, part)| stored(&pattern.replace("{}", &number.to_string()), &shape[1..], part)).collect()
    }

    fn shape(&self, tensor: &Tensor, name: &str) -> Vec<u64> {
        let rows_first = tensor.dimensions.iter().rev().copied();
        if name.contains("ffn_gate_inp_shexp") {
            [1].into_iter().chain(rows_first).collect()
        } else if self.is_transposed(tensor, name) {
            tensor.dimensions.clone()
        } else {
            rows_first.collect()
        }
    }

    fn is_transposed(&self, tensor: &Tensor, name: &str) -> bool {
        self.order == Order::Transposed && name.starts_with("blk.") && tensor.dimensions.len() == 2
    }

    fn values(&self, tensor: &Tensor, name: &str, sizes: &Sizes) -> Vec<f32> {
        let values = decoded(tensor);
        let row = if name.ends_with("bias") { 1 } else { sizes.width };
        let rotated = [".attn_q.", ".attn_k."].iter().any(|part| name.contains(part));
        let values = match self.order {
            Order::Halves if rotated => pairs_to_halves(&values, row, sizes.head_length),
            Order::ByHead if name.contains("attn_qkv") => by_head(&values, row * sizes.head_length),
            Order::Transposed if self.is_transposed(tensor, name) => transposed(&values, tensor.dimensions[0]),
            _ => values,
        };
        let one = if self.gains_from_zero && name.contains("norm") { 1.0 } else { 0.0 };
        values.iter().map(|value| value - one).collect()
    }

    fn name(&self, gguf: &str) -> Option<String> {
        let Some((block, part, kind)) = block_part(gguf) else {
            let (stem, kind) = gguf.rsplit_once('.')?;
            let (_, name) = self.globals.iter().find(|(name, _)| *name == stem)?;
            return Some(format!("{name}.{kind}"));
        };
        let is_stacked = self.stacks.iter().any(|(name, _)| *name == part);
        let (_, name) = self.names.iter().find(|(name, _)| *name == part && !is_stacked)?;
        Some(format!("{}{block}.{name}.{kind}", self.block))
    }

    fn stack_name(&self, gguf: &str) -> Option<String> {
        let (block, part, kind) = block_part(gguf)?;
        let (_, name) = self.stacks.iter().find(|(name, _)| *name == part)?;
        Some(format!("{}{block}.{name}.{kind}", self.block))
    }
}

/// Queries, keys and values, each of all heads, as those of each head; `size` numbers are one head's.
fn by_head(values: &[f32], size: usize) -> Vec<f32> {
    let thirds: Vec<&[f32]> = values.chunks(values.len() / 3).collect();
    let heads = 0..values.len() / 3 / size;
    heads.flat_map(|head| thirds.iter().flat_map(move |third| third[head * size..(head + 1) * size].to_vec())).collect()
}

/// Rows of `inputs` numbers as columns.
fn transposed(values: &[f32], inputs: u64) -> Vec<f32> {
    let inputs = usize::try_from(inputs).unwrap_or(1);
    (0..inputs).flat_map(|input| values.iter().skip(input).step_by(inputs).copied()).collect()
}

/// The values of an F32 tensor.
pub(super) fn decoded(tensor: &Tensor) -> Vec<f32> {
    tensor.data.chunks(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}

/// The parts of `blk.BLOCK.PART.KIND`.
pub(super) fn block_part(gguf: &str) -> Option<(&str, &str, &str)> {
    let (block, rest) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.split_once('.')?;
    Some((block, part, kind))
}

/// Rows 0, 2, 4 … of each head, then rows 1, 3, 5 …
pub(super) fn pairs_to_halves(values: &[f32], row: usize, head_length: usize) -> Vec<f32> {
    let heads = values.chunks(row * head_length);
    let every_second = |head: &[f32], first: usize| -> Vec<f32> {
        head.chunks(row).skip(first).step_by(2).flatten().copied().collect()
    };
    heads.flat_map(|head| [every_second(head, 0), every_second(head, 1)].concat()).collect()
}

fn number(gguf: &Builder, key: &str) -> Option<f32> {
    let ending = format!(".{key}").into_bytes();
    gguf.metadata.iter().find(|(name, _)| name.ends_with(&ending)).and_then(|(_, value)| match value {
        Value::F32(number) => Some(*number),
        _ => None,
    })
}

/// The weights in files of about as many tensors, with the index that finds them.
fn shard(tensors: &[safetensors::Tensor], count: usize) -> Vec<File> {
    let parts = tensors.chunks(tensors.len().div_ceil(count));
    let name = |number: usize| format!("model-{:05}-of-{count:05}.safetensors", number + 1);
    let mut map = Vec::new();
    let mut files = Vec::new();
    for (number, part) in parts.enumerate() {
        map.extend(part.iter().map(|tensor| format!(r#""{}":"{}""#, tensor.name, name(number))));
        files.push((name(number), file(part)));
    }
    let size: usize = tensors.iter().map(|tensor| tensor.data.len()).sum();
    let index = format!(r#"{{"metadata":{{"total_size":{size}}},"weight_map":{{{}}}}}"#, map.join(","));
    files.push(("model.safetensors.index.json".to_owned(), index.into_bytes()));
    files
}

pub(super) fn file(tensors: &[safetensors::Tensor]) -> Vec<u8> {
    let mut builder = safetensors::Builder::new().metadata("format", "pt");
    builder.tensors = tensors.to_vec();
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_pair_move_half_a_head_apart() {
        let rows: Vec<f32> = [0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0].iter().flat_map(|row| [*row, *row]).collect();
        let halves = [0.0_f32, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
        let expected: Vec<f32> = halves.iter().flat_map(|row| [*row, *row]).collect();
        assert_eq!(pairs_to_halves(&rows, 2, 4), expected);
    }

    #[test]
    fn queries_keys_and_values_of_one_head_come_together() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        assert_eq!(by_head(&values, 2), [1.0, 2.0, 5.0, 6.0, 9.0, 10.0, 3.0, 4.0, 7.0, 8.0, 11.0, 12.0]);
    }

    #[test]
    fn rows_become_columns() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
