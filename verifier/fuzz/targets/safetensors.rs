//! A safetensors file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| verifier_fuzz::inspect_as("model.safetensors", data));
