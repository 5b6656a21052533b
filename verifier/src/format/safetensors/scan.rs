//! What a safetensors file says about the model, and what is wrong with it.

use super::super::content::Content;
use super::super::found::{Found, Weights};
use super::super::tensor::Tensor;
use super::super::{findings, metadata};
use super::{SafetensorsError as Error, TensorInfo, read_header};

pub(crate) fn scan(content: &Content<'_>, found: &mut Found) {
    match read_header(content.source) {
        Ok(header) => {
            found.facts = metadata::of_safetensors(&header);
            metadata::check_scripts(found);
            let tensors = header.tensors.into_iter().map(tensor).collect();
            found.weights = Some(Weights { tensors, ..Weights::default() });
        }
        Err(Error::Io(error)) => findings::unreadable(found, &error),
        Err(error @ (Error::HeaderTooLarge { .. } | Error::HeaderTooComplex)) => {
            findings::unsupported(found, error.code(), &error);
        }
        Err(error) => findings::malformed(found, error.code(), &error),
    }
}

fn tensor(info: TensorInfo) -> Tensor {
    Tensor {
        name: info.name,
        element_type: info.dtype.name().into(),
        shape: info.shape,
        byte_length: info.byte_length,
        offset: Some(info.offset),
    }
}
