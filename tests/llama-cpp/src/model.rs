//! Loaded weights and vocabulary.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use crate::{Error, error};

/// A model in memory.
pub struct Model {
    pub(crate) pointer: NonNull<sys::llama_model>,
}

impl Model {
    /// Loads a file. With `repack`, weights are rearranged for the processor, as llama.cpp
    /// does unless told otherwise; sums are then taken in another order.
    pub fn load(path: &Path, repack: bool) -> Result<Self, Error> {
        let name = c_path(path)?;
        // SAFETY: the string outlives the call, and the parameters are llama.cpp's own.
        let pointer = unsafe {
            let mut parameters = sys::llama_model_default_params();
            parameters.use_extra_bufts = repack;
            sys::llama_model_load_from_file(name.as_ptr(), parameters)
        };
        let pointer = NonNull::new(pointer).ok_or_else(|| error(format!("{} cannot be loaded", path.display())))?;
        Ok(Self { pointer })
    }

    fn vocabulary(&self) -> *const sys::llama_vocab {
        // SAFETY: the model lives as long as `self`.
        unsafe { sys::llama_model_get_vocab(self.pointer.as_ptr()) }
    }

    pub fn vocabulary_size(&self) -> usize {
        // SAFETY: the vocabulary lives as long as the model.
        let size = unsafe { sys::llama_vocab_n_tokens(self.vocabulary()) };
        usize::try_from(size).unwrap_or(0)
    }

    pub fn width(&self) -> usize {
        // SAFETY: the model lives as long as `self`.
        let width = unsafe { sys::llama_model_n_embd(self.pointer.as_ptr()) };
        usize::try_from(width).unwrap_or(0)
    }

    /// The ids of a text. `add_special` begins and ends it as the model wants a document to;
    /// `parse_special` reads the names of control tokens as those tokens.
    pub fn tokenize(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<i32>, Error> {
        let mut tokens = vec![0; text.len() + 8];
        let [length, capacity] = [text.len(), tokens.len()].map(|size| i32::try_from(size).unwrap_or(i32::MAX));
        // SAFETY: both pointers are valid for the lengths that are given.
        let count = unsafe {
            sys::llama_tokenize(
                self.vocabulary(),
                text.as_ptr().cast(),
                length,
                tokens.as_mut_ptr(),
                capacity,
                add_special,
                parse_special,
            )
        };
        let count = usize::try_from(count).map_err(|_| error("the text has more tokens than bytes"))?;
        tokens.truncate(count);
        Ok(tokens)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the pointer came from llama.cpp and is freed once.
        unsafe { sys::llama_model_free(self.pointer.as_ptr()) };
    }
}

/// Quantizes a file, also one that is quantized already.
pub fn quantize(input: &Path, output: &Path, kind: &str) -> Result<(), Error> {
    let kind = file_type(kind).ok_or_else(|| error(format!("{kind} is not a type that this program knows")))?;
    let (input, output) = (c_path(input)?, c_path(output)?);
    // SAFETY: the strings outlive the call, and the parameters are llama.cpp's own.
    let code = unsafe {
        let mut parameters = sys::llama_model_quantize_default_params();
        parameters.ftype = kind;
        parameters.allow_requantize = true;
        sys::llama_model_quantize(input.as_ptr(), output.as_ptr(), &raw const parameters)
    };
    if code == 0 { Ok(()) } else { Err(error(format!("llama.cpp's error {code}"))) }
}

fn file_type(name: &str) -> Option<sys::llama_ftype> {
    let kind = match name {
        "F32" => sys::LLAMA_FTYPE_ALL_F32,
        "F16" => sys::LLAMA_FTYPE_MOSTLY_F16,
        "Q4_0" => sys::LLAMA_FTYPE_MOSTLY_Q4_0,
        "Q4_1" => sys::LLAMA_FTYPE_MOSTLY_Q4_1,
        "Q5_0" => sys::LLAMA_FTYPE_MOSTLY_Q5_0,
        "Q5_1" => sys::LLAMA_FTYPE_MOSTLY_Q5_1,
        "Q8_0" => sys::LLAMA_FTYPE_MOSTLY_Q8_0,
        "Q4_K_M" => sys::LLAMA_FTYPE_MOSTLY_Q4_K_M,
        "Q5_K_M" => sys::LLAMA_FTYPE_MOSTLY_Q5_K_M,
        "Q6_K" => sys::LLAMA_FTYPE_MOSTLY_Q6_K,
        _ => return None,
    };
    Some(kind)
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| error("the path holds a zero byte"))
}
