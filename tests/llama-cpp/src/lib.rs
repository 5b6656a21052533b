//! llama.cpp on the CPU, safe to call, so that programs hold no pointers.

mod context;
mod model;

pub use context::{Context, Manner, Wanted};
pub use model::{Model, quantize};

/// What went wrong, in words.
#[derive(Debug)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

pub(crate) fn error(text: impl Into<String>) -> Error {
    Error(text.into())
}

/// The version that llama.cpp gives itself.
pub fn version() -> String {
    // SAFETY: llama.cpp returns a pointer to a constant string.
    let text = unsafe { std::ffi::CStr::from_ptr(llama_cpp_sys_2::llama_version()) };
    text.to_string_lossy().into_owned()
}

/// The instruction sets that llama.cpp was compiled for, in its own words.
pub fn instruction_sets() -> String {
    // SAFETY: llama.cpp returns a pointer to a string that it keeps.
    let text = unsafe { std::ffi::CStr::from_ptr(llama_cpp_sys_2::llama_print_system_info()) };
    text.to_string_lossy().into_owned()
}

/// Keeps llama.cpp from writing anything but errors to stderr.
pub fn quiet() {
    // SAFETY: the callback has the type that llama.cpp asks for, and needs no data.
    unsafe { llama_cpp_sys_2::llama_log_set(Some(only_errors), std::ptr::null_mut()) };
}

unsafe extern "C" fn only_errors(
    level: llama_cpp_sys_2::ggml_log_level,
    text: *const std::ffi::c_char,
    _data: *mut std::ffi::c_void,
) {
    if level == llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR {
        // SAFETY: llama.cpp passes a string that lives as long as the call.
        eprint!("{}", unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy());
    }
}
