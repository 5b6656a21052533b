//! A chat template.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| verifier_fuzz::inspect_as("chat_template.jinja", data));
