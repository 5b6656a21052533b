//! One sequence that grows.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use crate::{Error, Model, error};

/// How a context computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Logits as exact as llama.cpp gives them: no flash attention, keys and values as F32.
    Exact,
    /// The same, for one pooled vector of the sequence.
    Pooled,
    /// With llama.cpp's own defaults.
    Default,
}

/// Which tokens logits are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    All,
    Last,
}

/// A model at work.
pub struct Context<'a> {
    pointer: NonNull<sys::llama_context>,
    model: &'a Model,
    length: usize,
}

impl<'a> Context<'a> {
    /// A context of `positions` tokens.
    pub fn new(model: &'a Model, positions: u32, threads: i32, manner: Manner) -> Result<Self, Error> {
        // SAFETY: the parameters are llama.cpp's own, and the model outlives the context.
        let pointer = unsafe {
            let mut parameters = sys::llama_context_default_params();
            parameters.n_ctx = positions;
            parameters.n_batch = positions;
            parameters.n_ubatch = positions;
            parameters.n_threads = threads;
            parameters.n_threads_batch = threads;
            parameters.embeddings = manner == Manner::Pooled;
            if manner != Manner::Default {
                parameters.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_DISABLED;
                parameters.type_k = sys::GGML_TYPE_F32;
                parameters.type_v = sys::GGML_TYPE_F32;
            }
            sys::llama_init_from_model(model.pointer.as_ptr(), parameters)
        };
        let pointer = NonNull::new(pointer).ok_or_else(|| error("llama.cpp makes no context for this model"))?;
        Ok(Self { pointer, model, length: 0 })
    }

    /// Appends tokens.
    pub fn append(&mut self, tokens: &[i32], wanted: Wanted) -> Result<(), Error> {
        let count = i32::try_from(tokens.len()).map_err(|_| error("too many tokens"))?;
        // SAFETY: the batch has room for all tokens, each in one sequence, and is freed after its use.
        let code = unsafe {
            let mut batch = sys::llama_batch_init(count, 0, 1);
            for (index, token) in tokens.iter().enumerate() {
                *batch.token.add(index) = *token;
                *batch.pos.add(index) = i32::try_from(self.length + index).unwrap_or(i32::MAX);
                *batch.n_seq_id.add(index) = 1;
                **batch.seq_id.add(index) = 0;
                *batch.logits.add(index) = i8::from(wanted == Wanted::All || index + 1 == tokens.len());
            }
            batch.n_tokens = count;
            let code = sys::llama_decode(self.pointer.as_ptr(), batch);
            sys::llama_batch_free(batch);
            code
        };
        self.length += tokens.len();
        if code == 0 { Ok(()) } else { Err(error(format!("llama.cpp's error {code} while it computes"))) }
    }

    /// The logits after the token at `index` of the last call of [`Self::append`]; -1 is its last.
    pub fn logits(&self, index: i32) -> Result<Vec<f32>, Error> {
        // SAFETY: a pointer that is not null holds one number for each token of the vocabulary.
        unsafe {
            let pointer = sys::llama_get_logits_ith(self.pointer.as_ptr(), index);
            numbers(pointer, self.model.vocabulary_size())
        }
    }

    /// The pooled vector of the sequence.
    pub fn embedding(&self) -> Result<Vec<f32>, Error> {
        // SAFETY: a pointer that is not null holds as many numbers as the model is wide.
        unsafe {
            let pointer = sys::llama_get_embeddings_seq(self.pointer.as_ptr(), 0);
            numbers(pointer, self.model.width())
        }
    }

    /// Forgets the sequence.
    pub fn clear(&mut self) {
        // SAFETY: the context lives as long as `self`.
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.pointer.as_ptr()), true) };
        self.length = 0;
    }
}

/// # Safety
/// `pointer` is null or valid for `count` numbers.
unsafe fn numbers(pointer: *const f32, count: usize) -> Result<Vec<f32>, Error> {
    if pointer.is_null() {
        return Err(error("llama.cpp has nothing for this position"));
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) }.to_vec())
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from llama.cpp and is freed once.
        unsafe { sys::llama_free(self.pointer.as_ptr()) };
    }
}
