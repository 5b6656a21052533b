//! What a GGUF file says about the model, and what is wrong with it.

use super::super::content::Content;
use super::super::found::{Found, Weights};
use super::super::tensor::Tensor;
use super::super::{findings, metadata, template};
use super::{Array, GgufError, Header, TensorInfo, Value, read_header};

/// Most templates of a file that are judged.
const MAX_TEMPLATES: usize = 16;

pub(crate) fn scan(content: &Content<'_>, found: &mut Found) {
    match read_header(content.source) {
        Ok(header) => {
            found.facts = metadata::of_gguf(&header);
            metadata::check_scripts(found);
            judge_templates(&header, found);
            found.weights = Some(weights(header));
        }
        Err(GgufError::Io(error)) => findings::unreadable(found, &error),
        Err(error) if error.is_unsupported() => findings::unsupported(found, error.code(), &error),
        Err(error) => findings::malformed(found, error.code(), &error),
    }
}

/// Judges every chat template, with the special tokens that the file names by number.
fn judge_templates(header: &Header, found: &mut Found) {
    let texts = header.get("tokenizer.ggml.tokens").and_then(Value::as_array).and_then(Array::as_strings);
    let token = |name: &str| {
        let id = header.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?;
        let text = texts?.get(usize::try_from(id).ok()?)?;
        Some((format!("{name}_token"), text.clone()))
    };
    let tokens: Vec<(String, String)> = ["bos", "eos", "unknown", "padding"].into_iter().filter_map(token).collect();
    for (key, value) in
        header.metadata.iter().filter(|(key, _)| key.starts_with("tokenizer.chat_template")).take(MAX_TEMPLATES)
    {
        if let Some(source) = value.as_str().filter(|source| template::is_template(source)) {
            template::judge(key, source, &tokens, found);
        }
    }
}

fn weights(header: Header) -> Weights {
    let architecture = header.architecture().map(str::to_owned);
    let context_key = architecture.as_deref().map(|name| format!("{name}.context_length"));
    Weights {
        context_length: context_key.and_then(|key| header.get(&key)?.as_u64()),
        is_part: header.get("split.count").and_then(Value::as_u64).is_some_and(|count| count > 1),
        architecture,
        tensors: header.tensors.into_iter().map(tensor).collect(),
    }
}

fn tensor(info: TensorInfo) -> Tensor {
    let mut shape = info.dimensions;
    shape.reverse();
    Tensor {
        name: info.name,
        element_type: info.tensor_type.name().into(),
        shape,
        byte_length: info.byte_length,
        offset: Some(info.offset),
    }
}
